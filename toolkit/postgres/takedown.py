"""Constraints, indexes and triggers out of the way of a load, and back exactly.

The same rows took seven times as long with constraints first. What is taken down is journaled in
the transaction that drops it, and put back in the transaction that strikes it off, so that a crash
at any point leaves either the object or its entry.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg
from psycopg.types.json import Jsonb

from toolkit.errors import Interrupted
from toolkit.postgres import ddl
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection, first_line

#: Name and comment of an index's partitions, by the table that each is on. PostgreSQL makes the
#: names up when the index is created, differently each time.
_LEAVES = """(
  SELECT jsonb_object_agg(
    t.relname, jsonb_build_array(p.relname, obj_description(p.oid, 'pg_class')))
  FROM pg_partition_tree({index}) AS tree
  JOIN pg_class p ON p.oid = tree.relid JOIN pg_index x ON x.indexrelid = p.oid
  JOIN pg_class t ON t.oid = x.indrelid
  WHERE tree.level > 0
)"""

#: Objects of the layout's own tables; those of partitions follow their parents. The order is the
#: order of dropping: foreign keys before the keys that they reference.
_OBJECTS = f"""
SELECT 1 AS rank, 'foreign key' AS kind, c.relname, o.conname, pg_get_constraintdef(o.oid),
       obj_description(o.oid, 'pg_constraint'), NULL::text, NULL::jsonb
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND o.contype = 'f' AND o.conparentid = 0
UNION ALL
SELECT 2, 'trigger', c.relname, t.tgname,
       pg_get_triggerdef(t.oid)
       || CASE t.tgenabled WHEN 'O' THEN ''
          ELSE format('; ALTER TABLE %%s %%s TRIGGER %%I', c.oid::regclass,
                      CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                                       ELSE 'ENABLE ALWAYS' END, t.tgname) END,
       obj_description(t.oid, 'pg_trigger'), NULL, NULL
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND NOT t.tgisinternal
UNION ALL
SELECT 3, 'index', c.relname, i.relname,
       replace(pg_get_indexdef(i.oid), quote_ident(i.relname) || ' ON ONLY ',
               quote_ident(i.relname) || ' ON '),
       NULL, obj_description(i.oid, 'pg_class'), {_LEAVES.format(index="i.oid")}
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.oid)
UNION ALL
SELECT CASE o.contype WHEN 'p' THEN 5 ELSE 4 END, 'key', c.relname, o.conname,
       pg_get_constraintdef(o.oid), obj_description(o.oid, 'pg_constraint'),
       obj_description(o.conindid, 'pg_class'), {_LEAVES.format(index="o.conindid")}
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND o.contype IN ('p', 'u', 'x')
ORDER BY 1, 3, 4
"""


def take_down(connection: Connection, schema: str) -> int:
    """Drop foreign keys, triggers, indexes and keys of a layout; return how many.

    What is down already stays down: the numbers go on after the entries that exist.
    """
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', '', true)")
        row = connection.execute(
            f"SELECT coalesce(max(number), 0) FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s",
            (schema,),
        ).fetchone()
        assert row is not None
        first = int(row[0]) + 1
        objects = connection.execute(_OBJECTS, {"schema": schema}).fetchall()
        for number, (_, kind, table, name, definition, comment, on_index, leaves) in enumerate(
            objects, first
        ):
            statements = _create(schema, kind, table, name, definition)
            statements += _comment(schema, kind, table, name, comment)
            statements += _comment(schema, "index", table, name, on_index)
            connection.execute(
                f"INSERT INTO {JOURNAL_SCHEMA}.taken_down VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (schema, number, kind, table, name, statements, Jsonb(leaves or {})),
            )
            connection.execute(_drop(schema, kind, table, name))
    return len(objects)


def _drop(schema: str, kind: str, table: str, name: str) -> str:
    if kind == "trigger":
        return f"DROP TRIGGER {ddl.quote(name)} ON {ddl.quote(schema, table)}"
    if kind == "index":
        return f"DROP INDEX {ddl.quote(schema, name)}"
    return f"ALTER TABLE {ddl.quote(schema, table)} DROP CONSTRAINT {ddl.quote(name)}"


def remaining(connection: Connection, schema: str) -> int:
    """Return how many objects are down."""
    row = connection.execute(
        f"SELECT count(*) FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s", (schema,)
    ).fetchone()
    return int(row[0]) if row else 0


def put_back(
    connection: Connection, schema: str, *, progress: Callable[[str], None] = lambda _: None
) -> int:
    """Create everything that is down, in the reverse order; return how many.

    Each object comes back in a transaction of its own: one that fails leaves those before it in
    place, and itself in the journal.

    Raises:
        Interrupted: the data do not fit a constraint; the error names it.
    """
    done = 0
    while True:
        row = connection.execute(
            "SELECT number, kind, table_name, name, statements, leaves "
            f"FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s ORDER BY number DESC LIMIT 1",
            (schema,),
        ).fetchone()
        if row is None:
            return done
        number, kind, table, name, statements, leaves = row
        progress(f"{kind} {name}")
        try:
            with connection.transaction():
                connection.execute("SELECT set_config('search_path', '', true)")
                connection.execute(statements)
                _restore_leaves(connection, schema, name, leaves)
                connection.execute(
                    f"DELETE FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s AND number = %s",
                    (schema, number),
                )
        except psycopg.Error as error:
            raise Interrupted(
                f"{kind} {name!r} of {table!r} does not fit the data: {first_line(error)}",
                hint="mend the source, then start over: 'regionkit apply --revert', "
                "'regionkit apply', 'regionkit migrate'",
            ) from None
        done += 1


def _restore_leaves(
    connection: Connection, schema: str, name: str, leaves: dict[str, tuple[str, str | None]]
) -> None:
    """Give the partitions of an index the names and comments that they had."""
    if not leaves:
        return
    rows = connection.execute(
        "SELECT t.relname, p.relname FROM pg_partition_tree(%s::regclass) AS tree "
        "JOIN pg_class p ON p.oid = tree.relid JOIN pg_index x ON x.indexrelid = p.oid "
        "JOIN pg_class t ON t.oid = x.indrelid WHERE tree.level > 0",
        (ddl.quote(schema, name),),
    ).fetchall()
    for table, current in rows:
        wanted, comment = leaves.get(table, (current, None))
        if wanted != current:
            connection.execute(
                f"ALTER INDEX {ddl.quote(schema, current)} RENAME TO {ddl.quote(wanted)}"
            )
        if comment is not None:
            connection.execute(
                f"COMMENT ON INDEX {ddl.quote(schema, wanted)} IS {ddl.literal(comment)}"
            )


def _create(schema: str, kind: str, table: str, name: str, definition: str) -> str:
    if kind in ("trigger", "index"):
        return definition
    return f"ALTER TABLE {ddl.quote(schema, table)} ADD CONSTRAINT {ddl.quote(name)} {definition}"


def _comment(schema: str, kind: str, table: str, name: str, comment: str | None) -> str:
    if comment is None:
        return ""
    on = f"{ddl.quote(name)} ON {ddl.quote(schema, table)}"
    if kind == "index":
        return f"; COMMENT ON INDEX {ddl.quote(schema, name)} IS {ddl.literal(comment)}"
    word = "TRIGGER" if kind == "trigger" else "CONSTRAINT"
    return f"; COMMENT ON {word} {on} IS {ddl.literal(comment)}"
