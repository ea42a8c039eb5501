"""The ``regionkit`` command: puts the commands together and turns errors into exit codes."""

from __future__ import annotations

import signal
import sys

import typer

from toolkit import __version__
from toolkit.cli import backends, check, client, lab
from toolkit.cli.apply import apply
from toolkit.cli.cutover import cutover
from toolkit.cli.demo import demo
from toolkit.cli.generate import generate
from toolkit.cli.init import init
from toolkit.cli.migrate import migrate
from toolkit.cli.output import print_error
from toolkit.cli.status import status
from toolkit.cli.verify import verify
from toolkit.errors import RegionkitError, StoppedByUser

app = typer.Typer(
    name="regionkit",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Decide where a client's data lives, and move it there without losing a row.",
)
app.command()(demo)
app.add_typer(lab.app, name="lab")
app.command()(init)
app.command()(generate)
app.command()(apply)
app.command()(migrate)
app.command()(verify)
app.command()(cutover)
app.command()(status)
app.add_typer(client.app, name="client")
app.add_typer(check.app, name="check")


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Decide where a client's data lives, and move it there without losing a row.

    The journey: init, generate, apply --dry-run, apply, migrate --dry-run, migrate, verify,
    cutover.
    See all of it at once, on servers of its own, with: regionkit demo
    """
    if version:
        typer.echo(__version__)
        raise typer.Exit(0)


def main() -> None:
    """Run the command line; the only place where an error becomes an exit code."""
    # A request to terminate is a request to stop cleanly, as Ctrl-C is.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run()
    except KeyboardInterrupt:
        # A second Ctrl-C, while the first was being dealt with; a third changes nothing.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print_error(StoppedByUser("stopped", hint="run the same command again"))
        sys.exit(StoppedByUser.exit_code)


def _run() -> None:
    try:
        with backends.translated():
            app()
    except RegionkitError as error:
        print_error(error)
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == StoppedByUser.exit_code:
            print_error(StoppedByUser("stopped", hint="run the same command again"))
        raise
