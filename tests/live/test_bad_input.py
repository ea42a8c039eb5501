"""Bad input gets a short message that says what, where and what to do, and nothing is written."""

from __future__ import annotations

import csv
import shutil
import socket
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from pymongo import MongoClient

from tests.live.journey import (
    JOURNAL,
    Journey,
    execute,
    mongo_content,
    mongo_database,
    namespaces,
    query,
    write,
)
from tests.live.support import Result, database
from toolkit.mongo.lock import Lock
from toolkit.mongo.session import connect as connect_mongo
from toolkit.postgres import session

#: Part of every password here; it may stand nowhere.
CANARY = "kanarie"
PASSWORD = f"{CANARY}/4711@:é"

SCHEMA = """
CREATE SCHEMA shop;
SET search_path = shop;
CREATE TABLE client (id integer PRIMARY KEY, email text, country text);
CREATE TABLE account (id integer PRIMARY KEY, client_id integer NOT NULL REFERENCES client,
  helper_id integer REFERENCES client, balance numeric(50, 10));
CREATE TABLE entry (id integer PRIMARY KEY, account_id integer NOT NULL REFERENCES account);
CREATE TABLE lonely (id integer PRIMARY KEY);
INSERT INTO client SELECT n, n || '@example.org', (ARRAY['de', 'us'])[n % 2 + 1]
  FROM generate_series(1, 50) n;
INSERT INTO account SELECT n, n, NULL, n FROM generate_series(1, 50) n;
INSERT INTO entry SELECT n, n FROM generate_series(1, 50) n;
"""

TOML = """
[source]
schema = "shop"
[target.mongo]
database = "{mongo}"
allow_single_member = true
[root]
table = "client"
[root.region]
column = "country"
map = {{ de = "eu", us = "na" }}
[regions]
eu = {{}}
na = {{}}
[placement.account]
home = "client_id"
[placement.lonely]
kind = "global"
"""


@pytest.fixture(scope="module")
def role(postgres_url: str) -> Iterator[str]:
    """Yield the server's URL with a role whose password is the canary."""
    name = f"r_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(PASSWORD)
            )
        )
        scheme, _, rest = postgres_url.partition("://")
        yield f"{scheme}://{name}:{quote(PASSWORD, safe='')}@{rest.rpartition('@')[2]}"
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def source(role: str) -> Iterator[str]:
    with database(role) as url:
        execute(url, SCHEMA)
        yield url


@pytest.fixture(scope="module")
def migrations(source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project whose migrations are generated."""
    folder = write(tmp_path_factory.mktemp("migrations"), TOML.format(mongo="none"))
    Journey(folder, source, source).done("generate")
    return folder


@pytest.fixture
def journey(
    source: str, role: str, mongo_url: str, migrations: Path, tmp_path: Path
) -> Iterator[Journey]:
    """A project with an empty target; its migrations are generated."""
    with database(role) as target, mongo_database(mongo_url) as name:
        shutil.copytree(migrations, tmp_path, dirs_exist_ok=True)
        write(tmp_path, TOML.format(mongo=name))
        yield Journey(tmp_path, source, target, mongo_url)


@pytest.fixture
def project(source: str, tmp_path: Path) -> Journey:
    """A project that does not come as far as its targets."""
    write(tmp_path, TOML.format(mongo="none"))
    return Journey(tmp_path, source, source)


@pytest.fixture(scope="module")
def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def short(journey: Journey, result: Result, code: int, *says: str) -> None:
    """The message is short, helps, and gives no password away."""
    assert result.code == code, f"{result.code}\n{result.out}\n{result.err}"
    lines = result.err.splitlines()
    assert len(lines) <= 15, result.err
    assert sum(line.startswith("error: ") for line in lines) == 1, result.err
    (hint,) = [line for line in lines if line.startswith("next: ")]
    assert len(hint) > 10
    for text in says:
        assert text in result.err
    assert CANARY not in result.out + result.err
    assert "4711" not in result.out + result.err
    for path in journey.folder.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path


def refused(journey: Journey, *arguments: str, code: int, says: tuple[str, ...] = ()) -> None:
    """A command fails as it should, and neither target changes."""
    before = namespaces(journey.postgres), mongo_content(journey.mongo)
    short(journey, journey.run(*arguments), code, *says)
    after = namespaces(journey.postgres), mongo_content(journey.mongo)
    assert before == after


# regionkit.toml -----------------------------------------------------------------------------------

CONFIGURATIONS = [
    ("not TOML", "[source]", "[source", 2, "not valid TOML"),
    ("no root", '[root]\ntable = "client"', "", 2, "root.table: is missing"),
    ("no rule", 'column = "country"\nmap = { de = "eu", us = "na" }', "", 2, "exactly one of"),
    ("unknown key", "[regions]", "[colours]\nred = 1\n[regions]", 2, "colours: there is no such"),
    ("unknown nested key", "[root]", "[root]\nname = 1", 2, "root.name: there is no such key"),
    ("wrong type", "[regions]", "[migrate]\nchunk_rows = 0\n[regions]", 2, "migrate.chunk_rows"),
    ("wrong kind", 'kind = "global"', 'kind = "everywhere"', 2, "placement.lonely.kind"),
    ("two rules", 'column = "country"', 'column = "country"\nsql = "1"', 2, "exactly one of"),
    ("no regions", "[regions]\neu = {}\nna = {}", "[regions]", 2, "no region is declared"),
    ("capitals", "eu = {}", "EU = {}", 2, "region code 'EU' is not allowed"),
    ("hyphen", "eu = {}", '"eu-west" = {}', 2, "'eu-west'"),
    ("umlaut", "eu = {}", '"ü" = {}', 2, "'ü'"),
    ("injection", "eu = {}", '"x; drop" = {}', 2, "'x; drop'"),
    ("17 letters", "eu = {}", "abcdefghijklmnopq = {}", 2, "'abcdefghijklmnopq'"),
    ("region of the map", 'us = "na"', 'us = "mars"', 2, "'mars'"),
    ("region of orphans", 'home = "client_id"', 'home = "client_id"\norphans = "x"', 2, "orphans"),
    ("region of the default", "[regions]", 'default = "x"\n[regions]', 2, "default"),
    ("unknown root", 'table = "client"', 'table = "cleint"', 2, "'cleint' (near: client)"),
    ("unknown table", "[placement.lonely]", "[placement.lonley]", 2, "'lonley' (near: lonely)"),
    ("unknown home", 'home = "client_id"', 'home = "balance"', 2, "names balance"),
    ("several homes", 'home = "client_id"', "", 9, "account: client_id or helper_id"),
    ("undecided", '[placement.lonely]\nkind = "global"', "", 9, "lonely"),
    ("no such file", 'map = { de = "eu", us = "na" }', 'map_file = "no.csv"', 2, "no.csv"),
    ("no such schema", 'schema = "shop"', 'schema = "shoop"', 2, "shoop"),
    ("no such module", 'schema = "shop"', 'schema = "shop"\nmetadata = "no:x"', 2, "'no:x'"),
    ("no such extras", 'schema = "shop"', 'schema = "shop"\nextras = "no.sql"', 2, "no.sql"),
    ("unknown unique", "[regions]", '[unique]\n"client.x" = "global"\n[regions]', 2, "client.x"),
    ("a password", 'schema = "shop"', 'schema = "shop"\nurl = "pg://a:b@c/d"', 2, "password"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [case[1:] for case in CONFIGURATIONS],
    ids=[case[0] for case in CONFIGURATIONS],
)
def test_configuration(project: Journey, old: str, new: str, code: int, says: str) -> None:
    toml = project.folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    assert old in text
    toml.write_text(text.replace(old, new), encoding="utf-8")
    before = {path.name for path in project.folder.iterdir()}
    short(project, project.run("generate", "--backend", "postgres"), code, says)
    assert {path.name for path in project.folder.iterdir()} == before


def test_no_configuration(project: Journey) -> None:
    (project.folder / "regionkit.toml").unlink()
    for command in ("generate", "apply", "migrate", "verify"):
        short(project, project.run(command), 2, "there is no file", "--config")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('column = "cuontry"\nmap = {}', "no column 'cuontry'"),
        ('column = "email.country"\nmap = {}', "'email' of 'client' is not a foreign key"),
        ('sql = "root.cuontry"', "[root.region] sql"),
        ('sql = "case when"', "[root.region] sql"),
    ],
)
def test_rule_that_does_not_fit_the_source(journey: Journey, rule: str, says: str) -> None:
    journey.done("apply", "--backend", "postgres")
    toml = journey.folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    old = 'column = "country"\nmap = { de = "eu", us = "na" }'
    toml.write_text(text.replace(old, rule), encoding="utf-8")
    refused(journey, "migrate", "--backend", "postgres", code=2, says=(says,))
    refused(journey, "verify", "--backend", "postgres", code=2, says=(says,))


# Servers ------------------------------------------------------------------------------------------


def test_unreachable_postgres(project: Journey, source: str, closed_port: int) -> None:
    url = f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:{closed_port}/x"
    journey = replace(project, source=url)
    for command in ("generate", "migrate", "verify"):
        short(journey, journey.run(command, "--backend", "postgres"), 7, "source", "127.0.0.1")
    project.done("generate", "--backend", "postgres")
    journey = replace(project, postgres=url)
    for arguments in (("apply",), ("apply", "--dry-run"), ("migrate",), ("verify",)):
        short(journey, journey.run(*arguments, "--backend", "postgres"), 7, "postgres")


def test_unreachable_mongo(project: Journey, closed_port: int) -> None:
    project.done("generate", "--backend", "mongo")
    login = f"me:{quote(PASSWORD, safe='')}"
    url = f"mongodb://{login}@127.0.0.1:{closed_port}/?serverSelectionTimeoutMS=300"
    journey = replace(project, mongo=url)
    short(journey, journey.run("apply", "--backend", "mongo"), 7, "MongoDB", str(closed_port))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:{password}@127.0.0.1:none/x",
        "mongodb://me:{password}@127.0.0.1:1/x",
        "host=127.0.0.1 port=1 user=me password='{raw}' nonsense=1",
        "host=127.0.0.1 port=1 user=me password={raw}",
        "{password}",
    ],
)
def test_wrong_url_of_postgres(project: Journey, url: str) -> None:
    text = url.format(password=quote(PASSWORD, safe=""), raw=PASSWORD)
    journey = replace(project, source=text)
    result = journey.run("generate", "--backend", "postgres")
    if url == "{password}":  # Nobody can know that this is a password.
        assert result.code == 7
    else:
        short(journey, result, 7, "cannot connect to the source PostgreSQL")


def test_wrong_login(project: Journey, source: str, mongo_url: str) -> None:
    head, _, rest = source.partition(quote(PASSWORD, safe=""))
    journey = replace(project, source=f"{head}{CANARY}{rest}")
    short(journey, journey.run("generate", "--backend", "postgres"), 7, "authentication failed")
    project.done("generate", "--backend", "mongo")
    url = mongo_url.replace("mongodb://", f"mongodb://me:{CANARY}@")
    journey = replace(project, mongo=url)
    short(journey, journey.run("apply", "--backend", "mongo"), 7, "cannot connect to MongoDB")
    journey = replace(project, mongo=url.replace("mongodb:", "postgresql:"))
    short(journey, journey.run("apply", "--backend", "mongo"), 7, "cannot connect to MongoDB")


def test_no_server_at_all(project: Journey) -> None:
    journey = replace(project, source="", postgres="", mongo="")
    short(journey, journey.run("generate"), 7, "REGIONKIT_SOURCE_URL", "regionkit lab up")


def test_a_role_without_privileges(journey: Journey, role: str) -> None:
    """The source may not be read: said in one line, and nothing is written."""
    journey.prepare("postgres")
    name = f"r_{uuid.uuid4().hex[:12]}"
    execute(journey.source, f"CREATE ROLE {name} LOGIN PASSWORD '{CANARY}'")
    try:
        head, _, rest = journey.source.partition("://")
        poor = replace(journey, source=f"{head}://{name}:{CANARY}@{rest.rpartition('@')[2]}")
        for command in ("migrate", "verify"):
            refused(poor, command, "--backend", "postgres", code=9, says=("permission denied",))
    finally:
        execute(journey.source, f"DROP ROLE {name}")


# Rows that cannot be placed -----------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_clients_without_a_region(journey: Journey, source: str, backend: str) -> None:
    journey.done("apply", "--backend", backend)
    execute(
        source,
        "UPDATE shop.client SET country = 'xx' WHERE id <= 20",
        "UPDATE shop.client SET country = NULL WHERE id = 21",
    )
    try:
        for more in (("--dry-run",), ()):
            refused(
                journey, "migrate", "--backend", backend, *more, code=9,
                says=("21 row(s)", "country = 'xx'", "country is NULL", "nothing was written"),
            )  # fmt: skip
            path = journey.folder / ".regionkit" / "keys" / "refused.csv"
            assert path.stat().st_mode & 0o777 == 0o600
            assert path.parent.stat().st_mode & 0o777 == 0o700
            with path.open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file)
            assert header == ["table", "reason", "key"]
            assert {int(key) for _, _, key in rows} == set(range(1, 22))
            assert ["client", "country is NULL", "21"] in rows
            path.unlink()
    finally:
        execute(source, "UPDATE shop.client SET country = (ARRAY['de', 'us'])[id % 2 + 1]")
    if backend == "postgres":
        for table in ("client", "client_region", "account", "entry"):
            assert journey.rows(f"SELECT count(*) FROM {table}") == [(0,)]
        assert query(journey.postgres, "SELECT to_regclass('regionkit.migration')") == [(None,)]
    else:
        with MongoClient[dict[str, Any]](journey.mongo) as client:
            assert client[JOURNAL]["migrations"].find_one(journey.mongo_database) is None
            assert client[journey.mongo_database]["client_eu"].count_documents({}) == 0
    journey.done("migrate", "--backend", backend)


def test_a_value_that_mongo_cannot_hold(journey: Journey, source: str) -> None:
    journey.done("apply", "--backend", "mongo")
    wide = "12345678901234567890123456789012345.5"
    execute(source, f"UPDATE shop.account SET balance = {wide} WHERE id = 7")
    try:
        refused(journey, "migrate", "--backend", "mongo", code=9, says=("account", "balance", "7"))
        path = journey.folder / ".regionkit" / "keys" / "refused.csv"
        assert "account" in path.read_text(encoding="utf-8")
    finally:
        execute(source, "UPDATE shop.account SET balance = id WHERE id = 7")


def test_rows_that_belong_to_nobody(journey: Journey, source: str) -> None:
    journey.done("apply", "--backend", "postgres")
    execute(source, "INSERT INTO shop.entry VALUES (999, 12345)", replica=True)
    try:
        refused(
            journey, "migrate", "--backend", "postgres", code=9,
            says=("entry", "belongs to no client: account_id leads nowhere", "999"),
        )  # fmt: skip
    finally:
        execute(source, "DELETE FROM shop.entry WHERE id = 999", replica=True)


# Targets ------------------------------------------------------------------------------------------


def test_foreign_data_in_the_schema(journey: Journey) -> None:
    execute(
        journey.postgres,
        "CREATE SCHEMA shop_regional",
        "CREATE TABLE shop_regional.client (mine text)",
        "INSERT INTO shop_regional.client VALUES ('kept')",
    )
    arguments = ("apply", "--backend", "postgres")
    refused(journey, *arguments, code=9, says=("shop_regional", "client", "did not create"))
    assert journey.rows("SELECT mine FROM client") == [("kept",)]


def test_foreign_data_in_the_database(journey: Journey) -> None:
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        client[journey.mongo_database]["mine"].insert_one({"kept": True})
    for more in ((), ("--dry-run",)):
        refused(journey, "apply", "--backend", "mongo", *more, code=9, says=("mine",))


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_rows_that_nobody_journaled(journey: Journey, backend: str) -> None:
    journey.done("apply", "--backend", backend)
    if backend == "postgres":
        execute(
            journey.postgres, "INSERT INTO client_region VALUES (1, 'eu')", schema="shop_regional"
        )
    else:
        with MongoClient[dict[str, Any]](journey.mongo) as client:
            client[journey.mongo_database].command(
                "insert", "client_region", documents=[{"_id": 1}], bypassDocumentValidation=True
            )
    for more in ((), ("--dry-run",)):
        refused(
            journey, "migrate", "--backend", backend, *more, code=9,
            says=("client_region", "no migration of regionkit copied"),
        )  # fmt: skip


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_commands_out_of_order(journey: Journey, backend: str) -> None:
    for name in ("migrations_sql", "migrations_nosql"):
        shutil.move(journey.folder / name, journey.folder / f"{name}_kept")
    refused(journey, "apply", "--backend", backend, code=2, says=("regionkit generate",))
    for name in ("migrations_sql", "migrations_nosql"):
        shutil.move(journey.folder / f"{name}_kept", journey.folder / name)
    for command in (("migrate",), ("migrate", "--dry-run")):
        refused(
            journey, *command, "--backend", backend, code=9,
            says=("not applied", f"regionkit apply --backend {backend}"),
        )  # fmt: skip
    refused(journey, "migrate", "--resume", "--backend", backend, code=2, says=("to resume",))
    journey.done("apply", "--backend", backend)
    refused(journey, "migrate", "--resume", "--backend", backend, code=2, says=("to resume",))
    # Applied, but empty: nothing is equal.
    result = journey.run("verify", "--backend", backend, "-q")
    short(journey, result, 5, "client_region in eu: 25 row-missing")


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_another_run_holds_the_lock(journey: Journey, backend: str) -> None:
    if backend == "postgres":
        journey.done("apply", "--backend", backend)
        with session.exclusive(journey.postgres, role="postgres", name="migrate shop_regional"):
            refused(
                journey, "migrate", "--backend", backend, code=8,
                says=("migrate shop_regional", "process"),
            )  # fmt: skip
        return
    journey.done("apply", "--backend", backend)
    name = journey.mongo_database
    with connect_mongo(journey.mongo) as client, Lock(client, f"migrate {name}"):
        refused(journey, "migrate", "--backend", backend, code=8, says=(f"migrate {name}",))


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_another_configuration_on_resume(journey: Journey, backend: str) -> None:
    journey.prepare(backend)
    toml = journey.folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    toml.write_text(text.replace('us = "na"', 'us = "eu"'), encoding="utf-8")
    for more in ((), ("--resume",)):
        refused(journey, "migrate", "--backend", backend, *more, code=9,
                says=("another configuration", "start over"))  # fmt: skip
    toml.write_text(text, encoding="utf-8")
    journey.done("migrate", "--backend", backend)


def test_reverting_needs_a_yes(journey: Journey) -> None:
    journey.done("apply", "--backend", "postgres")
    arguments = ("apply", "--revert", "--backend", "postgres", "--no-input")
    refused(journey, *arguments, code=2, says=("--yes",))
