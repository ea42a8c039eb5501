"""What becomes of each object of a source: one line for each, so that nothing is silent. Pure.

The backends say what becomes of an object (``toolkit.postgres.inventory``,
``toolkit.mongo.inventory``); what the objects are is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from toolkit.extras import Extra, ExtraKind
from toolkit.layout import Layout
from toolkit.types import user_types


class Outcome(StrEnum):
    """What becomes of an object."""

    carried = "carried"
    translated = "translated"
    left_behind = "left behind"
    elsewhere = "proposed elsewhere"


@dataclass(frozen=True)
class Line:
    """What becomes of one object.

    Attributes:
        backend: ``postgres`` or ``mongo``.
        kind: what it is, in words.
        name: which one.
        outcome: what becomes of it.
        reason: how, or why not; empty where it is simply carried.
    """

    backend: str
    kind: str
    name: str
    outcome: Outcome
    reason: str = ""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.backend}: {self.kind} {self.name}: {self.outcome}{reason}"

    def document(self) -> dict[str, str]:
        """Return the line for ``--output json``."""
        return asdict(self)


def constraints(table: Table) -> Iterator[tuple[str, str]]:
    """Yield kind and name of a table's constraints and indexes but its foreign keys, by name."""
    found: list[tuple[str, str]] = []
    if len(table.primary_key.columns):
        found.append(("primary key", _name(table.primary_key.name, f"{table.name}_pkey")))
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            columns = "_".join(column.name for column in constraint.columns)
            found.append(("unique", _name(constraint.name, f"{table.name}_{columns}_key")))
        elif isinstance(constraint, CheckConstraint) and not constraint._type_bound:
            found.append(("check", _name(constraint.name, str(constraint.sqltext))))
        elif isinstance(constraint, postgresql.ExcludeConstraint):
            found.append(("exclusion constraint", _name(constraint.name, "without a name")))
    found += [(_index_kind(index), str(index.name)) for index in table.indexes]
    return iter(sorted(found))


def _name(name: object, fallback: str) -> str:
    return name if isinstance(name, str) else fallback


def _index_kind(index: Index) -> str:
    return "unique index" if index.unique else "index"


def types(layout: Layout, extras: Iterable[Extra]) -> Iterator[tuple[str | None, str]]:
    """Yield schema and name of the types that columns have and that are no extras, in order.

    The schema is ``None`` for the default one.
    """
    known = {
        (extra.schema, extra.name)
        for extra in extras
        if extra.kind in (ExtraKind.type, ExtraKind.domain)
    }
    found = {
        (None if schema == layout.default_schema else schema, name)
        for table in layout.metadata.tables.values()
        for column in table.columns
        for schema, name in user_types(column.type)
    }
    yield from sorted(found - known, key=lambda one: (one[0] or "", one[1]))
