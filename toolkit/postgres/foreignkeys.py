"""What becomes of a foreign key of the source once rows live in regions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sqlalchemy import Computed, ForeignKeyConstraint, Table

from toolkit.errors import Refused
from toolkit.placement import ForeignKey, Role
from toolkit.postgres import ddl

#: ``SET NULL`` and ``SET DEFAULT``, of all columns or of those that are listed.
_LISTED = re.compile(r"(?P<action>SET\s+(?:NULL|DEFAULT))\s*(?:\((?P<columns>.+)\))?", re.I)


def declared(table: Table, reference: ForeignKey) -> ForeignKeyConstraint | None:
    """Return the declared constraint of a reference, ``None`` if only the operator states it."""
    for constraint in table.foreign_key_constraints:
        if (
            tuple(constraint.column_keys) == reference.columns
            and tuple(element.column.name for element in constraint.elements)
            == reference.target_columns
            and constraint.name in (reference.name, None)
        ):
            return constraint
    return None


def may_be_null_in_part(
    table: Table, reference: ForeignKey, constraint: ForeignKeyConstraint | None
) -> bool:
    """Return whether the source allows that only some columns of a reference are NULL."""
    full = constraint is not None and (constraint.match or "").upper() == "FULL"
    nullable = any(table.columns[column].nullable for column in reference.columns)
    return len(reference.columns) > 1 and nullable and not full


def refuse_computed(columns: Iterable[str], table: Table, what: str) -> None:
    """Refuse a generated column that a move would have to write."""
    for column in columns:
        if isinstance(table.columns[column].server_default, Computed):
            raise Refused(
                f"generated column {column!r} of {table.name!r} is part of {what}, which ON UPDATE "
                "CASCADE must be able to write",
                hint="make it an ordinary column in the model",
            )


def on_update(reference: ForeignKey, constraint: ForeignKeyConstraint | None) -> str:
    """Return CASCADE, by which rows follow their client; another key means the same to them."""
    action = (constraint.onupdate or "") if constraint is not None else ""
    if _LISTED.match(action):
        raise Refused(
            f"{reference} is ON UPDATE {action.upper()}: its region has to follow by ON UPDATE "
            "CASCADE, and one foreign key does one thing",
            hint="make it ON UPDATE CASCADE or NO ACTION in the model",
        )
    return "CASCADE"


def on_delete(
    table: Table,
    reference: ForeignKey,
    role: Role,
    constraint: ForeignKeyConstraint | None,
    region: str,
) -> str | None:
    """Return what a deleted row does to those that refer to it.

    Args:
        table: the table that refers.
        reference: the foreign key.
        role: what it means.
        constraint: as the source declares it; ``None`` if only the operator states it.
        region: the region column that the key carries.

    Raises:
        Refused: the default that it would set may lead to another client's row.
    """
    action = (constraint.ondelete or "") if constraint is not None else ""
    listed = _LISTED.fullmatch(action.strip())
    if listed is None:
        return action.upper() or None
    names = re.findall(r'"(?:[^"]|"")+"|[^\s,]+', listed["columns"] or "")
    named = [_named(name) for name in names] or list(reference.columns)
    columns = [column for column in reference.columns if column in named]
    word = "NULL"
    if listed["action"].upper().endswith("DEFAULT") and any(
        table.columns[column].server_default is not None for column in columns
    ):
        if role is not Role.same_region:
            raise Refused(
                f"{reference} is ON DELETE SET DEFAULT: the default row may live in another region",
                hint="make it ON DELETE SET NULL or NO ACTION in the model",
            )
        word = "DEFAULT"
    if role is Role.foreign_reference:
        # The row's own region is never nulled: only its reference is.
        columns.append(region)
    return f"SET {word} ({ddl.columns(columns)})"


def _named(identifier: str) -> str:
    return identifier[1:-1].replace('""', '"') if identifier.startswith('"') else identifier
