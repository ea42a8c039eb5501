"""An open-loop load: requests start on schedule, whatever the server does.

A closed loop (send, wait, send) lets a slow server slow the questions down, and so hides its worst
moments. Here request ``i`` is due at ``i / rate`` seconds after the start. Every request has two
times: the *service time* from its real start, and the time *from the intended start*, which is
what somebody who came on time had to wait. They part when a server cannot keep up.

What is compared runs in one schedule: every *lane* (one write on one layout) has one request in
each round, in an order that is drawn anew for each round, so that all lanes see the same machine
in the same minute and none always follows the same other.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from toolkit.checks.histogram import Distribution
from toolkit.errors import UsageError

#: A start this much after its intended time is late, unless requests follow each other more slowly.
_LATE = 0.001

#: Requests that are due at the very end may still start this long after it.
_SLACK = 0.1

#: Seconds that requests which have started get to finish, once the time is over.
PATIENCE = 15.0

#: How many requests one run may consist of.
MOST_REQUESTS = 1_000_000

#: Share of the scheduled requests that must have started in time for the rate to count as reached.
_REACHED = 0.98


@dataclass(frozen=True)
class Pace:
    """How hard, how long, and with how many hands.

    Attributes:
        rate: requests per second, of each lane.
        duration: seconds that count.
        warmup: seconds before them, which do not.
        workers: how many requests can be under way at once.
        seed: of the order in each round.
    """

    rate: float
    duration: float
    warmup: float
    workers: int
    seed: int = 1


@dataclass(frozen=True)
class Request:
    """One request of a schedule.

    Attributes:
        due: seconds after the start.
        lane: which lane.
        turn: the number of this request among those of its lane.
        counted: whether it comes after the warm-up.
    """

    due: float
    lane: int
    turn: int
    counted: bool


@dataclass(frozen=True)
class Schedule:
    """Every request of a run, in the order in which they are due. Pure.

    Attributes:
        pace: what was asked for.
        requests: all of them.
        rounds: requests of each lane; their turns count from 0.
        seconds: how long the requests that count are spread over.
        end: seconds after the start at which no request begins any more.
        late_after: seconds after its intended start from which a request counts as late.
    """

    pace: Pace
    requests: tuple[Request, ...]
    rounds: int
    seconds: float
    end: float
    late_after: float


def schedule(pace: Pace, lanes: int) -> Schedule:
    """Lay out a run.

    Raises:
        UsageError: it has no end in sight, or nothing to do.
    """
    if min(pace.rate, pace.duration, pace.workers, lanes) <= 0 or pace.warmup < 0:
        raise UsageError(
            "a load needs a rate, a duration and workers above 0",
            hint="for example --rate 20 --duration 10 --workers 8",
        )
    interval = 1 / (pace.rate * lanes)
    # Whole rounds, so that every lane has as many requests as the others.
    warmup = math.ceil(pace.warmup * pace.rate - 1e-9)
    rounds = warmup + max(1, round(pace.duration * pace.rate))
    if rounds * lanes > MOST_REQUESTS:
        raise UsageError(
            f"{rounds * lanes:,} requests are too many for one run",
            hint=f"lower --rate or --duration: {MOST_REQUESTS:,} is the most",
        )
    rng = random.Random(pace.seed)  # noqa: S311 - an order, not a secret
    requests = []
    for turn in range(rounds):
        order = list(range(lanes))
        rng.shuffle(order)
        for place, lane in enumerate(order):
            due = (turn * lanes + place) * interval
            requests.append(Request(due, lane, turn, turn >= warmup))
    seconds = (rounds - warmup) / pace.rate
    return Schedule(
        pace, tuple(requests), rounds, seconds, rounds / pace.rate, max(_LATE, interval)
    )


@dataclass(frozen=True)
class Sample:
    """What became of one request. Times are seconds after the start of the run.

    Attributes:
        request: which one.
        started: when it really started; ``None`` if the time was over before.
        ended: when it was done, or had failed; ``None`` if that was never seen.
        error: the kind of its failure; ``None`` when it succeeded.
    """

    request: Request
    started: float | None
    ended: float | None
    error: str | None


@dataclass
class LaneResult:
    """What one lane measured, the warm-up left out.

    Attributes:
        scheduled: requests that were due.
        started: of these, how many started at all.
        late: how many started later than ``Schedule.late_after``, or never.
        service: from the real start; succeeded requests only.
        intended: from the intended start; succeeded requests only.
        errors: failed requests, by kind.
        rate: requests per second that were asked for.
        achieved: requests per second that succeeded.
    """

    scheduled: int = 0
    started: int = 0
    late: int = 0
    service: Distribution = field(default_factory=Distribution)
    intended: Distribution = field(default_factory=Distribution)
    errors: Counter[str] = field(default_factory=Counter)
    rate: float = 0.0
    achieved: float = 0.0

    @property
    def late_share(self) -> float:
        """Late requests, as a share of the scheduled ones."""
        return self.late / self.scheduled if self.scheduled else 0.0

    @property
    def reached(self) -> bool:
        """Whether the requests started at the rate that was asked for."""
        return self.started >= _REACHED * self.scheduled


def summarize(plan: Schedule, lanes: int, samples: Sequence[Sample]) -> list[LaneResult]:
    """Return the figures of each lane. Pure."""
    results = [LaneResult(rate=plan.pace.rate) for _ in range(lanes)]
    for sample in samples:
        if not sample.request.counted:
            continue
        result = results[sample.request.lane]
        result.scheduled += 1
        if sample.started is None:
            result.late += 1
            continue
        result.started += 1
        result.late += sample.started - sample.request.due > plan.late_after
        if sample.error is not None:
            result.errors[sample.error] += 1
        elif sample.ended is not None:
            result.service.add(sample.ended - sample.started)
            result.intended.add(sample.ended - sample.request.due)
    for result in results:
        result.achieved = result.service.count / plan.seconds
    return results


class Worker(Protocol):
    """One pair of hands, with connections of its own. It is used by one thread."""

    def prepare(self, lane: int, turn: int) -> Callable[[], str | None]:
        """Return what the request is to do, with everything that needs no server done.

        The callable returns the kind of the failure, or ``None`` for success. It raises only what
        nobody expected.
        """
        ...


def run(
    plan: Schedule,
    opener: Callable[[], AbstractContextManager[Worker]],
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Sample]:
    """Run a schedule.

    Args:
        plan: the schedule.
        opener: opens the connections of one worker; called once in each worker's thread.
        progress: is told what is going on.

    Returns:
        One sample for each request. Requests that were still under way ``PATIENCE`` seconds after
        the end have the error ``unfinished``; whoever calls must see to it that they cannot write
        any more.

    Raises:
        RegionkitError: a worker could not connect.
        KeyboardInterrupt: once the workers have stopped.
    """
    crew = _Crew(plan, opener)
    try:
        crew.start()
        progress(
            f"{len(plan.requests):,} requests in {plan.end:.1f} s, {plan.pace.workers} workers"
        )
        crew.wait()
    finally:
        crew.stop()
    return crew.samples()


class _Crew:
    """The threads of a run, and what they share."""

    def __init__(
        self, plan: Schedule, opener: Callable[[], AbstractContextManager[Worker]]
    ) -> None:
        self._plan = plan
        self._opener = opener
        self._next = itertools.count()
        self._samples: list[Sample | None] = [None] * len(plan.requests)
        self._began: dict[int, float] = {}
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._start = 0.0
        # The action runs in one thread, before any is let go: all share one start.
        self._ready = threading.Barrier(plan.pace.workers + 1, action=self._set_start)
        self._threads = [
            threading.Thread(target=self._guarded, name=f"load-{number}", daemon=True)
            for number in range(plan.pace.workers)
        ]

    def _set_start(self) -> None:
        self._start = time.perf_counter()

    def start(self) -> None:
        """Open all connections, then let the schedule begin."""
        for thread in self._threads:
            thread.start()
        try:
            self._ready.wait()
        except threading.BrokenBarrierError:
            self._raise_failure()

    def wait(self) -> None:
        """Wait until the workers are done, or the last of their patience is."""
        self._join(self._start + self._plan.end + _SLACK + PATIENCE)
        self._raise_failure()

    def stop(self) -> None:
        """Start nothing any more, and wait for what is under way."""
        self._stopping.set()
        self._ready.abort()
        over = self._start + self._plan.end + _SLACK if self._start else math.inf
        self._join(min(time.perf_counter(), over) + PATIENCE)

    def _join(self, deadline: float) -> None:
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.perf_counter()))

    def samples(self) -> list[Sample]:
        """Return what became of every request."""
        found = []
        for number, request in enumerate(self._plan.requests):
            sample = self._samples[number]
            began = self._began.get(number)
            if sample is None and began is not None:
                sample = Sample(request, began, None, "unfinished")
            found.append(sample or Sample(request, None, None, None))
        return found

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _guarded(self) -> None:
        try:
            with self._opener() as worker:
                self._ready.wait()
                self._work(worker)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:  # noqa: BLE001  (it is raised again in the main thread)
            self._failures.append(error)
            self._stopping.set()
            self._ready.abort()

    def _work(self, worker: Worker) -> None:
        clock, plan, start = time.perf_counter, self._plan, self._start
        while not self._stopping.is_set():
            number = next(self._next)
            if number >= len(plan.requests):
                return
            request = plan.requests[number]
            execute = worker.prepare(request.lane, request.turn)
            wait = start + request.due - clock()
            if wait > 0 and self._stopping.wait(wait):
                return
            started = clock() - start
            if started > plan.end + _SLACK:
                return
            self._began[number] = started
            error = execute()
            self._samples[number] = Sample(request, started, clock() - start, error)
