"""``check latency``: what the declared writes cost on each layout, beside the source.

For every ``[[write]]`` and layout: percentiles of the service time and of the time from the
intended start, and the ratio of its median to that of the same write on the single-region source,
which runs in the same interleaved schedule. Rows are marked, and removed afterwards.
"""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from toolkit.checks import durability, load
from toolkit.checks.durability import Durability
from toolkit.checks.load import LaneResult, Pace
from toolkit.checks.parameters import Parameters, draw
from toolkit.checks.removal import Removal, remove_all, removed_afterwards
from toolkit.checks.writers import (
    ROWS_AFFECTED,
    Connections,
    Failures,
    Lane,
    LayoutName,
    LoadWorker,
    Place,
    load_worker,
)
from toolkit.config import WriteSection
from toolkit.errors import (
    FindingsError,
    Refused,
    StoppedByUser,
    ThresholdExceeded,
    UsageError,
    sampled,
)
from toolkit.postgres import session

#: Failures that a first attempt may meet although the declaration is right.
_PASSING = (ROWS_AFFECTED, "40001", "40P01", "112 ", "ConnectionFailed")

#: Codes of a privilege that is missing, on PostgreSQL and on MongoDB.
_NOT_ALLOWED = {"42501", "13"}

MARK = "regionkit-"


@dataclass(frozen=True)
class Skipped:
    """What was not measured.

    Attributes:
        write: name of the write; empty for a whole layout.
        layout: which layout.
        reason: why.
    """

    write: str
    layout: str
    reason: str

    def __str__(self) -> str:
        what = f"{self.write!r} on {self.layout}" if self.write else self.layout
        return f"{what}: skipped: {self.reason}"


@dataclass(frozen=True)
class Delay:
    """The network that was put between writers and servers.

    Attributes:
        writer: the region of the writers.
        home: the region of the servers.
        ms: the round trip, in milliseconds.
    """

    writer: str
    home: str
    ms: float


@dataclass(frozen=True)
class LaneReport:
    """One write on one layout.

    Attributes:
        write: its name.
        layout: where.
        result: what was measured.
        overhead: median service time over that of the baseline; ``None`` without either.
        exceeded: the thresholds that were, each as a sentence.
        messages: what the first failure of each kind said.
        parameter_rows: how many rows of parameters took turns.
    """

    write: str
    layout: LayoutName
    result: LaneResult
    overhead: float | None
    exceeded: tuple[str, ...]
    messages: dict[str, str]
    parameter_rows: int

    @property
    def wrong(self) -> str | None:
        """Why this is no measurement of the declared write, if it is none."""
        lost = self.result.errors[ROWS_AFFECTED]
        if lost:
            return f"{lost} of {self.result.started} affected other rows than declared"
        if self.result.started and not self.result.service.count:
            return f"all {self.result.started} failed"
        return None

    def document(self) -> dict[str, Any]:
        """Return it for ``--output json``."""
        result = self.result
        return {
            "write": self.write,
            "layout": self.layout,
            "service": result.service.document(),
            "from_intended_start": result.intended.document(),
            "overhead": None if self.overhead is None else round(self.overhead, 3),
            "rate": result.rate,
            "achieved_rate": round(result.achieved, 2),
            "reached": result.reached,
            "scheduled": result.scheduled,
            "started": result.started,
            "late_share": round(result.late_share, 4),
            "errors": dict(result.errors),
            "first_message": self.messages,
            "parameter_rows": self.parameter_rows,
            "thresholds_exceeded": list(self.exceeded),
        }


@dataclass
class LatencyReport:
    """Everything that one run measured.

    Attributes:
        pace: what was asked for.
        late_after: seconds from which a start counts as late.
        mark: of the rows that were written.
        delay: the network in between; ``None`` for none.
        lanes: what was measured, the baseline of each write first.
        servers: what a confirmed write survives, by layout.
        skipped: what was not measured.
        removed: how many rows the removal touched, by layout; a second one found nothing left.
    """

    pace: Pace
    late_after: float = 0.0
    mark: str = ""
    delay: Delay | None = None
    lanes: list[LaneReport] = field(default_factory=list)
    servers: dict[LayoutName, Durability] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    removed: dict[LayoutName, int] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it for ``--output json``."""
        delay = self.delay
        return {
            "rate": self.pace.rate,
            "duration_s": self.pace.duration,
            "warmup_s": self.pace.warmup,
            "workers": self.pace.workers,
            "seed": self.pace.seed,
            "late_after_ms": round(self.late_after * 1000, 3),
            "mark": self.mark,
            "round_trip": delay and {"from": delay.writer, "to": delay.home, "ms": delay.ms},
            "writes": [lane.document() for lane in self.lanes],
            "servers": {layout: found.document() for layout, found in self.servers.items()},
            "skipped": [
                {"write": item.write, "layout": item.layout, "reason": item.reason}
                for item in self.skipped
            ],
            "removed": self.removed,
        }

    def require_good(self) -> None:
        """Raise if a write did not do what it declares, or a threshold is exceeded.

        Raises:
            FindingsError: writes failed altogether, or affected other rows than declared.
            ThresholdExceeded: a figure is above its threshold.
        """
        wrong = [
            f"{lane.write!r} on {lane.layout}: {lane.wrong}"
            + "".join(f"; {kind}: {text}" for kind, text in lane.messages.items())
            for lane in self.lanes
            if lane.wrong
        ]
        wrong += [
            f"{layout}: the cleanup found none of the rows that were written"
            for layout, touched in self.removed.items()
            if not touched
            and any(lane.layout == layout and lane.result.service.count for lane in self.lanes)
        ]
        exceeded = [
            f"{lane.write!r} on {lane.layout}: {line}"
            for lane in self.lanes
            for line in lane.exceeded
        ]
        if wrong:
            raise FindingsError(
                f"{len(wrong)} declaration(s) are not what the layouts do",
                details=sampled([*wrong, *exceeded]),
                hint="correct the statements, `rows` or `cleanup` in [[write]]",
            )
        if not exceeded:
            return
        raise ThresholdExceeded(
            f"{len(exceeded)} threshold(s) exceeded",
            details=sampled(exceeded),
            hint="compare servers and round trip with those that the threshold was set for",
        )


@dataclass(frozen=True)
class LatencyCheck:
    """A run that is about to begin.

    Attributes:
        writes: as declared.
        places: the layouts, the single-region source among them.
        regions: the codes of all regions.
        pace: how hard and how long.
        delay: the network that the places' URLs lead through.
    """

    writes: Sequence[WriteSection]
    places: Sequence[Place]
    regions: tuple[str, ...]
    pace: Pace
    delay: Delay | None = None

    def run(self, progress: Callable[[str], None]) -> LatencyReport:
        """Measure, and remove what was written.

        Args:
            progress: is told what is going on.

        Raises:
            RegionkitError: before anything was written: a declaration does not run, or a server
                does not answer; afterwards: something could not be removed.
            StoppedByUser: Ctrl-C; everything written is removed.
        """
        mark = MARK + secrets.token_hex(4)
        report = LatencyReport(self.pace, mark=mark, delay=self.delay)
        lanes = self._lanes(mark, report)
        if not lanes:
            return report
        plan = load.schedule(self.pace, len(lanes))
        report.late_after = plan.late_after
        report.servers = {
            place.layout: durability.read(place)
            for place in self.places
            if any(lane.place.layout == place.layout for lane in lanes)
        }
        self._rehearse(lanes)
        failures, connections = Failures(), Connections()

        def note(removed: dict[LayoutName, int]) -> None:
            report.removed = removed

        progress(f"rows written are marked {mark}, and removed afterwards")
        try:
            with removed_afterwards(self._removals(lanes), connections, progress, note):
                turns = itertools.count(plan.rounds)
                samples = load.run(
                    plan,
                    lambda: load_worker(lanes, failures, connections, turn=next(turns)),
                    progress=progress,
                )
        except KeyboardInterrupt:
            raise StoppedByUser("interrupted; what had been written is removed") from None
        report.lanes = _reports(lanes, load.summarize(plan, len(lanes), samples), failures)
        return report

    def remove(self, mark: str) -> dict[LayoutName, int]:
        """Remove what a run left behind that was killed; return how many rows that touched.

        Raises:
            RegionkitError: the cleanup does not run, or leaves something.
        """
        return remove_all(self._removals(self._declared(mark, Parameters(rows=[{}]))))

    def _declared(self, mark: str, parameters: Parameters) -> list[Lane]:
        return [
            Lane(write, place, parameters, mark)
            for write in self.writes
            for place in self.places
            if declares(write, place.layout)
        ]

    def _lanes(self, mark: str, report: LatencyReport) -> list[Lane]:
        """Draw the parameters; return what there is to do, and note what is not."""
        lanes = []
        source = next(place for place in self.places if place.layout == "single")
        turns = load.schedule(self.pace, 1).rounds + self.pace.workers
        with session.connect(source.url, role="source") as connection:
            session.search_path(connection, source.name)
            for write in self.writes:
                drawn = draw(connection, write.draw, count=turns, seed=self.pace.seed)
                if not drawn.rows:
                    report.skipped.append(Skipped(write.name, "single", "`draw` returns no row"))
                    continue
                for place in self.places:
                    if declares(write, place.layout):
                        lanes.append(Lane(write, place, drawn, mark))
                    else:
                        reason = "the write is not declared for it"
                        report.skipped.append(Skipped(write.name, place.layout, reason))
        return lanes

    def _removals(self, lanes: Sequence[Lane]) -> list[Removal]:
        return [Removal(lane, self.regions) for lane in lanes]

    def _rehearse(self, lanes: Sequence[Lane]) -> None:
        """Run each transaction once and take it back: what cannot run is said before the load.

        Raises:
            Refused: the role lacks a privilege.
            UsageError: one does not run.
        """
        failures, wrong, kinds = Failures(), [], set()
        with closing(LoadWorker(lanes, failures, Connections())) as worker:
            for number, lane in enumerate(lanes):
                kind = worker.prepare(number, 0, keep=False)()
                if kind is not None and not kind.startswith(_PASSING):
                    message = failures.messages[number, kind]
                    wrong.append(f"{lane.name}: {message} ({kind})")
                    kinds.add(kind.partition(" ")[0])
        if wrong and kinds <= _NOT_ALLOWED:
            raise Refused(
                f"{len(wrong)} declared write(s) may not be run by this role",
                details=sampled(wrong),
                hint="docs/privileges.md names what the command needs; nothing was written",
            )
        if wrong:
            raise UsageError(
                f"{len(wrong)} declared write(s) do not run",
                details=sampled(wrong),
                hint="correct the statements in [[write]]; nothing was written",
            )


def declares(write: WriteSection, layout: LayoutName) -> bool:
    """Return whether a write is declared for a layout."""
    return layout == "single" or (write.tables if layout == "tables" else write.mongo) is not None


def _reports(
    lanes: Sequence[Lane], results: Sequence[LaneResult], failures: Failures
) -> list[LaneReport]:
    baselines = {
        lane.write.name: result.service.p50
        for lane, result in zip(lanes, results, strict=True)
        if lane.place.layout == "single"
    }
    reports = []
    for number, (lane, result) in enumerate(zip(lanes, results, strict=True)):
        ratio = result.service.p50 / baselines.get(lane.write.name, math.nan)
        overhead = None if math.isnan(ratio) else ratio
        messages = {
            kind: text
            for (at, kind), text in failures.messages.items()
            if at == number and kind in result.errors
        }
        reports.append(
            LaneReport(
                lane.write.name,
                lane.place.layout,
                result,
                overhead,
                tuple(exceeded(lane.write.threshold, result, overhead)),
                messages,
                len(lane.parameters.rows),
            )
        )
    return reports


def exceeded(threshold: dict[Any, float], result: LaneResult, overhead: float | None) -> list[str]:
    """Return every threshold that a lane exceeds, as a sentence. Pure.

    Percentiles are those from the intended start: what somebody who came on time had to wait.
    """
    found = []
    for name, limit in threshold.items():
        if name == "overhead":
            if overhead is not None and overhead > limit:
                found.append(f"overhead {overhead:.2f} is above {limit:g}")
        else:
            value = float(getattr(result.intended, name))
            if value > limit:
                found.append(f"{name} {value:.2f} ms is above {limit:g} ms")
    return found
