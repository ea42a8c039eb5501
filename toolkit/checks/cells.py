"""A value of an answer with its kind, the same whether PostgreSQL or MongoDB gave it. Pure.

Two cells are equal if kind and value are. A ``numeric`` equals a Decimal128 of the same value,
whatever its scale, and never a float; all integer types are one kind. Everything that has a form of
its own in BSON (dates, timestamps with their ``_us``, intervals, uuid, bytea) is compared in the
canonical text that migrations are verified by.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from bson.decimal128 import Decimal128

from toolkit.mongo.types import MISSING, bson_type
from toolkit.types import PostgresType

#: The kind, and a value that can be hashed.
Cell = tuple[str, Any]

NULL: Cell = ("null", None)
ABSENT: Cell = ("missing", None)

_INTEGERS = {"smallint", "integer", "bigint"}
_FLOATS = {"real", "double precision"}
_JSON = {"json", "jsonb"}
_TEXTS = {"text", "name", "citext", "character varying", "character"}
#: Elements of arrays that psycopg reads exactly.
_ELEMENTS = _INTEGERS | _FLOATS | _TEXTS | {"numeric", "boolean"}

_SHOWN = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Reader:
    """How cells of one PostgreSQL type come about.

    Attributes:
        type: of the column in the source.
    """

    type: PostgresType

    @property
    def kind(self) -> str:
        """The kind of cells; enums and extension types go by their name without its schema."""
        name = self.type.name
        if name in _INTEGERS:
            return "integer"
        if name in _FLOATS:
            return "float"
        if name in _TEXTS:
            return "text"
        return "json" if name in _JSON else name.rpartition(".")[2]

    @property
    def _native(self) -> bool:
        """Whether the driver reads values exactly, so that they are compared as they are."""
        if self.type.is_array:
            return self.type.name in _ELEMENTS
        return self.type.name in _INTEGERS | _FLOATS | {"numeric"}

    def expression(self, column: str) -> str:
        """Return the SQL expression whose value :meth:`cell` takes; ``column`` is quoted."""
        brackets = "[]" if self.type.is_array else ""
        if self._native:
            # A float4 widens exactly, and the blanks that pad a char(n) mean nothing.
            wider = {"float": "float8", "text": "text"}.get(self.kind)
            return f"({column})::{wider}{brackets}" if wider else column
        if self.type.name in _JSON and not brackets:
            return f"({column})::text"
        return bson_type(self.type).canonical_expression(column)

    def cell(self, value: object) -> Cell:
        """Return the cell of what PostgreSQL returned for :meth:`expression`."""
        if value is None:
            return NULL
        if self._native:
            return _native_cell(value)
        if self.type.name in _JSON and not self.type.is_array:
            return "json", _parsed_json(str(value))
        return self._array_kind, value

    @property
    def _array_kind(self) -> str:
        return f"{self.kind}[]" if self.type.is_array else self.kind

    def field(self, document: Mapping[str, Any], name: str) -> Cell:
        """Return the cell of a document's field; a timestamp ``x`` is one value with ``x_us``.

        Args:
            document: read with ``toolkit.mongo.types.VERIFY_OPTIONS``.
            name: of the field, which is the column's.
        """
        value = document.get(name, MISSING)
        if value is MISSING:
            return ABSENT
        if value is None:
            return NULL
        if self._native:
            return _native_cell(value)
        if self.type.name in _JSON and not self.type.is_array:
            if self.type.name == "json" and isinstance(value, str):
                return "json", _parsed_json(value)
            return "json", _frozen(value)
        carried = bson_type(self.type)
        parts = (value, *(document.get(f"{name}{suffix}", 0) for suffix in carried.suffixes[1:]))
        text = carried.canonical(parts)
        if text is None or text.startswith("\x00"):
            return _native_cell(value)
        return self._array_kind, text


def companions(columns: Mapping[str, PostgresType]) -> set[str]:
    """Return the fields that belong to the value of another one, such as ``x_us`` to ``x``."""
    return {
        f"{name}{suffix}"
        for name, type_ in columns.items()
        for suffix in bson_type(type_).suffixes[1:]
    } - set(columns)


def _native_cell(value: object) -> Cell:
    """Return the cell of a value as it is, from either driver."""
    if value is None:
        return NULL
    if isinstance(value, list):
        return "array", tuple(_native_cell(item) for item in value)
    for type_, convert in _NATIVE:
        if isinstance(value, type_):
            return convert(value)
    return type(value).__name__, repr(value)


def _decimal_cell(value: Decimal) -> Cell:
    # A NaN does not equal itself; in SQL it does.
    return "numeric", "NaN" if value.is_nan() else value


def _float_cell(value: float) -> Cell:
    return "float", "NaN" if math.isnan(value) else value


#: In this order: a bool is an int too.
_NATIVE: tuple[tuple[type, Callable[[Any], Cell]], ...] = (
    (bool, lambda value: ("boolean", str(value).lower())),
    (int, lambda value: ("integer", int(value))),
    (float, _float_cell),
    (Decimal, _decimal_cell),
    (Decimal128, lambda value: _decimal_cell(value.to_decimal())),
    (str, lambda value: ("text", value)),
)


def _parsed_json(text: str) -> Cell:
    try:
        return _frozen(json.loads(text, parse_float=Decimal))
    except ValueError:
        return "text", text


def _frozen(value: object) -> Cell:
    """Return a JSON value in a form that can be hashed; it knows one kind of number."""
    if isinstance(value, Mapping):
        return "object", frozenset((str(key), _frozen(item)) for key, item in value.items())
    if isinstance(value, list):
        return "array", tuple(_frozen(item) for item in value)
    kind, plain = _native_cell(value)
    if kind in ("integer", "numeric", "float") and plain != "NaN":
        return "number", Decimal(repr(plain) if kind == "float" else plain)
    return kind, plain


def render(cell: Cell) -> str:
    """Return a cell for people: bounded, and with a date's days as a date."""
    kind, value = cell
    if cell == NULL:
        return "NULL"
    if cell == ABSENT:
        return "(no such field)"
    if kind == "text":
        text = repr(value)
    elif kind in ("array", "json"):
        text = f"{kind} {_plain(cell)}"
    else:
        text = _moment(kind, str(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _plain(cell: Cell) -> str:
    kind, value = cell
    if kind == "array":
        return f"[{', '.join(map(_plain, value))}]"
    if kind == "object":
        return f"{{{', '.join(sorted(f'{key}: {_plain(item)}' for key, item in value))}}}"
    return _plain(value) if kind == "json" else str(value)


def _moment(kind: str, text: str) -> str:
    try:
        if kind == "date":
            return str(date(1970, 1, 1) + timedelta(days=int(text)))
        if kind.startswith("timestamp "):
            moment = _EPOCH + timedelta(microseconds=int(text))
            return str(moment if kind.endswith("with time zone") else moment.replace(tzinfo=None))
    except (ValueError, OverflowError):
        return text
    return text
