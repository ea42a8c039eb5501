"""What a migration consists of and how far it has come. Pure: where it is kept is elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

#: A key as PostgreSQL prints its columns.
Key = tuple[str, ...]

#: What decides where a row goes: the configuration's share of it, and the schema. JSON.
Decisions = dict[str, Any]


@dataclass(frozen=True)
class Chunk:
    """The unit of copying: the rows of one table whose keys lie in a range.

    Attributes:
        server: the server that the rows go to.
        table: key of the table, or the name of the link.
        number: its place among the chunks of the table, from 0.
        lower: the rows' keys are greater; ``None`` from the beginning.
        upper: the rows' keys are not greater; ``None`` to the end.
    """

    server: str
    table: str
    number: int = 0
    lower: Key | None = None
    upper: Key | None = None


#: Characters of a value that are shown where it differs.
_SHOWN = 100


@dataclass(frozen=True)
class Stale:
    """What is in the target and not the source's any more.

    Attributes:
        chunks: that must be copied again.
        rows: what the backend has to take out, in its own words.
    """

    chunks: tuple[Chunk, ...] = ()
    rows: tuple[Any, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.chunks or self.rows)


class State(StrEnum):
    """How far a migration has come."""

    copying = "copying"
    copied = "copied"
    finished = "finished"


@dataclass(frozen=True)
class Run:
    """One migration into one target, over all the times that it was started.

    Attributes:
        state: how far it has come.
        decisions: everything that decided where a row goes, when it was started.
        epoch: how often it was started; a run with an older epoch may not write any more.
    """

    state: State
    decisions: Decisions
    epoch: int


class Outcome(StrEnum):
    """How one start of a migration ended."""

    finished = "finished"
    interrupted = "interrupted"
    refused = "refused"
    failed = "failed"


@dataclass(frozen=True)
class RunRecord:
    """One start of a migration, as the journal keeps it.

    Attributes:
        id: its own, drawn at random.
        who: user and host.
        pid: of the process.
        version: of regionkit.
        fingerprint: of the configuration.
        started: when, on the server's clock.
        epoch: the number of this start; ``None`` if it was refused before it could write.
        expected: rows of the source, as it counted them; ``None`` with ``epoch``.
        ended: when; ``None`` while it runs, and for one that was killed.
        outcome: how; ``None`` with ``ended``.
        exit_code: of the command; ``None`` with ``ended``.
        rows: that it copied; ``None`` with ``ended``.
        throttled_by: what holds it back; ``None`` when nothing does.
    """

    id: str
    who: str
    pid: int
    version: str
    fingerprint: str
    started: datetime | None = None
    epoch: int | None = None
    expected: int | None = None
    ended: datetime | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    rows: int | None = None
    throttled_by: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took, ``None`` if it did not end."""
        if self.started is None or self.ended is None:
            return None
        return (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class Holder:
    """Who holds the lock of a migration.

    Attributes:
        who: as the server knows them.
        since: when they came.
    """

    who: str
    since: datetime


@dataclass(frozen=True)
class Pace:
    """What was copied lately.

    Attributes:
        rows: whose checkpoints are at most ``seconds`` old.
        seconds: how far back that looks, to the start of the run at most.
    """

    rows: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Mark:
    """What a table looked like at some moment, by which a later change shows.

    Attributes:
        rows: how many it had.
        oldest: ``xmin`` of a snapshot of that moment: no transaction below it was at work.
        files: of the table on disk.
    """

    rows: int
    oldest: int
    files: str

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def in_order(chunks: Iterable[Chunk]) -> list[Chunk]:
    """Return the chunks of one table in the order of their keys.

    Numbers do not tell: a chunk that was split has a part with a later one.
    """
    by_lower = {chunk.lower: chunk for chunk in chunks}
    found: list[Chunk] = []
    key: Key | None = None
    while (chunk := by_lower.get(key)) is not None:
        found.append(chunk)
        if chunk.upper is None:
            break
        key = chunk.upper
    return found


def ranges(chunks: Sequence[Chunk]) -> list[tuple[Key | None, Key | None]]:
    """Return the ranges of keys that chunks of one table cover, neighbours joined to one.

    Each is (greater than, up to); ``None`` is open.
    """
    found: list[tuple[Key | None, Key | None]] = []
    by_lower = {chunk.lower: chunk for chunk in chunks}
    uppers = {chunk.upper for chunk in chunks}
    for chunk in chunks:
        if chunk.lower is not None and chunk.lower in uppers:
            continue
        last = chunk
        while last.upper is not None and last.upper in by_lower:
            last = by_lower[last.upper]
        found.append((chunk.lower, last.upper))
    return found


def chunks(server: str, table: str, bounds: Sequence[Key]) -> list[Chunk]:
    """Return the chunks of a table, given the upper keys of all but the last.

    The first has no lower and the last no upper bound, so that no row falls outside, whenever it
    was written.
    """
    edges: list[Key | None] = [None, *bounds, None]
    return [
        Chunk(server, table, number, lower, upper)
        for number, (lower, upper) in enumerate(pairwise(edges))
    ]


def differences(was: Any, now: Any, path: str = "") -> list[str]:
    """Return one line for each place at which two JSON documents differ.

    Values are shown, so give it nothing secret; a long list or text is only said to differ.
    """
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted(was.keys() | now.keys())
            for line in differences(was.get(key), now.get(key), f"{path}.{key}" if path else key)
        ]
    if was == now:
        return []
    shown = [json.dumps(value, ensure_ascii=False) for value in (was, now)]
    if max(map(len, shown)) > _SHOWN:
        return [f"{path}: is not what it was"]
    return [f"{path}: was {shown[0]}, is {shown[1]}"]
