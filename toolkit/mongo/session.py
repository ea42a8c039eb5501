"""Connections to MongoDB: opened here, with the concerns that the work relies on.

Motor is imported in this module and nowhere else. It stands on PyMongo: administrative and bulk
work is synchronous, in threads, over the PyMongo client that each Motor client holds; only
asynchronous load uses Motor's own interface.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import motor.motor_asyncio
from pymongo import MongoClient, errors
from pymongo.database import Database

from toolkit.errors import (
    ConnectionFailed,
    Interrupted,
    LockNotObtained,
    Refused,
    RegionkitError,
)

Document = dict[str, Any]

#: The oldest server whose partial indexes and validators can hold what a layout needs.
OLDEST = (6, 0)

_UNAUTHORIZED = 13
_NOT_AUTHORIZED = re.compile(r"not authorized on \S+ to execute command \{ \w+")

#: LockTimeout, LockBusy, WriteConflict, ConflictingOperationInProgress, DatabaseDropPending,
#: BackgroundOperationInProgressForNamespace.
_BUSY = (24, 46, 112, 117, 215, 12587)
_CONCERNS: Document = {
    "w": "majority",
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "tz_aware": True,
    "uuidRepresentation": "standard",
    # A date beyond Python's years is read as a number instead of failing.
    "datetime_conversion": "DATETIME_AUTO",
    "appname": "regionkit",
}


class MongoSession:
    """An open connection. Use it as a context manager.

    Args:
        url: where the server is.
        options: of every client that is opened.
        patience: seconds that a transaction may be tried for, its repetitions included.
    """

    def __init__(self, url: str, options: Document, patience: float) -> None:
        self.patience = patience
        self._url = url
        self._options = options
        self._motor = motor.motor_asyncio.AsyncIOMotorClient(url, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._in_loop: Any = None

    @property
    def client(self) -> MongoClient[Document]:
        """The synchronous client, safe to share among threads."""
        client: MongoClient[Document] = self._motor.delegate
        return client

    def database(self, name: str) -> Database[Document]:
        """Return a database for synchronous work."""
        return self.client[name]

    def motor_database(self, name: str) -> Any:
        """Return a database for asynchronous load; call it in the running event loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A Motor client belongs to one event loop for good.
            self._close_loop()
            self._in_loop = motor.motor_asyncio.AsyncIOMotorClient(
                self._url, io_loop=loop, **self._options
            )
            self._loop = loop
        return self._in_loop[name]

    def close(self) -> None:
        """Close every connection."""
        self._close_loop()
        self._motor.close()

    def _close_loop(self) -> None:
        if self._in_loop is not None:
            self._in_loop.close()
            self._in_loop = None

    def __enter__(self) -> MongoSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def connect(url: str, *, timeout: float = 10, patience: float = 60) -> MongoSession:
    """Open a connection that writes and reads with majority, on the primary.

    Args:
        url: a MongoDB URL.
        timeout: seconds to wait for a primary, unless the URL says it.
        patience: seconds that a transaction may be tried for, its repetitions included.

    Raises:
        ConnectionFailed: nobody answers, the login is refused, or the URL is wrong.
    """
    options = dict(_CONCERNS)
    for name in ("serverSelectionTimeoutMS", "connectTimeoutMS"):
        # What the operator's URL says of these is left alone.
        if f"{name}=".lower() not in url.lower():
            options[name] = int(timeout * 1000)
    session = None
    try:
        session = MongoSession(url, options, patience)
        session.client.admin.command("ping")
    except (errors.PyMongoError, ValueError) as error:
        if session is not None:
            session.close()
        raise ConnectionFailed(
            f"cannot connect to MongoDB: {reason(error)}",
            hint="check the URL, or start the lab with 'regionkit lab up'",
        ) from None
    return session


def reason(error: Exception) -> str:
    """Return what a driver's error says, without topology, and without the values of keys."""
    text = str(error)
    if isinstance(error, errors.OperationFailure) and error.details:
        text = str(error.details.get("errmsg", text))
    if unauthorized := _NOT_AUTHORIZED.match(text):
        # What follows is the whole command, with its documents.
        return unauthorized[0].replace("{ ", "")
    text = text.partition(" dup key:")[0].partition(", Timeout: ")[0].partition(", full error:")[0]
    return text.strip().partition("\n")[0]


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the driver's errors into the toolkit's.

    Args:
        what: what is being done, for the message: ``create collection client_eu``.

    Raises:
        ConnectionFailed: the server does not answer.
        Refused: the user lacks a privilege.
        LockNotObtained: another operation is in the way.
        Interrupted: the write was not confirmed by a majority in time.
        RegionkitError: anything else that the server refused.
    """
    try:
        yield
    except errors.ConnectionFailure as error:
        raise ConnectionFailed(
            f"{what}: {reason(error)}", hint="when the server is back, run the command again"
        ) from None
    except errors.WTimeoutError as error:
        raise Interrupted(
            f"{what}: {reason(error)}", hint="run the command again: what is done is found done"
        ) from None
    except errors.OperationFailure as error:
        if error.code == _UNAUTHORIZED:
            raise Refused(
                f"{what}: {reason(error)}", hint="docs/privileges.md names the role it needs"
            ) from None
        if error.code in _BUSY:
            raise LockNotObtained(
                f"{what}: {reason(error)}", hint="run the command again when the other is done"
            ) from None
        raise RegionkitError(f"{what}: {reason(error)} (code {error.code})") from None
    except errors.PyMongoError as error:
        raise RegionkitError(f"{what}: {reason(error)}") from None


@dataclass(frozen=True)
class TopologyFacts:
    """What kind of deployment answers.

    Attributes:
        kind: ``standalone``, ``replica set`` or ``mongos``.
        version: of the server.
        voting_members: members that vote and hold data; 1 for a standalone, ``None`` behind a
            mongos, which does not say.
        majority: how many members must hold a write for majority; ``None`` behind a mongos.
    """

    kind: str
    version: tuple[int, ...]
    voting_members: int | None
    majority: int | None

    @property
    def version_text(self) -> str:
        """The version as it is written."""
        return ".".join(map(str, self.version))


def topology_facts(session: MongoSession) -> TopologyFacts:
    """Ask the server what it is."""
    with translated("ask the server what it is"):
        admin = session.client.admin
        hello = admin.command("hello")
        version = tuple(admin.command("buildInfo")["versionArray"][:3])
        if hello.get("msg") == "isdbgrid":
            return TopologyFacts("mongos", version, None, None)
        if "setName" not in hello:
            return TopologyFacts("standalone", version, 1, 1)
        bearing, voting = _members(session, hello)
    return TopologyFacts("replica set", version, bearing, min(voting // 2 + 1, bearing))


def _members(session: MongoSession, hello: Document) -> tuple[int, int]:
    """Return how many members vote and hold data, and how many vote."""
    try:
        config = session.client.admin.command("replSetGetConfig")["config"]
    except errors.OperationFailure:
        # It takes a privilege that nothing else needs. What every user may see leaves out only
        # hidden members and the votes.
        bearing = len(hello.get("hosts", [])) + len(hello.get("passives", []))
        return bearing, bearing + len(hello.get("arbiters", []))
    voters = [member for member in config["members"] if member.get("votes", 1) > 0]
    return sum(not member.get("arbiterOnly") for member in voters), len(voters)


def require_transactions(session: MongoSession, allow_single_member: bool) -> bool:
    """Refuse a server without transactions, or on which majority promises nothing.

    Args:
        session: an open connection.
        allow_single_member: what ``regionkit.toml`` says.

    Returns:
        Whether figures are durable: a majority is more than one member.

    Raises:
        Refused: the server is too old, a standalone, or its majority is one member.
    """
    facts = topology_facts(session)
    if facts.version < OLDEST:
        raise Refused(
            f"MongoDB {facts.version_text} is too old",
            hint=f"use {'.'.join(map(str, OLDEST))} or newer",
        )
    if facts.kind == "standalone":
        raise Refused(
            "the MongoDB server is a standalone: it has no transactions",
            hint="start it with --replSet and initiate the set, or use 'regionkit lab up'",
        )
    durable = facts.majority is None or facts.majority > 1
    if not durable and not allow_single_member:
        raise Refused(
            "the majority of the MongoDB replica set is one member: a write that it confirms can "
            "be lost with that member",
            hint="add members, or say allow_single_member = true in [target.mongo]; every figure "
            "is then marked not durable",
        )
    return durable
