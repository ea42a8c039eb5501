"""The anti-join of one foreign key.

Where it is a single column of a plain type, its values are compared with those at the other end in
whole ranges, and only the documents with a value that is left over are looked at. All others go in
batches, and what each batch refers to is asked for by its keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo.database import Database

from toolkit.findings import Code
from toolkit.mongo.antijoin import WINDOW, Values, absent, given, missing
from toolkit.mongo.locate import Key, Locator, documents
from toolkit.mongo.session import Document
from toolkit.mongo.tally import Tallies
from toolkit.placement import ForeignKey, Role

#: Keys of each region that one foreign key remembers.
_REMEMBERED = 10_000

#: Keys in one question for documents.
_ASKED = 1_000


@dataclass
class Lead:
    """A foreign key, and how its other end is found.

    Attributes:
        database: the target.
        table: key of the referring table.
        reference: the foreign key.
        role: what it means.
        child: finds its columns in a referring document.
        parent: finds the columns that it refers to.
        parts: the collections of the other end, by region; ``None`` for a global table.
        region_field: the field of a foreign reference that names the region of the other end.
        may_be_null: whether ``region_field`` may be null.
        known: keys that were found, so that they are asked for once; per region, in bounds.
    """

    database: Database[Document]
    table: str
    reference: ForeignKey
    role: Role
    child: Locator
    parent: Locator
    parts: Mapping[str | None, str]
    region_field: str | None
    may_be_null: bool
    known: dict[str | None, set[Key]] = field(default_factory=dict)

    @property
    def reads(self) -> list[str]:
        """The fields that it reads of a referring document, besides the ``_id``."""
        more = [self.region_field] if self.region_field else []
        return [*self.child.roots, *more]

    def check_all(
        self,
        name: str,
        region: str | None,
        key_text: Callable[[Mapping[str, Any]], str],
        tallies: Tallies,
    ) -> None:
        """Look for the other ends of the documents of a collection.

        Args:
            name: the collection.
            region: of the collection.
            key_text: tells a document's key.
            tallies: where those without another end are noted.
        """
        path, parent_path = self.child.path, self.parent.path
        if path is None or parent_path is None:
            for batch in documents(self.database, name, {}, self.reads):
                self.check(batch, region, key_text, tallies)
            return
        if None not in self.parts and self.region_field:
            left_over = self._left_over(name, path, parent_path)
        elif (where := self._wanted({}, region)) in self.parts:
            child = Values(self.database, name, path)
            left_over = absent([child], self._values(where, parent_path))
        else:
            left_over = (window for window in Values(self.database, name, path).windows(0))
        for left in left_over:
            asked = list(map(given, left))
            for start in range(0, len(asked), _ASKED):
                query = {path: {"$in": asked[start : start + _ASKED]}}
                for batch in documents(self.database, name, query, self.reads):
                    self.check(batch, region, key_text, tallies)

    def check_without_region(
        self,
        name: str,
        region: str | None,
        key_text: Callable[[Mapping[str, Any]], str],
        tallies: Tallies,
    ) -> None:
        """Look only at the documents that refer to something and name no region of it."""
        if self.region_field is None or not self.may_be_null:
            return
        query: Document = {self.region_field: None}
        if self.child.path is not None:
            query[self.child.path] = {"$ne": None}
        for batch in documents(self.database, name, query, self.reads):
            self.check(batch, region, key_text, tallies)

    def _values(self, where: str | None, path: str) -> Values:
        return Values(self.database, self.parts[where], path)

    def _left_over(self, name: str, path: str, parent_path: str) -> Iterator[set[Any]]:
        """Yield the values that are not in the region which the document itself names."""
        held: dict[str | None, set[Any]] = {}
        assert self.region_field is not None
        pairs = Values(self.database, name, path).pairs(self.region_field)
        for values, regions in pairs:
            for value, where in zip(values, regions, strict=True):
                held.setdefault(where, set()).add(value)
            if sum(map(len, held.values())) >= WINDOW:
                yield from self._missing(held, parent_path)
                held = {}
        yield from self._missing(held, parent_path)

    def _missing(self, held: Mapping[str | None, set[Any]], parent_path: str) -> Iterator[set[Any]]:
        for where, wanted in held.items():
            if where is None or where not in self.parts:
                yield wanted
            elif left := missing(wanted, self._values(where, parent_path)):
                yield left

    def check(
        self,
        batch: Sequence[Mapping[str, Any]],
        region: str | None,
        key_text: Callable[[Mapping[str, Any]], str],
        tallies: Tallies,
    ) -> None:
        """Look for the other ends of a batch of documents.

        Args:
            batch: referring documents.
            region: of their collection.
            key_text: tells a document's key.
            tallies: where those without another end are noted.
        """
        keys = self.child.keys(batch)
        by_region: dict[str | None, dict[Key, list[int]]] = {}
        for number, key in enumerate(keys):
            if key is not None:
                wanted = by_region.setdefault(self._wanted(batch[number], region), {})
                wanted.setdefault(self.parent.comparable(key), []).append(number)
        for where, wanted in by_region.items():
            given = {one: keys[numbers[0]] or () for one, numbers in wanted.items()}
            lost = self._lost(where, given)
            elsewhere = self._elsewhere(where, lost)
            for key in lost:
                code, detail = self._verdict(key in elsewhere)
                for number in wanted[key]:
                    tallies.add(code, self.table, region, detail, key_text(batch[number]))

    def _verdict(self, elsewhere: bool) -> tuple[Code, str]:
        columns, target = ", ".join(self.reference.columns), self.reference.target
        if not elsewhere:
            return Code.orphan, f"{columns} leads to no row of {target}"
        if self.role is Role.home:
            return Code.row_misplaced, f"not in the region of its {target}"
        return Code.orphan, f"{columns} leads to {target} in another region than it says"

    def _wanted(self, document: Mapping[str, Any], region: str | None) -> str | None:
        """Return the region that the other end must be in; ``None`` for a global table."""
        if None in self.parts:
            return None
        return document.get(self.region_field) if self.region_field else region

    def _lost(self, where: str | None, given: Mapping[Key, Key]) -> dict[Key, Key]:
        """Return the keys, comparable and as given, that are not in the region ``where``."""
        if where not in self.parts:
            return dict(given)
        known = self.known.setdefault(where, set())
        asked = {key: value for key, value in given.items() if key not in known}
        if not asked:
            return {}
        name, values = self.parts[where], list(asked.values())
        if self.parent.all_present(self.database, name, values):
            found = set(asked)
        else:
            found = set(self.parent.present(self.database, name, values))
        if len(known) + len(found) <= _REMEMBERED:
            known.update(found)
        return {key: value for key, value in asked.items() if key not in found}

    def _elsewhere(self, where: str | None, lost: Mapping[Key, Key]) -> set[Key]:
        """Return which of the keys another region has."""
        found: set[Key] = set()
        for region, name in self.parts.items() if lost else ():
            if region != where:
                found.update(self.parent.present(self.database, name, list(lost.values())))
        return found
