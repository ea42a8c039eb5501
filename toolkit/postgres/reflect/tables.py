"""From what ``pg_catalog`` says to a ``MetaData``, and notes of what it cannot hold. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, MetaData, Table
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from toolkit.errors import Refused, sampled
from toolkit.names import MAX_BYTES, NamePool, shorten
from toolkit.postgres import ddl
from toolkit.postgres.reflect import partitions
from toolkit.postgres.reflect.definitions import index_parts, without_parentheses
from toolkit.postgres.reflect.notes import Note
from toolkit.postgres.reflect.renaming import Renaming
from toolkit.postgres.reflect.rows import (
    Attribute,
    Constraint,
    IdentitySequence,
    IndexRow,
    Relation,
    Rows,
)
from toolkit.postgres.reflect.types import TypeReader
from toolkit.postgres.regions import ONLY

_ACTIONS = {"a": None, "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}

#: The greatest value of a sequence of each type.
_GREATEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}

#: What follows a column in an index, and the method of a column that says it.
_ORDERS: dict[str, Sequence[str]] = {
    "": (),
    "DESC": ("desc",),
    "DESC NULLS LAST": ("desc", "nulls_last"),
    "NULLS FIRST": ("nulls_first",),
}


class TableBuilder:
    """Builds the tables of some schemas.

    Args:
        rows: what the catalogue says.
        schemas: whose tables are wanted, under their names in the database.
        default_schema: the one whose tables have bare keys.
        renaming: what schemas are called in the result.

    Attributes:
        metadata: the result.
        notes: what it does not hold.
    """

    def __init__(
        self,
        rows: Rows,
        schemas: Sequence[str],
        default_schema: str,
        renaming: Renaming,
    ) -> None:
        self.metadata = MetaData(schema=renaming.schema(default_schema))
        self.notes: list[Note] = []
        self._rows = rows
        self._schemas = schemas
        self._default = default_schema
        self._renaming = renaming
        self._types = TypeReader(rows.types, rows.attributes, renaming)
        self._tables: dict[int, Table] = {}

    def build(self) -> None:
        """Add every table, then what refers to others.

        Raises:
            Refused: two tables would have one key, because a name holds a dot.
        """
        found = [relation for relation in self._rows.relations.values() if self._wanted(relation)]
        self._refuse_equal_keys(found)
        for relation in found:
            self._table(relation)
        for relation in found:
            self._foreign_keys(relation)
        self.notes.sort()

    # Which tables ---------------------------------------------------------------------------

    def _wanted(self, relation: Relation) -> bool:
        """Return whether a relation is a table of its own; note those that are left out."""
        if relation.schema not in self._schemas:
            return False
        if relation.extension is not None:
            self._note(relation, "", f"left out: it is part of extension {relation.extension!r}")
            return False
        if relation.partition:
            top = self._rows.relations[self._rows.top(relation.oid)]
            if top.schema not in self._schemas:
                self._note(
                    relation,
                    "",
                    f"left out: it is a partition of {self._key(top)!r}, whose schema is not read; "
                    f"add {top.schema!r} to schemas in [source]",
                )
            return False
        if relation.kind == "f":
            self._note(relation, "", "left out: it is a foreign table, its rows live elsewhere")
            return False
        return True

    def _refuse_equal_keys(self, relations: Sequence[Relation]) -> None:
        known: dict[str, Relation] = {}
        for relation in relations:
            # The key of the placement, and SQLAlchemy's own.
            for key in {self._key(relation), f"{relation.schema}.{relation.name}"}:
                other = known.setdefault(key, relation)
                if other is not relation:
                    raise Refused(
                        f"two tables would be called {key!r}: {other.name!r} of schema "
                        f"{other.schema!r} and {relation.name!r} of schema {relation.schema!r}",
                        hint="rename one of them in the source, without a dot",
                    )

    def _key(self, relation: Relation) -> str:
        if relation.schema == self._default:
            return relation.name
        return f"{self._renaming.schema(relation.schema)}.{relation.name}"

    def _note(self, relation: Relation, subject: str, text: str) -> None:
        self.notes.append(Note(self._key(relation), subject, text))

    def _sql(self, text: str) -> str:
        """Return PostgreSQL's text for SQLAlchemy's ``text()``, with the schemas' right names."""
        return ddl.escape_binds(self._renaming.text(text))

    # Tables and columns ---------------------------------------------------------------------

    def _table(self, relation: Relation) -> None:
        options: dict[str, Any] = {}
        if relation.unlogged:
            options["prefixes"] = ["UNLOGGED"]
        if relation.options:
            options["postgresql_with"] = _options(relation.options)
        if relation.kind != "p" and relation.oid in self._rows.children:
            options["info"] = {ONLY: True}
            self._note_children(relation)
        table = Table(
            relation.name,
            self.metadata,
            *(self._column(relation, one) for one in self._rows.attributes.get(relation.oid, ())),
            schema=self._renaming.schema(relation.schema),
            comment=relation.comment,
            **options,
        )
        self._tables[relation.oid] = table
        self._note_peculiarities(relation)
        for constraint in self._rows.constraints.get(relation.oid, ()):
            self._constraint(relation, table, constraint)
        if relation.kind == "p":
            self._flatten(relation, table)
        self._without_sequence(table)
        backing = {
            constraint.index
            for constraint in self._rows.constraints.get(relation.oid, ())
            if constraint.type in ("p", "u", "x")
        }
        for index in self._rows.indexes.get(relation.oid, ()):
            if index.oid in backing:
                self._note_storage(relation, f"constraint {index.name!r}", index)
            else:
                self._index(relation, table, index)
        self._note_names_of_not_null(relation)

    def _note_children(self, relation: Relation) -> None:
        children = [self._rows.relations[oid] for oid in self._rows.children[relation.oid]]
        read = [self._key(child) for child in children if child.schema in self._schemas]
        if read:
            self._note(
                relation,
                "",
                f"read without the rows of {', '.join(read)}, which inherit from it and are tables "
                "of their own",
            )
        for child in children:
            if child.schema not in self._schemas:
                self._note(
                    relation,
                    "",
                    f"read without the rows of {self._key(child)!r}, which inherits from it and "
                    f"stays behind; add {child.schema!r} to schemas in [source]",
                )

    def _note_peculiarities(self, relation: Relation) -> None:
        parents = self._rows.parents.get(relation.oid, ())
        if parents:
            names = ", ".join(self._key(self._rows.relations[parent]) for parent in parents)
            self._note(relation, "", f"inherits from {names}: carried as a table of its own")
        if relation.of_type is not None:
            self._note(relation, "", f"of type {relation.of_type}: carried as an ordinary table")
        if relation.method is not None:
            self._note(relation, "", f"access method {relation.method!r}: carried as a heap table")
        if relation.tablespace is not None:
            self._note(
                relation, "", f"tablespace {relation.tablespace!r} is left to the target's default"
            )

    def _column(self, relation: Relation, attribute: Attribute) -> Column[Any]:
        use = attribute.use
        if self._types.loses_collation(use):
            self._note(
                relation,
                f"column {attribute.name!r}",
                f"compares by its domain's collation, not by {attribute.collation!r}",
            )
        if self._types.is_row_of_table(attribute.type):
            self._note(
                relation,
                f"column {attribute.name!r}",
                f"its values are rows of {attribute.text}, whose columns change with the layout",
            )
        arguments: list[Any] = []
        options: dict[str, Any] = {}
        if attribute.identity:
            sequence = self._rows.identities[relation.oid, attribute.number]
            arguments.append(_identity(sequence, always=attribute.identity == "a"))
            expected = shorten(f"{relation.name}_{attribute.name}_seq")
            if sequence.name != expected:
                self._note(
                    relation,
                    f"column {attribute.name!r}",
                    f"its identity draws from sequence {sequence.name!r}, which gets a name of "
                    "PostgreSQL's choice",
                )
        elif attribute.generated:
            value = without_parentheses(str(attribute.default))
            arguments.append(sa.Computed(self._sql(value), persisted=attribute.generated == "s"))
        elif attribute.default is not None:
            options["server_default"] = sa.text(self._sql(attribute.default))
        if attribute.comment is not None:
            options["comment"] = attribute.comment
        return Column(
            attribute.name,
            self._types.read(use),
            *arguments,
            nullable=not attribute.not_null,
            **options,
        )

    def _without_sequence(self, table: Table) -> None:
        """Keep SQLAlchemy from giving a plain integer key a sequence."""
        key = list(table.primary_key.columns)
        if (
            len(key) == 1
            and isinstance(key[0].type, sa.Integer)
            and key[0].server_default is None
            and key[0].identity is None
        ):
            key[0].autoincrement = False

    # Constraints ----------------------------------------------------------------------------

    def _constraint(self, relation: Relation, table: Table, constraint: Constraint) -> None:
        if constraint.type in ("p", "u"):
            self._unique(relation, table, constraint)
        elif constraint.type == "c":
            self._check(relation, table, constraint)
        elif constraint.type == "x":
            self._exclusion(relation, table, constraint)
        elif constraint.type == "n":
            self._not_null(relation, table, constraint)

    def _unique(self, relation: Relation, table: Table, constraint: Constraint) -> None:
        index = self._index_of(relation, constraint)
        columns = partitions.names(self._rows, relation.oid, constraint.columns)
        kind = sa.PrimaryKeyConstraint if constraint.type == "p" else sa.UniqueConstraint
        options: dict[str, Any] = dict(_deferral(constraint))
        included = index.keys[index.key_count :]
        if included:
            options["postgresql_include"] = list(
                partitions.names(self._rows, relation.oid, included)
            )
        if index.nulls_not_distinct:
            options["postgresql_nulls_not_distinct"] = True
        table.append_constraint(
            kind(*columns, name=constraint.name, comment=constraint.comment, **options)
        )
        if constraint.period:
            self._overlaps(relation, table, constraint, index, columns)

    def _overlaps(
        self,
        relation: Relation,
        table: Table,
        constraint: Constraint,
        index: IndexRow,
        columns: Sequence[str],
    ) -> None:
        """Say ``WITHOUT OVERLAPS`` as the exclusion that it is, beside the key."""
        taken = NamePool(one.name for one in self._rows.constraints[relation.oid])
        name = taken.claim(f"{constraint.name}_overlaps")
        operators = ["="] * (len(columns) - 1) + ["&&"]
        table.append_constraint(
            ExcludeConstraint(*zip(columns, operators, strict=True), name=name, using=index.method)
        )
        self._note(
            relation,
            f"constraint {constraint.name!r}",
            f"WITHOUT OVERLAPS is said as exclusion constraint {name!r}",
        )

    def _check(self, relation: Relation, table: Table, constraint: Constraint) -> None:
        subject = f"constraint {constraint.name!r}"
        if not constraint.enforced:
            self._note(relation, subject, "left out: it is NOT ENFORCED, and checks nothing")
            return
        if constraint.no_inherit:
            self._note(relation, subject, "carried without NO INHERIT: nothing inherits there")
        options: dict[str, Any] = {}
        if not constraint.validated:
            options["postgresql_not_valid"] = True
        table.append_constraint(
            sa.CheckConstraint(
                self._sql(without_parentheses(str(constraint.expression))),
                name=constraint.name,
                comment=constraint.comment,
                **options,
            )
        )

    def _exclusion(self, relation: Relation, table: Table, constraint: Constraint) -> None:
        index = self._index_of(relation, constraint)
        elements: list[tuple[Any, str]] = []
        for part, number, operator in zip(
            index_parts(index.definition), index.keys, constraint.operators, strict=False
        ):
            name = self._name(relation, number)
            plain = name is not None and not _after(part, name)
            elements.append((name if plain else sa.text(self._sql(part)), operator))
        options: dict[str, Any] = dict(_deferral(constraint))
        if index.where is not None:
            options["where"] = sa.text(self._sql(without_parentheses(index.where)))
        table.append_constraint(
            ExcludeConstraint(*elements, name=constraint.name, using=index.method, **options)
        )
        if index.key_count < len(index.keys):
            self._note(
                relation, f"constraint {constraint.name!r}", "its INCLUDE columns are left behind"
            )

    def _not_null(self, relation: Relation, table: Table, constraint: Constraint) -> None:
        """Look at a ``NOT NULL`` that is a constraint, as it is from PostgreSQL 18 on."""
        (column,) = partitions.names(self._rows, relation.oid, constraint.columns)
        if not constraint.validated:
            table.columns[column].nullable = True
            self._note(
                relation,
                f"column {column!r}",
                "NOT NULL is left out: it is NOT VALID, rows may hold NULL",
            )

    def _note_names_of_not_null(self, relation: Relation) -> None:
        names = [
            constraint.name
            for constraint in self._rows.constraints.get(relation.oid, ())
            if constraint.type == "n"
            and constraint.validated
            and not constraint.inherited
            and constraint.name != self._name_of_not_null(relation, constraint)
            # PostgreSQL shortens in a way of its own.
            and len(constraint.name.encode()) < MAX_BYTES
        ]
        if names:
            self._note(
                relation, "", f"NOT NULL is carried without the names {', '.join(map(repr, names))}"
            )

    def _name_of_not_null(self, relation: Relation, constraint: Constraint) -> str:
        (column,) = partitions.names(self._rows, relation.oid, constraint.columns)
        return f"{relation.name}_{column}_not_null"

    def _index_of(self, relation: Relation, constraint: Constraint) -> IndexRow:
        return next(
            index for index in self._rows.indexes[relation.oid] if index.oid == constraint.index
        )

    # Foreign keys ---------------------------------------------------------------------------

    def _foreign_keys(self, relation: Relation) -> None:
        for key in partitions.declared_foreign_keys(self._rows, relation.oid):
            self._foreign_key(
                relation,
                key,
                partitions.names(self._rows, relation.oid, key.columns),
                partitions.names(self._rows, key.target, key.target_columns),
                _ACTIONS[key.on_update],
                self._on_delete(relation.oid, key),
            )
        if relation.kind != "p":
            return
        for found in partitions.foreign_keys_of_partitions(self._rows, relation.oid):
            key = found.constraint
            subject = f"constraint {key.name!r}"
            if not found.everywhere:
                self._note(
                    relation, subject, "left out: only some of the partitions have this foreign key"
                )
                continue
            self._note(
                relation,
                subject,
                "every partition has this foreign key: it is one of the table"
                + ("" if found.alike else ", without what they do on update and delete"),
            )
            self._foreign_key(
                relation,
                key,
                found.columns,
                found.target_columns,
                _ACTIONS[key.on_update] if found.alike else None,
                self._on_delete(key.relation, key) if found.alike else None,
            )

    def _on_delete(self, relation: int, key: Constraint) -> str | None:
        action = _ACTIONS[key.on_delete]
        if action is None or not key.delete_columns:
            return action
        names = partitions.names(self._rows, relation, key.delete_columns)
        return f"{action} ({', '.join(map(ddl.quote, names))})"

    def _foreign_key(
        self,
        relation: Relation,
        key: Constraint,
        columns: Sequence[str],
        target_columns: Sequence[str],
        on_update: str | None,
        on_delete: str | None,
    ) -> None:
        subject = f"constraint {key.name!r}"
        top = self._rows.top(key.target)
        target = self._tables.get(top)
        if key.period:
            self._note(
                relation, subject, "left out: SQLAlchemy has no word for a foreign key with PERIOD"
            )
            return
        if target is None:
            referenced = self._rows.relations[top]
            self._note(
                relation,
                subject,
                f"left out: it references {self._key(referenced)!r}, which is "
                + (
                    "left out itself"
                    if referenced.schema in self._schemas
                    else f"in another schema; add {referenced.schema!r} to schemas in [source]"
                ),
            )
            return
        if top != key.target:
            partition = self._key(self._rows.relations[key.target])
            if frozenset(target_columns) not in _unique_sets(target):
                self._note(
                    relation,
                    subject,
                    f"left out: it references partition {partition!r} by columns that are not "
                    "unique over the whole table",
                )
                return
            self._note(
                relation, subject, f"references partition {partition!r}: now the whole table"
            )
        if not key.enforced:
            self._note(relation, subject, "is NOT ENFORCED in the source, and will be enforced")
        options: dict[str, Any] = dict(_deferral(key))
        if not key.validated:
            options["postgresql_not_valid"] = True
        self._tables[relation.oid].append_constraint(
            sa.ForeignKeyConstraint(
                list(columns),
                [target.columns[name] for name in target_columns],
                name=key.name,
                onupdate=on_update,
                ondelete=on_delete,
                match="FULL" if key.match == "f" else None,
                comment=key.comment,
                **options,
            )
        )

    # Partitions -----------------------------------------------------------------------------

    def _flatten(self, relation: Relation, table: Table) -> None:
        leaves = self._rows.leaves(relation.oid)
        self._note(
            relation,
            "",
            f"partitioned by {relation.partition_key}: its {len(leaves)} partition(s) are carried "
            "as one table",
        )
        for leaf in leaves:
            if self._rows.relations[leaf].kind == "f":
                self._note(
                    relation,
                    "",
                    f"partition {self._key(self._rows.relations[leaf])!r} is a foreign table: its "
                    "rows are read from another server",
                )
        for name in sorted(partitions.required_columns(self._rows, relation.oid)):
            if table.columns[name].nullable:
                table.columns[name].nullable = False
                self._note(
                    relation,
                    f"column {name!r}",
                    "every partition has it NOT NULL: it is so in the table",
                )
        proven, others = partitions.keys_of_partitions(self._rows, relation.oid)
        taken = NamePool(one.name for one in self._rows.constraints.get(relation.oid, ()))
        for columns in proven:
            primary = not list(table.primary_key.columns) and not any(
                table.columns[name].nullable for name in columns
            )
            stem = "pkey" if primary else f"{'_'.join(columns)}_key"
            name = taken.claim(f"{relation.name}_{stem}")
            kind = sa.PrimaryKeyConstraint if primary else sa.UniqueConstraint
            table.append_constraint(kind(*columns, name=name))
            self._note(
                relation,
                f"({', '.join(columns)})",
                "unique in every partition, and contains what decides on the partition: carried as "
                f"{'the primary key' if primary else 'a unique constraint'} {name!r}",
            )
        if others:
            self._note(
                relation,
                ", ".join(sampled(others)),
                "left out: unique within a partition only",
            )
        self._flatten_checks(relation, table)
        self._flatten_indexes(relation, table)

    def _flatten_checks(self, relation: Relation, table: Table) -> None:
        shared, others = partitions.checks_of_partitions(self._rows, relation.oid)
        for check in shared:
            self._note(
                relation,
                f"constraint {check.name!r}",
                "every partition has this check: it is one of the table",
            )
            self._check(relation, table, check)
        if others:
            self._note(
                relation,
                ", ".join(sampled(others)),
                "left out: only some of the partitions check it",
            )

    def _flatten_indexes(self, relation: Relation, table: Table) -> None:
        shared, others = partitions.indexes_of_partitions(self._rows, relation.oid)
        for index in shared:
            self._note(
                relation,
                f"index {index.name!r}",
                "every partition has this index: it is one of the table",
            )
            self._index(self._rows.relations[index.relation], table, index)
        if others:
            self._note(
                relation, ", ".join(sampled(others)), "left out: indexes of some partitions only"
            )

    # Indexes --------------------------------------------------------------------------------

    def _index(self, relation: Relation, table: Table, index: IndexRow) -> None:
        subject = f"index {index.name!r}"
        if not index.valid:
            self._note(relation, subject, "left out: it is INVALID, nobody can use it")
            return
        options: dict[str, Any] = {}
        if index.method != "btree":
            options["postgresql_using"] = index.method
        parts, operators = self._parts(relation, table, index)
        if operators:
            options["postgresql_ops"] = operators
        included = index.keys[index.key_count :]
        if included:
            options["postgresql_include"] = list(
                partitions.names(self._rows, relation.oid, included)
            )
        if index.nulls_not_distinct:
            options["postgresql_nulls_not_distinct"] = True
        if index.options:
            options["postgresql_with"] = _options(index.options)
        if index.where is not None:
            options["postgresql_where"] = sa.text(self._sql(without_parentheses(index.where)))
        if index.tablespace is not None:
            self._note_storage(relation, subject, index)
        table.append_constraint(sa.Index(index.name, *parts, unique=index.unique, **options))

    def _parts(
        self, relation: Relation, table: Table, index: IndexRow
    ) -> tuple[list[Any], dict[str, str]]:
        """Return the parts of an index, and what stands behind those that are plain columns."""
        parts: list[Any] = []
        operators: dict[str, str] = {}
        for part, number, folding in zip(
            index_parts(index.definition), index.keys, index.folding, strict=False
        ):
            name = self._name(relation, number)
            after = "" if name is None else _after(part, name)
            if name is not None and after in _ORDERS:
                expression: Any = table.columns[name]
                for method in _ORDERS[after]:
                    expression = getattr(expression, method)()
                parts.append(expression)
            elif name is not None and not folding and index.keys.count(number) == 1:
                parts.append(table.columns[name])
                operators[name] = after
            else:
                parts.append(sa.text(self._sql(part)))
        return parts, operators

    def _name(self, relation: Relation, number: int) -> str | None:
        return partitions.names(self._rows, relation.oid, [number])[0] if number else None

    def _note_storage(self, relation: Relation, subject: str, index: IndexRow) -> None:
        if index.tablespace is not None:
            self._note(
                relation,
                subject,
                f"tablespace {index.tablespace!r} is left to the target's default",
            )
        if index.options and subject.startswith("constraint"):
            self._note(relation, subject, f"its index's {', '.join(index.options)} is left behind")


def _after(part: str, name: str) -> str:
    """Return what follows a column in its index: collation, operator class, order."""
    quoted = ddl.quote(name)
    return part.removeprefix(quoted if part.startswith('"') else name).strip()


def _unique_sets(table: Table) -> set[frozenset[str]]:
    found = {
        frozenset(column.name for column in constraint.columns)
        for constraint in table.constraints
        if isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
    }
    found |= {
        frozenset(column.name for column in index.columns)
        for index in table.indexes
        if index.unique
    }
    return found


def _deferral(constraint: Constraint) -> Iterable[tuple[str, Any]]:
    if constraint.deferrable:
        yield "deferrable", True
    if constraint.deferred:
        yield "initially", "DEFERRED"


def _identity(sequence: IdentitySequence, *, always: bool) -> sa.Identity:
    """Return an identity with those options that are not the default ones."""
    greatest = _GREATEST[sequence.type]
    down = sequence.increment < 0
    least, most = (-greatest - 1, -1) if down else (1, greatest)
    options: dict[str, Any] = {}
    if sequence.start != (sequence.maximum if down else sequence.minimum):
        options["start"] = sequence.start
    if sequence.increment != 1:
        options["increment"] = sequence.increment
    if sequence.minimum != least:
        options["minvalue"] = sequence.minimum
    if sequence.maximum != most:
        options["maxvalue"] = sequence.maximum
    if sequence.cache != 1:
        options["cache"] = sequence.cache
    if sequence.cycle:
        options["cycle"] = True
    return sa.Identity(always=always, **options)


def _options(options: Sequence[str]) -> dict[str, Any]:
    """Return storage parameters, numbers as such."""
    pairs = (option.partition("=") for option in options)
    return {name: int(value) if value.isdecimal() else value for name, _, value in pairs}
