"""PostgreSQL types and values of them, as SQL literals, drawn from a seeded generator."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

#: What a random text is made of: every kind of character that is easily lost.
_LETTERS = "abcXYZ 0'\"\\%:$._-éß漢字🙂\t\n"


@dataclass(frozen=True)
class Type:
    """A type.

    Attributes:
        sql: as a column's type.
        draw: returns a literal; not NULL.
        numbered: returns a literal for a number: different ones for different numbers, as a key
            needs; ``None`` where a key of the type is not drawn.
        setup: the statement that defines it, if a schema must; ``{schema}`` is the schema.
        refused: literals that PostgreSQL holds and MongoDB does not.
    """

    sql: str
    draw: Callable[[Random], str]
    numbered: Callable[[int], str] | None = None
    setup: str = ""
    refused: tuple[str, ...] = ()


def text(value: str) -> str:
    """Return a literal of any text."""
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _word(random: Random, longest: int = 12) -> str:
    return "".join(random.choice(_LETTERS) for _ in range(random.randint(0, longest)))


def _one_of(*literals: str) -> Callable[[Random], str]:
    return lambda random: random.choice(literals)


def _array(element: Callable[[Random], str], type_: str) -> Callable[[Random], str]:
    def draw(random: Random) -> str:
        items = [
            "NULL" if random.random() < 0.15 else element(random)
            for _ in range(random.randint(0, 4))
        ]
        return f"ARRAY[{', '.join(items)}]::{type_}"

    return draw


_WORD = lambda random: text(_word(random))  # noqa: E731  (a drawing function like the others)
_INSTANTS = (
    "'2024-02-29 12:34:56.789123+02'",
    "'1969-12-31 23:59:59.999999+00'",
    "'0001-01-01 00:00:00+00'",
    "'9999-12-31 23:59:59.999+00'",
    "'2038-01-19 03:14:08+00'",
)
_DAYS = ("'2024-02-29'", "'1582-10-15'", "'0001-01-01'", "'9999-12-31'", "'1970-01-01'")
_DOCUMENTS = (
    "'{}'",
    "'[]'",
    "'null'",
    "'1'",
    "'\"x\"'",
    '\'{"a": {"b": [1, 2.50, null, true]}, "": 1, "$x": 2, "a.b": 3}\'',
    "'[9223372036854775807, -9223372036854775808, 0.1, 1E+3]'",
)

TYPES: tuple[Type, ...] = (
    Type("smallint", _one_of("0", "-32768", "32767", "7"), lambda n: str(n - 5)),
    Type("integer", _one_of("0", "-2147483648", "2147483647", "42"), lambda n: str(n * 7 - 9)),
    Type("bigint", _one_of("0", "-9223372036854775808", "9223372036854775807", "5"), str),
    Type(
        "numeric(12,2)",
        _one_of("0", "-0.05", "9999999999.99", "12.50"),
        lambda n: f"{n}.50",
    ),
    Type(
        "numeric",
        _one_of("0", "1.500", "'NaN'", "1e-30", "123456789012345678901234567890.1234"),
        lambda n: f"{n}.0",
        refused=("12345678901234567890123456789012345.5",),
    ),
    Type("real", _one_of("0", "'-0'", "'NaN'", "'Infinity'", "1.1", "3.4e38")),
    Type("double precision", _one_of("0", "'-0'", "'NaN'", "'-Infinity'", "0.1", "1e308")),
    Type("boolean", _one_of("true", "false")),
    Type("text", _WORD, lambda n: text(f"key '{n}' é")),
    Type("character varying(40)", lambda random: text(_word(random, 40)), lambda n: text(f"v{n}")),
    Type("character(6)", _one_of("'abc'", "''", "'abcdef'"), lambda n: f"'c{n}'"),
    Type("bytea", _one_of(r"'\x'", r"'\x00ff10'", r"'\xdeadbeef'"), lambda n: rf"'\x{n:06x}'"),
    Type(
        "uuid",
        lambda random: f"'{uuid.UUID(int=random.getrandbits(128))}'",
        lambda n: f"'{uuid.UUID(int=n)}'",
    ),
    Type(
        "date",
        _one_of(*_DAYS),
        lambda n: f"date '2020-01-01' + {n}",
        refused=("'infinity'",),
    ),
    Type(
        "timestamp without time zone",
        _one_of(*(instant[:-4] + "'" for instant in _INSTANTS)),
        lambda n: f"timestamp '2020-01-01 00:00:00.000001' + {n} * interval '1 second'",
        refused=("'-infinity'",),
    ),
    Type(
        "timestamp with time zone",
        _one_of(*_INSTANTS),
        lambda n: f"timestamptz '2020-01-01 00:00:00.123456+00' + {n} * interval '1 microsecond'",
        refused=("'infinity'",),
    ),
    Type("time without time zone", _one_of("'00:00'", "'23:59:59.999999'", "'24:00'")),
    Type("time with time zone", _one_of("'12:00+02'", "'23:59:59.5-11:30'")),
    Type("interval", _one_of("'1 mon'", "'-1 day 00:00:00.000001'", "'0'", "'3 years 2 h'")),
    Type("json", _one_of(*_DOCUMENTS, '\'{"a": 1, "a": 2}\'')),
    Type(
        "jsonb",
        _one_of(*(one for one in _DOCUMENTS if one != "'null'")),
        # JSON null is not SQL NULL, and BSON has one null.
        refused=("'12345678901234567890123456789012345.5'", "'null'"),
    ),
    Type("inet", _one_of("'10.0.0.1/8'", "'::1'", "'192.168.0.1'"), lambda n: f"'10.0.0.{n}'"),
    Type("macaddr", _one_of("'08:00:2b:01:02:03'")),
    Type("bit(8)", _one_of("B'00000000'", "B'10101010'")),
    Type("bit varying", _one_of("B''", "B'101'")),
    Type("tsvector", _one_of("'a fat cat'", "''")),
    Type("point", _one_of("'(1,2)'", "'(-0.5,1e10)'")),
    Type("int4range", _one_of("'[1,5)'", "'empty'", "'(,7)'", "'[3,]'")),
    Type("tstzrange", _one_of("'[2024-01-01 00:00+00,2024-02-01 00:00:00.000001+00)'", "'(,)'")),
    Type("integer[]", _array(_one_of("1", "-5"), "integer[]"), refused=("'[0:1]={1,2}'",)),
    Type("text[]", _array(_WORD, "text[]")),
    Type(
        "timestamp with time zone[]",
        _array(_one_of(*(f"timestamptz {one}" for one in _INSTANTS)), "timestamptz[]"),
    ),
    Type(
        "{schema}.mood",
        _one_of("'sad'", "'it''s ok'", "'Happy'"),
        setup="CREATE TYPE {schema}.mood AS ENUM ('sad', 'it''s ok', 'Happy')",
    ),
    Type(
        "{schema}.mood[]",
        _one_of("'{}'", "'{sad,Happy}'"),
        setup="CREATE TYPE {schema}.mood AS ENUM ('sad', 'it''s ok', 'Happy')",
    ),
    Type(
        '{schema}."Code"',
        _one_of("'AB'", "'ZZ'"),
        setup="CREATE DOMAIN {schema}.\"Code\" AS text CHECK (VALUE ~ '^[A-Z]+$')",
    ),
    Type(
        "{schema}.pair",
        _one_of("ROW(1, 'a, (\"b\")')", "ROW(NULL, '')", "ROW(NULL, NULL)"),
        setup='CREATE TYPE {schema}.pair AS (x integer, "y z" text)',
    ),
)

#: The types of which a key can be.
KEYS = tuple(one for one in TYPES if one.numbered is not None)
