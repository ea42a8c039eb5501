"""Shows progress on stderr: bars on a terminal, plain lines elsewhere, JSON lines if asked."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
)
from rich.progress import Progress as Bars

from toolkit.cli.output import Output, stderr
from toolkit.migrate.progress import TableProgress, Watcher, duration, event, line

#: Seconds between two plain lines, and between two JSON lines, about the same table.
_INTERVAL, _JSON_INTERVAL = 5.0, 1.0


class _BarWatcher(Watcher):
    def __init__(self, name: str, bars: Bars) -> None:
        self._name = name
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._words = {"phase": "", "detail": "", "throttled": ""}
        self._phase = bars.add_task(name, total=None, rate="")

    def _describe(self, **words: str) -> None:
        self._words.update(words)
        said = [self._name, *(word for word in self._words.values() if word)]
        self._bars.update(self._phase, description=": ".join(said))

    def phase(self, name: str) -> None:
        self._describe(phase=name, detail="")

    def detail(self, text: str) -> None:
        self._describe(detail=text)

    def throttled(self, reason: str) -> None:
        self._describe(throttled=f"throttled: {reason}" if reason else "")

    def warned(self, text: str) -> None:
        self._bars.console.print(f"{self._name}: {text}", markup=False)

    def advanced(self, table: TableProgress, overall: TableProgress) -> None:
        if table.table not in self._tasks:
            self._tasks[table.table] = self._bars.add_task(table.table, total=table.total, rate="")
        for task, entry in ((self._tasks[table.table], table), (self._phase, overall)):
            now = time.monotonic()
            left = entry.left(now)
            remaining = "" if left is None else f", {duration(left)} left"
            self._bars.update(
                task,
                completed=entry.done,
                total=entry.total,
                rate=f"{entry.rate(now):,.0f} rows/s{remaining}",
            )


class _LineWatcher(Watcher):
    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._due = _Interval(_INTERVAL)
        self._detailed = 0.0
        self._reason = ""

    def _print(self, text: str) -> None:
        self._console.print(f"{self._name}: {text}", markup=False)

    def phase(self, name: str) -> None:
        self._detailed = 0.0
        self._print(name)

    def detail(self, text: str) -> None:
        now = time.monotonic()
        if now - self._detailed >= _INTERVAL:
            self._detailed = now
            self._print(text)

    def throttled(self, reason: str) -> None:
        self._reason = reason
        self._print(f"throttled: {reason}" if reason else "no longer throttled")

    def warned(self, text: str) -> None:
        self._print(text)

    def advanced(self, table: TableProgress, overall: TableProgress) -> None:
        now = time.monotonic()
        if self._due(table, now):
            self._print(line(table, overall, now, self._reason))


class _JsonWatcher(Watcher):
    """One object a line, so that a program can follow."""

    def __init__(self, name: str, write: Callable[[str], object]) -> None:
        self._name = name
        self._write = write
        self._due = _Interval(_JSON_INTERVAL)
        self._phase = ""
        self._reason = ""

    def _emit(
        self, kind: str, *, entry: TableProgress | None = None, now: float = 0.0, detail: str = ""
    ) -> None:
        document = event(
            kind,
            self._name,
            self._phase,
            entry=entry,
            now=now,
            detail=detail,
            throttled=self._reason,
        )
        self._write(json.dumps(document, ensure_ascii=False) + "\n")

    def phase(self, name: str) -> None:
        self._phase = name
        self._emit("phase")

    def detail(self, text: str) -> None:
        self._emit("detail", detail=text)

    def throttled(self, reason: str) -> None:
        self._reason = reason
        self._emit("throttled")

    def warned(self, text: str) -> None:
        self._emit("warning", detail=text)

    def advanced(self, table: TableProgress, overall: TableProgress) -> None:
        now = time.monotonic()
        if self._due(table, now):
            self._emit("table", entry=table, now=now)
            self._emit("total", entry=overall, now=now)


class _Interval:
    """Lets a table's first and last figures through, and others at intervals."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last: dict[str, float] = {}

    def __call__(self, table: TableProgress, now: float) -> bool:
        last = self._last.get(table.table)
        if table.done < table.total and last is not None and now - last < self._seconds:
            return False
        self._last[table.table] = now
        return True


@contextmanager
def watching(name: str, *, quiet: bool = False, output: Output = Output.text) -> Iterator[Watcher]:
    """Show the progress of one migration.

    Args:
        name: of the backend.
        quiet: show nothing.
        output: with ``json``, stderr gets one JSON object a line.
    """
    console = stderr()
    if quiet:
        yield Watcher()
    elif output is Output.json:
        yield _JsonWatcher(name, sys.stderr.write)
    elif console.is_terminal:
        with Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            transient=True,
        ) as bars:
            yield _BarWatcher(name, bars)
    else:
        yield _LineWatcher(name, console)
