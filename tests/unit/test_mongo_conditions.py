"""Conditions of partial indexes that MongoDB can say, and those that it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from bson.int64 import Int64
from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Enum,
    Integer,
    MetaData,
    String,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, CITEXT, INET

from tests.unit.support import laid_out, table
from toolkit.mongo.conditions import both, translated
from toolkit.mongo.shape import DocumentShape, document_shape
from toolkit.types import Composite


@pytest.fixture(scope="module")
def shape() -> DocumentShape:
    metadata = MetaData()
    table(
        metadata,
        "client",
        Column("nick", Text),
        Column("Odd.One", Text),
        Column("active", Boolean),
        Column("n", Integer),
        Column("big", BigInteger),
        Column("status", String(10)),
        Column("code", CHAR(3)),
        Column("mood", Enum("a", "b", name="mood")),
        Column("gone", DateTime(timezone=True)),
        Column("tags", ARRAY(Text)),
        Column("mail", CITEXT),
        Column("ip", INET),
        Column("pair", Composite("pair", ("x", Integer()))),
    )
    return document_shape(laid_out(metadata), "client")


@pytest.mark.parametrize(
    ("sql", "filter_"),
    [
        ("active", {"active": True}),
        ("(active)", {"active": True}),
        ("NOT active", {"active": False}),
        ("(active = false)", {"active": False}),
        ("active IS TRUE", {"active": True}),
        ("nick IS NOT NULL", {"nick": {"$gte": ""}}),
        ("(gone IS NULL)", {"gone": {"$type": "null"}}),
        ("((status)::text = 'open'::text)", {"status": "open"}),
        ("status = 'it''s'::character varying", {"status": "it's"}),
        ("(mood = 'a'::public.mood)", {"mood": "a"}),
        ("\"Odd.One\" <> ''", {"Odd_One": {"$gt": ""}}),
        ("(n > 5)", {"n": {"$gt": 5}}),
        ("n <= -1", {"n": {"$lte": -1}}),
        ("big = '7'::bigint", {"big": Int64(7)}),
        (
            "((nick IS NOT NULL) AND (gone IS NULL) AND active)",
            {"$and": [{"nick": {"$gte": ""}}, {"gone": {"$type": "null"}}, {"active": True}]},
        ),
        ("(active AND (active AND n > 0))", {"$and": [{"active": True}, {"n": {"$gt": 0}}]}),
    ],
)
def test_what_mongodb_can_say(shape: DocumentShape, sql: str, filter_: dict[str, Any]) -> None:
    assert translated(sql, shape) == filter_


@pytest.mark.parametrize(
    "sql",
    [
        "active OR n > 3",
        "NOT (active AND n > 0)",
        "active IS NOT TRUE",
        "nick <> 'x'",
        "nick > 'x'",
        "lower(nick) = 'a'",
        "(nick)::character varying(2) = 'ab'",
        "(n)::text = '5'",
        "n + 1 > 3",
        "n = 'x'",
        "n = 99999999999999999999",
        "gone > '2020-01-01'::date",
        "status = ANY (ARRAY['a', 'b'])",
        "code = 'a  '::bpchar",
        "mail = 'a'",
        "ip = '10.0.0.1'",
        "tags IS NOT NULL",
        "pair IS NOT NULL",
        "pair IS NULL",
        "missing",
        "n = n",
        "5 = n",
        "active active",
        "nick LIKE 'a%'",
        "",
    ],
)
def test_what_it_cannot(shape: DocumentShape, sql: str) -> None:
    assert translated(sql, shape) is None


def test_filters_together() -> None:
    assert both([]) is None
    assert both([{"a": 1}]) == {"a": 1}
    assert both([{"a": 1}, {"$and": [{"a": 1}, {"b": 2}]}]) == {"$and": [{"a": 1}, {"b": 2}]}
