"""The statements that a server has counted in ``pg_stat_statements``."""

from __future__ import annotations

import psycopg
from psycopg.rows import dict_row

from toolkit.checks.statements import Statement, distinct, from_rows
from toolkit.errors import Refused
from toolkit.postgres import ddl, session

#: The extension.
_EXTENSION = "pg_stat_statements"


def recorded(connection: session.Connection) -> list[Statement]:
    """Return the statements that were run in this database, the most called first.

    Raises:
        Refused: the extension is not there, not loaded, or not to be read.
    """
    row = connection.execute(
        "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace "
        "WHERE e.extname = %s",
        (_EXTENSION,),
    ).fetchone()
    if row is None:
        raise Refused(
            f"the source does not count its statements: {_EXTENSION} is not installed in "
            f"{connection.info.dbname!r}",
            hint="give a file: regionkit check application --statements FILE; or add the extension "
            "to shared_preload_libraries, and create it",
        )
    try:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                "SELECT queryid, calls, query "
                f"FROM {ddl.quote(str(row[0]), _EXTENSION)} "
                "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ).fetchall()
    except (
        psycopg.errors.ObjectNotInPrerequisiteState,
        psycopg.errors.InsufficientPrivilege,
    ) as error:
        raise Refused(
            f"{_EXTENSION} of the source cannot be read: {session.first_line(error)}",
            hint="give a file: regionkit check application --statements FILE",
        ) from None
    return distinct(from_rows(rows))
