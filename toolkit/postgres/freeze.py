"""Freezes the tables of a schema: nobody writes to them any more, and those who try are told.

Two things refuse a write: the privilege is gone, and a statement trigger raises, for owners and
superusers too. Both commit together with the journal's entry. Taking them away again is two steps,
because a trigger can be disabled beside readers, and dropped only without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay
from tenacity.wait import wait_random_exponential

from toolkit.errors import LockNotObtained, sampled
from toolkit.postgres import ddl, privileges, session
from toolkit.postgres.cutover import REFUSE, Entry, Journal, State
from toolkit.postgres.inspect import FROZEN_TRIGGER as TRIGGER
from toolkit.postgres.session import Connection

#: What a writer's lock conflicts with, and with it everything that creates or changes triggers.
_FREEZE_MODE = "SHARE ROW EXCLUSIVE"


#: What is held until the switch: nobody changes a table or disables its trigger. Writers are not
#: made to wait, but refused at once: who waits at REPEATABLE READ would find the layout under the
#: name, but not the rows that were copied last, and be told "UPDATE 0".
_HOLD_MODE = "SHARE UPDATE EXCLUSIVE"


@dataclass(frozen=True)
class LockBudget:
    """How long locks are tried for.

    Attributes:
        each: seconds of one try, over all tables; what waits behind it waits no longer.
        total: seconds of all tries, with the pauses between them.
        terminate: whether sessions in the way are ended.
    """

    each: float = 3.0
    total: float = 30.0
    terminate: bool = False


@dataclass(frozen=True)
class Blocker:
    """A session that holds a lock which is in the way.

    Attributes:
        pid: its process, ``None`` for a prepared transaction.
        user: whose it is.
        what: the application's name, or the prepared transaction's.
        since: when its transaction began.
        state: what it does.
        tables: on which it holds the lock; none, if what it holds is a snapshot.
    """

    pid: int | None
    user: str
    what: str
    since: datetime | None
    state: str
    tables: str

    def __str__(self) -> str:
        on = f"holds locks on {self.tables}" if self.tables else "reads what was before"
        who = f"process {self.pid}" if self.pid else f"prepared transaction {self.what!r}"
        what = f" ({self.what})" if self.pid and self.what else ""
        since = f" since {self.since:%Y-%m-%d %H:%M:%S}" if self.since else ""
        return f"{who} of {self.user}{what}, {self.state}{since}, {on}"


class Busy(Exception):
    """Sessions are in the way that hold no lock.

    Attributes:
        blockers: they.
    """

    def __init__(self, blockers: list[Blocker]) -> None:
        super().__init__()
        self.blockers = blockers


_NOT_NOW = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, Busy)


def tables(connection: Connection, schema: str) -> list[str]:
    """Return the tables of a schema, partitions too, in the order in which they are locked."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s)) "
        "AND relkind IN ('r', 'p') ORDER BY oid",
        (schema,),
    ).fetchall()
    return [str(row[0]) for row in rows]


def durable_session(connection: Connection) -> None:
    """Let a session wait as long as it must, and let the server notice when we are gone."""
    connection.execute(
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ("
        "'idle_in_transaction_session_timeout', 'idle_session_timeout', 'statement_timeout', "
        "'transaction_timeout')"
    )
    connection.execute(
        "SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '10'), "
        "('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3')) AS v(name, value)"
    )


def within(
    budget: LockBudget,
    url: str,
    schema: str,
    attempt: Callable[[float], None],
    report: Callable[[str], None],
) -> None:
    """Try again and again what needs locks, with a random pause in between.

    Args:
        budget: how long.
        url: of the server, to look who is in the way.
        schema: of the tables that are locked.
        attempt: is given the seconds that it may wait, and leaves nothing behind when it fails.
        report: is told who is in the way.

    Raises:
        LockNotObtained: the budget is used up; whoever is in the way is named.
    """
    deadline = time.monotonic() + budget.total
    found: list[Blocker] = []
    begun = deadline

    def try_once() -> None:
        nonlocal begun
        begun = time.monotonic()
        attempt(max(0.001, min(budget.each, deadline - begun)))

    def look(state: RetryCallState) -> None:
        nonlocal found
        error = state.outcome.exception() if state.outcome is not None else None
        with session.connect(url, role="source") as connection:
            if isinstance(error, Busy):
                found = error.blockers
            else:
                # Who came later waits behind this session, and was in nobody's way.
                found = blockers(connection, schema, time.monotonic() - begun)
            for one in found:
                report(f"in the way: {one}")
                if budget.terminate and one.pid is not None:
                    _terminate(connection, one, report)

    retrying = Retrying(
        stop=stop_before_delay(budget.total),
        wait=wait_random_exponential(multiplier=0.2, max=2.0),
        retry=retry_if_exception_type(_NOT_NOW),
        after=look,
        reraise=True,
    )
    try:
        retrying(try_once)
    except _NOT_NOW:
        raise LockNotObtained(
            f"the tables of {schema!r} were not to be had within {budget.total:g} s; sessions in "
            f"the way: {len(found)}",
            details=sampled([str(one) for one in found]),
            hint="wait until they are done, or end them with --terminate; "
            "--lock-timeout and --budget give more time",
        ) from None


def lock(connection: Connection, schema: str, names: Sequence[str], mode: str, wait: float) -> None:
    """Lock tables in the transaction that is open.

    Args:
        connection: in a transaction.
        schema: of the tables.
        names: of the tables.
        mode: of the lock.
        wait: seconds, over all of them.

    Raises:
        psycopg.errors.LockNotAvailable: not within that time.
    """
    deadline = time.monotonic() + wait
    for name in names:
        left = max(1, int((deadline - time.monotonic()) * 1000))
        session.set_for_transaction(connection, {"lock_timeout": f"{left}ms"})
        connection.execute(f"LOCK TABLE ONLY {ddl.quote(schema, name)} IN {mode} MODE")
    session.set_for_transaction(connection, {"lock_timeout": "0"})


def freeze(
    connection: Connection,
    journal: Journal,
    entry: Entry,
    schema: str,
    wait: float,
) -> None:
    """Refuse every write to a schema's tables, from the moment at which no writer is at work.

    All of it is one transaction: it is done and journaled, or nothing is.

    Raises:
        psycopg.errors.LockNotAvailable: writers did not come to their end in time.
        Refused: privileges could not be put back.
    """
    with connection.transaction():
        since = now(connection)
        names = tables(connection, schema)
        lock(connection, schema, names, _FREEZE_MODE, wait)
        lists = privileges.access_lists(connection, schema)
        privileges.require_restorable(connection, lists)
        journal.save(connection, entry, "source privileges", [one.document() for one in lists])
        privileges.revoke_writes(connection, schema, lists)
        for name in names:
            table = ddl.quote(schema, name)
            connection.execute(
                f"CREATE TRIGGER {TRIGGER} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE "
                f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {REFUSE}()"
            )
            # Sessions that replicate silence the others.
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {TRIGGER}")
        journal.refused_from(connection, entry, since)
        journal.advance(connection, entry, State.frozen)


@contextmanager
def held(
    connection: Connection,
    url: str,
    schema: str,
    budget: LockBudget,
    report: Callable[[str], None],
) -> Iterator[None]:
    """Hold a lock on all tables in a transaction: nobody changes them, or their triggers.

    The block ends the transaction itself; if it does not, what it did is undone.
    """

    def attempt(wait: float) -> None:
        connection.execute("BEGIN")
        try:
            lock(connection, schema, tables(connection, schema), _HOLD_MODE, wait)
        except psycopg.Error:
            connection.rollback()
            raise

    within(budget, url, schema, attempt, report)
    try:
        yield
    finally:
        if not connection.closed:
            connection.rollback()


def thaw(connection: Connection, journal: Journal, entry: Entry, schema: str, wait: float) -> None:
    """Allow writes again, in the transaction that is open; the triggers stay, disabled.

    Raises:
        psycopg.errors.LockNotAvailable: a lock was not to be had in time.
    """
    frozen = _with_trigger(connection, schema)
    lock(connection, schema, frozen, _FREEZE_MODE, wait)
    for name in frozen:
        connection.execute(f"ALTER TABLE {ddl.quote(schema, name)} DISABLE TRIGGER {TRIGGER}")
    lists = journal.saved_lists(connection, entry, "source privileges")
    privileges.put_back(connection, schema, lists)
    journal.advance(connection, entry, State.thawed)
    journal.refused_until_now(connection, entry)


def drop_triggers(connection: Connection, schema: str, wait: float) -> None:
    """Drop the triggers of a schema that was thawed, one table at a time.

    Raises:
        psycopg.errors.LockNotAvailable: somebody reads one of the tables.
    """
    for name in _with_trigger(connection, schema):
        with connection.transaction():
            lock(connection, schema, [name], "ACCESS EXCLUSIVE", wait)
            connection.execute(f"DROP TRIGGER {TRIGGER} ON {ddl.quote(schema, name)}")


def _with_trigger(connection: Connection, schema: str) -> list[str]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND t.tgname = %s "
        "ORDER BY c.oid",
        (schema, TRIGGER),
    ).fetchall()
    return [str(row[0]) for row in rows]


def await_readers(connection: Connection, begun: datetime, wait: float) -> None:
    """Wait until no transaction is left that reads a state from before a moment.

    Names mean what they mean now, rows are those of then: after a rename such a transaction would
    look for old rows in new tables, miss what was copied later, and update nothing.

    Raises:
        Busy: some are left after ``wait`` seconds.
    """
    deadline = time.monotonic() + wait
    while found := _readers(connection, begun):
        if time.monotonic() >= deadline:
            raise Busy(found)
        time.sleep(0.02)


def _readers(connection: Connection, begun: datetime) -> list[Blocker]:
    rows = connection.execute(
        """
        SELECT pid, coalesce(usename, ''), coalesce(application_name, ''), xact_start,
               coalesce(state, ''), ''
        FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
          AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND xact_start < %s
        ORDER BY xact_start
        """,
        (begun,),
    ).fetchall()
    return [Blocker(*row) for row in rows]


def now(connection: Connection) -> datetime:
    """Return the server's time."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    found: datetime = row[0]
    return found


def blockers(connection: Connection, schema: str, older: float) -> list[Blocker]:
    """Return the sessions that keep tables of a schema from being frozen, the oldest first.

    Args:
        connection: any but the one that waits.
        schema: of the tables.
        older: seconds that their transaction has lasted at least.
    """
    rows = connection.execute(
        """
        SELECT l.pid, coalesce(a.usename, p.owner, ''),
               coalesce(nullif(a.application_name, ''), p.gid, a.backend_type, ''),
               coalesce(a.xact_start, p.prepared), coalesce(a.state, a.backend_type, 'prepared'),
               string_agg(DISTINCT c.relname, ', ' ORDER BY c.relname)
        FROM pg_locks l
        JOIN pg_class c ON c.oid = l.relation
        LEFT JOIN pg_stat_activity a ON a.pid = l.pid
        LEFT JOIN pg_prepared_xacts p
          ON l.pid IS NULL AND l.virtualtransaction = '-1/' || p.transaction
        WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
          AND l.pid IS DISTINCT FROM pg_backend_pid()
          -- Of other people's sessions an ordinary role does not see since when they are open.
          AND coalesce(a.xact_start, p.prepared, '-infinity')
              <= clock_timestamp() - make_interval(secs => %s)
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 4 NULLS FIRST
        """,
        (schema, older),
    ).fetchall()
    return [Blocker(*row) for row in rows]


def _terminate(connection: Connection, one: Blocker, report: Callable[[str], None]) -> None:
    try:
        row = connection.execute("SELECT pg_terminate_backend(%s)", (one.pid,)).fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        report(f"process {one.pid} was not ended: {session.first_line(error)}")
        return
    if row == (True,):
        report(f"process {one.pid} of {one.user} was ended")
