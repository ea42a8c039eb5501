"""Copying chunks from the source into the layout ``tables``.

Within one database the rows never leave the server (``insert ... select``); to another one they go
as a COPY stream that Python hands on without looking into it: binary where both databases read the
values alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Column, Enum
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from toolkit.errors import Interrupted, RegionkitError
from toolkit.journal import Chunk, Run
from toolkit.layout import Layout
from toolkit.postgres import ddl, session, stream
from toolkit.postgres.layout import build
from toolkit.postgres.source import Source, copied_columns
from toolkit.postgres.store import Store
from toolkit.types import Composite, CustomRange, postgres_type

# "named", because the other styles write % twice, which only SQLAlchemy's own execution undoes.
_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Shape:
    """How the rows of one table are read and written.

    Attributes:
        target: the qualified table that is written.
        columns: of the target, in the order of the SELECT.
        expressions: over alias ``t`` of the source, one for each logical column.
        binary: whether another database reads the values in binary form.
    """

    target: str
    columns: tuple[str, ...]
    expressions: tuple[str, ...]
    binary: bool = True


#: Types that every database reads in one binary form.
_BINARY = frozenset(
    {
        *("smallint", "integer", "bigint", "real", "double precision", "numeric", "money"),
        *("boolean", "text", "character varying", "character", "name", '"char"', "citext"),
        *("bytea", "uuid", "json", "jsonb", "xml", "bit", "bit varying", "oid", "pg_lsn"),
        *("date", "interval", "time without time zone", "time with time zone"),
        *("timestamp without time zone", "timestamp with time zone"),
        *("inet", "cidr", "macaddr", "macaddr8", "tsvector", "tsquery"),
        *("point", "line", "lseg", "box", "path", "polygon", "circle"),
        *("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
    }
)


class Copier:
    """Copies chunks; each worker opens connections of its own with :meth:`worker`.

    Args:
        source: under an open snapshot.
        url: of the target.
        schema: of the layout.
        run: the run whose epoch the checkpoints carry.
        same_database: whether source and target are one database.
        settings: of every session that writes.
    """

    def __init__(
        self,
        source: Source,
        url: str,
        schema: str,
        run: Run,
        *,
        same_database: bool,
        settings: dict[str, str],
    ) -> None:
        self._source = source
        self._layout: Layout = source.layout
        self._url = url
        self._schema = schema
        self._run = run
        self._store = Store(schema)
        self._same_database = same_database
        self._settings = settings
        self._tables = build(self._layout, schema).tables

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Open what one worker needs."""
        with ExitStack() as stack:
            target = stack.enter_context(session.connect(self._url, role="postgres"))
            session.set_for_session(target, self._settings)
            reader = None
            if not self._same_database:
                reader = stack.enter_context(self._source.reader())
            yield Worker(self, target, reader)

    @session.retried
    def copy(
        self, target: session.Connection, reader: session.Connection | None, chunk: Chunk
    ) -> int:
        """Copy one chunk and its checkpoint in one transaction; return how many rows."""
        shape = self._shape(chunk.table)
        select = self._source.select(chunk.table, shape.expressions, [chunk])
        try:
            target.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            if reader is None:
                self._source.adopt(target)
            for name, value in ddl.move_row_settings().items():
                target.execute("SELECT set_config(%s, %s, true)", (name, value))
            if reader is None:
                rows = self._insert(target, shape, select)
            else:
                rows = self._stream(target, reader, shape, select)
            self._store.checkpoint(target, chunk, self._run.epoch, rows)
            target.execute("COMMIT")
        except RegionkitError:
            _roll_back(target)
            raise
        except psycopg.Error as error:
            _roll_back(target)
            if session.passes(error):
                raise
            raise Interrupted(
                f"copying {chunk.table!r} stopped: {session.first_line(error)}",
                hint="run 'regionkit migrate' again: it goes on with the chunks that are missing",
            ) from None
        except BaseException:
            _roll_back(target)
            raise
        return rows

    def _insert(self, target: session.Connection, shape: _Shape, select: str) -> int:
        return target.execute(
            f"INSERT INTO {shape.target} ({ddl.columns(shape.columns)}) "
            f"OVERRIDING SYSTEM VALUE {select}"
        ).rowcount

    def _stream(
        self,
        target: session.Connection,
        reader: session.Connection,
        shape: _Shape,
        select: str,
    ) -> int:
        form = "binary" if shape.binary else "text"
        with target.cursor() as writing:
            with writing.copy(
                f"COPY {shape.target} ({ddl.columns(shape.columns)}) FROM STDIN (FORMAT {form})"
            ) as sink:
                for block in stream.read(reader, f"COPY ({select}) TO STDOUT (FORMAT {form})"):
                    sink.write(block)
            return writing.rowcount

    def _shape(self, name: str) -> _Shape:
        layout = self._layout
        if name == layout.link:
            keys = layout.link_columns
            return _Shape(
                ddl.quote(self._schema, name),
                (*keys.values(), layout.region_column),
                tuple(f"t.{ddl.quote(column)}" for column in keys),
            )
        table = layout.table(name)
        target = self._tables[f"{self._schema}.{layout.name(name)}"]
        placed = layout.placement[name]
        columns = copied_columns(layout, name)
        more = [layout.region_column] if placed.regional else []
        more += [layout.reference_columns[key] for key in placed.foreign_references]
        return _Shape(
            ddl.quote(self._schema, layout.name(name)),
            (*columns, *more),
            tuple(
                self._expression(table.columns[column], target.columns[column])
                for column in columns
            ),
            binary=all(_is_binary(table.columns[column].type) for column in columns),
        )

    def _expression(self, column: Column[Any], target: Column[Any]) -> str:
        """Return a column for the target.

        A type that a schema defines has a copy in the target, which is another type: such values
        travel as text.
        """
        expression = f"t.{ddl.quote(column.name)}"
        if not _defined(column.type):
            return expression
        if not self._same_database:
            return f"{expression}::text"
        return f"{expression}::text::{target.type.compile(dialect=_DIALECT)}"


def _defined(type_: TypeEngine[Any]) -> bool:
    """Return whether a schema defines a type, or the type of its elements.

    A domain is assigned to another as the value that it is; an array of a domain is not.
    """
    if isinstance(type_, postgresql.ARRAY):
        return isinstance(type_.item_type, postgresql.DOMAIN) or _defined(type_.item_type)
    if isinstance(type_, postgresql.DOMAIN):
        return _defined(type_.data_type)
    return isinstance(type_, Composite | CustomRange) or (
        isinstance(type_, Enum) and type_.native_enum
    )


def _is_binary(type_: TypeEngine[Any]) -> bool:
    """Return whether two databases read the binary form of a type alike.

    An enum's is its text. In arrays, composite types and ranges stand the numbers of the types of
    what they hold, and those of a schema or an extension differ between databases.
    """
    taken = postgres_type(type_)
    if taken.name == "citext" or taken.labels:
        return not taken.is_array
    return taken.name in _BINARY and not _defined(type_)


class Worker:
    """One worker's connections."""

    def __init__(
        self, copier: Copier, target: session.Connection, reader: session.Connection | None
    ) -> None:
        self._copier = copier
        self._target = target
        self._reader = reader

    def copy(self, chunk: Chunk) -> int:
        """Copy one chunk; return how many rows."""
        return self._copier.copy(self._target, self._reader, chunk)


def _roll_back(connection: session.Connection) -> None:
    if not connection.closed:
        connection.rollback()
