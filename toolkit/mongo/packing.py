"""Rows packed into BSON by a function that is generated for each table. Pure.

The function holds every field's name as ready bytes and packs runs of values of fixed size with one
``struct``. It knows the common types and their common values. Everything else goes to what defines
a document, :class:`toolkit.mongo.rows.RowEncoder`: a type without a shortcut by the cell, and a row
with a value out of the ordinary (NaN, a number of 30 digits, a NULL where none can be) as a whole.
Either way the bytes are those of ``bson.encode`` over the encoder's document.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
from bson.binary import UUID_SUBTYPE
from bson.raw_bson import RawBSONDocument

from toolkit.layout import Layout
from toolkit.mongo.layout import EPOCH, CollectionsLayout
from toolkit.mongo.moments import Day, Timestamp
from toolkit.mongo.numerics import (
    BIAS,
    EXPONENT,
    SIGN,
    BigInteger,
    Double,
    Integer,
    Numeric,
    Truth,
)
from toolkit.mongo.rows import RowEncoder, fields_of
from toolkit.mongo.shape import Field, row_digest_expression
from toolkit.mongo.source import quoted
from toolkit.mongo.strings import String, Uuid
from toolkit.mongo.types import VERIFY_OPTIONS
from toolkit.mongo.values import BsonType, ValueRefused

#: The high bits of a Decimal128 for each number of decimals; more are left to the encoder.
_SCALES = [(BIAS - scale) << EXPONENT for scale in range(20)]

_DAYS_TO_2000 = 10_957
_MILLISECONDS_A_DAY = 86_400_000
_MICROSECONDS_TO_2000 = _DAYS_TO_2000 * 86_400_000_000

#: As many encoded values of a column are remembered, of at most so many bytes.
_REMEMBERED, _SHORT = 4_096, 128

#: What the generated function raises for a value that it leaves to the encoder.
_UNUSUAL = (struct.error, ValueError, TypeError, LookupError, AttributeError)

_int32 = struct.Struct("<i").pack


class _Elements(dict[Any, bytes]):
    """Values of a column to the bytes of their fields. It remembers some of them."""

    def __init__(self, encode: Callable[[Any], bytes], null: bytes) -> None:
        super().__init__({None: null})
        self._encode = encode

    def __missing__(self, value: Any) -> bytes:
        element = self._encode(value)
        if len(element) <= _SHORT and len(self) < _REMEMBERED:
            self[value] = element
        return element


@dataclass(frozen=True)
class _Piece:
    """The code that packs one column.

    Attributes:
        expression: of the bytes, where their number varies.
        form: of ``struct``, where it does not.
        arguments: expressions of what ``form`` takes.
        prepare: statements before that; they run only where the column is not NULL.
        column: the variable that is None for NULL; empty where that cannot be.
        null: the bytes for NULL.
    """

    expression: str = ""
    form: str = ""
    arguments: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()
    column: str = ""
    null: bytes = b""


@dataclass
class _Code:
    """The function's text while it is written, and the constants that it names."""

    lines: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)

    def constant(self, value: object) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def literal(self, data: bytes) -> _Piece:
        return _Piece(form=f"{len(data)}s", arguments=(self.constant(data),))

    def fixed(
        self,
        header: bytes,
        form: str,
        *values: str,
        column: Field,
        variable: str,
        prepare: Any = (),
    ) -> _Piece:
        """Return the piece of a column that is one field of a fixed size."""
        return _Piece(
            form=f"{len(header)}s{form}",
            arguments=(self.constant(header), *values),
            prepare=prepare,
            column=variable if column.nullable else "",
            null=_nulls(column),
        )

    def join(self, pieces: Sequence[_Piece]) -> str:
        """Write the statements for pieces in a row; return the expression of all their bytes."""
        parts = []
        for run in _runs(pieces):
            if run[0].expression:
                parts.append(run[0].expression)
                continue
            part = f"p{len(self.constants)}"
            nullable = next((piece for piece in run if piece.column), None)
            for piece in run:
                if piece is not nullable:
                    self.lines += piece.prepare
            packed = f"{part} = {self._pack(run)}"
            if nullable is None:
                self.lines.append(packed)
            else:
                empty = self.literal(nullable.null)
                without = [empty if piece is nullable else piece for piece in run]
                self.lines += [
                    f"if {nullable.column} is None:",
                    f"    {part} = {self._pack(without)}",
                    "else:",
                    *(f"    {line}" for line in (*nullable.prepare, packed)),
                ]
            parts.append(part)
        return parts[0] if len(parts) == 1 else f"join(({', '.join(parts)}))"

    def _pack(self, run: Sequence[_Piece]) -> str:
        pack = self.constant(struct.Struct("<" + "".join(piece.form for piece in run)).pack)
        return f"{pack}({', '.join(argument for piece in run for argument in piece.arguments)})"


def _runs(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Yield what one ``struct`` packs: neighbours of fixed size, one of them nullable at most."""
    run: list[_Piece] = []
    for piece in pieces:
        if run and (
            piece.expression
            or run[0].expression
            or (piece.column and any(other.column for other in run))
        ):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _header(kind: int, name: str) -> bytes:
    return bytes([kind]) + name.encode() + b"\0"


def _nulls(column: Field) -> bytes:
    return b"".join(_header(0x0A, name) for name in column.names)


# Types --------------------------------------------------------------------------------------------


def _integer(code: _Code, column: Field, variable: str) -> _Piece:
    header = _header(0x10, column.names[0])
    return code.fixed(header, "i", variable, column=column, variable=variable)


def _big_integer(code: _Code, column: Field, variable: str) -> _Piece:
    header = _header(0x12, column.names[0])
    return code.fixed(header, "q", variable, column=column, variable=variable)


def _double(code: _Code, column: Field, variable: str) -> _Piece:
    header = _header(0x01, column.names[0])
    return code.fixed(header, "d", variable, column=column, variable=variable)


def _uuid(code: _Code, column: Field, variable: str) -> _Piece:
    header = _header(0x05, column.names[0]) + _int32(16) + bytes([UUID_SUBTYPE])
    return code.fixed(header, "16s", variable, column=column, variable=variable)


def _numeric(code: _Code, column: Field, variable: str) -> _Piece:
    scales, low, high = code.constant(_SCALES), f"{variable}_low", f"{variable}_high"
    whole, fraction = f"{variable}_whole", f"{variable}_fraction"
    return code.fixed(
        _header(0x13, column.names[0]),
        "QQ",
        low,
        high,
        column=column,
        variable=variable,
        prepare=(
            f"{whole}, _, {fraction} = {variable}.partition('.')",
            f"{low} = int({whole} + {fraction})",
            f"{high} = {scales}[len({fraction})]",
            f"if {low} < 0: {low}, {high} = -{low}, {high} | {SIGN}",
        ),
    )


def _timestamp(code: _Code, column: Field, variable: str) -> _Piece:
    unpack, date, rest = (
        code.constant(struct.Struct(">q").unpack),
        f"{variable}_ms",
        f"{variable}_us",
    )
    first, second = (
        _header(kind, name) for kind, name in zip((0x09, 0x10), column.names, strict=True)
    )
    return code.fixed(
        first,
        f"q{len(second)}si",
        date,
        code.constant(second),
        rest,
        column=column,
        variable=variable,
        prepare=(
            f"{date}, = {unpack}({variable})",
            # The ends of the range are the infinities, which are refused.
            f"if not {-(2**63)} < {date} < {2**63 - 1}: raise ValueError",
            f"{date}, {rest} = divmod({date} + {_MICROSECONDS_TO_2000}, 1000)",
        ),
    )


def _day(code: _Code, column: Field, variable: str) -> _Piece:
    unpack, date = code.constant(struct.Struct(">i").unpack), f"{variable}_ms"
    return code.fixed(
        _header(0x09, column.names[0]),
        "q",
        date,
        column=column,
        variable=variable,
        prepare=(
            f"{date}, = {unpack}({variable})",
            f"if not {-(2**31)} < {date} < {2**31 - 1}: raise ValueError",
            f"{date} = ({date} + {_DAYS_TO_2000}) * {_MILLISECONDS_A_DAY}",
        ),
    )


def _string(code: _Code, column: Field, variable: str) -> _Piece:
    header = _header(0x02, column.names[0])

    def encode(value: str) -> bytes:
        data = value.encode()
        return b"%b%b%b\0" % (header, _int32(len(data) + 1), data)

    elements = code.constant(_Elements(encode, _nulls(column)))
    return _Piece(f"{elements}[{variable}]")


def _truth(code: _Code, column: Field, variable: str) -> _Piece:
    header = _header(0x08, column.names[0])
    elements = {None: _nulls(column), True: header + b"\1", False: header + b"\0"}
    return _Piece(f"{code.constant(elements)}[{variable}]")


_SHORTCUTS: dict[type[BsonType], Callable[[_Code, Field, str], _Piece]] = {
    Integer: _integer,
    BigInteger: _big_integer,
    Double: _double,
    Numeric: _numeric,
    Truth: _truth,
    String: _string,
    Uuid: _uuid,
    Day: _day,
    Timestamp: _timestamp,
}


def _column(code: _Code, column: Field, variables: Sequence[str]) -> _Piece:
    """Return the piece of a column: by its type's shortcut, or else by its ``encode``."""
    shortcut = _SHORTCUTS.get(type(column.bson))
    if shortcut is not None:
        return shortcut(code, column, variables[0])
    null = _nulls(column)

    def encode(*values: Any) -> bytes:
        if values[0] is None:
            return null
        return bson.encode(dict(zip(column.names, column.bson.encode(values), strict=True)))[4:-1]

    return _Piece(f"{code.constant(encode)}({', '.join(variables)})")


def _subdocument(code: _Code, name: str, pieces: Sequence[_Piece]) -> list[_Piece]:
    """Return the pieces of a subdocument, given those of its fields, none of which is NULL."""
    inner = code.join([*pieces, code.literal(b"\0")])
    code.lines.append(f"inner = {inner}")
    header = _header(0x03, name)
    length = f"{len(header)}si"
    return [
        _Piece(form=length, arguments=(code.constant(header), "len(inner) + 4")),
        _Piece("inner"),
    ]


# Tables -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Encoded documents.

    Attributes:
        documents: by the collection that they go to.
        size: about how many bytes they are.
    """

    documents: dict[str, list[RawBSONDocument]]
    size: int

    @property
    def rows(self) -> int:
        """How many documents there are."""
        return sum(map(len, self.documents.values()))

    def halves(self) -> tuple[Batch, Batch]:
        """Return the same documents as two batches."""
        first, second = (
            {name: those[half] for name, those in self.documents.items() if those[half]}
            for half in (slice(0, None, 2), slice(1, None, 2))
        )
        return Batch(first, self.size // 2), Batch(second, self.size // 2)


class RowPacker:
    """Packs the rows of a table, or of the link.

    Args:
        layout: the decisions.
        collections: the same, spelled out.
        name: key of the table, or the name of the link.

    Attributes:
        expressions: SQL over alias ``t``, for the source. Where there is no primary key they hold
            the row's digest and how many equal rows came before: PostgreSQL counts them, in bounded
            memory.
        collections: where the documents go.
        key_columns: how many columns the primary key has.
        bounded: whether no row can be long, whatever it holds.
    """

    def __init__(self, layout: Layout, collections: CollectionsLayout, name: str) -> None:
        self._encoder = RowEncoder(layout, collections, name)
        self._places = self._encoder.places
        self.expressions = list(self._encoder.expressions)
        columns = fields_of(layout, collections, name)
        is_link = name == layout.link
        shape = collections.shapes[layout.placement.root if is_link else name]
        #: Bytes at the end of a document that are not the source's: the counter of a link.
        self._tail = 8 + 1 if is_link else 0
        code = _Code()
        variables: dict[str, list[str]] = {}
        for number, column in enumerate(columns):
            width = len(column.bson.read_expression("t"))
            variables[column.column] = [f"c{number}_{part}" for part in range(width)]
        row = [variable for those in variables.values() for variable in those]
        pieces: list[_Piece] = []
        self.collections = sorted(set(self._places.values()))
        self.key_columns = len(shape.key.fields) if shape.key else 0
        self.bounded = not any(one.bson.unbounded for one in columns)
        if shape.key is None:
            self._number(columns)
            row += ["digest", "ordinal"]
            pieces += _subdocument(code, "_id", _numbered(code))
        elif shape.key.single:
            (key,) = shape.key.fields
            renamed = Field(key.column, ("_id",), key.bson, nullable=False)
            pieces.append(_column(code, renamed, variables[key.column]))
        else:
            inner = [_column(code, key, variables[key.column]) for key in shape.key.fields]
            pieces += _subdocument(code, "_id", inner)
        if shape.region_field is not None:
            row.append("region")
            pieces.append(_string(code, _text_field(layout.region_column), "region"))
        if is_link:
            pieces.append(code.literal(_header(0x12, EPOCH) + bytes(8)))
        else:
            pieces += [_column(code, one, variables[one.column]) for one in shape.fields]
            for number, reference in enumerate(shape.references):
                row.append(f"r{number}")
                pieces.append(_string(code, _text_field(reference.name), f"r{number}"))
        body = code.join([*pieces, code.literal(b"\0")])
        self._pack = _compiled(code, row, body)

    def _number(self, columns: Sequence[Field]) -> None:
        texts = [one.bson.canonical_expression(quoted(one.column)) for one in columns]
        digest = row_digest_expression(texts)
        ordinal = f"(row_number() OVER (PARTITION BY {digest}) - 1)::int4"
        self.expressions += [digest, ordinal]

    def content(self, document: bytes) -> bytes:
        """Return what of a document is the source's: all but the counter of a link."""
        return document[: -self._tail] if self._tail else document

    def batches(self, rows: Iterator[Sequence[Any]], most: int) -> Iterator[Batch]:
        """Yield the documents of rows in batches.

        Args:
            rows: the values of ``expressions``, the region unless the table is global, and the
                regions of its foreign references (not for the link).
            most: bytes from which on a batch is full; a document more can be in it.

        Raises:
            ValueRefused: BSON cannot hold a value, or the row belongs to no region.
        """
        while (batch := self._batch(rows, most)).rows:
            yield batch

    def _batch(self, rows: Iterator[Sequence[Any]], most: int) -> Batch:
        found: dict[str, list[RawBSONDocument]] = {}
        homes = {region: found.setdefault(name, []).append for region, name in self._places.items()}

        def slow(row: Sequence[Any]) -> int:
            region, document = self._document(row)
            if region not in homes:
                raise ValueRefused("a row that belongs to no region")
            data = bson.encode(document)
            homes[region](RawBSONDocument(data))
            return len(data)

        size = self._pack(rows, homes, slow, most)
        return Batch({name: those for name, those in found.items() if those}, size)

    def _document(self, row: Sequence[Any]) -> tuple[str | None, dict[str, Any]]:
        if self.key_columns:
            return self._encoder.document(row)
        place = len(self._encoder.expressions)
        return self._encoder.document([*row[:place], *row[place + 2 :]], ordinal=row[place + 1])


def _text_field(name: str) -> Field:
    return Field("", (name,), String(), nullable=True)


def _numbered(code: _Code) -> list[_Piece]:
    """Return the pieces of an ``_id`` that is made of the row's digest and a number."""
    digest = _header(0x02, "digest") + _int32(65)
    return [
        _Piece(form=f"{len(digest)}s64sx", arguments=(code.constant(digest), "digest.encode()")),
        _Piece(form="9si", arguments=(code.constant(_header(0x10, "ordinal")), "ordinal")),
    ]


_Pack = Callable[
    [Iterator[Sequence[Any]], dict[str | None, Callable[[RawBSONDocument], None]], Any, int], int
]


def _compiled(code: _Code, row: Sequence[str], body: str) -> _Pack:
    """Return the function that packs rows, and hands those that it cannot to ``slow``."""
    region = "region" if "region" in row else "None"
    lines = [
        "def pack(rows, homes, slow, most):",
        "    size = 0",
        "    for row in rows:",
        "        try:",
        f"            {', '.join(row)}, = row",
        *(f"            {line}" for line in code.lines),
        f"            body = {body}",
        f"            homes[{region}](Raw(int32(len(body) + 4) + body))",
        "            size += len(body)",
        "        except UNUSUAL:",
        "            size += slow(row)",
        "        if size >= most: break",
        "    return size",
    ]
    namespace: dict[str, Any] = {
        **code.constants,
        "Raw": RawBSONDocument,
        "UNUSUAL": _UNUSUAL,
        "int32": _int32,
        "join": b"".join,
    }
    # Nothing of a schema stands in the text: names are constants, and variables are numbered.
    exec("\n".join(lines), namespace)  # noqa: S102
    pack: _Pack = namespace["pack"]
    return pack


#: Bytes of a value by the code of its type, where they are always as many.
_SIZES = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x12: 8, 0x13: 16}
#: Bytes besides its length that a value of these types has.
_LENGTHS = {0x02: 4, 0x03: 0, 0x04: 0, 0x05: 5}
_VALUE = 4 + len(_header(0, "_id"))


def identity(document: bytes) -> bytes:
    """Return a BSON document of nothing but the ``_id`` of another one, where it stands first."""
    kind = document[4]
    size = _SIZES.get(kind)
    if size is None:
        if kind not in _LENGTHS:
            return bson.encode({"_id": RawBSONDocument(document, VERIFY_OPTIONS)["_id"]})
        size = _LENGTHS[kind] + int.from_bytes(document[_VALUE : _VALUE + 4], "little")
    end = _VALUE + size
    return b"%b%b\0" % (_int32(end + 1), document[4:end])
