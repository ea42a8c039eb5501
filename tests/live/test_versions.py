"""Another major version of PostgreSQL than the embedded one: as a source, as a target, as both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.live.journey import Journey, execute, query, write
from tests.live.support import database
from tests.live.test_move_client import AWAY, HOME, OF_CLIENT, ROWS, SCHEMA, TOML, move
from tests.versions import VARIABLE, chosen, major, others
from toolkit.lab import Server, binaries, temporary_lab
from toolkit.postgres import capabilities, versions
from toolkit.postgres.session import connect

#: The oldest major that can be a target.
OLDEST = versions.MOVES_BY_CASCADE.since

OTHERS = others(OLDEST)

#: Majors by name, of source and target.
PAIRS = (("other", "other"), ("other", "embedded"), ("embedded", "other"))


@pytest.fixture(scope="module")
def majors() -> Iterator[Mapping[str, str]]:
    """URLs of the embedded PostgreSQL and of the oldest other one, by name."""
    if not OTHERS:
        pytest.skip(f"no other PostgreSQL from {OLDEST} on: set {VARIABLE}, or install one")
    with ExitStack() as stack:
        urls = {}
        for name, programs in (("embedded", None), ("other", OTHERS[0])):
            lab = temporary_lab(fast=True, servers=["postgres"], server=Server(programs))
            urls[name] = stack.enter_context(lab).url("postgres") or ""
        yield urls


def test_they_are_what_they_are_called(majors: Mapping[str, str]) -> None:
    found = {}
    for name, url in majors.items():
        with connect(url, role="postgres") as connection:
            found[name] = connection.info.server_version // 10_000
    assert found == {"embedded": major(binaries.postgres_bin()), "other": major(OTHERS[0])}
    assert found["embedded"] != found["other"]


def test_the_live_tests_run_on_the_one_that_is_chosen(postgres_url: str) -> None:
    with connect(postgres_url, role="postgres") as connection:
        version = connection.info.server_version // 10_000
    assert version == major(chosen() or binaries.postgres_bin())


@pytest.mark.parametrize("pair", PAIRS, ids=" to ".join)
def test_the_journey(majors: Mapping[str, str], pair: tuple[str, str], tmp_path: Path) -> None:
    with database(majors[pair[0]]) as source, database(majors[pair[1]]) as target:
        execute(source, SCHEMA)
        same = pair[0] == pair[1]
        journey = Journey(write(tmp_path, TOML), source, source if same else target)
        journey.prepare("postgres")
        journey.done("verify", "--backend", "postgres")
        with psycopg.connect(journey.postgres) as connection:
            connection.execute("SELECT set_config('search_path', 'shop_regional', false)")
            assert move(connection, AWAY) == 1
            connection.commit()
            for table, condition in OF_CLIENT.items():
                rows = connection.execute(
                    f"SELECT region, count(*) FROM {table} WHERE {condition} GROUP BY 1".encode()
                ).fetchall()
                assert rows == [(AWAY, ROWS[table])], table
        # The source still says another region, and verify must see it.
        moved = journey.run("verify", "--backend", "postgres")
        assert moved.code == 5
        assert HOME in moved.out + moved.err
        journey.done("apply", "--backend", "postgres", "--revert", "--yes")
        left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'shop_regional'"
        assert query(journey.postgres, left) == [(0,)]


def test_what_a_target_has_not_learned_is_refused_by_name(
    majors: Mapping[str, str], tmp_path: Path
) -> None:
    model = """
    from sqlalchemy import *
    metadata = MetaData()
    Table("client", metadata, Column("id", BigInteger, primary_key=True, autoincrement=False),
          Column("country", Text), Column("twice", Integer, Computed("id * 2", persisted=False)))
    """
    toml = TOML.partition("[placement.card]")[0].replace(
        "[source]", '[source]\nmetadata = "model.py:metadata"'
    )
    with database(majors["other"]) as url, connect(url, role="postgres") as connection:
        if connection.info.server_version >= capabilities.VIRTUAL_COLUMN.since:
            pytest.skip("it has learned everything")
        journey = Journey(write(tmp_path, toml, model__py=model), url, url)
        journey.done("generate", "--backend", "postgres")
        for arguments in (("apply", "--dry-run"), ("apply",)):
            refused = journey.run(*arguments, "--backend", "postgres")
            assert refused.code == 9
            assert f"PostgreSQL {major(OTHERS[0])} cannot hold 1 thing(s)" in refused.err
            assert "column twice of client: a generated column that is not stored" in refused.err
        assert query(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'shop_regional'") == [
            (0,)
        ]


def test_capabilities_are_asked_of_all_servers(majors: Mapping[str, str]) -> None:
    with (
        connect(majors["embedded"], role="postgres") as embedded,
        connect(majors["other"], role="postgres") as other,
    ):
        for one in versions.ALL:
            known = [
                connection.info.server_version >= one.since * 10_000
                for connection in (embedded, other)
            ]
            assert one.there(embedded, other) == all(known), one
        # What is asked of a number is so: the server itself knows the setting, or does not.
        for name, capability in (
            ("idle_session_timeout", versions.IDLE_SESSION_TIMEOUT),
            ("transaction_timeout", versions.TRANSACTION_TIMEOUT),
        ):
            for connection in (embedded, other):
                row = connection.execute(
                    "SELECT count(*) FROM pg_settings WHERE name = %s", (name,)
                ).fetchone()
                assert row == (int(capability.there(connection)),)
