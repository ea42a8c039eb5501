"""Clients that cannot be moved: listed by key and reason, left behind, taken once mended."""

from __future__ import annotations

import csv
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from schemas.bank import seed
from tests.live.journey import (
    Journey,
    contents,
    copy_of,
    execute,
    mongo_content,
    mongo_database,
    namespaces,
    query,
)
from tests.live.support import ROOT, database

BANK = ROOT / "schemas" / "bank"

#: The bank, stricter than its source: no two addresses that differ by case alone.
MODEL = """
    from schemas.bank.model import metadata as bank
    from sqlalchemy import MetaData, Numeric
    from sqlalchemy.dialects.postgresql import CITEXT

    metadata = MetaData(schema=bank.schema, naming_convention=bank.naming_convention)
    for table in bank.sorted_tables:
        table.to_metadata(metadata)
    metadata.tables["bank.client"].c.email.type = CITEXT()
    metadata.tables["bank.debit"].c.amount.type = Numeric()
"""

#: What is wrong with 25 clients, as SQL over the first clients that have no transfer: they are
#: rows 1 to 25 of ``chosen``. 35 digits are one more than Decimal128 has.
BREAK = """
    CREATE EXTENSION citext SCHEMA public;
    ALTER TABLE client ALTER country_code DROP NOT NULL;
    ALTER TABLE debit ALTER amount TYPE numeric;
    CREATE TABLE public.chosen AS
      SELECT row_number() OVER (ORDER BY id) AS n, id, email, country_code FROM client c
      WHERE NOT EXISTS (SELECT FROM transfer t JOIN account a
                        ON a.id IN (t.from_account_id, t.to_account_id) WHERE a.client_id = c.id)
      ORDER BY id LIMIT 25;
    UPDATE client SET country_code = NULL FROM public.chosen x WHERE x.id = client.id AND n <= 7;
    INSERT INTO country VALUES ('XX', 'Nowhere'), ('QQ', 'Elsewhere');
    UPDATE client SET country_code = 'XX' FROM public.chosen x
      WHERE x.id = client.id AND n BETWEEN 8 AND 12;
    UPDATE client SET country_code = 'QQ' FROM public.chosen x
      WHERE x.id = client.id AND n BETWEEN 13 AND 14;
    UPDATE client SET email = upper(o.email) FROM public.chosen x JOIN public.chosen o
      ON o.n = x.n + 1 WHERE x.id = client.id AND x.n IN (15, 17);
    INSERT INTO account (id, iban, client_id, currency)
      SELECT 900000 + n, 'XX' || n, 800000 + n, 'EUR' FROM generate_series(1, 3) n;
    INSERT INTO account (id, iban, client_id, currency, balance)
      SELECT 910000 + n, 'YY' || n, id, 'EUR', 1 FROM public.chosen WHERE n BETWEEN 19 AND 22;
    INSERT INTO ledger_entry (id, account_id, amount)
      SELECT 910000 + n, 910000 + n, 1 FROM generate_series(19, 22) n;
    INSERT INTO card (id, account_id, pan_token, expires)
      SELECT 910000 + n, 910000 + n, gen_random_uuid(), '2030-01-01'
      FROM generate_series(19, 22) n;
    INSERT INTO debit (id, account_id, card_id, merchant_id, amount, authorised_in)
      SELECT 910000 + n, 910000 + n, 910000 + n, 1,
             0.12345678901234567890123456789012345, 'gl' FROM generate_series(19, 22) n;
"""

MEND = """
    UPDATE client SET email = x.email, country_code = x.country_code
      FROM public.chosen x WHERE x.id = client.id;
    DELETE FROM debit WHERE id > 910000;
    DELETE FROM account WHERE id > 900000 AND client_id > 800000;
"""


@pytest.fixture(scope="module")
def broken(postgres_url: str) -> Iterator[str]:
    """A bank with 25 clients that cannot be moved."""
    with database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            seed.create(connection)
            seed.load(connection, clients=400, payments=1_500)
        execute(url, BREAK, schema="bank", replica=True)
        yield url


@pytest.fixture
def journey(broken: str, mongo_url: str, tmp_path: Path) -> Iterator[Journey]:
    for name in ("countries.csv", "extras.sql"):
        shutil.copy(BANK / name, tmp_path)
    (tmp_path / "strict_bank.py").write_text(textwrap.dedent(MODEL))
    text = (BANK / "regionkit.toml").read_text(encoding="utf-8")
    text = text.replace("schemas.bank.model:metadata", "strict_bank:metadata")
    text = text.replace("../../migrations_", "migrations_")
    with copy_of(broken) as url, mongo_database(mongo_url) as name:
        text = text.replace("[target.mongo]", f'[target.mongo]\ndatabase = "{name}"')
        (tmp_path / "regionkit.toml").write_text(text, encoding="utf-8")
        yield Journey(tmp_path, url, url, mongo_url)


def expected(url: str, backend: str) -> set[tuple[str, str, str]]:
    """Table, reason and key of every row that cannot be moved."""
    chosen = dict(query(url, "SELECT n, id::text FROM public.chosen"))
    found = {("client", "country_code is NULL", chosen[n]) for n in range(1, 8)}
    found |= {("client", "country_code = 'XX'", chosen[n]) for n in range(8, 13)}
    found |= {("client", "country_code = 'QQ'", chosen[n]) for n in (13, 14)}
    found |= {
        ("client", "uq_client_email: another row has the same email but for case", chosen[n])
        for n in (15, 16, 17, 18)
    }
    found |= {
        ("account", "belongs to no client: client_id leads nowhere", str(900_000 + n))
        for n in (1, 2, 3)
    }
    if backend == "mongo":
        found |= {
            ("debit", "amount: a number with more digits than Decimal128's 34, or beyond its "
             "exponents", str(910_000 + n))
            for n in (19, 20, 21, 22)
        }  # fmt: skip
    return found


def listed(journey: Journey) -> set[tuple[str, ...]]:
    path = journey.folder / ".regionkit" / "keys" / "refused.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["table", "reason", "key"]
    assert len(rows) == len({tuple(row) for row in rows})
    return {tuple(row) for row in rows}


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_exactly_these_are_listed_and_the_others_move(journey: Journey, backend: str) -> None:
    journey.done("generate", "--backend", backend)
    journey.done("apply", "--backend", backend)

    def everything() -> object:
        return (
            namespaces(journey.source),
            contents(journey.source, "bank"),
            journey.catalogue(),
            contents(journey.postgres, journey.schema),
            journey.mongo_catalogue(),
            mongo_content(journey.mongo),
        )

    # Nothing that cannot be moved is moved, and nothing is changed: neither by the dry run nor by
    # the real one.
    before = everything()
    wanted = expected(journey.source, backend)
    assert len(wanted) == {"postgres": 21, "mongo": 25}[backend]
    for arguments in (["--dry-run"], []):
        result = journey.run("migrate", "--backend", backend, "-q", *arguments)
        assert result.code == 9, result.err
        assert f"{len(wanted)} row(s) of the source cannot be moved" in result.err
        assert listed(journey) == wanted
        assert everything() == before

    # The others move.
    dry = journey.done("migrate", "--backend", backend, "-q", "--dry-run", "--quarantine",
                       "--output", "json").document["results"][0]  # fmt: skip
    assert everything() == before
    clients = 18 + (4 if backend == "mongo" else 0)
    assert dry["quarantine"]["clients"] == clients
    result = journey.done("migrate", "--backend", backend, "-q", "--quarantine", "--output", "json")
    moved = result.document["results"][0]
    assert moved["quarantine"] == clients
    with (journey.folder / ".regionkit" / "keys" / f"quarantine-{backend}.csv").open() as file:
        header, *left = csv.reader(file)
    assert header == ["client", "reason"]
    assert len(left) == clients
    counts = dict(query(journey.source, """
        SELECT 'client', count(*) FROM bank.client
        UNION ALL SELECT 'account', count(*) FROM bank.account
        UNION ALL SELECT 'ledger_entry', count(*) FROM bank.ledger_entry"""))  # fmt: skip
    for table, rows in counts.items():
        assert moved["copied"][table] + dry["quarantine"]["rows"].get(table, 0) == rows
    assert sum(moved["counts"]["client"].values()) == 400 - clients
    verified = journey.done("verify", "--backend", backend, "-q", "--output", "json")
    (document,) = verified.document["results"]
    assert document["quarantine"]["clients"] == clients
    assert document["quarantine"]["rows"] == dry["quarantine"]["rows"]

    # Not mended, and not asked to be left: refused again.
    assert journey.run("migrate", "--backend", backend, "-q").code == 9

    # Mended, they follow.
    execute(journey.source, MEND, schema="bank", replica=True)
    result = journey.done("migrate", "--backend", backend, "-q", "--output", "json")
    (document,) = result.document["results"]
    assert document["quarantine"] == 0
    assert sum(document["counts"]["client"].values()) == 400
    verified = journey.done("verify", "--backend", backend, "-q", "--output", "json")
    assert verified.document["results"][0]["quarantine"] == {"clients": 0, "rows": {}}


def test_who_refers_to_a_client_that_stays_stays_too(journey: Journey) -> None:
    """A transfer cannot go where the account is not that it was made to."""
    execute(
        journey.source,
        MEND,
        "UPDATE client SET country_code = NULL WHERE id = (SELECT client_id FROM account a "
        "JOIN transfer t ON t.to_account_id = a.id ORDER BY t.id LIMIT 1)",
        schema="bank",
        replica=True,
    )
    journey.done("generate", "--backend", "postgres")
    journey.done("apply", "--backend", "postgres")
    assert journey.run("migrate", "--backend", "postgres", "-q").code == 9
    assert {reason for _, reason, _ in listed(journey)} == {"country_code is NULL"}
    journey.done("migrate", "--backend", "postgres", "-q", "--quarantine")
    with (journey.folder / ".regionkit" / "keys" / "quarantine-postgres.csv").open() as file:
        reasons = {row["client"]: row["reason"] for row in csv.DictReader(file)}
    followers = "transfer(to_account_id) -> account leads to a row that stays in the source"
    assert followers in reasons.values()
    moved = {str(one) for (one,) in journey.rows("SELECT id FROM client")}
    assert moved and not moved & reasons.keys()
    journey.done("verify", "--backend", "postgres", "-q")
