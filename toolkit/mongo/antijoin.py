"""Values of one field that another field does not have: whole ranges of keys at a time.

Keys are read in the order of an index and, where the index holds all that is asked for, without
the documents. What is left over is not yet a finding: whoever asked looks at those documents one by
one. Memory is bounded by :data:`WINDOW`, whatever the size of the collections.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from types import NoneType
from typing import Any

from bson.binary import UUID_SUBTYPE, Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo.database import Database

from toolkit.mongo import raw
from toolkit.mongo.expected import PLAIN_OPTIONS
from toolkit.mongo.locate import comparable

#: Different values that are held at once.
WINDOW = 20_000

#: Asking for one value by itself costs as much as reading so many that follow each other.
_PER_QUESTION = 8

#: Values in one answer: they are small.
_BATCH = 10_000

#: Values in one question.
_ASKED = 5_000

_Document = dict[str, Any]


@dataclass(frozen=True)
class Values:
    """The values of a field, null and missing left out.

    Attributes:
        database: where the collection is.
        collection: its name.
        path: of the field.
        where: a filter of the documents.
    """

    database: Database[_Document]
    collection: str
    path: str
    where: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def estimate(self) -> int:
        """About how many there are."""
        return self.database[self.collection].estimated_document_count()

    def windows(self, others: int) -> Iterator[set[Any]]:
        """Yield sets of values of bounded size.

        Args:
            others: about how many different values there can be, if nothing is wrong.
        """
        window: set[Any] = set()
        # Where values repeat, an index can skip from one to the next.
        repeated = not self.where and self.estimate > _PER_QUESTION * others
        for values in self._different() if repeated else self._all(self._filter({"$ne": None})):
            window.update(values)
            if len(window) >= WINDOW:
                yield window
                window = set()
        if window:
            yield window

    def _different(self) -> Iterator[list[Any]]:
        pipeline: list[_Document] = [
            {"$sort": {self.path: 1}},
            {"$group": {"_id": f"${self.path}"}},
        ]
        for batch in raw.aggregate(self.database, self.collection, pipeline):
            yield [value for value in field_values(batch, "_id") if value is not None]

    def _all(self, query: _Document) -> Iterator[list[Any]]:
        in_key = self.path.partition(".")[0] == "_id"
        projection = {self.path: 1, **({} if in_key else {"_id": 0})}
        for batch in raw.find(self.database, self.collection, query, projection, size=_BATCH):
            yield field_values(batch, self.path)

    def pairs(self, other: str) -> Iterator[tuple[list[Any], list[Any]]]:
        """Yield batches of the values, and of what stands in another field beside each."""
        query, projection = self._filter({"$ne": None}), {self.path: 1, other: 1}
        for batch in raw.find(self.database, self.collection, query, projection):
            documents = raw.decoded(batch, PLAIN_OPTIONS)
            yield _values(documents, self.path), _values(documents, other)

    def _filter(self, condition: _Document) -> _Document:
        if not self.where:
            return {self.path: condition}
        return {"$and": [dict(self.where), {self.path: condition}]}

    def near(self, wanted: Set[Any]) -> Iterator[list[Any]]:
        """Yield those of the wanted values that there are, once for each document, and others."""
        bounds = _bounds(wanted)
        if bounds is not None and self.estimate < _PER_QUESTION * len(wanted):
            yield from self._all(self._filter({"$gte": bounds[0], "$lte": bounds[1]}))
            return
        asked = list(map(given, wanted))
        for start in range(0, len(asked), _ASKED):
            yield from self._all(self._filter({"$in": asked[start : start + _ASKED]}))


def absent(children: Iterable[Values], parent: Values) -> Iterator[set[Any]]:
    """Yield the values of ``children`` that ``parent`` does not have."""
    others = parent.estimate
    held: set[Any] = set()
    for child in children:
        for window in child.windows(others):
            held |= window
            if len(held) >= WINDOW:
                yield missing(held, parent)
                held = set()
    yield missing(held, parent)


def missing(wanted: Set[Any], parent: Values) -> set[Any]:
    """Return which of the wanted values ``parent`` does not have."""
    left = set(wanted)
    if wanted:
        for values in parent.near(wanted):
            left.difference_update(values)
    return left


def not_once(keys: Values, holders: Iterable[Values]) -> Iterator[set[Any]]:
    """Yield the values of ``keys`` that all the holders together do not have exactly once."""
    holders = list(holders)
    others = sum(one.estimate for one in holders)
    for window in keys.windows(others):
        seen: set[Any] = set()
        again: set[Any] = set()
        for holder in holders:
            for values in holder.near(window):
                here = [value for value in values if value in window]
                different = set(here)
                if len(different) < len(here):
                    again.update(value for value in different if here.count(value) > 1)
                again |= different & seen
                seen |= different
        wrong = (window - seen) | again
        if wrong:
            yield wrong


def field_values(batch: bytes, path: str) -> list[Any]:
    """Return the value of a field of each document of a batch; comparable and hashable."""
    values = _fixed(batch, path)
    if values is not None:
        return values
    return _values(raw.decoded(batch, PLAIN_OPTIONS), path)


def _values(documents: list[Any], path: str) -> list[Any]:
    for step in path.split("."):
        documents = [one.get(step) if type(one) is dict else None for one in documents]
    if set(map(type, documents)) <= _PLAIN:
        return documents
    return [_comparable(value) for value in documents]


def _comparable(value: Any) -> Any:
    if isinstance(value, bytes):
        # The bytes of a UUID stand for it: they are compared several times as fast.
        is_uuid = type(value) is Binary and value.subtype == UUID_SUBTYPE and len(value) == 16
        return bytes(value) if is_uuid else Binary(value, getattr(value, "subtype", 0))
    return comparable(value, folds=False)


def given(value: Any) -> Any:
    """Return a value as a query names it."""
    if type(value) is bytes:
        return Binary(value, UUID_SUBTYPE)
    if isinstance(value, Decimal):
        return Decimal128(value)
    if isinstance(value, tuple):
        return {name: given(item) for name, item in value}
    return value


def _fixed(batch: bytes, name: str) -> list[Any] | None:
    """Return the values where every document is one field of one type of a fixed size."""
    # The first element: its type, its index and NUL, the document's length, the field's type.
    kind = batch[7] if len(batch) > 7 else 0
    if kind not in _KINDS:
        return None
    code, before = _KINDS[kind]
    head = bytes([kind]) + name.encode() + b"\0" + before
    width = struct.calcsize(f"<{code}")
    head = struct.pack("<i", 4 + len(head) + width + 1) + head
    found: list[Any] = []
    place, digits = 0, 1
    while place < len(batch):
        # As many elements as have an index of so many digits.
        size = 1 + digits + 1 + len(head) + width + 1
        most = 10**digits - (10 ** (digits - 1) if digits > 1 else 0)
        some = batch[place : place + size * most]
        count, rest = divmod(len(some), size)
        literals = [*enumerate(b"\0" + head, 1 + digits), (size - 1, 0)]
        if rest or any(some[at::size].count(byte) != count for at, byte in literals):
            return None
        found += struct.unpack("<" + f"{2 + digits + len(head)}x{code}x" * count, some)
        place, digits = place + len(some), digits + 1
    return found


def _bounds(wanted: Set[Any]) -> tuple[Any, Any] | None:
    """Return the least and the greatest value; ``None`` where Python cannot tell."""
    kinds = set(map(type, wanted))
    if kinds <= _NUMBERS or kinds in ({str}, {bytes}):
        return given(min(wanted)), given(max(wanted))
    return None


_NUMBERS = {int, Int64}

#: Types whose values Python compares as MongoDB does.
_PLAIN = {int, Int64, str, NoneType}

#: BSON types of a fixed size, their struct codes, and what stands between name and value: integers,
#: and a binary that is a UUID.
_BINARY = 0x05
_KINDS = {0x10: ("i", b""), 0x12: ("q", b""), _BINARY: ("16s", b"\x10\0\0\0\x04")}
