"""How far a migration has come. Pure: the command line decides how it looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class TableProgress:
    """One table's share, or that of all tables together.

    Attributes:
        table: its key; the empty string stands for all tables.
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

    @property
    def percent(self) -> float:
        """How much is copied; 100 where there is nothing to copy."""
        return min(100.0, 100 * self.done / self.total) if self.total > 0 else 100.0

    def rate(self, now: float) -> float:
        """Return rows per second of this run, 0 before the first chunk."""
        if self.started is None or now <= self.started:
            return 0.0
        return (self.done - self.before) / (now - self.started)

    def left(self, now: float) -> float | None:
        """Return the seconds that are left at this rate, ``None`` when that is not known."""
        rate = self.rate(now)
        return max(0, self.total - self.done) / rate if rate > 0 else None


class Watcher:
    """Receives what happens. This one shows nothing; the command line has others."""

    def phase(self, name: str) -> None:
        """A phase begins: ``checking``, ``copying``, ``finishing``."""

    def advanced(self, table: TableProgress, overall: TableProgress) -> None:
        """A chunk of a table was copied."""

    def detail(self, text: str) -> None:
        """Something within a phase begins."""

    def throttled(self, reason: str) -> None:
        """The run begins to wait for another reason; the empty string: it waits no more."""

    def warned(self, text: str) -> None:
        """Something is not as the operator asked, and the run goes on."""


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
            self.watcher.advanced(entry, self._overall())

    def overall(self) -> TableProgress:
        """Return all tables together."""
        with self._guard:
            return self._overall()

    def copied(self) -> int:
        """Return how many rows this run has copied."""
        overall = self.overall()
        return overall.done - overall.before

    def _overall(self) -> TableProgress:
        entries = self.tables.values()
        return TableProgress(
            "",
            total=sum(entry.total for entry in entries),
            done=sum(entry.done for entry in entries),
            started=min((e.started for e in entries if e.started is not None), default=None),
            before=sum(entry.before for entry in entries),
        )


def line(table: TableProgress, overall: TableProgress, now: float, throttled: str = "") -> str:
    """Return one line for people about a table, and about all of them. Pure."""
    complete = table.done >= table.total
    parts = [
        f"{table.table}: {table.done:,} of {table.total:,} rows ({table.percent:.0f} %), "
        f"{table.rate(now):,.0f} rows/s{'' if complete else _left(table, now)}",
        f"all tables: {overall.done:,} of {overall.total:,} rows ({overall.percent:.0f} %), "
        f"{overall.rate(now):,.0f} rows/s{_left(overall, now)}",
    ]
    if throttled:
        parts.append(f"throttled: {throttled}")
    return "; ".join(parts)


def _left(entry: TableProgress, now: float) -> str:
    left = entry.left(now)
    return "" if left is None else f", {duration(left)} left"


def duration(seconds: float) -> str:
    """Return seconds for people: ``42 s``, ``3 min 5 s``, ``2 h 10 min``. Pure."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def event(
    kind: str,
    backend: str,
    phase: str,
    *,
    entry: TableProgress | None = None,
    now: float = 0.0,
    detail: str = "",
    throttled: str = "",
) -> dict[str, Any]:
    """Return one event for machines. Every event has every key. Pure.

    Args:
        kind: ``phase``, ``detail``, ``table``, ``total``, ``throttled`` or ``warning``.
        backend: whose migration it is.
        phase: the phase that it happens in.
        entry: the figures of a table or of all tables, for ``table`` and ``total``.
        now: on the clock of the figures.
        detail: what began within the phase, or the warning.
        throttled: what the run waits for.
    """
    left = entry.left(now) if entry else None
    return {
        "event": kind,
        "backend": backend,
        "phase": phase,
        "table": (entry.table or None) if entry else None,
        "copied": entry.done if entry else None,
        "total": entry.total if entry else None,
        "rows_per_second": round(entry.rate(now), 1) if entry else None,
        "seconds_left": None if left is None else round(left, 1),
        "throttled_by": throttled or None,
        "detail": detail or None,
    }
