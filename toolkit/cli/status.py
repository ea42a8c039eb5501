"""``regionkit status``: where everything stands, from any terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table

from toolkit.cli import backends
from toolkit.cli.output import Output, OutputOption, print_json, stdout
from toolkit.cli.project import Backend, BackendOption, ConfigOption, Project, open_project
from toolkit.errors import ConnectionFailed
from toolkit.journal import RunRecord
from toolkit.migrate.progress import duration
from toolkit.migrate.standing import Standing, next_command, outcome_text, standing
from toolkit.postgres.cutover import Entry, State

#: Starts of a migration that are shown without ``--history``.
_LAST_RUNS = 3


def status(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    history: Annotated[
        bool, typer.Option("--history", help="List every start of a migration that is kept.")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Say of each layout which migrations are pending, how far its data are, and who is at work.

    It reads the journals in the targets, so it works while another terminal migrates, and after a
    crash. Below stand the last starts of `regionkit migrate`, all of them with `--history`. A
    server that does not answer is said to; the exit code is 0.
    """
    project = open_project(config)
    found = [_of(project, name) for name in backend.names]
    cutover = project.cutover
    if output is Output.json:
        print_json(
            {
                "backends": [_document(entry) for entry in found],
                "cutover": None if cutover is None else cutover.document(),
            }
        )
        return
    table = Table()
    for column in ("backend", "migrations", "data", "rows", "chunks", "at work", "next"):
        table.add_column(column, overflow="fold")
    for entry in found:
        table.add_row(*_row(entry))
    stdout().print(table)
    shown = [(entry, run) for entry in found for run in _runs(entry, history)]
    if shown:
        stdout().print(_history(shown))
    if cutover is not None:
        stdout().print(_cutover(cutover), markup=False)


def _cutover(entry: Entry) -> str:
    """Return what a cutover has made of the source, in one line."""
    by = f"by {entry.started_by}, {entry.started_at:%Y-%m-%d %H:%M:%S} UTC"
    if entry.state is State.switched:
        where = f", schema {entry.source!r} now" if entry.keep_as is not None else ""
        return (
            f"cutover: switched to {entry.place}{where}; the source is {entry.names.source!r}, "
            f"frozen ({by})"
        )
    if entry.state is State.frozen:
        return (
            f"cutover: {entry.source!r} is frozen and not switched ({by}); next: regionkit cutover "
            "to go on, or regionkit cutover --rollback"
        )
    if entry.state is State.thawed:
        return (
            f"cutover: {entry.source!r} is written to again, but disabled triggers are left "
            f"({by}); next: regionkit cutover --rollback"
        )
    return f"cutover: {entry.state} ({by})"


def _of(project: Project, name: backends.Name) -> dict[str, Any]:
    entry: dict[str, Any] = {"backend": name}
    try:
        with backends.history(project, name) as history:
            entry["pending"] = [plan.revision for plan in history.plan()]
        entry["standing"] = standing(backends.target(project, name))
    except ConnectionFailed as error:
        entry["unreachable"] = error.message
    return entry


def _document(entry: dict[str, Any]) -> dict[str, Any]:
    found: Standing | None = entry.get("standing")
    document = {key: value for key, value in entry.items() if key != "standing"}
    if found is None:
        return document
    if found.state is not None:
        document |= {
            "state": found.state.value,
            "epoch": found.epoch,
            "chunks": found.chunks,
            "chunks_copied": found.chunks_copied,
            "rows_copied": found.rows_copied,
            "rows_expected": found.rows_expected,
            "percent": found.percent,
        }
    return document | {
        "at_work": None if found.holder is None else asdict(found.holder),
        "throttled_by": found.throttled_by,
        "rows_per_second": found.rate,
        "seconds_left": found.seconds_left,
        "next": next_command(entry.get("pending", []), found),
        "runs": [
            {**asdict(run), "seconds": run.seconds, "text": outcome_text(run, found)}
            for run in found.runs
        ],
    }


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    name = str(entry["backend"])
    if "unreachable" in entry:
        return name, str(entry["unreachable"]), "", "", "", "", "regionkit lab up"
    found: Standing = entry["standing"]
    pending = entry["pending"]
    migrations = f"{len(pending)} pending" if pending else "applied"
    next_ = next_command(pending, found)
    work = ""
    if found.holder is not None:
        work = f"{found.holder.who}, since {found.holder.since:%Y-%m-%d %H:%M:%S %Z}"
        if found.throttled_by is not None:
            work += f"; throttled: {found.throttled_by}"
    if found.state is None:
        return name, migrations, "" if pending else "not begun", "", "", work, next_
    rows = f"{found.rows_copied:,}"
    if found.rows_expected is not None:
        rows += f" of {found.rows_expected:,} ({found.percent:.0f} %)"
    if found.rate is not None:
        rows += f", {found.rate:,.0f} rows/s"
    if found.seconds_left is not None:
        rows += f", {duration(found.seconds_left)} left"
    return (
        name,
        migrations,
        found.state.value,
        rows,
        f"{found.chunks_copied} of {found.chunks}",
        work,
        next_,
    )


def _runs(entry: dict[str, Any], everything: bool) -> list[RunRecord]:
    found: Standing | None = entry.get("standing")
    if found is None:
        return []
    return list(found.runs) if everything else list(found.runs[:_LAST_RUNS])


def _history(shown: list[tuple[dict[str, Any], RunRecord]]) -> Table:
    table = Table(title="starts of regionkit migrate, the newest first")
    for column in ("backend", "who", "began", "took", "ended", "rows", "version", "configuration"):
        table.add_column(column, overflow="fold", justify="right" if column == "rows" else "left")
    for entry, run in shown:
        table.add_row(
            str(entry["backend"]),
            f"{run.who}, process {run.pid}",
            f"{run.started:%Y-%m-%d %H:%M:%S}" if run.started else "",
            "" if run.seconds is None else duration(run.seconds),
            outcome_text(run, entry["standing"]),
            "" if run.rows is None else f"{run.rows:,}",
            run.version,
            run.fingerprint[:12],
        )
    return table
