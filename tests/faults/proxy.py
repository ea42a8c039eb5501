"""A TCP proxy that looks for a pattern in what passes, and then does something to the connection.

It watches one direction for the n-th time that a pattern passes, over all connections, counted in
the order in which it sees them. What it can do then is what networks do: cut before the request is
delivered, cut after it was delivered and before the reply is, or fall silent.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

#: ``cut-before``: the request does not arrive. ``cut-after``: it does, its reply does not.
#: ``black-hole``: nothing passes any more, on any connection, and no end of it is told.
Action = Literal["cut-before", "cut-after", "black-hole", "pass"]


@dataclass
class Watch:
    """What a proxy looks for.

    Attributes:
        pattern: bytes from client to server.
        call: the how-manieth time, from 1; 0 only counts.
        action: what happens then.
        done: called after the server has answered (``cut-after``), else at once.
    """

    pattern: bytes
    call: int
    action: Action
    done: Callable[[], None] = lambda: None
    seen: int = field(default=0)


class WatchingProxy:
    """Listens on 127.0.0.1 and passes on to one port there. Use it as a context manager.

    Args:
        port: of the server behind it.
        watch: what to look for.

    Attributes:
        struck: set when the action was taken.
    """

    def __init__(self, port: int, watch: Watch) -> None:
        self._server_port = port
        self._watch = watch
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._closed = threading.Event()
        self._silent = threading.Event()
        self.struck = threading.Event()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> WatchingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed.set()
        for one in (self._listener, *self._sockets):
            _close(one)

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port), 5)
            except OSError:
                if not self._closed.is_set():
                    with contextlib.suppress(UnboundLocalError):
                        _close(client)
                    continue
                return
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one.settimeout(None)
            self._sockets += [client, server]
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        tail = b""
        try:
            while not self._closed.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.2)
                if self._silent.is_set():
                    self._closed.wait()
                    return
                for one in ready:
                    data = one.recv(1 << 16)
                    if not data:
                        return
                    if one is server:
                        client.sendall(data)
                        continue
                    tail, hit = self._look(tail, data)
                    if not hit:
                        server.sendall(data)
                        continue
                    self._strike(client, server, data)
                    if self._watch.action in ("cut-before", "cut-after"):
                        return
        except OSError:
            pass
        finally:
            if not self._silent.is_set():
                _close(client)
                _close(server)

    def _look(self, tail: bytes, data: bytes) -> tuple[bytes, bool]:
        watch = self._watch
        text = tail + data
        found = text.count(watch.pattern) - tail.count(watch.pattern)
        keep = len(watch.pattern) - 1
        with self._guard:
            before = watch.seen
            watch.seen += found
            hit = before < watch.call <= watch.seen
        return text[-keep:] if keep else b"", hit

    def _strike(self, client: socket.socket, server: socket.socket, data: bytes) -> None:
        action = self._watch.action
        if action in ("cut-after", "pass"):
            server.sendall(data)
            # The reply means that it was done; it is read here and goes no further.
            select.select([server], [], [], 10)
        if action == "black-hole":
            self._silent.set()
        self.struck.set()
        self._watch.done()


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
