"""The banks that are moved: each size built once, and cloned for every run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from bench.processes import BenchError
from schemas.bank import seed

#: One client has so many payments.
PAYMENTS_PER_CLIENT = 20


class Server:
    """A PostgreSQL whose databases the benchmark makes and drops.

    Args:
        url: of its first database, with a superuser.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = itertools.count(1)

    def database(self, name: str) -> str:
        """Return the URL of a database."""
        head, _, query = self.url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    def create(self, name: str, template: str = "template1") -> str:
        """Make a database as a copy of another, on disk before anything is timed; return its URL.

        ``file_copy``, because the other way writes the whole template to the log.
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {} strategy file_copy").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        self.checkpoint()
        return self.database(name)

    def drop(self, name: str) -> None:
        """Drop a database, with whoever is connected."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
            )

    @contextmanager
    def copy(self, template: str = "template1") -> Iterator[str]:
        """Give a copy of a database for one run."""
        name = f"run_{next(self._numbers)}"
        url = self.create(name, template)
        try:
            yield url
        finally:
            self.drop(name)

    def checkpoint(self) -> None:
        """Write everything that is in memory to disk."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("checkpoint")

    def settings(self) -> dict[str, str]:
        """Return what differs from PostgreSQL's defaults, and what durability depends on."""
        with psycopg.connect(self.url) as connection:
            rows: list[tuple[Any, ...]] = connection.execute(
                "select name, current_setting(name) from pg_settings "
                "where source = 'command line' and name not in ('cluster_name', 'port', "
                "'config_file', 'data_directory', 'hba_file', 'ident_file') "
                "or name in ('fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers', "
                "'work_mem', 'maintenance_work_mem', 'max_wal_size', 'wal_level', "
                "'data_checksums', 'server_version') order by name"
            ).fetchall()
        return {str(name): str(value) for name, value in rows}


def build(server: Server, payments: int, random_seed: int) -> tuple[str, dict[str, int]]:
    """Make the bank, analyzed as a server in use is; return its database and rows per table."""
    name = f"bank_{payments}"
    server.create(name)
    with psycopg.connect(server.database(name)) as connection:
        seed.create(connection)
        rows = seed.load(
            connection,
            clients=max(1, payments // PAYMENTS_PER_CLIENT),
            payments=payments,
            seed=random_seed,
        )
    with psycopg.connect(server.database(name), autocommit=True) as connection:
        connection.execute("vacuum (analyze)")
    return name, dict(rows)


def end_state(url: str, schema: str) -> dict[str, str]:
    """Return what a schema holds: of each table rows and a digest, of each sequence its place."""
    found: dict[str, str] = {}
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select relname from pg_class where relnamespace = %s::regnamespace "
            "and relkind = 'r' order by 1",
            (schema,),
        ).fetchall()
        for (table,) in tables:
            row = connection.execute(
                sql.SQL(
                    "select count(*), sum(hashtextextended(t::text, 0)::numeric) from {} t"
                ).format(sql.Identifier(schema, table))
            ).fetchone()
            found[f"table {table}"] = str(row)
        sequences = connection.execute(
            "select sequencename, last_value from pg_sequences where schemaname = %s", (schema,)
        ).fetchall()
    return found | {f"sequence {name}": str(value) for name, value in sequences}


def require_equal(what: str, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raise unless two end states are the same: otherwise their times say nothing.

    Raises:
        BenchError: names what differs.
    """
    differing = sorted(
        key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)
    )
    if differing:
        raise BenchError(f"{what}: ours and the peer's end state differ in {differing[:10]}")
