"""``regionkit status``: where everything stands, from any terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from toolkit.cli import backends
from toolkit.cli.output import Output, OutputOption, print_json, stdout
from toolkit.cli.project import Backend, BackendOption, ConfigOption, Project, open_project
from toolkit.errors import ConnectionFailed
from toolkit.journal import State


def status(
    config: ConfigOption = None,
    backend: BackendOption = Backend.all,
    output: OutputOption = Output.text,
) -> None:
    """Say of each layout which migrations are pending and how far its data have come.

    It reads the journals in the targets, so it works while another terminal migrates, and after a
    crash. A server that does not answer is said to; the exit code is 0.
    """
    project = open_project(config)
    found = [_of(project, name) for name in backend.names]
    if output is Output.json:
        print_json({"backends": found})
        return
    table = Table()
    for column in ("backend", "migrations", "data", "rows", "chunks", "next"):
        table.add_column(column, overflow="fold")
    for entry in found:
        table.add_row(*_row(entry))
    stdout().print(table)


def _of(project: Project, name: backends.Name) -> dict[str, Any]:
    entry: dict[str, Any] = {"backend": name}
    try:
        with backends.history(project, name) as history:
            entry["pending"] = [plan.revision for plan in history.plan()]
        if entry["pending"]:
            return entry
        target = backends.target(project, name)
        run = target.run()
        if run is not None:
            chunks = target.chunks()
            entry["state"] = run.state.value
            entry["epoch"] = run.epoch
            entry["chunks"] = len(chunks)
            entry["chunks_copied"] = sum(rows is not None for _, rows in chunks)
            entry["rows_copied"] = sum(rows or 0 for _, rows in chunks)
    except ConnectionFailed as error:
        entry["unreachable"] = error.message
    return entry


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    name = str(entry["backend"])
    if "unreachable" in entry:
        return name, str(entry["unreachable"]), "", "", "", "regionkit lab up"
    if entry["pending"]:
        pending = f"{len(entry['pending'])} pending"
        return name, pending, "", "", "", "regionkit apply --dry-run"
    if "state" not in entry:
        return name, "applied", "not begun", "", "", "regionkit migrate --dry-run"
    finished = entry["state"] == State.finished
    return (
        name,
        "applied",
        str(entry["state"]),
        f"{entry['rows_copied']:,}",
        f"{entry['chunks_copied']} of {entry['chunks']}",
        "regionkit verify" if finished else "regionkit migrate --resume",
    )
