"""What the partitions of a table say that the table itself does not. Pure.

A partitioned table is one table of the logical schema. A foreign key or unique key that was
declared partition by partition belongs to the table where it holds for every row of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from toolkit.postgres.reflect.definitions import index_parts
from toolkit.postgres.reflect.rows import Constraint, IndexRow, Rows


@dataclass(frozen=True)
class KeyOfPartitions:
    """A foreign key that only partitions declare.

    Attributes:
        columns: by name.
        target: the referenced table; the partitioned one where a partition is referenced.
        target_columns: by name.
        constraint: one of them.
        everywhere: whether every partition has it.
        alike: whether all do the same on update and delete, and check at the same time.
    """

    columns: tuple[str, ...]
    target: int
    target_columns: tuple[str, ...]
    constraint: Constraint
    everywhere: bool
    alike: bool


def names(rows: Rows, relation: int, numbers: Iterable[int]) -> tuple[str, ...]:
    """Return the names of columns, by their numbers, which differ between partitions."""
    by_number = {attribute.number: attribute.name for attribute in rows.attributes[relation]}
    return tuple(by_number[number] for number in numbers)


def declared_foreign_keys(rows: Rows, relation: int) -> list[Constraint]:
    """Return a table's foreign keys without the clones that PostgreSQL makes.

    A reference to a partitioned table has one clone for each partition that it leads to.
    """
    own = {constraint.oid for constraint in rows.constraints.get(relation, ())}
    return [
        constraint
        for constraint in rows.constraints.get(relation, ())
        if constraint.type == "f" and constraint.parent not in own
    ]


def foreign_keys_of_partitions(rows: Rows, parent: int) -> list[KeyOfPartitions]:
    """Return the foreign keys of partitions that the partitioned table itself does not have."""

    def described(relation: int, key: Constraint) -> tuple[object, ...]:
        target = rows.top(key.target)
        return (
            names(rows, relation, key.columns),
            target,
            names(rows, key.target, key.target_columns),
        )

    known = {described(parent, key) for key in declared_foreign_keys(rows, parent)}
    leaves = rows.leaves(parent)
    found: dict[tuple[object, ...], dict[int, Constraint]] = {}
    for leaf in leaves:
        for key in declared_foreign_keys(rows, leaf):
            if (description := described(leaf, key)) not in known:
                found.setdefault(description, {})[leaf] = key
    result = []
    for by_leaf in found.values():
        leaf, key = next(iter(by_leaf.items()))
        behaviours = {
            (
                each.on_update,
                each.on_delete,
                names(rows, on, each.delete_columns),
                each.match,
                each.deferrable,
                each.deferred,
                each.enforced,
            )
            for on, each in by_leaf.items()
        }
        result.append(
            KeyOfPartitions(
                names(rows, leaf, key.columns),
                rows.top(key.target),
                names(rows, key.target, key.target_columns),
                key,
                everywhere=len(by_leaf) == len(leaves),
                alike=len(behaviours) == 1,
            )
        )
    return sorted(result, key=lambda one: (one.columns, one.target))


def required_columns(rows: Rows, parent: int) -> set[str]:
    """Return the columns that are NOT NULL in every partition."""

    def required(relation: int) -> set[str]:
        unproven = {
            number
            for constraint in rows.constraints.get(relation, ())
            if constraint.type == "n" and not constraint.validated
            for number in constraint.columns
        }
        return {
            attribute.name
            for attribute in rows.attributes[relation]
            if attribute.not_null and attribute.number not in unproven
        }

    leaves = rows.leaves(parent)
    return set.intersection(*map(required, leaves)) if leaves else set()


def unique_columns(rows: Rows, relation: int) -> set[frozenset[str]]:
    """Return the sets of columns that a unique index over all rows covers."""
    return {
        frozenset(names(rows, relation, index.keys[: index.key_count]))
        for index in rows.indexes.get(relation, ())
        if index.unique
        and index.valid
        and index.where is None
        and 0 not in index.keys[: index.key_count]
        and not any(index.folding)
    }


def keys_of_partitions(rows: Rows, parent: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """Look for unique keys that only the partitions have.

    Such a key is unique over all of them only if it contains every column that says which
    partition a row is in: equal rows are then in the same one.

    Returns:
        The columns of the keys that are unique over the whole table, primary keys first; and the
        names of the others.
    """
    leaves = rows.leaves(parent)
    if not leaves:
        return [], []
    known = unique_columns(rows, parent)
    everywhere = set.intersection(*(unique_columns(rows, leaf) for leaf in leaves)) - known
    partitioned = [parent, *(one for one in rows.partitions(parent) if one not in leaves)]
    numbers = {one: rows.relations[one].partition_columns for one in partitioned}
    by_expression = any(0 in columns for columns in numbers.values())
    deciding = {
        name
        for one, columns in numbers.items()
        for name in names(rows, one, [number for number in columns if number])
    }
    proven: list[tuple[bool, tuple[str, ...]]] = []
    for leaf in leaves[:1]:
        primary = {
            constraint.index
            for constraint in rows.constraints.get(leaf, ())
            if constraint.type == "p"
        }
        for index in rows.indexes.get(leaf, ()):
            if 0 in index.keys:
                continue
            columns = names(rows, leaf, index.keys[: index.key_count])
            if (
                frozenset(columns) in everywhere
                and index.unique
                and not by_expression
                and deciding <= set(columns)
            ):
                proven.append((index.oid not in primary, columns))
    kept = [columns for _, columns in sorted(set(proven))]
    covered = known | {frozenset(columns) for columns in kept}
    others = {
        index.name
        for leaf in leaves
        for index in rows.indexes.get(leaf, ())
        if index.unique
        and (
            0 in index.keys
            or frozenset(names(rows, leaf, index.keys[: index.key_count])) not in covered
        )
    }
    return kept, sorted(others)


def checks_of_partitions(rows: Rows, parent: int) -> tuple[list[Constraint], list[str]]:
    """Look for checks that only partitions have.

    Returns:
        One of each that every partition has, and the names of the others.
    """

    def checks(relation: int) -> dict[object, Constraint]:
        return {
            constraint.expression: constraint
            for constraint in rows.constraints.get(relation, ())
            if constraint.type == "c" and constraint.enforced
        }

    return _shared([checks(leaf) for leaf in rows.leaves(parent)], set(checks(parent)))


def indexes_of_partitions(rows: Rows, parent: int) -> tuple[list[IndexRow], list[str]]:
    """Look for indexes that are not unique and that only partitions have.

    Returns:
        One of each that every partition has, and the names of the others.
    """

    def indexes(relation: int) -> dict[object, IndexRow]:
        return {
            (
                index.method,
                tuple(index_parts(index.definition)),
                names(rows, relation, index.keys[index.key_count :]),
                index.where,
                tuple(index.options),
            ): index
            for index in rows.indexes.get(relation, ())
            if not index.unique and index.valid
        }

    return _shared([indexes(leaf) for leaf in rows.leaves(parent)], set(indexes(parent)))


_Named = TypeVar("_Named", Constraint, IndexRow)


def _shared(
    leaves: Sequence[Mapping[object, _Named]], known: set[object]
) -> tuple[list[_Named], list[str]]:
    if not leaves:
        return [], []
    everywhere = set.intersection(*(set(leaf) for leaf in leaves)) - known
    others = {
        one.name
        for leaf in leaves
        for description, one in leaf.items()
        if description not in everywhere | known
    }
    first = [one for description, one in leaves[0].items() if description in everywhere]
    return sorted(first, key=lambda one: one.name), sorted(others)
