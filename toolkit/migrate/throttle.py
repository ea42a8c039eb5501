"""How a run spares a live source: decisions first, then what waits by them.

Workers ask before each chunk and say afterwards how many rows it was. What the source is doing
right now comes from elsewhere (:mod:`toolkit.postgres.load`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

#: Seconds between two looks at the source, and the longest sleep: how late a stop is noticed.
POLL, STEP = 1.0, 0.1

#: Rows per chunk while something may hold a run: a hold takes effect between chunks.
_CONSIDERATE_CHUNK = 25_000


@dataclass(frozen=True)
class Limits:
    """What the operator allows; ``None`` allows everything.

    Attributes:
        rate: rows per second, all workers together.
        load: active sessions of the source, ours not counted.
        lag: seconds that a replica of the source may be behind.
        pause_file: nothing is begun while this file exists.
    """

    rate: float | None = None
    load: int | None = None
    lag: float | None = None
    pause_file: Path | None = None

    @property
    def sensed(self) -> bool:
        """Whether the source, or the file, has to be looked at."""
        return any(limit is not None for limit in (self.load, self.lag, self.pause_file))

    def chunk_rows(self, usual: int) -> int:
        """Return the rows per chunk that let these limits take effect: at most ``usual``.

        With a rate it is one second's worth, so that rows come in an even stream.
        """
        rows = min(usual, _CONSIDERATE_CHUNK) if self.sensed else usual
        return rows if self.rate is None else max(1, min(rows, int(self.rate)))


UNLIMITED = Limits()


@dataclass(frozen=True)
class Reading:
    """What was seen; ``None`` is not known, and holds nothing.

    Attributes:
        sessions: active sessions of the source.
        lag: seconds that the slowest replica is behind.
        paused: whether the pause file exists.
    """

    sessions: int | None = None
    lag: float | None = None
    paused: bool = False


def holding(limits: Limits, reading: Reading) -> str:
    """Return why nothing may begin now, empty if it may. Pure."""
    if limits.pause_file is not None and reading.paused:
        return f"paused by {limits.pause_file}"
    if limits.load is not None and reading.sessions is not None and reading.sessions > limits.load:
        return f"{reading.sessions} active sessions > {limits.load}"
    if limits.lag is not None and reading.lag is not None and reading.lag > limits.lag:
        return f"replica lag {reading.lag:.1f} s > {limits.lag:g} s"
    return ""


@dataclass(frozen=True)
class Bucket:
    """A token bucket over rows. Each step returns the next one.

    Rows that are let through in any span of time are at most ``burst`` more than the rate gives.
    A request larger than the bucket is let through when it has been paid for in full.

    Attributes:
        rate: rows per second that flow in.
        burst: rows that it holds at most.
        rows: that it holds; below zero they are owed.
        at: the moment of ``rows``, on a monotonic clock.
    """

    rate: float
    burst: float
    rows: float
    at: float

    def take(self, rows: float, now: float) -> tuple[Bucket, float]:
        """Take rows out; return the next bucket and the seconds to wait before using them."""
        filled = self._filled(now)
        left = replace(filled, rows=filled.rows - rows)
        return left, max(0.0, -left.rows / self.rate)

    def give(self, rows: float, now: float) -> Bucket:
        """Put back rows that were taken and not used; a negative number takes more."""
        filled = self._filled(now)
        return replace(filled, rows=min(self.burst, filled.rows + rows))

    def _filled(self, now: float) -> Bucket:
        rows = min(self.burst, self.rows + (now - self.at) * self.rate)
        return replace(self, rows=rows, at=now)


class Throttle:
    """Lets workers wait; all of them share one.

    Args:
        limits: what the operator allows.
        sense: looks at the source; called at most every :data:`POLL` seconds.
        clock: monotonic seconds.
        sleep: waits.
        notice: called with the reason whenever it changes, with the empty string when it ends.
    """

    def __init__(
        self,
        limits: Limits = UNLIMITED,
        sense: Callable[[], Reading] = Reading,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.limits = limits
        self._listeners = [notice]
        self._sense = sense
        self._clock = clock
        self._sleep = sleep
        self._guard = threading.Lock()
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._reason = ""
        self._held = ""
        self._looked: float | None = None
        self._bucket: Bucket | None = None

    @property
    def reason(self) -> str:
        """What the last worker waited for; empty if it did not have to."""
        return self._reason

    def listen(self, notice: Callable[[str], None]) -> None:
        """Tell somebody else the reason too, whenever it changes."""
        self._listeners.append(notice)

    def wait(self, rows: int, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Wait until some rows may be read or written.

        Args:
            rows: how many, as far as is known; :meth:`settle` corrects it. 0 waits only for what
                is owed.
            stopping: asked between short sleeps whether to give up.

        Returns:
            Whether the caller may go on; ``False`` when it is to stop.
        """
        if self.limits.rate is None and not self.limits.sensed:
            return not (stopping() or self._stopped.is_set())
        due = self._take(rows)
        waited = ""
        while not (stopping() or self._stopped.is_set()):
            reason = self._holds()
            left = due - self._clock()
            if not reason and left > 0:
                reason = f"rate {self.limits.rate:,.0f} rows/s"
            if not reason:
                self._tell(waited)
                return True
            waited = reason
            self._tell(reason)
            self._sleep(min(STEP, left) if left > 0 else STEP)
        return False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Let nobody wait any more once the block has failed: it waits for its workers then."""
        try:
            yield
        except BaseException:
            self._stopped.set()
            raise

    def settle(self, expected: int, rows: int) -> None:
        """Say how many rows it was that :meth:`wait` was asked for with ``expected``."""
        with self._guard:
            if self._bucket is not None:
                self._bucket = self._bucket.give(expected - rows, self._clock())

    def _take(self, rows: int) -> float:
        """Take rows from the bucket; return the moment from which they may be used."""
        with self._guard:
            now = self._clock()
            rate = self.limits.rate
            if rate is None:
                return now
            # Empty when the first rows are asked for, so that a whole run keeps the rate; it
            # holds one second's worth.
            bucket = self._bucket or Bucket(rate, rate, 0.0, now)
            self._bucket, seconds = bucket.take(rows, now)
            return now + seconds

    def _holds(self) -> str:
        """Return why nothing may begin, as it was seen a moment ago at most."""
        if not self.limits.sensed:
            return ""
        # One worker looks; the others go by what was seen before.
        if self._looking.acquire(blocking=self._looked is None):
            try:
                now = self._clock()
                if self._looked is None or now - self._looked >= POLL:
                    self._held = holding(self.limits, self._sense())
                    self._looked = now
            finally:
                self._looking.release()
        return self._held

    def _tell(self, reason: str) -> None:
        with self._guard:
            changed = reason != self._reason
            self._reason = reason
        if changed:
            for notice in self._listeners:
                notice(reason)
