"""Which region every row of the source belongs to, as SQL. Pure.

The region of a row is computed from the source alone, by joins along its home path up to the root
and the operator's rule there.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.config import Configuration, RegionRule
from toolkit.errors import UsageError
from toolkit.layout import Layout
from toolkit.placement import ForeignKey, Role
from toolkit.postgres import ddl


@dataclass(frozen=True)
class Joined:
    """The FROM clause that tells the region of every row of a table.

    Attributes:
        sql: the table with alias ``t``, and every join that is needed.
        region: expression for the region of the row, ``NULL`` for a global table.
        references: expression for the region of each foreign reference, in the placement's order.
        root: alias of the client's row, ``None`` for a global table.
        targets: alias of the row that each foreign key that was asked for leads to.
        owners: alias of the client that this row belongs to; none where it is in a global table.
        places: expression for the region of that row, likewise.
    """

    sql: str
    region: str
    references: dict[ForeignKey, str]
    root: str | None
    targets: dict[ForeignKey, str]
    owners: dict[ForeignKey, str]
    places: dict[ForeignKey, str]


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

    def joined(self, key: str, *, every_key: bool = False) -> Joined:
        """Return the FROM clause of a table.

        Args:
            key: of the table.
            every_key: follow every foreign key of the table to the row that it leads to, and that
                row to its client; not only the foreign references.
        """
        placed = self._layout.placement[key]
        joins = [f"{self.table(key)} AS t"]
        region, root = "NULL::text", None
        if placed.regional:
            region, root = self._region(key, "t", "h", joins)
        followed = [
            reference
            for reference, role in placed.roles.items()
            if role is Role.foreign_reference or (every_key and role is not Role.home)
        ]
        targets: dict[ForeignKey, str] = {}
        owners: dict[ForeignKey, str] = {}
        places: dict[ForeignKey, str] = {}
        for number, reference in enumerate(followed):
            alias = targets[reference] = f"f{number}"
            joins.append(self._join(reference, "t", alias))
            if self._layout.placement[reference.target].regional:
                places[reference], owners[reference] = self._region(
                    reference.target, alias, f"{alias}_", joins
                )
        references = {reference: places[reference] for reference in placed.foreign_references}
        return Joined(" ".join(joins), region, references, root, targets, owners, places)

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
        placed, row = self._layout.placement[key], alias
        for number, hop in enumerate(placed.home_path):
            joins.append(self._join(hop, alias, f"{prefix}{number}"))
            alias = f"{prefix}{number}"
        region = self._rule_expression(alias, prefix, joins)
        if placed.orphans is not None and placed.home is not None:
            missing = " OR ".join(f"{row}.{ddl.quote(c)} IS NULL" for c in placed.home.columns)
            region = f"CASE WHEN {missing} THEN {ddl.literal(placed.orphans)} ELSE {region} END"
        return region, alias

    def _rule_expression(self, root: str, prefix: str, joins: list[str]) -> str:
        rule = self._rule
        if rule.sql is not None:
            region = f"(SELECT ({rule.sql})::text FROM (SELECT {root}.*) AS root)"
        elif self._clients is not None:
            region = self._listed(root, prefix, joins)
        else:
            column = self._column(root, prefix, joins)
            values: dict[str, list[str]] = {}
            for value, code in self._map.items():
                values.setdefault(code, []).append(ddl.literal(value))
            cases = " ".join(
                f"WHEN {column}::text IN ({', '.join(those)}) THEN {ddl.literal(code)}"
                for code, those in values.items()
            )
            region = f"CASE {cases} END" if cases else "NULL::text"
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

    def client(self, alias: str) -> str:
        """Return SQL for the key of a client as an array of texts."""
        columns = self._layout.root.primary_key
        return f"ARRAY[{', '.join(f'{alias}.{ddl.quote(column)}::text' for column in columns)}]"

    def is_client(self, alias: str) -> str:
        """Return SQL for whether there is a client behind an alias of an outer join."""
        return f"{alias}.{ddl.quote(self._layout.root.primary_key[0])} IS NOT NULL"

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
