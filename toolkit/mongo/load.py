"""What surrounds a load: indexes away before it and back after it, key collections filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pymongo import errors
from pymongo.client_session import ClientSession
from pymongo.database import Database

from toolkit.errors import Interrupted, sampled
from toolkit.mongo import inspect
from toolkit.mongo.ddl import index_model
from toolkit.mongo.indexes import FOLDING
from toolkit.mongo.layout import Collection, CollectionsLayout, KeyCollection
from toolkit.mongo.removal import empty
from toolkit.mongo.session import Document, reason

_DUPLICATE_KEY = 11000
_AT_ONCE = 2


def drop_indexes(database: Database[Document], collections: CollectionsLayout) -> None:
    """Drop the layout's indexes; those that somebody added stay."""
    for one in collections.collections():
        present = inspect.indexes(database, one.name) if one.indexes else {}
        for index in one.indexes:
            if index.name in present:
                database[one.name].drop_index(index.name)


def create_indexes(
    database: Database[Document], collections: CollectionsLayout, progress: Callable[[str], None]
) -> None:
    """Create the layout's indexes; what is there already stays.

    Raises:
        Interrupted: the documents violate a unique index.
    """

    def create(one: Collection) -> None:
        progress(f"indexes of {one.name}")
        try:
            database[one.name].create_indexes([index_model(index) for index in one.indexes])
        except errors.OperationFailure as error:
            if error.code != _DUPLICATE_KEY:
                raise
            raise Interrupted(
                f"the documents of {one.name!r} violate a unique index: {reason(error)}",
                hint="remove the duplicates, then run 'regionkit migrate' again",
            ) from None

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="regionkit-index") as pool:
        wanted = [one for one in collections.collections() if one.indexes]
        # Of the map, because it gives up the rest when one fails: where the server has gone, each
        # would wait for it anew.
        for _ in pool.map(create, wanted):
            pass


def empty_key_collections(
    session: ClientSession,
    database: Database[Document],
    collections: CollectionsLayout,
    fence: Callable[[], object],
) -> None:
    """Delete the keys that an earlier run has filled in: the documents may be others now.

    Args:
        session: without a transaction.
        database: the target.
        collections: the layout.
        fence: raises, in a transaction, if another run has taken over.
    """
    for kept in collections.keys.values():
        empty(session, database[kept.collection.name], fence)


def fill_key_collections(
    database: Database[Document], collections: CollectionsLayout, progress: Callable[[str], None]
) -> None:
    """Fill every key collection from the documents, on the server.

    Filling it again changes nothing, so that a run that died half-way is simply repeated.

    Raises:
        Interrupted: a key stands in two documents.
    """
    for (table, constraint), kept in collections.keys.items():
        progress(f"key collection {kept.collection.name}")
        names = [*collections.regional[table].names.values()]
        keys = _keys(collections, table, kept)
        options: Document = {"allowDiskUse": True}
        if kept.collection.collation is not None:
            options["collation"] = FOLDING
        duplicates = [
            str(found["_id"])
            for found in database[names[0]].aggregate(
                [
                    *keys,
                    *({"$unionWith": {"coll": name, "pipeline": keys}} for name in names[1:]),
                    {"$group": {"_id": "$_id", "times": {"$sum": 1}}},
                    {"$match": {"times": {"$gt": 1}}},
                ],
                **options,
            )
        ]
        if duplicates:
            raise Interrupted(
                f"{len(duplicates)} key(s) of {table}.{constraint} stand in more than one document",
                details=sampled(sorted(duplicates)),
                hint="remove the duplicates from the source and start over, or give the "
                f'constraint up across regions: "{table}.{constraint}" = "region" in [unique]',
            )
        merge = {
            "$merge": {
                "into": kept.collection.name,
                "whenMatched": "keepExisting",
                "whenNotMatched": "insert",
            }
        }
        for name in names:
            database[name].aggregate([*keys, merge], **options)


def _keys(collections: CollectionsLayout, table: str, kept: KeyCollection) -> list[Document]:
    """Return the stages that turn a document into its key; most keys with a NULL are none."""
    shape = collections.shapes[table]
    paths = [path for column in kept.keys.names for path in shape.paths(column)]
    key: Any = f"${paths[0]}"
    if names := kept.shape.names():
        key = {name: f"${path}" for name, path in zip(names, paths, strict=True)}
    return [*matching(kept, paths), {"$project": {"_id": key}}]


def matching(kept: KeyCollection, paths: Sequence[str]) -> list[Document]:
    """Return the stage that leaves the documents that have a key; none if all have one."""
    conditions: list[Document] = [] if kept.keys.filter is None else [kept.keys.filter]
    if not kept.keys.nulls:
        # As an expression: a query looks into arrays.
        conditions += [{"$expr": {"$ne": [f"${path}", None]}} for path in paths]
    return [{"$match": {"$and": conditions}}] if conditions else []
