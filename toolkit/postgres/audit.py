"""Compares what the layout ``tables`` adds with the data, both ways, without trusting constraints.

A load can run with constraints off, and ``VALIDATE`` passes on a key that is valid already, so
closure is proven by anti-join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sqlalchemy import MetaData

from toolkit.findings import Code, Finding, sampled_keys
from toolkit.layout import Layout
from toolkit.postgres import ddl
from toolkit.postgres.layout import key_tables
from toolkit.postgres.session import Connection
from toolkit.postgres.source import order_columns


@dataclass(frozen=True)
class _Reference:
    """What must hold of the rows of a table: each leads to a row of another.

    Attributes:
        code: of the finding where it does not.
        table: named in the finding.
        child_key: the placement's key of the table, or its name where it has none.
        parent_key: likewise, of the table that is referred to.
        parent: that table, qualified.
        pairs: columns, and those of the other table that they must equal.
        required: columns without which there is no reference.
        region: SQL for the region of the finding.
        shown: SQL for the key of the row.
        detail: of the finding.
        followed: whether the region of a row is found along it.
    """

    code: Code
    table: str
    child_key: str
    parent_key: str
    parent: str
    pairs: tuple[tuple[str, str], ...]
    required: tuple[str, ...]
    region: str
    shown: str
    detail: str
    followed: bool

    @property
    def present(self) -> str:
        """The condition for a row to refer at all."""
        return " AND ".join(f"t.{ddl.quote(column)} IS NOT NULL" for column in self.required)

    def on(self, alias: str) -> str:
        """Return the condition of the join."""
        return " AND ".join(
            f"{alias}.{ddl.quote(target)} = t.{ddl.quote(column)}" for column, target in self.pairs
        )

    def missing(self, alias: str) -> str:
        """Return the condition for the join to have found nothing."""
        return f"{alias}.{ddl.quote(self.pairs[0][1])} IS NULL"


class Audit:
    """The audit of one layout.

    Args:
        connection: to the target.
        metadata: the layout, spelled out as tables.
        layout: the decisions.
        server: the target's name, for findings.
    """

    def __init__(
        self, connection: Connection, metadata: MetaData, layout: Layout, server: str
    ) -> None:
        self._connection = connection
        self._metadata = metadata
        self._schema = str(metadata.schema)
        self._layout = layout
        self._server = server

    def run(self) -> Iterator[Finding]:
        """Yield what is wrong; nothing if all is well."""
        yield from self.kept_apart()
        for name in self._tables():
            yield from self.references(name, frozenset())

    def kept_apart(self) -> Iterator[Finding]:
        """Audit what the layout keeps beside the rows: the link, key tables and sequences."""
        yield from self._link()
        yield from self._key_tables()
        yield from self._sequences()

    def _tables(self) -> Iterator[str]:
        yield from (table.name for table in self._metadata.tables.values())

    def _found(self, code: Code, table: str, query: str, detail: str) -> Iterator[Finding]:
        """Yield one finding per region for the rows (region, key) that a query returns."""
        rows = self._connection.execute(
            f"SELECT region, count(*), (array_agg(key ORDER BY key))[1:10] "
            f"FROM ({query}) AS found(region, key) GROUP BY 1 ORDER BY 1"
        ).fetchall()
        for region, count, keys in rows:
            yield Finding(code, self._server, table, region, int(count), sampled_keys(keys), detail)

    def _link(self) -> Iterator[Finding]:
        layout, region = self._layout, ddl.quote(self._layout.region_column)
        root = ddl.quote(self._schema, layout.name(layout.root.key))
        link = ddl.quote(self._schema, layout.link)
        on = " AND ".join(
            f"l.{ddl.quote(link_column)} = t.{ddl.quote(column)}"
            for column, link_column in layout.link_columns.items()
        )
        key = _shown("t", layout.link_columns)
        link_key = _shown("l", layout.link_columns.values())
        yield from self._found(
            Code.client_without_link,
            layout.root.key,
            f"SELECT t.{region}, {key} FROM {root} t "
            f"WHERE NOT EXISTS (SELECT FROM {link} l WHERE {on})",
            f"no row in {layout.link}",
        )
        yield from self._found(
            Code.link_without_client,
            layout.link,
            f"SELECT l.{region}, {link_key} FROM {link} l "
            f"WHERE NOT EXISTS (SELECT FROM {root} t WHERE {on})",
            f"no row in {layout.root.key}",
        )
        yield from self._found(
            Code.link_differs,
            layout.root.key,
            f"SELECT t.{region}, {key} FROM {root} t JOIN {link} l ON {on} "
            f"WHERE l.{region} <> t.{region}",
            f"{layout.link} says another region",
        )

    def references(self, name: str, equal: AbstractSet[str]) -> Iterator[Finding]:
        """Prove by anti-join that no foreign key of a table leads nowhere, or to another region.

        Constraints are not trusted. All keys of a table are asked in one pass, and a second one
        lists the rows only where there are some.

        Args:
            name: of a table of the target.
            equal: keys of the tables that were compared row by row, regions included. The region
                of such a row was found along its home path and its foreign references, so those
                lead to where they should.
        """
        asked = [one for one in self._asked(name) if not self._is_proven(one, equal)]
        if not asked:
            return
        joins, counts = [], []
        for number, one in enumerate(asked):
            alias = f"p{number}"
            joins.append(f"LEFT JOIN {one.parent} AS {alias} ON {one.on(alias)}")
            counts.append(f"count(*) FILTER (WHERE {one.present} AND {one.missing(alias)})")
        child = ddl.quote(self._schema, name)
        row = self._connection.execute(
            f"SELECT {', '.join(counts)} FROM {child} AS t {' '.join(joins)}"
        ).fetchone()
        assert row is not None
        for one, count in zip(asked, row, strict=True):
            if count:
                yield from self._found(
                    one.code,
                    one.table,
                    f"SELECT {one.region}, {one.shown} FROM {child} AS t "
                    f"LEFT JOIN {one.parent} AS p ON {one.on('p')} "
                    f"WHERE {one.present} AND {one.missing('p')}",
                    one.detail,
                )

    def _is_proven(self, one: _Reference, equal: AbstractSet[str]) -> bool:
        return one.followed and {one.child_key, one.parent_key} <= equal

    def _asked(self, name: str) -> Iterator[_Reference]:
        """Yield what must hold of a table: its home path, and each of its foreign keys."""
        layout, tables = self._layout, self._metadata.tables
        keys = {layout.name(key): key for key in layout.placement.tables}
        key = keys.get(name, name)
        region = ddl.quote(layout.region_column)
        regional = layout.regional.get(key)
        home = regional.placement.home if regional else None
        if regional and home:
            yield _Reference(
                code=Code.row_misplaced,
                table=key,
                child_key=key,
                parent_key=home.target,
                parent=ddl.quote(self._schema, layout.name(home.target)),
                pairs=(
                    *zip(home.columns, home.target_columns, strict=True),
                    (layout.region_column, layout.region_column),
                ),
                required=home.columns,
                region=f"t.{region}",
                shown=_shown("t", order_columns(layout, key) or home.columns),
                detail=f"not in the region of its {home.target}",
                followed=True,
            )
        table = tables[f"{self._schema}.{name}"]
        followed = set(layout.placement[key].foreign_references) if name in keys else set()
        followed_columns = {frozenset(reference.columns) for reference in followed}
        if home:
            followed_columns.add(frozenset(home.columns))
        for constraint in table.foreign_key_constraints:
            referred = constraint.referred_table
            columns = constraint.column_keys
            own = frozenset(columns) - {layout.region_column, *layout.reference_columns.values()}
            yield _Reference(
                code=Code.orphan,
                table=name,
                child_key=key,
                parent_key=keys.get(referred.name, referred.name),
                parent=ddl.quote(self._schema, referred.name),
                pairs=tuple(
                    (column, element.column.name)
                    for element, column in zip(constraint.elements, columns, strict=True)
                ),
                required=tuple(columns),
                region="NULL::text",
                shown=_shown("t", [column.name for column in table.primary_key.columns] or columns),
                detail=f"{', '.join(columns)} leads to no row of {referred.name}",
                followed=own in followed_columns,
            )

    def _key_tables(self) -> Iterator[Finding]:
        for one in key_tables(self._metadata):
            # As texts where not every type has an equality.
            cast = "::text" if one.images else ""
            keys = ", ".join(f"k.{ddl.quote(name)}{cast}" for name in one.names)
            rows = f"SELECT {keys} FROM ({one.select(ddl.quote(self._schema, one.keeps))}) AS k"
            held = f"SELECT {keys} FROM {ddl.quote(self._schema, one.name)} AS k"
            shown = " || ', ' || ".join(
                f"coalesce(d.{ddl.quote(name)}::text, 'NULL')" for name in one.names
            )
            for minuend, subtrahend, detail in (
                (rows, held, f"not in {one.name}"),
                (held, rows, f"in {one.name}, but in no row"),
            ):
                yield from self._found(
                    Code.key_table_differs,
                    one.keeps,
                    f"SELECT NULL::text, {shown} FROM ({minuend} EXCEPT ALL {subtrahend}) "
                    f"AS d({ddl.columns(one.names)})",
                    detail,
                )

    def _sequences(self) -> Iterator[Finding]:
        for table, column, sequence in sequences(self._connection, self._schema, numbers=True):
            row = self._connection.execute(
                "SELECT m, last_value FROM "
                f"({furthest(self._schema, table, column, sequence)}) AS furthest(m), {sequence}, "
                f"pg_sequence WHERE seqrelid = {ddl.literal(sequence)}::regclass "
                "AND ((m - last_value) * sign(seqincrement) > 0 "
                "OR (m = last_value AND NOT is_called))"
            ).fetchone()
            if row is not None:
                yield Finding(
                    Code.sequence_behind,
                    self._server,
                    table,
                    keys=(str(row[0]),),
                    detail=f"{sequence} stands at {row[1]}, {column} has reached {row[0]}",
                )


def sequences(
    connection: Connection, schema: str, *, numbers: bool = False
) -> list[tuple[str, str, str]]:
    """Return table, column and sequence of every column that draws from one.

    Args:
        connection: to the server.
        schema: of the tables.
        numbers: only columns of a type of numbers; a text can have a number of a sequence in it.
    """
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
          AND (NOT %s OR (SELECT typcategory = 'N' FROM pg_type WHERE oid = a.atttypid))
        """,
        (schema, numbers),
    ).fetchall()
    return [(str(table), str(column), str(sequence)) for table, column, sequence in rows]


def furthest(schema: str, table: str, column: str, sequence: str) -> str:
    """Return a SELECT of the value of a column that its sequence would hand out last.

    Values out of the sequence's range are none of its own.
    """
    value = ddl.quote(column)
    return (
        f"SELECT CASE WHEN seqincrement > 0 THEN max({value}) ELSE min({value}) END "
        f"FROM {ddl.quote(schema, table)}, pg_sequence "
        f"WHERE seqrelid = {ddl.literal(sequence)}::regclass "
        f"AND {value} BETWEEN seqmin AND seqmax GROUP BY seqincrement"
    )


def _shown(alias: str, columns: Iterable[str]) -> str:
    """Return SQL for a key as one text."""
    return " || ', ' || ".join(f"{alias}.{ddl.quote(column)}::text" for column in columns)
