"""Nasty values go from a real PostgreSQL into a real MongoDB and back to their canonical text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from pymongo import MongoClient
from pymongo.collection import Collection

from toolkit.mongo.shape import row_digest, row_digest_expression
from toolkit.mongo.types import VERIFY_OPTIONS, ValueRefused, bson_type
from toolkit.types import PostgresType, parse

#: Types that a schema defines, in the temporary one.
DEFINED = r"""
create type pg_temp.mood as enum ('so so', 'Ok');
create type pg_temp.spot as (x int, "y z" numeric, "a.b" text, mood pg_temp.mood, at timestamptz);
create type pg_temp.line as (p pg_temp.spot, points pg_temp.spot[], span tstzrange, doc jsonb,
  floats float8[], raw bytea, id uuid, day date, yes boolean, lasts interval, "_id" bigint, r real);
create type pg_temp.words as range (subtype = text, collation = "C");
create type pg_temp.floats as range (subtype = float8);
create domain pg_temp.whole as pg_temp.spot check ((value).x is distinct from -1);
create domain pg_temp.days as daterange;
create domain pg_temp.list as int[];
"""

_MOOD = PostgresType("mood", labels=("so so", "Ok"))
_SPOT = PostgresType(
    "spot",
    fields=(
        ("x", parse("integer")),
        ("y z", parse("numeric")),
        ("a.b", parse("text")),
        ("mood", _MOOD),
        ("at", parse("timestamptz")),
    ),
)
_LINE = PostgresType(
    "line",
    fields=(
        ("p", _SPOT),
        ("points", _SPOT.array(1)),
        ("span", parse("tstzrange")),
        ("doc", parse("jsonb")),
        ("floats", parse("float8[]")),
        ("raw", parse("bytea")),
        ("id", parse("uuid")),
        ("day", parse("date")),
        ("yes", parse("boolean")),
        ("lasts", parse("interval")),
        ("_id", parse("bigint")),
        ("r", parse("real")),
    ),
)
_WORDS = PostgresType("words", subtype=parse("text"))
_FLOATS = PostgresType("floats", subtype=parse("float8"))

#: How those types, and arrays of them, look to the toolkit.
NAMED = {
    "pg_temp.mood": _MOOD,
    "pg_temp.mood[]": _MOOD.array(1),
    "pg_temp.spot": _SPOT,
    "pg_temp.spot[]": _SPOT.array(1),
    "pg_temp.line": _LINE,
    "pg_temp.line[]": _LINE.array(1),
    "pg_temp.words": _WORDS,
    "pg_temp.floats": _FLOATS,
    "pg_temp.whole": _SPOT,
    "pg_temp.whole[]": _SPOT.array(1),
    "pg_temp.days": parse("daterange"),
    "pg_temp.days[]": parse("daterange[]"),
    "pg_temp.list": parse("integer[]"),
    # An element of these is an array with dimensions of its own.
    "pg_temp.list[]": PostgresType("list", dimensions=1),
}


def type_of(name: str) -> PostgresType:
    """Return a type of the tables below."""
    return NAMED.get(name) or parse(name)


DIGITS_34 = "1234567890123456789012345678901234"

#: Type to values that are carried.
CARRIED: dict[str, list[str]] = {
    "smallint": ["-32768", "0", "32767"],
    "integer": ["-2147483648", "7", "2147483647"],
    "bigint": ["-9223372036854775808", "0", "1", "2147483648", "9223372036854775807"],
    "numeric": [
        "NaN",
        "Infinity",
        "-Infinity",
        "0",
        "0.00",
        "-0.0",
        "1.500",
        "-1.5",
        "0.000001",
        "1e-400",
        "1e6144",
        "1e40",
        "12e41",
        DIGITS_34,
        f"-{DIGITS_34}",
        f"0.{DIGITS_34}",
        f"0.000{DIGITS_34}",
        f"{DIGITS_34[:10]}.{DIGITS_34[10:]}",
        f"{DIGITS_34}000",
    ],
    "numeric(18,2)": ["0", "NaN", "1.5", "-9999999999999999.99"],
    "real": ["NaN", "Infinity", "-Infinity", "-0.0", "0.1", "1e-45", "3.4028235e38", "16777217"],
    "double precision": ["NaN", "Infinity", "-Infinity", "-0.0", "0.1", "5e-324", "1e308"],
    "boolean": ["true", "false"],
    "text": ["", " ", "null", "NULL", '"', "\\", "zażółć 😀", "\x01\x7f", "a\nb", "$a.b"],
    "character varying(4)": ["", "ab  ", "😀😀😀😀"],
    "character(4)": ["", "ab", "ab  "],
    '"char"': ["x"],
    "name": ["n"],
    "json": ['{"b": 1,  "a":1, "a": 2}', "1e400", "null"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    "bytea": [r"\x", r"\x00ff", r"\x5c27"],
    "date": ["1970-01-01", "1969-12-31", "4713-01-01 BC", "0001-01-01", "5874897-12-31"],
    "timestamp without time zone": [
        "1970-01-01",
        "1969-12-31 23:59:59.999999",
        "2024-02-29 12:00:00.000001",
        "4713-11-24 00:00:00.123456 BC",
        "294276-12-31 23:59:59.999999",
    ],
    "timestamp(0) without time zone": ["2024-02-29 12:00:00.6"],
    "timestamp with time zone": [
        "1970-01-01 00:00+00",
        "2024-10-27 02:30:00.654321 Europe/Copenhagen",
        "2024-10-27 00:30:00.654321+00",
        "1883-11-18 12:03:57.5 America/New_York",
        "4713-11-25 00:00:00.000999 BC",
        "294276-12-31 23:59:59.999999+00",
    ],
    "time without time zone": ["00:00", "24:00", "12:34:56.789012"],
    "time with time zone": ["00:00+15", "24:00-12:30", "12:34:56.789012+02"],
    "interval": [
        "0",
        "1 mon",
        "30 days",
        "-1 day 23:00",
        "-13 mons -40 days 00:00:00.000001",
        "178000000 years",
        "-178000000 years",
        "100:00:00",
        "2562047788:00:54.775807",
        "-00:00:00.000001",
    ],
    "jsonb": [
        "{}",
        "[]",
        "0",
        '""',
        "true",
        '"null"',
        "[null]",
        "1.500",
        "-0.0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "1e40",
        f"[{DIGITS_34}, 0.{DIGITS_34}]",
        '{"": {"": [1, [2, {"$ref": "x", "$id": 1, "$db": null}]]}, "a.b": 1, "$c": 2, "_id": 3}',
        r'{"u": "A\u00e9\u2028\ud83d\ude00\b\f\u001f\u007f\/\\\""}',
        '{"bb": 1, "a": 2, "é": 3, "Z": {"k": null}}',
        f'{{"text": "{"9" * 60}"}}',
        "[" * 99 + "]" * 99,
        "[" * 99 + "1" + "]" * 99,
    ],
    "integer[]": ["{}", "{1,NULL,3}", "{{1,2},{3,NULL}}", "{{{1}},{{2}}}", "{NULL}"],
    "bigint[]": ["{1,2}"],
    "numeric[]": ["{1.50,NaN,NULL}"],
    "double precision[]": ["{NaN,-0.0,0.1}"],
    "boolean[]": ["{t,f,NULL}"],
    "text[]": ['{"",NULL,"NULL","a,b","{}","\\"","[1:2]"}', '{{"a","b"}}'],
    "character(3)[]": ["{a,ab}"],
    "bytea[]": ['{"\\\\x00",NULL}'],
    "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
    "date[]": ["{0044-03-15 BC,NULL}"],
    "timestamp with time zone[]": ['{"2024-01-01 00:00:00.000001+00",NULL}', "{}"],
    "interval[]": ['{"1 mon",NULL}', '{{"1 mon"},{"-1 day"}}'],
    "jsonb[]": ['{"[1, 2]","null",NULL}'],
    "inet[]": ["{10.0.0.1,::1/64}"],
    "inet": ["10.0.0.1", "10.0.0.0/8", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit(3)": ["101"],
    "bit varying": ["", "10"],
    "money": ["12.34"],
    "tsvector": ["'a':1 'b'"],
    "point": ["(1,2)"],
    "int4range": ["[1,5)", "empty", "(,)", "(,7]", "[-2147483648,)"],
    "int8range": ["[1,9223372036854775807)"],
    "numrange": ["[1.50,1.5]", "(NaN,)", "[-Infinity,Infinity]", f"(0,{DIGITS_34})"],
    "daterange": ["[4713-01-01 BC,2024-02-29]", "(,)", "empty"],
    "tsrange": ["(1969-12-31 23:59:59.999999,2024-01-01 00:00:00.000001]"],
    "tstzrange": ["[2024-01-01 00:00+00,)", "empty"],
    "int4range[]": ['{"[1,5)",empty,NULL}', '{{"(,)"},{"[1,2]"}}', "{}"],
    "tstzrange[]": ['{"[2024-01-01 00:00:00.000001+00,)"}'],
    "int4multirange": ["{}", "{(,)}", "{[1,3),[5,9]}"],
    "nummultirange": ["{[1.50,2.0]}"],
    "datemultirange": ["{(,2024-01-01),[2024-02-01,2024-02-29]}"],
    "int4multirange[]": ['{"{}",NULL,"{[1,3),[5,9]}"}', '{{"{[1,2]}"},{"{}"}}'],
    "pg_temp.mood": ["so so", "Ok"],
    "pg_temp.mood[]": ['{Ok,"so so",NULL}'],
    "pg_temp.spot": [
        "(,,,,)",
        '(1,1.50,"",Ok,2024-01-01 00:00:00.000001+00)',
        r'(-1,NaN,"a""b\\c,(){} NULL","so so",)',
    ],
    "pg_temp.spot[]": [
        '{NULL,"(,,,,)","(1,0.10,a,Ok,)"}',
        '{{"(1,,,,)"},{NULL}}',
        "{}",
    ],
    "pg_temp.line": [
        "(,,,,,,,,,,,)",
        '("(,,,,)",{},empty,{},{},,,,,,,)',
        '("(1,2.0,""a"",Ok,)","{""(1,,,,)"",NULL}","[2024-01-01 00:00:00.1234+00,)",'
        '"{""$ref"": ""x"", ""$id"": 1, ""$db"": [1.50, null]}","{{0.1,-0},{NaN,Infinity}}",'
        r'"\\x00ff",a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11,0044-03-15 BC,t,1 mon -1 day,'
        "9007199254740993,0.1)",
    ],
    "pg_temp.line[]": ['{"(\\"(1,,,,)\\",\\"{NULL}\\",,,,,,,,,,)",NULL}'],
    "pg_temp.words": ["[,b)", '["",]', "empty", "(A,NULL)", r'("\"",z]'],
    "pg_temp.floats": ["[-0.0,0.1)", "(-Infinity,NaN]"],
    "pg_temp.whole": ["(1,,,,)", "(,,,,)"],
    "pg_temp.whole[]": ['{"(1,,,,)",NULL,"(,,,,)"}'],
    "pg_temp.days": ["[2024-01-01,2024-02-01)"],
    "pg_temp.days[]": ['{"[2024-01-01,)",NULL}'],
    "pg_temp.list": ["{1,NULL}"],
    "pg_temp.list[]": ['{"{1,2}","[0:1]={3,4}",NULL,"{}"}'],
    "oid": ["4294967295"],
    "xid": ["3"],
    "pg_lsn": ["16/B374D848"],
    "regclass": ["pg_class", "4294967295", "-"],
    "regtype": ["integer", "timestamptz[]"],
    "regprocedure": ["lower(text)"],
    "regproc": ["now"],
    "regrole": ["pg_monitor"],
    "regnamespace": ["pg_catalog"],
    "regconfig": ["english"],
    "regclass[]": ["{pg_class,NULL}"],
    "jsonpath": ["$.a[*] ? (@ > 1)"],
    "tsquery": ["a & !b:*"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "circle": ["<(0.1,2),3>"],
    "path": ["[(0,0),(1,1e-300)]"],
    "int2vector": ["1 2"],
    "oidvector": ["1 4294967295"],
    "txid_snapshot": ["10:20:10,14,15"],
}

#: Type to values that are refused.
REFUSED: dict[str, list[str]] = {
    "numeric": [f"{DIGITS_34}5", f"0.{DIGITS_34}5", f"{DIGITS_34}.0", "1e6145", "1e-6177"],
    "numeric(40,2)": [f"{DIGITS_34}.12"],
    "date": ["infinity", "-infinity"],
    "timestamp without time zone": ["infinity", "-infinity"],
    "timestamp with time zone": ["infinity", "-infinity"],
    "interval": ["infinity", "-infinity"],
    "jsonb": [
        "null",
        "1e400".replace("400", "6145"),
        f'{{"a": [{{"b": {DIGITS_34}5}}]}}',
        f"0.{DIGITS_34}5",
        "[" * 100 + "]" * 100,
        "[" * 1200 + "]" * 1200,
    ],
    "integer[]": ["[0:1]={1,2}", "[1:1][-2:-1]={{1,2}}", "[10:11]={1,2}"],
    "numeric[]": [f"{{1,{DIGITS_34}5}}"],
    "date[]": ["{2024-01-01,infinity}"],
    "daterange": ["[2024-01-01,infinity)", "[-infinity,]"],
    "tstzrange": ["(-infinity,infinity)"],
    "numrange": [f"[0,{DIGITS_34}5)"],
    "datemultirange": ["{[2024-01-01,2024-02-01),[2024-03-01,infinity)}"],
    "daterange[]": ['{NULL,"[2024-01-01,infinity)"}'],
    "pg_temp.spot": ["(,,,,infinity)", f"(1,{DIGITS_34}5,,,)"],
    "pg_temp.spot[]": ['{NULL,"(,,,,)","(,,,,-infinity)"}', '[0:0]={"(,,,,)"}'],
    "pg_temp.whole": ["(,,,,infinity)"],
    "pg_temp.line": [
        '(,"{""(,,,,infinity)""}",,,,,,,,,,)',
        "(,,,null,,,,,,,,)",
        "(,,,,[0:0]={1},,,,,,,)",
        "(,,,,,,,,,infinity,,)",
        f"(,,,{'[' * 99 + ']' * 99},,,,,,,,)",
    ],
    "pg_temp.line[]": [
        '{"(,,\\"[infinity,]\\",,,,,,,,,)"}',
        f'{{"(,,,{"[" * 93 + "]" * 93},,,,,,,,)"}}',
    ],
}


def _cases(table: dict[str, list[str]]) -> Iterator[Any]:
    for name, values in table.items():
        for number, value in enumerate([*values]):
            yield pytest.param(name, value, id=f"{name}-{number}")


@pytest.fixture(scope="module")
def source(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # Settings that change text forms: none of the types that have a BSON form may care.
        connection.execute("set timezone = 'Asia/Kathmandu'")
        connection.execute("set datestyle = 'SQL, DMY'")
        connection.execute("set intervalstyle = 'sql_standard'")
        connection.execute("set bytea_output = 'escape'")
        connection.execute("set extra_float_digits = 1")
        connection.execute(DEFINED)
        yield connection


@pytest.fixture(scope="module")
def target(mongo_url: str) -> Iterator[Collection[Any]]:
    with MongoClient[Any](mongo_url) as client:
        yield client["regionkit_test_types"]["values"].with_options(VERIFY_OPTIONS)
        client.drop_database("regionkit_test_types")


def _read(
    source: psycopg.Connection[Any], name: str, value: str | None
) -> tuple[tuple[Any, ...], str | None, bool | None]:
    """Return what encode takes, the source's canonical text, and whether it says refused."""
    carried = bson_type(type_of(name))
    column = 's."Value"'
    expressions = [
        *carried.read_expression(column),
        carried.canonical_expression(column),
        carried.refusal_predicate(column) or "false",
    ]
    row = source.execute(
        sql.SQL("select {} from (select {}::{} as {}) s").format(
            sql.SQL(", ").join(sql.SQL(part) for part in expressions),
            sql.Literal(value),
            sql.SQL(name),
            sql.Identifier("Value"),
        )
    ).fetchone()
    assert row is not None
    return tuple(row[:-2]), row[-2], row[-1]


@pytest.mark.parametrize(("name", "value"), list(_cases(CARRIED)))
def test_a_value_is_carried_exactly(
    source: psycopg.Connection[Any], target: Collection[Any], name: str, value: str
) -> None:
    carried = bson_type(type_of(name))
    values, expected, refused = _read(source, name, value)
    assert refused is not True
    assert expected is not None
    fields = [f"v{suffix}" for suffix in carried.suffixes]
    schema = dict(zip(fields, carried.schema(nullable=False), strict=True))
    inserted = target.insert_one(dict(zip(fields, carried.encode(values), strict=True)))
    stored = target.find_one({"_id": inserted.inserted_id})
    assert stored is not None
    assert carried.canonical([stored[field] for field in fields]) == expected
    query = {
        "_id": inserted.inserted_id,
        "$jsonSchema": {"required": fields, "properties": schema},
    }
    assert target.count_documents(query) == 1
    if not carried.array_like:
        present = {"_id": inserted.inserted_id, **carried.not_null("v")}
        assert target.count_documents(present) == 1


@pytest.mark.parametrize("name", CARRIED)
def test_null_stays_null(source: psycopg.Connection[Any], name: str) -> None:
    carried = bson_type(type_of(name))
    values, expected, refused = _read(source, name, None)
    assert expected is None
    assert refused is not True
    parts = carried.encode(values)
    assert set(parts) == {None}
    assert carried.canonical(parts) is None


@pytest.mark.parametrize(("name", "value"), list(_cases(REFUSED)))
def test_what_cannot_be_carried_is_refused_on_both_sides(
    source: psycopg.Connection[Any], name: str, value: str
) -> None:
    endless = name == "interval" or value.startswith("(,,,,,,,,,infinity")
    if endless and source.info.server_version < 170_000:
        pytest.skip("intervals are infinite from PostgreSQL 17 on")
    values, _, refused = _read(source, name, value)
    assert refused is True
    with pytest.raises(ValueRefused):
        bson_type(type_of(name)).encode(values)
    assert bson_type(type_of(name)).refusal


def test_a_null_of_a_composite_type_is_no_row_of_nulls(
    source: psycopg.Connection[Any],
) -> None:
    carried = bson_type(type_of("pg_temp.spot"))
    names = ["x", "y z", "a_b", "mood", "at", "at_us"]
    for value, wanted in [(None, None), ("(,,,,)", dict.fromkeys(names))]:
        values, expected, _ = _read(source, "pg_temp.spot", value)
        assert carried.encode(values) == (wanted,)
        assert (expected is None) is (value is None)


def test_fields_keep_their_order(source: psycopg.Connection[Any]) -> None:
    carried = bson_type(type_of("tstzrange"))
    values, expected, _ = _read(source, "tstzrange", "(2024-01-01 00:00:00.000001+00,)")
    (stored,) = carried.encode(values)
    assert list(stored) == ["lower", "lower_us", "upper", "upper_us", "bounds"]
    assert (stored["lower_us"], stored["upper"], stored["bounds"]) == (1, None, "()")
    assert carried.canonical([stored]) == expected
    assert "\x00" in str(carried.canonical([dict(reversed(stored.items()))]))


def test_names_of_a_catalogue_do_not_depend_on_the_search_path(
    source: psycopg.Connection[Any],
) -> None:
    carried = bson_type(parse("regclass"))
    (expression,) = carried.read_expression("c")
    names = set()
    for path in ("pg_catalog", "information_schema"):
        source.execute("select set_config('search_path', %s, false)", (path,))
        row = source.execute(
            f"select {expression} from (select 'information_schema.tables'::regclass c) s"
        ).fetchone()
        assert row is not None
        names |= set(row)
    source.execute("reset search_path")
    assert names == {"information_schema.tables"}


# Random types ---------------------------------------------------------------------------------

#: Scalar types with SQL of some of their values; what is refused is among them.
LEAVES: dict[str, list[str]] = {
    "integer": ["0", "'-2147483648'", "7"],
    "bigint": ["'9007199254740993'", "1"],
    "numeric": ["1.50", "'NaN'", "'Infinity'", f"{DIGITS_34}5", "0.00"],
    "double precision": ["0.1", "'-0'", "'NaN'"],
    "text": ["''", "'a,b'", "'\"{}\\'", "'NULL'", "'é😀'", "' '"],
    "boolean": ["true", "false"],
    "date": ["'2024-02-29'", "'0044-03-15 BC'", "'infinity'"],
    "timestamptz": [
        "'2024-01-01 00:00:00.000001+00'",
        "'-infinity'",
        "'1969-12-31 23:59:59.999999Z'",
    ],
    "interval": ["'1 mon -1 day'", "'0'"],
    "bytea": ["'\\x00ff'", "''"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "jsonb": ["'{}'", "'null'", """'{"a": [1.50, {"$ref": "x"}], "": null}'""", "'[[]]'"],
    "inet": ["'10.0.0.1/8'"],
}
RANGES = {
    "int4range": "integer",
    "numrange": "numeric",
    "daterange": "date",
    "tstzrange": "timestamptz",
}


@dataclass(frozen=True)
class Made:
    """A random type: its name in SQL, what the toolkit sees, values, and what must be created."""

    sql: str
    type: PostgresType
    values: st.SearchStrategy[str]
    creates: tuple[str, ...] = ()


def _leaf(name: str) -> Made:
    values = st.sampled_from([*LEAVES[name], "NULL"]).map(lambda text: f"{text}::{name}")
    return Made(name, parse(name), values)


def _range(name: str) -> Made:
    bound = _leaf(RANGES[name]).values
    value = st.builds(
        lambda one, other, bounds: (
            f"case when {one} > {other} then {name}({other}, {one}, '{bounds}') "
            f"else {name}({one}, {other}, '{bounds}') end"
        ),
        bound,
        bound,
        st.sampled_from(["[)", "[]", "(]", "()"]),
    )
    return Made(name, parse(name), value | st.just(f"NULL::{name}"))


def _composite(parts: list[Made]) -> Made:
    creates = [create for part in parts for create in part.creates]
    body = ", ".join(f'"f {number}" {part.sql}' for number, part in enumerate(parts))
    name = f"pg_temp.made_{hashlib.sha256(body.encode()).hexdigest()[:16]}"
    fields = tuple((f"f {number}", part.type) for number, part in enumerate(parts))
    row = st.tuples(*(part.values for part in parts)).map(
        lambda values: f"ROW({', '.join(values)})::{name}"
    )
    create = f"CREATE TYPE {name} AS ({body})"
    values = row | st.just(f"NULL::{name}")
    return Made(name, PostgresType(name, fields=fields), values, (*creates, create))


def _array(element: Made) -> Made:
    name = f"{element.sql}[]"
    flat = st.lists(element.values, max_size=3)
    square = st.lists(st.tuples(element.values, element.values), min_size=1, max_size=2)
    value = flat.map(lambda items: f"ARRAY[{', '.join(items)}]::{name}") | square.map(
        lambda rows: f"ARRAY[{', '.join(f'ARRAY[{one}, {two}]' for one, two in rows)}]::{name}"
    )
    return Made(name, element.type.array(1), value | st.just(f"NULL::{name}"), element.creates)


def _not_array(made: Made) -> bool:
    return not made.type.is_array


MADE = st.recursive(
    st.sampled_from([*map(_leaf, LEAVES), *map(_range, RANGES)]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(_composite)
        | inner.filter(_not_array).map(_array)
    ),
    max_leaves=6,
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_values_of_random_types_are_exact_or_refused(
    source: psycopg.Connection[Any], data: st.DataObject
) -> None:
    made = data.draw(MADE)
    carried = bson_type(made.type)
    for create in made.creates:
        exists = source.execute("SELECT to_regtype(%s)", (create.split()[2],)).fetchone()
        if exists == (None,):
            source.execute(create.encode())
    value = data.draw(made.values)
    expressions = [
        *carried.read_expression("v"),
        carried.canonical_expression("v"),
        f"coalesce({carried.refusal_predicate('v') or 'false'}, false)",
    ]
    statement = f"SELECT {', '.join(expressions)} FROM (SELECT {value} AS v OFFSET 0) AS s"
    # As the copier reads: psycopg takes "" in a text of bytea[] for something else.
    row = source.execute(statement.encode(), binary=True).fetchone()
    assert row is not None
    *values, expected, refused = row
    if refused:
        with pytest.raises(ValueRefused):
            carried.encode(values)
        return
    fields = [f"v{suffix}" for suffix in carried.suffixes]
    stored = bson.encode(dict(zip(fields, carried.encode(values), strict=True)))
    document = bson.decode(stored, VERIFY_OPTIONS)
    assert carried.canonical([document[field] for field in fields]) == expected


def test_a_rows_digest_is_the_same_on_both_sides(source: psycopg.Connection[Any]) -> None:
    texts = ["", None, "null", 'a"b\\c', "\x01\x1f\x7f\t\n", "é😀\u2028", "[1:2]"]
    row = source.execute(
        f"select {row_digest_expression(['%s::text'] * len(texts))}",
        texts,
    ).fetchone()
    assert row == (row_digest(texts),)
