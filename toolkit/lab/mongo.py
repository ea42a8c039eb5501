"""The embedded MongoDB: a real mongod as a replica set of one, for transactions and change streams.

It has no access control: it listens on 127.0.0.1 only and holds trial data.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, OperationFailure

from toolkit.errors import Refused
from toolkit.lab.binaries import mongod_binary
from toolkit.lab.processes import TICK, Launch, ProcessRecord, command_line, is_running
from toolkit.lab.state import Paths, State
from toolkit.lab.waiting import START_TIMEOUT, Died, not_started, port_open

NAME = "mongo"
TITLE = "MongoDB"
REPLICA_SET = "rs0"

_ALREADY_INITIALIZED = 23
_NOT_YET_INITIALIZED = 94


def url(port: int) -> str:
    """Return the URL of the lab's MongoDB.

    ``directConnection``: without it a driver asks the replica set for its address and goes around
    any proxy in between.
    """
    return f"mongodb://127.0.0.1:{port}/?directConnection=true&replicaSet={REPLICA_SET}"


def command(data: Path, port: int) -> list[str]:
    """Return the arguments of ``mongod``, without the program."""
    return [
        *("--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1"),
        *("--replSet", REPLICA_SET, "--quiet"),
        # It would be left in /tmp by a kill -9.
        "--nounixsocket",
        # A cache of 0.25 GB refuses a document of 15 MB.
        *("--wiredTigerCacheSizeGB", "0.5", "--oplogSize", "64"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"),
        # Else the journal alone takes 300 MB of disk.
        "--wiredTigerEngineConfigString",
        "log=(enabled=true,remove=true,path=journal,compressor=snappy,file_max=8MB,prealloc=false)",
    ]


def prepare(paths: Paths, _state: State, bound_to: int) -> tuple[Launch, list[str]]:
    """Make the data folder when there is none, and return how to start the server on it.

    Args:
        paths: the lab.
        bound_to: the pid of the process that the server dies with, or 0.

    Raises:
        Refused: somebody else's server runs on the data folder.
    """
    data = paths.data(NAME)
    program = str(mongod_binary())
    data.mkdir(mode=0o700, exist_ok=True)
    owner = _owner(data)
    if owner is not None and str(data) in command_line(owner):
        raise _in_use(data, f" (pid {owner})", f"stop it with: kill -INT {owner}")
    how = Launch(folder=str(data), bound_to=bound_to, record=str(paths.record(NAME)))
    return how, [program]


def settle(paths: Paths, port: int, _state: State, record: ProcessRecord) -> str:
    """Wait until the server is a writable primary on ``port``, and return its version.

    Raises:
        Died: the server ended.
        Refused: it ended because somebody else's server runs on the data folder.
        ConnectionFailed: it was not ready in time.
    """
    data = paths.data(NAME)
    deadline = time.monotonic() + START_TIMEOUT

    def waiting() -> Iterator[None]:
        while time.monotonic() < deadline:
            if not is_running(record, data):
                raise _why(paths)
            yield
            time.sleep(TICK)
        raise not_started(TITLE, paths.log(NAME))

    member = f"127.0.0.1:{port}"
    for _ in waiting():
        # A driver's own retry costs half a second; the pid says that it is not another's server.
        if port_open(port):
            with contextlib.suppress(AutoReconnect), _connect(port) as client:
                ours = client.admin.command("serverStatus")["pid"] == record.pid
                if ours and _configure(client, member):
                    break
    # A new client: the old one has learnt that there is no replica set.
    with _connect(port) as client:
        for _ in waiting():
            with contextlib.suppress(AutoReconnect):
                hello = client.admin.command("hello")
                if hello.get("isWritablePrimary") and hello.get("me") == member:
                    break
        return str(client.server_info()["version"])


def _connect(port: int) -> MongoClient[dict[str, Any]]:
    return MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=2000, retryReads=False
    )


def _configure(client: MongoClient[dict[str, Any]], member: str) -> bool:
    """Make the server the only member of its set, under its present address.

    Returns:
        Whether that is done; not yet, while the server is still reading its configuration.
    """
    known = client["local"]["system.replset"].find_one()
    try:
        if known is None:
            config = {"_id": REPLICA_SET, "members": [{"_id": 0, "host": member}]}
            client.admin.command("replSetInitiate", config)
        elif known["members"][0]["host"] != member:
            # Its port was taken while it was down: it does not find itself in its own set.
            known["members"][0]["host"] = member
            known["version"] += 1
            client.admin.command("replSetReconfig", known, force=True)
    except OperationFailure as error:
        if error.code not in (_ALREADY_INITIALIZED, _NOT_YET_INITIALIZED):
            raise
        return error.code == _ALREADY_INITIALIZED
    return True


def _owner(data: Path) -> int | None:
    """Return the pid in MongoDB's own lock file, which may be stale."""
    try:
        return int((data / "mongod.lock").read_text().strip())
    except (OSError, ValueError):
        return None


def _why(paths: Paths) -> Died | Refused:
    log = paths.log(NAME)
    if log.exists() and "DBPathInUse" in log.read_text(errors="replace")[-5000:]:
        hint = "stop it, or choose another place with --folder"
        return _in_use(paths.data(NAME), "", hint)
    return Died()


def _in_use(data: Path, who: str, hint: str) -> Refused:
    return Refused(f"another MongoDB{who} is using {data}", hint=hint)
