"""Encoding and canonical texts by columns: the shortcuts say what each type itself says."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from toolkit.digest import row_digest
from toolkit.layout import Layout, decide
from toolkit.mongo.columns import column_encoder
from toolkit.mongo.digest import Cells, places
from toolkit.mongo.layout import collections
from toolkit.mongo.rows import RowEncoder
from toolkit.mongo.texts import column_texts
from toolkit.mongo.types import ValueRefused, bson_type
from toolkit.placement import Statement, infer
from toolkit.topology import Region, Topology
from toolkit.types import parse


def _plain(number: Decimal) -> str:
    return format(number, "f")


NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**18)).map(_plain),
    st.integers(-(10**34) + 1, 10**34 - 1).map(str),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "0.00", "0.000001", "1" + "0" * 40]),
)
SIGNED_64 = st.integers(-(2**63), 2**63 - 1)

#: Type to what the driver returns for a value.
READ: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": SIGNED_64,
    "numeric": NUMBERS.filter(lambda text: not text.startswith("-0") or text.strip("-0.")),
    "boolean": st.booleans(),
    "text": st.text(),
    "uuid": st.binary(min_size=16, max_size=16),
    "double precision": st.floats(),
    "timestamp with time zone": st.integers(-(2**62), 2**62).map(lambda n: struct.pack(">q", n)),
    "date": st.integers(-(10**6), 10**6).map(lambda n: struct.pack(">i", n)),
    "jsonb": st.sampled_from(['{"a": 1}', "[1.50]", '""']),
}


@pytest.mark.parametrize("name", READ)
def test_columns_are_encoded_as_cells_are(name: str) -> None:
    carried = bson_type(parse(name))

    @given(st.lists(st.one_of(st.none(), READ[name]), min_size=1))
    def check(values: Sequence[Any]) -> None:
        try:
            cells = [carried.encode((value,)) for value in values]
        except ValueRefused:
            with pytest.raises(ValueRefused):
                column_encoder(carried)([values])
            return
        columns = column_encoder(carried)([values])
        assert repr(list(zip(*columns, strict=True))) == repr(cells)
        texts = column_texts(carried)(columns)
        assert list(texts) == [carried.canonical(parts) for parts in cells]

    check()


def test_infinity_is_refused_in_a_column() -> None:
    carried = bson_type(parse("timestamp"))
    for moment in (2**63 - 1, -(2**63)):
        with pytest.raises(ValueRefused):
            column_encoder(carried)([[struct.pack(">q", 0), struct.pack(">q", moment)]])


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("integer", [(Int64(1),), (2**31,), (True,), (1.0,), ("1",), (Decimal128("1"),)]),
        ("bigint", [(1,), (True,), (1.0,), ("1",)]),
        ("numeric", [(1,), (Int64(1),), ("1",), (1.0,)]),
        ("text", [(1,), (b"1",), (Binary(b"1", 4),)]),
        (
            "timestamp",
            [
                (DatetimeMS(0), None),
                (None, 0),
                (DatetimeMS(0), 1000),
                (DatetimeMS(0), -1),
                (DatetimeMS(0), Int64(0)),
                (0, 0),
            ],
        ),
    ],
)
def test_a_value_of_another_type_in_a_column_has_no_text_of_a_row(
    name: str, wrong: list[tuple[Any, ...]]
) -> None:
    carried = bson_type(parse(name))
    for parts in wrong:
        columns = list(zip(parts, parts, strict=True))
        texts = column_texts(carried)([list(column) for column in columns])
        assert all(text is not None and text.startswith("\0") for text in texts)


def test_a_decimal_of_every_form() -> None:
    carried = bson_type(parse("numeric"))
    values = ["-0.00", "-0", "1E+3", "1E-30", "1E-60", "NaN", "sNaN", "-Infinity", "9" * 34, "1E-6"]
    column = [Decimal128(value) for value in values]
    wanted = [carried.canonical((value,)) for value in column]
    assert list(column_texts(carried)([column])) == wanted
    assert wanted[:3] == ["-0.00", "-0", "1000"]


# Documents --------------------------------------------------------------------------------------


def layout() -> Layout:
    metadata = MetaData()
    Table("plan", metadata, Column("code", Text, primary_key=True))
    Table(
        "client",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("plan", Text, ForeignKey("plan.code")),
        Column("more", JSONB),
    )
    Table(
        "visit",
        metadata,
        Column("client_id", BigInteger, ForeignKey("client.id"), primary_key=True),
        Column("line", Integer, primary_key=True),
        Column("said", Text),
    )
    Table("note", metadata, Column("client_id", BigInteger, ForeignKey("client.id")))
    Table(
        "transfer",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("payer", BigInteger, ForeignKey("client.id"), nullable=False),
        Column("payee", BigInteger, ForeignKey("client.id")),
    )
    placement = infer(metadata, "client", {"transfer": Statement(home=("payer",))})
    return decide(metadata, Topology((Region("eu"), Region("us"))), placement)


LAYOUT = layout()
COLLECTIONS = collections(LAYOUT)

#: Rows as the source gives them: read expressions, region, regions of references.
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "plan": [("a",), ("b",)],
    "client": [(1, "a", None, "eu"), (2, None, '{"$ref": "x", "$id": 1}', "us")],
    "visit": [(1, 1, "x", "eu"), (1, 2, None, "eu"), (2, 1, "", "us")],
    "note": [(1, "eu"), (1, "eu"), (None, "us")],
    "transfer": [(7, 1, 2, "eu", "us"), (8, 2, None, "us", None)],
    "client_region": [(1, "eu"), (2, "us")],
}


def documents(name: str) -> dict[str, list[dict[str, Any]]]:
    return RowEncoder(LAYOUT, COLLECTIONS, name).documents(ROWS[name])


def test_documents_go_to_their_collections() -> None:
    assert documents("transfer") == {
        "transfer_eu": [
            {"_id": 7, "region": "eu", "payer": 1, "payee": 2, "payee_region": "us"},
        ],
        "transfer_us": [
            {"_id": 8, "region": "us", "payer": 2, "payee": None, "payee_region": None},
        ],
    }
    assert documents("client_region") == {
        "client_region": [
            {"_id": 1, "region": "eu", "epoch": 0},
            {"_id": 2, "region": "us", "epoch": 0},
        ]
    }
    assert documents("visit")["visit_us"] == [
        {"_id": {"client_id": 2, "line": 1}, "region": "us", "said": ""}
    ]
    first, second = documents("note")["note_eu"]
    assert (first["_id"]["ordinal"], second["_id"]["ordinal"]) == (0, 1)
    assert first["_id"]["digest"] == second["_id"]["digest"]


def test_equal_rows_are_counted_over_batches() -> None:
    encoder = RowEncoder(LAYOUT, COLLECTIONS, "note")
    for ordinal in range(3):
        (document,) = encoder.documents([(1, "eu")])["note_eu"]
        assert document["_id"]["ordinal"] == ordinal


@pytest.mark.parametrize("name", ROWS)
def test_cells_of_a_batch_are_those_of_each_document(name: str) -> None:
    cells = Cells(LAYOUT, COLLECTIONS, name)
    for those in documents(name).values():
        one_by_one = [tuple(cells.of(document)) for document in those]
        assert [tuple(row) for row in cells.of_batch(those)] == one_by_one
        # One of another form sends the whole batch the long way, and alters nothing else.
        odd = {**those[0], "odd": 1}
        assert [tuple(row) for row in cells.of_batch([*those, odd])][:-1] == one_by_one


def test_cells_stand_in_the_order_of_the_source() -> None:
    cells = Cells(LAYOUT, COLLECTIONS, "transfer")
    (document,) = documents("transfer")["transfer_eu"]
    assert cells.of(document) == ["7", "1", "2", "eu", "us"]
    assert (cells.region, cells.key) == (3, [0])
    assert cells.key_of(cells.of(document)) == ("7",)
    assert cells.key_text({"_id": document["_id"]}) == "7"
    assert Cells(LAYOUT, COLLECTIONS, "plan").region is None
    note = Cells(LAYOUT, COLLECTIONS, "note")
    assert (note.key, note.key_of(["1", "eu"])) == ([], ("1",))


@pytest.mark.parametrize(
    "change",
    [
        {"odd": None},
        {"payee": Int64(3)},
        {"payee": None},
        {"payee_region": None},
        {"region": "us"},
        {"region": None},
        {"region": 1},
        {"payer": 1},
        {"payer": Decimal128("1")},
        {"payer": datetime(2024, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)
def test_every_change_alters_the_digest(change: dict[str, Any]) -> None:
    cells = Cells(LAYOUT, COLLECTIONS, "transfer")
    (document,) = documents("transfer")["transfer_eu"]
    (before,) = map(row_digest, cells.of_batch([document]))
    changed = {**document, **change}
    (after,) = map(row_digest, cells.of_batch([changed]))
    assert before != after
    assert after == row_digest(cells.of(changed))


@pytest.mark.parametrize("field", ["region", "payer", "payee", "payee_region"])
def test_a_missing_field_is_not_null(field: str) -> None:
    cells = Cells(LAYOUT, COLLECTIONS, "transfer")
    (document,) = documents("transfer")["transfer_us"]
    missing = {name: value for name, value in document.items() if name != field}
    digests = {row_digest(cells.of(one)) for one in (document, missing, {**document, field: None})}
    assert len(digests) == (3 if document[field] is not None else 2)


@pytest.mark.parametrize(
    "identity",
    [
        {"line": 1, "client_id": Int64(2)},
        {"client_id": Int64(2)},
        {"client_id": Int64(2), "line": 1, "more": 1},
        {"client_id": Int64(2), "line": Int64(1)},
        Int64(2),
        None,
    ],
    ids=str,
)
def test_a_key_of_another_form_alters_the_digest(identity: Any) -> None:
    cells = Cells(LAYOUT, COLLECTIONS, "visit")
    (document,) = documents("visit")["visit_us"]
    (after,) = map(row_digest, cells.of_batch([{**document, "_id": identity}]))
    assert after != row_digest(cells.of(document))


def test_a_counter_of_another_type_alters_the_digest() -> None:
    cells = Cells(LAYOUT, COLLECTIONS, "client_region")
    link, *_ = documents("client_region")["client_region"]
    same = row_digest(cells.of({**link, "epoch": Int64(5)}))
    assert row_digest(cells.of(link)) == same
    assert row_digest(cells.of({**link, "epoch": 5})) != same


def test_places() -> None:
    assert places(LAYOUT, COLLECTIONS, "plan") == [("plan", None)]
    assert places(LAYOUT, COLLECTIONS, "client_region") == [("client_region", None)]
    assert places(LAYOUT, COLLECTIONS, "note") == [("note_eu", "eu"), ("note_us", "us")]
