"""Digests that the server computes, so that rows stay where they are (see ``toolkit.digest``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toolkit.digest import Digest, RowDigest
from toolkit.postgres import ddl
from toolkit.postgres.session import Connection

_FETCH = 5_000


def text_form(column: str) -> str:
    """Return the canonical text of a column where both ends are PostgreSQL.

    The text of the type's own output function, under the settings that every session of regionkit
    pins: it is exact for every type that PostgreSQL has.
    """
    return f"({column})::text"


def _names(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


def _form(names: Sequence[str]) -> str:
    """Return SQL for the digest of a row's canonical form, as ``toolkit.digest.row_digest``."""
    # Not concat(): a function takes no more than 100 arguments.
    cells = " || ".join(
        f"coalesce(octet_length(convert_to({name}, 'UTF8'))::text || ':' || {name} || ';', '-;')"
        for name in names
    )
    return f"md5(convert_to({cells}, 'UTF8'))"


def _cells(connection: Connection, statement: str) -> list[str]:
    """Return the names ``c0, c1, ...`` for the columns of a statement."""
    cursor = connection.execute(f"SELECT * FROM ({statement}) AS shape LIMIT 0")
    assert cursor.description is not None
    return _names(len(cursor.description))


def per_region(
    connection: Connection, statement: str, region: int | None
) -> dict[str | None, Digest]:
    """Return the digest of a statement's rows per region.

    Args:
        connection: to the server.
        statement: a SELECT of canonical texts, the region among them.
        region: index of the region among its columns; ``None`` if the rows have none.
    """
    names = _cells(connection, statement)
    group = "NULL::text" if region is None else names[region]
    rows = connection.execute(
        "SELECT region, count(*), "
        "sum(('x' || left(d, 16))::bit(64)::bigint::numeric), "
        "sum(('x' || right(d, 16))::bit(64)::bigint::numeric) "
        f"FROM (SELECT {group} AS region, {_form(names)} AS d "
        f"FROM ({statement}) AS cells({', '.join(names)}) OFFSET 0) AS digests GROUP BY region"
    ).fetchall()
    mask = (1 << 64) - 1
    return {
        where: Digest(int(count), int(high) & mask, int(low) & mask)
        for where, count, high, low in rows
    }


def per_row(
    connection: Connection, statement: str, region: int | None, key_cells: Sequence[int]
) -> Iterator[RowDigest]:
    """Yield the digest of every row of a statement; no key cells means that all are the key."""
    names = _cells(connection, statement)
    group = "NULL::text" if region is None else names[region]
    keys = [names[number] for number in key_cells] or [
        name for number, name in enumerate(names) if number != region
    ]
    with connection.transaction(), connection.cursor(name="regionkit_digests") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(
            f"SELECT {group}, {_form(names)}, {', '.join(keys)} "
            f"FROM ({statement}) AS cells({', '.join(names)})"
        )
        for where, digest, *key in cursor:
            yield RowDigest(tuple(key), where, digest)


def cells_of(table: str, columns: Sequence[str]) -> str:
    """Return a SELECT of the canonical texts of a table's columns."""
    items = ", ".join(text_form(f"t.{ddl.quote(column)}") for column in columns)
    return f"SELECT {items} FROM {table} AS t"
