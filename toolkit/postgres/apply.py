"""Runs the Alembic revisions of a layout: what is pending, what each step does, up and down."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, Operations, ops
from alembic.script import Script, ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.exc import DBAPIError

from toolkit.errors import (
    ConnectionFailed,
    Interrupted,
    LockNotObtained,
    Refused,
    RegionkitError,
    UsageError,
)
from toolkit.plan import Plan, Step
from toolkit.postgres import capabilities, inspect, locks, revisions, session
from toolkit.postgres.environment import JOURNAL_SCHEMA, version_table


class Revisions:
    """The revisions of one Alembic environment and one target.

    Args:
        folder: the Alembic environment.
        schema: the schema of the layout.
        url: the target's URL; ``None`` for what needs no server.
        server: the target's name, for plans.
    """

    def __init__(self, folder: Path, schema: str, url: str | None, server: str) -> None:
        if not (folder / "env.py").exists():
            raise UsageError(
                f"there is no Alembic environment in {folder}",
                hint="run 'regionkit generate' first",
            )
        self._folder = folder
        self._schema = schema
        self._url = url
        self._server = server
        self._script = ScriptDirectory.from_config(self._config())
        #: What ``upgrade`` left behind because PostgreSQL refused it, with the reason.
        self.left_behind: list[str] = []

    def _config(self, output: io.StringIO | None = None) -> Config:
        config = Config(output_buffer=output, stdout=io.StringIO())
        config.set_main_option("script_location", str(self._folder).replace("%", "%%"))
        return config

    @property
    def head(self) -> str | None:
        """The newest revision, ``None`` when there is none."""
        heads = self._script.get_heads()
        if len(heads) > 1:
            raise Refused(
                f"{self._folder} has {len(heads)} heads: {', '.join(sorted(heads))}",
                hint="join them with 'alembic merge'",
            )
        return heads[0] if heads else None

    def current(self) -> str | None:
        """Return the revision that the target is at, ``None`` before the first."""
        assert self._url is not None
        with session.connect(self._url, role="postgres") as connection:
            if version_table(self._schema) not in inspect.table_names(connection, JOURNAL_SCHEMA):
                return None
            row = connection.execute(
                psycopg.sql.SQL("SELECT version_num FROM {}").format(
                    psycopg.sql.Identifier(JOURNAL_SCHEMA, version_table(self._schema))
                )
            ).fetchone()
            return str(row[0]) if row else None

    def pending(self) -> list[str]:
        """Return the revisions that the target lacks, oldest first.

        Raises:
            Refused: the target is at a revision that the folder does not hold.
        """
        return [script.revision for script in self._between(self.current(), self.head)]

    def plan(self) -> list[Plan]:
        """Return what ``upgrade`` would do. Reads the target, writes nothing.

        Raises:
            Refused: the server cannot do it.
        """
        assert self._url is not None
        pending = self.pending()
        with session.connect(self._url, role="postgres") as connection:
            self._require_possible(connection, pending)
        return [
            Plan(self._server, revision, self._steps(operations), locks)
            for revision, operations, locks in self._counted(self.head)
            if revision in pending
        ]

    def plan_revert(self) -> list[Plan]:
        """Return what ``revert`` would do. Reads the target, writes nothing."""
        current = self.current()
        locks = {revision: locks for revision, _, locks in self._counted(current)}
        scripts = list(self._between(None, current))
        return [
            Plan(
                self._server,
                script.revision,
                self._steps(_recorded(script.module.downgrade)),
                locks[script.revision],
            )
            for script in reversed(scripts)
        ]

    def _steps(self, operations: Iterable[MigrateOperation]) -> tuple[Step, ...]:
        return tuple(step(op, self._server) for op in operations)

    def _counted(self, upper: str | None) -> Iterator[tuple[str, list[MigrateOperation], int]]:
        """Yield every revision up to one with its operations and its locks, oldest first.

        What a revision locks depends on the tables that those before it have made.
        """
        counter = locks.Counter()
        for script in self._between(None, upper):
            operations = _recorded(script.module.upgrade)
            yield script.revision, operations, locks.count(operations, counter)

    def sql(self) -> str:
        """Return the statements of all revisions. Needs no server."""
        output = io.StringIO()
        config = self._config(output)
        command.upgrade(config, "head", sql=True)
        return output.getvalue()

    def upgrade(self) -> list[str]:
        """Bring the target to the newest revision; return the revisions that ran.

        Raises:
            Refused: the target's schema holds something that is not regionkit's, or the server
                cannot do what a revision needs.
            LockNotObtained: somebody else is applying, or holds a lock that is needed.
        """
        assert self._url is not None
        with session.exclusive(self._url, role="postgres", name=self._lock) as connection:
            current = self.current()
            if current is None:
                self._require_empty(connection)
            pending = [script.revision for script in self._between(current, self.head)]
            self._require_possible(connection, pending)
            if pending:
                self._run(lambda config: command.upgrade(config, "head"), pending, self.pending)
            return pending

    def revert(self) -> list[str]:
        """Take every revision back; return the revisions that ran."""
        assert self._url is not None
        with session.exclusive(self._url, role="postgres", name=self._lock) as connection:
            there = self._applied()
            if there:
                self._require_locks(connection, there)
                self._run(lambda config: command.downgrade(config, "base"), there, self._applied)
            return there

    def _applied(self) -> list[str]:
        """Return the revisions that the target has, newest first."""
        return [script.revision for script in self._between(None, self.current())][::-1]

    def _require_possible(self, connection: session.Connection, revisions: Sequence[str]) -> None:
        """Refuse, before the first revision, what the server cannot do.

        Raises:
            Refused: it is too old for the layout or for something in it, or takes too few locks.
        """
        session.require_target_version(connection)
        capabilities.require(
            connection,
            (
                op
                for revision, operations, _ in self._counted(self.head)
                if revision in revisions
                for op in operations
            ),
        )
        if revisions:
            self._require_locks(connection, revisions)

    def _require_locks(self, connection: session.Connection, revisions: Sequence[str]) -> None:
        """Refuse before the first revision what would fail at a later one.

        Raises:
            Refused: a revision may need more locks than the server has for it.
        """
        entries, each = inspect.lock_entries(connection)
        most, revision = max(
            (locks, revision)
            for revision, _, locks in self._counted(self.head)
            if revision in revisions
        )
        if most <= locks.budget_of(entries):
            return
        needed = -(-locks.entries_for(most) * each // entries)
        raise Refused(
            f"revision {revision} takes up to {most} locks in one transaction, and the server has "
            f"room for {entries} of all sessions: at most half of them are taken",
            hint=f"set max_locks_per_transaction = {needed} and restart the server, or, if nothing "
            f"was applied yet, set transaction_locks = {locks.budget_of(entries)} in "
            "[target.postgres], delete the revisions and generate them anew",
        )

    @property
    def _lock(self) -> str:
        return f"apply {self._schema}"

    def _run(
        self,
        action: Callable[[Config], None],
        revisions: Sequence[str],
        left: Callable[[], list[str]],
    ) -> None:
        """Run revisions, each in a transaction of its own.

        Args:
            action: runs them.
            revisions: in the order in which they run.
            left: returns those that are still to be run.

        Raises:
            RegionkitError: one failed; the error says which have run.
        """
        assert self._url is not None
        engine = session.engine(self._url, role="postgres")
        try:
            with engine.connect() as connection:
                raw = connection.connection.driver_connection
                assert raw is not None
                raw.add_notice_handler(self._note)
                config = self._config()
                config.attributes["connection"] = connection
                action(config)
        except DBAPIError as error:
            _raise(error.orig, self._schema, _standing(revisions, left))
        except CommandError as error:
            raise Refused(str(error), hint="see 'regionkit apply --dry-run'") from None

    def _note(self, notice: psycopg.errors.Diagnostic) -> None:
        message = notice.message_primary or ""
        if message.startswith(revisions.LEFT_BEHIND):
            self.left_behind.append(message.removeprefix(revisions.LEFT_BEHIND))

    def _between(self, lower: str | None, upper: str | None) -> Iterator[Script]:
        """Yield the revisions above ``lower`` up to ``upper``, oldest first."""
        if upper is None:
            return
        try:
            scripts = list(self._script.iterate_revisions(upper, lower or "base"))
        except CommandError:
            raise Refused(
                f"the target is at revision {lower or upper!r}, which {self._folder} does not hold",
                hint="check out the code that the target was migrated with",
            ) from None
        yield from reversed(scripts)

    def _require_empty(self, connection: session.Connection) -> None:
        names = sorted(inspect.table_names(connection, self._schema))
        if names:
            raise Refused(
                f"schema {self._schema!r} of the target holds {len(names)} table(s) or view(s) "
                "that regionkit did not create",
                details=names[:10],
                hint='name an empty schema with schema = "..." in [target.postgres]',
            )


def _standing(revisions: Sequence[str], left: Callable[[], list[str]]) -> list[str]:
    """Return, in words, which of several revisions have run and which have not."""
    if len(revisions) == 1:
        return []
    try:
        number = len(revisions) - len(left())
    except ConnectionFailed:
        return ["the server does not answer, so it is not known which revisions have run"]
    return [
        f"{word}: {chosen[0]}" + (f" to {chosen[-1]}" if len(chosen) > 1 else "")
        for word, chosen in (("done", revisions[:number]), ("not done", revisions[number:]))
        if chosen
    ]


def _raise(error: BaseException | None, schema: str, standing: Sequence[str]) -> NoReturn:
    """Raise what a database error means for the operator.

    Args:
        error: of the driver.
        schema: of the layout.
        standing: which of several revisions have run, in words.
    """
    if not isinstance(error, psycopg.Error):
        raise RegionkitError(f"migrating {schema!r} failed: {error}", details=standing) from error
    said = session.first_line(error)
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
        raise LockNotObtained(
            f"a lock was not to be had while migrating {schema!r}: {said}",
            details=standing,
            hint="nothing of that revision was kept; run the same command again",
        ) from None
    if isinstance(error, psycopg.errors.OutOfMemory):
        raise Refused(
            f"PostgreSQL ran out of memory for the migration of {schema!r}: {said}",
            details=standing,
            hint="nothing of that revision was kept; wait until other sessions need fewer locks, "
            "or raise max_locks_per_transaction and restart the server, then run the same command "
            "again",
        ) from None
    if session.is_lost(error):
        raise Interrupted(
            f"the connection was lost while migrating {schema!r}: {said}",
            details=standing,
            hint="when the server is back, run the same command again: it goes on with what is "
            "not done",
        ) from None
    raise Refused(
        f"PostgreSQL refused a step of the migration of {schema!r}: {said}",
        details=standing,
        hint="nothing of that revision was kept; see 'regionkit apply --dry-run'",
    ) from None


def _recorded(body: Callable[[], None]) -> list[MigrateOperation]:
    """Return the operations that a revision's ``upgrade`` or ``downgrade`` consists of."""
    seen: list[MigrateOperation] = []
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": io.StringIO()}
    )
    with Operations.context(context) as operations:
        # Alembic installs its own class behind ``op``, so the instance is told to note, not do.
        operations.invoke = seen.append  # type: ignore[method-assign,assignment]
        body()
    return seen


def step(op: MigrateOperation, server: str) -> Step:
    """Describe one operation. Locks are named where they touch what existed before."""
    if isinstance(op, revisions.CarryOp):
        soft = "left behind if PostgreSQL refuses it" if op.soft else ""
        return Step(server, f"carry {op.kind}", op.name, soft)
    if isinstance(op, revisions.TakeBackOp):
        return Step(server, f"take back {op.kind}", op.name)
    if isinstance(op, revisions.TableOp):
        count = sum(1 for item in op.items if hasattr(item, "type"))
        return Step(server, op.title, op.table_name, f"{count} columns")
    if isinstance(op, ops.CreateTableOp):
        return Step(server, "create global table", op.table_name, f"{len(op.columns)} items")
    if isinstance(op, ops.CreateIndexOp):
        return Step(
            server,
            "create index",
            str(op.index_name),
            f"on {op.table_name}",
            lock=f"SHARE on {op.table_name}",
        )
    if isinstance(op, revisions.AddForeignKeyOp):
        return Step(
            server,
            "create foreign key",
            op.name,
            f"{op.table} -> {op.other}",
            lock=f"SHARE ROW EXCLUSIVE on {op.table}, {op.other}",
        )
    if isinstance(op, revisions.CreatePartitionsOp | revisions.DropPartitionsOp):
        listed = isinstance(op, revisions.CreateRegionOp | revisions.DropRegionOp)
        verb = "create" if isinstance(op, revisions.CreatePartitionsOp) else "drop"
        return Step(
            server,
            f"{verb} {'region' if listed else 'partitions'}",
            op.code,
            f"{len(op.partitions)} partitions",
            lock=f"ACCESS EXCLUSIVE on {', '.join(op.partitions)}",
            rows=1 if listed else 0,
        )
    if isinstance(op, ops.DropTableOp | ops.DropConstraintOp | ops.DropIndexOp):
        name = getattr(op, "table_name", "") or ""
        target = next(
            str(value)
            for value in (
                getattr(op, "constraint_name", None),
                getattr(op, "index_name", None),
                name,
            )
            if value
        )
        action = type(op).__name__.removeprefix("Drop").removesuffix("Op").lower()
        return Step(
            server,
            f"drop {action}",
            target,
            f"on {name}" if name != target else "",
            lock=f"ACCESS EXCLUSIVE on {name}",
        )
    words = type(op).__name__.removesuffix("Op")
    action = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in words)
    names = (getattr(op, name, None) for name in ("name", "table_name", "schema"))
    table = getattr(op, "table", None)
    return Step(
        server,
        action.strip(),
        next(str(name) for name in names if name),
        f"on {table}" if table else "",
    )
