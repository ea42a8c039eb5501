"""What a validator asks beyond the form of a document, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Enum,
    ForeignKey,
    Interval,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from toolkit.layout import Layout, decide
from toolkit.mongo.digest import Cells
from toolkit.mongo.expected import Expected
from toolkit.mongo.layout import collections
from toolkit.mongo.validity import unproven
from toolkit.mongo.values import Schema
from toolkit.placement import Statement, infer
from toolkit.topology import Region, Topology
from toolkit.types import Composite


def layout() -> Layout:
    metadata = MetaData()
    Table(
        "client",
        metadata,
        Column("id", BigInteger, primary_key=True),
        Column("name", String(8), nullable=False),
        Column("mood", Enum("calm", "cross", name="mood")),
        Column("born", Date),
        Column("seen", DateTime(timezone=True)),
        comment="clients",
    )
    Table(
        "payment",
        metadata,
        Column("client_id", BigInteger, ForeignKey("client.id"), primary_key=True),
        Column("line", BigInteger, primary_key=True),
        Column("payee", BigInteger, ForeignKey("client.id"), nullable=False),
        Column("amount", Numeric(8, 2)),
        Column("small", SmallInteger),
        Column("tags", ARRAY(Text)),
        Column("more", JSONB),
        # Nothing says of its ``name`` what is proven of the client's.
        Column("spot", Composite("spot", ("name", String(8)))),
        Column("lasts", Interval),
    )
    placement = infer(metadata, "client", {"payment": Statement(home=("client_id",))})
    return decide(metadata, Topology((Region("eu"), Region("us"))), placement)


LAYOUT = layout()
COLLECTIONS = collections(LAYOUT)


def of(name: str, collection: str) -> tuple[Schema, Expected]:
    (validator,) = [one.validator for one in COLLECTIONS.collections() if one.name == collection]
    return validator, dict(Cells(LAYOUT, COLLECTIONS, name).places())[collection]


@pytest.mark.parametrize(
    ("name", "collection"), [("client", "client_eu"), ("client_region", "client_region")]
)
def test_types_regions_lengths_and_labels_are_proven(name: str, collection: str) -> None:
    assert unproven(*of(name, collection)) is None


def test_bounds_and_elements_are_left_to_the_server() -> None:
    validator, expected = of("payment", "payment_us")
    left = unproven(validator, expected)
    properties = validator["$jsonSchema"]["properties"]
    assert left == {
        "$jsonSchema": {
            "properties": {name: properties[name] for name in ("small", "tags", "spot")}
        }
    }


@pytest.mark.parametrize(
    "change",
    [
        {"properties": {"name": {"bsonType": "string", "maxLength": 7}}},
        {"properties": {"mood": {"bsonType": "string", "enum": ["calm"]}}},
        {"properties": {"region": {"enum": ["us"]}}},
        {"properties": {"seen_us": {"bsonType": "int", "minimum": 0, "maximum": 998}}},
        {"minProperties": 9},
    ],
    ids=str,
)
def test_a_stricter_validator_is_left_to_the_server(change: dict[str, Any]) -> None:
    validator, expected = of("client", "client_eu")
    schema = {**validator["$jsonSchema"], **change}
    schema["properties"] = {
        **validator["$jsonSchema"]["properties"],
        **change.get("properties", {}),
    }
    assert unproven({"$jsonSchema": schema}, expected) is not None


def test_another_kind_of_validator_is_left_to_the_server() -> None:
    validator, expected = of("client", "client_eu")
    assert unproven({"name": "x"}, expected) == {"name": "x"}
    both = {**validator, "name": "x"}
    assert unproven(both, expected) == both
    properties = dict(validator["$jsonSchema"]["properties"])
    del properties["name"]
    fewer = {"$jsonSchema": {**validator["$jsonSchema"], "properties": properties}}
    assert unproven(fewer, expected) == fewer
