"""Parameters keep their types on the way to MongoDB, and documents are filled in with them."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from toolkit.checks.parameters import Parameters, extended_json, in_region, substitute, to_bson
from toolkit.errors import UsageError
from toolkit.types import parse

UUID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")
MOMENT = datetime(2024, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
MOMENT_MS = int(datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("type_", "value", "wanted"),
    [
        ("smallint", 7, 7),
        ("integer", 7, 7),
        ("bigint", 7, Int64(7)),
        ("numeric", Decimal("1.50"), Decimal128("1.50")),
        ("numeric", Decimal("1E+3"), Decimal128("1000")),
        ("numeric", Decimal("NaN"), Decimal128("NaN")),
        ("double precision", 0.1, 0.1),
        ("boolean", True, True),
        ("text", "x ", "x "),
        ("character", "DK ", "DK"),
        ("uuid", UUID, Binary.from_uuid(UUID)),
        ("date", date(1999, 12, 31), DatetimeMS(946_598_400_000)),
        ("timestamp with time zone", MOMENT, DatetimeMS(MOMENT_MS)),
        ("timestamp without time zone", MOMENT.replace(tzinfo=None), DatetimeMS(MOMENT_MS)),
        ("bytea", b"\x00\x01", b"\x00\x01"),
        ("mood", "so so", "so so"),
        ("inet", "10.0.0.1", "10.0.0.1"),
        ("jsonb", '{"n": 1, "x": 1.50}', {"n": Int64(1), "x": Decimal128("1.50")}),
        ("bigint[]", [1, None], [Int64(1), None]),
        ("bigint", None, None),
    ],
)
def test_a_value_as_mongodb_stores_it(type_: str, value: object, wanted: object) -> None:
    found = to_bson(value, parse(type_))
    assert found == wanted or str(found) == str(wanted) == "NaN"
    assert type(found) is type(wanted)


def test_a_timestamp_brings_its_microseconds_along() -> None:
    parameters = Parameters(("at", "n"), [], {"at": parse("timestamptz"), "n": parse("int8")})
    assert parameters.bson({"at": MOMENT, "n": 1, "region": "eu"}) == {
        "at": DatetimeMS(MOMENT_MS),
        "at_us": 901,
        "n": Int64(1),
        "region": "eu",
    }


def test_a_parameter_of_that_name_wins() -> None:
    types = {"at": parse("timestamptz"), "at_us": parse("text")}
    found = Parameters(("at", "at_us"), [], types).bson({"at": MOMENT, "at_us": "mine"})
    assert found["at_us"] == "mine"


@pytest.mark.parametrize(
    ("type_", "value"), [("interval", "1 mon"), ("numeric", Decimal("1" * 40)), ("int4[]", "{1}")]
)
def test_a_value_that_bson_cannot_hold_is_refused_by_name(type_: str, value: object) -> None:
    with pytest.raises(UsageError, match="'x'") as caught:
        Parameters(("x",), [], {"x": parse(type_)}).bson({"x": value})
    assert caught.value.hint


def test_a_document_is_filled_in() -> None:
    document = extended_json(
        """[{"$match": {"_id": {"$param": "client"}, "tag": "{region}", "n": {"$numberLong": "5"}}},
            {"$lookup": {"from": "account_{region}", "as": "{region}"}},
            {"$unionWith": {"coll": "client_{region}", "pipeline": [{"$limit": 1}]}},
            {"$unionWith": "payment_{region}"}]""",
        "here",
    )
    assert substitute(document, {"client": Int64(3)}, "eu") == [
        {"$match": {"_id": Int64(3), "tag": "{region}", "n": Int64(5)}},
        {"$lookup": {"from": "account_eu", "as": "{region}"}},
        {"$unionWith": {"coll": "client_eu", "pipeline": [{"$limit": 1}]}},
        {"$unionWith": "payment_eu"},
    ]
    assert document[0]["$match"]["_id"] == {"$param": "client"}
    assert in_region("client_{region}", None) == "client_{region}"


def test_a_command_names_its_collection() -> None:
    command = extended_json(
        '{"update": "client_{region}", "updates": [{"q": {"_id": {"$param": "c"}}}]}', "here"
    )
    found = substitute(command, {"c": 1}, "na")
    assert list(found) == ["update", "updates"]
    assert found == {"update": "client_na", "updates": [{"q": {"_id": 1}}]}


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(UsageError, match='"nobody"') as caught:
        substitute({"a": [{"$param": "nobody"}]}, {"client": 1})
    assert caught.value.details == ("parameters are client",)


@pytest.mark.parametrize("text", ["[", "", "{'a': 1}", '{"$date": "never"}'])
def test_what_is_not_extended_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="query 'q', pipeline"):
        extended_json(text, "query 'q', pipeline")
