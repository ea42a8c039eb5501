"""The statements by which clients of the layout ``tables`` are found and moved. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolkit.clients import way
from toolkit.journal import Key
from toolkit.layout import Layout
from toolkit.placement import ForeignKey
from toolkit.postgres import ddl, digest
from toolkit.postgres.digest import RecordHash
from toolkit.types import postgres_type

#: PostgreSQL's own: both digests are made by one server.
_FORM = RecordHash()

#: What a row of :meth:`Questions.arrived` tells of.
ROWS, _BEHIND, REFERENCES, _REFERENCES_BEHIND = range(4)


class Questions:
    """The statements by which one layout's clients are found and moved. Pure.

    Args:
        layout: the decisions.
        schema: of the layout.
        types: of the columns of a client's key.
    """

    def __init__(self, layout: Layout, schema: str, types: Sequence[str]) -> None:
        self._layout = layout
        self._schema = schema
        self._casts = [f"CAST(%(k{number})s AS {_sql(one)})" for number, one in enumerate(types)]
        self._types = [_sql(one) for one in types]
        #: Every foreign reference to a regional table.
        self.references = tuple(layout.reference_columns)
        self._region = _name(layout.region_column)
        self._link = _name(schema, layout.link)
        self._link_columns = [_name(column) for column in layout.link_columns.values()]
        self._made: dict[tuple[str, ...], list[str]] = {}

    def parameters(self, key: Key) -> dict[str, str]:
        """Return the parameters of a client's key."""
        return {f"k{number}": value for number, value in enumerate(key)}

    # Finding -----------------------------------------------------------------------------------

    def residences(self) -> str:
        """Return the SELECT of place, region and key; its parameters are lists of values."""
        numbers = range(len(self._link_columns))
        lists = ", ".join("%s::text[]" for _ in numbers)
        names = ", ".join(f"g{number}" for number in numbers)
        on = " AND ".join(
            f"l.{column} = CAST(g.g{number} AS {self._types[number]})"
            for number, column in enumerate(self._link_columns)
        )
        return (
            f"SELECT g.place, l.{self._region}, {self._shown} "
            f"FROM unnest({lists}) WITH ORDINALITY AS g({names}, place) "
            f"JOIN {self._link} AS l ON {on}"
        )

    @property
    def _shown(self) -> str:
        return ", ".join(f"l.{column}::text" for column in self._link_columns)

    def residents(self, region: str) -> str:
        """Return the SELECT of the keys of a region's clients, in their order."""
        order = ", ".join(f"l.{column}" for column in self._link_columns)
        where = f"l.{self._region} = {ddl.literal(region)}"
        statement = f"SELECT {self._shown} FROM {self._link} AS l WHERE {where} ORDER BY {order}"
        # It has no parameters.
        return statement.replace("%%", "%")

    def counts(self, region: str) -> str:
        """Return the SELECT of the number of a table, and how many rows a client has in it."""
        return " UNION ALL ".join(
            f"SELECT {number}, count(*) {self._rows(key, region)}"
            for number, key in enumerate(self._layout.regional)
        )

    def outgoing(self, region: str) -> list[tuple[ForeignKey, str]]:
        """Return for each foreign reference the SELECT of regions that a client's rows lead to."""
        return [
            (
                one,
                f"SELECT {self._leads(one, 't')}, count(*) {self._rows(one.table, region)} "
                f"AND {self._leads(one, 't')} IS NOT NULL GROUP BY 1 ORDER BY 1",
            )
            for one in self.references
            if one.table in self._layout.regional
        ]

    def incoming(self, region: str) -> list[tuple[ForeignKey, str]]:
        """Return for each foreign reference the SELECT of regions that lead to a client's rows."""
        found = []
        for one in self.references:
            where = f"f.{self._region}" if one.table in self._layout.regional else "''::text"
            rows = self._referring(one, region, region)
            found.append((one, f"SELECT {where}, count(*) {rows} GROUP BY 1 ORDER BY 1"))
        return found

    # Moving ------------------------------------------------------------------------------------

    def hold_link(self, origin: str) -> str:
        """Lock a client's link, if it says what is expected."""
        return (
            f"SELECT FROM {self._link} AS l WHERE {self._is_client('l', self._link_columns)} "
            f"AND l.{self._region} = {_text(origin)} FOR UPDATE"
        )

    def hold_rows(self, origin: str) -> list[str]:
        """Lock and digest a client's rows, parents first: nobody can add a child meanwhile."""
        return self._once(
            ("rows", origin),
            lambda: [
                "SELECT count(*), coalesce(sum(d), 0) FROM ("
                f"SELECT {self._digest(key)} AS d {self._rows(key, origin)} FOR UPDATE OF t"
                ") AS held"
                for key in self._layout.regional
            ],
        )

    def hold_references(self, origin: str) -> list[str]:
        """Lock and count the rows that refer to a client's."""
        return self._once(
            ("references", origin),
            lambda: [
                "SELECT count(*), 0 FROM ("
                f"SELECT {self._referring(one, origin, origin)} FOR UPDATE OF f) AS held"
                for one in self.references
            ],
        )

    def update_link(self, origin: str, region: str) -> str:
        """Move: everything else follows by cascade."""
        return (
            f"UPDATE {self._link} AS l SET {self._region} = {_text(region)} "
            f"WHERE {self._is_client('l', self._link_columns)} "
            f"AND l.{self._region} = {_text(origin)}"
        )

    def arrived(self, origin: str, region: str) -> str:
        """Return the SELECT of what is in the new region, and what stayed in the old one."""

        def parts() -> list[str]:
            found = []
            for number, key in enumerate(self._layout.regional):
                rows, left = self._rows(key, region), self._rows(key, origin, region)
                found += [
                    f"SELECT {ROWS}, {number}, count(*), coalesce(sum({self._digest(key)}), 0) "
                    f"{rows}",
                    f"SELECT {_BEHIND}, {number}, count(*), 0 {left}",
                ]
            for number, one in enumerate(self.references):
                found += [
                    f"SELECT {kind}, {number}, count(*), 0 {self._referring(one, said, region)}"
                    for kind, said in ((REFERENCES, region), (_REFERENCES_BEHIND, origin))
                ]
            return [" UNION ALL ".join(found)]

        return self._once(("arrived", origin, region), parts)[0]

    def behind_text(self, kind: int, number: int, count: int) -> str:
        """Return what stayed behind, in words."""
        if kind == _BEHIND:
            return f"{[*self._layout.regional][number]}: {count} row(s) stayed behind"
        return f"{self.references[number]}: {count} row(s) still name the old region"

    # Pieces ------------------------------------------------------------------------------------

    def _once(self, name: tuple[str, ...], make: Callable[[], list[str]]) -> list[str]:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _table(self, key: str) -> str:
        return _name(self._schema, self._layout.name(key))

    def _is_client(self, alias: str, columns: Sequence[str]) -> str:
        return " AND ".join(
            f"{alias}.{column} = {cast}" for column, cast in zip(columns, self._casts, strict=True)
        )

    def _rows(self, key: str, region: str, parents: str | None = None) -> str:
        """Return FROM and WHERE of a client's rows in a table, alias ``t``.

        Args:
            key: of the table.
            region: of the rows.
            parents: region of the rows on the way to the client; default the same.
        """
        joins, conditions = self._way(key, parents or region)
        found = " AND ".join([f"t.{self._region} = {_text(region)}", *conditions])
        return f"FROM {self._table(key)} AS t {joins} WHERE {found}"

    def _referring(self, one: ForeignKey, said: str, region: str) -> str:
        """Return FROM and WHERE of the rows, alias ``f``, that refer to a client's.

        Args:
            one: the foreign reference.
            said: the region that they lead to.
            region: of the client's rows.
        """
        joins, conditions = self._way(one.target, region)
        pairs = [
            f"f.{_name(column)} = t.{_name(target)}"
            for column, target in zip(one.columns, one.target_columns, strict=True)
        ]
        found = " AND ".join(
            [
                f"t.{self._region} = {_text(region)}",
                *conditions,
                *pairs,
                f"{self._leads(one, 'f')} = {_text(said)}",
            ]
        )
        tables = f"{self._table(one.target)} AS t {joins}, {self._table(one.table)} AS f"
        return f"FROM {tables} WHERE {found}"

    def _way(self, key: str, region: str) -> tuple[str, list[str]]:
        """Return the joins from alias ``t`` to the client, and the conditions on the way."""
        found = way(self._layout, key)
        joins, conditions, alias = [], [], "t"
        for number, hop in enumerate(found.joins, 1):
            pairs = " AND ".join(
                f"p{number}.{_name(target)} = {alias}.{_name(column)}"
                for column, target in zip(hop.columns, hop.target_columns, strict=True)
            )
            alias = f"p{number}"
            joins.append(f"JOIN {self._table(hop.target)} AS {alias} ON {pairs}")
            conditions.append(f"{alias}.{self._region} = {_text(region)}")
        conditions.append(self._is_client(alias, [_name(column) for column in found.bound]))
        return " ".join(joins), conditions

    def _leads(self, one: ForeignKey, alias: str) -> str:
        return f"{alias}.{_name(self._layout.reference_columns[one])}"

    def _digest(self, key: str) -> str:
        """Return the digest of a row: everything but the columns that say a region."""
        cells = [
            digest.cell(f"t.{_name(column.name)}", postgres_type(column.type), _FORM)
            for column in self._layout.table(key).columns
        ]
        return _FORM.row(cells)


def _name(*names: str) -> str:
    return _sql(ddl.quote(*names))


def _text(value: str) -> str:
    return _sql(ddl.literal(value))


def _sql(text: str) -> str:
    """Return SQL for a statement with parameters."""
    return text.replace("%", "%%")
