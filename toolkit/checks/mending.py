"""The form of a statement that works on the layout, made from its tree. Pure.

Nothing here is believed: the check lets the server prepare every form before it shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Table
from sqlglot import exp

from toolkit.checks.parsed import Reading, Use, named, parse, quoted, render
from toolkit.layout import Layout
from toolkit.placement import OWNER, ForeignKey
from toolkit.types import postgres_type


class NoForm(Exception):
    """A statement cannot be mended mechanically."""


class Mender:
    """The tree of one statement while it is mended, and the parameters that it gains.

    Args:
        reading: of the statement; its tree is changed.
        parameters: how many parameters the statement has.

    Attributes:
        added: what each new parameter stands for.
    """

    def __init__(self, reading: Reading, parameters: int) -> None:
        self.reading = reading
        self.layout = reading.layout
        self.added: dict[str, str] = {}
        self._parameters = parameters

    def parameter(self, meaning: str) -> exp.Expr:
        """Return a new parameter; one that means the same is the same."""
        for name, known in self.added.items():
            if known == meaning:
                return expression(name)
        self._parameters += 1
        name = f"${self._parameters}"
        self.added[name] = meaning
        return expression(name)

    def region_parameter(self, *, many: bool = False) -> exp.Expr:
        """Return the parameter for a region that was looked up."""
        if many:
            return self.parameter(f"text[], the regions of these clients, from {self.layout.link}")
        return self.parameter(f"the client's region: {region_lookup(self.layout)}")

    def form(self) -> tuple[str, dict[str, str]]:
        """Return the statement as it is now, and what its parameters are that the old one has not.

        PostgreSQL wants every parameter from the first to the last: where one has gone, those
        after it move up.
        """
        parameters = list(self.reading.tree.find_all(exp.Parameter))
        used = sorted({int(one.name) for one in parameters})
        place = {number: at for at, number in enumerate(used, start=1)}
        meanings = {}
        for one in parameters:
            number = int(one.name)
            one.set("this", exp.Literal.number(place[number]))
            if f"${number}" in self.added:
                meanings[f"${place[number]}"] = self.added[f"${number}"]
            elif place[number] != number:
                meanings[f"${place[number]}"] = f"was ${number}"
        return render(self.reading.tree), meanings

    # Regions as values ---------------------------------------------------------------------

    def region_of(self, reference: ForeignKey, values: Mapping[str, exp.Expr]) -> exp.Expr:
        """Return the subquery for the region of the row that a foreign key leads to.

        Args:
            reference: the foreign key.
            values: of its columns.

        Raises:
            NoForm: a value is not known.
        """
        layout = self.layout
        target, columns = layout.name(reference.target), list(reference.target_columns)
        if reference.target == layout.placement.root and set(columns) <= set(layout.link_columns):
            target = layout.link
            columns = [layout.link_columns[column] for column in columns]
        alias = _free(target, {use.alias for use in self.reading.uses})
        found = []
        for column, own in zip(columns, reference.columns, strict=True):
            if own not in values:
                raise NoForm
            value = self._typed(reference, own, self.outside(values[own]))
            found.append(f"{alias}.{quoted(column)} = {render(value)}")
        source = quoted(target) if alias == quoted(target) else f"{quoted(target)} AS {alias}"
        return expression(
            f"(SELECT {alias}.{quoted(layout.region_column)} FROM {source} "
            f"WHERE {' AND '.join(found)} FOR KEY SHARE)"
        )

    def _typed(self, reference: ForeignKey, column: str, value: exp.Expr) -> exp.Expr:
        """Return a parameter with its type where comparing it would give it another one."""
        type_ = postgres_type(self.layout.table(reference.table).columns[column].type)
        if isinstance(value, exp.Parameter) and type_.name in ("varchar", "character varying"):
            return exp.cast(value, "varchar", dialect="postgres")
        return value

    def region_of_client(self) -> exp.Expr:
        """Return the subquery for the region of a client whose key is a new parameter."""
        columns = [
            f"{quoted(column)} = {render(self.client_parameter(column))}"
            for column in self.layout.link_columns.values()
        ]
        return expression(
            f"(SELECT {quoted(self.layout.region_column)} FROM {quoted(self.layout.link)} "
            f"WHERE {' AND '.join(columns)} FOR KEY SHARE)"
        )

    def client_parameter(self, column: str) -> exp.Expr:
        """Return the parameter for a client's key."""
        return self.parameter(f"the client: {self.layout.link}.{column}")

    def outside(self, value: exp.Expr) -> exp.Expr:
        """Return a value as a subquery has to write it: every column with its table.

        Raises:
            NoForm: it is not clear which table a column belongs to.
        """
        if value.find(exp.Select) is not None:
            raise NoForm
        names = {}
        for column in value.find_all(exp.Column):
            if not column.args.get("table"):
                names[id(column)] = self._source_of(column)
        copy = value.copy()
        for old, column in zip(value.find_all(exp.Column), copy.find_all(exp.Column), strict=True):
            if id(old) in names and not column.args.get("table"):
                column.set("table", identifier(names[id(old)]))
        return copy

    def _source_of(self, column: exp.Column) -> str:
        """Return what the statement calls that from which a column without a table comes."""
        use = self.reading.use_of(column)
        if use is not None:
            return use.alias
        query = column.find_ancestor(exp.Select)
        source = query.args.get("from_") if query is not None else None
        if query is None or source is None or query.args.get("joins"):
            raise NoForm
        if not source.this.alias_or_name:
            raise NoForm
        return str(source.this.alias_or_name)

    # Conditions ----------------------------------------------------------------------------

    def require(self, use: Use, condition: str, other: Use | None = None) -> None:
        """Add a condition on a table where it belongs: to its join, or to the query.

        Args:
            use: the table.
            condition: on its columns.
            other: the other table that the condition names.

        Raises:
            NoForm: an outer join makes that change the answer.
        """
        added = expression(condition)
        if any(join.args.get("side") in ("RIGHT", "FULL") for join in use.query.find_all(exp.Join)):
            raise NoForm
        parent = use.node.parent
        if other is not None and _optional(other) and not _optional(use):
            parent = other.node.parent
        if isinstance(parent, exp.Join) and parent.args.get("on") is not None:
            parent.set("on", _both(parent.args["on"], added))
            return
        if isinstance(parent, exp.Join) and parent.args.get("side"):
            raise NoForm
        if isinstance(use.query, exp.Merge):
            use.query.set("on", _both(use.query.args["on"], added))
            return
        where = use.query.args.get("where")
        if where is None:
            use.query.set("where", exp.Where(this=added))
        else:
            where.set("this", _both(where.this, added))

    # Columns -------------------------------------------------------------------------------

    def expand_stars(self) -> None:
        """Write the columns of the single-region schema for the stars of the answer.

        Raises:
            NoForm: a star stands for something else than tables of the layout.
        """
        tree = self.reading.tree
        returning = tree.args.get("returning")
        if returning is not None:
            own = [use for use in self.reading.uses if use.query is tree]
            returning.set("expressions", self._expanded(returning.expressions, own))
        elif isinstance(tree, exp.Select):
            own = [use for use in self.reading.uses if use.query is tree]
            joins = tree.args.get("joins") or []
            if any(join.args.get("using") or join.args.get("method") for join in joins):
                raise NoForm
            bare = any(isinstance(one, exp.Star) for one in tree.expressions)
            if bare and len(own) != 1 + len(joins):
                raise NoForm
            tree.set("expressions", self._expanded(tree.expressions, own))
        else:
            raise NoForm

    def _expanded(self, expressions: Sequence[exp.Expr], uses: Sequence[Use]) -> list[exp.Expr]:
        found: list[exp.Expr] = []
        stars = 0
        for one in expressions:
            star = isinstance(one, exp.Star)
            qualified = isinstance(one, exp.Column) and isinstance(one.this, exp.Star)
            if not star and not qualified:
                found.append(one)
                continue
            stars += 1
            wanted = [use for use in uses if star or use.alias == named(one.args.get("table"))]
            if not wanted:
                raise NoForm
            for use in wanted:
                for column in source_columns(self.layout.table(use.key)):
                    prefix = "" if len(uses) == 1 and star else f"{quoted(use.alias)}."
                    found.append(expression(f"{prefix}{quoted(column)}"))
        if not stars:
            raise NoForm
        return found


def expression(sql: str) -> exp.Expr:
    """Return the tree of an expression that was put together here."""
    found = parse(f"SELECT {sql}")
    assert isinstance(found, exp.Select)
    tree: exp.Expr = found.expressions[0]
    tree.pop()
    return tree


def identifier(name: str) -> exp.Identifier:
    """Return the tree of an identifier."""
    return exp.Identifier(this=name, quoted=quoted(name) != name)


def source_columns(table: Table) -> list[str]:
    """Return the columns that a table has in the source: all but an owner column."""
    return [column.name for column in table.columns if OWNER not in column.info]


def region_lookup(layout: Layout) -> str:
    """Return the statement that looks a client's region up, for the same transaction."""
    columns = " AND ".join(f"{quoted(column)} = ..." for column in layout.link_columns.values())
    return (
        f"SELECT {quoted(layout.region_column)} FROM {quoted(layout.link)} WHERE {columns} "
        "FOR KEY SHARE"
    )


def _optional(use: Use) -> bool:
    """Return whether an outer join may find no row of a table."""
    return isinstance(use.node.parent, exp.Join) and bool(use.node.parent.args.get("side"))


def _both(one: exp.Expr, other: exp.Expr) -> exp.Expr:
    return exp.And(this=exp.Paren(this=one) if isinstance(one, exp.Or) else one, expression=other)


def _free(name: str, taken: set[str]) -> str:
    """Return an alias for a table that the statement has not."""
    number = 1
    alias = name
    while alias in taken:
        number += 1
        alias = f"{name}_{number}"
    return quoted(alias)
