"""What ``check joins`` found out, and what follows from it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.checks.asking import shown
from toolkit.checks.comparison import Difference
from toolkit.checks.histogram import Distribution
from toolkit.checks.parameters import Parameters
from toolkit.checks.plans import Scan, Touched
from toolkit.config import QuerySection
from toolkit.errors import (
    FindingsError,
    RegionkitError,
    ThresholdExceeded,
    VerificationFailed,
    sampled,
    worst_exit_code,
)
from toolkit.findings import Code, Finding


@dataclass(frozen=True)
class Settings:
    """How thoroughly to ask.

    Attributes:
        runs: measured runs of each query on each layout, at most.
        seconds: after which no further run of a query begins, over all layouts.
        seed: draws the parameters.
    """

    runs: int = 100
    seconds: float = 10.0
    seed: int = 1


@dataclass
class LayoutResult:
    """One query on one layout.

    Attributes:
        layout: ``single``, ``tables`` or ``collections``.
        rows: how many rows it returned, over all drawn parameters.
        difference: from the source; ``None`` for the source itself.
        times: of the measured runs.
        touched: by each explained run.
        scans: without an index, the worst of each relation.
        plan: of the explained run that touched most regions.
        skipped: why it was not asked; empty where it was.
        error: what the server said; empty where the query runs.
    """

    layout: str
    rows: int = 0
    difference: Difference | None = None
    times: Distribution = field(default_factory=Distribution)
    touched: list[Touched] = field(default_factory=list)
    scans: dict[str, Scan] = field(default_factory=dict)
    plan: Any = None
    skipped: str = ""
    error: str = ""

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions of the run that touched most."""
        return max((one.regions for one in self.touched), key=len, default=())

    def document(self) -> dict[str, Any]:
        """Return the result for ``--output json``."""
        if self.skipped or self.error:
            reason = {"skipped": self.skipped} if self.skipped else {"error": self.error}
            return {"layout": self.layout, **reason}
        difference = self.difference
        return {
            "layout": self.layout,
            "rows": self.rows,
            "equal": None if difference is None else difference.equal,
            "difference": None
            if difference is None or difference.equal
            else {
                "missing": difference.missing,
                "unexpected": difference.unexpected,
                "unknown_fields": sorted(difference.strange),
                "samples": difference.samples,
            },
            "times": self.times.document(),
            "regions_touched": list(
                dict.fromkeys(code for one in self.touched for code in one.regions)
            ),
            "most_regions_in_one_run": len(self.regions),
            "relations_touched": list(
                dict.fromkeys(name for one in self.touched for name in one.relations)
            ),
            "explained_runs": len(self.touched),
            "without_index": [
                {"relation": scan.relation, "rows": scan.rows, "how": scan.how}
                for scan in self.scans.values()
            ],
            "plan": self.plan,
        }


@dataclass
class QueryResult:
    """One query on every layout.

    Attributes:
        query: the declaration.
        parameters: what was drawn for it.
        layouts: the source first.
    """

    query: QuerySection
    parameters: Parameters
    layouts: list[LayoutResult] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the result for ``--output json``."""
        return {
            "name": self.query.name,
            "lookup": self.query.lookup,
            "parameters": [
                {name: shown(value) for name, value in row.items()} for row in self.parameters.rows
            ],
            "layouts": [result.document() for result in self.layouts],
        }


@dataclass(frozen=True)
class Exceeded:
    """A figure above its threshold.

    Attributes:
        query: the query's name.
        layout: where.
        figure: ``p50``, ``p95`` or ``p99``.
        measured: in milliseconds.
        threshold: in milliseconds.
    """

    query: str
    layout: str
    figure: str
    measured: float
    threshold: float

    def __str__(self) -> str:
        return (
            f"{self.layout}: {self.query}: {self.figure} is {self.measured:.2f} ms, "
            f"the threshold {self.threshold:g} ms"
        )

    def document(self) -> dict[str, Any]:
        """Return it for ``--output json``."""
        return {
            "query": self.query,
            "layout": self.layout,
            "figure": self.figure,
            "measured_ms": round(self.measured, 3),
            "threshold_ms": self.threshold,
        }


@dataclass
class JoinsReport:
    """What ``check joins`` found out.

    Attributes:
        settings: how it was asked.
        queries: in the order of the declarations.
        findings: what is wrong.
        exceeded: figures above their thresholds.
        skipped: layouts that were not asked at all, with the reason.
    """

    settings: Settings
    queries: list[QueryResult] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    exceeded: list[Exceeded] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """The exit code that the report asks for."""
        codes = [5 if found.code is Code.rows_differ else 4 for found in self.findings]
        return worst_exit_code([*codes, *(6 for _ in self.exceeded)])

    def document(self) -> dict[str, Any]:
        """Return the report for ``--output json``."""
        return {
            "runs": self.settings.runs,
            "seed": self.settings.seed,
            "queries": [result.document() for result in self.queries],
            "findings": [finding.document() for finding in self.findings],
            "exceeded": [one.document() for one in self.exceeded],
            "skipped": self.skipped,
        }

    def require_good(self) -> None:
        """Raise if anything is wrong.

        Raises:
            VerificationFailed: a layout returns other rows than the source.
            FindingsError: a query fails, touches more regions than one, or reads without an index.
            ThresholdExceeded: nothing but a figure above its threshold.
        """
        if not self.exit_code:
            return
        wrong = sorted(self.findings, key=lambda found: found.code is not Code.rows_differ)
        lines = [*map(_lines, wrong), *map(str, self.exceeded)]
        error, message, hint = _ERRORS[self.exit_code]
        raise error(
            f"{message}: {len(lines)} finding(s)",
            details="\n".join(sampled(lines)).splitlines(),
            hint=hint,
        )


def _lines(finding: Finding) -> str:
    """Return a finding with each of its samples on a line of its own."""
    head = str(replace(finding, keys=()))
    return "\n".join([head, *(f"  {key}" for key in finding.keys)])


_ERRORS: dict[int, tuple[type[RegionkitError], str, str]] = {
    5: (
        VerificationFailed,
        "a layout does not answer as the source does",
        "mend the query's `tables` or `mongo`, or see with 'regionkit verify' whether the data "
        "differ",
    ),
    4: (
        FindingsError,
        "queries that would not do in production",
        "docs/check-joins.md says for each kind what mends it; --output json shows the plans",
    ),
    6: (
        ThresholdExceeded,
        "queries are slower than their thresholds",
        "see the plans with --output json, or change `threshold` of the [[query]]",
    ),
}
