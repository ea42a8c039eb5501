"""Arrays. Pure.

An array is read as its dimensions and, one by one, its elements as the element's type reads them,
so that nothing depends on a text form of arrays. Several dimensions become arrays of arrays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.mongo.values import (
    BsonType,
    Schema,
    ValueRefused,
    any_of,
    elements,
    joined,
    joined_elements,
    joined_expression,
    wrong,
)

_BOUNDS = re.compile(r"\[(-?\d+):(-?\d+)\]")
_LOWER_BOUND = "an array whose lower bound is not 1"


@dataclass(frozen=True)
class Array(BsonType):
    """An array.

    Where an element becomes two fields (a timestamp), so does the array: two parallel arrays.

    Attributes:
        element: how each element is carried.
        at_once: whether it is read as one text, in a table so wide that its columns have to be.
    """

    element: BsonType
    at_once: bool = False
    bson = ("array",)
    array_like = True
    unbounded = True

    @property
    def suffixes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The element's."""
        return self.element.suffixes

    @property
    def as_text(self) -> bool:  # type: ignore[override]
        """Whether the elements travel as text forms."""
        return self.element.as_text

    @property
    def growth(self) -> int:  # type: ignore[override]
        """The element's."""
        return self.element.growth

    @property
    def refusal(self) -> str:  # type: ignore[override]
        """The element's reasons, and the lower bound."""
        return any_of((_LOWER_BOUND, self.element.refusal))

    def not_null(self, path: str) -> Schema:
        """Refuse: an index has one entry for each element, so no unique one is made.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(path)

    def schema(self, nullable: bool) -> tuple[Schema, ...]:
        """Return arrays of the element's type, or of arrays: dimensions are not enforced."""
        return tuple(
            self.typed(nullable, items={"anyOf": [fragment, {"bsonType": "array"}]})
            for fragment in self.element.schema(nullable=True)
        )

    def read_expression(self, column: str) -> tuple[str, ...]:
        """Return the dimensions as text, then an array for each part of the elements."""
        if self.at_once:
            return (self.text_expression(column),)
        return (
            _dimensions(column),
            *(
                f"(select coalesce(array_agg({part} order by item.place), '{{}}') "
                f"{self._items(column)})"
                for part in self.element.read_expression("item.value")
            ),
        )

    def text_expression(self, column: str) -> str:
        """Return the dimensions and the texts of the elements."""
        texts = self._texts(self.element.text_expression("item.value"), column)
        both = joined_expression([_dimensions(column), texts])
        return f"case when ({column}) is not null then {both} end"

    def read_text(self, text: str) -> tuple[Any, ...]:
        """Return the dimensions and the parts of the elements."""
        dimensions, texts = json.loads(text)
        width = len(self.element.read_expression("item.value"))
        nothing = (None,) * width
        items = [
            nothing if item is None else self.element.read_text(item) for item in json.loads(texts)
        ]
        return (dimensions, *([item[part] for item in items] for part in range(width)))

    def encode_value(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the nested arrays."""
        dimensions, *columns = self.read_text(values[0]) if self.at_once else values
        bounds = [(int(low), int(high)) for low, high in _BOUNDS.findall(dimensions)]
        if any(low != 1 for low, _ in bounds):
            raise ValueRefused(_LOWER_BOUND)
        encoded = [self.element.encode(parts) for parts in zip(*columns, strict=True)]
        lengths = [high for _, high in bounds]
        return tuple(
            _nested([item[part] for item in encoded], lengths) for part in range(len(self.suffixes))
        )

    def canonical_value(self, parts: Sequence[Any]) -> str:
        """Return the dimensions, then the elements' canonical texts."""
        flat = [_flat(part) for part in parts]
        if any(part is None for part in flat):
            return wrong(next(part for part, found in zip(parts, flat, strict=True) if not found))
        shapes = [part[0] for part in flat if part is not None]
        elements = [part[1] for part in flat if part is not None]
        if len(set(shapes)) != 1:
            return wrong(parts[1])
        return shapes[0] + joined(
            [self.element.canonical(item) for item in zip(*elements, strict=True)]
        )

    def canonical_expression(self, column: str) -> str:
        """Return the dimensions, then the elements' canonical texts."""
        texts = self._texts(self.element.canonical_expression("item.value"), column)
        return (
            f"case when ({column}) is not null then coalesce(array_dims({column}), '') || "
            f"{texts} end"
        )

    def refusal_predicate(self, column: str) -> str | None:
        """A lower bound that is not 1, or an element that is refused."""
        bound = f"array_dims({column}) ~ '[[](?!1:)'"
        element = self.element.refusal_predicate("item.value")
        if element is None:
            return bound
        return f"({bound} or exists (select {self._items(column)} where {element}))"

    def _texts(self, element: str, column: str) -> str:
        return joined_elements(element, self._items(column))

    def _items(self, column: str) -> str:
        if not self.element.row_like:
            return elements(column)
        # In FROM it would give a column for each field, and take a NULL for a row of NULLs.
        return (
            f"from (select unnest({column}) as value, "
            f"generate_series(1, cardinality({column})) as place) as item"
        )


def _dimensions(column: str) -> str:
    return f"case when ({column}) is not null then coalesce(array_dims({column}), '') end"


def _nested(items: list[Any], lengths: list[int]) -> list[Any]:
    """Return a flat list as a list of lists, and so on, of these lengths from outside in."""
    for length in reversed(lengths[1:]):
        items = [items[start : start + length] for start in range(0, len(items), length)]
    return items


def _flat(value: object) -> tuple[str, list[Any]] | None:
    """Return the dimensions as PostgreSQL writes them and the elements; ``None`` if uneven."""
    if type(value) is not list:
        return None
    items: list[Any] = value
    lengths = [len(items)] if items else []
    while any(type(item) is list for item in items):
        sizes = {len(item) if type(item) is list else 0 for item in items}
        if len(sizes) != 1 or sizes == {0}:
            return None
        lengths += sizes
        items = [element for item in items for element in item]
    return "".join(f"[1:{length}]" for length in lengths), items
