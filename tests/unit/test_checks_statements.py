"""Statements are told apart and brought into one form as PostgreSQL would read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.checks import lexer
from toolkit.checks.lexer import Kind
from toolkit.checks.statements import read, spaced, without_values
from toolkit.errors import UsageError


def texts(sql: str) -> list[str]:
    return [statement.text for statement in read(sql, ".sql")]


@given(st.text(alphabet="abcE'\"$/*-;\\\n 1:?%()[],._") | st.text())
def test_tokens_are_the_text_again(sql: str) -> None:
    assert lexer.text(lexer.tokens(sql)) == sql


@pytest.mark.parametrize(
    ("sql", "kinds"),
    [
        ("'it''s'", [Kind.string]),
        (r"E'it\'s'", [Kind.string]),
        ("$tag$ ; $$ ' $tag$", [Kind.string]),
        ("$1,$2", [Kind.parameter, Kind.symbol, Kind.parameter]),
        ('"We""ird"', [Kind.quoted]),
        ("a::text", [Kind.word, Kind.symbol, Kind.word]),
        ("a[1:2]", [Kind.word, Kind.symbol, Kind.number, Kind.symbol, Kind.number, Kind.symbol]),
        ("1.5e-3", [Kind.number]),
        ("= :name", [Kind.symbol, Kind.gap, Kind.placeholder]),
        ("= ?", [Kind.symbol, Kind.gap, Kind.placeholder]),
        ("data ? 'k'", [Kind.word, Kind.gap, Kind.symbol, Kind.gap, Kind.string]),
        ("data ?| a", [Kind.word, Kind.gap, Kind.symbol, Kind.symbol, Kind.gap, Kind.word]),
        ("/* a /* b */ ; */ x", [Kind.gap, Kind.gap, Kind.word]),
        ("été", [Kind.word]),
    ],
)
def test_each_piece_is_what_postgresql_takes_it_for(sql: str, kinds: list[Kind]) -> None:
    assert [token.kind for token in lexer.tokens(sql)] == kinds


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("select 1 -- one; two\n from x", "select $1 from x"),
        ("/* personal */ select a/*; */from x", "select a from x"),
        ("select x where a = :a and b = :b or :a", "select x where a = $1 and b = $2 or $1"),
        ("select x like 'x%%' and %(a)s = c %% %(c)s", "select x like $3 and $1 = c % $2"),
        ("insert into x values (%s, %s)", "insert into x values ($1, $2)"),
        ("select x where a = ? and b in (?, ?)", "select x where a = $1 and b in ($2, $3)"),
        ("select x::numeric(10, 2), 3::varchar(4)", "select x::numeric(10, 2), $1::varchar(4)"),
        ("select 1 +-- two\n 3", "select $1 + $2"),
        ("select interval '1 day', date '2020-01-01'", "select $1::interval, $2::date"),
        ("select interval $1 from x", "select $1::interval from x"),
        ("select interval '1' day", "select interval '1' day"),
        (
            "select 2 group by 1, 2 order by 1 limit 9",
            "select $1 group by 1, 2 order by 1 limit $2",
        ),
        ("select x where a in ($1 /*, ... */)", "select x where a in ($1 , $1)"),
        ("select $1 ,'x'", "select $1 ,$2"),
    ],
)
def test_values_and_placeholders_become_parameters(sql: str, text: str) -> None:
    assert texts(sql) == [text]


def test_statements_are_told_apart_and_counted_once() -> None:
    assert texts("select 1; select 2;; insert into x values (';');") == [
        "select $1",
        "insert into x values ($1)",
    ]
    rows = (
        '[{"query": "select 1", "calls": 2, "queryid": -5}, {"query": "select 2", "calls": 3},'
        ' {"query": "select now()", "calls": 9}]'
    )
    found = read(rows, ".json")
    assert [(one.text, one.calls) for one in found] == [("select now()", 9), ("select $1", 5)]
    assert found[1].id == "-5"


@pytest.mark.parametrize(
    ("content", "suffix"),
    [("{", ".json"), ("[1]", ".json"), ('[{"q": 1}]', ".json"), ("a\n1", ".csv")],
)
def test_what_is_no_export_is_refused(content: str, suffix: str) -> None:
    with pytest.raises(UsageError):
        read(content, suffix)


def test_a_parameter_is_followed_by_a_space_for_the_parser() -> None:
    assert spaced("f($1,$2::int)") == "f($1 ,$2 ::int)"


def test_no_value_is_left() -> None:
    assert without_values("select 'x' from y where a = 3 and b = $4") == (
        "select $5 from y where a = $6 and b = $4"
    )
