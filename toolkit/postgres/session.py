"""Connections to PostgreSQL: opened here, with every setting that the work relies on."""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import conninfo, sql
from psycopg.rows import TupleRow
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential

from toolkit.config import Configuration
from toolkit.errors import (
    ConnectionFailed,
    Interrupted,
    LockNotObtained,
    Refused,
    RegionkitError,
)
from toolkit.postgres import ddl
from toolkit.postgres.versions import (
    IDLE_SESSION_TIMEOUT,
    MOVES_BY_CASCADE,
    TRANSACTION_TIMEOUT,
)

Connection = psycopg.Connection[TupleRow]

#: What our sessions are called in pg_stat_activity.
APPLICATION = "regionkit"

#: Text forms depend on these; every session that reads or writes data pins them.
_PINNED = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "row_security": "off",
    "standard_conforming_strings": "on",
    # Compiling what runs once costs more than it saves.
    "jit": "off",
}

#: A session that holds a snapshot or a lock waits for hours, whatever the server allows others.
#: A version may not know each of them yet.
_PATIENT = {
    "idle_in_transaction_session_timeout": None,
    "idle_session_timeout": IDLE_SESSION_TIMEOUT,
    "transaction_timeout": TRANSACTION_TIMEOUT,
}

#: A network that swallows packets ends a connection within 30 seconds: one that is idle by three
#: probes, one that sends by what nobody confirmed. What the URL says goes before.
_NETWORK = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True)
class Limits:
    """How long statements may take, in seconds; 0 is without end.

    Attributes:
        lock_timeout: waiting for one lock.
        statement_timeout: a whole statement. Copies and indexes take as long as they take.
    """

    lock_timeout: float = 3.0
    statement_timeout: float = 0.0


#: Of every session that this process opens: no call can forget them. See :func:`limit`.
_limits = Limits()

#: The sessions that are open, and where they lead: :mod:`toolkit.postgres.pulse` looks after them.
_open: weakref.WeakKeyDictionary[Connection, str] = weakref.WeakKeyDictionary()


def limit(limits: Limits) -> None:
    """Set the limits of the sessions that this process opens from now on."""
    global _limits
    _limits = limits


def open_to(url: str) -> list[Connection]:
    """Return the connections of this process that were opened with a URL and are not closed."""
    return [each for each, leads in list(_open.items()) if leads == url and not each.closed]


def connect(
    url: str, *, role: str, autocommit: bool = True, timeout: int | None = None
) -> Connection:
    """Open a connection whose text forms do not depend on the server's settings.

    Its locks and statements are bounded (:func:`limit`), its idle time is not, and a network that
    swallows packets ends it.

    Args:
        url: a libpq URL or connection string.
        role: what it is for (``source``, ``postgres``); it stands in the error.
        autocommit: whether statements commit by themselves outside ``transaction()``.
        timeout: seconds to wait for the server; default what the URL says, else 10.

    Raises:
        ConnectionFailed: nobody answers, or the login is refused.
    """
    try:
        given = conninfo.conninfo_to_dict(url)
        network = {name: value for name, value in _NETWORK.items() if name not in given}
        if timeout is not None:
            network["connect_timeout"] = timeout
        connection = psycopg.connect(
            conninfo.make_conninfo(url, **network),
            autocommit=autocommit,
            application_name=APPLICATION,
        )
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise ConnectionFailed(
            f"cannot connect to the {role} PostgreSQL: {first_line(error)}",
            hint="check the URL, or start the lab with 'regionkit lab up'",
        ) from None
    _open[connection] = url
    settings = {
        **_PINNED,
        "lock_timeout": f"{_limits.lock_timeout * 1000:.0f}ms",
        "statement_timeout": f"{_limits.statement_timeout * 1000:.0f}ms",
        **{
            name: "0"
            for name, known in _PATIENT.items()
            if known is None or known.there(connection)
        },
    }
    with connection.transaction():
        connection.execute(
            "SELECT "
            + ", ".join(
                f"set_config({ddl.literal(name)}, {ddl.literal(value)}, false)"
                for name, value in settings.items()
            )
        )
    return connection


def encoding(connection: Connection) -> str:
    """Return the encoding of the database, as PostgreSQL calls it."""
    return str(connection.info.parameter_status("server_encoding"))


def first_line(error: psycopg.Error) -> str:
    """Return the message of an error without PostgreSQL's DETAIL, which quotes row values."""
    text = error.diag.message_primary or str(error).strip().partition("\n")[0]
    return text.strip()


@contextmanager
def translated() -> Iterator[None]:
    """Let no error of the driver out, whether it comes by itself or through SQLAlchemy.

    Raises:
        RegionkitError: what it means for the operator, see :func:`translate`.
    """
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from None
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        raise translate(error.orig) from None


def translate(error: psycopg.Error) -> RegionkitError:
    """Return what a driver's error means for the operator; no row values stand in it."""
    message = first_line(error)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return Refused(message, hint=f"{_lacking(message)}; docs/privileges.md names all of it")
    if isinstance(
        error,
        psycopg.errors.LockNotAvailable
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure,
    ):
        return LockNotObtained(
            f"another session is in the way: {message}",
            hint="run the same command again when the other is done",
        )
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn):
        return Refused(
            f"the schema is not as it was when the migrations were generated: {message}",
            hint="run 'regionkit generate --check', then 'regionkit apply --dry-run'",
        )
    if isinstance(
        error, psycopg.errors.UntranslatableCharacter | psycopg.errors.CharacterNotInRepertoire
    ):
        return Refused(
            "a text has no counterpart in the encoding that it is needed in",
            hint="correct it in the source, or use a target database with encoding UTF8",
        )
    if isinstance(error, psycopg.errors.OutOfMemory):
        return Refused(
            f"PostgreSQL has no room left: {message}",
            hint="it says 'shared memory' where all sessions together hold more locks than "
            "max_locks_per_transaction allows: raise that and restart the server, or lower "
            "transaction_locks in [target.postgres]; then run the same command again",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return ConnectionFailed(
            f"the connection to PostgreSQL was lost: {message}",
            hint="when the server is back, run the same command again",
        )
    return RegionkitError(
        f"PostgreSQL: {message}",
        hint="this was not expected: please report it with the command and 'regionkit --version'",
    )


#: What lets a role use an object, by the words with which PostgreSQL refuses it.
_PRIVILEGES = {
    "row-level security": "to own the table, or BYPASSRLS: rows must not be left out silently",
    "for schema": "USAGE on the schema, or CREATE to make something in it",
    "for database": "CREATE on the database",
    "for sequence": "SELECT on the sequence",
    "for table": "SELECT on the table, or INSERT, UPDATE or DELETE to write it",
    "for view": "SELECT on the view",
    "for function": "EXECUTE on the function",
    "must be owner": "membership of the owner's role",
}


def _lacking(message: str) -> str:
    """Return what a role has to be granted that PostgreSQL refused with this message."""
    for words, privilege in _PRIVILEGES.items():
        if words in message:
            return f"the role needs {privilege}"
    return "the role lacks a privilege"


def is_lost(error: psycopg.Error) -> bool:
    """Return whether an error means that the connection is gone, and not that a statement failed.

    Without SQLSTATE it was libpq that noticed; class 08 and the 57P codes are the server's word.
    """
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    state = error.sqlstate
    return state is None or state.startswith(("08", "57P"))


def passes(error: BaseException) -> bool:
    """Return whether the same transaction may well succeed after an error."""
    if isinstance(error, psycopg.errors.UniqueViolation):
        # Two sessions chose the same name for a partition's index at the same time.
        return error.diag.schema_name == "pg_catalog"
    return isinstance(
        error,
        psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure
        | psycopg.errors.LockNotAvailable,
    )


#: Runs a transaction again, the whole of it, after an error that passes: a few times, with a
#: jittered wait, so that two who are in each other's way do not meet again.
retried = retry(
    retry=retry_if_exception(passes),
    wait=wait_random_exponential(multiplier=0.1, max=2.0),
    stop=stop_after_attempt(6),
    reraise=True,
)


def require_target_version(connection: Connection) -> None:
    """Refuse a server on which moving a client would be wrong.

    Raises:
        Refused: PostgreSQL is older than 15.
    """
    if not MOVES_BY_CASCADE.there(connection):
        raise Refused(
            f"the target is PostgreSQL {connection.info.server_version // 10000}: moving rows "
            "between partitions by a cascading key is right from 15 on",
            hint="use PostgreSQL 15 or later as the target",
        )


def work_settings(project: Configuration) -> dict[str, str]:
    """Return the settings of a session that reads or writes many rows."""
    migrate = project.file.migrate
    # The workers keep the processors busy: more processes for each cost a third more of them.
    alone = {} if migrate.workers == 1 else {"max_parallel_workers_per_gather": "0"}
    return alone | {
        "work_mem": migrate.work_mem,
        "maintenance_work_mem": migrate.maintenance_work_mem,
        # Joins are written in the order that suits whole tables (``toolkit.postgres.regions``).
        "join_collapse_limit": "1",
    }


def set_for_session(connection: Connection, settings: dict[str, str]) -> None:
    """Set parameters until the end of the session."""
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, false)", (name, value))


def set_for_transaction(connection: Connection, settings: dict[str, str]) -> None:
    """Set parameters until the end of the transaction."""
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, true)", (name, value))


def search_path(connection: Connection, schema: str) -> None:
    """Set the session's search path to one schema.

    Raises:
        Refused: the role may not use it.
    """
    require_usage(connection, schema)
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))


def require_usage(connection: Connection, schema: str) -> None:
    """Refuse a role that may not use a schema.

    Of a schema in the search path PostgreSQL does not say so: its tables are just not found.

    Raises:
        Refused: the role lacks USAGE on it.
    """
    row = connection.execute(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s", (schema,)
    ).fetchone()
    if row == (False,):
        message = f"permission denied for schema {schema}"
        raise Refused(message, hint=f"{_lacking(message)}; docs/privileges.md names all of it")


def engine(url: str, *, role: str) -> Engine:
    """Return a SQLAlchemy engine over :func:`connect`, which takes every form that libpq takes."""

    def creator() -> Any:
        return connect(url, role=role, autocommit=False)

    return create_engine("postgresql+psycopg://", creator=creator, poolclass=NullPool)


def lock_key(name: str) -> int:
    """Return the advisory lock key of a name: 63 bits of its digest."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


@contextmanager
def exclusive(url: str, *, role: str, name: str, wait: float = 3.0) -> Iterator[Connection]:
    """Hold a session advisory lock on a connection of its own.

    Polled with ``pg_try_advisory_lock``, so that no session waits inside the server, where a
    proxy or a cancelled client could leave it waiting.

    Args:
        url: of the server that is to be changed.
        role: what the server is for.
        name: what is locked, for example ``migrate bank_regional``.
        wait: seconds to go on trying.

    Raises:
        LockNotObtained: somebody else holds it; the error says which session, and since when.
        Interrupted: the session was ended meanwhile, and others were not kept out any more.
    """
    key = lock_key(f"regionkit {name}")
    with connect(url, role=role) as connection:
        deadline = time.monotonic() + wait
        while True:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
            assert row is not None
            if row[0]:
                break
            if time.monotonic() >= deadline:
                raise LockNotObtained(
                    f"another regionkit is at work on {name!r}{_holder(connection, name)}",
                    hint="wait until it has finished ('regionkit status'), then run this again",
                )
            time.sleep(0.1)
        unlock = "SELECT pg_advisory_unlock(%s)"
        try:
            yield connection
        except BaseException:
            # A session that is gone has given the lock back; that is no second failure.
            with suppress(psycopg.Error):
                connection.execute(unlock, (key,))
            raise
        try:
            connection.execute(unlock, (key,))
        except psycopg.Error as error:
            raise Interrupted(
                f"the session that kept others off {name!r} ended early: {first_line(error)}",
                hint="run the same command again: what is done is found done",
            ) from None


def holder(connection: Connection, name: str) -> tuple[str, datetime] | None:
    """Return who holds the advisory lock of a name in this database, and since when."""
    key = lock_key(f"regionkit {name}")
    row = connection.execute(
        """
        SELECT a.pid, coalesce(a.usename, ''), coalesce(host(a.client_addr), 'local'),
               a.backend_start
        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND l.classid::bigint = %s AND l.objid::bigint = %s
        """,
        (key >> 32, key & 0xFFFFFFFF),
    ).fetchone()
    if row is None:
        return None
    return f"process {row[0]} of {row[1]} from {row[2]}", row[3]


def _holder(connection: Connection, name: str) -> str:
    found = holder(connection, name)
    return "" if found is None else f": {found[0]}, connected {found[1]:%Y-%m-%d %H:%M:%S}"
