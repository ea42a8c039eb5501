"""Clients of the layout ``collections``: found by their link, moved with their documents.

A move is one transaction, which begins at the link as every write to a client's documents does:
whichever comes second is told to try again. What is too large for one transaction is moved in
batches (:mod:`toolkit.mongo.bigmove`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from bson.binary import Binary
from bson.int64 import Int64
from bson.raw_bson import RawBSONDocument
from pymongo import errors
from pymongo.client_session import ClientSession
from pymongo.database import Database

from toolkit.clients import (
    CollisionError,
    GoneError,
    Moved,
    Note,
    Reference,
    Residence,
    Whereabouts,
    digest_of,
)
from toolkit.config import Configuration
from toolkit.digest import Digest
from toolkit.errors import Interrupted, LockNotObtained, Refused
from toolkit.journal import Key, State
from toolkit.layout import Layout
from toolkit.mongo.bigmove import BigMove, differing, require_proven
from toolkit.mongo.clientdocs import BATCH, ClientDocuments
from toolkit.mongo.digest import Cells
from toolkit.mongo.layout import EPOCH, MOVING, CollectionsLayout, collections
from toolkit.mongo.locate import comparable
from toolkit.mongo.lock import JOURNAL, Lock
from toolkit.mongo.relocating import content_digest, relocated
from toolkit.mongo.session import (
    Document,
    MongoSession,
    connect,
    reason,
    require_transactions,
    translated,
)
from toolkit.mongo.store import Store
from toolkit.mongo.transactions import transact
from toolkit.mongo.types import VERIFY_OPTIONS

#: Documents, and bytes of them, that one transaction moves. The server's cache decides how many
#: fit: what the server refuses as too large is moved in batches, too.
MOST_DOCUMENTS, MOST_BYTES = 10_000, 8 << 20

#: Seconds that one transaction is repeated for; then it counts as one that met another session.
_PATIENCE = 10.0

_TRANSACTION_TOO_LARGE, _DUPLICATE_KEY, _UNAUTHORIZED = 388, 11000, 13
_KEYS = 10_000


class MongoClients:
    """The clients of the layout ``collections`` in one database.

    Args:
        url: of the server.
        layout: the decisions.
        project: the operator's configuration.
    """

    def __init__(self, url: str, layout: Layout, project: Configuration) -> None:
        self._url = url
        self._layout = layout
        self._collections = collections(layout)
        self._name = project.mongo_database
        self._allow_single_member = project.file.target.mongo.allow_single_member

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        return f"MongoDB database {self._name!r}"

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of a client's key."""
        return self._layout.root.primary_key

    def require_whole(self) -> None:
        """Refuse a layout that is not applied, or that a migration has not finished filling."""
        with connect(self._url) as session, translated(f"look at {self._name}"):
            require_transactions(session, self._allow_single_member)
            link = self._collections.link.name
            if not session.database(self._name).list_collection_names(filter={"name": link}):
                raise Refused(
                    f"the layout is not applied to {self.place}",
                    hint="run 'regionkit apply --backend mongo' first",
                )
            run = Store(session, self._name).run()
        if run is not None and run.state is not State.finished:
            raise Refused(
                f"the migration into {self.place} is not finished",
                hint="run 'regionkit migrate --backend mongo --resume' first",
            )

    @contextmanager
    def alone(self, wait: float) -> Iterator[object]:
        """Keep every other move out."""
        deadline = time.monotonic() + wait
        with connect(self._url) as session:
            lock = Lock(session, f"move clients of {self._name}")
            while True:
                try:
                    lock.acquire()
                    break
                except LockNotObtained:
                    if time.monotonic() >= deadline:
                        raise
                    time.sleep(0.1)
            try:
                yield lock
            finally:
                lock.release()

    @contextmanager
    def open(self) -> Iterator[MongoMover]:
        """Connect."""
        with (
            connect(self._url) as session,
            translated("move clients"),
            session.client.start_session() as running,
        ):
            yield MongoMover(session, running, self._name, self._layout, self._collections)


class MongoMover:
    """One session, by which clients are found and moved.

    Args:
        session: an open connection.
        running: a session of it, without a transaction.
        name: of the target database.
        layout: the decisions.
        collections: the same, spelled out.
    """

    def __init__(
        self,
        session: MongoSession,
        running: ClientSession,
        name: str,
        layout: Layout,
        collections: CollectionsLayout,
    ) -> None:
        self._session = running
        self._name = name
        self._layout = layout
        self._collections = collections
        self._database: Database[Document] = session.database(name)
        self._links = self._database[collections.link.name].with_options(VERIFY_OPTIONS)
        self._moves = session.database(JOURNAL)["client_moves"]
        self._sessions = session.database(JOURNAL)["client_sessions"]
        self._documents = ClientDocuments(self._database, layout, collections)
        self._expected = Cells(layout, collections, layout.root.key).expected
        self._big = BigMove(self._documents, running, self._links, self._note)
        self._journaled = False

    # Finding -----------------------------------------------------------------------------------

    def regions(self) -> tuple[str, ...]:
        """Return the regions that clients can live in now."""
        found = self._database[self._collections.region_list.name].find().sort("_id", 1)
        return tuple(str(one["_id"]) for one in found)

    def residences(self, keys: Sequence[Key]) -> list[Residence | None]:
        """Return where clients live; what is no value of the key's type is no client."""
        ids = [self._expected.identity_of(key) for key in keys]
        found: dict[Any, Residence] = {}
        asked = [one for one in ids if one is not None]
        for start in range(0, len(asked), _KEYS):
            for link in self._links.find({"_id": {"$in": asked[start : start + _KEYS]}}):
                found[comparable(link["_id"], False)] = self._residence(link)
        return [None if one is None else found.get(comparable(one, False)) for one in ids]

    def _residence(self, link: Mapping[str, Any]) -> Residence:
        moving = link.get(MOVING)
        return Residence(
            self._key(link),
            str(link[self._layout.region_column]),
            None if moving is None else str(moving["to"]),
        )

    def _key(self, link: Mapping[str, Any]) -> Key:
        """Return the key of a link's client as texts, from which its ``_id`` is made again."""
        shape = self._collections.shapes[self._layout.root.key]
        assert shape.key is not None, "the placement refuses a root without a key"
        return tuple(str(one.bson.canonical(shape.parts(link, one))) for one in shape.key.fields)

    def residents(self, region: str) -> list[Key]:
        """Return the clients of a region, those included that are on their way from there."""
        asked = {"$or": [{self._layout.region_column: region}, {f"{MOVING}.from": region}]}
        return [self._key(link) for link in self._links.find(asked).sort("_id", 1)]

    def whereabouts(self, residence: Residence) -> Whereabouts:
        """Return what a client has, and what leads to and from it."""
        layout, region = self._layout, residence.region
        rows = dict.fromkeys(layout.regional, 0)
        outgoing: Counter[tuple[int, str]] = Counter()
        incoming: Counter[tuple[int, str]] = Counter()
        references = tuple(layout.reference_columns)
        for table, batch in self._documents.walk(self._id(residence), region):
            rows[table] += len(batch)
            for number, one in enumerate(references):
                field = layout.reference_columns[one]
                if one.table == table:
                    for document in batch:
                        if (said := document.get(field)) is not None:
                            outgoing[number, str(said)] += 1
                if one.target == table:
                    for where, collection, query, options in self._documents.referring(one, batch):
                        incoming[number, where or ""] += self._database[collection].count_documents(
                            {"$and": [query, {field: region}]}, **options
                        )
        return Whereabouts(
            residence,
            rows,
            tuple(self._references(outgoing)),
            tuple(self._references(incoming)),
        )

    def _references(self, counted: Counter[tuple[int, str]]) -> Iterator[Reference]:
        references = tuple(self._layout.reference_columns)
        for (number, region), rows in sorted(counted.items()):
            one = references[number]
            if rows:
                yield Reference(one.table, one.columns, one.target, region, rows)

    def _id(self, residence: Residence) -> Any:
        return self._expected.identity_of(residence.key)

    # Moving ------------------------------------------------------------------------------------

    def move(self, residence: Residence, region: str, note: Note) -> Moved:
        """Move a client in one transaction, or in batches where it is too large; prove it there.

        Raises:
            CollisionError: another session was in the way; nothing was written.
            GoneError: the client does not live there any more; nothing was written.
            VerificationFailed: what arrived is not what was there; it was undone.
            Refused: the new region holds what keeps the client out.
            Interrupted: the server failed; running it again goes on.
        """
        self._ensure_journal()
        try:
            if residence.moving_to is None:
                try:
                    return self._whole(residence, region, note)
                except TooLargeError:
                    pass
            return self._big.move(self._id(residence), residence, region, note)
        except errors.PyMongoError as error:
            if error.has_error_label("TransientTransactionError") and not isinstance(
                error, errors.ConnectionFailure
            ):
                raise CollisionError(reason(error)) from None
            if isinstance(error, errors.OperationFailure) and error.code == _DUPLICATE_KEY:
                raise Refused(
                    f"{region!r} holds a document that keeps a client out: {reason(error)}",
                    hint="change one of the two, then run the same command again",
                ) from None
            if isinstance(error, errors.OperationFailure) and error.code == _UNAUTHORIZED:
                raise  # It is told by whoever opened the connection.
            raise Interrupted(
                f"moving clients stopped: {reason(error)}",
                hint="run the same command again: it goes on with who is left",
            ) from None

    def _whole(self, residence: Residence, region: str, note: Note) -> Moved:
        identity, origin, tries = self._id(residence), residence.region, 0

        def write() -> Moved:
            nonlocal tries
            tries += 1
            taken = self._links.update_one(
                {"_id": identity, self._layout.region_column: origin, MOVING: {"$exists": False}},
                {"$inc": {EPOCH: Int64(1)}, "$set": {self._layout.region_column: region}},
                session=self._session,
            )
            if taken.matched_count != 1:
                raise GoneError
            there = self._read(identity, origin)
            for table, batch in there.items():
                self._carry(table, batch, origin, region)
            learnt, ignorant = self._teach(there, origin, region)
            arrived = self._read(identity, region)
            wrong = [*ignorant, *self._behind(identity, origin, region)]
            for table in self._layout.regional:
                was, now = (self._digest(table, one.get(table, ())) for one in (there, arrived))
                if was != now:
                    wrong.append(differing(table, was, now, origin, region))
            require_proven(wrong, origin, region)
            moved = Moved(
                residence,
                region,
                {table: len(there.get(table, ())) for table in self._layout.regional},
                learnt,
            )
            self._note(moved, note)
            return moved

        try:
            moved = transact(self._session, write, _PATIENCE)
        except errors.OperationFailure as error:
            if error.code == _TRANSACTION_TOO_LARGE:
                raise TooLargeError from None
            raise
        return Moved(moved.residence, region, moved.rows, moved.references, 1, tries - 1)

    def _read(self, identity: Any, region: str) -> dict[str, list[RawBSONDocument]]:
        found: dict[str, list[RawBSONDocument]] = {}
        documents = size = 0
        for table, batch in self._documents.walk(identity, region, self._session):
            found.setdefault(table, []).extend(batch)
            documents += len(batch)
            size += sum(len(one.raw) for one in batch)
            if documents > MOST_DOCUMENTS or size > MOST_BYTES:
                raise TooLargeError
        return found

    def _carry(
        self, table: str, documents: Sequence[RawBSONDocument], origin: str, region: str
    ) -> None:
        """Insert documents into a region's collection, and delete them from another's."""
        new = [
            RawBSONDocument(
                relocated(bytes(one.raw), {self._layout.region_column: region}), VERIFY_OPTIONS
            )
            for one in documents
        ]
        for start in range(0, len(new), BATCH):
            some = new[start : start + BATCH]
            self._documents.insert(table, region, some, self._session)
            ids = [one["_id"] for one in some]
            self._documents.collection(table, origin).delete_many(
                {"_id": {"$in": ids}}, session=self._session
            )

    def _teach(
        self, there: Mapping[str, Sequence[RawBSONDocument]], origin: str, region: str
    ) -> tuple[int, list[str]]:
        """Let the documents that refer to a client's say the new region; return how many did."""
        learnt, ignorant = 0, []
        for one, field in self._layout.reference_columns.items():
            for _, name, query, options in self._documents.referring(
                one, there.get(one.target, ())
            ):
                asked = {"$and": [query, {field: origin}]}
                collection = self._database[name]
                learnt += collection.update_many(
                    asked, {"$set": {field: region}}, session=self._session, **options
                ).modified_count
                left = collection.count_documents(asked, session=self._session, **options)
                if left:
                    ignorant.append(f"{one}: {left} document(s) still name the old region")
        return learnt, ignorant

    def _behind(self, identity: Any, origin: str, region: str) -> list[str]:
        return [
            f"{table}: {count} document(s) stayed behind"
            for table, count in self._documents.behind(
                identity, origin, region, self._session
            ).items()
        ]

    def _digest(self, table: str, documents: Sequence[RawBSONDocument]) -> Digest:
        return content_digest(
            (bytes(one.raw) for one in documents), self._documents.regions_of(table)
        )

    def _note(self, moved: Moved, note: Note) -> None:
        self._moves.insert_one(
            {
                "target": self._name,
                "batch": note.batch,
                "client_digest": digest_of(moved.residence.key),
                "origin": moved.residence.region,
                "region": moved.region,
                "rows": Int64(sum(moved.rows.values())),
                "moved_by": note.who,
                "version": note.version,
            },
            session=self._session,
        )

    def _ensure_journal(self) -> None:
        """Create the journal's collection, and end what a killed run left open.

        A transaction that created it would be in others' way; one that a killed run left open
        would hold a client for a minute.
        """
        if self._journaled:
            return
        self._moves.create_index([("target", 1), ("client_digest", 1)])
        before = self._sessions.find_one_and_update(
            {"_id": self._name}, {"$set": {"session": self._session.session_id["id"]}}, upsert=True
        )
        if before is not None:
            # Without the privilege it ends by itself.
            with suppress(errors.OperationFailure):
                self._session.client.admin.command(
                    "killSessions", [{"id": Binary.from_uuid(before["session"])}]
                )
        self._journaled = True


class TooLargeError(Exception):
    """A client does not fit one transaction; nothing was written."""
