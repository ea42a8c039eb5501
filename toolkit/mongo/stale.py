"""What stands in the collections and is not the source's any more.

The digests of a table tell whether there is anything. Where there is, the source's rows are packed
again, chunk by chunk, and the documents are compared with them byte by byte, in a temporary file:
memory does not grow with the table.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database

from toolkit.digest import Digest, DigestForm
from toolkit.errors import Refused
from toolkit.journal import Chunk, Run, Stale, in_order
from toolkit.mongo.packing import RowPacker, identity
from toolkit.mongo.removal import empty, remove
from toolkit.mongo.session import Document
from toolkit.mongo.source import SourceReader
from toolkit.mongo.store import Store
from toolkit.mongo.transactions import transact
from toolkit.mongo.types import VERIFY_OPTIONS

#: Of a table's documents: if more of them are wrong, all are copied again.
_SHARE = 10

#: Bytes of documents that are packed at once, and documents in one answer of the server.
_BATCH, _DOCUMENTS = 1 << 20, 2_000


class End(Protocol):
    """What is asked of the target, see :class:`toolkit.migrate.target.Target`."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    def canonical(self, name: str, form: DigestForm) -> list[str]:
        """Return SQL for the canonical cells of a source table's columns."""
        ...

    def digests(self, name: str, form: DigestForm) -> dict[str | None, Digest]:
        """Return the digest of what is in the target, per region."""
        ...


@dataclass(frozen=True)
class Wrong:
    """Documents that are to be deleted.

    Attributes:
        collection: where they are.
        ids: their ``_id`` as BSON documents of that one field; ``None`` for all of them.
    """

    collection: str
    ids: tuple[bytes, ...] | None


@dataclass(frozen=True)
class Comparison:
    """Compares one table after the other. Writes nothing.

    Args:
        source: under an open snapshot.
        reader: of it.
        end: the target.
        database: the same.
        form: of the digests.
        repair: whether documents that no chunk brought are named, instead of refused.
    """

    source: SourceReader
    reader: Any
    end: End
    database: Database[Document]
    form: DigestForm
    repair: bool

    def table(
        self, packer: RowPacker, name: str, copied: Mapping[Chunk, int | None], left: int
    ) -> Stale:
        """Return what of a table is stale.

        Args:
            packer: of the table.
            name: the table's key, or the name of the link.
            copied: all of its chunks, each with its rows, ``None`` for one that is to be copied.
            left: how many documents may be there of chunks that are to be copied again.

        Raises:
            Refused: there are more documents than were ever copied.
        """
        done = [chunk for chunk in in_order(copied) if copied[chunk] is not None]
        if not done and not left:
            # What is there, if anything is, stops the copy.
            return Stale()
        expected, actual = self._digests(name, done)
        regions = [
            region
            for region in expected.keys() | actual.keys()
            if expected.get(region, Digest()) != actual.get(region, Digest())
        ]
        present = sum(digest.rows for digest in actual.values())
        known = sum(rows or 0 for rows in copied.values())
        if present > known + left and not self.repair:
            raise Refused(
                f"{name!r} of {self.end.place} holds {present - known - left} document(s) that no "
                "migration copied",
                hint="somebody has written there: see which with 'regionkit verify'; 'regionkit "
                "migrate --repair' takes them out and copies what is missing",
            )
        if not regions and present == known:
            return Stale()
        everything = Stale(tuple(done), tuple(Wrong(one, None) for one in packer.collections))
        if not packer.key_columns:
            return everything
        with closing(_Expected(packer)) as rows:
            for number, chunk in enumerate(done):
                found = rows.add(number, self._packed(packer, name, chunk))
                if found != copied[chunk]:
                    rows.reopened.add(number)
            wrong = {one: list(rows.take(one, self._there(one))) for one in packer.collections}
            again = rows.missing()
        if _SHARE * sum(map(len, wrong.values())) > present:
            return everything
        return Stale(
            tuple(done[number] for number in sorted(again)),
            tuple(Wrong(one, tuple(ids)) for one, ids in wrong.items() if ids),
        )

    def _digests(
        self, name: str, done: Sequence[Chunk]
    ) -> tuple[dict[str | None, Digest], dict[str | None, Digest]]:
        canonical = self.end.canonical(name, self.form)
        with ThreadPoolExecutor(1, thread_name_prefix="regionkit-digest") as pool:
            reading = pool.submit(
                self.source.digests, self.reader, name, canonical, self.form, done
            )
            actual = self.end.digests(name, self.form)
            return reading.result(), actual

    def _packed(self, packer: RowPacker, name: str, chunk: Chunk) -> Iterator[tuple[str, bytes]]:
        """Yield collection and bytes of each document that a chunk should have."""
        rows = self.source.stream(self.reader, name, packer.expressions, chunk)
        with closing(rows) as stream:
            for batch in packer.batches(stream, _BATCH):
                for collection, documents in batch.documents.items():
                    for document in documents:
                        yield collection, bytes(document.raw)

    def _there(self, collection: str) -> Iterator[bytes]:
        raw = self.database[collection].with_options(VERIFY_OPTIONS)
        for document in raw.find({}, batch_size=_DOCUMENTS):
            yield bytes(document.raw)


class _Expected:
    """The documents that the source says are there, in a temporary file that has no name.

    Args:
        packer: of the table.

    Attributes:
        reopened: the numbers of chunks that have to be copied again.
    """

    def __init__(self, packer: RowPacker) -> None:
        self._packer = packer
        self._store = sqlite3.connect("", check_same_thread=False)
        self._store.execute("PRAGMA cache_size = -8192")
        self._store.execute("PRAGMA journal_mode = OFF")
        self._store.execute(
            "CREATE TABLE document (place TEXT, id BLOB, digest BLOB, chunk INT, "
            "PRIMARY KEY (place, id)) WITHOUT ROWID"
        )
        self.reopened: set[int] = set()

    def close(self) -> None:
        """Remove the file."""
        self._store.close()

    def add(self, chunk: int, documents: Iterator[tuple[str, bytes]]) -> int:
        """Add the documents of a chunk; return how many."""
        return self._store.executemany(
            "INSERT INTO document VALUES (?, ?, ?, ?)",
            ((place, identity(data), self._digest(data), chunk) for place, data in documents),
        ).rowcount

    def take(self, place: str, documents: Iterator[bytes]) -> Iterator[bytes]:
        """Cross off the documents of a collection; yield the ``_id`` of those that are wrong."""
        for data in documents:
            key = identity(data)
            found = self._store.execute(
                "DELETE FROM document WHERE place = ? AND id = ? RETURNING digest, chunk",
                (place, key),
            ).fetchone()
            if found is None:
                yield key
            elif found[0] != self._digest(data):
                self.reopened.add(found[1])
                yield key

    def missing(self) -> set[int]:
        """Return the chunks that have to be copied again, those of what is left included."""
        left = self._store.execute("SELECT DISTINCT chunk FROM document")
        return self.reopened | {chunk for (chunk,) in left}

    def _digest(self, data: bytes) -> bytes:
        return hashlib.md5(self._packer.content(data), usedforsecurity=False).digest()


def take_out(
    session: ClientSession, database: Database[Document], store: Store, stale: Stale, run: Run
) -> None:
    """Note that chunks are not copied any more, then delete what is wrong.

    In this order: documents that are missing while the journal says that they were copied would be
    missed by nobody. Documents of these chunks that are right stay where they are.

    Raises:
        LockNotObtained: a newer run has taken over.
    """

    def fence() -> None:
        store.fence_run(session, run.epoch)

    def reopen() -> None:
        fence()
        store.reopen(session, stale.chunks, run.epoch)

    if stale.chunks:
        transact(session, reopen)
    for wrong in stale.rows:
        collection = database[wrong.collection]
        if wrong.ids is None:
            empty(session, collection, fence)
        else:
            ids = [RawBSONDocument(one, VERIFY_OPTIONS)["_id"] for one in wrong.ids]
            remove(session, collection, ids, fence)
