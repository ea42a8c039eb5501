"""Dates, timestamps and intervals. Pure.

They are read in PostgreSQL's wire form (``timestamptz_send`` and its like): integers, so exact,
whatever ``TimeZone``, ``DateStyle`` and ``IntervalStyle`` say, and without the driver's idea of a
date, which knows no year 10000 and no infinity. Their canonical form is computed by ``extract``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.datetime_ms import DatetimeMS
from bson.int64 import Int64

from toolkit.mongo.values import Schema, ValueRefused, WireType, ordered_items, wrong

#: PostgreSQL counts from 2000-01-01, BSON from 1970-01-01.
_DAYS_TO_2000 = 10_957
_MICROSECONDS_A_DAY = 86_400_000_000
_MILLISECONDS_A_DAY = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

#: A bound for index filters. Clients that read a date beyond Python's fail to list the indexes, so
#: it is not the least date: the filter names both of its sides.
_YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)

INFINITY_REFUSAL = "infinity, which BSON's date cannot hold"


def _milliseconds(value: object) -> int | None:
    """Return a BSON date's milliseconds since 1970, ``None`` for anything else."""
    if isinstance(value, DatetimeMS):
        return int(value)
    if type(value) is not datetime:
        return None
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MILLISECOND


def _any_date(path: str) -> Schema:
    return {"$or": [{path: {"$gte": _YEAR_1}}, {path: {"$lt": _YEAR_1}}]}


@dataclass(frozen=True)
class Day(WireType):
    """``date``: date at 00:00 UTC."""

    bson = ("date",)
    refusal = INFINITY_REFUSAL

    def not_null(self, path: str) -> Schema:
        """Return the filter for a date."""
        return _any_date(path)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the days since 2000 as four bytes."""
        return (f"date_send({column})",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the date."""
        (days,) = struct.unpack(">i", values[0])
        if days in (-(2**31), 2**31 - 1):
            raise ValueRefused(INFINITY_REFUSAL)
        return (DatetimeMS((days + _DAYS_TO_2000) * _MILLISECONDS_A_DAY),)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the days since 1970; a date with a time of day is wrong."""
        (value,) = parts
        milliseconds = _milliseconds(value)
        if milliseconds is None or milliseconds % _MILLISECONDS_A_DAY:
            return wrong(value)
        return str(milliseconds // _MILLISECONDS_A_DAY)

    def canonical_expression(self, column: str) -> str:
        """Return the days since 1970."""
        return (
            f"case when isfinite({column}) then (({column}) - date '1970-01-01')::text "
            f"else ({column})::text end"
        )

    def refusal_predicate(self, column: str) -> str | None:
        """Infinity."""
        return f"not isfinite({column})"


@dataclass(frozen=True)
class Timestamp(WireType):
    """``timestamp`` and ``timestamptz``: date, and the remaining microseconds, 0 to 999.

    A timestamp without time zone is stored as if it were UTC.

    Attributes:
        zoned: whether it is ``timestamptz``.
    """

    zoned: bool = True
    suffixes = ("", "_us")
    bson = ("date",)
    refusal = INFINITY_REFUSAL

    def not_null(self, path: str) -> Schema:
        """Return the filter for a date."""
        return _any_date(path)

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the date's type and the microseconds' bounds."""
        names = ["int", "null"] if nullable else "int"
        return (self.typed(nullable), {"bsonType": names, "minimum": 0, "maximum": 999})

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the microseconds since 2000 as eight bytes.

        As an int8 since 1970 the last thirty years of PostgreSQL's range would overflow.
        """
        return (f"{'timestamptz' if self.zoned else 'timestamp'}_send({column})",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the date and the microseconds."""
        (since_2000,) = struct.unpack(">q", values[0])
        if since_2000 in (-(2**63), 2**63 - 1):
            raise ValueRefused(INFINITY_REFUSAL)
        milliseconds, rest = divmod(since_2000 + _DAYS_TO_2000 * _MICROSECONDS_A_DAY, 1000)
        return DatetimeMS(milliseconds), rest

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the microseconds since 1970."""
        value, rest = parts
        milliseconds = _milliseconds(value)
        if milliseconds is None:
            return wrong(value)
        if type(rest) is not int or not 0 <= rest <= 999:
            return wrong(rest)
        return str(milliseconds * 1000 + rest)

    def canonical_expression(self, column: str) -> str:
        """Return the microseconds since 1970.

        Counted from 2000: ``extract(epoch from ...)`` itself rounds in the last thirty years.
        """
        start = "timestamptz '2000-01-01 00:00:00+00'" if self.zoned else "timestamp '2000-01-01'"
        return (
            f"case when isfinite({column}) then (trunc(extract(epoch from ({column}) - {start}) "
            f"* 1000000) + {_DAYS_TO_2000 * _MICROSECONDS_A_DAY})::text else ({column})::text end"
        )

    def refusal_predicate(self, column: str) -> str | None:
        """Infinity."""
        return f"not isfinite({column})"


@dataclass(frozen=True)
class Interval(WireType):
    """``interval``: PostgreSQL's own three parts, ``{months, days, us}``."""

    bson = ("object",)
    refusal = "an infinite interval"

    def not_null(self, path: str) -> Schema:
        """Return the filter for a subdocument."""
        return {path: {"$gte": {}}}

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the three parts."""
        properties = {
            "months": {"bsonType": "int"},
            "days": {"bsonType": "int"},
            "us": {"bsonType": "long"},
        }
        return (
            self.typed(
                nullable,
                required=list(properties),
                additionalProperties=False,
                properties=properties,
            ),
        )

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return microseconds, days and months as sixteen bytes."""
        return (f"interval_send({column})",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the subdocument."""
        microseconds, days, months = struct.unpack(">qii", values[0])
        if (microseconds, days, months) in (
            (-(2**63), -(2**31), -(2**31)),
            (2**63 - 1, 2**31 - 1, 2**31 - 1),
        ):
            raise ValueRefused(self.refusal)
        return ({"months": months, "days": days, "us": Int64(microseconds)},)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the three parts with blanks between them."""
        (value,) = parts
        items = ordered_items(value)
        if items is None or [(name, type(part)) for name, part in items] != [
            ("months", int),
            ("days", int),
            ("us", Int64),
        ]:
            return wrong(value)
        return " ".join(str(int(part)) for _, part in items)

    def canonical_expression(self, column: str) -> str:
        """Return the three parts with blanks between them."""

        def of(field: str) -> str:
            return f"extract({field} from {column})"

        months = f"({of('year')} * 12 + {of('month')})::bigint"
        microseconds = (
            f"trunc({of('hour')} * 3600000000 + {of('minute')} * 60000000 + {of('microseconds')})"
        )
        return (
            f"case when isfinite({column}) then {months} || ' ' || {of('day')}::bigint || ' ' || "
            f"{microseconds} else ({column})::text end"
        )

    def refusal_predicate(self, column: str) -> str | None:
        """Infinity, which PostgreSQL has from 17 on; below, every interval is finite."""
        return f"not isfinite({column})"
