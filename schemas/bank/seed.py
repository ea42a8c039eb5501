"""Create the reference bank, and fill it with a bank's worth of rows.

``load`` plays one pass over time: payments, transfers and deposits in the order in which they
happen, against balances held in memory, so that no balance is ever negative and every balance is
the sum of its entries by construction. Payments go to the server as they are made; the other two
tables wait in a temporary file, because a connection carries one COPY at a time. So memory
grows with clients, accounts and cards, never with payments.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import tempfile
import unicodedata
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from typing import IO, Any

import psycopg
from psycopg import sql
from sqlalchemy import Table, create_mock_engine
from sqlalchemy.schema import ExecutableDDLElement

from schemas.bank import catalogue, model

#: Region code to country codes; the first region is where the bank is today.
COUNTRIES: dict[str, tuple[str, ...]] = {
    "gl": ("GL", "IS", "FO"),
    "eu": ("DK", "DE", "FR", "PL", "GR", "ES", "SE"),
    "na": ("US", "CA", "MX"),
    "ap": ("JP", "SG", "KR", "AU"),
}

#: Share of payments that are made outside the client's home region.
VISITING_SHARE = 0.15
#: Share of transfers whose payee lives in another region than the payer.
CROSS_SHARE = 0.20

_PAYMENTS_PER_TRANSFER = 10
_PAYMENTS_PER_DEBIT = 50
_ACCOUNTS_OF_FIRST_CLIENT = 12
#: Currencies that the bank keeps accounts in everywhere, beside the one of the country.
_EVERYWHERE = ("EUR", "USD")
_FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
_SPAN = dt.timedelta(days=730)
_NULL = "\\N"
_CHUNK = 1 << 18


def create(connection: psycopg.Connection[Any]) -> None:
    """Create the schema, its tables and what ``extras.sql`` holds, in one transaction."""
    statements: list[str] = []

    def collect(ddl: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(ddl.compile(dialect=engine.dialect)))

    engine = create_mock_engine("postgresql+psycopg://", collect)
    model.metadata.create_all(engine, checkfirst=False)
    statements.append(files("schemas.bank").joinpath("extras.sql").read_text(encoding="utf-8"))
    with connection.transaction():
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(model.SCHEMA)))
        for statement in statements:
            connection.execute(statement.encode())


def load(
    connection: psycopg.Connection[Any],
    *,
    clients: int = 10_000,
    payments: int = 200_000,
    seed: int = 1,
    regions: Mapping[str, Sequence[str]] = COUNTRIES,
) -> dict[str, int]:
    """Fill the empty tables that ``create`` made, in one transaction.

    The same arguments give the same rows; the order of ``regions`` counts, and earlier regions
    have more clients.

    Args:
        connection: a connection whose role owns the tables. Their foreign keys and indexes
            are dropped and put back, and the entries' trigger is off meanwhile, so the tables
            are locked until the end.
        clients: how many clients, at least 1.
        payments: how many settled payments; transfers, entries and debits follow from it.
        seed: of the random numbers.
        regions: region code to the codes of its countries.

    Returns:
        The number of rows loaded into each table.

    Raises:
        ValueError: when there is no client or no country, or a country is in two regions.
    """
    world = _World(random.Random(seed), clients, regions)  # noqa: S311 - rows, not secrets
    bank = _Bank(connection)
    entry_table = sql.Identifier(model.SCHEMA, model.ledger_entry.name)
    with connection.transaction(), _spool() as transfers, _spool() as entries:
        # The accounts' balances are loaded with the sum of their entries; were the trigger on,
        # each entry would count twice.
        connection.execute(sql.SQL("alter table {} disable trigger user").format(entry_table))
        taken_down = bank.take_down()
        bank.copy(model.country, world.country_rows())
        bank.copy(model.currency, world.currency_rows())
        bank.copy(model.merchant, world.merchant_rows())
        bank.copy(model.client, world.client_rows())
        bank.copy(model.account, world.account_rows())
        bank.copy(model.card, world.card_rows())
        history = _History(world, payments, transfers.write, entries.write)
        bank.copy(model.payment, history.play())
        bank.copy(model.debit, history.debit_rows())
        bank.copy_file(model.transfer, transfers)
        bank.copy_file(model.ledger_entry, entries)
        bank.set_balances(world.balances())
        bank.put_back(taken_down)
        connection.execute(sql.SQL("alter table {} enable trigger user").format(entry_table))
        bank.advance_identities()
    return bank.counts


def _spool() -> IO[str]:
    """Return a temporary file for rows; newlines are what COPY reads, on every system."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", buffering=_CHUNK)


class _Bank:
    """The server's side of a load: COPY in, counts out."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.counts: dict[str, int] = {}

    def copy(self, table: Table, lines: Iterable[str]) -> None:
        """Load ``lines``, each a row in COPY's text format with its newline."""
        self._copy(table, _joined(lines))

    def copy_file(self, table: Table, spool: IO[str]) -> None:
        """Load what was written to ``spool``."""
        spool.seek(0)
        self._copy(table, iter(lambda: spool.read(_CHUNK), ""))

    def _copy(self, table: Table, blocks: Iterable[str]) -> None:
        statement = sql.SQL("copy {} ({}) from stdin (encoding 'UTF8')").format(
            sql.Identifier(model.SCHEMA, table.name),
            sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns),
        )
        with self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for block in blocks:
                    copy.write(block.encode())
            self.counts[table.name] = cursor.rowcount

    def take_down(self) -> list[sql.Composed]:
        """Drop foreign keys and plain indexes; return the statements that put them back.

        Kept up row by row they take longer than everything else together.
        """
        indexes = self._connection.execute(
            "select c.relname, pg_get_indexdef(c.oid)"
            " from pg_index i join pg_class c on c.oid = i.indexrelid"
            " where c.relnamespace = %s::regnamespace"
            " and not exists (select from pg_constraint k where k.conindid = c.oid"
            " and k.contype in ('p', 'u', 'x'))"
            " order by c.relname",
            (model.SCHEMA,),
        ).fetchall()
        keys = self._connection.execute(
            "select c.relname, k.conname, pg_get_constraintdef(k.oid)"
            " from pg_constraint k join pg_class c on c.oid = k.conrelid"
            " where k.contype = 'f' and k.connamespace = %s::regnamespace"
            " order by c.relname, k.conname",
            (model.SCHEMA,),
        ).fetchall()
        restore: list[sql.Composed] = []
        for name, definition in indexes:
            index = sql.Identifier(model.SCHEMA, name)
            self._connection.execute(sql.SQL("drop index {}").format(index))
            restore.append(sql.Composed([sql.SQL(definition)]))
        for table, name, definition in keys:
            alter = sql.SQL("alter table {} ").format(sql.Identifier(model.SCHEMA, table))
            constraint = sql.SQL("constraint {} ").format(sql.Identifier(name))
            self._connection.execute(alter + sql.SQL("drop ") + constraint)
            restore.append(alter + sql.SQL("add ") + constraint + sql.SQL(definition))
        return restore

    def put_back(self, statements: Iterable[sql.Composed]) -> None:
        """Run what ``take_down`` returned; the server checks every row."""
        for statement in statements:
            self._connection.execute(statement)

    def set_balances(self, balances: Sequence[str]) -> None:
        """Give account ``n`` the ``n``-th of ``balances``, counted from 1."""
        self._connection.execute(
            sql.SQL(
                "update {} as a set balance = v.balance"
                " from unnest(%s::numeric[]) with ordinality as v (balance, id)"
                " where a.id = v.id and a.balance <> v.balance"
            ).format(sql.Identifier(model.SCHEMA, model.account.name)),
            (balances,),
        )

    def advance_identities(self) -> None:
        """Set every identity past the greatest id that was loaded."""
        for table in model.metadata.sorted_tables:
            if "id" in table.columns and self.counts[table.name]:
                name = sql.Identifier(model.SCHEMA, table.name)
                self._connection.execute(
                    sql.SQL(
                        "select setval(pg_get_serial_sequence({}, 'id'), max(id)) from {}"
                    ).format(sql.Literal(name.as_string(self._connection)), name)
                )


def _joined(lines: Iterable[str]) -> Iterator[str]:
    """Yield ``lines`` some hundreds at a time: a write of each would cost more than making it."""
    block: list[str] = []
    for line in lines:
        block.append(line)
        if len(block) == 1000:
            yield "".join(block)
            block.clear()
    yield "".join(block)


class _World:
    """Everything that is there before the first payment, and the balances as they change.

    Accounts are numbered from 0 here and their ids from 1, so that plain lists hold what is
    known of them. Amounts are whole hundredths.
    """

    def __init__(
        self, rng: random.Random, clients: int, regions: Mapping[str, Sequence[str]]
    ) -> None:
        if clients < 1:
            raise ValueError("a bank needs at least one client")
        self.rng = rng
        self.regions = {code: tuple(countries) for code, countries in regions.items()}
        self.region_codes = tuple(self.regions)
        listed = [code for countries in self.regions.values() for code in countries]
        if len(set(listed)) != len(listed):
            raise ValueError("a country may be in one region only")
        if not listed or not all(self.regions.values()):
            raise ValueError("every region needs at least one country")
        self.countries = {code: _country(code) for code in listed}
        self.merchants = {code: range(0) for code in self.region_codes}
        self._clients = clients
        # Of each client with an account to open: id, region, currency of the country, and when
        # the client was registered.
        self._openers: list[tuple[int, str, str, dt.datetime]] = []
        self.region_of: list[str] = []
        self.currency_of: list[str] = []
        self.step_of: list[int] = []
        self.balance: list[int] = []
        self.opened: list[dt.datetime] = []
        # The accounts that ever see an entry; the others were opened and never used.
        self.used: list[int] = []
        self.cards_of: list[range] = []

    def country_rows(self) -> Iterator[str]:
        for code, country in sorted(self.countries.items()):
            yield f"{code}\t{_text(country.name)}\n"

    def currency_rows(self) -> Iterator[str]:
        for code, (name, digits) in sorted(catalogue.CURRENCIES.items()):
            yield f"{code}\t{_text(name)}\t{digits}\n"

    def merchant_rows(self) -> Iterator[str]:
        """Yield the merchants, region after region, each trading in one of its countries."""
        choice = self.rng.choice
        each = max(10, self._clients // 20)
        last = 0
        for region, countries in self.regions.items():
            self.merchants[region] = range(last + 1, last + each + 1)
            for last in self.merchants[region]:
                name = f"{choice(catalogue.SHOP_WORDS)} {choice(catalogue.SHOP_KINDS)}"
                yield (
                    f"{last}\t{_text(name)}\t{choice(countries)}\t{choice(catalogue.CATEGORIES)}\n"
                )

    def client_rows(self) -> Iterator[str]:
        """Yield the clients. The first always has accounts, so that payments have a payer."""
        rng = self.rng
        weights = range(len(self.region_codes), 0, -1)
        homes = rng.choices(self.region_codes, weights, k=self._clients)
        for number, region in enumerate(homes, start=1):
            code = rng.choice(self.regions[region])
            country = self.countries[code]
            given, family = rng.choice(country.given), rng.choice(country.family)
            if country.currency in ("JPY", "KRW"):
                name = f"{family} {given}"
            else:
                name = f"{given} {family}"
            email = f"{_ascii(given)}.{_ascii(family)}.{number}@example.{code.lower()}"
            if rng.random() < 0.7:
                email = email.lower()
            created = dt.datetime(2012, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
                days=rng.randrange(4000), microseconds=rng.randrange(86_400_000_000)
            )
            status = self._status(number)
            born = _NULL
            if rng.random() < 0.9:
                born = str(dt.date(1935, 1, 1) + dt.timedelta(days=rng.randrange(25_000)))
            if status in ("active", "blocked"):
                self._openers.append((number, region, country.currency, created))
            yield f"{number}\t{email}\t{_text(name)}\t{code}\t{status}\t{born}\t{created}\n"

    def _status(self, client: int) -> str:
        drawn = self.rng.random()
        if client == 1 or drawn < 0.87:
            return "active"
        return "blocked" if drawn < 0.90 else "prospect" if drawn < 0.96 else "closed"

    def account_rows(self) -> Iterator[str]:
        """Yield the accounts with balance zero; ``balances`` has what they end with."""
        rng = self.rng
        for client, region, home_currency, created in self._openers:
            many = _ACCOUNTS_OF_FIRST_CLIENT if client == 1 else rng.choice((1, 1, 1, 1, 1, 2, 3))
            for nth in range(many):
                currency = home_currency
                if nth or rng.random() < 0.3:
                    currency = rng.choice((home_currency, *_EVERYWHERE))
                days = (_FIRST - created).days
                opened = created + dt.timedelta(days=rng.randrange(days), seconds=rng.randrange(60))
                self.region_of.append(region)
                self.currency_of.append(currency)
                self.step_of.append(100 if catalogue.CURRENCIES[currency][1] == 0 else 1)
                self.balance.append(0)
                self.opened.append(opened)
                if client == 1 or rng.random() >= 0.03:
                    self.used.append(len(self.balance) - 1)
                number = len(self.balance)
                yield (
                    f"{number}\t{_iban(self.regions[region][0], number)}\t{client}\t{currency}"
                    f"\t0.00\t{opened}\n"
                )

    def card_rows(self) -> Iterator[str]:
        """Yield the cards; no account has to have one, and the first client's first always has."""
        rng = self.rng
        last = 0
        for account in range(len(self.balance)):
            many = rng.choice((0, 1, 1, 1, 2)) if account else 2
            self.cards_of.append(range(last + 1, last + many + 1))
            for last in self.cards_of[account]:
                token = uuid.UUID(int=rng.getrandbits(128), version=4)
                expires = dt.date(2026 + rng.randrange(4), 1 + rng.randrange(12), 28)
                yield f"{last}\t{account + 1}\t{token}\t{expires}\t{'ft'[rng.random() < 0.92]}\n"

    def balances(self) -> list[str]:
        return [_money(balance) for balance in self.balance]

    def draw(self) -> int:
        """Return a used account; the square makes some busy and most quiet, as in a real bank."""
        return self.used[int(len(self.used) * self.rng.random() ** 2)]

    def place(self, region: str) -> str:
        """Return where a client of ``region`` pays: mostly at home."""
        codes = self.region_codes
        if len(codes) == 1 or self.rng.random() >= VISITING_SHARE:
            return region
        away = int((len(codes) - 1) * self.rng.random())
        return codes[away if codes[away] != region else -1]


class _Pairs:
    """Draws payer and payee of a transfer: two accounts of the same currency."""

    def __init__(self, world: _World) -> None:
        self._world = world
        pools: dict[tuple[str, str], list[int]] = defaultdict(list)
        for account in world.used:
            pools[world.currency_of[account], world.region_of[account]].append(account)
        self._home = dict(pools)
        self._away: dict[tuple[str, str], list[list[int]]] = {}
        for currency, region in pools:
            self._away[currency, region] = [
                pool
                for (other_currency, other), pool in pools.items()
                if other_currency == currency and other != region
            ]
        self._home_payers = [a for pool in pools.values() if len(pool) > 1 for a in pool]
        self._away_payers = [a for place, pool in pools.items() if self._away[place] for a in pool]

    def draw(self) -> tuple[int, int]:
        """Return payer and payee."""
        world, choice = self._world, self._world.rng.choice
        across = self._away_payers and world.rng.random() < CROSS_SHARE
        payer = choice(self._away_payers if across else self._home_payers)
        place = world.currency_of[payer], world.region_of[payer]
        if across:
            return payer, choice(choice(self._away[place]))
        payee = payer
        while payee == payer:
            payee = choice(self._home[place])
        return payer, payee


class _History:
    """Plays what happens, in the order of time."""

    def __init__(
        self,
        world: _World,
        payments: int,
        write_transfer: Callable[[str], int],
        write_entry: Callable[[str], int],
    ) -> None:
        self._world = world
        self._payments = payments
        self._write_transfer = write_transfer
        self._write_entry = write_entry
        self._entries = 0
        self._transfers = 0
        self._pairs = _Pairs(world)

    def play(self) -> Iterator[str]:
        """Yield the payments, and write transfers and entries as they come about."""
        world, rng, random_ = self._world, self._world.rng, self._world.rng.random
        notes = [_text(json.dumps(note, ensure_ascii=False)) for note in catalogue.NOTES]
        self._open_accounts()
        step = _SPAN.total_seconds() * 1_000_000 / max(1, self._payments)
        for payment in range(1, self._payments + 1):
            account = world.draw()
            at = _FIRST + dt.timedelta(microseconds=int((payment - 1 + random_()) * step))
            amount = self._amount(account, 4.0)
            self._ensure(account, amount, at)
            instant = str(at)
            self._book(account, -amount, instant, payment=payment)
            region = world.region_of[account]
            place = world.place(region)
            shops = world.merchants[place]
            merchant = shops[int(len(shops) * random_() ** 2)]
            cards = world.cards_of[account]
            card: int | str = _NULL
            if cards and random_() < 0.85:
                card = cards[int(len(cards) * random_())]
            note = rng.choice(notes) if random_() < 0.2 else _NULL
            yield (
                f"{payment}\t{account + 1}\t{card}\t{merchant}\t{_money(amount)}"
                f"\t{world.currency_of[account]}\t{place}\t{instant}\t{note}\n"
            )
            if payment % _PAYMENTS_PER_TRANSFER == 0:
                self._transfer(at)

    def _open_accounts(self) -> None:
        for account in self._world.used:
            amount = self._amount(account, 6.5) + 50_000
            at = self._world.opened[account] + dt.timedelta(seconds=90)
            self._book(account, amount, str(at))

    def _transfer(self, at: dt.datetime) -> None:
        payer, payee = self._pairs.draw()
        rng = self._world.rng
        amount = self._amount(payer, 5.0)
        self._ensure(payer, amount, at)
        self._transfers += 1
        instant = str(at)
        reference = _text(rng.choice(catalogue.REFERENCES)) if rng.random() < 0.6 else _NULL
        self._write_transfer(
            f"{self._transfers}\t{payer + 1}\t{payee + 1}\t{_money(amount)}"
            f"\t{instant}\t{reference}\n"
        )
        self._book(payer, -amount, instant, transfer=self._transfers)
        self._book(payee, amount, instant, transfer=self._transfers)

    def _ensure(self, account: int, amount: int, at: dt.datetime) -> None:
        """Deposit what ``amount`` needs, and more, just before ``at``, if it is not there."""
        if self._world.balance[account] < amount:
            salary = amount + self._amount(account, 6.5) + 100_000
            self._book(account, salary, str(at - dt.timedelta(microseconds=1)))

    def _amount(self, account: int, digits: float) -> int:
        """Return an amount up to ten to the power of ``digits``, small ones more often."""
        rng, step = self._world.rng, self._world.step_of[account]
        return (100 + int(10 ** (digits * (0.4 + 0.6 * rng.random())))) // step * step

    def _book(
        self,
        account: int,
        amount: int,
        at: str,
        payment: int | str = _NULL,
        transfer: int | str = _NULL,
    ) -> None:
        self._entries += 1
        self._world.balance[account] += amount
        self._write_entry(
            f"{self._entries}\t{account + 1}\t{payment}\t{transfer}\t{_money(amount)}\t{at}\n"
        )

    def debit_rows(self) -> Iterator[str]:
        """Yield pending debits; those of one account never exceed what it ended with."""
        world, rng = self._world, self._world.rng
        pending: dict[int, int] = defaultdict(int)
        last = 0
        for _ in range(max(5, self._payments // _PAYMENTS_PER_DEBIT)):
            account = world.draw()
            amount = self._amount(account, 4.0)
            at = _FIRST + _SPAN + dt.timedelta(microseconds=rng.randrange(86_400_000_000))
            place = world.place(world.region_of[account])
            merchant = rng.choice(world.merchants[place])
            valid = rng.choice(("7 days", "7 days", "1 mon", "36:00:00", "1 mon 2 days 03:30:00"))
            cards = world.cards_of[account]
            if not cards or pending[account] + amount > world.balance[account]:
                continue
            pending[account] += amount
            last += 1
            yield (
                f"{last}\t{account + 1}\t{rng.choice(cards)}\t{merchant}\t{_money(amount)}"
                f"\t{place}\t{at}\t{valid}\n"
            )


def _country(code: str) -> catalogue.Country:
    return catalogue.COUNTRIES.get(code) or catalogue.UNKNOWN._replace(name=code)


def _money(hundredths: int) -> str:
    units, rest = divmod(abs(hundredths), 100)
    return f"{'-' if hundredths < 0 else ''}{units}.{rest:02d}"


def _text(value: str) -> str:
    """Return ``value`` as COPY's text format has it."""
    value = value.replace("\\", "\\\\").replace("\t", "\\t")
    return value.replace("\n", "\\n").replace("\r", "\\r")


def _ascii(name: str) -> str:
    """Return the letters of ``name`` that an email address may have, never nothing."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return "".join(letter for letter in plain if letter.isalpha()) or "client"


def _iban(country: str, number: int) -> str:
    """Return a valid IBAN: the bank's code, the account's number, two check digits."""
    body = f"RGKT{number:012d}"
    digits = "".join(str(int(letter, 36)) for letter in f"{body}{country}00")
    return f"{country}{98 - int(digits) % 97:02d}{body}"
