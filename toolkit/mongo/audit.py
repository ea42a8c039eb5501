"""Compares what the layout adds with the documents, both ways, by anti-joins in batches.

Documents are read in batches, and what each batch points to is asked for by its keys: bounded
memory, an index under every question, whatever the number of documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from bson import json_util
from bson.decimal128 import Decimal128
from pymongo import errors
from pymongo.database import Database

from toolkit.config import Configuration
from toolkit.errors import SAMPLES
from toolkit.findings import Code, Finding, sampled_keys
from toolkit.layout import Layout
from toolkit.mongo.ddl import same_index
from toolkit.mongo.digest import BATCH, PLAIN_OPTIONS, Cells, documents
from toolkit.mongo.indexes import FOLDING
from toolkit.mongo.inspect import indexes
from toolkit.mongo.layout import CollectionsLayout, KeyCollection
from toolkit.mongo.session import Document, reason
from toolkit.mongo.shape import DocumentShape, Field
from toolkit.placement import ForeignKey, Role

#: Conditions in one ``$or``; a key of one field has no such limit.
_ALTERNATIVES = 500

_Key = tuple[Any, ...]


@dataclass
class _Tally:
    """Counts offenders and keeps the first few keys."""

    count: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        self.count += 1
        if len(self.keys) < SAMPLES:
            self.keys.append(key)


class _Tallies:
    """Tallies by code, table, region and detail."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._found: dict[tuple[Code, str, str | None, str], _Tally] = {}

    def add(self, code: Code, table: str, region: str | None, detail: str, key: str) -> None:
        self._found.setdefault((code, table, region, detail), _Tally()).add(key)

    def findings(self) -> Iterator[Finding]:
        for (code, table, region, detail), tally in self._found.items():
            yield Finding(
                code, self._server, table, region, tally.count, sampled_keys(tally.keys), detail
            )


class Locator:
    """Finds documents by the values of some of their columns.

    Args:
        shape: of their table.
        columns: the columns.
    """

    def __init__(self, shape: DocumentShape, columns: Sequence[str]) -> None:
        self._shape = shape
        self._fields = [shape.field(column) for column in columns]
        self._paths = [path for one in self._fields for path in shape.paths(one.column)]
        self._folds = any(one.bson.folds_case for one in self._fields)
        key = shape.key
        self._is_key = key is not None and set(self._fields) == set(key.fields)
        #: What has to be read of a document.
        self.roots = sorted({path.partition(".")[0] for path in self._paths})

    def key(self, document: Mapping[str, Any]) -> _Key | None:
        """Return a document's values; ``None`` if a column is null: SQL compares no NULL."""
        return self.flat([self._shape.parts(document, one) for one in self._fields])

    def flat(self, parts: Iterable[Sequence[Any]]) -> _Key | None:
        """Return the parts of the columns as one key that Python can compare."""
        found = list(parts)
        if any(part[0] is None for part in found):
            return None
        return tuple([value for part in found for value in part])

    def comparable(self, key: _Key) -> _Key:
        """Return a key as it is compared: numbers of every type alike."""
        return tuple([_comparable(value, self._folds) for value in key])

    def present(self, database: Database[Document], name: str, keys: Iterable[_Key]) -> list[_Key]:
        """Return those of the keys that a collection has, one for each document, comparable."""
        collection = database[name].with_options(PLAIN_OPTIONS)
        options: Document = {"batch_size": BATCH}
        if self._folds:
            options["collation"] = FOLDING
        found = []
        for query in self._queries(keys):
            for document in collection.find(query, dict.fromkeys(self.roots, 1), **options):
                key = self.key(document)
                if key is not None:
                    found.append(self.comparable(key))
        return found

    def _queries(self, keys: Iterable[_Key]) -> Iterator[Document]:
        if len(self._paths) == 1:
            yield {self._paths[0]: {"$in": [key[0] for key in keys]}}
        elif self._is_key:
            yield {"_id": {"$in": [self._identity(key) for key in keys]}}
        else:
            left = iter(keys)
            while some := list(islice(left, _ALTERNATIVES)):
                yield {"$or": [dict(zip(self._paths, key, strict=True)) for key in some]}

    def _identity(self, key: _Key) -> Document:
        values = dict(zip(self._paths, key, strict=True))
        assert self._shape.key is not None
        return {
            path.partition(".")[2]: values[path]
            for one in self._shape.key.fields
            for path in self._shape.paths(one.column)
        }


def _comparable(value: Any, folds: bool) -> Any:
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, Mapping):
        return tuple((name, _comparable(item, folds)) for name, item in value.items())
    if isinstance(value, list):
        return tuple(_comparable(item, folds) for item in value)
    return value.casefold() if folds and isinstance(value, str) else value


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
        tallies = _Tallies(self._server)
        for region, name in self._collections.regional[root].names.items():
            for batch in _batches(documents(self._database, name, PLAIN_OPTIONS, "_id")):
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
        tallies = _Tallies(self._server)
        for batch in _batches(documents(self._database, link, PLAIN_OPTIONS, region_field)):
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
        tallies = _Tallies(self._server)
        for region, name in self._parts(table).items():
            for batch in _batches(documents(self._database, name, PLAIN_OPTIONS, *fields)):
                for lead in leads:
                    lead.check(batch, region, cells.key_text, tallies)
        yield from tallies.findings()

    def _parts(self, table: str) -> Mapping[str | None, str]:
        if table in self._collections.shared:
            return {None: self._collections.shared[table].name}
        return dict(self._collections.regional[table].names.items())

    def _lead(self, shape: DocumentShape, reference: ForeignKey, role: Role) -> _Lead:
        return _Lead(
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
        tallies = _Tallies(self._server)

        def note(key: _Key, detail: str) -> None:
            tallies.add(Code.key_table_differs, table, None, detail, _shown(locator_fields, key))

        locator_fields = [shape.field(column) for column in kept.unique.columns]
        for collection in self._collections.regional[table].names.values():
            found = documents(self._database, collection, PLAIN_OPTIONS, *locator.roots)
            for batch in _batches(found):
                wanted = [key for one in batch if (key := locator.key(one)) is not None]
                ids = [_key_id(kept, key) for key in wanted]
                present = {
                    locator.comparable(_key_of(kept, one["_id"]))
                    for one in keys.find({"_id": {"$in": ids}}, batch_size=BATCH)
                }
                for key in wanted:
                    if locator.comparable(key) not in present:
                        note(key, f"not in {name}")
        for batch in _batches(documents(self._database, name, PLAIN_OPTIONS)):
            wanted = [_key_of(kept, one["_id"]) for one in batch]
            times: dict[_Key, int] = {}
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
            tally = _Tally()
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


@dataclass
class _Lead:
    """A foreign key, and how its other end is found."""

    database: Database[Document]
    table: str
    reference: ForeignKey
    role: Role
    child: Locator
    parent: Locator
    parts: Mapping[str | None, str]
    region_field: str | None

    @property
    def reads(self) -> list[str]:
        more = [self.region_field] if self.region_field else []
        return [*self.child.roots, *more]

    def check(
        self,
        batch: Sequence[Mapping[str, Any]],
        region: str | None,
        key_text: Callable[[Mapping[str, Any]], str],
        tallies: _Tallies,
    ) -> None:
        by_region: dict[str | None, list[tuple[_Key, Mapping[str, Any]]]] = {}
        for document in batch:
            key = self.child.key(document)
            if key is not None:
                by_region.setdefault(self._wanted(document, region), []).append((key, document))
        for where, pairs in by_region.items():
            lost = self._lost(where, pairs)
            elsewhere = self._elsewhere(where, [key for key, _ in lost])
            for key, document in lost:
                code, detail = self._verdict(self.parent.comparable(key) in elsewhere)
                tallies.add(code, self.table, region, detail, key_text(document))

    def _verdict(self, elsewhere: bool) -> tuple[Code, str]:
        columns, target = ", ".join(self.reference.columns), self.reference.target
        if not elsewhere:
            return Code.orphan, f"{columns} leads to no row of {target}"
        if self.role is Role.home:
            return Code.row_misplaced, f"not in the region of its {target}"
        return Code.orphan, f"{columns} leads to {target} in another region than it says"

    def _elsewhere(self, where: str | None, keys: Sequence[_Key]) -> set[_Key]:
        """Return which of the keys another region has."""
        found: set[_Key] = set()
        for region, name in self.parts.items() if keys else ():
            if region != where:
                found.update(self.parent.present(self.database, name, keys))
        return found

    def _wanted(self, document: Mapping[str, Any], region: str | None) -> str | None:
        """Return the region that the other end must be in; ``None`` for a global table."""
        if None in self.parts:
            return None
        return document.get(self.region_field) if self.region_field else region

    def _lost(
        self, where: str | None, pairs: Sequence[tuple[_Key, Mapping[str, Any]]]
    ) -> list[tuple[_Key, Mapping[str, Any]]]:
        if where not in self.parts:
            return list(pairs)
        distinct = {self.parent.comparable(key): key for key, _ in pairs}
        present = set(self.parent.present(self.database, self.parts[where], distinct.values()))
        return [pair for pair in pairs if self.parent.comparable(pair[0]) not in present]


def _batches(found: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(found)
    while batch := list(islice(left, BATCH)):
        yield batch


def _identity(value: Any) -> Any:
    return _comparable(value, folds=False)


def _key_id(kept: KeyCollection, key: _Key) -> Any:
    names = kept.shape.names()
    return dict(zip(names, key, strict=True)) if names else key[0]


def _key_of(kept: KeyCollection, identity: Any) -> _Key:
    return tuple(part for one in kept.shape.fields for part in kept.shape.parts(identity, one))


def _shown(fields: Sequence[Field], key: _Key) -> str:
    texts, place = [], 0
    for one in fields:
        parts = key[place : place + len(one.names)]
        place += len(parts)
        texts.append(one.bson.canonical(parts) or "NULL")
    return ", ".join(texts)


#: Stages that write.
_WRITES = ("$out", "$merge")


def invariants(
    database: Database[Document], server: str, project: Configuration
) -> Iterator[tuple[str, Finding | None]]:
    """Run the invariants that are declared for MongoDB; yield each name with what it found."""
    for invariant in project.file.invariant:
        if invariant.mongo is not None:
            yield (
                invariant.name,
                _violated(
                    database,
                    server,
                    invariant.name,
                    invariant.mongo.collection,
                    invariant.mongo.pipeline,
                ),
            )


def _violated(
    database: Database[Document], server: str, name: str, collection: str, text: str
) -> Finding | None:
    tally = _Tally()
    try:
        pipeline = json_util.loads(text)
        if any(stage.keys() & set(_WRITES) for stage in pipeline):
            return Finding(
                Code.invariant_violated, server, name, detail="it does not run: it would write"
            )
        for found in database[collection].aggregate(pipeline):
            tally.add(", ".join(map(str, found.values())))
    except (errors.PyMongoError, ValueError, TypeError, AttributeError) as error:
        return Finding(
            Code.invariant_violated, server, name, detail=f"it does not run: {reason(error)}"
        )
    if not tally.count:
        return None
    return Finding(
        Code.invariant_violated, server, name, count=tally.count, keys=sampled_keys(tally.keys)
    )
