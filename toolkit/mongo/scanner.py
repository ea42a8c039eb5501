"""A parser of raw documents, generated for the documents that one collection must hold. Pure.

It walks batches as the server sends them and makes the record (see ``toolkit.mongo.record``) of
each document, without decoding it: names, order and types are compared as literal bytes, and a run
of fields of fixed size is unpacked at once. A document that has not exactly the expected form takes
the strict way instead; both give the same record.

The parser is Python source, one statement for one thing that a document must have; ``source`` of
:class:`Scanner` shows it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import bson

from toolkit.mongo import record
from toolkit.mongo.decimals import PLAIN, words_text
from toolkit.mongo.expected import PLAIN_OPTIONS, VERIFY_OPTIONS, Column, Expected, element_end
from toolkit.mongo.moments import Day, Interval, Timestamp
from toolkit.mongo.numerics import BigInteger, Integer, Numeric, Truth
from toolkit.mongo.record import TEXT
from toolkit.mongo.strings import String, Uuid

#: What the parser makes of a batch: the records, and how many of them took the strict way.
Forms = tuple[list[bytes], int]


class Scanner:
    """Makes records of raw documents.

    Args:
        expected: what the documents must look like.

    Attributes:
        source: of the generated parser.
    """

    def __init__(self, expected: Expected) -> None:
        writer = _Writer(expected)
        self.source = writer.source()
        names = {**writer.constants, **_COMMON, "strict": expected.form}
        exec(compile(self.source, f"<scanner of {'_'.join(expected.names)}>", "exec"), names)  # noqa: S102 - written above, from names that are literals in it
        self._forms: Callable[[bytes], Forms] = names["forms"]

    def forms(self, batch: bytes) -> Forms:
        """Return the record of each document of a batch, and how many had an unexpected form.

        Args:
            batch: the elements of a BSON array of documents, as ``toolkit.mongo.raw`` has them.
        """
        return self._forms(batch)


class Odd(Exception):
    """A document that has not the expected form."""


class _Writer:
    """Writes the parser, field by field in the order of the document.

    ``_run`` is what is to be unpacked next: struct codes, each with the literal that must stand
    there, the variable that takes the value, or neither for what is skipped.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._lines: list[str] = []
        self._run: list[tuple[str, bytes | str | None]] = []
        self._indent = " " * 12
        #: What each cell of the row becomes: a struct code with an expression, or bytes.
        self._cells: dict[int, tuple[str, str]] = {}
        self.constants: dict[str, Any] = {}

    def source(self) -> str:
        expected = self._expected
        self._run.append(("i", "size"))
        self._identity()
        cells = len(expected.columns)
        if expected.region_field is not None:
            self._region(expected.region_field, expected.region, cells, nullable=False)
            cells += 1
        for number, column in enumerate(expected.columns):
            if not column.in_key:
                self._column(number, column, column.names)
        for number, name in enumerate(expected.references):
            self._region(name, None, cells + number, nullable=name in expected.optional)
        if expected.counter:
            self._literal(b"\x12" + _name(expected.counter))
            self._run.append(("8x", None))
        self._literal(b"\0")
        self._flush()
        self._line("if at != start + size:")
        self._line("    raise Odd")
        self._line(f"add({self._joined()})")
        return _PARSER.format(body="\n".join(self._lines))

    # Fields ------------------------------------------------------------------------------------

    def _identity(self) -> None:
        expected = self._expected
        if expected.single:
            self._column(expected.key[0], expected.columns[expected.key[0]], ("_id",))
            return
        self._literal(b"\x03_id\0")
        self._run.append(("i", "inner"))
        self._flush()
        self._line("begun = at - 4")
        if expected.key:
            for number in expected.key:
                self._column(number, expected.columns[number], expected.columns[number].names)
        else:
            # Counted by the copier; neither is a part of the row.
            self._literal(b"\x02digest\0" + struct.pack("<i", 65))
            self._run.append(("64x", None))
            self._literal(b"\0\x10ordinal\0")
            self._run.append(("4x", None))
        self._literal(b"\0")
        self._flush()
        self._line("if at != begun + inner:")
        self._line("    raise Odd")

    def _region(self, name: str, region: str | None, number: int, *, nullable: bool) -> None:
        if region is None:
            self._string(number, name, nullable, self._expected.regions)
            return
        text = region.encode()
        self._literal(b"\x02" + _name(name) + struct.pack("<i", len(text) + 1) + text + b"\0")
        value = struct.pack(">ii", TEXT, len(text)) + text
        self._cells[number] = (f"{len(value)}s", self._constant(value))

    def _column(self, number: int, column: Column, names: Sequence[str]) -> None:
        bson_type = column.bson
        if type(bson_type) is String:
            self._string(number, names[0], column.nullable, bson_type.labels, bson_type.length)
            return
        fixed = _FIXED.get(type(bson_type))
        if fixed is None:
            self._any(number, column, names)
            return
        fields, checks, code, value, text = fixed(number, [_name(name) for name in names])
        if column.legible and text:
            code, value = "", text
        head, width = column.cell.oid, struct.calcsize(f">{code}") if code else 0
        literal = struct.pack(">ii", head, width)
        if column.nullable:
            self._nullable(number, names, literal, fields, checks, code, value)
            return
        self._run += fields
        if checks or not code:
            self._flush()
        self._lines += [self._indent + line for line in checks]
        if code:
            self._cells[number] = (f"{len(literal)}s{code}", f"{self._constant(literal)}, {value}")
        else:
            self._text(number, value)
            self._cells[number] = ("", f"c{number}")

    def _nullable(
        self,
        number: int,
        names: Sequence[str],
        literal: bytes,
        fields: list[tuple[str, bytes | str | None]],
        checks: Sequence[str],
        code: str,
        value: str,
    ) -> None:
        before = self._branch(number, names, literal[:4])
        self._run = [*before, *fields]
        self._flush()
        self._lines += [self._indent + line for line in checks]
        if code:
            pack = self._constant(struct.Struct(f">8s{code}").pack)
            self._line(f"c{number} = {pack}({self._constant(literal)}, {value})")
        else:
            self._text(number, value)
        self._join_branches(number)

    def _string(
        self,
        number: int,
        name: str,
        nullable: bool,
        allowed: Sequence[str],
        length: int | None = None,
    ) -> None:
        header = b"\x02" + _name(name)
        before = self._branch(number, [name], struct.pack(">i", TEXT)) if nullable else []
        self._run += before
        self._literal(header)
        self._run.append(("i", "n"))
        self._flush()
        self._line("if n < 1:")
        self._line("    raise Odd")
        self._line("end = at + n")
        self._line(f"s{number} = data[at:end - 1]")
        if length is not None:
            # Characters are no more than bytes.
            self._line(f"if n > {length + 1} and len(s{number}.decode()) > {length}:")
            self._line("    raise Odd")
        if allowed:
            values = self._constant(frozenset(value.encode() for value in allowed))
            self._line(f"if s{number} not in {values}:")
            self._line("    raise Odd")
        self._line(f"h{number} = heads[n - 1] if n <= 256 else head({TEXT}, n - 1)")
        if not nullable:
            # The NUL at its end is compared with what follows.
            self._line("at = end - 1")
            self._literal(b"\0")
            self._cells[number] = ("", f"h{number}, s{number}")
            return
        self._line("if data[end - 1]:")
        self._line("    raise Odd")
        self._line("at = end")
        self._line(f"c{number} = h{number} + s{number}")
        self._join_branches(number)

    def _text(self, number: int, value: str) -> None:
        """Write the piece of a text, given the expression of its bytes."""
        name = f"v{number}"
        if value != name:
            self._line(f"{name} = {value}")
        self._line(f"n = len({name})")
        self._line(f"c{number} = (heads[n] if n < 256 else head({TEXT}, n)) + {name}")

    def _any(self, number: int, column: Column, names: Sequence[str]) -> None:
        function = self._constant(_decoder(column, names))
        if column.nullable:
            self._run = self._branch(number, names, struct.pack(">i", column.cell.oid))
        self._flush()
        self._line(f"c{number}, at = {function}(data, at)")
        if column.nullable:
            self._join_branches(number)
        self._cells[number] = ("", f"c{number}")

    # Branches for NULL -------------------------------------------------------------------------

    def _branch(
        self, number: int, names: Sequence[str], oid: bytes
    ) -> list[tuple[str, bytes | str | None]]:
        """Write the branch for NULL, and open the other one; return what that begins with."""
        before: list[tuple[str, bytes | str | None]] = []
        if len(self._run) == 1 and isinstance(self._run[0][1], bytes):
            before, self._run = self._run, []
        self._flush()
        prefix = before[0][1] if before else b""
        assert isinstance(prefix, bytes)
        null = prefix + b"".join(b"\x0a" + _name(name) for name in names)
        place = f"at + {len(prefix)}" if prefix else "at"
        self._line(f"if data[{place}] == 10:")
        self._line(f"    if data[at:at + {len(null)}] != {null!r}:")
        self._line("        raise Odd")
        self._line(f"    at += {len(null)}")
        self._line(f"    c{number} = {oid + struct.pack('>i', -1)!r}")
        self._line("else:")
        self._indent += "    "
        return before

    def _join_branches(self, number: int) -> None:
        self._indent = self._indent[:-4]
        self._cells[number] = ("", f"c{number}")

    # Writing -----------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self._lines.append(self._indent + text)

    def _literal(self, value: bytes) -> None:
        self._run.append(("", value))

    def _constant(self, value: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def _flush(self) -> None:
        """Write what unpacks the run and compares its literals."""
        run: list[tuple[str, bytes | str | None]] = []
        for code, target in self._run:
            last = run[-1][1] if run else None
            if isinstance(target, bytes) and isinstance(last, bytes):
                target = last + target
                run.pop()
            run.append((f"{len(target)}s" if isinstance(target, bytes) else code, target))
        self._run = []
        if not run:
            return
        form = struct.Struct("<" + "".join(code for code, _ in run))
        names: list[str] = []
        literals: list[str] = []
        for _, target in run:
            if isinstance(target, bytes):
                names.append(f"l{len(literals)}")
                literals.append(f"{names[-1]} != {target!r}")
            elif target is not None:
                names.append(target)
        if len(run) == 1 and literals:
            self._line(f"if data[at:at + {form.size}] != {run[0][1]!r}:")
            self._line("    raise Odd")
        else:
            unpack = self._constant(form.unpack_from)
            self._line(f"{', '.join(names)}, = {unpack}(data, at)")
            if literals:
                self._line(f"if {' or '.join(literals)}:")
                self._line("    raise Odd")
        self._line(f"at += {form.size}")

    def _joined(self) -> str:
        """Return the expression of the record; cells of fixed size in a row are packed at once."""
        count = struct.pack(">i", len(self._cells))
        pieces: list[str] = []
        codes, values = [f"{len(count)}s"], [self._constant(count)]

        def packed() -> None:
            if codes:
                pack = self._constant(struct.Struct(">" + "".join(codes)).pack)
                pieces.append(f"{pack}({', '.join(values)})")
                codes.clear()
                values.clear()

        for number in range(len(self._cells)):
            code, value = self._cells[number]
            if code:
                codes.append(code)
                values.append(value)
            else:
                packed()
                pieces.append(value)
        packed()
        return pieces[0] if len(pieces) == 1 else f"join(({', '.join(pieces)}))"


_PARSER = """
def forms(data):
    found, odd = [], 0
    add, at, whole = found.append, 0, len(data)
    while at < whole:
        # In front of each document stand its type and its index.
        start = at = data.index(0, at) + 1
        try:
{body}
        except expected_errors:
            odd += 1
            at = start + length(data, start)[0]
            add(strict(data[start:at]))
    return found, odd
"""


def _name(name: str) -> bytes:
    return name.encode() + b"\0"


# Types of fixed size ----------------------------------------------------------------------------

#: What is unpacked; lines that check and compute; the struct code and the expression of the cell
#: in binary; the expression of its text as bytes, where that is not the same.
_Fixed = tuple[list[tuple[str, bytes | str | None]], list[str], str, str, str]


def _integer(number: int, names: Sequence[bytes]) -> _Fixed:
    return [_is(b"\x10", names[0]), ("i", f"v{number}")], [], "i", f"v{number}", ""


def _long(number: int, names: Sequence[bytes]) -> _Fixed:
    return [_is(b"\x12", names[0]), ("q", f"v{number}")], [], "q", f"v{number}", ""


def _truth(number: int, names: Sequence[bytes]) -> _Fixed:
    checks = [f"if v{number} > 1:", "    raise Odd"]
    return [_is(b"\x08", names[0]), ("B", f"v{number}")], checks, "B", f"v{number}", ""


def _uuid(number: int, names: Sequence[bytes]) -> _Fixed:
    literal = b"\x05" + names[0] + struct.pack("<iB", 16, 4)
    return [("", literal), ("16s", f"v{number}")], [], "16s", f"v{number}", ""


def _day(number: int, names: Sequence[bytes]) -> _Fixed:
    checks = [
        f"v{number}, rest = divmod(v{number}, 86400000)",
        f"v{number} -= {record.DAYS_TO_2000}",
        f"if rest or not {record.LEAST_DAY} <= v{number} < {record.END_OF_DAYS}:",
        "    raise Odd",
    ]
    text = f"str(v{number} + {record.DAYS_TO_2000}).encode()"
    return [_is(b"\x09", names[0]), ("q", f"v{number}")], checks, "i", f"v{number}", text


def _moment(number: int, names: Sequence[bytes]) -> _Fixed:
    since_2000 = record.MICROSECONDS_TO_2000
    checks = [
        f"v{number} = v{number} * 1000 + rest - {since_2000}",
        f"if not 0 <= rest <= 999 or not {record.LEAST_MOMENT} <= v{number} "
        f"< {record.END_OF_MOMENTS}:",
        "    raise Odd",
    ]
    fields = [_is(b"\x09", names[0]), ("q", f"v{number}"), _is(b"\x10", names[1]), ("i", "rest")]
    text = f"str(v{number} + {since_2000}).encode()"
    return fields, checks, "q", f"v{number}", text


def _interval(number: int, names: Sequence[bytes]) -> _Fixed:
    months, days, us = (f"{part}{number}" for part in ("months", "days", "us"))
    size = struct.calcsize("<i8si6si4sq1s")
    fields: list[tuple[str, bytes | str | None]] = [
        ("", b"\x03" + names[0] + struct.pack("<i", size) + b"\x10months\0"),
        ("i", months),
        ("", b"\x10days\0"),
        ("i", days),
        ("", b"\x12us\0"),
        ("q", us),
        ("", b"\0"),
    ]
    checks = [f"if ({us}, {days}, {months}) in infinite_intervals:", "    raise Odd"]
    text = f"('%d %d %d' % ({months}, {days}, {us})).encode()"
    return fields, checks, "qii", f"{us}, {days}, {months}", text


def _numeric(number: int, names: Sequence[bytes]) -> _Fixed:
    low, high = f"low{number}", f"high{number}"
    fields = [_is(b"\x13", names[0]), ("Q", low), ("Q", high)]
    checks = [
        f"plain = decimals({high})",
        f"v{number} = (plain[0] % divmod({low}, plain[1]) if plain "
        f"else words_text({low}, {high})).encode()",
    ]
    return fields, checks, "", f"v{number}", f"v{number}"


def _is(kind: bytes, name: bytes) -> tuple[str, bytes | str | None]:
    return "", kind + name


_FIXED: dict[type, Callable[[int, Sequence[bytes]], _Fixed]] = {
    Integer: _integer,
    BigInteger: _long,
    Truth: _truth,
    Uuid: _uuid,
    Day: _day,
    Timestamp: _moment,
    Interval: _interval,
    Numeric: _numeric,
}


# What the parser calls --------------------------------------------------------------------------


_head = struct.Struct(">ii").pack

#: How NUL stands in the text of a value that holds other values.
_NESTED_NUL = r"\u0000"


def _decoder(column: Column, names: Sequence[str]) -> Callable[[bytes, int], tuple[bytes, int]]:
    """Return what decodes a column of any type, given where it stands in a document."""
    headers = [_name(name) for name in names]
    cell, canonical = column.cell, column.bson.canonical
    null = _head(cell.oid, -1)

    def decode(data: bytes, at: int) -> tuple[bytes, int]:
        begun = at
        for header in headers:
            if data[at + 1 : at + 1 + len(header)] != header:
                raise Odd
            at = element_end(data, at)
        document = struct.pack("<i", at - begun + 5) + data[begun:at] + b"\0"
        text = canonical([*bson.decode(document, PLAIN_OPTIONS).values()])
        if text is not None and ("\0" in text or _NESTED_NUL in text):
            # Perhaps what plain dictionaries cannot show as it is.
            read = bson.decode(document, VERIFY_OPTIONS)
            text = canonical([read[name] for name in names])
            if text is not None and "\0" in text:
                raise Odd
        value = cell.value(text)
        return (null if value is None else _head(cell.oid, len(value)) + value), at

    return decode


_COMMON: dict[str, Any] = {
    "Odd": Odd,
    "expected_errors": (Odd, struct.error, ValueError, IndexError, bson.errors.BSONError),
    "join": b"".join,
    "head": _head,
    "heads": [_head(TEXT, length) for length in range(256)],
    "decimals": PLAIN.get,
    "words_text": words_text,
    "infinite_intervals": record.INFINITE_INTERVALS,
    "length": struct.Struct("<i").unpack_from,
}
