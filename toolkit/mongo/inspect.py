"""What stands in a database, as plain data that can be compared. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bson import json_util
from pymongo.database import Database

from toolkit.mongo.session import Document, translated


def catalogue(database: Database[Document]) -> Document:
    """Return every collection, view and index, sorted by name.

    Keys of indexes are lists of pairs, because their order counts. What the server adds by itself
    (uuid, versions) is left out. What JSON cannot spell (NaN, dates) is written as Extended JSON.
    """
    with translated(f"read the catalogue of {database.name}"):
        entries = sorted(database.list_collections(), key=lambda entry: str(entry["name"]))
        found: Document = {"collections": {}, "views": {}}
        for entry in entries:
            name = str(entry["name"])
            if name.startswith("system."):
                continue
            options = plain(entry.get("options", {}))
            if entry["type"] == "view":
                found["views"][name] = {
                    "on": options["viewOn"],
                    "pipeline": options.get("pipeline", []),
                }
            else:
                found["collections"][name] = {
                    "options": options,
                    "indexes": indexes(database, name),
                }
    text = json_util.dumps(found, json_options=json_util.RELAXED_JSON_OPTIONS)
    comparable: Document = json.loads(text)
    return comparable


def indexes(database: Database[Document], collection: str) -> Document:
    """Return the indexes of a collection by name, that of ``_id`` left out."""
    found = {}
    for index in database[collection].list_indexes():
        described = dict(index)
        name = str(described.pop("name"))
        described.pop("v", None)
        described.pop("ns", None)
        keys = [[path, direction] for path, direction in described.pop("key").items()]
        if name != "_id_":
            found[name] = {"keys": keys, **plain(described)}
    return dict(sorted(found.items()))


def plain(value: Any) -> Any:
    """Return a value with plain dictionaries and lists in it."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal, types and NaN included, whatever the order of fields."""
    return _text(one) == _text(other)


def _text(value: Any) -> str:
    return json_util.dumps(
        plain(value), json_options=json_util.CANONICAL_JSON_OPTIONS, sort_keys=True
    )
