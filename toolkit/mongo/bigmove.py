"""Moving a client that is too large for one transaction: in batches, and resumable.

The link holds what is under way (``moving``), instead of its counter: writers, who increment the
counter first, are refused by the validator until the move is finished. So nobody writes to the
client's documents while they are

1. copied, batch by batch; reads find all of them in the old region;
2. compared, old with new;
3. switched: from here on the link says the new region;
4. told of elsewhere, where other documents refer to them;
5. deleted from the old region, and the link gets its counter back.

Each batch is a transaction with a mark at the link that carries this run's token, so a run that was
overtaken writes nothing. Documents keep their ``_id``: whatever was done already is found done.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import ReturnDocument, errors
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from toolkit.clients import GoneError, Moved, Note, Residence
from toolkit.digest import Digest
from toolkit.errors import LockNotObtained, Refused, VerificationFailed, sampled
from toolkit.mongo.clientdocs import ClientDocuments
from toolkit.mongo.layout import EPOCH, MOVING
from toolkit.mongo.relocating import content_digest, relocated
from toolkit.mongo.session import Document
from toolkit.mongo.transactions import transact
from toolkit.mongo.types import VERIFY_OPTIONS

#: The stages that the link names, see above: 1 and 2, 3 to 5.
_COPYING, _DELETING = "copying", "deleting"

#: Bytes of documents in one transaction.
_BYTES = 2 << 20

_INVALID = 121


class BigMove:
    """Moves clients in batches.

    Args:
        documents: finds the documents of clients.
        session: without a transaction.
        links: the collection of links.
        note: notes a move in the journal, in the transaction that ends it.
    """

    def __init__(
        self,
        documents: ClientDocuments,
        session: ClientSession,
        links: Collection[Any],
        note: Callable[[Moved, Note], None],
    ) -> None:
        self._documents = documents
        self._session = session
        self._links = links
        self._note = note
        self._region = documents.layout.region_column
        self._transactions = 0

    def move(self, identity: Any, residence: Residence, region: str, note: Note) -> Moved:
        """Move a client, or go on with a move that stopped half-way.

        Args:
            identity: the ``_id`` of the client.
            residence: where it lives.
            region: where it goes; where a move has begun, that move's.
            note: for the journal.

        Raises:
            GoneError: it does not live there any more.
            VerificationFailed: the copies are not what was there; they were removed.
            LockNotObtained: another run has taken over.
        """
        self._transactions = 0
        step = _Step(self, identity, uuid.uuid4().hex)
        link = self._take(identity, residence, region, step.token)
        origin = str(link[MOVING]["from"])
        if link[MOVING]["stage"] == _COPYING:
            self._copy(step, origin, region)
            wrong = self._differences(identity, origin, region)
            if wrong:
                self._undo(step, origin, region)
                require_proven(wrong, origin, region)
            step.run(lambda: self._switch(step, region))
        learnt = self._teach(step, origin, region)
        self._delete(step, origin, region)
        require_proven(
            [
                f"{table}: {count} document(s) stayed behind"
                for table, count in self._documents.behind(identity, origin, region).items()
            ],
            origin,
            region,
        )
        rows = {table: digest.rows for table, digest in self._digests(identity, region).items()}
        moved = Moved(
            replace(residence, region=origin), region, rows, learnt, self._transactions + 1
        )
        step.run(lambda: self._end(step, moved, note))
        return moved

    def _take(self, identity: Any, residence: Residence, region: str, token: str) -> Document:
        """Make the link say what is under way, or take over what an earlier run has begun."""
        begun = {
            "from": {"$ifNull": [f"${MOVING}.from", f"${self._region}"]},
            "to": {"$literal": region},
            "stage": {"$ifNull": [f"${MOVING}.stage", _COPYING]},
            "epoch": {"$add": [{"$ifNull": [f"${EPOCH}", f"${MOVING}.epoch"]}, Int64(1)]},
            "token": {"$literal": token},
        }
        expected: Document = {f"{MOVING}.to": region}
        if residence.moving_to is None:
            expected = {self._region: residence.region, MOVING: {"$exists": False}}
        try:
            link: Document | None = self._links.find_one_and_update(
                {"_id": identity, **expected},
                [{"$set": {MOVING: begun}}, {"$unset": EPOCH}],
                return_document=ReturnDocument.AFTER,
            )
        except errors.OperationFailure as error:
            if error.code != _INVALID:
                raise
            raise Refused(
                f"the validator of {self._links.name!r} does not know of moves in batches",
                hint="it was made by an older regionkit: run 'regionkit generate', then "
                "'regionkit apply'",
            ) from None
        if link is None:
            raise GoneError
        return link

    # Copying -----------------------------------------------------------------------------------

    def _copy(self, step: _Step, origin: str, region: str) -> None:
        for table, documents in self._documents.walk(step.identity, origin):
            new = [
                RawBSONDocument(relocated(bytes(one.raw), {self._region: region}), VERIFY_OPTIONS)
                for one in documents
            ]
            for some in _within(new, _BYTES):
                step.run(partial(self._put, step, table, region, some))

    def _put(
        self, step: _Step, table: str, region: str, documents: Sequence[RawBSONDocument]
    ) -> None:
        """Insert documents; those of an earlier run that are the same stay."""
        step.fence()
        collection = self._documents.collection(table, region)
        ids = [one["_id"] for one in documents]
        there = {
            bytes(one.raw) for one in collection.find({"_id": {"$in": ids}}, session=self._session)
        }
        wanted = [one for one in documents if bytes(one.raw) not in there]
        if len(wanted) + len(there) > len(documents):
            stale = {"_id": {"$in": [one["_id"] for one in wanted]}}
            collection.delete_many(stale, session=self._session)
        if wanted:
            self._documents.insert(table, region, wanted, self._session)

    def _differences(self, identity: Any, origin: str, region: str) -> list[str]:
        before, after = self._digests(identity, origin), self._digests(identity, region)
        return [
            differing(table, was, after[table], origin, region)
            for table, was in before.items()
            if was != after[table]
        ]

    def _digests(self, identity: Any, region: str) -> dict[str, Digest]:
        found = dict.fromkeys(self._documents.layout.regional, Digest())
        for table, documents in self._documents.walk(identity, region):
            without = self._documents.regions_of(table)
            found[table] += content_digest((bytes(one.raw) for one in documents), without)
        return found

    def _undo(self, step: _Step, origin: str, region: str) -> None:
        """Remove the copies, and let writers go on where the client was."""
        for table, documents in self._documents.walk(step.identity, region):
            ids = [one["_id"] for one in documents]
            step.run(partial(self._remove, step, table, region, ids))
        step.run(lambda: self._release(step, origin))

    # Switching and deleting --------------------------------------------------------------------

    def _switch(self, step: _Step, region: str) -> None:
        step.fence({self._region: region, f"{MOVING}.stage": _DELETING})

    def _teach(self, step: _Step, origin: str, region: str) -> int:
        """Let the documents that refer to the client's say the new region; return how many did."""
        learnt = 0
        layout = self._documents.layout
        for table, documents in self._documents.walk(step.identity, region):
            for one, field in layout.reference_columns.items():
                if one.target != table:
                    continue
                for _, name, query, options in self._documents.referring(one, documents):
                    asked = {"$and": [query, {field: origin}]}

                    def update(
                        name: str = name,
                        asked: Document = asked,
                        field: str = field,
                        options: Document = options,
                    ) -> int:
                        step.fence()
                        collection = self._documents.database[name]
                        return collection.update_many(
                            asked, {"$set": {field: region}}, session=self._session, **options
                        ).modified_count

                    learnt += step.run(update)
        return learnt

    def _delete(self, step: _Step, origin: str, region: str) -> None:
        for table, query, options in self._documents.left(step.identity, region):
            old = self._documents.collection(table, origin)
            while True:
                found = old.find(query, {"_id": 1}, limit=_AT_ONCE, **options)
                ids = [one["_id"] for one in found]
                if not ids:
                    break
                step.run(partial(self._remove, step, table, origin, ids))

    def _remove(self, step: _Step, table: str, region: str, ids: Sequence[Any]) -> None:
        step.fence()
        self._documents.collection(table, region).delete_many(
            {"_id": {"$in": ids}}, session=self._session
        )

    def _end(self, step: _Step, moved: Moved, note: Note) -> None:
        self._release(step, moved.region)
        self._note(moved, note)

    def _release(self, step: _Step, region: str) -> None:
        """Give the link its counter back."""
        result = self._links.update_one(
            {"_id": step.identity, f"{MOVING}.token": step.token},
            [
                {
                    "$set": {
                        EPOCH: {"$add": [f"${MOVING}.epoch", Int64(1)]},
                        self._region: {"$literal": region},
                    }
                },
                {"$unset": MOVING},
            ],
            session=self._session,
        )
        if result.matched_count != 1:
            raise _overtaken()

    # Transactions ------------------------------------------------------------------------------

    def fence(self, identity: Any, token: str, more: Document | None) -> None:
        """Begin a transaction with a mark at the link.

        Raises:
            LockNotObtained: another run has taken over.
        """
        update: Document = {"$inc": {f"{MOVING}.epoch": Int64(1)}}
        if more:
            update["$set"] = more
        result = self._links.update_one(
            {"_id": identity, f"{MOVING}.token": token}, update, session=self._session
        )
        if result.matched_count != 1:
            raise _overtaken()

    def transaction(self, write: Callable[[], Any]) -> Any:
        """Run one transaction, and count it."""
        done = transact(self._session, write)
        self._transactions += 1
        return done


class _Step:
    """What the transactions of one move share."""

    def __init__(self, move: BigMove, identity: Any, token: str) -> None:
        self._move = move
        self.identity = identity
        self.token = token

    def fence(self, more: Document | None = None) -> None:
        self._move.fence(self.identity, self.token, more)

    def run(self, write: Callable[[], Any]) -> Any:
        return self._move.transaction(write)


#: Documents that one transaction deletes.
_AT_ONCE = 2_000


def _within(documents: Sequence[RawBSONDocument], most: int) -> Iterator[list[RawBSONDocument]]:
    """Yield documents in lists of bounded size; one that is larger comes by itself."""
    some: list[RawBSONDocument] = []
    size = 0
    for one in documents:
        if some and size + len(one.raw) > most:
            yield some
            some, size = [], 0
        some.append(one)
        size += len(one.raw)
    if some:
        yield some


def _overtaken() -> LockNotObtained:
    return LockNotObtained(
        "another run has taken over the move of a client; this one wrote nothing more",
        hint="when the other is done, run the same command again: who was moved is found there",
    )


def differing(table: str, was: Digest, now: Digest, origin: str, region: str) -> str:
    """Return how the documents of a table differ from what they were."""
    if was.rows != now.rows:
        return f"{table}: {was.rows} document(s) in {origin!r} before, {now.rows} in {region!r}"
    return f"{table}: {was.rows} document(s), not the same"


def require_proven(wrong: Sequence[str], origin: str, region: str) -> None:
    """Raise for what a move left wrong.

    Raises:
        VerificationFailed: there is something.
    """
    if wrong:
        raise VerificationFailed(
            f"a client did not arrive in {region!r} as it was in {origin!r}; its move was undone",
            details=sampled(wrong),
            hint="'regionkit verify' names documents that stand in the wrong region: writers that "
            "do not begin at the link leave them",
        )
