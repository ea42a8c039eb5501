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
from toolkit.cli.watch import watching
from toolkit.migrate import engine
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
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Copy every row of the source into the layouts, once.

    Rows are copied in chunks; a chunk and its checkpoint are committed together, so that running
    the command again after any stop goes on with what is missing and copies nothing twice. Rows
    without a region are refused, with their keys, before anything is written. Exits 9 then, with
    and without `--dry-run`.
    """
    project = open_project(config)
    results: list[dict[str, Any]] = []
    for name in backend.names:
        if dry_run:
            results.append(_forecast(project, name, output))
        else:
            results.append(_migrate(project, name, resume, quiet, output))
    if output is Output.json:
        print_json({"dry_run": dry_run, "results": results})
    elif dry_run:
        stderr().print("nothing was written; next: regionkit migrate")
    else:
        stderr().print("next: regionkit verify")


def _forecast(project: Project, name: backends.Name, output: Output) -> dict[str, Any]:
    target = backends.target(project, name)
    plan = engine.dry_run(project.source(), target, project.layout, project.configuration)
    if output is Output.text:
        table = Table(title=f"{name}: {len(plan.chunks)} chunks would be copied")
        table.add_column("table")
        table.add_column("rows", justify="right")
        for key, rows in plan.rows.items():
            table.add_row(key, f"{rows:,}")
        stdout().print(table)
    if not plan.acceptable:
        personal.write_refusals(project, plan.refusals, plan.values)
    plan.require_acceptable(target.place)
    return {"backend": name, "rows": plan.rows, "chunks": len(plan.chunks)}


def _migrate(
    project: Project, name: backends.Name, resume: bool, quiet: bool, output: Output
) -> dict[str, Any]:
    target = backends.target(project, name)
    with watching(name, quiet=quiet) as watcher:
        outcome = engine.migrate(
            project.source(),
            target,
            project.layout,
            project.configuration,
            Progress(watcher),
            resume_only=resume,
            refused=lambda plan: personal.write_refusals(project, plan.refusals, plan.values),
        )
    if output is Output.text:
        stdout().print(counts_table(project, name, outcome))
    return {
        "backend": name,
        "resumed": outcome.resumed,
        "copied": outcome.copied,
        "already": outcome.already,
        "counts": outcome.counts,
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
