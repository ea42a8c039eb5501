"""Parameters of declared queries and writes: drawn from the source, seeded, and typed.

PostgreSQL gets a drawn value back as it was read. MongoDB compares types as well as values, so
that a ``bigint`` must arrive as int64 there and a ``numeric`` as Decimal128:
:meth:`Parameters.bson` says so for every value by the table of types that migrations use.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
from bson import json_util

from toolkit.errors import UsageError
from toolkit.mongo.types import ValueRefused, bson_type
from toolkit.postgres import ddl, session
from toolkit.types import PostgresType, parse

#: Types whose values psycopg reads and writes exactly. All others travel as PostgreSQL's text,
#: which the server takes back as whatever type the statement asks for.
_EXACT = {
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "real",
    "double precision",
    "boolean",
    "text",
    "name",
    "character varying",
    "uuid",
    "bytea",
    "date",
    "timestamp without time zone",
    "timestamp with time zone",
}

#: The keys of Extended JSON whose strings name collections, in pipelines and in commands.
_COLLECTION_KEYS = {
    "from",
    "coll",
    "into",
    "$unionWith",
    "$out",
    "$merge",
    "insert",
    "update",
    "delete",
    "find",
    "findAndModify",
    "findandmodify",
    "aggregate",
    "count",
    "distinct",
}

_PARAMETER = "$param"
_REGION = "{region}"

_OPTIONS = json_util.JSONOptions(
    tz_aware=True, tzinfo=UTC, uuid_representation=4, json_mode=json_util.JSONMode.RELAXED
)


@dataclass(frozen=True)
class Parameters:
    """Rows of parameters.

    Attributes:
        names: of the parameters, in the order of the ``draw`` SQL.
        rows: one mapping of names to values for each drawn row, in the order that the seed gives.
        types: the PostgreSQL type of each parameter.
    """

    names: tuple[str, ...] = ()
    rows: list[dict[str, object]] = field(default_factory=list)
    types: Mapping[str, PostgresType] = field(default_factory=dict)

    def bson(self, row: Mapping[str, object]) -> dict[str, object]:
        """Return a row's values as MongoDB stores them.

        A timestamp ``x`` brings its microseconds along as ``x_us``, unless a parameter has that
        name. Names without a type (``region``, ``mark``) stay as they are.

        Raises:
            UsageError: a value has no counterpart in BSON.
        """
        found: dict[str, object] = {}
        companions: dict[str, object] = {}
        for name, value in row.items():
            type_ = self.types.get(name)
            if type_ is None:
                found[name] = value
                continue
            try:
                first, *others = _parts(value, type_)
            except ValueRefused as error:
                raise UsageError(
                    f"parameter {name!r} has no counterpart in MongoDB: {error.reason}",
                    hint="leave such values out in `draw`, or cast them to text there",
                ) from None
            found[name] = first
            for suffix, other in zip(bson_type(type_).suffixes[1:], others, strict=True):
                companions[f"{name}{suffix}"] = other
        return companions | found


def draw(
    connection: session.Connection, statement: str | None, *, count: int, seed: int
) -> Parameters:
    """Draw rows of parameters from the source.

    The same seed over the same rows draws the same rows in the same order: each row is ranked by
    a digest of the seed and of its text form, which the session's pinned settings fix. The server
    keeps the first ``count`` only.

    Args:
        connection: to the source, from ``toolkit.postgres.session``, its search path set.
        statement: the operator's ``draw``; ``None`` gives one row without parameters.
        count: how many rows at most.
        seed: which rows.

    Raises:
        UsageError: the statement does not run, or its columns cannot be parameters.
    """
    if statement is None:
        return Parameters(rows=[{}])
    inner = f"FROM (\n{trimmed(statement)}\n) AS drawn"
    try:
        # One transaction, so that a statement that writes is refused by the server.
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            types = column_types(cursor, statement)
            columns = ", ".join(_column(name, type_) for name, type_ in types.items())
            rank = f"md5({ddl.literal(f'{seed} ')} || drawn::text)"
            cursor.execute(
                f"SELECT {columns} {inner} ORDER BY {rank}, drawn::text LIMIT {int(count)}"
            )
            rows = [dict(zip(types, row, strict=True)) for row in cursor.fetchall()]
    except psycopg.errors.InsufficientPrivilege as error:
        raise session.translate(error) from None
    except psycopg.Error as error:
        raise UsageError(
            f"`draw` does not run on the source: {session.first_line(error)}",
            hint="its columns become the parameters: write a SELECT that runs in the source schema",
        ) from None
    return Parameters(tuple(types), rows, types)


def trimmed(statement: str) -> str:
    """Return a statement so that it can stand in parentheses."""
    return statement.strip().rstrip(";")


def column_types(
    cursor: psycopg.Cursor[Any], statement: str, values: Mapping[str, object] | None = None
) -> dict[str, PostgresType]:
    """Return the columns that a query returns, with their types; it is not run.

    Args:
        cursor: a binary cursor.
        statement: the query.
        values: its parameters; ``None`` where it has none.

    Raises:
        UsageError: two columns have one name, or there is none.
    """
    cursor.execute(f"SELECT * FROM (\n{trimmed(statement)}\n) AS asked LIMIT 0".encode(), values)
    columns = [(column.name, column.type_code) for column in cursor.description or ()]
    names = [name for name, _ in columns]
    if len(set(names)) != len(names) or not names:
        raise UsageError(
            f"a declared query returns the columns {', '.join(names) or '(none)'}",
            hint="give every column a name of its own: parameters and fields go by it",
        )
    cursor.execute(
        "SELECT format_type(oid, NULL) FROM unnest(%s::oid[]) WITH ORDINALITY AS t(oid, place) "
        "ORDER BY place",
        ([code for _, code in columns],),
    )
    return {name: parse(str(text)) for name, (text,) in zip(names, cursor.fetchall(), strict=True)}


def _column(name: str, type_: PostgresType) -> str:
    quoted = f"drawn.{ddl.quote(name)}"
    return quoted if type_.name in _EXACT else f"({quoted})::text"


def to_bson(value: object, type_: PostgresType) -> object:
    """Return a drawn value as MongoDB stores it; of a timestamp, the date.

    Raises:
        ValueRefused: it has no counterpart in BSON.
    """
    return _parts(value, type_)[0]


def _parts(value: object, type_: PostgresType) -> tuple[Any, ...]:
    if isinstance(value, list):
        items = [
            to_bson(item, type_ if isinstance(item, list) else type_.element) for item in value
        ]
        return (items, *(None for _ in bson_type(type_).suffixes[1:]))
    if type_.is_array and value is not None:
        raise ValueRefused(f"an array of type {type_.name}")
    if type_.name == "interval" and value is not None:
        raise ValueRefused("an interval")
    wire = _WIRE.get(type(value))
    if type_.name == "character" and isinstance(value, str):
        value = value.rstrip(" ")
    return bson_type(type_).encode((wire(value) if wire else value,))


def _microseconds(value: datetime) -> bytes:
    start = datetime(2000, 1, 1, tzinfo=value.tzinfo and UTC)
    return struct.pack(">q", (value - start) // timedelta(microseconds=1))


#: From Python's values to PostgreSQL's wire form, which is what ``BsonType.encode`` takes.
_WIRE: dict[type, Callable[[Any], object]] = {
    Decimal: lambda value: format(value, "f"),
    UUID: lambda value: value.bytes,
    date: lambda value: struct.pack(">i", (value - date(2000, 1, 1)).days),
    datetime: _microseconds,
}


def extended_json(text: str, where: str) -> Any:
    """Parse MongoDB Extended JSON.

    Args:
        text: what the operator wrote.
        where: which key of ``regionkit.toml``, for the message.

    Raises:
        UsageError: it is not Extended JSON.
    """
    try:
        return json_util.loads(text, json_options=_OPTIONS)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{where} is not MongoDB Extended JSON: {error}",
            hint='write JSON, with {"$param": "name"} where a parameter belongs',
        ) from None


def substitute(document: object, values: Mapping[str, object], region: str | None = None) -> Any:
    """Return an Extended JSON document with its parameters filled in.

    Args:
        document: what :func:`extended_json` returned; it is not changed.
        values: what stands for ``{"$param": "name"}``, see :meth:`Parameters.bson`.
        region: what stands for ``{region}`` in strings that name collections; ``None`` leaves it.

    Raises:
        UsageError: there is no such parameter.
    """
    if isinstance(document, dict):
        if set(document) == {_PARAMETER}:
            name = document[_PARAMETER]
            if name not in values:
                raise UsageError(
                    f'{{"$param": "{name}"}} names no parameter',
                    details=[f"parameters are {', '.join(sorted(values)) or 'none'}"],
                    hint="the parameters are the columns of `draw`",
                )
            return values[name]
        return {
            key: in_region(item, region)
            if key in _COLLECTION_KEYS and isinstance(item, str)
            else substitute(item, values, region)
            for key, item in document.items()
        }
    if isinstance(document, list):
        return [substitute(item, values, region) for item in document]
    return document


def in_region(name: str, region: str | None) -> str:
    """Return the name of a collection with ``{region}`` filled in."""
    return name if region is None else name.replace(_REGION, region)
