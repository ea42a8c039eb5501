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
        self._libpq = connection.pgconn
        self._transformer = Transformer(connection)
        self._names: dict[tuple[bytes, tuple[int, ...]], bytes] = {}

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
        name = self._names.get((query, types))
        if name is None:
            name = f"regionkit_{len(self._names)}".encode()
            self._checked(self._libpq.prepare(name, query, types))
            self._names[query, types] = name
        return self._checked(self._libpq.exec_prepared(name, parameters, formats))

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
