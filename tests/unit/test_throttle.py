"""What lets a run wait: the token bucket, the gate over all reasons, and the throttle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.cli.throttling import Considerate
from toolkit.config import load
from toolkit.journal import Chunk
from toolkit.migrate.throttle import POLL, STEP, Bucket, Limits, Reading, Throttle, holding
from toolkit.migrate.workers import copy_all
from toolkit.postgres.load import LagClock

PAUSE = Path("/project/PAUSE")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self, after: Callable[[float], None] = lambda _: None) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.after = after

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.after(self.now)


def throttle(
    time: Time,
    limits: Limits,
    sense: Callable[[], Reading] = Reading,
    notice: Callable[[str], None] = lambda _: None,
) -> Throttle:
    return Throttle(limits, sense, clock=time.clock, sleep=time.sleep, notice=notice)


@given(
    rate=st.floats(0.5, 1e6),
    burst=st.floats(0, 1e6),
    full=st.floats(0, 1),
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 100_000)), max_size=30),
)
def test_no_window_lets_through_more_than_the_rate_and_one_burst(
    rate: float, burst: float, full: float, steps: list[tuple[float, int]]
) -> None:
    """Requests come at any time; each is let through when its wait is over."""
    bucket = Bucket(rate, burst, burst * full, 0.0)
    let_through: list[tuple[float, int]] = []
    for now, (_, rows) in zip(accumulate(gap for gap, _ in steps), steps, strict=True):
        bucket, seconds = bucket.take(rows, now)
        let_through.append((now + seconds, rows))
    moments = [moment for moment, _ in let_through]
    assert moments == sorted(moments)
    for first in range(len(let_through)):
        for last in range(first, len(let_through)):
            window = moments[last] - moments[first]
            rows = sum(rows for _, rows in let_through[first : last + 1])
            # The first rows of the window are let through when they are paid for: they are
            # the ones that may have been saved up before, or waited for.
            allowed = max(burst, let_through[first][1]) + rate * window
            assert rows <= allowed * (1 + 1e-9) + 1e-6


@given(st.floats(1, 1000), st.integers(1, 10_000), st.integers(0, 10_000))
def test_rows_that_were_not_used_are_given_back(rate: float, asked: int, used: int) -> None:
    first = Bucket(rate, 1e9, 0.0, 0.0)
    taken, _ = first.take(asked, 0.0)
    exact, _ = first.take(used, 0.0)
    assert taken.give(asked - used, 0.0).rows == pytest.approx(exact.rows)


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    bucket = Bucket(10, 20, 0, 0.0)
    _, seconds = bucket.take(30, 1_000.0)
    assert seconds == 1.0
    assert bucket.give(1_000, 0.0).rows == 20


@pytest.mark.parametrize(
    ("limits", "reading", "reason"),
    [
        (Limits(), Reading(99, 99.0, True), ""),
        (Limits(pause_file=PAUSE), Reading(paused=True), "paused by /project/PAUSE"),
        (Limits(pause_file=PAUSE), Reading(), ""),
        (Limits(load=10), Reading(sessions=12), "12 active sessions > 10"),
        (Limits(load=10), Reading(sessions=10), ""),
        (Limits(load=10), Reading(sessions=None), ""),
        (Limits(lag=5), Reading(lag=8.24), "replica lag 8.2 s > 5 s"),
        (Limits(lag=0.5), Reading(lag=0.5), ""),
        (Limits(lag=5), Reading(lag=None), ""),
        (
            Limits(load=1, lag=5, pause_file=PAUSE),
            Reading(2, 9, True),
            "paused by /project/PAUSE",
        ),
    ],
)
def test_the_gate_says_why_it_is_closed(limits: Limits, reading: Reading, reason: str) -> None:
    assert holding(limits, reading) == reason


def test_a_rate_is_kept_and_named() -> None:
    time, reasons = Time(), list[str]()
    brake = throttle(time, Limits(rate=1_000), notice=reasons.append)
    for _ in range(10):
        assert brake.wait(500)
        brake.settle(500, 500)
    assert time.now == pytest.approx(105.0)
    assert max(time.slept) <= STEP
    # It is named once, not at each chunk.
    assert reasons == ["rate 1,000 rows/s"] == [brake.reason]


def test_a_chunk_that_was_larger_than_expected_is_paid_for_by_the_next() -> None:
    time = Time()
    brake = throttle(time, Limits(rate=100))
    assert brake.wait(0)
    assert time.slept == []
    brake.settle(0, 1_000)
    assert brake.wait(0)
    assert time.now == pytest.approx(110.0)


def test_without_limits_nobody_waits_or_looks() -> None:
    def look() -> Reading:
        raise AssertionError

    time = Time()
    brake = throttle(time, Limits(), look)
    assert brake.wait(10**9)
    brake.settle(10**9, 10**9)
    assert time.slept == [] and brake.reason == ""


def test_a_pause_holds_until_it_ends_and_is_seen_within_a_second() -> None:
    time, reasons = Time(), list[str]()
    looks: list[float] = []

    def look() -> Reading:
        looks.append(time.now)
        return Reading(paused=time.now < 107.3)

    brake = throttle(time, Limits(pause_file=PAUSE), look, reasons.append)
    assert brake.wait(1)
    assert 107.3 <= time.now <= 107.3 + POLL + STEP
    assert reasons == [f"paused by {PAUSE}"] and brake.reason == f"paused by {PAUSE}"
    # Not more often than once a second, whatever the number of chunks.
    for _ in range(100):
        assert brake.wait(1)
    assert all(later - earlier >= POLL for earlier, later in pairwise(looks))
    assert reasons == [f"paused by {PAUSE}", ""]


def test_a_stop_ends_the_wait_at_once() -> None:
    stop = threading.Event()

    def after(now: float) -> None:
        if now > 101:
            stop.set()

    time = Time(after)
    brake = throttle(time, Limits(rate=1))
    assert not brake.wait(1_000_000, stop.is_set)
    assert time.now < 101.2


def test_workers_that_wait_end_when_another_fails() -> None:
    """Real threads: one fails while the other waits for rows that would take a day."""
    entered = threading.Event()
    brake = Throttle(Limits(rate=10), notice=lambda _: entered.set())

    class Failing:
        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def copy(self, chunk: Chunk) -> int:
            assert entered.wait(10)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        copy_all(
            [Chunk("s", "t", 1), Chunk("s", "t", 2)],
            Failing,
            2,
            begin=lambda _: None,
            done=lambda *_: None,
            throttle=brake,
            size=lambda chunk: 0 if chunk.number == 1 else 1_000_000,
        )


def test_nobody_waits_for_what_has_failed() -> None:
    brake = throttle(Time(), Limits(rate=1))
    with pytest.raises(KeyboardInterrupt), brake.shared():
        raise KeyboardInterrupt
    assert not brake.wait(1_000)
    unlimited = throttle(Time(), Limits())
    with unlimited.shared():
        assert unlimited.wait(1_000)
    assert unlimited.wait(1_000)


@pytest.mark.parametrize(
    ("limits", "usual", "rows"),
    [
        (Limits(), 250_000, 250_000),
        (Limits(rate=50_000), 250_000, 50_000),
        (Limits(rate=50_000), 4_000, 4_000),
        (Limits(rate=0.5), 4_000, 1),
        (Limits(load=3), 250_000, 25_000),
        (Limits(load=3), 10_000, 10_000),
        (Limits(rate=100, lag=3), 250_000, 100),
    ],
)
def test_chunks_are_small_enough_for_the_limits(limits: Limits, usual: int, rows: int) -> None:
    assert limits.chunk_rows(usual) == rows


def test_options_go_before_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "regionkit.toml").write_text(
        '[root]\ntable = "c"\n[root.region]\ncolumn = "r"\nmap = {}\n[regions]\neu = {}\n'
        '[migrate]\nmax_rate = 5\nmax_load = 6\nmax_lag = 7\npause_file = "P"\n'
    )
    project = load(tmp_path / "regionkit.toml", {})
    assert Considerate().limits(project) == Limits(5, 6, 7, tmp_path / "P")
    options = Considerate(rate=1, load=0, lag=3, pause_file=Path("Q"))
    assert options.limits(project) == Limits(1, 0, 3, Path("Q"))


def test_lag_is_how_long_ago_the_log_stood_where_the_replica_stands() -> None:
    clock = LagClock()
    assert clock.lag(0.0, 100, 100) == 0
    assert clock.lag(10.0, 200, 100) == 10
    # Between two looks the log grew evenly.
    assert clock.lag(20.0, 300, 150) == 15
    assert clock.lag(21.0, 300, 250) == pytest.approx(6)
    # Nothing more was written, and the replica has all of it.
    assert clock.lag(500.0, 300, 300) == 0


def test_a_replica_that_is_behind_from_the_start_counts_from_the_first_look() -> None:
    clock = LagClock()
    assert clock.lag(5.0, 100, 50) == 0
    assert clock.lag(9.0, 100, 50) == 4


@given(st.lists(st.tuples(st.floats(0.1, 5), st.integers(1, 1000)), min_size=2, max_size=50))
def test_a_replica_that_stands_still_falls_behind_by_the_time_that_passes(
    steps: list[tuple[float, int]],
) -> None:
    clock, now, written = LagClock(), 0.0, 1_000
    assert clock.lag(now, written, 1_000) == 0
    for seconds, grown in steps:
        now, written = now + seconds, written + grown
        assert clock.lag(now, written, 1_000) == pytest.approx(now)
