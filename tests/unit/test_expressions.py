"""The parts of an index, as a model says them and as PostgreSQL prints them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, func, literal_column, text

from toolkit.expressions import IndexPart, index_part, index_parts, predicate, sql_text

TABLE = Table("t", MetaData(), Column("a", Text), Column("E-Mail", Text), Column("n", Integer))
C = TABLE.c
NAMES = frozenset(C.keys())


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        (C.a, IndexPart("a", '"a"')),
        (C.a.desc().nulls_last(), IndexPart("a", '"a"', descending=True)),
        (C.a.asc(), IndexPart("a", '"a"')),
        (func.lower(C.a), IndexPart(None, "lower(a)")),
        (func.lower(C["E-Mail"]).label("x"), IndexPart(None, 'lower("E-Mail")')),
        (func.lower(C.a).desc(), IndexPart(None, "lower(a)", descending=True)),
        (C.a + C["E-Mail"], IndexPart(None, 'a || "E-Mail"')),
        (text("a"), IndexPart("a", '"a"')),
        (
            text('"E-Mail" text_pattern_ops'),
            IndexPart("E-Mail", '"E-Mail"', operators="text_pattern_ops"),
        ),
        (literal_column("a DESC NULLS LAST"), IndexPart("a", '"a"', descending=True)),
        (
            text('lower(a) COLLATE "C" public.my_ops(x = 1) DESC NULLS FIRST'),
            IndexPart(None, 'lower(a) COLLATE "C"', True, operators="public.my_ops(x = 1)"),
        ),
        (text('a COLLATE "C"'), IndexPart(None, 'a COLLATE "C"', collated="a")),
        (text("((a || ') DESC'::text)) DESC"), IndexPart(None, "((a || ') DESC'::text))", True)),
        (text("sales.f(a, (n + 1))"), IndexPart(None, "sales.f(a, (n + 1))")),
        (text("COALESCE(n, 0)"), IndexPart(None, "COALESCE(n, 0)")),
        (text("NOT a"), IndexPart(None, "NOT a")),
        (text("a || 'b'"), IndexPart(None, "a || 'b'")),
        (text("n::bigint"), IndexPart(None, "n::bigint")),
        (text("other"), IndexPart(None, "other")),
    ],
)
def test_a_part(expression: Any, part: IndexPart) -> None:
    assert index_part(expression, NAMES) == part


def test_an_index() -> None:
    index = Index("i", C.a, text("lower(a)"), postgresql_where=C.n > 1)
    TABLE.append_constraint(index)
    assert [part.column for part in index_parts(index)] == ["a", None]
    assert predicate(index) == "n > 1"
    assert predicate(Index("j", C.a)) is None


def test_text_holds_no_parameters_and_no_tables() -> None:
    assert sql_text(C.n == 5) == "n = 5"
    assert sql_text(text("a LIKE '50%' AND n <> 1")) == "a LIKE '50%' AND n <> 1"
    assert sql_text("as it is") == "as it is"
