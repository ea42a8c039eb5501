"""The layout ``collections``, spelled out: which collections, validators, indexes, views. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from bson import json_util
from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

from toolkit.layout import Layout, Scope, Unique, is_generated
from toolkit.mongo.indexes import (
    FOLDING,
    CollectionIndex,
    IndexBuilder,
    Keys,
    Note,
    NoteKind,
    unique_keys,
)
from toolkit.mongo.shape import (
    DocumentShape,
    KeyShape,
    document_shape,
    region_schema,
    subdocument,
)
from toolkit.mongo.values import Schema
from toolkit.types import postgres_type

#: The link's counter: every transaction that writes to a client's documents increments it first.
EPOCH = "epoch"

#: What a link says instead of the counter while its client moves in several transactions. A writer
#: that increments the counter would make a link with both, which the validator refuses: whoever
#: keeps the rule is told, and need not know of moves.
MOVING = "moving"

#: MongoDB's limit of indexes in a collection; one is that of ``_id``.
_MOST_INDEXES = 64


#: Types whose text tells values apart that PostgreSQL holds for equal.
_LOOSE = frozenset({"numeric", "real", "double precision", "numrange", "box", "circle", "lseg"})


@dataclass(frozen=True)
class Collection:
    """A collection.

    Attributes:
        name: its name in the database.
        table_key: key of the table whose rows it holds; ``None`` for what regionkit adds.
        region: the region whose rows it holds; ``None`` for all others.
        validator: the filter that every document must match.
        indexes: besides that of ``_id``.
        collation: the default of every comparison, that of ``_id`` included.
    """

    name: str
    table_key: str | None
    region: str | None
    validator: Schema
    indexes: tuple[CollectionIndex, ...] = ()
    collation: dict[str, Any] | None = None


@dataclass(frozen=True)
class RegionalCollections:
    """The collections of a regional table, alike but for the region.

    Attributes:
        table_key: the table's key.
        names: the collection of each region, by its code.
        region_field: the field that holds the region.
        validator: as for any region; :func:`of_region` makes it that of one.
        indexes: of each of them.
    """

    table_key: str
    names: Mapping[str, str]
    region_field: str
    validator: Schema
    indexes: tuple[CollectionIndex, ...]

    def collections(self) -> Iterator[Collection]:
        """Yield the collection of each region."""
        for region, name in self.names.items():
            validator = of_region(self.validator, self.region_field, region)
            yield Collection(name, self.table_key, region, validator, self.indexes)


@dataclass(frozen=True)
class KeyCollection:
    """What keeps a key unique over all regions: one document for each key, its ``_id``.

    Attributes:
        collection: the collection.
        unique: the unique constraint or index.
        keys: what it is over.
        shape: how a row's key becomes the ``_id``; a key with a NULL has no document, unless NULLs
            are equal.
    """

    collection: Collection
    unique: Unique
    keys: Keys
    shape: KeyShape


@dataclass(frozen=True)
class View:
    """A view that unites the regions of a table, for reports only.

    Attributes:
        name: its name in the database.
        table_key: key of the table.
        names: the collections that it unites, in order.
    """

    name: str
    table_key: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class CollectionsLayout:
    """Everything that the MongoDB side of a layout creates.

    Attributes:
        regions: the codes, in order.
        region_list: the collection of region codes.
        link: the collection of links; its ``_id`` is the root's.
        shared: the collections of global tables, by key.
        regional: the collections of regional tables, by key, parents first.
        keys: the key collections, by table key and name of the constraint.
        views: one for each regional table.
        shapes: the shape of each table's documents, by key.
        notes: what is changed, audited instead of enforced, or left behind.
    """

    regions: tuple[str, ...]
    region_list: Collection
    link: Collection
    shared: Mapping[str, Collection]
    regional: Mapping[str, RegionalCollections]
    keys: Mapping[tuple[str, str], KeyCollection]
    views: tuple[View, ...]
    shapes: Mapping[str, DocumentShape]
    notes: tuple[Note, ...]

    def collections(self) -> Iterator[Collection]:
        """Yield every collection in the order of creation."""
        yield self.region_list
        yield from self.shared.values()
        yield self.link
        yield from (key.collection for key in self.keys.values())
        for regional in self.regional.values():
            yield from regional.collections()

    def collection(self, table_key: str, region: str | None = None) -> str:
        """Return the name of the collection of a table's rows, in a region if it is regional.

        Raises:
            KeyError: there is no such table or region.
        """
        if table_key in self.shared:
            return self.shared[table_key].name
        if region is None:
            raise KeyError(region)
        return self.regional[table_key].names[region]

    def digest(self) -> str:
        """Return the digest of everything that is created; notes do not count."""
        document = {
            "regions": self.regions,
            "collections": [
                [one.name, one.validator, one.collation, [_plain(index) for index in one.indexes]]
                for one in self.collections()
            ],
            "views": [[view.name, view.names] for view in self.views],
        }
        text = json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS)
        return hashlib.sha256(text.encode()).hexdigest()


def _plain(index: CollectionIndex) -> list[Any]:
    return [index.name, index.keys, index.unique, index.partial, index.collation]


def of_region(validator: Schema, region_field: str, region: str) -> Schema:
    """Return the validator of a regional table, for one region's collection alone."""
    schema = validator["$jsonSchema"]
    properties = {**schema["properties"], region_field: {"enum": [region]}}
    return {"$jsonSchema": {**schema, "properties": properties}}


def collections(layout: Layout) -> CollectionsLayout:
    """Spell a layout out for MongoDB. What has no counterpart there is in its notes."""
    names = _collection_names(layout)
    notes: list[Note] = []
    shapes: dict[str, DocumentShape] = {}
    shared: dict[str, Collection] = {}
    regional: dict[str, RegionalCollections] = {}
    keys: dict[tuple[str, str], KeyCollection] = {}
    for key in (*layout.shared, *layout.regional):
        table, shape = layout.table(key), document_shape(layout, key)
        shapes[key] = shape
        kept = {
            unique.name: found
            for unique in (layout.regional[key].uniques if key in layout.regional else ())
            if unique.key_table is not None
            and not isinstance(found := unique_keys(unique, shape), str)
        }
        builder = IndexBuilder(table, shape)
        builder.add_table(kept.keys())
        builder.add_foreign_keys(tuple(layout.placement[key].roles))
        builder.keep_within(_MOST_INDEXES - 1)
        notes += [*_notes(layout, key, shape, kept.keys()), *builder.notes]
        validator = {"$jsonSchema": _described(table, shape)}
        indexes = tuple(builder.indexes)
        if key in layout.shared:
            name = names[layout.name(key)]
            shared[key] = Collection(name, key, None, validator, indexes)
            continue
        parts = {code: names[part] for code, part in layout.regional[key].parts.items()}
        regional[key] = RegionalCollections(key, parts, layout.region_column, validator, indexes)
        for unique in layout.regional[key].uniques:
            if unique.key_table is not None and unique.name in kept:
                name = names[unique.key_table]
                keys[key, unique.name] = _key_collection(
                    key, name, unique, kept[unique.name], shape
                )
    return CollectionsLayout(
        regions=layout.topology.codes,
        region_list=_region_list(names[layout.region_list]),
        link=_link(names[layout.link], layout, shapes[layout.root.key]),
        shared=shared,
        regional=regional,
        keys=keys,
        views=tuple(
            View(names[layout.name(key)], key, tuple(parts.names.values()))
            for key, parts in regional.items()
        ),
        shapes=shapes,
        notes=tuple(notes),
    )


def _collection_names(layout: Layout) -> dict[str, str]:
    """Return the name in MongoDB of every generated name: ``$`` and ``system.`` are not allowed."""
    wanted = [
        layout.region_list,
        layout.link,
        *(layout.name(key) for key in (*layout.shared, *layout.regional)),
        *(part for table in layout.regional.values() for part in table.parts.values()),
        *(
            unique.key_table
            for table in layout.regional.values()
            for unique in table.uniques
            if unique.key_table is not None
        ),
    ]
    names: dict[str, str] = {}
    for name in sorted(wanted, key=lambda one: (_collection_name(one) != one, one)):
        candidate = _collection_name(name)
        number = 2
        while candidate in names.values():
            candidate = f"{_collection_name(name)}_{number}"
            number += 1
        names[name] = candidate
    return names


def _collection_name(name: str) -> str:
    name = name.replace("$", "_")
    return f"system_{name.removeprefix('system.')}" if name.startswith("system.") else name


def _region_list(name: str) -> Collection:
    validator = {"$jsonSchema": subdocument({"_id": region_schema()})}
    return Collection(name, None, None, validator)


def _link(name: str, layout: Layout, root: DocumentShape) -> Collection:
    assert root.key is not None, "the placement refuses a root without a key"
    properties = {
        "_id": root.key.schema(),
        layout.region_column: region_schema(),
        EPOCH: {"bsonType": "long"},
        MOVING: subdocument(
            {
                "from": region_schema(),
                "to": region_schema(),
                "stage": {"enum": ["copying", "deleting"]},
                "epoch": {"bsonType": "long"},
                "token": {"bsonType": "string"},
            }
        ),
    }
    schema = {
        **subdocument(properties),
        "required": ["_id", layout.region_column],
        "oneOf": [{"required": [EPOCH]}, {"required": [MOVING]}],
    }
    index = CollectionIndex(f"{layout.region_column}_idx", ((layout.region_column, 1),))
    return Collection(name, None, None, {"$jsonSchema": schema}, (index,))


def _key_collection(
    key: str, name: str, unique: Unique, keys: Keys, shape: DocumentShape
) -> KeyCollection:
    fields = [shape.field(column) for column in keys.names]
    if not keys.nulls:
        fields = [replace(field, nullable=False) for field in fields]
    key_shape = KeyShape(tuple(fields), collated=True)
    validator = {"$jsonSchema": subdocument({"_id": key_shape.schema()})}
    collection = Collection(name, key, None, validator, (), FOLDING if keys.folds else None)
    return KeyCollection(collection, unique, keys, key_shape)


def _described(table: Table, shape: DocumentShape) -> Schema:
    """Return the documents' schema with the comments of table and columns."""
    schema = shape.schema()
    if table.comment:
        schema = {"title": table.comment, **schema}
    for field in shape.columns:
        comment = table.columns[field.column].comment
        if not comment:
            continue
        fragment = schema
        for name in shape.paths(field.column)[0].split("."):
            fragment = fragment["properties"][name]
        form = fragment.get("description")
        fragment["description"] = f"{comment} ({form})" if form else comment
    return schema


def _notes(
    layout: Layout, key: str, shape: DocumentShape, kept: AbstractSet[str]
) -> Iterator[Note]:
    """Yield what a table has that its collection has not."""
    table = layout.table(key)
    for foreign_key in layout.placement[key].roles:
        yield Note(
            key,
            NoteKind.audited,
            f"foreign key {foreign_key.name or foreign_key}",
            "MongoDB enforces no reference: checks look for orphans",
        )
    for unique in layout.regional[key].uniques if key in layout.regional else ():
        subject = f"unique {unique.name}"
        if unique.operators or (unique.key_table is not None and unique.name not in kept):
            continue  # Left behind, and said so.
        if unique.scope is Scope.key_table:
            text = f"kept by {unique.key_table}, which every writer must write too"
            yield Note(key, NoteKind.changed, subject, text)
        elif unique.scope is Scope.region:
            yield Note(key, NoteKind.changed, subject, "within a region only, as stated")
        elif unique.scope is Scope.generated:
            yield Note(key, NoteKind.audited, subject, "over all regions, by its generator")
    yield from _loose_uniques(key, table, shape)
    for name, text in _checks(table):
        yield Note(key, NoteKind.left_behind, name, text)
    for column in table.columns:
        yield from _column_notes(key, column, shape)
    if shape.key is None:
        text = "_id is a digest of the row, so that a changed document keeps a stale one"
        yield Note(key, NoteKind.changed, "no primary key", text)


def _loose_uniques(key: str, table: Table, shape: DocumentShape) -> Iterator[Note]:
    """Yield the unique constraints that tell more apart here than in PostgreSQL."""
    found = [
        (str(one.name or "unnamed"), [column.name for column in one.columns])
        for one in table.constraints
        if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)
    ]
    found += [(str(one.name), [c.name for c in one.columns]) for one in table.indexes if one.unique]
    for name, columns in sorted(found):
        loose = [column for column in columns if _is_loose(table.columns[column], shape)]
        if loose:
            text = (
                f"tells values of {', '.join(loose)} apart that PostgreSQL holds for equal, such "
                "as 1.0 and 1.00 as text, or 1 mon and 30 days"
            )
            yield Note(key, NoteKind.changed, f"unique {name}", text)


def _is_loose(column: Column[Any], shape: DocumentShape) -> bool:
    name = postgres_type(column.type).name
    return name == "interval" or (shape.field(column.name).bson.as_text and name in _LOOSE)


def _checks(table: Table) -> Iterable[tuple[str, str]]:
    found = [
        (f"check {constraint.name or constraint.sqltext}", f"not translated: {constraint.sqltext}")
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    ]
    found += [
        (f"exclusion constraint {constraint.name}", "no counterpart")
        for constraint in table.constraints
        if isinstance(constraint, postgresql.ExcludeConstraint)
    ]
    return sorted(found)


def _column_notes(key: str, column: Column[Any], shape: DocumentShape) -> Iterator[Note]:
    subject = f"column {column.name}"
    field = shape.field(column.name)
    paths = shape.paths(column.name)
    in_key = shape.key is not None and field in shape.key.fields
    if field.bson.as_text:
        yield Note(key, NoteKind.changed, subject, f"text form of {column.type!r}")
    if postgres_type(column.type).name in ("oid", "lo"):
        text = "large objects, if it holds their numbers: the objects themselves stay in the source"
        yield Note(key, NoteKind.left_behind, subject, text)
    if field.names[0] != column.name and not in_key:
        yield Note(key, NoteKind.changed, subject, f"is called {paths[0]}")
    if getattr(column.type, "collation", None):
        yield Note(key, NoteKind.left_behind, subject, "its collation: strings compare as bytes")
    if isinstance(column.type, postgresql.DOMAIN) and column.type.check is not None:
        yield Note(key, NoteKind.left_behind, subject, f"checks of domain {column.type.name}")
    if isinstance(column.server_default, Computed):
        yield Note(key, NoteKind.left_behind, subject, "is not computed: writers supply the value")
    elif column.identity is not None or is_generated(column):
        yield Note(key, NoteKind.left_behind, subject, "no generator: writers supply the key")
    elif column.server_default is not None:
        yield Note(key, NoteKind.left_behind, subject, "no default: writers supply the value")
