"""The ``regionkit`` command: puts the commands together and turns errors into exit codes."""

from __future__ import annotations

import sys

import typer

from toolkit import __version__
from toolkit.cli import lab
from toolkit.cli.output import print_error
from toolkit.errors import RegionkitError, StoppedByUser

app = typer.Typer(
    name="regionkit",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Decide where a client's data lives, and move it there without losing a row.",
)
app.add_typer(lab.app, name="lab")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Decide where a client's data lives, and move it there without losing a row."""
    if version:
        typer.echo(__version__)
        raise typer.Exit(0)


def main() -> None:
    """Run the command line; the only place where an error becomes an exit code."""
    try:
        app(standalone_mode=True)
    except RegionkitError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print_error(StoppedByUser("interrupted", hint="run the same command again to go on"))
        sys.exit(StoppedByUser.exit_code)
