"""``regionkit check joins``: the declared queries on every layout."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Annotated

import typer
from rich.table import Table

from toolkit.checks import joins as check_joins
from toolkit.checks.asking import Asker, open_sql
from toolkit.checks.asking_mongo import open_mongo
from toolkit.checks.joins_report import JoinsReport, LayoutResult, Settings
from toolkit.checks.plans import FEW_ROWS
from toolkit.cli import backends
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import (
    Backend,
    BackendOption,
    ConfigOption,
    Project,
    QuietOption,
    open_project,
)
from toolkit.errors import Refused

#: What the layout of each backend is called.
LAYOUTS: dict[backends.Name, str] = {"postgres": "tables", "mongo": "collections"}


def joins(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    runs: Annotated[
        int, typer.Option("--runs", min=1, help="Measured runs of each query on each layout.")
    ] = Settings.runs,
    seconds: Annotated[
        float,
        typer.Option("--seconds", min=0.1, help="Begin no run of a query after this many seconds."),
    ] = Settings.seconds,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", help="Draws the parameters. Default: [checks] seed.", show_default=False
        ),
    ] = None,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Ask every declared query of the source and of every layout.

    Compares the rows one by one, times the queries in turns, and says which regions they touch and
    where an index is missing. Writes nothing. Exits 5 if a layout returns other rows, 4 if a query
    fails, touches more than one region although it is a lookup, or reads without an index, and 6
    if it is slower than its threshold.
    """
    project = open_project(config)
    project.require_before_cutover("regionkit check joins")
    settings = Settings(
        runs, seconds, project.configuration.file.checks.seed if seed is None else seed
    )
    report = run(project, backend.names, settings, required=backend is not Backend.all, quiet=quiet)
    if output is Output.json:
        print_json(report.document())
    else:
        show(report)
    report.require_good()


def run(
    project: Project,
    names: tuple[backends.Name, ...],
    settings: Settings | None = None,
    *,
    required: bool = False,
    quiet: bool = False,
) -> JoinsReport:
    """Run the check.

    Args:
        project: the operator's project.
        names: the backends to ask.
        settings: how thoroughly.
        required: whether a backend whose layout is not there is refused instead of skipped.
        quiet: show no progress.

    Raises:
        Refused: no layout can be asked, or one that is required cannot.
        UsageError: a declaration is wrong.
        ConnectionFailed: a server does not answer.
    """
    settings = settings or Settings(seed=project.configuration.file.checks.seed)
    queries = project.configuration.file.query
    if not queries:
        return JoinsReport(settings, skipped={"all": "no [[query]] is declared"})
    skipped: dict[str, str] = {}
    for name in names:
        if reason := backends.unready(project, name):
            skipped[LAYOUTS[name]] = reason
    if skipped and (required or len(skipped) == len(names)):
        raise Refused(
            "there is no layout to ask" if len(skipped) == len(names) else "a layout is not there",
            details=[f"{layout}: {reason}" for layout, reason in skipped.items()],
            hint="run 'regionkit apply', then 'regionkit migrate'",
        )

    def progress(query: str) -> None:
        if not quiet:
            stderr().print(f"asking: {query}", markup=False)

    decisions, configuration = project.layout, project.configuration
    with ExitStack() as stack:
        source = stack.enter_context(
            open_sql(
                project.url("source"),
                configuration.source_schema,
                decisions,
                server="source",
                regional=False,
            )
        )
        layouts: list[Asker] = []
        for name in names:
            if LAYOUTS[name] in skipped:
                continue
            server = decisions.topology.server(name)
            if name == "postgres":
                opened: Asker = stack.enter_context(
                    open_sql(
                        project.url(name),
                        configuration.target_schema,
                        decisions,
                        server=server,
                        regional=True,
                    )
                )
            else:
                opened = stack.enter_context(
                    open_mongo(
                        project.url(name), configuration.mongo_database, decisions, server=server
                    )
                )
            layouts.append(opened)
        report = check_joins.check(queries, source, layouts, decisions, settings, progress)
    report.skipped = skipped
    return report


def show(report: JoinsReport) -> None:
    """Print a report for people."""
    if report.queries:
        stdout().print(table(report))
    for note in notes(report):
        stdout().print(note, markup=False)


def notes(report: JoinsReport) -> list[str]:
    """Return what was not asked, and why."""
    return [f"{layout}: skipped: {reason}" for layout, reason in report.skipped.items()] + [
        f"{layout.layout}: {result.query.name}: skipped: {layout.skipped}"
        for result in report.queries
        for layout in result.layouts
        if layout.skipped
    ]


def table(report: JoinsReport) -> Table:
    """Return a report as a table for people."""
    found = Table(title="What the queries cost, in milliseconds")
    for name in ("query", "layout"):
        found.add_column(name)
    for name in ("rows", "as source", "p50", "p95", "p99", "runs"):
        found.add_column(name, justify="right")
    found.add_column("regions touched")
    found.add_column("without index")
    for result in report.queries:
        for number, layout in enumerate(result.layouts):
            name = result.query.name if number == 0 else ""
            found.add_row(name, layout.layout, *_cells(layout, result.query.lookup))
        found.add_section()
    return found


def _cells(result: LayoutResult, lookup: bool) -> list[str]:
    if result.skipped or result.error:
        return ["", "skipped" if result.skipped else "FAILS"]
    difference, times = result.difference, result.times
    equal = "" if difference is None else "equal" if difference.equal else "DIFFERS"
    return [
        f"{result.rows:,}",
        equal,
        *(_milliseconds(value) for value in (times.p50, times.p95, times.p99)),
        str(times.count),
        _regions(result, lookup),
        " ".join(_without_index(result)) or "-" if lookup else "",
    ]


def _regions(result: LayoutResult, lookup: bool) -> str:
    if lookup and len(result.regions) == 1:
        return "one each time"
    return " ".join(result.regions) or "-"


def _without_index(result: LayoutResult) -> list[str]:
    return sorted(scan.relation for scan in result.scans.values() if scan.rows > FEW_ROWS)


def _milliseconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.2f}"
