"""The load generator without a server: the schedule, lateness, histograms, thresholds."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from toolkit.checks import load
from toolkit.checks.durability import mongo_lacks, postgres_lacks
from toolkit.checks.histogram import Distribution
from toolkit.checks.latency import exceeded
from toolkit.checks.load import LaneResult, Pace, Request, Sample, Worker, schedule, summarize
from toolkit.errors import ConnectionFailed, UsageError
from toolkit.lab.proxy import mongo_through, postgres_address, postgres_through
from toolkit.mongo.session import TopologyFacts


def pace(**changes: float) -> Pace:
    given: dict[str, float] = {"rate": 10, "duration": 2, "warmup": 1, "workers": 4, **changes}
    return Pace(given["rate"], given["duration"], given["warmup"], int(given["workers"]))


# The schedule


def test_every_lane_has_its_rate_and_one_turn_in_each_round() -> None:
    plan = schedule(pace(), lanes=3)
    assert plan.rounds == 30
    assert len(plan.requests) == 90
    dues = [request.due for request in plan.requests]
    assert dues == sorted(dues)
    assert [round(b - a, 9) for a, b in itertools.pairwise(dues)] == [round(1 / 30, 9)] * 89
    for turn in range(30):
        lanes = [request.lane for request in plan.requests if request.turn == turn]
        assert sorted(lanes) == [0, 1, 2]
    # No lane always follows the same other.
    orders = {
        tuple(request.lane for request in plan.requests[at : at + 3]) for at in range(0, 90, 3)
    }
    assert len(orders) > 3


def test_the_warm_up_does_not_count_and_all_lanes_count_alike() -> None:
    for rate, duration, warmup in ((10, 2, 1), (15, 2, 0.5), (7, 0.9, 0), (0.5, 1, 0)):
        plan = schedule(pace(rate=rate, duration=duration, warmup=warmup), lanes=3)
        counted = Counter(request.lane for request in plan.requests if request.counted)
        assert set(counted.values()) == {max(1, round(rate * duration))}
        assert not any(r.counted for r in plan.requests if r.due < warmup - 1e-9)


def test_the_same_seed_gives_the_same_order() -> None:
    one = schedule(Pace(10, 2, 0, 1, seed=1), 3)
    assert one == schedule(Pace(10, 2, 0, 1, seed=1), 3)
    assert one.requests != schedule(Pace(10, 2, 0, 1, seed=2), 3).requests


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0}, {"duration": 0}, {"workers": 0}, {"warmup": -1}, {"rate": 1e6, "duration": 60}],
)
def test_a_load_without_end_or_beginning_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        schedule(pace(**wrong), lanes=1)


def test_late_is_a_millisecond_or_the_distance_of_two_requests() -> None:
    assert schedule(pace(rate=10), lanes=2).late_after == pytest.approx(0.05)
    assert schedule(pace(rate=5000, duration=1), lanes=2).late_after == pytest.approx(0.001)


# What is made of the samples


def sample(
    due: float,
    started: float | None,
    ended: float | None = None,
    error: str | None = None,
    counted: bool = True,
) -> Sample:
    return Sample(Request(due, 0, 0, counted), started, ended, error)


def test_service_time_and_time_from_the_intended_start_part() -> None:
    plan = schedule(pace(rate=100, duration=1, warmup=0), lanes=1)
    [result] = summarize(
        plan, 1, [sample(0.0, 0.0, 0.005), sample(0.01, 0.1, 0.105), sample(0.02, None)]
    )
    assert result.service.max == pytest.approx(5, rel=1e-3)
    assert result.intended.max == pytest.approx(95, rel=1e-3)
    assert (result.scheduled, result.started, result.late) == (3, 2, 2)
    assert result.late_share == pytest.approx(2 / 3)
    assert not result.reached
    assert result.achieved == pytest.approx(2)


def test_failures_are_counted_and_stand_in_no_distribution() -> None:
    plan = schedule(pace(rate=2, duration=1, warmup=0), lanes=1)
    [result] = summarize(
        plan,
        1,
        [
            sample(0.0, 0.0, 3.0, "40001 SerializationFailure"),
            sample(0.5, 0.5, 0.501),
            sample(0.0, 0.0, 9.0, "rows-affected", counted=False),
        ],
    )
    assert result.errors == {"40001 SerializationFailure": 1}
    assert result.service.count == result.intended.count == 1
    assert result.reached
    assert result.achieved == pytest.approx(1)


def test_thresholds_look_at_the_time_from_the_intended_start() -> None:
    result = LaneResult(scheduled=1, started=1)
    result.service.add(0.001)
    result.intended.add(0.05)
    assert exceeded({"p50": 60.0, "p95": 51.0}, result, None) == []
    assert exceeded({"p95": 20.0}, result, None) == ["p95 50.00 ms is above 20 ms"]
    assert exceeded({"overhead": 2.0}, result, 2.5) == ["overhead 2.50 is above 2"]
    assert exceeded({"overhead": 2.0}, result, None) == []


# The histogram


def test_figures_are_within_a_thousandth() -> None:
    found = Distribution()
    for microseconds in range(1, 100_001):
        found.add(microseconds / 1e6)
    assert found.count == 100_000
    for value, wanted in ((found.p50, 50), (found.p95, 95), (found.p99, 99), (found.max, 100)):
        assert value == pytest.approx(wanted, rel=1e-3)


def test_an_empty_distribution_has_no_figures() -> None:
    found = Distribution()
    assert found.document() == {
        "count": 0,
        "p50_ms": None,
        "p95_ms": None,
        "p99_ms": None,
        "max_ms": None,
    }
    assert math.isnan(found.p50)
    assert math.isnan(found.max)


def test_beyond_the_range_nothing_is_lost() -> None:
    found, other = Distribution(), Distribution()
    found.add(0.0)
    other.add(90.0)
    found.merge(other)
    found.merge(Distribution())
    assert found.count == 2
    assert found.max == 90_000
    assert found.percentile(100) == pytest.approx(60_000, rel=1e-3)


# The run


class Sleeper:
    """A worker that takes its time instead of asking a server."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.threads: set[int] = set()

    def prepare(self, lane: int, turn: int) -> Callable[[], str | None]:
        def execute() -> str | None:
            self.threads.add(threading.get_ident())
            time.sleep(self.seconds)
            return "odd" if turn % 2 else None

        return execute

    @contextmanager
    def open(self) -> Iterator[Worker]:
        yield self


def test_requests_start_on_schedule_whatever_the_server_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(load, "_SLACK", 5.0)  # a busy machine is no reason to fail
    plan = schedule(pace(rate=20, duration=0.5, warmup=0, workers=8), lanes=1)
    sleeper = Sleeper(0.2)
    samples = load.run(plan, sleeper.open)
    assert [found.request for found in samples] == list(plan.requests)
    # A closed loop of one would have started the last of them after 1.8 s.
    assert all(found.started is not None for found in samples)
    assert all((found.started or 0) >= found.request.due for found in samples)
    assert [found.error for found in samples] == [None, "odd"] * 5
    assert len(sleeper.threads) > 1


def test_what_does_not_start_in_time_is_dropped_and_said() -> None:
    plan = schedule(pace(rate=50, duration=0.5, warmup=0, workers=1), lanes=1)
    begun = time.monotonic()
    [result] = summarize(plan, 1, load.run(plan, Sleeper(0.1).open))
    assert time.monotonic() - begun < 5
    assert result.started < result.scheduled == 25
    assert not result.reached
    assert result.late_share > 0.5


def test_a_worker_that_cannot_connect_ends_the_run() -> None:
    @contextmanager
    def refused() -> Iterator[Worker]:
        raise ConnectionFailed("nobody answers")
        yield Sleeper(0)

    with pytest.raises(ConnectionFailed):
        load.run(schedule(pace(workers=3), lanes=1), refused)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("load-")]


def test_what_never_ends_is_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PATIENCE", 0.3)
    plan = schedule(pace(rate=2, duration=0.5, warmup=0, workers=1), lanes=1)
    [found] = load.run(plan, Sleeper(2.0).open)
    assert found.error == "unfinished"
    assert found.ended is None


# Durability


def test_what_is_not_durable() -> None:
    assert postgres_lacks({"fsync": "on", "synchronous_commit": "local"}) == ()
    assert len(postgres_lacks({"fsync": "off", "synchronous_commit": "off"})) == 2
    assert len(postgres_lacks({"full_page_writes": "off"})) == 1
    one = TopologyFacts("replica set", (6, 0, 5), 1, 1)
    three = TopologyFacts("replica set", (6, 0, 5), 3, 2)
    assert len(mongo_lacks(one, "yes")) == 1
    assert mongo_lacks(three, "yes") == ()
    assert len(mongo_lacks(three, "no")) == 1


# URLs through the proxy


def test_postgres_urls_keep_everything_but_the_address() -> None:
    url = "postgresql://me:secret@db.example:6432/bank?sslmode=verify-full"
    assert postgres_address(url) == ("db.example", 6432)
    through = postgres_through(url, 7000)
    for part in ("host=db.example", "hostaddr=127.0.0.1", "port=7000", "sslmode=verify-full"):
        assert part in through
    assert postgres_address("host=10.0.0.1 dbname=x") == ("10.0.0.1", 5432)


@pytest.mark.parametrize(
    "url", ["postgresql:///bank", "host=/var/run/postgresql", "postgresql://one,two/bank"]
)
def test_postgres_urls_without_one_address_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        postgres_address(url)


def test_mongo_urls_go_to_the_proxy_and_nowhere_else() -> None:
    url = "mongodb://me:p%40ss@one:27017,two:27018/admin?replicaSet=rs0&tls=true"
    assert mongo_through(url, 7000) == (
        "mongodb://me:p%40ss@127.0.0.1:7000/admin?tls=true&directConnection=true"
    )
    with pytest.raises(UsageError):
        mongo_through("mongodb+srv://cluster.example/", 7000)
