"""The journal of migrations in the target, schema ``regionkit``.

A chunk's checkpoint commits in the same transaction as its rows, and only for the run whose epoch
it carries: a run that was overtaken cannot write any more.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable

from toolkit import __version__
from toolkit.errors import LockNotObtained, Refused
from toolkit.journal import Chunk, Run, State
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection

_DDL = f"""
CREATE SCHEMA IF NOT EXISTS {JOURNAL_SCHEMA};
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.migration (
  target text PRIMARY KEY,
  fingerprint text NOT NULL,
  state text NOT NULL,
  epoch bigint NOT NULL,
  started_by text NOT NULL,
  version text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.chunk (
  target text NOT NULL REFERENCES {JOURNAL_SCHEMA}.migration ON DELETE CASCADE,
  server text NOT NULL,
  table_name text NOT NULL,
  number integer NOT NULL,
  lower_key text[],
  upper_key text[],
  epoch bigint NOT NULL,
  rows bigint,
  finished_at timestamptz,
  PRIMARY KEY (target, server, table_name, number)
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.taken_down (
  target text NOT NULL REFERENCES {JOURNAL_SCHEMA}.migration ON DELETE CASCADE,
  number integer NOT NULL,
  kind text NOT NULL,
  table_name text NOT NULL,
  name text NOT NULL,
  statements text NOT NULL,
  leaves jsonb NOT NULL,
  PRIMARY KEY (target, number)
);
"""


class Store:
    """The journal of one target schema.

    Args:
        target: the schema of the layout.
    """

    def __init__(self, target: str) -> None:
        self.target = target

    def create(self, connection: Connection) -> None:
        """Create the journal's tables unless they exist."""
        with connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute(_DDL)

    def exists(self, connection: Connection) -> bool:
        """Return whether there is a journal in this database."""
        row = connection.execute(
            "SELECT to_regclass(%s) IS NOT NULL", (f"{JOURNAL_SCHEMA}.migration",)
        ).fetchone()
        return bool(row and row[0])

    def run(self, connection: Connection) -> Run | None:
        """Return how far the migration has come, ``None`` if it never started."""
        if not self.exists(connection):
            return None
        row = connection.execute(
            f"SELECT state, fingerprint, epoch FROM {JOURNAL_SCHEMA}.migration WHERE target = %s",
            (self.target,),
        ).fetchone()
        return Run(State(row[0]), row[1], row[2]) if row else None

    def begin(self, connection: Connection, fingerprint: str, chunks: Iterable[Chunk]) -> Run:
        """Note the start of a migration with all of its chunks."""
        with connection.transaction():
            connection.execute(
                f"INSERT INTO {JOURNAL_SCHEMA}.migration "
                "(target, fingerprint, state, epoch, started_by, version) "
                "VALUES (%s, %s, %s, 1, %s, %s)",
                (self.target, fingerprint, State.copying, operator(), __version__),
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"INSERT INTO {JOURNAL_SCHEMA}.chunk "
                    "(target, server, table_name, number, lower_key, upper_key, epoch) "
                    "VALUES (%s, %s, %s, %s, %s, %s, 1)",
                    [
                        (
                            self.target,
                            chunk.server,
                            chunk.table,
                            chunk.number,
                            list(chunk.lower) if chunk.lower else None,
                            list(chunk.upper) if chunk.upper else None,
                        )
                        for chunk in chunks
                    ],
                )
        return Run(State.copying, fingerprint, 1)

    def resume(self, connection: Connection, fingerprint: str) -> Run:
        """Note another start: whoever ran before may not write any more.

        Raises:
            Refused: the configuration is not the one that the migration was started with.
        """
        with connection.transaction():
            row = connection.execute(
                f"UPDATE {JOURNAL_SCHEMA}.migration SET epoch = epoch + 1 "
                "WHERE target = %s RETURNING state, fingerprint, epoch",
                (self.target,),
            ).fetchone()
            assert row is not None
            if row[1] != fingerprint:
                raise Refused(
                    f"the migration into {self.target!r} was started with another configuration",
                    hint="restore the regions, placement and rule that it was started with, or "
                    "start over: 'regionkit apply --revert', 'regionkit apply', then 'migrate'",
                )
            connection.execute(
                f"UPDATE {JOURNAL_SCHEMA}.chunk SET epoch = %s "
                "WHERE target = %s AND finished_at IS NULL",
                (row[2], self.target),
            )
        return Run(State(row[0]), row[1], row[2])

    def chunks(self, connection: Connection) -> list[tuple[Chunk, int | None]]:
        """Return every chunk with its rows, ``None`` for one that is not copied yet."""
        rows = connection.execute(
            "SELECT server, table_name, number, lower_key, upper_key, rows "
            f"FROM {JOURNAL_SCHEMA}.chunk WHERE target = %s ORDER BY table_name, number",
            (self.target,),
        ).fetchall()
        return [
            (
                Chunk(
                    server,
                    table,
                    number,
                    tuple(lower) if lower else None,
                    tuple(upper) if upper else None,
                ),
                copied,
            )
            for server, table, number, lower, upper, copied in rows
        ]

    def checkpoint(self, connection: Connection, chunk: Chunk, epoch: int, rows: int) -> None:
        """Note a copied chunk, in the caller's transaction.

        Raises:
            LockNotObtained: a newer run has taken over; the caller's transaction must not commit.
        """
        cursor = connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.chunk SET rows = %s, finished_at = clock_timestamp() "
            "WHERE target = %s AND server = %s AND table_name = %s AND number = %s "
            "AND epoch = %s AND finished_at IS NULL",
            (
                rows,
                self.target,
                chunk.server,
                chunk.table,
                chunk.number,
                epoch,
            ),
        )
        if cursor.rowcount != 1:
            raise overtaken(self.target)

    def advance(self, connection: Connection, state: State, epoch: int) -> None:
        """Note that the migration has come further.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        cursor = connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.migration SET state = %s, "
            "finished_at = CASE WHEN %s THEN clock_timestamp() END "
            "WHERE target = %s AND epoch = %s",
            (state, state is State.finished, self.target, epoch),
        )
        if cursor.rowcount != 1:
            raise overtaken(self.target)

    def forget(self, connection: Connection) -> None:
        """Drop the target's entries, after its tables are gone."""
        if self.exists(connection):
            connection.execute(
                f"DELETE FROM {JOURNAL_SCHEMA}.migration WHERE target = %s", (self.target,)
            )


def operator() -> str:
    """Return who runs this, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def overtaken(target: str) -> LockNotObtained:
    """Return the error of a run that another one has taken over from."""
    return LockNotObtained(
        f"another run has taken over the migration into {target!r}; this one wrote nothing more",
        hint="watch the other run with 'regionkit status'",
    )
