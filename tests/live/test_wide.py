"""Many tables on a server whose lock table is small: every transaction takes its share and no more.

The server is one of its own. What one transaction would need does not fit it, which is asserted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from bench.wide_schema import Wide
from tests.live.journey import Journey, execute, query, write
from tests.live.support import database
from tests.versions import chosen_server
from toolkit.lab import temporary_lab
from toolkit.postgres import session

#: What one transaction cannot hold, and what it takes a minute less to migrate.
LARGE = Wide(tables=100, references=200)
MEDIUM = Wide(tables=48, references=96)
SMALL = Wide(tables=12, references=24)

#: Room for 1600 locks of all sessions; by default there is room for 6400.
SETTINGS = {
    "max_locks_per_transaction": "32",
    "max_connections": "50",
    "max_prepared_transactions": "0",
}
BUDGET = 800

LOCKS = "SELECT count(*) FROM pg_locks WHERE NOT fastpath GROUP BY pid"


@pytest.fixture(scope="module")
def small_server() -> Iterator[str]:
    with temporary_lab(fast=True, servers=["postgres"], server=chosen_server(SETTINGS)) as lab:
        url = lab.url("postgres")
        assert url is not None
        yield url


@contextmanager
def project(server: str, folder: Path, wide: Wide, rows: int, budget: int) -> Iterator[Journey]:
    with database(server) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in wide.statements(rows):
                connection.execute(statement.encode())
        write(folder, wide.toml("none", f"[target.postgres]\ntransaction_locks = {budget}\n"))
        yield Journey(folder, url, url)


@contextmanager
def watched(server: str) -> Iterator[list[int]]:
    """Look at the locks of each session, over and over; the list ends up with the most of one."""
    most = [0]
    over = threading.Event()

    def look() -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            while not over.is_set():
                most[0] = max([most[0], *(row[0] for row in connection.execute(LOCKS).fetchall())])
                time.sleep(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def test_one_transaction_would_not_fit(small_server: str, tmp_path: Path) -> None:
    with project(small_server, tmp_path, LARGE, 1, 10**6) as journey:
        journey.done("generate", "--backend", "postgres")
        refused = journey.run("apply", "--backend", "postgres")
        assert refused.code == 9
        assert "revision 0001 takes up to" in refused.err
        assert "the server has room for 1600" in refused.err
        assert f"transaction_locks = {BUDGET}" in refused.err
        statements = journey.done("generate", "--backend", "postgres", "--sql").out
        with pytest.raises(psycopg.errors.OutOfMemory):
            execute(journey.postgres, statements)


def test_the_whole_journey(small_server: str, tmp_path: Path) -> None:
    with project(small_server, tmp_path, MEDIUM, 5, BUDGET) as journey:
        journey.done("generate", "--backend", "postgres")
        plan = journey.done("apply", "--backend", "postgres", "--dry-run", "--output", "json")
        planned = [one["locks"] for one in plan.document["results"][0]["plans"]]
        assert len(planned) > 10
        assert max(planned) <= BUDGET
        backend = ("--backend", "postgres")
        for arguments in (
            ("apply", *backend),
            ("migrate", *backend),
            ("verify", *backend),
            ("cutover", "--yes", *backend),
            ("cutover", "--rollback", "--yes"),
            ("apply", "--revert", "--yes", *backend),
        ):
            with watched(journey.postgres) as most:
                journey.done(*arguments)
            assert most[0] <= BUDGET, arguments
        assert query(
            journey.postgres,
            "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'wide_%'"
            " OR nspname LIKE 'regionkit_scratch%'",
        ) == [(0,)]


def test_a_revision_that_fails_in_the_middle(small_server: str, tmp_path: Path) -> None:
    with project(small_server, tmp_path, SMALL, 1, BUDGET // 2) as journey:
        journey.done("generate", "--backend", "postgres")
        files = sorted((tmp_path / "migrations_sql" / "versions").glob("*.py"))
        last = f"{len(files):04}"
        text = files[2].read_text()
        broken = text.replace(
            "def upgrade() -> None:\n", "def upgrade() -> None:\n    op.execute('SELECT 1/0')\n"
        )
        files[2].write_text(broken)
        failed = journey.run("apply", "--backend", "postgres")
        assert failed.code == 9
        assert "division by zero" in failed.err
        assert "done: 0001 to 0002" in failed.err and f"not done: 0003 to {last}" in failed.err
        files[2].write_text(text)
        again = journey.done("apply", "--backend", "postgres", "--output", "json").document
        assert again["results"][0]["ran"] == [f"{n:04}" for n in range(3, len(files) + 1)]
        # And the way back, from where it stopped.
        files[1].write_text(
            files[1]
            .read_text()
            .replace(
                "def downgrade() -> None:\n",
                "def downgrade() -> None:\n    op.execute('SELECT 1/0')\n",
            )
        )
        failed = journey.run("apply", "--revert", "--yes", "--backend", "postgres")
        assert failed.code == 9
        assert f"done: {last} to 0003" in failed.err and "not done: 0002 to 0001" in failed.err


def test_scratch_schemas_that_were_left_behind(small_server: str, tmp_path: Path) -> None:
    with project(small_server, tmp_path, SMALL, 1, BUDGET) as journey:
        journey.prepare("postgres")
        execute(
            journey.postgres,
            "CREATE SCHEMA regionkit_scratch_left",
            "CREATE TABLE regionkit_scratch_left.a (id int PRIMARY KEY)",
            "CREATE TABLE regionkit_scratch_left.b (id int REFERENCES regionkit_scratch_left.a)",
            "CREATE SCHEMA regionkit_scratch_in_use",
        )
        with session.exclusive(journey.postgres, role="postgres", name="regionkit_scratch_in_use"):
            journey.done("verify", "--backend", "postgres")
            left = query(
                journey.postgres,
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'regionkit_scratch%'",
            )
        assert left == [("regionkit_scratch_in_use",)]
