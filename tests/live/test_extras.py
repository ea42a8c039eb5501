"""What a table has that a MetaData does not hold: read, carried, proved equal, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.live.journey import Journey, databases, execute, query, write
from tests.live.support import SAMPLES, database
from toolkit.extras import parse, render
from toolkit.inventory import Outcome
from toolkit.postgres import correspondence, extras, inventory, session
from toolkit.postgres.correspondence import Said

SCHEMA = (SAMPLES / "extras" / "schema.sql").read_text(encoding="utf-8")
SCHEMAS = ["shop", "hr"]
#: The row that it makes lacks the region.
REFUSED = frozenset({"function blank_account(i integer)"})

TOML = """
[source]
schema = "shop"
schemas = ["hr"]
[root]
table = "client"
[root.region]
column = "country"
map = { de = "eu", us = "na" }
[regions]
eu = {}
na = {}
[placement.log]
kind = "global"
"""


@pytest.fixture(scope="module")
def source(postgres_url: str) -> Iterator[str]:
    with database(postgres_url) as url:
        execute(url, SCHEMA)
        yield url


@pytest.fixture(scope="module", params=["same database", "other database"])
def applied(
    request: pytest.FixtureRequest, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Journey, str]]:
    """A layout with its rows, and what ``apply`` said."""
    with databases(postgres_url, 2) as (one, other):
        execute(one, SCHEMA)
        target = one if request.param == "same database" else other
        journey = Journey(write(tmp_path_factory.mktemp("extras"), TOML), one, target)
        journey.done("generate", "--backend", "postgres")
        said = journey.done("apply", "--backend", "postgres").out
        journey.done("migrate", "--backend", "postgres")
        yield journey, said


def said_of(url: str, schemas: list[str]) -> Said:
    with session.connect(url, role="source") as connection:
        return correspondence.read(connection, schemas)


@pytest.fixture(scope="module")
def said(source: str) -> Said:
    """What the catalogue says of the source."""
    return said_of(source, SCHEMAS)


def differences(journey: Journey) -> list[str]:
    return correspondence.differences(
        said_of(journey.source, SCHEMAS),
        said_of(journey.postgres, [journey.schema]),
        journey.project.layout,
        journey.schema,
        REFUSED,
    )


# Reading ------------------------------------------------------------------------------------


def test_what_was_read_is_read_back_from_its_file(source: str) -> None:
    with session.connect(source, role="source") as connection:
        found = extras.read(connection, SCHEMAS)
        assert extras.read(connection, SCHEMAS) == found
    assert list(parse(render(found))) == found
    assert [extra.title for extra in found if extra.left is not None] == [
        "extension btree_gist",
        'cast "(box AS text)"',
        "conversion back",
        "publication out",
    ]


def test_the_number_of_queries_does_not_grow(source: str, postgres_url: str) -> None:
    class Counting:
        def __init__(self, connection: session.Connection) -> None:
            self.connection, self.count = connection, 0

        def execute(self, *arguments: Any) -> Any:
            self.count += 1
            return self.connection.execute(*arguments)

        def transaction(self, **options: Any) -> Any:
            return self.connection.transaction(**options)

    counts = []
    with database(postgres_url) as empty:
        for url in (source, empty):
            with session.connect(url, role="source") as connection:
                counting = Counting(connection)
                extras.read(counting, ["public", "shop"])  # type: ignore[arg-type]
                counts.append(counting.count)
    assert counts[0] == counts[1] < 45


def test_reading_writes_nothing_and_needs_no_right(source: str) -> None:
    execute(source, "DROP ROLE IF EXISTS extras_reader; CREATE ROLE extras_reader")
    with session.connect(source, role="source") as connection:
        connection.execute("SET ROLE extras_reader")
        connection.execute("SET default_transaction_read_only = on")
        as_anybody = extras.read(connection, SCHEMAS)
        connection.execute("RESET ROLE")
        connection.execute("RESET default_transaction_read_only")
        assert as_anybody == extras.read(connection, SCHEMAS)
    execute(source, "DROP ROLE extras_reader")


# Carrying -----------------------------------------------------------------------------------


def test_the_target_has_everything_that_the_source_has(applied: tuple[Journey, str]) -> None:
    journey, said = applied
    assert said.count("left behind") == 1
    assert "left behind: function blank_account(i integer): cannot cast type record" in said
    assert differences(journey) == []
    assert journey.done("verify", "--backend", "postgres")


def test_materialized_views_are_filled(applied: tuple[Journey, str]) -> None:
    journey, _ = applied
    assert journey.rows("SELECT count(*) FROM totals") == [(20,)]
    # The trigger added ten to each balance when the source was loaded.
    assert journey.rows("SELECT total FROM greatest_total") == [(2010,)]


def test_functions_work_on_the_target(applied: tuple[Journey, str]) -> None:
    journey, _ = applied
    assert journey.rows("SELECT balance_of(a) FROM account a WHERE a.id = 1") == [(10,)]
    assert journey.rows("SELECT name, boss FROM staff ORDER BY id") == [
        ("Ann", None),
        ("Bob", "Ann"),
    ]
    # What is dynamic in a body finds the target's tables too.
    with psycopg.connect(journey.postgres) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (journey.schema,))
        connection.execute("CALL settle(2)")
        assert connection.execute("SELECT count(*) FROM hr_client").fetchone() == (1,)
        connection.rollback()
    assert query(journey.source, "SELECT count(*) FROM hr.client") == [(2,)]


def test_triggers_and_rules_are_silent_on_a_move(applied: tuple[Journey, str]) -> None:
    journey, _ = applied
    with psycopg.connect(journey.postgres) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (journey.schema,))
        # Twenty are the source's.
        for moving, notes in (("on", 20), ("off", 21)):
            connection.execute("SELECT set_config('regionkit.moving', %s, true)", (moving,))
            connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 3")
            noted = connection.execute("SELECT count(*) FROM log WHERE what LIKE 'account%'")
            assert noted.fetchone() == (notes,)
        connection.rollback()


def test_a_client_moves_past_triggers_and_rules(applied: tuple[Journey, str]) -> None:
    journey, _ = applied
    everything = "SELECT (SELECT count(*) FROM log), (SELECT sum(balance) FROM account)"
    with psycopg.connect(journey.postgres) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (journey.schema,))
        before = connection.execute(everything).fetchone()
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        connection.execute("SELECT set_config('regionkit.moving', 'on', true)")
        connection.execute("UPDATE client_region SET region = 'na' WHERE client_id = 2")
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table, column in (("client", "id"), ("account", "client_id"), ("entry", "account_id")):
            found = connection.execute(f"SELECT region FROM {table} WHERE {column} = 2").fetchall()
            assert found == [("na",)], table
        assert connection.execute(everything).fetchone() == before
        connection.rollback()


def test_a_partition_keeps_rows_apart_as_its_table_does(applied: tuple[Journey, str]) -> None:
    journey, _ = applied
    schema = journey.schema
    with psycopg.connect(journey.postgres) as connection:
        connection.execute("CREATE ROLE extras_clerk")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO extras_clerk")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO extras_clerk")
        connection.execute(f"DELETE FROM {schema}.entry; DELETE FROM {schema}.account WHERE id > 4")
        connection.execute("SET ROLE extras_clerk")
        for table, rows in (("client", 4), ("client_eu", 2), ("client_na", 2)):
            found = connection.execute(f"SELECT count(*) FROM {schema}.{table}").fetchone()
            assert found == (rows,), table
        connection.rollback()


def test_it_is_taken_back(postgres_url: str, tmp_path: Path) -> None:
    with databases(postgres_url, 2) as (one, other):
        execute(one, SCHEMA)
        journey = Journey(write(tmp_path, TOML), one, other)
        journey.done("generate", "--backend", "postgres")
        plans = journey.done(
            "apply", "--backend", "postgres", "--dry-run", "--output", "json"
        ).document["results"][0]["plans"]
        steps = {(one["action"], one["target"]): one["detail"] for one in plans[0]["steps"]}
        assert steps["carry domain", "email"] == ""
        assert steps["carry view", "rich"] == "left behind if PostgreSQL refuses it"
        journey.done("apply", "--backend", "postgres")
        journey.done("apply", "--backend", "postgres", "--revert", "--yes")
        left = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('shop_regional')"
        assert query(other, left) == []
        assert query(other, "SELECT to_regnamespace('shop_regional')") == [(None,)]
        # It can be carried again.
        journey.done("apply", "--backend", "postgres")


def test_the_file_gives_the_same_as_the_source(postgres_url: str, tmp_path: Path) -> None:
    with database(postgres_url) as url:
        execute(url, SCHEMA)
        reading = Journey(write(tmp_path / "read", TOML), url, url)
        text = render(reading.project.extras)
        toml = TOML.replace("[source]", '[source]\nextras = "extras.sql"')
        given = Journey(write(tmp_path / "given", toml, extras__sql=text), url, url)
        written = []
        for journey in (reading, given):
            journey.done("generate", "--backend", "postgres")
            (file,) = (journey.folder / "migrations_sql" / "versions").glob("*.py")
            written.append(file.read_text())
        assert written[0] == written[1]


def test_a_view_that_groups_by_a_key_groups_by_the_region_too(
    applied: tuple[Journey, str],
) -> None:
    journey, _ = applied
    rows = "SELECT id, email, accounts FROM {}per_client ORDER BY id"
    assert journey.rows(rows.format("")) == query(journey.source, rows.format("shop."))
    (line,) = (
        line
        for line in inventory.lines(journey.project.layout, journey.schema, journey.project.extras)
        if line.name == "per_client"
    )
    assert line.reason == "groups by the region as well as by the key"


# The proof ----------------------------------------------------------------------------------

#: What is done to the target, and what the proof has to say.
BROKEN = {
    "DROP VIEW a_view_on_rich": "view a_view_on_rich is missing",
    "CREATE OR REPLACE VIEW a_view_on_rich AS SELECT id, email FROM rich WHERE id > 1": (
        "view a_view_on_rich: "
    ),
    "DROP MATERIALIZED VIEW greatest_total": "materialized view greatest_total is missing",
    "DROP INDEX totals_client": "index totals_client on totals is missing",
    "DROP INDEX account_falling; DROP OPERATOR CLASS falling USING btree": (
        "operator class falling is missing"
    ),
    "DROP TEXT SEARCH DICTIONARY words": "text search dictionary words is missing",
    "DROP RULE named ON staff": "rule named on staff is missing",
    "DROP RULE keep ON log": "rule keep on log is missing",
    "ALTER TABLE log DISABLE RULE keep": "rule keep on log: ",
    "ALTER TABLE entry DISABLE TRIGGER post": "trigger post on entry: ",
    "ALTER TABLE entry ENABLE TRIGGER off": "trigger off on entry: ",
    "ALTER TABLE entry_eu DISABLE TRIGGER post": "triggers of partition entry_eu: post ",
    "DROP TRIGGER instead ON rich": "trigger instead on rich is missing",
    "DROP POLICY never ON client": "policy never on client is missing",
    "DROP POLICY never ON client_eu": "partition client_eu lacks what client has in policies",
    "ALTER POLICY own ON client_eu USING (true)": "policies of partition client_eu: own ",
    "ALTER TABLE client_na DISABLE ROW LEVEL SECURITY": "partition client_na: ",
    "ALTER TABLE hr_client NO FORCE ROW LEVEL SECURITY": "table hr_client: ",
    "ALTER TABLE client_eu RESET (fillfactor)": "partition client_eu: ",
    "ALTER TABLE country RESET (fillfactor)": "table country: ",
    "ALTER TABLE country ALTER title SET STORAGE MAIN": "storage title on country: ",
    "ALTER TABLE client ALTER country SET STATISTICS 5": "storage country on client: ",
    "ALTER TABLE client REPLICA IDENTITY DEFAULT": "replica identity full on client is missing",
    "ALTER TABLE country SET WITHOUT CLUSTER": "cluster mark country_pkey on country is missing",
    "DROP STATISTICS client_stats": "statistics client_stats is missing",
    "DROP AGGREGATE product(numeric)": "aggregate product(=numeric) is missing",
    "DROP FUNCTION area(integer)": "function area(=p =integer) is missing",
    "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN old; "
    "END $$": "function refuse(): ",
    "ALTER FUNCTION post() RESET search_path": "function post(): ",
    "DROP OPERATOR === (place, place)": "operator ===",
    "DROP CAST (integer AS place)": "cast ",
    "ALTER DOMAIN email DROP CONSTRAINT email_short": "domain email: ",
    "ALTER DOMAIN amount DROP NOT NULL": "domain amount: ",
    "ALTER DOMAIN amount SET DEFAULT 1": "domain amount: ",
    "ALTER TYPE level ADD VALUE 'middle'": "type level: ",
    "ALTER TYPE place ADD ATTRIBUTE more text": "type place: ",
    "ALTER SEQUENCE ticket INCREMENT 7": "sequence ticket: ",
    "ALTER SEQUENCE log_id_seq OWNED BY NONE": "ownership log_id_seq on log is missing",
    "COMMENT ON INDEX client_squeezed IS 'other'": "comment index client_squeezed on client: ",
    "COMMENT ON CONSTRAINT email_form ON DOMAIN email IS NULL": (
        "comment constraint email_form is missing"
    ),
    "COMMENT ON TRIGGER post ON entry IS NULL": "comment trigger post on entry is missing",
    "COMMENT ON COLUMN rich.email IS NULL": "comment column email on rich is missing",
    "ALTER TEXT SEARCH CONFIGURATION plain DROP MAPPING FOR url": (
        "text search configuration plain: "
    ),
    # Of tables.
    "ALTER TABLE client ALTER note SET DEFAULT 'x'": "column note of client: ",
    "ALTER TABLE client_eu ALTER note SET DEFAULT 'x'": "column note of client_eu: ",
    "ALTER TABLE client ALTER code DROP NOT NULL": "column code of client: ",
    "ALTER TABLE client DROP CONSTRAINT client_code_form": (
        "constraint client_code_form of client is missing"
    ),
    "DROP INDEX client_squeezed": "index client_squeezed of client is missing",
    "DROP INDEX client_note; CREATE INDEX client_note ON client (note)": (
        "index client_note of client: "
    ),
    "DROP INDEX client_note; CREATE INDEX client_note ON ONLY client USING gin "
    "(note public.gin_trgm_ops)": "partition client_eu has no index like client_note",
    "ALTER TABLE account DROP CONSTRAINT account_client_id_fkey": (
        "constraint account_client_id_fkey of account is missing"
    ),
    "ALTER TABLE account DROP CONSTRAINT account_client_id_fkey; "
    "ALTER TABLE account ADD CONSTRAINT account_client_id_fkey FOREIGN KEY (client_id, region) "
    "REFERENCES client ON UPDATE CASCADE ON DELETE CASCADE": (
        "constraint account_client_id_fkey of account: "
    ),
    "ALTER TABLE client DROP COLUMN note CASCADE": "column note of client: ",
}


#: Several at a time, those that are about one thing never together.
GROUPS = 8


@pytest.mark.parametrize("applied", ["other database"], indirect=True)
@pytest.mark.parametrize("group", range(GROUPS))
def test_what_differs_is_found(applied: tuple[Journey, str], said: Said, group: int) -> None:
    journey, _ = applied
    broken = list(BROKEN.items())[group::GROUPS]
    with session.connect(journey.postgres, role="postgres") as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (journey.schema,))
        with connection.transaction(force_rollback=True):
            for statement, _ in broken:
                connection.execute(statement.encode())
            there = correspondence.read(connection, [journey.schema])
    found = correspondence.differences(said, there, journey.project.layout, journey.schema, REFUSED)
    missed = [
        statement
        for statement, begins in broken
        if not any(line.startswith(begins) for line in found)
    ]
    assert missed == []


# The inventory ------------------------------------------------------------------------------


def test_every_object_of_the_source_has_a_line(source: str, tmp_path: Path) -> None:
    journey = Journey(write(tmp_path, TOML), source, source)
    found = journey.project.extras
    lines = inventory.lines(journey.project.layout, journey.schema, found)
    named = {(line.kind, line.name) for line in lines}
    objects = query(
        source,
        """
        SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'i' THEN 'index'
               WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' END,
               CASE WHEN n.nspname = 'shop' THEN '' ELSE n.nspname || '.' END || c.relname
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname IN ('shop', 'hr') AND c.relkind IN ('r', 'v', 'm', 'S')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i'
                          AND c.relkind = 'S')
        UNION ALL
        SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END,
               CASE WHEN n.nspname = 'shop' THEN '' ELSE n.nspname || '.' END || t.typname
        FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        LEFT JOIN pg_class c ON c.oid = t.typrelid
        WHERE n.nspname IN ('shop', 'hr')
          AND (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
        """,
    )
    assert len(objects) > 20
    assert [one for one in objects if one not in named] == []
    on_tables = query(
        source,
        """
        SELECT conname FROM pg_constraint WHERE connamespace IN ('shop'::regnamespace,
          'hr'::regnamespace) AND contype <> 'n' AND conrelid <> 0
        UNION ALL SELECT i.relname FROM pg_index JOIN pg_class c ON c.oid = indrelid
          JOIN pg_class i ON i.oid = indexrelid
        WHERE c.relnamespace IN ('shop'::regnamespace, 'hr'::regnamespace)
        UNION ALL SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'shop'::regnamespace AND NOT tgisinternal
        UNION ALL SELECT polname FROM pg_policy
        """,
    )
    words = {word for line in lines for word in line.name.split(" ")}
    bare = {str(name).rpartition(".")[2] for (name,) in on_tables}
    assert sorted(name for name in bare if name not in words) == []
    assert all(line.reason for line in lines if line.outcome is not Outcome.carried)


# Names --------------------------------------------------------------------------------------

NAMES = (SAMPLES / "extras" / "names.sql").read_text(encoding="utf-8")
ODD = ['Shop: "50%"', "größe.x"]
ODD_TOML = """
[source]
schema = 'Shop: "50%"'
schemas = ["größe.x"]
[root]
table = "Client"
[root.region]
column = "country"
map = { de = "eu", us = "na" }
[regions]
eu = {}
na = {}
"""


@pytest.mark.parametrize("databases_apart", [False, True])
def test_names_that_have_to_be_quoted(
    postgres_url: str, tmp_path: Path, databases_apart: bool
) -> None:
    with databases(postgres_url, 2) as (one, other):
        execute(one, NAMES)
        journey = Journey(write(tmp_path, ODD_TOML), one, other if databases_apart else one)
        said = said_of(one, ODD)
        assert list(parse(render(said.extras))) == said.extras
        for command in ("generate", "apply", "migrate", "verify"):
            result = journey.done(command, "--backend", "postgres")
            assert "left behind" not in result.out
        assert (
            correspondence.differences(
                said,
                said_of(journey.postgres, [journey.schema]),
                journey.project.layout,
                journey.schema,
            )
            == []
        )
        # Views keep their names, and what is generated gets out of their way.
        assert journey.rows("SELECT count(*) FROM region") == [(2,)]
        assert journey.rows('SELECT count(*) FROM "Client_eu"') == [(5,)]
        assert journey.rows('SELECT n FROM "größe.x_all of it"') == [(10,)]
        journey.done("apply", "--backend", "postgres", "--revert", "--yes")


# What stands in the way ---------------------------------------------------------------------


@contextmanager
def small(postgres_url: str, folder: Path, more: str) -> Iterator[Journey]:
    """A client, and what is to be tried."""
    text = """
    CREATE SCHEMA shop;
    SET search_path = shop;
    CREATE TABLE country (code char(2) PRIMARY KEY, title text NOT NULL);
    CREATE TABLE client (id bigint PRIMARY KEY, country char(2) NOT NULL REFERENCES country);
    INSERT INTO country VALUES ('de', 'Germany'), ('us', 'USA');
    INSERT INTO client SELECT n, (ARRAY['de', 'us'])[n % 2 + 1] FROM generate_series(1, 10) n;
    """
    toml = TOML.replace('schemas = ["hr"]\n', "").partition("[placement")[0]
    with database(postgres_url) as url:
        execute(url, text + more)
        yield Journey(write(folder, toml), url, url)


def test_a_key_that_a_view_needs_stays_up(postgres_url: str, tmp_path: Path) -> None:
    grouping = """
    CREATE VIEW titles AS SELECT c.code, c.title, count(*) FROM country c
      JOIN client USING (id) GROUP BY c.code;
    """.replace("JOIN client USING (id)", "JOIN client ON client.country = c.code")
    with small(postgres_url, tmp_path, grouping) as journey:
        journey.prepare("postgres")
        assert journey.rows("SELECT code, count FROM titles ORDER BY 1") == [("de", 5), ("us", 5)]
        journey.done("verify", "--backend", "postgres")


def test_an_operator_may_add_a_view(postgres_url: str, tmp_path: Path) -> None:
    with small(postgres_url, tmp_path, "") as journey:
        journey.prepare("postgres")
        execute(journey.postgres, "CREATE VIEW mine AS SELECT * FROM client", schema=journey.schema)
        journey.done("verify", "--backend", "postgres")


def test_a_materialized_view_that_cannot_be_filled_is_named(
    postgres_url: str, tmp_path: Path
) -> None:
    failing = """
    CREATE MATERIALIZED VIEW broken AS SELECT 1 / (count(*) - 2) AS one FROM country WITH NO DATA;
    CREATE MATERIALIZED VIEW fine AS SELECT count(*) AS all FROM country;
    """
    with small(postgres_url, tmp_path, failing) as journey:
        journey.prepare("postgres")
        assert journey.rows("SELECT * FROM fine") == [(2,)]
        result = journey.run("verify", "--backend", "postgres")
        assert result.code == 5
        assert "materialized view broken holds no rows yet" in result.out + result.err


def test_what_is_needed_and_refused_fails_by_name(postgres_url: str, tmp_path: Path) -> None:
    with small(postgres_url, tmp_path, "") as journey:
        found = journey.project.extras
        toml = journey.folder / "regionkit.toml"
        toml.write_text(
            toml.read_text().replace("[source]", '[source]\nextras = "extras.sql"'),
            encoding="utf-8",
        )
        wrong = "-- regionkit: domain odd\nCREATE DOMAIN shop.odd AS nothing;\n"
        (journey.folder / "extras.sql").write_text(render(found) + wrong, encoding="utf-8")
        again = replace(journey)
        again.done("generate", "--backend", "postgres")
        result = again.run("apply", "--backend", "postgres")
        assert result.code == 9
        assert "domain 'odd' cannot be carried" in result.err
        assert query(journey.postgres, "SELECT to_regnamespace('shop_regional')") == [(None,)]


def test_a_cutover_takes_everything_along(postgres_url: str, tmp_path: Path) -> None:
    more = """
    CREATE SEQUENCE ticket START 5 INCREMENT 5;
    SELECT nextval('ticket'), nextval('ticket');
    CREATE FUNCTION next_ticket() RETURNS bigint LANGUAGE sql
      RETURN nextval('shop.ticket') + (SELECT count(*) FROM shop.client);
    CREATE VIEW titled AS SELECT client.id, country.title FROM client JOIN country
      ON country.code = client.country;
    CREATE MATERIALIZED VIEW counted AS SELECT country, count(*) FROM client GROUP BY country;
    CREATE TABLE log (id integer PRIMARY KEY, client_id bigint REFERENCES client);
    CREATE RULE silent AS ON INSERT TO log DO INSTEAD NOTHING;
    ALTER TABLE client ENABLE ROW LEVEL SECURITY;
    GRANT SELECT ON titled TO PUBLIC;
    GRANT SELECT (country) ON counted TO PUBLIC;
    CREATE POLICY all_of_it ON client USING (EXISTS (SELECT FROM country
      WHERE country.code = client.country));
    """
    with small(postgres_url, tmp_path, more) as journey:
        before = said_of(journey.source, ["shop"])
        journey.prepare("postgres")
        journey.done("cutover", "--backend", "postgres", "--yes")
        found = query(journey.source, "SELECT shop.next_ticket(), nextval('shop.ticket')")
        assert found == [(25, 20)]
        assert query(journey.source, "SELECT count(*) FROM shop.titled") == [(10,)]
        assert query(journey.source, "SELECT sum(count) FROM shop.counted") == [(10,)]
        granted = "SELECT has_table_privilege('public', '{}.titled', 'SELECT')"
        assert query(journey.source, granted.format("shop")) == [(True,)]
        # Seen from the new name, everything is what it was; a view of the old one stays with it.
        said = said_of(journey.source, ["shop"])
        layout = replace(journey).project.layout
        assert correspondence.differences(before, said, layout, "shop") == []
        journey.done("verify", "--backend", "postgres")
        journey.done("cutover", "--backend", "postgres", "--rollback", "--yes")
        assert query(journey.source, granted.format(journey.schema)) == [(False,)]
        assert (
            correspondence.differences(
                before, said_of(journey.source, [journey.schema]), layout, journey.schema
            )
            == []
        )
