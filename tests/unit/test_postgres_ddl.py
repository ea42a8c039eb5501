"""SQL that SQLAlchemy has no words for: quoted, escaped, and passed on letter by letter."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import CheckConstraint, Column, MetaData, Table, Text, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from toolkit.postgres import ddl

#: What PostgreSQL stores: no NUL, no lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
COLONS = st.text(alphabet=":\\ ab1$'%", max_size=20)
DIALECTS = [
    postgresql.dialect(paramstyle=style)  # type: ignore[no-untyped-call]
    for style in ("named", "pyformat")
]


def read_identifier(quoted: str) -> str:
    """Read a quoted identifier as PostgreSQL does."""
    assert quoted[0] == quoted[-1] == '"'
    inner = quoted[1:-1]
    assert '"' not in inner.replace('""', "")
    return inner.replace('""', '"')


def read_literal(written: str) -> str:
    """Read a string literal as PostgreSQL does, with standard_conforming_strings on."""
    written = written.lstrip(" ")
    escapes = written.startswith("E")
    inner = written.removeprefix("E")
    assert inner[0] == inner[-1] == "'"
    inner = inner[1:-1]
    assert "'" not in inner.replace("''", "")
    if escapes:
        assert "\\" not in inner.replace("\\\\", "")
        inner = inner.replace("\\\\", "\\")
    else:
        assert "\\" not in inner
    return inner.replace("''", "'")


@given(TEXTS.filter(bool))
@example('say "hi"')
@example("50%")
@example("select")
def test_an_identifier_is_what_it_was(name: str) -> None:
    assert read_identifier(ddl.quote(name)) == name


def test_dotted_identifiers() -> None:
    assert ddl.quote("r", "client") == '"r"."client"'
    assert ddl.quote(None, "client") == '"client"'
    assert ddl.columns(["a", 'b"c']) == '"a", "b""c"'


@given(TEXTS)
@example("it's")
@example("back\\slash")
@example("both \\' of them")
def test_a_literal_is_what_it_was(value: str) -> None:
    assert read_literal(ddl.literal(value)) == value


def test_a_literal_cannot_hold_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        ddl.literal("a\0b")


# Colons -------------------------------------------------------------------------------------


@given(COLONS)
@example("':x'")
@example(" :a:b ")
@example(" :ab:c")
@example("\\:a")
@example("\\\\:a")
@example("a::text")
@example(":a::text")
@example("'x'::\"r\".mood")
def test_text_makes_the_same_sql_again(sql: str) -> None:
    clause = text(ddl.escape_binds(sql))
    assert clause._bindparams == {}
    assert str(clause.compile(dialect=DIALECTS[0])) == sql
    # The driver's style doubles the percent sign, and the driver takes that back.
    assert str(clause.compile(dialect=DIALECTS[1])).replace("%%", "%") == sql
    assert str(ddl.verbatim(sql).compile(dialect=DIALECTS[0])) == sql


@given(COLONS)
def test_a_check_keeps_its_colons(sql: str) -> None:
    table = Table("t", MetaData(), Column("c", Text), CheckConstraint(ddl.escape_binds(sql)))
    assert f"CHECK ({sql})" in str(CreateTable(table).compile(dialect=DIALECTS[0]))


@pytest.mark.parametrize("sql", ["", "a", "'x'::text", "nextval('s'::regclass)", "a : b", "a:b"])
def test_what_needs_no_escape_gets_none(sql: str) -> None:
    assert ddl.escape_binds(sql) == sql


# Statements ---------------------------------------------------------------------------------


def test_a_partition() -> None:
    assert ddl.create_partition("r", "client", "client_eu", "eu") == (
        'CREATE TABLE "r"."client_eu" PARTITION OF "r"."client" FOR VALUES IN (\'eu\')'
    )
    assert ddl.detach_partition("r", "client", "client_eu") == (
        'ALTER TABLE "r"."client" DETACH PARTITION "r"."client_eu"'
    )


def test_the_list_of_regions() -> None:
    assert ddl.insert_regions("r", "region", ["gl", "eu"]) == (
        "INSERT INTO \"r\".\"region\" (code) VALUES ('gl'), ('eu')"
    )
    assert ddl.delete_region("r", "region", "eu") == (
        'DELETE FROM "r"."region" WHERE code = \'eu\''
    )


def test_an_enum() -> None:
    assert ddl.create_enum("r", "mood", ["good", "it's bad"]) == (
        "CREATE TYPE \"r\".\"mood\" AS ENUM ('good', 'it''s bad')"
    )


def test_a_foreign_key_whose_names_hold_dots() -> None:
    assert ddl.add_foreign_key(
        "r.s",
        "a.b",
        "t.u",
        "o.p",
        from_columns=["x.y", "z"],
        to_columns=["i.d", "region"],
        match="FULL",
        on_update="CASCADE",
        on_delete='SET NULL ("x.y")',
        deferrable=True,
        initially="IMMEDIATE",
    ) == (
        'ALTER TABLE "r.s"."t.u" ADD CONSTRAINT "a.b" FOREIGN KEY ("x.y", "z") '
        'REFERENCES "r.s"."o.p" ("i.d", "region") MATCH FULL '
        'ON DELETE SET NULL ("x.y") ON UPDATE CASCADE DEFERRABLE INITIALLY IMMEDIATE'
    )
    plain = ddl.add_foreign_key("r", "k", "t", "o", from_columns=["a"], to_columns=["b"])
    assert plain == (
        'ALTER TABLE "r"."t" ADD CONSTRAINT "k" FOREIGN KEY ("a") REFERENCES "r"."o" ("b")'
    )


def test_a_move_is_announced_to_the_carried_triggers() -> None:
    assert ddl.move_row_settings() == {"regionkit.moving": "on"}
