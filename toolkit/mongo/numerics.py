"""Numbers and truth values. Pure."""

from __future__ import annotations

import decimal
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from toolkit.mongo.values import BsonType, Schema, ValueRefused, wrong

#: Limits of IEEE 754 decimal128.
DIGITS = 34
_LEAST_EXPONENT = -6176
_GREATEST_DIGITS = 6145

#: A Decimal128 in BID: the low 64 bits are the digits, if they fit; the high ones the exponent,
#: with its bias, and the sign.
BIAS, EXPONENT, SIGN = 6176, 49, 1 << 63
_BID = struct.Struct("<QQ")
#: As many characters of a number surely fit the low 64 bits.
_SHORT = 18

DECIMAL_REFUSAL = "a number with more digits than Decimal128's 34, or beyond its exponents"


def decimal_text(value: Decimal128) -> str:
    """Return a Decimal128 as PostgreSQL writes a numeric: plain, with its scale."""
    number = value.to_decimal()
    sign, digits, exponent = number.as_tuple()
    if isinstance(exponent, str):
        return str(number)
    text = "".join(map(str, digits))
    if exponent >= 0:
        text = (text + "0" * exponent).lstrip("0") or "0"
    else:
        text = text.rjust(1 - exponent, "0")
        text = f"{text[:exponent]}.{text[exponent:]}"
    return f"-{text}" if sign else text


def exact_decimal(text: str) -> Decimal128:
    """Return the Decimal128 of a numeric's text, its scale kept.

    Raises:
        ValueRefused: it has too many digits or is out of range.
    """
    if len(text) <= _SHORT and text[-1].isdigit() and "e" not in text.lower():
        return _short_decimal(text)
    try:
        value = Decimal128(text)
    except decimal.DecimalException:
        raise ValueRefused(DECIMAL_REFUSAL) from None
    # Where only zeros were cut off, decimal says nothing: the scale may be lost all the same.
    if decimal_text(value) != text:
        raise ValueRefused(DECIMAL_REFUSAL)
    return value


def _short_decimal(text: str) -> Decimal128:
    whole, _, fraction = text.partition(".")
    sign = SIGN if text[0] == "-" else 0
    high = sign | (BIAS - len(fraction)) << EXPONENT
    return Decimal128.from_bid(_BID.pack(abs(int(whole + fraction)), high))


def decimal_refusal(number: str) -> str:
    """Return the SQL condition for :func:`exact_decimal` to refuse the numeric ``number``."""
    digits = f"translate(({number})::text, '-.', '')"
    return (
        f"(scale({number}) > {-_LEAST_EXPONENT} or (length(ltrim({digits}, '0')) > {DIGITS} and "
        f"(scale({number}) > 0 or (scale({number}) = 0 and (length(rtrim({digits}, '0')) > "
        f"{DIGITS} or length({digits}) > {_GREATEST_DIGITS})))))"
    )


@dataclass(frozen=True)
class Integer(BsonType):
    """``smallint`` and ``integer``: int32."""

    small: bool = False
    bson = ("int",)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a number that cannot be NaN."""
        return {path: {"$gte": -math.inf}}

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the type, and the bounds of a smallint."""
        bounds = {"minimum": -(2**15), "maximum": 2**15 - 1} if self.small else {}
        return (self.typed(nullable, **bounds),)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the value as int4."""
        return (f"({column})::int4",)

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return the number."""
        return (int(text),)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the int."""
        return (values[0],)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return its digits; PyMongo reads int32 as int and int64 as a subclass of it."""
        (value,) = parts
        return str(value) if type(value) is int and -(2**31) <= value < 2**31 else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return its digits."""
        return f"({column})::text"


@dataclass(frozen=True)
class BigInteger(BsonType):
    """``bigint``: int64 explicitly, which the driver would otherwise shrink to int32."""

    bson = ("long",)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a number that cannot be NaN."""
        return {path: {"$gte": -math.inf}}

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the value as int8."""
        return (f"({column})::int8",)

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return the number."""
        return (int(text),)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the Int64."""
        return (Int64(values[0]),)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return its digits."""
        (value,) = parts
        return str(int(value)) if type(value) is Int64 else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return its digits."""
        return f"({column})::text"


@dataclass(frozen=True)
class Numeric(BsonType):
    """``numeric``: Decimal128 with its scale, NaN and the infinities.

    Attributes:
        precision: the declared number of digits, ``None`` where none is.
    """

    precision: int | None = None
    bson = ("decimal",)
    refusal = DECIMAL_REFUSAL

    def not_null(self, path: str) -> Schema:
        """Return the filter for a number, or NaN, which is in no range."""
        return {"$or": [{path: {"$gte": -math.inf}}, {path: math.nan}]}

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the text, which keeps the scale."""
        return (f"({column})::text",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the Decimal128."""
        return (exact_decimal(values[0]),)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return PostgreSQL's text of the number."""
        (value,) = parts
        return decimal_text(value) if isinstance(value, Decimal128) else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return PostgreSQL's text of the number."""
        return f"({column})::text"

    def refusal_predicate(self, column: str) -> str | None:
        """Return what :func:`decimal_refusal` says, unless the precision rules it out."""
        if self.precision is not None and self.precision <= DIGITS:
            return None
        return decimal_refusal(column)


@dataclass(frozen=True)
class Double(BsonType):
    """``double precision``, and ``real`` at its own precision: double.

    All NaN are one value in PostgreSQL, and one here.

    Attributes:
        single: whether it is ``real``.
    """

    single: bool = False
    bson = ("double",)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a number, or NaN, which is in no range."""
        return {"$or": [{path: {"$gte": -math.inf}}, {path: math.nan}]}

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return float8, to which a float4 widens exactly."""
        return (f"({column})::float8",)

    def text_expression(self, column: str) -> str:
        """Return the IEEE bytes in hexadecimal: ``extra_float_digits`` can shorten a text."""
        return f"encode(float8send(({column})::float8), 'hex')"

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return the float."""
        return struct.unpack(">d", bytes.fromhex(text))

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the float."""
        return (values[0],)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the IEEE bytes in hexadecimal."""
        (value,) = parts
        if type(value) is not float:
            return wrong(value)
        if math.isnan(value):
            return "NaN"
        if not self.single:
            return struct.pack(">d", value).hex()
        try:
            packed = struct.pack(">f", value)
        except OverflowError:
            return wrong(value)
        return packed.hex() if struct.unpack(">f", packed)[0] == value else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return the IEEE bytes in hexadecimal."""
        bits = "float4" if self.single else "float8"
        return (
            f"case when ({column}) = 'NaN' then 'NaN' "
            f"else encode({bits}send(({column})::{bits}), 'hex') end"
        )


@dataclass(frozen=True)
class Truth(BsonType):
    """``boolean``: bool."""

    bson = ("bool",)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a truth value."""
        return {path: {"$gte": False}}

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the boolean."""
        return (f"({column})::boolean",)

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return the bool."""
        return (text == "true",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the bool."""
        return (values[0],)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return ``true`` or ``false``."""
        (value,) = parts
        return str(value).lower() if type(value) is bool else wrong(value)

    def canonical_expression(self, column: str) -> str:
        """Return ``true`` or ``false``."""
        return f"({column})::text"
