"""Clients of the layout ``tables``: found by their link, moved by one update of it.

A move is one transaction. It locks the link, then the client's rows from the root down, so that
nobody can change one or add another, and digests them on the way; it updates the link, and
everything follows by cascade; it digests what arrived, and looks for what stayed behind. All of it
goes to the server at once, and its answer decides between COMMIT and ROLLBACK: two round trips.

Everything is asked of the parents, with the region as a constant, which leaves one partition to
look at: a role needs no privilege on a partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import psycopg

from toolkit.clients import (
    CollisionError,
    GoneError,
    Moved,
    Note,
    Reference,
    Residence,
    Whereabouts,
    digest_of,
)
from toolkit.config import Configuration
from toolkit.errors import Interrupted, Refused, VerificationFailed, sampled
from toolkit.extras import MOVING
from toolkit.journal import Key, State
from toolkit.layout import Layout
from toolkit.placement import ForeignKey
from toolkit.postgres import ddl, session
from toolkit.postgres.clientsql import REFERENCES, ROWS, Questions
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection
from toolkit.postgres.store import Store

_JOURNAL = f"{JOURNAL_SCHEMA}.client_move"

#: No key of a client: it would be one more copy of personal data.
_DDL = f"""
CREATE TABLE IF NOT EXISTS {_JOURNAL} (
  target text NOT NULL,
  batch text NOT NULL,
  client_digest text NOT NULL,
  origin text NOT NULL,
  region text NOT NULL,
  rows bigint NOT NULL,
  moved_by text NOT NULL,
  version text NOT NULL,
  moved_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS client_move_client ON {_JOURNAL} (target, client_digest);
"""

#: What a session beside the move can cause.
_COLLISIONS = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.ForeignKeyViolation,
)

#: Statements that a session keeps prepared: some for each table and pair of regions.
_PREPARED = 10_000

#: A client's key says nothing that another plan could be made of. The server's own lookups of
#: foreign keys go by it, too: 200 rows move in 11 ms instead of 14.
PLANS = {"plan_cache_mode": "force_generic_plan"}


class PostgresClients:
    """The clients of the layout ``tables`` in one schema.

    Args:
        url: of the target.
        layout: the decisions.
        project: the operator's configuration.
        schema: that holds the layout now, where a cutover has renamed it.
    """

    def __init__(
        self, url: str, layout: Layout, project: Configuration, schema: str | None = None
    ) -> None:
        self._url = url
        self._layout = layout
        self._target = project.target_schema
        self._schema = schema or self._target

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        return f"schema {self._schema!r}"

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of a client's key."""
        return self._layout.root.primary_key

    def require_whole(self) -> None:
        """Refuse a layout that is not applied, or that a migration has not finished filling."""
        with session.connect(self._url, role="postgres") as connection:
            session.require_target_version(connection)
            session.require_usage(connection, self._schema)
            link = connection.execute(
                "SELECT to_regclass(%s)", (ddl.quote(self._schema, self._layout.link),)
            ).fetchone()
            if link == (None,):
                raise Refused(
                    f"the layout is not applied to {self.place}",
                    hint="run 'regionkit apply --backend postgres' first",
                )
            run = Store(self._target).run(connection)
        if run is not None and run.state is not State.finished:
            raise Refused(
                f"the migration into {self.place} is not finished",
                hint="run 'regionkit migrate --backend postgres --resume' first",
            )

    def alone(self, wait: float) -> AbstractContextManager[object]:
        """Keep every other move out."""
        name = f"move clients of {self._target}"
        return session.exclusive(self._url, role="postgres", name=name, wait=wait)

    @contextmanager
    def open(self) -> Iterator[PostgresMover]:
        """Connect."""
        with session.connect(self._url, role="postgres") as connection, session.translated():
            session.require_usage(connection, self._schema)
            connection.prepared_max = _PREPARED
            session.set_for_session(connection, PLANS)
            yield PostgresMover(connection, self._layout, self._schema, self._target)


@dataclass(frozen=True)
class _Proof:
    """What a transaction counted.

    Attributes:
        rows: count and sum of the digests of each table's rows, in order.
        references: rows that refer to the client's, for each foreign reference.
    """

    rows: tuple[tuple[int, int], ...]
    references: tuple[int, ...]


class PostgresMover:
    """One connection, by which clients are found and moved.

    Args:
        connection: to the target; it commits by itself.
        layout: the decisions.
        schema: of the layout now.
        target: what the journal calls it.
    """

    def __init__(self, connection: Connection, layout: Layout, schema: str, target: str) -> None:
        self._connection = connection
        self._layout = layout
        self._schema = schema
        self._target = target
        self._questions = Questions(layout, schema, self._types())
        self._journaled = False

    def _types(self) -> list[str]:
        """Return the types of the link's key, as the server writes them."""
        rows = self._connection.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a "
            "WHERE a.attrelid = %s::regclass AND a.attnum > 0",
            (ddl.quote(self._schema, self._layout.link),),
        ).fetchall()
        types: dict[str, str] = dict(rows)
        return [types[column] for column in self._layout.link_columns.values()]

    # Finding -----------------------------------------------------------------------------------

    def regions(self) -> tuple[str, ...]:
        """Return the regions that clients can live in now."""
        rows = self._connection.execute(
            f"SELECT code FROM {ddl.quote(self._schema, self._layout.region_list)} ORDER BY 1"
        ).fetchall()
        return tuple(str(row[0]) for row in rows)

    def residences(self, keys: Sequence[Key]) -> list[Residence | None]:
        """Return where clients live; what is no value of the key's type is no client."""
        try:
            return self._residences(keys)
        except psycopg.DataError:
            if len(keys) == 1:
                return [None]
            middle = len(keys) // 2
            return self.residences(keys[:middle]) + self.residences(keys[middle:])

    def _residences(self, keys: Sequence[Key]) -> list[Residence | None]:
        found: list[Residence | None] = [None] * len(keys)
        columns = [[key[number] for key in keys] for number in range(len(keys[0]))]
        rows = self._connection.execute(self._questions.residences(), columns).fetchall()
        for place, region, *key in rows:
            found[place - 1] = Residence(tuple(key), region)
        return found

    def residents(self, region: str) -> list[Key]:
        """Return the clients of a region."""
        rows = self._connection.execute(self._questions.residents(region)).fetchall()
        return [tuple(row) for row in rows]

    def whereabouts(self, residence: Residence) -> Whereabouts:
        """Return what a client has, and what leads to and from it."""
        questions = self._questions
        key, region = questions.parameters(residence.key), residence.region
        rows = self._connection.execute(questions.counts(region), key).fetchall()
        counted = {number: int(count) for number, count in rows}
        return Whereabouts(
            residence,
            {name: counted[number] for number, name in enumerate(self._layout.regional)},
            tuple(self._references(questions.outgoing(region), key)),
            tuple(self._references(questions.incoming(region), key)),
        )

    def _references(
        self, asked: Sequence[tuple[ForeignKey, str]], key: Mapping[str, str]
    ) -> Iterator[Reference]:
        for reference, statement in asked:
            for region, count in self._connection.execute(statement, key).fetchall():
                yield Reference(
                    reference.table, reference.columns, reference.target, str(region), int(count)
                )

    # Moving ------------------------------------------------------------------------------------

    def move(self, residence: Residence, region: str, note: Note) -> Moved:
        """Move a client in one transaction, and prove it there.

        Raises:
            CollisionError: another session was in the way; nothing was written.
            GoneError: the client does not live there any more; nothing was written.
            VerificationFailed: what arrived is not what was there; it was undone.
            Refused: the new region holds what keeps the client out.
            Interrupted: the server failed; the move happened wholly or not at all.
        """
        self._ensure_journal()
        _ = self._deferring  # It asks the catalogue, and the pipeline must not wait for that.
        try:
            before, after, behind = self._try(residence, region)
            self._require_proven(before, after, behind, residence.region, region)
            moved = Moved(
                residence,
                region,
                {
                    name: count
                    for name, (count, _) in zip(self._layout.regional, before.rows, strict=True)
                },
                sum(before.references),
            )
            self._commit(moved, note)
        except _COLLISIONS as error:
            broken = isinstance(error, psycopg.errors.ForeignKeyViolation)
            raise CollisionError(session.first_line(error), broken=broken) from None
        except psycopg.errors.UniqueViolation as error:
            raise Refused(
                f"{region!r} holds a row that keeps a client out: {session.first_line(error)}",
                hint="this constraint is kept within a region only ([unique]): change one of the "
                "two rows, then run the same command again",
            ) from None
        except psycopg.OperationalError as error:
            raise Interrupted(
                f"moving clients stopped: {session.first_line(error)}",
                hint="run the same command again: who was moved is found there",
            ) from None
        finally:
            # Also after Ctrl-C: nothing of a client is left half-way.
            if not self._connection.closed and self._connection.info.transaction_status:
                with suppress(psycopg.Error):
                    self._connection.rollback()
        return moved

    def _try(self, residence: Residence, region: str) -> tuple[_Proof, _Proof, list[str]]:
        """Do all but COMMIT; return what was counted before and after, and what stayed behind."""
        questions, key = self._questions, self._questions.parameters(residence.key)
        origin = residence.region
        with self._connection.pipeline():
            # Whatever the server's default is: the keys cascade rightly at READ COMMITTED.
            self._connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            self._connection.execute("SELECT set_config(%s, 'on', true)", (MOVING,))
            self._connection.execute(self._deferring)
            held = self._ask(questions.hold_link(origin), key)
            rows = [self._ask(one, key) for one in questions.hold_rows(origin)]
            references = [self._ask(one, key) for one in questions.hold_references(origin)]
            self._ask(questions.update_link(origin, region), key)
            arrived = self._ask(questions.arrived(origin, region), key)
            if held.fetchone() is None:
                raise GoneError
            before = _Proof(
                tuple(map(_counted, rows)), tuple(_counted(one)[0] for one in references)
            )
            tables = len(self._layout.regional)
            after_rows, after_references = [(0, 0)] * tables, [0] * len(references)
            behind: list[str] = []
            for kind, number, count, total in arrived.fetchall():
                if kind == ROWS:
                    after_rows[number] = (int(count), int(total))
                elif kind == REFERENCES:
                    after_references[number] = int(count)
                elif count:
                    behind.append(questions.behind_text(kind, number, int(count)))
        return before, _Proof(tuple(after_rows), tuple(after_references)), behind

    def _ask(self, statement: str, key: Mapping[str, str]) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._connection.execute(statement, key, prepare=True)

    @cached_property
    def _deferring(self) -> str:
        """Defer the generated foreign keys, and nothing else.

        A source's own deferrable keys keep their time. Where one of another kind has the name of a
        generated one, PostgreSQL cannot tell them apart, and all are deferred.
        """
        rows = self._connection.execute(
            """
            WITH own AS (
              SELECT oid, conname FROM pg_constraint
              WHERE connamespace = to_regnamespace(quote_ident(%(schema)s)) AND contype = 'f'
                AND confupdtype = 'c' AND condeferrable AND conparentid = 0
            )
            SELECT DISTINCT own.conname, EXISTS (
              SELECT FROM pg_constraint c
              WHERE c.connamespace = to_regnamespace(quote_ident(%(schema)s))
                AND c.conname = own.conname AND c.conparentid = 0
                AND c.oid NOT IN (SELECT oid FROM own))
            FROM own ORDER BY 1
            """,
            {"schema": self._schema},
        ).fetchall()
        if any(ambiguous for _, ambiguous in rows):
            return "SET CONSTRAINTS ALL DEFERRED"
        names = ", ".join(ddl.quote(self._schema, name) for name, _ in rows)
        return f"SET CONSTRAINTS {names} DEFERRED"

    def _require_proven(
        self, before: _Proof, after: _Proof, behind: Sequence[str], origin: str, region: str
    ) -> None:
        layout = self._layout
        wrong = list(behind)
        for name, was, now in zip(layout.regional, before.rows, after.rows, strict=True):
            if was[0] != now[0]:
                wrong.append(
                    f"{name}: {was[0]} row(s) in {origin!r} before, {now[0]} in {region!r}"
                )
            elif was[1] != now[1]:
                wrong.append(f"{name}: {was[0]} row(s), not the same")
        for reference, is_, should in zip(
            self._questions.references, after.references, before.references, strict=True
        ):
            if is_ != should:
                wrong.append(f"{reference}: {should} row(s) led to the client before, {is_} after")
        if wrong:
            raise VerificationFailed(
                f"a client did not arrive in {region!r} as it was in {origin!r}; its move was "
                "undone",
                details=sampled(wrong),
                hint="look for triggers that fire during a move (ENABLE ALWAYS, or not carried by "
                "regionkit), then run the same command again",
            )

    def _commit(self, moved: Moved, note: Note) -> None:
        with self._connection.pipeline():
            self._connection.execute(
                f"INSERT INTO {_JOURNAL} (target, batch, client_digest, origin, region, rows, "
                "moved_by, version) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    self._target,
                    note.batch,
                    digest_of(moved.residence.key),
                    moved.residence.region,
                    moved.region,
                    sum(moved.rows.values()),
                    note.who,
                    note.version,
                ),
            )
            self._connection.execute("COMMIT")

    def _ensure_journal(self) -> None:
        if self._journaled:
            return
        row = self._connection.execute("SELECT to_regclass(%s)", (_JOURNAL,)).fetchone()
        if row == (None,):
            with self._connection.transaction():
                self._connection.execute(ddl.ensure_schema(JOURNAL_SCHEMA))
                self._connection.execute(_DDL)
        self._journaled = True


def _counted(cursor: psycopg.Cursor[tuple[Any, ...]]) -> tuple[int, int]:
    row = cursor.fetchone()
    assert row is not None, "an aggregate has one row"
    return int(row[0]), int(row[1])
