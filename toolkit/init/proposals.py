"""Whose a table could be that no foreign key connects with the clients. Pure: nothing is taken.

A schema that declares no foreign keys still names its columns after what they refer to, and holds
in them values of the keys that they refer to. Both are offered to the operator, never assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table
from sqlalchemy.types import TypeEngine

from toolkit.init.roots import words
from toolkit.types import postgres_type

_WHOLE_NUMBERS = frozenset({"smallint", "integer", "bigint"})
_COMPARABLE = _WHOLE_NUMBERS | {"uuid", "text", "character varying", "character", "numeric"}
_FAMILY = {"character varying": "text", "character": "text"} | dict.fromkeys(
    _WHOLE_NUMBERS, "number"
)
#: How the columns end that refer to another row.
_REFERRING = frozenset(("id", "no", "nr", "num", "number", "key", "code", "ref", "uuid", "guid"))


@dataclass(frozen=True)
class Guess:
    """A column that could refer to the key of a regional table.

    Attributes:
        table: key of the table.
        column: of it.
        target: key of the table that it could refer to.
        target_column: that one's key.
        named: whether its name says so.
    """

    table: str
    column: str
    target: str
    target_column: str
    named: bool


@dataclass(frozen=True)
class OwnerProposal:
    """A guess that no row contradicts.

    Attributes:
        guess: what was guessed.
        rows: with a value; each is there.
        values: different ones.
    """

    guess: Guess
    rows: int
    values: int

    @property
    def statement(self) -> str:
        """The value of ``owner`` in ``[placement.<table>]``."""
        return f"{self.guess.target} via {self.guess.column}"

    def __str__(self) -> str:
        name = "its name says so, and " if self.guess.named else ""
        if self.rows == 0:
            return f"{self.statement} (its name says so; the table holds no value)"
        return (
            f"{self.statement} ({name}each of its {self.values:,} value(s) is a key of "
            f"{self.guess.target})"
        )


def guesses(
    key: str,
    tables: Mapping[str, Table],
    targets: Iterable[str],
    *,
    by_data: bool,
) -> list[Guess]:
    """Return the columns of a table that could refer to regional tables.

    Args:
        key: of the table.
        tables: all tables.
        targets: keys of the root and of the tables that follow it, in the order of preference.
        by_data: whether to guess whole numbers too whose name does not say so: the keys of two
            tables are alike too easily.
    """
    table = tables[key]
    own_key = [column.name for column in table.primary_key.columns]
    found = []
    for target in targets:
        keys = list(tables[target].primary_key.columns)
        if target == key or len(keys) != 1:
            continue
        family = _family(keys[0].type)
        if family is None:
            continue
        for column in table.columns:
            if _family(column.type) != family:
                continue
            named = _named(column.name, tables[target].name, keys[0].name)
            if own_key == [column.name] and not named:
                continue
            referring = bool(_REFERRING & set(words(column.name)[-1:]))
            if named or family not in ("number", "numeric") or (by_data and referring):
                found.append(Guess(key, column.name, target, keys[0].name, named))
    return found


def best(guessed: Sequence[Guess], found: Sequence[tuple[int, int, int]]) -> list[OwnerProposal]:
    """Return what the data do not contradict, the likeliest first.

    Args:
        guessed: the guesses.
        found: of each: the rows with a value, those whose value is not there, different values.
    """
    proposals = [
        OwnerProposal(guess, rows, values)
        for guess, (rows, missing, values) in zip(guessed, found, strict=True)
        if missing == 0 and (guess.named or values > 1)
    ]
    return sorted(proposals, key=lambda one: (not one.guess.named, -one.values))


def _family(type_: TypeEngine[Any]) -> str | None:
    found = postgres_type(type_)
    if found.is_array or found.name not in _COMPARABLE:
        return None
    return _FAMILY.get(found.name, found.name)


def _named(column: str, table: str, key: str) -> bool:
    """Return whether a column is called like the key of a table, or like the table."""
    mine, theirs, target = words(column), words(table), words(key)
    if mine == theirs or (target != ["id"] and mine == target):
        return True
    whole = theirs if theirs[-1:] != target[:1] else theirs[:-1]
    return any(
        mine[-len(wanted) :] == wanted
        for wanted in (
            [*theirs, *target],
            [*whole, *target],
            [*theirs[-1:], *target],
            [*theirs, "id"],
            [*theirs[-1:], "id"],
        )
        if len(wanted) > 1
    )
