"""A migration that is killed or interrupted goes on where it stopped, and doubles nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from schemas.bank import seed
from tests.live.journey import JOURNAL, Journey, copy_of, drop_mongo, mongo_database, query
from tests.live.support import ROOT, database

BANK = ROOT / "schemas" / "bank"
CLIENTS, PAYMENTS = 250, 1_600


@pytest.fixture(scope="module")
def bank(postgres_url: str) -> Iterator[str]:
    """A bank as the source: the template of every test's database."""
    with database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            seed.create(connection)
            seed.load(connection, clients=CLIENTS, payments=PAYMENTS)
        yield url


@pytest.fixture(scope="module")
def folder(bank: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bank's project, in chunks so small that a migration takes a while."""
    folder = tmp_path_factory.mktemp("bank")
    for name in ("countries.csv", "extras.sql"):
        shutil.copy(BANK / name, folder)
    text = (BANK / "regionkit.toml").read_text(encoding="utf-8")
    with mongo_database(mongo_url) as name:
        text = text.replace("[target.mongo]", f'[target.mongo]\ndatabase = "{name}"')
        text = text.replace("../../migrations_", "migrations_")
        text += "\n[migrate]\nchunk_rows = 100\n"
        (folder / "regionkit.toml").write_text(text, encoding="utf-8")
        Journey(folder, bank, bank, mongo_url).done("generate")
        yield folder


@contextmanager
def migrating(journey: Journey, backend: str) -> Iterator[subprocess.Popen[str]]:
    """Start ``regionkit migrate`` as a process of its own; it never outlives the block."""
    environment = {name: value for name, value in os.environ.items() if "REGIONKIT" not in name}
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", "migrate", "--backend", backend, "--output", "json"],
        cwd=ROOT,
        env={**environment, **journey.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    """Wait until a migration has come so far, while it runs."""
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def copied_chunks(journey: Journey, backend: str) -> Iterator[Callable[[], int]]:
    """Yield what counts the chunks that are copied."""
    if backend == "mongo":
        with MongoClient[dict[str, Any]](journey.mongo) as client:
            chunks = client[JOURNAL]["chunks"]
            mine = {"_id.target": journey.mongo_database, "rows": {"$ne": None}}
            yield lambda: chunks.count_documents(mine)
        return
    with psycopg.connect(journey.postgres, autocommit=True) as connection:

        def count() -> int:
            row = connection.execute(
                "SELECT to_regclass('regionkit.checkpoint') IS NOT NULL"
            ).fetchone()
            if row != (True,):
                return 0
            row = connection.execute("SELECT count(*) FROM regionkit.checkpoint").fetchone()
            assert row is not None
            return int(row[0])

        yield count


def source_rows(journey: Journey) -> dict[str, int]:
    counts = {
        table: query(journey.source, f"SELECT count(*) FROM bank.{table}")[0][0]
        for table in journey.project.layout.placement.tables
    }
    return {**counts, "client_region": counts["client"]}


def in_target(journey: Journey, backend: str) -> dict[str, int]:
    if backend == "postgres":
        return {
            table: journey.rows(f"SELECT count(*) FROM {table}")[0][0]
            for table in source_rows(journey)
        }
    layout = journey.project.layout
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        target = client[journey.mongo_database]
        found = {}
        for table in source_rows(journey):
            regional = layout.regional.get(table)
            names = list(regional.parts.values()) if regional else [table]
            found[table] = sum(target[name].count_documents({}) for name in names)
        return found


def catalogue(journey: Journey, backend: str) -> object:
    return journey.catalogue() if backend == "postgres" else journey.mongo_catalogue()


def complete(journey: Journey, backend: str, *arguments: str, copied: bool = True) -> None:
    """Run the migration to its end: it finds what was done, and does the rest."""
    result = journey.done("migrate", "--backend", backend, "--output", "json", *arguments)
    (document,) = result.document["results"]
    wanted = source_rows(journey)
    assert document["resumed"] is True
    already = {table: rows for table, rows in document["already"].items() if rows}
    assert already
    assert all(0 < rows <= wanted[table] for table, rows in already.items())
    if copied:
        assert 0 < sum(already.values()) < sum(wanted.values())
    added = {table: document["copied"].get(table, 0) + already.get(table, 0) for table in wanted}
    assert added == wanted
    assert in_target(journey, backend) == wanted
    journey.done("verify", "--backend", backend, "-q")


def release_lock(journey: Journey) -> None:
    """Let the lease of a killed holder run out at once, instead of in half a minute."""
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        changed = client[JOURNAL]["locks"].update_one(
            {"_id": f"migrate {journey.mongo_database}"},
            [{"$set": {"until": {"$subtract": ["$$NOW", 1000]}}}],
        )
        assert changed.matched_count == 1


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_killed_while_copying(bank: str, folder: Path, mongo_url: str, backend: str) -> None:
    with copy_of(bank) as url:
        journey = Journey(folder, url, url, mongo_url)
        drop_mongo(mongo_url, journey.mongo_database)
        journey.done("apply", "--backend", backend)
        applied = catalogue(journey, backend)
        with (
            migrating(journey, backend) as process,
            copied_chunks(journey, backend) as chunks,
        ):
            wait_for(process, lambda: chunks() >= 8)
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        assert in_target(journey, backend) != source_rows(journey)
        if backend == "mongo":
            result = journey.run("migrate", "--backend", "mongo")
            assert result.code == 8, result.err
            release_lock(journey)
        else:
            result = journey.run("verify", "--backend", "postgres", "-q")
            assert result.code == 5
            assert "row-missing" in result.err
        complete(journey, backend)
        assert catalogue(journey, backend) == applied


def test_killed_while_finishing(bank: str, folder: Path, mongo_url: str) -> None:
    """All rows are there, some constraints are not: the next run puts the others back."""
    with copy_of(bank) as url:
        journey = Journey(folder, url, url, mongo_url)
        journey.done("apply", "--backend", "postgres")
        applied = journey.catalogue()
        with (
            migrating(journey, "postgres") as process,
            psycopg.connect(url, autocommit=True) as connection,
        ):
            most = 0

            def some_are_back() -> bool:
                nonlocal most
                row = connection.execute(
                    "SELECT to_regclass('regionkit.taken_down') IS NOT NULL"
                ).fetchone()
                if row != (True,):
                    return False
                row = connection.execute("SELECT count(*) FROM regionkit.taken_down").fetchone()
                assert row is not None
                most = max(most, int(row[0]))
                return 0 < int(row[0]) < most - 3

            wait_for(process, some_are_back)
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        assert journey.catalogue() != applied
        assert query(url, "SELECT state FROM regionkit.migration") == [("copied",)]
        result = journey.run("verify", "--backend", "postgres", "-q")
        assert result.code == 5
        assert "still taken down" in result.err
        complete(journey, "postgres", "--resume", copied=False)
        assert journey.catalogue() == applied
        assert query(url, "SELECT count(*) FROM regionkit.taken_down") == [(0,)]


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_interrupted(
    bank: str, folder: Path, postgres_url: str, mongo_url: str, backend: str
) -> None:
    """Ctrl-C, with the target in another database: the chunk in hand is finished, no other."""
    with database(postgres_url) as target:
        journey = Journey(folder, bank, target, mongo_url)
        drop_mongo(mongo_url, journey.mongo_database)
        journey.done("apply", "--backend", backend)
        applied = catalogue(journey, backend)
        with (
            migrating(journey, backend) as process,
            copied_chunks(journey, backend) as chunks,
        ):
            wait_for(process, lambda: chunks() >= 8)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert out == ""
        assert "Traceback" not in err
        assert "next: run 'regionkit migrate --resume' to go on" in err.splitlines()
        complete(journey, backend, "--resume")
        assert catalogue(journey, backend) == applied
