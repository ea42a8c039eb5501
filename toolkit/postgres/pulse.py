"""Notices a server that has fallen silent, and ends the sessions that wait for it.

A statement may rightly say nothing for hours, so a silent connection proves nothing. TCP's own
probes find a dead network, but not a dead server behind a proxy that still holds the connection.
So a thread asks a trivial question over a connection of its own; when that gets no answer, every
session of this process to that server is cut, and whatever waits in it fails as if the server had
gone.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from toolkit.errors import Interrupted, RegionkitError
from toolkit.postgres import session


class Pulse:
    """Watches one server. Use it through :func:`watching`.

    Args:
        url: of the server.
        role: what it is for, for messages.
        patience: seconds that an answer may take.
    """

    def __init__(self, url: str, role: str, patience: float) -> None:
        self.silent = False
        self._url = url
        self._role = role
        self._patience = patience
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"pulse of {role}", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. It does not wait for an answer that may never come."""
        self._stop.set()

    def error(self) -> Interrupted:
        """Return what a run that was cut has to say."""
        return Interrupted(
            f"the {self._role} PostgreSQL has not answered for {self._patience:g} s; "
            "its sessions were cut",
            hint="when the server is back, run the same command again: it goes on with what is "
            "missing",
        )

    def _watch(self) -> None:
        connection: session.Connection | None = None
        try:
            while not self._stop.wait(self._patience / 3):
                try:
                    if connection is None:
                        connection = self._connect()
                    answered = answers(connection, self._patience)
                except psycopg.Error as error:
                    # A refusal is an answer: those who work there are told so themselves.
                    connection = None
                    answered = not isinstance(error, psycopg.errors.ConnectionTimeout)
                if not answered and not self._stop.is_set():
                    self.silent = True
                    self._cut()
                    return
        finally:
            if connection is not None:
                # Not a polite end: nobody may be there to hear it.
                _shut(connection)

    def _connect(self) -> session.Connection:
        """Open a connection that nobody cuts; it reads no data, so its settings do not matter."""
        return psycopg.connect(
            self._url,
            autocommit=True,
            application_name=session.APPLICATION,
            connect_timeout=max(2, round(self._patience)),
        )

    def _cut(self) -> None:
        for connection in session.open_to(self._url):
            _shut(connection)


def answers(connection: session.Connection, within: float) -> bool:
    """Return whether a server answers a trivial question in time.

    Args:
        connection: used by nobody else, in no transaction.
        within: seconds.

    Raises:
        psycopg.Error: the connection is broken.
    """
    deadline = time.monotonic() + within
    libpq = connection.pgconn
    libpq.send_query(b"SELECT 1")
    while True:
        while not libpq.is_busy():
            if libpq.get_result() is None:
                return True
        left = deadline - time.monotonic()
        if left <= 0 or not _readable(libpq.socket, left):
            return False
        libpq.consume_input()


def _readable(file: int, within: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        return bool(selector.select(within))


def _shut(connection: session.Connection) -> None:
    """Let the thread that waits on a connection see its end."""
    try:
        other = socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        with other:
            other.shutdown(socket.SHUT_RDWR)
    except (psycopg.Error, OSError):
        return


@contextmanager
def watching(servers: dict[str, str], patience: float) -> Iterator[None]:
    """Watch servers while the block runs.

    Args:
        servers: URL to what the server is for.
        patience: seconds that one may leave a question unanswered.

    Raises:
        Interrupted: one fell silent, and the block failed of it.
    """
    pulses = [Pulse(url, role, patience) for url, role in servers.items()]
    for pulse in pulses:
        pulse.start()
    try:
        yield
    except (RegionkitError, psycopg.Error):
        for pulse in pulses:
            if pulse.silent:
                raise pulse.error() from None
        raise
    finally:
        for pulse in pulses:
            pulse.stop()
