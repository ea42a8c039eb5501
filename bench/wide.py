"""Measure the way of a schema with hundreds of tables, on servers with their default settings.

::

    make bench-wide
    make bench-wide TABLES=120 REFERENCES=240 BACKEND=postgres

Prints the seconds of every command, and the most locks that one transaction held at any time, as
``pg_locks`` shows them. The exit code tells whether every command succeeded.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from bench.processes import BenchError, finish, kill_all, start
from bench.wide_schema import COUNTRIES, ROOT, Wide
from toolkit.lab import Server, temporary_lab

#: As PostgreSQL itself has it; the lab's own differ.
_DEFAULTS = {"max_prepared_transactions": "0"}

_ROOT = Path(__file__).resolve().parents[1]

_COMMANDS = ("generate", "apply", "migrate", "verify")

_LOCKS = "SELECT count(*) FROM pg_locks WHERE NOT fastpath GROUP BY pid"


@dataclass
class Watch:
    """What was seen of the locks while a command ran.

    Attributes:
        most: of one session.
        over: set when the command has ended.
    """

    most: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def look(self, url: str) -> None:
        """Look again and again, until it is over."""
        with psycopg.connect(url, autocommit=True) as connection:
            while not self.over.is_set():
                counts = [int(row[0]) for row in connection.execute(_LOCKS)]
                self.most = max([self.most, *counts])
                time.sleep(0.05)


@contextmanager
def _watched(url: str) -> Iterator[Watch]:
    watch = Watch()
    thread = threading.Thread(target=watch.look, args=(url,))
    thread.start()
    try:
        yield watch
    finally:
        watch.over.set()
        thread.join()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; exit 0 if every command succeeded, 1 otherwise, 130 when interrupted."""
    given = _arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(given)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: everything is stopped\n")
        sys.exit(130)


def _run(given: argparse.Namespace) -> None:
    wide = Wide(tables=given.tables, references=given.references, seed=given.seed)
    with (
        temporary_lab(fast=given.fast, server=Server(settings=_DEFAULTS)) as lab,
        tempfile.TemporaryDirectory(prefix="regionkit-bench-") as folder,
    ):
        urls = {name: lab.url(name) or "" for name in ("postgres", "mongo")}
        try:
            _measure(given, wide, urls, Path(folder))
        finally:
            kill_all()


def _measure(given: argparse.Namespace, wide: Wide, urls: dict[str, str], folder: Path) -> None:
    with psycopg.connect(urls["postgres"], autocommit=True) as connection:
        for statement in wide.statements(given.rows):
            connection.execute(statement.encode())
        settings = [
            f"{name} = {connection.execute(f'SHOW {name}').fetchone()[0]}"  # type: ignore[index]
            for name in ("max_locks_per_transaction", "max_connections", "shared_buffers")
        ]
        version = connection.info.parameter_status("server_version")
    sys.stdout.write(
        f"{given.tables} tables, {given.references} foreign keys, {given.rows} row(s) each, "
        f"4 regions, seed {given.seed}; PostgreSQL {version}: {', '.join(settings)}; "
        f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}, {platform.system()}\n"
    )
    (folder / "regionkit.toml").write_text(wide.toml("wide_regional"), encoding="utf-8")
    environment = {
        "REGIONKIT_CONFIG": str(folder / "regionkit.toml"),
        "REGIONKIT_SOURCE_URL": urls["postgres"],
        "REGIONKIT_POSTGRES_URL": urls["postgres"],
        "REGIONKIT_MONGO_URL": urls["mongo"],
    }
    _look(environment, folder)
    for backend in given.backend:
        for command in _COMMANDS:
            with _watched(urls["postgres"]) as watch:
                begun = time.monotonic()
                program = [sys.executable, "-m", "toolkit", command, "--backend", backend]
                finish(start(program, environment=environment, cwd=_ROOT))
                seconds = time.monotonic() - begun
            sys.stdout.write(
                f"{backend:9} {command:9} {seconds:7.1f} s   most locks {watch.most:6,}\n"
            )
            sys.stdout.flush()


def _look(environment: dict[str, str], folder: Path) -> None:
    """Measure how long it takes from a source to migrations, in a project that init writes.

    What it concludes from generated rows is a layout of its own: the other commands take ours.
    """
    countries = "".join(f"{country},{region}\n" for country, region in COUNTRIES.items())
    (folder / "countries.csv").write_text(f"country,region\n{countries}", encoding="utf-8")
    project = folder / "looked"
    environment = {**environment, "REGIONKIT_CONFIG": str(project / "regionkit.toml")}
    rule = ["--region-by", "country", "--map", str(folder / "countries.csv")]
    together = 0.0
    for command in (["init", "--root", ROOT, *rule, "--out", str(project)], ["generate"]):
        begun = time.monotonic()
        program = [sys.executable, "-m", "toolkit", *command]
        finish(start(program, environment=environment, cwd=_ROOT))
        together += time.monotonic() - begun
    sys.stdout.write(f"init and generate of both backends, together {together:.1f} s\n")
    sys.stdout.flush()


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.wide", description=__doc__)
    parser.add_argument("--tables", type=int, default=400)
    parser.add_argument("--references", type=int, default=800, help="foreign keys")
    parser.add_argument("--rows", type=int, default=8, help="of each table")
    parser.add_argument("--seed", type=int, default=1, help="of the schema")
    parser.add_argument(
        "--backend",
        type=lambda text: text.split(","),
        default=["postgres", "mongo"],
        help="postgres, mongo, or both, separated by a comma",
    )
    parser.add_argument("--fast", action="store_true", help="without fsync: to try it out only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
