"""Canonical texts of whole columns at once, which is several times as fast. Pure.

Each shortcut gives what its type's ``canonical`` gives, and shares no code with what encoded the
values. It looks at the BSON types of the whole column first: where one is not the column's, all
of it goes the long way.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from toolkit.mongo.moments import Timestamp
from toolkit.mongo.numerics import BigInteger, Integer, Numeric, decimal_text
from toolkit.mongo.strings import String
from toolkit.mongo.values import BsonType

Texts = Sequence[str | None]

#: From the columns of a type's fields to the column of its canonical texts.
ColumnTexts = Callable[[Sequence[Sequence[Any]]], Texts]

_WORDS = struct.Struct("<QQ")
#: The part of the high word that holds digits; those of most numbers fit the low one.
_HIGH_DIGITS = (1 << 49) - 1
#: Exponents at which a number is written with its digits, and a point among them. What is not
#: finite, or has its exponent elsewhere, reads as one far above.
_LEAST_EXPONENT, _EXPONENT_BIAS = -40, 6176


def column_texts(bson: BsonType) -> ColumnTexts:
    """Return what gives the canonical texts of columns of a type."""
    shortcut = _SHORTCUTS.get(type(bson))

    def texts(columns: Sequence[Sequence[Any]]) -> Texts:
        found = shortcut(columns) if shortcut else None
        if found is not None:
            return found
        return [bson.canonical(parts) for parts in zip(*columns, strict=True)]

    return texts


def _types(column: Sequence[Any]) -> set[type]:
    return set(map(type, column))


def _strings(columns: Sequence[Sequence[Any]]) -> Texts | None:
    (column,) = columns
    return column if _types(column) <= {str, NoneType} else None


def _integers(columns: Sequence[Sequence[Any]]) -> Texts | None:
    (column,) = columns
    if _types(column) != {int} or max(column) >= 2**31 or min(column) < -(2**31):
        return None
    return list(map(str, column))


def _longs(columns: Sequence[Sequence[Any]]) -> Texts | None:
    (column,) = columns
    types = _types(column)
    if types == {Int64}:
        return list(map(str, column))
    if types <= {Int64, NoneType}:
        return [None if value is None else str(value) for value in column]
    return None


def _decimals(columns: Sequence[Sequence[Any]]) -> Texts | None:
    (column,) = columns
    if not _types(column) <= {Decimal128, NoneType}:
        return None
    return [None if value is None else _decimal(value) for value in column]


def _decimal(value: Decimal128) -> str:
    low, high = _WORDS.unpack(value.bid)
    exponent = (high >> 49 & 0x3FFF) - _EXPONENT_BIAS
    if high & _HIGH_DIGITS or not _LEAST_EXPONENT < exponent <= 0:
        return decimal_text(value)
    digits = str(low)
    if exponent:
        digits = digits.rjust(1 - exponent, "0")
        digits = f"{digits[:exponent]}.{digits[exponent:]}"
    return f"-{digits}" if high >> 63 else digits


def _moments(columns: Sequence[Sequence[Any]]) -> Texts | None:
    dates, rests = columns
    if _types(dates) != {DatetimeMS} or _types(rests) != {int}:
        return None
    if max(rests) > 999 or min(rests) < 0:
        return None
    return [str(int(date) * 1000 + rest) for date, rest in zip(dates, rests, strict=True)]


_SHORTCUTS: dict[type[BsonType], Callable[[Sequence[Sequence[Any]]], Texts | None]] = {
    String: _strings,
    Integer: _integers,
    BigInteger: _longs,
    Numeric: _decimals,
    Timestamp: _moments,
}
