"""Answers are compared as multisets of typed values, whichever server gave them."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from toolkit.checks.cells import ABSENT, NULL, Cell, Reader, companions, render
from toolkit.checks.comparison import Answer, Difference, Row, unmatched
from toolkit.errors import SAMPLES
from toolkit.types import parse

UUID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
AT = datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
AT_US = 1_704_164_645_678_901

#: A type, what PostgreSQL returns for the reader's expression, and the document's fields.
EQUAL: list[tuple[str, object, dict[str, Any]]] = [
    ("smallint", 1, {"x": 1}),
    ("bigint", 1, {"x": 1}),
    ("integer", 1, {"x": Int64(1)}),
    ("numeric", Decimal("1.10"), {"x": Decimal128("1.1")}),
    ("numeric", Decimal("100"), {"x": Decimal128("1E+2")}),
    ("numeric", Decimal("NaN"), {"x": Decimal128("NaN")}),
    ("numeric", Decimal("-Infinity"), {"x": Decimal128("-Infinity")}),
    ("double precision", 0.5, {"x": 0.5}),
    ("double precision", float("nan"), {"x": float("nan")}),
    ("real", 0.10000000149011612, {"x": 0.10000000149011612}),
    ("boolean", "true", {"x": True}),
    ("text", "ä", {"x": "ä"}),
    ("character", "DK", {"x": "DK"}),
    ("mood", "so so", {"x": "so so"}),
    ("uuid", str(UUID), {"x": UUID}),
    ("bytea", "00ff", {"x": b"\x00\xff"}),
    ("date", "19724", {"x": datetime(2024, 1, 2, tzinfo=UTC)}),
    ("timestamp with time zone", str(AT_US), {"x": AT, "x_us": 901}),
    ("timestamp with time zone", str(AT_US - 901), {"x": AT}),
    ("interval", "1 2 3", {"x": {"months": 1, "days": 2, "us": Int64(3)}}),
    ("integer[]", [1, None], {"x": [Int64(1), None]}),
    ("numeric[]", [Decimal("1.0")], {"x": [Decimal128("1.00")]}),
    ("text[]", [["a"], ["b"]], {"x": [["a"], ["b"]]}),
    (
        "jsonb",
        '{"b": [1, 2.50, null], "a": "x"}',
        {"x": {"a": "x", "b": [1, Decimal128("2.5"), None]}},
    ),
    ("jsonb", '"1"', {"x": "1"}),
    ("json", '{"a": 1}', {"x": '{"a":1}'}),
    ("text", None, {"x": None}),
    ("timestamp with time zone", None, {"x": None, "x_us": None}),
]

DIFFERENT: list[tuple[str, object, dict[str, Any]]] = [
    ("bigint", 1, {"x": True}),
    ("bigint", 1, {"x": 1.0}),
    ("bigint", 1, {"x": Decimal128("1")}),
    ("numeric", Decimal(1), {"x": 1}),
    ("numeric", Decimal("0.5"), {"x": 0.5}),
    ("double precision", 1.0, {"x": 1}),
    ("text", "1", {"x": 1}),
    ("text", "", {"x": None}),
    ("text", None, {"x": ""}),
    ("text", None, {}),
    ("uuid", str(UUID), {"x": str(UUID)}),
    ("date", "19724", {"x": AT}),
    ("timestamp with time zone", str(AT_US), {"x": AT}),
    ("timestamp with time zone", str(AT_US), {"x": AT, "x_us": 902}),
    ("integer[]", [1, 2], {"x": [2, 1]}),
    ("jsonb", "[1, 2]", {"x": [2, 1]}),
    ("jsonb", '{"a": 1}', {"x": {"a": "1"}}),
    ("jsonb", "{}", {"x": []}),
    ("jsonb", "true", {"x": 1}),
]


def both(type_: str, value: object, document: dict[str, Any]) -> tuple[Cell, Cell]:
    reader = Reader(parse(type_))
    return reader.cell(value), reader.field(document, "x")


@pytest.mark.parametrize(("type_", "value", "document"), EQUAL)
def test_equal_values(type_: str, value: object, document: dict[str, Any]) -> None:
    one, other = both(type_, value, document)
    assert one == other
    assert hash(one) == hash(other)
    assert render(one)


@pytest.mark.parametrize(("type_", "value", "document"), DIFFERENT)
def test_values_that_differ_in_value_or_type(
    type_: str, value: object, document: dict[str, Any]
) -> None:
    one, other = both(type_, value, document)
    assert one != other


def test_integer_types_are_one_kind_and_numeric_is_another() -> None:
    kinds = [
        Reader(parse(name)).cell(Decimal(1) if name == "numeric" else 1)
        for name in ("smallint", "integer", "bigint", "numeric")
    ]
    assert kinds[0] == kinds[1] == kinds[2] != kinds[3]


def test_an_enum_is_the_same_in_another_schema() -> None:
    assert Reader(parse("bank.mood")).cell("ok") == Reader(parse("mood")).cell("ok")


def test_companions_belong_to_a_value() -> None:
    columns = {
        "at": parse("timestamptz"),
        "n": parse("int4"),
        "b": parse("timestamp"),
        "b_us": parse("int4"),
    }
    assert companions(columns) == {"at_us"}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (NULL, "NULL"),
        (ABSENT, "(no such field)"),
        (("text", "it's"), '"it\'s"'),
        (("integer", 5), "5"),
        (("date", "19724"), "2024-01-02"),
        (("date", "infinity"), "infinity"),
        (("timestamp with time zone", str(AT_US)), "2024-01-02 03:04:05.678901+00:00"),
        (("timestamp without time zone", "0"), "1970-01-01 00:00:00"),
        (("text", "x" * 100), "'" + "x" * 59 + "..."),
    ],
)
def test_a_cell_for_people(cell: Cell, text: str) -> None:
    assert render(cell) == text


# Multisets --------------------------------------------------------------------------------------


def row(*values: object) -> Row:
    return tuple(("float" if isinstance(value, float) else "integer", value) for value in values)


cells = st.tuples(st.sampled_from(["integer", "text"]), st.integers(0, 2))
rows = st.lists(st.tuples(cells, cells), max_size=12)


@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_count(some: list[Row], random: Any) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    assert unmatched(Counter(some), Counter(shuffled)) == ([], [])


@given(rows, rows)
def test_how_often_a_row_is_there_does(one: list[Row], other: list[Row]) -> None:
    missing, unexpected = unmatched(Counter(one), Counter(other))
    assert Counter(missing) == Counter(one) - Counter(other)
    assert Counter(unexpected) == Counter(other) - Counter(one)


def test_the_last_digits_of_floats_do_not_count() -> None:
    third = 0.1 + 0.2
    assert third != 0.3
    assert unmatched(Counter([row(1, third)]), Counter([row(1, 0.3)])) == ([], [])
    assert unmatched(Counter([row(1, third)]), Counter([row(2, 0.3)])) != ([], [])
    assert unmatched(Counter([row(1.0)]), Counter([row(1.000001)])) != ([], [])
    assert unmatched(Counter([row(0.0)]), Counter([row(1e-300)])) != ([], [])
    assert unmatched(Counter([row(float("inf"))]), Counter([row(1.0)])) != ([], [])


def test_close_floats_are_matched_one_to_one() -> None:
    one = Counter([row(1, 1.0), row(1, 1.0), row(1, 2.0)])
    other = Counter([row(1, 1.0 + 1e-12), row(1, 2.0 - 1e-12), row(1, 2.0)])
    missing, unexpected = unmatched(one, other)
    assert missing == [row(1, 1.0)]
    assert len(unexpected) == 1


@given(st.lists(st.floats(-1e6, 1e6), max_size=10), st.randoms(use_true_random=False))
def test_floats_that_were_summed_in_another_order_match(values: list[float], random: Any) -> None:
    moved = [value * (1 + random.uniform(-1, 1) * 1e-13) for value in values]
    random.shuffle(moved)
    assert unmatched(Counter(map(row, values)), Counter(map(row, moved))) == ([], [])


def test_a_difference_is_counted_exactly_and_sampled() -> None:
    columns = {"x": parse("int4")}
    difference = Difference()
    assert difference.equal
    source = Answer(columns, Counter(row(number) for number in range(30)))
    other = Answer(columns, Counter(row(number) for number in range(100, 140)), frozenset({"y"}))
    difference.add(source, other, {"client": 7})
    assert (difference.missing, difference.unexpected, difference.count) == (30, 40, 40)
    assert not difference.equal
    assert len(difference.samples) == SAMPLES
    assert difference.samples[0] == "missing (client = 7): x = 0"
    assert difference.samples[-1].startswith("unexpected (client = 7): x = 1")
    assert difference.words == "30 row(s) missing, 40 row(s) unexpected, the source returns no y"
