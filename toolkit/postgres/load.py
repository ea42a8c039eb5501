"""How busy a PostgreSQL is: active sessions, and how far its replicas are behind."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from toolkit.errors import ConnectionFailed
from toolkit.postgres import session

#: Milliseconds that a look may take: it must never become a load itself.
_PATIENCE = 5_000

_ACTIVE = f"""
SELECT count(*) FROM pg_stat_activity
WHERE state = 'active' AND backend_type = 'client backend'
  AND application_name IS DISTINCT FROM {session.APPLICATION!r}
"""

_WAL_NOW = """
CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END
"""

# A replica that streams to somebody has replayed; one that only stores has written.
_REPLICAS = f"""
SELECT ({_WAL_NOW}) - '0/0'::pg_lsn, min(coalesce(replay_lsn, flush_lsn)) - '0/0'::pg_lsn
FROM pg_stat_replication WHERE coalesce(replay_lsn, flush_lsn) IS NOT NULL
"""


@dataclass
class LagClock:
    """Turns positions in the log into seconds.

    The server's own ``replay_lag`` stands still when a replica does: it is measured on what the
    replica confirms. This one notes when the log was where, and looks up the replica's position;
    between two looks the log is taken to have grown evenly.
    """

    _passed: deque[tuple[float, int]] = field(default_factory=deque)

    def lag(self, now: float, written: int, replayed: int) -> float:
        """Return how many seconds ago the log stood where the replica stands now.

        Args:
            now: monotonic seconds.
            written: the position of the source's log.
            replayed: the position of the replica.
        """
        self._passed.append((now, written))
        while len(self._passed) > 1 and self._passed[1][1] <= replayed:
            self._passed.popleft()
        if replayed >= written:
            return 0.0
        (then, position), *_ = self._passed
        if position > replayed or len(self._passed) == 1:
            # Before the first look nothing is known: the lag is counted from there.
            return now - then
        later, next_position = self._passed[1]
        passed = (replayed - position) / (next_position - position)
        return now - (then + (later - then) * passed)


class Load:
    """Looks at one server over a connection of its own.

    What the role may not see is said once and never asked again; a connection that breaks is
    opened anew at the next look. Nothing that goes wrong here stops a run.

    Args:
        url: of the server.
        role: what it is for (``source``), for messages.
        warn: takes what cannot be seen, and why.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        role: str,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._role = role
        self._warn = warn
        self._clock = clock
        self._connection: session.Connection | None = None
        self._off: set[str] = set()
        self._warned: set[str] = set()
        self._lag = LagClock()

    def sessions(self) -> int | None:
        """Return how many sessions are active, regionkit's own not counted; ``None``: unknown."""
        row = self._ask("active sessions", _ACTIVE)
        return None if row is None else int(row[0])

    def lag(self) -> float | None:
        """Return how many seconds the slowest replica is behind; ``None`` if there is none."""
        row = self._ask("replica lag", _REPLICAS)
        if row is None:
            return None
        written, replayed = row
        if replayed is None:
            self._say("replica lag", f"no replica is attached to the {self._role}")
            return None
        return self._lag.lag(self._clock(), int(written), int(replayed))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, what: str, statement: str) -> tuple[Any, ...] | None:
        if what in self._off:
            return None
        try:
            if self._connection is None:
                self._connection = session.connect(self._url, role=self._role)
                self._connection.execute(f"SET statement_timeout = {_PATIENCE}")
            if not self._sees_all(self._connection):
                self._off.add(what)
                self._say(what, "the role is not a member of pg_monitor (docs/privileges.md)")
                return None
            return self._connection.execute(statement).fetchone()
        except psycopg.errors.InsufficientPrivilege as error:
            self._off.add(what)
            self._say(what, session.first_line(error))
        except psycopg.Error as error:
            self.close()
            self._say(what, session.first_line(error))
        except ConnectionFailed as error:
            self._say(what, error.message)
        return None

    @staticmethod
    def _sees_all(connection: session.Connection) -> bool:
        """Return whether the role sees other users' sessions: without, their state is NULL."""
        row = connection.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").fetchone()
        return row == (True,)

    def _say(self, what: str, why: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            self._warn(f"{what} cannot be watched: {why}")
