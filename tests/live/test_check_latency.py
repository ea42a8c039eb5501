"""``check latency`` on real servers: figures, guards, and that nothing stays behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from schemas.bank import seed
from tests.live.journey import (
    Journey,
    contents,
    execute,
    mongo_database,
    northwind,
    query,
)
from tests.live.support import ROOT, database
from toolkit.checks import load
from toolkit.cli import check_latency
from toolkit.lab.proxy import DelayProxy

QUICK = ("--yes", "--duration", "2", "--warmup", "0.5", "--rate", "15")
LAYOUTS = ("single", "tables", "collections")


class Bank:
    """The small bank on both backends, and projects that declare other writes on it."""

    def __init__(self, journey: Journey, toml: str) -> None:
        self.journey = journey
        #: ``regionkit.toml`` without its queries and writes.
        self.toml = toml

    def writing(self, folder: Path, writes: str, *, postgres: str | None = None) -> Journey:
        """Return a project over the same data that declares other writes."""
        shutil.copytree(self.journey.folder, folder, dirs_exist_ok=True)
        (folder / "regionkit.toml").write_text(self.toml + writes, encoding="utf-8")
        source = self.journey.source
        return Journey(folder, source, postgres or source, self.journey.mongo)


@pytest.fixture(scope="module")
def bank(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("bank")
    for name in ("extras.sql", "countries.csv"):
        shutil.copy(ROOT / "schemas" / "bank" / name, folder)
    text = (ROOT / "schemas" / "bank" / "regionkit.toml").read_text(encoding="utf-8")
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        text = text.replace("[target.mongo]", f'[target.mongo]\ndatabase = "{name}"')
        text = text.replace('"../../', '"')
        (folder / "regionkit.toml").write_text(text, encoding="utf-8")
        with psycopg.connect(url) as connection:
            seed.create(connection)
            seed.load(connection, clients=500, payments=5000)
        execute(url, "ANALYZE")
        journey = Journey(folder, url, url, mongo_url)
        journey.prepare("all")
        yield Bank(journey, text.partition("[[query]]")[0])


def write(
    name: str,
    single: str,
    *,
    tables: str | None = None,
    cleanup: str = "delete from merchant where name = %(mark)s",
    more: str = "",
) -> str:
    """Return a write of one statement as ``regionkit.toml`` declares it."""
    text = f"""
    [[write]]
    name = "{name}"
    {more}
    [write.single]
    statements = [{{ sql = \"\"\"{single}\"\"\" }}]
    cleanup = [\"\"\"{cleanup}\"\"\"]
    """
    if tables is not None:
        text += f"""
    [write.tables]
    statements = [{{ sql = \"\"\"{tables}\"\"\" }}]
    cleanup = [\"\"\"{cleanup}\"\"\"]
    """
    return textwrap.dedent(text)


MERCHANT = "insert into merchant (name, country_code, category) values (%(mark)s, 'GL', 'online')"


def everything(journey: Journey) -> dict[str, Any]:
    """Return every row of the source and of both layouts; of links, all but the counter."""
    schema = journey.project.configuration.source_schema
    found: dict[str, Any] = {
        "source": contents(journey.source, schema),
        "tables": contents(journey.postgres, journey.schema),
    }
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        database = client[journey.mongo_database]
        for item in database.list_collections(filter={"type": "collection"}):
            documents = list(database[item["name"]].find(projection={"epoch": 0}))
            found[item["name"]] = sorted(documents, key=lambda document: str(document["_id"]))
    return found


@pytest.fixture
def untouched(bank: Bank) -> Iterator[None]:
    """Prove that a test leaves every row as it found it."""
    before = everything(bank.journey)
    yield
    after = everything(bank.journey)
    assert after.keys() == before.keys()
    for name, rows in before.items():
        assert after[name] == rows, name


@pytest.mark.usefixtures("untouched")
def test_the_bank_on_every_layout(bank: Bank) -> None:
    result = bank.journey.run("check", "latency", *QUICK, "--output", "json")
    assert result.code == 0, result.err
    document = result.document
    names = {"a payment at home", "a visiting payment", "a new client"}
    lanes = {(lane["write"], lane["layout"]): lane for lane in document["writes"]}
    assert set(lanes) == {(name, layout) for name in names for layout in LAYOUTS}
    for (_, layout), lane in lanes.items():
        assert lane["errors"] == {}, lane
        assert lane["scheduled"] == 30
        assert 0 < lane["service"]["p50_ms"] <= lane["service"]["max_ms"]
        assert lane["from_intended_start"]["p50_ms"] >= lane["service"]["p50_ms"]
        assert lane["overhead"] == 1.0 if layout == "single" else lane["overhead"] > 0
    assert document["skipped"] == []
    assert set(document["removed"]) == set(LAYOUTS)
    assert min(document["removed"].values()) > 0
    assert f"marked {document['mark']}" in result.err


def test_what_is_not_durable_is_marked(bank: Bank, tmp_path: Path) -> None:
    journey = bank.writing(tmp_path, write("a merchant", MERCHANT, tables=MERCHANT))
    result = journey.done("check", "latency", *QUICK)
    assert "source *" in result.out
    assert "fsync off" in result.out
    assert "* not durable: fsync is off" in result.out
    servers = bank.journey.done("check", "latency", *QUICK, "--output", "json").document["servers"]
    assert servers["collections"]["settings"]["members"] == "1"
    assert [servers[layout]["durable"] for layout in LAYOUTS] == [False, False, False]
    assert servers["tables"]["server"].startswith("PostgreSQL 1")


def test_verify_is_equal_afterwards(bank: Bank) -> None:
    bank.journey.done("check", "latency", *QUICK)
    bank.journey.done("verify", "-q")


def test_northwind_on_both_backends(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("northwind")
    with northwind(postgres_url, mongo_url, folder) as journey:
        journey.prepare("all")
        before = everything(journey)
        document = journey.done("check", "latency", *QUICK, "--output", "json").document
        assert [lane["layout"] for lane in document["writes"]] == list(LAYOUTS)
        assert all(lane["errors"] == {} and lane["started"] for lane in document["writes"])
        assert everything(journey) == before
        journey.done("verify", "-q")


@pytest.mark.campaign
@pytest.mark.usefixtures("untouched")
def test_a_slow_network_is_noticed(bank: Bank, tmp_path: Path) -> None:
    limit = "threshold = { p50 = 100, overhead = 1000 }"
    journey = bank.writing(tmp_path, write("a merchant", MERCHANT, tables=MERCHANT, more=limit))
    arguments = ("check", "latency", "--yes", "--duration", "2", "--warmup", "0", "--rate", "3")
    result = journey.run(*arguments, "--from", "eu", "--output", "json")
    assert result.code == 6, result.err
    assert "'a merchant' on tables: p50 " in result.err
    document = result.document
    assert document["round_trip"] == {"from": "eu", "to": "gl", "ms": 60.0}
    for lane in document["writes"]:
        # BEGIN, INSERT and COMMIT: three round trips, on the baseline as well.
        assert lane["service"]["p50_ms"] >= 3 * 60
        assert "is above 100 ms" in lane["thresholds_exceeded"][0]
    assert "(eu)" in result.err
    farthest = journey.run(*arguments, "--rtt", "--backend", "postgres").out
    assert "240 ms between ap and gl" in farthest


@pytest.mark.usefixtures("untouched")
def test_a_rate_that_cannot_be_reached_is_said(bank: Bank, tmp_path: Path) -> None:
    slow = MERCHANT.replace("values (", "select ").removesuffix(")") + " from pg_sleep(0.2)"
    journey = bank.writing(tmp_path, write("slow", slow))
    arguments = ("check", "latency", *QUICK, "--workers", "1")
    result = journey.done(*arguments)
    assert "'slow' on source: the rate of 15/s was not reached" in result.out
    [lane] = journey.done(*arguments, "--output", "json").document["writes"]
    assert lane["reached"] is False
    assert lane["rate"] == 15
    assert 0 < lane["achieved_rate"] <= 5.5
    assert lane["late_share"] > 0.5
    # Those who came on time waited for those before them: what a closed loop does not see.
    assert lane["from_intended_start"]["p50_ms"] > 2 * lane["service"]["p50_ms"]


@pytest.mark.usefixtures("untouched")
def test_other_rows_than_declared_are_errors(bank: Bank, tmp_path: Path) -> None:
    stale = "update client set full_name = %(mark)s where id = 1 and region = 'nowhere'"
    journey = bank.writing(tmp_path, write("a lost write", MERCHANT, tables=stale))
    result = journey.run("check", "latency", *QUICK, "--output", "json")
    assert result.code == 4, result.err
    single, tables = result.document["writes"]
    assert single["errors"] == {}
    assert tables["errors"] == {"rows-affected": tables["started"]}
    assert tables["service"]["count"] == 0
    assert tables["overhead"] is None
    assert "statement 1 affected 0 row(s), not 1" in result.err


@pytest.mark.usefixtures("untouched")
def test_errors_are_counted_by_kind_and_not_retried(bank: Bank, tmp_path: Path) -> None:
    execute(
        bank.journey.postgres,
        "create function refuse() returns text language plpgsql as $$ begin "
        "raise exception 'try again' using errcode = '40001'; end $$",
        schema="public",
    )
    refused = MERCHANT.replace("'GL'", "public.refuse()")
    journey = bank.writing(tmp_path, write("conflicts", MERCHANT, tables=refused))
    result = journey.run("check", "latency", *QUICK, "--output", "json")
    assert result.code == 4, result.err
    tables = result.document["writes"][1]
    assert tables["errors"] == {"40001 SerializationFailure": tables["started"]}
    assert tables["first_message"] == {"40001 SerializationFailure": "try again"}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("declared", "code", "said"),
    [
        (
            write("typo", MERCHANT.replace("merchant", "merchants")),
            2,
            'relation "merchants" does not exist',
        ),
        (
            write("no parameter", MERCHANT.replace("mark", "marks")),
            2,
            "marks",
        ),
        (
            write("greedy", MERCHANT, cleanup="delete from debit"),
            9,
            "has not written",
        ),
        (
            write("broken cleanup", MERCHANT, cleanup="delete from merchant where mark = 1"),
            2,
            "the cleanup of 'broken cleanup' on single does not run",
        ),
    ],
)
def test_bad_declarations_are_refused_before_anything_is_written(
    bank: Bank, tmp_path: Path, declared: str, code: int, said: str
) -> None:
    result = bank.writing(tmp_path, declared).run("check", "latency", *QUICK)
    assert result.code == code, result.err
    assert said in result.err


def test_a_cleanup_that_finds_nothing_is_noticed(bank: Bank, tmp_path: Path) -> None:
    cleanup = "delete from merchant where name = 'somebody else' or name = %(mark)s || '?'"
    journey = bank.writing(tmp_path, write("careless", MERCHANT, cleanup=cleanup))
    result = journey.run("check", "latency", *QUICK)
    assert result.code == 4, result.err
    assert "the cleanup found none of the rows that were written" in result.err
    execute(journey.source, "delete from bank.merchant where name like 'regionkit-%'")


def test_nothing_is_written_without_consent(bank: Bank) -> None:
    result = bank.journey.run("check", "latency", "--no-input")
    assert result.code == 2
    assert "source, postgres, mongo" in result.err
    assert "--yes" in result.err


def test_a_layout_that_is_not_there(bank: Bank, tmp_path: Path, postgres_url: str) -> None:
    with database(postgres_url) as empty:
        declared = write("a merchant", MERCHANT, tables=MERCHANT)
        journey = bank.writing(tmp_path, declared, postgres=empty)
        asked = journey.run("check", "latency", *QUICK, "--backend", "postgres")
        assert asked.code == 9, asked.err
        assert "regionkit apply --backend postgres" in asked.err
        result = journey.done("check", "latency", *QUICK)
        assert "tables: skipped: " in result.out
        assert "'a merchant' on collections: skipped: the write is not declared" in result.out


def test_nothing_declared_is_said(bank: Bank, tmp_path: Path) -> None:
    result = bank.writing(tmp_path, "").done("check", "latency", *QUICK)
    assert "declares no [[write]]" in result.out


@pytest.mark.usefixtures("untouched")
def test_rows_of_a_killed_run_can_be_removed(bank: Bank) -> None:
    journey, mark = bank.journey, "regionkit-0badcafe"
    execute(
        journey.source,
        "with p as (insert into payment (account_id, merchant_id, amount, currency, made_in, note) "
        f"""select id, 1, 5, currency, 'gl', '{{"mark": "{mark}"}}' from account where id < 5 """
        "returning *) insert into ledger_entry (account_id, payment_id, amount) "
        "select account_id, id, -amount from p",
        schema="bank",
    )
    assert query(journey.source, "select count(*) from bank.payment") == [(5004,)]
    result = journey.done("check", "latency", "--yes", "--remove", mark)
    assert f"the removal of {mark} touched 12 row(s)" in result.out


@pytest.mark.usefixtures("untouched")
def test_what_a_broken_network_left_open_is_ended(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxies: list[DelayProxy] = []

    class Fragile(DelayProxy):
        def __enter__(self) -> DelayProxy:
            proxies.append(self)
            return super().__enter__()

    def wait(crew: load._Crew) -> None:
        for proxy in proxies:
            threading.Timer(1.0, proxy.cut).start()
        patiently(crew)

    patiently = load._Crew.wait
    monkeypatch.setattr(load._Crew, "wait", wait)
    monkeypatch.setattr(load, "PATIENCE", 1.0)
    monkeypatch.setattr(check_latency, "DelayProxy", Fragile)
    arguments = ("--from", "eu", "--rate", "5", "--duration", "3", "--warmup", "0", "--yes")
    document = bank.journey.run("check", "latency", *arguments, "--output", "json").document
    assert len(proxies) == 3
    assert any("unfinished" in lane["errors"] for lane in document["writes"])
    assert min(document["removed"].values()) > 0
    # Nothing is left that could still commit.
    names = "select count(*) from pg_stat_activity where application_name like 'regionkit-%'"
    assert query(bank.journey.source, names) == [(0,)]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up(bank: Bank, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", "check", "latency", "--yes", "--duration", "60"],
        env={**os.environ, **bank.journey.env, "PYTHONPATH": str(ROOT)},
        cwd=bank.journey.folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "requests in" in line:
                break
        # Something must have been written, or there is nothing to clean up.
        mark_seen = "select count(*) > 0 from bank.payment where note ? 'mark'"
        while query(bank.journey.source, mark_seen) == [(False,)]:
            pass
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "what had been written is removed" in err
    assert "Traceback" not in err
