"""The documents of one client, from the root down, and those elsewhere that refer to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import errors
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.database import Database

from toolkit.layout import Layout
from toolkit.mongo.layout import CollectionsLayout
from toolkit.mongo.locate import Key, Locator
from toolkit.mongo.session import Document
from toolkit.mongo.types import VERIFY_OPTIONS
from toolkit.placement import ForeignKey

#: Documents in one batch, and keys in one question.
BATCH = 1_000

#: The region of a collection, its name, a filter, and the options of a question.
Asked = tuple[str | None, str, Document, Document]

#: For each table that follows another, the keys of those rows: comparable, and as they are.
_Keys = Mapping[str, dict[Key, Key]]


class ClientDocuments:
    """Finds the documents of clients.

    Args:
        database: the target.
        layout: the decisions.
        collections: the same, spelled out.
    """

    def __init__(
        self, database: Database[Document], layout: Layout, collections: CollectionsLayout
    ) -> None:
        self.database = database
        self.layout = layout
        self.collections = collections
        shapes = collections.shapes
        #: The foreign key by which each table follows another one, and both its ends.
        self._home: dict[str, tuple[str, Locator, Locator]] = {}
        for table in layout.regional:
            home = layout.placement[table].home
            if home is not None:
                parent = Locator(shapes[home.target], home.target_columns)
                self._home[table] = home.target, Locator(shapes[table], home.columns), parent
        self._ends = {
            one: (
                Locator(shapes[one.table], one.columns),
                Locator(shapes[one.target], one.target_columns),
            )
            for one in layout.reference_columns
        }

    def collection(self, table: str, region: str) -> Collection[Any]:
        """Return a table's collection of a region."""
        name = self.collections.collection(table, region)
        return self.database[name].with_options(VERIFY_OPTIONS)

    def regions_of(self, table: str) -> frozenset[str]:
        """Return the fields of a table's documents that say a region."""
        shape = self.collections.shapes[table]
        return frozenset(
            [self.layout.region_column, *(reference.name for reference in shape.references)]
        )

    def walk(
        self, identity: Any, region: str, session: ClientSession | None = None
    ) -> Iterator[tuple[str, list[RawBSONDocument]]]:
        """Yield table and documents of a client in a region, in batches, parents first.

        Args:
            identity: the ``_id`` of the client.
            region: that is looked at.
            session: in a transaction, or ``None``.
        """
        keys: _Keys = {table: {} for table in self._home}
        for table in self.layout.regional:
            children = [child for child, (target, *_) in self._home.items() if target == table]
            for query, options in self._queries(table, identity, keys):
                found = self.collection(table, region).find(
                    query, session=session, batch_size=BATCH, **options
                )
                for batch in _batches(found):
                    self._collect(children, batch, keys)
                    yield table, batch

    def behind(
        self, identity: Any, origin: str, region: str, session: ClientSession | None = None
    ) -> dict[str, int]:
        """Return how many documents of a client in ``region`` are left in ``origin``, by table."""
        return {
            table: count
            for table, query, options in self.left(identity, region, session)
            if (
                count := self.collection(table, origin).count_documents(
                    query, session=session, **options
                )
            )
        }

    def left(
        self, identity: Any, region: str, session: ClientSession | None = None
    ) -> Iterator[tuple[str, Document, Document]]:
        """Yield the questions for a client's documents in any region, given its parents' one.

        Args:
            identity: the ``_id`` of the client.
            region: where the documents are that others follow.
            session: in a transaction, or ``None``.
        """
        keys: _Keys = {table: {} for table in self._home}
        for table in self.layout.regional:
            children = [child for child, (target, *_) in self._home.items() if target == table]
            for query, options in self._queries(table, identity, keys):
                yield table, query, options
                if children:
                    found = self.collection(table, region).find(query, session=session, **options)
                    for batch in _batches(found):
                        self._collect(children, batch, keys)

    def _queries(
        self, table: str, identity: Any, keys: _Keys
    ) -> Iterator[tuple[Document, Document]]:
        if table not in self._home:
            yield {"_id": identity}, {}
            return
        locator = self._home[table][1]
        wanted = list(keys[table].values())
        for start in range(0, len(wanted), BATCH):
            for query in locator.queries(wanted[start : start + BATCH]):
                yield query, locator.options

    def _collect(
        self,
        children: Iterable[str],
        batch: Sequence[RawBSONDocument],
        keys: _Keys,
    ) -> None:
        for child in children:
            parent = self._home[child][2]
            keys[child].update(
                (parent.comparable(key), key) for key in parent.keys(batch) if key is not None
            )

    def referring(self, one: ForeignKey, documents: Sequence[RawBSONDocument]) -> Iterator[Asked]:
        """Yield the questions for what refers to some documents, for each collection.

        Args:
            one: a foreign reference.
            documents: of its target.
        """
        child, parent = self._ends[one]
        keys = [key for key in parent.keys(documents) if key is not None]
        for start in range(0, len(keys), BATCH):
            for query in child.queries(keys[start : start + BATCH]):
                for region, name in self._parts(one.table):
                    yield region, name, query, child.options

    def _parts(self, table: str) -> list[tuple[str | None, str]]:
        if table in self.collections.shared:
            return [(None, self.collections.shared[table].name)]
        return list(self.collections.regional[table].names.items())

    def insert(
        self, table: str, region: str, documents: Sequence[RawBSONDocument], session: ClientSession
    ) -> None:
        """Insert documents, in a transaction.

        Raises:
            WriteError: one is there, or the validator refuses it.
        """
        # As the plain command: insert_many looks at each document several times.
        answer = self.database.command(
            {"insert": self.collections.collection(table, region), "documents": list(documents)},
            session=session,
        )
        if failed := answer.get("writeErrors"):
            raise errors.WriteError(failed[0]["errmsg"], failed[0]["code"], failed[0])


def _batches(found: Iterable[RawBSONDocument]) -> Iterator[list[RawBSONDocument]]:
    batch: list[RawBSONDocument] = []
    for one in found:
        batch.append(one)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
