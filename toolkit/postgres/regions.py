"""Which region every row of the source belongs to, as SQL. Pure.

The region of a row is computed from the source alone, by joins along its home path up to the root
and the operator's rule there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from toolkit.config import Configuration, RegionRule
from toolkit.errors import UsageError
from toolkit.layout import Layout
from toolkit.placement import OWNER, ForeignKey, Role, Through, owner_columns
from toolkit.postgres import ddl

#: The key of ``Table.info`` under which a model says that a table has children by inheritance: a
#: SELECT without ONLY would show their rows too.
ONLY = "regionkit_only"

#: What the rule's expression gives, among the columns of the root.
_RULED = '"regionkit: region"'

#: The alias of the row that a row's home key leads to.
HOME_ALIAS = "h0"


@dataclass(frozen=True)
class Joined:
    """The FROM clause that tells the region of every row of a table.

    Attributes:
        sql: the table with alias ``t``, and every join that is needed.
        region: expression for the region of the row, ``NULL`` for a global table.
        references: expression for the region of each foreign reference, in the placement's order.
        root: alias of the client's row, ``None`` for a global table.
        targets: alias of the row that each foreign key that was asked for leads to.
        owners: alias of the client that this row belongs to, where that was asked for.
        places: expression for the region of that row, likewise.
        apart: condition for that row to follow another row than this one does; without it, both
            are in one region.
    """

    sql: str
    region: str
    references: dict[ForeignKey, str]
    root: str | None
    targets: dict[ForeignKey, str]
    owners: dict[ForeignKey, str]
    places: dict[ForeignKey, str]
    apart: dict[ForeignKey, str]


@dataclass
class _From:
    """A relation and what is joined to it, each with what is joined to that in turn.

    Written so, a table's home path is joined from its end: the region is found once for each
    client, and not once for each of the client's rows.
    """

    relation: str
    joins: list[tuple[_From, str]] = field(default_factory=list)

    def join(self, relation: str, condition: str) -> _From:
        """Join a relation to this one; return it, so that more can be joined to it."""
        joined = _From(relation)
        self.joins.append((joined, condition))
        return joined

    def sql(self) -> str:
        """Return the FROM clause, without the word."""
        text = self.relation
        for joined, condition in self.joins:
            inner = f"({joined.sql()})" if joined.joins else joined.relation
            text += f" LEFT JOIN {inner} ON {condition}"
        return text


class RegionQuery:
    """Composes SQL that tells the region of every row. Pure.

    Args:
        layout: the decisions.
        project: the rule of the root.
        schema: that holds the tables now, where a cutover has renamed it.
    """

    def __init__(self, layout: Layout, project: Configuration, schema: str | None = None) -> None:
        self._layout = layout
        self._schema = schema or layout.default_schema or "public"
        self._rule = project.file.root.region
        self._map = project.region_map
        self._clients = project.clients()

    def table(self, key: str) -> str:
        """Return the qualified name of a table of the source."""
        table = self._layout.table(key)
        if table.schema in (None, self._layout.default_schema):
            return ddl.quote(self._schema, table.name)
        return ddl.quote(table.schema, table.name)

    def rows(self, key: str) -> str:
        """Return a table of the source as it stands in FROM: its own rows, not its children's."""
        only = "ONLY " if self._layout.table(key).info.get(ONLY) else ""
        return only + self.table(key)

    def source_table(self, name: str) -> str:
        """Return the table that the rows of ``name`` come from: the root, for the link."""
        return self._layout.placement.root if name == self._layout.link else name

    def joined(self, key: str, *, every_key: bool = False, thorough: bool = False) -> Joined:
        """Return the FROM clause of a table.

        Args:
            key: of the table.
            every_key: follow every foreign key of the table to the row that it leads to; not only
                the foreign references, whose region is needed.
            thorough: with ``every_key``: follow each of these rows to its client too.
        """
        placed = self._layout.placement[key]
        top = _From(self.relation(key, "t"))
        region, root = "NULL::text", None
        if placed.regional:
            region, root = self._region(key, "t", "h", top)
        targets: dict[ForeignKey, str] = {}
        owners: dict[ForeignKey, str] = {}
        places: dict[ForeignKey, str] = {}
        apart: dict[ForeignKey, str] = {}
        followed = [
            reference
            for reference, role in placed.roles.items()
            if role is Role.foreign_reference or (every_key and role is not Role.home)
        ]
        for number, reference in enumerate(followed):
            alias = targets[reference] = f"f{number}"
            target = self._join(top, reference, "t", alias)
            if placed.roles[reference] is Role.same_region:
                apart[reference] = self._apart(placed.home, reference, alias)
                if apart[reference] and not thorough:
                    continue
            if self._layout.placement[reference.target].regional:
                places[reference], owners[reference] = self._region(
                    reference.target, alias, f"{alias}_", target, reference.target_columns
                )
        references = {reference: places[reference] for reference in placed.foreign_references}
        return Joined(top.sql(), region, references, root, targets, owners, places, apart)

    def _apart(self, home: ForeignKey | None, reference: ForeignKey, alias: str) -> str:
        """Return the condition for a row to follow another row than ``t`` does; empty if unknown.

        It can be told without a join where both follow a row of the same table.
        """
        other = self._layout.placement[reference.target].home
        if home is None or other is None:
            return ""
        if (home.target, home.target_columns) != (other.target, other.target_columns):
            return ""
        return " OR ".join(
            f"t.{ddl.quote(mine)} IS DISTINCT FROM {alias}.{ddl.quote(theirs)}"
            for mine, theirs in zip(home.columns, other.columns, strict=True)
        )

    def _join(self, to: _From, reference: ForeignKey, alias: str, target: str) -> _From:
        condition = " AND ".join(
            f"{alias}.{ddl.quote(column)} = {target}.{ddl.quote(target_column)}"
            for column, target_column in zip(
                reference.columns, reference.target_columns, strict=True
            )
        )
        return to.join(self.relation(reference.target, target), condition)

    def relation(self, key: str, alias: str) -> str:
        """Return a table of the source with an alias, and with the columns that are computed.

        These are the region of the root where the operator's rule is an expression, and the client
        of a table that is owned through another.
        """
        if key == self._layout.placement.root and self._rule.sql is not None:
            return (
                f"(SELECT root.*, ({self._rule.sql})::text AS {_RULED} "
                f"FROM {self.rows(key)} AS root) AS {alias}"
            )
        owners = owner_columns(self._layout.table(key))
        if not owners:
            return f"{self.rows(key)} AS {alias}"
        reference, clients, leads, client = self._through(key)
        names = [f"k{number}" for number in range(len(leads))]
        keys = ", ".join(f"{lead} AS {name}" for lead, name in zip(leads, names, strict=True))
        found = ", ".join(
            f"{value} AS {ddl.quote(owner.name)}"
            for value, owner in zip(client, owners, strict=True)
        )
        on = " AND ".join(
            f"owner.{name} = own.{ddl.quote(column)}"
            for name, column in zip(names, reference.target_columns, strict=True)
        )
        owned = ", ".join(f"owner.{ddl.quote(owner.name)}" for owner in owners)
        return (
            f"(SELECT own.*, own.ctid, {owned} FROM {self.rows(key)} AS own LEFT JOIN "
            f"(SELECT DISTINCT ON ({', '.join(leads)}) {keys}, {found} FROM {clients} "
            f"ORDER BY {', '.join([*leads, *client])}) AS owner ON {on}) AS {alias}"
        )

    def owned_twice(self, key: str) -> str | None:
        """Return a SELECT of a table's rows (alias ``t``) that belong to more than one client.

        ``None`` for a table that is not owned through another.
        """
        if not owner_columns(self._layout.table(key)):
            return None
        reference, clients, leads, client = self._through(key)
        names = ", ".join(f"k{number}" for number in range(len(leads)))
        on = " AND ".join(
            f"twice.k{number} = t.{ddl.quote(column)}"
            for number, column in enumerate(reference.target_columns)
        )
        return (
            f"{self.rows(key)} AS t JOIN (SELECT {', '.join(leads)} FROM {clients} "
            f"GROUP BY {', '.join(leads)} HAVING count(DISTINCT ({', '.join(client)})) > 1) "
            f"AS twice({names}) ON {on}"
        )

    def _through(self, key: str) -> tuple[ForeignKey, str, list[str], list[str]]:
        """Return how the clients of a table are found that is owned through another.

        Returns:
            The foreign key that leads here; the FROM clause of its table and that one's client;
            the columns that lead here; the key of the client.
        """
        through: Through = owner_columns(self._layout.table(key))[0].info[OWNER]
        placed = self._layout.placement[through.table]
        reference = next(
            one for one in placed.roles if (one.target, one.columns) == (key, through.columns)
        )
        top = _From(self.relation(through.table, "v"))
        to, alias = top, "v"
        for number, hop in enumerate(placed.home_path):
            to = self._join(to, hop, alias, f"v{number}")
            alias = f"v{number}"
        client = [f"{alias}.{ddl.quote(column)}" for column in self._layout.root.primary_key]
        leads = [f"v.{ddl.quote(column)}" for column in reference.columns]
        present = " AND ".join(f"{column} IS NOT NULL" for column in (*leads, *client))
        return reference, f"{top.sql()} WHERE {present}", leads, client

    def _region(
        self, key: str, alias: str, prefix: str, to: _From, known: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Return a row's region and the alias of its client; join what they need.

        A row without a client, and every row that follows it, is where ``orphans`` of its table
        says.

        Args:
            key: of the row's table.
            alias: of the row.
            prefix: of the aliases that are given.
            to: the relation that has the row.
            known: columns that are NULL only where there is no row, by an outer join.
        """
        orphans: list[str] = []
        for number, hop in enumerate(self._layout.placement[key].home_path):
            placed = self._layout.placement[hop.table]
            if placed.orphans is not None:
                missing = " OR ".join(f"{alias}.{ddl.quote(c)} IS NULL" for c in hop.columns)
                exists = "".join(f" AND {alias}.{ddl.quote(c)} IS NOT NULL" for c in known)
                orphans.append(f"WHEN ({missing}){exists} THEN {ddl.literal(placed.orphans)}")
            to = self._join(to, hop, alias, f"{prefix}{number}")
            alias, known = f"{prefix}{number}", hop.target_columns
        region = self._rule_expression(alias, prefix, to)
        if orphans:
            region = f"CASE {' '.join(orphans)} ELSE {region} END"
        return region, alias

    def _rule_expression(self, root: str, prefix: str, to: _From) -> str:
        rule = self._rule
        if rule.sql is not None:
            region = f"{root}.{_RULED}"
        elif self._clients is not None:
            region = self._listed(root, prefix, to)
        else:
            column, owner = self._column(root, prefix, to)
            region = self._mapped(column, f"{prefix}m", owner)
        if rule.default is not None:
            default = ddl.literal(rule.default)
            # Only where there is a client: the default is no home for rows without one.
            region = f"CASE WHEN {self.is_client(root)} THEN coalesce({region}, {default}) END"
        return region

    def _mapped(self, column: str, alias: str, to: _From) -> str:
        """Join the operator's map of values."""
        if not self._map:
            return "NULL::text"
        pairs = ", ".join(
            f"({ddl.literal(value)}, {ddl.literal(code)})" for value, code in self._map.items()
        )
        to.join(f"(VALUES {pairs}) AS {alias}(value, region)", f"{alias}.value = {column}::text")
        return f"{alias}.region"

    def _listed(self, root: str, prefix: str, to: _From) -> str:
        """Join the operator's list of clients."""
        keys = self._layout.root.primary_key
        alias = f"{prefix}list"
        names = ", ".join(f"k{number}" for number in range(len(keys)))
        condition = " AND ".join(
            f"{root}.{ddl.quote(key)}::text = {alias}.k{number}" for number, key in enumerate(keys)
        )
        to.join(f"unnest({self.listed()}) AS {alias}({names}, region)", condition)
        return f"{alias}.region"

    def listed(self) -> str:
        """Return SQL for the operator's list of clients: an array for each column."""
        columns = list(zip(*self._clients or (), strict=True))
        columns = columns or [()] * (len(self._layout.root.primary_key) + 1)
        return ", ".join(
            f"ARRAY[{', '.join(map(ddl.literal, values))}]::text[]" for values in columns
        )

    def client(self, alias: str) -> str:
        """Return SQL for the key of a client as an array of texts."""
        columns = self._layout.root.primary_key
        return f"ARRAY[{', '.join(f'{alias}.{ddl.quote(column)}::text' for column in columns)}]"

    def is_client(self, alias: str) -> str:
        """Return SQL for whether there is a client behind an alias of an outer join."""
        return f"{alias}.{ddl.quote(self._layout.root.primary_key[0])} IS NOT NULL"

    def value(self) -> str | None:
        """Return the column of a client (alias ``t``) that decides, if it is a column."""
        return None if self._rule.column is None else self._column("t", "h", _From(""))[0]

    @property
    def rule(self) -> RegionRule:
        """The operator's rule."""
        return self._rule

    def _column(self, root: str, prefix: str, to: _From) -> tuple[str, _From]:
        """Return the column that the rule names, and the relation that has it after its hops."""
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
            to = self._join(to, found[0], alias, target)
            alias, key = target, found[0].target
        if last not in self._layout.table(key).columns:
            raise UsageError(
                f"[root.region] column: {key!r} has no column {last!r}",
                details=[", ".join(self._layout.table(key).columns.keys())],
                hint="name one of these columns",
            )
        return f"{alias}.{ddl.quote(last)}", to
