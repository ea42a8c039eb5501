"""Which indexes the documents of a table get. Pure.

They are those of the table, and one for each foreign key that has none: MongoDB follows no
reference by itself, and a move or a check asks by them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Index, Table, UniqueConstraint
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import UnaryExpression

from toolkit.mongo.shape import DocumentShape
from toolkit.names import NamePool
from toolkit.placement import ForeignKey

#: MongoDB's limit of fields in one index.
_MOST_FIELDS = 32

#: Compares as ``citext`` does, near enough: case is ignored, accents are not.
FOLDING: dict[str, Any] = {"locale": "en", "strength": 2}

#: Methods whose indexes find single values, as MongoDB's own indexes do.
_PLAIN_METHODS = ("", "btree", "hash", "brin")


class NoteKind(StrEnum):
    """What became of something that MongoDB has no counterpart for."""

    changed = "changed"
    left_behind = "left behind"
    audited = "audited"


@dataclass(frozen=True)
class Note:
    """One thing that is not carried as it is.

    Attributes:
        table: key of the table.
        kind: what became of it.
        subject: what it is, by name.
        text: what that means, in words for the operator.
    """

    table: str
    kind: NoteKind
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.table}: {self.subject}: {self.kind}: {self.text}"


@dataclass(frozen=True)
class CollectionIndex:
    """An index.

    Attributes:
        name: unique within the collection.
        keys: path and direction (1 or -1), in order.
        unique: whether it refuses a second equal key.
        partial: the filter of the documents that it holds; ``None`` for all.
        collation: how it compares strings; ``None`` for byte by byte.
    """

    name: str
    keys: tuple[tuple[str, int], ...]
    unique: bool = False
    partial: dict[str, Any] | None = None
    collation: dict[str, Any] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths without their directions."""
        return tuple(path for path, _ in self.keys)


class IndexBuilder:
    """Collects the indexes of one table.

    Args:
        table: the logical table.
        shape: the shape of its documents.

    Attributes:
        indexes: what was found so far.
        notes: what was changed or left behind.
        refusals: what cannot be kept and must not be lost.
    """

    def __init__(self, table: Table, shape: DocumentShape) -> None:
        self.indexes: list[CollectionIndex] = []
        self.notes: list[Note] = []
        self.refusals: list[str] = []
        self._table = table
        self._shape = shape
        self._names = NamePool(["_id_"])

    def add_table(self) -> None:
        """Add the unique constraints and the indexes of the table."""
        constraints = [
            constraint
            for constraint in self._table.constraints
            if isinstance(constraint, UniqueConstraint)
        ]
        for constraint in sorted(constraints, key=lambda one: [c.name for c in one.columns]):
            columns = [column.name for column in constraint.columns]
            fallback = f"{self._table.name}_{'_'.join(columns)}_key"
            name = constraint.name if isinstance(constraint.name, str) else fallback
            distinct = not constraint.dialect_options["postgresql"].get("nulls_not_distinct")
            self._add_unique(name, [(column, 1) for column in columns], distinct)
        for index in sorted(self._table.indexes, key=lambda one: (not one.unique, str(one.name))):
            self._add_index(index)

    def add_foreign_keys(self, keys: Sequence[ForeignKey]) -> None:
        """Add an index for each foreign key whose columns no index starts with."""
        for key in keys:
            paths = {path for column in key.columns for path in self._shape.paths(column)}
            if paths == {"_id"} or any(
                set(index.paths[: len(paths)]) == paths and index.collation is None
                for index in self.indexes
            ):
                continue
            self._add(f"{'_'.join(key.columns)}_idx", [(column, 1) for column in key.columns])

    def _add_index(self, index: Index) -> None:
        name = str(index.name)
        options = index.dialect_options["postgresql"]
        method = str(options.get("using") or "").lower()
        parts = [_part(expression) for expression in index.expressions]
        columns = [part for part in parts if part is not None]
        lost = "" if not index.unique else ": its uniqueness is not kept"
        if len(columns) != len(parts):
            self._left(f"index {name}", f"MongoDB indexes no expression{lost}")
        elif method not in _PLAIN_METHODS:
            self._left(f"index {name}", f"MongoDB has no index method {method!r}")
        elif options.get("where") is not None and index.unique:
            self._left(f"index {name}", f"its condition has no counterpart{lost}")
        elif index.unique:
            self._add_unique(name, columns, not options.get("nulls_not_distinct"))
        else:
            if options.get("where") is not None:
                self._changed(f"index {name}", "holds all rows, not only those of its condition")
            self._add(name, columns)
        if options.get("include"):
            self._changed(f"index {name}", "included columns are not stored in it")

    def _add_unique(self, name: str, columns: list[tuple[str, int]], distinct: bool) -> None:
        fields = [self._shape.field(column) for column, _ in columns]
        if any(field.bson.array_like for field in fields):
            self.refusals.append(
                f"{self._shape.table_key}.{name}: unique over an array or jsonb would be unique "
                "per element"
            )
            return
        collation = FOLDING if any(field.bson.folds_case for field in fields) else None
        if collation:
            self._changed(name, f"compares by collation {FOLDING}, not by lower()")
        filters = [
            field.bson.not_null(self._shape.paths(field.column)[0])
            for field in fields
            if field.nullable and distinct
        ]
        partial = {"$and": filters} if len(filters) > 1 else filters[0] if filters else None
        self._add(name, columns, unique=True, partial=partial, collation=collation)

    def _add(
        self,
        name: str,
        columns: list[tuple[str, int]],
        *,
        unique: bool = False,
        partial: dict[str, Any] | None = None,
        collation: dict[str, Any] | None = None,
    ) -> None:
        array_like = [column for column, _ in columns if self._shape.field(column).bson.array_like]
        if len(array_like) > 1:
            self._left(f"index {name}", "MongoDB indexes one array (or jsonb) at a time")
            return
        keys: dict[str, int] = {}
        for column, direction in columns:
            paths = self._shape.paths(column)
            for path in paths[:1] if column in array_like else paths:
                keys.setdefault(path, direction)
        if len(keys) > _MOST_FIELDS:
            self.refusals.append(
                f"{self._shape.table_key}.{name}: {len(keys)} fields, MongoDB's limit is "
                f"{_MOST_FIELDS}"
            )
            return
        if list(keys) == ["_id"]:
            return
        for index in self.indexes:
            if (index.keys, index.partial, index.collation) == (
                tuple(keys.items()),
                partial,
                collation,
            ):
                # MongoDB refuses a second index over the same keys. The unique ones came first.
                self._left(f"index {name}", f"the same as {index.name}")
                return
        self.indexes.append(
            CollectionIndex(
                self._names.claim(name), tuple(keys.items()), unique, partial, collation
            )
        )

    def _left(self, subject: str, text: str) -> None:
        self.notes.append(Note(self._shape.table_key, NoteKind.left_behind, subject, text))

    def _changed(self, subject: str, text: str) -> None:
        self.notes.append(Note(self._shape.table_key, NoteKind.changed, subject, text))


def _part(expression: Any) -> tuple[str, int] | None:
    """Return an index part's column and direction, ``None`` for an expression."""
    direction = 1
    while isinstance(expression, UnaryExpression):
        if expression.modifier is operators.desc_op:
            direction = -1
        elif expression.modifier not in _ORDERINGS:
            return None
        expression = expression.element
    return (expression.name, direction) if isinstance(expression, Column) else None


_ORDERINGS = (operators.asc_op, operators.nulls_first_op, operators.nulls_last_op)
