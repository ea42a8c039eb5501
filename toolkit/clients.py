"""What can be said of a client: its key, where it lives, what it has, what a move did. Pure."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.errors import UsageError
from toolkit.journal import Key
from toolkit.layout import Layout
from toolkit.placement import ForeignKey


class CollisionError(Exception):
    """A move met another session: it left nothing behind, and may be tried again.

    Args:
        reason: what the server said, without values.
        broken: whether the server names a reference that would lead nowhere: another session's, or
            else one that no repetition mends.
    """

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.broken = broken


class GoneError(Exception):
    """The client does not live where it did when the move was decided; nothing was written."""


@dataclass(frozen=True)
class Residence:
    """Where a client lives.

    Attributes:
        key: the client's, as the server prints it.
        region: where reads find it.
        moving_to: where a move has begun to take it that is not finished; else ``None``.
    """

    key: Key
    region: str
    moving_to: str | None = None


@dataclass(frozen=True)
class Reference:
    """Rows that lead from one client's rows to another's.

    Attributes:
        table: key of the referring table.
        columns: its foreign key.
        target: key of the table that is referred to.
        region: of the other end.
        rows: how many.
    """

    table: str
    columns: tuple[str, ...]
    target: str
    region: str
    rows: int


@dataclass(frozen=True)
class Whereabouts:
    """Everything that is known of a client's rows.

    Attributes:
        residence: where it lives.
        rows: of each regional table, by its key, parents first.
        outgoing: foreign references of its rows, by the region that they lead to.
        incoming: foreign references to its rows, by the region of the referring row; the empty
            string stands for global tables.
    """

    residence: Residence
    rows: Mapping[str, int]
    outgoing: tuple[Reference, ...]
    incoming: tuple[Reference, ...]


@dataclass(frozen=True)
class Moved:
    """One move that was proven and committed.

    Attributes:
        residence: where the client lived.
        region: where it lives now.
        rows: that went along, by table.
        references: rows elsewhere that learnt the new region.
        transactions: that it took; more than one where it was too large for one.
        repeats: how often a transaction was repeated by the backend itself.
    """

    residence: Residence
    region: str
    rows: Mapping[str, int]
    references: int = 0
    transactions: int = 1
    repeats: int = 0


@dataclass(frozen=True)
class Note:
    """What the journal keeps of a move; no key of a client.

    Attributes:
        batch: id of the command.
        who: user and host.
        version: of regionkit.
    """

    batch: str
    who: str
    version: str


@dataclass(frozen=True)
class Way:
    """How the rows of a table are found, given the key of their client.

    Attributes:
        joins: the foreign keys to follow, from the table on; none where it holds the key itself.
        bound: columns of the last table on the way, in the order of the client's key.
    """

    joins: tuple[ForeignKey, ...] = ()
    bound: tuple[str, ...] = field(default=())


def way(layout: Layout, key: str) -> Way:
    """Return how the rows of a regional table are found by their client's key.

    The last step is left out where it leads to the client's own key, which is given.
    """
    primary, path = layout.root.primary_key, layout.placement[key].home_path
    if not path:
        return Way((), primary)
    last = path[-1]
    columns = dict(zip(last.target_columns, last.columns, strict=True))
    if columns.keys() == set(primary):
        return Way(path[:-1], tuple(columns[name] for name in primary))
    return Way(path, primary)


def digest_of(key: Key) -> str:
    """Return what stands for a client's key in the journal, which is no place for keys."""
    return hashlib.sha256(json.dumps(key, ensure_ascii=False).encode()).hexdigest()


def parse_key(text: str, columns: Sequence[str]) -> Key:
    """Read the key of one client.

    Args:
        text: the value; of a key of several columns a line of CSV, or a JSON array.
        columns: of the key.

    Raises:
        UsageError: it has not as many values as the key has columns; the values are not repeated.
    """
    if len(columns) == 1:
        return (text,)
    try:
        values = json.loads(text) if text.lstrip().startswith("[") else next(csv.reader([text]))
    except (ValueError, StopIteration, csv.Error):
        values = []
    if not isinstance(values, list) or len(values) != len(columns):
        raise UsageError(
            f"a client's key has {len(columns)} columns here: {', '.join(columns)}",
            hint="write them as a line of CSV ('7,42') or as JSON ('[7, 42]')",
        )
    return tuple(value if isinstance(value, str) else json.dumps(value) for value in values)
