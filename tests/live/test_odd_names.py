"""Names that need quotes, or are taken apart by somebody, go all the way on both backends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient

from tests.live.journey import Journey, execute, mongo_database, write
from tests.live.support import database

LONG = "ü" * 30 + "end"
OTHER = "ü" * 30 + "els"

SCHEMA = f"""
CREATE SCHEMA "order.s"; CREATE SCHEMA "hr";
SET search_path = "order.s";
CREATE TYPE "group" AS ENUM ('a.b', 'c');
CREATE TYPE hr."group" AS ENUM ('x');
CREATE SEQUENCE hr.counter;
CREATE UNLOGGED TABLE "region" (code text PRIMARY KEY, "region" text)
  WITH (fillfactor = 70, autovacuum_enabled = false);
CREATE TABLE "user.s" (
  "i.d" bigint, "select" text, region text, "group" "group" DEFAULT 'a.b',
  "e-mail:%" text, CONSTRAINT "user.s: pk" PRIMARY KEY ("i.d"));
CREATE UNIQUE INDEX "once.%" ON "user.s" (lower("e-mail:%"));
CREATE TABLE "user.s_region" ("i.d" bigint PRIMARY KEY REFERENCES "user.s");
CREATE TABLE "user.s_eu" (id integer PRIMARY KEY);
CREATE TABLE "{LONG}" (
  id bigint PRIMARY KEY, "user.s" bigint NOT NULL REFERENCES "user.s", "x""y\\z" text UNIQUE)
  WITH (fillfactor = 60);
CREATE UNLOGGED TABLE visit ("user.s" bigint NOT NULL REFERENCES "user.s", no integer)
  WITH (fillfactor = 50, autovacuum_enabled = false);
CREATE TABLE "{OTHER}" (
  id bigint PRIMARY KEY, owner bigint NOT NULL REFERENCES "{LONG}",
  "to.o" bigint CONSTRAINT "to.o" REFERENCES "user.s");
CREATE TABLE hr."user.s" (
  "i.d" bigint DEFAULT nextval('hr.counter'), "group" hr."group" NOT NULL DEFAULT 'x',
  groups hr."group"[], CONSTRAINT "user.s: pk" PRIMARY KEY ("i.d"),
  "table" bigint NOT NULL REFERENCES "order.s"."user.s");
CREATE INDEX "once.%" ON hr."user.s" ("group");
CREATE TABLE hr."order.s_user.s" ("$id" bigint PRIMARY KEY REFERENCES "order.s"."user.s");

INSERT INTO region VALUES ('de', 'x'), ('us', 'y');
INSERT INTO "user.s" SELECT n, 'a.b', (ARRAY['de', 'us'])[n % 2 + 1], 'c', 'E' || n
  FROM generate_series(1, 12) n;
INSERT INTO "user.s_region" SELECT "i.d" FROM "user.s";
INSERT INTO "user.s_eu" VALUES (1);
INSERT INTO "{LONG}" SELECT "i.d", "i.d", "i.d" FROM "user.s";
INSERT INTO "{OTHER}" SELECT id, id, id % 12 + 1 FROM "{LONG}";
INSERT INTO hr."user.s" ("table", groups) SELECT "i.d", '{{x}}' FROM "user.s";
INSERT INTO hr."order.s_user.s" SELECT "i.d" FROM "user.s";
"""

TOML = f"""
[source]
schema = "order.s"
schemas = ["hr"]
[root]
table = "user.s"
[root.region]
column = "region"
map = {{{{ de = "eu", us = "na" }}}}
[regions]
eu = {{{{}}}}
na = {{{{}}}}
[target.postgres]
schema = "target.d"
[target.mongo]
database = "{{database}}"
allow_single_member = true
[placement."user.s_eu"]
kind = "global"
[placement.region]
kind = "global"
[placement."{OTHER}"]
home = "owner"
"""


@pytest.fixture(scope="module")
def journey(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("names")
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(url, SCHEMA)
        write(folder, TOML.format(database=name))
        yield Journey(folder, url, url, mongo_url)


def stored(relation: str) -> tuple[str, set[str]]:
    """Return what kind of relation it is, and its storage parameters."""
    kind, _, storage = relation.partition(" with ")
    return kind, set(storage.split(","))


def test_tables(journey: Journey) -> None:
    journey.prepare("postgres")
    journey.done("verify", "--backend", "postgres")
    names = set(journey.catalogue()["relations"])
    assert {"user.s", "hr_user.s", "hr_order.s_user.s", "user.s_na", "user.s__eu"} <= names
    assert {"region", "regionkit_region", "user.s_region", "user.s_region_link"} <= names
    types = journey.catalogue()["types"]
    assert {name: labels.split(" ")[1] for name, labels in types.items()} == {
        "group": "a.b,c",
        "hr_group": "x",
    }
    indexes = journey.catalogue()["indexes"]
    assert {"once.%", "hr_once.%", "user.s: pk", "hr_user.s: pk"} <= indexes.keys()
    (key,) = journey.rows('SELECT count(*) FROM "once.%_key"')
    assert key == (12,)
    relations = journey.catalogue()["relations"]
    assert stored(relations["region"]) == ("r u", {"fillfactor=70", "autovacuum_enabled=false"})
    leaf = journey.project.layout.regional[LONG].parts["eu"]
    assert stored(relations[leaf])[1] == {"fillfactor=60"}
    kind, storage = stored(relations["visit_na"])
    assert kind.startswith("r u of ")
    assert storage == {"fillfactor=50", "autovacuum_enabled=false"}
    journey.done("apply", "--backend", "postgres", "--revert", "--yes")
    assert not any(journey.catalogue().values())


def test_collections(journey: Journey) -> None:
    journey.prepare("mongo")
    journey.done("verify", "--backend", "mongo")
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        found = client[journey.mongo_database]
        names = set(found.list_collection_names())
        assert {"user.s", "hr_user.s", "hr_user.s_eu", LONG} <= names
        document = found["user.s_na"].find_one({})
        assert document is not None
        assert {"select", "region", "home_region", "e-mail:%"} <= document.keys()
