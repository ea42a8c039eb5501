"""The journal of cutovers, schema ``regionkit`` of the source's database.

It lies beside what is frozen, so that a freeze and its entry commit together; where the target is
in the same database, so does the switch. One row for each attempt: what stands last is what holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from toolkit import __version__
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.privileges import AccessList
from toolkit.postgres.session import Connection
from toolkit.postgres.store import operator

#: The SQLSTATE of a write to a table that is frozen: in no class of PostgreSQL's or the standard's.
FROZEN = "RK001"
#: The trigger function that raises it.
REFUSE = f"{JOURNAL_SCHEMA}.refuse_write"

_DDL = f"""
CREATE SCHEMA IF NOT EXISTS {JOURNAL_SCHEMA};
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.cutover (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source text NOT NULL,
  target text NOT NULL,
  backend text NOT NULL,
  place text NOT NULL,
  keep_as text,
  state text NOT NULL,
  started_by text NOT NULL,
  version text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  refused_from timestamptz,
  refused_until timestamptz,
  ended_at timestamptz,
  moment text,
  rows jsonb
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.cutover_step (
  cutover bigint NOT NULL REFERENCES {JOURNAL_SCHEMA}.cutover ON DELETE CASCADE,
  number integer NOT NULL,
  name text NOT NULL,
  started_by text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at timestamptz,
  PRIMARY KEY (cutover, number)
);
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.cutover_saved (
  cutover bigint NOT NULL REFERENCES {JOURNAL_SCHEMA}.cutover ON DELETE CASCADE,
  number integer NOT NULL,
  kind text NOT NULL,
  definition jsonb NOT NULL,
  PRIMARY KEY (cutover, kind, number)
);
CREATE OR REPLACE FUNCTION {REFUSE}() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $regionkit$
BEGIN
  RAISE EXCEPTION '%.% is frozen by regionkit cutover, retry', TG_TABLE_SCHEMA, TG_TABLE_NAME
  USING ERRCODE = '{FROZEN}',
        HINT = 'Its rows are copied for the last time; afterwards they live elsewhere.';
END
$regionkit$;
"""


class State(StrEnum):
    """Where a cutover stands."""

    preparing = "preparing"
    frozen = "frozen"
    switched = "switched"
    #: Writes are possible again; the triggers are disabled, but not all dropped.
    thawed = "thawed"
    undone = "undone"
    rolled_back = "rolled back"


#: What is over: another cutover may begin.
OVER = frozenset({State.undone, State.rolled_back})


@dataclass(frozen=True)
class Entry:
    """One attempt to cut over.

    Attributes:
        id: its number.
        source: the schema of the source, as it is configured.
        target: the schema (MongoDB: the database) of the layout, as it is configured.
        backend: of the layout.
        place: where the rows go, for messages.
        keep_as: the name that the source's schema gets at the switch, ``None`` if nothing is
            renamed.
        state: where it stands.
        started_by: who began it.
        started_at: when.
        refused_from: since when writes may have been refused.
        refused_until: until when.
        moment: the target's mark of the switch, by which later writes are told.
        rows: rows per table and region that were verified under the freeze.
    """

    id: int
    source: str
    target: str
    backend: str
    place: str
    keep_as: str | None
    state: State
    started_by: str
    started_at: datetime
    refused_from: datetime | None
    refused_until: datetime | None
    moment: str | None
    rows: dict[str, dict[str, int]] | None

    @property
    def names(self) -> Names:
        """The names that the two schemas have now."""
        if self.state is State.switched and self.keep_as is not None:
            return Names(self.keep_as, self.source)
        return Names(self.source, self.target)

    @property
    def refused_seconds(self) -> float | None:
        """How long writes were refused, ``None`` if they never were, or still are."""
        if self.refused_from is None or self.refused_until is None:
            return None
        return (self.refused_until - self.refused_from).total_seconds()

    def document(self) -> dict[str, Any]:
        """Return it for ``--output json``."""
        return {
            "state": self.state.value,
            "place": self.place,
            "schemas": {"source": self.names.source, "layout": self.names.target},
            "started_by": self.started_by,
            "started_at": self.started_at,
            "refused_seconds": self.refused_seconds,
        }


@dataclass(frozen=True)
class Names:
    """The names that two schemas have in the database now.

    Attributes:
        source: what holds the source's tables.
        target: what holds the layout ``tables``.
    """

    source: str
    target: str


_COLUMNS = (
    "id, source, target, backend, place, keep_as, state, started_by, started_at, refused_from, "
    "refused_until, moment, rows"
)


class Journal:
    """The cutovers of one source schema.

    Args:
        source: the schema, as it is configured.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def create(self, connection: Connection) -> None:
        """Create the journal's tables, and the function that refuses writes."""
        with connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute(_DDL)

    def exists(self, connection: Connection) -> bool:
        """Return whether there is a journal in this database."""
        row = connection.execute(
            "SELECT to_regclass(%s) IS NOT NULL", (f"{JOURNAL_SCHEMA}.cutover",)
        ).fetchone()
        return row == (True,)

    def settle(self, connection: Connection) -> None:
        """Wait until nobody's change of the entries is on its way.

        The COMMIT of a client that was killed can still be at work in the server.
        """
        if self.exists(connection):
            connection.execute(
                f"SELECT FROM {JOURNAL_SCHEMA}.cutover WHERE source = %s FOR UPDATE",
                (self._source,),
            )

    def last(self, connection: Connection) -> Entry | None:
        """Return the last attempt, ``None`` if there was none."""
        if not self.exists(connection):
            return None
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM {JOURNAL_SCHEMA}.cutover WHERE source = %s "
            "ORDER BY id DESC LIMIT 1",
            (self._source,),
        ).fetchone()
        if row is None:
            return None
        id_, source, target, backend, place, keep_as, state, *rest = row
        return Entry(id_, source, target, backend, place, keep_as, State(state), *rest)

    def begin(
        self,
        connection: Connection,
        *,
        target: str,
        backend: str,
        place: str,
        keep_as: str | None,
    ) -> Entry:
        """Note the start of a cutover."""
        connection.execute(
            f"INSERT INTO {JOURNAL_SCHEMA}.cutover "
            "(source, target, backend, place, keep_as, state, started_by, version) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                self._source,
                target,
                backend,
                place,
                keep_as,
                State.preparing,
                operator(),
                __version__,
            ),
        )
        entry = self.last(connection)
        assert entry is not None
        return entry

    def advance(self, connection: Connection, entry: Entry, state: State) -> None:
        """Note where a cutover stands, in the caller's transaction."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.cutover SET state = %s, "
            "ended_at = CASE WHEN %s THEN clock_timestamp() END WHERE id = %s",
            (state, state in OVER or state is State.switched, entry.id),
        )

    def refused_from(self, connection: Connection, entry: Entry, since: datetime) -> None:
        """Note since when writes may have been refused."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.cutover SET refused_from = %s WHERE id = %s",
            (since, entry.id),
        )

    def refused_until_now(self, connection: Connection, entry: Entry) -> None:
        """Note that writes are not refused any longer, unless that stands there already."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.cutover SET refused_until = clock_timestamp() "
            "WHERE id = %s AND refused_from IS NOT NULL AND refused_until IS NULL",
            (entry.id,),
        )

    def verified(
        self, connection: Connection, entry: Entry, rows: dict[str, dict[str, int]], moment: str
    ) -> None:
        """Keep what was verified, and the target's mark of that moment."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.cutover SET rows = %s, moment = %s WHERE id = %s",
            (Jsonb(rows), moment, entry.id),
        )

    @contextmanager
    def step(self, connection: Connection, entry: Entry, name: str) -> Iterator[None]:
        """Note when a step begins and, if it does, when it ends."""
        row = connection.execute(
            f"INSERT INTO {JOURNAL_SCHEMA}.cutover_step (cutover, number, name, started_by) "
            f"SELECT %s, coalesce(max(number), 0) + 1, %s, %s FROM {JOURNAL_SCHEMA}.cutover_step "
            "WHERE cutover = %s RETURNING number",
            (entry.id, name, operator(), entry.id),
        ).fetchone()
        yield
        assert row is not None
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.cutover_step SET finished_at = clock_timestamp() "
            "WHERE cutover = %s AND number = %s",
            (entry.id, row[0]),
        )

    def steps(self, connection: Connection, entry: Entry) -> list[tuple[str, float | None]]:
        """Return the steps of a cutover with the seconds that they took, ``None`` unfinished."""
        rows = connection.execute(
            "SELECT name, extract(epoch FROM finished_at - started_at)::float8 "
            f"FROM {JOURNAL_SCHEMA}.cutover_step WHERE cutover = %s ORDER BY number",
            (entry.id,),
        ).fetchall()
        return [(str(name), seconds) for name, seconds in rows]

    def save(
        self, connection: Connection, entry: Entry, kind: str, definitions: Sequence[Any]
    ) -> None:
        """Keep what will be changed, so that it can be put back exactly."""
        with connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {JOURNAL_SCHEMA}.cutover_saved (cutover, kind, number, definition) "
                "VALUES (%s, %s, %s, %s)",
                [
                    (entry.id, kind, number, Jsonb(definition))
                    for number, definition in enumerate(definitions)
                ],
            )

    def saved(self, connection: Connection, entry: Entry, kind: str) -> list[Any]:
        """Return what was kept."""
        rows = connection.execute(
            f"SELECT definition FROM {JOURNAL_SCHEMA}.cutover_saved "
            "WHERE cutover = %s AND kind = %s ORDER BY number",
            (entry.id, kind),
        ).fetchall()
        return [row[0] for row in rows]

    def saved_lists(self, connection: Connection, entry: Entry, kind: str) -> list[AccessList]:
        """Return the privileges that were kept."""
        return [AccessList.read(one) for one in self.saved(connection, entry, kind)]
