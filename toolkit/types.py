"""PostgreSQL's name for a SQLAlchemy type, taken apart. Pure.

Both sides of a migration decide by the PostgreSQL type, whatever Python class stands for it: an
imported model says ``sa.Numeric(12, 2)``, a reflected one ``NUMERIC``, and a type that SQLAlchemy
cannot name arrives as its PostgreSQL text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Dialect, Enum, Interval
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.type_api import to_instance
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

_FORM = re.compile(
    r"""^\s*(?P<head>[^(\[]+?)\s*(?:\((?P<arguments>[^)]*)\))?\s*
    (?P<tail>(?:with|without)\ time\ zone)?\s*(?P<array>(?:\[\d*\]\s*)*)$""",
    re.X | re.I,
)

_COLLATION = re.compile(r"""\s+collate\s+(?:"(?:[^"]|"")*"|\S+)""", re.I)

# "named", because the other styles write % twice, which only SQLAlchemy's own execution undoes.
_DIALECT: Dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]

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


#: Types of extensions that mean the same in whatever schema the extension lies.
_EXTENSION_TYPE = re.compile(
    r"""(?:"(?:[^"]|"")+"|[^".]+)\.(?P<name>citext|hstore|ltree|lquery|ltxtquery|cube|seg|isbn|
    isbn13|issn|ean13|geometry|geography|vector)""",
    re.X,
)

#: PostgreSQL's own ranges: the type of their bounds, and whether a value is several of them.
_RANGES = {
    f"{name}{kind}": (subtype, kind == "multirange")
    for name, subtype in (
        ("int4", "integer"),
        ("int8", "bigint"),
        ("num", "numeric"),
        ("ts", "timestamp without time zone"),
        ("tstz", "timestamp with time zone"),
        ("date", "date"),
    )
    for kind in ("range", "multirange")
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


#: As for a column: a type, or the class of one that needs no arguments.
_TypeArgument = TypeEngine[Any] | type[TypeEngine[Any]]


@compiles(PostgresNamed)
def _spelled(type_: PostgresNamed, compiler: Any, **_: Any) -> str:
    """Return the name as the driver takes it: some write % twice."""
    twice = compiler.dialect.paramstyle in ("format", "pyformat")
    return type_.name.replace("%", "%%") if twice else type_.name


class _UserType(UserDefinedType[Any]):
    """A type that a schema of the source defines, other than an enum or a domain."""

    cache_ok = True

    def __init__(self, name: str, schema: str | None) -> None:
        self.name = name
        self.schema = schema

    def get_col_spec(self, **_: Any) -> str:
        """Return the quoted name, for SQLAlchemy's compiler."""
        quote = _DIALECT.identifier_preparer.quote_identifier
        return ".".join(quote(part) for part in (self.schema, self.name) if part is not None)

    def bind_processor(self, dialect: Any) -> Callable[[Any], Any] | None:
        """Pass values as they are."""
        return None


class Composite(_UserType):
    """A composite type.

    Args:
        name: its own.
        fields: name and type of each attribute, in order.
        schema: that it is defined in.
    """

    def __init__(
        self, name: str, *fields: tuple[str, _TypeArgument], schema: str | None = None
    ) -> None:
        super().__init__(name, schema)
        self.fields = tuple((field, to_instance(type_)) for field, type_ in fields)

    def __repr__(self) -> str:
        parts = [repr(self.name), *(f"({name!r}, {type_!r})" for name, type_ in self.fields)]
        return f"Composite({', '.join(parts)}, schema={self.schema!r})"


class CustomRange(_UserType):
    """A range type that a schema defines.

    Args:
        name: its own.
        subtype: the type of its bounds.
        schema: that it is defined in.
        multi: whether it is the multirange of such a range.
    """

    def __init__(
        self,
        name: str,
        subtype: _TypeArgument,
        *,
        schema: str | None = None,
        multi: bool = False,
    ) -> None:
        super().__init__(name, schema)
        self.subtype = to_instance(subtype)
        self.multi = multi

    def __repr__(self) -> str:
        more = ", multi=True" if self.multi else ""
        return f"CustomRange({self.name!r}, {self.subtype!r}, schema={self.schema!r}{more})"


@dataclass(frozen=True)
class PostgresType:
    """A PostgreSQL type.

    Attributes:
        name: without arguments and brackets, as ``format_type`` spells it, for example
            ``character varying`` or ``timestamp with time zone``; an enum's or domain's own name.
        arguments: length, or precision and scale; empty where none is given.
        dimensions: how many array brackets follow; PostgreSQL does not enforce the number.
        labels: the values of an enum, empty for every other type.
        fields: name and type of each attribute of a composite type, in order.
        subtype: the type of the bounds of a range; ``None`` for every other type.
        multi: whether values are several ranges.
    """

    name: str
    arguments: tuple[int, ...] = ()
    dimensions: int = 0
    labels: tuple[str, ...] = ()
    fields: tuple[tuple[str, PostgresType], ...] = ()
    subtype: PostgresType | None = None
    multi: bool = False

    @property
    def is_array(self) -> bool:
        """Whether values are arrays."""
        return self.dimensions > 0

    @property
    def element(self) -> PostgresType:
        """The type of an array's elements."""
        return replace(self, dimensions=0)

    def array(self, dimensions: int) -> PostgresType:
        """Return the type of arrays of this one."""
        return replace(self, dimensions=self.dimensions + dimensions)


def postgres_type(type_: TypeEngine[Any]) -> PostgresType:
    """Return the PostgreSQL type of a SQLAlchemy type; a domain is taken as its base type."""
    # SQLAlchemy's Interval is a decorator for databases that have no such type.
    if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        return postgres_type(type_.load_dialect_impl(_DIALECT))
    if isinstance(type_, postgresql.DOMAIN):
        return postgres_type(type_.data_type)
    if isinstance(type_, postgresql.ARRAY):
        item = postgres_type(type_.item_type)
        if item.is_array:
            # Arrays of a domain over arrays: each element has dimensions of its own.
            item = PostgresType(type_.item_type.compile(dialect=_DIALECT))
        return item.array(type_.dimensions or 1)
    if isinstance(type_, Composite):
        fields = tuple((name, postgres_type(field)) for name, field in type_.fields)
        return PostgresType(type_.name, fields=fields)
    if isinstance(type_, CustomRange):
        subtype = postgres_type(type_.subtype)
        return PostgresType(type_.name, subtype=subtype, multi=type_.multi)
    if isinstance(type_, Enum) and type_.native_enum:
        return PostgresType(str(type_.name), labels=tuple(type_.enums))
    return parse(type_.compile(dialect=_DIALECT))


def user_types(type_: TypeEngine[Any]) -> Iterator[tuple[str | None, str]]:
    """Yield schema and name of every type of the source's own that a type is made of.

    They are enums, domains, composites and ranges; not the types of extensions.
    """
    if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        yield from user_types(type_.load_dialect_impl(_DIALECT))
    elif isinstance(type_, postgresql.ARRAY):
        yield from user_types(type_.item_type)
    elif isinstance(type_, postgresql.DOMAIN):
        yield type_.schema, str(type_.name)
        yield from user_types(type_.data_type)
    elif isinstance(type_, Enum) and type_.native_enum:
        yield type_.schema, str(type_.name)
    elif isinstance(type_, Composite):
        yield type_.schema, type_.name
        for _, field in type_.fields:
            yield from user_types(field)
    elif isinstance(type_, CustomRange):
        yield type_.schema, type_.name
        yield from user_types(type_.subtype)


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
    if (qualified := _EXTENSION_TYPE.fullmatch(name)) is not None:
        name = qualified["name"]
    subtype, multi = _RANGES.get(name, (None, False))
    return PostgresType(
        name,
        arguments,
        (match["array"] or "").count("["),
        subtype=PostgresType(subtype) if subtype else None,
        multi=multi,
    )
