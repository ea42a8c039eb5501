"""``op``: what a migration file calls. One method per operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymongo.database import Database

from toolkit.mongo.ddl import (
    CreateCollection,
    CreateRegion,
    CreateRegionalCollections,
    CreateRegionList,
    CreateView,
    DropCollections,
    DropRegion,
    DropView,
    Operation,
)
from toolkit.mongo.indexes import CollectionIndex
from toolkit.mongo.session import Document
from toolkit.mongo.values import Schema

#: An index as a migration file spells it: ``name``, ``keys`` as pairs of path and direction, and
#: where they apply ``unique``, ``partial`` and ``collation``.
IndexSpec = Mapping[str, Any]


class Operations:
    """What a migration may do.

    Args:
        run: what is done with each operation: ``list.append`` records it for a dry run,
            :func:`executing` carries it out.
    """

    def __init__(self, run: Callable[[Operation], object]) -> None:
        self._run = run

    def create_collection(
        self,
        name: str,
        *,
        validator: Schema,
        indexes: Sequence[IndexSpec] = (),
        collation: dict[str, Any] | None = None,
    ) -> None:
        """Create the collection of a global table."""
        self._run(CreateCollection(name, validator, _indexes(indexes), collation))

    def create_link(
        self, name: str, *, validator: Schema, indexes: Sequence[IndexSpec] = ()
    ) -> None:
        """Create the collection that says which region each client belongs to."""
        self._run(CreateCollection(name, validator, _indexes(indexes), purpose="link"))

    def create_key_collection(
        self, name: str, *, validator: Schema, collation: dict[str, Any] | None = None
    ) -> None:
        """Create the collection that keeps a key unique over all regions."""
        self._run(CreateCollection(name, validator, (), collation, purpose="key collection"))

    def create_regional_collections(
        self,
        table: str,
        collections: Mapping[str, str],
        *,
        region_field: str,
        validator: Schema,
        indexes: Sequence[IndexSpec] = (),
    ) -> None:
        """Create the collections of a regional table."""
        self._run(
            CreateRegionalCollections(
                table, dict(collections), region_field, validator, _indexes(indexes)
            )
        )

    def create_region_list(self, name: str, codes: Sequence[str], *, validator: Schema) -> None:
        """Create the collection of region codes."""
        self._run(CreateRegionList(name, tuple(codes), validator))

    def create_view(self, name: str, collections: Sequence[str]) -> None:
        """Create a view that unites collections."""
        self._run(CreateView(name, tuple(collections)))

    def create_region(self, region: CreateRegion) -> None:
        """Add a region."""
        self._run(region)

    def drop_region(self, region: CreateRegion) -> None:
        """Drop a region that was added."""
        self._run(DropRegion(region))

    def drop_collection(self, name: str) -> None:
        """Drop a collection and the documents in it."""
        self._run(DropCollections((name,)))

    def drop_regional_collections(self, table: str, collections: Sequence[str]) -> None:
        """Drop the collections of a regional table and the documents in them."""
        self._run(DropCollections(tuple(collections)))

    def drop_region_list(self, name: str) -> None:
        """Drop the collection of region codes."""
        self._run(DropCollections((name,), destroys=False))

    def drop_view(self, name: str) -> None:
        """Drop a view."""
        self._run(DropView(name))


def executing(database: Database[Document]) -> Operations:
    """Return what a migration may do, each operation done at once."""
    return Operations(lambda operation: operation.apply(database))


def _indexes(specs: Sequence[IndexSpec]) -> tuple[CollectionIndex, ...]:
    return tuple(
        CollectionIndex(
            name=spec["name"],
            keys=tuple((path, direction) for path, direction in spec["keys"]),
            unique=spec.get("unique", False),
            partial=spec.get("partial"),
            collation=spec.get("collation"),
        )
        for spec in specs
    )
