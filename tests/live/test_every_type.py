"""Every type and every nasty value, from generate to verify: what is carried, and what is refused.

What stands in a document is said here by hand, or by PostgreSQL's own text: not by the toolkit.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from psycopg import sql
from pymongo import MongoClient
from pymongo.database import Database

from tests.live.journey import (
    JOURNAL,
    Journey,
    execute,
    mongo_content,
    mongo_database,
    query,
)
from tests.live.support import SAMPLES, database
from toolkit.mongo.types import VERIFY_OPTIONS

SAMPLE = SAMPLES / "every_type"

INFINITY = "infinity, which BSON's date cannot hold"
DIGITS = "a number with more digits than Decimal128's 34, or beyond its exponents"
BOUND = "an array whose lower bound is not 1"

#: The cells that are refused: how many of each column, and for what reason among others.
REFUSED = {
    "limit.until": (2, INFINITY),
    "used.until": (2, INFINITY),
    "refused.much_numeric": (5, DIGITS),
    "refused.much_declared": (1, DIGITS),
    "refused.much_range": (1, DIGITS),
    "refused.much_array": (1, DIGITS),
    "refused.endless_date": (2, INFINITY),
    "refused.endless_timestamp": (2, INFINITY),
    "refused.endless_timestamptz": (2, INFINITY),
    "refused.endless_interval": (2, "an infinite interval"),
    "refused.endless_range": (2, INFINITY),
    "refused.endless_multirange": (1, INFINITY),
    "refused.endless_array": (1, INFINITY),
    "refused.endless_composite": (1, INFINITY),
    "refused.endless_deep": (1, INFINITY),
    "refused.endless_domain": (1, INFINITY),
    "refused.odd_jsonb": (5, "nested more than 100 levels deep"),
    "refused.odd_array": (2, BOUND),
    "refused.odd_texts": (1, BOUND),
    "refused.odd_composite": (2, "a JSON null at the top level, which cannot be told from NULL"),
    "refused.odd_ranges": (1, BOUND),
}


Documents = Callable[[str], dict[str, dict[str, Any]]]


def load(url: str) -> dict[str, tuple[int, str]]:
    """Load the sample; return what of it is refused."""
    execute(url, (SAMPLE / "schema.sql").read_text(encoding="utf-8"))
    ((version,),) = query(url, "SELECT current_setting('server_version_num')::int")
    if version >= 170_000:
        execute(url, (SAMPLE / "since_17.sql").read_text(encoding="utf-8"))
        return REFUSED
    return {name: why for name, why in REFUSED.items() if name != "refused.endless_interval"}


def project(folder: Path, source: str, mongo: str, name: str) -> Journey:
    """Return the sample's project, with a MongoDB database of its own."""
    shutil.copytree(SAMPLE, folder, dirs_exist_ok=True)
    toml = folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    assert '"every_type_regional"' in text
    toml.write_text(text.replace('"every_type_regional"', f'"{name}"'), encoding="utf-8")
    return Journey(folder, source, source, mongo)


def as_string(journey: Journey, *columns: str) -> Journey:
    """Say of columns that they travel as text."""
    toml = journey.folder / "regionkit.toml"
    more = "".join(f'[columns."{column}"]\nas = "string"\n' for column in columns)
    toml.write_text(toml.read_text(encoding="utf-8") + more, encoding="utf-8")
    return replace(journey)


@pytest.fixture(scope="module")
def source(postgres_url: str) -> Iterator[str]:
    with database(postgres_url) as url:
        load(url)
        yield url


@pytest.fixture(scope="module")
def expected(source: str) -> dict[str, tuple[int, str]]:
    ((some,),) = query(source, "SELECT count(*) FROM refused WHERE id IN (80, 81)")
    return {name: why for name, why in REFUSED.items() if some or "interval" not in name}


@pytest.fixture(scope="module")
def plain(
    source: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    """Every column as its type says."""
    with mongo_database(mongo_url) as name:
        journey = project(tmp_path_factory.mktemp("plain"), source, mongo_url, name)
        for command in ("generate", "apply"):
            journey.done(command, "--backend", "mongo")
        yield journey


@pytest.fixture(scope="module")
def migrated(
    source: str,
    mongo_url: str,
    expected: dict[str, tuple[int, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Journey]:
    """The columns with cells that are refused as text."""
    with mongo_database(mongo_url) as name:
        journey = project(tmp_path_factory.mktemp("text"), source, mongo_url, name)
        journey = as_string(journey, *expected)
        journey.prepare("mongo")
        yield journey


@pytest.fixture(scope="module")
def documents(migrated: Journey) -> Iterator[Documents]:
    """Returns the documents of a table in all regions, by their ``_id``."""
    with MongoClient[dict[str, Any]](migrated.mongo) as client:
        base: Database[dict[str, Any]] = client[migrated.mongo_database]

        def of(table: str) -> dict[str, dict[str, Any]]:
            found = [
                plainly(one)
                for region in ("eu", "na")
                for one in base[f"{table}_{region}"].with_options(VERIFY_OPTIONS).find()
            ]
            return {str(one["_id"]): one for one in found}

        yield of


def plainly(value: Any) -> Any:
    """Return a document as dictionaries, whatever its fields are called."""
    if isinstance(value, Mapping):
        return {name: plainly(part) for name, part in value.items()}
    return [plainly(part) for part in value] if isinstance(value, list) else value


def keys_listed(journey: Journey) -> dict[str, tuple[list[str], str]]:
    """Return what the file of keys says: of each column the keys, and the reason."""
    path = journey.folder / ".regionkit" / "keys" / "refused.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    found: dict[str, tuple[list[str], str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for table, reason, key in list(csv.reader(file))[1:]:
            column, _, why = reason.partition(": ")
            found.setdefault(f"{table}.{column}", ([], why))[0].append(key)
    path.unlink()
    return found


# What is refused ----------------------------------------------------------------------------


def test_each_cell_that_has_no_counterpart_is_refused_and_no_other(
    plain: Journey, expected: dict[str, tuple[int, str]]
) -> None:
    before = mongo_content(plain.mongo)
    for more in (("--dry-run",), ()):
        result = plain.run("migrate", "--backend", "mongo", *more)
        assert result.code == 9
        rows = sum(count for count, _ in expected.values())
        assert f"{rows} row(s) of the source cannot be moved" in result.err
        assert "nothing was written" in result.err
        listed = keys_listed(plain)
        assert {name: len(keys) for name, (keys, _) in listed.items()} == {
            name: count for name, (count, _) in expected.items()
        }
        for name, (_, reason) in expected.items():
            assert reason in listed[name][1].split("; or ")
        # Rows below 10 hold what is carried; the others have their column's own number.
        assert listed["refused.odd_jsonb"][0] == ["150", "151", "152", "153", "154"]
        assert listed["limit.until"][0] == ["1, infinity", "2, -infinity"]
    assert mongo_content(plain.mongo) == before
    with MongoClient[dict[str, Any]](plain.mongo) as client:
        assert client[JOURNAL]["migrations"].find_one(plain.mongo_database) is None


def test_the_error_says_what_to_write(plain: Journey) -> None:
    result = plain.run("migrate", "--backend", "mongo", "--dry-run")
    shown = " ".join(result.err.split())
    assert 'as = "string" under [columns."limit.until"], [columns."refused.much_numeric"]' in shown
    assert "[root.region]" not in shown


def test_a_document_that_is_too_large_is_refused(
    source: str, migrated: Journey, expected: dict[str, tuple[int, str]]
) -> None:
    insert = "INSERT INTO refused (id, client_id, odd_texts, odd_jsonb) VALUES"
    execute(
        source,
        f"{insert} (900, 1, ARRAY[repeat('x', 17 * 1024 * 1024)], NULL)",
    )
    execute(
        source,
        "INSERT INTO carried (id, client_id, places) VALUES (900, 1, array_fill("
        "ROW(NULL, NULL, NULL, NULL, NULL)::place, ARRAY[300000]))",
    )
    try:
        result = migrated.run("migrate", "--backend", "mongo")
        assert result.code == 9
        assert keys_listed(migrated) == {
            "refused.a document above MongoDB's 16 MB": (["900"], ""),
            "carried.a document above MongoDB's 16 MB": (["900"], ""),
        }
    finally:
        execute(source, "DELETE FROM refused WHERE id >= 900", "DELETE FROM carried WHERE id = 900")


# What is carried ----------------------------------------------------------------------------


def test_everything_is_equal_to_the_source(migrated: Journey, source: str) -> None:
    document = migrated.done("verify", "--backend", "mongo", "--output", "json").document
    (result,) = document["results"]
    assert result["equal"] is True
    compared = {table: sum(rows.values()) for table, rows in result["rows"].items()}
    for table in ("carried", "refused", "limit", "used"):
        assert query(source, f'SELECT count(*) FROM "{table}"') == [(compared[table],)]


def test_a_second_migration_copies_nothing(migrated: Journey) -> None:
    document = migrated.done("migrate", "--backend", "mongo", "--output", "json").document
    assert sum(document["results"][0]["copied"].values()) == 0


def test_values_stand_in_documents_as_the_table_of_types_says(documents: Documents) -> None:
    found = documents("carried")
    assert list(found) != []
    row = found["10"]
    moment = DatetimeMS(1_704_067_200_000)
    place = {
        "street": "s",
        "no_ 1": 1,
        "since": moment,
        "since_us": 1,
        "_gps": "(1,2)",
        "moods": ["sad", None],
    }
    wanted = {
        "client_id": Int64(1),
        "int2": 1,
        "int8": Int64(3),
        "exact": Decimal128("1.50"),
        "negative_scale": Decimal128("12300"),
        "float8": 0.1,
        "char": "c",
        "moods": ["sad", None],
        "date": DatetimeMS(1_709_164_800_000),
        "timestamp_us": 12,
        "timestamptz": DatetimeMS(1_729_992_600_654),
        "timestamptz__us": 321,
        "interval": {"months": 1, "days": 0, "us": Int64(0)},
        "json": '{"b": 1,  "a": 2}',
        "jsonb": {"a": [Decimal128("1.50"), None], "b": Int64(1)},
        "money": "$12.34",
        "regclass": "pg_catalog.pg_class",
        "regtype": "integer",
        "int4range": {"lower": 1, "upper": 5, "bounds": "[)"},
        "int8range": {"lower": Int64(1), "upper": None, "bounds": "[)"},
        "numrange": {"lower": Decimal128("1.0"), "upper": Decimal128("2.50"), "bounds": "[]"},
        "tstzrange": {
            "lower": moment,
            "lower_us": 1,
            "upper": None,
            "upper_us": None,
            "bounds": "()",
        },
        "words": {"lower": "a", "upper": "b c", "bounds": "[)"},
        "season": {"lower": None, "upper": None, "bounds": "empty"},
        "int4multirange": [
            {"lower": 1, "upper": 3, "bounds": "[)"},
            {"lower": 5, "upper": 10, "bounds": "[)"},
        ],
        "place": place,
        "home": {**dict.fromkeys(place), "street": "s"},
        "stay": {
            "at": {**dict.fromkeys(place), "street": "x", "no_ 1": 1, "moods": []},
            "rooms": [{**dict.fromkeys(place), "street": "y", "no_ 1": 2}, None],
            "nights": {
                "lower": moment,
                "upper": DatetimeMS(1_704_412_800_000),
                "bounds": "[)",
            },
            "note": {"$ref": "x", "$id": Int64(1)},
            "paid": Decimal128("1.500"),
        },
        "deep": [[1, 2], [3, None]],
        "moments": [moment, None],
        "moments_us": [1, None],
        "lists": ["{1,2}", None, "{}", "{{1},{2}}"],
        "jsonbs": ["[1, 2]", "null", None, '{"a": 1}'],
        "places": [
            {**dict.fromkeys(place), "street": "y", "no_ 1": 2},
            None,
            dict.fromkeys(place),
        ],
        "ranges": [
            {"lower": 1, "upper": 5, "bounds": "[)"},
            None,
            {"lower": None, "upper": None, "bounds": "empty"},
        ],
        "multiranges": ["{[1,3)}", "{}", None],
        "id_": "an id",
        "a_b": "a dot",
        "_c": "a dollar",
        "date_us": 7,
        "timestamptz_us": 8,
        "twice": Decimal128("24.68"),
    }
    assert {name: row[name] for name in wanted} == wanted
    for name in ("place", "stay", "tstzrange"):
        assert list(row[name]) == list(wanted[name])  # type: ignore[call-overload]
    assert found["12"]["jsonb"][2].to_decimal() == Decimal("1e400")
    assert found["11"]["place"] == dict.fromkeys(place) and found["14"]["place"] is None
    assert str(found["12"]["exact"]) == "Infinity" and found["12"]["time"] == "00:00:00"
    assert found["11"]["date"] == DatetimeMS(-210_863_520_000_000)
    assert found["11"]["json"] == '{"a": 1, "a":  2, "": "\\u0000"}'
    assert (found["1"]["text"], found["11"]["text"]) == (None, "")


def test_text_forms_are_postgresqls_own(
    documents: Documents, source: str, expected: dict[str, tuple[int, str]]
) -> None:
    columns = [name.partition(".")[2] for name in expected if name.startswith("refused.")]
    found = documents("refused")
    with psycopg.connect(source) as connection:
        connection.execute("SET timezone = 'UTC'; SET intervalstyle = 'postgres'")
        texts = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(column)) for column in columns
        )
        rows = connection.execute(sql.SQL("SELECT id, {} FROM refused").format(texts)).fetchall()
    assert len(rows) == len(found)
    for key, *cells in rows:
        assert [found[str(key)][column] for column in columns] == cells
    assert found["50"]["endless_date"] == "infinity"
    assert found["160"]["odd_array"] == "[0:1]={1,2}"
    assert len(found["14"]["much_numeric"]) == len("0.") + 6177


def test_a_key_and_what_leads_to_it_are_text(documents: Documents) -> None:
    limits = {tuple(one["_id"].values()): one["amount"] for one in documents("limit").values()}
    assert limits == {
        (Int64(1), "infinity"): Decimal128("1"),
        (Int64(1), "2024-01-01 00:00:00.000001+00"): Decimal128("2"),
        (Int64(2), "-infinity"): Decimal128("3"),
    }
    used = {one["until"] for one in documents("used").values()}
    assert used == {"infinity", "2024-01-01 00:00:00.000001+00", "-infinity"}


def test_the_validator_says_what_is_text(migrated: Journey) -> None:
    with MongoClient[dict[str, Any]](migrated.mongo) as client:
        (one,) = client[migrated.mongo_database].list_collections(filter={"name": "refused_eu"})
        schema = one["options"]["validator"]["$jsonSchema"]["properties"]
        assert schema["endless_date"] == {
            "bsonType": ["string", "null"],
            "description": "text form of PostgreSQL type date",
        }
        assert "endless_date_us" not in schema


#: One change to a part of a value of each kind.
CHANGES = {
    "place.street": "another",
    "home.since_us": 1,
    "stay.rooms.0.no_ 1": Int64(2),
    "places.1": {},
    "homes.0.moods": [],
    "int4range.upper": 6,
    "numrange.bounds": "[)",
    "tstzrange.lower_us": 2,
    "daterange.lower": None,
    "words.more": "",
    "int4multirange.1.lower": 6,
    "spans.0.lower_us": 2,
    "multiranges.1": "{[1,2)}",
    "jsonbs.0": "[1,2]",
    "regclass": "pg_class",
}


def test_verify_finds_a_change_of_any_part(migrated: Journey) -> None:
    with MongoClient[dict[str, Any]](migrated.mongo) as client:
        base = client[migrated.mongo_database]
        places = ("carried_eu", "carried_na")
        (place,) = [name for name in places if base[name].find_one({"_id": 10})]
        collection = base.get_collection(place, codec_options=VERIFY_OPTIONS)
        (before,) = collection.find({"_id": 10})
        # Of the validator nothing is asked here: it would refuse most of these.
        change = {"q": {"_id": 10}, "u": {"$set": CHANGES}}
        base.command("update", place, updates=[change], bypassDocumentValidation=True)
        try:
            result = migrated.run("verify", "--backend", "mongo", "--output", "json")
            assert result.code == 5
            (found,) = result.document["results"]
            details = {one["code"]: one["detail"] for one in found["findings"]}
        finally:
            collection.replace_one({"_id": 10}, before)
    migrated.done("verify", "--backend", "mongo", "-q")
    differing = set(details["row-differs"].removeprefix("in ").split(", "))
    assert differing == {name.partition(".")[0] for name in CHANGES}
    assert "document-invalid" in details


# PostgreSQL -----------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same database", "another"])
def test_the_layout_tables_holds_every_value(
    source: str, postgres_url: str, tmp_path: Path, elsewhere: bool
) -> None:
    with database(postgres_url) as other:
        journey = project(tmp_path, source, "mongodb://127.0.0.1:1", "none")
        if elsewhere:
            journey = replace(journey, postgres=other)
        journey.prepare("postgres")
        journey.done("verify", "--backend", "postgres", "-q")
        for table in ("carried", "refused", "limit", "used"):
            columns = [
                name
                for (name,) in query(
                    source,
                    "SELECT attname::text FROM pg_attribute WHERE attnum > 0 AND attrelid = "
                    f"""'public."{table}"'::regclass""",
                )
            ]
            texts = ", ".join(
                # What the numbers of a catalogue stand for is another number elsewhere.
                f'"{name}"::text'
                for name in columns
                if not name.startswith("reg")
            )
            with psycopg.connect(source) as one, psycopg.connect(journey.postgres) as two:
                two.execute(f"SET search_path = {journey.schema}, public".encode())
                one_sided = f'SELECT {texts} FROM "{table}" ORDER BY 1, 2'
                there = one.execute(one_sided.encode()).fetchall()
                assert two.execute(one_sided.encode()).fetchall() == there
        if not elsewhere:
            journey.done("apply", "--revert", "--yes", "--backend", "postgres")


# What the operator says wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (["refused.endles_date"], ["refused.endless_date"]),
        (["nowhere.at_all", "carried.int2"], ["'nowhere.at_all'"]),
        (["limit.until"], ["used.until", "limit.until"]),
        (["used.until"], ["used.until", "limit.until"]),
        (["client.id"], ["carried.client_id", "client.id"]),
    ],
)
def test_what_cannot_be_text_is_said_with_what_can(
    source: str, tmp_path: Path, columns: list[str], says: list[str]
) -> None:
    journey = as_string(project(tmp_path, source, "mongodb://127.0.0.1:1", "none"), *columns)
    result = journey.run("generate", "--backend", "mongo")
    assert result.code == 2
    assert "next: " in result.err
    for text in says:
        assert text in result.err


def test_another_way_of_carrying_is_another_migration(migrated: Journey, tmp_path: Path) -> None:
    shutil.copytree(migrated.folder, tmp_path, dirs_exist_ok=True)
    journey = as_string(replace(migrated, folder=tmp_path), "carried.jsonb")
    result = journey.run("migrate", "--backend", "mongo")
    assert result.code == 9
    assert journey.run("generate", "--backend", "mongo", "--check").code == 9


# Keys -----------------------------------------------------------------------------------------

#: Type of a key to SQL of its ``n``-th value.
KEYS = {
    "place": "ROW('a' || n, CASE WHEN n % 3 > 0 THEN n END, '2024-01-01'::timestamptz)::place",
    "integer[]": "ARRAY[n, NULL, n]",
    "tstzrange": "tstzrange('2024-01-01', '2024-01-01'::timestamptz + n * interval '1 us')",
    "interval": "n * interval '1 mon'",
}


def test_keys_of_every_kind(postgres_url: str, mongo_url: str, tmp_path: Path) -> None:
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        script = (
            "CREATE TYPE place AS (street text, no integer, since timestamptz);"
            "CREATE TABLE client (id bigint PRIMARY KEY, land text NOT NULL);"
            "INSERT INTO client SELECT n, (ARRAY['DE', 'US'])[1 + n % 2] "
            "FROM generate_series(1, 30) n;"
        )
        for number, (type_, value) in enumerate(KEYS.items()):
            script += (
                f"CREATE TABLE k{number} (k {type_} PRIMARY KEY, "
                "client_id bigint NOT NULL REFERENCES client, said text);"
                f"INSERT INTO k{number} SELECT {value}, n FROM generate_series(1, 30) n;"
                f"CREATE TABLE r{number} (id int PRIMARY KEY, k {type_} REFERENCES k{number}, "
                "client_id bigint NOT NULL REFERENCES client);"
                f"INSERT INTO r{number} SELECT client_id, k, client_id FROM k{number};"
            )
        execute(url, script)
        journey = small(tmp_path, url, url, mongo_url, name)
        toml = tmp_path / "regionkit.toml"
        toml.write_text(f"{toml.read_text()}[migrate]\nchunk_rows = 10\n", encoding="utf-8")
        journey.prepare("all")
        journey.done("verify", "-q")
        # What has changed is found by its key, and what is gone is named by it.
        execute(url, *(f"UPDATE k{n} SET said = 'x' WHERE client_id = 5" for n in range(len(KEYS))))
        document = journey.done("migrate", "--output", "json").document
        for result in document["results"]:
            copied = {table: rows for table, rows in result["copied"].items() if rows}
            assert set(copied) == {f"k{n}" for n in range(len(KEYS))}
            assert all(rows < 30 for rows in copied.values()), (result["backend"], copied)
        journey.done("verify", "-q")
        with MongoClient[dict[str, Any]](mongo_url) as client:
            for number in range(len(KEYS)):
                client[name][f"k{number}_na"].delete_one({"client_id": 5})
        result = journey.run("verify", "--backend", "mongo", "--output", "json")
        assert result.code == 5
        missing = {
            one["table"]: one["keys"]
            for one in result.document["results"][0]["findings"]
            if one["code"] == "row-missing"
        }
        assert {table: len(keys) for table, keys in missing.items()} == {
            f"k{n}": 1 for n in range(len(KEYS))
        }


# Encodings ------------------------------------------------------------------------------------


@contextmanager
def encoded(server_url: str, encoding: str) -> Iterator[str]:
    """Create a database of another encoding; yield its URL; drop it."""
    with database(server_url) as url:
        name = url.partition("?")[0].rpartition("/")[2]
        other = f"{name}_e"
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(
                f"CREATE DATABASE {other} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' "
                "TEMPLATE template0".encode()
            )
        try:
            yield url.replace(name, other)
        finally:
            with psycopg.connect(server_url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {other} WITH (FORCE)".encode())


_SMALL = """
CREATE TABLE client (id bigint PRIMARY KEY, land text NOT NULL, name text, tags text[],
  more jsonb, code char(3), data bytea);
INSERT INTO client VALUES (1, 'DE', 'plain', '{a}', '{"a": "b"}', 'abc', '\\x00ff'),
  (2, 'US', {text}, ARRAY[{text}], to_jsonb({text}::text), {short}, '\\xff');
CREATE TABLE note (said text PRIMARY KEY, client_id bigint NOT NULL REFERENCES client);
INSERT INTO note VALUES ('plain', 1), ({text}, 2);
"""

_SMALL_TOML = """
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
"""


def fill(url: str, text: str, short: str) -> None:
    """Load clients with texts, which are SQL literals in UTF-8."""
    script = _SMALL.replace("{text}", text).replace("{short}", short)
    execute(f"{url}&client_encoding=UTF8", script)


def small(folder: Path, source: str, target: str, mongo: str, name: str) -> Journey:
    (folder / "regionkit.toml").write_text(_SMALL_TOML.format(database=name), encoding="utf-8")
    return Journey(folder, source, target, mongo)


@pytest.mark.parametrize(
    ("encoding", "text", "short", "carried"),
    [
        ("LATIN1", "E'\\xe4\\xff'", "E'\\xfc'", ["äÿ", "ü"]),
        ("SQL_ASCII", "'zé 🂡'", "'ü'", ["zé 🂡", "ü"]),
    ],
)
def test_text_of_another_encoding_is_the_same_text(
    postgres_url: str,
    mongo_url: str,
    tmp_path: Path,
    encoding: str,
    text: str,
    short: str,
    carried: list[str],
) -> None:
    with encoded(postgres_url, encoding) as url, mongo_database(mongo_url) as name:
        fill(url, text, short)
        journey = small(tmp_path, url, url, mongo_url, name)
        journey.prepare("all")
        journey.done("verify", "-q")
        with MongoClient[dict[str, Any]](mongo_url) as client:
            (one,) = client[name]["client_na"].find()
            assert [one["name"], one["code"]] == carried
            assert one["tags"] == [one["more"]] == carried[:1]
            assert client[name]["note_na"].find_one({"_id": carried[0]})


def test_bytes_that_are_no_text_are_refused(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with encoded(postgres_url, "SQL_ASCII") as url, mongo_database(mongo_url) as name:
        fill(url, "E'a\\xff'", "E'\\xc3'")
        cases = [b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe4\xb8", b"\x80"]
        with psycopg.connect(url) as connection:
            connection.execute("SET client_encoding = 'SQL_ASCII'")
            for number, data in enumerate(cases):
                text = sql.SQL("convert_from({}, 'SQL_ASCII')").format(sql.Literal(data))
                connection.execute(
                    sql.SQL("INSERT INTO client VALUES ({}, 'DE', {})").format(10 + number, text)
                )
            # These are UTF-8.
            for number, character in enumerate("\x7fé\u07ff\u0800\ud7ff\ue000\uffff𐀀\U0010ffff"):
                connection.execute(
                    sql.SQL("INSERT INTO client VALUES ({}, 'DE', convert_from({}, 'SQL_ASCII'))")
                    .format(20 + number, sql.Literal(character.encode()))
                )  # fmt: skip
        journey = small(tmp_path, url, url, mongo_url, name)
        for command in ("generate", "apply"):
            journey.done(command, "--backend", "mongo")
        result = journey.run("migrate", "--backend", "mongo")
        assert result.code == 9
        assert "as = " not in result.err
        listed = keys_listed(journey)
        assert {name: keys for name, (keys, _) in listed.items()} == {
            "client.name": [*map(str, range(10, 15)), "2"],
            "client.tags": ["2"],
            "client.more": ["2"],
            "client.code": ["2"],
            "note.said": ["a\\377"],
        }
        execute(url, "DELETE FROM note WHERE client_id = 2", "DELETE FROM client WHERE id = 2")
        execute(url, "DELETE FROM client WHERE id BETWEEN 10 AND 19")
        journey.done("migrate", "--backend", "mongo")
        journey.done("verify", "--backend", "mongo", "-q")


@pytest.mark.parametrize(
    ("here", "there", "text", "short", "fits"),
    [
        ("UTF8", "LATIN1", "'äÿ'", "'ü'", True),
        ("UTF8", "LATIN1", "'ä漢'", "'a'", False),
        ("SQL_ASCII", "UTF8", "E'a\\xff'", "'a'", False),
    ],
)
def test_a_target_of_another_encoding(
    postgres_url: str, tmp_path: Path, here: str, there: str, text: str, short: str, fits: bool
) -> None:
    with encoded(postgres_url, here) as source, encoded(postgres_url, there) as target:
        fill(source, text, short)
        journey = small(tmp_path, source, target, "mongodb://127.0.0.1:1", "none")
        for command in ("generate", "apply"):
            journey.done(command, "--backend", "postgres")
        result = journey.run("migrate", "--backend", "postgres")
        if fits:
            assert result.code == 0, result.err
            journey.done("verify", "--backend", "postgres", "-q")
            return
        assert result.code == 9, result.err
        assert set(keys_listed(journey)) == {
            "client.name",
            "client.tags",
            "client.more",
            "note.said",
        }
        assert journey.rows("SELECT count(*) FROM client") == [(0,)]


def test_a_table_of_1600_columns(postgres_url: str, mongo_url: str, tmp_path: Path) -> None:
    """As many as PostgreSQL has; no statement over them may list more than 1,664 expressions."""
    columns = [f"c{n} {('integer[]', 'timestamptz[]')[n % 2]}" for n in range(1598)]
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(
            url,
            "CREATE TABLE client (id bigint PRIMARY KEY, land text NOT NULL)",
            "CREATE TABLE wide (id integer PRIMARY KEY, "
            "client_id bigint NOT NULL REFERENCES client, "
            f"{', '.join(columns)})",
            "INSERT INTO client VALUES (1, 'DE')",
            "INSERT INTO wide (id, client_id, c0, c1, c1597) VALUES (1, 1, '{{1,NULL},{2,3}}', "
            "'{2024-01-01 00:00:00.000001+00}', '{}'), (2, 1, NULL, NULL, NULL)",
        )
        journey = small(tmp_path, url, url, mongo_url, name)
        result = journey.run("generate", "--backend", "postgres")
        assert result.code == 9
        assert "'wide' would have 1601 columns" in result.err
        journey.prepare("mongo")
        journey.done("verify", "--backend", "mongo", "-q")
        with MongoClient[dict[str, Any]](mongo_url) as client:
            found = client[name]["wide_eu"].find_one({"_id": 1})
            assert found is not None
            assert [found[one] for one in ("c0", "c1_us", "c1597")] == [
                [[1, None], [2, 3]],
                [1],
                [],
            ]
