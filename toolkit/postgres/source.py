"""Reading the source under one snapshot: rows, digests and counts, whole or by ranges of keys.

Copying and verification both ask here, each with expressions of its own for the columns; where a
row belongs is computed by ``toolkit.postgres.regions``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import psycopg
from sqlalchemy import Computed

from toolkit import encoding
from toolkit.config import Configuration
from toolkit.digest import Digest, DigestForm, RowDigest
from toolkit.errors import Interrupted, UsageError
from toolkit.journal import Chunk, Key, Mark, in_order, ranges
from toolkit.layout import Layout
from toolkit.postgres import changes, ddl, digest, session
from toolkit.postgres.regions import Joined, RegionQuery
from toolkit.refusal import Offender
from toolkit.types import postgres_type

#: Tables of at most so many rows are cut exactly; of larger ones a sample of the keys tells where.
_EXACT = 100_000
_SAMPLES_PER_CHUNK = 500

#: Keys that are looked up in one statement.
_KEYS = 5_000


def order_columns(layout: Layout, key: str) -> tuple[str, ...]:
    """Return the columns that chunks of a table are cut by; none means a single chunk."""
    return tuple(column.name for column in layout.table(key).primary_key.columns)


def copied_columns(layout: Layout, key: str) -> tuple[str, ...]:
    """Return the columns of a table that are copied: all but generated ones."""
    return tuple(
        column.name
        for column in layout.table(key).columns
        if not isinstance(column.server_default, Computed)
    )


@dataclass(frozen=True)
class Moment:
    """When a snapshot was taken.

    Attributes:
        lsn: the position in the source's log.
        time: the server's.
    """

    lsn: str
    time: datetime


class Source:
    """The source under one exported snapshot, which every reader shares.

    Args:
        url: of the source.
        layout: the decisions.
        project: the rule of the root.
        schema: that holds the tables now, where a cutover has renamed it.

    Attributes:
        left: the clients in quarantine: their rows are not there for whoever reads here.
        leaves_unplaced: whether rows without a region are not there either.
        footprints: of every table, from just before the snapshot.
        moment: when the last snapshot was taken.
        encoding: of the source's database, known once it was open.
    """

    def __init__(
        self, url: str, layout: Layout, project: Configuration, schema: str | None = None
    ) -> None:
        self.url = url
        self.layout = layout
        self.query = RegionQuery(layout, project, schema)
        self.snapshot: str | None = None
        self.left: Collection[Key] = ()
        self.leaves_unplaced = False
        self.footprints: dict[str, changes.Footprint] = {}
        self.moment: Moment | None = None
        self.encoding = ""
        self._project = project
        self._oldest = 0
        self._settings = session.work_settings(project)
        self._key_types: dict[str, tuple[str, ...]] = {}
        #: Of tables whose key has a composite type: the server takes no bare text for one.
        self._casts: dict[str, tuple[str, ...]] = {}

    @contextmanager
    def open(self) -> Iterator[Source]:
        """Hold one snapshot for as long as the block runs."""
        with session.connect(self.url, role="source") as connection:
            self.encoding = session.encoding(connection)
            # Before the snapshot: a table that is truncated in between must not pass unnoticed.
            self.footprints = changes.footprints(connection, self._tables())
            self._begin(connection)
            row = connection.execute(
                "SELECT pg_export_snapshot(), pg_snapshot_xmin(pg_current_snapshot())::xid::text, "
                "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() "
                "ELSE pg_current_wal_lsn() END::text, clock_timestamp()"
            ).fetchone()
            assert row is not None
            self.snapshot, self._oldest = str(row[0]), int(row[1])
            self.moment = Moment(str(row[2]), row[3])
            self._check_rule(connection)
            self._casts = self._composite_keys(connection)
            try:
                yield self
            finally:
                self.snapshot = None
                # The server may have ended the session; that is no second failure.
                with suppress(psycopg.Error):
                    connection.rollback()

    def _check_rule(self, connection: session.Connection) -> None:
        """Refuse an expression of the operator's that the server does not understand."""
        if self.query.rule.sql is None:
            return
        joined = self.query.joined(self.layout.placement.root)
        with blaming_the_rule():
            connection.execute(f"EXPLAIN SELECT {joined.region} FROM {joined.sql}")

    def _begin(self, connection: session.Connection) -> None:
        session.set_for_session(connection, self._settings)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    @contextmanager
    def reader(self) -> Iterator[session.Connection]:
        """Open a connection that reads the snapshot, in a transaction of its own.

        Raises:
            Interrupted: the session that exported the snapshot is gone. A silent new snapshot
                would mix two states of the source.
        """
        with session.connect(self.url, role="source") as connection:
            self._begin(connection)
            self.adopt(connection)
            try:
                yield connection
            finally:
                # The server may have ended the session; that is no second failure.
                with suppress(psycopg.Error):
                    connection.rollback()

    def adopt(self, connection: session.Connection) -> None:
        """Let a transaction that has done nothing yet read the snapshot."""
        if self.snapshot is None:
            raise Interrupted("the source's snapshot is closed", hint="run the command again")
        try:
            connection.execute(f"SET TRANSACTION SNAPSHOT {ddl.literal(self.snapshot)}")
        except (psycopg.errors.InvalidParameterValue, psycopg.errors.UndefinedObject):
            raise Interrupted(
                "the session that holds the source's snapshot is gone",
                hint="run the same command again: it takes a new snapshot and goes on",
            ) from None

    def marks(self, connection: session.Connection) -> dict[str, Mark]:
        """Return what every table looks like under this snapshot."""
        return {
            key: Mark(self.count(connection, key), self._oldest, self.footprints[key].files)
            for key in self._tables()
        }

    def is_as_it_was(self, connection: session.Connection, marks: Mapping[str, Mark]) -> bool:
        """Return whether no table has changed since it looked as marked."""
        return marks.keys() == self._tables().keys() and not any(
            self.footprints[key].files != mark.files
            or changes.touched(connection, self.query.rows(key), mark.rows, mark.oldest)
            for key, mark in marks.items()
        )

    def _tables(self) -> dict[str, str]:
        return {key: self.query.table(key) for key in self.layout.placement.tables}

    def changes(
        self, chunks: Sequence[Chunk], workers: int, progress: Callable[[str], None]
    ) -> tuple[list[changes.Changed], Moment]:
        """Compare the source as it is now with what this snapshot sees.

        Args:
            chunks: all chunks of the migration.
            workers: how many tables at a time.
            progress: called with each table.

        Returns:
            What has changed, and the moment at which it was looked at.
        """
        now = Source(self.url, self.layout, self._project)
        now.left, now.leaves_unplaced = self.left, self.leaves_unplaced

        def compare(key: str) -> changes.Changed | None:
            what = changes.reshaped(self.footprints[key], now.footprints[key])
            if what:
                return changes.Changed(key, what)
            progress(key)
            with self.reader() as before, now.reader() as after:
                if not changes.looks_changed(before, after, self.query.rows(key), self._oldest):
                    return None
                mine = in_order(chunk for chunk in chunks if chunk.table == key)
                form = changes.form_of(before)
                cells = changes.canonical(self.layout, key, form)
                one = self.chunk_digests(before, key, cells, form, mine)
                other = now.chunk_digests(after, key, cells, form, mine)
            differing = [chunk for chunk in mine if one[chunk] != other[chunk]]
            if not differing:
                return None
            rows = [sum(each.rows for each in found.values()) for found in (one, other)]
            return changes.Changed(
                key,
                changes.described(differing, *rows),
                tuple(chunk.number for chunk in differing),
            )

        with now.open(), ThreadPoolExecutor(workers, "regionkit-changes") as pool:
            assert now.moment is not None
            found = [one for one in pool.map(compare, self._tables()) if one is not None]
            return found, now.moment

    def same_database(self, other: session.Connection) -> bool:
        """Return whether another connection is to the source's own database.

        Advisory locks are per database, so a key that one connection holds and the other cannot
        get means the same one. Host names and system identifiers do not tell: copies share both.
        """
        with session.connect(self.url, role="source") as connection:
            row = connection.execute("SELECT (random() * 9e18)::bigint").fetchone()
            assert row is not None
            connection.execute("SELECT pg_advisory_lock(%s)", row)
            got = other.execute("SELECT pg_try_advisory_lock(%s)", row).fetchone()
            assert got is not None
            if got[0]:
                other.execute("SELECT pg_advisory_unlock(%s)", row)
            return not got[0]

    # What is read ----------------------------------------------------------------------------

    def select(
        self,
        name: str,
        expressions: Sequence[str],
        chunks: Sequence[Chunk] | None = None,
        *,
        after: Sequence[str] = (),
        where: str = "",
    ) -> str:
        """Return a SELECT over alias ``t``, without the rows that are in quarantine.

        Its columns are ``expressions``, then the region (unless the table is global), then the
        regions of the foreign references in the placement's order (not for the link), then
        ``after``.

        Args:
            name: key of the table, or the name of the link.
            expressions: over alias ``t``.
            chunks: only the rows of these; ``None`` for all.
            after: expressions that follow the regions.
            where: one more condition.
        """
        key = self.query.source_table(name)
        joined = self.query.joined(key)
        items = [*expressions]
        if self.layout.placement[key].regional:
            items.append(joined.region)
        if name != self.layout.link:
            items.extend(joined.references.values())
        conditions = [self._in_chunks(key, chunks), self._kept(joined), where]
        present = " AND ".join(f"({one})" for one in conditions if one)
        return (
            f"SELECT {', '.join([*items, *after])} FROM {joined.sql}"
            f"{' WHERE ' if present else ''}{present}"
        )

    def is_regional(self, name: str) -> bool:
        """Return whether the rows of a table, or the link, carry a region."""
        return self.layout.placement[self.query.source_table(name)].regional

    def _region_cell(self, name: str, canonical: Sequence[str]) -> int | None:
        """Return the index of the region behind the cells of a table."""
        return len(canonical) if self.is_regional(name) else None

    def _kept(self, joined: Joined) -> str:
        """Return the condition for a row to take part: it is not in quarantine."""
        if joined.root is None:
            return ""
        conditions = []
        if self.leaves_unplaced:
            conditions.append(f"({joined.region}) IS NOT NULL")
        if self.left:
            columns = self.layout.root.primary_key
            client = ", ".join(f"{joined.root}.{ddl.quote(column)}::text" for column in columns)
            keys = ", ".join(f"({', '.join(map(ddl.literal, key))})" for key in self.left)
            conditions.append(
                f"NOT {self.query.is_client(joined.root)} OR ({client}) NOT IN (VALUES {keys})"
            )
        return " AND ".join(f"({one})" for one in conditions)

    def _in_chunks(self, key: str, chunks: Sequence[Chunk] | None) -> str:
        if chunks is None:
            return ""
        columns = order_columns(self.layout, key)
        left = ", ".join(f"t.{ddl.quote(column)}" for column in columns)
        casts = self._casts.get(key, ("",) * len(columns))
        found = []

        def values(bound: Key) -> str:
            return ", ".join(
                f"{ddl.literal(text)}{cast}" for text, cast in zip(bound, casts, strict=True)
            )

        for lower, upper in ranges(chunks):
            bounds = [
                f"({left}) {operator} ({values(bound)})"
                for bound, operator in ((lower, ">"), (upper, "<="))
                if bound is not None
            ]
            if not bounds:
                return ""
            found.append(" AND ".join(bounds))
        return " OR ".join(f"({one})" for one in found) or "false"

    def stream(
        self,
        connection: session.Connection,
        name: str,
        expressions: Sequence[str],
        chunk: Chunk | None = None,
        *,
        at_once: int = 1,
        first: int | None = None,
    ) -> Generator[tuple[object, ...]]:
        """Yield rows as the server sends them, without a cursor there.

        Close the iterator to stop early; the connection can be used again only after that.

        Args:
            connection: a reader.
            name: key of the table, or the name of the link.
            expressions: over alias ``t``.
            chunk: the range of keys.
            at_once: rows that the driver may hold at once; 1 where a row can be of any size.
            first: read so many rows in the order of the key, and put the key's columns, as text,
                in front of each.

        Raises:
            Interrupted: the server ended the session, or the query.
        """
        columns = order_columns(self.layout, self.query.source_table(name))
        items = [*expressions]
        tail = ""
        if first is not None:
            items = [f"t.{ddl.quote(column)}::text" for column in columns] + items
            order = ", ".join(f"t.{ddl.quote(column)}" for column in columns)
            tail = f" ORDER BY {order} LIMIT {first:d}"
        statement = self.select(name, items, None if chunk is None else [chunk]) + tail
        yield from self._streamed(connection, statement, at_once)

    def has_long_values(self, connection: session.Connection, name: str) -> bool:
        """Return whether values of a table are stored outside its rows.

        Where none is, a row fits one page of 8 kB, compressed.
        """
        table = ddl.literal(self.query.table(self.query.source_table(name)))
        with _reading():
            row = connection.execute(
                "SELECT coalesce(sum(pg_relation_size(nullif(c.reltoastrelid, 0))), 0) > 0 "
                f"FROM pg_class AS c WHERE c.oid = {table}::regclass "
                f"OR c.oid IN (SELECT relid FROM pg_partition_tree({table}::regclass))"
            ).fetchone()
        return row != (False,)

    def _streamed(
        self, connection: session.Connection, statement: str, at_once: int
    ) -> Generator[tuple[object, ...]]:
        size = at_once if psycopg.capabilities.has_stream_chunked() else 1
        # The savepoint outlives a query that is stopped early, and the snapshot with it.
        with _reading(), connection.transaction(), connection.cursor(binary=True) as cursor:
            # Few rows are joined by index, whatever the order in which the joins are written.
            cursor.execute("SET LOCAL join_collapse_limit = DEFAULT")
            yield from cursor.stream(statement, size=size)

    def count(self, connection: session.Connection, name: str) -> int:
        """Return how many rows a table has, those in quarantine included."""
        table = self.query.rows(self.query.source_table(name))
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    def leave(self, clients: Collection[Key]) -> None:
        """Take no notice of the rows of these clients, nor of rows that belong to nobody."""
        self.left, self.leaves_unplaced = tuple(clients), True

    def count_left(self, connection: session.Connection, name: str) -> int:
        """Return how many rows of a table stay in quarantine."""
        joined = self.query.joined(self.query.source_table(name))
        kept = self._kept(joined)
        if not kept:
            return 0
        row = connection.execute(
            f"SELECT count(*) FROM {joined.sql} WHERE ({kept}) IS NOT TRUE"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def shape(self) -> dict[str, dict[str, str]]:
        """Return the columns of every table as they were just before the snapshot, as JSON."""
        return {key: dict(one.columns) for key, one in sorted(self.footprints.items())}

    # Chunks ----------------------------------------------------------------------------------

    def bounds(
        self, connection: session.Connection, name: str, rows: int, chunk_rows: int
    ) -> list[Key]:
        """Return the upper key of every chunk but the last.

        Args:
            connection: a reader.
            name: key of the table, or the name of the link.
            rows: how many the table has.
            chunk_rows: how many a chunk should have.
        """
        key = self.query.source_table(name)
        columns = order_columns(self.layout, key)
        count = -(-rows // chunk_rows)
        if not columns or count < 2:
            return []
        keys = ", ".join(ddl.quote(column) for column in columns)
        texts = ", ".join(f"{ddl.quote(column)}::text" for column in columns)
        wanted = count * _SAMPLES_PER_CHUNK
        sample = ""
        if rows > _EXACT and wanted < rows:
            sample = f" TABLESAMPLE SYSTEM ({100 * wanted / rows:.6f}) REPEATABLE (0)"
        # The last key of each of so many equal parts, but for the last part.
        numbered = connection.execute(
            f"SELECT {texts} FROM (SELECT {keys}, row_number() OVER (ORDER BY {keys}) AS n, "
            f"count(*) OVER () AS total FROM {self.query.rows(key)}{sample}) AS numbered "
            f"WHERE n * {count:d} / total > (n - 1) * {count:d} / total AND n < total ORDER BY n"
        ).fetchall()
        return [tuple(str(value) for value in row) for row in numbered]

    def _bucket(self, connection: session.Connection, key: str, chunks: Sequence[Chunk]) -> str:
        """Return SQL for the place among ``chunks``, in the order of keys, that a row is in.

        ``width_bucket`` counts the bounds up to a key; a key that is a bound belongs below it.
        """
        bounds = [chunk.upper for chunk in chunks if chunk.upper is not None]
        columns = order_columns(self.layout, key)
        if not bounds or not columns:
            return "0"
        if key not in self._key_types:
            self._key_types[key] = self._types(connection, key, columns)
        types = self._key_types[key]
        keys = self.layout.table(key).columns
        # Arrays in an array would be one of more dimensions: they stand in rows, as several do.
        single = len(columns) == 1 and not postgres_type(keys[columns[0]].type).is_array

        def value(bound: Key) -> str:
            parts = [
                f"{ddl.literal(text)}{type_}" for text, type_ in zip(bound, types, strict=True)
            ]
            return parts[0] if single else f"ROW({', '.join(parts)})"

        names = [f"t.{ddl.quote(column)}" for column in columns]
        row = names[0] if single else f"ROW({', '.join(names)})"
        array = f"ARRAY[{', '.join(map(value, bounds))}]"
        return f"width_bucket({row}, {array}) - ({row} = ANY ({array}))::int"

    def _composite_keys(self, connection: session.Connection) -> dict[str, tuple[str, ...]]:
        found = {}
        for key in self.layout.placement.tables:
            columns = order_columns(self.layout, key)
            types = self.layout.table(key).columns
            if any(postgres_type(types[column].type).fields for column in columns):
                found[key] = self._types(connection, key, columns)
        return found

    def _types(
        self, connection: session.Connection, key: str, columns: Sequence[str]
    ) -> tuple[str, ...]:
        rows = connection.execute(
            "SELECT a.attname, '::' || format_type(a.atttypid, a.atttypmod) || coalesce("
            "' COLLATE ' || quote_ident(n.nspname) || '.' || quote_ident(c.collname), '') "
            "FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation "
            "LEFT JOIN pg_namespace n ON n.oid = c.collnamespace "
            "WHERE a.attrelid = %s::regclass AND a.attnum > 0",
            (self.query.table(key),),
        ).fetchall()
        found: Mapping[str, str] = dict(rows)
        return tuple(found[column] for column in columns)

    def chunks_of(
        self,
        connection: session.Connection,
        name: str,
        keys: Sequence[Key],
        chunks: Sequence[Chunk],
    ) -> set[Chunk]:
        """Return which chunks hold rows with these keys.

        Args:
            connection: a reader.
            name: key of the table, or the name of the link.
            keys: as texts, in the order of the key's columns.
            chunks: all chunks of the table, in the order of keys.
        """
        key = self.query.source_table(name)
        columns = order_columns(self.layout, key)
        if not columns:
            return set(chunks)
        bucket = self._bucket(connection, key, chunks)
        texts = ", ".join(f"t.{ddl.quote(column)}::text" for column in columns)
        found: set[Chunk] = set()
        for start in range(0, len(keys), _KEYS):
            values = ", ".join(
                f"({', '.join(map(ddl.literal, one))})" for one in keys[start : start + _KEYS]
            )
            rows = connection.execute(
                f"SELECT DISTINCT {bucket} FROM {self.query.rows(key)} AS t "
                f"WHERE ({texts}) IN (VALUES {values})"
            )
            found.update(chunks[row[0]] for row in rows)
        return found

    # Digests ---------------------------------------------------------------------------------

    def digests(
        self,
        connection: session.Connection,
        name: str,
        canonical: Sequence[str],
        form: DigestForm,
        chunks: Sequence[Chunk] | None = None,
    ) -> dict[str | None, Digest]:
        """Return the digest of a table per region, over ``canonical`` cells of its columns."""
        statement = self.select(name, canonical, chunks)
        return digest.per_region(connection, statement, self._region_cell(name, canonical), form)

    def chunk_digests(
        self,
        connection: session.Connection,
        name: str,
        canonical: Sequence[str],
        form: DigestForm,
        chunks: Sequence[Chunk],
    ) -> dict[Chunk, Digest]:
        """Return the digest of each of a table's chunks.

        Args:
            connection: a reader.
            name: key of the table, or the name of the link.
            canonical: cells of the columns, over alias ``t``.
            form: how a row becomes a digest.
            chunks: all chunks of the table, in the order of keys.
        """
        bucket = self._bucket(connection, self.query.source_table(name), chunks)
        statement = self.select(name, canonical, after=[bucket])
        found = digest.per_group(connection, statement, form)
        return {chunk: found.get(place, Digest()) for place, chunk in enumerate(chunks)}

    def row_digests(
        self,
        connection: session.Connection,
        name: str,
        canonical: Sequence[str],
        key_cells: Sequence[int],
        form: DigestForm,
        chunks: Sequence[Chunk] | None = None,
    ) -> Iterator[RowDigest]:
        """Yield the digest of every row of a table."""
        statement = self.select(name, canonical, chunks)
        region = self._region_cell(name, canonical)
        yield from digest.per_row(connection, statement, region, key_cells, form)

    def cells(
        self,
        connection: session.Connection,
        name: str,
        canonical: Sequence[str],
        key_cells: Sequence[int],
        keys: Sequence[tuple[str | None, ...]],
    ) -> Iterator[tuple[str | None, ...]]:
        """Yield the cells of the rows with these keys, the regions last."""
        if not keys or not key_cells:
            return
        names = ", ".join(f"({canonical[number]})::text" for number in key_cells)
        values = ", ".join(
            f"({', '.join(ddl.literal(part or '') for part in key)})" for key in keys
        )
        shown = [f"({cell})::text" for cell in canonical]
        yield from connection.execute(
            self.select(name, shown, where=f"({names}) IN (VALUES {values})")
        )

    # Rows that match a condition -------------------------------------------------------------

    def count_matching(
        self, connection: session.Connection, name: str, predicates: Sequence[str]
    ) -> list[int]:
        """Return how many rows match each predicate over alias ``t``."""
        counts = ", ".join(f"count(*) FILTER (WHERE {predicate})" for predicate in predicates)
        table = self.query.relation(self.query.source_table(name), "t")
        row = connection.execute(f"SELECT {counts} FROM {table}").fetchone()
        assert row is not None
        return [int(count) for count in row]

    def matching(self, connection: session.Connection, name: str, predicate: str) -> list[Offender]:
        """Return every row that matches a predicate over alias ``t``."""
        key = self.query.source_table(name)
        joined = self.query.joined(key)
        rows = connection.execute(
            f"SELECT {self.shown_key(key)} AS key, {self.client_of(joined)} FROM {joined.sql} "
            f"WHERE {predicate} ORDER BY key"
        ).fetchall()
        return [Offender(str(shown), tuple(client) if client else None) for shown, client in rows]

    def rows_matching(
        self,
        connection: session.Connection,
        name: str,
        expressions: Sequence[str],
        predicate: str,
    ) -> Iterator[tuple[object, ...]]:
        """Yield the rows that match a predicate, one at a time.

        In front of each stand its key as text, and the key of its client as an array or NULL.
        """
        key = self.query.source_table(name)
        front = [self.shown_key(key), self.client_of(self.query.joined(key))]
        statement = self.select(name, [*front, *expressions], where=predicate)
        yield from self._streamed(connection, statement, at_once=1)

    def client_of(self, joined: Joined) -> str:
        """Return SQL for the key of the client that a row belongs to, NULL if to none."""
        if joined.root is None:
            return "NULL::text[]"
        return (
            f"CASE WHEN {self.query.is_client(joined.root)} THEN {self.query.client(joined.root)} "
            "END"
        )

    def shown_key(self, key: str) -> str:
        """Return SQL for the key of a row of alias ``t`` as one text."""
        columns = order_columns(self.layout, key)
        shown = " || ', ' || ".join(f"t.{ddl.quote(column)}::text" for column in columns)
        if shown and self.encoding == encoding.SQL_ASCII:
            # It may be no text at all, and then cannot be sent as one.
            return f"encode(convert_to({shown}, 'SQL_ASCII'), 'escape')"
        return shown or "t.ctid::text"


@contextmanager
def _reading() -> Iterator[None]:
    """Say that the run can be resumed where the source fails."""
    try:
        yield
    except psycopg.Error as error:
        raise Interrupted(
            f"reading the source stopped: {session.first_line(error)}",
            hint="run the same command again: it goes on with what is missing",
        ) from None


@contextmanager
def blaming_the_rule() -> Iterator[None]:
    """Say that ``[root.region] sql`` is wrong where the server cannot evaluate it."""
    try:
        yield
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            raise
        raise UsageError(
            f"[root.region] sql cannot be evaluated: {session.first_line(error)}",
            hint="write an expression over the columns of the root, as root.<column>, that gives "
            "a region's code",
        ) from None
