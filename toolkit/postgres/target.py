"""The layout ``tables`` as a target of a migration: what the engine asks of every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import psycopg

from toolkit.config import Configuration
from toolkit.digest import Digest, RowDigest
from toolkit.errors import Refused
from toolkit.findings import Code, Finding, sampled_keys
from toolkit.journal import Chunk, Run, State
from toolkit.layout import Layout, Scope
from toolkit.postgres import ddl, digest, inspect, session, takedown
from toolkit.postgres.copy import Copier, Worker
from toolkit.postgres.layout import build
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source, order_columns
from toolkit.postgres.store import Store


class PostgresTarget:
    """The layout ``tables`` in one schema of one database.

    Args:
        url: of the target.
        layout: the decisions.
        project: the operator's configuration.
    """

    backend = "postgres"

    def __init__(self, url: str, layout: Layout, project: Configuration) -> None:
        self._url = url
        self._layout = layout
        self._schema = project.target_schema
        self._server = layout.topology.server(self.backend)
        self._store = Store(self._schema)

    @property
    def server(self) -> str:
        """The name of the server that the rows go to."""
        return self._server

    @property
    def place(self) -> str:
        """Where the rows go, for messages."""
        return f"schema {self._schema!r}"

    def _connect(self) -> Connection:
        return session.connect(self._url, role="postgres")

    def lock(self) -> AbstractContextManager[object]:
        """Hold the lock that keeps a second migration out."""
        return session.exclusive(self._url, role="postgres", name=f"migrate {self._schema}")

    # The engine's protocol ---------------------------------------------------------------------

    def check(self, source: Source) -> None:
        """Refuse a target that cannot take the rows. Writes nothing.

        Raises:
            Refused: the layout is not applied, or it holds rows that no journal knows.
        """
        with self._connect() as connection:
            session.require_target_version(connection)
            wanted = {table.name for table in build(self._layout, self._schema).tables.values()}
            missing = sorted(wanted - inspect.table_names(connection, self._schema))
            if missing:
                raise Refused(
                    f"the layout is not applied to schema {self._schema!r}: "
                    f"{len(missing)} table(s) are missing",
                    details=missing[:10],
                    hint="run 'regionkit apply --backend postgres' first",
                )
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

    def values_refused(self, source: Source, connection: Connection) -> list[Finding]:
        """Return nothing: PostgreSQL holds every value of PostgreSQL."""
        return []

    def run(self) -> Run | None:
        """Return how far the migration has come; ``None`` if it never started."""
        with self._connect() as connection:
            return self._store.run(connection)

    def chunks(self) -> list[tuple[Chunk, int | None]]:
        """Return the journaled chunks with their rows, ``None`` for those still to be copied."""
        with self._connect() as connection:
            return self._store.chunks(connection)

    def begin(self, fingerprint: str, chunks: Sequence[Chunk]) -> Run:
        """Note the start of a migration."""
        with self._connect() as connection:
            self._store.create(connection)
            return self._store.begin(connection, fingerprint, chunks)

    def resume(self, fingerprint: str) -> Run:
        """Note another start of a migration."""
        with self._connect() as connection:
            return self._store.resume(connection, fingerprint)

    def prepare(self, run: Run) -> None:
        """Take constraints, indexes and triggers out of the way."""
        with self._connect() as connection:
            takedown.take_down(connection, self._schema)

    @contextmanager
    def workers(
        self, source: Source, run: Run
    ) -> Iterator[Callable[[], AbstractContextManager[Worker]]]:
        """Return what opens a worker."""
        with self._connect() as connection:
            same = source.same_database(connection)
        copier = Copier(source, self._url, self._schema, run, same_database=same)
        yield copier.worker

    def finish(self, run: Run, progress: Callable[[str], None]) -> None:
        """Fill key tables, put back what was taken down, set sequences."""
        with self._connect() as connection:
            if run.state is State.copying:
                self._fill_key_tables(connection, run, progress)
            takedown.put_back(connection, self._schema, progress=progress)
            progress("sequences")
            self._set_sequences(connection)
            progress("statistics")
            for name in (*self._names().values(), self._layout.link):
                connection.execute(f"ANALYZE {ddl.quote(self._schema, name)}")
            self._store.advance(connection, State.finished, run.epoch)

    def _fill_key_tables(
        self, connection: Connection, run: Run, progress: Callable[[str], None]
    ) -> None:
        with connection.transaction():
            for name, (table, columns) in self._key_tables().items():
                progress(f"key table {name}")
                connection.execute(f"TRUNCATE {ddl.quote(self._schema, name)}")
                connection.execute(ddl.fill_key_table(self._schema, table, name, columns))
            self._store.advance(connection, State.copied, run.epoch)

    def _set_sequences(self, connection: Connection) -> None:
        """Let every sequence stand past the greatest value of its column."""
        for table, column, sequence in self._sequences(connection):
            connection.execute(
                f"SELECT setval({ddl.literal(sequence)}, m) FROM (SELECT max({ddl.quote(column)}) "
                f"AS m FROM {ddl.quote(self._schema, table)}) AS greatest WHERE m IS NOT NULL"
            )

    def _sequences(self, connection: Connection) -> list[tuple[str, str, str]]:
        """Return table, column and sequence of every column that draws from one."""
        rows = connection.execute(
            """
            SELECT c.relname, a.attname, s.oid::regclass::text
            FROM pg_class s
            JOIN pg_depend d ON d.classid IN ('pg_class'::regclass, 'pg_attrdef'::regclass)
            LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
              AND d.refobjid = s.oid
            JOIN pg_class c ON c.oid = CASE WHEN f.oid IS NULL THEN d.refobjid ELSE f.adrelid END
            JOIN pg_attribute a ON a.attrelid = c.oid
              AND a.attnum = CASE WHEN f.oid IS NULL THEN d.refobjsubid ELSE f.adnum END
            WHERE s.relkind = 'S' AND (f.oid IS NOT NULL OR
                  (d.objid = s.oid AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'))
              AND c.relnamespace = to_regnamespace(quote_ident(%s)) AND NOT c.relispartition
            """,
            (self._schema,),
        ).fetchall()
        return [(str(table), str(column), str(sequence)) for table, column, sequence in rows]

    def _names(self) -> dict[str, str]:
        """Return the target's table for every table key."""
        return {key: self._layout.table(key).name for key in self._layout.placement.tables}

    def _key_tables(self) -> Mapping[str, tuple[str, tuple[str, ...]]]:
        """Return, per key table, the table that it keeps and the columns."""
        return {
            unique.key_table: (regional.table.name, unique.columns)
            for regional in self._layout.regional.values()
            for unique in regional.uniques
            if unique.scope is Scope.key_table and unique.key_table is not None
        }

    # Verification ------------------------------------------------------------------------------

    def canonical(self, name: str) -> list[str]:
        """Return canonical texts of a source table's columns, over alias ``t``."""
        return [digest.text_form(f"t.{ddl.quote(column)}") for column in self._columns(name)]

    def key_cells(self, name: str) -> list[int]:
        """Return which of the canonical cells are the key."""
        key = self._layout.placement.root if name == self._layout.link else name
        columns = self._columns(name)
        return [columns.index(column) for column in order_columns(self._layout, key)]

    def _columns(self, name: str) -> list[str]:
        if name == self._layout.link:
            return list(self._layout.link_columns)
        # Generated columns are compared too: the target computed them anew.
        return [column.name for column in self._layout.table(name).columns]

    def _select(self, name: str) -> tuple[str, int | None]:
        """Return a SELECT of canonical texts of what is in the target, and the region's index."""
        layout = self._layout
        if name == layout.link:
            columns = [*layout.link_columns.values(), layout.region_column]
            return digest.cells_of(ddl.quote(self._schema, name), columns), len(columns) - 1
        placed = layout.placement[name]
        columns = self._columns(name)
        region = len(columns) if placed.regional else None
        if placed.regional:
            columns.append(layout.region_column)
        columns += [layout.reference_columns[key] for key in placed.foreign_references]
        return digest.cells_of(ddl.quote(self._schema, layout.table(name).name), columns), region

    def digests(self, name: str) -> dict[str | None, Digest]:
        """Return the digest of a table of the target per region."""
        with self._connect() as connection:
            statement, region = self._select(name)
            return digest.per_region(connection, statement, region)

    def row_digests(self, name: str) -> Iterator[RowDigest]:
        """Yield the digest of every row of a table of the target."""
        with self._connect() as connection:
            statement, region = self._select(name)
            yield from digest.per_row(connection, statement, region, self.key_cells(name))

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
        """Compare what the layout adds with the data, both ways: link, key tables, sequences."""
        with self._connect() as connection:
            yield from self._audit_link(connection)
            yield from self._audit_home_paths(connection)
            yield from self._audit_references(connection)
            yield from self._audit_key_tables(connection)
            yield from self._audit_sequences(connection)
            if self._store.exists(connection) and (
                down := takedown.remaining(connection, self._schema)
            ):
                yield Finding(
                    Code.constraint_missing,
                    self._server,
                    self._schema,
                    count=down,
                    detail="constraints, indexes or triggers are still taken down",
                )

    def _found(
        self, connection: Connection, code: Code, table: str, query: str, detail: str
    ) -> Iterator[Finding]:
        """Yield one finding per region for the rows (region, key) that a query returns."""
        rows = connection.execute(
            f"SELECT region, count(*), (array_agg(key ORDER BY key))[1:10] "
            f"FROM ({query}) AS found(region, key) GROUP BY 1 ORDER BY 1"
        ).fetchall()
        for region, count, keys in rows:
            yield Finding(code, self._server, table, region, int(count), sampled_keys(keys), detail)

    def _audit_link(self, connection: Connection) -> Iterator[Finding]:
        layout, region = self._layout, ddl.quote(self._layout.region_column)
        root = ddl.quote(self._schema, layout.root.table.name)
        link = ddl.quote(self._schema, layout.link)
        on = " AND ".join(
            f"l.{ddl.quote(link_column)} = t.{ddl.quote(column)}"
            for column, link_column in layout.link_columns.items()
        )
        key = _shown("t", layout.link_columns)
        link_key = _shown("l", layout.link_columns.values())
        yield from self._found(
            connection,
            Code.client_without_link,
            layout.root.key,
            f"SELECT t.{region}, {key} FROM {root} t "
            f"WHERE NOT EXISTS (SELECT FROM {link} l WHERE {on})",
            f"no row in {layout.link}",
        )
        yield from self._found(
            connection,
            Code.link_without_client,
            layout.link,
            f"SELECT l.{region}, {link_key} FROM {link} l "
            f"WHERE NOT EXISTS (SELECT FROM {root} t WHERE {on})",
            f"no row in {layout.root.key}",
        )
        yield from self._found(
            connection,
            Code.link_differs,
            layout.root.key,
            f"SELECT t.{region}, {key} FROM {root} t JOIN {link} l ON {on} "
            f"WHERE l.{region} <> t.{region}",
            f"{layout.link} says another region",
        )

    def _audit_home_paths(self, connection: Connection) -> Iterator[Finding]:
        """Every owned row is where the row is that it follows; by induction, with its client."""
        region = ddl.quote(self._layout.region_column)
        for name, regional in self._layout.regional.items():
            home = regional.placement.home
            if home is None:
                continue
            parent = ddl.quote(self._schema, self._layout.table(home.target).name)
            on = " AND ".join(
                f"p.{ddl.quote(target)} = t.{ddl.quote(column)}"
                for column, target in zip(home.columns, home.target_columns, strict=True)
            )
            present = " AND ".join(f"t.{ddl.quote(column)} IS NOT NULL" for column in home.columns)
            shown = _shown("t", order_columns(self._layout, name) or home.columns)
            yield from self._found(
                connection,
                Code.row_misplaced,
                name,
                f"SELECT t.{region}, {shown} FROM {ddl.quote(self._schema, regional.table.name)} t "
                f"WHERE {present} AND NOT EXISTS (SELECT FROM {parent} p "
                f"WHERE {on} AND p.{region} = t.{region})",
                f"not in the region of its {home.target}",
            )

    def _audit_references(self, connection: Connection) -> Iterator[Finding]:
        """No foreign key leads nowhere, proven by anti-join and not by the constraint."""
        for table in build(self._layout, self._schema).tables.values():
            for constraint in table.foreign_key_constraints:
                referred = constraint.referred_table
                on = " AND ".join(
                    f"p.{ddl.quote(element.column.name)} = t.{ddl.quote(column)}"
                    for element, column in zip(
                        constraint.elements, constraint.column_keys, strict=True
                    )
                )
                present = " AND ".join(
                    f"t.{ddl.quote(column)} IS NOT NULL" for column in constraint.column_keys
                )
                shown = _shown(
                    "t",
                    [column.name for column in table.primary_key.columns] or constraint.column_keys,
                )
                yield from self._found(
                    connection,
                    Code.orphan,
                    table.name,
                    f"SELECT NULL::text, {shown} FROM {ddl.quote(self._schema, table.name)} t "
                    f"WHERE {present} AND NOT EXISTS (SELECT FROM "
                    f"{ddl.quote(self._schema, referred.name)} p WHERE {on})",
                    f"{', '.join(constraint.column_keys)} leads to no row of {referred.name}",
                )

    def _audit_key_tables(self, connection: Connection) -> Iterator[Finding]:
        for name, (table, columns) in self._key_tables().items():
            kept = ddl.quote(self._schema, table)
            key_table = ddl.quote(self._schema, name)
            names = ddl.columns(columns)
            present = " AND ".join(f"{ddl.quote(column)} IS NOT NULL" for column in columns)
            shown = _shown("d", columns)
            for minuend, subtrahend, detail in (
                (
                    f"SELECT {names} FROM {kept} WHERE {present}",
                    f"SELECT {names} FROM {key_table}",
                    f"not in {name}",
                ),
                (
                    f"SELECT {names} FROM {key_table}",
                    f"SELECT {names} FROM {kept} WHERE {present}",
                    f"in {name}, but in no row",
                ),
            ):
                yield from self._found(
                    connection,
                    Code.key_table_differs,
                    table,
                    f"SELECT NULL::text, {shown} FROM ({minuend} EXCEPT ALL {subtrahend}) AS d",
                    detail,
                )

    def _audit_sequences(self, connection: Connection) -> Iterator[Finding]:
        for table, column, sequence in self._sequences(connection):
            row = connection.execute(
                f"SELECT m, last_value FROM (SELECT max({ddl.quote(column)}) AS m "
                f"FROM {ddl.quote(self._schema, table)}) AS greatest, {sequence} "
                "WHERE m > last_value OR (m = last_value AND NOT is_called)"
            ).fetchone()
            if row is not None:
                yield Finding(
                    Code.sequence_behind,
                    self._server,
                    table,
                    keys=(str(row[0]),),
                    detail=f"{sequence} stands at {row[1]}, {column} has reached {row[0]}",
                )

    def invariants(self, project: Configuration) -> Iterator[tuple[str, Finding | None]]:
        """Run the declared invariants; yield each name with what it found."""
        with self._connect() as connection:
            session.search_path(connection, self._schema)
            for invariant in project.file.invariant:
                yield invariant.name, self._violated(connection, invariant.name, invariant.sql)

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


def _shown(alias: str, columns: Iterable[str]) -> str:
    """Return SQL for a key as one text."""
    return " || ', ' || ".join(f"{alias}.{ddl.quote(column)}::text" for column in columns)
