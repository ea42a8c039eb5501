"""Key tables, as the exact SQL that creates, keeps and fills them."""

from __future__ import annotations

import pytest

from tests.unit.support import one_line
from toolkit.names import MAX_BYTES
from toolkit.postgres.keytables import KeyTable

PLAIN = KeyTable(
    "client_key",
    "client",
    (("tenant", '"tenant"'), ("E-Mail", '"E-Mail"')),
    "client_key_pkey",
    'PRIMARY KEY ("tenant", "E-Mail")',
)
COMPUTED = KeyTable(
    "lower_key",
    "client",
    (("expression", "lower(email)"),),
    "lower_key_pkey",
    'PRIMARY KEY ("expression")',
    where="active",
    path=("public",),
)
EXCLUDING = KeyTable(
    "overlap_key",
    "booking",
    (("id", '"id"'), ("during", '"during"')),
    "overlap_key_excl",
    'EXCLUDE USING gist ("during" WITH &&)',
    single=True,
    images=True,
    lookup=("id",),
)


def statements(key_table: KeyTable) -> list[str]:
    return [one_line(statement) for statement in key_table.create("r")]


def test_a_key_table_of_columns() -> None:
    create, constraint, comment, function, comes, changes = statements(PLAIN)
    assert create == (
        'CREATE TABLE "r"."client_key" AS SELECT "tenant" AS "tenant", "E-Mail" AS "E-Mail" '
        'FROM "r"."client" WITH NO DATA'
    )
    assert constraint == (
        'ALTER TABLE "r"."client_key" ADD CONSTRAINT "client_key_pkey" '
        'PRIMARY KEY ("tenant", "E-Mail")'
    )
    assert comment == (
        'COMMENT ON TABLE "r"."client_key" IS '
        "'Keeps client (tenant, E-Mail) unique over all regions.'"
    )
    assert function.startswith(
        'CREATE FUNCTION "r"."client_key_keep"() RETURNS trigger LANGUAGE plpgsql '
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $regionkit$"
    )
    assert (
        "IF TG_OP <> 'INSERT' AND OLD.\"tenant\" IS DISTINCT FROM NULL "
        'AND OLD."E-Mail" IS DISTINCT FROM NULL THEN '
        'DELETE FROM "r"."client_key" AS k WHERE k."tenant" = OLD."tenant" '
        'AND k."E-Mail" = OLD."E-Mail";'
    ) in function
    assert (
        "IF TG_OP <> 'DELETE' AND NEW.\"tenant\" IS DISTINCT FROM NULL "
        'AND NEW."E-Mail" IS DISTINCT FROM NULL THEN '
        'INSERT INTO "r"."client_key" ("tenant", "E-Mail") VALUES (NEW."tenant", NEW."E-Mail");'
    ) in function
    assert comes == (
        'CREATE TRIGGER "client_key" AFTER INSERT OR DELETE ON "r"."client" '
        'FOR EACH ROW EXECUTE FUNCTION "r"."client_key_keep"()'
    )
    assert changes == (
        'CREATE TRIGGER "client_key_update" AFTER UPDATE ON "r"."client" FOR EACH ROW '
        'WHEN (OLD."tenant" IS DISTINCT FROM NEW."tenant" OR '
        'OLD."E-Mail" IS DISTINCT FROM NEW."E-Mail") '
        'EXECUTE FUNCTION "r"."client_key_keep"()'
    )


def test_a_key_table_of_an_expression() -> None:
    create, _, comment, function, _, changes = statements(COMPUTED)
    assert create.endswith('AS SELECT lower(email) AS "expression" FROM "r"."client" WITH NO DATA')
    assert "(lower(email))" in comment
    assert 'SET search_path = pg_catalog, "public", pg_temp' in function
    assert (
        "IF TG_OP = 'UPDATE' AND (SELECT ROW(lower(email))::record FROM (SELECT OLD.*) AS t "
        "WHERE (active) AND (lower(email)) IS DISTINCT FROM NULL) *= "
    ) in function
    assert (
        'INSERT INTO "r"."lower_key" ("expression") SELECT lower(email) AS "expression" '
        "FROM (SELECT NEW.*) AS t WHERE (active) AND (lower(email)) IS DISTINCT FROM NULL;"
    ) in function
    assert "WHEN" not in changes


def test_a_key_table_of_an_exclusion_constraint_has_an_index_to_find_rows_by() -> None:
    _, constraint, _, index, function, _, _ = statements(EXCLUDING)
    assert constraint.endswith('"overlap_key_excl" EXCLUDE USING gist ("during" WITH &&)')
    assert index == 'CREATE INDEX "overlap_key_row" ON "r"."overlap_key" ("id")'
    assert (
        'DELETE FROM "r"."overlap_key" WHERE ctid = (SELECT k.ctid FROM "r"."overlap_key" AS k '
        'WHERE k."id" = OLD."id" AND ROW(k."id", k."during")::record *= '
        'ROW(OLD."id", OLD."during")::record LIMIT 1);'
    ) in function


def test_nulls_that_clash_are_kept_and_found() -> None:
    held = KeyTable(
        "k", "client", (("a", '"a"'),), "c", "UNIQUE NULLS NOT DISTINCT (a)", nulls=True
    )
    function = statements(held)[3]
    assert "IF TG_OP <> 'INSERT' THEN" in function
    assert (
        'WHERE (k."a" = OLD."a" '
        'OR k."a" IS NOT DISTINCT FROM NULL AND OLD."a" IS NOT DISTINCT FROM NULL);' in function
    )
    assert held.fill("r") == 'INSERT INTO "r"."k" ("a") SELECT "a" AS "a" FROM "r"."client" AS t'


def test_equal_keys_are_deleted_one_at_a_time_where_there_can_be_several() -> None:
    held = KeyTable("k", "client", (("a", '"a"'),), "c", "PRIMARY KEY (a) DEFERRABLE", single=True)
    assert (
        'DELETE FROM "r"."k" WHERE ctid = '
        '(SELECT k.ctid FROM "r"."k" AS k WHERE k."a" = OLD."a" LIMIT 1);'
    ) in statements(held)[3]


def test_it_is_filled_with_the_keys_that_it_holds() -> None:
    assert PLAIN.fill("r") == (
        'INSERT INTO "r"."client_key" ("tenant", "E-Mail") SELECT "tenant" AS "tenant", '
        '"E-Mail" AS "E-Mail" FROM "r"."client" AS t '
        'WHERE ("tenant") IS DISTINCT FROM NULL AND ("E-Mail") IS DISTINCT FROM NULL'
    )
    assert COMPUTED.fill("r").endswith(
        'FROM "r"."client" AS t WHERE (active) AND (lower(email)) IS DISTINCT FROM NULL'
    )


def test_it_is_dropped_with_what_keeps_it() -> None:
    assert PLAIN.drop("r") == [
        'DROP TRIGGER "client_key" ON "r"."client"',
        'DROP TRIGGER "client_key_update" ON "r"."client"',
        'DROP FUNCTION "r"."client_key_keep"()',
        'DROP TABLE "r"."client_key"',
    ]


@pytest.mark.parametrize("name", ["k" * 63, "語" * 21])
def test_the_names_of_what_keeps_it_fit(name: str) -> None:
    held = KeyTable(name, "client", (("a", '"a"'),), "c", "PRIMARY KEY (a)")
    names = [held.function, *held.triggers]
    assert all(len(one.encode()) <= MAX_BYTES for one in names)
    assert len(set(names)) == 3
