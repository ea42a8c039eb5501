"""The table of types: how every PostgreSQL type is carried in BSON. Pure.

``docs/layout-collections.md`` shows it to the operator. A type that is not named here travels as
its text form, and is marked so in the validator and in the notes of the layout.
"""

from __future__ import annotations

from collections.abc import Callable

from toolkit.mongo.arrays import Array
from toolkit.mongo.documents import DEPTH, Json
from toolkit.mongo.expected import VERIFY_OPTIONS
from toolkit.mongo.moments import Day, Interval, Timestamp
from toolkit.mongo.naming import field_names
from toolkit.mongo.nested import Composite, Multirange, Part, range_of
from toolkit.mongo.numerics import BigInteger, Double, Integer, Numeric, Truth
from toolkit.mongo.strings import Bytes, Registered, String, Uuid
from toolkit.mongo.values import MISSING, BsonType, Schema, ValueRefused
from toolkit.types import PostgresType

__all__ = [
    "MISSING",
    "VERIFY_OPTIONS",
    "BsonType",
    "Schema",
    "ValueRefused",
    "bson_type",
    "text_type",
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
}


#: PostgreSQL's types that are numbers of a catalogue, and which.
_REGISTERED = {
    "regclass": "pg_class",
    "regcollation": "pg_collation",
    "regconfig": "pg_ts_config",
    "regdictionary": "pg_ts_dict",
    "regnamespace": "pg_namespace",
    "regoper": "pg_operator",
    "regoperator": "pg_operator",
    "regproc": "pg_proc",
    "regprocedure": "pg_proc",
    "regrole": "pg_authid",
    "regtype": "pg_type",
}

#: PostgreSQL's limit of dimensions: as many levels an array can add.
_DIMENSIONS = 6


def bson_type(type_: PostgresType, *, level: int = 0) -> BsonType:
    """Return how a PostgreSQL type is carried.

    Args:
        type_: the type.
        level: how many subdocuments and arrays stand around a value.
    """
    if type_.is_array:
        element = bson_type(type_.element, level=level + _DIMENSIONS)
        if element.array_like:
            # Such an element can be an array itself: its text form keeps the dimensions apart.
            return Array(String(form_of=type_.name))
        return Array(element)
    if type_.labels:
        return String(labels=type_.labels)
    if type_.fields:
        return _composite(type_, level + 1)
    if type_.subtype is not None:
        item = range_of(bson_type(type_.subtype, level=level + 1 + type_.multi))
        return Multirange(item) if type_.multi else item
    if type_.name == "jsonb":
        return Json(depth=DEPTH - level)
    if (catalogue := _REGISTERED.get(type_.name)) is not None:
        return Registered(form_of=type_.name, catalogue=catalogue)
    scalar = _SCALARS.get(type_.name)
    return scalar(type_) if scalar else String(form_of=type_.name)


def text_type(type_: PostgresType) -> BsonType:
    """Return how a PostgreSQL type is carried where the operator wants its text form."""
    carried = bson_type(type_)
    if isinstance(carried, String):
        return carried
    return String(form_of=type_.name + "[]" * type_.dimensions)


def _composite(type_: PostgresType, level: int) -> Composite:
    """Return the subdocument of a composite type; its fields are called as a document's are."""
    attributes = tuple(name for name, _ in type_.fields)
    carried = [bson_type(field, level=level) for _, field in type_.fields]
    names = field_names(list(zip(attributes, carried, strict=True)))
    parts = tuple(Part(names[name], bson) for name, bson in zip(attributes, carried, strict=True))
    return Composite(parts, attributes)
