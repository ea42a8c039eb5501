"""The trees of inserts and updates: what they write, and how to let them write more. Pure."""

from __future__ import annotations

from sqlglot import exp

from toolkit.checks.mending import identifier
from toolkit.checks.parsed import named


def rows_of(body: exp.Expr | None) -> list[list[exp.Expr]] | None:
    """Return the rows that an insert writes; of a select, its columns as one row."""
    if isinstance(body, exp.Values):
        return [
            list(one.expressions) if isinstance(one, exp.Tuple) else [getattr(one, "this", one)]
            for one in body.expressions
        ]
    if (
        isinstance(body, exp.Select)
        and not body.args.get("group")
        and not body.args.get("distinct")
    ):
        return [list(body.expressions)]
    if body is None:
        return [[]]  # default values
    return None


def write_rows(insert: exp.Insert, rows: list[list[exp.Expr]]) -> None:
    """Let an insert write these rows; of a select, these columns."""
    body = insert.args.get("expression")
    if isinstance(body, exp.Select):
        body.set("expressions", rows[0])
    else:
        insert.set("default", False)
        insert.set(
            "expression", exp.Values(expressions=[exp.Tuple(expressions=row) for row in rows])
        )


def value_of(given: exp.Expr) -> exp.Expr:
    """Return a value without the name that a select gives it."""
    value = given.this if isinstance(given, exp.Alias) else given
    assert isinstance(value, exp.Expr)
    return value


def is_default(value: exp.Expr) -> bool:
    """Return whether a value is the keyword DEFAULT."""
    bare = value.this if isinstance(value, exp.Column) else value
    return isinstance(bare, exp.Var | exp.Identifier) and _word(bare) == "default"


def _word(node: exp.Expr) -> str:
    """Return an unquoted word in lower case; empty for a quoted identifier."""
    return "" if node.args.get("quoted") else str(node.this).lower()


def listed_columns(insert: exp.Insert) -> list[str] | None:
    """Return the columns that an insert lists; ``None`` where it lists none."""
    if isinstance(insert.this, exp.Schema):
        return [named(column) for column in insert.this.expressions]
    return None


def set_columns(insert: exp.Insert, columns: list[str]) -> None:
    """Let an insert list these columns."""
    table = insert.this.this if isinstance(insert.this, exp.Schema) else insert.this
    insert.set("this", exp.Schema(this=table, expressions=[identifier(name) for name in columns]))


def key_column(key: exp.Expr) -> exp.Identifier | None:
    """Return the column of an ``on conflict`` key; ``None`` for an expression."""
    column = key.find(exp.Column)
    found = column.this if column is not None else key.find(exp.Identifier)
    return found if isinstance(found, exp.Identifier) else None


def updates_on_conflict(conflict: exp.Expr) -> bool:
    """Return whether an ``on conflict`` updates the row that it meets."""
    return "UPDATE" in str(conflict.args.get("action") or "").upper()


def assignments(update: exp.Expr) -> dict[str, exp.Expr | None]:
    """Return the columns that are set, each with its value where it has one of its own."""
    found: dict[str, exp.Expr | None] = {}
    for one in update.expressions:
        if not isinstance(one, exp.EQ):
            continue
        left, right = one.this, one.expression
        if isinstance(left, exp.Tuple):
            values = right.expressions if isinstance(right, exp.Tuple) else []
            for at, column in enumerate(left.expressions):
                found[named(column.this)] = values[at] if at < len(values) else None
        else:
            found[named(left.this)] = right
    return found
