"""Digests that the server computes, so that rows stay where they are (see ``toolkit.digest``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from toolkit.digest import Digest, DigestForm, Md5, RowDigest
from toolkit.postgres import session
from toolkit.postgres.session import Connection
from toolkit.postgres.versions import RECORD_HASH
from toolkit.types import PostgresType

_FETCH = 5_000
_MASK = (1 << 64) - 1

#: Types whose own hash tells every two values apart that their text tells apart. Not so numeric
#: (1.5 is 1.50), real and double (0 is -0), interval (a month is 30 days), citext, and arrays
#: (bounds); an enum is hashed by a number that no two databases share. Those go by their text.
_HASHED = frozenset(
    {
        "smallint",
        "integer",
        "bigint",
        "boolean",
        "uuid",
        "date",
        "timestamp without time zone",
        "timestamp with time zone",
    }
)
_TEXTS = frozenset({"text", "character varying"})


class RecordHash:
    """PostgreSQL's own 64-bit hash of a record: the cheapest digest where both ends have it.

    ``hash_record_extended`` is there from PostgreSQL 14 on. What hash partitioning rests on does
    not change between versions, but it may differ between processors: see :func:`common_form`.
    """

    halves = False

    def row(self, cells: Sequence[str]) -> str:
        """Return SQL for the hash."""
        return f"hash_record_extended(ROW({', '.join(cells)}), 0)"

    def numbers(self, digest: str) -> tuple[str, str]:
        """Return SQL for the hash; there is no second half."""
        return digest, "0"


#: One row of the types that are hashed as they are, to see whether two servers agree.
_PROBE = (
    "SELECT hash_record_extended(ROW(1::smallint, 2, 3::bigint, true, 'x'::text COLLATE \"C\", "
    "'4c0f1a2e-0000-4000-8000-000000000001'::uuid, date '2024-02-29', "
    "timestamp '2024-02-29 12:34:56.789', timestamptz '2024-02-29 12:34:56.789+00'), 0)"
)


def common_form(one: Connection, other: Connection) -> DigestForm:
    """Return the cheapest form of digest that two servers compute alike."""
    if not RECORD_HASH.there(one, other):
        return Md5()
    if session.encoding(one) != session.encoding(other):
        # The same text is other bytes there.
        return Md5()
    probes = [connection.execute(_PROBE).fetchone() for connection in (one, other)]
    return RecordHash() if probes[0] == probes[1] else Md5()


def text_form(column: str) -> str:
    """Return the canonical text of a column where both ends are PostgreSQL.

    The text of the type's own output function, under the settings that every session of regionkit
    pins: it is exact for every type that PostgreSQL has.
    """
    return f"({column})::text"


def cell(column: str, type_: PostgresType, form: DigestForm) -> str:
    """Return the canonical form of a column for a form of digest.

    Args:
        column: as SQL.
        type_: its type.
        form: :class:`RecordHash` takes values as they are where their hash tells them apart.
    """
    if isinstance(form, RecordHash) and not type_.is_array and not type_.labels:
        if type_.name in _HASHED:
            return column
        if type_.name in _TEXTS:
            # Without it a collation could hold two texts for equal.
            return f'{column} COLLATE "C"'
    return text_form(column)


def _names(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


def _columns(connection: Connection, statement: str) -> list[str]:
    """Return the names ``c0, c1, ...`` for the columns of a statement."""
    cursor = connection.execute(f"SELECT * FROM ({statement}) AS shape LIMIT 0")
    assert cursor.description is not None
    return _names(len(cursor.description))


def per_region(
    connection: Connection, statement: str, region: int | None, form: DigestForm
) -> dict[str | None, Digest]:
    """Return the digest of a statement's rows per region.

    Args:
        connection: to the server.
        statement: a SELECT of canonical cells, the region among them.
        region: index of the region among its columns; ``None`` if the rows have none.
        form: how a row becomes a digest.
    """
    names = _columns(connection, statement)
    group = "NULL::text" if region is None else names[region]
    return _grouped(connection, statement, names, names, group, form)


def per_group(connection: Connection, statement: str, form: DigestForm) -> dict[Any, Digest]:
    """Return the digest of a statement's rows per value of its last column, which is no cell."""
    names = _columns(connection, statement)
    return _grouped(connection, statement, names, names[:-1], names[-1], form)


def _grouped(
    connection: Connection,
    statement: str,
    names: Sequence[str],
    cells: Sequence[str],
    group: str,
    form: DigestForm,
) -> dict[Any, Digest]:
    rows_of = f"({statement}) AS cells({', '.join(names)})"
    digest = form.row(cells)
    if form.halves:
        # Named twice and computed once, behind a fence. It keeps the server from working in
        # parallel, so it is there only where it must be.
        rows_of = f"(SELECT {group} AS g, {digest} AS d FROM {rows_of} OFFSET 0) AS digests"
        group, digest = "g", "d"
    high, low = form.numbers(digest)
    rows = connection.execute(
        f"SELECT {group}, count(*), sum({high}), sum({low}) FROM {rows_of} GROUP BY 1"
    ).fetchall()
    return {
        where: Digest(int(count), int(high) & _MASK, int(low) & _MASK)
        for where, count, high, low in rows
    }


def per_row(
    connection: Connection,
    statement: str,
    region: int | None,
    key_cells: Sequence[int],
    form: DigestForm,
) -> Iterator[RowDigest]:
    """Yield the digest of every row of a statement; no key cells means that all are the key."""
    names = _columns(connection, statement)
    group = "NULL::text" if region is None else names[region]
    keys = [names[number] for number in key_cells] or [
        name for number, name in enumerate(names) if number != region
    ]
    shown = ", ".join(f"({key})::text" for key in keys)
    with connection.transaction(), connection.cursor(name="regionkit_digests") as cursor:
        cursor.itersize = _FETCH
        cursor.execute(
            f"SELECT {group}, ({form.row(names)})::text, {shown} "
            f"FROM ({statement}) AS cells({', '.join(names)})"
        )
        for where, digest, *key in cursor:
            yield RowDigest(tuple(key), where, digest)
