"""Moves the data of a source into a target: check, plan, copy, finish."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from toolkit.config import Configuration
from toolkit.errors import Refused, UsageError, sampled
from toolkit.findings import Finding
from toolkit.journal import Chunk, Run, State, chunks
from toolkit.layout import Layout
from toolkit.migrate.progress import Progress
from toolkit.migrate.target import Target
from toolkit.migrate.workers import copy_all
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Refusal, Source


@dataclass(frozen=True)
class Forecast:
    """What a migration would do. Nothing has been written.

    Attributes:
        rows: of each table, and of the link.
        chunks: to be copied, those of earlier runs included.
        refusals: rows that cannot be placed.
        values: cells that the target cannot hold.
    """

    rows: dict[str, int]
    chunks: list[Chunk]
    refusals: list[Refusal]
    values: list[Finding]

    @property
    def acceptable(self) -> bool:
        """Whether every row can be moved."""
        return not self.refusals and not self.values

    def require_acceptable(self, place: str) -> None:
        """Raise unless every row can be moved.

        Raises:
            Refused: some cannot; each reason is named with its keys.
        """
        if self.acceptable:
            return
        lines = [
            f"{refusal.table}: {refusal.reason}: {len(refusal.keys)} row(s): "
            + ", ".join(refusal.keys[:5])
            + (", ..." if len(refusal.keys) > 5 else "")
            for refusal in self.refusals
        ]
        lines += [str(finding) for finding in self.values]
        rows = sum(len(refusal.keys) for refusal in self.refusals)
        rows += sum(finding.count for finding in self.values)
        raise Refused(
            f"{rows} row(s) of the source cannot be moved into {place}; nothing was written",
            details=sampled(lines),
            hint="mend the source, or extend the rule: [root.region] map or default, orphans in "
            "[placement.<table>]",
        )


@dataclass
class Outcome:
    """What a migration did.

    Attributes:
        copied: rows that this run copied, per table.
        already: rows that earlier runs had copied, per table.
        counts: rows in the target per table and region.
        seconds: how long each phase took.
        resumed: whether an earlier run had begun it.
    """

    copied: dict[str, int] = field(default_factory=dict)
    already: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    resumed: bool = False


def names(layout: Layout) -> list[str]:
    """Return everything that is copied: global tables, the link, regional tables."""
    return [*sorted(layout.shared), layout.link, *layout.regional]


def forecast(
    source: Source, connection: Connection, target: Target, layout: Layout, project: Configuration
) -> Forecast:
    """Return what a migration would do. The real run begins with the same function."""
    refusals = source.refusals(connection, layout.topology.codes)
    values = target.values_refused(source, connection)
    rows, planned = {}, []
    for name in names(layout):
        rows[name] = source.count(connection, name)
        bounds = source.bounds(connection, name, project.file.migrate.chunk_rows)
        planned.extend(chunks(target.server, name, bounds))
    return Forecast(rows, planned, refusals, values)


def dry_run(source: Source, target: Target, layout: Layout, project: Configuration) -> Forecast:
    """Return what :func:`migrate` would do, and stop. Writes nothing, anywhere."""
    with source.open(), source.reader() as connection:
        target.require_applied()
        target.require_known()
        return forecast(source, connection, target, layout, project)


def migrate(
    source: Source,
    target: Target,
    layout: Layout,
    project: Configuration,
    progress: Progress,
    *,
    resume_only: bool = False,
    refused: Callable[[Forecast], None] = lambda _: None,
) -> Outcome:
    """Copy every row of the source into the target, once.

    A migration that stopped half-way goes on where it stopped; one that is finished copies nothing.

    Args:
        source: the source.
        target: the target; its layout is applied.
        layout: the decisions.
        project: the operator's configuration.
        progress: where to report.
        resume_only: refuse unless there is a migration to go on with.
        refused: called with the forecast before a refusal is raised, so that keys can be kept.

    Raises:
        Refused: rows cannot be placed, or the target holds foreign data; nothing was written.
        LockNotObtained: another run is at work.
        Interrupted: stopped half-way; run it again.
    """
    outcome = Outcome()
    fingerprint = project.fingerprint()
    with target.lock():
        clock = _Clock(outcome.seconds)
        progress.watcher.phase("checking")
        run = target.run()
        if run is None and resume_only:
            raise UsageError(
                f"there is no migration into {target.place} to resume",
                hint="start one with 'regionkit migrate'",
            )
        plan = dry_run(source, target, layout, project)
        if not plan.acceptable:
            refused(plan)
        plan.require_acceptable(target.place)
        clock.lap("check")
        if run is None:
            run = target.begin(fingerprint, plan.chunks)
        else:
            outcome.resumed = True
            run = target.resume(fingerprint)
        journaled = target.chunks()
        outcome.already = _rows(journaled)
        if run.state is State.copying:
            progress.watcher.phase("copying")
            target.prepare(run)
            # A snapshot of its own, taken after the journal was written: a worker within the
            # source's database sees its checkpoint under the snapshot that it copies from.
            with source.open():
                _copy(source, target, project, progress, plan, journaled, outcome, run)
            clock.lap("copy")
        if run.state is not State.finished:
            progress.watcher.phase("finishing")
            target.finish(run, progress.watcher.detail)
            clock.lap("finish")
        outcome.counts = target.counts()
    return outcome


def _copy(
    source: Source,
    target: Target,
    project: Configuration,
    progress: Progress,
    plan: Forecast,
    journaled: Sequence[tuple[Chunk, int | None]],
    outcome: Outcome,
    run: Run,
) -> None:
    for name, rows in plan.rows.items():
        progress.expect(name, rows, outcome.already.get(name, 0))

    pending = [chunk for chunk, rows in journaled if rows is None]
    order = {name: number for number, name in enumerate(plan.rows)}
    pending.sort(key=lambda chunk: (order.get(chunk.table, 0), chunk.number))
    with target.workers(source, run) as open_worker:
        copy_all(
            pending,
            open_worker,
            project.file.migrate.workers,
            begin=progress.begin,
            done=progress.add,
        )
    outcome.copied = {table: entry.done - entry.before for table, entry in progress.tables.items()}


def _rows(journaled: Sequence[tuple[Chunk, int | None]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for chunk, rows in journaled:
        if rows is not None:
            found[chunk.table] = found.get(chunk.table, 0) + rows
    return found


class _Clock:
    """Notes how long each phase took."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        now = time.monotonic()
        self._seconds[phase] = now - self._last
        self._last = now
