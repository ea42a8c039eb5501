"""What the rows of a source say about its foreign keys, before anything is decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from toolkit.placement import ForeignKey


@dataclass(frozen=True)
class Way:
    """A foreign key as a way from the rows of a table to their clients.

    Attributes:
        filled: rows in which no column of the key is NULL.
        nowhere: of these, the rows that it leads to no row.
        clients: rows for which a client is found at its end.
    """

    filled: int
    nowhere: int
    clients: int


@dataclass(frozen=True)
class Meeting:
    """Two ways from the same rows, where both reach a client.

    Attributes:
        rows: for which both do.
        clients: of these, the rows for which the two are different clients.
        regions: of these, the rows for which the two live in different regions.
    """

    rows: int = 0
    clients: int = 0
    regions: int = 0


@dataclass(frozen=True)
class TableEvidence:
    """The rows of one table.

    Attributes:
        rows: per region, along the table's home path; the empty string stands for the rows of a
            global table, and for those that have no region.
        ways: each foreign key that leads to a regional table.
        meetings: what two ways say of the same rows. The way of a root's row is itself: ``None``.
    """

    rows: Mapping[str, int]
    ways: Mapping[ForeignKey, Way] = field(default_factory=dict)
    meetings: Mapping[frozenset[ForeignKey | None], Meeting] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All rows of the table."""
        return sum(self.rows.values())

    def meeting(self, one: ForeignKey | None, other: ForeignKey | None) -> Meeting:
        """Return what two ways say of the same rows."""
        return self.meetings.get(frozenset((one, other)), Meeting())


@dataclass(frozen=True)
class Use:
    """How the rows of a table are used by one foreign key that leads to them.

    Attributes:
        rows: that a client's row refers to by it.
        shared: of these, the rows that several clients refer to by it.
    """

    rows: int
    shared: int


@dataclass(frozen=True)
class Sharing:
    """How clients share the rows of a table that has no path to the root.

    Attributes:
        rows: of the table.
        used: rows that some client's row refers to.
        shared: rows that several clients refer to, by whatever key.
        regions: rows that clients of several regions refer to.
        by_key: the same for each foreign key that leads to the table from a regional one.
        whole: whether all uses were looked at; else there may be more of everything but ``rows``.
    """

    rows: int
    used: int
    shared: int
    regions: int
    by_key: Mapping[ForeignKey, Use]
    whole: bool = True

    @property
    def hopeless(self) -> bool:
        """Whether several clients refer to a row by every key, so that none can tell the owner."""
        return all(use.shared > 0 for use in self.by_key.values())
