"""Keeps in the journal who ran a migration, when, how long, and how it ended.

A start is noted before it works and completed when it ends, so that one that was killed is seen by
its missing end. A start that is refused before there is a journal leaves nothing: it promised to
write nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import psycopg

from toolkit import __version__
from toolkit.config import Configuration
from toolkit.errors import (
    Interrupted,
    LockNotObtained,
    Refused,
    RegionkitError,
    StoppedByUser,
    UsageError,
)
from toolkit.journal import Outcome, Run, RunRecord
from toolkit.migrate.target import Target
from toolkit.postgres.session import translate
from toolkit.postgres.store import operator


class History:
    """One start of a migration.

    Args:
        target: whose journal keeps it.
        fingerprint: of the configuration.
    """

    def __init__(self, target: Target, fingerprint: str) -> None:
        self._target = target
        self._record = RunRecord(
            uuid.uuid4().hex, operator(), os.getpid(), __version__, fingerprint
        )
        self._begun = False

    def begin(self) -> None:
        """Note the start, where a migration is known already."""
        if self._target.run() is not None:
            self._write()

    def copying(self, run: Run, expected: int) -> None:
        """Note that the start has passed every guard, and what lies before it.

        Args:
            run: as ``begin`` or ``resume`` of the target returned it.
            expected: rows of the source.
        """
        self._record = replace(self._record, epoch=run.epoch, expected=expected)
        self._write()

    def throttled(self, reason: str) -> None:
        """Note what holds the start back now; the empty string: nothing."""
        # A note that cannot be made is no reason to stop.
        with suppress(RegionkitError, psycopg.Error):
            self._target.note_run(self._record, reason)

    def end(self, outcome: Outcome, code: int, rows: int) -> None:
        """Note the end."""
        if self._begun:
            self._target.end_run(self._record, outcome, code, rows)

    def _write(self) -> None:
        self._target.begin_run(self._record)
        self._begun = True


def outcome_of(error: BaseException) -> tuple[Outcome, int]:
    """Return how a start ended that an exception ended, and the command's exit code. Pure."""
    if isinstance(error, KeyboardInterrupt):
        return Outcome.interrupted, StoppedByUser.exit_code
    if isinstance(error, psycopg.Error):
        error = translate(error)
    if not isinstance(error, RegionkitError):
        return Outcome.failed, RegionkitError.exit_code
    if isinstance(error, StoppedByUser | Interrupted):
        return Outcome.interrupted, error.exit_code
    if isinstance(error, Refused | UsageError):
        return Outcome.refused, error.exit_code
    return Outcome.failed, error.exit_code


def fingerprint(project: Configuration) -> str:
    """Return a digest of what the configuration decides: runs with the same decided alike."""
    decisions = json.dumps(project.decisions(), sort_keys=True)
    return hashlib.sha256(decisions.encode()).hexdigest()


@contextmanager
def recorded(
    target: Target, project: Configuration, copied: Callable[[], int]
) -> Iterator[History]:
    """Keep one start of a migration in the journal; hold the target's lock around it.

    Args:
        target: of the migration.
        project: the operator's configuration.
        copied: returns how many rows this start has copied, when it ends.
    """
    history = History(target, fingerprint(project))
    history.begin()
    try:
        yield history
    except LockNotObtained:
        # Another run has taken over: this one writes nothing more, not even that.
        raise
    except BaseException as error:
        try:
            history.end(*outcome_of(error), copied())
        except (RegionkitError, psycopg.Error):
            # The server that failed the run fails this too; the run then has no end.
            raise error from None
        raise
    history.end(Outcome.finished, 0, copied())
