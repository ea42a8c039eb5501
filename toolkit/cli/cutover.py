"""``regionkit cutover``: freezes the source, proves equality, and switches to a layout."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.table import Table

from toolkit.cli import backends, personal, verify
from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.cli.project import (
    Backend,
    BackendOption,
    ConfigOption,
    NoInputOption,
    Project,
    QuietOption,
    YesOption,
    confirm,
    open_project,
)
from toolkit.cli.watch import watching
from toolkit.errors import UsageError
from toolkit.migrate.cutover import STEPS, Cutover, Options, Outcome, Plan
from toolkit.postgres.cutover import State
from toolkit.postgres.freeze import LockBudget


class Switch(StrEnum):
    """What the switch does."""

    rename = "rename"
    none = "none"


def cutover(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Show the steps and what they would surprise; touch nothing."
        ),
    ] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the source, until the first write.")
    ] = False,
    switch: Annotated[
        Switch | None,
        typer.Option(
            "--switch",
            help="Rename the schemas, or freeze the source only. Default: rename where the layout "
            "is in the source's database.",
            show_default=False,
        ),
    ] = None,
    keep_as: Annotated[
        str | None,
        typer.Option(
            "--keep-as",
            help="The name that the source's schema gets. Default: <schema>_single.",
            show_default=False,
        ),
    ] = None,
    lock_timeout: Annotated[
        float,
        typer.Option("--lock-timeout", min=0.1, help="Seconds that one try waits for writers."),
    ] = 3.0,
    budget: Annotated[
        float, typer.Option("--budget", min=0.1, help="Seconds that all tries take together.")
    ] = 30.0,
    terminate: Annotated[
        bool, typer.Option("--terminate", help="End the sessions that are in the way.")
    ] = False,
    with_quarantine: Annotated[
        bool,
        typer.Option(
            "--with-quarantine", help="Cut over although clients in quarantine stay behind."
        ),
    ] = False,
    yes: YesOption = False,
    no_input: NoInputOption = False,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Freeze the source, copy the last changes, compare every cell, and switch to the layout.

    Until the switch is committed, whatever fails is undone: the source is as it was before. After
    it, `--rollback` goes back as long as nobody has written to the layout. Running the command
    again after a crash goes on where it stopped. How long writes were refused is printed.
    """
    project = open_project(config)
    options = Options(
        None if switch is None else switch is Switch.rename,
        keep_as,
        LockBudget(lock_timeout, budget, terminate),
        with_quarantine,
    )
    name = _backend(project, backend, rollback)
    with watching(name, quiet=quiet) as watcher:

        def report(text: str) -> None:
            if not quiet:
                stderr().print(f"cutover: {text}", markup=False)

        work = Cutover(
            project.source(),
            backends.target(project, name),
            project.layout,
            project.configuration,
            require_equal=lambda verdict: verify.require_equal(project, [verdict]),
            refused=lambda forecast: personal.write_refusals(project, forecast.refusals),
            report=report,
            watcher=watcher,
            options=options,
        )
        if not rollback:
            plan = work.plan()
            if output is Output.text:
                if dry_run:
                    _print_steps()
                _print_plan(plan)
            if dry_run:
                if output is Output.json:
                    print_json({"dry_run": True, "backend": name, **_plan_document(plan)})
                stderr().print("nothing was written; next: regionkit cutover")
                return
            confirm(
                f"freeze {project.configuration.source_schema!r} and switch to the layout?",
                yes=yes,
                no_input=no_input,
            )
        outcome = work.roll_back() if rollback else work.run()
    if output is Output.json:
        print_json({"dry_run": False, "backend": name, **_document(outcome)})
    else:
        _print(outcome)
    stderr().print(_next(project, outcome), markup=False)


def _backend(project: Project, backend: Backend, rollback: bool) -> backends.Name:
    """Return the one backend that is meant; a rollback goes back from where the source went."""
    last = project.cutover
    if rollback and last is not None:
        return _name(last.backend)
    if len(backend.names) == 1 or rollback:
        return backend.names[0]
    raise UsageError(
        "a cutover leads to one layout",
        hint="pass --backend postgres or --backend mongo",
    )


def _name(backend: str) -> backends.Name:
    return "mongo" if backend == "mongo" else "postgres"


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "steps": [{"name": name, "does": does} for name, does in STEPS],
        "keep_as": plan.keep_as,
        "unfinished": plan.unfinished is not None,
        "quarantine": plan.left,
        "dependents": [
            {"kind": one.kind, "name": one.name, "effect": one.effect} for one in plan.dependents
        ],
    }


def _print_steps() -> None:
    table = Table(title="The steps of the cutover")
    table.add_column("step")
    table.add_column("")
    for name, does in STEPS:
        table.add_row(name, does)
    stdout().print(table)


def _print_plan(plan: Plan) -> None:
    if plan.unfinished is not None:
        stdout().print("the source is frozen already: a cutover stopped half-way, and goes on")
    if plan.left:
        stdout().print(f"{plan.left} client(s) in quarantine stay behind, with all their rows")
    if not plan.dependents:
        stdout().print("nothing that the database knows of would be surprised by the switch")
        return
    stdout().print(f"{len(plan.dependents)} object(s) that the switch would surprise:")
    for one in plan.dependents:
        stdout().print(f"  {one}", markup=False)


def _document(outcome: Outcome) -> dict[str, Any]:
    steps = [{"name": name, "seconds": seconds} for name, seconds in outcome.steps]
    return {**outcome.entry.document(), "steps": steps}


def _print(outcome: Outcome) -> None:
    entry = outcome.entry
    table = Table(title=f"cutover: {entry.state}")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name, seconds in outcome.steps:
        table.add_row(name, "not finished" if seconds is None else f"{seconds:.3f}")
    stdout().print(table)
    if entry.refused_seconds is not None:
        stdout().print(f"writes were refused for {entry.refused_seconds:.3f} s")


def _next(project: Project, outcome: Outcome) -> str:
    entry = outcome.entry
    if entry.state is not State.switched:
        return f"the source is {entry.source!r}, as it was before"
    if entry.keep_as is not None:
        return (
            f"schema {entry.source!r} is the layout now; the source is {entry.keep_as!r}, frozen; "
            "'regionkit cutover --rollback' goes back, until the first write"
        )
    variable = project.configuration.url_variable(_name(entry.backend))
    return (
        f"{entry.source!r} stays frozen; the application has to connect to {entry.place} now (the "
        f"server of {variable}); 'regionkit cutover --rollback' goes back, until the first write"
    )
