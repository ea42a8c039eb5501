"""PostgreSQL's own text, taken apart."""

from __future__ import annotations

import pytest

from toolkit.postgres.reflect.definitions import index_parts, without_parentheses
from toolkit.postgres.reflect.renaming import Renaming


@pytest.mark.parametrize(
    ("definition", "parts"),
    [
        ("CREATE INDEX i ON s.t USING btree (a, b DESC)", ["a", "b DESC"]),
        (
            "CREATE UNIQUE INDEX i ON ONLY s.t USING gist (a, ((b || ','::text)) COLLATE \"C\") "
            "INCLUDE (c, d) WITH (fillfactor='70') WHERE (a > 0)",
            ["a", "((b || ','::text)) COLLATE \"C\""],
        ),
        (
            'CREATE INDEX "i (x, y)" ON "s(".t USING btree ("a, (b", f(c, ARRAY[1, 2]))',
            ['"a, (b"', "f(c, ARRAY[1, 2])"],
        ),
        (
            "CREATE INDEX i ON s.t USING btree (f(E'it\\'s \\\\', 'o''(,'), name('e'))",
            ["f(E'it\\'s \\\\', 'o''(,')", "name('e')"],
        ),
        (
            "CREATE INDEX i ON s.t USING gist (v tsvector_ops (siglen='100'), w)",
            ["v tsvector_ops (siglen='100')", "w"],
        ),
    ],
)
def test_the_parts_of_an_index(definition: str, parts: list[str]) -> None:
    assert index_parts(definition) == parts


@pytest.mark.parametrize(
    ("expression", "inner"),
    [
        ("(a > 0)", "a > 0"),
        ("((a > 0) AND (b < 1))", "(a > 0) AND (b < 1)"),
        ("(a > 0) AND (b < 1)", "(a > 0) AND (b < 1)"),
        ("(((a)::text <> ')'::text))", "(a)::text <> ')'::text"),
        ("('a(' = b)", "'a(' = b"),
        ('("a)" > 0)', '"a)" > 0'),
        ("lower(a)", "lower(a)"),
        ("", ""),
    ],
)
def test_parentheses_around_everything_go(expression: str, inner: str) -> None:
    assert without_parentheses(expression) == inner


def test_a_schema_is_renamed_where_it_qualifies() -> None:
    renaming = Renaming({"it's": "shop"}, {'"it\'s"': "shop"})
    assert renaming.schema("it's") == "shop"
    assert renaming.schema("other") == "other"
    text = """nextval('"it''s".seq'::regclass) + "it's".f("it's", 'x'::"it's".mood)"""
    assert (
        renaming.text(text) == """nextval('shop.seq'::regclass) + shop.f("it's", 'x'::shop.mood)"""
    )
    assert Renaming({"a": "b"}, {"a": "b"}).text("a.x, ca.x, c.a.x, $a.x, a") == (
        "b.x, ca.x, c.a.x, $a.x, a"
    )
