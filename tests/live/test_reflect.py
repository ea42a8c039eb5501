"""The logical schema that is read from a catalogue, proven by the catalogue that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import MetaData

from tests.live.support import database
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


def test_what_is_not_valid_is_known(wide: str) -> None:
    tables = read(wide, *SCHEMAS).metadata.tables
    found = {
        constraint.name
        for table in tables.values()
        for constraint in table.constraints
        if constraint.dialect_kwargs.get("postgresql_not_valid")
    }
    assert found == {"later", "unproven"}
