"""Constraints, indexes and triggers back after a load, exactly, several at a time.

Each comes back in a transaction of its own, with its entry in the journal struck off: one that
fails leaves those before it in place, and itself in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import psycopg

from toolkit.errors import Interrupted
from toolkit.postgres import ddl, session
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection, first_line
from toolkit.postgres.takedown import Down, journaled
from toolkit.postgres.versions import UNPROVEN_FOREIGN_KEYS


@dataclass(frozen=True)
class Task:
    """One statement of the way back.

    Attributes:
        what: in words.
        locks: tables and partitions that nobody else may work on meanwhile. ``ALTER TABLE`` keeps
            others off its table, and ``ADD FOREIGN KEY`` off the one that it references; to compare
            a key with the rows keeps off its own alone (PostgreSQL documentation, "Explicit
            Locking"). Two indexes of one partitioned table deadlock on its partitions.
        statement: what is executed.
        done: the object that is back with it; ``None`` for a part of one.
        merge: whether it compares few rows with many: by merging two indexes, and not by hashing
            the many for each partition of the few.
    """

    what: str
    locks: frozenset[str]
    statement: str
    done: Down | None = None
    merge: bool = False


@dataclass(frozen=True)
class PutBack:
    """The way back of one layout.

    Attributes:
        connect: opens a connection; each worker has its own.
        schema: of the layout.
        fence: called within each transaction; it raises where a newer run has taken over.
        workers: how many statements at a time.
        weights: rows of each table; what takes longest begins first.
        progress: called with what begins.
    """

    connect: Callable[[], Connection]
    schema: str
    fence: Callable[[Connection], None]
    workers: int
    weights: Mapping[str, int]
    progress: Callable[[str], None]

    def run(self) -> None:
        """Create everything that is down.

        First the keys, which foreign keys need; triggers last, which would slow all others down.

        Raises:
            Interrupted: the data do not fit a constraint; the error names it.
        """
        with self.connect() as connection:
            left = sorted(journaled(connection, self.schema), key=self._weight)
            kinds: dict[str, list[Down]] = {}
            for one in left:
                kinds.setdefault(one.kind, []).append(one)
            self._all(map(whole, kinds.get("key", ())))
            self._all(map(whole, kinds.get("index", ())))
            foreign = kinds.get("foreign key", [])
            if not UNPROVEN_FOREIGN_KEYS.there(connection):
                self._all(map(whole, foreign))
            else:
                for one in foreign:
                    if not one.unproven:
                        self._add_unproven(connection, one)
                self._all(self._partitions(connection, foreign))
                # Nothing is read any more where all partitions are proven.
                self._all(self._proof(one.table, one.name, one) for one in foreign)
            for kind in ("trigger", "rule", "row security"):
                self._all(map(whole, kinds.get(kind, ())))

    def _weight(self, one: Down) -> int:
        return -self.weights.get(one.table, 0) - self.weights.get(one.other or "", 0)

    def _proof(
        self, table: str, constraint: str, done: Down | None = None, *, merge: bool = False
    ) -> Task:
        return Task(
            f"foreign key {constraint} of {table}",
            frozenset({table}),
            f"ALTER TABLE {ddl.quote(self.schema, table)} "
            f"VALIDATE CONSTRAINT {ddl.quote(constraint)}",
            done,
            merge,
        )

    def _partitions(self, connection: Connection, foreign: Sequence[Down]) -> list[Task]:
        """Return the proofs of foreign keys partition by partition, the longest first."""
        rows = connection.execute(
            "SELECT p.relname, o.conname, c.relname, k.conname FROM pg_constraint o "
            "JOIN pg_class p ON p.oid = o.conrelid JOIN pg_constraint k ON k.conparentid = o.oid "
            "JOIN pg_class c ON c.oid = k.conrelid "
            "WHERE p.relnamespace = to_regnamespace(quote_ident(%s)) AND o.contype = 'f' "
            "AND NOT k.convalidated AND k.conrelid <> o.conrelid AND c.relispartition",
            (self.schema,),
        ).fetchall()
        parts: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for table, constraint, leaf, clone in sorted(rows):
            parts.setdefault((table, constraint), []).append((leaf, clone))
        tasks = []
        for one in foreign:
            leaves = parts.get((one.table, one.name), [])
            referred = self.weights.get(one.other or "", 0)
            merge = referred * len(leaves) > self.weights.get(one.table, 0)
            tasks += [self._proof(leaf, clone, merge=merge) for leaf, clone in leaves]
        return tasks

    @session.retried
    def _add_unproven(self, connection: Connection, one: Down) -> None:
        """Let a foreign key stand, without looking at the rows that are there."""
        with connection.transaction():
            self.fence(connection)
            connection.execute("SELECT set_config('search_path', '', true)")
            connection.execute(f"{one.definition} NOT VALID{one.comments}")
            connection.execute(
                f"UPDATE {JOURNAL_SCHEMA}.taken_down SET unproven = true "
                "WHERE target = %s AND number = %s",
                (self.schema, one.number),
            )

    def _all(self, tasks: Iterable[Task]) -> None:
        """Carry out tasks, several at a time where they do not lock each other's tables."""
        idle: list[Connection] = []

        def execute(task: Task) -> None:
            connection = idle.pop() if idle else self.connect()
            try:
                self._execute(connection, task)
            finally:
                idle.append(connection)

        left = list(tasks)
        try:
            with ThreadPoolExecutor(self.workers, "regionkit-index") as pool:
                running: dict[Future[None], Task] = {}
                while left or running:
                    while len(running) < self.workers:
                        task = startable(left, list(running.values()))
                        if task is None:
                            break
                        left.remove(task)
                        self.progress(task.what)
                        running[pool.submit(execute, task)] = task
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        del running[future]
                        future.result()
        finally:
            for connection in idle:
                connection.close()

    @session.retried
    def _execute(self, connection: Connection, task: Task) -> None:
        try:
            with connection.transaction():
                self.fence(connection)
                connection.execute("SELECT set_config('search_path', '', true)")
                if task.merge:
                    connection.execute("SET LOCAL enable_hashjoin = off")
                connection.execute(task.statement)
                if task.done is not None:
                    _restore_leaves(connection, self.schema, task.done.name, task.done.leaves)
                    connection.execute(
                        f"DELETE FROM {JOURNAL_SCHEMA}.taken_down "
                        "WHERE target = %s AND number = %s",
                        (self.schema, task.done.number),
                    )
        except psycopg.Error as error:
            if session.passes(error):
                raise
            if isinstance(error, psycopg.IntegrityError | psycopg.DataError):
                raise Interrupted(
                    f"{task.what} does not fit the data: {first_line(error)}",
                    hint="mend the source, then start over: 'regionkit apply --revert', "
                    "'regionkit apply', 'regionkit migrate'",
                ) from None
            raise Interrupted(
                f"{task.what} was not created: {first_line(error)}",
                hint="run 'regionkit migrate --resume': it goes on with what is missing",
            ) from None


def whole(one: Down) -> Task:
    """Return the task that creates an object in one statement. Pure."""
    locks = frozenset({one.table} if one.other is None else {one.table, one.other})
    what = f"{one.kind} {one.name} of {one.table}"
    return Task(what, locks, one.definition + one.comments, one)


def startable(left: Sequence[Task], running: Sequence[Task]) -> Task | None:
    """Return the first task that can be done beside those that are being done. Pure."""
    locked = frozenset[str]().union(*(task.locks for task in running))
    return next((task for task in left if not task.locks & locked), None)


def _restore_leaves(
    connection: Connection, schema: str, name: str, leaves: Mapping[str, tuple[str, str | None]]
) -> None:
    """Give the partitions of an index the names and comments that they had."""
    if not leaves:
        return
    rows = connection.execute(
        "SELECT t.relname, p.relname, p.oid::bigint FROM pg_partition_tree(%s::regclass) AS tree "
        "JOIN pg_class p ON p.oid = tree.relid JOIN pg_index x ON x.indexrelid = p.oid "
        "JOIN pg_class t ON t.oid = x.indrelid WHERE tree.level > 0",
        (ddl.quote(schema, name),),
    ).fetchall()

    def rename(current: str, wanted: str) -> None:
        connection.execute(
            f"ALTER INDEX {ddl.quote(schema, current)} RENAME TO {ddl.quote(wanted)}"
        )

    names = {
        table: (current, leaves[table][0], f"regionkit_{oid}")
        for table, current, oid in rows
        if table in leaves and leaves[table][0] != current
    }
    if {wanted for _, wanted, _ in names.values()} & {current for _, current, _ in rows}:
        # One partition's index got the name that another's had: all of them step aside first.
        for table, (current, wanted, aside) in names.items():
            rename(current, aside)
            names[table] = (aside, wanted, aside)
    for current, wanted, _ in names.values():
        rename(current, wanted)
    for table, current, _ in rows:
        wanted, comment = leaves.get(table, (current, None))
        if comment is not None:
            connection.execute(
                f"COMMENT ON INDEX {ddl.quote(schema, wanted)} IS {ddl.literal(comment)}"
            )
