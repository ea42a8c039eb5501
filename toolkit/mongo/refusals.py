"""Cells and rows of the source that BSON cannot hold, found before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson

from toolkit.encoding import NOT_UTF8, SQL_ASCII, is_ascii, not_utf8
from toolkit.layout import Layout
from toolkit.mongo.layout import CollectionsLayout
from toolkit.mongo.rows import RowEncoder
from toolkit.mongo.shape import DocumentShape, Field
from toolkit.mongo.source import SourceReader, quoted
from toolkit.mongo.strings import Bytes
from toolkit.mongo.values import ValueRefused
from toolkit.refusal import Offender, Refusal
from toolkit.types import postgres_type

#: The server's limit of a document, in bytes.
LARGEST = 16 << 20

#: Predicates in one pass over a table: a SELECT of PostgreSQL lists no more than 1,664 expressions.
_AT_ONCE = 1_000


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
        asked = [*_questions(layout, name, shape, source.encoding)]
        size = _most(shape)
        predicates = [question.predicate for question in asked]
        # What cannot be too large need not be encoded in order to be measured.
        suspicious = f"{size} > {LARGEST}" if size else None
        if suspicious:
            predicates.append(suspicious)
        if not predicates:
            continue
        counts = [
            count
            for start in range(0, len(predicates), _AT_ONCE)
            for count in source.count_matching(
                connection, name, predicates[start : start + _AT_ONCE]
            )
        ]
        shared = name in layout.shared
        for question, count in zip(asked, counts, strict=False):
            if count:
                offenders = source.matching(connection, name, question.predicate)
                reason = f"{question.column}: {question.reason}"
                column = question.column if question.as_text else None
                yield Refusal(name, reason, tuple(offenders), shared, column)
        if suspicious and counts[-1]:
            encoder = RowEncoder(layout, collections, name)
            large = sorted(
                _too_large(source, connection, name, encoder, suspicious), key=lambda one: one.key
            )
            if large:
                reason = f"a document above MongoDB's {LARGEST >> 20} MB"
                yield Refusal(name, reason, tuple(large), shared)


@dataclass(frozen=True)
class _Question:
    """Cells of a column that BSON cannot hold.

    Attributes:
        column: its name.
        predicate: SQL that is true for them.
        reason: why.
        as_text: whether they could be carried as text.
    """

    column: str
    predicate: str
    reason: str
    as_text: bool = True


def _questions(
    layout: Layout, name: str, shape: DocumentShape, encoding: str
) -> Iterator[_Question]:
    types = layout.table(name).columns
    for field in shape.columns:
        column = quoted(field.column)
        predicate = field.bson.refusal_predicate(column)
        if predicate is not None:
            yield _Question(field.column, predicate, field.bson.refusal)
        kind = postgres_type(types[field.column].type)
        if encoding == SQL_ASCII and not is_ascii(kind.name):
            yield _Question(field.column, not_utf8(column), NOT_UTF8, as_text=False)


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


def _most(shape: DocumentShape) -> str | None:
    """Return SQL for the most bytes of BSON that a row's columns without a bound can become."""
    sizes = [
        f"coalesce(octet_length({_text(field)}), 0)::bigint * {field.bson.growth}"
        for field in shape.columns
        if field.bson.unbounded
    ]
    return f"({' + '.join(sizes)})" if sizes else None


def _text(field: Field) -> str:
    column = quoted(field.column)
    return column if isinstance(field.bson, Bytes) else f"({column})::text"
