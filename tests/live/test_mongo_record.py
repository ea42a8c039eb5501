"""PostgreSQL and the parser of documents make the same record of every value, and one digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from bson.int64 import Int64
from psycopg import sql
from pymongo import MongoClient
from pymongo.database import Database

from tests.live.test_mongo_types import CARRIED, DEFINED, type_of
from toolkit.mongo import raw, record
from toolkit.mongo.expected import Column, Expected
from toolkit.mongo.scanner import Scanner
from toolkit.mongo.types import bson_type
from toolkit.postgres import session
from toolkit.types import parse


@pytest.fixture(scope="module")
def source(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with session.connect(postgres_url, role="source") as connection:
        connection.execute(DEFINED)
        yield connection


@pytest.fixture(scope="module")
def target(mongo_url: str) -> Iterator[Database[Any]]:
    with MongoClient[Any](mongo_url) as client:
        yield client["regionkit_test_record"]
        client.drop_database("regionkit_test_record")


def expected_of(name: str, *, legible: bool) -> Expected:
    carried = bson_type(type_of(name))
    fields = tuple(f"v{suffix}" for suffix in carried.suffixes)
    number = Column(("id",), bson_type(parse("bigint")), False, True, True)
    return Expected((number, Column(fields, carried, True, False, legible)), (0,), True, None, None)


@pytest.mark.parametrize("legible", [False, True])
@pytest.mark.parametrize("name", CARRIED)
def test_both_ends_make_the_same_record(
    source: psycopg.Connection[Any], target: Database[Any], name: str, legible: bool
) -> None:
    expected = expected_of(name, legible=legible)
    column = expected.columns[1]
    form = record.RecordMd5()
    cells = ["n", column.cell.expression('s."Value"')]
    reading = [*column.bson.read_expression('s."Value"')]
    wanted: list[bytes] = []
    digests: list[str] = []
    texts: list[list[str | None]] = []
    target["values"].delete_many({})
    for number, value in enumerate([*CARRIED[name], None]):
        row = source.execute(
            sql.SQL("select {} from (select {}::bigint as n, {}::{} as {}) s").format(
                sql.SQL(
                    f"record_send(ROW({', '.join(cells)})), ({form.row(cells)})::text, "
                    f"({cells[1]})::text, {', '.join(reading)}"
                ),
                number,
                sql.Literal(value),
                sql.SQL(name),
                sql.Identifier("Value"),
            )
        ).fetchone()
        assert row is not None
        wanted.append(row[0])
        digests.append(row[1])
        texts.append([str(number), row[2]])
        encoded = column.bson.encode(row[3:])
        document = dict(zip(column.names, encoded, strict=True))
        target["values"].insert_one({"_id": Int64(number), **document})
    scanner = Scanner(expected)
    found: list[bytes] = []
    for batch in raw.find(target, "values", {}):
        forms, odd = scanner.forms(batch)
        assert odd == 0
        found += forms
    assert found == wanted
    assert [record.row_digest(one) for one in found] == digests
    assert [record.texts(one) for one in found] == texts
    numbers = sum(int(one) for one in digests) % 2**64
    assert (record.total(found).high, record.total(found).low) == (numbers, 0)


def test_the_digest_of_a_row_is_a_number_whatever_its_columns(
    source: psycopg.Connection[Any],
) -> None:
    cells = [f"{number}::int4" for number in range(1_600)]
    row = source.execute(f"select {record.RecordMd5().row(cells)}").fetchone()
    values = [number.to_bytes(4, "big") for number in range(1_600)]
    form = record.record([record.INT4] * len(values), values)
    assert row == (int(record.row_digest(form)),)


def test_answers_come_in_batches_and_may_be_left(
    target: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw, "BATCH", 3)
    target["many"].drop()
    target["many"].insert_many([{"_id": number} for number in range(10)])
    options = target.codec_options
    found = [raw.decoded(batch, options) for batch in raw.find(target, "many", {})]
    assert [len(batch) for batch in found] == [3, 3, 3, 1]
    assert [one["_id"] for batch in found for one in batch] == list(range(10))
    grouped = raw.aggregate(
        target, "many", [{"$match": {"_id": {"$gte": 7}}}, {"$sort": {"_id": 1}}]
    )
    assert [raw.decoded(batch, options) for batch in grouped] == [[{"_id": n} for n in (7, 8, 9)]]
    assert list(raw.find(target, "many", {"_id": 99})) == []

    def open_cursors() -> int:
        return int(target.command("serverStatus")["metrics"]["cursor"]["open"]["total"])

    before = open_cursors()
    unfinished = raw.find(target, "many", {})
    next(unfinished)
    assert open_cursors() == before + 1
    unfinished.close()
    assert open_cursors() == before
