"""Who ran a migration, when, and how it ended: the history in the target's journal."""

from __future__ import annotations

from toolkit.journal import Outcome, Pace, RunRecord
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection

# Without a key to the migration: who did what is kept when the layout is taken back.
_DDL = f"""
CREATE TABLE IF NOT EXISTS {JOURNAL_SCHEMA}.run (
  id uuid PRIMARY KEY,
  target text NOT NULL,
  who text NOT NULL,
  pid bigint NOT NULL,
  version text NOT NULL,
  fingerprint text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  epoch bigint,
  expected bigint,
  copying_at timestamptz,
  ended_at timestamptz,
  outcome text,
  exit_code integer,
  rows bigint,
  throttled_by text
);
CREATE INDEX IF NOT EXISTS run_target ON {JOURNAL_SCHEMA}.run (target, started_at);
"""

#: Starts of a migration that are kept for each target; older ones are struck off.
_KEPT_RUNS = 1_000


class Runs:
    """The history of one target schema.

    Args:
        target: the schema of the layout.
    """

    def __init__(self, target: str) -> None:
        self.target = target

    def begin(self, connection: Connection, record: RunRecord) -> None:
        """Note one start of a migration, or that it has come to copying.

        The journal's schema is there. The second call for a record adds its epoch and the rows
        that it expects.
        """
        with connection.transaction():
            connection.execute("SET LOCAL client_min_messages = warning")
            connection.execute(_DDL)
            connection.execute(
                f"INSERT INTO {JOURNAL_SCHEMA}.run AS r "
                "(id, target, who, pid, version, fingerprint, epoch, expected, copying_at) "
                "VALUES (%(id)s, %(target)s, %(who)s, %(pid)s, %(version)s, %(fingerprint)s, "
                "%(epoch)s, %(expected)s, CASE WHEN %(copying)s THEN clock_timestamp() END) "
                "ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, "
                "expected = excluded.expected, copying_at = excluded.copying_at",
                {
                    "id": record.id,
                    "target": self.target,
                    "who": record.who,
                    "pid": record.pid,
                    "version": record.version,
                    "fingerprint": record.fingerprint,
                    "epoch": record.epoch,
                    "expected": record.expected,
                    "copying": record.epoch is not None,
                },
            )
            connection.execute(
                f"DELETE FROM {JOURNAL_SCHEMA}.run WHERE id IN (SELECT id FROM "
                f"{JOURNAL_SCHEMA}.run WHERE target = %s ORDER BY started_at DESC OFFSET %s)",
                (self.target, _KEPT_RUNS),
            )

    def note(self, connection: Connection, record: RunRecord, throttled_by: str) -> None:
        """Note what holds a start back now; empty: nothing."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.run SET throttled_by = %s WHERE id = %s",
            (throttled_by or None, record.id),
        )

    def end(
        self, connection: Connection, record: RunRecord, outcome: Outcome, code: int, rows: int
    ) -> None:
        """Note how a start of a migration ended."""
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.run SET ended_at = clock_timestamp(), outcome = %s, "
            "exit_code = %s, rows = %s, throttled_by = NULL WHERE id = %s",
            (outcome, code, rows, record.id),
        )

    def all(self, connection: Connection) -> list[RunRecord]:
        """Return every start that is kept, the newest first."""
        if not self._exist(connection):
            return []
        rows = connection.execute(
            "SELECT id::text, who, pid, version, fingerprint, started_at, epoch, expected, "
            f"ended_at, outcome, exit_code, rows, throttled_by FROM {JOURNAL_SCHEMA}.run "
            "WHERE target = %s ORDER BY started_at DESC",
            (self.target,),
        ).fetchall()
        return [
            RunRecord(
                id=number,
                who=who,
                pid=pid,
                version=version,
                fingerprint=fingerprint,
                started=started,
                epoch=epoch,
                expected=expected,
                ended=ended,
                outcome=Outcome(outcome) if outcome else None,
                exit_code=code,
                rows=copied,
                throttled_by=throttled,
            )
            for (
                number,
                who,
                pid,
                version,
                fingerprint,
                started,
                epoch,
                expected,
                ended,
                outcome,
                code,
                copied,
                throttled,
            ) in rows
        ]

    def pace(self, connection: Connection, window: float) -> Pace:
        """Return what the newest run has copied within the last ``window`` seconds."""
        if not self._exist(connection):
            return Pace()
        row = connection.execute(
            f"WITH newest AS (SELECT epoch, copying_at FROM {JOURNAL_SCHEMA}.run "
            "WHERE target = %(target)s AND copying_at IS NOT NULL "
            "ORDER BY started_at DESC LIMIT 1), "
            "since AS (SELECT epoch, greatest(copying_at, "
            "clock_timestamp() - make_interval(secs => %(window)s)) AS at FROM newest) "
            "SELECT (SELECT coalesce(sum(c.rows), 0) "
            f"FROM {JOURNAL_SCHEMA}.checkpoint c WHERE c.target = %(target)s "
            "AND c.epoch = since.epoch AND c.finished_at >= since.at), "
            "extract(epoch FROM clock_timestamp() - since.at) FROM since",
            {"target": self.target, "window": window},
        ).fetchone()
        return Pace() if row is None else Pace(int(row[0]), float(row[1]))

    def _exist(self, connection: Connection) -> bool:
        row = connection.execute(
            "SELECT to_regclass(%s) IS NOT NULL", (f"{JOURNAL_SCHEMA}.run",)
        ).fetchone()
        return row == (True,)
