"""Takes constraints, indexes, triggers and rules out of the way (``putback``: back).

The same rows took seven times as long with constraints first. What is taken down is journaled in
the transaction that drops it, and put back in the transaction that strikes it off, so that a crash
at any point leaves either the object or its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from toolkit.postgres import ddl
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.locks import batches
from toolkit.postgres.session import Connection

#: Name and comment of an index's partitions, by the table that each is on. PostgreSQL makes the
#: names up when the index is created, differently each time. (``pg_partition_tree`` would lock
#: every one of them: hundreds of tables would not fit the server's lock table.)
_LEAVES = """(
  SELECT jsonb_object_agg(
    t.relname, jsonb_build_array(p.relname, obj_description(p.oid, 'pg_class')))
  FROM pg_inherits AS h
  JOIN pg_class p ON p.oid = h.inhrelid JOIN pg_index x ON x.indexrelid = p.oid
  JOIN pg_class t ON t.oid = x.indrelid
  WHERE h.inhparent = {index}
)"""


@dataclass(frozen=True)
class Down:
    """An object that was taken down.

    Attributes:
        number: in the order of dropping.
        kind: ``row security``, ``rule``, ``foreign key``, ``trigger``, ``index`` or ``key``.
        table: that it is of.
        other: the table that a foreign key references.
        name: its own.
        definition: the statement that creates it.
        comments: the statements that comment on it.
        leaves: name and comment of an index's partitions, by the table that each is on.
        unproven: whether it is a foreign key that stands, and has to be compared with the rows.
    """

    number: int
    kind: str
    table: str
    other: str | None
    name: str
    definition: str
    comments: str
    leaves: Mapping[str, tuple[str, str | None]]
    unproven: bool = False


#: What an index is marked as, besides: lost when it is dropped.
_MARKS = """(
  CASE WHEN x.indisclustered
       THEN format('; ALTER TABLE %%s CLUSTER ON %%I', c.oid::regclass, i.relname) ELSE '' END
  || CASE WHEN x.indisreplident
          THEN format('; ALTER TABLE %%s REPLICA IDENTITY USING INDEX %%I', c.oid::regclass,
                      i.relname) ELSE '' END
)"""

#: A view that groups by a primary key, or a statement that names a constraint, needs it to stand.
_NOT_NEEDED = """NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.refclassid = 'pg_constraint'::regclass AND d.refobjid = o.oid
    AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_policy'::regclass)
)"""

#: Objects of the layout's own tables; those of partitions follow their parents. The order is the
#: order of dropping: foreign keys before the keys that they reference.
_OBJECTS = f"""
SELECT 0 AS rank, 'row security' AS kind, c.relname, NULL AS other, 'forced' AS name,
       format('ALTER TABLE %%s FORCE ROW LEVEL SECURITY', c.oid::regclass), NULL, NULL::text,
       NULL::jsonb
FROM pg_class c
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relforcerowsecurity
UNION ALL
SELECT 0, 'rule', c.relname, NULL, w.rulename,
       rtrim(pg_get_ruledef(w.oid), ';')
       || CASE w.ev_enabled WHEN 'O' THEN ''
          ELSE format('; ALTER TABLE %%s %%s RULE %%I', c.oid::regclass,
                      CASE w.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA'
                                        ELSE 'ENABLE ALWAYS' END, w.rulename) END,
       obj_description(w.oid, 'pg_rewrite'), NULL, NULL
FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND c.relkind IN ('r', 'p')
UNION ALL
SELECT 1, 'foreign key', c.relname, r.relname, o.conname,
       pg_get_constraintdef(o.oid), obj_description(o.oid, 'pg_constraint'), NULL::text, NULL::jsonb
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid JOIN pg_class r ON r.oid = o.confrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND o.contype = 'f' AND o.conparentid = 0
UNION ALL
SELECT 2, 'trigger', c.relname, NULL, t.tgname,
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
SELECT 3, 'index', c.relname, NULL, i.relname,
       replace(pg_get_indexdef(i.oid), quote_ident(i.relname) || ' ON ONLY ',
               quote_ident(i.relname) || ' ON ') || {_MARKS},
       NULL, obj_description(i.oid, 'pg_class'), {_LEAVES.format(index="i.oid")}
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.oid)
UNION ALL
SELECT CASE o.contype WHEN 'p' THEN 5 ELSE 4 END, 'key', c.relname, NULL, o.conname,
       pg_get_constraintdef(o.oid) || {_MARKS}, obj_description(o.oid, 'pg_constraint'),
       obj_description(o.conindid, 'pg_class'), {_LEAVES.format(index="o.conindid")}
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
JOIN pg_index x ON x.indexrelid = o.conindid JOIN pg_class i ON i.oid = o.conindid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND o.contype IN ('p', 'u', 'x') AND {_NOT_NEEDED}
ORDER BY 1, 3, 5
"""


def take_down(connection: Connection, schema: str, note: Callable[[], None], budget: int) -> int:
    """Drop foreign keys, triggers, indexes and keys of a layout; return how many.

    What is down already stays down: the numbers go on after the entries that exist. Many objects
    are dropped in several transactions, each with its entries in the journal.

    Args:
        connection: to the target.
        schema: of the layout.
        note: called within each transaction: it notes that there is a load, and raises where a
            newer run has taken over.
        budget: how many locks a transaction may take.
    """
    with connection.transaction():
        note()
        down = journaled(connection, schema)
        standing = _standing(connection, schema, max((one.number for one in down), default=0) + 1)
        nodes = _nodes(connection, schema)
    # A run ended between adding them and comparing them with the rows: their entries are there.
    unproven = [one for one in down if one.unproven]
    for batch in batches(unproven, lambda one: locks(one, nodes), budget):
        with connection.transaction():
            note()
            for one in batch:
                connection.execute(_drop(schema, one.kind, one.table, one.name))
            connection.execute(
                f"UPDATE {JOURNAL_SCHEMA}.taken_down SET unproven = false "
                "WHERE target = %s AND number = ANY (%s)",
                (schema, [one.number for one in batch]),
            )
    proven = {(one.table, one.name) for one in unproven}
    left = [one for one in standing if (one.table, one.name) not in proven]
    for batch in batches(left, lambda one: locks(one, nodes), budget):
        with connection.transaction():
            note()
            for one in batch:
                connection.execute(
                    f"INSERT INTO {JOURNAL_SCHEMA}.taken_down "
                    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, false)",
                    (
                        *(schema, one.number, one.kind, one.table, one.other, one.name),
                        *(one.definition, one.comments, Jsonb(one.leaves)),
                    ),
                )
                connection.execute(_drop(schema, one.kind, one.table, one.name))
    return len(left)


def _standing(connection: Connection, schema: str, first: int) -> list[Down]:
    """Return what is not down, in the order of dropping, numbered from ``first`` on."""
    # With an empty search path every name that the server prints is qualified.
    connection.execute("SELECT set_config('search_path', '', true)")
    found = []
    for number, row in enumerate(connection.execute(_OBJECTS, {"schema": schema}), first):
        _, kind, table, other, name, definition, comment, on_index, leaves = row
        comments = _comment(schema, kind, table, name, comment)
        comments += _comment(schema, "index", table, name, on_index)
        definition = _definition(schema, kind, table, name, definition)
        found.append(Down(number, kind, table, other, name, definition, comments, leaves or {}))
    return found


def _nodes(connection: Connection, schema: str) -> dict[str, int]:
    """Return how many tables each table is: itself and its partitions."""
    rows = connection.execute(
        "SELECT c.relname, 1 + count(*) FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhparent "
        "WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind = 'p' GROUP BY 1",
        (schema,),
    )
    return {str(name): int(count) for name, count in rows}


def locks(one: Down, nodes: Mapping[str, int]) -> int:
    """Return how many locks dropping an object takes at most. Pure.

    Of each table and partition: itself, its index or constraint, and the triggers of a foreign key.

    Args:
        one: the object.
        nodes: how many tables each partitioned table is.
    """
    tables = [one.table] if one.other is None else [one.table, one.other]
    return 4 * (1 + sum(nodes.get(table, 1) for table in tables))


def _drop(schema: str, kind: str, table: str, name: str) -> str:
    if kind == "row security":
        return f"ALTER TABLE {ddl.quote(schema, table)} NO FORCE ROW LEVEL SECURITY"
    if kind in ("trigger", "rule"):
        return f"DROP {kind.upper()} {ddl.quote(name)} ON {ddl.quote(schema, table)}"
    if kind == "index":
        return f"DROP INDEX {ddl.quote(schema, name)}"
    return f"ALTER TABLE {ddl.quote(schema, table)} DROP CONSTRAINT {ddl.quote(name)}"


def remaining(connection: Connection, schema: str) -> int:
    """Return how many objects are down."""
    row = connection.execute(
        f"SELECT count(*) FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s", (schema,)
    ).fetchone()
    return int(row[0]) if row else 0


def journaled(connection: Connection, schema: str) -> list[Down]:
    """Return every object that is down, the last to be dropped first."""
    rows = connection.execute(
        "SELECT number, kind, table_name, other_table, name, definition, comments, leaves, "
        f"unproven FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s ORDER BY number DESC",
        (schema,),
    ).fetchall()
    return [Down(*row) for row in rows]


def _definition(schema: str, kind: str, table: str, name: str, definition: str) -> str:
    if kind in ("row security", "rule", "trigger", "index"):
        return definition
    return f"ALTER TABLE {ddl.quote(schema, table)} ADD CONSTRAINT {ddl.quote(name)} {definition}"


def _comment(schema: str, kind: str, table: str, name: str, comment: str | None) -> str:
    if comment is None:
        return ""
    on = f"{ddl.quote(name)} ON {ddl.quote(schema, table)}"
    if kind == "index":
        return f"; COMMENT ON INDEX {ddl.quote(schema, name)} IS {ddl.literal(comment)}"
    word = kind.upper() if kind in ("trigger", "rule") else "CONSTRAINT"
    return f"; COMMENT ON {word} {on} IS {ddl.literal(comment)}"
