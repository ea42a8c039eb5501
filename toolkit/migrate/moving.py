"""Moves clients from region to region, one at a time, each of them proven.

The engine knows neither SQL nor BSON. It checks every key before the first move, so that nothing is
half applied; it repeats a move that met another session, within bounds; it counts, waits and stops.
A backend moves one client and proves it, in one transaction, or so that running it again after any
stop goes on: :class:`Mover`. What is there already is left alone, so that the same list is simply
given again.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from toolkit import __version__
from toolkit.clients import CollisionError, GoneError, Moved, Note, Residence, Whereabouts
from toolkit.errors import Interrupted, LockNotObtained, Refused, UsageError, sampled
from toolkit.journal import Key
from toolkit.postgres.store import operator

#: How often a move is tried that meets other sessions, and the pauses between, in seconds.
_ATTEMPTS, _FIRST_PAUSE, _LONGEST_PAUSE = 12, 0.02, 1.0

#: The longest sleep: how late a stop is noticed.
_STEP = 0.1


class Mover(Protocol):
    """Open connections to one layout, by which clients are found and moved."""

    def regions(self) -> tuple[str, ...]:
        """Return the regions that clients can live in now."""
        ...

    def residences(self, keys: Sequence[Key]) -> list[Residence | None]:
        """Return where clients live, in the order of ``keys``; ``None`` for one that is unknown."""
        ...

    def residents(self, region: str) -> list[Key]:
        """Return the clients of a region, those included that are on their way from there."""
        ...

    def whereabouts(self, residence: Residence) -> Whereabouts:
        """Return what a client has, and what leads to and from it."""
        ...

    def move(self, residence: Residence, region: str, note: Note) -> Moved:
        """Move a client with everything that it has, prove it, and note it in the journal.

        Raises:
            CollisionError: another session was in the way; nothing was written.
            GoneError: the client does not live there any more; nothing was written.
            VerificationFailed: what arrived is not what was there; it was undone.
        """
        ...


class Clients(Protocol):
    """The clients of one layout."""

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        ...

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of a client's key."""
        ...

    def require_whole(self) -> None:
        """Refuse a layout that is not applied, or that a migration has not finished filling."""
        ...

    def alone(self, wait: float) -> AbstractContextManager[object]:
        """Keep every other move out.

        Args:
            wait: seconds to go on trying.

        Raises:
            LockNotObtained: somebody else moves clients.
        """
        ...

    def open(self) -> AbstractContextManager[Mover]:
        """Connect."""
        ...


@dataclass(frozen=True)
class Moves:
    """What became of the clients of one run.

    Attributes:
        asked: how many different clients were named.
        already: how many of them lived there before.
        clients: how many were moved; of a dry run, how many would be.
        rows: that went along, by table.
        references: rows elsewhere that learnt the new region.
        origins: how many clients came from each region.
        retries: how often a move was tried again.
        transactions: of all moves.
        busy: clients that other sessions did not let go, by their place in the list, from 1.
        stopped: whether the operator ended it before all were moved.
        seconds: of each move, its retries included.
    """

    asked: int
    already: int = 0
    clients: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    references: int = 0
    origins: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    transactions: int = 0
    busy: tuple[int, ...] = ()
    stopped: bool = False
    seconds: tuple[float, ...] = ()

    @property
    def left(self) -> int:
        """How many clients are still to be moved."""
        return self.asked - self.already - self.clients


@dataclass(frozen=True)
class Pace:
    """How a run of moves goes on.

    Attributes:
        rate: clients per second; ``None`` is as fast as it goes.
        wait: seconds to wait for another command that moves clients.
        progress: called with how many are done, and of how many.
        stop: asked between two clients: whether to end here.
    """

    rate: float | None = None
    wait: float = 0.0
    progress: Callable[[int, int], None] = lambda done, total: None
    stop: Callable[[], bool] = lambda: False


def where(clients: Clients, key: Key) -> Whereabouts:
    """Return where a client lives and what it has; write nothing.

    Raises:
        Refused: there is no such client, or the layout is not whole.
    """
    clients.require_whole()
    with clients.open() as mover:
        (residence,) = mover.residences([key])
        if residence is None:
            raise _unknown(clients, [1], 1)
        return mover.whereabouts(residence)


def move(
    clients: Clients,
    keys: Iterable[Key],
    to: str,
    *,
    dry_run: bool = False,
    pace: Pace | None = None,
) -> Moves:
    """Move clients to a region; those that are there already are left alone.

    Args:
        clients: of one layout.
        keys: of the clients, each as its columns are printed.
        to: the region.
        dry_run: count what would be moved, and write nothing.
        pace: how it goes on.

    Raises:
        Refused: a client is unknown, or on its way to another region; nothing was written. Its
            place in the list is named, never its key.
        UsageError: there is no such region, or no client was named.
        LockNotObtained: another command moves clients.
        VerificationFailed: a move was not proven; it was undone, and those before it stand.
        Interrupted: a server failed; those that were moved stand.
    """
    clients.require_whole()
    pace = pace or Pace()
    if dry_run:
        with clients.open() as mover:
            return _forecast(mover, _decide(clients, mover, list(keys), to))
    with clients.alone(pace.wait), clients.open() as mover:
        return _run(mover, _decide(clients, mover, list(keys), to), to, pace)


def check(clients: Clients, keys: Iterable[Key], to: str) -> int:
    """Refuse what :func:`move` would refuse; return how many clients it would move.

    Raises:
        RegionkitError: as :func:`move` does.
    """
    clients.require_whole()
    with clients.open() as mover:
        return len(_decide(clients, mover, list(keys), to).left)


def move_all(clients: Clients, region: str, to: str, *, pace: Pace | None = None) -> Moves:
    """Move every client of a region to another one.

    Raises:
        RegionkitError: as :func:`move` does.
    """
    clients.require_whole()
    pace = pace or Pace()
    with clients.alone(pace.wait), clients.open() as mover:
        keys = mover.residents(region)
        if not keys:
            return Moves(0)
        return _run(mover, _decide(clients, mover, keys, to), to, pace)


@dataclass(frozen=True)
class _Decided:
    """The clients of a run: how many were named, and those to move with their place in the list."""

    asked: int
    left: tuple[tuple[int, Residence], ...]


def _decide(clients: Clients, mover: Mover, keys: list[Key], to: str) -> _Decided:
    """Check every key, so that nothing is moved before all of them can be."""
    regions = mover.regions()
    if to not in regions:
        raise UsageError(
            f"{to!r} is no region of {clients.place}",
            details=[f"there are: {', '.join(regions)}"],
            hint="name one of them",
        )
    if not keys:
        raise UsageError("no client is named", hint="name keys, or a file of keys with --file")
    residences = mover.residences(keys)
    unknown = [place for place, one in enumerate(residences, 1) if one is None]
    if unknown:
        raise _unknown(clients, unknown, len(keys))
    # Two ways to write one key are one client.
    found: dict[Key, tuple[int, Residence]] = {}
    for place, one in enumerate(residences, 1):
        if one is not None:
            found.setdefault(one.key, (place, one))
    elsewhere = [
        f"number {place}: to {one.moving_to!r}"
        for place, one in found.values()
        if one.moving_to not in (None, to)
    ]
    if elsewhere:
        raise Refused(
            f"{len(elsewhere)} client(s) are on their way to another region: a move has stopped "
            "half-way",
            details=sampled(elsewhere),
            hint="finish that move first, by 'regionkit client move KEY --to' that region",
        )
    left = tuple(
        (place, one)
        for place, one in found.values()
        if one.region != to or one.moving_to is not None
    )
    return _Decided(len(found), left)


def _unknown(clients: Clients, places: Sequence[int], total: int) -> Refused:
    if total == 1:
        return Refused(
            f"there is no such client in {clients.place}",
            hint=f"give the value of {', '.join(clients.key_columns)} as the database prints it",
        )
    return Refused(
        f"{len(places)} of {total} clients do not exist in {clients.place}; nothing was moved",
        details=sampled([f"number {place}" for place in places]),
        hint="take these out of the list, then run the same command again",
    )


def _forecast(mover: Mover, decided: _Decided) -> Moves:
    rows: dict[str, int] = {}
    origins: dict[str, int] = {}
    references = 0
    for _, residence in decided.left:
        found = mover.whereabouts(residence)
        _add(rows, found.rows)
        _add(origins, {residence.region: 1})
        references += sum(one.rows for one in found.incoming)
    return Moves(
        decided.asked,
        decided.asked - len(decided.left),
        len(decided.left),
        rows,
        references,
        origins,
    )


def _run(mover: Mover, decided: _Decided, to: str, pace: Pace) -> Moves:
    note = Note(uuid.uuid4().hex, operator(), __version__)
    rows: dict[str, int] = {}
    origins: dict[str, int] = {}
    seconds: list[float] = []
    busy: list[int] = []
    references = retries = transactions = already = 0
    stopped = False
    due = time.monotonic()
    for done, (place, residence) in enumerate(decided.left):
        pace.progress(done, len(decided.left))
        if pace.rate is not None:
            _sleep_until(due, pace.stop)
            due = max(due, time.monotonic() - 1 / pace.rate) + 1 / pace.rate
        if pace.stop():
            stopped = True
            break
        began = time.monotonic()
        moved, tried = _moved(mover, residence, to, note, pace.stop)
        retries += tried
        if moved is None:
            busy.append(place)
            continue
        retries += moved.repeats
        if moved.transactions == 0:
            already += 1
            continue
        seconds.append(time.monotonic() - began)
        _add(rows, moved.rows)
        _add(origins, {moved.residence.region: 1})
        references += moved.references
        transactions += moved.transactions
    else:
        pace.progress(len(decided.left), len(decided.left))
    return Moves(
        decided.asked,
        decided.asked - len(decided.left) + already,
        len(seconds),
        rows,
        references,
        origins,
        retries,
        transactions,
        tuple(busy),
        stopped,
        tuple(seconds),
    )


def _moved(
    mover: Mover, residence: Residence, to: str, note: Note, stop: Callable[[], bool]
) -> tuple[Moved | None, int]:
    """Move one client; return what was moved, ``None`` if others kept it, and the retries."""
    pause = _FIRST_PAUSE
    for attempt in range(_ATTEMPTS):
        try:
            return mover.move(residence, to, note), attempt
        except CollisionError as error:
            if attempt == _ATTEMPTS - 1:
                if error.broken:
                    raise Refused(
                        f"a row keeps a client from moving: {error.reason}",
                        hint="'regionkit verify' finds rows that lead nowhere",
                    ) from None
                break
        except GoneError:
            # Somebody else has moved it, or deleted it.
            (found,) = mover.residences([residence.key])
            if found is None:
                raise Interrupted(
                    "a client was deleted while clients were moved",
                    hint="run the same command again without it: who was moved is found there",
                ) from None
            if found.region == to and found.moving_to is None:
                return Moved(found, to, {}, transactions=0), attempt
            residence = found
        # Jittered, so that two that are in each other's way do not meet again.
        _sleep_until(time.monotonic() + pause * random.random(), stop)  # noqa: S311
        pause = min(2 * pause, _LONGEST_PAUSE)
    return None, _ATTEMPTS - 1


def require_moved(moves: Moves) -> None:
    """Raise for what a run has left undone.

    Raises:
        LockNotObtained: other sessions did not let clients go.
    """
    if moves.busy:
        raise LockNotObtained(
            f"{len(moves.busy)} client(s) were not moved: other sessions did not let them go",
            details=sampled([f"number {place}" for place in moves.busy]),
            hint="run the same command again: who was moved is found there",
        )


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count


def _sleep_until(due: float, stop: Callable[[], bool]) -> None:
    while (left := due - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, _STEP))
