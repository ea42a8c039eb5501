"""The reference bank's model keeps the promises that the rest of the project builds on."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Constraint,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    make_url,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from schemas.bank import catalogue, seed
from schemas.bank.model import SCHEMA, client, client_status, metadata

TABLES = metadata.sorted_tables
DIALECT = make_url("postgresql+psycopg://").get_dialect()()
GLOBAL = {"country", "currency", "merchant"}
OWNED = {"client", "account", "card", "payment", "debit", "transfer", "ledger_entry"}
EXTRAS = files("schemas.bank").joinpath("extras.sql").read_text(encoding="utf-8")


def every_table() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def named(constraint: Constraint) -> str:
    """Return the name that the DDL gives the constraint."""
    name = DIALECT.identifier_preparer.format_constraint(constraint)
    assert name is not None
    return name


def sql(element: CreateTable | CreateIndex) -> str:
    return str(element.compile(dialect=DIALECT))


def test_tables() -> None:
    assert {table.name for table in TABLES} == GLOBAL | OWNED
    assert {table.schema for table in TABLES} == {SCHEMA}


@every_table()
def test_everything_is_commented(table: Table) -> None:
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []


@every_table()
def test_every_foreign_key_column_leads_a_full_index(table: Table) -> None:
    leading = {
        index.expressions[0].name
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is None
        and isinstance(index.expressions[0], Column)
    }
    assert {column.name for column in table.columns if column.foreign_keys} <= leading


@every_table()
def test_names_follow_the_convention_and_fit(table: Table) -> None:
    prefixes = {
        PrimaryKeyConstraint: "pk",
        UniqueConstraint: "uq",
        ForeignKeyConstraint: "fk",
        CheckConstraint: "ck",
    }
    for constraint in table.constraints:
        (prefix,) = (prefix for kind, prefix in prefixes.items() if isinstance(constraint, kind))
        name = named(constraint)
        assert name.startswith(f"{prefix}_{table.name}")
        assert len(name.encode()) <= 63
    for index in table.indexes:
        assert str(index.name).startswith(f"ix_{table.name}_")
        assert len(str(index.name).encode()) <= 63


@pytest.mark.parametrize("name", sorted(OWNED | {"merchant"}))
def test_ids_are_bigint_identities(name: str) -> None:
    column = metadata.tables[f"{SCHEMA}.{name}"].c.id
    assert isinstance(column.type, BigInteger)
    assert column.identity is not None


def test_natural_keys() -> None:
    found = {
        (table.name, *(column.name for column in constraint.columns))
        for table in TABLES
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    }
    assert found == {("client", "email"), ("account", "iban"), ("card", "pan_token")}


def test_where_a_payment_was_made_is_no_reference() -> None:
    assert not metadata.tables["bank.payment"].c.made_in.foreign_keys


def test_both_entries_of_a_transfer_reference_it() -> None:
    entry = metadata.tables["bank.ledger_entry"]
    assert [key.target_fullname for key in entry.c.transfer_id.foreign_keys] == ["bank.transfer.id"]
    assert entry.c.transfer_id.nullable


def test_status_is_a_native_enum_of_the_schema() -> None:
    assert client_status.native_enum
    assert "status bank.client_status" in sql(CreateTable(client))


def test_partial_and_expression_index_are_not_unique() -> None:
    indexes = {str(index.name): index for table in TABLES for index in table.indexes}
    assert sql(CreateIndex(indexes["ix_card_account_id_active"])) == (
        "CREATE INDEX ix_card_account_id_active ON bank.card (account_id) WHERE active"
    )
    assert sql(CreateIndex(indexes["ix_client_lower_email"])) == (
        "CREATE INDEX ix_client_lower_email ON bank.client (lower(email))"
    )
    assert not any(index.unique for index in indexes.values())


def test_amounts_are_checked() -> None:
    for name in ("payment", "debit", "transfer"):
        checks = {
            str(constraint.sqltext)
            for constraint in metadata.tables[f"bank.{name}"].constraints
            if isinstance(constraint, CheckConstraint)
        }
        assert "amount > 0" in checks


def test_extras_are_headed_and_movable_to_another_schema() -> None:
    assert re.findall(r"^-- regionkit: (.+)$", EXTRAS, re.M) == [
        "function apply_entry",
        "trigger ledger_entry_balance on ledger_entry",
    ]
    (body,) = re.findall(r"AS \$function\$(.*?)\$function\$", EXTRAS, re.S)
    assert "bank." not in body
    assert "search_path" not in EXTRAS


@pytest.mark.parametrize(
    ("hundredths", "text"), [(0, "0.00"), (7, "0.07"), (-7, "-0.07"), (-12345, "-123.45")]
)
def test_money(hundredths: int, text: str) -> None:
    assert seed._money(hundredths) == text


def test_text_is_escaped_for_copy() -> None:
    assert seed._text("a\\b\tc\nd\re") == "a\\\\b\\tc\\nd\\re"


@pytest.mark.parametrize(("country", "number"), [("GL", 1), ("IS", 98), ("DE", 12_345_678)])
def test_iban_check_digits(country: str, number: int) -> None:
    iban = seed._iban(country, number)
    rearranged = "".join(str(int(letter, 36)) for letter in iban[4:] + iban[:4])
    assert int(rearranged) % 97 == 1
    assert len(iban) <= 34


@pytest.mark.parametrize(("name", "plain"), [("Þórdís", "ordis"), ("山田", "client")])
def test_email_letters(name: str, plain: str) -> None:
    assert seed._ascii(name) == plain


def test_every_default_country_is_known() -> None:
    for codes in seed.COUNTRIES.values():
        for code in codes:
            country = seed._country(code)
            assert country.name != code
            assert country.currency in catalogue.CURRENCIES
