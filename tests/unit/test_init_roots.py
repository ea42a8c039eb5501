"""Which tables could hold the clients, and what their columns are called."""

from __future__ import annotations

import pytest
from sqlalchemy import BigInteger, Column, ForeignKey, Integer, MetaData, Table, Text

from tests.unit.support import key, table
from toolkit.init.proposals import Guess, OwnerProposal, best, guesses
from toolkit.init.roots import propose, region_paths, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("customer_orders", ["customer", "order"]),
        ("CustomerOrders", ["customer", "order"]),
        ("Companies", ["company"]),
        ("tblAddresses", ["tbl", "address"]),
        ("status", ["status"]),
        ("aid", ["aid"]),
        ("Straße 7", ["straße", "7"]),
    ],
)
def test_names_are_taken_apart(name: str, expected: list[str]) -> None:
    assert words(name) == expected


def shop() -> MetaData:
    metadata = MetaData(schema="public")
    Table("country", metadata, Column("code", Text, primary_key=True), Column("region", Text))
    table(metadata, "town", Column("country_code", Text, ForeignKey("public.country.code")))
    table(metadata, "customers", Column("town_id", BigInteger, ForeignKey("public.town.id")))
    table(metadata, "orders", key("customer_id", "public.customers"))
    table(metadata, "order_lines", key("order_id", "public.orders"))
    Table("log", metadata, Column("what", Text))
    return metadata


def test_the_likeliest_root_stands_first_with_reasons() -> None:
    found = propose(shop(), {"customers": 1000, "country": 20}, "public")
    assert found[0].table == "customers"
    assert found[0].region_paths[0] == "town_id.country_code"
    assert found[0].followers == 2
    assert "2 of 6 tables follow it" in found[0].reasons
    assert any("about 1,000 rows" in reason for reason in found[0].reasons)
    assert "log" not in [one.table for one in found]


def test_paths_to_a_region_lead_over_foreign_keys() -> None:
    metadata = shop()
    tables = {one.name: one for one in metadata.tables.values()}
    assert region_paths(tables, "orders", "public") == (
        "customer_id.town_id.country_code",
        "customer_id.town_id.country_code.region",
    )


# Tables that nothing connects ----------------------------------------------------------------


def loose() -> dict[str, Table]:
    metadata = MetaData()
    return {
        one.name: one
        for one in (
            Table("accounts", metadata, Column("account_no", Integer, primary_key=True)),
            Table("people", metadata, Column("code", Text, primary_key=True)),
            Table(
                "entry",
                metadata,
                Column("id", Integer, primary_key=True),
                Column("account_no", Integer),
                Column("holder_no", Integer),
                Column("amount", Integer),
                Column("who", Text),
                Column("data", postgresql_json()),
            ),
        )
    }


def postgresql_json() -> object:
    from sqlalchemy.dialects.postgresql import JSONB

    return JSONB()


def guessed(*, by_data: bool) -> set[tuple[str, str, bool]]:
    found = guesses("entry", loose(), ["accounts", "people"], by_data=by_data)
    return {(guess.column, guess.target, guess.named) for guess in found}


def test_columns_are_guessed_by_name_and_by_type() -> None:
    assert guessed(by_data=False) == {
        ("account_no", "accounts", True),
        ("who", "people", False),
    }
    # Whole numbers are alike too easily: only where the schema says nothing at all.
    assert guessed(by_data=True) == guessed(by_data=False) | {("holder_no", "accounts", False)}


def test_the_data_rule_guesses_out() -> None:
    name = Guess("entry", "account_no", "accounts", "account_no", True)
    data = Guess("entry", "holder_no", "accounts", "account_no", False)
    found = best([data, name], [(9, 0, 5), (9, 0, 3)])
    assert [one.statement for one in found] == [
        "accounts via account_no",
        "accounts via holder_no",
    ]
    assert best([name], [(9, 1, 3)]) == []
    # One value alone is no evidence; a name is, even of an empty table.
    assert best([data], [(9, 0, 1)]) == []
    assert best([name], [(0, 0, 0)]) == [OwnerProposal(name, 0, 0)]
    assert "the table holds no value" in str(best([name], [(0, 0, 0)])[0])
