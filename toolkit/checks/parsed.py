"""A parsed statement, read against a layout: its tables, their columns, what is looked up. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.dialects import postgresql
from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from toolkit.layout import Layout
from toolkit.placement import ForeignKey, Role

# What it cannot parse it says in its answer too.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_PREPARER = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]

#: sqlglot does not know it, and it changes nothing of what is asked here.
_OVERRIDING = re.compile(r"\boverriding\s+(?:system|user)\s+value\b", re.I)

#: Columns of every table that tell where a row lies.
_SYSTEM_COLUMNS = ("ctid", "tableoid")

_QUERIES = (exp.Select, exp.Insert, exp.Update, exp.Delete, exp.Merge)


def parse(text: str) -> exp.Expr | None:
    """Return the tree of a statement; ``None`` where sqlglot does not understand it."""
    try:
        found = parse_one(_OVERRIDING.sub("", text), dialect="postgres")
    except (SqlglotError, RecursionError):
        return None
    return None if isinstance(found, exp.Command) else found


def render(tree: exp.Expr) -> str:
    """Return the SQL of a tree."""
    return tree.sql(dialect="postgres", comments=False)


def quoted(name: str) -> str:
    """Return an identifier, quoted where it has to be."""
    return str(_PREPARER.quote(name))


def named(identifier: exp.Expr | str | None) -> str:
    """Return the name that an identifier means: folded to lower case unless it is quoted."""
    if not isinstance(identifier, exp.Identifier):
        return str(identifier or "").lower()
    name = str(identifier.this)
    return name if identifier.args.get("quoted") else name.lower()


class Verb(StrEnum):
    """What a statement does to a table."""

    read = "read"
    insert = "insert"
    update = "update"
    delete = "delete"
    merge = "merge"


@dataclass(frozen=True, eq=False)
class Use:
    """A table of the layout where a statement names it.

    Attributes:
        node: in the tree.
        key: of the table.
        alias: what the statement calls it.
        query: the part of the statement that it belongs to.
        verb: what is done to it.
        regional: whether its rows live in regions.
    """

    node: exp.Table
    key: str
    alias: str
    query: exp.Expr
    verb: Verb
    regional: bool


@dataclass(frozen=True)
class Lookup:
    """A column that must equal a value.

    Attributes:
        use: the table.
        column: its column.
        many: whether there may be several values.
    """

    use: Use
    column: str
    many: bool


@dataclass(frozen=True)
class Edge:
    """Two tables that are joined along a foreign key.

    Attributes:
        left: one.
        right: the other.
        reference: where ``left`` refers to what may be another client's row in ``right``, that
            foreign key; ``None`` where both rows belong to one client.
    """

    left: Use
    right: Use
    reference: ForeignKey | None


class Reading:
    """What a statement does with the tables of a layout.

    Args:
        tree: of the statement.
        layout: the decisions.
        schema: in which the layout lives.

    Attributes:
        uses: every table of the layout that the statement names.
        partitions: every partition that it names, with the table's key.
        links: whether it names the link.
    """

    def __init__(self, tree: exp.Expr, layout: Layout, schema: str) -> None:
        self.tree = tree
        self.layout = layout
        self._schema = schema
        self._keys = {layout.name(key): key for key in (*layout.regional, *layout.shared)}
        self._parts = {
            part: key for key, table in layout.regional.items() for part in table.parts.values()
        }
        self._ctes = {named(cte.args["alias"].this): cte.this for cte in tree.find_all(exp.CTE)}
        self.uses: list[Use] = []
        self.partitions: dict[str, str] = {}
        self.links = False
        for node in tree.find_all(exp.Table, bfs=False):
            self._note(node)

    def _note(self, node: exp.Table) -> None:
        name, query = named(node.this), node.find_ancestor(*_QUERIES)
        here = node.args.get("db") is None or named(node.args["db"]) == self._schema
        if node.find_ancestor(exp.Lock) is not None or not here:
            return
        verb = _verb(node)
        if node.args.get("db") is None and name in self._ctes and verb is Verb.read:
            return
        self.links = self.links or name == self.layout.link
        if name in self._parts:
            self.partitions[name] = self._parts[name]
        if name not in self._keys:
            return
        alias = node.args.get("alias")
        called = named(alias.this) if alias is not None and alias.this is not None else name
        key = self._keys[name]
        self.uses.append(
            Use(node, key, called, query or self.tree, verb, key in self.layout.regional)
        )

    def outermost(self, uses: Sequence[Use]) -> Use:
        """Return the table that all the others can refer to: of the outermost query, the first."""

        def depth(use: Use) -> tuple[int, int]:
            levels, query = 0, use.query
            while (above := query.find_ancestor(*_QUERIES)) is not None:
                levels, query = levels + 1, above
            return levels, self.uses.index(use)

        return min(uses, key=depth)

    # Columns -------------------------------------------------------------------------------

    def has_column(self, use: Use, column: str) -> bool:
        """Return whether the layout's table has a column."""
        layout = self.layout
        return (
            column in layout.table(use.key).columns
            or (use.regional and column == layout.region_column)
            or column in _SYSTEM_COLUMNS
            or any(
                name == column
                for reference, name in layout.reference_columns.items()
                if reference.table == use.key
            )
        )

    def use_of(self, column: exp.Column) -> Use | None:
        """Return the table that a column belongs to, as far as its name and place tell."""
        found = self.resolve(column)
        return None if found is None else found[0]

    def resolve(
        self, column: exp.Column, inside: tuple[exp.Expr, ...] = ()
    ) -> tuple[Use, str] | None:
        """Return the table that a column belongs to, and what it is called there.

        A column of a subquery is followed to the table that it comes from.

        Args:
            column: of the statement.
            inside: the subqueries that it was followed into; what is around them does not count.
        """
        qualifier, name = named(column.args.get("table")), named(column.this)
        query = column.find_ancestor(*_QUERIES)
        while query is not None:
            for use in self.uses:
                if use.query is query and (
                    qualifier == use.alias if qualifier else self.has_column(use, name)
                ):
                    return use, name
            for alias, inner in self._derived(query):
                if qualifier in ("", alias) and not any(inner is one for one in inside):
                    found = self._projected(inner, name, inside)
                    if found is not None or qualifier:
                        return found
            if inside and query is inside[-1]:
                return None
            query = query.find_ancestor(*_QUERIES)
        return None

    def _derived(self, query: exp.Expr) -> Iterator[tuple[str, exp.Expr]]:
        """Yield the subqueries that a query selects from, each with its name there."""
        for subquery in query.find_all(exp.Subquery):
            if subquery.alias and subquery.find_ancestor(*_QUERIES) is query:
                yield named(subquery.args["alias"].this), subquery.this
        for table in query.find_all(exp.Table):
            name = named(table.this)
            if (
                name in self._ctes
                and table.args.get("db") is None
                and table.find_ancestor(*_QUERIES) is query
            ):
                alias = table.args.get("alias")
                yield (name if alias is None else named(alias.this)), self._ctes[name]

    def _projected(
        self, inner: exp.Expr, name: str, inside: tuple[exp.Expr, ...]
    ) -> tuple[Use, str] | None:
        """Return where a column of a subquery comes from, if it is no more than passed on."""
        if not isinstance(inner, exp.Select) or any(
            inner.args.get(part) for part in ("limit", "offset", "distinct", "group", "windows")
        ):
            return None
        for one in inner.expressions:
            if isinstance(one, exp.Star):
                uses = [use for use in self.uses if use.query is inner]
                has = [use for use in uses if self.has_column(use, name)]
                return (has[0], name) if len(has) == 1 else None
            column = one.this if isinstance(one, exp.Alias) else one
            called = one.args["alias"] if isinstance(one, exp.Alias) else column.args.get("this")
            if isinstance(column, exp.Column) and named(called) == name:
                return self.resolve(column, (*inside, inner))
        return None

    def regional_columns(self, name: str) -> Iterator[tuple[exp.Column, Use]]:
        """Yield the columns of that name that belong to a regional table."""
        for column in list(self.tree.find_all(exp.Column)):
            found = self.resolve(column)
            if found is not None and found[1] == name and found[0].regional:
                yield column, found[0]

    # Conditions ----------------------------------------------------------------------------

    def equalities(self) -> Iterator[tuple[exp.Expr, exp.Expr]]:
        """Yield both sides of every equation that must hold for a row to count."""
        for query in self.tree.find_all(*_QUERIES):
            for condition in _conditions(query):
                for atom in _conjuncts(condition):
                    if isinstance(atom, exp.EQ):
                        yield from _sides(atom.this, atom.expression)
                    elif isinstance(atom, exp.In) and atom.expressions:
                        right: exp.Expr = atom.expressions[0]
                        if len(atom.expressions) > 1:
                            right = exp.Any(this=exp.Tuple(expressions=atom.expressions))
                        yield from _sides(atom.this, right.copy())

    def lookups(self) -> list[Lookup]:
        """Return the keys of regional tables that are given as values."""
        found = []
        for one, other in self.equalities():
            for side, value in ((one, other), (other, one)):
                look = self._lookup(side, value)
                if look is not None and look.column in self._keys_of(look.use):
                    found.append(look)
        return found

    def _lookup(self, side: exp.Expr, value: exp.Expr) -> Lookup | None:
        """Return the column of a regional table that is compared with a value."""
        column = _bare(side)
        if not isinstance(column, exp.Column) or value.find(exp.Column, exp.Select):
            return None
        found = self.resolve(column)
        if found is None or not found[0].regional:
            return None
        return Lookup(*found, isinstance(value, exp.Any))

    def scattered(self) -> set[Use]:
        """Return the tables that are looked up by keys whose rows any region may hold.

        By a foreign reference, to which rows of every client may lead; or by one of several keys.
        """
        found = set()
        for atom in self.tree.find_all(exp.EQ, exp.In):
            if atom.args.get("query") is not None:
                continue
            value = atom.expression if isinstance(atom, exp.EQ) else exp.Any()
            for side, other in ((atom.this, value), (value, atom.this)):
                look = self._lookup(side, other)
                if look is None:
                    continue
                placed = self.layout.placement[look.use.key]
                led = {name for one in placed.foreign_references for name in one.columns}
                if look.column in led | self._keys_of(look.use):
                    found.add(look.use)
        return found

    def _keys_of(self, use: Use) -> set[str]:
        """Return the columns that lead to the rows of one client."""
        table = self.layout.regional[use.key]
        columns = {unique.columns[0] for unique in table.uniques}
        for reference, role in table.placement.roles.items():
            if role in (Role.home, Role.same_region):
                columns |= set(reference.columns)
        return columns

    def edges(self) -> list[Edge]:
        """Return the joins along foreign keys between regional tables."""
        found: list[Edge] = []
        for one, other in self.equalities():
            left, right = _bare(one), _bare(other)
            if isinstance(left, exp.Column) and isinstance(right, exp.Column):
                one_end, other_end = self.resolve(left), self.resolve(right)
                if one_end is not None and other_end is not None:
                    found += self._edge(*one_end, *other_end)
        for join in self.tree.find_all(exp.Join):
            joined = next((use for use in self.uses if use.node is join.this), None)
            for column in map(named, join.args.get("using") or ()):
                for use in self.uses:
                    if joined is not None and use is not joined and use.query is joined.query:
                        found += self._edge(use, column, joined, column)
        return found

    def _edge(self, left: Use, left_column: str, right: Use, right_column: str) -> Iterator[Edge]:
        if left is right or not (left.regional and right.regional):
            return
        for use, column, other, target in (
            (left, left_column, right, right_column),
            (right, right_column, left, left_column),
        ):
            for reference, role in self.layout.placement[use.key].roles.items():
                if reference.target == other.key and (column, target) in zip(
                    reference.columns, reference.target_columns, strict=True
                ):
                    yield Edge(use, other, reference if role is Role.foreign_reference else None)
                    return
        if left.key == right.key and left_column == right_column:
            unique = {name.columns for name in self.layout.regional[left.key].uniques}
            if (left_column,) in unique:
                yield Edge(left, right, None)
                return
        shared = self._follows(left, left_column) & self._follows(right, right_column)
        if shared:
            yield Edge(left, right, None)

    def _follows(self, use: Use, column: str) -> set[tuple[str, str]]:
        """Return the columns of the client's rows that a column of a table leads to."""
        return {
            (reference.target, target)
            for reference, role in self.layout.placement[use.key].roles.items()
            if role in (Role.home, Role.same_region)
            for name, target in zip(reference.columns, reference.target_columns, strict=True)
            if name == column
        }

    def names_region(self) -> set[Use]:
        """Return the uses whose region the statement names, in whatever condition."""
        region = self.layout.region_column
        found = {
            use
            for column, use in self.regional_columns(region)
            if column.find_ancestor(exp.EQ, exp.In, exp.Is, exp.Any) is not None
        }
        for join in self.tree.find_all(exp.Join):
            if region in map(named, join.args.get("using") or ()):
                found |= {use for use in self.uses if use.query is join.find_ancestor(*_QUERIES)}
        return found


def _verb(node: exp.Table) -> Verb:
    parent = node.parent
    if isinstance(parent, exp.Schema):
        parent = parent.parent
    if parent is None or parent.args.get("this") not in (node, node.parent):
        return Verb.read
    for kind, verb in (
        (exp.Insert, Verb.insert),
        (exp.Update, Verb.update),
        (exp.Delete, Verb.delete),
        (exp.Merge, Verb.merge),
    ):
        if isinstance(parent, kind):
            return verb
    return Verb.read


def _conditions(query: exp.Expr) -> Iterator[exp.Expr]:
    where = query.args.get("where")
    if where is not None:
        yield where.this
    if isinstance(query, exp.Merge) and query.args.get("on") is not None:
        yield query.args["on"]
    for join in query.find_all(exp.Join):
        if join.find_ancestor(*_QUERIES) is query and join.args.get("on") is not None:
            yield join.args["on"]


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(condition, exp.And):
        yield from _conjuncts(condition.this)
        yield from _conjuncts(condition.expression)
    elif isinstance(condition, exp.Paren):
        yield from _conjuncts(condition.this)
    else:
        yield condition


def _sides(left: exp.Expr, right: exp.Expr) -> Iterator[tuple[exp.Expr, exp.Expr]]:
    if isinstance(left, exp.Tuple) and isinstance(right, exp.Tuple):
        yield from zip(left.expressions, right.expressions, strict=False)
    else:
        yield left, right


def _bare(expression: exp.Expr) -> exp.Expr:
    """Return what a cast or parentheses are around."""
    while isinstance(expression, exp.Cast | exp.Paren):
        expression = expression.this
    return expression
