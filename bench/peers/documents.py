"""Fill the layout ``collections`` of the bank with the script that a team would write.

psycopg's rows become dicts, Motor's ``insert_many`` writes them, three at a time. The database has
been applied: its collections, validators and indexes are there. As one does, the indexes go before
the load and come back after it. Prints a JSON document on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import motor.motor_asyncio
import psycopg
from bson import Decimal128, Int64
from psycopg.types.json import set_json_loads
from pymongo import IndexModel

_Document = dict[str, Any]

#: Documents in one insert_many, and how many of those are under way.
_BATCH = 2_000
_IN_FLIGHT = 3

#: Country to region.
_REGION = """
case
  when {0}.country_code in ('GL', 'IS', 'FO') then 'gl'
  when {0}.country_code in ('DK', 'DE', 'FR', 'PL', 'GR', 'ES', 'SE') then 'eu'
  when {0}.country_code in ('US', 'CA', 'MX') then 'na'
  when {0}.country_code in ('JP', 'SG', 'KR', 'AU') then 'ap'
end
"""
_OWNER = "join bank.account a on a.id = {0} join bank.client c on c.id = a.client_id"


def _long(value: int | None) -> Int64 | None:
    return None if value is None else Int64(value)


def _day(value: dt.date | None) -> dt.datetime | None:
    return None if value is None else dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Job:
    """One table.

    Attributes:
        collection: to write; with the region behind it if ``regional``.
        query: of the source.
        document: from a row to its document.
        regional: whether each region has a collection.
    """

    collection: str
    query: str
    document: Callable[..., _Document]
    regional: bool = True


def _country(code: str, name: str) -> _Document:
    return {"_id": code, "name": name}


def _currency(code: str, name: str, minor_digits: int) -> _Document:
    return {"_id": code, "name": name, "minor_digits": minor_digits}


def _merchant(id_: int, name: str, country_code: str, category: str) -> _Document:
    return {
        "_id": Int64(id_),
        "name": name,
        "country_code": country_code,
        "category": category,
    }


def _link(id_: int, region: str) -> _Document:
    return {"_id": Int64(id_), "region": region, "epoch": Int64(0)}


def _client(
    id_: int,
    email: str,
    full_name: str,
    country_code: str,
    status: str,
    birth_date: dt.date | None,
    created_at: dt.datetime,
    region: str,
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "email": email,
        "full_name": full_name,
        "country_code": country_code,
        "status": status,
        "birth_date": _day(birth_date),
        "created_at": created_at,
        "created_at_us": created_at.microsecond % 1000,
    }


def _account(
    id_: int,
    iban: str,
    client_id: int,
    currency: str,
    balance: Any,
    opened_at: dt.datetime,
    region: str,
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "iban": iban,
        "client_id": Int64(client_id),
        "currency": currency,
        "balance": Decimal128(balance),
        "opened_at": opened_at,
        "opened_at_us": opened_at.microsecond % 1000,
    }


def _card(
    id_: int, account_id: int, pan_token: Any, expires: dt.date, active: bool, region: str
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "account_id": Int64(account_id),
        "pan_token": pan_token,
        "expires": _day(expires),
        "active": active,
    }


def _payment(
    id_: int,
    account_id: int,
    card_id: int | None,
    merchant_id: int,
    amount: Any,
    currency: str,
    made_in: str,
    made_at: dt.datetime,
    note: Any,
    region: str,
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "account_id": Int64(account_id),
        "card_id": _long(card_id),
        "merchant_id": Int64(merchant_id),
        "amount": Decimal128(amount),
        "currency": currency,
        "made_in": made_in,
        "made_at": made_at,
        "made_at_us": made_at.microsecond % 1000,
        "note": note,
    }


def _debit(
    id_: int,
    account_id: int,
    card_id: int,
    merchant_id: int,
    amount: Any,
    authorised_in: str,
    authorised_at: dt.datetime,
    months: int,
    days: int,
    microseconds: int,
    region: str,
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "account_id": Int64(account_id),
        "card_id": Int64(card_id),
        "merchant_id": Int64(merchant_id),
        "amount": Decimal128(amount),
        "authorised_in": authorised_in,
        "authorised_at": authorised_at,
        "authorised_at_us": authorised_at.microsecond % 1000,
        "valid_for": {"months": months, "days": days, "us": Int64(microseconds)},
    }


def _transfer(
    id_: int,
    from_account_id: int,
    to_account_id: int,
    amount: Any,
    requested_at: dt.datetime,
    reference: str | None,
    region: str,
    to_region: str,
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "from_account_id": Int64(from_account_id),
        "to_account_id": Int64(to_account_id),
        "amount": Decimal128(amount),
        "requested_at": requested_at,
        "requested_at_us": requested_at.microsecond % 1000,
        "reference": reference,
        "to_account_id_region": to_region,
    }


def _entry(
    id_: int,
    account_id: int,
    payment_id: int | None,
    transfer_id: int | None,
    amount: Any,
    booked_at: dt.datetime,
    region: str,
    transfer_region: str | None,
) -> _Document:
    return {
        "_id": Int64(id_),
        "region": region,
        "account_id": Int64(account_id),
        "payment_id": _long(payment_id),
        "transfer_id": _long(transfer_id),
        "amount": Decimal128(amount),
        "booked_at": booked_at,
        "booked_at_us": booked_at.microsecond % 1000,
        "transfer_id_region": transfer_region,
    }


def jobs() -> Iterator[Job]:
    """Yield the tables in the order in which they are loaded."""
    region = _REGION.format("c")
    yield Job("country", "select * from bank.country", _country, regional=False)
    yield Job("currency", "select * from bank.currency", _currency, regional=False)
    yield Job("merchant", "select * from bank.merchant", _merchant, regional=False)
    yield Job("client_region", f"select c.id, {region} from bank.client c", _link, regional=False)
    yield Job(
        "client",
        "select c.id, c.email, c.full_name, c.country_code, c.status::text, c.birth_date, "
        f"c.created_at, {region} from bank.client c",
        _client,
    )
    yield Job(
        "account",
        f"select a.*, {region} from bank.account a join bank.client c on c.id = a.client_id",
        _account,
    )
    owned = _OWNER.format("t.account_id")
    yield Job("card", f"select t.*, {region} from bank.card t {owned}", _card)
    yield Job(
        "debit",
        "select t.id, t.account_id, t.card_id, t.merchant_id, t.amount, t.authorised_in, "
        "t.authorised_at, "
        "(extract(year from t.valid_for) * 12 + extract(month from t.valid_for))::int, "
        "extract(day from t.valid_for)::int, "
        "(extract(hour from t.valid_for) * 3600000000 + extract(minute from t.valid_for) * 60000000"
        f" + extract(microseconds from t.valid_for))::bigint, {region} from bank.debit t {owned}",
        _debit,
    )
    yield Job("payment", f"select t.*, {region} from bank.payment t {owned}", _payment)
    yield Job(
        "transfer",
        f"select t.*, {region}, {_REGION.format('c2')} from bank.transfer t "
        f"{_OWNER.format('t.from_account_id')} "
        "join bank.account a2 on a2.id = t.to_account_id join bank.client c2 on "
        "c2.id = a2.client_id",
        _transfer,
    )
    yield Job(
        "ledger_entry",
        f"select t.*, {region}, {_REGION.format('c2')} from bank.ledger_entry t {owned} "
        "left join bank.transfer f on f.id = t.transfer_id "
        "left join bank.account a2 on a2.id = f.from_account_id "
        "left join bank.client c2 on c2.id = a2.client_id",
        _entry,
    )


#: Collections that keep a key unique over all regions, and what they keep.
_KEYS = {
    "client_email_key": ("client", "email"),
    "account_iban_key": ("account", "iban"),
    "card_pan_token_key": ("card", "pan_token"),
}
_CODES = ("gl", "eu", "na", "ap")


class Writer:
    """Writes batches, three at a time."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._tasks: set[asyncio.Task[Any]] = set()
        self.rows = 0

    async def write(self, collection: str, documents: list[_Document]) -> None:
        """Begin to write a batch, as soon as fewer than three others are under way."""
        if len(self._tasks) >= _IN_FLIGHT:
            done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        self.rows += len(documents)
        write = self._database[collection].insert_many(documents, ordered=False)
        self._tasks.add(asyncio.ensure_future(write))

    async def drain(self) -> None:
        """Wait until everything is written."""
        await asyncio.gather(*self._tasks)
        self._tasks.clear()


async def load(connection: Any, writer: Writer, job: Job) -> None:
    """Load one table."""
    batches: dict[str, list[_Document]] = {}
    make = job.document
    async with connection.cursor(name="rows", binary=True) as cursor:
        await cursor.execute(job.query)
        while rows := await cursor.fetchmany(_BATCH):
            for row in rows:
                document = make(*row)
                name = job.collection
                if job.regional:
                    name = f"{name}_{document['region']}"
                batch = batches.setdefault(name, [])
                batch.append(document)
                if len(batch) == _BATCH:
                    await writer.write(name, batch)
                    batches[name] = []
            # Let Motor's threads hand over what they have finished.
            await asyncio.sleep(0)
    for name, batch in batches.items():
        if batch:
            await writer.write(name, batch)


async def _drop_indexes(database: Any) -> dict[str, list[IndexModel]]:
    """Drop the indexes of every collection; return what creates them again."""
    found: dict[str, list[IndexModel]] = {}
    async for info in await database.list_collections():
        name = info["name"]
        if info["type"] != "collection" or name.startswith("system."):
            continue
        indexes = [index async for index in database[name].list_indexes()]
        for index in indexes:
            if index["name"] != "_id_":
                options = {k: v for k, v in index.items() if k not in ("v", "key")}
                found.setdefault(name, []).append(IndexModel(list(index["key"].items()), **options))
        if name in found:
            await database[name].drop_indexes()
    return found


async def _finish(database: Any, indexes: dict[str, list[IndexModel]]) -> None:
    """Fill the key collections on the server, and create the indexes, two collections at once."""
    for name, (table, column) in _KEYS.items():
        for code in _CODES:
            pipeline = [
                {"$project": {"_id": f"${column}"}},
                {"$merge": {"into": name, "whenMatched": "fail", "whenNotMatched": "insert"}},
            ]
            async for _ in database[f"{table}_{code}"].aggregate(pipeline):
                pass
    gate = asyncio.Semaphore(2)

    async def create(name: str, models: list[IndexModel]) -> None:
        async with gate:
            await database[name].create_indexes(models)

    await asyncio.gather(*(create(name, models) for name, models in indexes.items()))


async def migrate(source: str, mongo: str, name: str) -> dict[str, Any]:
    """Load everything; return rows and seconds."""
    set_json_loads(functools.partial(json.loads, parse_int=Int64, parse_float=Decimal128))
    client: Any = motor.motor_asyncio.AsyncIOMotorClient(
        mongo, uuidRepresentation="standard", tz_aware=True, w="majority"
    )
    database = client[name]
    indexes = await _drop_indexes(database)
    writer = Writer(database)
    begun = time.perf_counter()
    async with await psycopg.AsyncConnection.connect(source) as connection:
        for job in jobs():
            await load(connection, writer, job)
        await writer.drain()
    loaded = time.perf_counter()
    await _finish(database, indexes)
    finished = time.perf_counter()
    client.close()
    return {"rows": writer.rows, "load": loaded - begun, "finish": finished - loaded}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.documents")
    parser.add_argument("source", help="URL of the bank")
    parser.add_argument("mongo", help="URL of the server")
    parser.add_argument("database", help="applied, and empty")
    given = parser.parse_args()
    found = asyncio.run(migrate(given.source, given.mongo, given.database))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
