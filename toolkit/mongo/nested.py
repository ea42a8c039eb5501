"""Values made of other values: composite types, ranges and multiranges. Pure.

Each becomes a subdocument with a fixed order of fields. PostgreSQL hands a value over as one text,
a JSON array of what its parts are read as: nothing depends on how it writes rows and ranges.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.mongo.values import (
    MISSING,
    BsonType,
    Schema,
    any_of,
    elements,
    joined,
    joined_elements,
    joined_expression,
    ordered_items,
    wrong,
)

#: How the ends of a range are written: whether they belong to it, or that it has none.
_BOUNDS = ("[]", "[)", "(]", "()", "empty")


@dataclass(frozen=True)
class Part:
    """One value within a subdocument.

    Attributes:
        names: of its fields, in the order of ``bson.suffixes``.
        bson: how it is carried.
    """

    names: tuple[str, ...]
    bson: BsonType


@dataclass(frozen=True)
class _Parts(BsonType):
    """A subdocument of parts, each of which may be null."""

    parts: tuple[Part, ...]
    bson = ("object",)

    @property
    def as_text(self) -> bool:  # type: ignore[override]
        """Whether a part travels as a text form."""
        return any(part.bson.as_text for part in self.parts)

    @property
    def folds_case(self) -> bool:  # type: ignore[override]
        """Whether a part compares without case."""
        return any(part.bson.folds_case for part in self.parts)

    @property
    def unbounded(self) -> bool:  # type: ignore[override]
        """Whether a part can be of any length."""
        return any(part.bson.unbounded for part in self.parts)

    @property
    def growth(self) -> int:  # type: ignore[override]
        """A part that is null takes one byte of text, and its fields' names here."""
        sizes = (
            part.bson.growth + sum(2 + len(name.encode()) for name in part.names)
            for part in self.parts
        )
        return max(sizes, default=16)

    @property
    def refusal(self) -> str:  # type: ignore[override]
        """The parts' reasons, each once."""
        return any_of(part.bson.refusal for part in self.parts)

    def not_null(self, path: str) -> Schema:
        """Return the filter for a subdocument."""
        return {path: {"$gte": {}}}

    def _schema(self, nullable: bool, more: Schema) -> Schema:
        properties = {
            name: fragment
            for part in self.parts
            for name, fragment in zip(part.names, part.bson.schema(nullable=True), strict=True)
        }
        properties |= more
        return self.typed(
            nullable,
            required=list(properties),
            additionalProperties=False,
            properties=properties,
        )

    def _encode(self, texts: Sequence[str | None]) -> dict[str, Any]:
        return {
            name: value
            for part, text in zip(self.parts, texts, strict=True)
            for name, value in zip(part.names, part.bson.encode_text(text), strict=True)
        }

    def _canonical(self, items: list[tuple[str, Any]] | None) -> list[str | None] | None:
        """Return the parts' canonical texts; ``None`` if these are not their fields, in order."""
        names = [name for part in self.parts for name in part.names]
        if items is None or [name for name, _ in items] != names:
            return None
        values = iter(value for _, value in items)
        return [part.bson.canonical([next(values) for _ in part.names]) for part in self.parts]

    def _refused(self, columns: Sequence[str]) -> str | None:
        predicates = [
            predicate
            for part, column in zip(self.parts, columns, strict=True)
            if (predicate := part.bson.refusal_predicate(column)) is not None
        ]
        return " or ".join(f"({one})" for one in predicates) or None


@dataclass(frozen=True)
class Composite(_Parts):
    """A composite type: its attributes in their order.

    A NULL of the whole type is null; a row of nothing but NULLs is a subdocument of nulls, although
    SQL says ``IS NULL`` of both.

    Attributes:
        attributes: the names of its attributes in SQL.
    """

    attributes: tuple[str, ...]
    row_like = True

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the parts, each of which may be null."""
        return (self._schema(nullable, {}),)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the parts' texts."""
        texts = [
            part.bson.text_expression(attribute)
            for part, attribute in zip(self.parts, self._columns(column), strict=True)
        ]
        return (f"case when ({column}) is distinct from null then {joined_expression(texts)} end",)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the subdocument."""
        return (self._encode(json.loads(values[0])),)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the parts' canonical texts."""
        texts = self._canonical(ordered_items(parts[0]))
        return wrong(parts[0]) if texts is None else joined(texts)

    def canonical_expression(self, column: str) -> str:
        """Return the parts' canonical texts."""
        texts = [
            part.bson.canonical_expression(attribute)
            for part, attribute in zip(self.parts, self._columns(column), strict=True)
        ]
        return f"case when ({column}) is distinct from null then {joined_expression(texts)} end"

    def refusal_predicate(self, column: str) -> str | None:
        """Return whether a part is refused."""
        return self._refused(self._columns(column))

    def _columns(self, column: str) -> list[str]:
        names = [name.replace('"', '""') for name in self.attributes]
        return [f'({column})."{name}"' for name in names]


@dataclass(frozen=True)
class Range(_Parts):
    """A range: ``{lower, upper, bounds}``.

    ``bounds`` is ``[)``, ``[]``, ``(]`` or ``()``, and ``empty`` for the range that holds nothing.
    An end that is not bounded is null; that is not the same as a bound that is infinite.
    """

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return the ends, and what ``bounds`` can be."""
        return (self._schema(nullable, {"bounds": {"enum": list(_BOUNDS)}}),)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the texts of the ends, and whether they belong to the range."""
        texts = [
            part.bson.text_expression(end)
            for part, end in zip(self.parts, _ends(column), strict=True)
        ]
        return (_with_bounds(column, texts),)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the subdocument."""
        *texts, bounds = json.loads(values[0])
        return ({**self._encode(texts), "bounds": bounds},)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the canonical texts of the ends, and the bounds."""
        *items, bounds = ordered_items(parts[0]) or [("", MISSING)]
        texts = self._canonical(items)
        if texts is None or bounds[0] != "bounds" or bounds[1] not in _BOUNDS:
            return wrong(parts[0])
        return joined([*texts, bounds[1]])

    def canonical_expression(self, column: str) -> str:
        """Return the canonical texts of the ends, and the bounds."""
        texts = [
            part.bson.canonical_expression(end)
            for part, end in zip(self.parts, _ends(column), strict=True)
        ]
        return _with_bounds(column, texts)

    def refusal_predicate(self, column: str) -> str | None:
        """Return whether an end is refused."""
        return self._refused(_ends(column))


@dataclass(frozen=True)
class Multirange(BsonType):
    """A multirange: an array of its ranges, in their order.

    Attributes:
        item: each of them.
    """

    item: Range
    bson = ("array",)
    array_like = True
    unbounded = True

    @property
    def as_text(self) -> bool:  # type: ignore[override]
        """Whether the ends travel as text forms."""
        return self.item.as_text

    @property
    def growth(self) -> int:  # type: ignore[override]
        """The range's."""
        return self.item.growth

    @property
    def refusal(self) -> str:  # type: ignore[override]
        """The range's."""
        return self.item.refusal

    def not_null(self, path: str) -> Schema:
        """Refuse: an index has one entry for each range, so no unique one is made.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(path)

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return an array of ranges."""
        (item,) = self.item.schema(nullable=False)
        return (self.typed(nullable, items=item),)

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return a JSON array of what each range is read as."""
        return (_each(column, self.item.text_expression("item.value")),)

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the array."""
        return ([self.item.encode_text(text)[0] for text in json.loads(values[0])],)

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the ranges' canonical texts."""
        (value,) = parts
        if type(value) is not list:
            return wrong(value)
        return joined([self.item.canonical([item]) for item in value])

    def canonical_expression(self, column: str) -> str:
        """Return the ranges' canonical texts."""
        return _each(column, self.item.canonical_expression("item.value"))

    def refusal_predicate(self, column: str) -> str | None:
        """Return whether a range is refused."""
        predicate = self.item.refusal_predicate("item.value")
        if predicate is None:
            return None
        return f"exists (select from unnest({column}) as item(value) where {predicate})"


def range_of(bound: BsonType) -> Range:
    """Return the range whose ends are carried so."""
    lower, upper = (
        Part(tuple(f"{end}{suffix}" for suffix in bound.suffixes), bound)
        for end in ("lower", "upper")
    )
    return Range((lower, upper))


def _ends(column: str) -> list[str]:
    return [f"lower({column})", f"upper({column})"]


def _with_bounds(column: str, texts: Sequence[str]) -> str:
    bounds = (
        f"case when isempty({column}) then 'empty' else "
        f"case when lower_inc({column}) then '[' else '(' end || "
        f"case when upper_inc({column}) then ']' else ')' end end"
    )
    return f"case when ({column}) is not null then {joined_expression([*texts, bounds])} end"


def _each(column: str, text: str) -> str:
    texts = joined_elements(text, elements(column))
    return f"case when ({column}) is not null then {texts} end"
