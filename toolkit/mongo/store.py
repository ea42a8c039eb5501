"""The journal of migrations, in the database ``regionkit_journal``.

Documents of ``migrations`` are called like the target database. Its presence means that all of its
``chunks`` are there. Whatever a run writes, it writes together with a change of a journal document
that carries its epoch: a run that was overtaken cannot write any more.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bson.binary import Binary
from pymongo import ReturnDocument, errors
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from toolkit import __version__
from toolkit.errors import LockNotObtained
from toolkit.journal import Chunk, Decisions, Key, Run, State
from toolkit.mongo.lock import JOURNAL, whoami
from toolkit.mongo.session import Document, MongoSession
from toolkit.refusal import Left

_BATCH = 10_000

#: The parts of chunk ``n`` are numbered from ``(n + 1) * _PARTS`` on.
_PARTS = 1_000_000


class Store:
    """The journal of one target database.

    Args:
        session: an open connection.
        target: the name of the target database.
    """

    def __init__(self, session: MongoSession, target: str) -> None:
        self.target = target
        self._session = session
        database = session.database(JOURNAL)
        self._migrations: Collection[Document] = database["migrations"]
        self._chunks: Collection[Document] = database["chunks"]
        self._quarantine: Collection[Document] = database["quarantine"]

    def run(self) -> Run | None:
        """Return how far the migration has come, ``None`` if it never started."""
        found = self._migrations.find_one({"_id": self.target})
        return _run(found) if found else None

    def begin(self, decisions: Decisions, chunks: Iterable[Chunk]) -> Run:
        """Note the start of a migration with all of its chunks.

        Raises:
            LockNotObtained: another run has begun meanwhile.
        """
        self._chunks.delete_many({"_id.target": self.target})
        documents = [self._chunk_document(chunk, 1) for chunk in chunks]
        for start in range(0, len(documents), _BATCH):
            self._chunks.insert_many(documents[start : start + _BATCH])
        try:
            self._migrations.insert_one(
                {
                    "_id": self.target,
                    # As text: its keys may be what MongoDB reads in its own way.
                    "decisions": json.dumps(decisions),
                    "state": State.copying.value,
                    "epoch": 1,
                    "started_by": whoami(),
                    "version": __version__,
                    "sessions": [],
                    "finished_at": None,
                }
            )
        except errors.DuplicateKeyError:
            raise overtaken(self.target) from None
        self._migrations.update_one({"_id": self.target}, [{"$set": {"started_at": "$$NOW"}}])
        return Run(State.copying, decisions, 1)

    def resume(self) -> Run:
        """Note another start: whoever ran before may not write any more."""
        found = self._migrations.find_one_and_update(
            {"_id": self.target}, {"$inc": {"epoch": 1}, "$set": {"sessions": []}}
        )
        assert found is not None, "only a migration that was begun is resumed"
        self._end_sessions(found["sessions"])
        epoch = found["epoch"] + 1
        self._chunks.update_many(
            {"_id.target": self.target, "rows": None}, {"$set": {"epoch": epoch}}
        )
        return replace(_run(found), epoch=epoch)

    def _end_sessions(self, sessions: list[uuid.UUID]) -> None:
        """End the transactions that a killed run left open: they would hold locks for a minute."""
        named = [{"id": Binary.from_uuid(one)} for one in sessions]
        if named:
            # Without the privilege they end by themselves.
            with suppress(errors.OperationFailure):
                self._session.client.admin.command("killSessions", named)

    def chunks(self) -> list[tuple[Chunk, int | None]]:
        """Return every chunk with its rows, ``None`` for one that is not copied yet."""
        found = self._chunks.find({"_id.target": self.target}).sort(
            [("_id.table", 1), ("_id.number", 1)]
        )
        return [
            (
                Chunk(
                    document["_id"]["server"],
                    document["_id"]["table"],
                    document["_id"]["number"],
                    tuple(document["lower"]) if document["lower"] else None,
                    tuple(document["upper"]) if document["upper"] else None,
                ),
                document["rows"],
            )
            for document in found
        ]

    def enlist(self, session: ClientSession, run: Run) -> None:
        """Note a session, so that the next run can end what it left open.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        result = self._migrations.update_one(
            {"_id": self.target, "epoch": run.epoch},
            {"$push": {"sessions": session.session_id["id"]}},
        )
        if result.matched_count != 1:
            raise overtaken(self.target)

    def fence(self, session: ClientSession, chunk: Chunk, epoch: int) -> None:
        """Begin a transaction that writes rows of a chunk with a mark at the chunk.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        self._change(chunk, epoch, {"$inc": {"batches": 1}}, session)

    def is_begun(self, chunk: Chunk) -> bool:
        """Return whether transactions of a chunk were committed, in this run or an earlier one."""
        found = self._chunks.find_one({"_id": self._chunk_id(chunk)})
        return found is not None and found["batches"] > 0

    def checkpoint(self, session: ClientSession, chunk: Chunk, epoch: int, rows: int) -> None:
        """Note a copied chunk, in the transaction that holds its (last) rows.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        copied = [{"$set": {"rows": rows, "finished_at": "$$NOW"}}]
        self._change(chunk, epoch, copied, session)

    def split(
        self, session: ClientSession, chunk: Chunk, epoch: int, upper: Key, rows: int
    ) -> Chunk:
        """Make a chunk of what is copied of another one, in the transaction that holds its rows.

        Args:
            session: in the transaction.
            chunk: what was to be copied.
            epoch: of the run.
            upper: the greatest key that is copied.
            rows: how many are.

        Returns:
            What is left to be copied: it keeps the number and the upper bound.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        rest = replace(chunk, lower=upper)
        found = self._change(
            chunk, epoch, {"$inc": {"parts": 1}, "$set": {"lower": list(upper)}}, session
        )
        number = (chunk.number + 1) * _PARTS + found["parts"]
        part = self._chunk_document(replace(chunk, number=number, upper=upper), epoch)
        self._chunks.insert_one({**part, "batches": 1, "rows": rows}, session=session)
        self._chunks.update_one(
            {"_id": part["_id"]}, [{"$set": {"finished_at": "$$NOW"}}], session=session
        )
        return rest

    def _change(self, chunk: Chunk, epoch: int, update: Any, session: ClientSession) -> Document:
        found = self._chunks.find_one_and_update(
            {"_id": self._chunk_id(chunk), "epoch": epoch, "rows": None},
            update,
            session=session,
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            raise overtaken(self.target)
        return found

    def fence_run(self, session: ClientSession, epoch: int) -> None:
        """Begin a transaction that writes what belongs to no chunk that is being copied.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        result = self._migrations.update_one(
            {"_id": self.target, "epoch": epoch}, {"$inc": {"repairs": 1}}, session=session
        )
        if result.matched_count != 1:
            raise overtaken(self.target)

    def reopen(self, session: ClientSession, chunks: Sequence[Chunk], epoch: int) -> None:
        """Note that chunks have to be copied again, in a transaction that :meth:`fence_run` began.

        How many rows they had is kept: so many documents may be there until they are copied.

        Args:
            session: in the transaction.
            chunks: that are noted as copied.
            epoch: of the run, which is to copy them.
        """
        for start in range(0, len(chunks), _BATCH):
            ids = [self._chunk_id(chunk) for chunk in chunks[start : start + _BATCH]]
            self._chunks.update_many(
                {"_id": {"$in": ids}},
                [{"$set": {"had": "$rows", "rows": None, "finished_at": None, "epoch": epoch}}],
                session=session,
            )

    def left(self) -> dict[str, int]:
        """Return how many documents may be there, by table, of chunks to be copied again."""
        found = self._chunks.find({"_id.target": self.target, "rows": None, "had": {"$gt": 0}})
        left: dict[str, int] = {}
        for document in found:
            table = document["_id"]["table"]
            left[table] = left.get(table, 0) + document["had"]
        return left

    def advance(self, state: State, epoch: int) -> None:
        """Note that the migration has come further.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        finished = "$$NOW" if state is State.finished else None
        result = self._migrations.update_one(
            {"_id": self.target, "epoch": epoch},
            [{"$set": {"state": state.value, "finished_at": finished}}],
        )
        if result.matched_count != 1:
            raise overtaken(self.target)

    def quarantine(self) -> list[Left]:
        """Return the clients that were left out."""
        found = self._quarantine.find({"_id.target": self.target}).sort("_id.client")
        return [Left(tuple(one["_id"]["client"]), one["reason"]) for one in found]

    def leave(self, left: Iterable[Left], epoch: int) -> None:
        """Note the clients that are left out, instead of those that were before.

        Raises:
            LockNotObtained: a newer run has taken over.
        """
        if self._migrations.find_one({"_id": self.target, "epoch": epoch}) is None:
            raise overtaken(self.target)
        self._quarantine.delete_many({"_id.target": self.target})
        documents = [
            {"_id": {"target": self.target, "client": list(one.client)}, "reason": one.reason}
            for one in left
        ]
        for start in range(0, len(documents), _BATCH):
            self._quarantine.insert_many(documents[start : start + _BATCH])

    def forget(self) -> None:
        """Drop the target's entries, after its collections are gone."""
        self._quarantine.delete_many({"_id.target": self.target})
        self._migrations.delete_one({"_id": self.target})
        self._chunks.delete_many({"_id.target": self.target})

    def _chunk_document(self, chunk: Chunk, epoch: int) -> Document:
        return {
            "_id": self._chunk_id(chunk),
            "lower": list(chunk.lower) if chunk.lower else None,
            "upper": list(chunk.upper) if chunk.upper else None,
            "epoch": epoch,
            "batches": 0,
            "rows": None,
            "finished_at": None,
        }

    def _chunk_id(self, chunk: Chunk) -> Document:
        return {
            "target": self.target,
            "server": chunk.server,
            "table": chunk.table,
            "number": chunk.number,
        }


def _run(document: Document) -> Run:
    return Run(State(document["state"]), json.loads(document["decisions"]), document["epoch"])


def overtaken(target: str) -> LockNotObtained:
    """Return the error of a run that another one has taken over from."""
    return LockNotObtained(
        f"another run has taken over the migration into {target!r}; this one wrote nothing more",
        hint="watch the other run with 'regionkit status'",
    )
