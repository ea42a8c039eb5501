"""The named points at which a run is killed, stopped or failed: the one table of them.

The toolkit knows nothing of it: a victim (see ``victim.py``) wraps the functions that stand here
and then runs the command line. A point is the n-th time that one of its functions is about to be
called, or has returned.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Moment = Literal["before", "after"]
Mode = Literal["same", "other", "mongo"]
Start = Literal["fresh", "half-done", "changed"]

#: PostgreSQL within the source's database, on another server, and MongoDB.
MODES: tuple[Mode, ...] = ("same", "other", "mongo")


@dataclass(frozen=True)
class Failpoint:
    """A named place in a run.

    Attributes:
        name: what the campaign counts by.
        postgres: the function, as ``module:qualified.name``, on PostgreSQL; empty for none.
        mongo: the same on MongoDB.
        moment: before the call, or after it returned.
        writes: whether the run is writing rows, constraints or its journal there.
        start: what the run finds: nothing; a migration that was killed half-way; the same, and a
            source that has changed since, so that copied chunks are taken out again.
    """

    name: str
    postgres: str
    mongo: str
    moment: Moment
    writes: bool = True
    start: Start = "fresh"

    def function(self, mode: Mode) -> str:
        """Return the function on a backend; empty where the backend has no such point."""
        return self.mongo if mode == "mongo" else self.postgres


_PG = "toolkit.postgres"
_MG = "toolkit.mongo"

FAILPOINTS = (
    Failpoint(
        "before-begin",
        f"{_PG}.store:Store.begin",
        f"{_MG}.store:Store.begin",
        "before",
        writes=False,
    ),
    Failpoint(
        "after-begin", f"{_PG}.store:Store.begin", f"{_MG}.store:Store.begin", "after", writes=False
    ),
    Failpoint(
        "between-takedowns",
        f"{_PG}.takedown:_drop",
        "pymongo.collection:Collection.drop_index",
        "before",
    ),
    Failpoint(
        "before-rows", f"{_PG}.copy:Worker.copy", f"{_MG}.copy:Worker.copy", "before", writes=False
    ),
    Failpoint("mid-stream", "psycopg:Copy.write", f"{_MG}.copy:Worker._insert", "before"),
    Failpoint(
        "between-rows-and-checkpoint",
        f"{_PG}.store:Store.checkpoint",
        f"{_MG}.store:Store.checkpoint",
        "before",
    ),
    Failpoint(
        "between-checkpoint-and-commit",
        f"{_PG}.store:Store.checkpoint",
        f"{_MG}.store:Store.checkpoint",
        "after",
    ),
    Failpoint("after-commit", f"{_PG}.copy:Worker.copy", f"{_MG}.copy:Worker.copy", "after"),
    Failpoint(
        "before-looking-for-changes",
        f"{_PG}.source:Source.changes",
        f"{_PG}.source:Source.changes",
        "before",
        writes=False,
    ),
    Failpoint(
        "before-key-tables",
        f"{_PG}.target:PostgresTarget._fill_key_tables",
        f"{_MG}.load:fill_key_collections",
        "before",
    ),
    Failpoint(
        "between-key-tables", f"{_PG}.keytables:KeyTable.fill", f"{_MG}.load:_keys", "before"
    ),
    Failpoint(
        "before-put-back", f"{_PG}.putback:PutBack.run", f"{_MG}.load:create_indexes", "before"
    ),
    Failpoint(
        "during-put-back",
        f"{_PG}.putback:_restore_leaves",
        "pymongo.collection:Collection.create_indexes",
        "before",
    ),
    Failpoint(
        "after-put-back", f"{_PG}.putback:PutBack.run", f"{_MG}.load:create_indexes", "after"
    ),
    Failpoint("before-sequences", f"{_PG}.target:PostgresTarget._set_sequences", "", "before"),
    Failpoint("after-sequences", f"{_PG}.target:PostgresTarget._set_sequences", "", "after"),
    Failpoint(
        "before-finish", f"{_PG}.store:Store.advance", f"{_MG}.store:Store.advance", "before"
    ),
    Failpoint("after-finish", f"{_PG}.store:Store.advance", f"{_MG}.store:Store.advance", "after"),
    Failpoint(
        "resume-before-epoch",
        f"{_PG}.store:Store.resume",
        f"{_MG}.store:Store.resume",
        "before",
        start="half-done",
    ),
    Failpoint(
        "resume-after-epoch",
        f"{_PG}.store:Store.resume",
        f"{_MG}.store:Store.resume",
        "after",
        start="half-done",
    ),
    Failpoint(
        "resume-between-rows-and-checkpoint",
        f"{_PG}.store:Store.checkpoint",
        f"{_MG}.store:Store.checkpoint",
        "before",
        start="half-done",
    ),
    Failpoint(
        "resume-before-digests",
        f"{_PG}.target:PostgresTarget._by_transaction",
        f"{_MG}.target:MongoTarget.stale",
        "before",
        writes=False,
        start="changed",
    ),
    Failpoint(
        "resume-before-taking-out",
        f"{_PG}.target:PostgresTarget.take_out",
        f"{_MG}.target:MongoTarget.take_out",
        "before",
        start="changed",
    ),
    Failpoint(
        "resume-between-reopening-and-taking-out",
        f"{_PG}.store:Store.reopen",
        f"{_MG}.store:Store.reopen",
        "after",
        start="changed",
    ),
    Failpoint(
        "resume-after-taking-out",
        f"{_PG}.target:PostgresTarget.take_out",
        f"{_MG}.target:MongoTarget.take_out",
        "after",
        start="changed",
    ),
)

BY_NAME = {point.name: point for point in FAILPOINTS}


@dataclass(frozen=True)
class Trap:
    """What a victim does at one place.

    Attributes:
        function: as in :class:`Failpoint`.
        moment: as in :class:`Failpoint`.
        call: the how-manieth time, from 1; 0 for never, which only counts.
        action: ``kill`` and ``stop`` are SIGKILL and SIGSTOP to itself; ``count`` does nothing.
        counts: a file that gets a byte for every call; empty for none.
    """

    function: str
    moment: Moment
    call: int
    action: Literal["kill", "stop", "count"] = "kill"
    counts: str = ""

    def document(self) -> dict[str, Any]:
        """Return what ``Trap(**...)`` takes."""
        return asdict(self)


def install(trap: Trap) -> None:
    """Wrap the trap's function in this process.

    It is wrapped where it is defined: that is where its callers have to look it up.
    """
    module_name, _, path = trap.function.partition(":")
    holder: Any = importlib.import_module(module_name)
    *parents, name = path.split(".")
    for parent in parents:
        holder = getattr(holder, parent)
    original: Callable[..., Any] = getattr(holder, name)
    guard, calls = threading.Lock(), 0

    def reached() -> None:
        nonlocal calls
        with guard:
            calls += 1
            mine = calls
        if trap.counts:
            with Path(trap.counts).open("ab") as file:
                file.write(b".")
        if mine != trap.call:
            return
        if trap.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif trap.action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)

    @functools.wraps(original)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        if trap.moment == "before":
            reached()
            return original(*arguments, **named)
        result = original(*arguments, **named)
        reached()
        return result

    setattr(holder, name, wrapper)
