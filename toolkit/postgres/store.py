"""The journal of migrations in the target, schema ``regionkit``.

A chunk's checkpoint commits in the same transaction as its rows, and only for the run whose epoch
the fence carries: a run that was overtaken cannot write any more. Checkpoint and fence are rows of
their own, because a worker within the source's database writes under the snapshot that it copies
from, and may not touch a row that was changed since: only a newer run changes the fence.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

from toolkit import __version__
from toolkit.errors import LockNotObtained
from toolkit.journal import Chunk, Decisions, Run, State
from toolkit.postgres import ddl
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection
from toolkit.refusal import Left

_DDL = f"""
{ddl.ensure_schema(JOURNAL_SCHEMA)};
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.migration (
  target text PRIMARY KEY,
  decisions jsonb NOT NULL,
  state text NOT NULL,
  started_by text NOT NULL,
  version text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.fence (
  target text PRIMARY KEY REFERENCES {JOURNAL_SCHEMA}.migration ON DELETE CASCADE,
  epoch bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.chunk (
  target text NOT NULL REFERENCES {JOURNAL_SCHEMA}.migration ON DELETE CASCADE,
  server text NOT NULL,
  table_name text NOT NULL,
  number integer NOT NULL,
  lower_key text[],
  upper_key text[],
  PRIMARY KEY (target, server, table_name, number)
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.checkpoint (
  target text NOT NULL,
  server text NOT NULL,
  table_name text NOT NULL,
  number integer NOT NULL,
  epoch bigint NOT NULL,
  rows bigint NOT NULL,
  xid bigint NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (target, server, table_name, number),
  FOREIGN KEY (target, server, table_name, number)
    REFERENCES {JOURNAL_SCHEMA}.chunk ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.quarantine (
  target text NOT NULL REFERENCES {JOURNAL_SCHEMA}.migration ON DELETE CASCADE,
  client text[] NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (target, client)
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.taken_down (
  target text NOT NULL REFERENCES {JOURNAL_SCHEMA}.migration ON DELETE CASCADE,
  number integer NOT NULL,
  kind text NOT NULL,
  table_name text NOT NULL,
  other_table text,
  name text NOT NULL,
  definition text NOT NULL,
  comments text NOT NULL,
  leaves jsonb NOT NULL,
  unproven boolean NOT NULL,
  PRIMARY KEY (target, number)
);
"""


@dataclass(frozen=True)
class Checkpoint:
    """What the journal says of a copied chunk.

    Attributes:
        rows: how many were copied.
        xid: of the transaction that copied them, as ``xmin`` of each of them shows it.
    """

    rows: int
    xid: int


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
            f"SELECT state, decisions, epoch FROM {JOURNAL_SCHEMA}.migration "
            f"JOIN {JOURNAL_SCHEMA}.fence USING (target) WHERE target = %s",
            (self.target,),
        ).fetchone()
        return Run(State(row[0]), row[1], row[2]) if row else None

    def begin(self, connection: Connection, decisions: Decisions, chunks: Iterable[Chunk]) -> Run:
        """Note the start of a migration with all of its chunks."""
        with connection.transaction():
            connection.execute(
                f"INSERT INTO {JOURNAL_SCHEMA}.migration "
                "(target, decisions, state, started_by, version) VALUES (%s, %s, %s, %s, %s)",
                (self.target, Jsonb(decisions), State.copying, operator(), __version__),
            )
            connection.execute(f"INSERT INTO {JOURNAL_SCHEMA}.fence VALUES (%s, 1)", (self.target,))
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"INSERT INTO {JOURNAL_SCHEMA}.chunk "
                    "(target, server, table_name, number, lower_key, upper_key) "
                    "VALUES (%s, %s, %s, %s, %s, %s)",
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
        return Run(State.copying, decisions, 1)

    def resume(self, connection: Connection) -> Run:
        """Note another start: whoever ran before may not write any more."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.fence SET epoch = epoch + 1 WHERE target = %s", (self.target,)
        )
        run = self.run(connection)
        assert run is not None
        return run

    def chunks(self, connection: Connection) -> list[tuple[Chunk, int | None]]:
        """Return every chunk with its rows, ``None`` for one that is not copied yet."""
        return [(chunk, done.rows if done else None) for chunk, done in self._done(connection)]

    def copied(self, connection: Connection) -> dict[Chunk, Checkpoint]:
        """Return the checkpoint of every chunk that is copied."""
        return {chunk: done for chunk, done in self._done(connection) if done is not None}

    def _done(self, connection: Connection) -> Iterator[tuple[Chunk, Checkpoint | None]]:
        rows = connection.execute(
            "SELECT c.server, c.table_name, c.number, c.lower_key, c.upper_key, d.rows, d.xid "
            f"FROM {JOURNAL_SCHEMA}.chunk c LEFT JOIN {JOURNAL_SCHEMA}.checkpoint d "
            "USING (target, server, table_name, number) WHERE c.target = %s "
            "ORDER BY c.table_name, c.number",
            (self.target,),
        ).fetchall()
        for server, table, number, lower, upper, copied, xid in rows:
            chunk = Chunk(
                server,
                table,
                number,
                tuple(lower) if lower else None,
                tuple(upper) if upper else None,
            )
            yield chunk, None if copied is None else Checkpoint(copied, xid)

    def checkpoint(self, connection: Connection, chunk: Chunk, epoch: int, rows: int) -> None:
        """Note a copied chunk, in the caller's transaction.

        Raises:
            LockNotObtained: a newer run has taken over; the caller's transaction must not commit.
        """
        self.fence(connection, epoch)
        connection.execute(
            f"INSERT INTO {JOURNAL_SCHEMA}.checkpoint "
            "(target, server, table_name, number, epoch, rows, xid) "
            "VALUES (%s, %s, %s, %s, %s, %s, pg_current_xact_id()::xid::text::bigint)",
            (self.target, chunk.server, chunk.table, chunk.number, epoch, rows),
        )

    def reopen(self, connection: Connection, chunk: Chunk) -> None:
        """Note, in the caller's fenced transaction, that a chunk is to be copied again."""
        connection.execute(
            f"DELETE FROM {JOURNAL_SCHEMA}.checkpoint "
            "WHERE target = %s AND server = %s AND table_name = %s AND number = %s",
            (self.target, chunk.server, chunk.table, chunk.number),
        )

    def fence(self, connection: Connection, epoch: int) -> None:
        """Keep a newer run from taking over before the caller's transaction ends.

        Raises:
            LockNotObtained: one has already.
        """
        try:
            row = connection.execute(
                f"SELECT FROM {JOURNAL_SCHEMA}.fence WHERE target = %s AND epoch = %s FOR SHARE",
                (self.target, epoch),
            ).fetchone()
        except psycopg.errors.SerializationFailure:
            # Under an older snapshot it is an error to lock what has changed since.
            row = None
        if row is None:
            raise overtaken(self.target)

    def quarantine(self, connection: Connection) -> list[Left]:
        """Return the clients that were left out."""
        rows = connection.execute(
            f"SELECT client, reason FROM {JOURNAL_SCHEMA}.quarantine WHERE target = %s "
            "ORDER BY client",
            (self.target,),
        ).fetchall()
        return [Left(tuple(client), reason) for client, reason in rows]

    def leave(self, connection: Connection, left: Iterable[Left], epoch: int) -> None:
        """Note the clients that are left out, instead of those that were before.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        with connection.transaction():
            self.fence(connection, epoch)
            connection.execute(
                f"DELETE FROM {JOURNAL_SCHEMA}.quarantine WHERE target = %s", (self.target,)
            )
            with connection.cursor() as cursor:
                cursor.executemany(
                    f"INSERT INTO {JOURNAL_SCHEMA}.quarantine VALUES (%s, %s, %s)",
                    [(self.target, list(one.client), one.reason) for one in left],
                )

    def advance(self, connection: Connection, state: State, epoch: int) -> None:
        """Note that the migration has come further, or that it copies again.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        with connection.transaction():
            self.fence(connection, epoch)
            connection.execute(
                f"UPDATE {JOURNAL_SCHEMA}.migration SET state = %s, "
                "finished_at = CASE WHEN %s THEN clock_timestamp() END WHERE target = %s",
                (state, state is State.finished, self.target),
            )

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
