"""What a verification that was stopped had found equal, so that the next need not read it again.

It is believed only while nothing has changed since, at either end, and what has not changed is told
by reading: the rows show it themselves (``toolkit.postgres.changes``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.journal import Decisions, Mark


@dataclass
class Verified:
    """The tables that were found equal.

    Attributes:
        keep: is given the whole as JSON whenever there is more of it.
        basis: what it holds for: the decisions, and the clients in quarantine.
        source: what each table of the source looked like.
        target: from where on rows of the target are newer; ``None`` where it cannot tell.
        tables: rows per region of each table that was found equal, and how many are in the source.
    """

    keep: Callable[[dict[str, Any]], None]
    basis: Decisions
    source: Mapping[str, Mark]
    target: int | None
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, name: str, rows: dict[str, int], total: int, left: int) -> None:
        """Note that a table is equal at both ends."""
        if self.target is None:
            return
        self.tables[name] = {"rows": rows, "source": total, "left": left}
        self.keep(
            {
                "basis": self.basis,
                "source": {key: mark.document() for key, mark in self.source.items()},
                "target": self.target,
                "tables": self.tables,
            }
        )


def still_holds(kept: dict[str, Any], basis: Decisions) -> bool:
    """Return whether what was kept is about the same comparison. Pure."""
    return bool(kept.get("tables")) and kept.get("basis") == basis
