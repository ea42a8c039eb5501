"""The form of a row that both ends hash: what PostgreSQL's ``record_send`` makes of it. Pure.

A record is the number of its cells, then for each cell the OID of its type, the length of its value
and the value as the type's own send function gives it; NULL has the length -1. No two rows share a
form: NULL is not empty, and cells cannot run together. PostgreSQL makes one in C, whatever the
types; this side writes it with :mod:`struct`, and shares no code with what encoded the documents.

A row's digest is the first half of the MD5 of its form, as a signed int8: the cheapest sum that
PostgreSQL has, which may work in parallel.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from toolkit.digest import Digest
from toolkit.mongo.moments import Day, Interval, Timestamp
from toolkit.mongo.numerics import BigInteger, Integer, Truth
from toolkit.mongo.strings import Uuid
from toolkit.mongo.values import BsonType

_MASK = (1 << 64) - 1
_COUNT, _PAIR, _NUMBER = struct.Struct(">i"), struct.Struct(">ii"), struct.Struct(">q")

#: What a cell holds whose value has another BSON type than the column's: longer than any value of
#: a type of fixed length, and starting as no text can.
_WRONG = b"\0" * 64

BOOL, BYTEA, INT8, INT4, TEXT, UUID = 16, 17, 20, 23, 25, 2950

#: PostgreSQL counts from 2000-01-01: days and microseconds since 1970-01-01. What is below the
#: first or not below the second bound is no finite date or timestamp of PostgreSQL.
DAYS_TO_2000 = 10_957
MICROSECONDS_TO_2000 = DAYS_TO_2000 * 86_400_000_000
LEAST_DAY, END_OF_DAYS = -2_451_545, 2_145_031_949
LEAST_MOMENT, END_OF_MOMENTS = -211_813_488_000_000_000, 9_223_371_331_200_000_000


@dataclass(frozen=True)
class Cell:
    """How a column stands in a record.

    Attributes:
        oid: of the PostgreSQL type.
        expression: from the column as SQL to the cell as SQL, of that type.
        sent: from the column's canonical text to the value in PostgreSQL's wire form. It raises
            ``ValueError``, ``OverflowError`` or ``struct.error`` for what PostgreSQL cannot have.
    """

    oid: int
    expression: Callable[[str], str]
    sent: Callable[[str], bytes]

    def value(self, text: str | None) -> bytes | None:
        """Return the value of a canonical text; of one that no row can have, what no cell can."""
        if text is None:
            return None
        if not text.startswith("\0"):
            try:
                return self.sent(text)
            except (ValueError, OverflowError, struct.error):
                text = f"\0{text}"
        return _WRONG + text.encode("utf-8", "surrogatepass")


def cell(bson: BsonType, *, legible: bool = False) -> Cell:
    """Return how a column of a type stands in a record.

    Args:
        bson: how the column is carried.
        legible: whether PostgreSQL's text of the cell is for people, as that of a key is.
    """
    kind = _LEGIBLE.get(type(bson))
    if kind is None and not legible:
        kind = _BINARY.get(type(bson))
    return kind(bson) if kind else Cell(TEXT, bson.canonical_expression, str.encode)


def _sent(form: str) -> Callable[[str], bytes]:
    pack = struct.Struct(form).pack
    return lambda text: pack(int(text))


def _day(text: str) -> bytes:
    days = int(text) - DAYS_TO_2000
    if not LEAST_DAY <= days < END_OF_DAYS:
        raise ValueError(text)
    return _COUNT.pack(days)


def _moment(text: str) -> bytes:
    microseconds = int(text) - MICROSECONDS_TO_2000
    if not LEAST_MOMENT <= microseconds < END_OF_MOMENTS:
        raise ValueError(text)
    return _NUMBER.pack(microseconds)


def _interval(text: str) -> bytes:
    months, days, microseconds = map(int, text.split(" "))
    if (microseconds, days, months) in INFINITE_INTERVALS:
        raise ValueError(text)
    return struct.pack(">qii", microseconds, days, months)


#: Microseconds, days, months of what PostgreSQL calls infinite.
INFINITE_INTERVALS = (
    (-(2**63), -(2**31), -(2**31)),
    (2**63 - 1, 2**31 - 1, 2**31 - 1),
)

#: PostgreSQL's text of these is their canonical text.
_LEGIBLE: dict[type[BsonType], Callable[[BsonType], Cell]] = {
    Integer: lambda _: Cell(INT4, lambda column: f"({column})::int4", _sent(">i")),
    BigInteger: lambda _: Cell(INT8, lambda column: f"({column})::int8", _sent(">q")),
    Truth: lambda _: Cell(
        BOOL, lambda column: f"({column})::bool", {"true": b"\1", "false": b"\0"}.__getitem__
    ),
    Uuid: lambda _: Cell(
        UUID, lambda column: f"({column})::uuid", lambda text: uuid.UUID(text).bytes
    ),
}

#: In the wire form of their type, which is several times as cheap as any text.
_BINARY: dict[type[BsonType], Callable[[BsonType], Cell]] = {
    Day: lambda _: Cell(BYTEA, lambda column: f"date_send({column})", _day),
    Timestamp: lambda bson: Cell(BYTEA, _moment_expression(bson), _moment),
    Interval: lambda _: Cell(BYTEA, lambda column: f"interval_send({column})", _interval),
}


def _moment_expression(bson: BsonType) -> Callable[[str], str]:
    assert isinstance(bson, Timestamp)
    function = "timestamptz_send" if bson.zoned else "timestamp_send"
    return lambda column: f"{function}({column})"


# Records ----------------------------------------------------------------------------------------


def record(oids: Sequence[int], values: Sequence[bytes | None]) -> bytes:
    """Return the form of a row."""
    pieces = [_COUNT.pack(len(values))]
    for oid, value in zip(oids, values, strict=True):
        if value is None:
            pieces.append(_PAIR.pack(oid, -1))
        else:
            pieces += (_PAIR.pack(oid, len(value)), value)
    return b"".join(pieces)


def texts(form: bytes) -> list[str | None]:
    """Return the cells of a form as PostgreSQL's casts to ``text`` give them."""
    found: list[str | None] = []
    place = _COUNT.size
    while place < len(form):
        oid, length = _PAIR.unpack_from(form, place)
        place += _PAIR.size
        if length < 0:
            found.append(None)
            continue
        found.append(_text(oid, form[place : place + length]))
        place += length
    return found


def _text(oid: int, value: bytes) -> str:
    if value.startswith(_WRONG):
        return value[len(_WRONG) :].decode("utf-8", "surrogatepass")
    return _TEXTS[oid](value)


_TEXTS: dict[int, Callable[[bytes], str]] = {
    BOOL: lambda value: "true" if value == b"\1" else "false",
    BYTEA: lambda value: f"\\x{value.hex()}",
    INT4: lambda value: str(int.from_bytes(value, "big", signed=True)),
    INT8: lambda value: str(int.from_bytes(value, "big", signed=True)),
    TEXT: lambda value: value.decode("utf-8", "surrogatepass"),
    UUID: lambda value: str(uuid.UUID(bytes=value)),
}


# Digests ----------------------------------------------------------------------------------------


class RecordMd5:
    """The digest of a row as PostgreSQL computes it; see ``toolkit.digest.DigestForm``."""

    halves = False

    def row(self, cells: Sequence[str]) -> str:
        """Return SQL for the digest of a row."""
        form = f"md5(record_send(ROW({', '.join(cells)})))"
        return f"('x' || left({form}, 16))::bit(64)::bigint"

    def numbers(self, digest: str) -> tuple[str, str]:
        """Return SQL for the digest; there is no second half."""
        return digest, "0"


def row_digest(form: bytes) -> str:
    """Return what :class:`RecordMd5` gives for a row, as text."""
    (number,) = _NUMBER.unpack_from(hashlib.md5(form, usedforsecurity=False).digest())
    return str(number)


def total(forms: Iterable[bytes]) -> Digest:
    """Return the digest of a set of rows."""
    md5 = hashlib.md5
    digests = [md5(form, usedforsecurity=False).digest() for form in forms]
    numbers = struct.unpack(f">{2 * len(digests)}Q", b"".join(digests))
    return Digest(len(digests), sum(numbers[::2]) & _MASK, 0)
