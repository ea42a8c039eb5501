"""Compares what the layout adds with the documents, both ways, by anti-joins.

Keys are compared in whole ranges, read in the order of an index (``toolkit.mongo.antijoin``); only
documents whose key is left over are looked at one by one. Where a key is no single plain value,
documents are read in batches, and what each batch points to is asked for by its keys. Memory is
bounded, whatever the number of documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from pymongo.database import Database

from toolkit.findings import Code, Finding, sampled_keys
from toolkit.layout import Layout
from toolkit.mongo.antijoin import Values, absent, given, not_once
from toolkit.mongo.ddl import same_index, same_view
from toolkit.mongo.digest import Cells
from toolkit.mongo.expected import PLAIN_OPTIONS
from toolkit.mongo.inspect import indexes, same
from toolkit.mongo.layout import Collection, CollectionsLayout, KeyCollection
from toolkit.mongo.locate import BATCH, Key, Locator, comparable, documents
from toolkit.mongo.references import Lead
from toolkit.mongo.scan import Scanned
from toolkit.mongo.session import Document
from toolkit.mongo.shape import DocumentShape, Field
from toolkit.mongo.tally import Tallies, Tally
from toolkit.mongo.validity import unproven
from toolkit.placement import ForeignKey, Role

#: Keys in one question for documents.
_ASKED = 1_000


class Audit:
    """The audits of one database. Writes nothing.

    Args:
        database: the target.
        server: its server's name in findings.
        layout: the decisions.
        collections: the same, spelled out.
        scanned: what was read of each collection just before, so far as it was.
        equal: keys of the tables of which every row was compared and found equal.
    """

    def __init__(
        self,
        database: Database[Document],
        server: str,
        layout: Layout,
        collections: CollectionsLayout,
        scanned: Mapping[str, Scanned],
        equal: AbstractSet[str],
    ) -> None:
        self._database = database
        self._server = server
        self._layout = layout
        self._collections = collections
        self._scanned = scanned
        self._equal = equal

    # The link --------------------------------------------------------------------------------

    def _root(self) -> tuple[str, Cells]:
        root = self._layout.placement.root
        return root, Cells(self._layout, self._collections, root)

    def _ids(self, name: str, region: str | None = None) -> Values:
        """Return the ids of a collection, or those of the link that name a region."""
        where = () if region is None else ((self._layout.region_column, region),)
        return Values(self._database, name, "_id", where)

    def clients(self) -> list[Finding]:
        """Every client has a link, and it names the region of the client's collection."""
        root, rows = self._root()
        link = self._collections.link.name
        tallies = Tallies(self._server)
        for region, name in self._collections.regional[root].names.items():
            for left in absent([self._ids(name)], self._ids(link, region)):
                for batch in self._having(name, left):
                    self._check_clients(batch, region, rows, tallies)
        return list(tallies.findings())

    def _check_clients(
        self, batch: Sequence[Mapping[str, Any]], region: str, rows: Cells, tallies: Tallies
    ) -> None:
        root, region_field = self._layout.placement.root, self._layout.region_column
        link = self._database[self._collections.link.name].with_options(PLAIN_OPTIONS)
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
            tallies.add(code, root, region, detail, rows.key_text(document))

    def links(self) -> list[Finding]:
        """Every link has a client, in whatever region: where it should be is asked above."""
        root, rows = self._root()
        link, region_field = self._collections.link.name, self._layout.region_column
        homes = self._collections.regional[root].names
        tallies = Tallies(self._server)
        for region, name in homes.items():
            for left in absent([self._ids(link, region)], self._ids(name)):
                for batch in self._having(link, left, region_field):
                    self._check_links(batch, rows, tallies)
        elsewhere = {region_field: {"$nin": list(homes)}}
        for batch in documents(self._database, link, elsewhere, [region_field]):
            self._check_links(batch, rows, tallies)
        return list(tallies.findings())

    def _check_links(
        self, batch: Sequence[Mapping[str, Any]], rows: Cells, tallies: Tallies
    ) -> None:
        root, region_field = self._layout.placement.root, self._layout.region_column
        left = {_identity(document["_id"]): document for document in batch}
        for name in self._collections.regional[root].names.values():
            wanted = {"_id": {"$in": [document["_id"] for document in batch]}}
            collection = self._database[name].with_options(PLAIN_OPTIONS)
            for found in collection.find(wanted, {"_id": 1}, batch_size=BATCH):
                left.pop(_identity(found["_id"]), None)
        for document in left.values():
            tallies.add(
                Code.link_without_client,
                self._collections.link.name,
                document.get(region_field),
                f"no document of {root}",
                rows.key_text(document),
            )

    def _having(self, name: str, ids: set[Any], *fields: str) -> Iterator[list[Mapping[str, Any]]]:
        """Yield the documents that have these ids, as they compare."""
        asked = [given(one) for one in ids]
        for start in range(0, len(asked), _ASKED):
            query = {"_id": {"$in": asked[start : start + _ASKED]}}
            yield from documents(self._database, name, query, fields)

    # References ------------------------------------------------------------------------------

    def reference(self, table: str, reference: ForeignKey, role: Role) -> list[Finding]:
        """Every reference leads to a document, in the region where it must be.

        The region of a row that was compared was found along its home path and its foreign
        references: where both ends are equal to the source, those lead to where they should. What
        remains is a foreign reference without a region.
        """
        lead = self._lead(self._collections.shapes[table], reference, role)
        cells = Cells(self._layout, self._collections, table)
        proven = {table, reference.target} <= self._equal
        tallies = Tallies(self._server)
        for region, name in self._parts(table).items():
            if not proven or role not in (Role.home, Role.foreign_reference):
                lead.check_all(name, region, cells.key_text, tallies)
            elif role is Role.foreign_reference:
                lead.check_without_region(name, region, cells.key_text, tallies)
        return list(tallies.findings())

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
            may_be_null=any(one.nullable for one in shape.references if one.reference == reference),
        )

    # Keys ------------------------------------------------------------------------------------

    def key_collection(self, table: str, kept: KeyCollection) -> list[Finding]:
        """Each key stands once in the key collection, and in one document."""
        shape = self._collections.shapes[table]
        keys_of = kept.keys
        locator = Locator(
            shape,
            keys_of.names,
            folds=keys_of.folds,
            nulls=keys_of.nulls,
            where=keys_of.filter,
        )
        fields = [shape.field(column) for column in keys_of.names]
        name = kept.collection.name
        tallies = Tallies(self._server)

        def note(key: Key, detail: str) -> None:
            tallies.add(Code.key_table_differs, table, None, detail, _shown(fields, key))

        homes = list(self._collections.regional[table].names.values())
        for keys in self._keys_of_documents(homes, name, locator):
            for key in self._unkept(kept, locator, keys):
                note(key, f"not in {name}")
        for keys in self._kept_keys(homes, kept, locator):
            times: Counter[Key] = Counter()
            for collection in homes:
                times.update(locator.present(self._database, collection, keys))
            for key in keys:
                count = times[locator.comparable(key)]
                if count != 1:
                    note(key, f"in {name}, but in {count or 'no'} document{'s' * (count > 1)}")
        return list(tallies.findings())

    def _keys_of_documents(
        self, homes: Sequence[str], name: str, locator: Locator
    ) -> Iterator[list[Key]]:
        """Yield the keys of documents, but for those that are surely in the key collection."""
        if locator.path is None:
            for home in homes:
                for batch in documents(self._database, home, locator.where, locator.roots):
                    yield [key for key in locator.keys(batch) if key is not None]
            return
        holders = [Values(self._database, home, locator.path) for home in homes]
        for left in absent(holders, Values(self._database, name, "_id")):
            yield from _slices(left)

    def _unkept(self, kept: KeyCollection, locator: Locator, keys: Sequence[Key]) -> Iterator[Key]:
        collection = self._database[kept.collection.name].with_options(PLAIN_OPTIONS)
        ids = [_key_id(kept, key) for key in keys]
        present = {
            locator.comparable(_key_of(kept, one["_id"]))
            for one in collection.find({"_id": {"$in": ids}}, batch_size=BATCH)
        }
        for key in keys:
            if locator.comparable(key) not in present:
                yield key

    def _kept_keys(
        self, homes: Sequence[str], kept: KeyCollection, locator: Locator
    ) -> Iterator[list[Key]]:
        """Yield the keys of the key collection, but for those that surely stand in one document."""
        name = kept.collection.name
        if locator.path is None:
            for batch in documents(self._database, name, {}, ()):
                yield [_key_of(kept, one["_id"]) for one in batch]
            return
        holders = [Values(self._database, home, locator.path) for home in homes]
        for left in not_once(Values(self._database, name, "_id"), holders):
            yield from _slices(left)

    # What the server itself keeps ------------------------------------------------------------

    def invalid(self, one: Collection) -> list[Finding]:
        """Documents that were written past the validator."""
        wanted = self._to_be_validated(one)
        tally = Tally()
        if wanted is not None:
            query = {"$nor": [wanted]}
            for found in self._database[one.name].find(query, {"_id": 1}, batch_size=BATCH):
                tally.add(str(found["_id"]))
        if not tally.count:
            return []
        return [
            Finding(
                Code.document_invalid,
                self._server,
                one.table_key or one.name,
                one.region,
                tally.count,
                sampled_keys(tally.keys),
                f"not what the validator of {one.name} allows",
            )
        ]

    def _to_be_validated(self, one: Collection) -> Document | None:
        """Return what of the validator the server has to look at; ``None`` if nothing."""
        scanned = self._scanned.get(one.name)
        name = self._layout.link if one is self._collections.link else one.table_key
        if scanned is None or scanned.odd or name is None:
            return one.validator
        places = dict(Cells(self._layout, self._collections, name).places())
        return unproven(one.validator, places[one.name]) if one.name in places else one.validator

    def validators(self) -> list[Finding]:
        """Every collection still has the validator that the layout gave it."""
        found: list[Finding] = []
        entries = {str(entry["name"]): entry for entry in self._database.list_collections()}
        for one in self._collections.collections():
            options = entries.get(one.name, {}).get("options", {})
            detail = ""
            if "validator" not in options:
                detail = f"{one.name} has none"
            elif not same(options["validator"], one.validator):
                detail = f"that of {one.name} is another one"
            elif options.get("validationLevel", "strict") != "strict":
                detail = f"that of {one.name} is not strict"
            elif options.get("validationAction", "error") != "error":
                detail = f"that of {one.name} refuses nothing"
            if detail:
                found.append(
                    Finding(
                        Code.validator_differs,
                        self._server,
                        one.table_key or one.name,
                        one.region,
                        keys=(one.name,),
                        detail=detail,
                    )
                )
        return found

    def names(self) -> list[Finding]:
        """Every view unites what the layout says, and nothing is there that the layout has not."""
        entries = {str(entry["name"]): entry for entry in self._database.list_collections()}
        planned = {one.name for one in self._collections.collections()}
        found: dict[str, tuple[str, str]] = {}
        for view in self._collections.views:
            entry = entries.get(view.name)
            if entry is None:
                found[view.name] = (view.table_key, f"view {view.name} is missing")
            elif entry["type"] != "view" or not same_view(entry["options"], view.names):
                found[view.name] = (view.table_key, f"view {view.name} is not as planned")
            planned.add(view.name)
        for name in entries:
            if name not in planned and not name.startswith("system."):
                found[name] = (name, f"{name} is not in the plan")
        return [
            Finding(Code.catalogue_differs, self._server, table, keys=(name,), detail=detail)
            for name, (table, detail) in sorted(found.items())
        ]

    def indexes_of(self, one: Collection) -> list[Finding]:
        """Every index is there, as the layout has it."""
        found = indexes(self._database, one.name)
        missing = [
            index.name
            for index in one.indexes
            if index.name not in found or not same_index(found[index.name], index)
        ]
        if not missing:
            return []
        return [
            Finding(
                Code.index_missing,
                self._server,
                one.table_key or one.name,
                one.region,
                len(missing),
                sampled_keys(missing),
                f"of {one.name}",
            )
        ]


def audits(
    layout: Layout, collections: CollectionsLayout
) -> list[Callable[[Audit], list[Finding]]]:
    """Return everything that is audited, each to be run by itself."""
    asked: list[Callable[[Audit], list[Finding]]] = [
        Audit.clients,
        Audit.links,
        Audit.validators,
        Audit.names,
    ]
    for table, placed in layout.placement.tables.items():
        for reference, role in placed.roles.items():
            asked.append(partial(_reference, table, reference, role))
    for (table, _), kept in collections.keys.items():
        asked.append(partial(_key_collection, table, kept))
    for one in collections.collections():
        asked += [partial(_invalid, one), partial(_indexes, one)]
    return asked


def _reference(table: str, reference: ForeignKey, role: Role, audit: Audit) -> list[Finding]:
    return audit.reference(table, reference, role)


def _key_collection(table: str, kept: KeyCollection, audit: Audit) -> list[Finding]:
    return audit.key_collection(table, kept)


def _invalid(one: Collection, audit: Audit) -> list[Finding]:
    return audit.invalid(one)


def _indexes(one: Collection, audit: Audit) -> list[Finding]:
    return audit.indexes_of(one)


def _slices(values: set[Any]) -> Iterator[list[Key]]:
    """Yield keys of one field, as many as go into one question."""
    asked = [(given(value),) for value in values]
    for start in range(0, len(asked), BATCH):
        yield asked[start : start + BATCH]


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
