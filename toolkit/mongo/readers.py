"""Processes that read collections side by side: making digests is work for the processor."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType

from toolkit import errors
from toolkit.errors import Interrupted, RegionkitError
from toolkit.mongo.expected import Expected
from toolkit.mongo.scan import Scanned

#: It must find the same toolkit, wherever this process found it.
_PROGRAM = """
import sys
sys.path[:] = {path!r}
from toolkit.mongo.reader import main
main({socket})
"""


class Readers:
    """A number of processes, each with a connection of its own. Use it as a context manager.

    They start at once and connect with their first collection. They end with the block, and also
    when this process is killed.

    Args:
        url: of the server.
        database: that the collections are in.
        count: how many processes.
    """

    def __init__(self, url: str, database: str, count: int) -> None:
        self._idle: queue.SimpleQueue[_Reader] = queue.SimpleQueue()
        self._all: list[_Reader] = []
        try:
            for _ in range(count):
                reader = _Reader(url, database)
                self._all.append(reader)
                self._idle.put(reader)
        except BaseException:
            self.close()
            raise

    def scan(self, collections: Iterable[tuple[str, Expected]]) -> list[Scanned]:
        """Read collections side by side; return what was read, in their order.

        May be called by several threads: whichever reader is idle takes the next collection.

        Raises:
            RegionkitError: what the reader raised.
            Interrupted: a reader is gone.
        """
        with ThreadPoolExecutor(len(self._all), thread_name_prefix="regionkit-read") as pool:
            return list(pool.map(lambda one: self._scan(*one), collections))

    def _scan(self, collection: str, expected: Expected) -> Scanned:
        reader = self._idle.get()
        try:
            return reader.scan(collection, expected)
        finally:
            self._idle.put(reader)

    def close(self) -> None:
        """End the processes."""
        for reader in self._all:
            reader.close()

    def __enter__(self) -> Readers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Reader:
    """One process, and this end of the socket."""

    def __init__(self, url: str, database: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM.format(path=sys.path, socket=theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._connection.send((url, database))

    def scan(self, collection: str, expected: Expected) -> Scanned:
        try:
            self._connection.send((collection, expected))
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise Interrupted(
                f"a process that read {collection} has ended", hint="run the command again"
            ) from None
        if isinstance(answer, Scanned):
            return answer
        name, message, hint, details = answer
        kind: type[RegionkitError] = getattr(errors, name)
        raise kind(message, hint=hint, details=details)

    def close(self) -> None:
        self._connection.close()
        # It holds nothing that could be left half-done.
        self._process.kill()
        self._process.wait()
