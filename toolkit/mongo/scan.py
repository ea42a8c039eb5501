"""Reads collections as the server sends them, and makes digests of their documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo.database import Database

from toolkit.digest import Digest, RowDigest
from toolkit.mongo import raw, record
from toolkit.mongo.expected import Expected
from toolkit.mongo.scanner import Forms, Scanner

_Database = Database[dict[str, Any]]


@dataclass
class Scanned:
    """What was read of one collection.

    Attributes:
        digests: of the documents, per region.
        odd: how many documents had not exactly the expected form.
    """

    digests: dict[str | None, Digest]
    odd: int

    @property
    def rows(self) -> int:
        """How many documents were read."""
        return sum(digest.rows for digest in self.digests.values())


def scan(database: _Database, name: str, expected: Expected) -> Scanned:
    """Read a collection once; return the digest of its documents per region.

    The region is that of the collection. A document that says another one is found, because what
    it says is one of its cells. The link's collection holds the clients of all regions.
    """
    found: dict[str | None, Digest] = {}
    strange = 0
    cell = expected.region_cell if expected.region is None else None
    for forms, odd in scanned(database, name, expected):
        strange += odd
        by_region: dict[str | None, list[bytes]] = {}
        if cell is None and forms:
            by_region[expected.region] = forms
        elif cell is not None:
            for form in forms:
                by_region.setdefault(record.texts(form)[cell], []).append(form)
        for region, those in by_region.items():
            found[region] = found.get(region, Digest()) + record.total(those)
    return Scanned(found, strange)


def scanned(
    database: _Database,
    name: str,
    expected: Expected,
    query: dict[str, Any] | None = None,
) -> Iterator[Forms]:
    """Yield batches of the records of a collection's documents."""
    scanner = Scanner(expected)
    for batch in raw.find(database, name, query or {}):
        yield scanner.forms(batch)


def row_digests(database: _Database, name: str, expected: Expected) -> Iterator[RowDigest]:
    """Yield the digest of every row of a collection."""
    key = expected.key_cells
    for forms, _ in scanned(database, name, expected):
        for form in forms:
            cells = record.texts(form)
            texts = tuple([cells[number] for number in key])
            yield RowDigest(texts, _region(expected, cells), record.row_digest(form))


_Key = tuple[str | None, ...]

#: Keys in one question.
_ASKED = 1_000


def rows_with(
    database: _Database, name: str, expected: Expected, keys: Sequence[_Key]
) -> Iterator[tuple[_Key, str | None, list[str | None]]]:
    """Yield key, region and cells, as text, of the documents with these keys.

    Args:
        database: where the collection is.
        name: of the collection.
        expected: what its documents must look like.
        keys: as :class:`toolkit.digest.RowDigest` has them.
    """
    wanted = set(keys)
    for query in _queries(expected, list(wanted)):
        for forms, _ in scanned(database, name, expected, query):
            for form in forms:
                cells = record.texts(form)
                key = tuple([cells[number] for number in expected.key_cells])
                if key in wanted:
                    yield key, _region(expected, cells), cells


def _queries(expected: Expected, keys: Sequence[_Key]) -> Iterator[dict[str, Any]]:
    """Yield queries that together find all documents with these keys, and perhaps others."""
    ids = [expected.identity_of(key) for key in keys]
    if any(one is None for one in ids):
        yield {}
        return
    for start in range(0, len(ids), _ASKED):
        yield {"_id": {"$in": ids[start : start + _ASKED]}}


def _region(expected: Expected, cells: Sequence[str | None]) -> str | None:
    if expected.region is not None or expected.region_cell is None:
        return expected.region
    return cells[expected.region_cell]
