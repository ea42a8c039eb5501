"""Keys that are compared in whole ranges: what is left over is what a slow look finds."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.database import Database

from toolkit.errors import ConnectionFailed, Interrupted
from toolkit.mongo import antijoin, raw
from toolkit.mongo.antijoin import Values, absent, not_once
from toolkit.mongo.expected import Column, Expected
from toolkit.mongo.readers import Readers
from toolkit.mongo.types import bson_type
from toolkit.types import parse

NAME = "regionkit_test_antijoin"


@pytest.fixture(scope="module")
def data(mongo_url: str) -> Iterator[Database[Any]]:
    with MongoClient[Any](mongo_url, uuidRepresentation="standard") as client:
        yield client[NAME]
        client.drop_database(NAME)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many windows, answers and questions, however few the documents."""
    monkeypatch.setattr(antijoin, "WINDOW", 7)
    monkeypatch.setattr(antijoin, "_BATCH", 13)
    monkeypatch.setattr(antijoin, "_ASKED", 3)
    monkeypatch.setattr(raw, "BATCH", 12)


def fill(data: Database[Any], name: str, documents: list[dict[str, Any]]) -> None:
    data[name].drop()
    data[name].create_index([("ref", 1)])
    if documents:
        data[name].insert_many(documents)


def some_uuid(number: int) -> Binary:
    return Binary(uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes, 4)


KINDS: dict[str, Any] = {
    "int32": lambda number: number,
    "int64": lambda number: Int64(number),
    "text": lambda number: f"key é {number}",
    "uuid": some_uuid,
    "numeric": lambda number: Decimal128(f"{number}.50"),
    "decimal and others": lambda number: [1.5 * number, {"a": number}, Int64(number)][number % 3],
}


@pytest.mark.parametrize("repeated", [1, 20])
@pytest.mark.parametrize("parents", [40, 1_000])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_absent_is_found(
    data: Database[Any], kind: str, parents: int, repeated: int
) -> None:
    """With far more parents than children they are asked one by one, otherwise in ranges."""
    of = KINDS[kind]
    gone = {3, 17, 38}
    fill(data, "parent", [{"_id": of(n)} for n in range(parents) if n not in gone])
    children = [{"_id": n, "ref": of(n % 40)} for n in range(40 * repeated)]
    fill(data, "child", [*children, {"_id": -1, "ref": None}, {"_id": -2}])
    left = list(absent([Values(data, "child", "ref")], Values(data, "parent", "_id")))
    values = [antijoin.given(value) for window in left for value in window]
    assert data["child"].count_documents({"ref": {"$in": values}}) == len(gone) * repeated
    assert len(values) == len(gone)


def test_numbers_of_two_types_are_alike(data: Database[Any]) -> None:
    fill(data, "parent", [{"_id": Int64(n)} for n in range(30)])
    fill(data, "child", [{"_id": n, "ref": n} for n in range(31)])
    assert list(absent([Values(data, "child", "ref")], Values(data, "parent", "_id")))[-1] == {30}


def test_a_value_of_another_type_is_never_taken_for_present(data: Database[Any]) -> None:
    fill(data, "parent", [{"_id": some_uuid(n)} for n in range(10)])
    alike = [
        bytes(some_uuid(1)),
        str(uuid.UUID(bytes=bytes(some_uuid(2)))),
        Binary(some_uuid(3), 3),
    ]
    fill(data, "child", [{"_id": n, "ref": value} for n, value in enumerate(alike)])
    left = list(absent([Values(data, "child", "ref")], Values(data, "parent", "_id")))
    assert {antijoin.given(value) for window in left for value in window} == {
        Binary(alike[0], 0),
        alike[1],
        alike[2],
    }


def test_only_documents_of_the_filter_count(data: Database[Any]) -> None:
    fill(data, "parent", [{"_id": n, "region": "eu" if n < 5 else "na"} for n in range(10)])
    fill(data, "child", [{"_id": n} for n in range(10)])
    eu = Values(data, "parent", "_id", (("region", "eu"),))
    child = Values(data, "child", "_id")
    assert set().union(*absent([child], eu)) == set(range(5, 10))
    assert set().union(*absent([eu], child)) == set()


@pytest.mark.parametrize("kind", ["int64", "text", "uuid"])
def test_keys_that_are_not_held_exactly_once(data: Database[Any], kind: str) -> None:
    of = KINDS[kind]
    fill(data, "keys", [{"_id": of(n)} for n in range(30)])
    fill(data, "eu", [{"_id": n, "ref": of(n)} for n in range(20) if n != 4])
    fill(data, "na", [{"_id": n, "ref": of(n)} for n in range(18, 30)])
    data["eu"].insert_one({"_id": 99, "ref": of(7)})
    holders = [Values(data, name, "ref") for name in ("eu", "na")]
    found = set().union(*not_once(Values(data, "keys", "_id"), holders))
    assert {antijoin.given(value) for value in found} == {of(n) for n in (4, 7, 18, 19)}


# Processes that read ----------------------------------------------------------------------------

NUMBERS = Expected(
    (Column(("id",), bson_type(parse("bigint")), False, True, True),), (0,), True, None, None
)


def test_readers_read_what_one_process_reads(data: Database[Any], mongo_url: str) -> None:
    for name in ("a", "b", "c"):
        data[name].drop()
        data[name].insert_many([{"_id": Int64(n)} for n in range(100)])
    data["c"].insert_one({"_id": "odd"})
    with Readers(mongo_url, NAME, 2) as readers:
        one, two, three = readers.scan([(name, NUMBERS) for name in ("a", "b", "c")])
    assert (one.rows, one.odd) == (100, 0)
    assert one == two
    assert (three.rows, three.odd) == (101, 1)


def test_a_reader_that_is_killed_and_a_server_that_is_not_there(mongo_url: str) -> None:
    nowhere = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
    with Readers(nowhere, NAME, 1) as readers, pytest.raises(ConnectionFailed):
        readers.scan([("a", NUMBERS)])
    with Readers(mongo_url, NAME, 1) as readers:
        readers._all[0]._process.kill()
        with pytest.raises(Interrupted):
            readers.scan([("a", NUMBERS)])


def test_readers_die_with_the_process_that_started_them(mongo_url: str) -> None:
    program = (
        "import sys, time\n"
        "from toolkit.mongo.readers import Readers\n"
        "readers = Readers(sys.argv[1], 'x', 2)\n"
        "print(*(one._process.pid for one in readers._all), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, mongo_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert parent.stdout is not None
    with parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(_lives(pid) for pid in pids)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while any(map(_lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_lives, pids))


def _lives(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"
