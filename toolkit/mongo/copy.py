"""Copying chunks from the source into the layout ``collections``.

A chunk and its checkpoint are one transaction with a mark at the chunk in the journal, so that a
crash leaves both or neither, and a run that was overtaken writes nothing. While one batch of
documents is on its way the next is read and packed. A chunk that is too large for one transaction
is split at a key: what is copied becomes a chunk of its own, in the transaction that holds it.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, nullcontext
from typing import Any, TypeVar

from bson.raw_bson import RawBSONDocument
from pymongo import errors
from pymongo.client_session import ClientSession

from toolkit.errors import Interrupted, Refused, sampled
from toolkit.journal import Chunk, Run
from toolkit.layout import Layout
from toolkit.mongo.digest import Cells
from toolkit.mongo.layout import CollectionsLayout
from toolkit.mongo.packing import Batch, RowPacker, identity
from toolkit.mongo.removal import empty
from toolkit.mongo.session import MongoSession, reason
from toolkit.mongo.source import SourceReader
from toolkit.mongo.store import Store
from toolkit.mongo.transactions import transact
from toolkit.mongo.types import VERIFY_OPTIONS
from toolkit.mongo.values import ValueRefused

#: Rows of a chunk. Fewer let every query of the source build its joins for little; more make the
#: server's transactions slower.
CHUNK_ROWS = 8_000

#: Bytes of documents that are sent at once, and from which on nothing is read meanwhile.
_BATCH, _LARGE = 1 << 20, 4 << 20
#: Bytes of documents that one transaction may hold, unless the server's cache is smaller.
_TRANSACTION = 16 << 20
#: Rows that the driver may hold at once: where none can be long, and where none is. A row that is
#: stored within one page can be some hundred times as long when it is not compressed.
_AT_ONCE, _AT_ONCE_WITHIN_A_PAGE = 200, 16

#: Bytes of which no transaction is made smaller.
_LEAST = 1 << 10

_UNAUTHORIZED = 13
_TRANSACTION_TOO_LARGE = 388
_DUPLICATE_KEY = 11000

#: Sends a batch.
_Insert = Callable[[Batch], None]
_Sent = TypeVar("_Sent")
_Noted = TypeVar("_Noted")


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
        self.source = source
        self.client = session.client
        self.patience = session.patience
        self.database = session.database(database)
        self.layout = layout
        self.collections = collections
        self.epoch = run.epoch
        self.store = Store(session, database)
        #: Tables whose chunks do not fit one transaction, and the bytes that do.
        self.fitting: dict[str, int] = {}
        #: Held while a document of several megabytes is read or sent: one at a time in all of this
        #: process, once it is known which tables have some.
        self.large = threading.RLock()
        self.large_in: set[str] = set()
        #: Whether the validators are passed by. What they would say is looked up by the audit, and
        #: every document is made by one function. It takes a privilege.
        self.bypass = True
        self._run = run

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        """Open what one worker needs."""
        with self.source.reader() as reader, self.client.start_session() as session:
            with resumable(f"writing to {self.database.name}"):
                self.store.enlist(session, self._run)
            with ThreadPoolExecutor(1, thread_name_prefix="regionkit-insert") as inserter:
                yield Worker(self, reader, session, inserter)


class Worker:
    """One worker's connection to the source and its session in the target.

    Args:
        copier: what all workers share.
        reader: of the source.
        session: of the target, without a transaction.
        inserter: one thread, which sends while this one reads.
    """

    def __init__(
        self,
        copier: Copier,
        reader: Any,
        session: ClientSession,
        inserter: ThreadPoolExecutor,
    ) -> None:
        self._copier = copier
        self._store = copier.store
        self._epoch = copier.epoch
        self._reader = reader
        self._session = session
        self._inserter = inserter
        self._packers: dict[str, RowPacker] = {}
        self._at_once: dict[str, int] = {}

    def copy(self, chunk: Chunk) -> int:
        """Copy one chunk and its checkpoint; return how many rows.

        Raises:
            Interrupted: a server failed, or holds other documents under the same keys.
            LockNotObtained: a newer run has taken over.
            Refused: the source holds a value that BSON cannot hold.
        """
        try:
            with resumable(f"copying {chunk.table}"):
                if not self._packer(chunk.table).key_columns:
                    return self._without_key(chunk)
                if chunk.table not in self._copier.fitting:
                    try:
                        return self._whole(chunk)
                    except _TooLargeError as error:
                        self._copier.fitting[chunk.table] = error.fitting
                return self._in_parts(chunk)
        except ValueRefused as error:
            raise Refused(
                f"{chunk.table!r} holds a value that MongoDB cannot: {error.reason}",
                hint="'regionkit migrate --dry-run' lists the keys",
            ) from None

    # Ways to copy a chunk ------------------------------------------------------------------------

    def _whole(self, chunk: Chunk) -> int:
        """Copy a chunk in one transaction.

        Raises:
            _TooLargeError: it does not fit one; nothing was written.
        """

        def send(insert: _Insert) -> int:
            rows = size = 0
            with closing(self._stream(chunk)) as stream:
                for batch in self._packer(chunk.table).batches(stream, _BATCH):
                    size += batch.size
                    if rows and size > _TRANSACTION:
                        raise _TooLargeError(_TRANSACTION)
                    insert(batch)
                    rows += batch.rows
            return rows

        def note(rows: int) -> int:
            self._store.checkpoint(self._session, chunk, self._epoch, rows)
            return rows

        return self._transaction(chunk, send, note)

    def _in_parts(self, chunk: Chunk) -> int:
        """Copy a chunk in the order of its keys, by as much as one transaction holds."""
        rest: Chunk | None = chunk
        total, most = 0, CHUNK_ROWS
        while rest is not None:
            alone = self._copier.large if chunk.table in self._copier.large_in else nullcontext()
            try:
                with alone:
                    rows, rest = self._part(rest, most)
            except _TooLargeError as error:
                self._copier.fitting[chunk.table] = error.fitting
                continue
            total += rows
            # The query is sorted by an index where it is told that little is wanted.
            most = max(1, min(CHUNK_ROWS, 2 * rows))
        return total

    def _part(self, chunk: Chunk, most: int) -> tuple[int, Chunk | None]:
        """Copy the beginning of a chunk; return its rows, and what is left, if anything is."""
        packer = self._packer(chunk.table)
        fitting = self._copier.fitting[chunk.table]
        last: list[str] = []

        def send(insert: _Insert) -> tuple[int, bool]:
            rows = size = 0
            with closing(self._stream(chunk, first=most)) as stream:
                cells = _remembering(stream, packer.key_columns, last)
                for batch in packer.batches(cells, min(_BATCH, fitting)):
                    insert(batch)
                    rows += batch.rows
                    size += batch.size
                    if size >= fitting:
                        return rows, False
            return rows, rows < most

        def note(sent: tuple[int, bool]) -> tuple[int, Chunk | None]:
            rows, is_all = sent
            if is_all:
                self._store.checkpoint(self._session, chunk, self._epoch, rows)
                return rows, None
            return rows, self._store.split(self._session, chunk, self._epoch, tuple(last), rows)

        return self._transaction(chunk, send, note)

    def _without_key(self, chunk: Chunk) -> int:
        """Copy a table that nothing can be cut by, in several transactions.

        What an earlier run left is removed first: it is not known which rows it was.
        """
        packer, rows = self._packer(chunk.table), 0
        if self._store.is_begun(chunk):
            for name in packer.collections:
                empty(self._session, self._copier.database[name], self._fence(chunk))

        def send(batch: Batch) -> None:
            try:
                self._transaction(chunk, lambda insert: insert(batch), lambda _: None)
            except _TooLargeError:
                for half in batch.halves():
                    send(half)

        with closing(self._stream(chunk)) as stream:
            for batch in packer.batches(stream, _LARGE):
                send(batch)
                rows += batch.rows
        transact(
            self._session,
            lambda: self._store.checkpoint(self._session, chunk, self._epoch, rows),
            self._copier.patience,
        )
        return rows

    # One transaction -----------------------------------------------------------------------------

    def _transaction(
        self, chunk: Chunk, send: Callable[[_Insert], _Sent], note: Callable[[_Sent], _Noted]
    ) -> _Noted:
        """Run ``send``, then ``note``, in a transaction that is fenced by the chunk.

        ``send`` is given what inserts a batch; both are called again where all is to be repeated.
        """
        fence, compare = self._fence(chunk), False

        def insert(batch: Batch) -> None:
            self._insert(chunk.table, batch, compare=compare)

        def write() -> _Noted:
            fence()
            with self._sending(chunk.table, insert) as sending:
                sent = send(sending)
            return note(sent)

        while True:
            # Another worker may find out meanwhile that it is not allowed.
            bypassed = self._copier.bypass
            try:
                return transact(self._session, write, self._copier.patience)
            except errors.OperationFailure as error:
                if error.code == _DUPLICATE_KEY and not compare:
                    # Documents are there that no checkpoint knows: right ones are kept.
                    compare = True
                elif error.code == _UNAUTHORIZED and bypassed:
                    self._copier.bypass = False
                elif error.code == _TRANSACTION_TOO_LARGE:
                    raise self._smaller(chunk.table) from None
                else:
                    raise

    def _smaller(self, table: str) -> _TooLargeError:
        fitting = self._copier.fitting.get(table, _TRANSACTION) // 2
        if fitting < _LEAST:
            raise Interrupted(
                f"a document of {table!r} does not fit a transaction of the MongoDB server",
                hint="give mongod a larger cache (--wiredTigerCacheSizeGB), then run 'regionkit "
                "migrate' again",
            )
        return _TooLargeError(fitting)

    def _fence(self, chunk: Chunk) -> Callable[[], None]:
        return lambda: self._store.fence(self._session, chunk, self._epoch)

    @contextmanager
    def _sending(self, table: str, send: _Insert) -> Iterator[_Insert]:
        """Yield what sends a batch while the caller goes on; at the end all are sent."""
        pending: list[Future[None]] = []

        def begin(batch: Batch) -> None:
            settle()
            if batch.size < _LARGE:
                # The driver's time limit is this thread's, unless it is handed on.
                context = contextvars.copy_context()
                pending.append(self._inserter.submit(context.run, send, batch))
            else:
                self._copier.large_in.add(table)
                with self._copier.large:
                    send(batch)

        def settle() -> None:
            while pending:
                pending.pop().result()

        try:
            yield begin
            settle()
        finally:
            wait(pending)

    def _insert(self, table: str, batch: Batch, *, compare: bool) -> None:
        for name, documents in batch.documents.items():
            if compare:
                documents = self._missing(table, name, documents)
            if not documents:
                continue
            # As the plain command: insert_many looks at each document several times.
            answer = self._copier.database.command(
                {
                    "insert": name,
                    "documents": documents,
                    "bypassDocumentValidation": self._copier.bypass,
                },
                session=self._session,
            )
            if failed := answer.get("writeErrors"):
                raise errors.WriteError(failed[0]["errmsg"], failed[0]["code"], failed[0])

    def _missing(
        self, table: str, collection: str, documents: Sequence[RawBSONDocument]
    ) -> list[RawBSONDocument]:
        """Return the documents that are not there yet.

        Raises:
            Interrupted: a document with the same key differs.
        """
        copier = self._copier
        raw = copier.database[collection].with_options(VERIFY_OPTIONS)
        keys = [RawBSONDocument(one.raw, VERIFY_OPTIONS)["_id"] for one in documents]
        there = raw.find({"_id": {"$in": keys}}, session=self._session)
        present = {identity(bytes(found.raw)): bytes(found.raw) for found in there}
        missing, differing = [], []
        content = self._packer(table).content
        for document in documents:
            data = bytes(document.raw)
            found = present.get(identity(data))
            if found is None:
                missing.append(document)
            elif content(found) != content(data):
                differing.append(document)
        if differing:
            cells = Cells(copier.layout, copier.collections, table)
            raise Interrupted(
                f"{collection!r} holds {len(differing)} document(s) of {table!r} with the same "
                "key and other content",
                details=sampled(
                    sorted(
                        cells.key_text(RawBSONDocument(one.raw, VERIFY_OPTIONS))
                        for one in differing
                    )
                ),
                hint="somebody else has written there, or the source has changed: start over with "
                "'regionkit apply --revert', 'regionkit apply', then 'regionkit migrate'",
            )
        return missing

    # The source ----------------------------------------------------------------------------------

    def _packer(self, table: str) -> RowPacker:
        if table not in self._packers:
            copier = self._copier
            self._packers[table] = RowPacker(copier.layout, copier.collections, table)
        return self._packers[table]

    def _stream(self, chunk: Chunk, *, first: int | None = None) -> Generator[tuple[Any, ...]]:
        return self._copier.source.stream(
            self._reader,
            chunk.table,
            self._packer(chunk.table).expressions,
            chunk,
            at_once=self._rows_at_once(chunk.table),
            first=first,
        )

    def _rows_at_once(self, table: str) -> int:
        if self._packer(table).bounded:
            return _AT_ONCE
        if table not in self._at_once:
            long = self._copier.source.has_long_values(self._reader, table)
            self._at_once[table] = 1 if long else _AT_ONCE_WITHIN_A_PAGE
        return self._at_once[table]


class _TooLargeError(Exception):
    """A chunk does not fit one transaction.

    Args:
        fitting: bytes of documents that may fit.
    """

    def __init__(self, fitting: int) -> None:
        super().__init__(fitting)
        self.fitting = fitting


def _remembering(
    rows: Iterator[tuple[Any, ...]], width: int, last: list[str]
) -> Iterator[tuple[Any, ...]]:
    """Yield rows without the key in front of them, and keep the last one's key."""
    for row in rows:
        last[:] = row[:width]
        yield row[width:]


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
