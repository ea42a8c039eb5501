"""What a row becomes: the fields of a table's documents, in their order. Pure.

The validator, the indexes, the copier and the verification all ask the same object, so that they
cannot disagree about where a column is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Table

from toolkit.layout import Layout
from toolkit.mongo.arrays import Array
from toolkit.mongo.naming import field_names
from toolkit.mongo.types import bson_type, text_type
from toolkit.mongo.values import MISSING, BsonType, Schema, joined, joined_expression
from toolkit.placement import ForeignKey
from toolkit.types import postgres_type

#: The encoded value of each column: what ``BsonType.encode`` returned, by the column's name.
Encoded = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Field:
    """A column.

    Attributes:
        column: its name in SQL.
        names: the field that it becomes, or several, in the order of ``bson.suffixes``.
        bson: how its values are carried.
        nullable: whether it may be NULL.
    """

    column: str
    names: tuple[str, ...]
    bson: BsonType
    nullable: bool

    def schemas(self) -> Iterator[tuple[str, Schema]]:
        """Yield each field's name and its fragment of ``$jsonSchema``."""
        yield from zip(self.names, self.bson.schema(self.nullable), strict=True)


@dataclass(frozen=True)
class KeyShape:
    """The columns of a key as one value: a single value, or a subdocument in the key's order.

    Attributes:
        fields: the key's columns.
        collated: whether the collection itself compares without case where a column does.
    """

    fields: tuple[Field, ...]
    collated: bool = False

    @property
    def single(self) -> bool:
        """Whether it is a single value.

        ``_id`` can be no array, and should not be null; and its index compares with case, so that
        a value which is compared without needs an index of its own.
        """
        first = self.fields[0]
        if first.bson.array_like or first.nullable or (first.bson.folds_case and not self.collated):
            return False
        return len(self.fields) == 1 and len(first.names) == 1

    def value(self, encoded: Encoded) -> Any:
        """Return the key of a row; ``None`` if a column of it is NULL."""
        parts = [encoded[field.column] for field in self.fields]
        if any(part[0] is None for part in parts):
            return None
        if self.single:
            return parts[0][0]
        return {
            name: value
            for field, part in zip(self.fields, parts, strict=True)
            for name, value in zip(field.names, part, strict=True)
        }

    def parts(self, value: Any, field: Field) -> tuple[Any, ...]:
        """Return the parts of one of the key's columns; ``MISSING`` for what is not there."""
        if self.single:
            return (value,)
        return tuple(
            value.get(name, MISSING) if isinstance(value, Mapping) else MISSING
            for name in field.names
        )

    def names(self) -> list[str]:
        """Return the fields of the subdocument in their order; empty for a single value."""
        return [] if self.single else [name for field in self.fields for name in field.names]

    def schema(self) -> Schema:
        """Return the fragment of ``$jsonSchema``."""
        properties = {name: part for field in self.fields for name, part in field.schemas()}
        return next(iter(properties.values())) if self.single else subdocument(properties)

    def paths(self, field: Field) -> tuple[str, ...]:
        """Return where a column of the key stands, as indexes and queries name it."""
        return ("_id",) if self.single else tuple(f"_id.{name}" for name in field.names)


@dataclass(frozen=True)
class ReferenceField:
    """The region of the row that a foreign reference points to.

    Attributes:
        name: the field.
        reference: the foreign reference.
        nullable: whether the reference may be NULL, and the region with it.
    """

    name: str
    reference: ForeignKey
    nullable: bool


@dataclass(frozen=True)
class DocumentShape:
    """What the rows of one table become.

    Attributes:
        table_key: the table's key in the placement.
        columns: every column in the table's order.
        key: the primary key; ``None`` where there is none: then ``_id`` is ``{digest, ordinal}``.
        region_field: the field of the document's own region; ``None`` in a global table.
        references: the region fields of foreign references.
    """

    table_key: str
    columns: tuple[Field, ...]
    key: KeyShape | None
    region_field: str | None
    references: tuple[ReferenceField, ...]

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns outside the key, in the order in which they stand in the document."""
        key = self.key.fields if self.key else ()
        return tuple(field for field in self.columns if field not in key)

    def field(self, column: str) -> Field:
        """Return the field of a column.

        Raises:
            KeyError: there is no such column.
        """
        for field in self.columns:
            if field.column == column:
                return field
        raise KeyError(column)

    def paths(self, column: str) -> tuple[str, ...]:
        """Return where a column stands, as indexes and queries name it."""
        field = self.field(column)
        if self.key is not None and field in self.key.fields:
            return self.key.paths(field)
        return field.names

    def names(self) -> list[str]:
        """Return the document's fields in their order."""
        return [
            "_id",
            *([self.region_field] if self.region_field else []),
            *(name for field in self.fields for name in field.names),
            *(reference.name for reference in self.references),
        ]

    def document(
        self,
        encoded: Encoded,
        *,
        region: str | None = None,
        reference_regions: Mapping[ForeignKey, str | None] | None = None,
        ordinal: int = 0,
    ) -> dict[str, Any]:
        """Return the document of a row.

        Args:
            encoded: the value of each column.
            region: the row's region, for a regional table.
            reference_regions: the region that each foreign reference points to.
            ordinal: for a table without primary key, how many equal rows came before.
        """
        document: dict[str, Any] = {
            "_id": self.key.value(encoded) if self.key else self._row_id(encoded, ordinal)
        }
        if self.region_field:
            document[self.region_field] = region
        for field in self.fields:
            document.update(zip(field.names, encoded[field.column], strict=True))
        for reference in self.references:
            document[reference.name] = (reference_regions or {})[reference.reference]
        return document

    def _row_id(self, encoded: Encoded, ordinal: int) -> dict[str, Any]:
        texts = [field.bson.canonical(encoded[field.column]) for field in self.columns]
        return {"digest": row_digest(texts), "ordinal": ordinal}

    def parts(self, document: Mapping[str, Any], field: Field) -> tuple[Any, ...]:
        """Return the parts of a column in a document; ``MISSING`` for what is not there."""
        if self.key is not None and field in self.key.fields:
            return self.key.parts(document["_id"], field)
        return tuple(document.get(name, MISSING) for name in field.names)

    def canonical(self, document: Mapping[str, Any]) -> list[str | None]:
        """Return the canonical text of every column, in the order of ``columns``."""
        return [field.bson.canonical(self.parts(document, field)) for field in self.columns]

    def schema(self) -> Schema:
        """Return the ``$jsonSchema`` of a document; any region code is allowed."""
        properties: dict[str, Schema] = {
            "_id": self.key.schema()
            if self.key
            else subdocument({"digest": {"bsonType": "string"}, "ordinal": {"bsonType": "int"}})
        }
        if self.region_field:
            properties[self.region_field] = region_schema()
        for field in self.fields:
            properties.update(field.schemas())
        for reference in self.references:
            properties[reference.name] = region_schema(nullable=reference.nullable)
        return subdocument(properties)


def region_schema(*, nullable: bool = False) -> Schema:
    """Return the fragment of a field that holds the code of some region.

    Its form, not the list of regions: adding a region must not touch every other collection.
    """
    names = ["string", "null"] if nullable else "string"
    return {"bsonType": names, "pattern": "^[a-z][a-z0-9_]{0,15}$"}


def subdocument(properties: Mapping[str, Schema]) -> Schema:
    """Return the fragment of an object with exactly these fields."""
    return {
        "bsonType": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": dict(properties),
    }


def row_digest(texts: Sequence[str | None]) -> str:
    """Return the digest of a row's canonical texts, in the order of the table's columns."""
    return hashlib.sha256(joined(texts).encode()).hexdigest()


def row_digest_expression(expressions: Sequence[str]) -> str:
    """Return the SQL expression that gives what :func:`row_digest` gives."""
    return f"encode(sha256(convert_to({joined_expression(expressions)}, 'UTF8')), 'hex')"


def document_shape(layout: Layout, key: str) -> DocumentShape:
    """Return the shape of a table's documents.

    Args:
        layout: the layout.
        key: the table's key in the placement.
    """
    table = layout.table(key)
    placed = layout.placement[key]
    region_field = layout.region_column if placed.regional else None
    references = {
        reference: layout.reference_columns[reference] for reference in placed.foreign_references
    }
    generated = [name for name in (region_field, *references.values()) if name]
    as_string = {column for table_key, column in layout.as_string if table_key == key}
    fields = _fields(table, generated, as_string)
    columns = tuple(fields[column.name] for column in table.columns)
    primary = tuple(fields[column.name] for column in table.primary_key.columns)
    return DocumentShape(
        table_key=key,
        columns=columns,
        key=KeyShape(primary) if primary else None,
        region_field=region_field,
        references=tuple(
            ReferenceField(
                name, reference, any(fields[column].nullable for column in reference.columns)
            )
            for reference, name in references.items()
        ),
    )


#: Half of what a SELECT of PostgreSQL can list: the regions and the key stand there too.
_MOST_EXPRESSIONS = 800


def _fields(table: Table, generated: Sequence[str], as_string: Collection[str]) -> dict[str, Field]:
    """Return the field of every column."""
    primary = [column.name for column in table.primary_key.columns]
    carried = [
        (
            column.name,
            (text_type if column.name in as_string else bson_type)(postgres_type(column.type)),
        )
        for column in table.columns
    ]
    if sum(len(bson.read_expression("c")) for _, bson in carried) > _MOST_EXPRESSIONS:
        carried = [
            (name, replace(bson, at_once=True) if isinstance(bson, Array) else bson)
            for name, bson in carried
        ]
    names = field_names(carried, primary=primary, taken=generated)
    return {
        name: Field(
            name, names[name], bson, bool(table.columns[name].nullable) and name not in primary
        )
        for name, bson in carried
    }
