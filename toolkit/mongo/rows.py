"""From a row of the source to its document, cell by cell: what a document is. Pure.

Copying packs most rows faster, with :mod:`toolkit.mongo.packing`; its bytes are those of these
documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bson.int64 import Int64

from toolkit.layout import Layout
from toolkit.mongo.layout import EPOCH, CollectionsLayout
from toolkit.mongo.shape import Field
from toolkit.mongo.source import quoted


class RowEncoder:
    """Turns a row of a table, or of the link, into a document.

    Args:
        layout: the decisions.
        collections: the same, spelled out.
        name: key of the table, or the name of the link.

    Attributes:
        expressions: SQL over alias ``t``, for the source.
        places: the collection of each region; of ``None``, where the table is global.
    """

    def __init__(self, layout: Layout, collections: CollectionsLayout, name: str) -> None:
        self._link_region = layout.region_column if name == layout.link else None
        self._shape = collections.shapes[layout.placement.root if self._link_region else name]
        self._fields = fields_of(layout, collections, name)
        self._widths = [len(field.bson.read_expression("t")) for field in self._fields]
        self.expressions = [
            expression
            for field in self._fields
            for expression in field.bson.read_expression(quoted(field.column))
        ]
        self.places = dict(_places(layout, collections, name))

    def document(
        self, row: Sequence[Any], *, ordinal: int = 0
    ) -> tuple[str | None, dict[str, Any]]:
        """Return the region of a row, and its document.

        Args:
            row: the values of ``expressions``, the region unless the table is global, and the
                regions of its foreign references (not for the link).
            ordinal: where there is no primary key, how many equal rows came before.

        Raises:
            ValueRefused: BSON cannot hold a value.
        """
        left = iter(row)
        encoded = {
            field.column: field.bson.encode([next(left) for _ in range(width)])
            for field, width in zip(self._fields, self._widths, strict=True)
        }
        shape = self._shape
        region = next(left) if shape.region_field else None
        if self._link_region:
            assert shape.key is not None, "the placement refuses a root without a key"
            key = shape.key.value(encoded)
            return region, {"_id": key, self._link_region: region, EPOCH: Int64(0)}
        references = {
            one.reference: value for one, value in zip(shape.references, left, strict=True)
        }
        return region, shape.document(
            encoded, region=region, reference_regions=references, ordinal=ordinal
        )


def _places(
    layout: Layout, collections: CollectionsLayout, name: str
) -> Iterator[tuple[str | None, str]]:
    """Yield each region with its collection; ``None`` where the table is global."""
    if name in collections.shared:
        yield None, collections.shared[name].name
        return
    for code in layout.topology.codes:
        is_link = name == layout.link
        yield code, collections.link.name if is_link else collections.regional[name].names[code]


def fields_of(layout: Layout, collections: CollectionsLayout, name: str) -> tuple[Field, ...]:
    """Return the columns of a table in its order; of the link, those of the root's key."""
    if name != layout.link:
        return collections.shapes[name].columns
    key = collections.shapes[layout.placement.root].key
    assert key is not None, "the placement refuses a root without a key"
    return key.fields
