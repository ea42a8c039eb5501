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
from toolkit.names import shorten

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


def create_partition(schema: str, parent: str, leaf: str, region: str) -> str:
    """Create the partition that holds one region's rows of a table."""
    return (
        f"CREATE TABLE {quote(schema, leaf)} PARTITION OF {quote(schema, parent)} "
        f"FOR VALUES IN ({literal(region)})"
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


def key_function(key_table: str) -> str:
    """Return the name of the trigger function that keeps a key table."""
    return shorten(f"{key_table}_keep")


def create_key_function(schema: str, key_table: str, key_columns: Sequence[str]) -> tuple[str, str]:
    """Create the trigger function that keeps a key table; return its name and the statement.

    SECURITY DEFINER, because whoever writes a client need not be able to write the key table;
    therefore the search path is fixed (PostgreSQL documentation, "Writing SECURITY DEFINER
    Functions Safely"). Rows with a NULL are not kept: SQL lets NULLs repeat.
    """
    name = key_function(key_table)
    target = quote(schema, key_table)
    old = " AND ".join(f"{quote(c)} = OLD.{quote(c)}" for c in key_columns)
    present = {
        row: " AND ".join(f"{row}.{quote(c)} IS NOT NULL" for c in key_columns)
        for row in ("OLD", "NEW")
    }
    same = " AND ".join(f"OLD.{quote(c)} IS NOT DISTINCT FROM NEW.{quote(c)}" for c in key_columns)
    values = ", ".join(f"NEW.{quote(c)}" for c in key_columns)
    statement = f"""CREATE FUNCTION {quote(schema, name)}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $regionkit$
BEGIN
  IF TG_OP = 'UPDATE' AND {same} THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'INSERT' AND {present["OLD"]} THEN
    DELETE FROM {target} WHERE {old};
  END IF;
  IF TG_OP <> 'DELETE' AND {present["NEW"]} THEN
    INSERT INTO {target} ({columns(key_columns)}) VALUES ({values});
  END IF;
  RETURN NULL;
END
$regionkit$"""
    return name, statement


def create_key_trigger(
    schema: str, table: str, key_table: str, key_columns: Sequence[str], function: str
) -> str:
    """Create the row trigger that calls a key table's function.

    AFTER ROW, because a before-row trigger breaks upserts and a statement trigger misses inserts
    into a leaf.
    """
    return (
        f"CREATE TRIGGER {quote(key_table)} AFTER INSERT OR DELETE OR "
        f"UPDATE OF {columns(key_columns)} ON {quote(schema, table)} "
        f"FOR EACH ROW EXECUTE FUNCTION {quote(schema, function)}()"
    )


def fill_key_table(schema: str, table: str, key_table: str, key_columns: Sequence[str]) -> str:
    """Load a key table from the table it keeps; duplicates fail on its primary key."""
    present = " AND ".join(f"{quote(c)} IS NOT NULL" for c in key_columns)
    return (
        f"INSERT INTO {quote(schema, key_table)} ({columns(key_columns)}) "
        f"SELECT {columns(key_columns)} FROM {quote(schema, table)} WHERE {present}"
    )


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


_TRIGGER_STATES = {
    "disabled": "DISABLE",
    "replica": "ENABLE REPLICA",
    "always": "ENABLE ALWAYS",
}


def set_trigger(schema: str, table: str, trigger: str, state: str) -> str:
    """Let a trigger fire in another way than it does when it is created.

    Raises:
        KeyError: the state is not ``disabled``, ``replica`` or ``always``.
    """
    return f"ALTER TABLE {quote(schema, table)} {_TRIGGER_STATES[state]} TRIGGER {quote(trigger)}"


def create_enum(schema: str, name: str, labels: Sequence[str]) -> str:
    """Create an enum type."""
    return f"CREATE TYPE {quote(schema, name)} AS ENUM ({', '.join(map(literal, labels))})"


def move_row_settings() -> Mapping[str, str]:
    """Return the settings of a session that moves or loads rows (see ``extras.MOVING``)."""
    return {MOVING: "on"}
