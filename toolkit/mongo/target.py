"""The layout ``collections`` as a target of a migration: what the engine asks of every backend."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from pymongo.database import Database

from toolkit.config import Configuration, InvariantSection
from toolkit.digest import Digest, DigestForm, RowDigest
from toolkit.errors import Refused, sampled
from toolkit.findings import Finding
from toolkit.journal import (
    Chunk,
    Decisions,
    Holder,
    Outcome,
    Pace,
    Run,
    RunRecord,
    Stale,
    State,
)
from toolkit.layout import Layout
from toolkit.mongo import invariants, load, stale
from toolkit.mongo.audit import Audit, audits
from toolkit.mongo.copy import CHUNK_ROWS, Copier, Worker, resumable
from toolkit.mongo.digest import Cells, places
from toolkit.mongo.layout import collections
from toolkit.mongo.lock import LEASE, Lock
from toolkit.mongo.packing import RowPacker
from toolkit.mongo.readers import Readers
from toolkit.mongo.record import RecordMd5
from toolkit.mongo.refusals import refused_values
from toolkit.mongo.runs import Runs
from toolkit.mongo.scan import Scanned, row_digests, rows_with, scan
from toolkit.mongo.session import Document, MongoSession, connect, require_transactions, translated
from toolkit.mongo.source import SourceReader
from toolkit.mongo.store import Store
from toolkit.refusal import Left, Refusal

#: Documents from which on it pays to start processes that read.
_MANY = 50_000


class MongoTarget:
    """The layout ``collections`` in one database.

    Args:
        url: of the server.
        layout: the decisions.
        project: the operator's configuration.
        lease: seconds that the lock outlives this process.

    Raises:
        Refused: the layout cannot be kept in MongoDB.
    """

    backend = "mongo"

    #: Rows that are copied in one transaction, unless the operator says it.
    chunk_rows = CHUNK_ROWS

    #: Of the bank: the whole job against the time in which its source is read, and what MongoDB
    #: holds of 200,000 payments, compressed and with indexes, against the source's rows.
    effort = 30.0
    growth = 1.5

    def __init__(
        self, url: str, layout: Layout, project: Configuration, *, lease: float = LEASE
    ) -> None:
        self._url = url
        self._layout = layout
        self._collections = collections(layout)
        self._name = project.mongo_database
        self._allow_single_member = project.file.target.mongo.allow_single_member
        self._server = layout.topology.server(self.backend)
        self._lease = lease
        self._patience = project.file.migrate.answer_timeout
        self._workers = project.file.migrate.workers
        self._session: MongoSession | None = None
        self._readers: Readers | None = None
        self._scanned: dict[str, Scanned] = {}

    @property
    def server(self) -> str:
        """The name of the server that the rows go to."""
        return self._server

    @property
    def place(self) -> str:
        """Where the rows go, for messages."""
        return f"MongoDB database {self._name!r}"

    @contextmanager
    def _open(self, what: str) -> Iterator[MongoSession]:
        with connect(self._url) as session, translated(what):
            yield session

    @contextmanager
    def lock(self) -> Iterator[object]:
        """Hold the lock that keeps a second migration out."""
        with (
            connect(self._url) as session,
            self._lock(session) as lock,
        ):
            yield lock

    def _lock(self, session: MongoSession) -> Lock:
        return Lock(session, f"migrate {self._name}", lease=self._lease)

    # The engine's protocol ---------------------------------------------------------------------

    def require_applied(self) -> None:
        """Refuse a target in which the layout is not applied. Writes nothing.

        Raises:
            Refused: collections are missing, or the server promises nothing.
        """
        with self._open(f"look at {self._name}") as session:
            require_transactions(session, self._allow_single_member)
            database = session.database(self._name)
            wanted = self._wanted()
            present = set(database.list_collection_names(filter={"type": "collection"}))
            missing = sorted(set(wanted) - present)
            if missing:
                raise Refused(
                    f"the layout is not applied to {self.place}: "
                    f"{len(missing)} collection(s) are missing",
                    details=sampled(missing),
                    hint="run 'regionkit apply --backend mongo' first",
                )

    def _wanted(self) -> list[str]:
        return [one.name for one in self._collections.collections()]

    def require_known(self) -> None:
        """Refuse a target that holds documents which no journal knows. Writes nothing.

        Raises:
            Refused: it does; the collections are named.
        """
        with self._open(f"look at {self._name}") as session:
            if Store(session, self._name).run() is not None:
                return
            database = session.database(self._name)
            wanted = self._wanted()
            wanted.remove(self._collections.region_list.name)
            filled = [name for name in wanted if database[name].find_one({}, {"_id": 1})]
            if filled:
                raise Refused(
                    f"{self.place} holds documents that no migration of regionkit copied",
                    details=sampled(sorted(filled)),
                    hint="empty these collections, or name another database in [target.mongo]",
                )

    def values_refused(self, source: SourceReader, connection: Any) -> list[Refusal]:
        """Return the cells that BSON cannot hold, and the rows above the size of a document."""
        return list(refused_values(source, connection, self._layout, self._collections))

    def run(self) -> Run | None:
        """Return how far the migration has come; ``None`` if it never started."""
        with self._open("read the journal") as session:
            return Store(session, self._name).run()

    def chunks(self) -> list[tuple[Chunk, int | None]]:
        """Return the journaled chunks with their rows, ``None`` for those still to be copied."""
        with self._open("read the journal") as session:
            return Store(session, self._name).chunks()

    def begin(self, decisions: Decisions, chunks: Sequence[Chunk]) -> Run:
        """Note the start of a migration."""
        with self._open("write the journal") as session:
            return Store(session, self._name).begin(decisions, chunks)

    def resume(self) -> Run:
        """Note another start of a migration."""
        with self._open("write the journal") as session:
            return Store(session, self._name).resume()

    def quarantine(self) -> list[Left]:
        """Return the clients that were left out."""
        with self._open("read the journal") as session:
            return Store(session, self._name).quarantine()

    def leave(self, left: Sequence[Left], run: Run) -> None:
        """Note the clients that are left out."""
        with self._open("write the journal") as session:
            Store(session, self._name).leave(left, run.epoch)

    def stale(
        self,
        source: SourceReader,
        connection: Any,
        progress: Callable[[str], None],
        *,
        repair: bool = False,
    ) -> Stale:
        """Compare what is copied with the source's snapshot; write nothing.

        Raises:
            Refused: a table holds more documents than were copied.
        """
        form = self.digest_form(connection)
        by_table: dict[str, dict[Chunk, int | None]] = {}
        for chunk, rows in self.chunks():
            by_table.setdefault(chunk.table, {})[chunk] = rows
        with self.reading(self._workers), self._open("compare what is copied") as session:
            database, left = session.database(self._name), Store(session, self._name).left()
            comparison = stale.Comparison(source, connection, self, database, form, repair)
            found = []
            for name, copied in by_table.items():
                progress(name)
                packer = RowPacker(self._layout, self._collections, name)
                found.append(comparison.table(packer, name, copied, left.get(name, 0)))
        return Stale(
            tuple(chunk for one in found for chunk in one.chunks),
            tuple(wrong for one in found for wrong in one.rows),
        )

    def take_out(self, stale_: Stale, run: Run) -> None:
        """Note the chunks that :meth:`stale` found as not copied, and delete the documents.

        Those of the chunks' documents that are right stay where they are.
        """
        with (
            connect(self._url) as session,
            resumable("removing what is not the source's"),
            session.client.start_session() as writing,
        ):
            store = Store(session, self._name)
            store.enlist(writing, run)
            stale.take_out(writing, session.database(self._name), store, stale_, run)

    def prepare(self, run: Run) -> None:
        """Take the indexes out of the way."""
        with connect(self._url) as session, resumable("dropping indexes"):
            Store(session, self._name).advance(State.copying, run.epoch)
            load.drop_indexes(session.database(self._name), self._collections)

    @contextmanager
    def workers(
        self, source: SourceReader, run: Run
    ) -> Iterator[Callable[[], AbstractContextManager[Worker]]]:
        """Return what opens a worker."""
        with connect(self._url, patience=self._patience) as session:
            copier = Copier(source, session, self._name, self._layout, self._collections, run)
            # Every batch is thousands of objects, and looking for cycles among all others each time
            # took a sixth of this process's time.
            gc.freeze()
            try:
                yield copier.worker
            finally:
                gc.unfreeze()

    def finish(self, run: Run, progress: Callable[[str], None]) -> None:
        """Fill key collections and put the indexes back."""
        with connect(self._url) as session, resumable("finishing the migration"):
            database, store = session.database(self._name), Store(session, self._name)
            if run.state is State.copying:
                with session.client.start_session() as writing:
                    store.enlist(writing, run)
                    load.empty_key_collections(
                        writing,
                        database,
                        self._collections,
                        lambda: store.fence_run(writing, run.epoch),
                    )
                load.fill_key_collections(database, self._collections, progress)
                store.advance(State.copied, run.epoch)
            load.create_indexes(database, self._collections, progress)
            store.advance(State.finished, run.epoch)

    # History -----------------------------------------------------------------------------------

    def begin_run(self, record: RunRecord) -> None:
        """Note one start of a migration; a second call adds the epoch and what is expected."""
        with self._open("write the journal") as session:
            Runs(session, self._name).begin(record)

    def note_run(self, record: RunRecord, throttled_by: str) -> None:
        """Note what holds a start back now; empty: nothing."""
        with self._open("write the journal") as session:
            Runs(session, self._name).note(record, throttled_by)

    def end_run(self, record: RunRecord, outcome: Outcome, code: int, rows: int) -> None:
        """Note how a start of a migration ended."""
        with self._open("write the journal") as session:
            Runs(session, self._name).end(record, outcome, code, rows)

    def runs(self) -> list[RunRecord]:
        """Return every start that is kept, the newest first."""
        with self._open("read the journal") as session:
            return Runs(session, self._name).all()

    def pace(self, window: float) -> Pace:
        """Return what the newest start has copied within the last ``window`` seconds."""
        with self._open("read the journal") as session:
            return Runs(session, self._name).pace(window)

    def holder(self) -> Holder | None:
        """Return who holds the lock now; ``None`` if nobody is at work."""
        with self._open("read the lock") as session:
            found = self._lock(session).holder()
            return None if found is None else Holder(*found)

    # Verification ------------------------------------------------------------------------------

    @contextmanager
    def reading(self, workers: int) -> Iterator[None]:
        """Hold a session, and processes that read side by side if there is much to read."""
        self._scanned.clear()
        with self._open("count documents") as session:
            database = session.database(self._name)
            much = sum(database[one].estimated_document_count() for one in self._wanted())
            readers = Readers(self._url, self._name, workers) if much >= _MANY else None
            self._session, self._readers = session, readers
            try:
                with readers or nullcontext():
                    yield
            finally:
                self._session = self._readers = None

    @contextmanager
    def _database(self, what: str) -> Iterator[Database[Document]]:
        """Yield the database over the session that is held, or else over one of its own."""
        if self._session is not None:
            with translated(what):
                yield self._session.database(self._name)
            return
        with self._open(what) as session:
            yield session.database(self._name)

    def digest_form(self, connection: Any) -> DigestForm:
        """Return how rows become digests: by PostgreSQL's own form of a record."""
        return RecordMd5()

    def canonical(self, name: str, form: DigestForm) -> list[str]:
        """Return the canonical cells of a source table's columns, over alias ``t``."""
        return self._cells(name).expressions()

    def key_cells(self, name: str) -> list[int]:
        """Return which of the canonical cells are the key."""
        return list(self._cells(name).expected.key)

    def newer_from(self) -> int | None:
        """Return nothing: a document does not tell when it was written."""
        return None

    def is_untouched(self, name: str, rows: int, newer_from: int) -> bool:
        """Return no: a document does not tell when it was written."""
        return False

    def columns(self, name: str) -> list[str]:
        """Return the columns of a table that the canonical cells are of."""
        return list(self._cells(name).columns)

    def cells(
        self, name: str, keys: Sequence[tuple[str | None, ...]]
    ) -> Iterator[tuple[tuple[str | None, ...], str | None, tuple[str | None, ...]]]:
        """Yield key, region and canonical texts of the columns of the documents with these keys."""
        cells = self._cells(name)
        with self._database(f"read {name}") as database:
            for collection, expected in cells.places():
                for key, region, texts in rows_with(database, collection, expected, keys):
                    yield key, region, tuple(texts[: len(cells.columns)])

    def _cells(self, name: str) -> Cells:
        return Cells(self._layout, self._collections, name)

    def digests(self, name: str, form: DigestForm) -> dict[str | None, Digest]:
        """Return the digest of a table of the target per region."""
        places = list(self._cells(name).places())
        if self._readers is not None:
            scans = self._readers.scan(places)
        else:
            with self._database(f"read {name}") as database:
                scans = [scan(database, *place) for place in places]
        found: dict[str | None, Digest] = {}
        for (collection, _), one in zip(places, scans, strict=True):
            self._scanned[collection] = one
            for region, digest in one.digests.items():
                found[region] = found.get(region, Digest()) + digest
        return found

    def row_digests(self, name: str, form: DigestForm) -> Iterator[RowDigest]:
        """Yield the digest of every row of a table of the target."""
        with self._database(f"read {name}") as database:
            for place in self._cells(name).places():
                yield from row_digests(database, *place)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return rows per table and region; the empty string stands for global tables."""
        found: dict[str, dict[str, int]] = {}
        with self._open("count documents") as session:
            database = session.database(self._name)
            for key in self._layout.placement.tables:
                found[key] = {
                    region or "": rows
                    for name, region in places(self._layout, self._collections, key)
                    if (rows := database[name].count_documents({}))
                }
        return found

    def unasked(self) -> list[str]:
        """Return nothing: who may read the documents may ask everything."""
        return []

    def audits(self, equal: AbstractSet[str]) -> list[Callable[[], list[Finding]]]:
        """Return the audits, each to be run by itself."""

        def auditing(ask: Callable[[Audit], list[Finding]]) -> Callable[[], list[Finding]]:
            def run() -> list[Finding]:
                with self._database("audit the documents") as database:
                    return ask(
                        Audit(
                            database,
                            self._server,
                            self._layout,
                            self._collections,
                            self._scanned,
                            equal,
                        )
                    )

            return run

        return [auditing(ask) for ask in audits(self._layout, self._collections)]

    def invariants(self, project: Configuration) -> list[tuple[str, Callable[[], Finding | None]]]:
        """Return the declared invariants by name, each to be run by itself."""

        def running(declared: InvariantSection) -> Callable[[], Finding | None]:
            def run() -> Finding | None:
                with self._open("run invariants") as session:
                    return invariants.violated(session.database(self._name), self._server, declared)

            return run

        return [
            (declared.name, running(declared))
            for declared in project.file.invariant
            if declared.mongo is not None
        ]

    def forget(self) -> None:
        """Drop the target's entries from the journal, after its collections are gone."""
        with self._open("write the journal") as session:
            Store(session, self._name).forget()

    # Cutover -----------------------------------------------------------------------------------

    def lies_in(self, source: SourceReader) -> bool:
        """Return false: this is another server."""
        return False

    def follow_sequences(self, source: Any, schema: str) -> None:
        """Do nothing: MongoDB has no sequences, and the application makes its keys."""

    def moment(self) -> str:
        """Return nothing: documents do not say when they were written."""
        return ""

    @contextmanager
    def still(
        self, moment: str, rows: Mapping[str, Mapping[str, int]], wait: float
    ) -> Iterator[list[str] | None]:
        """Yield nothing: what was written since is found by comparing every document."""
        yield None
