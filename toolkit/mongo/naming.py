"""What the fields of documents are called. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from toolkit.mongo.values import BsonType
from toolkit.names import NamePool


def field_names(
    columns: Sequence[tuple[str, BsonType]],
    *,
    primary: Collection[str] = (),
    taken: Iterable[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Return the fields of every column, by its name.

    A column keeps its name if MongoDB can hold it well. The others are renamed, after all those
    that keep theirs, and the fields of lost microseconds last: none of them can take the name of a
    column.

    Args:
        columns: name and type of each, in order.
        primary: the columns of the key, one of which may be called ``_id``.
        taken: names that are not free.
    """
    names = {
        column: column
        for column, _ in columns
        if (column in primary if column == "_id" else kept(column))
    }
    pool = NamePool([*names.values(), *taken, "_id"])
    for column, _ in columns:
        if column not in names:
            names[column] = pool.claim(field_name(column))
    fields: dict[str, tuple[str, ...]] = {}
    for column, bson in columns:
        name = names[column]
        more = [pool.claim(f"{name}{suffix}", f"{name}_{suffix}") for suffix in bson.suffixes[1:]]
        fields[column] = (name, *more)
    return fields


def kept(column: str) -> bool:
    """Return whether a column's name can be a field's as it is."""
    return field_name(column) == column


def field_name(column: str) -> str:
    """Return the nearest name that MongoDB can hold well: no ``$`` first, no ``.``, not ``_id``."""
    name = column.replace(".", "_")
    if name.startswith("$"):
        name = "_" + name.lstrip("$")
    return "id_" if name == "_id" else name
