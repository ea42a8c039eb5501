"""Copying chunks from the source into the layout ``tables``.

Within one database the rows never leave the server (``insert ... select``); to another one they go
as a binary COPY stream that Python hands on without looking into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy import Enum, Table
from sqlalchemy.dialects import postgresql

from toolkit.errors import Interrupted, RegionkitError
from toolkit.journal import Chunk, Run
from toolkit.layout import Layout
from toolkit.postgres import ddl, session, stream
from toolkit.postgres.source import Source, copied_columns
from toolkit.postgres.store import Store


@dataclass(frozen=True)
class _Shape:
    """How the rows of one table are read and written.

    Attributes:
        target: the qualified table that is written.
        columns: of the target, in the order of the SELECT.
        expressions: over alias ``t`` of the source, one for each logical column.
    """

    target: str
    columns: tuple[str, ...]
    expressions: tuple[str, ...]


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
        with target.cursor() as writing:
            with writing.copy(
                f"COPY {shape.target} ({ddl.columns(shape.columns)}) FROM STDIN (FORMAT binary)"
            ) as sink:
                for block in stream.read(reader, f"COPY ({select}) TO STDOUT (FORMAT binary)"):
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
        placed = layout.placement[name]
        columns = copied_columns(layout, name)
        more = [layout.region_column] if placed.regional else []
        more += [layout.reference_columns[key] for key in placed.foreign_references]
        return _Shape(
            ddl.quote(self._schema, table.name),
            (*columns, *more),
            tuple(self._expression(table, column) for column in columns),
        )

    def _expression(self, table: Table, column: str) -> str:
        """Return a column for the target: an enum of the source is another type than its copy."""
        expression = f"t.{ddl.quote(column)}"
        type_ = table.columns[column].type
        array = ""
        if isinstance(type_, postgresql.ARRAY):
            type_, array = type_.item_type, "[]"
        if not (isinstance(type_, Enum) and type_.native_enum):
            return expression
        if not self._same_database:
            return f"{expression}::text{array}"
        return f"{expression}::text{array}::{ddl.quote(self._schema, type_.name)}{array}"


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
