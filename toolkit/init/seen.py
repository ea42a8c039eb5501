"""What ``regionkit init`` was asked, what it saw, and what it concludes. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import MetaData

from toolkit.extras import Extra
from toolkit.init.ownership import Decisions
from toolkit.init.rule import Rule
from toolkit.inventory import Line
from toolkit.layout import Layout
from toolkit.placement import Statement
from toolkit.topology import Topology


@dataclass(frozen=True)
class Request:
    """What the operator asks for; ``None`` leaves it to an existing project, or to a proposal.

    Attributes:
        url: of the source.
        root: the table whose rows are clients.
        region_by: a column of the root, or hops over foreign-key columns ending in a column.
        region_sql: an expression over the root that gives a region's code.
        map_file: CSV of value and region, with ``region_by``.
        clients_file: CSV of the root's key and region.
        schemas: that hold the tables; empty for all that do.
        folder: the project's.
        alone: whether the MongoDB server that the project will use is alone in its replica set;
            ``None`` where none is known.
    """

    url: str
    root: str | None = None
    region_by: str | None = None
    region_sql: str | None = None
    map_file: Path | None = None
    clients_file: Path | None = None
    schemas: tuple[str, ...] = ()
    folder: Path = Path()
    alone: bool | None = None


@dataclass(frozen=True)
class Note:
    """Something that the reader of a catalogue or a layout has to say.

    Attributes:
        subject: what it is about.
        text: what there is to say.
    """

    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True)
class Decision:
    """Something that only the operator can decide, or mend.

    Attributes:
        subject: the table or file that it is about.
        question: what has to be decided, with the figures.
        choices: each possible answer: the lines to add to ``regionkit.toml``. Empty where the
            answer lies elsewhere: in the data, or in a file of the operator's.
        todo: what to do, where there are no lines to add.
    """

    subject: str
    question: str
    choices: tuple[tuple[str, ...], ...] = ()
    todo: str = ""

    @property
    def advice(self) -> str:
        """What to do, in one line."""
        if not self.choices:
            return self.todo
        return "add " + ", or ".join(" ".join(lines) for lines in self.choices)


@dataclass(frozen=True)
class Stated:
    """A statement that is written into ``regionkit.toml``, and the comment above it.

    Attributes:
        table: key of the table.
        statement: what is stated.
        why: the comment.
    """

    table: str
    statement: Statement
    why: str


@dataclass(frozen=True)
class UniqueLine:
    """A unique constraint of a regional table, and what becomes of it.

    Attributes:
        table: key of the table.
        name: of the constraint.
        columns: what it is over: columns, and expressions as SQL.
        outcome: what keeps it, or how far it reaches.
    """

    table: str
    name: str
    columns: tuple[str, ...]
    outcome: str


@dataclass(frozen=True)
class Seen:
    """Everything that was found out about a source.

    Attributes:
        database: its name.
        default_schema: the schema that table keys leave out.
        schemas: all that were read, the default one first.
        taken_schemas: every schema of the database, which the target's must not be.
        root: key of the root.
        rule: how a client's region follows.
        topology: the regions.
        metadata: the logical schema.
        extras: what ``MetaData`` cannot hold.
        decisions: what the data say of every table.
        stated: what is written into ``regionkit.toml``, in order.
        layout: as ``generate`` will decide it; ``None`` where something is refused or undecided.
        bytes: of each table, as stored, without indexes.
        uniques: what becomes of every unique constraint of a regional table.
        inventory: what becomes of each object, on both backends.
        open: what has to be decided or mended.
        refused: what cannot be carried, by backend.
        notes: what else is worth knowing.
        homeless: keys of the clients without a region.
        unmapped: values that the map misses, with their clients.
    """

    database: str
    default_schema: str
    schemas: tuple[str, ...]
    taken_schemas: tuple[str, ...]
    root: str
    rule: Rule
    topology: Topology
    metadata: MetaData
    extras: tuple[Extra, ...]
    decisions: Decisions
    stated: tuple[Stated, ...] = ()
    layout: Layout | None = None
    bytes: Mapping[str, int] = field(default_factory=dict)
    uniques: tuple[UniqueLine, ...] = ()
    inventory: tuple[Line, ...] = ()
    open: tuple[Decision, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    homeless: tuple[tuple[str, ...], ...] = ()
    unmapped: Mapping[str | None, int] = field(default_factory=dict)

    def region_bytes(self, key: str) -> dict[str, int]:
        """Return the bytes of a table per region, in proportion to its rows."""
        rows = self.decisions.evidence[key].rows
        total = sum(rows.values())
        size = self.bytes.get(key, 0)
        return {code: round(size * count / total) for code, count in rows.items()} if total else {}


def columns_text(columns: Sequence[str]) -> str:
    """Return columns as they stand in a sentence."""
    return ", ".join(columns)
