"""What cannot be moved, and why: rows, each with the client that it belongs to. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from toolkit.errors import SAMPLES
from toolkit.journal import Key


@dataclass(frozen=True)
class Offender:
    """A row that cannot be moved.

    Attributes:
        key: its key, as PostgreSQL prints it.
        client: the key of the client that it belongs to; ``None`` where it belongs to none.
    """

    key: str
    client: Key | None = None


@dataclass(frozen=True)
class Refusal:
    """Rows of one table that cannot be moved for one reason.

    Attributes:
        table: key of the table.
        reason: why, with the value where there is one.
        offenders: every row.
        global_table: whether the table is shared, so that no client can be left out instead.
        column: the column whose cells these are, where they could be carried as text instead.
    """

    table: str
    reason: str
    offenders: tuple[Offender, ...]
    global_table: bool = False
    column: str | None = None

    @property
    def section(self) -> str | None:
        """The section of ``regionkit.toml`` in which ``as = "string"`` would let these rows go."""
        if self.column is None:
            return None
        # What JSON writes for a string, TOML reads.
        return f"[columns.{json.dumps(f'{self.table}.{self.column}', ensure_ascii=False)}]"

    @property
    def keys(self) -> tuple[str, ...]:
        """The key of every row."""
        return tuple(offender.key for offender in self.offenders)

    def __str__(self) -> str:
        more = ", ..." if len(self.offenders) > SAMPLES else ""
        shown = ", ".join(self.keys[:SAMPLES])
        return f"{self.table}: {self.reason}: {len(self.offenders)} row(s): {shown}{more}"


@dataclass(frozen=True)
class Left:
    """A client that stays in the source, with all its rows.

    Attributes:
        client: its key.
        reason: why; the first reason where there are several.
    """

    client: Key
    reason: str


def clients(refusals: Iterable[Refusal]) -> dict[Key, str]:
    """Return the clients that rows which cannot be moved belong to, each with the first reason."""
    found: dict[Key, str] = {}
    for refusal in refusals:
        for offender in refusal.offenders:
            if offender.client is not None:
                found.setdefault(offender.client, f"{refusal.table}: {refusal.reason}")
    return found
