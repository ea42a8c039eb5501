"""How a client's region follows from its row: what the operator gave, and what is wrong with it.

Pure but for reading the operator's own files. Nothing is raised one mistake at a time: mistakes are
collected, so that one message can name all of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData

from toolkit.errors import UsageError
from toolkit.placement import foreign_keys, table_key
from toolkit.topology import REGION_CODE

#: Mistakes of one kind in one file that are named; the count is always given.
_MOST = 20


@dataclass(frozen=True)
class Listed:
    """A CSV file of the operator's.

    Attributes:
        path: where it is.
        header: its first line.
        rows: the lines below.
        added: whether the header is ours, because the file has none.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    added: bool = False

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that it names, in the order of their first lines."""
        return tuple(dict.fromkeys(row[-1] for row in self.rows))

    def text(self) -> str:
        """Return it as it should stand in the project."""
        if not self.added:
            return self.path.read_text(encoding="utf-8-sig")
        written = io.StringIO()
        csv.writer(written, lineterminator="\n").writerows([self.header, *self.rows])
        return written.getvalue()


@dataclass(frozen=True)
class Rule:
    """The rule of the root.

    Attributes:
        column: hops over foreign-key columns, then a column.
        map_file: from a value of that column to a region.
        sql: an expression over the root.
        clients: from a client's key to a region.
        default: the region for everything else.
        mapping: the map where it stands in ``regionkit.toml`` itself.
    """

    column: str | None = None
    map_file: Listed | None = None
    sql: str | None = None
    clients: Listed | None = None
    default: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that the rule names by itself; those of an expression only the data know."""
        listed = self.map_file or self.clients
        named = [*(listed.regions if listed else ()), *self.mapping.values()]
        return tuple(dict.fromkeys([*named, *([self.default] if self.default else [])]))

    def section(self) -> dict[str, Any]:
        """Return ``[root.region]`` as the configuration reads it, with the files where they are."""
        section: dict[str, Any] = {}
        if self.column is not None:
            section["column"] = self.column
            if self.map_file is not None:
                section["map"] = {row[0]: row[1] for row in self.map_file.rows}
            else:
                section["map"] = dict(self.mapping)
        if self.sql is not None:
            section["sql"] = self.sql
        if self.clients is not None:
            section["clients"] = str(self.clients.path.resolve())
        if self.default is not None:
            section["default"] = self.default
        return section


def read_csv(path: Path, columns: int | None, names: Sequence[str]) -> tuple[Listed, list[str]]:
    """Read a file of the operator's; return it with everything that is wrong with it.

    Args:
        path: of the file.
        columns: how many each line must have; ``None`` if only the data know.
        names: what to call the columns where the file has no header.

    Raises:
        UsageError: there is no such file, or it is no CSV.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        lines = [(reader.line_num, tuple(row)) for row in reader if row]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read {path}: {error}", hint="name a readable UTF-8 file"
        ) from None
    except csv.Error as error:
        raise UsageError(
            f"{path} is not a CSV file: {error}", hint="quote what holds a comma"
        ) from None
    header = tuple(names)
    added = True
    if lines and lines[0][1][-1] not in {row[-1] for _, row in lines[1:]}:
        # The first line is a header, as documented, unless it ends in a region of another line.
        (_, header), *lines = lines
        added = False
    mistakes = []
    width = columns or len(header)
    wrong = [number for number, row in lines if len(row) != width]
    if wrong:
        mistakes.append(f"{path.name}: {_lines(wrong)} not {width} columns")
    lines = [(number, row) for number, row in lines if len(row) == width]
    codes: dict[str, int] = {}
    for number, row in lines:
        if not REGION_CODE.fullmatch(row[-1]):
            codes.setdefault(row[-1], number)
    mistakes += [
        f"{path.name}, line {number}: {code!r} is no region code (a lower-case letter, then at "
        "most 15 of a-z, 0-9 and _)"
        for code, number in list(codes.items())[:_MOST]
    ]
    if len(codes) > _MOST:
        mistakes.append(f"{path.name}: {len(codes) - _MOST} more such codes")
    lines = [(number, row) for number, row in lines if row[-1] not in codes]
    mistakes += _repeated(path.name, lines)
    if not lines:
        mistakes.append(f"{path.name}: it holds no line of data")
    return Listed(path, header, tuple(row for _, row in lines), added), mistakes


def _lines(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MOST])) + (", ..." if len(numbers) > _MOST else "")
    return f"line {shown} has" if len(numbers) == 1 else f"{len(numbers)} lines ({shown}) have"


def _repeated(name: str, lines: Sequence[tuple[int, tuple[str, ...]]]) -> list[str]:
    """Say which lines speak of what an earlier line has spoken of; not of whom: it is personal."""
    first: dict[tuple[str, ...], int] = {}
    again = [
        f"{number} (as {first[row[:-1]]})"
        for number, row in lines
        if first.setdefault(row[:-1], number) != number
    ]
    if not again:
        return []
    shown = ", ".join(again[:_MOST]) + (", ..." if len(again) > _MOST else "")
    return [f"{name}: {len(again)} line(s) repeat an earlier one: {shown}"]


def path_problems(
    metadata: MetaData, root: str, path: str, default_schema: str
) -> tuple[list[str], frozenset[str]]:
    """Follow the path of the root's rule through the foreign keys.

    Returns:
        What is wrong with it, with the nearest names; and the tables that it leads over, that the
        last column refers to included: they are reference data.
    """
    tables = {table_key(table, default_schema): table for table in metadata.tables.values()}
    key, over = root, set[str]()
    *hops, last = path.split(".")
    for hop in hops:
        leading = {
            one.columns[0]: one
            for one in foreign_keys(tables[key], default_schema)
            if len(one.columns) == 1
        }
        if hop not in leading:
            columns = tables[key].columns.keys()
            what = "no foreign key" if hop in columns else "no column"
            return [
                f"{path!r}: {hop!r} is {what} of {key!r}{_near(hop, list(leading))}"
            ], frozenset()
        key = leading[hop].target
        over.add(key)
    if last not in tables[key].columns:
        return [
            f"{path!r}: {key!r} has no column {last!r}{_near(last, tables[key].columns.keys())}"
        ], frozenset()
    over |= {
        one.target for one in foreign_keys(tables[key], default_schema) if one.columns == (last,)
    }
    return [], frozenset(over - {root})


def _near(name: str, known: Sequence[str]) -> str:
    if not known:
        return ", which has none"
    near = get_close_matches(name, known, n=3, cutoff=0.5) or sorted(known)[:8]
    return f" (near: {', '.join(near)})"
