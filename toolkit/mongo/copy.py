"""Copying chunks from the source into the layout ``collections``.

Each batch is one transaction with a mark at its chunk in the journal, so that a run that was
overtaken writes nothing. A chunk is several batches: one that was begun by a run that died is
copied again, and what stands there already must be the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import errors
from pymongo.client_session import ClientSession

from toolkit.errors import Interrupted, Refused
from toolkit.journal import Chunk, Run
from toolkit.layout import Layout
from toolkit.mongo.digest import Cells
from toolkit.mongo.layout import CollectionsLayout
from toolkit.mongo.rows import RowEncoder
from toolkit.mongo.session import Document, MongoSession, reason
from toolkit.mongo.source import SourceReader
from toolkit.mongo.store import Store
from toolkit.mongo.types import VERIFY_OPTIONS
from toolkit.mongo.values import ValueRefused

_DUPLICATE_KEY = 11000


class Copier:
    """Copies chunks; each worker reads over a connection of its own, see :meth:`worker`.

    Args:
        source: under an open snapshot.
        session: an open connection to the target, which all workers share.
        database: the name of the target database.
        layout: the decisions.
        collections: the same, spelled out.
        run: the run whose epoch the journal carries.
    """

    def __init__(
        self,
        source: SourceReader,
        session: MongoSession,
        database: str,
        layout: Layout,
        collections: CollectionsLayout,
        run: Run,
    ) -> None:
        self._source = source
        self._session = session
        self._database = session.database(database)
        self._layout = layout
        self._collections = collections
        self._run = run
        self._store = Store(session, database)

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Open what one worker needs."""
        with self._source.reader() as reader, self._session.client.start_session() as session:
            with resumable(f"writing to {self._database.name}"):
                self._store.enlist(session, self._run)
            yield Worker(self, reader, session)

    def copy(self, reader: Any, session: ClientSession, chunk: Chunk) -> int:
        """Copy one chunk and its checkpoint; return how many rows.

        Raises:
            Interrupted: the server failed, or holds other documents under the same keys.
            LockNotObtained: a newer run has taken over.
            Refused: the source holds a value that BSON cannot hold.
        """
        encoder = RowEncoder(self._layout, self._collections, chunk.table)
        rows = 0
        try:
            with resumable(f"copying {chunk.table}"):
                for batch in self._source.rows(reader, chunk.table, encoder.expressions, chunk):
                    self._write(session, chunk, encoder.documents(batch))
                    rows += len(batch)
                self._store.checkpoint(chunk, self._run.epoch, rows)
        except ValueRefused as error:
            raise Refused(
                f"{chunk.table!r} holds a value that MongoDB cannot: {error.reason}",
                hint="'regionkit migrate --dry-run' lists the keys",
            ) from None
        return rows

    def _write(
        self, session: ClientSession, chunk: Chunk, documents: dict[str, list[Document]]
    ) -> None:
        try:
            self._insert(session, chunk, documents)
        except errors.BulkWriteError as error:
            if not _duplicates(error):
                raise
            missing = {
                name: self._missing(chunk.table, name, those) for name, those in documents.items()
            }
            self._insert(session, chunk, {name: those for name, those in missing.items() if those})

    def _insert(
        self, session: ClientSession, chunk: Chunk, documents: dict[str, list[Document]]
    ) -> None:
        def write() -> None:
            for name, those in documents.items():
                self._database[name].insert_many(those, session=session)

        self._store.fenced(session, chunk, self._run.epoch, write)

    def _missing(self, table: str, collection: str, documents: list[Document]) -> list[Document]:
        """Return the documents that are not there yet.

        Raises:
            Interrupted: a document with the same key differs.
        """
        raw = self._database[collection].with_options(VERIFY_OPTIONS)
        present: dict[bytes, RawBSONDocument] = {
            bson.encode({"_id": found["_id"]}): found
            for found in raw.find({"_id": {"$in": [document["_id"] for document in documents]}})
        }
        missing, differing = [], []
        for document in documents:
            found = present.get(bson.encode({"_id": document["_id"]}))
            if found is None:
                missing.append(document)
            elif found.raw != bson.encode(document):
                differing.append(document)
        if differing:
            cells = Cells(self._layout, self._collections, table)
            raise Interrupted(
                f"{collection!r} holds {len(differing)} document(s) of {table!r} with the same "
                "key and other content",
                details=sorted(cells.key_text(document) for document in differing)[:10],
                hint="somebody else has written there, or the source has changed: start over with "
                "'regionkit apply --revert', 'regionkit apply', then 'regionkit migrate'",
            )
        return missing


class Worker:
    """One worker's connection to the source and its session in the target."""

    def __init__(self, copier: Copier, reader: Any, session: ClientSession) -> None:
        self._copier = copier
        self._reader = reader
        self._session = session

    def copy(self, chunk: Chunk) -> int:
        """Copy one chunk; return how many rows."""
        return self._copier.copy(self._reader, self._session, chunk)


def _duplicates(error: errors.BulkWriteError) -> bool:
    return any(
        found.get("code") == _DUPLICATE_KEY
        for found in (error.details or {}).get("writeErrors", [])
    )


@contextmanager
def resumable(what: str) -> Iterator[None]:
    """Turn the driver's errors into one that says that the migration can be resumed.

    Args:
        what: what is being done, for the message: ``copying client``.

    Raises:
        Interrupted: the server failed.
    """
    try:
        yield
    except errors.PyMongoError as error:
        raise Interrupted(
            f"{what} stopped: {reason(error)}",
            hint="run 'regionkit migrate' again: it goes on with what is missing",
        ) from None
