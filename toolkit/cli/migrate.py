"""``regionkit migrate``: moves the data."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from toolkit.cli import backends, personal
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import (
    Backend,
    BackendOption,
    ConfigOption,
    Project,
    QuietOption,
    open_project,
)
from toolkit.cli.throttling import (
    Considerate,
    MaxLagOption,
    MaxLoadOption,
    MaxRateOption,
    PauseFileOption,
    considerate,
)
from toolkit.cli.watch import watching
from toolkit.migrate import engine
from toolkit.migrate.forecast import Forecast
from toolkit.migrate.progress import Progress


def migrate(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be copied or refused, and touch nothing."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a migration; fail if there is none.")
    ] = False,
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine",
            help="Leave clients that cannot be moved in the source, with all their rows.",
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Take out rows that somebody else has written into a layout, and copy what is "
            "missing.",
        ),
    ] = False,
    max_rate: MaxRateOption = None,
    max_load: MaxLoadOption = None,
    max_lag: MaxLagOption = None,
    pause_file: PauseFileOption = None,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Copy every row of the source into the layouts, once.

    Rows are copied in chunks; a chunk and its checkpoint are committed together, so that running
    the command again after any stop goes on with what is missing and copies nothing twice. What
    earlier runs copied is compared with the source first: chunks that differ are copied again.

    Rows that cannot be placed are refused, with their keys, before anything is written: exit 9,
    with and without `--dry-run`. With `--quarantine` their clients stay in the source, and a later
    run takes them once they are mended.

    Before it reports success the source is read again: if it has changed meanwhile, exit 5 names
    the tables, and the next run brings the changes in.
    """
    project = open_project(config)
    project.require_before_cutover("regionkit migrate")
    options = Considerate(max_rate, max_load, max_lag, pause_file)
    results: list[dict[str, Any]] = []
    for name in backend.names:
        if dry_run:
            results.append(_forecast(project, name, options, quarantine, quiet, output))
        else:
            results.append(
                _migrate(project, name, options, resume, quarantine, repair, quiet, output)
            )
    if output is Output.json:
        print_json({"dry_run": dry_run, "results": results})
    elif dry_run:
        stderr().print("nothing was written; next: regionkit migrate")
    else:
        stderr().print("next: regionkit verify")


def _forecast(
    project: Project,
    name: backends.Name,
    options: Considerate,
    quarantine: bool,
    quiet: bool,
    output: Output,
) -> dict[str, Any]:
    target = backends.target(project, name)
    with watching(name, quiet=quiet, output=output) as watcher:
        watcher.phase("checking")
        plan = engine.dry_run(
            project.source(),
            target,
            project.layout,
            project.configuration,
            quarantine=quarantine,
            limits=options.limits(project.configuration),
            progress=watcher.detail,
        )
    if output is Output.text:
        stdout().print(forecast_table(project, name, plan))
        stdout().print(
            f"about {plan.seconds:,.0f} s with {project.configuration.file.migrate.workers} "
            f"worker(s), and {plan.disk / (1 << 20):,.0f} MiB of disk with indexes, without the log"
        )
    if plan.refusals:
        personal.write_refusals(project, plan.refusals)
    plan.require_acceptable(target.place)
    if plan.left:
        personal.write_quarantine(project, name, plan.left)
    return {
        "backend": name,
        "rows": plan.rows,
        "tables": {
            key: {"rows": census.rows, "bytes": census.bytes} for key, census in plan.tables.items()
        },
        "chunks": len(plan.chunks),
        "workers": project.configuration.file.migrate.workers,
        "estimate": {"seconds": round(plan.seconds, 1), "disk_bytes": plan.disk},
        "quarantine": {"clients": len(plan.left), "rows": plan.left_rows},
    }


def forecast_table(project: Project, name: str, plan: Forecast) -> Table:
    """Return what would be copied, per table and region, as a table for people."""
    codes = project.configuration.topology.codes
    workers = project.configuration.file.migrate.workers
    table = Table(title=f"{name}: {len(plan.chunks)} chunks would be copied by {workers} worker(s)")
    table.add_column("table")
    for code in codes:
        table.add_column(code, justify="right")
    table.add_column("global", justify="right")
    table.add_column("rows", justify="right")
    table.add_column("MiB", justify="right")
    for key, census in plan.tables.items():
        regional = project.layout.placement[key].regional
        cells = [f"{census.rows.get(code, 0):,}" if regional else "" for code in codes]
        shared = "" if regional else f"{sum(census.rows.values()):,}"
        size = sum(census.bytes.values()) / (1 << 20)
        table.add_row(key, *cells, shared, f"{sum(census.rows.values()):,}", f"{size:,.1f}")
    return table


def _migrate(
    project: Project,
    name: backends.Name,
    options: Considerate,
    resume: bool,
    quarantine: bool,
    repair: bool,
    quiet: bool,
    output: Output,
) -> dict[str, Any]:
    target = backends.target(project, name)
    with (
        watching(name, quiet=quiet, output=output) as watcher,
        considerate(project, name, options, watcher) as throttle,
    ):
        outcome = engine.migrate(
            project.source(),
            target,
            project.layout,
            project.configuration,
            Progress(watcher),
            resume_only=resume,
            quarantine=quarantine,
            repair=repair,
            refused=lambda plan: personal.write_refusals(project, plan.refusals),
            throttle=throttle,
        )
    if output is Output.text:
        stdout().print(counts_table(project, name, outcome))
    if outcome.left:
        personal.write_quarantine(project, name, outcome.left)
    return {
        "backend": name,
        "resumed": outcome.resumed,
        "copied": outcome.copied,
        "already": outcome.already,
        "copied_again": [{"table": chunk.table, "number": chunk.number} for chunk in outcome.again],
        "counts": outcome.counts,
        "quarantine": len(outcome.left),
        "equal_to_source": None
        if outcome.moment is None
        else {"lsn": outcome.moment.lsn, "time": outcome.moment.time.isoformat()},
        "seconds": outcome.seconds,
    }


def counts_table(project: Project, name: str, outcome: engine.Outcome) -> Table:
    """Return rows per table and region as a table for people."""
    codes = project.configuration.topology.codes
    copied = sum(outcome.copied.values())
    took = sum(outcome.seconds.values())
    table = Table(title=f"{name}: {copied:,} rows copied in {took:.1f} s")
    table.add_column("table")
    for code in codes:
        table.add_column(code, justify="right")
    table.add_column("global", justify="right")
    table.add_column("rows", justify="right")
    for key, counts in outcome.counts.items():
        cells = [f"{counts[code]:,}" if code in counts else "" for code in codes]
        shared = f"{counts['']:,}" if "" in counts else ""
        table.add_row(key, *cells, shared, f"{sum(counts.values()):,}")
    return table
