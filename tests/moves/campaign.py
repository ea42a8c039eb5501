"""Moves under concurrent payments, and what must be true afterwards.

Writers pay at a bounded rate, half of the time with the client that moves, by the form that the
documentation teaches or by one that takes no lock, and note for each payment whether it was
acknowledged, refused, or neither.
Afterwards every acknowledged payment is there once and no refused one is; every balance is what
was there, less what was paid; every client and all of its rows are in one region.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import psycopg
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient, errors
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from tests.live.journey import Journey, execute, mongo_database, write
from tests.live.support import database
from toolkit.cli import backends
from toolkit.migrate import moving

CLIENTS, REGIONS, START = 8, ("eu", "na", "gl"), 1_000_000
_WRITERS = 2

_SCHEMA = f"""
CREATE SCHEMA till;
SET search_path = till;
CREATE TABLE client (id bigint PRIMARY KEY, land text NOT NULL);
CREATE TABLE account (id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES client,
  balance numeric(12,2) NOT NULL);
CREATE TABLE payment (id bigint PRIMARY KEY,
  account_id bigint NOT NULL REFERENCES account,
  payee bigint REFERENCES account, amount numeric(12,2) NOT NULL);
INSERT INTO client SELECT n, (ARRAY['eu', 'na', 'gl'])[n % 3 + 1]
  FROM generate_series(1, {CLIENTS}) n;
INSERT INTO account SELECT id, id, {START} FROM client;
INSERT INTO payment SELECT -10 * id - n, id, 1 + id % {CLIENTS}, 1
  FROM account, generate_series(1, 5) n;
CREATE FUNCTION pay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE till.account SET balance = balance - new.amount WHERE id = new.account_id;
  RETURN NULL;
END $$;
CREATE TRIGGER payment_lowers_balance AFTER INSERT ON payment
  FOR EACH ROW EXECUTE FUNCTION pay();
"""

_TOML = """
[source]
schema = "till"
[target.mongo]
database = "{database}"
allow_single_member = true
[root]
table = "client"
[root.region]
column = "land"
map = {{ eu = "eu", na = "na", gl = "gl" }}
[regions]
eu = {{}}
na = {{}}
gl = {{}}
[placement.payment]
home = "account_id"
"""


@contextmanager
def till(postgres_url: str, mongo_url: str, folder: Path) -> Iterator[Journey]:
    """Yield the project, migrated into both layouts."""
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(url, _SCHEMA)
        write(folder, _TOML.format(database=name))
        journey = Journey(folder, url, url, mongo_url)
        journey.prepare("all")
        yield journey


@dataclass
class Paid:
    """What the writers were told.

    Attributes:
        acknowledged: amount and account of each payment that was confirmed, by its id.
        refused: ids of those that an error refused for certain.
        unknown: likewise, of those that may have happened.
        seconds: of each that was confirmed.
        errors: how often each error was met.
    """

    acknowledged: dict[int, tuple[int, int]] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class RefusedError(Exception):
    """A payment did not happen."""


class UnknownError(Exception):
    """A payment may have happened."""


def campaign(
    journey: Journey, backend: backends.Name, moves: int, seed: int, rate: float = 150.0
) -> dict[str, Any]:
    """Move clients while others pay; return counts, latencies and what was violated."""
    draw = random.Random(seed)
    clients = backends.clients(journey.project, backend)
    before = _Ledger(journey, backend)
    moved_now, over, paid = [1], threading.Event(), Paid()
    ids = iter(range(1_000_000 * (seed + 1) + 1, 10**12))
    guard = threading.Lock()

    def writing(number: int) -> None:
        chance = random.Random(1000 * seed + number)
        with _payer(journey, backend) as pay:
            while not over.wait(_WRITERS / rate):
                with guard:
                    identity = next(ids)
                client = moved_now[0] if chance.random() < 0.5 else chance.randint(1, CLIENTS)
                amount = chance.randint(1, 9)
                _note(paid, guard, identity, client, amount, pay)

    threads = [threading.Thread(target=writing, args=(n,)) for n in range(_WRITERS)]
    for thread in threads:
        thread.start()
    seconds: list[float] = []
    retries = busy = 0
    began = time.monotonic()
    try:
        where = {int(key[0]): code for key, code in _regions(clients).items()}
        for _ in range(moves):
            client = draw.randint(1, CLIENTS)
            region = draw.choice([one for one in REGIONS if one != where[client]])
            moved_now[0] = client
            done = moving.move(clients, [(str(client),)], region)
            seconds += done.seconds
            retries += done.retries
            busy += len(done.busy)
            if done.clients:
                where[client] = region
    finally:
        over.set()
        for thread in threads:
            thread.join()
    took = time.monotonic() - began
    violations = list(_violations(journey, backend, before, paid))
    if {int(key[0]): code for key, code in _regions(clients).items()} != where:
        violations.append("a client is not where it was moved")
    return {
        "backend": backend,
        "seed": seed,
        "seconds": round(took, 1),
        "moves": len(seconds),
        "moves_busy": busy,
        "retries": retries,
        "move_ms": _figures(seconds),
        "payments": {
            "acknowledged": len(paid.acknowledged),
            "refused": len(paid.refused),
            "unknown": len(paid.unknown),
            "errors": dict(paid.errors),
            "ms": _figures(paid.seconds),
        },
        "violations": violations,
    }


def _note(
    paid: Paid,
    guard: threading.Lock,
    identity: int,
    client: int,
    amount: int,
    pay: Callable[[int, int, int], None],
) -> None:
    began = time.monotonic()
    try:
        pay(identity, client, amount)
    except RefusedError as error:
        with guard:
            paid.refused.add(identity)
            paid.errors[str(error)] += 1
    except UnknownError as error:
        with guard:
            paid.unknown.add(identity)
            paid.errors[str(error)] += 1
    else:
        with guard:
            paid.acknowledged[identity] = (client, amount)
            paid.seconds.append(time.monotonic() - began)


def _regions(clients: moving.Clients) -> dict[tuple[str, ...], str]:
    with clients.open() as mover:
        return {key: code for code in mover.regions() for key in mover.residents(code)}


def _figures(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cuts = quantiles(seconds, n=100)
    return {
        "p50": round(1000 * cuts[49], 2),
        "p95": round(1000 * cuts[94], 2),
        "longest": round(1000 * max(seconds), 2),
    }


# Writers -----------------------------------------------------------------------------------------


@contextmanager
def _payer(journey: Journey, backend: str) -> Iterator[Callable[[int, int, int], None]]:
    if backend == "postgres":
        with psycopg.connect(journey.postgres, autocommit=True) as connection:
            connection.execute("SET search_path = till_regional")
            connection.execute("SET lock_timeout = '5s'")
            yield lambda *payment: _pay_postgres(connection, *payment)
    else:
        with MongoClient[dict[str, Any]](journey.mongo, w="majority") as client:
            yield lambda *payment: _pay_mongo(client, journey.mongo_database, *payment)


#: The form that docs/layout-tables.md teaches, and one that takes no lock: it may be told so.
_TAUGHT = (
    "INSERT INTO payment (id, account_id, amount, region) "
    "SELECT %s, client_id, %s, region FROM client_region WHERE client_id = %s FOR KEY SHARE"
)
_CARELESS = (
    "INSERT INTO payment (id, account_id, amount, region) "
    "SELECT %s, id, %s, region FROM account WHERE id = %s"
)


def _pay_postgres(
    connection: psycopg.Connection[Any], identity: int, client: int, amount: int
) -> None:
    try:
        with connection.transaction():
            written = connection.execute(
                _TAUGHT if identity % 2 else _CARELESS, (identity, amount, client)
            ).rowcount
            if written != 1:
                raise RefusedError("UPDATE 0")
    except psycopg.Error as error:
        # The server answered: it rolled back, whatever the statement was.
        if error.sqlstate is None:
            raise UnknownError(type(error).__name__) from None
        raise RefusedError(error.sqlstate) from None


def _pay_mongo(
    client: MongoClient[dict[str, Any]], name: str, identity: int, key: int, amount: int
) -> None:
    database = client[name]
    with client.start_session() as session:
        try:
            session.start_transaction(ReadConcern("snapshot"), WriteConcern("majority"))
            link = database["client_region"].find_one_and_update(
                {"_id": Int64(key)}, {"$inc": {"epoch": Int64(1)}}, session=session
            )
            assert link is not None
            region = link["region"]
            database[f"payment_{region}"].insert_one(
                {
                    "_id": Int64(identity),
                    "region": region,
                    "account_id": Int64(key),
                    "payee": None,
                    "amount": Decimal128(str(amount)),
                    "payee_region": None,
                },
                session=session,
            )
            # The collection that keeps it unique over all regions.
            database["payment_id_key"].insert_one({"_id": Int64(identity)}, session=session)
            changed = database[f"account_{region}"].update_one(
                {"_id": Int64(key)},
                {"$inc": {"balance": Decimal128(str(-amount))}},
                session=session,
            )
            if changed.matched_count != 1:
                raise RefusedError("no account")
        except errors.PyMongoError as error:
            session.abort_transaction()
            raise RefusedError(_code(error)) from None
        try:
            session.commit_transaction()
        except errors.PyMongoError as error:
            if error.has_error_label("UnknownTransactionCommitResult"):
                raise UnknownError(_code(error)) from None
            raise RefusedError(_code(error)) from None


def _code(error: errors.PyMongoError) -> str:
    code = error.code if isinstance(error, errors.OperationFailure) else None
    return type(error).__name__ if code is None else f"code {code}"


# Invariants --------------------------------------------------------------------------------------


class _Ledger:
    """Balances and payments of a layout, read from all regions."""

    def __init__(self, journey: Journey, backend: str) -> None:
        if backend == "postgres":
            self.balances = [
                (int(row[0]), int(row[1]))
                for row in journey.rows("SELECT id, balance FROM account")
            ]
            self.payments = [
                (int(row[0]), int(row[1]), int(row[2]))
                for row in journey.rows("SELECT id, account_id, amount FROM payment")
            ]
            return
        with MongoClient[dict[str, Any]](journey.mongo) as client:
            database = client[journey.mongo_database]
            self.balances = [
                (int(one["_id"]), int(one["balance"].to_decimal()))
                for region in REGIONS
                for one in database[f"account_{region}"].find()
            ]
            self.payments = [
                (int(one["_id"]), int(one["account_id"]), int(one["amount"].to_decimal()))
                for region in REGIONS
                for one in database[f"payment_{region}"].find()
            ]


def _violations(
    journey: Journey, backend: backends.Name, before: _Ledger, paid: Paid
) -> Iterator[str]:
    after = _Ledger(journey, backend)
    times = Counter(identity for identity, _, _ in after.payments)
    yield from (
        f"payment {one} is there {count} times" for one, count in times.items() if count > 1
    )
    known = {identity for identity, _, _ in before.payments}
    there = {identity: (account, amount) for identity, account, amount in after.payments}
    yield from (f"payment {one} was lost" for one in known - there.keys())
    for identity, payment in paid.acknowledged.items():
        if there.get(identity) != payment:
            yield f"payment {identity} was acknowledged, and is {there.get(identity)}"
    strangers = there.keys() - known - paid.acknowledged.keys() - paid.unknown
    yield from (f"payment {one} was refused, and is there" for one in strangers)
    if Counter(account for account, _ in after.balances) != Counter(range(1, CLIENTS + 1)):
        yield "accounts are lost or doubled"
    spent: Counter[int] = Counter()
    for identity, account, amount in after.payments:
        if identity not in known:
            spent[account] += amount
    for account, balance in before.balances:
        now = dict(after.balances).get(account)
        if now != balance - spent[account]:
            yield f"the balance of {account} is {now}, not {balance - spent[account]}"
    for audit in backends.target(journey.project, backend).audits(frozenset()):
        yield from (str(finding) for finding in audit())
