"""The generated parser makes of every document the record that the strict way makes of it."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson.binary import Binary
from bson.codec_options import CodecOptions
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.mongo import record
from toolkit.mongo.decimals import text as decimal_text_of
from toolkit.mongo.expected import Column, Expected
from toolkit.mongo.numerics import decimal_text
from toolkit.mongo.scanner import Scanner
from toolkit.mongo.types import VERIFY_OPTIONS, bson_type
from toolkit.types import PostgresType, parse

OPTIONS: CodecOptions[dict[str, Any]] = VERIFY_OPTIONS.with_options(document_class=dict)

Parts = st.SearchStrategy[tuple[Any, ...]]


def one(strategy: st.SearchStrategy[Any]) -> Parts:
    return strategy.map(lambda value: (value,))


INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1).map(Int64)
TEXT = st.one_of(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
DECIMALS = st.one_of(
    st.tuples(st.integers(0, 1), st.integers(0, 10**34 - 1), st.integers(-6176, 6111)).map(
        lambda parts: Decimal128(Decimal((parts[0], tuple(map(int, str(parts[1]))), parts[2])))
    ),
    st.integers(-(10**18), 10**18).map(lambda number: Decimal128(f"{number}E-2")),
    st.sampled_from(["NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "-0.00", "1E+3"]).map(
        Decimal128
    ),
)
MILLISECONDS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**13), 10**13),
    st.sampled_from([-210_866_803_200_000, 9_224_318_016_000_000]),
)
UUIDS = st.one_of(st.binary(min_size=16, max_size=16), st.binary()).map(
    lambda value: Binary(value, 4)
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), INT64, TEXT, DECIMALS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(TEXT, st.sampled_from(["$ref", "$id", "a.b"])), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
INTERVALS = st.one_of(
    st.tuples(INT32, INT32, INT64), st.just((2**31 - 1, 2**31 - 1, Int64(2**63 - 1)))
).map(lambda parts: dict(zip(("months", "days", "us"), parts, strict=True)))

#: Types that a schema defines.
DEFINED = {
    "pair": PostgresType(
        "pair",
        fields=(
            ("n", parse("integer")),
            ("at", parse("timestamptz")),
            ("$doc", parse("jsonb")),
            ("some", parse("text[]")),
        ),
    )
}


def bounded(end: st.SearchStrategy[Any], *suffixes: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return ranges, not all of which can be."""
    ends = {
        f"{name}{suffix}": st.none() | end for name in ("lower", "upper") for suffix in suffixes
    }
    bounds = st.sampled_from(["[)", "[]", "(]", "()", "empty", "[", ""])
    return st.fixed_dictionaries({**ends, "bounds": bounds})


#: PostgreSQL type to the values of its fields. Not all of them are values that it can have.
VALUES: dict[str, Parts] = {
    "smallint": one(INT32),
    "integer": one(INT32),
    "bigint": one(INT64),
    "numeric": one(DECIMALS),
    "numeric(18,2)": one(DECIMALS),
    "real": one(st.one_of(st.floats(width=32), st.floats())),
    "double precision": one(st.floats()),
    "boolean": one(st.booleans()),
    "text": one(TEXT),
    "uuid": one(UUIDS),
    "bytea": one(st.binary()),
    "date": one(
        st.one_of(MILLISECONDS, st.integers(-(10**6), 10**6).map(lambda day: day * 86_400_000))
    ).map(lambda parts: (DatetimeMS(parts[0]),)),
    "timestamp with time zone": st.tuples(
        MILLISECONDS.map(DatetimeMS), st.one_of(st.integers(0, 999), st.integers(-5, 1005))
    ),
    "timestamp without time zone": st.tuples(MILLISECONDS.map(DatetimeMS), st.integers(0, 999)),
    "interval": one(INTERVALS),
    "jsonb": one(JSON),
    "integer[]": one(st.lists(st.one_of(st.none(), INT32, st.lists(INT32, max_size=2)))),
    "timestamp with time zone[]": st.lists(
        st.tuples(MILLISECONDS.map(DatetimeMS), st.integers(0, 999)), max_size=3
    ).map(lambda pairs: ([date for date, _ in pairs], [rest for _, rest in pairs])),
    "inet": one(TEXT),
    "int4range": one(bounded(INT32, "")),
    "tstzrange": one(bounded(st.integers(0, 999).map(Int64) | st.integers(0, 999), "", "_us")),
    "int8multirange": one(st.lists(bounded(INT64, ""), max_size=2)),
    "pair": one(
        st.fixed_dictionaries(
            {
                "n": st.none() | INT32,
                "at": st.none() | MILLISECONDS.map(DatetimeMS),
                "at_us": st.none() | st.integers(0, 999),
                "_doc": JSON,
                "some": st.none() | st.lists(TEXT, max_size=2),
            }
        )
    ),
}

ANYTHING = st.one_of([parts.map(lambda values: values[0]) for parts in VALUES.values()])


def column(
    name: str, type_: str, *, nullable: bool = True, in_key: bool = False, legible: bool = False
) -> Column:
    carried = bson_type(DEFINED.get(type_) or parse(type_))
    names = tuple(f"{name}{suffix}" for suffix in carried.suffixes)
    return Column(names, carried, nullable, in_key, legible or in_key)


def answer(documents: Sequence[bytes]) -> bytes:
    """Return documents as the server sends them: the elements of an array."""
    return b"".join(b"\x03%d\0" % number + document for number, document in enumerate(documents))


def encoded(fields: Sequence[tuple[str, Any]]) -> bytes:
    """Return a document of these fields in this order, with a name twice if it stands twice."""
    pieces = [bson.encode({name: value}, codec_options=OPTIONS)[4:-1] for name, value in fields]
    body = b"".join(pieces) + b"\0"
    return struct.pack("<i", len(body) + 4) + body


def check(expected: Expected, documents: Sequence[bytes]) -> int:
    """Both ways agree; return how many documents took the strict one."""
    forms, odd = Scanner(expected).forms(answer(documents))
    assert forms == [expected.form(document) for document in documents]
    return odd


@pytest.mark.parametrize("legible", [False, True])
@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("name", VALUES)
def test_a_column_of_every_type(name: str, nullable: bool, legible: bool) -> None:
    """Surrounded by strings, whose ends the parser compares with what follows."""
    expected = Expected(
        columns=(
            column("id", "bigint", nullable=False, in_key=True),
            column("before", "text"),
            column("v", name, nullable=nullable, legible=legible),
            column("after", "text", nullable=False),
            column("w", name, nullable=nullable, legible=legible),
        ),
        key=(0,),
        single=True,
        region_field="region",
        region="eu",
        references=("v_region",),
        optional=("v_region",),
        regions=("eu", "na"),
    )
    null = tuple([None] * len(expected.columns[2].names))
    parts = st.one_of(st.just(null), VALUES[name])
    names = expected.columns[2].names, expected.columns[4].names

    @given(INT64, st.one_of(st.none(), TEXT), parts, TEXT, parts, st.sampled_from([None, "na"]))
    @settings(max_examples=60)
    def check_one(
        identity: Any, before: Any, first: Any, after: Any, second: Any, region: Any
    ) -> None:
        fields = [
            ("_id", identity),
            ("region", "eu"),
            ("before", before),
            *zip(names[0], first, strict=True),
            ("after", after),
            *zip(names[1], second, strict=True),
            ("v_region", region),
        ]
        document = encoded(fields)
        odd = check(expected, [document, document])
        wrong = any("\0" in (text or "") for text in record.texts(expected.form(document)))
        null_where_none_may_be = not nullable and None in (first[0], second[0])
        # In text, what no PostgreSQL date can be looks like any other.
        if not legible and not wrong and not null_where_none_may_be:
            assert odd == 0, "the parser is for what the copier writes"

    check_one()


KEYS = {
    "single": ((0,), True, [("_id", Int64(7))]),
    "composite": ((1, 0), False, [("_id", {"b": "x", "a": Int64(7)})]),
    "no key": ((), False, [("_id", {"digest": "0" * 64, "ordinal": 0})]),
}


@pytest.mark.parametrize("kind", KEYS)
def test_documents_of_another_form(kind: str) -> None:
    key, single, identity = KEYS[kind]
    expected = Expected(
        columns=(
            column("a", "bigint", nullable=False, in_key=0 in key),
            column("b", "text", nullable=False, in_key=1 in key),
            column("c", "timestamp with time zone", legible=not key),
            column("d", "numeric(18,2)", nullable=False),
            column("e", "jsonb"),
        ),
        key=key,
        single=single,
        region_field="region",
        region=None,
        references=("to_region",),
        optional=("to_region",),
        counter="epoch",
    )
    right: list[tuple[str, Any]] = [*identity, ("region", "eu")]
    right += [("a", Int64(7))] if 0 not in key else []
    right += [("b", "x")] if 1 not in key else []
    right += [("c", DatetimeMS(5)), ("c_us", 6), ("d", Decimal128("1.50"))]
    right += [("e", {"n": Int64(1)}), ("to_region", None), ("epoch", Int64(0))]
    assert check(expected, [encoded(right)]) == 0

    @given(st.data())
    @settings(max_examples=300)
    def check_one(data: st.DataObject) -> None:
        fields = list(right)
        for _ in range(data.draw(st.integers(1, 2))):
            place = data.draw(st.integers(0, len(fields) - 1))
            name, _ = fields[place]
            change = data.draw(st.sampled_from(["value", "null", "drop", "twice", "more", "swap"]))
            if change == "value":
                fields[place] = (name, data.draw(ANYTHING))
            elif change == "null":
                fields[place] = (name, None)
            elif change == "drop" and name != "_id":
                del fields[place]
            elif change == "twice":
                fields.insert(data.draw(st.integers(1, len(fields))), fields[place])
            elif change == "more":
                fields.insert(data.draw(st.integers(1, len(fields))), ("odd", None))
            else:
                fields[place], fields[-1] = fields[-1], fields[place]
        documents = [encoded(right), encoded(fields), encoded(right)]
        check(expected, documents)
        if sorted(map(repr, fields)) != sorted(map(repr, right)):
            first, second, third = map(expected.form, documents)
            assert first == third
            # The counter counts up, the digest of a row without key is only a name.
            same = [(n, v) for n, v in fields if n not in ("epoch", "_id")]
            if len(fields) != len(right) or sorted(map(repr, same)) != sorted(
                repr((n, v)) for n, v in right if n not in ("epoch", "_id")
            ):
                assert first != second

    check_one()


@pytest.mark.parametrize(
    ("name", "one_value", "other"),
    [
        ("integer", 1, Int64(1)),
        ("bigint", Int64(1), 1),
        ("bigint", Int64(1), 1.0),
        ("bigint", Int64(1), Decimal128("1")),
        ("numeric", Decimal128("1.50"), Decimal128("1.5")),
        ("numeric", Decimal128("0.00"), Decimal128("-0.00")),
        ("numeric", Decimal128("1"), "1"),
        ("text", "", None),
        ("text", "null", None),
        ("uuid", Binary(b"0123456789abcdef", 4), Binary(b"0123456789abcdef", 3)),
        ("uuid", Binary(b"0123456789abcdef", 4), b"0123456789abcdef"),
        ("bytea", b"", None),
        ("bytea", b"a", Binary(b"a", 4)),
        ("boolean", False, 0),
        ("double precision", 0.0, -0.0),
        ("date", DatetimeMS(0), DatetimeMS(1)),
        ("date", DatetimeMS(0), "1970-01-01"),
        ("jsonb", {"a": Int64(1)}, {"a": 1}),
        ("jsonb", {"a": Decimal128("1.50")}, {"a": Decimal128("1.5")}),
        ("jsonb", {"a": None}, {}),
    ],
    ids=str,
)
def test_values_that_look_alike_have_different_records(
    name: str, one_value: Any, other: Any
) -> None:
    expected = Expected(
        (column("id", "bigint", nullable=False, in_key=True), column("v", name)),
        (0,),
        True,
        None,
        None,
    )
    documents = [encoded([("_id", Int64(1)), ("v", value)]) for value in (one_value, other)]
    check(expected, documents)
    first, second = map(expected.form, documents)
    assert first != second
    assert record.row_digest(first) != record.row_digest(second)


def test_cells_cannot_run_together() -> None:
    expected = Expected((column("a", "text"), column("b", "text")), (), False, None, None)
    identity = ("_id", {"digest": "0" * 64, "ordinal": 0})
    rows = [("ab", "c"), ("a", "bc"), ("abc", ""), ("abc", None), (None, "abc")]
    forms = {expected.form(encoded([identity, ("a", a), ("b", b)])) for a, b in rows}
    assert len(forms) == len(rows)


def test_a_document_of_another_region_is_seen() -> None:
    expected = Expected(
        (column("id", "bigint", nullable=False, in_key=True),), (0,), True, "region", "eu"
    )
    there = encoded([("_id", Int64(1)), ("region", "na")])
    assert check(expected, [there]) == 1
    assert check(replace(expected, region=None), [there]) == 0
    assert record.texts(expected.form(there)) == ["1", "na"]


@given(DECIMALS)
def test_a_decimal_is_written_as_the_slow_way_writes_it(value: Decimal128) -> None:
    assert decimal_text_of(value) == decimal_text(value)


@pytest.mark.parametrize("name", VALUES)
def test_a_record_gives_its_cells_back(name: str) -> None:
    carried = bson_type(parse(name))
    cell = record.cell(carried, legible=True)

    @given(VALUES[name])
    @settings(max_examples=30)
    def check_one(parts: tuple[Any, ...]) -> None:
        document = bson.decode(encoded(list(zip(("v", "w"), parts, strict=False))), VERIFY_OPTIONS)
        text = carried.canonical(list(document.values()))
        (found,) = record.texts(record.record([cell.oid], [cell.value(text)]))
        # What PostgreSQL cannot have is marked.
        assert found is None if text is None else (found or "").lstrip("\0") == text.lstrip("\0")

    check_one()


def test_a_key_is_found_again_by_its_texts() -> None:
    types = ["bigint", "integer", "text", "uuid", "numeric", "date", "timestamp with time zone"]
    values = [
        [Int64(2**40)],
        [-3],
        ["é"],
        [Binary(b"0123456789abcdef", 4)],
        [Decimal128("1.50")],
        [DatetimeMS(-86_400_000)],
        [DatetimeMS(-1), 999],
    ]
    columns = tuple(
        column(f"k{number}", type_, nullable=False, in_key=True)
        for number, type_ in enumerate(types)
    )
    expected = Expected(columns, tuple(range(len(types))), False, None, None)
    identity = dict(
        zip(expected.identity, [part for parts in values for part in parts], strict=True)
    )
    form = expected.form(encoded([("_id", identity)]))
    key = [record.texts(form)[number] for number in expected.key_cells]
    found = bson.encode({"_id": expected.identity_of(key)}, codec_options=OPTIONS)
    assert found == encoded([("_id", identity)])
    assert expected.identity_of(["\0int", *key[1:]]) is None
    unknown = Expected((column("k", "interval", in_key=True),), (0,), True, None, None)
    assert unknown.identity_of(["1 2 3"]) is None


def test_what_is_expected_can_be_sent_to_another_process() -> None:
    columns = tuple(column(f"c{number}", name) for number, name in enumerate(VALUES))
    expected = Expected(columns, (), False, "region", "eu")
    Scanner(expected)
    received = pickle.loads(pickle.dumps(expected))
    assert received == expected
    assert received.oids == expected.oids


def test_every_type_with_a_short_cut_is_tried() -> None:
    tried = {type(bson_type(parse(name))) for name in VALUES}
    from toolkit.mongo import scanner

    assert set(scanner._FIXED) | {type(bson_type(PostgresType("text")))} <= tried
