"""Reading the source: which region every row belongs to, in ranges of keys, under one snapshot.

The region of a row is computed from the source alone, by joins along its home path up to the root
and the operator's rule there. Copying and verification both ask here, each with expressions of its
own for the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg
from sqlalchemy import Computed

from toolkit.config import Configuration, RegionRule
from toolkit.digest import Digest, RowDigest
from toolkit.errors import Interrupted, UsageError
from toolkit.journal import Chunk, Key
from toolkit.layout import Layout
from toolkit.placement import ForeignKey
from toolkit.postgres import ddl, digest, session

#: Rows that are fetched first, at most, and the bytes of text that a batch should come to.
_FIRST_FETCH, _FETCH, _FETCH_BYTES = 100, 5_000, 8 << 20


@dataclass(frozen=True)
class Refusal:
    """Rows that cannot be placed.

    Attributes:
        table: key of the table.
        reason: why, with the value where there is one.
        keys: every key, as PostgreSQL prints it.
    """

    table: str
    reason: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Joined:
    """The FROM clause that tells the region of every row of a table.

    Attributes:
        sql: the table with alias ``t``, and every join that is needed.
        region: expression for the region of the row, ``NULL`` for a global table.
        references: expression for the region of each foreign reference, in the placement's order.
        root: alias of the client's row, ``None`` for a global table.
        targets: alias of the row that each foreign reference leads to.
    """

    sql: str
    region: str
    references: dict[ForeignKey, str]
    root: str | None
    targets: dict[ForeignKey, str]


class RegionQuery:
    """Composes SQL that tells the region of every row. Pure.

    Args:
        layout: the decisions.
        project: the rule of the root.
    """

    def __init__(self, layout: Layout, project: Configuration) -> None:
        self._layout = layout
        self._schema = layout.default_schema or "public"
        self._rule = project.file.root.region
        self._map = project.region_map
        self._clients = project.clients()

    def table(self, key: str) -> str:
        """Return the qualified name of a table of the source."""
        return ddl.quote(self._schema, self._layout.table(key).name)

    def source_table(self, name: str) -> str:
        """Return the table that the rows of ``name`` come from: the root, for the link."""
        return self._layout.placement.root if name == self._layout.link else name

    def joined(self, key: str) -> Joined:
        """Return the FROM clause of a table."""
        placed = self._layout.placement[key]
        joins = [f"{self.table(key)} AS t"]
        region, root = "NULL::text", None
        if placed.regional:
            region, root = self._region(key, "t", "h", joins)
            if placed.orphans is not None and placed.home is not None:
                missing = " OR ".join(f"t.{ddl.quote(c)} IS NULL" for c in placed.home.columns)
                region = f"CASE WHEN {missing} THEN {ddl.literal(placed.orphans)} ELSE {region} END"
        references: dict[ForeignKey, str] = {}
        targets: dict[ForeignKey, str] = {}
        for number, reference in enumerate(placed.foreign_references):
            alias = targets[reference] = f"f{number}"
            joins.append(self._join(reference, "t", alias))
            references[reference], _ = self._region(reference.target, alias, f"{alias}_", joins)
        return Joined(" ".join(joins), region, references, root, targets)

    def _join(self, reference: ForeignKey, alias: str, target: str) -> str:
        condition = " AND ".join(
            f"{alias}.{ddl.quote(column)} = {target}.{ddl.quote(target_column)}"
            for column, target_column in zip(
                reference.columns, reference.target_columns, strict=True
            )
        )
        return f"LEFT JOIN {self.table(reference.target)} AS {target} ON {condition}"

    def _region(self, key: str, alias: str, prefix: str, joins: list[str]) -> tuple[str, str]:
        """Return a row's region and the alias of its client; append the joins that they need."""
        for number, hop in enumerate(self._layout.placement[key].home_path):
            joins.append(self._join(hop, alias, f"{prefix}{number}"))
            alias = f"{prefix}{number}"
        return self._rule_expression(alias, prefix, joins), alias

    def _rule_expression(self, root: str, prefix: str, joins: list[str]) -> str:
        rule = self._rule
        if rule.sql is not None:
            region = f"(SELECT ({rule.sql})::text FROM (SELECT {root}.*) AS root)"
        elif self._clients is not None:
            region = self._listed(root, prefix, joins)
        else:
            column = self._column(root, prefix, joins)
            cases = " ".join(
                f"WHEN {ddl.literal(value)} THEN {ddl.literal(code)}"
                for value, code in self._map.items()
            )
            region = f"CASE {column}::text {cases} END" if cases else "NULL::text"
        if rule.default is not None:
            key = ddl.quote(self._layout.root.primary_key[0])
            default = ddl.literal(rule.default)
            # Only where there is a client: the default is no home for rows without one.
            region = f"CASE WHEN {root}.{key} IS NOT NULL THEN coalesce({region}, {default}) END"
        return region

    def _listed(self, root: str, prefix: str, joins: list[str]) -> str:
        """Join the operator's list of clients."""
        assert self._clients is not None
        keys = self._layout.root.primary_key
        alias = f"{prefix}list"
        columns = list(zip(*self._clients, strict=True)) or [()] * (len(keys) + 1)
        arrays = ", ".join(
            f"ARRAY[{', '.join(map(ddl.literal, values))}]::text[]" for values in columns
        )
        names = ", ".join(f"k{number}" for number in range(len(keys)))
        condition = " AND ".join(
            f"{root}.{ddl.quote(key)}::text = {alias}.k{number}" for number, key in enumerate(keys)
        )
        joins.append(f"LEFT JOIN unnest({arrays}) AS {alias}({names}, region) ON {condition}")
        return f"{alias}.region"

    def value(self) -> str | None:
        """Return the column of a client (alias ``t``) that decides, if it is a column."""
        return None if self._rule.column is None else self._column("t", "h", [])

    @property
    def rule(self) -> RegionRule:
        """The operator's rule."""
        return self._rule

    def _column(self, root: str, prefix: str, joins: list[str]) -> str:
        """Return the column that the rule names, after its hops over foreign keys."""
        assert self._rule.column is not None
        *hops, last = self._rule.column.split(".")
        alias, key = root, self._layout.placement.root
        for number, hop in enumerate(hops):
            found = [
                reference
                for reference in self._layout.placement[key].roles
                if reference.columns == (hop,)
            ]
            if not found:
                raise UsageError(
                    f"[root.region] column: {hop!r} of {key!r} is not a foreign key",
                    details=[str(reference) for reference in self._layout.placement[key].roles],
                    hint="name hops over foreign-key columns, then a column: a_id.b_id.country",
                )
            target = f"{prefix}p{number}"
            joins.append(self._join(found[0], alias, target))
            alias, key = target, found[0].target
        if last not in self._layout.table(key).columns:
            raise UsageError(
                f"[root.region] column: {key!r} has no column {last!r}",
                details=[", ".join(self._layout.table(key).columns.keys())],
                hint="name one of these columns",
            )
        return f"{alias}.{ddl.quote(last)}"


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


class Source:
    """The source under one exported snapshot, which every reader shares.

    Args:
        url: of the source.
        layout: the decisions.
        project: the rule of the root.
    """

    def __init__(self, url: str, layout: Layout, project: Configuration) -> None:
        self.url = url
        self.layout = layout
        self.query = RegionQuery(layout, project)
        self.snapshot: str | None = None

    @contextmanager
    def open(self) -> Iterator[Source]:
        """Hold one snapshot for as long as the block runs."""
        with session.connect(self.url, role="source") as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = connection.execute("SELECT pg_export_snapshot()").fetchone()
            assert row is not None
            self.snapshot = str(row[0])
            self._holder = connection
            self._check_rule(connection)
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
        with _blaming_the_rule():
            connection.execute(f"EXPLAIN SELECT {joined.region} FROM {joined.sql}")

    @contextmanager
    def reader(self) -> Iterator[session.Connection]:
        """Open a connection that reads the snapshot, in a transaction of its own.

        Raises:
            Interrupted: the session that exported the snapshot is gone. A silent new snapshot
                would mix two states of the source.
        """
        with session.connect(self.url, role="source") as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
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
        except psycopg.errors.InvalidParameterValue:
            raise Interrupted(
                "the session that holds the source's snapshot is gone",
                hint="run the same command again: it takes a new snapshot and goes on",
            ) from None

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

    # Reading ---------------------------------------------------------------------------------

    def select(self, name: str, expressions: Sequence[str], chunk: Chunk | None = None) -> str:
        """Return a SELECT over alias ``t``.

        Its columns are ``expressions``, then the region (unless the table is global), then the
        regions of the foreign references in the placement's order (not for the link).
        """
        key = self.query.source_table(name)
        joined = self.query.joined(key)
        items = [*expressions]
        if self.layout.placement[key].regional:
            items.append(joined.region)
        if name != self.layout.link:
            items.extend(joined.references.values())
        return f"SELECT {', '.join(items)} FROM {joined.sql}{self._where(key, chunk)}"

    def is_regional(self, name: str) -> bool:
        """Return whether the rows of a table, or the link, carry a region."""
        return self.layout.placement[self.query.source_table(name)].regional

    def _where(self, key: str, chunk: Chunk | None) -> str:
        if chunk is None or (chunk.lower is None and chunk.upper is None):
            return ""
        columns = order_columns(self.layout, key)
        left = ", ".join(f"t.{ddl.quote(column)}" for column in columns)
        conditions = []
        for bound, operator in ((chunk.lower, ">"), (chunk.upper, "<=")):
            if bound is not None:
                values = ", ".join(map(ddl.literal, bound))
                conditions.append(f"({left}) {operator} ({values})")
        return f" WHERE {' AND '.join(conditions)}"

    def rows(
        self,
        connection: session.Connection,
        name: str,
        expressions: Sequence[str],
        chunk: Chunk | None = None,
    ) -> Iterator[list[tuple[object, ...]]]:
        """Yield batches of rows through a server-side cursor: bounded memory."""
        yield from self._batches(connection, self.select(name, expressions, chunk))

    def _batches(
        self, connection: session.Connection, statement: str
    ) -> Iterator[list[tuple[object, ...]]]:
        try:
            with connection.cursor(name="regionkit_rows", binary=True) as cursor:
                cursor.execute(statement)
                size = _FIRST_FETCH
                while batch := cursor.fetchmany(size):
                    yield batch
                    size = _next_fetch(batch)
        except psycopg.Error as error:
            raise Interrupted(
                f"reading the source stopped: {session.first_line(error)}",
                hint="run the same command again: it goes on with what is missing",
            ) from None

    def count(self, connection: session.Connection, name: str) -> int:
        """Return how many rows a table has."""
        table = self.query.table(self.query.source_table(name))
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    def bounds(self, connection: session.Connection, name: str, chunk_rows: int) -> list[Key]:
        """Return the upper key of every chunk but the last."""
        key = self.query.source_table(name)
        columns = order_columns(self.layout, key)
        if not columns:
            return []
        keys = ", ".join(ddl.quote(column) for column in columns)
        texts = ", ".join(f"{ddl.quote(column)}::text" for column in columns)
        rows = connection.execute(
            f"SELECT {texts} FROM (SELECT {keys}, row_number() OVER (ORDER BY {keys}) AS n, "
            f"count(*) OVER () AS total FROM {self.query.table(key)}) AS numbered "
            f"WHERE n % {chunk_rows:d} = 0 AND n < total ORDER BY n"
        ).fetchall()
        return [tuple(str(value) for value in row) for row in rows]

    def digests(
        self, connection: session.Connection, name: str, canonical: Sequence[str]
    ) -> dict[str | None, Digest]:
        """Return the digest of a table per region, over ``canonical`` texts of its columns."""
        region = len(canonical) if self.is_regional(name) else None
        return digest.per_region(connection, self.select(name, canonical), region)

    def row_digests(
        self,
        connection: session.Connection,
        name: str,
        canonical: Sequence[str],
        key_cells: Sequence[int],
    ) -> Iterator[RowDigest]:
        """Yield the digest of every row of a table."""
        region = len(canonical) if self.is_regional(name) else None
        yield from digest.per_row(connection, self.select(name, canonical), region, key_cells)

    def count_matching(
        self, connection: session.Connection, name: str, predicates: Sequence[str]
    ) -> list[int]:
        """Return how many rows match each predicate over alias ``t``."""
        counts = ", ".join(f"count(*) FILTER (WHERE {predicate})" for predicate in predicates)
        table = self.query.table(self.query.source_table(name))
        row = connection.execute(f"SELECT {counts} FROM {table} AS t").fetchone()
        assert row is not None
        return [int(count) for count in row]

    def keys_matching(self, connection: session.Connection, name: str, predicate: str) -> list[str]:
        """Return the key, as PostgreSQL prints it, of every row that matches a predicate."""
        key = self.query.source_table(name)
        rows = connection.execute(
            f"SELECT {self._shown_key(key)} AS key FROM {self.query.table(key)} AS t "
            f"WHERE {predicate} ORDER BY key"
        ).fetchall()
        return [str(row[0]) for row in rows]

    def rows_matching(
        self,
        connection: session.Connection,
        name: str,
        expressions: Sequence[str],
        predicate: str,
    ) -> Iterator[list[tuple[object, ...]]]:
        """Yield the rows that match a predicate, as :meth:`rows` does, their key in front."""
        shown = self._shown_key(self.query.source_table(name))
        statement = self.select(name, [shown, *expressions])
        yield from self._batches(connection, f"{statement} WHERE {predicate}")

    def _shown_key(self, key: str) -> str:
        columns = order_columns(self.layout, key)
        shown = " || ', ' || ".join(f"t.{ddl.quote(column)}::text" for column in columns)
        return shown or "t.ctid::text"

    # Before anything is written --------------------------------------------------------------

    def refusals(self, connection: session.Connection, codes: Sequence[str]) -> list[Refusal]:
        """Return every row that cannot be placed, grouped by the reason.

        Rows of a client that is refused are not listed again: they follow the client.
        """
        found = self._clients_without_region(connection, codes)
        for key in self.layout.placement.tables:
            found.extend(self._dangling(connection, key))
        return found

    def _clients_without_region(
        self, connection: session.Connection, codes: Sequence[str]
    ) -> list[Refusal]:
        key = self.layout.placement.root
        joined = self.query.joined(key)
        value = self.query.value()
        reason = f"coalesce('region ' || quote_literal({joined.region}), 'no region')"
        if value is not None:
            column = ddl.literal(f"{self.query.rule.column} ")
            reason = f"{column} || coalesce('= ' || quote_literal({value}::text), 'is NULL')"
        known = ", ".join(map(ddl.literal, codes))
        unplaced = f"({joined.region}) IS NULL OR ({joined.region}) NOT IN ({known})"
        if self.query.rule.sql is None:
            return self._listed(connection, key, reason, joined, unplaced)
        with _blaming_the_rule():
            return self._listed(connection, key, reason, joined, unplaced)

    def _dangling(self, connection: session.Connection, key: str) -> list[Refusal]:
        """List rows whose home path or foreign reference leads nowhere."""
        placed = self.layout.placement[key]
        joined = self.query.joined(key)
        found: list[Refusal] = []
        if placed.home is not None:
            missing = " OR ".join(f"t.{ddl.quote(c)} IS NULL" for c in placed.home.columns)
            client = ddl.quote(self.layout.root.primary_key[0])
            columns = ", ".join(placed.home.columns)
            nobody = ddl.literal(f"belongs to no client: {columns} leads nowhere")
            null = ddl.literal(f"belongs to no client: {columns} is NULL")
            found += self._listed(
                connection,
                key,
                f"CASE WHEN {missing} THEN {null} ELSE {nobody} END",
                joined,
                f"{joined.root}.{client} IS NULL AND ({joined.region}) IS NULL",
            )
        for reference, alias in joined.targets.items():
            present = " AND ".join(f"t.{ddl.quote(c)} IS NOT NULL" for c in reference.columns)
            found += self._listed(
                connection,
                key,
                ddl.literal(f"{reference} leads nowhere"),
                joined,
                f"{present} AND {alias}.{ddl.quote(reference.target_columns[0])} IS NULL",
            )
        return found

    def _listed(
        self,
        connection: session.Connection,
        key: str,
        reason: str,
        joined: Joined,
        condition: str,
    ) -> list[Refusal]:
        shown = self._shown_key(key)
        rows = connection.execute(
            f"SELECT {reason}, array_agg({shown} ORDER BY {shown}) FROM {joined.sql} "
            f"WHERE {condition} GROUP BY 1 ORDER BY 1"
        ).fetchall()
        return [Refusal(key, str(why), tuple(keys)) for why, keys in rows]


def _next_fetch(batch: Sequence[Sequence[object]]) -> int:
    """Return how many rows to fetch next, so that a batch of wide rows stays in bounds."""
    sample = batch[:: max(1, len(batch) // 100)]
    widths = [
        sum(len(value) for value in row if isinstance(value, (str, bytes, list))) for row in sample
    ]
    return max(1, min(_FETCH, _FETCH_BYTES * len(sample) // max(1, sum(widths))))


@contextmanager
def _blaming_the_rule() -> Iterator[None]:
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
