"""A network for the lab: a TCP proxy that delays what passes, and can be cut like a cable.

Every chunk of bytes is held for half a round trip in each direction, and a new connection for one
round trip more, which is what its handshake would take. Bandwidth is not limited. Nothing but
time is added: the bytes stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from psycopg import conninfo

from toolkit.errors import UsageError

LOOPBACK = "127.0.0.1"

#: Bytes that are read at once, and chunks that may be on their way in one direction: 16 MiB, so
#: that a round trip of 240 ms still lets 100 MB/s through.
_CHUNK, _IN_FLIGHT = 1 << 16, 256

#: Seconds that a server behind the proxy gets to accept a connection.
_CONNECT_TIMEOUT = 10.0


class DelayProxy:
    """Listens on 127.0.0.1 and passes everything on to one server, later.

    Use it as a context manager: it runs in a thread of its own, and leaves with every connection
    closed.

    Args:
        host: of the server behind it.
        port: of the server behind it.
        rtt_ms: the round trip that it adds, in milliseconds.
    """

    def __init__(self, host: str, port: int, rtt_ms: float) -> None:
        self._target = (host, port)
        self._round_trip = rtt_ms / 1000
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="delay-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._whole = asyncio.Event()
        self._port = 0

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, once the proxy is running."""
        return self._port

    def cut(self) -> None:
        """Let nothing pass from now on, in either direction, and say nothing to either side."""
        self._loop.call_soon_threadsafe(self._whole.clear)

    def heal(self) -> None:
        """Let everything pass again; what was held back arrives late, as a network would do it."""
        self._loop.call_soon_threadsafe(self._whole.set)

    def __enter__(self) -> DelayProxy:
        self._thread.start()
        self._port = self._call(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> int:
        self._whole.set()
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0, limit=_CHUNK)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        # A connection that breaks, on either side, is the clients' business and not an error here;
        # nor is the end of the proxy, which asyncio would log.
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            await self._connection(reader, writer)
        self._connections.discard(task)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            await asyncio.sleep(self._round_trip)
            await self._whole.wait()
            upstream_reader, upstream = await asyncio.wait_for(
                asyncio.open_connection(*self._target, limit=_CHUNK), _CONNECT_TIMEOUT
            )
            writers.append(upstream)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, upstream))
                tasks.create_task(self._pass(upstream_reader, writer))
        except* OSError:
            pass
        finally:
            for each in writers:
                # Not a polite end, which would wait for a peer that no longer reads.
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one direction on, until it ends."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive(reader, queue))
            tasks.create_task(self._deliver(queue, writer))

    async def _receive(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        chunk = b"..."
        while chunk:
            chunk = await reader.read(_CHUNK)
            await queue.put((self._loop.time() + self._round_trip / 2, chunk))

    async def _deliver(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, chunk = await queue.get()
            wait = due - self._loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            await self._whole.wait()
            if not chunk:
                # The other direction may still have something to say.
                writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()


def postgres_address(url: str) -> tuple[str, int]:
    """Return host and port of a PostgreSQL URL or connection string.

    Raises:
        UsageError: it names none, or several.
    """
    parts = conninfo.conninfo_to_dict(url)
    host = str(parts.get("hostaddr") or parts.get("host") or "")
    port = str(parts.get("port") or 5432)
    if not host or host.startswith(("/", "@")) or "," in host + port:
        raise UsageError(
            "a delay goes between two TCP addresses, and this PostgreSQL URL does not name one",
            hint="give a URL with one host: postgresql://user@host:5432/database",
        )
    return host, int(port)


def postgres_through(url: str, port: int) -> str:
    """Return a PostgreSQL URL that goes to ``port`` of 127.0.0.1, and is otherwise the same.

    The host's name stays, beside the address: certificates are checked against it.
    """
    parts = conninfo.conninfo_to_dict(url)
    parts |= {"hostaddr": LOOPBACK, "port": port}
    parts.setdefault("host", LOOPBACK)
    return conninfo.make_conninfo("", **parts)


def mongo_through(url: str, port: int) -> str:
    """Return a MongoDB URL that goes to ``port`` of 127.0.0.1, and nowhere else.

    ``directConnection`` keeps the driver from asking the set for its members' own addresses, and
    from going there directly.

    Raises:
        UsageError: the URL finds its servers by DNS.
    """
    parts = urlsplit(url)
    if parts.scheme != "mongodb":
        raise UsageError(
            f"a delay cannot be put before a {parts.scheme}:// URL",
            hint="give the URL of the primary: mongodb://host:27017",
        )
    login, at, _ = parts.netloc.rpartition("@")
    options = [
        (name, value)
        for name, value in parse_qsl(parts.query)
        if name.lower() not in ("replicaset", "directconnection")
    ]
    query = "&".join(
        f"{quote(name)}={quote(value, safe=':,')}"
        for name, value in [*options, ("directConnection", "true")]
    )
    return urlunsplit((parts.scheme, f"{login}{at}{LOOPBACK}:{port}", parts.path or "/", query, ""))
