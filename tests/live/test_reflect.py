"""The logical schema that is read from a catalogue, proven by the catalogue that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import CheckConstraint, MetaData, UniqueConstraint

from tests.live.support import database
from toolkit.errors import Refused, UsageError
from toolkit.postgres import inspect, model, reflect, session

#: A schema with everything that a table can have: what the tables need, what every supported
#: PostgreSQL takes, and what needs the version that the file is called after.
WIDE = Path(__file__).with_name("wide")

SCHEMAS = ("wide", "sales", "Odd.Schema")

#: What a MetaData says; functions and types are extras.
KINDS = ("relations", "columns", "constraints", "indexes", "sequences")


def sql(name: str) -> str:
    return (WIDE / f"{name}.sql").read_text(encoding="utf-8")


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def read(url: str, *schemas: str, called: str | None = None) -> reflect.Reflected:
    with session.connect(url, role="source") as connection:
        return reflect.read(connection, schemas, schemas[0], called=called)


def notes(reflected: reflect.Reflected) -> list[str]:
    return [str(note) for note in reflected.notes]


def run(source: str) -> MetaData:
    names: dict[str, object] = {}
    exec(compile(source, "schema.py", "exec"), names)
    metadata = names["metadata"]
    assert isinstance(metadata, MetaData)
    return metadata


def catalogues(url: str) -> dict[str, inspect.Catalogue]:
    with session.connect(url, role="source") as connection:
        return {
            schema: {
                kind: found
                for kind, found in inspect.catalogue(connection, schema).items()
                if kind in KINDS
            }
            for schema in SCHEMAS
        }


def differences(
    one: dict[str, inspect.Catalogue], other: dict[str, inspect.Catalogue]
) -> list[str]:
    return [
        f"{schema}: {line}"
        for schema in SCHEMAS
        for line in inspect.differences(one[schema], other[schema])
    ]


def made_from(metadata: MetaData, server_url: str) -> dict[str, inspect.Catalogue]:
    """Return the catalogues of a database in which a model was created."""
    with database(server_url) as url:
        execute(url, sql("types"))
        engine = session.engine(url, role="postgres")
        metadata.create_all(engine, checkfirst=False)
        engine.dispose()
        return catalogues(url)


def without_validity(lines: list[str]) -> list[str]:
    """Leave out the two constraints that CREATE TABLE makes valid, whatever the model says."""
    expected = ("checks.later", "keys.unproven")
    left_out = [line for line in lines if any(name in line for name in expected)]
    assert len(left_out) == 2
    assert all(line.endswith("NOT VALID'") for line in left_out)
    return [line for line in lines if line not in left_out]


@pytest.fixture(scope="module")
def wide(postgres_url: str) -> Iterator[str]:
    with database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for file in ("types", "tables"):
                connection.execute(sql(file))
            for version in (14, 15, 18):
                if connection.info.server_version >= version * 10000:
                    connection.execute(sql(f"tables_{version}"))
        yield url


def test_a_model_that_was_read_makes_the_same_catalogue(wide: str, postgres_url: str) -> None:
    reflected = read(wide, *SCHEMAS)
    assert notes(reflected) == []
    made = made_from(reflected.metadata, postgres_url)
    assert without_validity(differences(catalogues(wide), made)) == []


def test_a_model_that_was_written_makes_the_same_catalogue(wide: str, postgres_url: str) -> None:
    source = model.render(read(wide, *SCHEMAS).metadata)
    written = run(source)
    assert model.render(written) == source
    made = made_from(written, postgres_url)
    assert without_validity(differences(catalogues(wide), made)) == []


def test_every_keyword_is_a_name(postgres_url: str) -> None:
    with database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            words = [
                str(row[0])
                for row in connection.execute("SELECT word FROM pg_get_keywords() ORDER BY 1")
            ]
            columns = [f'"{word}" int CONSTRAINT "{word}" CHECK ("{word}" > 0)' for word in words]
            connection.execute("CREATE SCHEMA k")
            connection.execute(f"CREATE TABLE k.words ({', '.join(columns)})")
            for word in words:
                connection.execute(f'CREATE INDEX "{word}" ON k.words ("{word}" DESC)')
        with session.connect(url, role="source") as source:
            reflected = reflect.read(source, ["k"], "k")
            expected = inspect.catalogue(source, "k")
        execute(url, "DROP SCHEMA k CASCADE", "CREATE SCHEMA k")
        engine = session.engine(url, role="postgres")
        run(model.render(reflected.metadata)).create_all(engine, checkfirst=False)
        engine.dispose()
        with session.connect(url, role="source") as source:
            assert inspect.differences(expected, inspect.catalogue(source, "k")) == []


def test_what_is_not_valid_is_known(wide: str) -> None:
    tables = read(wide, *SCHEMAS).metadata.tables
    found = {
        constraint.name
        for table in tables.values()
        for constraint in table.constraints
        if constraint.dialect_kwargs.get("postgresql_not_valid")
    }
    assert found == {"later", "unproven"}


#: Keys and foreign keys on the partitions only. One of them is in another schema and has other
#: column numbers, one is partitioned again.
PARTITIONED = """
CREATE SCHEMA shop;
CREATE SCHEMA archive;
CREATE TABLE shop.customer (id int PRIMARY KEY, name text);
CREATE TABLE shop.product (id int PRIMARY KEY);
CREATE TABLE shop.sale (
    id int, day date NOT NULL, shop int NOT NULL, customer_id int, product_id int
) PARTITION BY RANGE (day);
CREATE TABLE archive.sale_2023 (
    dropped int, shop int NOT NULL, product_id int, customer_id int, day date NOT NULL,
    id int NOT NULL,
    PRIMARY KEY (id, shop, day), UNIQUE (product_id, day), UNIQUE (product_id),
    CHECK (shop > 0), CHECK (customer_id <> 13),
    FOREIGN KEY (customer_id) REFERENCES shop.customer ON DELETE CASCADE
);
ALTER TABLE archive.sale_2023 DROP COLUMN dropped;
ALTER TABLE shop.sale ATTACH PARTITION archive.sale_2023
    FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE shop.sale_2024 PARTITION OF shop.sale
    FOR VALUES FROM ('2024-01-01') TO ('2025-01-01') PARTITION BY LIST (shop);
CREATE TABLE shop.sale_2024_1 PARTITION OF shop.sale_2024 (
    PRIMARY KEY (id, shop, day), UNIQUE (product_id, day),
    FOREIGN KEY (product_id) REFERENCES shop.product
) FOR VALUES IN (1);
CREATE TABLE shop.sale_2024_2 PARTITION OF shop.sale_2024 (
    PRIMARY KEY (id, shop, day), UNIQUE (product_id, day), CHECK (shop < 99)
) DEFAULT;
ALTER TABLE shop.sale_2024 ADD CHECK (customer_id <> 13);
CREATE INDEX ON archive.sale_2023 (product_id DESC, day);
CREATE INDEX ON shop.sale_2024 (product_id DESC, day);
CREATE INDEX ON archive.sale_2023 (customer_id, day);
ALTER TABLE shop.sale_2024 ADD FOREIGN KEY (customer_id) REFERENCES shop.customer
    ON DELETE CASCADE;
CREATE INDEX sale_by_customer ON shop.sale (customer_id);
CREATE INDEX half_done ON ONLY shop.sale (product_id);
"""


def test_a_partitioned_table_is_one_table(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(url, PARTITIONED)
        reflected = read(url, "shop")
    assert set(reflected.metadata.tables) == {"shop.customer", "shop.product", "shop.sale"}
    sale = reflected.metadata.tables["shop.sale"]
    assert sale.columns.keys() == ["id", "day", "shop", "customer_id", "product_id"]
    # In the partitions only, and proven: both columns that decide on the partition are in it.
    assert sale.primary_key.columns.keys() == ["id", "shop", "day"]
    # Not so (product_id, day): two partitions of one day may hold the same product.
    assert not [one for one in sale.constraints if isinstance(one, UniqueConstraint)]
    (key,) = sale.foreign_key_constraints
    assert key.column_keys == ["customer_id"]
    assert key.referred_table.name == "customer"
    assert key.ondelete == "CASCADE"
    assert {index.name for index in sale.indexes} == {
        "sale_by_customer",
        "sale_2023_product_id_day_idx",
    }
    assert [one.name for one in sale.constraints if isinstance(one, CheckConstraint)] == [
        "sale_2023_customer_id_check"
    ]
    assert notes(reflected) == [
        "sale: partitioned by RANGE (day): its 3 partition(s) are carried as one table",
        "sale: (id, shop, day): unique in every partition, and contains what decides on the "
        "partition: carried as the primary key 'sale_pkey'",
        "sale: column 'id': every partition has it NOT NULL: it is so in the table",
        "sale: constraint 'sale_2023_customer_id_check': every partition has this check: it is one "
        "of the table",
        "sale: constraint 'sale_2023_customer_id_fkey': every partition has this foreign key: "
        "it is one of the table",
        "sale: constraint 'sale_2024_1_product_id_fkey': left out: only some of the partitions "
        "have this foreign key",
        "sale: index 'half_done': left out: it is INVALID, nobody can use it",
        "sale: index 'sale_2023_product_id_day_idx': every partition has this index: it is one of "
        "the table",
        "sale: sale_2023_customer_id_day_idx: left out: indexes of some partitions only",
        "sale: sale_2023_product_id_day_key, sale_2023_product_id_key, "
        "sale_2024_1_product_id_day_key, sale_2024_2_product_id_day_key: left out: unique within "
        "a partition only",
        "sale: sale_2023_shop_check, sale_2024_2_shop_check: left out: only some of the "
        "partitions check it",
    ]


def test_a_partition_of_a_table_that_is_not_read_is_named(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(url, PARTITIONED, "CREATE TABLE archive.other (id int)")
        reflected = read(url, "archive")
    assert set(reflected.metadata.tables) == {"archive.other"}
    assert notes(reflected) == [
        "sale_2023: left out: it is a partition of 'shop.sale', whose schema is not read; add "
        "'shop' to schemas in [source]"
    ]


def test_foreign_keys_of_and_to_partitioned_tables_are_not_doubled(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(
            url,
            """
            CREATE SCHEMA p;
            CREATE TABLE p.a (id int, k int, PRIMARY KEY (id, k), n int) PARTITION BY HASH (k);
            CREATE TABLE p.a_0 PARTITION OF p.a FOR VALUES WITH (MODULUS 2, REMAINDER 0);
            CREATE TABLE p.a_1 PARTITION OF p.a FOR VALUES WITH (MODULUS 2, REMAINDER 1);
            ALTER TABLE p.a_1 ADD UNIQUE (n);
            CREATE TABLE p.b (
                id int, a_id int, a_k int, n int, m int, o int, PRIMARY KEY (id),
                CONSTRAINT whole FOREIGN KEY (a_id, a_k) REFERENCES p.a,
                CONSTRAINT part FOREIGN KEY (m, o) REFERENCES p.a_0 (id, k),
                CONSTRAINT local FOREIGN KEY (n) REFERENCES p.a_1 (n)
            ) PARTITION BY RANGE (id);
            CREATE TABLE p.b_0 PARTITION OF p.b FOR VALUES FROM (0) TO (9);
            CREATE TABLE p.b_1 PARTITION OF p.b DEFAULT;
            """,
        )
        reflected = read(url, "p")
    b = reflected.metadata.tables["p.b"]
    assert {key.name: key.referred_table.name for key in b.foreign_key_constraints} == {
        "whole": "a",
        "part": "a",
    }
    found = [line for line in notes(reflected) if "constraint" in line]
    assert found == [
        "b: constraint 'local': left out: it references partition 'a_1' by columns that are not "
        "unique over the whole table",
        "b: constraint 'part': references partition 'a_0': now the whole table",
    ]


def test_each_table_of_an_inheritance_stands_alone(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(
            url,
            """
            CREATE SCHEMA old;
            CREATE TABLE old.city (id int PRIMARY KEY, name text NOT NULL CHECK (name <> ''),
                CONSTRAINT alone CHECK (id > 0) NO INHERIT);
            CREATE TABLE old.capital (state text) INHERITS (old.city);
            """,
        )
        reflected = read(url, "old")
    tables = reflected.metadata.tables
    assert tables["old.city"].info == {"regionkit_only": True}
    assert tables["old.capital"].info == {}
    assert tables["old.capital"].columns.keys() == ["id", "name", "state"]
    assert "city_name_check" in {check.name for check in tables["old.capital"].constraints}
    assert notes(reflected) == [
        "capital: inherits from city: carried as a table of its own",
        "city: read without the rows of capital, which inherit from it and are tables of their own",
        "city: constraint 'alone': carried without NO INHERIT: nothing inherits there",
    ]
    assert run(model.render(reflected.metadata)).tables["old.city"].info == {"regionkit_only": True}


def test_nothing_is_left_out_in_silence(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(
            url,
            """
            CREATE EXTENSION hstore;
            CREATE EXTENSION postgres_fdw;
            CREATE SCHEMA s;
            CREATE SCHEMA other;
            CREATE TABLE other.country (id int PRIMARY KEY);
            CREATE TABLE s.spatial (id int);
            ALTER EXTENSION hstore ADD TABLE s.spatial;
            CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw;
            CREATE FOREIGN TABLE s.far (id int) SERVER away;
            CREATE TYPE s.shape AS (id int, name text);
            CREATE TABLE s.typed OF s.shape;
            CREATE DOMAIN s.word AS text;
            CREATE TABLE s.plain (
                id int GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME s.own_name),
                country int CONSTRAINT abroad REFERENCES other.country,
                held s.word COLLATE "C",
                whole other.country,
                CONSTRAINT filled UNIQUE (country) WITH (fillfactor = 60),
                CONSTRAINT wider EXCLUDE USING gist ((int4range(id, country)) WITH &&)
                    INCLUDE (country)
            );
            CREATE TEMPORARY TABLE passing (id int);
            """,
        )
        reflected = read(url, "s")
    assert set(reflected.metadata.tables) == {"s.plain", "s.typed"}
    assert notes(reflected) == [
        "far: left out: it is a foreign table, its rows live elsewhere",
        "plain: column 'held': compares by its domain's collation, not by 'C'",
        "plain: column 'id': its identity draws from sequence 'own_name', which gets a name of "
        "PostgreSQL's choice",
        "plain: column 'whole': its values are rows of other.country, whose columns change with "
        "the layout",
        "plain: constraint 'abroad': left out: it references 'other.country', which is in another "
        "schema; add 'other' to schemas in [source]",
        "plain: constraint 'filled': its index's fillfactor=60 is left behind",
        "plain: constraint 'wider': its INCLUDE columns are left behind",
        "spatial: left out: it is part of extension 'hstore'",
        "typed: of type s.shape: carried as an ordinary table",
    ]


def test_what_only_postgresql_18_has(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("this server is older")
    with database(postgres_url) as url:
        execute(
            url,
            """
            CREATE EXTENSION btree_gist;
            CREATE SCHEMA s;
            CREATE TABLE s.stay (
                room int, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS)
            );
            CREATE TABLE s.meal (
                room int, during daterange, stay int, n int, m int CONSTRAINT m_given NOT NULL,
                FOREIGN KEY (room, PERIOD during) REFERENCES s.stay (room, PERIOD during),
                CONSTRAINT never CHECK (n > 0) NOT ENFORCED
            );
            ALTER TABLE s.meal ADD CONSTRAINT n_given NOT NULL n NOT VALID;
            CREATE TABLE s.guest (id int PRIMARY KEY);
            ALTER TABLE s.meal ADD CONSTRAINT loose FOREIGN KEY (n) REFERENCES s.guest NOT ENFORCED;
            """,
        )
        reflected = read(url, "s")
    meal, stay = reflected.metadata.tables["s.meal"], reflected.metadata.tables["s.stay"]
    assert meal.columns["n"].nullable
    assert not meal.columns["m"].nullable
    assert stay.primary_key.columns.keys() == ["room", "during"]
    assert {constraint.name for constraint in stay.constraints} == {
        "stay_pkey",
        "stay_pkey_overlaps",
    }
    assert {constraint.name for constraint in meal.constraints if constraint.name} == {"loose"}
    assert notes(reflected) == [
        "meal: NOT NULL is carried without the names 'm_given'",
        "meal: column 'n': NOT NULL is left out: it is NOT VALID, rows may hold NULL",
        "meal: constraint 'loose': is NOT ENFORCED in the source, and will be enforced",
        "meal: constraint 'meal_room_during_fkey': left out: SQLAlchemy has no word for a foreign "
        "key with PERIOD",
        "meal: constraint 'never': left out: it is NOT ENFORCED, and checks nothing",
        "stay: constraint 'stay_pkey': WITHOUT OVERLAPS is said as exclusion constraint "
        "'stay_pkey_overlaps'",
    ]


def test_schemas_that_are_not_there_are_all_named(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(url, "CREATE SCHEMA empty")
        with pytest.raises(UsageError, match="'nowhere', 'neither' does not exist") as caught:
            read(url, "empty", "nowhere", "neither")
        assert "there is: empty" in caught.value.details
        with pytest.raises(UsageError, match="'empty' of the source holds no table"):
            read(url, "empty")


def test_tables_whose_keys_would_be_equal_are_refused(postgres_url: str) -> None:
    with database(postgres_url) as url:
        execute(
            url,
            """
            CREATE SCHEMA sales;
            CREATE TABLE sales.customer (id int);
            CREATE TABLE public."sales.customer" (id int);
            """,
        )
        assert set(read(url, "sales").metadata.tables) == {"sales.customer"}
        with pytest.raises(Refused, match=r"two tables would be called 'sales\.customer'"):
            read(url, "public", "sales")


def test_a_renamed_schema_keeps_its_name_in_the_model(wide: str, postgres_url: str) -> None:
    expected = model.render(read(wide, *SCHEMAS).metadata)
    execute(wide, 'ALTER SCHEMA wide RENAME TO "wide\'s old"')
    try:
        renamed = read(wide, "wide's old", *SCHEMAS[1:], called="wide")
    finally:
        execute(wide, 'ALTER SCHEMA "wide\'s old" RENAME TO wide')
    assert model.render(renamed.metadata) == expected


def test_reading_needs_no_privilege_and_writes_nothing(wide: str) -> None:
    execute(wide, "DROP ROLE IF EXISTS looker", "CREATE ROLE looker")
    with session.connect(wide, role="source", autocommit=False) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute("SET ROLE looker")
        connection.execute("SET LOCAL search_path = sales")
        reflected = reflect.read(connection, SCHEMAS, "wide")
        # The session is as it was.
        assert connection.execute("SHOW search_path").fetchone() == ("sales",)
    assert model.render(reflected.metadata) == model.render(read(wide, *SCHEMAS).metadata)
    execute(wide, "DROP ROLE looker")
