"""Constraints, indexes and triggers out of the way of a load, and back exactly.

The same rows took seven times as long with constraints first. What is taken down is journaled in
the transaction that drops it, and put back in the transaction that strikes it off, so that a crash
at any point leaves either the object or its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import psycopg
from psycopg.types.json import Jsonb

from toolkit.errors import Interrupted
from toolkit.postgres import ddl, session
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


@dataclass(frozen=True)
class Down:
    """An object that was taken down.

    Attributes:
        number: in the order of dropping.
        kind: ``foreign key``, ``trigger``, ``index`` or ``key``.
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

    @property
    def locks(self) -> frozenset[str]:
        """The tables of the layout that nobody else may work on while this is created.

        ``ALTER TABLE`` keeps others off its table, and ``ADD FOREIGN KEY`` off the one that it
        references; to compare it with the rows keeps off its own alone (PostgreSQL documentation,
        "Explicit Locking"). Two indexes of one partitioned table deadlock on its partitions.
        """
        other = {self.other} if self.other is not None and not self.unproven else set()
        return frozenset({self.table, *other})


#: What can be created at the same time, in the order in which it must be: a foreign key needs the
#: key that it references, and a trigger would slow all others down.
_STAGES = (("key",), ("index", "foreign key"), ("trigger",))

#: From here on a foreign key of a partitioned table can stand before it is compared with the rows.
_NOT_VALID = 180000

#: Objects of the layout's own tables; those of partitions follow their parents. The order is the
#: order of dropping: foreign keys before the keys that they reference.
_OBJECTS = f"""
SELECT 1 AS rank, 'foreign key' AS kind, c.relname, r.relname, o.conname,
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
               quote_ident(i.relname) || ' ON '),
       NULL, obj_description(i.oid, 'pg_class'), {_LEAVES.format(index="i.oid")}
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.oid)
UNION ALL
SELECT CASE o.contype WHEN 'p' THEN 5 ELSE 4 END, 'key', c.relname, NULL, o.conname,
       pg_get_constraintdef(o.oid), obj_description(o.oid, 'pg_constraint'),
       obj_description(o.conindid, 'pg_class'), {_LEAVES.format(index="o.conindid")}
FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
WHERE c.relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND NOT c.relispartition
  AND o.contype IN ('p', 'u', 'x')
ORDER BY 1, 3, 5
"""


def take_down(connection: Connection, schema: str, note: Callable[[], None]) -> int:
    """Drop foreign keys, triggers, indexes and keys of a layout; return how many.

    What is down already stays down: the numbers go on after the entries that exist.

    Args:
        connection: to the target.
        schema: of the layout.
        note: called within the transaction: it notes that there is a load, and raises where a newer
            run has taken over.
    """
    with connection.transaction():
        note()
        connection.execute("SELECT set_config('search_path', '', true)")
        row = connection.execute(
            f"SELECT coalesce(max(number), 0) FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s",
            (schema,),
        ).fetchone()
        assert row is not None
        first = int(row[0]) + 1
        for one in _down(connection, schema):
            if one.unproven:
                # A run ended between adding it and comparing it: its entry is there already.
                connection.execute(_drop(schema, one.kind, one.table, one.name))
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.taken_down SET unproven = false WHERE target = %s", (schema,)
        )
        objects = connection.execute(_OBJECTS, {"schema": schema}).fetchall()
        for number, row in enumerate(objects, first):
            _, kind, table, other, name, definition, comment, on_index, leaves = row
            comments = _comment(schema, kind, table, name, comment)
            comments += _comment(schema, "index", table, name, on_index)
            connection.execute(
                f"INSERT INTO {JOURNAL_SCHEMA}.taken_down "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, false)",
                (
                    *(schema, number, kind, table, other, name),
                    _definition(schema, kind, table, name, definition),
                    comments,
                    Jsonb(leaves or {}),
                ),
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
    connect: Callable[[], Connection],
    schema: str,
    *,
    fence: Callable[[Connection], None],
    workers: int = 1,
    weights: Mapping[str, int] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> int:
    """Create everything that is down; return how many.

    Each object comes back in a transaction of its own: one that fails leaves those before it in
    place, and itself in the journal. Objects of different tables are created at the same time.

    Args:
        connect: opens a connection; each worker has its own.
        schema: of the layout.
        fence: called within each transaction; it raises where a newer run has taken over.
        workers: how many objects at a time.
        weights: rows of each table; what takes longest begins first.
        progress: called with what begins.

    Raises:
        Interrupted: the data do not fit a constraint; the error names it.
    """
    with connect() as connection:
        left = _down(connection, schema)
        done = len(left)
        weights = weights or {}
        left.sort(key=lambda one: -weights.get(one.table, 0) - weights.get(one.other or "", 0))
        keys, others, triggers = ([one for one in left if one.kind in kinds] for kinds in _STAGES)
        _create(connect, schema, keys, fence, workers, progress)
        if connection.info.server_version >= _NOT_VALID:
            for one in others:
                if one.kind == "foreign key" and not one.unproven:
                    _add_unproven(connection, schema, one, fence)
            others = [
                replace(one, unproven=True) if one.kind == "foreign key" else one for one in others
            ]
        _create(connect, schema, others, fence, workers, progress)
        _create(connect, schema, triggers, fence, workers, progress)
    return done


def _down(connection: Connection, schema: str) -> list[Down]:
    rows = connection.execute(
        "SELECT number, kind, table_name, other_table, name, definition, comments, leaves, "
        f"unproven FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s ORDER BY number DESC",
        (schema,),
    ).fetchall()
    return [Down(*row) for row in rows]


def _create(
    connect: Callable[[], Connection],
    schema: str,
    left: list[Down],
    fence: Callable[[Connection], None],
    workers: int,
    progress: Callable[[str], None],
) -> None:
    """Create objects, several at a time where they do not lock each other's tables."""
    idle: list[Connection] = []

    def create(one: Down) -> None:
        connection = idle.pop() if idle else connect()
        try:
            _put_back(connection, schema, one, fence)
        finally:
            idle.append(connection)

    left = list(left)
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="regionkit-index") as pool:
            running: dict[Future[None], Down] = {}
            while left or running:
                while len(running) < workers:
                    one = startable(left, list(running.values()))
                    if one is None:
                        break
                    left.remove(one)
                    progress(f"{one.kind} {one.name}")
                    running[pool.submit(create, one)] = one
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    del running[future]
                    future.result()
    finally:
        for connection in idle:
            connection.close()


def startable(left: Sequence[Down], running: Sequence[Down]) -> Down | None:
    """Return the first object that can be created beside those that are being created. Pure."""
    locked = frozenset[str]().union(*(one.locks for one in running))
    return next((one for one in left if not one.locks & locked), None)


@session.retried
def _add_unproven(
    connection: Connection, schema: str, one: Down, fence: Callable[[Connection], None]
) -> None:
    """Let a foreign key stand, without looking at the rows that are there."""
    with connection.transaction():
        fence(connection)
        connection.execute("SELECT set_config('search_path', '', true)")
        connection.execute(f"{one.definition} NOT VALID{one.comments}")
        connection.execute(
            f"UPDATE {JOURNAL_SCHEMA}.taken_down SET unproven = true "
            "WHERE target = %s AND number = %s",
            (schema, one.number),
        )


@session.retried
def _put_back(
    connection: Connection, schema: str, one: Down, fence: Callable[[Connection], None]
) -> None:
    try:
        with connection.transaction():
            fence(connection)
            connection.execute("SELECT set_config('search_path', '', true)")
            connection.execute(
                f"ALTER TABLE {ddl.quote(schema, one.table)} "
                f"VALIDATE CONSTRAINT {ddl.quote(one.name)}"
                if one.unproven
                else one.definition + one.comments
            )
            _restore_leaves(connection, schema, one.name, one.leaves)
            connection.execute(
                f"DELETE FROM {JOURNAL_SCHEMA}.taken_down WHERE target = %s AND number = %s",
                (schema, one.number),
            )
    except psycopg.Error as error:
        if session.passes(error):
            raise
        if isinstance(error, psycopg.IntegrityError | psycopg.DataError):
            raise Interrupted(
                f"{one.kind} {one.name!r} of {one.table!r} does not fit the data: "
                f"{first_line(error)}",
                hint="mend the source, then start over: 'regionkit apply --revert', "
                "'regionkit apply', 'regionkit migrate'",
            ) from None
        raise Interrupted(
            f"{one.kind} {one.name!r} of {one.table!r} was not created: {first_line(error)}",
            hint="run 'regionkit migrate --resume': it goes on with what is missing",
        ) from None


def _restore_leaves(
    connection: Connection, schema: str, name: str, leaves: Mapping[str, tuple[str, str | None]]
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


def _definition(schema: str, kind: str, table: str, name: str, definition: str) -> str:
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
