"""Compares what the layout adds with the documents, both ways, by anti-joins in batches.

Documents are read in batches, and what each batch points to is asked for by its keys: bounded
memory, an index under every question, whatever the number of documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo.database import Database

from toolkit.findings import Code, Finding, sampled_keys
from toolkit.layout import Layout
from toolkit.mongo.ddl import same_index
from toolkit.mongo.digest import BATCH, PLAIN_OPTIONS, Cells, batches, documents
from toolkit.mongo.inspect import indexes
from toolkit.mongo.layout import CollectionsLayout, KeyCollection
from toolkit.mongo.locate import Key, Locator, comparable
from toolkit.mongo.references import Lead
from toolkit.mongo.session import Document
from toolkit.mongo.shape import DocumentShape, Field
from toolkit.mongo.tally import Tallies, Tally
from toolkit.placement import ForeignKey, Role


class Audit:
    """The audits of one database. Writes nothing.

    Args:
        database: the target.
        server: its server's name in findings.
        layout: the decisions.
        collections: the same, spelled out.
    """

    def __init__(
        self,
        database: Database[Document],
        server: str,
        layout: Layout,
        collections: CollectionsLayout,
    ) -> None:
        self._database = database
        self._server = server
        self._layout = layout
        self._collections = collections

    def findings(self) -> Iterator[Finding]:
        """Yield everything that is found."""
        yield from self._clients()
        yield from self._links()
        for table in self._layout.placement.tables:
            yield from self._references(table)
        for (table, _), kept in self._collections.keys.items():
            yield from self._key_collection(table, kept)
        yield from self._invalid()
        yield from self._indexes()

    # The link --------------------------------------------------------------------------------

    def _root(self) -> tuple[str, Cells]:
        root = self._layout.placement.root
        return root, Cells(self._layout, self._collections, root)

    def _clients(self) -> Iterator[Finding]:
        """Every client has a link, and it names the region of the client's collection."""
        root, cells = self._root()
        region_field = self._layout.region_column
        link = self._database[self._collections.link.name].with_options(PLAIN_OPTIONS)
        tallies = Tallies(self._server)
        for region, name in self._collections.regional[root].names.items():
            for batch in batches(documents(self._database, name, PLAIN_OPTIONS, "_id")):
                ids = [document["_id"] for document in batch]
                said = {
                    _identity(found["_id"]): found.get(region_field)
                    for found in link.find({"_id": {"$in": ids}}, {region_field: 1})
                }
                for document in batch:
                    identity = _identity(document["_id"])
                    if identity not in said:
                        detail = f"no document in {link.name}"
                        code = Code.client_without_link
                    elif said[identity] != region:
                        detail = f"{link.name} says another region"
                        code = Code.link_differs
                    else:
                        continue
                    tallies.add(code, root, region, detail, cells.key_text(document))
        yield from tallies.findings()

    def _links(self) -> Iterator[Finding]:
        """Every link has a client, in whatever region: where it should be is asked above."""
        root, cells = self._root()
        link, region_field = self._collections.link.name, self._layout.region_column
        homes = self._collections.regional[root].names
        tallies = Tallies(self._server)
        for batch in batches(documents(self._database, link, PLAIN_OPTIONS, region_field)):
            left = {_identity(document["_id"]): document for document in batch}
            for region, name in homes.items():
                # First where the link says that they are: mostly that is all.
                here = [one for one in left.values() if one.get(region_field) == region]
                self._cross_off(name, left, here)
            for name in homes.values():
                self._cross_off(name, left, list(left.values()))
            for document in left.values():
                tallies.add(
                    Code.link_without_client,
                    link,
                    document.get(region_field),
                    f"no document of {root}",
                    cells.key_text(document),
                )
        yield from tallies.findings()

    def _cross_off(
        self, name: str, left: dict[Any, Mapping[str, Any]], some: Sequence[Mapping[str, Any]]
    ) -> None:
        if some:
            wanted = {"_id": {"$in": [document["_id"] for document in some]}}
            collection = self._database[name].with_options(PLAIN_OPTIONS)
            for found in collection.find(wanted, {"_id": 1}, batch_size=BATCH):
                left.pop(_identity(found["_id"]), None)

    # References ------------------------------------------------------------------------------

    def _references(self, table: str) -> Iterator[Finding]:
        """Every reference leads to a document, in the region where it must be."""
        placed = self._layout.placement[table]
        shape = self._collections.shapes[table]
        cells = Cells(self._layout, self._collections, table)
        leads = [self._lead(shape, reference, role) for reference, role in placed.roles.items()]
        if not leads:
            return
        fields = sorted({one for lead in leads for one in lead.reads})
        tallies = Tallies(self._server)
        for region, name in self._parts(table).items():
            for batch in batches(documents(self._database, name, PLAIN_OPTIONS, *fields)):
                for lead in leads:
                    lead.check(batch, region, cells.key_text, tallies)
        yield from tallies.findings()

    def _parts(self, table: str) -> Mapping[str | None, str]:
        if table in self._collections.shared:
            return {None: self._collections.shared[table].name}
        return dict(self._collections.regional[table].names.items())

    def _lead(self, shape: DocumentShape, reference: ForeignKey, role: Role) -> Lead:
        return Lead(
            database=self._database,
            table=shape.table_key,
            reference=reference,
            role=role,
            child=Locator(shape, reference.columns),
            parent=Locator(self._collections.shapes[reference.target], reference.target_columns),
            parts=self._parts(reference.target),
            region_field=self._layout.reference_columns.get(reference),
        )

    # Keys ------------------------------------------------------------------------------------

    def _key_collection(self, table: str, kept: KeyCollection) -> Iterator[Finding]:
        """Each key stands once in the key collection, and in one document."""
        shape = self._collections.shapes[table]
        locator = Locator(shape, kept.unique.columns)
        name = kept.collection.name
        keys = self._database[name].with_options(PLAIN_OPTIONS)
        tallies = Tallies(self._server)

        def note(key: Key, detail: str) -> None:
            tallies.add(Code.key_table_differs, table, None, detail, _shown(locator_fields, key))

        locator_fields = [shape.field(column) for column in kept.unique.columns]
        for collection in self._collections.regional[table].names.values():
            found = documents(self._database, collection, PLAIN_OPTIONS, *locator.roots)
            for batch in batches(found):
                wanted = [key for key in locator.keys(batch) if key is not None]
                ids = [_key_id(kept, key) for key in wanted]
                present = {
                    locator.comparable(_key_of(kept, one["_id"]))
                    for one in keys.find({"_id": {"$in": ids}}, batch_size=BATCH)
                }
                for key in wanted:
                    if locator.comparable(key) not in present:
                        note(key, f"not in {name}")
        for batch in batches(documents(self._database, name, PLAIN_OPTIONS)):
            wanted = [_key_of(kept, one["_id"]) for one in batch]
            times: dict[Key, int] = {}
            for collection in self._collections.regional[table].names.values():
                for key in locator.present(self._database, collection, wanted):
                    times[key] = times.get(key, 0) + 1
            for key in wanted:
                count = times.get(locator.comparable(key), 0)
                if count != 1:
                    note(key, f"in {name}, but in {count or 'no'} document{'s' * (count > 1)}")
        yield from tallies.findings()

    # What the server itself keeps ------------------------------------------------------------

    def _invalid(self) -> Iterator[Finding]:
        """Documents that were written past the validator."""
        for one in self._collections.collections():
            tally = Tally()
            for found in self._database[one.name].find(
                {"$nor": [one.validator]}, {"_id": 1}, batch_size=BATCH
            ):
                tally.add(str(found["_id"]))
            if tally.count:
                yield Finding(
                    Code.document_invalid,
                    self._server,
                    one.table_key or one.name,
                    one.region,
                    tally.count,
                    sampled_keys(tally.keys),
                    f"not what the validator of {one.name} allows",
                )

    def _indexes(self) -> Iterator[Finding]:
        for one in self._collections.collections():
            found = indexes(self._database, one.name)
            missing = [
                index.name
                for index in one.indexes
                if index.name not in found or not same_index(found[index.name], index)
            ]
            if missing:
                yield Finding(
                    Code.index_missing,
                    self._server,
                    one.table_key or one.name,
                    one.region,
                    len(missing),
                    sampled_keys(missing),
                    f"of {one.name}",
                )


def _identity(value: Any) -> Any:
    return comparable(value, folds=False)


def _key_id(kept: KeyCollection, key: Key) -> Any:
    names = kept.shape.names()
    return dict(zip(names, key, strict=True)) if names else key[0]


def _key_of(kept: KeyCollection, identity: Any) -> Key:
    return tuple(part for one in kept.shape.fields for part in kept.shape.parts(identity, one))


def _shown(fields: Sequence[Field], key: Key) -> str:
    texts, place = [], 0
    for one in fields:
        parts = key[place : place + len(one.names)]
        place += len(parts)
        texts.append(one.bson.canonical(parts) or "NULL")
    return ", ".join(texts)
