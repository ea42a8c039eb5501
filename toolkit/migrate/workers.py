"""Threads that take chunks from one queue until it is empty, one fails, or somebody stops them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager

from toolkit.errors import StoppedByUser
from toolkit.journal import Chunk
from toolkit.migrate.target import Worker
from toolkit.migrate.throttle import Throttle


def copy_all(
    chunks: Sequence[Chunk],
    open_worker: Callable[[], AbstractContextManager[Worker]],
    count: int,
    *,
    begin: Callable[[str], None],
    done: Callable[[str, int], None],
    throttle: Throttle | None = None,
    size: Callable[[Chunk], int] = lambda _: 0,
) -> None:
    """Copy chunks with ``count`` workers.

    The first failure stops the others after the chunk that each is at. So does Ctrl-C.

    Args:
        chunks: in the order in which they are taken.
        open_worker: opens a worker's connections.
        count: how many workers.
        begin: called with the table before a chunk is copied.
        done: called with the table and the rows after a chunk was copied.
        throttle: lets workers wait between chunks.
        size: tells it how many rows a chunk will be, as far as is known.

    Raises:
        StoppedByUser: Ctrl-C; every chunk is either copied and noted, or neither.
    """
    queue = list(reversed(chunks))
    guard = threading.Lock()
    stop = threading.Event()
    brake = throttle or Throttle()

    def take() -> Chunk | None:
        with guard:
            return queue.pop() if queue and not stop.is_set() else None

    def work() -> None:
        with open_worker() as worker:
            while (chunk := take()) is not None:
                # Before the wait: it belongs to the rate that is shown.
                begin(chunk.table)
                expected = size(chunk)
                if not brake.wait(expected, stop.is_set):
                    return
                rows = worker.copy(chunk)
                brake.settle(expected, rows)
                done(chunk.table, rows)

    with ThreadPoolExecutor(max_workers=count, thread_name_prefix="regionkit-copy") as pool:
        futures: list[Future[None]] = [pool.submit(work) for _ in range(min(count, len(queue)))]
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        except KeyboardInterrupt:
            stop.set()
            wait(futures)
            raise StoppedByUser(
                "stopped; every chunk is either copied or not begun",
                hint="run 'regionkit migrate --resume' to go on",
            ) from None
        stop.set()
        wait(futures)
    for future in (*finished, *futures):
        future.result()
