"""The embedded PostgreSQL: made, started and made ready."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from toolkit.errors import Refused
from toolkit.lab.identity import Runner, choose_runner, give
from toolkit.lab.processes import (
    TICK,
    Launch,
    ProcessRecord,
    all_pids,
    command_line,
    is_running,
    kill_and_wait,
    run,
    working_folder,
)
from toolkit.lab.state import Paths, State
from toolkit.lab.waiting import START_TIMEOUT, Died, not_started, port_open

NAME = "postgres"
TITLE = "PostgreSQL"
USER = DATABASE = "regionkit"

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket file: its path may not be longer than 107 bytes.
    "unix_socket_directories": "",
    "max_connections": "100",
    "wal_level": "logical",
    "max_prepared_transactions": "20",
}
#: From here on PostgreSQL has locales of its own, which every system sorts alike.
_BUILTIN_LOCALES = 17
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Leftovers:
    """What still runs on a data folder beside the server that the lab knows.

    Attributes:
        owner: the pid of a live server that another started there, or None.
        orphans: children of a server that was killed.
    """

    owner: int | None
    orphans: tuple[int, ...]


def url(password: str, port: int) -> str:
    """Return the URL of the lab's PostgreSQL.

    Encryption is off on purpose: the server listens on 127.0.0.1 only, and asking for it costs
    two round trips per connection.
    """
    return (
        f"postgresql://{USER}:{password}@127.0.0.1:{port}/{DATABASE}"
        "?sslmode=disable&gssencmode=disable"
    )


@dataclass(frozen=True)
class Server:
    """Which PostgreSQL a lab runs, and how; by default the embedded one.

    Attributes:
        programs: the folder with ``postgres`` and ``initdb``.
        settings: more of its settings, or others than the lab's.
    """

    programs: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)


def command(
    data: Path, port: int, *, fast: bool, settings: Mapping[str, str] | None = None
) -> list[str]:
    """Return the arguments of ``postgres``, without the program."""
    settings = {
        "port": str(port),
        "cluster_name": cluster_name(data),
        **_SETTINGS,
        **(_FAST if fast else {}),
        **(settings or {}),
    }
    arguments = ["-D", str(data)]
    for name, value in settings.items():
        arguments += ["-c", f"{name}={value}"]
    return arguments


def cluster_name(data: Path) -> str:
    """Return what every process of this server carries in its title: unique per data folder."""
    return "regionkit-lab-" + hashlib.sha256(bytes(data)).hexdigest()[:16]


def prepare(
    paths: Paths, state: State, bound_to: int, programs: Path | None = None
) -> tuple[Launch, list[str]]:
    """Make the data folder when there is none, and return how to start the server on it.

    Args:
        paths: the lab.
        state: its password.
        bound_to: the pid of the process that the server dies with, or 0.
        programs: the folder with ``postgres``, where it is not the wheel's.

    Raises:
        Refused: somebody else's server runs on the data folder, or root finds no way to run it.
        ConnectionFailed: the data folder could not be made.
    """
    data = paths.data(NAME)
    clean_up(data)
    if (data / "PG_VERSION").exists():
        runner = choose_runner(paths, data, programs)
    else:
        runner = _initialise(paths, state, programs)
    program = str(runner.programs / "postgres")
    return runner.launch(data, bound_to=bound_to, record=paths.record(NAME)), [program]


def settle(paths: Paths, port: int, state: State, record: ProcessRecord) -> str:
    """Wait until the server answers, make the database, and return the server's version.

    Raises:
        Died: the server ended.
        ConnectionFailed: it did not answer in time.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if not is_running(record, paths.data(NAME)):
            raise Died
        if port_open(port):
            try:
                return _make_database(port, state.password)
            except psycopg.OperationalError:
                # Still recovering, or not our server: then ours is about to end.
                pass
        time.sleep(TICK)
    raise not_started(TITLE, paths.log(NAME))


def leftovers(data: Path) -> Leftovers:
    """Return what still runs on ``data``, the lab's own server being down."""
    ours = f"postgres: {cluster_name(data)}:"
    found = [
        pid
        for pid in all_pids()
        if (words := command_line(pid))
        and (words[0].startswith(ours) or (_is_postgres(words[0]) and _is_on(pid, words, data)))
    ]
    owner = _postmaster(data)
    return Leftovers(
        owner=owner if owner in found else None,
        orphans=tuple(pid for pid in found if pid != owner),
    )


def end_orphans(data: Path) -> None:
    """End what a killed server left running on ``data``; another's live server is left alone."""
    left = leftovers(data)
    if left.owner is None:
        kill_and_wait(left.orphans)


def clean_up(data: Path) -> None:
    """End what a killed server left on ``data``, so that the next can start.

    Raises:
        Refused: somebody else's server runs there.
    """
    left = leftovers(data)
    if left.owner is not None:
        raise Refused(
            f"another PostgreSQL (pid {left.owner}) is using {data}",
            hint=f"stop it with: kill -INT {left.owner}",
        )
    kill_and_wait(left.orphans)
    # Only now, with nobody left on the data: PostgreSQL takes any live process that has got the
    # number in this file meanwhile for itself, and would not start.
    (data / "postmaster.pid").unlink(missing_ok=True)


def _initialise(paths: Paths, state: State, programs: Path | None) -> Runner:
    data = paths.data(NAME)
    if data.exists() and any(data.iterdir()):
        raise Refused(
            f"{data} is not a PostgreSQL data folder",
            hint=f"remove {data}, or choose another place with --folder",
        )
    # Made under another name, so that a half-made one is never taken for a data folder.
    new = data.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    runner = choose_runner(paths, new, programs)
    password_file = paths.folder / "password.new"
    password_file.unlink(missing_ok=True)
    password_file.touch(mode=0o600)
    try:
        password_file.write_text(state.password)
        give(password_file, runner.owner)
        made = run(
            runner.launch(new, bound_to=os.getpid()),
            [
                str(runner.programs / "initdb"),
                *("--pgdata", str(new), "--username", USER, "--pwfile", str(password_file)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"),
                *_locale(runner, new),
            ],
        )
    finally:
        password_file.unlink()
    if made.returncode != 0:
        paths.log(NAME).write_text(made.stdout)
        raise not_started(TITLE, paths.log(NAME))
    new.rename(data)
    return runner


def _locale(runner: Runner, folder: Path) -> list[str]:
    """Return how ``initdb`` is told to sort by code point and to know all letters."""
    said = run(runner.launch(folder), [str(runner.programs / "initdb"), "--version"]).stdout
    version = re.search(r"\d+", said)
    if version is not None and int(version[0]) < _BUILTIN_LOCALES:
        return ["--locale", "C.UTF-8"]
    return ["--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]


def _make_database(port: int, password: str) -> str:
    with psycopg.connect(
        host="127.0.0.1",
        port=port,
        user=USER,
        password=password,
        dbname="postgres",
        sslmode="disable",
        gssencmode="disable",
        connect_timeout=5,
        autocommit=True,
    ) as connection:
        there = connection.execute("select 1 from pg_database where datname = %s", [DATABASE])
        if there.fetchone() is None:
            name = sql.Identifier(DATABASE)
            connection.execute(sql.SQL("create database {}").format(name))
        return str(connection.info.parameter_status("server_version"))


def _postmaster(data: Path) -> int | None:
    """Return the pid in PostgreSQL's own pid file, which may be stale."""
    try:
        return int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _is_postgres(word: str) -> bool:
    return word.startswith("postgres:") or Path(word).name in ("postgres", "postmaster")


def _is_on(pid: int, words: list[str], data: Path) -> bool:
    if str(data) in words:
        return True
    folder = working_folder(pid)
    # Where the working folder is not to be seen, PostgreSQL's own word for it is believed.
    return folder == data if folder is not None else pid == _postmaster(data)
