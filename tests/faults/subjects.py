"""What is migrated under faults: the bank, and a schema with what the bank does not have.

A subject says in SQL of its own where every row belongs. Nothing of it is shared with the toolkit,
so that the invariants are checked against a second opinion.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from schemas.bank import seed
from tests.live.support import ROOT

BANK = ROOT / "schemas" / "bank"


@dataclass(frozen=True)
class Table:
    """A table of a subject.

    Attributes:
        key: the primary key; empty where there is none.
        region: SQL for the region of a row of alias ``t``; empty for a global table.
        references: further region columns of the target, with their SQL over ``t``.
        sequence: the column that draws from a sequence.
    """

    key: tuple[str, ...] = ("id",)
    region: str = ""
    references: Mapping[str, str] = field(default_factory=dict)
    sequence: str = ""


@dataclass(frozen=True)
class Subject:
    """A schema with data, its configuration, and where its rows belong.

    Attributes:
        name: of the subject.
        schema: of the source.
        regions: the codes.
        root: the table of clients.
        link: the table of the link, with its key columns in the order of the root's key.
        tables: every table.
        foreign_keys: (table, columns, target, target columns), for anti-joins.
        money: SQL of sums that are the same at both ends, over ``{schema}``.
        broken: SQL that returns rows where a balance is not the sum of its entries.
        key_tables: SQL over ``{schema}`` that returns rows where a key table differs.
        key_collections: (collection, table, column) of the same on MongoDB.
        changes: statements over the source, by kind of change.
    """

    name: str
    schema: str
    regions: tuple[str, ...]
    root: str
    link: tuple[str, tuple[str, ...]]
    tables: Mapping[str, Table]
    foreign_keys: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...]
    money: str
    broken: str
    key_tables: tuple[str, ...]
    key_collections: tuple[tuple[str, str, str], ...]
    changes: Mapping[str, tuple[str, ...]]

    @property
    def target(self) -> str:
        """The schema of the layout."""
        return f"{self.schema}_regional"

    def create(self, url: str) -> None:
        """Create and fill the source."""
        with psycopg.connect(url, autocommit=True) as connection:
            if self.name == "bank":
                seed.create(connection)
                seed.load(connection, clients=120, payments=1_800)
            else:
                connection.execute(RING_SQL.encode())

    def write(self, folder: Path, database: str) -> None:
        """Write the project: ``regionkit.toml`` and what it names."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.name == "bank":
            for name in ("countries.csv", "extras.sql"):
                shutil.copy(BANK / name, folder)
            text = (BANK / "regionkit.toml").read_text(encoding="utf-8")
            text = text.replace("[target.mongo]", f'[target.mongo]\ndatabase = "{database}"')
            text = text.replace("../../migrations_", "migrations_")
            text += "\n[migrate]\nchunk_rows = 120\n"
        else:
            text = RING_TOML.replace("DATABASE", database)
        (folder / "regionkit.toml").write_text(text, encoding="utf-8")


def _pairs(pairs: Mapping[str, str]) -> str:
    return " ".join(f"WHEN '{value}' THEN '{region}'" for value, region in pairs.items())


def _key_table(table: str, column: str, kept: str) -> str:
    """Return SQL for the keys that are in only one of a table and its key table."""
    here = f"SELECT {column} FROM {{schema}}.{table}"
    there = f"SELECT {column} FROM {{schema}}.{kept}"
    return f"({here} EXCEPT ALL {there}) UNION ALL ({there} EXCEPT ALL {here})"


# The bank ----------------------------------------------------------------------------------------

_COUNTRIES = {country: region for region, those in seed.COUNTRIES.items() for country in those}


def _bank_client(client: str) -> str:
    cases = _pairs(_COUNTRIES)
    return f"(SELECT CASE country_code::text {cases} END FROM bank.client WHERE id = {client})"


def _bank_account(account: str) -> str:
    client = _bank_client("x.client_id")
    return f"(SELECT {client} FROM bank.account x WHERE x.id = {account})"


_TO = _bank_account("t.to_account_id")
_PAYER = (
    f"(SELECT {_bank_account('y.from_account_id')} FROM bank.transfer y WHERE y.id = t.transfer_id)"
)

bank = Subject(
    name="bank",
    schema="bank",
    regions=tuple(seed.COUNTRIES),
    root="client",
    link=("client_region", ("client_id",)),
    tables={
        "country": Table(("code",)),
        "currency": Table(("code",)),
        "merchant": Table(sequence="id"),
        "client": Table(region=_bank_client("t.id"), sequence="id"),
        "account": Table(region=_bank_client("t.client_id"), sequence="id"),
        "card": Table(region=_bank_account("t.account_id"), sequence="id"),
        "payment": Table(region=_bank_account("t.account_id"), sequence="id"),
        "debit": Table(region=_bank_account("t.account_id"), sequence="id"),
        "transfer": Table(
            region=_bank_account("t.from_account_id"),
            references={"to_account_id_region": _TO},
            sequence="id",
        ),
        "ledger_entry": Table(
            region=_bank_account("t.account_id"),
            references={"transfer_id_region": _PAYER},
            sequence="id",
        ),
    },
    foreign_keys=(
        ("client", ("country_code",), "country", ("code",)),
        ("merchant", ("country_code",), "country", ("code",)),
        ("account", ("client_id",), "client", ("id",)),
        ("account", ("currency",), "currency", ("code",)),
        ("card", ("account_id",), "account", ("id",)),
        ("payment", ("account_id",), "account", ("id",)),
        ("payment", ("card_id",), "card", ("id",)),
        ("payment", ("merchant_id",), "merchant", ("id",)),
        ("debit", ("account_id",), "account", ("id",)),
        ("debit", ("card_id",), "card", ("id",)),
        ("transfer", ("from_account_id",), "account", ("id",)),
        ("transfer", ("to_account_id",), "account", ("id",)),
        ("ledger_entry", ("account_id",), "account", ("id",)),
        ("ledger_entry", ("payment_id",), "payment", ("id",)),
        ("ledger_entry", ("transfer_id",), "transfer", ("id",)),
    ),
    money="SELECT currency::text, sum(balance)::text FROM {schema}.account GROUP BY 1 ORDER BY 1",
    broken="SELECT a.id FROM {schema}.account a LEFT JOIN {schema}.ledger_entry e "
    "ON e.account_id = a.id GROUP BY a.id, a.balance "
    "HAVING a.balance <> coalesce(sum(e.amount), 0)",
    key_tables=(
        _key_table("client", "email", "client_email_key"),
        _key_table("account", "iban", "account_iban_key"),
        _key_table("card", "pan_token", "card_pan_token_key"),
    ),
    key_collections=(
        ("client_email_key", "client", "email"),
        ("account_iban_key", "account", "iban"),
        ("card_pan_token_key", "card", "pan_token"),
    ),
    changes={
        "insert": (
            "INSERT INTO bank.client (email, full_name, country_code, status) "
            "VALUES ('new{n}@example.org', 'New', 'DE', 'prospect')",
        ),
        "update": ("UPDATE bank.payment SET note = '{{\"n\": {n}}}' WHERE id % 97 = {n} % 97",),
        "delete": (
            "DELETE FROM bank.debit WHERE id = (SELECT min(id) + {n} % 20 FROM bank.debit)",
        ),
        "key": (
            "UPDATE bank.debit SET id = 900000 + {n} "
            "WHERE id = (SELECT max(id) FROM bank.debit WHERE id < 900000)",
        ),
        "region": (
            "UPDATE bank.client SET country_code = CASE country_code WHEN 'US' THEN 'DE' "
            "ELSE 'US' END WHERE id = 1 + {n} % 100",
        ),
        "truncate": ("TRUNCATE bank.debit",),
    },
)


# The ring ----------------------------------------------------------------------------------------

RING_SQL = """
CREATE SCHEMA ring;
SET search_path = ring;
CREATE TABLE product (code text PRIMARY KEY, price numeric(8,2) NOT NULL);
CREATE TABLE client (
  branch smallint, number bigint, email text NOT NULL UNIQUE, country text NOT NULL, born date,
  standing text, PRIMARY KEY (branch, number));
CREATE TABLE account (
  branch smallint, number bigint, currency text, balance numeric(12,2) NOT NULL DEFAULT 0,
  doubled numeric(13,2) GENERATED ALWAYS AS (balance * 2) STORED,
  PRIMARY KEY (branch, number, currency), FOREIGN KEY (branch, number) REFERENCES client);
ALTER TABLE client ADD FOREIGN KEY (branch, number, standing) REFERENCES account
  DEFERRABLE INITIALLY DEFERRED;
CREATE TABLE entry (
  branch smallint, number bigint, currency text, line integer, product text REFERENCES product,
  amount numeric(12,2) NOT NULL CHECK (amount <> 0), booked timestamptz NOT NULL,
  PRIMARY KEY (branch, number, currency, line),
  FOREIGN KEY (branch, number, currency) REFERENCES account);
CREATE TABLE transfer (
  id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  branch smallint NOT NULL, number bigint NOT NULL, currency text NOT NULL,
  to_branch smallint, to_number bigint, to_currency text, amount numeric(12,2) NOT NULL,
  FOREIGN KEY (branch, number, currency) REFERENCES account,
  FOREIGN KEY (to_branch, to_number, to_currency) REFERENCES account);
CREATE INDEX ON transfer (amount);
CREATE TABLE note (
  branch smallint NOT NULL, number bigint NOT NULL, said text,
  FOREIGN KEY (branch, number) REFERENCES client);

INSERT INTO product SELECT 'p' || n, n + 0.50 FROM generate_series(1, 20) n;
INSERT INTO client (branch, number, email, country, born)
  SELECT 1 + n % 3, 1000 + n, format('c%s@example.org', n),
         (ARRAY['de', 'us', 'jp'])[1 + n % 7 % 3],
         CASE WHEN n % 3 > 0 THEN date '1970-01-01' + n END FROM generate_series(1, 240) n;
INSERT INTO account (branch, number, currency)
  SELECT branch, number, c FROM client, (VALUES ('EUR'), ('USD')) v(c)
  WHERE c = 'EUR' OR number % 2 = 0;
UPDATE client SET standing = 'EUR' WHERE number % 5 > 0;
INSERT INTO entry SELECT branch, number, currency, l,
    CASE WHEN l % 2 = 0 THEN 'p' || (1 + number % 20) END, (number % 50) + l + 0.25,
    timestamptz '2024-02-03 04:05:06.123456+00' + number * interval '1 s 7 us'
  FROM account, generate_series(1, 4) l;
UPDATE account a SET balance = (SELECT sum(amount) FROM entry e WHERE (e.branch, e.number,
  e.currency) = (a.branch, a.number, a.currency));
INSERT INTO transfer (branch, number, currency, to_branch, to_number, to_currency, amount)
  SELECT a.branch, a.number, 'EUR', b.branch, b.number, CASE WHEN b.number IS NULL THEN NULL
         ELSE 'EUR' END, 1 + a.number % 9
  FROM client a LEFT JOIN client b ON b.number = a.number + 17
  WHERE a.number % 2 = 1;
INSERT INTO note SELECT branch, number, s
  FROM client, (VALUES ('same'), ('same'), (''), (NULL)) AS v(s) WHERE number % 4 > 0;
"""

RING_TOML = """
[source]
schema = "ring"
[target.mongo]
database = "DATABASE"
allow_single_member = true
[migrate]
chunk_rows = 60
[root]
table = "client"
[root.region]
column = "country"
map = { de = "eu", us = "na", jp = "ap" }
[regions]
eu = {}
na = {}
ap = {}
[placement.client]
same_region = [["branch", "number", "standing"]]
[placement.transfer]
home = ["branch", "number", "currency"]

[[invariant]]
name = "a balance is the sum of its entries"
sql = '''
SELECT a.branch, a.number, a.currency FROM account a
LEFT JOIN entry e USING (branch, number, currency)
GROUP BY a.branch, a.number, a.currency, a.balance
HAVING a.balance <> coalesce(sum(e.amount), 0)'''
"""

_RING_REGION = (
    "(SELECT CASE c.country WHEN 'de' THEN 'eu' WHEN 'us' THEN 'na' WHEN 'jp' THEN 'ap' END "
    "FROM ring.client c WHERE (c.branch, c.number) = ({}))"
)
_MINE = _RING_REGION.format("t.branch, t.number")
_PAYEE = _RING_REGION.format("t.to_branch, t.to_number")
_ACCOUNT_KEY = ("branch", "number", "currency")

ring = Subject(
    name="ring",
    schema="ring",
    regions=("eu", "na", "ap"),
    root="client",
    link=("client_region", ("branch", "number")),
    tables={
        "product": Table(("code",)),
        "client": Table(("branch", "number"), _MINE),
        "account": Table(_ACCOUNT_KEY, _MINE),
        "entry": Table((*_ACCOUNT_KEY, "line"), _MINE),
        "transfer": Table(
            ("id",),
            _MINE,
            {
                "to_branch_to_number_to_currency_region": _RING_REGION.format(
                    "t.to_branch, t.to_number"
                )
            },
            sequence="id",
        ),
        "note": Table((), _MINE),
    },
    foreign_keys=(
        ("client", (*_ACCOUNT_KEY[:2], "standing"), "account", _ACCOUNT_KEY),
        ("account", _ACCOUNT_KEY[:2], "client", _ACCOUNT_KEY[:2]),
        ("entry", _ACCOUNT_KEY, "account", _ACCOUNT_KEY),
        ("entry", ("product",), "product", ("code",)),
        ("transfer", _ACCOUNT_KEY, "account", _ACCOUNT_KEY),
        ("transfer", ("to_branch", "to_number", "to_currency"), "account", _ACCOUNT_KEY),
        ("note", _ACCOUNT_KEY[:2], "client", _ACCOUNT_KEY[:2]),
    ),
    money="SELECT currency, sum(balance)::text FROM {schema}.account GROUP BY 1 ORDER BY 1",
    broken="SELECT a.branch, a.number, a.currency FROM {schema}.account a "
    "LEFT JOIN {schema}.entry e USING (branch, number, currency) "
    "GROUP BY a.branch, a.number, a.currency, a.balance "
    "HAVING a.balance <> coalesce(sum(e.amount), 0)",
    key_tables=(_key_table("client", "email", "client_email_regionkit_key"),),
    key_collections=(("client_email_regionkit_key", "client", "email"),),
    changes={
        "insert": (
            "INSERT INTO ring.note SELECT branch, number, 'new {n}' FROM ring.client "
            "WHERE number = 1001 + {n} % 200",
        ),
        "update": (
            "UPDATE ring.entry SET booked = booked + interval '1 us' "
            "WHERE number = 1001 + {n} % 200",
        ),
        "delete": (
            "DELETE FROM ring.transfer WHERE id = (SELECT min(id) + {n} % 100 FROM ring.transfer)",
        ),
        "key": ("UPDATE ring.entry SET line = 9 WHERE line = 1 AND number = 1001 + {n} % 200",),
        "region": (
            "UPDATE ring.client SET country = CASE country WHEN 'us' THEN 'jp' ELSE 'us' "
            "END WHERE number = 1001 + {n} % 200",
        ),
        "truncate": ("TRUNCATE ring.note",),
    },
)

SUBJECTS = {"bank": bank, "ring": ring}
