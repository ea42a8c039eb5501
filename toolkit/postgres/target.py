"""The layout ``tables`` as a target of a migration: what the engine asks of every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import psycopg

from toolkit.config import Configuration
from toolkit.digest import Digest, RowDigest
from toolkit.errors import Refused
from toolkit.findings import Code, Finding, sampled_keys
from toolkit.journal import Chunk, Run, State
from toolkit.layout import Layout
from toolkit.postgres import ddl, digest, inspect, session, takedown
from toolkit.postgres.audit import Audit, key_tables, sequences
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

    def require_applied(self) -> None:
        """Refuse a target in which the layout is not applied. Writes nothing.

        Raises:
            Refused: tables are missing, or the server is too old.
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
            for name, (table, columns) in key_tables(self._layout).items():
                progress(f"key table {name}")
                connection.execute(f"TRUNCATE {ddl.quote(self._schema, name)}")
                connection.execute(ddl.fill_key_table(self._schema, table, name, columns))
            self._store.advance(connection, State.copied, run.epoch)

    def _set_sequences(self, connection: Connection) -> None:
        """Let every sequence stand past the greatest value of its column."""
        for table, column, sequence in sequences(connection, self._schema):
            connection.execute(
                f"SELECT setval({ddl.literal(sequence)}, m) FROM (SELECT max({ddl.quote(column)}) "
                f"AS m FROM {ddl.quote(self._schema, table)}) AS greatest WHERE m IS NOT NULL"
            )

    def _names(self) -> dict[str, str]:
        """Return the target's table for every table key."""
        return {key: self._layout.table(key).name for key in self._layout.placement.tables}

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
        """Compare what the layout adds with the data, both ways."""
        with self._connect() as connection:
            yield from Audit(connection, self._schema, self._layout, self._server).run()
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
