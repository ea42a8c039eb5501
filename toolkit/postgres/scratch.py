"""Scratch schemas: what a plan gives on a server, for as long as it is looked at.

A plan that fits one transaction is carried out in one that is rolled back. A larger one takes
several, which commit: the schema is dropped again, in as many pieces, and if the process is killed
before that, by whoever needs a scratch schema next.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection as SqlConnection

from toolkit.postgres import ddl, session
from toolkit.postgres.locks import batches
from toolkit.postgres.session import Connection

_PREFIX = "regionkit_scratch_"

#: Foreign keys, and then tables, with the locks that dropping each takes: itself, partitions and
#: indexes, TOAST tables, types, constraints and triggers.
_FOREIGN_KEYS = """
SELECT format('ALTER TABLE %%s DROP CONSTRAINT %%I', o.conrelid::regclass, o.conname),
       4 * (3 + (SELECT count(*) FROM pg_inherits WHERE inhparent IN (o.conrelid, o.confrelid)))
FROM pg_constraint o
WHERE o.connamespace = to_regnamespace(quote_ident(%(schema)s)) AND o.contype = 'f'
  AND o.conparentid = 0
"""
_TABLES = """
SELECT format('DROP TABLE %%s CASCADE', c.oid::regclass),
       (8 + 2 * c.relnatts + 2 * (SELECT count(*) FROM pg_index WHERE indrelid = c.oid))
       * (1 + (SELECT count(*) FROM pg_inherits WHERE inhparent = c.oid))
FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relkind IN ('r', 'p')
  AND NOT c.relispartition
"""


def new_name() -> str:
    """Return a name that no other run has."""
    return f"{_PREFIX}{secrets.token_hex(6)}"


@contextmanager
def carried_out(
    url: str, schema: str, parts: Sequence[Sequence[MigrateOperation]], budget: int
) -> Iterator[Connection]:
    """Carry operations out in a scratch schema; yield a session that sees it. Nothing stays.

    Args:
        url: of the target; it needs the right to create a schema.
        schema: in which the operations create everything, from :func:`new_name`.
        parts: each is carried out in one transaction.
        budget: how many locks a transaction may take.

    Raises:
        sqlalchemy.exc.DBAPIError: the server refused.
    """
    engine = session.engine(url, role="postgres")
    # Whoever holds this lock is still at work in the schema.
    with session.exclusive(url, role="postgres", name=schema) as holder:
        _drop_left(holder, schema, budget)
        with engine.connect() as connection:
            if len(parts) == 1:
                transaction = connection.begin()
                try:
                    _run(connection, parts[0])
                    raw = connection.connection.driver_connection
                    assert raw is not None
                    yield raw
                finally:
                    transaction.rollback()
                return
            try:
                for part in parts:
                    with connection.begin():
                        _run(connection, part)
                yield holder
            finally:
                _drop(holder, schema, budget)


def _run(connection: SqlConnection, operations: Sequence[MigrateOperation]) -> None:
    context = Operations(MigrationContext.configure(connection))
    for operation in operations:
        context.invoke(operation)


def _drop_left(connection: Connection, own: str, budget: int) -> None:
    """Drop the scratch schemas of this role that nobody is at work in any more."""
    rows = connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s) AND nspname <> %s "
        "AND nspowner = current_user::regrole",
        (_PREFIX, own),
    ).fetchall()
    for (name,) in rows:
        key = (session.lock_key(f"regionkit {name}"),)
        if connection.execute("SELECT pg_try_advisory_lock(%s)", key).fetchone() == (True,):
            _drop(connection, name, budget)
            connection.execute("SELECT pg_advisory_unlock(%s)", key)


def _drop(connection: Connection, schema: str, budget: int) -> None:
    """Drop a schema in transactions that fit the budget."""
    with connection.transaction():
        # With an empty search path every name that the server prints is qualified.
        connection.execute("SELECT set_config('search_path', '', true)")
        found = [
            connection.execute(query, {"schema": schema}).fetchall()
            for query in (_FOREIGN_KEYS, _TABLES)
        ]
    for rows in found:
        for batch in batches(rows, lambda row: int(row[1]), budget):
            with connection.transaction():
                connection.execute("SET LOCAL client_min_messages = warning")
                for statement, _ in batch:
                    connection.execute(statement)
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(f"DROP SCHEMA IF EXISTS {ddl.quote(schema)} CASCADE")
