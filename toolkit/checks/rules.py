"""What becomes of a statement that reads or writes rows, and what works instead. Pure.

Each rule looks at the tree of the statement, notes what is not as it was, and mends the tree. A
statement can have several problems: the form that comes out has none of them left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sqlglot import exp

from toolkit.checks.application_report import Code, Form, Problem
from toolkit.checks.groups import Group, Groups
from toolkit.checks.mending import Mender, NoForm, expression, identifier, source_columns
from toolkit.checks.parsed import Lookup, Reading, Use, Verb, named, quoted, render
from toolkit.checks.trees import (
    assignments,
    is_default,
    key_column,
    listed_columns,
    rows_of,
    set_columns,
    updates_on_conflict,
    value_of,
    write_rows,
)
from toolkit.extras import MOVING
from toolkit.layout import Scope, Unique, is_generated
from toolkit.placement import ForeignKey, Role, owner_columns

#: What a move takes beside its statement (docs/layout-tables.md).
_MOVE = f"in one transaction, after: SET CONSTRAINTS ALL DEFERRED; SET LOCAL {MOVING} = 'on'"


class Rules:
    """All rules, applied to one statement.

    Args:
        reading: of the statement; its tree is changed.
        parameters: how many parameters it has.
        everywhere: the tables of which the server's plan reads more regions than one.

    Attributes:
        problems: what is not as it was.
        mender: holds the tree that works, unless ``mended`` is false.
        mended: whether every problem was mended.
        instead: what takes the place of the statement, where no mending helps.
    """

    def __init__(self, reading: Reading, parameters: int, everywhere: Collection[str]) -> None:
        self.reading = reading
        self.layout = reading.layout
        self.region = reading.layout.region_column
        self.problems: list[Problem] = []
        self.mender = Mender(reading, parameters)
        self.mended = True
        self.instead: Form | None = None
        self._everywhere = everywhere
        self._parameters = parameters

    def apply(self) -> None:
        """Note the problems of the statement, and mend it."""
        # What the statement asks by itself, before conditions are added to it.
        lookups, edges = self.reading.lookups(), self.reading.edges()
        named_region, scattered = self.reading.names_region(), self.reading.scattered()
        self._region_in_where()
        self._row_addresses()
        self._only()
        self._partitions()
        for use in list(self.reading.uses):
            if use.verb is Verb.insert and isinstance(use.query, exp.Insert):
                self._insert(use, use.query)
            elif use.verb is Verb.update and isinstance(use.query, exp.Update):
                self._assign(use, use.query)
            elif use.verb is Verb.merge:
                self._merge(use)
        groups = Groups(self.reading, lookups, named_region)
        for edge in edges:
            groups.join(edge.left, edge.right, edge.reference)
        self._regions(groups, scattered)
        self._whole_rows()
        known = {one.code for one in self.problems}
        for use in list(self.reading.uses):
            if (
                use.verb is Verb.merge
                and use.key in self._everywhere
                and use not in named_region
                and known.isdisjoint((Code.every_region, Code.join_without_region))
            ):
                self._note(
                    Code.join_without_region,
                    use.key,
                    f"looks for each row of {use.key} in every region: give the rows that are "
                    f"merged their {self.region}, and compare it too",
                )
            if use.verb is Verb.delete:
                self._delete(use)

    def more_columns(self, before: Collection[str], after: Iterable[str]) -> None:
        """Note that the statement returns more columns than it did, and name the old ones."""
        added = list(dict.fromkeys(name for name in after if name not in before))
        what = f"returns the column(s) {', '.join(added)} too" if added else "returns other columns"
        self._note(Code.more_columns, "", what)
        self._try(self.mender.expand_stars)

    # Helpers -------------------------------------------------------------------------------

    def _note(self, code: Code, table: str, reason: str) -> None:
        problem = Problem(code, table, reason)
        if problem not in self.problems:
            self.problems.append(problem)

    def _try(self, mend: object, *arguments: object) -> None:
        try:
            mend(*arguments)  # type: ignore[operator]  # a bound method, with its own arguments
        except NoForm:
            self.mended = False

    # Inserts -------------------------------------------------------------------------------

    def _insert(self, use: Use, insert: exp.Insert) -> None:
        table = self.layout.table(use.key)
        body = insert.args.get("expression")
        rows = rows_of(body)
        listed = listed_columns(insert)
        columns = listed
        if columns is None:
            widths = {len(row) for row in rows} if rows is not None else set()
            star = any(one.find(exp.Star) for row in rows or () for one in row)
            if len(widths) == 1 and not star:
                columns = source_columns(table)[: widths.pop()]
            else:
                columns = source_columns(table)
        missing = self._missing(use, columns)
        self._uniqueness(use, columns, rows)
        self._conflict(use, insert, columns)
        if not missing:
            return
        what = "no partition would be found for the row (23514)"
        if self.region not in missing:
            what = "it may not be NULL, or the foreign key fails (23502, 23503)"
        self._note(
            Code.insert_without_region,
            use.key,
            f"inserts into {use.key} without {', '.join(missing)}: {what}",
        )
        if use.key == self.layout.placement.root:
            self._try(self._insert_client, use, insert, columns, rows)
        else:
            self._try(self._insert_row, use, insert, columns, rows, missing)

    def _missing(self, use: Use, columns: Collection[str]) -> list[str]:
        """Return the columns that the layout's table has more, and that must be given."""
        table = self.layout.table(use.key)
        missing = [column.name for column in owner_columns(table) if column.name not in columns]
        if use.regional and self.region not in columns:
            missing.append(self.region)
        for reference in self.layout.placement[use.key].foreign_references:
            name = self.layout.reference_columns[reference]
            if name not in columns and any(column in columns for column in reference.columns):
                missing.append(name)
        return missing

    def _insert_row(
        self,
        use: Use,
        insert: exp.Insert,
        columns: list[str],
        rows: list[list[exp.Expr]] | None,
        missing: list[str],
    ) -> None:
        if rows is None:
            raise NoForm
        for row in rows:
            if len(row) != len(columns) or any(one.find(exp.Star) for one in row):
                raise NoForm
        for row in rows:
            values = {
                name: value
                for name, value in zip(columns, map(value_of, row), strict=True)
                if not is_default(value)
            }
            more = [self._extra(use, name, values) for name in missing]
            row.extend(more)
        write_rows(insert, rows)
        set_columns(insert, [*columns, *missing])

    def _extra(self, use: Use, name: str, values: dict[str, exp.Expr]) -> exp.Expr:
        """Return the value of one column that the layout's table has more."""
        placed = self.layout.placement[use.key]
        if name == self.region:
            home = placed.home
            assert home is not None
            return self._region_by(home, values)
        for reference in placed.foreign_references:
            if self.layout.reference_columns[reference] == name:
                return self._region_by(reference, values)
        # The owner column: who the client is was never said by such a row.
        assert placed.home is not None
        column = dict(zip(placed.home.columns, placed.home.target_columns, strict=True))[name]
        value = self.mender.client_parameter(self.layout.link_columns[column])
        values[name] = value
        return value.copy()

    def _region_by(self, reference: ForeignKey, values: Mapping[str, exp.Expr]) -> exp.Expr:
        if not all(column in values for column in reference.columns):
            return self.mender.region_parameter()
        return self.mender.region_of(reference, values)

    def _insert_client(
        self,
        use: Use,
        insert: exp.Insert,
        columns: list[str],
        rows: list[list[exp.Expr]] | None,
    ) -> None:
        """Write a new client and its link in one statement, the link first."""
        layout = self.layout
        if rows is None or len(rows) != 1 or len(rows[0]) != len(columns):
            raise NoForm
        if insert.args.get("conflict") is not None or insert.args.get("with_") is not None:
            raise NoForm  # Of an upsert, whether there is a link depends on whether there is a row.
        values = {
            name: value
            for name, value in zip(columns, map(value_of, rows[0]), strict=True)
            if not is_default(value)
        }
        table = layout.table(use.key)
        keys = []
        for column, link_column in layout.link_columns.items():
            if column in values:
                keys.append(render(values.pop(column)))
            elif is_generated(table.columns[column]):
                name = f"{quoted(use.node.args['db'].name)}." if use.node.args.get("db") else ""
                name = (name + quoted(layout.name(use.key))).replace("'", "''")
                keys.append(f"nextval(pg_get_serial_sequence('{name}', '{column}'))")
            else:
                keys.append(render(self.mender.parameter(f"the new client: {link_column}")))
        region = render(self.mender.parameter("the region of the new client"))
        link, link_columns = (
            quoted(layout.link),
            ", ".join(map(quoted, layout.link_columns.values())),
        )
        mine = quoted(self.region)
        if any(value.find(exp.Select, exp.Column) for value in values.values()):
            raise NoForm
        row = [
            *(f"link.{quoted(name)}" for name in layout.link_columns.values()),
            *map(render, values.values()),
            f"link.{mine}",
        ]
        names = [*layout.link_columns, *values, self.region]
        returning = insert.args.get("returning")
        self._replace(
            f"WITH link AS (INSERT INTO {link} ({link_columns}, {mine}) "
            f"VALUES ({', '.join(keys)}, {region}) RETURNING {link_columns}, {mine}) "
            f"INSERT INTO {render(use.node)} "
            f"({', '.join(map(quoted, names))}) SELECT {', '.join(row)} FROM link"
            + (f" {render(returning)}" if returning is not None else "")
        )

    def _replace(self, sql: str) -> None:
        self.instead = Form(sql, self.mender.added)

    def _uniqueness(
        self, use: Use, columns: Collection[str], rows: list[list[exp.Expr]] | None
    ) -> None:
        if not use.regional:
            return
        for unique in self.layout.regional[use.key].uniques:
            if not set(unique.columns) <= set(columns):
                continue
            if unique.scope is Scope.region or (
                unique.scope is Scope.generated and _gives(rows, columns, unique)
            ):
                self._note(
                    Code.unique_per_region,
                    use.key,
                    f"{unique.name} ({', '.join(unique.columns)}) of {use.key} is unique within a "
                    "region only: the same value in another region is not refused",
                )

    def _conflict(self, use: Use, insert: exp.Insert, columns: Collection[str]) -> None:
        conflict = insert.args.get("conflict")
        if conflict is None or not use.regional:
            return
        uniques = self.layout.regional[use.key].uniques
        apart = [
            unique
            for unique in uniques
            if unique.scope in (Scope.key_table, Scope.region)
            or (unique.scope is Scope.generated and set(unique.columns) <= set(columns))
        ]
        keys = [named(key_column(key)) for key in conflict.args.get("conflict_keys") or ()]
        constraint = conflict.args.get("constraint")
        if keys and self.region not in keys:
            self._note(
                Code.conflict_target,
                use.key,
                f"on conflict ({', '.join(keys)}) matches no key of {use.key}, because its keys "
                f"hold {self.region} (42P10)" + _elsewhere(uniques, keys),
            )
            conflict.append("conflict_keys", exp.Column(this=identifier(self.region)))
        elif constraint is not None:
            name = named(constraint.this if isinstance(constraint, exp.Table) else constraint)
            for unique in apart:
                if unique.name == name:
                    self._note(
                        Code.conflict_in_one_region,
                        use.key,
                        f"on conflict on constraint {name} sees the rows of one region only"
                        + _elsewhere(uniques, unique.columns),
                    )
        elif not keys and apart:
            names = ", ".join(unique.name for unique in apart)
            self._note(
                Code.conflict_in_one_region,
                use.key,
                f"on conflict do nothing sees the rows of one region only: {names} of another "
                "region is an error (23505), or is not refused where its uniqueness was given up",
            )
        if updates_on_conflict(conflict):
            self._assign(use, conflict)

    # Updates -------------------------------------------------------------------------------

    def _assign(self, use: Use, update: exp.Expr) -> None:
        """Look at the columns that an update, or an upsert, sets."""
        layout = self.layout
        assigned = assignments(update)
        upsert = isinstance(update, exp.OnConflict)
        placed = layout.placement[use.key]
        if use.regional and self.region in assigned and not upsert:
            self._note(
                Code.updates_region,
                use.key,
                f"sets {self.region} of {use.key}: the foreign key refuses it (23503); a client "
                "moves by its link, and its rows follow",
            )
            self._move()
            return
        root = use.key == layout.placement.root
        key = [column for column in layout.link_columns if root and column in assigned]
        if key and not upsert:
            self._note(
                Code.updates_client_key,
                use.key,
                f"sets {', '.join(key)} of {use.key}, which its link holds too: the foreign key "
                "refuses it (23503); set it in the link, and the rows follow",
            )
            self._rekey(assigned)
            return
        if use.regional:
            self._uniqueness(use, assigned, None)
        for reference, role in placed.roles.items():
            if role not in (Role.home, Role.foreign_reference):
                continue
            name = self.region if role is Role.home else layout.reference_columns[reference]
            touched = [column for column in reference.columns if column in assigned]
            if not touched or name in assigned or (upsert and role is Role.home):
                continue
            self._note(
                Code.updates_key,
                use.key,
                f"sets {', '.join(touched)} of {use.key} without {name}: refused (23503) unless "
                f"the row of {reference.target} is in the same region",
            )
            self._try(self._assign_region, update, reference, name, assigned)

    def _assign_region(
        self,
        update: exp.Expr,
        reference: ForeignKey,
        name: str,
        assigned: Mapping[str, exp.Expr | None],
    ) -> None:
        if isinstance(update, exp.OnConflict):
            value = expression(f"excluded.{quoted(name)}")
        else:
            values = {}
            for column in reference.columns:
                given = assigned.get(column)
                if given is None or is_default(given):
                    raise NoForm
                values[column] = given
            if all(isinstance(given, exp.Null) for given in values.values()):
                value = exp.Null()
            else:
                value = self.mender.region_of(reference, values)
        update.append(
            "expressions", exp.EQ(this=exp.Column(this=identifier(name)), expression=value)
        )

    def _move(self) -> None:
        """Move the client instead."""
        self._update_link({self.region: "the region that the client moves to"})

    def _rekey(self, assigned: Mapping[str, exp.Expr | None]) -> None:
        """Give the client its new key in the link instead."""
        if set(assigned) <= set(self.layout.link_columns):
            columns = [self.layout.link_columns[column] for column in assigned]
            self._update_link({column: f"the new {column}" for column in columns})
        else:
            self.mended = False

    def _update_link(self, values: Mapping[str, str]) -> None:
        """Update the link instead, by parameters of other meanings."""
        link = self.layout.link
        keys = {
            column: f"the client: {link}.{column}" for column in self.layout.link_columns.values()
        }
        numbers = iter(range(1, len(values) + len(keys) + 1))
        sets = ", ".join(f"{quoted(column)} = ${next(numbers)}" for column in values)
        where = " AND ".join(f"{quoted(column)} = ${next(numbers)}" for column in keys)
        meanings = [*values.values(), *keys.values()]
        self.instead = Form(
            f"UPDATE {quoted(link)} SET {sets} WHERE {where}",
            {f"${number}": meaning for number, meaning in enumerate(meanings, start=1)},
            _MOVE,
        )

    def _merge(self, use: Use) -> None:
        merge = use.query
        for when in merge.args["whens"].expressions:
            then = when.args.get("then")
            if isinstance(then, exp.Update):
                self._assign(use, then)
            elif isinstance(then, exp.Insert):
                inserted = then.this
                names = [named(one.this) for one in getattr(inserted, "expressions", ())]
                row = getattr(then.args.get("expression"), "expressions", None)
                missing = self._missing(use, names or source_columns(self.layout.table(use.key)))
                if not missing:
                    continue
                self._note(
                    Code.insert_without_region,
                    use.key,
                    f"inserts into {use.key} without {', '.join(missing)}: no partition would be "
                    "found for the row (23514)",
                )
                root = use.key == self.layout.placement.root
                if root or not names or row is None or len(row) != len(names):
                    self.mended = False
                    continue
                self._try(self._merge_insert, use, inserted, names, row, missing)

    def _merge_insert(
        self,
        use: Use,
        inserted: exp.Expr,
        names: list[str],
        row: list[exp.Expr],
        missing: list[str],
    ) -> None:
        values = dict(zip(names, row, strict=True))
        for name in missing:
            value = self._extra(use, name, values)
            inserted.append("expressions", exp.Column(this=identifier(name)))
            row[0].parent.append("expressions", value)  # type: ignore[union-attr]  # a tuple

    # Deletes -------------------------------------------------------------------------------

    def _delete(self, use: Use) -> None:
        if use.key != self.layout.placement.root or self.reading.links:
            return
        link = self.layout.link
        self._note(
            Code.leaves_link,
            use.key,
            f"deletes from {use.key} and leaves its row in {link}: a client of the same key cannot "
            "be inserted again",
        )
        delete = use.query
        if delete is not self.reading.tree or any(
            delete.args.get(name) for name in ("returning", "with_", "using")
        ):
            self.mended = False
            return
        keys = ", ".join(
            f"{quoted(use.alias)}.{quoted(column)}" for column in self.layout.link_columns
        )
        same = " AND ".join(
            f"{quoted(link)}.{quoted(link_column)} = gone.{quoted(column)}"
            for column, link_column in self.layout.link_columns.items()
        )
        self._replace(
            f"WITH gone AS ({render(delete)} RETURNING {keys}) "
            f"DELETE FROM {quoted(link)} USING gone WHERE {same}"
        )

    # Regions -------------------------------------------------------------------------------

    def _regions(self, groups: Groups, scattered: Collection[Use]) -> None:
        """Name the region of every table whose rows belong to a client that is known."""
        wide = {use for use in self.reading.uses if use.key in self._everywhere and use.regional}
        joins: list[Use] = []
        lookups: list[Use] = []
        mends: list[tuple[Use, str, Use | None]] = []
        for use in scattered:
            if use in wide and use not in groups.named and not groups.anchored(use):
                self._note(
                    Code.every_region,
                    use.key,
                    f"asks every region for the rows of {use.key}, and has to: rows of any client "
                    "may have this key",
                )
        for group in groups.all():
            unnamed = [use for use in group.uses if use not in groups.named]
            for use in unnamed:
                if use.verb is Verb.insert:
                    continue
                condition = self._condition(groups, group, use)
                if condition is None:
                    continue
                if use in wide:
                    (lookups if group.anchored else joins).append(use)
                mends.append((use, *condition))
        if lookups:
            tables = ", ".join(dict.fromkeys(use.key for use in lookups))
            self._note(
                Code.every_region,
                lookups[0].key,
                f"asks every region for the rows of {tables}, of a client that is in one",
            )
        if joins:
            tables = ", ".join(dict.fromkeys(use.key for use in joins))
            self._note(
                Code.join_without_region,
                joins[0].key,
                f"joins {tables} by key, without {self.region}: each row is looked for in every "
                "region",
            )
        if lookups or joins:
            for use, sql, other in mends:
                self._try(self.mender.require, use, sql, other)

    def _condition(self, groups: Groups, group: Group, use: Use) -> tuple[str, Use | None] | None:
        """Return what says the region of a table, and the other table that it names."""
        fixed = next((other for other in group.uses if other in groups.named), None)
        if fixed is not None:
            return self._same_region(use, fixed)
        if group.anchored:
            value = render(self.mender.region_parameter(many=group.many))
            mine = f"{quoted(use.alias)}.{quoted(self.region)}"
            return (f"{mine} = ANY({value})" if group.many else f"{mine} = {value}"), None
        if group.referred is not None:
            other, reference = group.referred
            if use is group.target:
                return self._same_region(use, other, self.layout.reference_columns[reference])
            return self._same_region(use, group.target)
        first = self.reading.outermost(group.uses)
        return None if use is first else self._same_region(use, first)

    def _same_region(self, use: Use, other: Use, column: str | None = None) -> tuple[str, Use]:
        mine, theirs = quoted(use.alias), quoted(other.alias)
        return f"{mine}.{quoted(self.region)} = {theirs}.{quoted(column or self.region)}", other

    def _region_in_where(self) -> None:
        for column, use in self.reading.regional_columns(self.region):
            query = use.query
            if use.verb not in (Verb.update, Verb.delete) or not column.find_ancestor(exp.Where):
                continue
            if column.find_ancestor(exp.Where).find_ancestor(type(query)) is not query:  # type: ignore[union-attr]
                continue
            equation = column.find_ancestor(exp.EQ, exp.In)
            if equation is None or equation.find(exp.Select) is not None:
                continue
            other = equation.expression if isinstance(equation, exp.EQ) else equation
            if isinstance(other, exp.Column):
                continue
            done = "UPDATE" if use.verb is Verb.update else "DELETE"
            self._note(
                Code.region_in_where,
                use.key,
                f"with a stale {self.region} it says {done} 0, and nothing else: look the region "
                "up in the same transaction, for key share, and check the count of rows",
            )
            anchors = [look for look in self.reading.lookups() if look.use is use and not look.many]
            if isinstance(equation, exp.EQ):
                self._try(self._look_up, use, equation, column, anchors)

    def _look_up(
        self, use: Use, equation: exp.EQ, column: exp.Column, anchors: list[Lookup]
    ) -> None:
        """Compare with the region as the link has it now."""
        placed = self.layout.placement[use.key]
        values = {}
        for one, other in self.reading.equalities():
            for side, value in ((one, other), (other, one)):
                if isinstance(side, exp.Column) and self.reading.use_of(side) is use:
                    values[named(side.this)] = value
        looked = {look.column for look in anchors}
        home = placed.home
        if home is not None and set(home.columns) <= looked:
            region = self.mender.region_of(home, values)
        elif home is None and set(self.layout.link_columns) <= looked:
            link = ForeignKey(
                use.key,
                tuple(self.layout.link_columns),
                use.key,
                tuple(self.layout.link_columns),
            )
            region = self.mender.region_of(link, values)
        else:
            region = self.mender.region_of_client()
        name = "expression" if equation.this is column else "this"
        equation.set(name, region)

    # What else partitions change -----------------------------------------------------------

    def _row_addresses(self) -> None:
        for name in ("ctid", "tableoid"):
            for _, use in self.reading.regional_columns(name):
                what = (
                    "the same ctid can be in several partitions"
                    if name == "ctid"
                    else "tableoid is that of the partition"
                )
                self._note(Code.row_address, use.key, f"{name} of {use.key}: {what}")
                self.mended = False

    def _whole_rows(self) -> None:
        for column in list(self.reading.tree.find_all(exp.Column)):
            name = named(column.this)
            if column.args.get("table") or self.reading.use_of(column) is not None:
                continue
            for use in self.reading.uses:
                if use.regional and use.alias == name and use.query is column.parent_select:
                    self._note(
                        Code.more_columns,
                        use.key,
                        f"the whole row of {use.key} has the column {self.region} too",
                    )
                    self.mended = False

    def _only(self) -> None:
        for use in self.reading.uses:
            if use.regional and use.node.args.get("only"):
                self._note(
                    Code.only_parent,
                    use.key,
                    f"ONLY {use.key} is the parent alone, which holds no row",
                )
                use.node.set("only", False)

    def _partitions(self) -> None:
        for name, key in self.reading.partitions.items():
            self._note(
                Code.one_partition,
                key,
                f"names the partition {name}: rows that move away, and regions that come, are not "
                "seen; before PostgreSQL 17 an insert into it draws no identity (23502)",
            )
            self.mended = False


def _elsewhere(uniques: Iterable[Unique], columns: Iterable[str]) -> str:
    """Return what becomes of a conflict with a row of another region."""
    for unique in uniques:
        if set(unique.columns) == set(columns):
            if unique.scope is Scope.key_table:
                return "; the same value in another region is an error (23505), no conflict"
            if unique.scope in (Scope.region, Scope.generated):
                return "; the same value in another region is no conflict"
    return ""


def _gives(rows: list[list[exp.Expr]] | None, columns: Collection[str], unique: Unique) -> bool:
    """Return whether a generated key is given as a value instead."""
    if rows is None:
        return False
    at = list(columns).index(unique.columns[0])
    for row in rows:
        if at < len(row) and not is_default(value_of(row[at])):
            call = render(row[at]).lower()
            if "nextval(" not in call and "uuid" not in call:
                return True
    return False
