"""What a check asks of each layout: the protocol, and PostgreSQL's side of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import psycopg

from toolkit.checks.cells import Reader
from toolkit.checks.comparison import Answer
from toolkit.checks.parameters import Parameters, column_types, trimmed
from toolkit.checks.plans import FEW_ROWS, Scan, Trace, confirmed, postgres_trace
from toolkit.config import QuerySection
from toolkit.errors import ConnectionFailed, UsageError
from toolkit.layout import Layout
from toolkit.postgres import ddl, session
from toolkit.types import PostgresType

Row = Mapping[str, object]
Columns = Mapping[str, PostgresType]

#: The parameter that holds the region of the client.
REGION = "region"

#: Settings under which PostgreSQL uses an index wherever one serves.
_FORCE_INDEXES = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}

_NAMES_REGION = re.compile(rf"%\({REGION}\)[sbt]")


class QueryFailed(Exception):
    """A query does not run on a layout.

    Args:
        message: what the server said.
    """


class Question(Protocol):
    """One declared query on one layout. Every method takes one row of drawn parameters.

    Every method raises :class:`QueryFailed` where the server refuses, ``Refused`` where the role
    lacks a privilege, and ``ConnectionFailed`` where the server is gone.
    """

    def answer(self, row: Row, columns: Columns | None) -> Answer:
        """Return the typed rows.

        Args:
            row: the parameters.
            columns: those of the source, by whose types the values are read; ``None`` on the
                source itself.
        """
        ...

    def run(self, row: Row) -> int:
        """Run it as an application would, up to the last byte; return how many rows came."""
        ...

    def explain(self, row: Row) -> Trace:
        """Run it once more and return what it touched."""
        ...


class Asker(Protocol):
    """One layout, open for questions."""

    @property
    def layout(self) -> str:
        """``single``, ``tables`` or ``collections``."""
        ...

    @property
    def server(self) -> str:
        """The name of the server, for findings."""
        ...

    @property
    def parts(self) -> Mapping[str, str]:
        """The region of each partition or collection."""
        ...

    def question(self, query: QuerySection, parameters: Parameters) -> Question | None:
        """Return the query as this layout runs it; ``None`` if it is not declared for it.

        Raises:
            UsageError: the declaration is wrong.
        """
        ...

    def wants_index(self, scan: Scan) -> bool:
        """Return whether a lookup should not have read this without an index."""
        ...


def check_declaration(query: QuerySection, parameters: Parameters, layout: Layout) -> None:
    """Refuse a ``client`` that cannot be looked up.

    Raises:
        UsageError: it names no parameter, or the root's key has several columns.
    """
    if query.client is None:
        return
    if query.client not in parameters.names:
        raise UsageError(
            f"query {query.name!r}: client = {query.client!r} names no parameter",
            details=[f"`draw` returns {', '.join(parameters.names) or 'nothing'}"],
            hint="name the column of `draw` that is the client's key",
        )
    if len(layout.link_columns) != 1:
        raise UsageError(
            f"query {query.name!r}: client needs a key of one column, and that of "
            f"{layout.root.key!r} is {', '.join(layout.link_columns)}",
            hint="leave `client` out, and let `draw` return the region",
        )
    if REGION in parameters.names:
        raise UsageError(
            f"query {query.name!r}: `draw` returns a column {REGION!r}, which is the name of the "
            "client's region",
            hint="give the column of `draw` another name, or leave `client` out",
        )


class SqlAsker:
    """The source, or the layout ``tables``.

    Args:
        connection: read only, its search path set; see :func:`open_sql`.
        schema: whose relations count.
        decisions: of the layout.
        server: the name of the server.
        regional: whether it is the layout ``tables``.
    """

    def __init__(
        self,
        connection: session.Connection,
        schema: str,
        decisions: Layout,
        server: str,
        *,
        regional: bool,
    ) -> None:
        self.connection = connection
        self.schema = schema
        self.server = server
        self.layout = "tables" if regional else "single"
        self.regional = regional
        self.parts: dict[str, str] = {}
        self.link_lookup = ""
        if regional:
            self.parts = {
                part: region
                for table in decisions.regional.values()
                for region, part in table.parts.items()
            }
            column = next(iter(decisions.link_columns.values()))
            self.link_lookup = (
                f"SELECT {ddl.quote(decisions.region_column)} FROM {ddl.quote(decisions.link)} "
                f"WHERE {ddl.quote(column)} = %s"
            )
        self.sizes = self._sizes()

    def _sizes(self) -> dict[str, int]:
        rows = self.connection.execute(
            "SELECT relname, reltuples FROM pg_class "
            "WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind = 'r'",
            (self.schema,),
        )
        return {str(name): int(tuples) for name, tuples in rows}

    def question(self, query: QuerySection, parameters: Parameters) -> Question | None:
        """Return the query; without SQL of its own the layout gets that of the source."""
        statement = (query.tables if self.regional else None) or query.sql
        looked_up = query.client if self.regional and _NAMES_REGION.search(statement) else None
        return _SqlQuestion(self, trimmed(statement), looked_up, lookup=query.lookup)

    def wants_index(self, scan: Scan) -> bool:
        """Return whether it is a partition of some size: PostgreSQL reads small ones at once."""
        return scan.relation in self.parts and scan.rows > FEW_ROWS


class _SqlQuestion:
    def __init__(
        self, asker: SqlAsker, statement: str, client: str | None, *, lookup: bool
    ) -> None:
        self._asker = asker
        self._connection = asker.connection
        self._statement = statement
        self._client = client
        self._lookup = lookup
        self._columns: Columns | None = None
        self._typed = ""

    def _values(self, row: Row) -> dict[str, object] | None:
        if self._client is None:
            # Without parameters a percent sign is a percent sign.
            return dict(row) or None
        found = self._connection.execute(
            self._asker.link_lookup.encode(), (row[self._client],)
        ).fetchone()
        return {**row, REGION: found[0] if found else None}

    def answer(self, row: Row, columns: Columns | None) -> Answer:
        """Return the typed rows, read in one statement."""
        with _failing(self._connection), self._connection.cursor(binary=True) as cursor:
            values = self._values(row)
            if self._columns is None:
                self._columns = column_types(cursor, self._statement, values)
                self._typed = self._typed_statement(columns or self._columns, values is not None)
            found = columns or self._columns
            readers = [Reader(self._columns.get(name, type_)) for name, type_ in found.items()]
            if missing := found.keys() - self._columns.keys():
                raise QueryFailed(f"it returns no column {', '.join(sorted(missing))}")
            cursor.execute(self._typed.encode(), values)
            rows = Counter(
                tuple(reader.cell(value) for reader, value in zip(readers, values_, strict=True))
                for values_ in cursor
            )
        return Answer(found, rows, frozenset(self._columns.keys() - found.keys()))

    def _typed_statement(self, columns: Columns, has_values: bool) -> str:
        assert self._columns is not None
        expressions = ", ".join(
            Reader(self._columns.get(name, type_)).expression(f"asked.{ddl.quote(name)}")
            for name, type_ in columns.items()
        )
        if has_values:
            expressions = expressions.replace("%", "%%")
        return f"SELECT {expressions} FROM (\n{self._statement}\n) AS asked"

    def run(self, row: Row) -> int:
        """Run it; values stay undecoded, which is Python's work and not the layout's."""
        with _failing(self._connection):
            return self._connection.execute(self._statement.encode(), self._values(row)).rowcount

    def explain(self, row: Row) -> Trace:
        """Run EXPLAIN ANALYZE; of a lookup once more with indexes forced, if it does without."""
        with _failing(self._connection):
            values = self._values(row)
            trace = self._trace(values)
            if self._lookup and trace.scans:
                with self._connection.transaction():
                    session.set_for_transaction(self._connection, _FORCE_INDEXES)
                    return confirmed(trace, self._trace(values))
        return trace

    def _trace(self, values: Mapping[str, object] | None) -> Trace:
        statement = f"EXPLAIN (ANALYZE, VERBOSE, FORMAT JSON) {self._statement}".encode()
        found = self._connection.execute(statement, values).fetchone()
        assert found is not None
        return postgres_trace(found[0], self._asker.schema, self._asker.sizes)


@contextmanager
def _failing(connection: session.Connection) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        # Not the query's fault.
        raise session.translate(error) from None
    except psycopg.Error as error:
        if connection.closed:
            raise ConnectionFailed(
                f"PostgreSQL closed the connection: {session.first_line(error)}",
                hint="when the server is back, run the command again",
            ) from None
        raise QueryFailed(session.first_line(error)) from None
    except UsageError as error:
        raise QueryFailed(error.message) from None


@contextmanager
def open_sql(
    url: str, schema: str, decisions: Layout, *, server: str, regional: bool
) -> Iterator[SqlAsker]:
    """Open the source or the layout ``tables`` for questions; nothing can be written.

    Args:
        url: of the server.
        schema: becomes the search path.
        decisions: of the layout.
        server: its name, for findings.
        regional: whether it is the layout ``tables``.

    Raises:
        ConnectionFailed: nobody answers.
    """
    role = "postgres" if regional else "source"
    with session.connect(url, role=role) as connection:
        connection.execute("SET default_transaction_read_only = on")
        session.search_path(connection, schema)
        yield SqlAsker(connection, schema, decisions, server, regional=regional)


def shown(value: Any) -> Any:
    """Return a parameter's value as JSON can hold it."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)
