"""The campaign's own servers, which it may kill; and databases made from templates."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psycopg
from pymongo import MongoClient
from pymongo.database import Database

from tests.faults import invariants
from tests.faults.failpoints import Mode, Start, Trap
from tests.faults.subjects import SUBJECTS, Subject
from tests.live.journey import JOURNAL, Journey, copy_of, drop_mongo
from tests.live.support import ROOT
from toolkit.lab import Lab, temporary_lab

Document = dict[str, Any]
ServerName = Literal["source", "target", "mongo"]

#: Seconds that any single command may take; a longer one hangs.
PATIENCE = 90.0


class Servers:
    """Two PostgreSQL servers and a mongod, which live as long as the calling thread.

    The source's server is one of its own, so that it can be killed alone. ``fsync`` is off, which
    is no difference to a server that is killed, only to a machine that loses power; commits are
    synchronous, because a killed server would lose what it has only in memory.
    """

    def __init__(self, source: Lab, target: Lab) -> None:
        self._labs: dict[ServerName, Lab] = {"source": source, "target": target, "mongo": target}
        for name in ("source", "target"):
            with psycopg.connect(self.url(name), autocommit=True) as connection:
                connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = on")

    def url(self, name: ServerName) -> str:
        """Return the URL of a server that is running."""
        url = self._labs[name].url("mongo" if name == "mongo" else "postgres")
        assert url is not None, f"{name} is down"
        return url

    def pid(self, name: ServerName) -> int:
        """Return the process of a server that is running."""
        kind = "mongo" if name == "mongo" else "postgres"
        (pid,) = [one.pid for one in self._labs[name].status() if one.name == kind]
        assert pid is not None, f"{name} is down"
        return pid

    def kill(self, name: ServerName) -> None:
        """kill -9 a server, and wait until the process is gone."""
        pid = self.pid(name)
        gone = os.pidfd_open(pid)
        try:
            os.kill(pid, signal.SIGKILL)
            assert select.select([gone], [], [], 20)[0], f"{name} does not end"
        finally:
            os.close(gone)

    def recovered(self, name: ServerName) -> None:
        """Wait until a PostgreSQL that crashed by itself answers again."""
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url(name), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, f"{name} does not come back"
                time.sleep(0.05)

    def revive(self, name: ServerName | None = None) -> None:
        """Start what is down, on its data and port."""
        for one in ("source", "target"):
            if name is None or self._labs[name] is self._labs[one]:
                servers = ("postgres",) if one == "source" else ("postgres", "mongo")
                self._labs[one].up(servers, fast=True)


@contextmanager
def servers() -> Iterator[Servers]:
    """Start the servers; they are gone at the end, and when this process dies."""
    with (
        temporary_lab(fast=True, servers=("postgres",)) as source,
        temporary_lab(fast=True) as target,
    ):
        yield Servers(source, target)


class Victims:
    """Starts victims by forking them from one process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim", "--serve"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._number = 0

    def ask(self, request: Document) -> Document:
        """Send one request; return the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: Document = json.loads(self._process.stdout.readline())
        return answer

    def start(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        traps: Sequence[Trap] = (),
        limits: int = 0,
    ) -> Victim:
        """Start a victim."""
        self._number += 1
        out = self.folder / f"victim-{self._number}.out"
        err = self.folder / f"victim-{self._number}.err"
        pid = self.ask(
            {
                "start": {
                    "arguments": list(arguments),
                    "env": dict(env),
                    "cwd": str(cwd),
                    "traps": [trap.document() for trap in traps],
                    "out": str(out),
                    "err": str(err),
                    "limits": limits,
                }
            }
        )["pid"]
        return Victim(self, pid, out, err)

    def close(self) -> None:
        """End the process, and with it every victim."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)


class Hang(AssertionError):
    """A command did not end in time."""


@dataclass
class Victim:
    """A run of regionkit in a process of its own."""

    victims: Victims
    pid: int
    out_file: Path
    err_file: Path
    code: int | None = None
    _ended: int = field(default=-1)

    def __post_init__(self) -> None:
        self._ended = os.pidfd_open(self.pid)

    @property
    def err(self) -> str:
        """What it said."""
        return self.err_file.read_text() if self.err_file.exists() else ""

    @property
    def out(self) -> str:
        """What it printed."""
        return self.out_file.read_text() if self.out_file.exists() else ""

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ended(self, timeout: float = 0) -> bool:
        """Return whether it has ended, after waiting that long."""
        return self.code is not None or bool(select.select([self._ended], [], [], timeout)[0])

    def wait(self, timeout: float = PATIENCE) -> int:
        """Return its exit code; kill it when it hangs.

        Raises:
            Hang: it did.
        """
        if self.code is None:
            hung = not self.ended(timeout)
            if hung:
                os.kill(self.pid, signal.SIGKILL)
            self.code = int(self.victims.ask({"wait": self.pid})["status"])
            os.close(self._ended)
            if hung:
                raise Hang(f"the command did not end within {timeout:g} s\n{self.err[-300:]}")
        return self.code

    def stopped(self, timeout: float = PATIENCE) -> bool:
        """Wait until it has stopped itself; return whether it did (else it ended)."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.ended():
                return False
            stat = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            if stat[0] == "T":
                return True
            time.sleep(0.002)
        raise Hang(f"the command neither ended nor stopped within {timeout:g} s")

    def kill(self) -> None:
        """Make sure that it is gone."""
        self.signal(signal.SIGKILL)
        # Where all victims are being ended, the process that answers is gone, too.
        with contextlib.suppress(OSError, ValueError):
            self.wait()


@dataclass
class Ground:
    """A subject with its templates: everything that the faults on it share.

    Attributes:
        subject: what is migrated.
        servers: where.
        victims: by whom.
        folder: the project.
    """

    subject: Subject
    servers: Servers
    victims: Victims
    folder: Path
    databases: dict[str, str] = field(default_factory=dict)
    counts: dict[tuple[Mode, str, str], int] = field(default_factory=dict)

    @property
    def database(self) -> str:
        """The MongoDB database."""
        return f"faults_{self.subject.name}"

    def prepare(self) -> None:
        """Create the source and apply the layouts, once."""
        subject = self.subject
        subject.write(self.folder, self.database)
        for name, server in (("source", "source"), ("same", "target"), ("other", "target")):
            self.databases[name] = f"template_{subject.name}_{name}"
            with psycopg.connect(self.servers.url(server), autocommit=True) as connection:  # type: ignore[arg-type]
                connection.execute(f"CREATE DATABASE {self.databases[name]}".encode())
        subject.create(self.template("source"))
        subject.create(self.template("same"))
        mongo = self.servers.url("mongo")
        same = Journey(self.folder, self.template("same"), self.template("same"), mongo)
        other = Journey(self.folder, self.template("source"), self.template("other"), mongo)
        same.done("generate")
        same.done("apply", "--backend", "postgres")
        other.done("apply", "--backend", "postgres")
        other.done("apply", "--backend", "mongo")
        # As it is now, before anything is migrated.
        assert self.applied_mongo and self._mongo_content

    def template(self, name: str) -> str:
        """Return the URL of a template."""
        server: ServerName = "source" if name == "source" else "target"
        head, _, query = self.servers.url(server).partition("?")
        return f"{head.rpartition('/')[0]}/{self.databases[name]}?{query}"

    @cached_property
    def truth(self) -> invariants.Truth:
        """What the untouched source holds."""
        return invariants.truth(self.subject, self.template("source"))

    @cached_property
    def applied(self) -> dict[str, Counter[tuple[Any, ...]]]:
        """The catalogue of the layout ``tables`` as applied."""
        return invariants.postgres_catalogue(self.subject, self.template("other"))

    @cached_property
    def applied_same(self) -> dict[str, Counter[tuple[Any, ...]]]:
        """The same, in the source's database."""
        return invariants.postgres_catalogue(self.subject, self.template("same"))

    @cached_property
    def applied_mongo(self) -> dict[str, Counter[tuple[Any, ...]]]:
        """The collections and indexes as applied."""
        return invariants.mongo_catalogue(self.subject, self.servers.url("mongo"), self.database)

    @cached_property
    def _mongo_content(self) -> dict[str, list[Document]]:
        with MongoClient[Document](self.servers.url("mongo")) as client:
            database = client[self.database]
            return {name: list(database[name].find({})) for name in _collections(database)}

    def restore_mongo(self, *, anew: bool = False) -> None:
        """Make the MongoDB database as it was when the layout was applied."""
        url = self.servers.url("mongo")
        content, applied = self._mongo_content, self.applied_mongo
        if anew or invariants.mongo_catalogue(self.subject, url, self.database) != applied:
            drop_mongo(url, self.database)
            Journey(self.folder, self.template("source"), self.template("other"), url).done(
                "apply", "--backend", "mongo"
            )
        with MongoClient[Document](url) as client:
            database = client[self.database]
            for name, documents in content.items():
                database[name].delete_many({})
                if documents:
                    database[name].insert_many(documents)
            journal = client[JOURNAL]
            journal["migrations"].delete_many({"_id": self.database})
            journal["chunks"].delete_many({"_id.target": self.database})
            for name in journal.list_collection_names():
                if name not in ("migrations", "chunks", "revisions", "locks"):
                    journal[name].delete_many({"_id.target": self.database})
            journal["locks"].delete_many({"_id": f"migrate {self.database}"})

    @contextmanager
    def scene(self, mode: Mode, *, changing: bool = False) -> Iterator[Scene]:
        """Yield databases of its own for one fault; drop them.

        Args:
            mode: where the rows go.
            changing: whether the fault changes the source.
        """
        with ExitStack() as stack:
            mongo = self.servers.url("mongo")
            if mode == "same":
                url = stack.enter_context(self._copy("same"))
                journey = Journey(self.folder, url, url, mongo)
            else:
                source = (
                    stack.enter_context(self._copy("source"))
                    if changing
                    else self.template("source")
                )
                target = (
                    stack.enter_context(self._copy("other"))
                    if mode == "other"
                    else self.template("other")
                )
                journey = Journey(self.folder, source, target, mongo)
            scene = Scene(self, mode, journey)
            try:
                yield scene
            finally:
                for victim in scene.started:
                    victim.kill()
                self.servers.revive()
                if mode == "mongo":
                    # Scenes share the database: one that counts runs inside another.
                    self.restore_mongo()

    @contextmanager
    def _copy(self, name: str) -> Iterator[str]:
        stack = ExitStack()
        url = stack.enter_context(copy_of(self.template(name)))
        try:
            yield url
        finally:
            self.servers.revive()
            stack.close()

    def calls(self, mode: Mode, trap: Trap, start: Start) -> int:
        """Return how often a trap's function is called in an undisturbed run."""
        key = (mode, trap.function, start)
        if key not in self.counts:
            counts = self.victims.folder / f"counts-{len(self.counts)}-{mode}"
            counting = Trap(trap.function, "before", 0, "count", str(counts))
            with self.scene(mode, changing=start == "changed") as scene:
                scene.begin(start)
                counts.unlink(missing_ok=True)
                victim = scene.start(traps=[counting])
                assert victim.wait() == 0, victim.err
            self.counts[key] = counts.stat().st_size if counts.exists() else 0
        return self.counts[key]


@dataclass
class Scene:
    """One fault's databases.

    Attributes:
        ground: what they were made from.
        mode: where the rows go.
        journey: the project over them.
        started: every victim.
        source_changed: whether the source is no longer what the template is.
    """

    ground: Ground
    mode: Mode
    journey: Journey
    started: list[Victim] = field(default_factory=list)
    source_changed: bool = False

    @property
    def backend(self) -> str:
        """What ``--backend`` says."""
        return "mongo" if self.mode == "mongo" else "postgres"

    def start(
        self,
        command: str = "migrate",
        *arguments: str,
        traps: Sequence[Trap] = (),
        env: Mapping[str, str] | None = None,
        limits: int = 0,
    ) -> Victim:
        """Start a command as a victim."""
        victim = self.ground.victims.start(
            (command, "--backend", self.backend, "--output", "json", *arguments),
            {**self.journey.env, **(env or {})},
            self.ground.folder,
            traps,
            limits,
        )
        self.started.append(victim)
        return victim

    def begin(self, start: Start) -> None:
        """Bring the target, and the source, to what a run is to find."""
        if start != "fresh":
            self.half_done()
        if start == "changed":
            self.change("update", 7)

    def change(self, kind: str, number: int) -> None:
        """Change the source.

        Raises:
            psycopg.errors.LockNotAvailable: the run does not let it.
        """
        with psycopg.connect(self.journey.source, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '2s'")
            for statement in self.ground.subject.changes[kind]:
                connection.execute(statement.format(n=number).encode())
        self.source_changed = True

    def half_done(self) -> None:
        """Leave a migration that was killed in the middle of copying."""
        function = "toolkit.mongo.store:Store.checkpoint"
        if self.mode != "mongo":
            function = "toolkit.postgres.store:Store.checkpoint"
        chunks = self.ground.calls(self.mode, Trap(function, "before", 0, "count"), "fresh")
        victim = self.start(traps=[Trap(function, "before", max(2, chunks // 2))])
        assert victim.wait() == -signal.SIGKILL, victim.err
        self.expire()

    def expire(self) -> None:
        """Let the lease of a killed holder run out at once, instead of in half a minute."""
        if self.mode == "mongo":
            with MongoClient[Document](self.journey.mongo) as client:
                client[JOURNAL]["locks"].update_one(
                    {"_id": f"migrate {self.ground.database}"},
                    [{"$set": {"until": {"$subtract": ["$$NOW", 1000]}}}],
                )

    def begun(self) -> bool:
        """Return whether the journal knows of a migration."""
        if self.mode == "mongo":
            with MongoClient[Document](self.journey.mongo) as client:
                found = client[JOURNAL]["migrations"].find_one({"_id": self.ground.database})
                return found is not None
        with psycopg.connect(self.journey.postgres, autocommit=True) as connection:
            row = connection.execute("SELECT to_regclass('regionkit.migration')").fetchone()
            if row is None or row[0] is None:
                return False
            return bool(connection.execute("SELECT FROM regionkit.migration").fetchall())

    def truth(self) -> invariants.Truth:
        """Return what the source holds now."""
        if self.source_changed:
            return invariants.truth(self.ground.subject, self.journey.source)
        return self.ground.truth

    def invariants(self) -> list[str]:
        """Return what is violated of I1 to I6 and I8."""
        ground = self.ground
        if self.mode == "mongo":
            return invariants.mongo(
                ground.subject,
                self.truth(),
                self.journey.mongo,
                ground.database,
                ground.applied_mongo,
            )
        applied = ground.applied_same if self.mode == "same" else ground.applied
        return invariants.postgres(ground.subject, self.truth(), self.journey.postgres, applied)

    def content(self) -> object:
        """Return everything that a write would change: rows, catalogue, journal."""
        if self.mode == "mongo":
            with MongoClient[Document](self.journey.mongo) as client:
                database, journal = client[self.ground.database], client[JOURNAL]
                found = {
                    name: sorted(map(repr, database[name].find({})))
                    for name in _collections(database)
                }
                for name in ("migrations", "chunks"):
                    found[name] = sorted(map(repr, journal[name].find({})))
                catalogue = invariants.mongo_catalogue(
                    self.ground.subject, self.journey.mongo, self.ground.database
                )
                return found, catalogue
        catalogue = invariants.postgres_catalogue(self.ground.subject, self.journey.postgres)
        with psycopg.connect(self.journey.postgres, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '20s'")
            tables = connection.execute(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace IN "
                "(SELECT oid FROM pg_namespace WHERE nspname IN ('regionkit', %s)) "
                # That somebody tried is noted there.
                "AND relname <> 'run'",
                (self.ground.subject.target,),
            ).fetchall()
            rows = {
                name: sorted(connection.execute(f"SELECT t::text FROM {name} t".encode()))
                for (name,) in tables
            }
        return rows, catalogue


def _collections(database: Database[Document]) -> list[str]:
    """Return the collections that hold documents of their own."""
    names = database.list_collection_names(filter={"type": "collection"})
    return sorted(name for name in names if not name.startswith("system."))


def port(url: str) -> int:
    """Return the port of a URL."""
    found = urlsplit(url).port
    assert found is not None
    return found


def through(url: str, other: int) -> str:
    """Return a URL that leads through another port."""
    return url.replace(f":{port(url)}/", f":{other}/")


@contextmanager
def grounds(names: Sequence[str] = tuple(SUBJECTS)) -> Iterator[dict[str, Ground]]:
    """Start servers and prepare subjects; everything is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="regionkit-faults-") as folder, servers() as those:
        victims = Victims(Path(folder))
        try:
            found = {}
            for name in names:
                found[name] = Ground(SUBJECTS[name], those, victims, Path(folder) / name)
                found[name].prepare()
            yield found
        finally:
            victims.close()
