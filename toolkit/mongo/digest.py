"""Digests of what stands in the collections, computed from documents that are read back.

A document's cells are canonical texts (see ``toolkit.mongo.values``) in the order in which the
source gives its own: the columns, the region, the regions of foreign references. What no row can
have, a field too many or of another BSON type, gives a text that no row can have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Any

from bson.codec_options import CodecOptions
from bson.int64 import Int64
from pymongo.collection import Collection
from pymongo.database import Database

from toolkit.digest import Digest, RowDigest, row_digest, total
from toolkit.layout import Layout
from toolkit.mongo.documents import Json
from toolkit.mongo.layout import EPOCH, CollectionsLayout
from toolkit.mongo.rows import fields_of
from toolkit.mongo.session import Document
from toolkit.mongo.source import quoted
from toolkit.mongo.texts import column_texts
from toolkit.mongo.types import VERIFY_OPTIONS
from toolkit.mongo.values import MISSING, wrong

#: Documents in one answer of the server.
BATCH = 5_000

#: As ``VERIFY_OPTIONS``, and three times as fast; only JSON can hold what it changes.
PLAIN_OPTIONS: CodecOptions[Any] = VERIFY_OPTIONS.with_options(document_class=dict)


class Cells:
    """Tells the cells of the documents of a table, or of the link. Pure.

    Args:
        layout: the decisions.
        collections: the same, spelled out.
        name: key of the table, or the name of the link.

    Attributes:
        region: index of the region's cell; ``None`` in a global table.
        key: indexes of the key's cells; none where there is no key.
        columns: the column of each cell before the regions.
    """

    def __init__(self, layout: Layout, collections: CollectionsLayout, name: str) -> None:
        self._is_link = name == layout.link
        self._shape = collections.shapes[layout.placement.root if self._is_link else name]
        self._fields = fields_of(layout, collections, name)
        self.columns = [field.column for field in self._fields]
        self._region_field = self._shape.region_field
        self._references = [] if self._is_link else [one.name for one in self._shape.references]
        names = self._shape.names()
        if self._is_link:
            names = ["_id", layout.region_column, EPOCH]
        self._names = names
        self._columns = [(field, column_texts(field.bson)) for field in self._fields]
        self._key_names = ["digest", "ordinal"]
        key = self._shape.key
        if key is not None:
            self._key_names = key.names()
        self.region = len(self._fields) if self._region_field else None
        self.key = [self._fields.index(field) for field in key.fields] if key is not None else []
        self.options = (
            VERIFY_OPTIONS
            if any(isinstance(field.bson, Json) for field in self._fields)
            else PLAIN_OPTIONS
        )

    def expressions(self) -> list[str]:
        """Return SQL for the canonical texts of the columns, over alias ``t``."""
        return [field.bson.canonical_expression(quoted(field.column)) for field in self._fields]

    def of_batch(self, documents: Sequence[Mapping[str, Any]]) -> Iterable[Sequence[str | None]]:
        """Return the cells of each document, as :meth:`of` does, column by column."""
        names = self._names
        plain = [dict(document.items()) for document in documents]
        if not all(list(one) == names and self._has_form(one) for one in plain):
            return [self.of(one) for one in plain]
        values = dict(zip(names, zip(*[one.values() for one in plain], strict=True), strict=True))
        key = self._shape.key
        if key is not None and key.single:
            values[key.fields[0].names[0]] = values["_id"]
        elif key is not None:
            inner = zip(*[identity.values() for identity in values["_id"]], strict=True)
            values.update(zip(self._key_names, inner, strict=True))
        cells = [texts([values[name] for name in field.names]) for field, texts in self._columns]
        more = [self._region_field] if self._region_field is not None else []
        for name in (*more, *self._references):
            cells.append([_text(value) for value in values[name]])
        return zip(*cells, strict=True)

    def of(self, document: Mapping[str, Any]) -> list[str | None]:
        """Return the cells of a document, and one more if its form is wrong."""
        shape = self._shape
        cells = [field.bson.canonical(shape.parts(document, field)) for field in self._fields]
        if self._region_field is not None:
            cells.append(_text(document.get(self._region_field, MISSING)))
        cells += [_text(document.get(name, MISSING)) for name in self._references]
        if document.keys() != set(self._names) or not self._has_form(document):
            cells.append("\x00fields")
        return cells

    def _has_form(self, document: Mapping[str, Any]) -> bool:
        if self._key_names:
            identity = document["_id"]
            if not isinstance(identity, Mapping) or list(identity) != self._key_names:
                return False
        return not self._is_link or type(document[EPOCH]) is Int64

    def key_of(self, cells: Sequence[str | None]) -> tuple[str | None, ...]:
        """Return the key's cells; where there is no key, all but the region."""
        if self.key:
            return tuple([cells[number] for number in self.key])
        return tuple(cell for number, cell in enumerate(cells) if number != self.region)

    def key_text(self, document: Mapping[str, Any]) -> str:
        """Return the key of a document for people; it needs no more than the ``_id``."""
        shape = self._shape
        if shape.key is None:
            return str(dict(document["_id"]))
        texts = [field.bson.canonical(shape.parts(document, field)) for field in shape.key.fields]
        return ", ".join("NULL" if text is None else text for text in texts)


def _text(value: object) -> str | None:
    return value if value is None or type(value) is str else wrong(value)


def places(
    layout: Layout, collections: CollectionsLayout, name: str
) -> list[tuple[str, str | None]]:
    """Return the collections of a table, or of the link, with the region that each stands for."""
    if name == layout.link:
        return [(collections.link.name, None)]
    if name in collections.shared:
        return [(collections.shared[name].name, None)]
    return [(one, region) for region, one in collections.regional[name].names.items()]


def documents(
    database: Database[Document], name: str, options: CodecOptions[Any], *fields: str
) -> Iterator[Mapping[str, Any]]:
    """Yield the documents of a collection, or only these fields of them and their ``_id``."""
    collection: Collection[Any] = database[name].with_options(options)
    yield from collection.find({}, dict.fromkeys(fields, 1) or None, batch_size=BATCH)


class Digests:
    """The digests of one database.

    Args:
        database: the target.
        layout: the decisions.
        collections: the same, spelled out.
    """

    def __init__(
        self, database: Database[Document], layout: Layout, collections: CollectionsLayout
    ) -> None:
        self._database = database
        self._layout = layout
        self._collections = collections

    def per_region(self, name: str) -> dict[str | None, Digest]:
        """Return the digest of a table, or of the link, per region.

        The region is that of the collection. A document that says another one is found, because
        what it says is one of its cells.
        """
        found: dict[str | None, Digest] = {}
        for rows in self._batches(name):
            by_region: dict[str | None, list[str]] = {}
            for region, _, digest in rows:
                by_region.setdefault(region, []).append(digest)
            for region, digests in by_region.items():
                found[region] = found.get(region, Digest()) + total(digests)
        return found

    def per_row(self, name: str) -> Iterator[RowDigest]:
        """Yield the digest of every row."""
        cells = Cells(self._layout, self._collections, name)
        for rows in self._batches(name):
            for region, texts, digest in rows:
                yield RowDigest(cells.key_of(texts), region, digest)

    def cells(
        self, name: str, keys: AbstractSet[tuple[str | None, ...]]
    ) -> Iterator[tuple[tuple[str | None, ...], str | None, tuple[str | None, ...]]]:
        """Yield key, region and the texts of the columns of the documents with these keys."""
        cells = Cells(self._layout, self._collections, name)
        for rows in self._batches(name) if keys else ():
            for region, texts, _ in rows:
                key = cells.key_of(texts)
                if key in keys:
                    yield key, region, tuple(texts[: len(cells.columns)])

    def _batches(self, name: str) -> Iterator[list[tuple[str | None, Sequence[str | None], str]]]:
        """Yield batches of rows: the region, the cells, the digest."""
        cells = Cells(self._layout, self._collections, name)
        for collection, region in places(self._layout, self._collections, name):
            # The link's collection holds the clients of all regions.
            column = cells.region if region is None else None
            for batch in batches(documents(self._database, collection, cells.options)):
                yield [
                    (region if column is None else texts[column], texts, row_digest(texts))
                    for texts in cells.of_batch(batch)
                ]


def batches(found: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Yield documents in lists of bounded length."""
    left = iter(found)
    while batch := list(islice(left, BATCH)):
        yield batch
