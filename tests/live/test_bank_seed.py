"""The generated bank on a real server: repeatable, exact, and as varied as it says."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from decimal import Decimal
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from schemas.bank import seed
from schemas.bank.model import metadata

Connection = psycopg.Connection[Any]

DATABASE = "regionkit_bank_seed"
SIZE: dict[str, Any] = {"clients": 400, "payments": 5000}

# Each returns a row only when the bank is wrong, and stays right with a region in every key.
INVARIANTS = {
    "balance is the sum of the entries": """
        select a.id, a.balance, coalesce(sum(e.amount), 0) as entries
        from account a left join ledger_entry e on e.account_id = a.id
        group by a.id, a.balance
        having a.balance <> coalesce(sum(e.amount), 0)""",
    "a payment has one entry": """
        select p.id, p.amount, count(e.id) as entries, sum(e.amount) as booked
        from payment p left join ledger_entry e on e.payment_id = p.id
        group by p.id, p.account_id, p.amount
        having count(e.id) <> 1 or sum(e.amount) <> -p.amount or min(e.account_id) <> p.account_id
        """,
    "a transfer has two entries": """
        select t.id, t.amount, count(e.id) as entries, sum(e.amount) as booked
        from transfer t left join ledger_entry e on e.transfer_id = t.id
        group by t.id, t.from_account_id, t.to_account_id, t.amount
        having count(e.id) <> 2
            or count(e.id) filter (
                where e.account_id = t.from_account_id and e.amount = -t.amount) <> 1
            or count(e.id) filter (
                where e.account_id = t.to_account_id and e.amount = t.amount) <> 1""",
    "pending debits are covered": """
        select a.id, a.balance, sum(d.amount) as pending
        from account a join debit d on d.account_id = a.id
        group by a.id, a.balance
        having sum(d.amount) > a.balance""",
    "a payment's card is its account's": """
        select p.id, p.account_id, c.account_id as account_of_card
        from payment p join card c on c.id = p.card_id
        where c.account_id <> p.account_id""",
    "a debit's card is its account's": """
        select d.id, d.account_id, c.account_id as account_of_card
        from debit d join card c on c.id = d.card_id
        where c.account_id <> d.account_id""",
    "amounts are in the currency of the account": """
        select p.id, p.currency, a.currency as currency_of_account
        from payment p join account a on a.id = p.account_id
        where p.currency <> a.currency
        union all
        select t.id, payer.currency, payee.currency
        from transfer t
        join account payer on payer.id = t.from_account_id
        join account payee on payee.id = t.to_account_id
        where payer.currency <> payee.currency""",
}

BREAKS = {
    "balance is the sum of the entries": "update account set balance = balance + 0.01 where id = 1",
    "a payment has one entry": "delete from ledger_entry where payment_id = 7",
    "a transfer has two entries": "update ledger_entry set amount = amount - 1"
    " where id = (select max(id) from ledger_entry where transfer_id = 7)",
    "pending debits are covered": "update debit set amount = 1e12 where id = 1",
    "a payment's card is its account's": "update payment set card_id ="
    " (select min(id) from card where account_id <> payment.account_id) where id = 7",
    "a debit's card is its account's": "update debit set card_id ="
    " (select min(id) from card where account_id <> debit.account_id) where id = 1",
    "amounts are in the currency of the account": "update payment set currency = 'GBP'"
    " where id = 7",
}


@pytest.fixture(scope="module")
def bank_url(postgres_url: str) -> Iterator[str]:
    """A database of its own, with the bank loaded once."""
    name = sql.Identifier(DATABASE)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database if exists {} with (force)").format(name))
        admin.execute(sql.SQL("create database {}").format(name))
        url = make_conninfo(postgres_url, dbname=DATABASE, options="-c search_path=bank")
        with psycopg.connect(url) as connection:
            seed.create(connection)
            seed.load(connection, **SIZE)
        yield url
        admin.execute(sql.SQL("drop database {} with (force)").format(name))


@pytest.fixture
def bank(bank_url: str) -> Iterator[Connection]:
    """A connection to the loaded bank; what a test changes is rolled back."""
    with psycopg.connect(bank_url) as connection:
        yield connection
        connection.rollback()


def value(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def digests(connection: Connection) -> dict[str, str]:
    """Digest every table as the server prints it, ordered by primary key."""
    found = {}
    for table in metadata.sorted_tables:
        digest = hashlib.sha256()
        (key,) = table.primary_key.columns
        with connection.cursor().copy(
            sql.SQL("copy (select * from {} order by {}) to stdout").format(
                sql.Identifier("bank", table.name), sql.Identifier(key.name)
            )
        ) as copy:
            for block in copy:
                digest.update(block)
        found[table.name] = digest.hexdigest()
    return found


def reload(connection: Connection, **arguments: Any) -> dict[str, int]:
    connection.execute("drop schema bank cascade")
    seed.create(connection)
    return seed.load(connection, **arguments)


def catalogue(connection: Connection) -> list[Any]:
    """Constraints, indexes and triggers, as the server prints them."""
    return connection.execute(
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
        " from pg_constraint where connamespace = 'bank'::regnamespace"
        " union all select tablename, indexname, indexdef from pg_indexes"
        " where schemaname = 'bank'"
        " union all select tgrelid::regclass::text, tgname,"
        " tgenabled::text || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal"
        " order by 1, 2, 3"
    ).fetchall()


def test_extras_are_what_the_server_prints(bank: Connection) -> None:
    bank.execute("set local search_path = pg_catalog")
    function = value(bank, "select pg_get_functiondef('bank.apply_entry'::regproc)")
    trigger = value(bank, "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal")
    text = files("schemas.bank").joinpath("extras.sql").read_text(encoding="utf-8")
    statements = [part.strip() for part in re.split(r"^-- regionkit: .*\n", text, flags=re.M)]
    assert statements == ["", function.strip() + ";", trigger + ";"]


def test_counts_are_those_of_the_tables(bank: Connection) -> None:
    counts = reload(bank, **SIZE)
    assert set(counts) == {table.name for table in metadata.sorted_tables}
    for name, count in counts.items():
        assert value(bank, f"select count(*) from {name}") == count > 0
    assert (counts["client"], counts["payment"]) == (400, 5000)


def test_same_seed_same_rows(bank: Connection) -> None:
    before = digests(bank)
    reload(bank, **SIZE)
    assert digests(bank) == before


def test_another_seed_other_rows(bank: Connection) -> None:
    before = digests(bank)
    reload(bank, **SIZE, seed=2)
    after = digests(bank)
    same = {name for name in before if before[name] == after[name]}
    assert same == {"country", "currency"}


def test_the_load_leaves_the_schema_as_it_was(bank: Connection) -> None:
    loaded = catalogue(bank)
    bank.execute("drop schema bank cascade")
    seed.create(bank)
    assert catalogue(bank) == loaded
    assert len(loaded) > 50


def test_a_second_load_is_refused_whole(bank: Connection) -> None:
    before, schema = digests(bank), catalogue(bank)
    with pytest.raises(psycopg.errors.UniqueViolation):
        seed.load(bank, **SIZE)
    assert (digests(bank), catalogue(bank)) == (before, schema)


@pytest.mark.parametrize("name", INVARIANTS)
def test_invariant(bank: Connection, name: str) -> None:
    query = INVARIANTS[name].encode()
    assert bank.execute(query).fetchall() == []
    bank.execute(BREAKS[name].encode())
    assert bank.execute(query).fetchall() != []


def test_no_balance_was_ever_negative(bank: Connection) -> None:
    least = value(
        bank,
        "select min(running) from (select sum(amount) over"
        " (partition by account_id order by booked_at, id) as running from ledger_entry) r",
    )
    assert least >= 0


def test_entries_move_the_balance_once(bank: Connection) -> None:
    before = value(bank, "select balance from account where id = 3")
    bank.execute("insert into ledger_entry (account_id, amount) values (3, 12.34)")
    after = value(bank, "select balance from account where id = 3")
    assert after - before == Decimal("12.34")


def test_identities_go_on_after_the_greatest_id(bank: Connection) -> None:
    reload(bank, clients=5, payments=100)
    for table in metadata.sorted_tables:
        if "id" in table.columns:
            sequence = f"pg_get_serial_sequence('bank.{table.name}', 'id')"
            greatest = value(bank, f"select max(id) from {table.name}")
            assert value(bank, f"select nextval({sequence})") == greatest + 1


def test_shares(bank: Connection) -> None:
    homes = " union all ".join(
        f"select '{code}' as region, '{country}' as code"
        for code, countries in seed.COUNTRIES.items()
        for country in countries
    )
    home = (
        f"with home as (select a.id, h.region from account a join client c on c.id = a.client_id"
        f" join ({homes}) h on h.code = c.country_code) "
    )
    visiting = value(
        bank,
        home + "select avg((p.made_in <> h.region)::int)"
        " from payment p join home h on h.id = p.account_id",
    )
    assert 0.13 < visiting < 0.17
    crossing = value(
        bank,
        home + "select avg((f.region <> t.region)::int) from transfer"
        " join home f on f.id = from_account_id join home t on t.id = to_account_id",
    )
    assert 0.15 < crossing < 0.25
    in_region = value(
        bank,
        f"select count(*) from payment p join merchant m on m.id = p.merchant_id"
        f" join ({homes}) h on h.code = m.country_code where h.region <> p.made_in",
    )
    assert in_region == 0


@pytest.mark.parametrize(
    "condition",
    [
        "exists (select from client c where not exists"
        " (select from account where client_id = c.id))",
        "exists (select from account group by client_id having count(*) = 1)",
        "exists (select from account group by client_id having count(*) > 10)",
        "exists (select from account a where balance = 0 and not exists"
        " (select from ledger_entry where account_id = a.id))",
        "(select count(distinct status) from client) = 4",
        "(select count(distinct country_code) from client) = 17",
        "exists (select from client where birth_date is null)",
        "exists (select from client where full_name ~ '[^[:ascii:]]')",
        "exists (select from client where email <> lower(email))",
        "exists (select from card where not active)",
        "exists (select from payment where card_id is null)",
        "exists (select from payment where note is null)",
        "exists (select from payment where note @> '{\"order\": 9007199254740993}')",
        "exists (select from payment where jsonb_typeof(note) = 'array')",
        "exists (select from payment where note = '{}')",
        "(select avg((extract(microseconds from made_at)::int % 1000 <> 0)::int) from payment)"
        " > 0.99",
        "exists (select from transfer where reference is null)",
        "exists (select from debit where valid_for = interval '1 mon 2 days 03:30:00'"
        " and extract(month from valid_for) = 1)",
        "(select count(distinct authorised_in) from debit) = 4",
        "not exists (select from payment p join account a on a.id = p.account_id"
        " join client c on c.id = a.client_id"
        " where p.made_at < a.opened_at or a.opened_at < c.created_at)",
        "not exists (select from account where currency in ('JPY', 'KRW', 'ISK')"
        " and balance <> trunc(balance))",
        "not exists (select from card where expires < (select max(made_at) from payment))",
    ],
)
def test_variety(bank: Connection, condition: str) -> None:
    assert value(bank, f"select {condition}")


def test_regions_of_the_callers_own(bank: Connection) -> None:
    counts = reload(bank, clients=20, payments=200, regions={"north": ("XA", "XB")})
    assert counts["country"] == 2
    assert value(bank, "select count(distinct made_in) from payment") == 1
    for query in INVARIANTS.values():
        assert bank.execute(query.encode()).fetchall() == []


def test_the_smallest_bank(bank: Connection) -> None:
    counts = reload(bank, clients=1, payments=10)
    assert (counts["client"], counts["account"], counts["transfer"]) == (1, 12, 1)
    assert reload(bank, clients=1, payments=0)["payment"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"clients": 0}, "at least one client"),
        ({"regions": {}}, "at least one country"),
        ({"regions": {"a": ("GL",), "b": ()}}, "at least one country"),
        ({"regions": {"a": ("GL",), "b": ("GL",)}}, "one region only"),
    ],
)
def test_impossible_banks_are_refused(
    bank: Connection, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        seed.load(bank, **arguments)
