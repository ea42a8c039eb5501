"""Cells and rows of the source that BSON cannot hold, found before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bson

from toolkit.layout import Layout
from toolkit.mongo.layout import CollectionsLayout
from toolkit.mongo.rows import RowEncoder
from toolkit.mongo.shape import DocumentShape, Field
from toolkit.mongo.source import SourceReader, quoted
from toolkit.mongo.strings import Bytes
from toolkit.mongo.values import ValueRefused
from toolkit.refusal import Offender, Refusal

#: The server's limit of a document, in bytes.
LARGEST = 16 << 20

#: Bytes of text from which on a row is encoded in order to be measured. Nothing grows sixteenfold:
#: the worst is an array of numerics of one digit, two bytes of text and 25 of BSON each.
_SUSPICIOUS = 1 << 20


def refused_values(
    source: SourceReader, connection: Any, layout: Layout, collections: CollectionsLayout
) -> Iterator[Refusal]:
    """Yield one refusal for each column with cells that are refused, with every row.

    Args:
        source: under an open snapshot.
        connection: a reader of it.
        layout: the decisions.
        collections: the same, spelled out.
    """
    for name, shape in collections.shapes.items():
        asked = [
            (field, predicate)
            for field in shape.columns
            if (predicate := field.bson.refusal_predicate(quoted(field.column))) is not None
        ]
        size = _size(shape)
        predicates = [predicate for _, predicate in asked]
        suspicious = f"{size} > {_SUSPICIOUS}" if size else None
        if suspicious:
            predicates.append(suspicious)
        if not predicates:
            continue
        counts = source.count_matching(connection, name, predicates)
        shared = name in layout.shared
        for (field, predicate), count in zip(asked, counts, strict=False):
            if count:
                offenders = source.matching(connection, name, predicate)
                reason = f"{field.column}: {field.bson.refusal}"
                yield Refusal(name, reason, tuple(offenders), shared)
        if suspicious and counts[-1]:
            encoder = RowEncoder(layout, collections, name)
            large = sorted(
                _too_large(source, connection, name, encoder, suspicious), key=lambda one: one.key
            )
            if large:
                reason = f"a document above MongoDB's {LARGEST >> 20} MB"
                yield Refusal(name, reason, tuple(large), shared)


def _too_large(
    source: SourceReader, connection: Any, name: str, encoder: RowEncoder, predicate: str
) -> Iterator[Offender]:
    for key, client, *row in source.rows_matching(connection, name, encoder.expressions, predicate):
        try:
            _, document = encoder.document(row)
        except ValueRefused:
            # Refused already, by its column.
            continue
        if len(bson.encode(document)) > LARGEST:
            yield Offender(str(key), tuple(client) if client else None)


def _size(shape: DocumentShape) -> str | None:
    """Return SQL for the bytes of a row's text in columns that have no bound."""
    sizes = [
        f"coalesce(octet_length({_text(field)}), 0)::bigint"
        for field in shape.columns
        if field.bson.unbounded
    ]
    return f"({' + '.join(sizes)})" if sizes else None


def _text(field: Field) -> str:
    column = quoted(field.column)
    return column if isinstance(field.bson, Bytes) else f"({column})::text"
