"""How many locks a transaction takes, and how operations are divided so that it stays few. Pure.

PostgreSQL keeps a lock on every relation that a transaction creates or changes, until its end, in a
table of ``max_locks_per_transaction * (max_connections + max_prepared_transactions)`` entries that
all sessions share. A layout of hundreds of tables in several regions needs more than that.

The count is an upper bound, of the way back as well: dropping locks types, constraints, defaults
and triggers besides (measured through ``pg_locks`` on PostgreSQL 15 and 18).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from alembic.operations import MigrateOperation, ops
from sqlalchemy import CheckConstraint, Column, PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from toolkit.postgres import revisions

_T = TypeVar("_T")

#: The share of the lock table that one transaction may take: the application needs some, too.
_SHARE = 2

#: Of an operation that takes a few locks whatever it is about: a schema, a type, a function.
_FEW = 4

_KEYS = (PrimaryKeyConstraint, UniqueConstraint, ExcludeConstraint)

#: A name in SQL.
_NAME = re.compile(r'"((?:[^"]|"")+)"|(\w+)')

#: What is locked, and how many locks that is.
Locks = Mapping[Hashable, int]


def budget_of(entries: int) -> int:
    """Return how many locks a transaction may take on a server with so large a lock table."""
    return entries // _SHARE


def entries_for(locks: int) -> int:
    """Return how large a lock table must be for a transaction with so many locks."""
    return locks * _SHARE


class Counter:
    """Counts the locks of operations that follow each other on an empty schema.

    A *node* is a table or a partition. Its relations (itself and its indexes) are locked by all
    that touches it, the rest (its TOAST table, types, constraints, defaults) where it is made or
    dropped.
    """

    def __init__(self) -> None:
        self._relations: dict[str, int] = {}
        self._rest: dict[str, int] = {}
        self._leaves: dict[str, list[str]] = {}

    def of(self, op: MigrateOperation) -> Locks:
        """Return what one operation locks, and take note of what it creates."""
        if isinstance(op, revisions.CreateKeyTableOp):
            self._relations[op.name] = 2
            self._rest[op.name] = _FEW + 2 + 2 * len(op.key_table.columns)
            statements = " ".join(op.key_table.create(op.schema))
            return {**self._whole(op.name), **self._named(op, statements)}
        if isinstance(op, revisions.CarryOp):
            return self._named(op, op.definition)
        if isinstance(op, revisions.TableOp):
            return self._create(op.table_name, op.items)
        if isinstance(op, ops.CreateTableOp):
            return self._create(op.table_name, op.columns)
        if isinstance(op, ops.CreateIndexOp):
            for node in self._nodes(op.table_name):
                self._relations[node] = self._relations.get(node, 1) + 1
            return self._tree(op.table_name)
        if isinstance(op, revisions.CreatePartitionsOp):
            found: dict[Hashable, int] = {}
            for parent, leaf in op.partitions.items():
                found |= self._partition(parent, leaf)
            return found
        if isinstance(op, revisions.AddForeignKeyOp):
            return {
                **self._tree(op.table),
                **self._tree(op.other),
                **self._clones(op, op.table, op.other),
            }
        table = getattr(op, "table", None)
        if isinstance(table, str):
            return {**self._tree(table), **self._clones(op, table)}
        return {op: _FEW}

    def _named(self, op: MigrateOperation, statement: str) -> Locks:
        """Return what statements lock at most: whatever is named in them, with its partitions."""
        found: dict[Hashable, int] = {}
        names = [quoted or plain for quoted, plain in _NAME.findall(statement)]
        tables = [name for name in dict.fromkeys(names) if name in self._relations]
        for table in tables:
            found |= self._tree(table)
        return {**found, **self._clones(op, *tables)}

    def _create(self, table: str, items: Iterable[Any]) -> Locks:
        items = list(items)
        columns = [item for item in items if isinstance(item, Column)]
        keys = sum(isinstance(item, _KEYS) for item in items)
        self._relations[table] = 1 + keys
        self._rest[table] = (
            _FEW  # TOAST with its index, and two types.
            + keys
            + sum(isinstance(item, CheckConstraint) for item in items)
            + sum(
                (not column.nullable)
                + (column.server_default is not None)
                + 2 * (column.identity is not None)
                for column in columns
            )
        )
        return self._whole(table)

    def _partition(self, parent: str, leaf: str) -> Locks:
        self._relations[leaf] = self._relations.get(parent, 1)
        self._rest[leaf] = self._rest.get(parent, 0)
        self._leaves.setdefault(parent, []).append(leaf)
        return {parent: self._relations.get(parent, 1), **self._whole(leaf)}

    def _nodes(self, table: str) -> list[str]:
        return [table, *self._leaves.get(table, ())]

    def _whole(self, node: str) -> Locks:
        return {node: self._relations[node], (node, "rest"): self._rest[node]}

    def _tree(self, table: str) -> Locks:
        return {node: self._relations.get(node, 1) for node in self._nodes(table)}

    def _clones(self, op: MigrateOperation, *tables: str) -> Locks:
        """Return what PostgreSQL makes of a constraint or trigger for every partition."""
        return {op: _FEW + sum(3 * len(self._nodes(table)) for table in tables)}


def count(operations: Iterable[MigrateOperation], counter: Counter) -> int:
    """Return how many locks a transaction with these operations takes at most."""
    held: dict[Hashable, int] = {}
    for op in operations:
        held |= counter.of(op)
    return sum(held.values())


def split(operations: Sequence[MigrateOperation], budget: int) -> list[list[MigrateOperation]]:
    """Divide operations into transactions, in order, each with no more locks than the budget.

    What fits is not divided. A single operation that does not fit stands by itself.
    """
    if count(operations, Counter()) <= budget:
        return [list(operations)]
    counter = Counter()
    found: list[list[MigrateOperation]] = [[]]
    held: dict[Hashable, int] = {}
    for op in _smallest(operations):
        locks = counter.of(op)
        together = held | dict(locks)
        if found[-1] and sum(together.values()) > budget:
            found.append([])
            together = dict(locks)
        held = together
        _append(found[-1], op)
    return found


def batches(found: Iterable[_T], size: Callable[[_T], int], budget: int) -> Iterator[list[_T]]:
    """Yield things in order, as many at a time as fit the budget, and at least one.

    Args:
        found: the things.
        size: returns the locks that one takes.
        budget: how many all of a batch may take.
    """
    batch: list[_T] = []
    total = 0
    for one in found:
        if batch and total + size(one) > budget:
            yield batch
            batch, total = [], 0
        batch.append(one)
        total += size(one)
    if batch:
        yield batch


def _smallest(operations: Iterable[MigrateOperation]) -> Iterable[MigrateOperation]:
    """Yield operations, the creation of a region table by table; the list of regions is last."""
    for op in operations:
        if isinstance(op, revisions.CreatePartitionsOp):
            yield from op.divided()
        else:
            yield op


def _append(operations: list[MigrateOperation], op: MigrateOperation) -> None:
    """Add an operation, as one with partitions of the same region that it follows."""
    before = operations[-1] if operations else None
    if (
        isinstance(op, revisions.CreatePartitionsOp)
        and type(before) is revisions.CreatePartitionsOp
        and before.code == op.code
    ):
        operations[-1] = op.after(before)
    else:
        operations.append(op)
