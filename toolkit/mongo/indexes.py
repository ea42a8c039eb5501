"""Which indexes the documents of a table get. Pure.

They are those of the table, and one for each foreign key that has none: MongoDB follows no
reference by itself, and a move or a check asks by them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Table

from toolkit.expressions import index_parts
from toolkit.layout import Unique, declared
from toolkit.mongo.conditions import both, translated
from toolkit.mongo.shape import DocumentShape
from toolkit.mongo.strings import String
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


#: Collations that compare for equality as MongoDB compares strings: byte by byte.
_BYTEWISE = re.compile(
    r"""COLLATE\s+(?:pg_catalog\.)?"?(?:C|POSIX|default|ucs_basic|C\.UTF-8)"?$""", re.I
)
_LOWER = re.compile(r'lower\(\(?(?P<column>"(?:[^"]|"")+"|[^\W\d][\w$]*)\)?(?:::text)?\)', re.I)


@dataclass(frozen=True)
class Keys:
    """What a unique constraint or index is over, as MongoDB can say it.

    Attributes:
        columns: name and direction (1 or -1), in order.
        folds: whether strings are compared without case.
        filter: the filter of the rows that it holds; ``None`` for all.
        nulls: whether NULLs are equal.
    """

    columns: tuple[tuple[str, int], ...]
    folds: bool
    filter: dict[str, Any] | None
    nulls: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The columns without their directions."""
        return tuple(column for column, _ in self.columns)


def unique_keys(unique: Unique, shape: DocumentShape) -> Keys | str:
    """Return what a unique constraint or index is over, or why MongoDB cannot say it.

    Args:
        unique: of the table.
        shape: of the table's documents.
    """
    if unique.operators:
        return "MongoDB has no exclusion constraints"
    columns: list[tuple[str, int]] = []
    folds = False
    for part in unique.parts:
        column, lower = part.column, _LOWER.fullmatch(part.sql)
        if part.collated is not None and _BYTEWISE.search(part.sql):
            column = part.collated
        if lower is not None:
            name = lower["column"]
            name = name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
            if any(one.column == name and type(one.bson) is String for one in shape.columns):
                column, folds = name, True
        if column is None:
            return f"MongoDB indexes no expression ({part.sql})"
        columns.append((column, -1 if part.descending else 1))
    fields = [shape.field(column) for column, _ in columns]
    folds = folds or any(field.bson.folds_case for field in fields)
    condition = None
    if unique.where is not None:
        condition = translated(unique.where, shape)
        if condition is None:
            return f"its condition has no counterpart ({unique.where})"
    nulls = not unique.nulls_distinct and any(field.nullable for field in fields)
    return Keys(tuple(columns), folds, condition, nulls)


class IndexBuilder:
    """Collects the indexes of one table.

    Args:
        table: the logical table.
        shape: the shape of its documents.

    Attributes:
        indexes: what was found so far.
        notes: what was changed or left behind.
    """

    def __init__(self, table: Table, shape: DocumentShape) -> None:
        self.indexes: list[CollectionIndex] = []
        self.notes: list[Note] = []
        self._table = table
        self._shape = shape
        self._names = NamePool(["_id_"])

    def add_table(self, kept: AbstractSet[str] = frozenset()) -> None:
        """Add the unique constraints and the indexes of the table.

        Args:
            kept: names of the unique constraints and indexes that a key collection keeps.
        """
        found = [unique for unique in declared(self._table) if not unique.operators]
        for unique in found:
            keys = unique_keys(unique, self._shape)
            if unique.primary and not isinstance(keys, str) and keys.folds:
                # The index of _id compares with case.
                self._add_unique(unique.name, keys, kept)
        indexes = {str(index.name) for index in self._table.indexes if index.unique}

        def order(unique: Unique) -> tuple[bool, tuple[str, ...], str]:
            """Constraints first, in the order of their columns; then indexes by name."""
            if unique.name in indexes:
                return True, (), unique.name
            return False, unique.columns, unique.name

        for unique in sorted((one for one in found if not one.primary), key=order):
            keys = unique_keys(unique, self._shape)
            if isinstance(keys, str):
                self._left(f"unique {unique.name}", f"{keys}: its uniqueness is not kept")
            else:
                self._add_unique(unique.name, keys, kept)
            if unique.deferrable:
                self._changed(f"unique {unique.name}", "is checked at once, never at COMMIT")
        for index in sorted(self._table.indexes, key=lambda one: str(one.name)):
            if not index.unique:
                self._add_index(index)
            if index.dialect_options["postgresql"].get("include"):
                self._changed(f"index {index.name}", "included columns are not stored in it")

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

    def keep_within(self, most: int) -> None:
        """Leave behind what is more than MongoDB allows in a collection; unique indexes go last."""
        for unique in (False, True):
            for index in [one for one in reversed(self.indexes) if one.unique is unique]:
                if len(self.indexes) <= most:
                    return
                self.indexes.remove(index)
                lost = ": its uniqueness is not kept" if unique else ""
                self._left(f"index {index.name}", f"MongoDB's limit is {most + 1} indexes{lost}")

    def _add_index(self, index: Index) -> None:
        name = str(index.name)
        options = index.dialect_options["postgresql"]
        method = str(options.get("using") or "").lower()
        columns = []
        for part in index_parts(index):
            column = part.column
            if part.collated is not None and _BYTEWISE.search(part.sql):
                column = part.collated
            if column is None:
                self._left(f"index {name}", "MongoDB indexes no expression")
                return
            columns.append((column, -1 if part.descending else 1))
        if method not in _PLAIN_METHODS:
            self._left(f"index {name}", f"MongoDB has no index method {method!r}")
            return
        if options.get("where") is not None:
            self._changed(f"index {name}", "holds all rows, not only those of its condition")
        self._add(name, columns)

    def _add_unique(self, name: str, keys: Keys, kept: AbstractSet[str]) -> None:
        fields = [self._shape.field(column) for column in keys.names]
        if any(field.bson.array_like for field in fields):
            self._left(
                f"index of unique {name}",
                "it would be unique per element: "
                + ("the key collection alone keeps it" if name in kept else "it is not kept"),
            )
            return
        if keys.folds:
            self._changed(name, f"compares by collation {FOLDING}, not by lower()")
        filters = [] if keys.filter is None else [keys.filter]
        if not keys.nulls:
            filters += [
                field.bson.not_null(self._shape.paths(field.column)[0])
                for field in fields
                if field.nullable
            ]
        self._add(
            name,
            list(keys.columns),
            unique=True,
            partial=both(filters),
            collation=FOLDING if keys.folds else None,
        )

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
            lost = ": its uniqueness is not kept" if unique else ""
            text = f"{len(keys)} fields, MongoDB's limit is {_MOST_FIELDS}{lost}"
            self._left(f"index {name}", text)
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
