"""Applies migrations to a database, one holder of the lock at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from toolkit.errors import ConnectionFailed, Interrupted, LockNotObtained, Refused, sampled
from toolkit.mongo.ddl import Operation
from toolkit.mongo.journal import Entry, Journal, State
from toolkit.mongo.lock import LEASE, Lock
from toolkit.mongo.revisions import Revision, load_history
from toolkit.mongo.session import MongoSession, translated
from toolkit.plan import Plan, Step

_BACKEND = "mongo"

#: How often an operation is tried, and the seconds between two tries at most.
_ATTEMPTS, _LONGEST_WAIT = 4, 2.0

#: The newest revision, and the state before the first one.
HEAD, BASE = "head", "base"


class Runner:
    """Applies and reverts the migrations of one folder on one database.

    Args:
        session: an open connection.
        database_name: the target.
        folder: the migrations' folder.
        server: the name of the server in plans.
        lease: seconds that the lock outlives this process.

    Raises:
        Refused: the migrations do not form one chain.
    """

    def __init__(
        self,
        session: MongoSession,
        database_name: str,
        folder: Path,
        *,
        server: str = _BACKEND,
        lease: float = LEASE,
    ) -> None:
        self._session = session
        self._name = database_name
        self._server = server
        self._lease = lease
        self._history = load_history(folder)
        self._journal = Journal(session, database_name)

    def lock(self) -> Lock:
        """Return the lock of the target, for any work that must not overlap with migrations."""
        return Lock(self._session, self._name, lease=self._lease)

    def applied(self) -> tuple[Entry, ...]:
        """Return what the journal says of the revisions that are applied, in part too.

        Raises:
            Refused: a revision that was applied is missing, was edited, or came out of order.
        """
        entries = self._journal.entries()
        order = [one.revision for one in self._history]
        unknown = sorted(set(entries) - set(order))
        if unknown:
            raise Refused(
                f"{self._name!r} has migrations that the folder does not have",
                details=unknown,
                hint="update the checkout, or name the folder in [migrations] nosql",
            )
        edited = [
            one.path.name
            for one in self._history
            if one.revision in entries
            and entries[one.revision].state is not State.started
            and entries[one.revision].checksum != one.checksum
        ]
        if edited:
            raise Refused(
                f"{len(edited)} migration(s) were edited after they were applied to {self._name!r}",
                details=edited,
                hint="restore the files, and put the change into a migration of its own",
            )
        found = [entries[revision] for revision in order if revision in entries]
        if [entry.revision for entry in found] != order[: len(found)]:
            raise Refused(
                f"the migrations of {self._name!r} were not applied in their order",
                details=[entry.revision for entry in found],
                hint="restore the files as they were when they were applied",
            )
        return tuple(found)

    def pending(self) -> tuple[Revision, ...]:
        """Return the migrations that are not applied, or not to their end, in order."""
        done = {entry.revision for entry in self.applied() if entry.state is State.finished}
        return tuple(one for one in self._history if one.revision not in done)

    def plan(self, target: str = HEAD) -> tuple[Plan, ...]:
        """Return what :meth:`upgrade` or :meth:`downgrade` to ``target`` would do. Writes nothing.

        Args:
            target: a revision, ``head`` or ``base``.

        Raises:
            Refused: the real run would be refused.
        """
        index = self._index(target)
        applied = self.applied()
        if index < len(applied):
            return tuple(
                self._plan(one, one.downgrades(), count=True) for one in self._to_revert(index)
            )
        self._refuse_foreign(applied)
        return tuple(self._plan(one, one.upgrades()) for one in self._to_apply(index))

    def upgrade(
        self, to: str = HEAD, *, on_step: Callable[[Step], object] | None = None
    ) -> tuple[str, ...]:
        """Apply the migrations up to and including ``to``.

        Args:
            to: a revision or ``head``.
            on_step: called before each step.

        Returns:
            The revisions that were applied; empty if none was pending.

        Raises:
            LockNotObtained: somebody else is at work.
            Refused: the database holds foreign data, or a migration was edited.
            Interrupted: the server went away; run it again.
        """
        index = self._index(to)
        with self.lock() as lock:
            applied = self.applied()
            if index < len(applied):
                raise Refused(
                    f"{to!r} is applied already, and {applied[-1].revision!r} after it",
                    hint="to go back, revert",
                )
            self._refuse_foreign(applied)
            pending = self._to_apply(index)
            for revision in pending:
                operations = revision.upgrades()
                self._journal.start(lock, revision, _names(operations))
                self._run(lock, operations, on_step)
                self._journal.advance(lock, revision, State.finished)
        return tuple(one.revision for one in pending)

    def downgrade(
        self,
        to: str = BASE,
        *,
        drop_data: bool = False,
        on_step: Callable[[Step], object] | None = None,
    ) -> tuple[str, ...]:
        """Revert the migrations after ``to``, the newest first.

        Args:
            to: a revision, which stays applied, or ``base``.
            drop_data: whether collections that hold documents may be dropped.
            on_step: called before each step.

        Returns:
            The revisions that were reverted; empty if none was applied.

        Raises:
            LockNotObtained: somebody else is at work.
            Refused: documents would be lost, or a migration was edited.
        """
        index = self._index(to)
        with self.lock() as lock:
            reverted = self._to_revert(index)
            if not drop_data:
                self._refuse_loss([one for each in reverted for one in each.downgrades()])
            for revision in reverted:
                self._journal.advance(lock, revision, State.reverting)
                self._run(lock, revision.downgrades(), on_step)
                self._journal.advance(lock, revision, State.reverted)
        return tuple(one.revision for one in reverted)

    def _run(
        self,
        lock: Lock,
        operations: Sequence[Operation],
        on_step: Callable[[Step], object] | None,
    ) -> None:
        database = self._session.database(self._name)
        try:
            for operation in operations:
                lock.check()
                if on_step is not None:
                    on_step(operation.step(self._server))
                # Operations are idempotent: after a change of primary the same one is done again.
                for attempt in _attempts():
                    with attempt:
                        operation.apply(database)
        except ConnectionFailed as error:
            raise Interrupted(error.message, hint=error.hint) from None

    def _index(self, target: str) -> int:
        """Return how many revisions are applied once ``target`` is reached."""
        if target == BASE:
            return 0
        if target == HEAD:
            return len(self._history)
        for number, one in enumerate(self._history, start=1):
            if one.revision == target:
                return number
        raise Refused(
            f"there is no migration {target!r}",
            details=[one.revision for one in self._history],
            hint=f"name one of these, {HEAD!r} or {BASE!r}",
        )

    def _to_apply(self, index: int) -> tuple[Revision, ...]:
        pending = self.pending()
        return tuple(one for one in self._history[:index] if one in pending)

    def _to_revert(self, index: int) -> tuple[Revision, ...]:
        count = len(self.applied())
        return tuple(reversed(self._history[index:count]))

    def _plan(
        self, revision: Revision, operations: Sequence[Operation], *, count: bool = False
    ) -> Plan:
        steps = tuple(
            one.step(self._server, self._documents(one.names()) if count and one.destroys else None)
            for one in operations
        )
        return Plan(_BACKEND, revision.revision, steps)

    def _documents(self, names: Iterable[str]) -> int:
        database = self._session.database(self._name)
        with translated(f"count the documents of {self._name}"):
            return sum(database[name].count_documents({}) for name in names)

    def _refuse_foreign(self, applied: Sequence[Entry]) -> None:
        ours = {name for entry in applied for name in entry.collections}
        with translated(f"list the collections of {self._name}"):
            present = self._session.database(self._name).list_collection_names()
        foreign = sorted(
            name for name in present if name not in ours and not name.startswith("system.")
        )
        if foreign:
            raise Refused(
                f"{self._name!r} already holds {len(foreign)} collection(s) that no migration "
                "created",
                details=sampled(foreign),
                hint="name an empty database in [target.mongo] database",
            )

    def _refuse_loss(self, operations: Sequence[Operation]) -> None:
        filled = [
            f"{name}: {count} document(s)"
            for operation in operations
            if operation.destroys
            for name in operation.names()
            if (count := self._documents([name]))
        ]
        if filled:
            raise Refused(
                f"reverting would drop {len(filled)} collection(s) of {self._name!r} that hold "
                "documents",
                details=sampled(filled),
                hint="say that the data may be dropped",
            )


def _attempts() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type((ConnectionFailed, LockNotObtained)),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(max=_LONGEST_WAIT),
        reraise=True,
    )


def _names(operations: Sequence[Operation]) -> list[str]:
    return [name for operation in operations for name in operation.names()]
