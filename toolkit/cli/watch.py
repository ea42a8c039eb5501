"""Shows the progress of a migration on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from toolkit.cli.output import stderr
from toolkit.migrate.progress import TableProgress, Watcher

#: Seconds between two plain lines about the same table.
_INTERVAL = 5.0


class _BarWatcher(Watcher):
    def __init__(self, name: str, bars: Bars) -> None:
        self._name = name
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._phase = bars.add_task(name, total=None, rate="")

    def phase(self, name: str) -> None:
        self._bars.update(self._phase, description=f"{self._name}: {name}")

    def detail(self, text: str) -> None:
        self._bars.update(self._phase, description=f"{self._name}: finishing: {text}")

    def advanced(self, table: TableProgress) -> None:
        if table.table not in self._tasks:
            self._tasks[table.table] = self._bars.add_task(table.table, total=table.total, rate="")
        self._bars.update(
            self._tasks[table.table],
            completed=table.done,
            rate=f"{table.rate(time.monotonic()):,.0f} rows/s",
        )


class _LineWatcher(Watcher):
    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._last: dict[str, float] = {}

    def _print(self, text: str) -> None:
        self._console.print(f"{self._name}: {text}", markup=False)

    def phase(self, name: str) -> None:
        self._print(name)

    def advanced(self, table: TableProgress) -> None:
        now = time.monotonic()
        complete = table.done >= table.total
        if not complete and now - self._last.get(table.table, 0.0) < _INTERVAL:
            return
        self._last[table.table] = now
        left = table.left(now)
        remaining = "" if complete or left is None else f", {left:.0f} s left"
        self._print(
            f"{table.table}: {table.done:,} of {table.total:,} rows, "
            f"{table.rate(now):,.0f} rows/s{remaining}"
        )


@contextmanager
def watching(name: str, *, quiet: bool = False) -> Iterator[Watcher]:
    """Show the progress of one migration.

    Args:
        name: of the backend.
        quiet: show nothing.
    """
    console = stderr()
    if quiet:
        yield Watcher()
    elif console.is_terminal:
        with Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        ) as bars:
            yield _BarWatcher(name, bars)
    else:
        yield _LineWatcher(name, console)
