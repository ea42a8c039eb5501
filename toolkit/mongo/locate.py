"""Finding documents by the values of some of their columns, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from bson.decimal128 import Decimal128
from pymongo.collection import Collection
from pymongo.database import Database

from toolkit.mongo.expected import PLAIN_OPTIONS
from toolkit.mongo.indexes import FOLDING
from toolkit.mongo.moments import Day, Timestamp
from toolkit.mongo.numerics import BigInteger, Integer, Truth
from toolkit.mongo.session import Document
from toolkit.mongo.shape import DocumentShape
from toolkit.mongo.strings import String, Uuid

#: Documents in one answer of the server.
BATCH = 5_000

#: Conditions in one ``$or``; a key of one field has no such limit.
_ALTERNATIVES = 500

#: The fields of some columns, in order.
Key = tuple[Any, ...]


class Locator:
    """Finds documents by the values of some of their columns. SQL's NULL is found by nothing.

    Args:
        shape: of their table.
        columns: the columns.
        folds: whether strings are compared without case, whatever the columns' types.
        nulls: whether NULL is found by NULL.
        where: a filter of the documents that are looked at; ``None`` for all.

    Attributes:
        roots: the fields of a document that have to be read.
        path: where the column stands, if it is one whose values :mod:`toolkit.mongo.antijoin`
            compares; else ``None``.
    """

    def __init__(
        self,
        shape: DocumentShape,
        columns: Sequence[str],
        *,
        folds: bool = False,
        nulls: bool = False,
        where: Document | None = None,
    ) -> None:
        fields = [shape.field(column) for column in columns]
        self._paths = [path for one in fields for path in shape.paths(one.column)]
        self._steps = [path.split(".") for path in self._paths]
        self._folds = folds or any(one.bson.folds_case for one in fields)
        self._nulls = nulls
        self.where: Document = where or {}
        self._simple = all(type(one.bson) in _SIMPLE for one in fields) and not self._folds
        self._identity = (
            shape.key.names() if shape.key and set(fields) == set(shape.key.fields) else None
        )
        ranged = self._simple and len(self._paths) == 1 and not nulls and where is None
        self.path = self._paths[0] if ranged else None
        self.roots = sorted({path.partition(".")[0] for path in self._paths})

    def keys(self, documents: Sequence[Mapping[str, Any]]) -> list[Key | None]:
        """Return the values of each document, ``None`` where one is null."""
        columns = []
        for first, *more in self._steps:
            column = [document.get(first) for document in documents]
            for step in more:
                column = [
                    value.get(step) if isinstance(value, Mapping) else None for value in column
                ]
            columns.append(column)
        return [
            None if not self._nulls and any(part is None for part in key) else key
            for key in zip(*columns, strict=True)
        ]

    def comparable(self, key: Key) -> Key:
        """Return a key as it is compared: numbers of every type alike."""
        if self._simple:
            # A document may hold another type than its column has: it is to be found, too.
            with suppress(TypeError):
                hash(key)
                return key
        return tuple([comparable(value, self._folds) for value in key])

    def present(self, database: Database[Document], name: str, keys: Sequence[Key]) -> list[Key]:
        """Return those of the keys that a collection has, one for each document, comparable."""
        collection = database[name].with_options(PLAIN_OPTIONS)
        found: list[Key] = []
        for query in self.queries(keys):
            if self.where:
                query = {"$and": [query, self.where]}
            some = list(
                collection.find(
                    query, dict.fromkeys(self.roots, 1), batch_size=BATCH, **self.options
                )
            )
            found += [self.comparable(key) for key in self.keys(some) if key is not None]
        return found

    def all_present(self, database: Database[Document], name: str, keys: Sequence[Key]) -> bool:
        """Return whether a collection surely has all of these different keys."""
        if self._identity is None or self._folds:
            return False
        (query,) = self.queries(keys)
        return database[name].count_documents(query) == len(keys)

    @property
    def options(self) -> Document:
        """What a question needs beside its filter: the collation, where case does not count."""
        return {"collation": FOLDING} if self._folds else {}

    def queries(self, keys: Sequence[Key]) -> Iterator[Document]:
        """Yield filters that together find all documents with these keys."""
        if len(self._paths) == 1:
            yield {self._paths[0]: {"$in": [key[0] for key in keys]}}
        elif self._identity is not None and not self._folds:
            yield {"_id": {"$in": [self._id(key) for key in keys]}}
        else:
            for start in range(0, len(keys), _ALTERNATIVES):
                some = keys[start : start + _ALTERNATIVES]
                yield {"$or": [dict(zip(self._paths, key, strict=True)) for key in some]}

    def _id(self, key: Key) -> Document:
        values = dict(zip(self._paths, key, strict=True))
        return {name: values[f"_id.{name}"] for name in self._identity or ()}


#: Types whose values Python compares as MongoDB does.
_SIMPLE = (Integer, BigInteger, String, Uuid, Timestamp, Day, Truth)


def comparable(value: Any, folds: bool) -> Any:
    """Return a value that Python hashes, and compares as MongoDB compares the original.

    Args:
        value: as it was read.
        folds: whether strings are compared without case.
    """
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, Mapping):
        return tuple((name, comparable(item, folds)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(comparable(item, folds) for item in value)
    return value.casefold() if folds and isinstance(value, str) else value


def documents(
    database: Database[Document], name: str, query: Document, fields: Sequence[str]
) -> Iterator[list[Mapping[str, Any]]]:
    """Yield documents in lists of bounded length: these fields of them, and their ``_id``."""
    collection: Collection[Any] = database[name].with_options(PLAIN_OPTIONS)
    found = collection.find(query, dict.fromkeys(["_id", *fields], 1), batch_size=BATCH)
    yield from batches(found)


def batches(found: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield documents in lists of bounded length."""
    left = iter(found)
    while batch := list(islice(left, BATCH)):
        yield batch
