"""What every command prints, and where: results to stdout, progress and messages to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from toolkit import __version__
from toolkit.errors import RegionkitError

#: The version of the JSON documents that ``--output json`` prints.
SCHEMA_VERSION = 1


#: Columns of what goes to a file or a pipe.
_WIDTH = 120


class Output(StrEnum):
    """How a command prints its result."""

    text = "text"
    json = "json"


OutputOption = Annotated[
    Output, typer.Option("--output", help="Print the result as text, or as one JSON document.")
]


def stdout() -> Console:
    """The console for results. Made anew, because tests replace ``sys.stdout``."""
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        # A file or a pipe has no width: one at which tables can be read.
        console.width = _WIDTH
    return console


def stderr() -> Console:
    """The console for progress and messages."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document with its ``schema_version`` on stdout."""
    body = {"schema_version": SCHEMA_VERSION, "regionkit": __version__, **document}
    sys.stdout.write(json.dumps(body, indent=2, default=str, ensure_ascii=False) + "\n")


def print_error(error: RegionkitError) -> None:
    """Print an error on stderr: what happened, each offender, and what to do next."""
    console = stderr()
    console.print(f"error: {error.message}", style="bold red", markup=False)
    for line in error.details:
        console.print(f"  {line}", markup=False)
    if error.hint:
        console.print(f"next: {error.hint}", markup=False)
