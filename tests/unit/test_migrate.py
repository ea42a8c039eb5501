"""The pure parts of the engine: chunks, progress, workers, and the comparison of rows."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.digest import RowDigest
from toolkit.errors import Interrupted
from toolkit.findings import Code, Finding
from toolkit.journal import Chunk, chunks
from toolkit.migrate.comparison import RowComparison
from toolkit.migrate.progress import Progress, TableProgress, Watcher
from toolkit.migrate.workers import copy_all


@given(st.lists(st.integers(), unique=True), st.integers())
def test_every_key_is_in_exactly_one_chunk(bounds: list[int], key: int) -> None:
    keys = [(str(bound),) for bound in sorted(bounds)]
    homes = [
        chunk
        for chunk in chunks("postgres", "t", keys)
        if (chunk.lower is None or key > int(chunk.lower[0]))
        and (chunk.upper is None or key <= int(chunk.upper[0]))
    ]
    assert len(homes) == 1


def test_progress_knows_rate_and_time_left() -> None:
    now = 100.0
    seen: list[TableProgress] = []

    class Seeing(Watcher):
        def advanced(self, table: TableProgress, overall: TableProgress) -> None:
            seen.append(table)

    progress = Progress(Seeing(), clock=lambda: now)
    progress.expect("t", 1000, 400)
    entry = progress.tables["t"]
    assert entry.rate(now) == 0 and entry.left(now) is None
    progress.begin("t")
    now = 102.0
    progress.add("t", 200)
    assert seen == [entry]
    # What an earlier run copied does not count for the rate of this one.
    assert entry.rate(now) == 100
    assert entry.left(now) == 4


class _Noting:
    def __init__(self, fail_at: int | None) -> None:
        self.copied: list[int] = []
        self.open = 0
        self.fail_at = fail_at
        self._guard = threading.Lock()

    @contextmanager
    def worker(self) -> Iterator[_Noting]:
        with self._guard:
            self.open += 1
        try:
            yield self
        finally:
            with self._guard:
                self.open -= 1

    def copy(self, chunk: Chunk) -> int:
        if chunk.number == self.fail_at:
            raise Interrupted("the server went away")
        with self._guard:
            self.copied.append(chunk.number)
        return chunk.number


@pytest.mark.parametrize("count", [1, 3])
def test_workers_copy_every_chunk_once(count: int) -> None:
    noting = _Noting(None)
    rows: list[int] = []
    copy_all(
        [Chunk("s", "t", number) for number in range(50)],
        noting.worker,
        count,
        begin=lambda table: None,
        done=lambda table, copied: rows.append(copied),
    )
    assert sorted(noting.copied) == sorted(rows) == list(range(50))
    assert noting.open == 0


def test_a_failure_stops_the_others_and_is_raised() -> None:
    noting = _Noting(3)
    with pytest.raises(Interrupted, match="went away"):
        copy_all(
            [Chunk("s", "t", number) for number in range(10_000)],
            noting.worker,
            2,
            begin=lambda table: None,
            done=lambda table, copied: None,
        )
    assert len(noting.copied) < 9_999
    assert noting.open == 0


def test_nothing_to_copy_opens_nothing() -> None:
    noting = _Noting(None)
    copy_all([], noting.worker, 2, begin=lambda _: None, done=lambda *_: None)
    assert noting.copied == []


def _rows(**rows: tuple[str, str]) -> list[RowDigest]:
    return [RowDigest((key,), region, digest) for key, (region, digest) in rows.items()]


def _differences(
    expected: Iterable[RowDigest], actual: Iterable[RowDigest]
) -> tuple[list[Finding], list[str]]:
    with RowComparison("postgres", "t") as comparison:
        comparison.compare(expected, actual)
        return comparison.findings(), [one.text for one in comparison.mismatches()]


def test_each_difference_is_named() -> None:
    expected = _rows(a=("eu", "1"), b=("eu", "2"), c=("eu", "3"), d=("eu", "4"))
    actual = _rows(a=("eu", "1"), b=("eu", "9"), d=("us", "4"), e=("us", "5"))
    findings, keys = _differences(expected, actual)
    assert {(found.code, found.region, found.keys) for found in findings} == {
        (Code.row_differs, "eu", ("b",)),
        (Code.row_missing, "eu", ("c",)),
        (Code.row_misplaced, "us", ("d",)),
        (Code.row_unexpected, "us", ("e",)),
    }
    assert sorted(keys) == ["b", "c", "d", "e"]


def test_a_row_that_stands_twice_is_a_difference() -> None:
    one = RowDigest(("a",), "eu", "1")
    findings, _ = _differences([one], [one, RowDigest(("a",), "us", "1")])
    assert [found.code for found in findings] == [Code.row_duplicated]


@given(
    st.dictionaries(
        st.text(max_size=3), st.tuples(st.sampled_from(["eu", "us"]), st.text(max_size=2))
    )
)
def test_equal_rows_in_any_order_have_no_difference(rows: dict[str, tuple[str, str]]) -> None:
    digests = [RowDigest((key,), region, digest) for key, (region, digest) in rows.items()]
    assert _differences(digests, reversed(digests)) == ([], [])
