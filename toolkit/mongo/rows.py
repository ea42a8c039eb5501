"""From rows of the source to documents. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from bson.int64 import Int64

from toolkit.layout import Layout
from toolkit.mongo.columns import column_encoder
from toolkit.mongo.layout import EPOCH, CollectionsLayout
from toolkit.mongo.shape import Field, row_digest
from toolkit.mongo.source import quoted

_Columns = Sequence[Sequence[Any]]
_Document = dict[str, Any]


class RowEncoder:
    """Turns the rows of a table, or of the link, into documents.

    Where there is no primary key it counts equal rows: use one for each chunk, in which all rows
    of such a table are.

    Args:
        layout: the decisions.
        collections: the same, spelled out.
        name: key of the table, or the name of the link.

    Attributes:
        expressions: SQL over alias ``t``, for the source.
    """

    def __init__(self, layout: Layout, collections: CollectionsLayout, name: str) -> None:
        self._is_link = name == layout.link
        self._shape = collections.shapes[layout.placement.root if self._is_link else name]
        self._fields = fields_of(layout, collections, name)
        self.expressions = [
            expression
            for field in self._fields
            for expression in field.bson.read_expression(quoted(field.column))
        ]
        self._encoders = [
            (field, len(field.bson.read_expression("t")), column_encoder(field.bson))
            for field in self._fields
        ]
        self._equal: Counter[str] = Counter()
        if self._is_link:
            self._names = ["_id", layout.region_column, EPOCH]
            self._collections = dict.fromkeys(layout.topology.codes, collections.link.name)
        else:
            self._names = self._shape.names()
            self._collections = (
                dict(collections.regional[name].names) if self._shape.region_field else {}
            )
            self._collection = "" if self._shape.region_field else collections.shared[name].name

    def documents(self, rows: Sequence[Sequence[Any]]) -> dict[str, list[_Document]]:
        """Return the documents of a batch of rows, by the collection they go to.

        Args:
            rows: the values of ``expressions``, the region unless the table is global, and the
                regions of its foreign references (not for the link).

        Raises:
            ValueRefused: BSON cannot hold a value.
        """
        columns: _Columns = list(zip(*rows, strict=True))
        encoded: dict[str, _Columns] = {}
        place = 0
        for field, width, encode in self._encoders:
            encoded[field.column] = encode(columns[place : place + width])
            place += width
        values: list[Sequence[Any]] = [self._ids(encoded)]
        if self._is_link:
            values += [columns[place], [Int64(0)] * len(rows)]
        else:
            if self._shape.region_field:
                values.append(columns[place])
            for field in self._shape.fields:
                values += encoded[field.column]
            values += columns[place + (self._shape.region_field is not None) :]
        names = self._names
        documents = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        if not self._collections:
            return {self._collection: documents}
        found: dict[str, list[_Document]] = {name: [] for name in self._collections.values()}
        homes = {region: found[name] for region, name in self._collections.items()}
        for document, region in zip(documents, columns[place], strict=True):
            homes[region].append(document)
        return {name: those for name, those in found.items() if those}

    def _ids(self, encoded: dict[str, _Columns]) -> Sequence[Any]:
        key = self._shape.key
        if key is None:
            return self._numbered(encoded)
        if key.single:
            return encoded[key.fields[0].column][0]
        names = key.names()
        parts = [part for field in key.fields for part in encoded[field.column]]
        return [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)]

    def _numbered(self, encoded: dict[str, _Columns]) -> list[_Document]:
        texts = [
            [field.bson.canonical(parts) for parts in zip(*encoded[field.column], strict=True)]
            for field in self._fields
        ]
        ids = []
        for row in zip(*texts, strict=True):
            digest = row_digest(row)
            ids.append({"digest": digest, "ordinal": self._equal[digest]})
            self._equal[digest] += 1
        return ids


def fields_of(layout: Layout, collections: CollectionsLayout, name: str) -> tuple[Field, ...]:
    """Return the columns of a table in its order; of the link, those of the root's key."""
    if name != layout.link:
        return collections.shapes[name].columns
    key = collections.shapes[layout.placement.root].key
    assert key is not None, "the placement refuses a root without a key"
    return key.fields
