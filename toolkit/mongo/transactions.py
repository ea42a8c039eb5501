"""Transactions that are repeated, in bounds, when the server asks for it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import pymongo
from pymongo import errors
from pymongo.client_session import ClientSession
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

#: Seconds that a transaction may be tried for, its repetitions included.
PATIENCE = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 1.0
_TO_ABORT = 2.0

_Result = TypeVar("_Result")


def transact(
    session: ClientSession, write: Callable[[], _Result], patience: float = PATIENCE
) -> _Result:
    """Run ``write`` in a transaction: snapshot reads, confirmed by a majority.

    Args:
        session: without a transaction; nobody else uses it meanwhile.
        write: what is done; called again where the whole has to be repeated.
        patience: seconds, its repetitions and the time to find a primary included.

    Returns:
        What ``write`` returned.

    Raises:
        PyMongoError: the server refused it, or did not recover in time. Whether the last commit
            happened is then not known: the journal tells.
    """
    deadline = time.monotonic() + patience
    pause = _FIRST_PAUSE
    while True:
        try:
            # Without a limit of ours the driver waits for an answer that never comes.
            with pymongo.timeout(max(0.1, deadline - time.monotonic())):
                session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
                result = write()
                _commit(session, deadline)
            return result
        except errors.PyMongoError as error:
            _abort(session)
            again = error.has_error_label("TransientTransactionError")
            if not again or time.monotonic() > deadline:
                raise
        except BaseException:
            _abort(session)
            raise
        # Jittered, so that two that are in each other's way do not meet again.
        time.sleep(pause * random.random())  # noqa: S311
        pause = min(2 * pause, _LONGEST_PAUSE)


def _commit(session: ClientSession, deadline: float) -> None:
    while True:
        try:
            session.commit_transaction()
            return
        except errors.PyMongoError as error:
            unknown = error.has_error_label("UnknownTransactionCommitResult")
            if not unknown or time.monotonic() > deadline:
                raise
            time.sleep(_FIRST_PAUSE)


def _abort(session: ClientSession) -> None:
    if session.in_transaction:
        # It ends by itself where the server cannot be told.
        with suppress(errors.PyMongoError), pymongo.timeout(_TO_ABORT):
            session.abort_transaction()
