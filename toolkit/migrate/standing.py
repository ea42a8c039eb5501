"""Where a migration stands, read from the journal in its target; writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolkit.journal import Holder, Pace, RunRecord, State
from toolkit.migrate.target import Target

#: Seconds that the rate of a run in progress is taken over.
_WINDOW = 60.0


@dataclass(frozen=True)
class Standing:
    """Where a migration stands.

    Attributes:
        state: how far it has come; ``None`` if it never began.
        epoch: how often it was started.
        chunks: of all tables.
        chunks_copied: of them.
        rows_copied: in these chunks.
        holder: who is at work now; ``None`` if nobody is.
        pace: what was copied lately.
        runs: its starts, the newest first.
    """

    state: State | None = None
    epoch: int = 0
    chunks: int = 0
    chunks_copied: int = 0
    rows_copied: int = 0
    holder: Holder | None = None
    pace: Pace = field(default_factory=Pace)
    runs: tuple[RunRecord, ...] = ()

    @property
    def rows_expected(self) -> int | None:
        """Rows of the source, as the newest start that came so far counted them."""
        return next((run.expected for run in self.runs if run.expected is not None), None)

    @property
    def percent(self) -> float | None:
        """How much is copied, ``None`` when that is not known."""
        expected = self.rows_expected
        if expected is None:
            return None
        return min(100.0, 100 * self.rows_copied / expected) if expected else 100.0

    @property
    def throttled_by(self) -> str | None:
        """What holds the run in progress back, ``None`` when nothing does."""
        return self.runs[0].throttled_by if self.holder is not None and self.runs else None

    @property
    def copying(self) -> bool:
        """Whether a run copies rows at this moment."""
        return self.holder is not None and self.state is State.copying

    @property
    def rate(self) -> float | None:
        """Rows per second of the run in progress, ``None`` if none copies."""
        return self.pace.rate if self.copying else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all rows are copied at this rate, ``None`` when that is not known."""
        if not self.rate or self.rows_expected is None:
            return None
        return max(0, self.rows_expected - self.rows_copied) / self.rate


def standing(target: Target) -> Standing:
    """Read where the migration into a target stands."""
    # First who is at work: a run that ends meanwhile is then seen as ended too.
    holder = target.holder()
    run = target.run()
    runs = tuple(target.runs())
    if run is None:
        return Standing(holder=holder, runs=runs)
    chunks = target.chunks()
    return Standing(
        state=run.state,
        epoch=run.epoch,
        chunks=len(chunks),
        chunks_copied=sum(rows is not None for _, rows in chunks),
        rows_copied=sum(rows or 0 for _, rows in chunks),
        holder=holder,
        pace=target.pace(_WINDOW),
        runs=runs,
    )


def next_command(pending: Sequence[str], found: Standing) -> str:
    """Return what the operator does next. Pure."""
    if pending:
        return "regionkit apply --dry-run"
    if found.holder is not None:
        return "wait, then regionkit status"
    if found.state is None:
        return "regionkit migrate --dry-run"
    return "regionkit verify" if found.state is State.finished else "regionkit migrate --resume"


def outcome_text(run: RunRecord, found: Standing) -> str:
    """Return how a start ended, for people. Pure.

    Only the newest one can be at work; another without an end was killed, or lost its server.
    """
    if run.outcome is not None:
        return run.outcome.value if not run.exit_code else f"{run.outcome} (exit {run.exit_code})"
    newest = bool(found.runs) and run.id == found.runs[0].id
    return "at work" if newest and found.holder is not None else "did not end"
