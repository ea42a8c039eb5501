"""The SQL that Alembic and SQLAlchemy have no words for. Pure: strings in, strings out.

Every identifier goes through :func:`quote`, every literal through :func:`literal`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGIdentifierPreparer

from toolkit.extras import MOVING

#: What ``text()`` reads as a bound parameter, or as a colon that was escaped.
_COLON = re.compile(r"(?<![:\w]):\w|\\:")
# What PostgreSQL takes for no name without quotes, and SQLAlchemy does not know of.
# A generated revision imports this module, so that it quotes them too.
PGIdentifierPreparer.reserved_words |= {
    "collation",
    "concurrently",
    "lateral",
    "system_user",
    "tablesample",
}
# "named", because the other styles write % twice, which only SQLAlchemy's own execution undoes.
_PREPARER = postgresql.dialect(paramstyle="named").identifier_preparer  # type: ignore[no-untyped-call]


def quote(*names: str | None) -> str:
    """Return a dotted, quoted identifier; ``None`` parts are left out."""
    return ".".join(_PREPARER.quote_identifier(name) for name in names if name is not None)


def literal(text: str) -> str:
    """Return a string literal.

    Raises:
        ValueError: the text holds NUL, which PostgreSQL has no way to write.
    """
    if "\0" in text:
        raise ValueError("a PostgreSQL string cannot hold NUL")
    escaped = text.replace("'", "''")
    return f" E'{escaped}'".replace("\\", "\\\\") if "\\" in text else f"'{escaped}'"


def columns(names: Sequence[str]) -> str:
    """Return a comma-separated list of quoted column names."""
    return ", ".join(quote(name) for name in names)


def ensure_schema(schema: str) -> str:
    """Create a schema unless it exists.

    ``CREATE SCHEMA IF NOT EXISTS`` asks for CREATE on the database even where the schema exists.
    """
    return (
        f"DO $regionkit$ BEGIN IF to_regnamespace({literal(quote(schema))}) IS NULL "
        f"THEN CREATE SCHEMA IF NOT EXISTS {quote(schema)}; END IF; END $regionkit$"
    )


def create_partition(
    schema: str,
    parent: str,
    leaf: str,
    region: str,
    *,
    storage: str = "",
    unlogged: bool = False,
) -> str:
    """Create the partition that holds one region's rows of a table.

    Args:
        schema: of both.
        parent: the table.
        leaf: the partition.
        region: whose rows it holds.
        storage: its storage parameters, as they stand in ``WITH (...)``.
        unlogged: whether its rows are lost in a crash.
    """
    return (
        f"CREATE {'UNLOGGED ' if unlogged else ''}TABLE {quote(schema, leaf)} "
        f"PARTITION OF {quote(schema, parent)} FOR VALUES IN ({literal(region)})"
        + (f" WITH ({storage})" if storage else "")
    )


def escape_binds(sql: str) -> str:
    """Return SQL of which SQLAlchemy's ``text()`` makes ``sql`` again, colon by colon.

    All colons are escaped as soon as one needs it: ``text()`` takes an escape back only where no
    bare colon follows the same word.
    """
    return sql.replace(":", "\\:") if _COLON.search(sql) else sql


def verbatim(statement: str) -> TextClause:
    """Return a statement for SQLAlchemy to execute as it is: no parameters, colons and % kept."""
    return text(escape_binds(statement))


def add_foreign_key(
    schema: str,
    name: str,
    table: str,
    other: str,
    *,
    from_columns: Sequence[str],
    to_columns: Sequence[str],
    match: str | None = None,
    on_update: str | None = None,
    on_delete: str | None = None,
    deferrable: bool | None = None,
    initially: str | None = None,
) -> str:
    """Add a foreign key to a table.

    Args:
        schema: of both tables.
        name: of the constraint.
        table: that refers.
        other: the table that is referred to.
        from_columns: that refer.
        to_columns: that are referred to, in that order.
        match: ``FULL``, or nothing.
        on_update: what happens when the other key changes, as SQL.
        on_delete: what happens when the other row goes, as SQL.
        deferrable: whether it can be checked at the end of a transaction.
        initially: ``IMMEDIATE`` or ``DEFERRED``.
    """
    words = [
        f"ALTER TABLE {quote(schema, table)} ADD CONSTRAINT {quote(name)}",
        f"FOREIGN KEY ({columns(from_columns)})",
        f"REFERENCES {quote(schema, other)} ({columns(to_columns)})",
    ]
    words += [
        f"{word} {value}"
        for word, value in (("MATCH", match), ("ON DELETE", on_delete), ("ON UPDATE", on_update))
        if value
    ]
    if deferrable is not None:
        words.append("DEFERRABLE" if deferrable else "NOT DEFERRABLE")
    if initially:
        words.append(f"INITIALLY {initially}")
    return " ".join(words)


def insert_regions(schema: str, region_list: str, codes: Sequence[str]) -> str:
    """Put regions on the list of regions."""
    rows = ", ".join(f"({literal(code)})" for code in codes)
    return f"INSERT INTO {quote(schema, region_list)} (code) VALUES {rows}"


def delete_region(schema: str, region_list: str, code: str) -> str:
    """Take a region off the list; the link's foreign key refuses while a client lives there."""
    return f"DELETE FROM {quote(schema, region_list)} WHERE code = {literal(code)}"


def detach_partition(schema: str, parent: str, leaf: str) -> str:
    """Detach a leaf, so that dropping it takes no foreign key of another region with it."""
    return f"ALTER TABLE {quote(schema, parent)} DETACH PARTITION {quote(schema, leaf)}"


#: How a trigger or a rule fires, as ``ALTER TABLE`` says it.
TRIGGER_STATES = {
    "disabled": "DISABLE",
    "replica": "ENABLE REPLICA",
    "always": "ENABLE ALWAYS",
}


def set_trigger(schema: str, table: str, trigger: str, state: str) -> str:
    """Let a trigger fire in another way than it does when it is created.

    Raises:
        KeyError: the state is not ``disabled``, ``replica`` or ``always``.
    """
    return f"ALTER TABLE {quote(schema, table)} {TRIGGER_STATES[state]} TRIGGER {quote(trigger)}"


def create_enum(schema: str, name: str, labels: Sequence[str]) -> str:
    """Create an enum type."""
    return f"CREATE TYPE {quote(schema, name)} AS ENUM ({', '.join(map(literal, labels))})"


def create_domain(schema: str, name: str, definition: str) -> str:
    """Create a domain from what follows its name."""
    return f"CREATE DOMAIN {quote(schema, name)} {definition}"


def move_row_settings() -> Mapping[str, str]:
    """Return the settings of a session that moves or loads rows (see ``extras.MOVING``)."""
    return {MOVING: "on"}
