"""``check joins`` on real servers: it agrees where all is well, and notices what is broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from schemas.bank import seed
from tests.live.journey import Journey, execute, mongo_database, northwind
from tests.live.support import ROOT, Result, database
from toolkit.checks.parameters import draw
from toolkit.errors import UsageError
from toolkit.postgres import session

LOOKUP = "everything about one client"
AWAY = "payments made away from home in one day"
TOTALS = "totals per region and currency"
QUICK = ("--runs", "3", "-q")

#: Queries that are wrong on purpose, instead of the bank's own.
WITHOUT_REGION = """
[[query]]
name = "accounts of a client"
lookup = true
client = "client"
draw = "select id as client from client"
sql = "select id, balance from account where client_id = %(client)s"
[query.mongo]
collection = "account"
pipeline = '''[
  {"$match": {"client_id": {"$param": "client"}}},
  {"$project": {"_id": 0, "id": "$_id", "balance": 1}}]'''
"""

FAILS = """
[[query]]
name = "fails on the layouts"
sql = "select relkind::text as kind from pg_class where oid = 'account'::regclass"
tables = "select nothing from account"
[query.mongo]
collection = "account_eu"
pipeline = '[{"$nonsense": 1}]'

[[query]]
name = "fails on the source"
sql = "select 1 / 0 as x"
"""

WRONG_FIELDS = """
[[query]]
name = "countries"
sql = "select code, name, 1 as one from country"
tables = "select code, upper(name) as name, 1::numeric as one from country"
[query.mongo]
collection = "country"
pipeline = '[{"$project": {"code": "$_id", "_id": 0, "name": 1, "uno": {"$literal": 1}}}]'
"""

SLOW = """
[[query]]
name = "slow"
sql = "select 1 as x from pg_sleep(0.0)"
tables = "select 1 as x from pg_sleep(0.02)"
threshold = { p50 = 10, p99 = 0.001 }
"""


class Bank:
    """The small bank on both backends, and projects that ask it other queries."""

    def __init__(self, journey: Journey, toml: str) -> None:
        self.journey = journey
        #: ``regionkit.toml`` without its queries and writes.
        self.toml = toml

    def asking(self, folder: Path, queries: str) -> Journey:
        """Return a project over the same data that declares other queries."""
        shutil.copytree(self.journey.folder, folder, dirs_exist_ok=True)
        (folder / "regionkit.toml").write_text(self.toml + queries, encoding="utf-8")
        return Journey(folder, self.journey.source, self.journey.postgres, self.journey.mongo)


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


@pytest.fixture(scope="module")
def documents(bank: Bank) -> Iterator[Database[dict[str, Any]]]:
    with MongoClient[dict[str, Any]](bank.journey.mongo) as client:
        yield client[bank.journey.mongo_database]


def ask(journey: Journey, *arguments: str) -> Result:
    return journey.run("check", "joins", *QUICK, "--output", "json", *arguments)


def answers(result: Result) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the document says of each query on each layout."""
    return {
        (query["name"], layout["layout"]): layout
        for query in result.document["queries"]
        for layout in query["layouts"]
    }


def findings(result: Result) -> set[tuple[str, str, str]]:
    return {
        (finding["code"], finding["server"], finding["table"])
        for finding in result.document["findings"]
    }


# All is well ------------------------------------------------------------------------------------


def test_the_bank_gives_the_same_answers(bank: Bank) -> None:
    result = ask(bank.journey)
    assert result.code == 0, result.err
    document, found = result.document, answers(result)
    assert (document["schema_version"], document["runs"], document["skipped"]) == (1, 3, {})
    assert {name for name, _ in found} == {LOOKUP, AWAY, TOTALS}
    for (name, layout), one in found.items():
        assert one["rows"] == found[name, "single"]["rows"] > 0
        assert one["equal"] is (None if layout == "single" else True)
        assert one["times"]["count"] == 3
        assert 0 < one["times"]["p50_ms"] <= one["times"]["p99_ms"] <= one["times"]["max_ms"]
        assert one["plan"]
    for layout in ("tables", "collections"):
        assert found[LOOKUP, layout]["most_regions_in_one_run"] == 1
        assert found[LOOKUP, layout]["explained_runs"] == 20
        assert {"client_gl", "account_gl", "merchant"} <= {
            *found[LOOKUP, layout]["relations_touched"]
        }
        for name in (AWAY, TOTALS):
            assert found[name, layout]["regions_touched"] == ["gl", "eu", "na", "ap"]
    assert {*found[TOTALS, "single"]["relations_touched"]} == {"payment", "account", "client"}


def test_the_table_is_for_people(bank: Bank) -> None:
    result = bank.journey.run("check", "joins", *QUICK)
    assert result.code == 0
    for word in ("everything", "single", "tables", "collections", "equal", "one each time", "p99"):
        assert word in result.out
    assert result.err == ""


def test_the_same_seed_draws_the_same_parameters(bank: Bank) -> None:
    one, same, other = (
        [query["parameters"] for query in ask(bank.journey, "--seed", seed).document["queries"]]
        for seed in ("5", "5", "6")
    )
    assert one == same != other
    assert len(one[0]) == 20


def test_northwind_gives_the_same_answers(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with northwind(postgres_url, mongo_url, tmp_path) as journey:
        journey.prepare("all")
        result = ask(journey)
        assert result.code == 0, result.err
        found = answers(result)
        assert len(found) == 9
        assert all(one["equal"] for (_, layout), one in found.items() if layout != "single")
        lookup = found["the orders of a customer", "collections"]
        assert lookup["most_regions_in_one_run"] == 1


# Broken on purpose ------------------------------------------------------------------------------


@contextmanager
def without_index(bank: Bank, documents: Database[dict[str, Any]]) -> Iterator[None]:
    """Drop the index of payments by account on both backends, and put it back."""
    schema = bank.journey.schema
    (index, definition), *more = bank.journey.rows(
        "SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'payment'::regclass "
        "AND pg_get_indexdef(c.oid) LIKE '%(account_id)'"
    )
    assert not more
    parts = [name for name in documents.list_collection_names() if name.startswith("payment_")]
    named = {
        name: next(
            index
            for index, found in documents[name].index_information().items()
            if found["key"] == [("account_id", 1)]
        )
        for name in parts
    }
    execute(bank.journey.postgres, f'DROP INDEX "{schema}"."{index}"')
    for name, found in named.items():
        documents[name].drop_index(found)
    try:
        yield
    finally:
        # The definition of a partitioned index says ONLY, which would leave the partitions out.
        execute(bank.journey.postgres, definition.replace(" ON ONLY ", " ON "))
        for name, found in named.items():
            documents[name].create_index("account_id", name=found)


def test_an_index_that_was_dropped(bank: Bank, documents: Database[dict[str, Any]]) -> None:
    with without_index(bank, documents):
        result = ask(bank.journey)
    assert result.code == 4
    assert findings(result) == {
        ("scan-without-index", "postgres", LOOKUP),
        ("scan-without-index", "mongo", LOOKUP),
    }
    assert "payment_gl (" in result.err
    assert "payment_gl ($lookup without an index" in result.err
    assert ask(bank.journey).code == 0


@contextmanager
def one_row_changed(bank: Bank, documents: Database[dict[str, Any]], client: int) -> Iterator[None]:
    """Change the balance of a client's account by a hundredth, on both backends."""
    where = f"WHERE client_id = {client} AND region <> 'gl'"
    change = f"UPDATE account SET balance = balance + 0.01 {where}"
    part = f"account_{bank.journey.rows(f'SELECT region FROM account {where}')[0][0]}"
    execute(bank.journey.postgres, change, schema=bank.journey.schema)
    before = documents[part].find_one({"client_id": client})
    assert before is not None
    documents[part].update_one({"_id": before["_id"]}, {"$set": {"iban": "XX00"}})
    try:
        yield
    finally:
        execute(bank.journey.postgres, change.replace("+", "-"), schema=bank.journey.schema)
        documents[part].replace_one({"_id": before["_id"]}, before)


def test_one_row_that_was_changed_in_one_region(
    bank: Bank, documents: Database[dict[str, Any]]
) -> None:
    drawn = ask(bank.journey, "--backend", "postgres").document["queries"][0]["parameters"]
    (client,) = bank.journey.rows(
        "SELECT min(client_id) FROM account WHERE region <> 'gl' AND client_id IN "
        f"({', '.join(str(row['client']) for row in drawn)}) "
        "AND (SELECT count(*) FROM account o WHERE o.client_id = account.client_id) = 1"
    )[0]
    with one_row_changed(bank, documents, client):
        result = ask(bank.journey)
    assert result.code == 5
    assert findings(result) == {
        ("rows-differ", "postgres", LOOKUP),
        ("rows-differ", "mongo", LOOKUP),
    }
    for layout in ("tables", "collections"):
        found = answers(result)[LOOKUP, layout]
        assert found["equal"] is False
        assert (found["difference"]["missing"], found["difference"]["unexpected"]) == (1, 1)
        assert all(
            f"client = {client}, full_name" in text for text in found["difference"]["samples"]
        )
    assert f"missing (client = {client}): client = {client}" in result.err
    assert "iban = 'XX00'" in result.err
    assert "next: " in result.err
    assert ask(bank.journey).code == 0


def test_a_lookup_that_does_not_name_the_region(bank: Bank, tmp_path: Path) -> None:
    result = ask(bank.asking(tmp_path, WITHOUT_REGION))
    assert result.code == 4
    name = "accounts of a client"
    assert findings(result) == {
        ("touches-regions", "postgres", name),
        ("touches-regions", "mongo", name),
    }
    for layout in ("tables", "collections"):
        found = answers(result)[name, layout]
        assert (found["equal"], found["most_regions_in_one_run"]) == (True, 4)
    assert "20 of 20 lookups of one client touch gl, eu, na, ap" in result.err


def test_a_query_that_does_not_run(bank: Bank, tmp_path: Path) -> None:
    result = ask(bank.asking(tmp_path, FAILS))
    assert result.code == 4
    assert findings(result) == {
        ("query-fails", "postgres", "fails on the layouts"),
        ("query-fails", "mongo", "fails on the layouts"),
        ("query-fails", "source", "fails on the source"),
    }
    assert 'column "nothing" does not exist' in result.err
    assert "Unrecognized pipeline stage name" in result.err
    assert "division by zero" in result.err
    found = answers(result)
    assert found["fails on the source", "tables"]["skipped"] == "it does not run on the source"


def test_columns_and_types_that_differ(bank: Bank, tmp_path: Path) -> None:
    result = ask(bank.asking(tmp_path, WRONG_FIELDS))
    assert result.code == 5
    tables = answers(result)["countries", "tables"]["difference"]
    assert (tables["missing"], tables["unexpected"]) == (17, 17)
    collections = answers(result)["countries", "collections"]["difference"]
    assert collections["unknown_fields"] == ["uno"]
    assert collections["missing"] == 17
    assert "one = (no such field)" in result.err
    assert "the source returns no uno" in result.err


def test_a_threshold_that_is_exceeded(bank: Bank, tmp_path: Path) -> None:
    result = ask(bank.asking(tmp_path, SLOW), "--backend", "postgres")
    assert result.code == 6
    exceeded = {one["figure"]: one for one in result.document["exceeded"]}
    assert exceeded.keys() == {"p50", "p99"}
    assert all(one["layout"] == "tables" for one in exceeded.values())
    assert exceeded["p50"]["measured_ms"] > 20
    assert "slow: p50 is 2" in result.err


def test_rows_that_differ_come_before_a_threshold(bank: Bank, tmp_path: Path) -> None:
    result = ask(bank.asking(tmp_path, WRONG_FIELDS + FAILS + SLOW))
    assert result.code == 5
    assert result.document["exceeded"]


def test_a_query_without_a_counterpart_is_skipped(bank: Bank, tmp_path: Path) -> None:
    journey = bank.asking(tmp_path, '[[query]]\nname = "q"\nsql = "select 5 % 3 as two"\n')
    result = ask(journey)
    assert result.code == 0
    assert answers(result)["q", "collections"]["skipped"] == "not declared for collections"
    text = journey.run("check", "joins", *QUICK).out
    assert "collections: q: skipped: not declared for collections" in text


def test_nothing_declared(bank: Bank, tmp_path: Path) -> None:
    result = ask(bank.asking(tmp_path, ""))
    assert (result.code, result.document["skipped"]) == (0, {"all": "no [[query]] is declared"})


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ('sql = "select 1 as x"\ndraw = "select nothing"', "`draw` does not run"),
        ('sql = "select 1 as x"\ndraw = "select 1 as a, 2 as a"', "returns the columns a, a"),
        ('sql = "select 1 as x"\nclient = "client"', "names no parameter"),
        (
            'sql = "select 1 as x"\ndraw = "select 1 as client, 2 as region"\nclient = "client"',
            "returns a column 'region'",
        ),
        (
            'sql = "select 1 as x"\nmongo = { collection = "country", pipeline = "[" }',
            "not MongoDB Extended JSON",
        ),
        (
            'sql = "select 1 as x"\nmongo = { collection = "c", pipeline = \'[{"$out": "x"}]\' }',
            "would write",
        ),
        (
            'sql = "select 1 as x"\n'
            'mongo = { collection = "country", pipeline = \'[{"$match": {"$param": "n"}}]\' }',
            "names no parameter",
        ),
    ],
)
def test_a_declaration_that_is_wrong(bank: Bank, tmp_path: Path, query: str, problem: str) -> None:
    result = bank.asking(tmp_path, f'[[query]]\nname = "q"\n{query}\n').run("check", "joins")
    assert result.code == 2
    assert problem in result.err
    assert "next: " in result.err


def test_a_query_cannot_write(bank: Bank, tmp_path: Path) -> None:
    query = "with gone as (delete from currency returning code) select code from gone"
    result = ask(bank.asking(tmp_path, f'[[query]]\nname = "q"\nsql = "{query}"\n'))
    assert result.code == 4
    assert findings(result) == {("query-fails", "source", "q")}
    assert bank.journey.rows("SELECT count(*) FROM currency") == [(13,)]


def test_a_layout_that_is_not_applied(
    bank: Bank, postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with database(postgres_url) as empty:
        journey = Journey(bank.journey.folder, bank.journey.source, empty, mongo_url)
        result = ask(journey, "--backend", "postgres")
        assert (result.code, result.out) == (9, "")
        assert "the layout is not applied" in result.err
        result = ask(journey)
        assert result.code == 0
        assert {layout for _, layout in answers(result)} == {"single", "collections"}
        assert "is not applied" in result.document["skipped"]["tables"]
        assert "tables: skipped" in journey.run("check", "joins", *QUICK).out

        journey.done("apply", "--backend", "postgres")
        result = ask(journey, "--backend", "postgres")
        assert result.code == 9
        assert "nothing was migrated" in result.err


# Parameters -------------------------------------------------------------------------------------


def test_drawing_is_deterministic_and_typed(bank: Bank) -> None:
    statement = 'select id, balance, opened_at, currency, iban as "odd %name" from account;'
    with session.connect(bank.journey.source, role="source") as connection:
        session.search_path(connection, "bank")
        one = draw(connection, statement, count=5, seed=1)
        assert draw(connection, statement, count=5, seed=1) == one
        assert draw(connection, statement, count=5, seed=2).rows != one.rows
        assert draw(connection, statement, count=3, seed=1).rows == one.rows[:3]
        assert one.names == ("id", "balance", "opened_at", "currency", "odd %name")
        assert [type_.name for type_ in one.types.values()] == [
            "bigint",
            "numeric",
            "timestamp with time zone",
            "character",
            "character varying",
        ]
        assert draw(connection, None, count=5, seed=1).rows == [{}]
        assert draw(connection, "select 1 as n where false", count=5, seed=1).rows == []
        with pytest.raises(UsageError, match="does not run on the source"):
            draw(connection, "delete from currency returning code", count=5, seed=1)
