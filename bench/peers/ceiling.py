"""What mongod itself can take: documents that were encoded beforehand, from two threads.

Reads the documents of one database into memory, then writes them to another. Only the writing is
timed. Prints a JSON document on stdout.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
_THREADS = 2
_BATCH = 2_000


def read(client: MongoClient[Any], name: str) -> list[tuple[str, list[RawBSONDocument]]]:
    """Return the documents of a database in batches, with the collection of each."""
    database = client[name]
    found: list[tuple[str, list[RawBSONDocument]]] = []
    for collection in sorted(database.list_collection_names(filter={"type": "collection"})):
        if collection.startswith("system."):
            continue
        documents = list(database.get_collection(collection, codec_options=_RAW).find())
        for start in range(0, len(documents), _BATCH):
            found.append((collection, documents[start : start + _BATCH]))
    return found


def write(
    client: MongoClient[Any], name: str, batches: list[tuple[str, list[RawBSONDocument]]]
) -> float:
    """Write batches to a database that is not there yet; return seconds."""
    database = client[name]
    for collection in {collection for collection, _ in batches}:
        database.create_collection(collection)
    pending: queue.SimpleQueue[tuple[str, list[RawBSONDocument]] | None] = queue.SimpleQueue()
    for batch in batches:
        pending.put(batch)
    for _ in range(_THREADS):
        pending.put(None)

    def work() -> None:
        while (batch := pending.get()) is not None:
            database[batch[0]].insert_many(batch[1], ordered=False)

    begun = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(work) for _ in range(_THREADS)]:
            done.result()
    return time.perf_counter() - begun


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers.ceiling")
    parser.add_argument("mongo", help="URL of the server")
    parser.add_argument("source", help="database to take the documents from")
    parser.add_argument("target", help="database to write them to; must not exist")
    given = parser.parse_args()
    with MongoClient[Any](given.mongo, w="majority") as client:
        batches = read(client, given.source)
        seconds = write(client, given.target, batches)
    rows = sum(len(documents) for _, documents in batches)
    sys.stdout.write(json.dumps({"rows": rows, "load": seconds}) + "\n")


if __name__ == "__main__":
    main()
