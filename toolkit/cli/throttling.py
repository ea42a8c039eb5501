"""The options that spare a live source, and what stands behind them while a command runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolkit.cli import backends
from toolkit.cli.project import Project
from toolkit.config import Configuration
from toolkit.migrate.progress import Watcher
from toolkit.migrate.throttle import Limits, Reading, Throttle
from toolkit.postgres import pulse
from toolkit.postgres.load import Load

MaxRateOption = Annotated[
    float | None,
    typer.Option(
        "--max-rate", min=0.001, metavar="ROWS/S", help="Rows per second, all workers together."
    ),
]
MaxLoadOption = Annotated[
    int | None,
    typer.Option(
        "--max-load",
        min=0,
        metavar="SESSIONS",
        help="Wait while more sessions than this are active on the source.",
    ),
]
MaxLagOption = Annotated[
    float | None,
    typer.Option(
        "--max-lag",
        min=0.001,
        metavar="SECONDS",
        help="Wait while a replica of the source is further behind.",
    ),
]
PauseFileOption = Annotated[
    Path | None,
    typer.Option("--pause-file", metavar="FILE", help="Wait while this file exists."),
]


@dataclass(frozen=True)
class Considerate:
    """What the options say; ``None`` leaves it to ``[migrate]``."""

    rate: float | None = None
    load: int | None = None
    lag: float | None = None
    pause_file: Path | None = None

    def limits(self, project: Configuration) -> Limits:
        """Return what holds: an option goes before its key."""
        section = project.file.migrate
        file = None if section.pause_file is None else project.folder / section.pause_file
        return Limits(
            rate=section.max_rate if self.rate is None else self.rate,
            load=section.max_load if self.load is None else self.load,
            lag=section.max_lag if self.lag is None else self.lag,
            pause_file=file if self.pause_file is None else self.pause_file,
        )


@contextmanager
def considerate(
    project: Project, name: backends.Name, options: Considerate, watcher: Watcher
) -> Iterator[Throttle]:
    """Yield the throttle of a run, and stop the run when a PostgreSQL falls silent.

    Raises:
        Interrupted: a server did not answer within ``[migrate] answer_timeout``.
    """
    configuration = project.configuration
    section = configuration.file.migrate
    limits = options.limits(configuration)
    servers = {project.url("source"): "source"}
    if name == "postgres":
        servers.setdefault(project.url("postgres"), "target")
    with (
        closing(Load(project.url("source"), "source", watcher.warned)) as load,
        pulse.watching(servers, section.answer_timeout),
    ):
        yield Throttle(limits, _sense(limits, load), notice=watcher.throttled)


def _sense(limits: Limits, load: Load) -> Callable[[], Reading]:
    def look() -> Reading:
        return Reading(
            sessions=None if limits.load is None else load.sessions(),
            lag=None if limits.lag is None else load.lag(),
            paused=limits.pause_file is not None and limits.pause_file.exists(),
        )

    return look
