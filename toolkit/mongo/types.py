"""The table of types: how every PostgreSQL type is carried in BSON. Pure.

``docs/layout-collections.md`` shows it to the operator. A type that is not named here travels as
its text form, and is marked so in the validator and in the notes of the layout.
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit.mongo.arrays import Array
from toolkit.mongo.documents import Json
from toolkit.mongo.expected import VERIFY_OPTIONS
from toolkit.mongo.moments import Day, Interval, Timestamp
from toolkit.mongo.numerics import BigInteger, Double, Integer, Numeric, Truth
from toolkit.mongo.strings import Bytes, String, Uuid
from toolkit.mongo.values import MISSING, BsonType, Schema, ValueRefused
from toolkit.types import PostgresType

__all__ = [
    "MISSING",
    "VERIFY_OPTIONS",
    "BsonType",
    "Schema",
    "ValueRefused",
    "bson_type",
]


def _length(type_: PostgresType) -> int | None:
    return type_.arguments[0] if type_.arguments else None


_SCALARS: dict[str, Callable[[PostgresType], BsonType]] = {
    "smallint": lambda _: Integer(small=True),
    "integer": lambda _: Integer(),
    "bigint": lambda _: BigInteger(),
    "numeric": lambda type_: Numeric(_length(type_)),
    "real": lambda _: Double(single=True),
    "double precision": lambda _: Double(),
    "boolean": lambda _: Truth(),
    "text": lambda _: String(),
    "name": lambda _: String(),
    "citext": lambda _: String(folds_case=True),
    "character varying": lambda type_: String(length=_length(type_)),
    "character": lambda type_: String(length=_length(type_)),
    "json": lambda _: String(),
    "time without time zone": lambda _: String(),
    "time with time zone": lambda _: String(),
    "bytea": lambda _: Bytes(),
    "uuid": lambda _: Uuid(),
    "date": lambda _: Day(),
    "timestamp without time zone": lambda _: Timestamp(zoned=False),
    "timestamp with time zone": lambda _: Timestamp(),
    "interval": lambda _: Interval(),
    "jsonb": lambda _: Json(),
}


def bson_type(type_: PostgresType) -> BsonType:
    """Return how a PostgreSQL type is carried."""
    if type_.is_array:
        # A jsonb element can be an array itself: its text form keeps the dimensions apart.
        if type_.name == "jsonb":
            return Array(String(form_of="jsonb"))
        return Array(bson_type(type_.element))
    if type_.labels:
        return String(labels=type_.labels)
    scalar = _SCALARS.get(type_.name)
    return scalar(type_) if scalar else String(form_of=type_.name)
