"""A live source is spared: rate, pause, load, lag, timeouts, and servers that fall silent."""

from __future__ import annotations

import json
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq
from pymongo import MongoClient

from tests.live.journey import JOURNAL, Journey, execute, query
from tests.live.shop import ROWS, SALES, configured, shop, started, wait_for
from tests.live.support import database
from toolkit.lab.proxy import DelayProxy, mongo_through, postgres_address, postgres_through
from toolkit.postgres import session, versions
from toolkit.postgres.load import Load

RATE = 1_000


def checkpoints(journey: Journey, backend: str) -> list[tuple[datetime, int]]:
    """Return when each chunk was copied, and its rows."""
    if backend == "postgres":
        rows = query(
            journey.postgres,
            "SELECT finished_at, rows FROM regionkit.checkpoint ORDER BY 1",
        )
        return [(at, int(count)) for at, count in rows]
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        mine = {"_id.target": journey.mongo_database, "rows": {"$ne": None}}
        found = client[JOURNAL]["chunks"].find(mine)
        return sorted((one["finished_at"], one["rows"]) for one in found)


def began(journey: Journey, backend: str) -> datetime:
    """Return when the only run of a migration began to copy."""
    if backend == "postgres":
        ((at,),) = query(journey.postgres, "SELECT copying_at FROM regionkit.run")
        return at
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        (run,) = client[JOURNAL]["runs"].find({"_id.target": journey.mongo_database})
        return run["copying_at"]


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_a_rate_is_kept_over_a_run(
    postgres_url: str, mongo_url: str, tmp_path: Path, backend: str
) -> None:
    """Whenever a checkpoint is written, no more rows are copied than the rate allows by then."""
    with shop(postgres_url, mongo_url, tmp_path, backend) as journey:
        arguments = ("migrate", "--backend", backend, "--max-rate", str(RATE), "--output", "json")
        result = journey.done(*arguments)
        done, start = checkpoints(journey, backend), began(journey, backend)
        assert sum(rows for _, rows in done) == ROWS
        copied = 0
        for at, rows in done:
            copied += rows
            # One second's worth may have been saved up.
            assert copied <= RATE * ((at - start).total_seconds() + 1)
        assert (done[-1][0] - start).total_seconds() >= ROWS / RATE - 1
        events = [json.loads(line) for line in result.err.splitlines()]
        throttled = {event["throttled_by"] for event in events if event["event"] == "total"}
        assert f"rate {RATE:,} rows/s" in throttled
        assert events[-1]["phase"] == "finishing"
        (last,) = [event for event in events if event["event"] == "total"][-1:]
        assert (last["copied"], last["total"]) == (ROWS, ROWS)
        assert result.document["results"][0]["copied"]["sale"] == SALES
        verified = journey.done("verify", "--backend", backend, "--max-rate", "1000000")
        assert f"{ROWS:,} rows compared" in verified.out


def test_a_pause_file_holds_a_run_and_lets_it_go_on(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    backend = "postgres"
    with shop(postgres_url, mongo_url, tmp_path, backend) as journey:
        journey = configured(journey, "chunk_rows", 'pause_file = "PAUSE"\nchunk_rows')
        (tmp_path / "PAUSE").touch()
        with started(journey, "migrate", "--backend", backend, "--output", "json") as process:
            status = ("status", "--backend", backend, "--output", "json")
            wait_for(
                process,
                lambda: journey.done(*status).document["backends"][0].get("throttled_by"),
            )
            (found,) = journey.done(*status).document["backends"]
            assert found["throttled_by"] == f"paused by {tmp_path / 'PAUSE'}"
            assert found["chunks_copied"] == 0
            (tmp_path / "PAUSE").unlink()
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["results"][0]["copied"]["sale"] == SALES
        reasons = [json.loads(line)["throttled_by"] for line in err.splitlines()]
        assert f"paused by {tmp_path / 'PAUSE'}" in reasons


def test_a_paused_run_stops_at_once_and_verify_waits_too(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    pause = tmp_path / "PAUSE"
    option = ("--pause-file", str(pause))
    with shop(postgres_url, mongo_url, tmp_path, "postgres") as journey:
        pause.touch()
        for command, code in (("migrate", 130), ("verify", 130)):
            with started(journey, command, "--backend", "postgres", *option) as process:
                assert process.stderr is not None
                line = next(text for text in process.stderr if "throttled" in text)
                assert line == f"postgres: throttled: paused by {pause}\n"
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=10)
            assert process.returncode == code, err
            assert "Traceback" not in err
            if command == "migrate":
                assert query(journey.postgres, "SELECT count(*) FROM shop_regional.sale") == [(0,)]
                journey.done("migrate", "--backend", "postgres", "-q")


@contextmanager
def working(url: str) -> Iterator[None]:
    """Let a session of an application run a statement, and be seen to."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.pgconn.send_query(b"SELECT pg_sleep(60)")
        seen = "SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND state = 'active'"
        deadline = time.monotonic() + 10
        while query(url, seen % connection.info.backend_pid) != [(1,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield
        finally:
            query(url, f"SELECT pg_terminate_backend({connection.info.backend_pid})")


def test_active_sessions_are_counted_without_our_own(postgres_url: str) -> None:
    warnings: list[str] = []
    load = Load(postgres_url, "source", warnings.append)
    before = load.sessions()
    assert before is not None
    with working(postgres_url):
        assert load.sessions() == before + 1
        named = f"{postgres_url}&application_name=regionkit"
        with working(named):
            assert load.sessions() == before + 1
    load.close()
    assert warnings == []


def test_a_busy_source_holds_a_run(postgres_url: str, mongo_url: str, tmp_path: Path) -> None:
    with shop(postgres_url, mongo_url, tmp_path, "postgres") as journey:
        arguments = ("migrate", "--backend", "postgres", "--max-load", "0", "--output", "json")
        with working(postgres_url), started(journey, *arguments) as process:
            assert process.stderr is not None
            events = (json.loads(line) for line in process.stderr)
            held = next(event for event in events if event["event"] == "throttled")
            assert held["throttled_by"].endswith(" active sessions > 0")
            assert query(journey.postgres, "SELECT count(*) FROM shop_regional.sale") == [(0,)]
        # The process is gone: the run that it began goes on, nobody being active now.
        journey.done("migrate", "--backend", "postgres", "-q", "--max-load", "50")


def test_what_a_role_may_not_see_is_said_once(postgres_url: str, tmp_path: Path) -> None:
    with database(postgres_url) as url, psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE ROLE shop_reader LOGIN PASSWORD 'x'")
        try:
            warnings: list[str] = []
            through = psycopg.conninfo.make_conninfo(url, user="shop_reader", password="x")
            load = Load(through, "source", warnings.append)
            assert [load.sessions(), load.sessions(), load.lag(), load.lag()] == [None] * 4
            load.close()
            assert warnings == [
                f"{what} cannot be watched: the role is not a member of pg_monitor "
                "(docs/privileges.md)"
                for what in ("active sessions", "replica lag")
            ]
        finally:
            admin.execute("DROP ROLE shop_reader")


def test_a_lost_connection_is_no_failure_and_is_opened_anew(postgres_url: str) -> None:
    warnings: list[str] = []
    load = Load(f"{postgres_url}&application_name=x", "source", warnings.append)
    assert load.sessions() is not None
    assert load._connection is not None
    query(postgres_url, f"SELECT pg_terminate_backend({load._connection.info.backend_pid})")
    assert load.sessions() is None
    assert load.sessions() is not None
    load.close()
    assert len(warnings) == 1


class Replica:
    """The receiving end of streaming replication, which confirms what it is told to."""

    def __init__(self, url: str) -> None:
        info = psycopg.conninfo.make_conninfo(url, replication="true")
        self._libpq = pq.PGconn.connect(info.encode())
        ((self._at,),) = query(url, "SELECT (pg_current_wal_lsn() - '0/0')::bigint")
        start = f"START_REPLICATION PHYSICAL {self._at >> 32:X}/{self._at & 0xFFFFFFFF:X}"
        result = self._libpq.exec_(start.encode())
        assert result.status == pq.ExecStatus.COPY_BOTH, self._libpq.error_message

    def confirm(self, position: int) -> None:
        self._libpq.put_copy_data(struct.pack(">cQQQqb", b"r", position, position, position, 0, 0))
        self._libpq.flush()

    def close(self) -> None:
        self._libpq.finish()


def position(url: str) -> int:
    ((found,),) = query(url, "SELECT (pg_current_wal_lsn() - '0/0')::bigint")
    return int(found)


def test_replicas_are_watched(postgres_url: str) -> None:
    now = 0.0
    warnings: list[str] = []
    load = Load(postgres_url, "source", warnings.append, clock=lambda: now)
    assert load.lag() is None
    assert warnings == ["replica lag cannot be watched: no replica is attached to the source"]
    replica = Replica(postgres_url)
    try:
        replica.confirm(position(postgres_url))
        deadline = time.monotonic() + 10
        while load.lag() is None:
            assert time.monotonic() < deadline
        query(postgres_url, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 1000000))")
        # What is in the server's buffers only, no replica can have.
        execute(postgres_url, "CHECKPOINT")
        now = 3.0
        assert load.lag() == pytest.approx(3, abs=0.1)
        now = 8.0
        assert load.lag() == pytest.approx(8, abs=0.1)
        replica.confirm(position(postgres_url) + 1_000_000)
        while load.lag() != 0:
            assert time.monotonic() < deadline
    finally:
        replica.close()
        load.close()


def test_a_lagging_replica_holds_a_run(postgres_url: str, mongo_url: str, tmp_path: Path) -> None:
    with shop(postgres_url, mongo_url, tmp_path, "postgres") as journey:
        replica = Replica(postgres_url)
        try:
            replica.confirm(position(postgres_url))
            # What is copied within one server is in its log too: the run outruns the replica.
            arguments = (
                "migrate",
                "--backend",
                "postgres",
                "--max-lag",
                "0.2",
                "--max-rate",
                "500",
            )
            with started(journey, *arguments, "--output", "json") as process:
                assert process.stderr is not None
                events = (json.loads(line)["throttled_by"] or "" for line in process.stderr)
                held = next(reason for reason in events if reason.startswith("replica lag"))
                assert held.endswith(" s > 0.2 s")
        finally:
            replica.close()


def test_sessions_have_their_limits_whatever_the_server_says(postgres_url: str) -> None:
    names = [
        "lock_timeout",
        "statement_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
    ]
    with session.connect(postgres_url, role="source") as connection:
        if versions.TRANSACTION_TIMEOUT.there(connection):
            names.append("transaction_timeout")
    more = ["0"] * (len(names) - 2)
    with database(postgres_url) as url:
        name = url.partition("?")[0].rpartition("/")[2]
        for setting in names:
            execute(url, f"ALTER DATABASE {name} SET {setting} = '7s'")

        def shown() -> list[str]:
            with session.connect(url, role="source") as connection:
                rows = [connection.execute(f"SHOW {each}").fetchone() for each in names]
                return [str(row[0]) for row in rows if row is not None]

        try:
            session.limit(session.Limits())
            assert shown() == ["3s", "0", *more]
            session.limit(session.Limits(lock_timeout=0.25, statement_timeout=90))
            assert shown() == ["250ms", "90s", *more]
        finally:
            session.limit(session.Limits())


#: So that a server that falls silent is missed soon; the URL's own settings hold.
_SOON = "heartbeatFrequencyMS=500&connectTimeoutMS=1000&serverSelectionTimeoutMS=500"


@contextmanager
def cut_off(journey: Journey, server: str) -> Iterator[tuple[Journey, DelayProxy]]:
    """Put a proxy before one server of a journey. Once cut, it holds connections open, silent."""
    url = journey.source if server == "source" else journey.postgres
    if server == "mongo":
        with MongoClient(journey.mongo) as client:
            assert client.address is not None
            host, port = client.address
        with DelayProxy(str(host), int(port or 0), 0) as proxy:
            yield (
                replace(journey, mongo=f"{mongo_through(journey.mongo, proxy.port)}&{_SOON}"),
                proxy,
            )
        return
    with DelayProxy(*postgres_address(url), 0) as proxy:
        through = psycopg.conninfo.make_conninfo(
            postgres_through(url, proxy.port), connect_timeout=2
        )
        changed = {"source" if server == "source" else "postgres": through}
        yield replace(journey, **changed), proxy


@pytest.mark.parametrize(
    ("command", "server"),
    [
        ("migrate", "target"),
        *(
            pytest.param(*rest, marks=pytest.mark.campaign)
            for rest in (("migrate", "source"), ("migrate", "mongo"), ("verify", "target"))
        ),
    ],
)
def test_a_server_that_falls_silent_ends_the_run(
    postgres_url: str, mongo_url: str, tmp_path: Path, command: str, server: str
) -> None:
    """TCP sees nothing wrong: the proxy confirms all that it is sent, and passes nothing on."""
    backend = "mongo" if server == "mongo" else "postgres"
    pause = tmp_path / "PAUSE"
    with (
        database(postgres_url) as other,
        shop(postgres_url, mongo_url, tmp_path, backend, "answer_timeout = 1") as journey,
    ):
        journey = replace(journey, postgres=other)
        journey.done("apply", "--backend", backend)
        if command == "verify":
            journey.done("migrate", "--backend", backend, "-q")
        slowly = ("--max-rate", "200") if command == "migrate" else ()
        with cut_off(journey, server) as (through, proxy):
            pause.touch()
            arguments = (command, "--backend", backend, "--pause-file", str(pause), *slowly)
            with started(through, *arguments) as process:
                assert process.stderr is not None
                assert next(text for text in process.stderr if "paused by" in text)
                if command == "migrate":
                    pause.unlink()
                    wait_for(process, lambda: checkpoints(journey, backend))
                proxy.cut()
                pause.unlink(missing_ok=True)
                begun = time.monotonic()
                _, err = process.communicate(timeout=60)
                assert time.monotonic() - begun < 30
            assert process.returncode in (7, 10), err
            assert "Traceback" not in err
            if server != "mongo":
                assert process.returncode == 10
                assert f"the {server} PostgreSQL has not answered for 1 s" in err
        if backend == "postgres" and command == "migrate":
            journey.done("migrate", "--backend", backend, "-q")
            journey.done("verify", "--backend", backend, "-q")
