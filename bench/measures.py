"""The measurements: one method for each row of the table.

Ours and the peer run by turns. Everything that is timed begins with data that are on disk, and ends
when they are again: with a CHECKPOINT on PostgreSQL, with an fsync on MongoDB.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from pymongo import MongoClient

from bench import bank, ours
from bench.bank import Server
from bench.ours import SCHEMA, Project
from bench.peers import clone, tables
from bench.processes import BenchError, Memory, finish, kill, start, timed
from bench.rows import MemoryRow, Row
from toolkit.postgres.inspect import catalogue

JOURNAL = "regionkit_journal"

#: What regionkit's own sessions take, given to every session of a peer.
MEMORY = {"work_mem": "64MB", "maintenance_work_mem": "256MB"}

#: Seconds between two looks at the journal.
_LOOK = 0.01


@dataclass
class Bench:
    """The servers, and what is measured on them.

    Attributes:
        home: the server of the source, and of targets in the source's own database.
        away: the other server.
        mongo: URL of MongoDB.
        folder: for configurations.
        payments: of the large bank.
        small: payments of the bank that memory is compared with.
        most_documents: payments of the bank that is moved to MongoDB, except for memory, at most.
        runs: of ours and of each peer.
        seed: of the bank.
        chunk_rows: for the run that is killed; ``None`` for the default.
        say: takes a line of progress.
    """

    home: Server
    away: Server
    mongo: str
    folder: Path
    payments: int
    small: int
    most_documents: int
    runs: int
    seed: int
    chunk_rows: int | None
    say: Callable[[str], None]
    counts: dict[int, dict[str, int]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # What is measured on ------------------------------------------------------------------------

    def bank(self, payments: int) -> str:
        """Return the database of a bank, made when it is first asked for."""
        key = f"bank {payments}"
        if key not in self._names:
            self.say(f"building a bank with {payments:,} payments")
            self._names[key], counts = bank.build(self.home, payments, self.seed)
            self.counts[payments] = counts
        return self._names[key]

    def source(self, payments: int) -> str:
        """Return the URL of a bank that is only read."""
        return self.home.database(self.bank(payments))

    def rows(self, payments: int) -> int:
        """Return how many rows a migration moves: those of the bank, and a link per client."""
        self.bank(payments)
        return sum(self.counts[payments].values()) + self.counts[payments]["client"]

    def applied(self, payments: int) -> str:
        """Return a bank's database in which the layout ``tables`` is applied."""
        name = f"applied_{payments}"
        if name not in self._names:
            url = self.home.create(name, self.bank(payments))
            self.project(url, url).apply("postgres")
            self.home.checkpoint()
            self._names[name] = name
        return name

    def applied_away(self) -> str:
        """Return a database of the other server in which the layout ``tables`` is applied."""
        name = "applied"
        if "away" not in self._names:
            url = self.away.create(name)
            self.project(self.source(self.payments), url).apply("postgres")
            self.away.checkpoint()
            self._names["away"] = name
        return name

    def project(
        self, source: str, postgres: str, *, database: str = "unused", chunks: bool = False
    ) -> Project:
        """Return the bank's project; ``chunks``: with chunks of another size, if one was given."""
        config = ours.write_config(
            self.folder / str(next(self._numbers)),
            database=database,
            chunk_rows=self.chunk_rows if chunks else None,
        )
        return Project(config, source, postgres, self.mongo)

    @contextmanager
    def collections(self, payments: int, *, chunks: bool = False) -> Iterator[Project]:
        """Give a project whose layout ``collections`` is applied, in a database of its own."""
        name = f"run_{next(self._numbers)}"
        source = self.source(payments)
        project = self.project(source, source, database=name, chunks=chunks)
        try:
            project.apply("mongo")
            yield project
        finally:
            with self._mongo() as client:
                client.drop_database(name)

    def _mongo(self) -> Any:
        return closing(MongoClient[Any](self.mongo))

    def _flush(self) -> None:
        with self._mongo() as client:
            client.admin.command("fsync")

    # Moving -------------------------------------------------------------------------------------

    def tables(self) -> Row:
        """One database: against the best script that we could write by hand."""
        mine: list[float] = []
        theirs: list[float] = []
        phases: list[dict[str, float]] = []
        for number in range(self.runs):
            with self.home.copy(self.applied(self.payments)) as url:
                project = self.project(url, url)
                with timed(mine):
                    phases.append(project.migrate("postgres")["seconds"])
                    self.home.checkpoint()
                state = self._state(url) if number == 0 else {}
            self._progress("tables, ours", mine)
            with self.home.copy(self.applied(self.payments)) as url:
                tables.prepare(url, MEMORY)
                self.home.checkpoint()
                with timed(theirs):
                    tables.run(url, MEMORY)
                    self.home.checkpoint()
                if number == 0:
                    bank.require_equal("tables", state, self._state(url))
            self._progress("tables, script", theirs)
        return Row(
            "tables",
            "PostgreSQL, one database, whole job without verification",
            "SQL by hand, two psql at once, the same end state (bench/peers/tables)",
            "s",
            tuple(mine),
            tuple(theirs),
            1.0,
            notes=("catalogue, sequences and the digest of every table were compared once",),
            more={"phases": phases},
        )

    def _state(self, url: str) -> dict[str, Any]:
        with psycopg.connect(url) as connection:
            found = catalogue(connection, SCHEMA)
        objects = {
            f"{kind} {name}": text for kind, those in found.items() for name, text in those.items()
        }
        return {**objects, **bank.end_state(url, SCHEMA)}

    def server(self) -> Row:
        """Another server: against the faster of two plain clones."""
        mine: list[float] = []
        ways: dict[str, list[float]] = {"pg_dump | psql": [], "pg_dump -Fd, pg_restore": []}
        source = self.source(self.payments)
        for _ in range(self.runs):
            with self.away.copy(self.applied_away()) as url:
                project = self.project(source, url)
                with timed(mine):
                    project.migrate("postgres")
                    self.away.checkpoint()
            self._progress("server, ours", mine)
            for (way, seconds), run in zip(
                ways.items(), (clone.piped, clone.parallel), strict=True
            ):
                with self.away.copy() as url, timed(seconds):
                    run(source, url, MEMORY)
                    self.away.checkpoint()
                self._progress(f"server, {way}", seconds)
        best = min(ways, key=lambda way: sorted(ways[way])[len(ways[way]) // 2])
        return Row(
            "server",
            "PostgreSQL, another server, whole job without verification",
            f"a plain clone, which computes no regions: {best}",
            "s",
            tuple(mine),
            tuple(ways[best]),
            1.0,
            more={"ways": ways},
        )

    def documents(self) -> list[Row]:
        """PostgreSQL to MongoDB: against a team's script, and against mongod's ceiling."""
        rows = self.rows(self.documents_payments)
        source = self.source(self.documents_payments)
        mine: list[float] = []
        script: list[float] = []
        ceiling: list[float] = []
        whole: list[float] = []
        script_whole: list[float] = []
        for number in range(self.runs):
            with self.collections(self.documents_payments) as project:
                database = self._database(project)
                with timed(whole):
                    done = project.migrate("mongo")
                    self._flush()
                mine.append(sum(done["copied"].values()) / done["seconds"]["copy"])
                self._progress("documents, ours", mine, "rows/s")
                said = self._peer("ceiling", self.mongo, database, f"{database}_ceiling")
                with self._mongo() as client:
                    client.drop_database(f"{database}_ceiling")
                ceiling.append(said["rows"] / said["load"])
                self._progress("documents, ceiling", ceiling, "rows/s")
                expected = self._documents(database) if number == 0 else {}
            with self.collections(self.documents_payments) as project:
                database = self._database(project)
                with timed(script_whole):
                    said = self._peer("documents", source, self.mongo, database)
                    self._flush()
                script.append(said["rows"] / said["load"])
                self._progress("documents, script", script, "rows/s")
                if said["rows"] != rows:
                    raise BenchError(f"the script wrote {said['rows']} rows of {rows}")
                if number == 0:
                    bank.require_equal("documents", expected, self._documents(database))
        notes = (f"{self.documents_payments:,} payments, {rows:,} rows",)
        copying = "rows per second while copying; indexes are dropped before and made after it"
        return [
            Row(
                "documents",
                "PostgreSQL to MongoDB, copying",
                "a team's script: psycopg rows, dicts, Motor insert_many, three in flight",
                "rows/s",
                tuple(mine),
                tuple(script),
                2.0,
                at_least=True,
                notes=(*notes, copying, "the documents of every collection were compared once"),
            ),
            Row(
                "documents-job",
                "the same, whole job: checks, indexes, key collections, fsync",
                "the same script with its indexes, key collections and fsync",
                "s",
                tuple(whole),
                tuple(script_whole),
                None,
                notes=notes,
            ),
            Row(
                "ceiling",
                "PostgreSQL to MongoDB, copying",
                "mongod's ceiling: encoded documents, two threads, insert_many, no validators",
                "rows/s",
                tuple(mine),
                tuple(ceiling),
                0.6,
                at_least=True,
                notes=(*notes, copying),
            ),
        ]

    @property
    def documents_payments(self) -> int:
        """Payments of the bank that goes to MongoDB; never more than the large bank has."""
        return min(self.most_documents, self.payments)

    def _database(self, project: Project) -> str:
        text = project.config.read_text(encoding="utf-8")
        return text.partition('database = "')[2].partition('"')[0]

    def _documents(self, database: str) -> dict[str, Any]:
        """Return the server's own hash of every collection, and its indexes."""
        with self._mongo() as client:
            hashes = client[database].command("dbHash")["collections"]
            hashes.pop("system.views", None)
            indexes = {
                f"indexes of {name}": sorted(
                    str(sorted(index.items())) for index in client[database][name].list_indexes()
                )
                for name in hashes
            }
        return {**hashes, **indexes}

    def _peer(self, module: str, *arguments: str) -> Any:
        command = [sys.executable, "-m", f"bench.peers.{module}", *arguments]
        said = finish(start(command, cwd=ours.ROOT, stdout=subprocess.PIPE))
        return json.loads(said) if said else None

    # Proving ------------------------------------------------------------------------------------

    def verify_tables(self) -> Row:
        """Verification on PostgreSQL: against reading both ends."""
        mine: list[float] = []
        theirs: list[float] = []
        with self.home.copy(self.applied(self.payments)) as url:
            project = self.project(url, url)
            project.migrate("postgres")
            self.home.checkpoint()
            for _ in range(self.runs):
                with timed(mine):
                    project.verify("postgres")
                self._progress("verify-tables, ours", mine)
                with timed(theirs):
                    self._peer("reading", url, "--postgres", url)
                self._progress("verify-tables, reading", theirs)
        return Row(
            "verify-tables",
            "verification, PostgreSQL: every row, the link, key tables, invariants",
            "COPY of every table of both ends to /dev/null, two sessions",
            "s",
            tuple(mine),
            tuple(theirs),
            1.5,
        )

    def verify_documents(self) -> Row:
        """Verification on MongoDB: against reading both ends."""
        mine: list[float] = []
        theirs: list[float] = []
        payments = self.documents_payments
        with self.collections(payments) as project:
            project.migrate("mongo")
            self._flush()
            database = self._database(project)
            for _ in range(self.runs):
                with timed(mine):
                    project.verify("mongo")
                self._progress("verify-documents, ours", mine)
                with timed(theirs):
                    arguments = ("--mongo", self.mongo, "--database", database)
                    self._peer("reading", project.source, *arguments)
                self._progress("verify-documents, reading", theirs)
        return Row(
            "verify-documents",
            "verification, MongoDB: every row, the link, key collections, invariants",
            "COPY of every source table to /dev/null and raw batches of every collection, "
            "two threads",
            "s",
            tuple(mine),
            tuple(theirs),
            1.5,
            notes=(f"{payments:,} payments",),
        )

    # Resources ----------------------------------------------------------------------------------

    def memory(self) -> MemoryRow:
        """Memory of migrate and verify on both backends, at two sizes of bank."""
        peaks: dict[int, dict[str, int]] = {}
        for payments in dict.fromkeys((self.small, self.payments)):
            with self.home.copy(self.applied(payments)) as url:
                peaks[payments] = self._peaks(self.project(url, url), "postgres")
            with self.collections(payments) as project:
                peaks[payments] |= self._peaks(project, "mongo")
        small, large = peaks[self.small], peaks[self.payments]
        return MemoryRow(
            "memory",
            {command: (small[command], large[command]) for command in large},
            (self.small, self.payments),
        )

    def _peaks(self, project: Project, backend: str) -> dict[str, int]:
        found = {}
        for command in ("migrate", "verify"):
            one = project.start(command, "--backend", backend, "-q")
            with Memory(one.process.pid) as memory:
                finish(one)
            found[f"{command} {backend}"] = memory.peak
            self.say(f"memory, {command} {backend}: {memory.peak / 1e6:.0f} MB")
        return found

    def resume_tables(self) -> Row:
        """Killed half-way and resumed on PostgreSQL: against an uninterrupted run."""
        killed: list[float] = []
        whole: list[float] = []
        for _ in range(self.runs):
            with self.home.copy(self.applied(self.payments)) as url:
                project = self.project(url, url, chunks=True)
                with timed(whole):
                    project.migrate("postgres")
                    self.home.checkpoint()
            self._progress("resume-tables, uninterrupted", whole)
            with self.home.copy(self.applied(self.payments)) as url:
                project = self.project(url, url, chunks=True)
                first = self._kill_half_way(project, "postgres", self.payments)
                second: list[float] = []
                with timed(second):
                    project.migrate("postgres", "--resume")
                    self.home.checkpoint()
                killed.append(first + second[0])
            self._progress("resume-tables, killed and resumed", killed)
        return self._resume_row("resume-tables", "PostgreSQL", killed, whole)

    def resume_documents(self) -> Row:
        """Killed half-way and resumed on MongoDB: against an uninterrupted run."""
        killed: list[float] = []
        whole: list[float] = []
        payments = self.documents_payments
        for _ in range(self.runs):
            with self.collections(payments, chunks=True) as project, timed(whole):
                project.migrate("mongo")
                self._flush()
            self._progress("resume-documents, uninterrupted", whole)
            with self.collections(payments, chunks=True) as project:
                first = self._kill_half_way(project, "mongo", payments)
                self._release(self._database(project))
                second: list[float] = []
                with timed(second):
                    project.migrate("mongo", "--resume")
                    self._flush()
                killed.append(first + second[0])
            self._progress("resume-documents, killed and resumed", killed)
        lease = "the killed holder's lease of the lock was ended by hand instead of running out"
        notes = (f"{payments:,} payments", lease)
        return self._resume_row("resume-documents", "MongoDB", killed, whole, notes)

    def _resume_row(
        self,
        name: str,
        backend: str,
        killed: list[float],
        whole: list[float],
        notes: tuple[str, ...] = (),
    ) -> Row:
        return Row(
            name,
            f"{backend}: killed with half of the rows copied, and resumed",
            "an uninterrupted run",
            "s",
            tuple(killed),
            tuple(whole),
            1.4,
            notes=notes,
        )

    def _kill_half_way(self, project: Project, backend: str, payments: int) -> float:
        """Kill a migration once half of its rows are journaled; return how long it ran.

        Raises:
            BenchError: it ended before.
        """
        half = self.rows(payments) / 2
        with self._copied(project, backend) as copied:
            begun = time.perf_counter()
            one = project.start("migrate", "--backend", backend, "-q")
            try:
                while (rows := copied()) < half:
                    if one.process.poll() is not None:
                        raise BenchError(f"the migration to {backend} ended before it was killed")
                    time.sleep(_LOOK)
            finally:
                kill(one)
            seconds = time.perf_counter() - begun
        self.say(f"killed after {seconds:.2f} s with {rows:,} rows copied")
        return seconds

    @contextmanager
    def _copied(self, project: Project, backend: str) -> Iterator[Callable[[], int]]:
        """Give what tells how many rows are journaled as copied."""
        if backend == "mongo":
            database = self._database(project)
            pipeline = [
                {"$match": {"_id.target": database, "rows": {"$ne": None}}},
                {"$group": {"_id": None, "rows": {"$sum": "$rows"}}},
            ]
            with self._mongo() as client:
                chunks = client[JOURNAL]["chunks"]
                yield lambda: sum(int(found["rows"]) for found in chunks.aggregate(pipeline))
            return
        with psycopg.connect(project.postgres, autocommit=True) as connection:

            def rows() -> int:
                there = connection.execute("select to_regclass('regionkit.checkpoint')").fetchone()
                if there == (None,):
                    return 0
                found = connection.execute(
                    "select coalesce(sum(rows), 0) from regionkit.checkpoint"
                ).fetchone()
                return int(found[0]) if found else 0

            yield rows

    def _release(self, database: str) -> None:
        """Let the lease of a killed holder run out at once, instead of in half a minute."""
        with self._mongo() as client:
            client[JOURNAL]["locks"].update_one(
                {"_id": f"migrate {database}"},
                [{"$set": {"until": {"$subtract": ["$$NOW", 1000]}}}],
            )

    def _progress(self, what: str, figures: list[float], unit: str = "s") -> None:
        figure = f"{figures[-1]:,.0f}" if figures[-1] >= 1000 else f"{figures[-1]:.2f}"
        self.say(f"{what}: {figure} {unit}")
