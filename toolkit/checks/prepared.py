"""Transactions of prepared statements, with as little Python around them as there can be.

What is measured is the server and the way to it, as ``pgbench`` would measure it. psycopg's cursors
take 0.1 ms of their own for each statement, which would make every layout look alike. So statements
go to libpq directly; psycopg's adapters turn the parameters into PostgreSQL's form, and back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from toolkit.postgres.session import Connection

_PLACEHOLDER = re.compile(r"%(?:(?P<percent>%)|\((?P<name>[^)]*)\)[sbt])")

_DONE = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


@dataclass(frozen=True)
class Outcome:
    """What a statement did.

    Attributes:
        rows: how many rows it affected, or returned.
        first: the first row that it returned, by column, each value with the oid of its type.
    """

    rows: int
    first: Mapping[str, tuple[Any, int]]


@lru_cache(maxsize=1000)
def numbered(statement: str) -> tuple[bytes, tuple[str, ...]]:
    """Return a statement with ``$1`` for ``%(name)s``, and the names in order. Pure."""
    names: dict[str, int] = {}

    def replace(found: re.Match[str]) -> str:
        if found["percent"]:
            return "%"
        return f"${names.setdefault(found['name'], len(names) + 1)}"

    return _PLACEHOLDER.sub(replace, statement).encode(), tuple(names)


class Prepared:
    """The prepared statements of one connection, which nothing else uses meanwhile.

    Args:
        connection: in autocommit mode.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._libpq = connection.pgconn
        self._transformer = Transformer(connection)
        #: By query: the types that the server takes, and the name of the statement.
        self._known: dict[bytes, list[tuple[tuple[int, ...], bytes]]] = {}
        for command in (b"BEGIN", b"COMMIT", b"ROLLBACK"):
            self._prepare(command, ())

    @contextmanager
    def transaction(self, *, keep: bool) -> Iterator[None]:
        """Run what is inside the ``with`` as one transaction; without ``keep``, take it back.

        Raises:
            psycopg.Error: the server refused, at the latest when committing.
        """
        self._run(b"BEGIN")
        try:
            yield
        except BaseException:
            if self._libpq.status == ConnStatus.OK:
                self._libpq.exec_(b"ROLLBACK")
            raise
        self._run(b"COMMIT" if keep else b"ROLLBACK")

    def execute(self, statement: str, values: Mapping[str, Any]) -> Outcome:
        """Run one statement, prepared when it is first seen.

        Raises:
            psycopg.Error: the server refused, or a parameter has no value.
        """
        query, names = numbered(statement)
        try:
            parameters = [values[name] for name in names]
        except KeyError as error:
            raise psycopg.ProgrammingError(f"there is no parameter {error}") from None
        transformer = self._transformer
        dumped = transformer.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        result = self._run(query, dumped, transformer.types or (), transformer.formats)
        return Outcome(result.command_tuples or 0, self._first(result))

    def _run(
        self,
        query: bytes,
        parameters: Any = None,
        types: tuple[int, ...] = (),
        formats: Any = None,
    ) -> PGresult:
        name = self._fitting(query, types) or self._prepare(query, types)
        return self._checked(self._libpq.exec_prepared(name, parameters, formats))

    def _fitting(self, query: bytes, types: tuple[int, ...]) -> bytes | None:
        """Return the name of a statement that takes these types, where 0 stands for any."""
        for taken, name in self._known.get(query, ()):
            if all(given in (0, type_) for given, type_ in zip(types, taken, strict=True)):
                return name
        return None

    def _prepare(self, query: bytes, types: tuple[int, ...]) -> bytes:
        statements = self._known.setdefault(query, [])
        name = f"regionkit_{len(self._known)}_{len(statements)}".encode()
        self._checked(self._libpq.prepare(name, query, types))
        if 0 in types:
            # The server tells what it took a parameter without a type for, a NULL for example: a
            # value of that type then needs no other statement. Not by libpq's describe, during
            # which psycopg lets no other thread run, not even a proxy that should answer it.
            row = self._connection.execute(
                "SELECT parameter_types::oid[] FROM pg_prepared_statements WHERE name = %s",
                (name.decode(),),
            ).fetchone()
            assert row is not None
            types = tuple(row[0])
        statements.append((types, name))
        return name

    def _first(self, result: PGresult) -> dict[str, tuple[Any, int]]:
        if not result.ntuples:
            return {}
        self._transformer.set_pgresult(result)
        row = self._transformer.load_row(0, tuple)
        assert row is not None
        return {
            (result.fname(at) or b"").decode(): (value, result.ftype(at))
            for at, value in enumerate(row)
        }

    def _checked(self, result: PGresult) -> PGresult:
        if result.status in _DONE:
            return result
        if self._libpq.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection was lost")
        raise errors.error_from_result(result)
