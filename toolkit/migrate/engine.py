"""Moves the data of a source into a target: check, plan, reconcile, copy, finish."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from toolkit.config import Configuration
from toolkit.errors import (
    ConnectionFailed,
    Interrupted,
    Refused,
    UsageError,
    VerificationFailed,
    sampled,
)
from toolkit.journal import Chunk, Run, Stale, State, differences
from toolkit.layout import Layout
from toolkit.migrate.forecast import Forecast, forecast, names
from toolkit.migrate.history import recorded
from toolkit.migrate.progress import Progress
from toolkit.migrate.target import Target
from toolkit.migrate.throttle import UNLIMITED, Limits, Throttle
from toolkit.migrate.workers import copy_all
from toolkit.postgres import session
from toolkit.postgres.source import Moment, Source
from toolkit.refusal import Left

__all__ = ["Forecast", "Outcome", "dry_run", "migrate", "names"]


@dataclass
class Outcome:
    """What a migration did.

    Attributes:
        copied: rows that this run copied, per table.
        already: rows that earlier runs had copied, and that are still right, per table.
        again: chunks of earlier runs that were not the source's any more, and were copied again.
        counts: rows in the target per table and region.
        left: the clients that stayed in the source.
        seconds: how long each phase took.
        resumed: whether an earlier run had begun it.
        moment: when the source was last seen equal to what was copied.
    """

    copied: dict[str, int] = field(default_factory=dict)
    already: dict[str, int] = field(default_factory=dict)
    again: list[Chunk] = field(default_factory=list)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    left: tuple[Left, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    resumed: bool = False
    moment: Moment | None = None


def dry_run(
    source: Source,
    target: Target,
    layout: Layout,
    project: Configuration,
    *,
    quarantine: bool = False,
    limits: Limits = UNLIMITED,
    progress: Callable[[str], None] = lambda _: None,
) -> Forecast:
    """Return what :func:`migrate` would do, and stop. Writes nothing, anywhere.

    Raises:
        Refused: the target cannot take a migration, or has another one half-done.
    """
    target.require_applied()
    target.require_known()
    with source.open():
        plan = forecast(
            source,
            target,
            layout,
            project,
            quarantine=quarantine,
            limits=limits,
            progress=progress,
        )
    _require_same(target, target.run(), plan)
    return plan


def migrate(
    source: Source,
    target: Target,
    layout: Layout,
    project: Configuration,
    progress: Progress,
    *,
    resume_only: bool = False,
    quarantine: bool = False,
    repair: bool = False,
    refused: Callable[[Forecast], None] = lambda _: None,
    throttle: Throttle | None = None,
) -> Outcome:
    """Copy every row of the source into the target, once.

    A migration that stopped half-way goes on where it stopped. Whatever earlier runs copied is
    first compared with the source as it is now; chunks that differ are copied again. So one that
    is finished, and whose source has not changed, copies nothing.

    Args:
        source: the source.
        target: the target; its layout is applied.
        layout: the decisions.
        project: the operator's configuration.
        progress: where to report.
        resume_only: refuse unless there is a migration to go on with.
        quarantine: leave clients that cannot be moved in the source, with all their rows.
        repair: take out rows that somebody else has written into the target.
        refused: called with the forecast where rows cannot be moved, so that keys can be kept.
        throttle: lets the run wait, to spare a live source.

    Raises:
        Refused: rows cannot be placed, or the target holds foreign data; nothing was written.
        LockNotObtained: another run is at work.
        Interrupted: stopped half-way; run it again.
        VerificationFailed: the source changed while it was copied; run it again.
    """
    outcome = Outcome()
    show = progress.watcher
    brake = throttle or Throttle()
    with (
        target.lock(),
        recorded(target, project, progress.copied) as history,
        _resumable() as begun,
    ):
        clock = _Clock(outcome.seconds)
        show.phase("checking")
        run = target.run()
        if run is None and resume_only:
            raise UsageError(
                f"there is no migration into {target.place} to resume",
                hint="start one with 'regionkit migrate'",
            )
        plan = dry_run(
            source,
            target,
            layout,
            project,
            quarantine=quarantine,
            limits=brake.limits,
            progress=show.detail,
        )
        if plan.refusals:
            refused(plan)
        plan.require_acceptable(target.place)
        outcome.left = plan.left
        clock.lap("check")
        if run is None:
            run = target.begin(plan.decisions, plan.chunks)
        else:
            outcome.resumed = True
            run = target.resume()
        begun()
        history.copying(run, sum(plan.rows.values()))
        brake.listen(history.throttled)
        target.leave(plan.left, run)
        # A snapshot of its own, taken after the journal was written: a worker within the source's
        # database sees the run's fence under the snapshot that it copies from.
        with source.open():
            stale = Stale()
            if outcome.resumed:
                show.phase("comparing what is copied")
                brake.wait(0)
                with source.reader() as connection:
                    stale = target.stale(source, connection, show.detail, repair=repair)
                clock.lap("compare")
            if stale or run.state is State.copying:
                target.prepare(run)
                run = replace(run, state=State.copying)
                target.take_out(stale, run)
                outcome.again = list(stale.chunks)
                show.phase("copying")
                _copy(source, target, project, progress, plan, outcome, run, brake)
                clock.lap("copy")
            else:
                outcome.already = _rows(target.chunks())
            show.phase("looking for changes of the source")
            brake.wait(0)
            outcome.moment = _require_unchanged(source, target, project, show.detail)
            clock.lap("recheck")
        if run.state is not State.finished:
            show.phase("finishing")
            brake.wait(0)
            target.finish(run, show.detail)
            clock.lap("finish")
        outcome.counts = target.counts()
    return outcome


@contextmanager
def _resumable() -> Iterator[Callable[[], None]]:
    """Yield what notes that the journal knows of the run.

    A server that goes away after that leaves work half-way, which is more than not to be reached.

    Raises:
        Interrupted: it did.
    """
    begun: list[bool] = []
    try:
        with session.translated():
            yield lambda: begun.append(True)
    except ConnectionFailed as error:
        if not begun:
            raise
        raise Interrupted(
            error.message,
            hint="when the server is back, run 'regionkit migrate --resume'",
        ) from None


def _require_same(target: Target, run: Run | None, plan: Forecast) -> None:
    """Refuse to go on with what was begun with other decisions."""
    if run is None:
        return
    lines = differences(run.decisions, plan.decisions)
    if lines:
        raise Refused(
            f"the migration into {target.place} was begun with another configuration or schema",
            details=sampled(lines),
            hint="restore what it was begun with, or start over: 'regionkit apply --revert', "
            "'regionkit apply', then 'regionkit migrate'",
        )


def _require_unchanged(
    source: Source, target: Target, project: Configuration, detail: Callable[[str], None]
) -> Moment:
    """Return the moment at which the source was still what was copied.

    Raises:
        VerificationFailed: it has changed since the snapshot; the tables and chunks are named.
    """
    chunks = [chunk for chunk, _ in target.chunks()]
    changed, moment = source.changes(chunks, project.file.migrate.workers, detail)
    if changed:
        raise VerificationFailed(
            f"the source changed while it was copied: {len(changed)} table(s)",
            details=sampled([str(one) for one in changed]),
            hint="run 'regionkit migrate' again: it copies what has changed; a source that is "
            "written to all the time is brought in by 'regionkit cutover'",
        )
    return moment


def _copy(
    source: Source,
    target: Target,
    project: Configuration,
    progress: Progress,
    plan: Forecast,
    outcome: Outcome,
    run: Run,
    throttle: Throttle,
) -> None:
    rows = plan.rows
    journaled = target.chunks()
    outcome.already = _rows(journaled)
    for name in names(source.layout):
        progress.expect(name, rows[name], outcome.already.get(name, 0))
    pending = [chunk for chunk, copied in journaled if copied is None]
    # The largest table first: at the end, no worker is left alone with it.
    pending.sort(key=lambda chunk: (-rows.get(chunk.table, 0), chunk.table, chunk.number))
    # An even share: what a chunk really was is settled after it.
    numbers = Counter(chunk.table for chunk, _ in journaled)
    sizes = {name: -(-rows.get(name, 0) // number) for name, number in numbers.items()}
    with target.workers(source, run) as open_worker:
        copy_all(
            pending,
            open_worker,
            project.file.migrate.workers,
            begin=progress.begin,
            done=progress.add,
            throttle=throttle,
            size=lambda chunk: sizes[chunk.table],
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
