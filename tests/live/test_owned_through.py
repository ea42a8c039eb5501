"""Rows that belong to a client by way of the rows that refer to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from tests.live.journey import Journey, execute, mongo_database, write
from tests.live.support import database

_SCHEMA = """
CREATE SCHEMA bank;
CREATE TABLE bank.address (id int PRIMARY KEY, street text);
CREATE TABLE bank.client (
  id bigint PRIMARY KEY, land text NOT NULL, address_id int REFERENCES bank.address);
CREATE TABLE bank.account (branch int, no int, balance numeric(12, 2), PRIMARY KEY (branch, no));
CREATE TABLE bank.mandate (
  client_id bigint REFERENCES bank.client, branch int, no int, since date,
  PRIMARY KEY (client_id, branch, no), FOREIGN KEY (branch, no) REFERENCES bank.account);
CREATE TABLE bank.payment (
  id bigint PRIMARY KEY, branch int NOT NULL, no int NOT NULL, amount numeric(12, 2),
  FOREIGN KEY (branch, no) REFERENCES bank.account);
CREATE TABLE bank.note (what text, branch int, no int,
  FOREIGN KEY (branch, no) REFERENCES bank.account);
INSERT INTO bank.address SELECT n, 'street ' || n FROM generate_series(1, 20) n;
INSERT INTO bank.client SELECT n, CASE n % 2 WHEN 0 THEN 'DE' ELSE 'US' END, n
  FROM generate_series(1, 20) n;
INSERT INTO bank.account SELECT n % 3, n, n FROM generate_series(1, 60) n;
INSERT INTO bank.mandate SELECT 1 + n % 20, n % 3, n, '2020-01-01' FROM generate_series(1, 60) n;
INSERT INTO bank.payment SELECT n, (1 + n % 60) % 3, 1 + n % 60, n FROM generate_series(1, 500) n;
INSERT INTO bank.note SELECT 'note', n % 3, n FROM generate_series(1, 30) n;
"""

_TOML = """
[source]
schema = "bank"
[target.mongo]
database = "{database}"
allow_single_member = true
[root]
table = "client"
[root.region]
column = "land"
map = {{ DE = "eu", US = "na" }}
[regions]
eu = {{}}
na = {{}}
[migrate]
chunk_rows = 20
[placement.address]
owned_through = "client via address_id"
[placement.client]
same_region = ["address_id"]
[placement.account]
owned_through = "mandate via branch, no"
[placement.mandate]
same_region = [["branch", "no"]]
"""


@pytest.fixture
def journey(postgres_url: str, mongo_url: str, tmp_path: Path) -> Iterator[Journey]:
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(url, _SCHEMA)
        write(tmp_path, _TOML.format(database=name))
        yield Journey(tmp_path, url, url, mongo_url)


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_rows_follow_who_refers_to_them(journey: Journey, backend: str) -> None:
    journey.prepare(backend)
    journey.done("verify", "--backend", backend)
    wanted = {"address": 20, "account": 60, "payment": 500, "note": 30, "mandate": 60}
    if backend == "postgres":
        found = {name: journey.rows(f"SELECT count(*) FROM {name}")[0][0] for name in wanted}
        apart = journey.rows(
            "SELECT count(*) FROM account a JOIN mandate m USING (branch, no) "
            "WHERE m.client_id <> a.client_id OR m.region <> a.region"
        )
        assert apart == [(0,)]
    else:
        with MongoClient[dict[str, Any]](journey.mongo) as client:
            documents = client[journey.mongo_database]
            found = {name: documents[name].count_documents({}) for name in wanted}
            assert documents["account_eu"].count_documents({"client_id": {"$mod": [2, 0]}}) == 30
    assert found == wanted


def test_a_move_takes_them_along(journey: Journey) -> None:
    journey.prepare("postgres")
    with psycopg.connect(journey.postgres, autocommit=True) as connection:
        connection.execute("SET search_path = bank_regional")
        keys = connection.execute(
            "SELECT string_agg(quote_ident(conname), ', ') FROM pg_constraint WHERE contype = 'f' "
            "AND connamespace = 'bank_regional'::regnamespace AND condeferrable "
            "AND conparentid = 0"
        ).fetchone()
        assert keys is not None
        with connection.transaction():
            connection.execute("SELECT set_config('regionkit.moving', 'on', true)")
            connection.execute(f"SET CONSTRAINTS {keys[0]} DEFERRED")
            connection.execute("UPDATE client_region SET region = 'eu' WHERE client_id = 1")
        for table in ("client", "address", "account", "mandate"):
            key = "id" if table == "client" else "client_id"
            regions = connection.execute(
                f"SELECT DISTINCT region FROM {table} WHERE {key} = 1"
            ).fetchall()
            assert regions == [("eu",)], table


def test_a_row_of_several_clients_is_refused_by_its_key(journey: Journey) -> None:
    execute(journey.source, "INSERT INTO bank.mandate VALUES (2, 0, 3, '2021-01-01')")
    for command in ("generate", "apply"):
        journey.done(command, "--backend", "postgres")
    result = journey.run("migrate", "--backend", "postgres", "--dry-run")
    assert result.code == 9
    assert "belongs to several clients, by mandate via branch, no" in result.err
    execute(journey.source, "DELETE FROM bank.mandate WHERE no = 3")
    result = journey.run("migrate", "--backend", "postgres")
    assert result.code == 9
    assert "belongs to no client: no row of mandate via branch, no leads to it" in result.err


def test_a_circle_of_owners_is_refused(journey: Journey) -> None:
    toml = journey.folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    toml.write_text(
        text.replace('"mandate via branch, no"', '"payment via branch, no"'), encoding="utf-8"
    )
    result = journey.run("generate")
    assert result.code == 2
    assert "have no client of their own without 'account'" in result.err
    toml.write_text(text.replace('"client via address_id"', '"mandate via no"'), encoding="utf-8")
    result = journey.run("generate")
    assert result.code == 2
    assert "is no foreign key to 'address'" in result.err
