"""SQL taken apart and put together again, and its names replaced object by object."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.sqltext import (
    Kind,
    Renames,
    Token,
    comparable,
    names,
    quoted,
    requalified,
    retargeted,
    spelled,
    statements,
    tokens,
    unquoted,
)

RENAMES = Renames(
    objects={
        ("shop", "entry"): ("r", "entry"),
        ("hr", "client"): ("r", "hr_client"),
        ("hr", "f"): ("r", "hr_f"),
        ("hr", "==="): ("r", "==="),
        ("My Shop", "It's"): ("r", 'It\'s "new"'),
    },
    relations=frozenset({("shop", "entry"), ("hr", "client")}),
    schemas={"shop": "r", "hr": "r"},
)

# Tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a.b", "word symbol word"),
        ("'it''s'", "string"),
        (r"E'it\'s'", "string"),
        ("U&'x' B'1' N'x'", "string space string space string"),
        ('"a ""b"" c"', "quoted"),
        ("$$ a 'b $$", "body"),
        ("$x$ $$ $x$", "body"),
        ("$1 + 1.5", "number space symbol space number"),
        ("a$b$", "word"),
        ("-- a 'b\nc", "comment space word"),
        ("/* a /* b */ c */ d", "comment space word"),
        ("/* never closed", "comment"),
        ("'never closed", "symbol word space word"),
        ("$$ never closed", "symbol symbol space word space word"),
        ("größe::int", "word symbol word"),
    ],
)
def test_tokens(text: str, kinds: str) -> None:
    assert " ".join(token.kind.name for token in tokens(text)) == kinds


@given(st.text(alphabet="aB_1 \n'\"$-/*.;:()E\\é", max_size=60))
def test_no_token_is_lost(text: str) -> None:
    assert "".join(token.text for token in tokens(text)) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [("a", ("a",)), ("A.b", ("a", "b")), ('"A.b"."c""d"', ("A.b", 'c"d')), ("a.b.c", tuple("abc"))],
)
def test_names(text: str, parts: tuple[str, ...]) -> None:
    assert names(text) == parts
    assert names(quoted(*parts)) == parts
    assert names(spelled(*parts)) == parts


@pytest.mark.parametrize("text", ["", "a.", ".a", "a b", "a,b", "1", "'a'"])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        names(text)


@given(st.text(min_size=1, alphabet=st.characters(exclude_characters="\0")))
def test_a_quoted_name_is_read_back(name: str) -> None:
    assert unquoted(quoted(name)) == name


def test_statements() -> None:
    text = "CREATE RULE r AS DO (a; b);\n  -- c; d\n SELECT ';' $$ ; $$ \";\";;"
    assert statements(text) == ["CREATE RULE r AS DO (a; b)", "-- c; d\n SELECT ';' $$ ; $$ \";\""]
    assert statements(" ; ") == []


# Names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SELECT hr.f()", 'SELECT "r"."hr_f"()'),
        ("SELECT HR.F()", 'SELECT "r"."hr_f"()'),
        ('SELECT "hr"."f"()', 'SELECT "r"."hr_f"()'),
        ('"My Shop"."It\'s"', '"r"."It\'s ""new"""'),
        ("x::hr.client[]", 'x::"r"."hr_client"[]'),
        ("hr.client%ROWTYPE", '"r"."hr_client"%ROWTYPE'),
        ("SELECT hr.client.id", 'SELECT "r"."hr_client".id'),
        # What is nobody's, or an extension's, keeps its name.
        ("hr.other", "hr.other"),
        ("x.hr.client", "x.hr.client"),
        ('"HR".client', '"HR".client'),
        ("hr . client", "hr . client"),
        # A table that is called like its schema: columns are behind the same word.
        ("SELECT shop.entry_id FROM shop.shop", "SELECT shop.entry_id FROM shop.shop"),
        # Operators.
        ("a OPERATOR(hr.===) b", 'a OPERATOR("r".===) b'),
        (
            "CREATE OPERATOR hr.=== (FUNCTION = hr.f)",
            'CREATE OPERATOR "r".=== (FUNCTION = "r"."hr_f")',
        ),
        ("OPERATOR 1 hr.===(text, text)", 'OPERATOR 1 "r".===(text, text)'),
        ("a OPERATOR(pg_catalog.=) b", "a OPERATOR(pg_catalog.=) b"),
        # Strings hold names, and what only looks like one.
        ("nextval('hr.f'::regclass)", 'nextval(\'"r"."hr_f"\'::regclass)'),
        ("EXECUTE 'TRUNCATE hr.client'", 'EXECUTE \'TRUNCATE "r"."hr_client"\''),
        ("EXECUTE 'SELECT ''hr.f'''", "EXECUTE 'SELECT ''\"r\".\"hr_f\"'''"),
        ("'\"My Shop\".\"It''s\"'", '\'"r"."It\'\'s ""new"""\''),
        ("'info@hr.client'", "'info@hr.client'"),
        ("'https://hr.client/x'", "'https://hr.client/x'"),
        # Bodies, and the comments in them.
        ("AS $$ SELECT hr.f() -- hr.f\n$$", 'AS $$ SELECT "r"."hr_f"() -- hr.f\n$$'),
        ("AS $a$ x $$hr.f$$ $a$", 'AS $a$ x $$"r"."hr_f"$$ $a$'),
        ("/* hr.f */", "/* hr.f */"),
        # Search paths.
        ("SET search_path TO 'hr', 'shop', 'public'", "SET search_path TO \"r\", 'public'"),
    ],
)
def test_an_object_is_renamed(before: str, after: str) -> None:
    assert RENAMES.apply(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("FROM hr.client", 'FROM "r"."hr_client" AS "client"'),
        ("FROM hr.client WHERE x", 'FROM "r"."hr_client" AS "client" WHERE x'),
        ("FROM hr.client;", 'FROM "r"."hr_client" AS "client";'),
        ("FROM hr.client -- all\n", 'FROM "r"."hr_client" AS "client" -- all\n'),
        (
            "FROM (hr.client JOIN shop.entry ON true)",
            'FROM ("r"."hr_client" AS "client" JOIN "r".entry ON true)',
        ),
        ("FROM a, hr.client", 'FROM a, "r"."hr_client" AS "client"'),
        ("FROM ONLY hr.client", 'FROM ONLY "r"."hr_client" AS "client"'),
        ("FROM hr.client c", 'FROM "r"."hr_client" c'),
        ('FROM hr.client "C"', 'FROM "r"."hr_client" "C"'),
        ("FROM hr.client AS c", 'FROM "r"."hr_client" AS c'),
        (
            "1; INSERT INTO hr.client (a) VALUES (1)",
            '1; INSERT INTO "r"."hr_client" AS "client" (a) VALUES (1)',
        ),
        ("1; UPDATE hr.client SET a = 1", '1; UPDATE "r"."hr_client" AS "client" SET a = 1'),
        ("FROM hr.f()", 'FROM "r"."hr_f"()'),
        # Not its name but its row type, or a column of it.
        ("x::hr.client", 'x::"r"."hr_client"'),
        ("hr.client.id FROM x", '"r"."hr_client".id FROM x'),
        # The name is the same.
        ("FROM shop.entry", 'FROM "r".entry'),
    ],
)
def test_a_renamed_relation_keeps_its_name_as_alias(before: str, after: str) -> None:
    assert RENAMES.apply(f"SELECT {before}") == f"SELECT {after}"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE FUNCTION f(hr.client, x hr.client) RETURNS hr.client",
        "CREATE TRIGGER t AFTER UPDATE ON hr.client FROM hr.client",
        "ALTER TABLE ONLY hr.client",
        "COMMENT ON TABLE hr.client",
    ],
)
def test_where_nothing_is_selected_there_is_no_alias(text: str) -> None:
    assert RENAMES.apply(text) == text.replace("hr.client", '"r"."hr_client"')


def test_columns_behind_another_name() -> None:
    text = "(EXISTS ( SELECT 1 FROM r.b client_1 WHERE client_1.id = client.id AND a.client.x = 1))"
    assert requalified(text, "client", "client_eu") == text.replace(" client.id", ' "client_eu".id')


def test_the_first_mention_of_a_table() -> None:
    text = 'CREATE POLICY p ON "r".client USING (EXISTS (SELECT FROM r.client))'
    assert retargeted(text, ("r", "client"), ("r", "client_eu")) == (
        'CREATE POLICY p ON "r"."client_eu" USING (EXISTS (SELECT FROM r.client))'
    )
    assert retargeted("SELECT 1", ("r", "client"), ("r", "x")) == "SELECT 1"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            'SELECT "a"  FROM "r".t AS x',
            "select a from r.t x".replace("select", "SELECT").replace("from", "FROM"),
        ),
        ("nextval('\"r\".s'::regclass)", "nextval('r.s'::regclass)"),
        ('SET search_path TO "r", public', "SET search_path TO 'r', 'public'"),
    ],
)
def test_what_compares_equal(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a b", "ab"), ("'A'", "'a'"), ('"A"', "a"), ("x", "y")]
)
def test_what_does_not(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)


SAME = Renames(
    objects={(s, n): (s, n) for s in ("hr", "c") for n in ("client", "f", "ri")},
    relations=frozenset({("hr", "client")}),
)


@given(st.text(alphabet='hr.clientf "$()=,-/*\n', max_size=60))
def test_the_same_names_give_the_same_sql(text: str) -> None:
    def plain(token: Token) -> str:
        return token.name if token.is_name else token.text

    before = [plain(token) for token in tokens(text) if token.kind is not Kind.body]
    after = [plain(token) for token in tokens(SAME.apply(text)) if token.kind is not Kind.body]
    assert after == before
