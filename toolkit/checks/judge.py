"""What a server says of a statement: it is prepared and explained there, and never executed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import errors
from psycopg.pq import ExecStatus

from toolkit.checks.lexer import Kind, tokens
from toolkit.errors import ConnectionFailed
from toolkit.postgres import ddl, session

#: How long planning one statement may take.
_TIMEOUT = "10s"

#: SQLSTATEs of names that are not there: tables, functions and operators, types, schemas.
UNKNOWN_NAMES = ("42P01", "42883", "42704", "3F000")


@dataclass(frozen=True)
class Touch:
    """A relation that a plan reads or writes.

    Attributes:
        schema: where it is.
        name: the table, or the partition.
    """

    schema: str
    name: str


@dataclass(frozen=True)
class Verdict:
    """What a server says of one statement.

    Attributes:
        sqlstate: of its error; empty where it accepts the statement.
        message: of its error, without the values in it.
        columns: name and type of each column that the statement returns.
        touched: the relations of the plan; those that parameters prune when the plan starts are
            left out.
    """

    sqlstate: str = ""
    message: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    touched: tuple[Touch, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the server would run it."""
        return not self.sqlstate


class Judge:
    """One schema of a server, as the application sees it.

    Args:
        connection: nothing else uses it meanwhile.
        path: the search path.
        region: a region's code, which every text parameter is given: a plan tells the partitions
            of one region from all only when it knows one. ``None`` looks at no plan.
    """

    def __init__(
        self, connection: session.Connection, path: Sequence[str], region: str | None = None
    ) -> None:
        self._connection = connection
        # The only prepared statement is the one that is judged.
        connection.prepare_threshold = None
        self._path = ddl.columns(path)
        self._region = region
        self._types: dict[int, str] = {}

    def judge(self, statement: str) -> Verdict:
        """Prepare a statement, and explain it where plans are looked at.

        Raises:
            ConnectionFailed: the server is gone.
        """
        try:
            with self._transaction():
                return self._verdict(statement)
        except psycopg.Error as error:
            if self._connection.closed:
                raise ConnectionFailed(
                    f"PostgreSQL closed the connection: {session.first_line(error)}",
                    hint="when the server is back, run the command again",
                ) from None
            return Verdict(
                error.sqlstate or "XX000", _without_values(session.first_line(error), statement)
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN READ ONLY")
        try:
            session.set_for_transaction(
                self._connection,
                {
                    "search_path": self._path,
                    "statement_timeout": _TIMEOUT,
                    "plan_cache_mode": "force_generic_plan",
                },
            )
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute("ROLLBACK")
                self._connection.execute("DEALLOCATE ALL")

    def _verdict(self, statement: str) -> Verdict:
        # Of the protocol, which takes one statement: what follows a semicolon is never run.
        libpq = self._connection.pgconn
        _checked(libpq.prepare(b"regionkit", statement.encode()))
        described = _checked(libpq.describe_prepared(b"regionkit"))
        columns = tuple(
            ((described.fname(at) or b"").decode(), self._type(described.ftype(at)))
            for at in range(described.nfields)
        )
        if self._region is None:
            return Verdict(columns=columns)
        values = ", ".join(self._value(described.param_type(at)) for at in range(described.nparams))
        execute = f"EXECUTE regionkit({values})" if values else "EXECUTE regionkit"
        row = self._connection.execute(
            f"EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {execute}".encode()
        ).fetchone()
        assert row is not None
        return Verdict(columns=columns, touched=tuple(dict.fromkeys(_touched(row[0][0]["Plan"]))))

    def _value(self, type_: int) -> str:
        text = self._type(type_) in ("text", "character varying", "character")
        return ddl.literal(self._region) if text and self._region is not None else "NULL"

    def _type(self, oid: int) -> str:
        found = self._types.get(oid)
        if found is None:
            row = self._connection.execute(
                "SELECT format_type(oid, NULL), typname FROM pg_type WHERE oid = %s", (oid,)
            ).fetchone()
            # The source's own types and their counterparts differ in the schema only.
            found = "unknown" if row is None else str(row[0]).rpartition(".")[2]
            self._types[oid] = found
        return found


def _checked(result: psycopg.pq.abc.PGresult) -> psycopg.pq.abc.PGresult:
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        raise errors.error_from_result(result)
    return result


def _touched(node: dict[str, object]) -> Iterator[Touch]:
    named = [node]
    targets = node.get("Target Tables")
    if isinstance(targets, list):
        named += targets
    # An insert names the parent, and reads nothing.
    if node.get("Operation") != "Insert":
        for one in named:
            if "Relation Name" in one:
                yield Touch(str(one.get("Schema", "")), str(one["Relation Name"]))
    plans = node.get("Plans")
    for child in plans if isinstance(plans, list) else ():
        yield from _touched(child)


def _without_values(message: str, statement: str) -> str:
    """Return an error without the literals of the statement, which may be personal data."""
    for token in tokens(statement):
        if token.kind is Kind.string:
            value = token.text.partition("'")[2].removesuffix("'").replace("''", "'")
            if value:
                message = message.replace(value, "...")
    return re.sub(r"\s+", " ", message)
