"""Which migrations were applied to a database. Kept beside it, in ``regionkit_journal``.

One document for each target database and revision. Its state is ``started`` while ``upgrade``
runs, then ``finished``; ``reverting`` while ``downgrade`` runs, then ``reverted``. Each write is
fenced by the epoch of the lock's holder.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pymongo import errors
from pymongo.collection import Collection

from toolkit import __version__
from toolkit.errors import LockNotObtained
from toolkit.mongo.lock import JOURNAL, Lock, whoami
from toolkit.mongo.revisions import Revision
from toolkit.mongo.session import Document, MongoSession, translated


class State(StrEnum):
    """Where a revision stands."""

    started = "started"
    finished = "finished"
    reverting = "reverting"
    reverted = "reverted"


@dataclass(frozen=True)
class Entry:
    """What the journal says of a revision.

    Attributes:
        revision: its id.
        state: where it stands.
        checksum: of the file that was applied.
        collections: what it created or was about to create.
        started: when.
        finished: when, ``None`` if it did not.
        who: user and host.
        version: of regionkit.
    """

    revision: str
    state: State
    checksum: str
    collections: tuple[str, ...]
    started: datetime
    finished: datetime | None
    who: str
    version: str


class Journal:
    """The journal of one target database.

    Args:
        session: an open connection.
        database: name of the target database.
    """

    def __init__(self, session: MongoSession, database: str) -> None:
        self._database = database
        self._revisions: Collection[Document] = session.database(JOURNAL)["revisions"]

    def entries(self) -> dict[str, Entry]:
        """Return what was done, by revision; what was reverted is left out."""
        with translated(f"read the journal of {self._database}"):
            found = list(
                self._revisions.find(
                    {"_id.database": self._database, "state": {"$ne": State.reverted.value}}
                ).sort("_id.revision")
            )
        return {
            entry.revision: entry
            for entry in (
                Entry(
                    revision=document["_id"]["revision"],
                    state=State(document["state"]),
                    checksum=document["checksum"],
                    collections=tuple(document["collections"]),
                    started=document["started"],
                    finished=document.get("finished"),
                    who=document["who"],
                    version=document["version"],
                )
                for document in found
            )
        }

    def start(self, lock: Lock, revision: Revision, collections: Iterable[str]) -> None:
        """Say, before anything is created, what is about to be.

        What an earlier, interrupted run was about to create stays named.
        """
        names = {"$setUnion": [{"$ifNull": ["$collections", []]}, {"$literal": [*collections]}]}
        self._write(
            lock,
            revision,
            {
                "state": State.started.value,
                "checksum": revision.checksum,
                "model_digest": {"$literal": revision.model_digest},
                "collections": names,
                "started": "$$NOW",
                "finished": None,
            },
        )

    def advance(self, lock: Lock, revision: Revision, state: State) -> None:
        """Say that a revision is finished, being reverted, or reverted."""
        fields: Document = {"state": state.value, "finished": "$$NOW"}
        if state is State.reverting:
            fields["finished"] = None
        if state is State.reverted:
            fields["collections"] = []
        self._write(lock, revision, fields)

    def _write(self, lock: Lock, revision: Revision, fields: Document) -> None:
        update = {
            **fields,
            "who": {"$literal": whoami()},
            "version": __version__,
            "epoch": lock.epoch,
        }
        key = {"database": self._database, "revision": revision.revision}
        with translated(f"write the journal of {self._database}"):
            try:
                self._revisions.update_one(
                    {
                        "_id": key,
                        "$or": [{"epoch": {"$lte": lock.epoch}}, {"epoch": {"$exists": False}}],
                    },
                    [{"$set": update}],
                    upsert=True,
                )
            except errors.DuplicateKeyError:
                raise LockNotObtained(
                    f"another session has worked on {self._database!r} since this one started",
                    hint="see 'regionkit status', then run the command again",
                ) from None
