"""From rows to documents."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from toolkit.layout import Layout, decide
from toolkit.mongo.layout import collections
from toolkit.mongo.rows import RowEncoder
from toolkit.placement import Statement, infer
from toolkit.topology import Region, Topology

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
    encoder = RowEncoder(LAYOUT, COLLECTIONS, name)
    found: dict[str, list[dict[str, Any]]] = {}
    for number, row in enumerate(ROWS[name]):
        region, document = encoder.document(row, ordinal=number)
        found.setdefault(encoder.places[region], []).append(document)
    return found


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
