"""From rows to documents: the shortcuts for columns say what each type itself says."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from toolkit.layout import Layout, decide
from toolkit.mongo.columns import column_encoder
from toolkit.mongo.layout import collections
from toolkit.mongo.rows import RowEncoder
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

    check()


def test_infinity_is_refused_in_a_column() -> None:
    carried = bson_type(parse("timestamp"))
    for moment in (2**63 - 1, -(2**63)):
        with pytest.raises(ValueRefused):
            column_encoder(carried)([[struct.pack(">q", 0), struct.pack(">q", moment)]])


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
