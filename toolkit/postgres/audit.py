"""Compares what the layout ``tables`` adds with the data, both ways, without trusting constraints.

A load can run with constraints off, and ``VALIDATE`` passes on a key that is valid already, so
closure is proven by anti-join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from toolkit.findings import Code, Finding, sampled_keys
from toolkit.layout import Layout, Scope
from toolkit.postgres import ddl
from toolkit.postgres.layout import build
from toolkit.postgres.session import Connection
from toolkit.postgres.source import order_columns


class Audit:
    """The audit of one layout.

    Args:
        connection: to the target.
        schema: of the layout.
        layout: the decisions.
        server: the target's name, for findings.
    """

    def __init__(self, connection: Connection, schema: str, layout: Layout, server: str) -> None:
        self._connection = connection
        self._schema = schema
        self._layout = layout
        self._server = server

    def run(self) -> Iterator[Finding]:
        """Yield what is wrong; nothing if all is well."""
        yield from self._link()
        yield from self._home_paths()
        yield from self._references()
        yield from self._key_tables()
        yield from self._sequences()

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
        root = ddl.quote(self._schema, layout.root.table.name)
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

    def _home_paths(self) -> Iterator[Finding]:
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
                Code.row_misplaced,
                name,
                f"SELECT t.{region}, {shown} FROM {ddl.quote(self._schema, regional.table.name)} t "
                f"WHERE {present} AND NOT EXISTS (SELECT FROM {parent} p "
                f"WHERE {on} AND p.{region} = t.{region})",
                f"not in the region of its {home.target}",
            )

    def _references(self) -> Iterator[Finding]:
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
                    Code.orphan,
                    table.name,
                    f"SELECT NULL::text, {shown} FROM {ddl.quote(self._schema, table.name)} t "
                    f"WHERE {present} AND NOT EXISTS (SELECT FROM "
                    f"{ddl.quote(self._schema, referred.name)} p WHERE {on})",
                    f"{', '.join(constraint.column_keys)} leads to no row of {referred.name}",
                )

    def _key_tables(self) -> Iterator[Finding]:
        for name, (table, columns) in key_tables(self._layout).items():
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
                    Code.key_table_differs,
                    table,
                    f"SELECT NULL::text, {shown} FROM ({minuend} EXCEPT ALL {subtrahend}) AS d",
                    detail,
                )

    def _sequences(self) -> Iterator[Finding]:
        for table, column, sequence in sequences(self._connection, self._schema):
            row = self._connection.execute(
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


def sequences(connection: Connection, schema: str) -> list[tuple[str, str, str]]:
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
        (schema,),
    ).fetchall()
    return [(str(table), str(column), str(sequence)) for table, column, sequence in rows]


def key_tables(layout: Layout) -> Mapping[str, tuple[str, tuple[str, ...]]]:
    """Return, per key table, the table that it keeps and the columns."""
    return {
        unique.key_table: (regional.table.name, unique.columns)
        for regional in layout.regional.values()
        for unique in regional.uniques
        if unique.scope is Scope.key_table and unique.key_table is not None
    }


def _shown(alias: str, columns: Iterable[str]) -> str:
    """Return SQL for a key as one text."""
    return " || ', ' || ".join(f"{alias}.{ddl.quote(column)}::text" for column in columns)
