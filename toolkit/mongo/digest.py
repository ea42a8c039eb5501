"""Digests of what stands in the collections, computed from documents that are read back.

A document's cells stand in the order in which the source gives its own: the columns, the region,
the regions of foreign references. What no row can have, a field too many or of another BSON type,
gives a cell that no row can have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from toolkit.layout import Layout
from toolkit.mongo.expected import Column, Expected
from toolkit.mongo.layout import EPOCH, CollectionsLayout
from toolkit.mongo.rows import fields_of
from toolkit.mongo.source import quoted


class Cells:
    """What the documents of a table, or of the link, must look like. Pure.

    Args:
        layout: the decisions.
        collections: the same, spelled out.
        name: key of the table, or the name of the link.

    Attributes:
        expected: of a document in any region.
        columns: of the source, in the order of the cells.
    """

    def __init__(self, layout: Layout, collections: CollectionsLayout, name: str) -> None:
        is_link = name == layout.link
        shape = collections.shapes[layout.placement.root if is_link else name]
        fields = fields_of(layout, collections, name)
        key = shape.key.fields if shape.key else ()
        references = () if is_link else shape.references
        self.expected = Expected(
            columns=tuple(
                Column(
                    field.names, field.bson, field.nullable, field in key, field in key or not key
                )
                for field in fields
            ),
            key=tuple(fields.index(field) for field in key),
            single=shape.key is not None and shape.key.single,
            region_field=shape.region_field,
            region=None,
            references=tuple(one.name for one in references),
            optional=tuple(one.name for one in references if one.nullable),
            regions=layout.topology.codes,
            counter=EPOCH if is_link else None,
        )
        self.columns = tuple(field.column for field in fields)
        self._places = places(layout, collections, name)
        self._shape = shape

    def expressions(self) -> list[str]:
        """Return SQL for the cells of the columns, over alias ``t``."""
        return [
            column.cell.expression(quoted(name))
            for column, name in zip(self.expected.columns, self.columns, strict=True)
        ]

    def places(self) -> Iterator[tuple[str, Expected]]:
        """Yield each collection with what its documents must look like."""
        for collection, region in self._places:
            yield collection, replace(self.expected, region=region)

    def key_text(self, document: Mapping[str, Any]) -> str:
        """Return the key of a document for people; it needs no more than the ``_id``."""
        shape = self._shape
        if shape.key is None:
            return str(dict(document["_id"]))
        texts = [field.bson.canonical(shape.parts(document, field)) for field in shape.key.fields]
        return ", ".join("NULL" if text is None else text for text in texts)


def places(
    layout: Layout, collections: CollectionsLayout, name: str
) -> list[tuple[str, str | None]]:
    """Return the collections of a table, or of the link, with the region that each stands for."""
    if name == layout.link:
        return [(collections.link.name, None)]
    if name in collections.shared:
        return [(collections.shared[name].name, None)]
    return [(one, region) for region, one in collections.regional[name].names.items()]
