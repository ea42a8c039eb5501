"""Packed rows are, byte for byte, what ``bson.encode`` makes of the encoder's documents."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import bson
import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Table, Text
from sqlalchemy import types as sql
from sqlalchemy.dialects import postgresql as pg

from tests.unit.support import TOPOLOGY, laid_out
from toolkit.mongo.layout import collections
from toolkit.mongo.numerics import DECIMAL_REFUSAL
from toolkit.mongo.packing import RowPacker, identity
from toolkit.mongo.rows import RowEncoder
from toolkit.mongo.types import ValueRefused
from toolkit.placement import Statement
from toolkit.types import Composite

INT64 = st.integers(-(2**63), 2**63 - 1)
MOMENTS = st.one_of(
    INT64, st.sampled_from([2**63 - 1, -(2**63), 0, -1, 2**62]), st.integers(-(10**15), 10**15)
).map(lambda moment: struct.pack(">q", moment))


def _plain(digits: int, scale: int) -> str:
    text = str(abs(digits)).rjust(scale + 1, "0")
    text = f"{text[:-scale]}.{text[-scale:]}" if scale else text
    return f"-{text}" if digits < 0 else text


NUMERICS = st.one_of(
    st.builds(_plain, st.integers(-(10**18), 10**18), st.integers(0, 25)),
    st.builds(_plain, st.integers(-(10**36), 10**36), st.integers(0, 40)),
    st.sampled_from(
        ["NaN", "Infinity", "-Infinity", "0", "0.00", "1" + "0" * 40, "18446744073709551616"]
    ),
)
KEYS = st.text(st.characters(exclude_characters="\x00", codec="utf-8"))
TEXTS = st.one_of(st.text(), st.sampled_from(["", "DKK", "\x00", "ø" * 200]))


@st.composite
def arrays(draw: st.DrawFn, elements: st.SearchStrategy[Any]) -> tuple[Any, ...]:
    items = draw(st.lists(st.none() | elements, max_size=3))
    low = draw(st.sampled_from([1, 1, 1, 0]))
    return (f"[{low}:{low + len(items) - 1}]" if items else "", items)


#: Every kind of type, with what the driver returns for a value: one for each read expression.
TYPES: list[tuple[sql.TypeEngine[Any], st.SearchStrategy[tuple[Any, ...]]]] = [
    (type_, values if type_.__class__ is pg.ARRAY else st.tuples(values))  # type: ignore[misc]
    for type_, values in [
        (sql.SmallInteger(), st.integers(-(2**15), 2**15 - 1)),
        (sql.Integer(), st.integers(-(2**31), 2**31 - 1)),
        (sql.BigInteger(), INT64),
        (sql.Numeric(), NUMERICS),
        (sql.Numeric(18, 2), NUMERICS),
        (sql.REAL(), st.floats(width=32)),
        (sql.DOUBLE_PRECISION(), st.floats()),
        (sql.Boolean(), st.booleans()),
        (sql.Text(), TEXTS),
        (sql.String(3), TEXTS),
        (sql.CHAR(4), TEXTS),
        (pg.ENUM("sad", "ok", name="mood"), st.sampled_from(["sad", "ok"])),
        (pg.CITEXT(), TEXTS),
        (pg.JSON(), TEXTS),
        (sql.Time(), st.sampled_from(["24:00:00", "12:34:56.789012"])),
        (pg.INET(), st.sampled_from(["::1", "10.0.0.0/8"])),
        (pg.BYTEA(), st.binary()),
        (pg.UUID(), st.binary(min_size=16, max_size=16)),
        (
            sql.Date(),
            st.one_of(st.integers(-(10**6), 10**6), st.sampled_from([2**31 - 1, -(2**31)])).map(
                lambda day: struct.pack(">i", day)
            ),
        ),
        (pg.TIMESTAMP(), MOMENTS),
        (pg.TIMESTAMP(timezone=True), MOMENTS),
        (
            pg.INTERVAL(),
            st.builds(
                lambda *parts: struct.pack(">qii", *parts),
                INT64,
                st.integers(-(2**31), 2**31 - 1),
                st.integers(-(2**31), 2**31 - 1),
            ),
        ),
        (
            pg.JSONB(),
            st.one_of(
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
                ).map(json.dumps),
                st.sampled_from(["1.50", "[0.10, 1e400]", "9" * 35, "[" * 120 + "]" * 120, "null"]),
            ),
        ),
        (
            pg.INT4RANGE(),
            st.tuples(
                *[st.none() | st.integers(-(2**31), 2**31 - 1).map(str)] * 2,
                st.sampled_from(["[)", "()", "empty"]),
            ).map(json.dumps),
        ),
        (
            Composite("spot", ("at", pg.TIMESTAMP(timezone=True)), ("$x", sql.Boolean())),
            st.tuples(st.none() | MOMENTS.map(bytes.hex), st.sampled_from([None, "true"])).map(
                json.dumps
            ),
        ),
        (pg.ARRAY(sql.Integer()), arrays(st.integers(-(2**31), 2**31 - 1))),
        (pg.ARRAY(pg.TIMESTAMP(timezone=True)), arrays(MOMENTS)),
    ]
]


def _layout() -> Any:
    metadata = MetaData()
    client = [
        Column("client_id", BigInteger, ForeignKey("client.id"), nullable=False),
        Column("payee", BigInteger, ForeignKey("client.id")),
    ]
    Table("client", metadata, Column("id", BigInteger, primary_key=True))
    Table("plan", metadata, Column("code", Text, primary_key=True), Column("next", Text))
    Table("member", metadata, *_copies(client), Column("plan", ForeignKey("plan.code")))
    metadata.tables["member"].append_column(Column("id", BigInteger, primary_key=True))
    for name, nullable in (("some", True), ("all", False)):
        typed = [
            Column(f"c{number}", type_, nullable=nullable)
            for number, (type_, _) in enumerate(TYPES)
        ]
        Table(name, metadata, Column("id", BigInteger, primary_key=True), *_copies(client), *typed)
    Table(
        "pair",
        metadata,
        Column("at", pg.TIMESTAMP(timezone=True), primary_key=True),
        Column("said", Text, primary_key=True),
        Column("line", sql.Integer, primary_key=True),
        *_copies(client),
    )
    Table("keyless", metadata, *_copies(client), Column("said", Text), Column("n", sql.Numeric))
    homes = {name: Statement(home=("client_id",)) for name in metadata.tables if name != "client"}
    homes.pop("plan")
    return laid_out(metadata, homes)


def _copies(columns: Sequence[Column[Any]]) -> list[Column[Any]]:
    return [
        Column(one.name, one.type, ForeignKey("client.id"), nullable=one.nullable)
        for one in columns
    ]


LAYOUT = _layout()
COLLECTIONS = collections(LAYOUT)
REGIONS = st.sampled_from(TOPOLOGY.codes)
IDS = st.tuples(INT64)

#: The values of a row's read expressions, then the regions, by table.
ROWS: dict[str, list[st.SearchStrategy[tuple[Any, ...]]]] = {
    "client": [IDS, st.tuples(REGIONS)],
    "client_region": [IDS, st.tuples(REGIONS)],
    "plan": [st.tuples(TEXTS, st.none() | TEXTS)],
    "member": [IDS, st.tuples(st.none() | INT64, st.none() | TEXTS), IDS],
    "pair": [st.tuples(MOMENTS, TEXTS, st.integers(-(2**31), 2**31 - 1)), IDS, IDS],
    "keyless": [IDS, IDS, st.tuples(st.none() | TEXTS), st.tuples(st.none() | NUMERICS)],
}
for name in ("member", "pair", "keyless"):
    ROWS[name].append(st.tuples(REGIONS, st.none() | REGIONS))


PACKERS = {name: RowPacker(LAYOUT, COLLECTIONS, name) for name in (*ROWS, "some", "all")}


def packed(table: str, rows: Sequence[Sequence[Any]]) -> dict[str, list[bytes]]:
    packer = PACKERS[table]
    found: dict[str, list[bytes]] = {}
    for batch in packer.batches(iter(rows), 200):
        for name, documents in batch.documents.items():
            found.setdefault(name, []).extend(bytes(one.raw) for one in documents)
    return found


def encoded(table: str, rows: Sequence[Sequence[Any]]) -> dict[str, list[bytes]]:
    encoder = RowEncoder(LAYOUT, COLLECTIONS, table)
    found: dict[str, list[bytes]] = {}
    for row in rows:
        region, document = encoder.document(row)
        found.setdefault(encoder.places[region], []).append(bson.encode(document))
    return found


def same(table: str, rows: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]]) -> None:
    """Compare ``rows`` packed with ``wanted`` encoded, or both are refused."""
    try:
        expected = encoded(table, wanted)
    except ValueRefused:
        with pytest.raises(ValueRefused):
            packed(table, rows)
        return
    assert packed(table, rows) == expected


def row_of(parts: Sequence[st.SearchStrategy[tuple[Any, ...]]]) -> st.SearchStrategy[Any]:
    return st.tuples(*parts).map(lambda found: tuple(cell for part in found for cell in part))


@pytest.mark.parametrize("table", [name for name in ROWS if name != "keyless"])
def test_tables_of_every_form(table: str) -> None:
    @settings(max_examples=50)
    @given(st.lists(row_of(ROWS[table]), min_size=1, max_size=5))
    def check(rows: list[tuple[Any, ...]]) -> None:
        same(table, rows, rows)

    check()


@pytest.mark.parametrize("table", ["some", "all"])
@pytest.mark.parametrize("number", range(len(TYPES)), ids=lambda number: str(TYPES[number][0]))
def test_every_type(table: str, number: int) -> None:
    """Also NULL where the schema says that there is none: it may be older than the data."""

    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.none() | TYPES[number][1], min_size=1, max_size=5))
    def check(values: list[tuple[Any, ...] | None]) -> None:
        rows = []
        for value in values:
            cells = [
                (None,) * len(COLLECTIONS.shapes[table].field(f"c{one}").bson.read_expression("c"))
                for one in range(len(TYPES))
            ]
            if value is not None:
                cells[number] = value
            rows.append((1, 2, None, *(cell for part in cells for cell in part), "eu", None))
        same(table, rows, rows)

    check()


@given(st.lists(row_of(ROWS["keyless"]), min_size=1, max_size=4))
def test_a_row_without_a_key_has_the_digest_and_number_that_the_source_gives(
    rows: list[tuple[Any, ...]],
) -> None:
    encoder = RowEncoder(LAYOUT, COLLECTIONS, "keyless")
    place = len(encoder.expressions)
    try:
        digests = [encoder.document(row)[1]["_id"]["digest"] for row in rows]
    except ValueRefused:
        return
    numbered = [
        (*row[:place], digest, number, *row[place:])
        for number, (row, digest) in enumerate(zip(rows, digests, strict=True))
    ]
    found = packed("keyless", numbered)
    expected: dict[str, list[bytes]] = {}
    for number, row in enumerate(rows):
        region, document = encoder.document(row, ordinal=number)
        expected.setdefault(encoder.places[region], []).append(bson.encode(document))
    assert found == expected


def test_the_source_numbers_equal_rows() -> None:
    *_, digest, ordinal = RowPacker(LAYOUT, COLLECTIONS, "keyless").expressions
    assert ordinal == f"(row_number() OVER (PARTITION BY {digest}) - 1)::int4"


def test_what_is_refused_is_said() -> None:
    row = (1, 1, None, "1" * 35, "eu", None)
    keyless = (*row[:2], None, row[3], "d" * 64, 0, "eu", None)
    with pytest.raises(ValueRefused, match=DECIMAL_REFUSAL[:20]):
        packed("keyless", [keyless])


@pytest.mark.parametrize("region", [None, "xx"])
def test_a_row_of_no_region_is_refused(region: str | None) -> None:
    with pytest.raises(ValueRefused, match="no region"):
        packed("client", [(1, region)])


def test_batches_are_bounded_by_bytes() -> None:
    packer = RowPacker(LAYOUT, COLLECTIONS, "plan")
    rows = iter([("x" * 50, None)] * 10)
    sizes = [batch.rows for batch in packer.batches(rows, 200)]
    assert sizes == [3, 3, 3, 1]
    first, second = next(
        packer.batches(iter([("a", None), ("b", None), ("c", None)]), 999)
    ).halves()
    assert (first.rows, second.rows) == (2, 1)


@pytest.mark.parametrize(
    "value",
    [
        1,
        Int64(1),
        1.5,
        "x",
        "",
        b"x",
        True,
        None,
        Decimal128("1"),
        DatetimeMS(2**60),
        ObjectId(),
        {"a": 1, "b": "x"},
        bson.Timestamp(1, 2),
        bson.Regex("x"),
    ],
)
def test_the_identity_of_a_document(value: Any) -> None:
    document = bson.encode({"_id": value, "more": "x"})
    assert identity(document) == bson.encode({"_id": value})


def test_the_counter_of_a_link_is_not_the_sources() -> None:
    packer = RowPacker(LAYOUT, COLLECTIONS, "client_region")
    (one,) = packed("client_region", [(1, "eu")])["client_region"]
    later = bson.encode({"_id": Int64(1), "region": "eu", "epoch": Int64(7)})
    other = bson.encode({"_id": Int64(1), "region": "gl", "epoch": Int64(7)})
    assert packer.content(one) == packer.content(later) != packer.content(other)
    assert RowPacker(LAYOUT, COLLECTIONS, "client").content(one) == one
