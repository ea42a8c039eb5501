"""``jsonb``: a BSON value with exact numbers. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from toolkit.mongo import decimals
from toolkit.mongo.numerics import (
    DECIMAL_REFUSAL,
    decimal_refusal,
    exact_decimal,
)
from toolkit.mongo.values import BsonType, Schema, ValueRefused, ordered_items, wrong

#: MongoDB's limit of nesting; the document that holds the value is the first level.
DEPTH = 100

_TOO_DEEP = f"nested more than {DEPTH} levels deep"
_NULL = "a JSON null at the top level, which cannot be told from NULL"
_LONGEST_INT64 = len(str(-(2**63)))

_SCALARS = {Int64, bool, Decimal128, NoneType}

#: Made once: ``json.dumps`` would make an encoder for every string.
_quote = json.JSONEncoder(ensure_ascii=False).encode


def _integer(text: str) -> Int64 | Decimal128:
    if len(text) <= _LONGEST_INT64 and -(2**63) <= (number := int(text)) < 2**63:
        return Int64(number)
    return exact_decimal(text)


@dataclass(frozen=True)
class Json(BsonType):
    """``jsonb``: integers int64, other numbers Decimal128; any JSON value at the top but null.

    Attributes:
        depth: how deep the value may be nested, with the one level that holds it.
    """

    depth: int = DEPTH
    bson = ("object", "array", "string", "long", "decimal", "bool")
    array_like = True
    unbounded = True
    refusal = f"{DECIMAL_REFUSAL}; or {_TOO_DEEP}; or {_NULL}"

    def not_null(self, path: str) -> Schema:
        """Refuse: several BSON types share no range, and no unique index is made over them.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(path)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the text, in which numbers keep their scale."""
        return (f"({column})::text",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the value."""
        try:
            value = json.loads(values[0], parse_int=_integer, parse_float=exact_decimal)
        except RecursionError:
            raise ValueRefused(_TOO_DEEP) from None
        if value is None:
            raise ValueRefused(_NULL)
        # Mostly there are too few brackets, and nobody has to look how they stand.
        if values[0].count("{") + values[0].count("[") >= self.depth and (
            _containers(value) >= self.depth
        ):
            raise ValueRefused(_TOO_DEEP)
        return (value,)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return jsonb's own text form, keys in the order in which they are stored."""
        pieces: list[str] = []
        _render(parts[0], pieces)
        return "".join(pieces)

    def canonical_expression(self, column: str) -> str:
        """Return jsonb's own text form."""
        return f"({column})::text"

    def refusal_predicate(self, column: str) -> str | None:
        """Return the condition over every number, the nesting, and null at the top.

        The numbers are looked at one by one only where the text holds a long run of digits.
        """
        refused = decimal_refusal("(found.value #>> '{}')::numeric")
        numbers = _found(column, "strict $.**")
        deep = _found(column, f"strict $.**{{{self.depth - 1}}}")
        return (
            f"(({column})::text = 'null' or (({column})::text ~ '[0-9.]{{35,}}' and exists "
            f"(select {numbers} where case when jsonb_typeof(found.value) = 'number' "
            f"then {refused} end)) or exists "
            f"(select {deep} where jsonb_typeof(found.value) in ('object', 'array')))"
        )


def _found(column: str, path: str) -> str:
    return f"from jsonb_path_query({column}, '{path}') as found(value)"


def _containers(value: object) -> int:
    """Return how many objects and arrays stand one within another."""
    depth = 0
    level = [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def _render(value: object, pieces: list[str]) -> None:
    if type(value) is str:
        pieces.append(_quote(value))
        return
    if type(value) is list:
        separator = "["
        for item in value:
            pieces.append(separator)
            _render(item, pieces)
            separator = ", "
        pieces.append("]" if value else "[]")
        return
    # Most are plain: whether something is a Mapping takes Python long to tell.
    items = value.items() if type(value) is dict else _items(value)
    if items is None:
        pieces.append(_scalar(value))
        return
    separator = "{"
    for key, item in items:
        pieces += (separator, _quote(key), ": ")
        _render(item, pieces)
        separator = ", "
    pieces.append("}" if items else "{}")


def _items(value: object) -> Collection[tuple[str, Any]] | None:
    return None if type(value) in _SCALARS else ordered_items(value)


def _scalar(value: object) -> str:
    if type(value) is Int64:
        return int.__repr__(value)
    if value is None:
        return "null"
    if type(value) is bool:
        return str(value).lower()
    if isinstance(value, Decimal128):
        text = decimals.text(value)
        fits = "." not in text and len(text) <= _LONGEST_INT64 and text.lstrip("-").isdigit()
        # An integer that fits int64 is stored as one, and as nothing else.
        return wrong(value) if fits and -(2**63) <= int(text) < 2**63 else text
    return wrong(value)
