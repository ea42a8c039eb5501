"""The logical schema of a source, as its own catalogue describes it.

``pg_catalog`` is asked directly, because SQLAlchemy's reflection loses too much: domains, composite
types, operator classes, partitions, inheritance, what was not validated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import MetaData

from toolkit.errors import UsageError
from toolkit.postgres.reflect.notes import Note
from toolkit.postgres.reflect.renaming import Renaming
from toolkit.postgres.reflect.rows import read_rows
from toolkit.postgres.reflect.tables import TableBuilder
from toolkit.postgres.session import Connection, translated

__all__ = ["Note", "Reflected", "read"]


@dataclass(frozen=True)
class Reflected:
    """A logical schema.

    Attributes:
        metadata: its tables.
        notes: what a ``MetaData`` cannot hold, and what is carried in another form.
    """

    metadata: MetaData
    notes: tuple[Note, ...]


def read(
    connection: Connection,
    schemas: Sequence[str],
    default_schema: str,
    *,
    called: str | None = None,
) -> Reflected:
    """Read the tables of some schemas: columns, keys, constraints and indexes.

    Args:
        connection: to the source; nothing is written, and no privilege on a table is needed.
        schemas: to read, the default one among them.
        default_schema: the one whose tables have bare keys in the notes.
        called: what the default schema is called in the result, where a cutover has renamed it.

    Raises:
        UsageError: a schema does not exist, or there is no table in any of them.
        Refused: two tables would have one key, because a name holds a dot.
    """
    with translated(), connection.transaction(force_rollback=True):
        # With an empty search path every name that the server prints is qualified. Rolled back,
        # because a setting outlives a savepoint.
        connection.execute("SELECT set_config('search_path', '', true)")
        _require(connection, schemas)
        renaming = _renaming(connection, default_schema, called)
        rows = read_rows(connection, schemas)
    builder = TableBuilder(rows, schemas, default_schema, renaming)
    builder.build()
    if not builder.metadata.tables:
        raise UsageError(
            f"{_named(schemas)} of the source holds no table",
            details=[str(note) for note in builder.notes],
            hint='name the right one with schema = "..." in [source]',
        )
    return Reflected(builder.metadata, tuple(builder.notes))


def _require(connection: Connection, schemas: Sequence[str]) -> None:
    rows = connection.execute(
        "SELECT nspname::text FROM pg_namespace "
        "WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema' ORDER BY 1"
    )
    there = [str(row[0]) for row in rows]
    missing = [schema for schema in schemas if schema not in there]
    if missing:
        raise UsageError(
            f"{_named(missing)} does not exist in the source",
            details=[f"there is: {schema}" for schema in there],
            hint="name those that hold the tables with schema and schemas in [source]",
        )


def _renaming(connection: Connection, schema: str, called: str | None) -> Renaming:
    if called is None or called == schema:
        return Renaming()
    row = connection.execute("SELECT quote_ident(%s), quote_ident(%s)", (schema, called)).fetchone()
    assert row is not None
    return Renaming({schema: called}, {str(row[0]): str(row[1])})


def _named(schemas: Sequence[str]) -> str:
    return f"schema {', '.join(map(repr, schemas))}"
