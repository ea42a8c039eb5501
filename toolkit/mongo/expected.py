"""What the documents of one collection must look like, and the strict way to read one. Pure.

It is plain data, so that it can be sent to another process. :mod:`toolkit.mongo.scanner` makes a
parser of it that is many times as fast; a document that has not exactly the expected form comes
here.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import bson
from bson.binary import UUID_SUBTYPE, Binary, UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument

from toolkit.mongo.moments import Day, Timestamp
from toolkit.mongo.numerics import BigInteger, Integer, Numeric, Truth
from toolkit.mongo.record import TEXT, Cell, cell, record
from toolkit.mongo.strings import Bytes, String, Uuid
from toolkit.mongo.values import MISSING, BsonType, wrong

#: How documents are read when they are verified. Raw documents keep every type and the order of
#: fields; the default document class would turn ``{"$ref": ...}`` into an object of its own.
VERIFY_OPTIONS: CodecOptions[Any] = CodecOptions(
    document_class=RawBSONDocument,
    tz_aware=True,
    # As they are: one of another length cannot be made a UUID.
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)

#: As ``VERIFY_OPTIONS``, and three times as fast; only JSON can hold what it changes.
PLAIN_OPTIONS: CodecOptions[Any] = VERIFY_OPTIONS.with_options(document_class=dict)

#: What ``_id`` holds where there is no primary key.
NUMBERED = ("digest", "ordinal")


@dataclass(frozen=True)
class Column:
    """A column of a row.

    Attributes:
        names: the fields that it becomes: of the document, or of ``_id`` where it is in the key.
        bson: how its values are carried.
        nullable: whether it may be NULL.
        in_key: whether it is in ``_id``.
        legible: whether its text is shown to people: it is, or stands for, a part of the key.
    """

    names: tuple[str, ...]
    bson: BsonType
    nullable: bool
    in_key: bool
    legible: bool

    @cached_property
    def cell(self) -> Cell:
        """How it stands in a record."""
        return cell(self.bson, legible=self.legible)

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the cell, which holds functions: another process makes its own.
        return Column, (self.names, self.bson, self.nullable, self.in_key, self.legible)


@dataclass(frozen=True)
class Expected:
    """The documents of one collection.

    Attributes:
        columns: in the order of the row.
        key: the columns of the key, by index, in the key's order; none where there is no key.
        single: whether ``_id`` is the value of a single column itself.
        region_field: the field of the document's region; ``None`` in a global table.
        region: what must stand there; ``None`` where any region may.
        references: the fields with the regions of foreign references.
        optional: those of them that may be null.
        regions: the codes that can stand in any of these.
        counter: a field of which only the type, int64, counts.
    """

    columns: tuple[Column, ...]
    key: tuple[int, ...]
    single: bool
    region_field: str | None
    region: str | None
    references: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    counter: str | None = None

    @property
    def region_cell(self) -> int | None:
        """Index of the region's cell."""
        return None if self.region_field is None else len(self.columns)

    @property
    def key_cells(self) -> tuple[int, ...]:
        """The cells that tell rows apart: the key's; without a key all but the region."""
        if self.key:
            return self.key
        cells = len(self.columns) + len(self.references) + (self.region_field is not None)
        return tuple(number for number in range(cells) if number != self.region_cell)

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The fields of ``_id`` in their order; none where it is a single value."""
        if self.single:
            return ()
        if not self.key:
            return NUMBERED
        return tuple(name for number in self.key for name in self.columns[number].names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The fields of the document in their order."""
        region = (self.region_field,) if self.region_field else ()
        columns = [name for one in self.columns if not one.in_key for name in one.names]
        counter = (self.counter,) if self.counter else ()
        return ("_id", *region, *columns, *self.references, *counter)

    @cached_property
    def oids(self) -> tuple[int, ...]:
        """The types of the cells."""
        texts = len(self.references) + (self.region_field is not None)
        return (*(column.cell.oid for column in self.columns), *(TEXT,) * texts)

    def identity_of(self, key: Sequence[str | None]) -> Any:
        """Return the ``_id`` of the row with a key, given as text; ``None`` if it is not known."""
        parts: list[Any] = []
        for number, text in zip(self.key, key, strict=False):
            column = self.columns[number]
            stored = _STORED.get(type(column.bson))
            if stored is None or text is None or text.startswith("\0"):
                return None
            try:
                parts += stored(text)
            except (ValueError, ArithmeticError):
                return None
        if self.single:
            return parts[0]
        return dict(zip(self.identity, parts, strict=True)) if self.key else None

    def form(self, document: bytes) -> bytes:
        """Return the record of a document, with one cell more if the document's form is wrong."""
        read: RawBSONDocument = bson.decode(document, VERIFY_OPTIONS)
        texts = self.texts(read)
        values = [
            column.cell.value(text) for column, text in zip(self.columns, texts, strict=False)
        ]
        regions = texts[len(self.columns) : len(self.oids)]
        values += [_REGION.value(text) for text in regions]
        if not self.has_form(read):
            return record((*self.oids, TEXT), [*values, b"\0fields"])
        return record(self.oids, values)

    def texts(self, document: Mapping[str, Any]) -> list[str | None]:
        """Return the canonical texts of a document that was read with ``VERIFY_OPTIONS``."""
        texts = [column.bson.canonical(self._parts(document, column)) for column in self.columns]
        if self.region_field is not None:
            texts.append(_region(document.get(self.region_field, MISSING)))
        return [*texts, *(_region(document.get(name, MISSING)) for name in self.references)]

    def has_form(self, document: RawBSONDocument) -> bool:
        """Return whether a document has these fields and no others, in whatever order."""
        if document.keys() != set(self.names) or _fields(bytes(document.raw)) != len(self.names):
            return False
        if self.identity:
            identity = document["_id"]
            if not isinstance(identity, Mapping) or tuple(identity) != self.identity:
                return False
        return self.counter is None or type(document[self.counter]) is Int64

    def _parts(self, document: Mapping[str, Any], column: Column) -> Sequence[Any]:
        if not column.in_key:
            return [document.get(name, MISSING) for name in column.names]
        identity = document.get("_id", MISSING)
        if self.single:
            return [identity]
        if not isinstance(identity, Mapping):
            return [MISSING] * len(column.names)
        return [identity.get(name, MISSING) for name in column.names]


#: From the text of a key's column to the values of its fields.
_STORED: dict[type[BsonType], Callable[[str], list[Any]]] = {
    Integer: lambda text: [int(text)],
    BigInteger: lambda text: [Int64(text)],
    Numeric: lambda text: [Decimal128(text)],
    Truth: lambda text: [text == "true"],
    String: lambda text: [text],
    Uuid: lambda text: [Binary(uuid.UUID(text).bytes, UUID_SUBTYPE)],
    Bytes: lambda text: [bytes.fromhex(text)],
    Day: lambda text: [DatetimeMS(int(text) * 86_400_000)],
    Timestamp: lambda text: [DatetimeMS(int(text) // 1000), int(text) % 1000],
}

_REGION = Cell(TEXT, lambda column: column, str.encode)


def _region(value: object) -> str | None:
    return value if value is None or type(value) is str else wrong(value)


def _fields(document: bytes) -> int:
    """Return how many fields a document has, those of one name each for itself."""
    count, place = 0, 4
    while document[place]:
        count += 1
        place = element_end(document, place)
    return count


def element_end(data: bytes, place: int) -> int:
    """Return where the BSON element ends that begins at ``place``.

    Raises:
        ValueError: it is none, or of a type that is deprecated.
    """
    value = data.index(b"\0", place) + 1
    kind = data[place]
    if kind in _SIZES:
        return value + _SIZES[kind]
    if kind not in _LENGTHS:
        raise ValueError(f"BSON type {kind}")
    (length,) = _LENGTH.unpack_from(data, value)
    return int(value + length + _LENGTHS[kind])


_LENGTH = struct.Struct("<i")

#: BSON types whose values have a fixed size, and that size.
_SIZES = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}

#: BSON types whose values begin with a length, and what is to be added to it: strings and code
#: count their NUL, not the length; binaries neither the length nor the subtype; the others all.
_LENGTHS = {2: 4, 3: 0, 4: 0, 5: 5, 13: 4, 14: 4, 15: 0}
