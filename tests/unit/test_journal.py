"""Chunks, ranges of keys, and what is said where two configurations differ."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from toolkit.journal import Chunk, Key, chunks, differences, in_order, ranges

_BOUNDS = st.lists(st.integers(0, 99), unique=True).map(sorted)


def _chunks(bounds: list[int]) -> list[Chunk]:
    return chunks("postgres", "t", [(f"{bound:02}",) for bound in bounds])


def _holds(lower: Key | None, upper: Key | None, key: str) -> bool:
    return (lower is None or (key,) > lower) and (upper is None or (key,) <= upper)


@given(_BOUNDS, st.data())
def test_ranges_cover_what_the_chunks_cover(bounds: list[int], data: st.DataObject) -> None:
    everything = _chunks(bounds)
    some = data.draw(st.lists(st.sampled_from(everything), unique=True))
    found = ranges(some)
    for number in range(100):
        key = f"{number:02}"
        covered = sum(_holds(lower, upper, key) for lower, upper in found)
        assert covered == sum(_holds(one.lower, one.upper, key) for one in some)
    # Neighbours are one range.
    assert not {upper for _, upper in found if upper} & {lower for lower, _ in found if lower}


def test_all_chunks_are_one_open_range() -> None:
    assert ranges(_chunks([3, 7, 20])) == [(None, None)]
    assert ranges([]) == []


@given(_BOUNDS, st.randoms())
def test_chunks_are_put_in_the_order_of_their_keys(bounds: list[int], random: Any) -> None:
    everything = _chunks(bounds)
    mixed = list(everything)
    random.shuffle(mixed)
    assert in_order(mixed) == everything


def test_a_part_that_was_split_off_stands_where_its_keys_do() -> None:
    rest = Chunk("postgres", "t", 0, ("b",), None)
    part = Chunk("postgres", "t", 1, None, ("b",))
    assert in_order([rest, part]) == [part, rest]


def test_equal_documents_do_not_differ() -> None:
    document = {"regions": ["eu", "us"], "root": {"table": "client", "map": {"de": "eu"}}}
    assert differences(document, document) == []


def test_what_differs_is_named_by_its_place() -> None:
    was = {"regions": ["eu"], "root": {"table": "client", "map": {"de": "eu", "us": "na"}}}
    now = {"regions": ["eu", "ap"], "root": {"table": "client", "map": {"de": "eu"}}}
    assert differences(was, now) == [
        'regions: was ["eu"], is ["eu", "ap"]',
        'root.map.us: was "na", is null',
    ]


def test_a_long_value_is_only_said_to_differ() -> None:
    assert differences({"clients": ["x" * 200]}, {"clients": None}) == [
        "clients: is not what it was"
    ]
