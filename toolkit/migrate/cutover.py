"""The cutover: in which order its steps come, and what happens when one of them fails.

Until the switch is committed everything can be undone, and is: whatever stops a cutover, the
source is as it was before, or, if the process was killed, frozen, with a journal from which the
next start goes on or goes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import psycopg

from toolkit.config import Configuration
from toolkit.errors import (
    Interrupted,
    LockNotObtained,
    Refused,
    RegionkitError,
    StoppedByUser,
    UsageError,
    VerificationFailed,
    sampled,
)
from toolkit.layout import Layout
from toolkit.migrate import engine
from toolkit.migrate.forecast import Forecast
from toolkit.migrate.progress import Progress, Watcher
from toolkit.migrate.target import Target
from toolkit.migrate.verification import Verdict, verify
from toolkit.postgres import dependents, freeze, session, switch
from toolkit.postgres.cutover import OVER, Entry, Journal, Names, State
from toolkit.postgres.dependents import Dependent
from toolkit.postgres.freeze import LockBudget
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source

#: The steps, in their order: what is done, and whether writes are refused meanwhile.
STEPS = (
    ("catch up", "copy what changed since the migration; nothing is refused yet"),
    ("freeze", "take the privilege to write, refuse writes by trigger, wait for writers to end"),
    ("last changes", "copy what changed since the catching up"),
    ("verify", "compare every cell of source and layout"),
    ("sequences", "let no sequence hand out a number twice"),
    ("switch", "rename the schemas, grant the privileges; or say where the data live now"),
)

_AGAIN = "run 'regionkit cutover' again to go on, or 'regionkit cutover --rollback' to go back"


@dataclass(frozen=True)
class Options:
    """What the operator asked for.

    Attributes:
        rename: whether to rename the schemas; ``None`` does so where that is possible.
        keep_as: the name that the source's schema gets; ``None`` for ``<source>_single``.
        locks: how long locks are tried for.
        quarantine: cut over without the clients that cannot be moved.
    """

    rename: bool | None = None
    keep_as: str | None = None
    locks: LockBudget = field(default_factory=LockBudget)
    quarantine: bool = False


@dataclass(frozen=True)
class Plan:
    """What a cutover would do. Nothing has been written.

    Attributes:
        keep_as: the name that the source's schema gets, ``None`` if nothing is renamed.
        unfinished: a cutover that stopped half-way, and would be gone on with.
        left: clients that stay in the source, with all their rows.
        dependents: what the switch would surprise.
    """

    keep_as: str | None
    unfinished: Entry | None
    left: int
    dependents: list[Dependent]


@dataclass(frozen=True)
class Outcome:
    """What a cutover, or its rollback, did.

    Attributes:
        entry: where it stands.
        steps: with the seconds that each took, ``None`` for one that was not finished.
    """

    entry: Entry
    steps: list[tuple[str, float | None]]


@dataclass(frozen=True)
class Cutover:
    """One cutover from a source to a target.

    Attributes:
        source: the source, under the names of now.
        target: the target, under the names of now.
        layout: the decisions.
        project: the operator's configuration.
        require_equal: raises unless the verdict is "equal".
        refused: is given the forecast where rows cannot be moved, so that keys can be kept.
        report: receives a line for each step and for each obstacle.
        watcher: receives what the copying does.
        options: what the operator asked for.
    """

    source: Source
    target: Target
    layout: Layout
    project: Configuration
    require_equal: Callable[[Verdict], None]
    refused: Callable[[Forecast], None]
    report: Callable[[str], None]
    watcher: Watcher
    options: Options

    # Going forward -----------------------------------------------------------------------------

    def plan(self) -> Plan:
        """Return what :meth:`run` would do, and stop. Writes nothing, anywhere.

        Raises:
            Refused: it would refuse, too.
        """
        with session.connect(self.source.url, role="source") as connection:
            return self._plan(connection)

    def _plan(self, connection: Connection) -> Plan:
        _, *more = self.project.source_schemas
        if more:
            raise Refused(
                f"the source has {1 + len(more)} schemas, and a cutover freezes and renames one",
                details=[f"{name!r} would still be written to" for name in more],
                hint="stop the application, run 'regionkit migrate' and 'regionkit verify', and "
                "let it use the layout's names (docs/cutover.md)",
            )
        last = self._journal.last(connection)
        if last is not None and last.state is State.switched:
            raise Refused(
                f"{last.source!r} was cut over to {last.place} by {last.started_by} at "
                f"{last.started_at:%Y-%m-%d %H:%M:%S}",
                hint="'regionkit cutover --rollback' goes back, until the first write",
            )
        if last is not None and last.state is State.frozen:
            if last.place != self.target.place:
                raise Refused(
                    f"a cutover to {last.place} stopped half-way, and {last.source!r} is frozen",
                    hint=f"go on with it ('--backend {last.backend}'), or go back: 'regionkit "
                    "cutover --rollback'",
                )
            if self.options.keep_as not in (None, last.keep_as):
                raise Refused(
                    f"the cutover that stopped half-way keeps {last.source!r} as {last.keep_as!r}",
                    hint=_AGAIN,
                )
            keep_as, unfinished = last.keep_as, last
        else:
            keep_as, unfinished = self._keep_as(), None
            if last is None or last.state in OVER:
                self._require_copied()
            if keep_as is not None:
                switch.require_able(connection, self._names, keep_as)
        found = dependents.dependents(connection, self._names, keep_as)
        return Plan(keep_as, unfinished, self._left(), found)

    def _require_copied(self) -> None:
        """Refuse a migration that has not come to an end.

        One that ended with "the source changed" has: what changed is copied under the freeze.
        """
        run = self.target.run()
        if run is None or any(rows is None for _, rows in self.target.chunks()):
            backend = self.target.backend
            raise Refused(
                f"the migration into {self.target.place} is not finished",
                hint=f"run 'regionkit migrate --backend {backend}', then 'regionkit verify "
                f"--backend {backend}'",
            )

    def _left(self) -> int:
        left = self.target.quarantine()
        if left and not self.options.quarantine:
            raise Refused(
                f"{len(left)} client(s) are in quarantine: they would stay behind, frozen",
                details=sampled([f"{', '.join(one.client)}: {one.reason}" for one in left]),
                hint="mend them and run 'regionkit migrate', or pass --with-quarantine",
            )
        return len(left)

    def _keep_as(self) -> str | None:
        possible = self.target.lies_in(self.source)
        if self.options.rename and not possible:
            raise UsageError(
                f"{self.target.place} is not in the source's database: there is nothing to rename",
                hint="pass --switch none; the application has to connect elsewhere afterwards",
            )
        if not possible or self.options.rename is False:
            return None
        return self.options.keep_as or f"{self.project.source_schema}_single"

    def run(self) -> Outcome:
        """Cut over.

        Raises:
            LockNotObtained: writers did not come to an end in time; undone.
            VerificationFailed: source and target differ under the freeze; undone.
            Refused: something has to be decided first.
            Interrupted: a server failed; undone, or frozen: the message says which.
            StoppedByUser: Ctrl-C; undone.
        """
        with self._exclusive() as guard:
            plan = self._plan(guard)
            self._journal.create(guard)
            entry = plan.unfinished or self._begin(guard, plan)
            try:
                if entry.state is State.preparing:
                    with self._step(guard, entry, "catch up"):
                        self._migrate(catching_up=True)
                self._frozen(guard, entry)
            except BaseException as error:
                if not self._undone(error, entry):
                    raise
            self._journal.refused_until_now(guard, entry)
            return self._outcome(guard)

    def _begin(self, guard: Connection, plan: Plan) -> Entry:
        last = self._journal.last(guard)
        if last is not None and last.state not in OVER:
            self._clean(guard, last)
        return self._journal.begin(
            guard,
            target=self.project.target_schema,
            backend=self.target.backend,
            place=self.target.place,
            keep_as=plan.keep_as,
        )

    def _migrate(self, *, catching_up: bool = False) -> None:
        try:
            engine.migrate(
                self.source,
                self.target,
                self.layout,
                self.project,
                Progress(self.watcher),
                quarantine=self.options.quarantine,
                refused=self.refused,
            )
        except VerificationFailed:
            # The source is written to while it is read: that is what the freeze is for.
            if not catching_up:
                raise

    def _frozen(self, guard: Connection, entry: Entry) -> None:
        """Do what is done while writes are refused; the switch ends it."""
        schema, locks, journal = self._names.source, self.options.locks, self._journal
        with session.connect(self.source.url, role="source") as holder:
            freeze.durable_session(holder)
            if entry.state is State.preparing:
                caught_up = freeze.now(guard)

                def attempt(wait: float) -> None:
                    if entry.keep_as is not None:
                        freeze.await_readers(guard, caught_up, wait)
                    freeze.freeze(holder, journal, entry, schema, wait)

                with self._step(guard, entry, "freeze"):
                    self._within(schema, attempt)
            with freeze.held(holder, self.source.url, schema, locks, self.report):
                with self._step(guard, entry, "last changes"):
                    self._migrate()
                copied = freeze.now(guard)
                with self.target.lock():
                    with self._step(guard, entry, "verify"), closing(self._verify()) as verdict:
                        self.require_equal(verdict)
                    with self._step(guard, entry, "sequences"):
                        self.target.follow_sequences(guard, schema)
                    with self._step(guard, entry, "switch"):
                        moment = self.target.moment()
                        journal.verified(holder, entry, verdict.rows, moment)
                        if entry.keep_as is not None:
                            self._within(
                                schema, lambda wait: freeze.await_readers(guard, copied, wait)
                            )
                            switch.switch(holder, journal, entry, self._names, self.layout)
                        journal.advance(holder, entry, State.switched)
                        holder.commit()
                        journal.refused_until_now(guard, entry)

    # Going back --------------------------------------------------------------------------------

    def _undone(self, error: BaseException, entry: Entry) -> bool:
        """Undo a freeze, whatever ended it; return whether the switch was made all the same.

        Raises:
            StoppedByUser: Ctrl-C.
            Interrupted: it could not be undone, or a server failed.
        """
        try:
            with session.connect(self.source.url, role="source") as connection:
                self._journal.settle(connection)
                now = self._journal.last(connection)
                assert now is not None and now.id == entry.id
                if now.state is State.switched:
                    # Its confirmation was lost on the way, or Ctrl-C came too late.
                    return True
                self._clean(connection, now)
                now = self._journal.last(connection)
        except LockNotObtained as obstacle:
            raise Interrupted(
                obstacle.message,
                details=[f"the cutover stopped because {error}", *obstacle.details],
                hint=obstacle.hint,
            ) from error
        except (RegionkitError, psycopg.Error, KeyboardInterrupt):
            raise Interrupted(
                "the cutover stopped, and undoing it did, too: the source may still be frozen",
                hint=_AGAIN,
            ) from error
        assert now is not None
        seconds = now.refused_seconds
        took = f"; writes were refused for {seconds:.3f} s" if seconds is not None else ""
        self.report(f"undone: the source is as it was before{took}")
        if isinstance(error, KeyboardInterrupt | StoppedByUser):
            raise StoppedByUser(
                "stopped; the source is as it was before",
                hint="run 'regionkit cutover' again when it suits",
            ) from None
        if isinstance(error, psycopg.OperationalError):
            raise Interrupted(
                f"the cutover stopped and was undone: {session.first_line(error)}",
                hint="run 'regionkit cutover' again",
            ) from None
        return False

    def _clean(self, connection: Connection, entry: Entry) -> None:
        """Undo what a cutover that did not switch has done."""
        self._journal.create(connection)
        schema = entry.names.source
        if entry.state is State.frozen:
            try:
                self._within(schema, lambda wait: self._thaw(connection, entry, schema, wait))
            except LockNotObtained as error:
                raise LockNotObtained(
                    f"{entry.source!r} is still frozen: {error.message}",
                    details=error.details,
                    hint="run 'regionkit cutover --rollback' again",
                ) from None
        if entry.state is not State.preparing:
            self._drop_triggers(connection, schema)
        over = State.undone if entry.moment is None else State.rolled_back
        self._journal.advance(connection, entry, over)

    def _thaw(self, connection: Connection, entry: Entry, schema: str, wait: float) -> None:
        with connection.transaction():
            freeze.thaw(connection, self._journal, entry, schema, wait)

    def _drop_triggers(self, connection: Connection, schema: str) -> None:
        try:
            self._within(schema, lambda wait: freeze.drop_triggers(connection, schema, wait))
        except LockNotObtained as error:
            raise LockNotObtained(
                "writes are possible again, but the disabled triggers could not be dropped: "
                f"{error.message}",
                details=error.details,
                hint="run 'regionkit cutover --rollback' when the readers are done",
            ) from None

    def _within(self, schema: str, attempt: Callable[[float], None]) -> None:
        freeze.within(self.options.locks, self.source.url, schema, attempt, self.report)

    def roll_back(self) -> Outcome:
        """Go back to the source: before the switch always, after it until the first write.

        Raises:
            Refused: there is nothing to go back from, or the target was written to.
            LockNotObtained: locks were not to be had; run it again.
        """
        with self._exclusive() as guard:
            entry = self._journal.last(guard)
            if entry is None:
                raise Refused(
                    f"there was no cutover of {self.project.source_schema!r}",
                    hint="nothing has to be rolled back",
                )
            if entry.state is State.switched:
                with self._step(guard, entry, "roll back"):
                    self._switch_back(guard, entry)
                entry = self._journal.last(guard)
                assert entry is not None
            if entry.state not in OVER:
                with self._step(guard, entry, "clean up"):
                    self._clean(guard, entry)
            return self._outcome(guard)

    def _switch_back(self, guard: Connection, entry: Entry) -> None:
        locks = self.options.locks
        with self.target.still(entry.moment or "", entry.rows or {}, locks.each) as written:
            if written is None:
                with closing(self._verify()) as verdict:
                    written = [str(finding) for finding in verdict.findings]
            if written:
                raise Refused(
                    f"the layout was written to since the switch ({len(written)} table(s)): going "
                    "back would lose it",
                    details=sampled(written),
                    hint="the layout is what counts now; its rows would have to be copied back",
                )

            def attempt(wait: float) -> None:
                with guard.transaction():
                    if entry.keep_as is not None:
                        switch.switch_back(guard, self._journal, entry)
                    freeze.thaw(guard, self._journal, entry, entry.source, wait)

            self._within(entry.names.source, attempt)

    # What both need ----------------------------------------------------------------------------

    def _verify(self) -> Verdict:
        return verify(
            self.source,
            self.target,
            self.layout,
            self.project,
            progress=lambda name: self.report(f"comparing {name}"),
        )

    @property
    def _journal(self) -> Journal:
        return Journal(self.project.source_schema)

    @property
    def _names(self) -> Names:
        return Names(self.project.source_schema, self.project.target_schema)

    @contextmanager
    def _exclusive(self) -> Iterator[Connection]:
        name = f"cutover {self.project.source_schema}"
        with session.exclusive(self.source.url, role="source", name=name) as connection:
            self._journal.settle(connection)
            yield connection

    @contextmanager
    def _step(self, guard: Connection, entry: Entry, name: str) -> Iterator[None]:
        self.report(name)
        with self._journal.step(guard, entry, name):
            yield

    def _outcome(self, guard: Connection) -> Outcome:
        entry = self._journal.last(guard)
        assert entry is not None
        return Outcome(entry, self._journal.steps(guard, entry))
