"""PostgreSQL's name for a SQLAlchemy type, taken apart. Pure.

Both sides of a migration decide by the PostgreSQL type, whatever Python class stands for it: an
imported model says ``sa.Numeric(12, 2)``, a reflected one ``NUMERIC``, and a type that SQLAlchemy
cannot name arrives as its PostgreSQL text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Enum, Interval
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

_FORM = re.compile(
    r"""^\s*(?P<head>[^(\[]+?)\s*(?:\((?P<arguments>[^)]*)\))?\s*
    (?P<tail>(?:with|without)\ time\ zone)?\s*(?P<array>(?:\[\d*\]\s*)*)$""",
    re.X | re.I,
)

_COLLATION = re.compile(r"""\s+collate\s+(?:"(?:[^"]|"")*"|\S+)""", re.I)

_DIALECT: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

#: Spellings that PostgreSQL's ``format_type`` turns into another one.
_ALIASES = {
    "int2": "smallint",
    "int4": "integer",
    "int": "integer",
    "int8": "bigint",
    "serial": "integer",
    "bigserial": "bigint",
    "smallserial": "smallint",
    "decimal": "numeric",
    "float4": "real",
    "float8": "double precision",
    "float": "double precision",
    "double": "double precision",
    "bool": "boolean",
    "varchar": "character varying",
    "char": "character",
    "bpchar": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "varbit": "bit varying",
}


class PostgresNamed(UserDefinedType[Any]):
    """A type that is carried under the name that PostgreSQL gives it (``format_type``)."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"PostgresNamed({self.name!r})"

    def get_col_spec(self, **_: Any) -> str:
        """Return the name, for SQLAlchemy's compiler."""
        return self.name

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any] | None:
        """Pass values as they are."""
        return None


@dataclass(frozen=True)
class PostgresType:
    """A PostgreSQL type.

    Attributes:
        name: without arguments and brackets, as ``format_type`` spells it, for example
            ``character varying`` or ``timestamp with time zone``; an enum's or domain's own name.
        arguments: length, or precision and scale; empty where none is given.
        dimensions: how many array brackets follow; PostgreSQL does not enforce the number.
        labels: the values of an enum, empty for every other type.
    """

    name: str
    arguments: tuple[int, ...] = ()
    dimensions: int = 0
    labels: tuple[str, ...] = ()

    @property
    def is_array(self) -> bool:
        """Whether values are arrays."""
        return self.dimensions > 0

    @property
    def element(self) -> PostgresType:
        """The type of an array's elements."""
        return PostgresType(self.name, self.arguments, 0, self.labels)


def postgres_type(type_: TypeEngine[Any]) -> PostgresType:
    """Return the PostgreSQL type of a SQLAlchemy type; a domain is taken as its base type."""
    # SQLAlchemy's Interval is a decorator for databases that have no such type.
    if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        return postgres_type(type_.load_dialect_impl(_DIALECT))
    if isinstance(type_, postgresql.DOMAIN):
        return postgres_type(type_.data_type)
    if isinstance(type_, postgresql.ARRAY):
        element = postgres_type(type_.item_type)
        return PostgresType(element.name, element.arguments, type_.dimensions or 1, element.labels)
    if isinstance(type_, Enum) and type_.native_enum:
        return PostgresType(str(type_.name), labels=tuple(type_.enums))
    return parse(type_.compile(dialect=_DIALECT))


def parse(text: str) -> PostgresType:
    """Take a type's text apart: ``numeric(12,2)[]`` or ``timestamp(3) with time zone``."""
    text = _COLLATION.sub("", text)
    match = _FORM.match(text)
    if match is None:
        return PostgresType(text.strip())
    head = " ".join(match["head"].split())
    folded = head.lower()
    tail = (match["tail"] or "").lower()
    for suffix in ("with time zone", "without time zone"):
        if folded.endswith(suffix):
            folded, tail = folded.removesuffix(suffix).strip(), suffix
    if folded.startswith("interval "):
        # The fields restrict what is stored, not how: "interval day to second".
        folded = "interval"
    spelled = head if '"' in head else folded
    name = f"{folded} {tail}" if tail else _ALIASES.get(folded, spelled)
    arguments = tuple(
        int(part)
        for part in (match["arguments"] or "").split(",")
        if re.fullmatch(r"-?\d+", part.strip(), re.ASCII)
    )
    if folded == "float" and arguments:
        # The precision is in bits, chooses one of two types, and is not kept.
        name, arguments = "real" if arguments[0] <= 24 else "double precision", ()
    return PostgresType(name, arguments, (match["array"] or "").count("["))
