"""Read both ends of a migration once, with two threads, and compare nothing.

PostgreSQL copies every table to ``/dev/null`` on the server; from MongoDB the documents arrive as
the bytes that they are. The least that a verification must do that looks at every row.
"""

from __future__ import annotations

import argparse
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg import sql
from pymongo import MongoClient

_THREADS = 2

#: Biggest first, so that both threads end together.
_TABLES = """
select c.relname, pg_relation_size(c.oid)
from pg_class c
where c.relnamespace = %s::regnamespace and c.relkind = 'r'
order by 2 desc
"""

_Job = tuple[int, Callable[[], object]]


def tables(url: str, schema: str) -> list[_Job]:
    """Return a job for every table that holds rows itself."""

    def job(table: str) -> Callable[[], object]:
        def copy() -> None:
            with psycopg.connect(url) as connection:
                connection.execute(
                    sql.SQL("copy (select * from {}) to '/dev/null'").format(
                        sql.Identifier(schema, table)
                    )
                )

        return copy

    with psycopg.connect(url) as connection:
        return [(size, job(name)) for name, size in connection.execute(_TABLES, (schema,))]


def collections(client: MongoClient[Any], name: str) -> list[_Job]:
    """Return a job for every collection."""
    database = client[name]

    def job(collection: str) -> Callable[[], object]:
        def read() -> None:
            for batch in database[collection].find_raw_batches():
                len(batch)

        return read

    names = database.list_collection_names(filter={"type": "collection"})
    return [
        (int(database.command("collStats", one)["size"]), job(one))
        for one in names
        if not one.startswith("system.")
    ]


def run(jobs: Sequence[_Job]) -> None:
    """Run jobs, the longest first, two at a time."""
    pending: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
    for _, job in sorted(jobs, key=lambda one: -one[0]):
        pending.put(job)
    for _ in range(_THREADS):
        pending.put(None)

    def work() -> None:
        while (job := pending.get()) is not None:
            job()

    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(work) for _ in range(_THREADS)]:
            done.result()


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.reading")
    parser.add_argument("source", help="URL of the bank")
    parser.add_argument("--postgres", help="URL of the layout 'tables'")
    parser.add_argument("--mongo", help="URL of the server of the layout 'collections'")
    parser.add_argument("--database", help="and its database there")
    given = parser.parse_args()
    jobs = tables(given.source, "bank")
    if given.postgres:
        jobs += tables(given.postgres, "bank_regional")
    if not given.mongo:
        run(jobs)
        return
    with MongoClient[Any](given.mongo) as client:
        run(jobs + collections(client, given.database))


if __name__ == "__main__":
    main()
