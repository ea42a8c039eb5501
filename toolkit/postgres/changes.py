"""Whether the source has changed since a snapshot was taken, told by reading it again.

Rows tell it themselves: every insert and update leaves a row with a newer ``xmin``, and what is
deleted is missing from the count. Neither is a counter that somebody can reset. Where a table looks
different its chunks are digested under both snapshots. A table that was truncated or rewritten is
another file on disk: the older snapshot sees nothing of what was there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.digest import DigestForm
from toolkit.journal import Chunk
from toolkit.layout import Layout
from toolkit.postgres import ddl, digest
from toolkit.postgres.session import Connection
from toolkit.types import postgres_type


@dataclass(frozen=True)
class Footprint:
    """What a table looks like from outside.

    Attributes:
        files: of the table and its partitions.
        columns: type and nullability of each, as PostgreSQL writes them.
    """

    files: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Changed:
    """A table that has changed.

    Attributes:
        table: its key.
        what: in words.
        chunks: the numbers of the chunks, where it is known which.
    """

    table: str
    what: str
    chunks: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.table}: {self.what}"


def footprints(connection: Connection, tables: Mapping[str, str]) -> dict[str, Footprint]:
    """Return the footprint of each table; of one that is gone, an empty one.

    Args:
        connection: outside of a transaction: files are looked at as they are now.
        tables: qualified names by key.
    """
    found = {key: Footprint() for key in tables}
    rows = connection.execute(
        "SELECT to_regclass(name)::oid, key FROM unnest(%s::text[], %s::text[]) AS t(key, name)",
        (list(tables), list(tables.values())),
    ).fetchall()
    by_oid: dict[int, str] = {oid: key for oid, key in rows if oid is not None}
    oids = list(by_oid)
    files = connection.execute(
        "SELECT o, string_agg(pg_relation_filenode(coalesce(t.relid, o::regclass))::text, ' ' "
        "ORDER BY t.relid::oid) FROM unnest(%s::oid[]) AS o "
        "LEFT JOIN LATERAL pg_partition_tree(o::regclass) AS t ON true GROUP BY o",
        (oids,),
    ).fetchall()
    columns: dict[str, dict[str, str]] = {key: {} for key in tables}
    for oid, name, type_ in connection.execute(
        "SELECT attrelid, attname, format_type(atttypid, atttypmod) "
        "|| CASE WHEN attnotnull THEN ' not null' ELSE '' END FROM pg_attribute "
        "WHERE attrelid = ANY (%s::oid[]) AND attnum > 0 AND NOT attisdropped",
        (oids,),
    ).fetchall():
        columns[by_oid[oid]][name] = type_
    for oid, nodes in files:
        found[by_oid[oid]] = Footprint(nodes or "", columns[by_oid[oid]])
    return found


def form_of(connection: Connection) -> DigestForm:
    """Return the cheapest form of digest of one server."""
    return digest.common_form(connection, connection)


def canonical(layout: Layout, key: str, form: DigestForm) -> list[str]:
    """Return canonical cells of a table's columns, over alias ``t``."""
    return [
        digest.cell(f"t.{ddl.quote(column.name)}", postgres_type(column.type), form)
        for column in layout.table(key).columns
    ]


def looks_changed(before: Connection, now: Connection, table: str, oldest: int) -> bool:
    """Return whether rows may have come, gone or changed between two snapshots.

    A transaction below the first snapshot's ``xmin`` had ended when it was taken, so its rows are
    no news. One above it may have ended in between, or may not: that is for the digests to say.

    Args:
        before: a reader under the first snapshot.
        now: a reader under the second.
        table: qualified.
        oldest: ``xmin`` of the first snapshot.
    """
    counted = before.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert counted is not None
    return touched(now, table, counted[0], oldest)


def touched(now: Connection, table: str, rows: int, oldest: int) -> bool:
    """Return whether rows may have come, gone or changed since there were so many of them.

    Args:
        now: a reader.
        table: qualified.
        rows: how many there were.
        oldest: ``xmin`` of a snapshot of that moment.
    """
    row = now.execute(
        f"SELECT count(*), count(*) FILTER (WHERE age(t.xmin) <= age('{oldest:d}'::xid)) "
        f"FROM {table} AS t"
    ).fetchone()
    assert row is not None
    return bool(row[1]) or row[0] != rows


def oldest(connection: Connection) -> int:
    """Return ``xmin`` of a snapshot of now, as 32 bits: every transaction below it has ended."""
    row = connection.execute(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text::bigint"
    ).fetchone()
    assert row is not None
    return int(row[0])


def reshaped(was: Footprint, now: Footprint) -> str:
    """Return what happened to a table as a whole, in words; empty for nothing. Pure."""
    if not now.columns:
        return "it is gone"
    if was.columns != now.columns:
        names = sorted(
            name
            for name in was.columns.keys() | now.columns.keys()
            if was.columns.get(name) != now.columns.get(name)
        )
        return f"its columns changed: {', '.join(names)}"
    return "it was truncated or rewritten" if was.files != now.files else ""


def described(chunks: Iterable[Chunk], rows_before: int, rows_now: int) -> str:
    """Return which chunks differ, in words. Pure."""
    numbers: Sequence[int] = [chunk.number for chunk in chunks]
    shown = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    text = f"{len(numbers)} chunk(s) differ: {shown}"
    return text if rows_before == rows_now else f"{text}; {rows_before:,} rows are {rows_now:,} now"
