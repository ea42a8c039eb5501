"""``regionkit client``: where a client lives, and how it moves."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.table import Table

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
from toolkit.cli.stopping import finishing
from toolkit.cli.watch import watching
from toolkit.clients import Reference, Whereabouts, parse_key
from toolkit.errors import Refused, StoppedByUser, UsageError, sampled
from toolkit.journal import Key
from toolkit.migrate import moving
from toolkit.migrate.moving import Moves, Pace

app = typer.Typer(help="See where a client lives, and move it.", no_args_is_help=True)


@app.command()
def where(
    key: Annotated[
        list[str],
        typer.Argument(help="The client's key: a value for each column, or one line of CSV."),
    ],
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    output: OutputOption = Output.text,
) -> None:
    """Tell a client's region, its rows in each table, and what leads to and from other regions.

    A client that does not exist: exit 9.
    """
    project = open_project(config)
    columns = project.layout.root.primary_key
    asked = tuple(key) if len(key) == len(columns) else _one(key, columns)
    found = [(name, moving.where(backends.clients(project, name), asked)) for name in backend.names]
    if output is Output.json:
        print_json({"results": [{"backend": name, **_document(one)} for name, one in found]})
        return
    for name, one in found:
        stdout().print(_table(name, one))
        for line in _lines(one):
            stdout().print(line, markup=False)


@app.command()
def move(
    to: Annotated[str, typer.Option("--to", help="The region to move to.", show_default=False)],
    key: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of clients; a key of several columns is one line of CSV, or JSON.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            help="A file with one key on each line (of several columns: CSV); '-' is stdin.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be moved, and write nothing.")
    ] = False,
    rate: Annotated[
        str | None,
        typer.Option("--rate", help="At most so many clients per second: 5 or 5/s."),
    ] = None,
    wait: Annotated[
        float,
        typer.Option("--wait", min=0, help="Seconds to wait for another command that moves."),
    ] = 3.0,
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    quiet: QuietOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Move clients to a region, each with all of its rows, and prove each of them.

    All keys are checked before the first move: one that does not exist, exit 9, and nothing was
    moved. One that is there already is counted and left alone, so the same command goes on after
    any stop; only where nobody is left to be moved by keys on the command line is it refused.

    Ctrl-C finishes the client that is under way and exits 130. To move back, name the old region.
    """
    project = open_project(config)
    keys = _keys(project, key or [], file)
    each = _rate(rate)
    left = [moving.check(backends.clients(project, name), keys, to) for name in backend.names]
    if not any(left) and file is None:
        raise Refused(
            f"every client that was named lives in {to!r} already",
            hint="'regionkit client where KEY' tells what it has there",
        )
    results: list[tuple[backends.Name, Moves]] = []
    with finishing() as stop:
        for name in backend.names:
            with watching(name, quiet=quiet, output=output) as watcher:
                said = "would move" if dry_run else "moving"
                watcher.phase(f"{said} clients to {to}")
                pace = Pace(
                    each,
                    wait,
                    lambda done, total, watcher=watcher: watcher.detail(  # type: ignore[misc]
                        f"{done:,} of {total:,} clients"
                    ),
                    stop,
                )
                clients = backends.clients(project, name)
                results.append((name, moving.move(clients, keys, to, dry_run=dry_run, pace=pace)))
            if stop():
                break
    _report(results, to, dry_run, output)
    if any(moves.stopped for _, moves in results) or len(results) < len(backend.names):
        raise StoppedByUser(
            "stopped between two clients; each was moved wholly or not at all",
            hint="run the same command again: who was moved is found there",
        )
    for _, moves in results:
        moving.require_moved(moves)
    if not dry_run and project.cutover is None and output is Output.text:
        stderr().print(
            "until a cutover the source decides: 'regionkit verify' names clients that it has in "
            "another region"
        )


# Reading keys ----------------------------------------------------------------------------------


def _one(given: list[str], columns: tuple[str, ...]) -> Key:
    if len(given) != 1:
        raise UsageError(
            f"a client's key has {len(columns)} column(s): {', '.join(columns)}",
            hint="give one value for each, or all of them as one line of CSV",
        )
    return parse_key(given[0], columns)


def _keys(project: Project, given: list[str], file: str | None) -> list[Key]:
    columns = project.layout.root.primary_key
    if given and file is not None:
        raise UsageError("keys and --file were given", hint="give one of the two")
    if file is None:
        return [parse_key(text, columns) for text in given]
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the list of keys cannot be read: {error.strerror}", hint="correct --file"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(
            "the list of keys is not UTF-8", hint="convert it, then run the same command again"
        ) from None
    keys, wrong = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            keys.append(parse_key(line, columns))
        except UsageError:
            wrong.append(f"line {number}")
    if wrong:
        raise UsageError(
            f"{len(wrong)} line(s) of the list are no keys of {len(columns)} columns: "
            f"{', '.join(columns)}",
            details=sampled(wrong),
            hint="write each as CSV, without a header",
        )
    return keys


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = float(text.removesuffix("/s"))
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise UsageError(f"--rate {text!r} is no rate", hint="write --rate 5 or --rate 5/s")
    return found


# Rendering -------------------------------------------------------------------------------------


def _document(found: Whereabouts) -> dict[str, Any]:
    return {
        "key": list(found.residence.key),
        "region": found.residence.region,
        "moving_to": found.residence.moving_to,
        "rows": dict(found.rows),
        "references_from": [asdict(one) for one in found.outgoing],
        "references_to": [asdict(one) for one in found.incoming],
    }


def _table(name: str, found: Whereabouts) -> Table:
    table = Table(title=f"{name}: lives in {found.residence.region}")
    table.add_column("table")
    table.add_column("rows", justify="right")
    for key, rows in found.rows.items():
        table.add_row(key, f"{rows:,}")
    return table


def _lines(found: Whereabouts) -> list[str]:
    lines = [
        *(f"{_reference(one)} in {one.region}" for one in found.outgoing),
        *(f"{_reference(one)} of it, from {one.region or 'global rows'}" for one in found.incoming),
    ]
    if found.residence.moving_to is not None:
        lines.append(
            f"a move to {found.residence.moving_to} has stopped half-way; next: regionkit client "
            f"move KEY --to {found.residence.moving_to}"
        )
    return lines


def _reference(one: Reference) -> str:
    return f"{one.rows:,} row(s) of {one.table} lead by {', '.join(one.columns)} to {one.target}"


def _report(
    results: list[tuple[backends.Name, Moves]], to: str, dry_run: bool, output: Output
) -> None:
    if output is Output.json:
        print_json(
            {
                "dry_run": dry_run,
                "to": to,
                "results": [{"backend": name, **_moves(moves)} for name, moves in results],
            }
        )
        return
    for name, moves in results:
        said = "would be moved" if dry_run else "moved, each proven"
        table = Table(title=f"{name}: {moves.clients:,} client(s) {said} to {to}")
        table.add_column("table")
        table.add_column("rows", justify="right")
        for key, rows in moves.rows.items():
            table.add_row(key, f"{rows:,}")
        stdout().print(table)
        if moves.references:
            stdout().print(f"{moves.references:,} row(s) that refer to them name the new region")
        if moves.already:
            stdout().print(f"{moves.already:,} client(s) were there already")
        if moves.retries:
            stdout().print(f"{moves.retries:,} time(s) another session was in the way")
    if dry_run:
        stderr().print("nothing was written")


def _moves(moves: Moves) -> dict[str, Any]:
    return {
        "asked": moves.asked,
        "moved": moves.clients,
        "already": moves.already,
        "left": moves.left,
        "from": dict(moves.origins),
        "rows": dict(moves.rows),
        "references": moves.references,
        "retries": moves.retries,
        "transactions": moves.transactions,
        "busy": len(moves.busy),
        "stopped": moves.stopped,
        "seconds": {"median": median(moves.seconds), "longest": max(moves.seconds)}
        if moves.seconds
        else None,
    }
