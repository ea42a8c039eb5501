"""``regionkit apply``: runs the migrations, or shows what they would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table

from toolkit.cli import backends
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import (
    Backend,
    BackendOption,
    ConfigOption,
    NoInputOption,
    YesOption,
    confirm,
    open_project,
)
from toolkit.plan import Plan


def apply(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show each step, and touch nothing.")
    ] = False,
    revert: Annotated[
        bool, typer.Option("--revert", help="Take every migration back, and the data with it.")
    ] = False,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Bring the targets to the newest migration.

    PostgreSQL runs each revision in one transaction. What is applied already is not run again.
    `--dry-run` reads the targets and lists every step with the lock that it takes.
    """
    project = open_project(config)
    project.require_before_cutover("regionkit apply")
    if revert and not dry_run:
        confirm(
            f"drop the layout(s) {', '.join(backend.names)} with all their rows?",
            yes=yes,
            no_input=no_input,
        )
    results: list[dict[str, Any]] = []
    for name in backend.names:
        with backends.history(project, name) as history:
            if dry_run:
                plans = history.plan_revert() if revert else history.plan()
                results.append({"backend": name, "plans": [plan.document() for plan in plans]})
                if output is Output.text:
                    _print_plans(name, plans)
                continue
            if revert:
                ran = history.revert()
                if ran:
                    backends.target(project, name).forget()
            else:
                ran = history.upgrade()
            left = list(history.left_behind)
        results.append({"backend": name, "ran": ran, "left_behind": left})
        if output is Output.text:
            word = "took back" if revert else "applied"
            what = f"{word} {', '.join(ran)}" if ran else "nothing to do"
            stdout().print(f"{name}: {what}", markup=False)
            for line in left:
                stdout().print(f"{name}: left behind: {line}", markup=False)
    if output is Output.json:
        print_json({"dry_run": dry_run, "revert": revert, "results": results})
    elif dry_run:
        stderr().print("nothing was written; next: regionkit apply")
    elif not revert:
        stderr().print("next: regionkit migrate --dry-run")


def _print_plans(name: str, plans: Sequence[Plan]) -> None:
    if not plans:
        stdout().print(f"{name}: nothing to do")
    for plan in plans:
        table = Table(title=f"{name}, revision {plan.revision}: {_extent(plan)}")
        for column in ("step", "what", "", "lock"):
            table.add_column(column, overflow="fold")
        for step in plan.steps:
            table.add_row(step.action, step.target, step.detail, step.lock)
        stdout().print(table)


def _extent(plan: Plan) -> str:
    steps = f"{len(plan.steps)} steps"
    return steps if plan.locks is None else f"{steps}, at most {plan.locks} locks at once"
