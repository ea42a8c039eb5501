"""``regionkit check``: what the layouts cost, and whether they keep what they promise."""

from __future__ import annotations

import typer

from toolkit.cli.check_application import application
from toolkit.cli.check_joins import joins
from toolkit.cli.check_latency import latency

app = typer.Typer(help="Measure the layouts, and see what would run on them.", no_args_is_help=True)
app.command()(application)
app.command()(joins)
app.command()(latency)
