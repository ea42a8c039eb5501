"""How far a migration has come. Pure: the command line decides how it looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class TableProgress:
    """One table's share.

    Attributes:
        table: its key.
        total: rows to copy, as counted at the start.
        done: rows copied, those of earlier runs included.
        started: on the monotonic clock, when this run copied its first chunk.
        before: rows that earlier runs copied.
    """

    table: str
    total: int
    done: int = 0
    started: float | None = None
    before: int = 0

    def rate(self, now: float) -> float:
        """Return rows per second of this run, 0 before the first chunk."""
        if self.started is None or now <= self.started:
            return 0.0
        return (self.done - self.before) / (now - self.started)

    def left(self, now: float) -> float | None:
        """Return the seconds that are left at this rate, ``None`` when that is not known."""
        rate = self.rate(now)
        return (self.total - self.done) / rate if rate > 0 else None


class Watcher:
    """Receives what happens. This one shows nothing; the command line has others."""

    def phase(self, name: str) -> None:
        """A phase begins: ``checking``, ``copying``, ``finishing``."""

    def advanced(self, table: TableProgress) -> None:
        """A chunk of a table was copied."""

    def detail(self, text: str) -> None:
        """Something within a phase begins."""


@dataclass
class Progress:
    """Collects what workers report, from several threads.

    Attributes:
        watcher: what shows it.
        clock: monotonic seconds.
    """

    watcher: Watcher = field(default_factory=Watcher)
    clock: Callable[[], float] = time.monotonic
    tables: dict[str, TableProgress] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, table: str, total: int, done: int) -> None:
        """Announce a table with its rows, and how many earlier runs copied."""
        with self._guard:
            self.tables[table] = TableProgress(table, total, done, before=done)

    def begin(self, table: str) -> None:
        """Note that a chunk of a table is being copied."""
        with self._guard:
            entry = self.tables[table]
            if entry.started is None:
                entry.started = self.clock()

    def add(self, table: str, rows: int) -> None:
        """Note that a chunk was copied."""
        with self._guard:
            entry = self.tables[table]
            entry.done += rows
            self.watcher.advanced(entry)
