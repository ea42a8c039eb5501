"""How much of a transaction's time on MongoDB is the driver's own.

There is no ``pgbench`` for MongoDB. So the same transaction runs by turns through PyMongo, as
``check latency`` runs it, and over a bare socket with the wire protocol spoken by hand::

    python -m bench.calibrate_mongo

Needs a server without login, as the lab's is.
"""

from __future__ import annotations

import argparse
import itertools
import os
import socket
import statistics
import struct
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import bson
from bson import Binary, Int64
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from toolkit.lab import temporary_lab

_DATABASE = "regionkit_calibration"
_ACCOUNTS = 1000
_OP_MSG = 2013

#: Seconds between two transactions, so that both find the caches as a load finds them.
_PAUSE = 0.01

Document = dict[str, Any]


def commands(number: int) -> list[Document]:
    """Return what a payment of the reference bank consists of: four commands, then the commit."""
    row = {"_id": number, "account_id": number % _ACCOUNTS, "note": "x" * 100}
    return [
        {
            "findAndModify": "link",
            "query": {"_id": number % _ACCOUNTS},
            "update": {"$inc": {"epoch": Int64(1)}},
        },
        {"insert": "payment", "documents": [row]},
        {"insert": "entry", "documents": [row]},
        {
            "update": "account",
            "updates": [{"q": {"_id": number % _ACCOUNTS}, "u": {"$inc": {"balance": 1}}}],
        },
    ]


class Bare:
    """A connection that knows ``OP_MSG`` and nothing else."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._session = {"id": Binary.from_uuid(uuid.uuid4())}
        self._transaction = itertools.count(1)

    def transaction(self, number: int) -> None:
        """Run one transaction."""
        common: Document = {
            "lsid": self._session,
            "txnNumber": Int64(next(self._transaction)),
            "autocommit": False,
        }
        start: Document = {"startTransaction": True, "readConcern": {"level": "snapshot"}}
        for command in commands(number):
            self._command({**command, **common, **start, "$db": _DATABASE})
            start = {}
        majority = {"writeConcern": {"w": "majority"}}
        self._command({"commitTransaction": 1, **common, **majority, "$db": "admin"})

    def _command(self, command: Document) -> None:
        body = b"\0\0\0\0\0" + bson.encode(command)
        self._socket.sendall(struct.pack("<iiii", 16 + len(body), 1, 0, _OP_MSG) + body)
        answer = self._socket.recv(65536)
        (length,) = struct.unpack_from("<i", answer)
        while len(answer) < length:
            answer += self._socket.recv(65536)
        said = bson.decode(answer[21:length])
        if said["ok"] != 1 or "writeErrors" in said:
            raise RuntimeError(said)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def through_pymongo(client: MongoClient[Document], number: int) -> None:
    """Run one transaction as ``check latency`` does."""
    database = client[_DATABASE]
    with (
        client.start_session() as session,
        session.start_transaction(
            read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
        ),
    ):
        for command in commands(number):
            database.command(command, session=session)


def measure(url: str, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Run both by turns; return the medians of each round in milliseconds: bare, PyMongo."""
    bare_medians, driver_medians = [], []
    numbers = itertools.count()
    with MongoClient[Document](url) as client:
        client.drop_database(_DATABASE)
        database = client[_DATABASE]
        for name in ("payment", "entry"):
            database.create_collection(name)
        database["link"].insert_many([{"_id": i, "epoch": Int64(0)} for i in range(_ACCOUNTS)])
        database["account"].insert_many([{"_id": i, "balance": 0} for i in range(_ACCOUNTS)])
        assert client.address is not None
        bare = Bare((str(client.address[0]), int(client.address[1] or 0)))
        try:
            for _ in range(rounds):
                bare_medians.append(_median(bare.transaction, numbers, count))
                driver_medians.append(
                    _median(lambda number: through_pymongo(client, number), numbers, count)
                )
        finally:
            bare.close()
            client.drop_database(_DATABASE)
    return bare_medians, driver_medians


def _median(run: Callable[[int], None], numbers: itertools.count[int], count: int) -> float:
    times = []
    for _ in range(count):
        time.sleep(_PAUSE)
        begun = time.perf_counter()
        run(next(numbers))
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate_mongo")
    parser.add_argument("--count", type=int, default=200, help="transactions of each turn")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    given = parser.parse_args(arguments)
    say = sys.stdout.write
    with temporary_lab(servers=["mongo"]) as lab:
        url = lab.url("mongo")
        assert url is not None
        bare, driver = measure(url, given.count, given.rounds)
    say(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {given.count} transactions each\n")
    for one, other in zip(bare, driver, strict=True):
        say(f"bare socket {one:7.3f} ms   PyMongo {other:7.3f} ms   ratio {other / one:.2f}\n")
    first, second = statistics.median(bare), statistics.median(driver)
    say(f"median of the medians: bare socket {first:.3f} ms, PyMongo {second:.3f} ms, ")
    say(f"ratio {second / first:.2f}\n")


if __name__ == "__main__":
    main()
