"""Layouts of schemas that were read, against those of models that were written by hand."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from sqlalchemy import MetaData

from schemas.bank import seed
from tests.live.support import DATA, SAMPLES, database, load_sample, regionkit
from tests.live.test_reflect import execute, read, run
from toolkit import config, layout, placement
from toolkit.config import Configuration
from toolkit.postgres import generate, inspect, model, session
from toolkit.postgres.layout import build

BANK = Path(seed.__file__).with_name("regionkit.toml")


def decided(configuration: Configuration, metadata: MetaData) -> layout.Layout:
    schema = configuration.source_schema
    placed = placement.infer(
        metadata,
        configuration.file.root.table,
        configuration.statements,
        default_schema=schema,
    )
    return layout.decide(
        metadata,
        configuration.topology,
        placed,
        default_schema=schema,
        unique=configuration.file.unique,
    )


def operations(configuration: Configuration, metadata: MetaData) -> str:
    found = generate.operations(decided(configuration, metadata), configuration.target_schema)
    return generate.render(found)


def created(configuration: Configuration, metadata: MetaData, server: str) -> inspect.Catalogue:
    """Return the catalogue of the layout of a model, created in a database of its own."""
    schema = configuration.target_schema
    with database(server) as url:
        execute(url, f'CREATE SCHEMA "{schema}"')
        engine = session.engine(url, role="postgres")
        with engine.begin() as connection:
            build(decided(configuration, metadata), schema).create_all(connection)
        engine.dispose()
        with session.connect(url, role="postgres") as found:
            return inspect.catalogue(found, schema)


def test_the_bank_that_was_read_gives_the_layout_of_its_model(postgres_url: str) -> None:
    configuration = config.load(BANK)
    with database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            seed.create(connection)
        reflected = read(url, "bank")
    assert reflected.notes == ()
    expected = created(configuration, configuration.import_metadata(), postgres_url)
    assert expected["constraints"]
    found = created(configuration, reflected.metadata, postgres_url)
    assert inspect.differences(expected, found) == []
    # Written down and run, it is generated from like what was read, to the letter.
    written = run(model.render(reflected.metadata))
    assert operations(configuration, written) == operations(configuration, reflected.metadata)


def test_northwind_is_written_as_it_is_read(postgres_url: str) -> None:
    if not (DATA / "northwind").is_dir():
        pytest.skip("the sample database northwind is not at ../shared/data")
    configuration = config.load(SAMPLES / "northwind" / "regionkit.toml")
    with database(postgres_url) as url:
        load_sample("northwind", url)
        reflected = read(url, "public")
    assert reflected.notes == ()
    written = run(model.render(reflected.metadata))
    assert operations(configuration, written) == operations(configuration, reflected.metadata)


def test_generate_says_what_it_did_not_find_a_word_for(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "regionkit.toml").write_text(
        """
        [root]
        table = "client"
        [root.region]
        column = "country"
        map = { DE = "eu" }
        [regions]
        eu = {}
        [target.mongo]
        allow_single_member = true
        """,
        encoding="utf-8",
    )
    with database(postgres_url) as url:
        execute(
            url,
            "CREATE TABLE client (id int PRIMARY KEY, country text)",
            "CREATE TABLE note (id int, client_id int REFERENCES client) PARTITION BY HASH (id)",
            "CREATE TABLE note_0 PARTITION OF note FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        )
        result = regionkit("generate", env={"REGIONKIT_SOURCE_URL": url}, cwd=tmp_path)
    assert result.code == 0, result.err
    assert (
        "note: note: partitioned by HASH (id): its 1 partition(s) are carried as one table"
    ) in result.err
