"""Keys over domains, generated columns and periods, deferrable ones, go all the way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.journey import Journey, execute, mongo_database, query, write
from tests.live.support import database

SCHEMA = """
CREATE EXTENSION btree_gist;
CREATE SCHEMA hr;
CREATE DOMAIN no AS bigint CHECK (VALUE > 0);
CREATE DOMAIN hr.mail AS text CHECK (VALUE ~ '@');
CREATE TYPE hr.mood AS ENUM ('a', 'b');
CREATE FUNCTION hr.tidy(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT lower($1) $$;
CREATE TABLE client (
  id no PRIMARY KEY, country text, mail hr.mail UNIQUE, mails hr.mail[] UNIQUE, moods hr.mood[],
  CONSTRAINT positive CHECK (id > 0) NO INHERIT);
CREATE UNIQUE INDEX tidy ON client (hr.tidy(mail), (moods[1]));
CREATE TABLE hr.account (
  id bigint GENERATED ALWAYS AS IDENTITY, client no NOT NULL REFERENCES client, a integer,
  g integer GENERATED ALWAYS AS (a * 2) STORED, PRIMARY KEY (client, g) INCLUDE (a), UNIQUE (id));
CREATE TABLE place (
  id integer PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, client no NOT NULL REFERENCES client);
CREATE TABLE ref (
  id integer PRIMARY KEY, client no NOT NULL REFERENCES client,
  account bigint REFERENCES hr.account (id) ON DELETE SET DEFAULT);
INSERT INTO client SELECT n, (ARRAY['de','us'])[n % 2 + 1], n || '@x', ARRAY[n || '@y'],
  ARRAY['a']::hr.mood[] FROM generate_series(1, 10) n;
INSERT INTO hr.account (client, a) SELECT n, n FROM generate_series(1, 10) n;
INSERT INTO place SELECT n, n FROM generate_series(1, 10) n;
INSERT INTO ref SELECT n, n, 11 - n FROM generate_series(1, 10) n;
"""

#: Of PostgreSQL 18.
PERIODS = """
ALTER TABLE client ADD loud text GENERATED ALWAYS AS (upper(country)) VIRTUAL;
CREATE TABLE stay (
  client no REFERENCES client, during daterange, room integer,
  PRIMARY KEY (client, during WITHOUT OVERLAPS),
  CONSTRAINT once UNIQUE (room, during WITHOUT OVERLAPS));
INSERT INTO stay SELECT n, daterange('2020-01-01', '2021-01-01'), n FROM generate_series(1, 10) n;
"""

TOML = """
[source]
schemas = ["hr"]
[root]
table = "client"
[root.region]
column = "country"
map = {{ de = "eu", us = "na" }}
[regions]
eu = {{}}
na = {{}}
[target.mongo]
database = "{database}"
allow_single_member = true
[placement.ref]
home = "client"
"""


@pytest.fixture(scope="module")
def journey(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("keys")
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(url, SCHEMA)
        if has_periods(url):
            execute(url, PERIODS)
        write(folder, TOML.format(database=name))
        yield Journey(folder, url, url, mongo_url)


def has_periods(url: str) -> bool:
    return int(query(url, "SHOW server_version_num")[0][0]) >= 180000


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_equal_to_the_source(journey: Journey, backend: str) -> None:
    journey.prepare(backend)
    journey.done("verify", "--backend", backend)


def test_the_constraints(journey: Journey) -> None:
    found = journey.catalogue()["constraints"]
    expected = {
        "client.positive": "CHECK (((id)::bigint > 0))",
        "hr_account.account_pkey": "PRIMARY KEY (client, g, region) INCLUDE (a)",
        "place.place_pkey": "PRIMARY KEY (id, region) DEFERRABLE INITIALLY DEFERRED",
        "place_id_key.place_id_key_pkey": "PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED",
        "ref.ref_account_fkey": "FOREIGN KEY (account, account_region) "
        "REFERENCES @.hr_account(id, region) MATCH FULL ON UPDATE CASCADE "
        "ON DELETE SET NULL (account, account_region) DEFERRABLE",
    }
    if has_periods(journey.postgres):
        expected |= {
            "stay.stay_pkey_overlaps": "EXCLUDE USING gist (client WITH =, during WITH &&, "
            "region WITH =)",
            "once_overlaps_key.once_overlaps_key_excl": "EXCLUDE USING gist (room WITH =, "
            "during WITH &&)",
        }
    assert {name: found.get(name) for name in expected} == expected
    assert journey.catalogue()["indexes"]["tidy"].endswith(
        "(@.hr_tidy((mail)::text), (moods[1]), region)"
    )
