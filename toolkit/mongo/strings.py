"""Text, bytes, uuid, and every type that travels as PostgreSQL's text form. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson.binary import UUID_SUBTYPE, Binary

from toolkit.mongo.values import BsonType, Schema, WireType, wrong

#: Characters from which on a declared length is no bound that helps.
_LONG = 1_000


@dataclass(frozen=True)
class String(BsonType):
    """A string: text and its kin, an enum, or the text form of a type that BSON does not have.

    The blanks that pad a ``char(n)`` mean nothing in SQL: they are cut off by the cast to ``text``
    and stored nowhere.

    Attributes:
        length: the greatest number of characters, ``None`` where there is none.
        labels: the values of an enum.
        form_of: the PostgreSQL type whose text form this is, empty for text itself.
        folds_case: whether the SQL type compares without case.
    """

    length: int | None = None
    labels: tuple[str, ...] = ()
    form_of: str = ""
    folds_case: bool = False
    bson = ("string",)

    @property
    def as_text(self) -> bool:  # type: ignore[override]
        """Whether it is the text form of another type."""
        return bool(self.form_of)

    @property
    def unbounded(self) -> bool:  # type: ignore[override]
        """Whether it has no length, or a great one, and no list of values."""
        return not self.labels and (self.length is None or self.length > _LONG)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a string."""
        return {path: {"$gte": ""}}

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the type, the length and the labels, and what a text form stands for."""
        keywords: Schema = {}
        if self.length is not None:
            keywords["maxLength"] = self.length
        if self.labels:
            keywords["enum"] = [*self.labels, *([None] if nullable else [])]
        if self.form_of:
            keywords["description"] = f"text form of PostgreSQL type {self.form_of}"
        return (self.typed(nullable, **keywords),)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the text."""
        return (f"({column})::text",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the string."""
        return (values[0],)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the string."""
        (value,) = parts
        return value if type(value) is str else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return the text."""
        return f"({column})::text"


@dataclass(frozen=True)
class Registered(String):
    """``regclass`` and its like, which are numbers of a catalogue: the name that one stands for.

    It is qualified, whatever ``search_path`` says, as ``pg_identify_object`` writes it. A number
    that stands for nothing is written as it is.

    Attributes:
        catalogue: that the numbers are of.
    """

    catalogue: str = ""

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the name."""
        return (self.canonical_expression(column),)

    def canonical_expression(self, column: str) -> str:
        """Return the name."""
        number = f"({column})::oid"
        return (
            f"case when ({column}) is not null then coalesce((pg_identify_object("
            f"'pg_catalog.{self.catalogue}'::regclass, {number}, 0)).identity, {number}::text) end"
        )


@dataclass(frozen=True)
class Bytes(WireType):
    """``bytea``: binary subtype 0."""

    bson = ("binData",)
    unbounded = True

    def not_null(self, path: str) -> Schema:
        """Return the filter for a binary; binaries sort by length first."""
        return {path: {"$gte": Binary(b"", 0)}}

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the bytes."""
        return (f"({column})::bytea",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the bytes."""
        return (bytes(values[0]),)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the bytes in hexadecimal; PyMongo reads subtype 0 as plain bytes."""
        (value,) = parts
        return value.hex() if type(value) is bytes else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return the bytes in hexadecimal."""
        return f"encode({column}, 'hex')"


@dataclass(frozen=True)
class Uuid(WireType):
    """``uuid``: binary subtype 4."""

    bson = ("binData",)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a binary; binaries sort by length first."""
        return {path: {"$gte": Binary(b"", 0)}}

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the sixteen bytes."""
        return (f"uuid_send({column})",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the binary."""
        return (Binary(bytes(values[0]), UUID_SUBTYPE),)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the hyphenated form; PyMongo reads subtype 4 as UUID, and no other subtype."""
        (value,) = parts
        if isinstance(value, Binary) and value.subtype == UUID_SUBTYPE and len(value) == 16:
            return str(uuid.UUID(bytes=bytes(value)))
        return str(value) if type(value) is uuid.UUID else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return the hyphenated form."""
        return f"({column})::text"
