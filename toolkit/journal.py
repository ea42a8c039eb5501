"""What a migration consists of and how far it has come. Pure: where it is kept is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

#: A key as PostgreSQL prints its columns.
Key = tuple[str, ...]


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
        fingerprint: of the configuration that it was started with.
        epoch: how often it was started; a run with an older epoch may not write any more.
    """

    state: State
    fingerprint: str
    epoch: int


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
