"""Values survive BSON, and a value of another type never looks right."""

from __future__ import annotations

import json
import math
import struct
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import types as sql
from sqlalchemy.dialects import postgresql as pg

from toolkit.mongo.numerics import decimal_text, exact_decimal
from toolkit.mongo.types import (
    MISSING,
    VERIFY_OPTIONS,
    BsonType,
    ValueRefused,
    bson_type,
    text_type,
)
from toolkit.mongo.values import joined
from toolkit.types import PostgresType, parse, postgres_type


def carried(name: str) -> BsonType:
    return bson_type(parse(name))


def through_bson(parts: tuple[Any, ...]) -> list[Any]:
    """Encode and decode as a server would store it."""
    data = bson.encode({f"f{number}": part for number, part in enumerate(parts)})
    document = bson.decode(data, VERIFY_OPTIONS)
    return [document[f"f{number}"] for number in range(len(parts))]


def round_trip(name: str, *values: Any) -> str | None:
    type_ = carried(name)
    return type_.canonical(through_bson(type_.encode(values)))


def _numeric(digits: int, scale: int, negative: bool) -> str:
    """Write a number as PostgreSQL does."""
    text = format(Decimal(digits).scaleb(-scale, None), "f") if scale else str(digits)
    return f"-{text}" if negative and digits else text


numerics = st.builds(_numeric, st.integers(0, 10**28 - 1), st.integers(0, 27), st.booleans())


@given(numerics)
def test_numeric_keeps_its_scale(text: str) -> None:
    assert round_trip("numeric", text) == text


@given(st.integers(0, 10**50), st.integers(0, 40))
def test_numeric_is_exact_or_refused(digits: int, scale: int) -> None:
    padded = str(digits).rjust(scale + 1, "0")
    text = f"{padded[: len(padded) - scale]}.{padded[len(padded) - scale :]}" if scale else padded
    try:
        value = exact_decimal(text)
    except ValueRefused:
        assert len(str(digits)) > 34
    else:
        assert decimal_text(value) == text
        assert bson.decode(bson.encode({"v": value}))["v"] == value


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "0", "0.000", "1.500", "-0.5"])
def test_special_numerics(text: str) -> None:
    assert round_trip("numeric", text) == text


@given(st.integers(-(2**31), 2**31 - 1))
def test_integer(value: int) -> None:
    assert round_trip("integer", value) == str(value)
    assert round_trip("bigint", value) == str(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_bigint_stays_int64(value: int) -> None:
    (stored,) = through_bson(carried("bigint").encode([value]))
    assert type(stored) is Int64
    assert round_trip("bigint", value) == str(value)


@given(st.floats())
def test_double_keeps_every_bit(value: float) -> None:
    expected = "NaN" if math.isnan(value) else struct.pack(">d", value).hex()
    assert round_trip("double precision", value) == expected


@given(st.floats(width=32))
def test_real_keeps_every_bit(value: float) -> None:
    expected = "NaN" if math.isnan(value) else struct.pack(">f", value).hex()
    assert round_trip("real", value) == expected


@pytest.mark.parametrize("value", [0.1, 1e300])
def test_a_double_is_no_real(value: float) -> None:
    assert "\x00" in str(carried("real").canonical([value]))


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_text(value: str) -> None:
    assert round_trip("text", value) == value


@given(st.binary())
def test_bytea(value: bytes) -> None:
    assert round_trip("bytea", value) == value.hex()


@given(st.uuids())
def test_uuid(value: uuid.UUID) -> None:
    assert round_trip("uuid", value.bytes) == str(value)


@given(st.integers(-211_813_488_000_000_000, 9_223_371_331_199_999_999))
def test_timestamp_keeps_microseconds(since_2000: int) -> None:
    stored = round_trip("timestamptz", struct.pack(">q", since_2000))
    assert stored == str(since_2000 + 946_684_800_000_000)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)))
def test_a_timestamp_is_the_same_moment_for_every_client(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(2000, 1, 1, tzinfo=UTC)
    microseconds = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    value, rest = carried("timestamptz").encode([struct.pack(">q", microseconds)])
    seen = value.as_datetime().replace(tzinfo=UTC)
    assert seen == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert rest == moment.microsecond % 1000
    plain = carried("timestamptz").canonical([seen, rest])
    assert plain == carried("timestamptz").canonical([value, rest])


@given(st.integers(-2_451_507, 2_145_031_948))
def test_date(since_2000: int) -> None:
    assert round_trip("date", struct.pack(">i", since_2000)) == str(since_2000 + 10_957)


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63) + 1, 2**63 - 2),
)
def test_interval_keeps_its_three_parts(months: int, days: int, microseconds: int) -> None:
    wire = struct.pack(">qii", microseconds, days, months)
    assert round_trip("interval", wire) == f"{months} {days} {microseconds}"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**33), 10**33)
    | numerics.filter(lambda text: "." in text).map(Decimal)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
).filter(lambda value: value is not None)


def _jsonb(value: Any) -> str:
    """Write a value as jsonb does: keys by their length in bytes, numbers plain."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{_jsonb(key)}: {_jsonb(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_jsonb, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


@given(json_values)
def test_jsonb_keeps_its_text(value: Any) -> None:
    text = _jsonb(value)
    assert round_trip("jsonb", text) == text


@pytest.mark.parametrize("text", ["9223372036854775807", "-9223372036854775808"])
def test_jsonb_integers_are_int64(text: str) -> None:
    (value,) = carried("jsonb").encode([text])
    assert type(value) is Int64


@pytest.mark.parametrize(
    "text",
    ["9" * 35, "null", f"[0.{'1' * 35}]", "[" * 100 + "]" * 100, "[" * 5000 + "]" * 5000],
)
def test_jsonb_refuses_what_does_not_fit(text: str) -> None:
    with pytest.raises(ValueRefused):
        carried("jsonb").encode([text])


def _dimensions(lengths: list[int]) -> str:
    return "".join(f"[1:{length}]" for length in lengths)


@given(st.data())
def test_arrays_keep_dimensions_and_nulls(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    items = data.draw(
        st.lists(
            st.none() | st.text(st.characters(exclude_characters="\x00", categories=["L", "P"])),
            min_size=math.prod(lengths),
            max_size=math.prod(lengths),
        )
    )
    shape = _dimensions(lengths)
    assert round_trip("text[]", shape, items) == shape + joined(items)


def test_an_array_of_timestamps_is_two_arrays() -> None:
    type_ = carried("timestamptz[]")
    moment = struct.pack(">q", 1_000_001)
    parts = type_.encode(["[1:2]", [moment, None]])
    assert parts == ([DatetimeMS(946_684_801_000), None], [1, None])
    assert type_.canonical(through_bson(parts)) == '[1:2]["946684801000001",null]'


@pytest.mark.parametrize("dimensions", ["[0:1]", "[2:3]", "[1:1][0:1]"])
def test_arrays_that_do_not_start_at_one_are_refused(dimensions: str) -> None:
    with pytest.raises(ValueRefused):
        carried("integer[]").encode([dimensions, [1, 2]])


@pytest.mark.parametrize("uneven", [[[1], 2], [[1], [2, 3]], [[]], [[], []], 5, "x", {}])
def test_an_uneven_array_is_wrong(uneven: Any) -> None:
    assert "\x00" in str(carried("integer[]").canonical([uneven]))


#: A value of each BSON type, none of them right for more than the types that name it.
SAMPLES: dict[str, Any] = {
    "int": 1,
    "long": Int64(1),
    "double": 1.0,
    "decimal": Decimal128("1"),
    "string": "1",
    "bool": True,
    "date": DatetimeMS(0),
    "binary": b"1",
    "uuid": Binary(bytes(16), 4),
    "old uuid": Binary(bytes(16), 3),
    "user binary": Binary(b"1", 128),
    "object": {"a": Int64(1)},
    "interval": {"months": 1, "days": 1, "us": Int64(1)},
    "array": [1],
    "null in array": [None],
    "missing": MISSING,
    "dbref": DBRef("a", 1),
}

RIGHT = {
    "integer": {"int"},
    "smallint": {"int"},
    "bigint": {"long"},
    "numeric": {"decimal"},
    "real": {"double"},
    "double precision": {"double"},
    "boolean": {"bool"},
    "text": {"string"},
    "inet": {"string"},
    "uuid": {"uuid"},
    "bytea": {"binary"},
    "date": {"date"},
    "interval": {"interval"},
    "jsonb": {"long", "string", "bool", "object", "null in array"},
    "integer[]": {"array", "null in array"},
    "text[]": {"null in array"},
}


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_wrong_type_is_found(name: str, sample: str) -> None:
    text = carried(name).canonical([SAMPLES[sample]])
    assert text is not None
    marked = "\x00" in text or "\\u0000" in text
    assert marked is (sample not in RIGHT[name])


@pytest.mark.parametrize(
    "parts",
    [
        (DatetimeMS(0), None),
        (None, 0),
        (DatetimeMS(0), 1000),
        (DatetimeMS(0), -1),
        (DatetimeMS(0), Int64(5)),
        (DatetimeMS(0), MISSING),
        (MISSING, MISSING),
        (0, 0),
    ],
)
def test_half_a_timestamp_is_wrong(parts: tuple[Any, ...]) -> None:
    assert "\x00" in str(carried("timestamptz").canonical(parts))


def test_a_date_with_a_time_is_wrong() -> None:
    assert "\x00" in str(carried("date").canonical([DatetimeMS(1)]))


def test_the_order_of_an_interval_counts() -> None:
    value = {"days": 1, "months": 1, "us": Int64(1)}
    assert "\x00" in str(carried("interval").canonical([value]))


@pytest.mark.parametrize("name", [*RIGHT, "timestamptz", "timestamptz[]", "varchar(3)"])
def test_null(name: str) -> None:
    type_ = carried(name)
    parts = type_.encode([None] * len(type_.read_expression("c")))
    assert parts == (None,) * len(type_.suffixes)
    assert type_.canonical(parts) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("date", struct.pack(">i", 2**31 - 1)),
        ("date", struct.pack(">i", -(2**31))),
        ("timestamptz", struct.pack(">q", 2**63 - 1)),
        ("timestamp", struct.pack(">q", -(2**63))),
        ("interval", struct.pack(">qii", 2**63 - 1, 2**31 - 1, 2**31 - 1)),
        ("numeric", "1" * 35),
    ],
)
def test_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueRefused) as caught:
        carried(name).encode([value])
    assert caught.value.reason
    assert carried(name).refusal_predicate("c")


_SPOT = PostgresType(
    "spot",
    fields=(
        ("x", parse("integer")),
        ("at", parse("timestamptz")),
        ("at_us", parse("text")),
        ("a.b", parse("daterange")),
        ("$doc", parse("jsonb")),
    ),
)


def spot(*texts: str | None) -> str:
    """Return a row of ``_SPOT`` as it is read."""
    return json.dumps(texts)


def test_the_fields_of_a_composite_type_are_called_like_those_of_a_document() -> None:
    (schema,) = bson_type(_SPOT).schema(True)
    assert schema["bsonType"] == ["object", "null"]
    assert schema["required"] == ["x", "at", "at__us", "at_us", "a_b", "_doc"]
    assert list(schema["properties"]) == schema["required"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["x"] == {"bsonType": ["int", "null"]}
    span = schema["properties"]["a_b"]
    assert span["required"] == ["lower", "upper", "bounds"]
    assert span["properties"]["bounds"] == {"enum": ["[]", "[)", "(]", "()", "empty"]}


def test_a_row_of_nulls_is_no_null() -> None:
    carried = bson_type(_SPOT)
    (value,) = carried.encode([spot(None, None, None, None, None)])
    assert value == dict.fromkeys(["x", "at", "at__us", "at_us", "a_b", "_doc"])
    assert carried.canonical([value]) == "[null,null,null,null,null]"
    assert carried.encode([None]) == (None,)
    assert carried.canonical([None]) is None


def test_values_within_values() -> None:
    carried = bson_type(_SPOT)
    moment = struct.pack(">q", 1_000_001).hex()
    day = struct.pack(">i", 1).hex()
    span = json.dumps([day, None, "[)"])
    (value,) = through_bson(carried.encode([spot("-1", moment, "é", span, '{"$ref": 1.50}')]))
    assert value["at__us"] == 1
    assert dict(value["a_b"]) == {
        "lower": DatetimeMS(946_771_200_000),
        "upper": None,
        "bounds": "[)",
    }
    assert carried.canonical([value]) == json.dumps(
        ["-1", "946684801000001", "é", '["10958",null,"[)"]', '{"$ref": 1.50}'],
        ensure_ascii=False,
        separators=(",", ":"),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"x": Int64(1)},
        {"x": "1"},
        {"at": None},
        {"a_b": {"lower": None, "upper": None}},
        {"a_b": {"upper": None, "lower": None, "bounds": "()"}},
        {"a_b": {"lower": None, "upper": None, "bounds": "[["}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_wrong_part_is_found(change: dict[str, Any]) -> None:
    carried = bson_type(_SPOT)
    moment = struct.pack(">q", 1_000_001).hex()
    right = spot("1", moment, "", json.dumps([None, None, "()"]), "{}")
    (value,) = carried.encode([right])
    assert "\x00" not in str(carried.canonical([value]))
    text = str(carried.canonical([{**value, **change}]))
    assert "\x00" in text or "u0000" in text
    fewer = dict(value)
    del fewer["at_us"]
    assert "\x00" in str(carried.canonical([fewer]))
    assert "\x00" in str(carried.canonical([dict(reversed(value.items()))]))


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ((None, struct.pack(">q", 2**63 - 1).hex(), None, None, None), "infinity"),
        (
            (None, None, None, json.dumps([None, struct.pack(">i", 2**31 - 1).hex(), "[)"]), None),
            "infinity",
        ),
        ((None, None, None, None, "null"), "JSON null"),
        ((None, None, None, None, "[" * 99 + "]" * 99), "levels deep"),
    ],
)
def test_a_refused_part_refuses_the_whole(texts: tuple[str | None, ...], reason: str) -> None:
    carried = bson_type(_SPOT)
    with pytest.raises(ValueRefused, match=reason):
        carried.encode([spot(*texts)])
    assert reason in carried.refusal
    assert carried.refusal_predicate("c")


def test_a_level_around_a_value_counts() -> None:
    deepest = "[" * 98 + "]" * 98
    carried = bson_type(_SPOT)
    assert carried.encode([spot(None, None, None, None, deepest)])
    inside = bson_type(PostgresType("two", fields=(("one", _SPOT),)))
    with pytest.raises(ValueRefused):
        inside.encode([json.dumps([spot(None, None, None, None, deepest)])])


def test_an_array_of_what_is_an_array_travels_as_texts() -> None:
    for type_ in (parse("jsonb[]"), parse("int4multirange[]")):
        (schema,) = bson_type(type_).schema(False)
        assert schema["items"]["anyOf"][0]["bsonType"] == ["string", "null"]
    listed = postgres_type(pg.ARRAY(pg.DOMAIN("list", pg.ARRAY(sql.Integer))))
    assert listed == PostgresType("list", dimensions=1)
    assert bson_type(listed).as_text


def test_the_text_form_on_request() -> None:
    (schema,) = text_type(parse("timestamptz[]")).schema(False)
    assert schema == {
        "bsonType": "string",
        "description": "text form of PostgreSQL type timestamp with time zone[]",
    }
    assert text_type(parse("date")).suffixes == ("",)
    assert text_type(parse("date")).refusal_predicate("c") is None
    # What is a string already stays the string it is.
    for name in ("varchar(3)", "inet", "regclass"):
        assert text_type(parse(name)) == carried(name)


def test_growth_covers_the_names_of_a_type() -> None:
    wide = PostgresType("wide", fields=tuple((f"{'n' * 60}{n}", parse("text")) for n in range(9)))
    carried = bson_type(wide.array(1))
    text = '{"(,,,,,,,,)"' + ',"(,,,,,,,,)"' * 999 + "}"
    row = json.dumps([None] * 9)
    (value,) = carried.encode(["[1:1000]", [row] * 1000])
    assert len(bson.encode({"v": value})) <= len(text) * carried.growth
    assert len(bson.encode({"v": value})) > len(text) * 16


def test_schemas() -> None:
    assert carried("varchar(3)").schema(False) == ({"bsonType": "string", "maxLength": 3},)
    assert carried("smallint").schema(True) == (
        {"bsonType": ["int", "null"], "minimum": -32768, "maximum": 32767},
    )
    enum = bson_type(PostgresType("mood", labels=("sad", "ok")))
    assert enum.schema(True) == ({"bsonType": ["string", "null"], "enum": ["sad", "ok", None]},)
    assert enum.schema(False) == ({"bsonType": "string", "enum": ["sad", "ok"]},)
    date, rest = carried("timestamptz").schema(True)
    assert date == {"bsonType": ["date", "null"]}
    assert rest == {"bsonType": ["int", "null"], "minimum": 0, "maximum": 999}
    assert carried("tsvector").schema(False) == (
        {"bsonType": "string", "description": "text form of PostgreSQL type tsvector"},
    )


@pytest.mark.parametrize("name", ["inet", "hstore", "xml", "geometry", "inet[]", "regclass"])
def test_other_types_are_marked(name: str) -> None:
    assert carried(name).as_text


def test_a_declared_precision_rules_refusals_out() -> None:
    assert carried("numeric(18,2)").refusal_predicate("c") is None
    assert carried("numeric(35)").refusal_predicate("c") is not None
    assert carried("numeric").refusal_predicate("c") is not None
