"""Deleting documents in bounded transactions, each of them fenced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from toolkit.mongo.session import Document
from toolkit.mongo.transactions import transact
from toolkit.mongo.types import VERIFY_OPTIONS

#: Documents that one transaction deletes.
_BATCH = 5_000


def empty(
    session: ClientSession, collection: Collection[Document], fence: Callable[[], object]
) -> None:
    """Delete every document of a collection.

    Args:
        session: without a transaction.
        collection: to be emptied.
        fence: raises, in the transaction, if another run has taken over.
    """
    raw = collection.with_options(VERIFY_OPTIONS)
    while ids := [one["_id"] for one in raw.find({}, {"_id": 1}).limit(_BATCH)]:
        remove(session, collection, ids, fence)


def remove(
    session: ClientSession,
    collection: Collection[Document],
    ids: Iterable[Any],
    fence: Callable[[], object],
) -> None:
    """Delete the documents with these keys; those that are gone already are no failure."""
    for some in batches(ids):

        def write(some: list[Any] = some) -> None:
            fence()
            collection.delete_many({"_id": {"$in": some}}, session=session)

        transact(session, write)


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Yield items in lists as long as one transaction takes."""
    left = iter(items)
    while some := list(islice(left, _BATCH)):
        yield some
