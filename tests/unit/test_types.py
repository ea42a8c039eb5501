"""PostgreSQL's types, from whatever names them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from toolkit.types import (
    Composite,
    CustomRange,
    PostgresNamed,
    PostgresType,
    parse,
    postgres_type,
)

#: Names as PostgreSQL's ``format_type`` prints them, with the places of arguments.
CANONICAL = [
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "boolean",
    "text",
    "uuid",
    "bytea",
    "json",
    "jsonb",
    "date",
    "interval",
    "inet",
    "tsvector",
    "int4range",
    "tstzmultirange",
    "character varying",
    "character",
    "numeric",
    "bit",
    "bit varying",
    "time without time zone",
    "time with time zone",
    "timestamp without time zone",
    "timestamp with time zone",
]


def spell(name: str, arguments: tuple[int, ...], dimensions: int) -> str:
    """Write a type as ``format_type`` does: arguments before the words on the time zone."""
    head, *tail = name.partition(" with")
    written = f"({','.join(map(str, arguments))})" if arguments else ""
    return f"{head}{written}{''.join(tail)}{'[]' * dimensions}"


@given(
    st.sampled_from(CANONICAL),
    st.lists(st.integers(-1000, 1000), max_size=2).map(tuple),
    st.integers(0, 3),
)
def test_a_canonical_type_is_taken_apart_and_put_together(
    name: str, arguments: tuple[int, ...], dimensions: int
) -> None:
    parsed = parse(spell(name, arguments, dimensions))
    assert (parsed.name, parsed.arguments, parsed.dimensions) == (name, arguments, dimensions)
    assert (parsed.subtype is not None) == ("range" in name)
    assert spell(parsed.name, parsed.arguments, parsed.dimensions) == spell(
        name, arguments, dimensions
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", PostgresType("integer")),
        ("INT8", PostgresType("bigint")),
        ("serial", PostgresType("integer")),
        ("decimal(12, 2)", PostgresType("numeric", (12, 2))),
        ("numeric(5,-2)", PostgresType("numeric", (5, -2))),
        ("float", PostgresType("double precision")),
        ("float(24)", PostgresType("real")),
        ("float(25)", PostgresType("double precision")),
        ("FLOAT(53)[]", PostgresType("double precision", (), 1)),
        ("VARCHAR", PostgresType("character varying")),
        ("varchar(20)[]", PostgresType("character varying", (20,), 1)),
        ("bpchar", PostgresType("character")),
        ('"char"', PostgresType('"char"')),
        ("timestamptz", PostgresType("timestamp with time zone")),
        ("timestamptz(3)", PostgresType("timestamp with time zone", (3,))),
        ("TIMESTAMP(3) WITH TIME ZONE", PostgresType("timestamp with time zone", (3,))),
        ("timestamp  without   time zone", PostgresType("timestamp without time zone")),
        ("timestamp", PostgresType("timestamp without time zone")),
        ("time(0)", PostgresType("time without time zone", (0,))),
        ("time with time zone[]", PostgresType("time with time zone", (), 1)),
        ("interval day to second(3)", PostgresType("interval", (3,))),
        ("integer[3][4]", PostgresType("integer", (), 2)),
        (" jsonb ", PostgresType("jsonb")),
        ("bank.mood", PostgresType("bank.mood")),
        ('bank."Mood"', PostgresType('bank."Mood"')),
        ("geometry(Point,4326)", PostgresType("geometry", (4326,))),
        ("vector(3)", PostgresType("vector", (3,))),
        ("", PostgresType("")),
        ('"odd(name"', PostgresType('"odd(name"')),
    ],
)
def test_other_spellings(text: str, expected: PostgresType) -> None:
    assert parse(text) == expected


@given(st.text())
def test_no_text_is_too_odd_to_be_a_type(text: str) -> None:
    parsed = parse(text)
    assert parse(text) == parsed
    assert parsed.is_array == (parsed.dimensions > 0)


def test_the_element_of_an_array() -> None:
    array = PostgresType("numeric", (12, 2), 2)
    assert array.is_array
    assert array.element == PostgresType("numeric", (12, 2))
    assert not array.element.is_array


class Cents(sa.TypeDecorator[int]):
    impl = sa.BigInteger
    cache_ok = True


class Mood(sa.TypeDecorator[str]):
    impl = sa.Enum("good", "bad", name="mood")
    cache_ok = True


ENUM = sa.Enum("good", "bad", name="mood")


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (sa.SmallInteger(), PostgresType("smallint")),
        (sa.Integer(), PostgresType("integer")),
        (sa.BigInteger(), PostgresType("bigint")),
        (sa.Numeric(18, 2), PostgresType("numeric", (18, 2))),
        (sa.Numeric(), PostgresType("numeric")),
        (sa.Float(), PostgresType("double precision")),
        (sa.Float(precision=24), PostgresType("real")),
        (sa.Double(), PostgresType("double precision")),
        (sa.REAL(), PostgresType("real")),
        (sa.Boolean(), PostgresType("boolean")),
        (sa.Text(), PostgresType("text")),
        (sa.Text(collation="C"), PostgresType("text")),
        (sa.String(), PostgresType("character varying")),
        (sa.String(16, collation="de-x-icu"), PostgresType("character varying", (16,))),
        (sa.CHAR(2), PostgresType("character", (2,))),
        (sa.Uuid(), PostgresType("uuid")),
        (sa.LargeBinary(), PostgresType("bytea")),
        (sa.Date(), PostgresType("date")),
        (sa.Time(), PostgresType("time without time zone")),
        (sa.DateTime(), PostgresType("timestamp without time zone")),
        (sa.DateTime(timezone=True), PostgresType("timestamp with time zone")),
        (postgresql.TIMESTAMP(True, 3), PostgresType("timestamp with time zone", (3,))),
        (sa.Interval(), PostgresType("interval")),
        (postgresql.INTERVAL(3, "DAY TO SECOND"), PostgresType("interval", (3,))),
        (sa.JSON(), PostgresType("json")),
        (sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), PostgresType("jsonb")),
        (postgresql.BIT(3), PostgresType("bit", (3,))),
        (postgresql.BIT(3, varying=True), PostgresType("bit varying", (3,))),
        (postgresql.ARRAY(sa.Integer()), PostgresType("integer", (), 1)),
        (postgresql.ARRAY(sa.Numeric(4, 1), dimensions=2), PostgresType("numeric", (4, 1), 2)),
        (ENUM, PostgresType("mood", labels=("good", "bad"))),
        (
            postgresql.ENUM("good", name="mood", schema="bank"),
            PostgresType("mood", (), 0, ("good",)),
        ),
        (postgresql.ARRAY(ENUM), PostgresType("mood", (), 1, ("good", "bad"))),
        (sa.Enum("good", "bad", native_enum=False), PostgresType("character varying", (4,))),
        (postgresql.DOMAIN("price", sa.Numeric(9, 2)), PostgresType("numeric", (9, 2))),
        (Cents(), PostgresType("bigint")),
        (Mood(), PostgresType("mood", labels=("good", "bad"))),
        (PostgresNamed("bank.point3d[]"), PostgresType("bank.point3d", (), 1)),
    ],
    ids=repr,
)
def test_the_type_of_a_column(type_: sa.types.TypeEngine[object], expected: PostgresType) -> None:
    assert postgres_type(type_) == expected


def test_a_type_without_a_class_is_carried_by_its_name() -> None:
    table = sa.Table("t", sa.MetaData(), sa.Column("c", PostgresNamed("bank.point3d[]")))
    compiled = str(CreateTable(table).compile(dialect=postgresql.dialect()))
    assert "c bank.point3d[]" in compiled
    assert repr(table.c.c.type) == "PostgresNamed('bank.point3d[]')"
    assert table.c.c.type.bind_processor(postgresql.dialect()) is None


def test_a_range_knows_the_type_of_its_bounds() -> None:
    assert parse("tstzmultirange") == PostgresType(
        "tstzmultirange", subtype=PostgresType("timestamp with time zone"), multi=True
    )
    custom = CustomRange("floats", sa.Double(), schema="other")
    assert custom.get_col_spec() == '"other"."floats"'
    assert postgres_type(custom) == PostgresType("floats", subtype=PostgresType("double precision"))


def test_a_composite_type_knows_its_fields() -> None:
    point = Composite("Point", ("x", sa.Integer()), ("tags", postgresql.ARRAY(sa.Text())))
    assert point.get_col_spec() == '"Point"'
    assert postgres_type(postgresql.ARRAY(point)) == PostgresType(
        "Point", dimensions=1, fields=(("x", PostgresType("integer")), ("tags", parse("text[]")))
    )


def test_a_type_of_an_extension_is_known_in_any_schema() -> None:
    assert parse("extensions.citext") == PostgresType("citext")
    assert parse('"My ext".hstore[]') == PostgresType("hstore", dimensions=1)
    assert parse("sales.citext_like") == PostgresType("sales.citext_like")
