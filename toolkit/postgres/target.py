"""The layout ``tables`` as a target of a migration: what the engine asks of every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial

import psycopg
from sqlalchemy import MetaData
from sqlalchemy.exc import DBAPIError

from toolkit.config import Configuration
from toolkit.digest import Digest, DigestForm, Md5, RowDigest
from toolkit.errors import LockNotObtained, Refused
from toolkit.extras import Extra
from toolkit.findings import Code, Finding, sampled_keys
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
    in_order,
)
from toolkit.layout import Layout
from toolkit.postgres import (
    catalogue,
    changes,
    ddl,
    digest,
    freeze,
    inspect,
    matviews,
    session,
    switch,
    takedown,
)
from toolkit.postgres.audit import Audit, furthest, sequences
from toolkit.postgres.copy import Copier, Worker
from toolkit.postgres.layout import build, key_tables, table_names
from toolkit.postgres.putback import PutBack
from toolkit.postgres.refusals import unheld_texts
from toolkit.postgres.renaming import renames
from toolkit.postgres.runs import Runs
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source, order_columns
from toolkit.postgres.store import Store
from toolkit.refusal import Left, Refusal
from toolkit.types import postgres_type

#: A key as canonical texts.
Key = tuple[str | None, ...]


class PostgresTarget:
    """The layout ``tables`` in one schema of one database.

    Args:
        url: of the target.
        layout: the decisions.
        project: the operator's configuration.
        extras: returns the functions and triggers that the layout carries.
        schema: that holds the layout now, where a cutover has renamed it.
    """

    backend = "postgres"

    def __init__(
        self,
        url: str,
        layout: Layout,
        project: Configuration,
        extras: Callable[[], Sequence[Extra]] = tuple,
        schema: str | None = None,
    ) -> None:
        self._extras = extras
        self._url = url
        self._layout = layout
        #: What the journal calls the target, whatever its schema is called now.
        self._name = project.target_schema
        self._schema = schema or self._name
        self._server = layout.topology.server(self.backend)
        self._store = Store(self._name)
        self._runs = Runs(self._name)
        self._workers = project.file.migrate.workers
        self._budget = project.file.target.postgres.transaction_locks
        self._settings = session.work_settings(project)

    @cached_property
    def _metadata(self) -> MetaData:
        """The layout, spelled out as tables."""
        named = renames(self._layout, self._schema, self._extras())
        return build(self._layout, self._schema, named)

    @property
    def server(self) -> str:
        """The name of the server that the rows go to."""
        return self._server

    @property
    def place(self) -> str:
        """Where the rows go, for messages."""
        return f"schema {self._schema!r}"

    #: Rows that are copied in one transaction: few enough to lose little with one, many enough for
    #: the joins that find their region to cost little.
    chunk_rows = 500_000

    #: Of the bank with 2,000,000 payments: the whole job against the time in which its source is
    #: read, and the layout with its indexes against the source's rows (docs/benchmarks.md).
    effort = 8.0
    growth = 2.0

    def _connect(self) -> Connection:
        return session.connect(self._url, role="postgres")

    def _connect_to_work(self) -> Connection:
        connection = self._connect()
        session.set_for_session(connection, self._settings)
        return connection

    def lock(self) -> AbstractContextManager[object]:
        """Hold the lock that keeps a second migration out."""
        return session.exclusive(self._url, role="postgres", name=self._lock_name)

    @property
    def _lock_name(self) -> str:
        return f"migrate {self._name}"

    # The engine's protocol ---------------------------------------------------------------------

    def require_applied(self) -> None:
        """Refuse a target in which the layout is not applied. Writes nothing.

        Raises:
            Refused: tables are missing, or the server is too old.
        """
        with self._connect() as connection:
            session.require_target_version(connection)
            wanted = table_names(self._metadata)
            missing = sorted(wanted - inspect.table_names(connection, self._schema))
            if missing:
                raise Refused(
                    f"the layout is not applied to schema {self._schema!r}: "
                    f"{len(missing)} table(s) are missing",
                    details=missing[:10],
                    hint="run 'regionkit apply --backend postgres' first",
                )

    def require_known(self) -> None:
        """Refuse a target that holds rows which no journal knows. Writes nothing.

        Raises:
            Refused: it does; the tables are named.
        """
        with self._connect() as connection:
            if self._store.run(connection) is not None:
                return
            filled = [
                name
                for name in (*self._names().values(), self._layout.link)
                if connection.execute(
                    f"SELECT EXISTS (SELECT FROM {ddl.quote(self._schema, name)})"
                ).fetchone()
                == (True,)
            ]
            if filled:
                raise Refused(
                    f"schema {self._schema!r} holds rows that no migration of regionkit copied",
                    details=sorted(filled)[:10],
                    hint="empty these tables, or name another schema in [target.postgres]",
                )

    def values_refused(self, source: Source, connection: Connection) -> list[Refusal]:
        """Return the texts that the target's encoding does not have: all other values fit."""
        with self._connect() as target:
            theirs = session.encoding(target)
        return list(unheld_texts(source, connection, self._layout, theirs))

    def run(self) -> Run | None:
        """Return how far the migration has come; ``None`` if it never started."""
        with self._connect() as connection:
            return self._store.run(connection)

    def chunks(self) -> list[tuple[Chunk, int | None]]:
        """Return the journaled chunks with their rows, ``None`` for those still to be copied."""
        with self._connect() as connection:
            return self._store.chunks(connection)

    def begin(self, decisions: Decisions, chunks: Sequence[Chunk]) -> Run:
        """Note the start of a migration."""
        with self._connect() as connection:
            self._store.create(connection)
            return self._store.begin(connection, decisions, chunks)

    def resume(self) -> Run:
        """Note another start of a migration."""
        with self._connect() as connection:
            return self._store.resume(connection)

    def quarantine(self) -> list[Left]:
        """Return the clients that were left out."""
        with self._connect() as connection:
            return self._store.quarantine(connection) if self._store.exists(connection) else []

    def leave(self, left: Sequence[Left], run: Run) -> None:
        """Note the clients that are left out."""
        with self._connect() as connection:
            self._store.leave(connection, left, run.epoch)

    def prepare(self, run: Run) -> None:
        """Take constraints, indexes and triggers out of the way."""
        with self._connect() as connection:
            takedown.take_down(
                connection, self._schema, lambda: self._copying(connection, run), self._budget
            )

    def _copying(self, connection: Connection, run: Run) -> None:
        self._store.advance(connection, State.copying, run.epoch)

    @contextmanager
    def workers(
        self, source: Source, run: Run
    ) -> Iterator[Callable[[], AbstractContextManager[Worker]]]:
        """Return what opens a worker."""
        with self._connect() as connection:
            same = source.same_database(connection)
        copier = Copier(
            source, self._url, self._schema, run, same_database=same, settings=self._settings
        )
        yield copier.worker

    def stale(
        self,
        source: Source,
        connection: Connection,
        progress: Callable[[str], None],
        *,
        repair: bool = False,
    ) -> Stale:
        """Compare the rows of each chunk with the source's; write nothing.

        The rows of a chunk were copied in one transaction, so each of them shows it as ``xmin``:
        that tells a chunk's rows apart without an index, whatever their key.

        Raises:
            Refused: a table holds rows that no chunk brought.
        """
        with self._connect() as target:
            form = digest.common_form(connection, target)
            copied = self._store.copied(target)
            by_table: dict[str, list[Chunk]] = {}
            for chunk, _ in self._store.chunks(target):
                by_table.setdefault(chunk.table, []).append(chunk)

        def compare(name: str) -> Stale:
            progress(name)
            chunks = in_order(by_table[name])
            done = {chunk: copied[chunk] for chunk in chunks if chunk in copied}
            with source.reader() as reader, self._connect_to_work() as target:
                found = self._by_transaction(target, name, form)
                wanted = source.chunk_digests(
                    reader, name, self.canonical(name, form), form, chunks
                )
            strangers = found.keys() - {one.xid for one in done.values()}
            if strangers and not repair:
                rows = sum(found[xid].rows for xid in strangers)
                raise Refused(
                    f"{name!r} of {self.place} holds {rows} row(s) that no migration copied",
                    hint="somebody has written there: see which with 'regionkit verify'; "
                    "'regionkit migrate --repair' takes them out and copies what is missing",
                )
            differing = tuple(
                chunk
                for chunk, one in done.items()
                if found.get(one.xid, Digest()) != wanted[chunk]
            )
            taken = {copied[chunk].xid: chunk for chunk in differing}
            return Stale(
                differing,
                tuple((name, xid, taken.get(xid)) for xid in sorted(strangers | taken.keys())),
            )

        with ThreadPoolExecutor(self._workers, "regionkit-stale") as pool:
            found = list(pool.map(compare, by_table))
        return Stale(
            tuple(chunk for one in found for chunk in one.chunks),
            tuple(rows for one in found for rows in one.rows),
        )

    def take_out(self, stale: Stale, run: Run) -> None:
        """Delete what :meth:`stale` found, each chunk with its checkpoint."""
        with self._connect_to_work() as connection:
            for name, xid, chunk in stale.rows:
                with connection.transaction():
                    self._store.fence(connection, run.epoch)
                    if chunk is not None:
                        self._store.reopen(connection, chunk)
                    connection.execute(
                        f"DELETE FROM {ddl.quote(self._schema, self._table_name(name))} "
                        "WHERE xmin = %s::text::xid",
                        (xid,),
                    )

    def _by_transaction(
        self, connection: Connection, name: str, form: DigestForm
    ) -> dict[int, Digest]:
        """Return the digest of a table's rows by the transaction that wrote them."""
        statement, _ = self._select(name, form, "t.xmin::text::bigint")
        return digest.per_group(connection, statement, form)

    def _table_name(self, name: str) -> str:
        return name if name == self._layout.link else self._layout.name(name)

    def finish(self, run: Run, progress: Callable[[str], None]) -> None:
        """Fill key tables, put back what was taken down, set sequences."""
        with self._connect_to_work() as connection:
            rows: dict[str, int] = {}
            for chunk, done in self._store.copied(connection).items():
                name = self._table_name(chunk.table)
                rows[name] = rows.get(name, 0) + done.rows
            if run.state is State.copying:
                self._fill_key_tables(connection, run, progress)
            # Before anything else: without statistics the server compares a foreign key with the
            # rows by plans that take several times as long.
            progress("statistics")
            with ThreadPoolExecutor(self._workers, "regionkit-analyze") as pool:
                list(pool.map(self._analyze, sorted(rows, key=lambda name: -rows[name])))
            PutBack(
                self._connect_to_work,
                self._schema,
                lambda one: self._store.fence(one, run.epoch),
                self._workers,
                rows,
                progress,
            ).run()
            progress("sequences")
            self._set_sequences(connection)
            for name in self._with_expressions(connection):
                self._analyze(name)
            matviews.refresh(
                connection, self._schema, lambda: self._store.fence(connection, run.epoch), progress
            )
            self._store.advance(connection, State.finished, run.epoch)

    def _with_expressions(self, connection: Connection) -> list[str]:
        """Return the tables with an index over an expression, which has statistics of its own."""
        rows = connection.execute(
            "SELECT DISTINCT c.relname FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid "
            "WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND NOT c.relispartition "
            "AND x.indexprs IS NOT NULL",
            (self._schema,),
        ).fetchall()
        return [str(row[0]) for row in rows]

    def _analyze(self, name: str) -> None:
        with self._connect() as connection:
            connection.execute(f"ANALYZE {ddl.quote(self._schema, name)}")

    def _fill_key_tables(
        self, connection: Connection, run: Run, progress: Callable[[str], None]
    ) -> None:
        # Each by itself: together they would lock every table of the layout.
        for one in key_tables(self._metadata):
            progress(f"key table {one.name}")
            with connection.transaction():
                self._store.fence(connection, run.epoch)
                connection.execute(f"TRUNCATE {ddl.quote(self._schema, one.name)}")
                connection.execute(one.fill(self._schema))
        self._store.advance(connection, State.copied, run.epoch)

    def _set_sequences(self, connection: Connection) -> None:
        """Let every sequence stand past the last value of its column that it could hand out."""
        for table, column, sequence in sequences(connection, self._schema, numbers=True):
            connection.execute(
                f"SELECT setval({ddl.literal(sequence)}, m) "
                f"FROM ({furthest(self._schema, table, column, sequence)}) AS furthest(m) "
                "WHERE m IS NOT NULL"
            )

    def _names(self) -> dict[str, str]:
        """Return the target's table for every table key."""
        return {key: self._layout.name(key) for key in self._layout.placement.tables}

    # History -----------------------------------------------------------------------------------

    def begin_run(self, record: RunRecord) -> None:
        """Note one start of a migration; a second call adds the epoch and what is expected."""
        with self._connect() as connection:
            self._runs.begin(connection, record)

    def note_run(self, record: RunRecord, throttled_by: str) -> None:
        """Note what holds a start back now; empty: nothing."""
        with self._connect() as connection:
            self._runs.note(connection, record, throttled_by)

    def end_run(self, record: RunRecord, outcome: Outcome, code: int, rows: int) -> None:
        """Note how a start of a migration ended."""
        with self._connect() as connection:
            self._runs.end(connection, record, outcome, code, rows)

    def runs(self) -> list[RunRecord]:
        """Return every start that is kept, the newest first."""
        with self._connect() as connection:
            return self._runs.all(connection)

    def pace(self, window: float) -> Pace:
        """Return what the newest start has copied within the last ``window`` seconds."""
        with self._connect() as connection:
            return self._runs.pace(connection, window)

    def holder(self) -> Holder | None:
        """Return who holds the lock now; ``None`` if nobody is at work."""
        with self._connect() as connection:
            found = session.holder(connection, self._lock_name)
            return None if found is None else Holder(*found)

    # Verification ------------------------------------------------------------------------------

    @contextmanager
    def reading(self, workers: int) -> Iterator[None]:
        """Hold nothing: the server makes the digests."""
        yield

    def digest_form(self, connection: Connection) -> DigestForm:
        """Return the cheapest form of digest that the source and this server compute alike."""
        with self._connect() as target:
            return digest.common_form(connection, target)

    def canonical(self, name: str, form: DigestForm) -> list[str]:
        """Return canonical cells of a source table's columns, over alias ``t``."""
        return [self._cell(name, column, form) for column in self.columns(name)]

    def _cell(self, name: str, column: str, form: DigestForm) -> str:
        if name == self._layout.link:
            name = self._layout.placement.root
        type_ = postgres_type(self._layout.table(name).columns[column].type)
        return digest.cell(f"t.{ddl.quote(column)}", type_, form)

    def key_cells(self, name: str) -> list[int]:
        """Return which of the canonical cells are the key."""
        key = self._layout.placement.root if name == self._layout.link else name
        columns = self.columns(name)
        return [columns.index(column) for column in order_columns(self._layout, key)]

    def newer_from(self) -> int | None:
        """Return from which transaction on what is written now is newer."""
        with self._connect() as connection:
            return changes.oldest(connection)

    def is_untouched(self, name: str, rows: int, newer_from: int) -> bool:
        """Return whether a table still has so many rows, and none that is newer."""
        with self._connect_to_work() as connection:
            table = ddl.quote(self._schema, self._table_name(name))
            return not changes.touched(connection, table, rows, newer_from)

    def columns(self, name: str) -> list[str]:
        """Return the columns of a table that the canonical cells are of."""
        if name == self._layout.link:
            return list(self._layout.link_columns)
        # Generated columns are compared too: the target computed them anew.
        return [column.name for column in self._layout.table(name).columns]

    def _select(self, name: str, form: DigestForm, *after: str) -> tuple[str, int | None]:
        """Return a SELECT of canonical cells of what is in the target, and the region's index.

        Args:
            name: key of the table, or the name of the link.
            form: how a row becomes a digest.
            after: expressions over alias ``t`` that follow the cells.
        """
        layout = self._layout
        if name == layout.link:
            cells = [
                digest.cell(
                    f"t.{ddl.quote(link)}",
                    postgres_type(layout.root.table.columns[column].type),
                    form,
                )
                for column, link in layout.link_columns.items()
            ]
            region: int | None = len(cells)
            more = [layout.region_column]
        else:
            placed = layout.placement[name]
            cells = self.canonical(name, form)
            region = len(cells) if placed.regional else None
            more = [layout.region_column] if placed.regional else []
            more += [layout.reference_columns[key] for key in placed.foreign_references]
        cells += [f"t.{ddl.quote(column)}" for column in more]
        items = ", ".join([*cells, *after])
        table = ddl.quote(self._schema, self._table_name(name))
        return f"SELECT {items} FROM {table} AS t", region

    def digests(self, name: str, form: DigestForm) -> dict[str | None, Digest]:
        """Return the digest of a table of the target per region."""
        with self._connect_to_work() as connection:
            statement, region = self._select(name, form)
            return digest.per_region(connection, statement, region, form)

    def row_digests(self, name: str, form: DigestForm) -> Iterator[RowDigest]:
        """Yield the digest of every row of a table of the target."""
        with self._connect_to_work() as connection:
            statement, region = self._select(name, form)
            yield from digest.per_row(connection, statement, region, self.key_cells(name), form)

    def cells(self, name: str, keys: Sequence[Key]) -> Iterator[tuple[Key, str | None, Key]]:
        """Yield key, region and canonical texts of the columns of the rows with these keys."""
        key_cells = self.key_cells(name)
        if not keys or not key_cells:
            return
        count = len(self.columns(name))
        values = ", ".join(
            f"({', '.join(ddl.literal(part or '') for part in key)})" for key in keys
        )
        with self._connect() as connection:
            # As texts, whatever the form of the digests.
            statement, region = self._select(name, Md5())
            names = [f"c{number}" for number in range(count + (region is not None))]
            chosen = ", ".join(names[number] for number in key_cells)
            # The regions of foreign references may follow.
            rows = connection.execute(
                f"SELECT * FROM ({statement}) AS t({', '.join(names)}) "
                f"WHERE ({chosen}) IN (VALUES {values})"
            )
            for row in rows:
                key = tuple(row[number] for number in key_cells)
                yield key, row[region] if region is not None else None, tuple(row[:count])

    def counts(self) -> dict[str, dict[str, int]]:
        """Return rows per table and region; the empty string stands for global tables."""
        found: dict[str, dict[str, int]] = {}
        with self._connect() as connection:
            for key, name in self._names().items():
                regional = self._layout.placement[key].regional
                region = ddl.quote(self._layout.region_column) if regional else "''"
                rows = connection.execute(
                    f"SELECT {region}, count(*) FROM {ddl.quote(self._schema, name)} GROUP BY 1"
                ).fetchall()
                found[key] = {str(where): int(count) for where, count in rows}
        return found

    def audit(self) -> Iterator[Finding]:
        """Compare what the layout adds with the data, both ways."""
        for audit in self.audits(frozenset()):
            yield from audit()

    def unasked(self) -> list[str]:
        """Return, in words, what cannot be asked with the privileges that there are."""
        if self._may_create():
            return []
        return ["the catalogue against the plan: it takes CREATE on the database"]

    def _may_create(self) -> bool:
        with self._connect() as connection:
            row = connection.execute(
                "SELECT has_database_privilege(current_database(), 'CREATE')"
            ).fetchone()
            return row == (True,)

    def audits(self, equal: AbstractSet[str]) -> list[Callable[[], list[Finding]]]:
        """Return the audits, each to be run by itself.

        Args:
            equal: keys of the tables of which every row was compared and found equal.
        """

        def auditing(ask: Callable[[Audit], Iterator[Finding]]) -> Callable[[], list[Finding]]:
            def run() -> list[Finding]:
                with self._connect_to_work() as connection:
                    audit = Audit(connection, self._metadata, self._layout, self._server)
                    return list(ask(audit))

            return run

        tables = [table.name for table in self._metadata.tables.values()]
        return [
            self._catalogue,
            auditing(lambda audit: audit.kept_apart()),
            *(
                auditing(lambda audit, name=name: audit.references(name, equal))  # type: ignore[misc]
                for name in tables
            ),
        ]

    def _catalogue(self) -> list[Finding]:
        """Compare the catalogue with the plan; while objects are taken down, only say so."""
        with self._connect() as connection:
            if self._store.exists(connection) and (
                down := takedown.remaining(connection, self._name)
            ):
                return [
                    Finding(
                        Code.constraint_missing,
                        self._server,
                        self._schema,
                        count=down,
                        detail="constraints, indexes or triggers are still taken down",
                    )
                ]
            actual = inspect.catalogue(connection, self._schema)
            unfilled = [
                Finding(
                    Code.catalogue_differs,
                    self._server,
                    name,
                    detail=f"materialized view {name} holds no rows yet: refresh it",
                )
                for name in matviews.unfilled(connection, self._schema)
            ]
        if not self._may_create():
            return unfilled
        try:
            expected = catalogue.planned(self._url, self._layout, self._extras(), self._budget)
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise session.translate(error.orig) from None
            raise
        closed = frozenset(one.name for one in key_tables(self._metadata))
        return [*unfilled, *catalogue.compare(expected, actual, self._server, closed)]

    def invariants(self, project: Configuration) -> list[tuple[str, Callable[[], Finding | None]]]:
        """Return the declared invariants by name, each to be run by itself."""
        return [
            (invariant.name, partial(self._invariant, invariant.name, invariant.sql))
            for invariant in project.file.invariant
        ]

    def _invariant(self, name: str, statement: str) -> Finding | None:
        with self._connect_to_work() as connection:
            connection.execute("SET join_collapse_limit = DEFAULT")
            session.search_path(connection, self._schema)
            return self._violated(connection, name, statement)

    def _violated(self, connection: Connection, name: str, statement: str) -> Finding | None:
        try:
            rows = connection.execute(statement).fetchall()
        except psycopg.Error as error:
            return Finding(
                Code.invariant_violated,
                self._server,
                name,
                detail=f"it does not run: {session.first_line(error)}",
            )
        if not rows:
            return None
        keys = sampled_keys(", ".join(map(str, row)) for row in rows)
        return Finding(Code.invariant_violated, self._server, name, count=len(rows), keys=keys)

    def forget(self) -> None:
        """Drop the target's entries from the journal, after its tables are gone."""
        with self._connect() as connection:
            self._store.forget(connection)

    # Cutover -----------------------------------------------------------------------------------

    def lies_in(self, source: Source) -> bool:
        """Return whether the layout lies in the source's own database."""
        with self._connect() as connection:
            return source.same_database(connection)

    def follow_sequences(self, source: Connection, schema: str) -> None:
        """Let no sequence hand out what the source's handed out."""
        with self._connect() as connection:
            switch.follow_sequences(source, schema, connection, self._schema)

    def moment(self) -> str:
        """Return a mark of now, by which later writes are told."""
        with self._connect() as connection:
            return switch.moment(connection)

    @contextmanager
    def still(
        self, moment: str, rows: Mapping[str, Mapping[str, int]], wait: float
    ) -> Iterator[list[str] | None]:
        """Hold writers off; yield the tables that were written to since a moment.

        Raises:
            LockNotObtained: writers are at work.
        """
        counted = {
            self._layout.link if name == self._layout.link else self._layout.name(name): sum(
                counts.values()
            )
            for name, counts in rows.items()
        }
        with self._connect() as connection, connection.transaction():
            names = freeze.tables(connection, self._schema)
            try:
                freeze.lock(connection, self._schema, names, "SHARE", wait)
            except psycopg.errors.LockNotAvailable:
                raise LockNotObtained(
                    f"the tables of {self.place} were not to be had within {wait:g} s",
                    hint="run the same command again; --lock-timeout gives more time",
                ) from None
            # In a session of its own, which holds no lock longer than a statement: what the two
            # hold together would not fit the server's lock table where there are many tables.
            with self._connect() as reader:
                written = switch.written_since(reader, self._schema, moment, counted)
            yield written
