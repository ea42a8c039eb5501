"""The process that reads collections for ``toolkit.mongo.readers``.

It imports no more than it needs.
``main`` is called with the number of a socket, over which it gets the server's URL (which holds a
password), then one collection after the other. It ends when the other end of the socket does.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from multiprocessing.connection import Connection

from toolkit.errors import RegionkitError
from toolkit.mongo.scan import scan
from toolkit.mongo.session import connect, translated


def main(socket: int) -> None:
    """Serve until the parent closes its end."""
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(socket,), daemon=True).start()
    parent = Connection(socket)
    try:
        url, name = parent.recv()
        _serve(parent, url, name)
    except (EOFError, OSError):
        return


def _serve(parent: Connection, url: str, name: str) -> None:
    session = None
    try:
        while True:
            collection, expected = parent.recv()
            try:
                session = session or connect(url)
                with translated(f"read {collection}"):
                    parent.send(scan(session.database(name), collection, expected))
            except RegionkitError as error:
                parent.send((type(error).__name__, error.message, error.hint, error.details))
    finally:
        if session is not None:
            session.close()


def _die_with_parent(socket: int) -> None:
    """End the process, in the middle of whatever it does, when the parent is gone."""
    poll = select.poll()
    poll.register(socket, select.POLLHUP)
    poll.poll()
    os._exit(1)
