"""``regionkit demo``: the whole journey on servers of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import psycopg
import typer
from rich.table import Table

from toolkit.checks.joins_report import JoinsReport, Settings
from toolkit.checks.latency import LatencyReport
from toolkit.cli import answer, backends, check_joins, check_latency, verify
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import (
    Backend,
    ConfigOption,
    NoInputOption,
    Project,
    YesOption,
    confirm,
    open_project,
)
from toolkit.cli.watch import watching
from toolkit.errors import VerificationFailed
from toolkit.lab import Lab, temporary_lab
from toolkit.migrate import engine
from toolkit.migrate.progress import Progress
from toolkit.migrate.verification import Verdict

_PHASES = ("apply", "migrate", "verify")

#: Measured runs of each query, at most.
_RUNS = 50


@dataclass
class _Journey:
    """What the demo did on one backend.

    Attributes:
        seconds: how long each phase took.
        outcome: what was moved where.
        verdict: what was verified.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    outcome: engine.Outcome = field(default_factory=engine.Outcome)
    verdict: Verdict = field(default_factory=lambda: Verdict(""))


def demo(
    config: ConfigOption = None,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same rows.")] = 1,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.5, help="How long each check measures.")
    ] = 5.0,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Show the whole journey on embedded servers and generated data.

    Starts a PostgreSQL and a MongoDB, fills a single-region source, creates both layouts, moves
    the data into each, compares every row, measures what the declared queries and writes cost on
    each, and stops the servers. Servers that are named by
    REGIONKIT_* variables are used instead, after asking.
    """
    project = open_project(config)
    module = project.configuration.demo_module()
    own = [role for role in ("source", "postgres", "mongo") if project.configuration.url(role)]
    if own:
        confirm(
            f"write demonstration data to your own server(s): {', '.join(own)}?",
            yes=yes,
            no_input=no_input,
        )
    begun = time.monotonic()
    with _servers(project, own) as project:
        started = time.monotonic() - begun
        source_rows, loaded = _load(project, module, seed)
        journeys = {name: _journey(project, name) for name in ("postgres", "mongo")}
        verify.require_equal(project, [journey.verdict for journey in journeys.values()])
        checked = time.monotonic()
        joins, latency = _checks(project, seconds)
        checked = time.monotonic() - checked
    total = time.monotonic() - begun
    if output is Output.json:
        document = _document(journeys, source_rows, started, loaded, total, seed)
        checks = {"joins": joins.document(), "latency": latency.document()}
        print_json({**document, "checks": {"seconds": checked, **checks}})
    else:
        _print(project, journeys, source_rows)
        stdout().print(answer.table(joins, latency))
        for line in answer.remarks(joins, latency):
            stdout().print(line, markup=False)
        stdout().print(
            f"servers {started:.1f} s, source filled {loaded:.1f} s, checks {checked:.1f} s, "
            f"all of it {total:.1f} s"
        )
    if joins.exit_code == VerificationFailed.exit_code:
        joins.require_good()
    latency.require_good()


@contextmanager
def _servers(project: Project, own: list[str]) -> Iterator[Project]:
    """Start the servers that are not given; they are gone afterwards, whatever happens."""
    needed = {"mongo"} if "mongo" not in own else set()
    if not {"source", "postgres"} <= set(own):
        needed.add("postgres")
    if not needed:
        yield project
        return
    stderr().print(f"starting {' and '.join(sorted(needed))}")
    with temporary_lab(servers=sorted(needed)) as lab:
        yield Project(project.configuration, Lab(lab.folder))


def _load(project: Project, module: Any, seed: int) -> tuple[dict[str, int], float]:
    stderr().print("filling the source")
    begun = time.monotonic()
    with psycopg.connect(project.url("source")) as connection:
        module.create(connection)
        rows = dict(module.load(connection, seed=seed))
    with psycopg.connect(project.url("source"), autocommit=True) as connection:
        connection.execute("ANALYZE")
    return rows, time.monotonic() - begun


def _journey(project: Project, name: backends.Name) -> _Journey:
    journey = _Journey()
    with _timed(journey, "apply"), backends.history(project, name) as history:
        stderr().print(f"{name}: creating the layout")
        history.upgrade()
    with _timed(journey, "migrate"), watching(name) as watcher:
        journey.outcome = engine.migrate(
            project.source(),
            backends.target(project, name),
            project.layout,
            project.configuration,
            Progress(watcher),
        )
    with _timed(journey, "verify"):
        stderr().print(f"{name}: comparing every row with the source")
        journey.verdict = verify.run(project, name, quiet=True)
    return journey


def _checks(project: Project, seconds: float) -> tuple[JoinsReport, LatencyReport]:
    stderr().print("asking every declared query of every layout")
    joins = check_joins.run(
        project, Backend.all.names, Settings(runs=_RUNS, seconds=seconds), quiet=True
    )
    stderr().print("writing every declared transaction to every layout")
    latency = check_latency.run(project, Backend.all, duration=seconds, warmup=1.0, quiet=True)
    return joins, latency


@contextmanager
def _timed(journey: _Journey, phase: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    journey.seconds[phase] = time.monotonic() - begun


def _document(
    journeys: dict[str, _Journey],
    source_rows: dict[str, int],
    started: float,
    loaded: float,
    total: float,
    seed: int,
) -> dict[str, Any]:
    return {
        "seed": seed,
        "source": {"rows": source_rows, "seconds": loaded},
        "seconds": {"start": started, "total": total},
        "backends": {
            name: {
                "seconds": journey.seconds,
                "migrate_seconds": journey.outcome.seconds,
                "counts": journey.outcome.counts,
                "verification": verify.document(journey.verdict),
            }
            for name, journey in journeys.items()
        },
    }


def _print(
    project: Project,
    journeys: dict[str, _Journey],
    source_rows: dict[str, int],
) -> None:
    regions = project.configuration.topology.regions
    where = Table(title="Where the rows live now (the same on both backends)")
    where.add_column("table")
    where.add_column("source", justify="right")
    for region in regions:
        where.add_column(region.title or region.code, justify="right")
    where.add_column("global", justify="right")
    counts = journeys["postgres"].outcome.counts
    for key, found in counts.items():
        cells = [f"{found[region.code]:,}" if region.code in found else "" for region in regions]
        shared = f"{found['']:,}" if "" in found else ""
        where.add_row(key, f"{source_rows.get(key, 0):,}", *cells, shared)
    stdout().print(where)

    took = Table(title="How long it took, in seconds")
    took.add_column("")
    for name in journeys:
        took.add_column(name, justify="right")
    for phase in _PHASES:
        took.add_row(phase, *(f"{journey.seconds[phase]:.1f}" for journey in journeys.values()))
    took.add_row(
        "rows/s while copying",
        *(_rate(journey) for journey in journeys.values()),
    )
    stdout().print(took)
    for name, journey in journeys.items():
        stdout().print(f"{name}: {sentence(journey.verdict)}")
    first, *others = (journey.outcome.counts for journey in journeys.values())
    same = all(other == first for other in others)
    if not same:
        stdout().print("the two backends do not hold the same number of rows per region")


def _rate(journey: _Journey) -> str:
    seconds = journey.outcome.seconds.get("copy", 0.0)
    rows = sum(journey.outcome.copied.values())
    return f"{rows / seconds:,.0f}" if seconds else "-"


def sentence(verdict: Verdict) -> str:
    """Return what was verified, in one sentence."""
    rows = sum(sum(counts.values()) for counts in verdict.rows.values())
    held = f"{len(verdict.invariants)} declared invariant(s) hold"
    if verdict.skipped:
        held += f", {len(verdict.skipped)} not declared for this backend"
    if verdict.equal:
        return f"all {rows:,} rows are equal to the source and in their client's region; {held}"
    return f"{len(verdict.findings)} finding(s) in {rows:,} rows; {held}"
