"""Encoding whole columns at once, which is several times as fast as cell by cell. Pure.

Each shortcut gives what its type's ``encode`` gives; a type without one is encoded by it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from bson.binary import UUID_SUBTYPE, Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from toolkit.mongo.moments import Timestamp
from toolkit.mongo.numerics import BigInteger, Double, Integer, Numeric, Truth
from toolkit.mongo.strings import String, Uuid
from toolkit.mongo.values import BsonType

#: From the columns of what ``read_expression`` names to the columns of what ``encode`` returns.
ColumnEncoder = Callable[[Sequence[Sequence[Any]]], Sequence[Sequence[Any]]]

#: Decimal128: bias of the exponent, and where it and the sign stand in the high 64 bits.
_BIAS, _EXPONENT, _SIGN = 6176, 49, 1 << 63
_BID = struct.Struct("<QQ")
#: As many characters of a number surely fit the low 64 bits.
_SHORT = 18

_MICROSECONDS_TO_2000 = 10_957 * 86_400_000_000


def column_encoder(bson: BsonType) -> ColumnEncoder:
    """Return what encodes columns of a type.

    The encoder raises :class:`toolkit.mongo.values.ValueRefused` like ``encode``.
    """
    shortcut = _SHORTCUTS.get(type(bson))
    return shortcut(bson) if shortcut else _one_by_one(bson)


def _one_by_one(bson: BsonType) -> ColumnEncoder:
    def encode(columns: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        encoded = [bson.encode(values) for values in zip(*columns, strict=True)]
        return list(zip(*encoded, strict=True))

    return encode


def _as_they_are(_: BsonType) -> ColumnEncoder:
    return lambda columns: columns


def _long(_: BsonType) -> ColumnEncoder:
    return lambda columns: [[None if value is None else Int64(value) for value in columns[0]]]


def _uuid(_: BsonType) -> ColumnEncoder:
    return lambda columns: [
        [None if value is None else Binary(value, UUID_SUBTYPE) for value in columns[0]]
    ]


def _numeric(bson: BsonType) -> ColumnEncoder:
    def one(text: str | None) -> Decimal128 | None:
        if text is None:
            return None
        if len(text) > _SHORT or not text[-1].isdigit():
            encoded: Decimal128 = bson.encode_value((text,))[0]
            return encoded
        sign = _SIGN if text[0] == "-" else 0
        whole, _, fraction = text.partition(".")
        exponent = (_BIAS - len(fraction)) << _EXPONENT
        return Decimal128.from_bid(_BID.pack(abs(int(whole + fraction)), sign | exponent))

    return lambda columns: [[one(text) for text in columns[0]]]


def _timestamp(bson: BsonType) -> ColumnEncoder:
    slow = _one_by_one(bson)

    def encode(columns: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        (column,) = columns
        if None in column:
            return slow(columns)
        moments = struct.unpack(f">{len(column)}q", b"".join(column))
        if max(moments) == 2**63 - 1 or min(moments) == -(2**63):
            return slow(columns)
        pairs = [divmod(moment + _MICROSECONDS_TO_2000, 1000) for moment in moments]
        return [
            [DatetimeMS(milliseconds) for milliseconds, _ in pairs],
            [rest for _, rest in pairs],
        ]

    return encode


_SHORTCUTS: dict[type[BsonType], Callable[[BsonType], ColumnEncoder]] = {
    String: _as_they_are,
    Truth: _as_they_are,
    Integer: _as_they_are,
    Double: _as_they_are,
    BigInteger: _long,
    Uuid: _uuid,
    Numeric: _numeric,
    Timestamp: _timestamp,
}
