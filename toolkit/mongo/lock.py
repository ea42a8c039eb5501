"""A lock that one session holds at a time: a document with a lease on the server's clock.

The lease is kept by a thread. A holder that dies leaves it to expire; a holder that was asleep
finds out before its next step, because :meth:`Lock.check` renews it or fails. ``epoch`` grows with
each holder: what a holder writes elsewhere is fenced by it.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import threading
import time
from datetime import datetime
from types import TracebackType

from pymongo import ReturnDocument, errors
from pymongo.collection import Collection

from toolkit.errors import LockNotObtained
from toolkit.mongo.session import Document, MongoSession, translated

#: The database that regionkit keeps its own records in.
JOURNAL = "regionkit_journal"

#: Seconds that a lock outlives its holder.
LEASE = 30.0

_NOW = "$$NOW"


def whoami() -> str:
    """Return the user and the host, as journals and locks name them."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Lock:
    """A lock. Use it as a context manager.

    Args:
        session: an open connection.
        name: what is locked, for example a target database.
        lease: seconds that the lock outlives its holder.

    Attributes:
        epoch: how many holders there have been, this one included; 0 before it is held.
    """

    def __init__(self, session: MongoSession, name: str, *, lease: float = LEASE) -> None:
        self.name = name
        self.epoch = 0
        self._locks: Collection[Document] = session.database(JOURNAL)["locks"]
        self._lease = lease
        self._owner = secrets.token_hex(16)
        self._renewed = 0.0
        self._released = threading.Event()
        self._lost = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock and keep it until :meth:`release`.

        Raises:
            LockNotObtained: somebody else holds it; the error names who and since when.
        """
        asked = time.monotonic()
        with translated(f"lock {self.name}"):
            found = self._take()
        if found["owner"] != self._owner:
            since = found["since"].isoformat(timespec="seconds")
            raise LockNotObtained(
                f"{self.name!r} is locked by {found['who']} since {since}",
                hint=f"wait until it is done; if it was killed, {self._lease:g} seconds",
            )
        self.epoch = int(found["epoch"])
        self._renewed = asked
        self._heart = threading.Thread(target=self._beat, name=f"lock {self.name}", daemon=True)
        self._heart.start()

    def _take(self) -> Document:
        free = {"$or": [{"$eq": [_or_null("$owner"), None]}, {"$lt": ["$until", _NOW]}]}
        mine = {
            "owner": self._owner,
            "who": {"$literal": whoami()},
            "since": _NOW,
            "until": self._until(),
            "epoch": {"$add": [{"$ifNull": ["$epoch", 0]}, 1]},
        }
        update: list[Document] = [
            {"$set": {"free": free}},
            {"$set": {key: {"$cond": ["$free", new, f"${key}"]} for key, new in mine.items()}},
            {"$unset": "free"},
        ]
        while True:
            try:
                found: Document | None = self._locks.find_one_and_update(
                    {"_id": self.name}, update, upsert=True, return_document=ReturnDocument.AFTER
                )
            except errors.DuplicateKeyError:
                # Two sessions inserted it at once: this one lost, and looks who holds it.
                continue
            assert found is not None, "an upsert returns what it wrote"
            return found

    def holder(self) -> tuple[str, datetime] | None:
        """Return who holds the lock, this session or another, and since when."""
        with translated(f"look at the lock {self.name}"):
            found = self._locks.find_one(
                {
                    "_id": self.name,
                    "owner": {"$ne": None},
                    "$expr": {"$gte": ["$until", _NOW]},
                }
            )
        return None if found is None else (str(found["who"]), found["since"])

    def check(self) -> None:
        """Make sure that the lock is still held; call it before every step.

        Raises:
            LockNotObtained: it was lost.
        """
        if not self._lost.is_set():
            with translated(f"renew the lock {self.name}"):
                if self._renew():
                    return
        raise LockNotObtained(
            f"the lock {self.name!r} was lost: another session may be at work",
            hint="see 'regionkit status', then run the command again",
        )

    def _renew(self) -> bool:
        asked = time.monotonic()
        result = self._locks.update_one(
            {"_id": self.name, "owner": self._owner}, [{"$set": {"until": self._until()}}]
        )
        if result.matched_count == 0:
            self._lost.set()
            return False
        self._renewed = asked
        return True

    def _until(self) -> Document:
        return {"$add": [_NOW, int(self._lease * 1000)]}

    def _beat(self) -> None:
        while not self._released.wait(self._lease / 3):
            try:
                if not self._renew():
                    return
            except errors.PyMongoError:
                # The next beat tries again, for as long as nobody else can have the lock.
                if time.monotonic() - self._renewed > self._lease:
                    self._lost.set()
                    return

    def release(self) -> None:
        """Give the lock back. If the server does not answer, the lease runs out by itself."""
        self._released.set()
        if self._heart is None:
            return
        self._heart.join()
        self._heart = None
        try:
            self._locks.update_one(
                {"_id": self.name, "owner": self._owner}, {"$set": {"owner": None}}
            )
        except errors.PyMongoError:
            return


def _or_null(path: str) -> Document:
    return {"$ifNull": [path, None]}
