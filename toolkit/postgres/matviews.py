"""Fills the materialized views of a layout once its rows are there."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from toolkit.postgres import ddl, session
from toolkit.postgres.session import Connection

#: Each after those that it reads from, directly or through views.
_IN_ORDER = """
WITH RECURSIVE reads AS (
  SELECT DISTINCT w.ev_class AS view, d.refobjid AS other
  FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
), depths AS (
  SELECT oid AS view, 0 AS depth FROM pg_class
  WHERE relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND relkind = 'm'
  UNION
  SELECT reads.view, depth + 1 FROM depths JOIN reads ON reads.other = depths.view
)
SELECT c.relname FROM depths JOIN pg_class c ON c.oid = depths.view
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relkind = 'm'
GROUP BY c.relname ORDER BY max(depth), c.relname
"""


def refresh(
    connection: Connection,
    schema: str,
    fence: Callable[[], None],
    progress: Callable[[str], None],
) -> None:
    """Fill every materialized view of a layout, each in a transaction of its own.

    One whose query fails stays as it is: the rows are all there, and ``verify`` names it.

    Args:
        connection: to the target.
        schema: of the layout.
        fence: called within each transaction; it raises where a newer run has taken over.
        progress: called with what begins, and with what failed.
    """
    for (name,) in connection.execute(_IN_ORDER, {"schema": schema}).fetchall():
        progress(f"materialized view {name}")
        try:
            with connection.transaction():
                fence()
                connection.execute(f"REFRESH MATERIALIZED VIEW {ddl.quote(schema, str(name))}")
        except psycopg.Error as error:
            if connection.broken or session.passes(error):
                raise
            progress(f"materialized view {name} was not filled: {session.first_line(error)}")


def unfilled(connection: Connection, schema: str) -> list[str]:
    """Return the names of the materialized views that were never filled."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s)) "
        "AND relkind = 'm' AND NOT relispopulated ORDER BY 1",
        (schema,),
    )
    return [str(row[0]) for row in rows]
