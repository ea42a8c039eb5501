"""The SQL of a model's clauses, and the parts of an index taken apart. Pure.

A model says ``func.lower(client.c.email)``, a reflected one ``text("lower(email) DESC")``: both are
text here, in which columns are not qualified.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Dialect, Index
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ClauseElement, Label, UnaryExpression

# "named", because the other styles write % twice, which only SQLAlchemy's own execution undoes.
_DIALECT: Dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]

_ORDERINGS = (
    operators.asc_op,
    operators.desc_op,
    operators.nulls_first_op,
    operators.nulls_last_op,
)

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_HEAD = re.compile(rf"{_NAME}(?:\.{_NAME})*")
#: What PostgreSQL prints behind the expression of an index.
_TAIL = re.compile(
    rf"""(?P<collation>\s+COLLATE\s+{_NAME}(?:\.{_NAME})*)?
    (?:\s+(?!(?:ASC|DESC|NULLS)\b)(?P<operators>{_NAME}(?:\.{_NAME})*(?:\s*\([^()]*\))?))?
    (?:\s+(?:ASC|(?P<descending>DESC)))?(?:\s+NULLS\s+(?:FIRST|LAST))?\s*""",
    re.X | re.I,
)
#: Words that begin an expression and are no name.
_NO_NAME = frozenset(("NOT", "CASE", "ARRAY", "ROW", "INTERVAL", "DATE", "TIME", "TIMESTAMP"))


@dataclass(frozen=True)
class IndexPart:
    """One part of an index.

    Attributes:
        column: the column, if it is one as it stands; ``None`` for an expression.
        sql: the expression with its collation, without its order; for a column its quoted name.
        descending: whether the greatest comes first.
        collated: the column, if it is one but for its collation.
        operators: the operator class that is written behind it; empty if none.
    """

    column: str | None
    sql: str
    descending: bool = False
    collated: str | None = None
    operators: str = ""


def quoted(name: str) -> str:
    """Return an identifier in double quotes."""
    return _DIALECT.identifier_preparer.quote_identifier(name)


def sql_text(clause: ClauseElement | str) -> str:
    """Return SQL text without table names and without bound parameters."""
    if isinstance(clause, str):
        return clause
    return str(
        clause.compile(
            dialect=_DIALECT, compile_kwargs={"literal_binds": True, "include_table": False}
        )
    )


def predicate(index: Index) -> str | None:
    """Return the condition of a partial index; ``None`` if it holds all rows."""
    where = index.dialect_options["postgresql"].get("where")
    return None if where is None else sql_text(where)


def index_parts(index: Index) -> tuple[IndexPart, ...]:
    """Return the parts of an index in their order."""
    table = index.table
    columns = frozenset() if table is None else frozenset(table.columns.keys())
    return tuple(index_part(expression, columns) for expression in index.expressions)


def index_part(expression: Any, columns: frozenset[str]) -> IndexPart:
    """Take one part of an index, or of an exclusion constraint, apart.

    Args:
        expression: as SQLAlchemy has it.
        columns: the names of the table's columns.
    """
    descending = False
    while isinstance(expression, Label) or (
        isinstance(expression, UnaryExpression) and expression.modifier in _ORDERINGS
    ):
        if not isinstance(expression, Label):
            descending = descending or expression.modifier is operators.desc_op
        expression = expression.element
    if isinstance(expression, Column):
        return IndexPart(expression.name, quoted(expression.name), descending)
    sql = sql_text(expression).strip()
    end = _operand(sql)
    tail = _TAIL.fullmatch(sql, end) if end else None
    if tail is None:
        return IndexPart(None, sql, descending)
    head, collation = sql[:end], tail["collation"] or ""
    descending = descending or tail["descending"] is not None
    name = head[1:-1].replace('""', '"') if head.startswith('"') else head.lower()
    written = tail["operators"] or ""
    if name not in columns:
        return IndexPart(None, head + collation, descending, operators=written)
    if collation:
        return IndexPart(None, head + collation, descending, name, written)
    return IndexPart(name, quoted(name), descending, operators=written)


def _operand(sql: str) -> int:
    """Return where the name, call or parenthesis ends that an expression begins with; 0 if none."""
    match = _HEAD.match(sql)
    end = match.end() if match else 0
    if match and match.group().upper() in _NO_NAME:
        return 0
    if sql[end : end + 1] != "(":
        return end
    depth = 0
    for piece in re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[()]""").finditer(sql, end):
        depth += {"(": 1, ")": -1}.get(piece.group(), 0)
        if depth == 0:
            return piece.end()
    return 0
