"""Operations on a database, as frozen data. ``apply`` is the only method that touches a server.

::

    Operation
    ├── CreateCollection             reversed by   DropCollections
    ├── CreateRegionalCollections                  DropCollections
    ├── CreateRegionList                           DropCollections
    ├── CreateView                                 DropView
    └── CreateRegion                               DropRegion

Each is idempotent: what exists with the same options is left as it is, what exists with other
options is refused by name. So a migration that stopped half-way is simply run again.

How to add one: a frozen dataclass with these methods, a method of :class:`Operations` that
builds it from what a migration file can spell, and a line in ``toolkit/mongo/render.py`` if
``generate`` writes it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pymongo import IndexModel
from pymongo.database import Database

from toolkit.errors import Refused
from toolkit.mongo.indexes import CollectionIndex
from toolkit.mongo.inspect import indexes as existing_indexes
from toolkit.mongo.inspect import plain, same
from toolkit.mongo.layout import of_region
from toolkit.mongo.session import Document, translated
from toolkit.mongo.values import Schema
from toolkit.plan import Step

#: Collections that are created side by side.
_AT_ONCE = 4


class Operation(ABC):
    """One thing that a migration does.

    Attributes:
        action: what, in words, for plans.
        destroys: whether documents are lost by it.
    """

    action: str
    destroys: bool = False

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Return the collections and views that it creates or drops."""

    @abstractmethod
    def target(self) -> str:
        """Return the object that it is about."""

    def detail(self) -> str:
        """Return what makes it different from its like."""
        return ""

    def lock(self) -> str:
        """Return the lock that it takes on something that existed."""
        return ""

    def describe(self) -> str:
        """Return it in one line."""
        detail = self.detail()
        return f"{self.action} {self.target()}" + (f" ({detail})" if detail else "")

    def step(self, server: str, rows: int | None = None) -> Step:
        """Return it as a step of a plan."""
        return Step(
            server,
            self.action,
            self.target(),
            detail=self.detail(),
            lock=self.lock(),
            rows=rows,
            reversible=not self.destroys,
        )

    @abstractmethod
    def reverse(self) -> Operation:
        """Return the operation that undoes it.

        Raises:
            Refused: it cannot be undone.
        """

    @abstractmethod
    def apply(self, database: Database[Document]) -> None:
        """Do it.

        Raises:
            Refused: something of that name exists with other options.
            RegionkitError: the server refuses or does not answer.
        """


@dataclass(frozen=True)
class CreateCollection(Operation):
    """Create a collection with its validator and its indexes.

    Attributes:
        name: of the collection.
        validator: the filter that every document must match.
        indexes: besides that of ``_id``.
        collation: the default of every comparison.
        purpose: what it is: ``collection``, ``link``, ``key collection``.
    """

    name: str
    validator: Schema
    indexes: tuple[CollectionIndex, ...] = ()
    collation: dict[str, Any] | None = None
    purpose: str = "collection"

    @property
    def action(self) -> str:  # type: ignore[override]
        """Names the purpose."""
        return f"create {self.purpose}"

    def names(self) -> tuple[str, ...]:
        """Return its name."""
        return (self.name,)

    def target(self) -> str:
        """Return its name."""
        return self.name

    def detail(self) -> str:
        """Return how many indexes it gets."""
        return _count(len(self.indexes), "index")

    def reverse(self) -> Operation:
        """Drop it."""
        return DropCollections((self.name,), self)

    def apply(self, database: Database[Document]) -> None:
        """Create what is missing."""
        with translated(f"create collection {self.name}"):
            found = _options(database, self.name)
            if found is None:
                options: Document = {"validator": self.validator}
                if self.collation is not None:
                    options["collation"] = self.collation
                database.create_collection(self.name, check_exists=False, **options)
            else:
                self._compare(found)
            self._create_indexes(database)

    def _compare(self, found: Document) -> None:
        differs = [
            option
            for option, wanted in (("validator", self.validator), ("collation", self.collation))
            if not _covers(found.get(option), wanted)
        ]
        if "viewOn" in found:
            differs = ["it is a view"]
        if differs:
            raise _other_options(self.name, differs)

    def _create_indexes(self, database: Database[Document]) -> None:
        found = existing_indexes(database, self.name)
        differs = [
            f"index {index.name}"
            for index in self.indexes
            if index.name in found and not same_index(found[index.name], index)
        ]
        if differs:
            raise _other_options(self.name, differs)
        missing = [index_model(index) for index in self.indexes if index.name not in found]
        if missing:
            database[self.name].create_indexes(missing)


@dataclass(frozen=True)
class CreateRegionalCollections(Operation):
    """Create the collections of a regional table, alike but for the region.

    Attributes:
        table: what they are called together.
        collections: the collection of each region, by its code.
        region_field: the field that holds the region; each collection allows its own alone.
        validator: for any region.
        indexes: of each collection.
    """

    table: str
    collections: Mapping[str, str]
    region_field: str
    validator: Schema
    indexes: tuple[CollectionIndex, ...] = ()
    action = "create regional collections"

    def names(self) -> tuple[str, ...]:
        """Return the collections."""
        return tuple(self.collections.values())

    def target(self) -> str:
        """Return the table."""
        return self.table

    def detail(self) -> str:
        """Return the collections and how many indexes each gets."""
        each = _count(len(self.indexes), "index")
        return ", ".join(self.names()) + (f"; {each} each" if each else "")

    def parts(self) -> tuple[CreateCollection, ...]:
        """Return the operation for each region."""
        return tuple(
            CreateCollection(
                name, of_region(self.validator, self.region_field, region), self.indexes
            )
            for region, name in self.collections.items()
        )

    def reverse(self) -> Operation:
        """Drop them."""
        return DropCollections(self.names(), self)

    def apply(self, database: Database[Document]) -> None:
        """Create what is missing."""
        _apply_all(self.parts(), database)


@dataclass(frozen=True)
class CreateRegionList(Operation):
    """Create the collection of region codes, with the codes in it.

    Attributes:
        name: of the collection.
        codes: of the regions.
        validator: the filter that every document must match.
    """

    name: str
    codes: tuple[str, ...]
    validator: Schema
    action = "create region list"

    def names(self) -> tuple[str, ...]:
        """Return its name."""
        return (self.name,)

    def target(self) -> str:
        """Return its name."""
        return self.name

    def detail(self) -> str:
        """Return the codes."""
        return ", ".join(self.codes)

    def reverse(self) -> Operation:
        """Drop it."""
        return DropCollections((self.name,), self, destroys=False)

    def apply(self, database: Database[Document]) -> None:
        """Create what is missing; a list that holds other codes is refused."""
        CreateCollection(self.name, self.validator).apply(database)
        with translated(f"fill the region list {self.name}"):
            others = set(database[self.name].distinct("_id")) - set(self.codes)
            if others:
                raise _other_options(self.name, [f"region {code}" for code in sorted(others)])
            _add_codes(database, self.name, self.codes)


@dataclass(frozen=True)
class CreateView(Operation):
    """Create a view that unites collections.

    Attributes:
        name: of the view.
        collections: at least one, in order.
    """

    name: str
    collections: tuple[str, ...]
    action = "create view"

    def names(self) -> tuple[str, ...]:
        """Return its name."""
        return (self.name,)

    def target(self) -> str:
        """Return its name."""
        return self.name

    def detail(self) -> str:
        """Return the collections."""
        return ", ".join(self.collections)

    @property
    def pipeline(self) -> list[Document]:
        """What is added to the first collection."""
        return [{"$unionWith": name} for name in self.collections[1:]]

    def reverse(self) -> Operation:
        """Drop it."""
        return DropView(self.name, self)

    def apply(self, database: Database[Document]) -> None:
        """Create it unless it exists."""
        with translated(f"create view {self.name}"):
            found = _options(database, self.name)
            if found is None:
                database.create_collection(
                    self.name,
                    check_exists=False,
                    viewOn=self.collections[0],
                    pipeline=self.pipeline,
                )
            elif found.get("viewOn") != self.collections[0] or not _united(
                found.get("pipeline"), self.pipeline
            ):
                raise _other_options(self.name, ["it unites other collections"])

    def redefine(self, database: Database[Document]) -> None:
        """Make an existing view unite these collections."""
        with translated(f"redefine view {self.name}"):
            database.command(
                {
                    "collMod": self.name,
                    "viewOn": self.collections[0],
                    "pipeline": self.pipeline,
                }
            )


@dataclass(frozen=True)
class CreateRegion(Operation):
    """Add a region: its collections, then the views, and its code in the region list last.

    Attributes:
        region: its code.
        region_list: the collection of region codes.
        collections: its own collections.
        views: every view as it is with the region.
        views_before: every view as it is without.
    """

    region: str
    region_list: str
    collections: tuple[CreateCollection, ...]
    views: tuple[CreateView, ...] = ()
    views_before: tuple[CreateView, ...] = ()
    action = "create region"

    def names(self) -> tuple[str, ...]:
        """Return its collections."""
        return tuple(part.name for part in self.collections)

    def target(self) -> str:
        """Return its code."""
        return self.region

    def detail(self) -> str:
        """Return its collections."""
        return ", ".join(self.names())

    def lock(self) -> str:
        """Views are redefined, which takes a moment."""
        return "collMod of the views" if self.views else ""

    def reverse(self) -> Operation:
        """Drop the region."""
        return DropRegion(self)

    def apply(self, database: Database[Document]) -> None:
        """Create what is missing."""
        _apply_all(self.collections, database)
        for view in self.views:
            view.redefine(database)
        with translated(f"list region {self.region}"):
            _add_codes(database, self.region_list, (self.region,))


@dataclass(frozen=True)
class DropCollections(Operation):
    """Drop collections and the documents in them. What is not there is dropped already.

    Attributes:
        collections: their names.
        created: the operation that created them, where it is known.
        destroys: false if what they hold was written by the operation that created them.
    """

    collections: tuple[str, ...]
    created: Operation | None = None
    destroys: bool = True
    action = "drop collections"

    def names(self) -> tuple[str, ...]:
        """Return the collections."""
        return self.collections

    def target(self) -> str:
        """Return the collections."""
        return ", ".join(self.collections)

    def lock(self) -> str:
        """It excludes every other operation."""
        return "exclusive on each"

    def reverse(self) -> Operation:
        """Create them again, empty."""
        return _known(self.created, self)

    def apply(self, database: Database[Document]) -> None:
        """Drop them."""
        for name in self.collections:
            with translated(f"drop collection {name}"):
                database.drop_collection(name)


@dataclass(frozen=True)
class DropView(Operation):
    """Drop a view; no document is lost.

    Attributes:
        name: of the view.
        created: the operation that created it, where it is known.
    """

    name: str
    created: Operation | None = None
    action = "drop view"

    def names(self) -> tuple[str, ...]:
        """Return its name."""
        return (self.name,)

    def target(self) -> str:
        """Return its name."""
        return self.name

    def reverse(self) -> Operation:
        """Create it again."""
        return _known(self.created, self)

    def apply(self, database: Database[Document]) -> None:
        """Drop it; a collection of that name is refused."""
        with translated(f"drop view {self.name}"):
            found = _options(database, self.name)
            if found is not None and "viewOn" not in found:
                raise _other_options(self.name, ["it is a collection"])
            database.drop_collection(self.name)


@dataclass(frozen=True)
class DropRegion(Operation):
    """Drop a region: its code first, then the views, and its collections last.

    Attributes:
        created: the operation that added the region.
    """

    created: CreateRegion
    action = "drop region"
    destroys = True

    def names(self) -> tuple[str, ...]:
        """Return its collections."""
        return self.created.names()

    def target(self) -> str:
        """Return its code."""
        return self.created.region

    def detail(self) -> str:
        """Return its collections."""
        return ", ".join(self.names())

    def lock(self) -> str:
        """It excludes every other operation."""
        return "exclusive on each; collMod of the views"

    def reverse(self) -> Operation:
        """Add the region again, empty."""
        return self.created

    def apply(self, database: Database[Document]) -> None:
        """Drop it."""
        with translated(f"unlist region {self.created.region}"):
            database[self.created.region_list].delete_one({"_id": self.created.region})
        for view in self.created.views_before:
            view.redefine(database)
        DropCollections(self.names(), self.created).apply(database)


def index_model(index: CollectionIndex) -> IndexModel:
    """Return an index as PyMongo creates it."""
    options: Document = {"name": index.name}
    if index.unique:
        options["unique"] = True
    if index.partial is not None:
        options["partialFilterExpression"] = index.partial
    if index.collation is not None:
        options["collation"] = index.collation
    return IndexModel(list(index.keys), **options)


def same_index(found: Document, index: CollectionIndex) -> bool:
    """Return whether an index of the server, as ``inspect.indexes`` has it, is the one wanted."""
    return (
        [tuple(pair) for pair in found["keys"]] == list(index.keys)
        and bool(found.get("unique")) == index.unique
        and same(found.get("partialFilterExpression"), index.partial)
        and _covers(found.get("collation"), index.collation)
    )


def _covers(found: Any, wanted: Any) -> bool:
    """Return whether what the server says, defaults filled in, is what was asked for."""
    if isinstance(wanted, Mapping) and "locale" in wanted and isinstance(found, Mapping):
        return all(found.get(key) == value for key, value in wanted.items())
    return same(found, wanted)


def _united(found: Any, pipeline: Sequence[Document]) -> bool:
    stages = [
        {"$unionWith": stage["$unionWith"].get("coll")}
        if isinstance(stage.get("$unionWith"), Mapping)
        else stage
        for stage in plain(found or [])
    ]
    return same(stages, list(pipeline))


def same_view(options: Document, names: Sequence[str]) -> bool:
    """Return whether a view's options, as the server lists them, unite these collections."""
    pipeline = CreateView("", tuple(names)).pipeline
    return options.get("viewOn") == names[0] and _united(options.get("pipeline"), pipeline)


def _apply_all(parts: Sequence[CreateCollection], database: Database[Document]) -> None:
    """Create collections several at a time: each waits for the majority of the members."""
    with ThreadPoolExecutor(_AT_ONCE, "regionkit-create") as pool:
        # All are begun and waited for; the first error is raised.
        for done in [pool.submit(part.apply, database) for part in parts]:
            done.result()


def _options(database: Database[Document], name: str) -> Document | None:
    """Return the options of a collection or view; ``None`` if there is neither."""
    for entry in database.list_collections(filter={"name": name}):
        options: Document = plain(entry.get("options", {}))
        return options
    return None


def _add_codes(database: Database[Document], name: str, codes: Sequence[str]) -> None:
    for code in codes:
        database[name].update_one({"_id": code}, {"$setOnInsert": {"_id": code}}, upsert=True)


def _other_options(name: str, differs: Sequence[str]) -> Refused:
    return Refused(
        f"{name!r} exists, and differs from what the migration creates",
        details=list(differs),
        hint="drop or rename it, or point [target.mongo] database at another database",
    )


def _known(created: Operation | None, dropped: Operation) -> Operation:
    if created is None:
        raise Refused(
            f"cannot undo: {dropped.describe()}",
            hint="nothing says how it was created; run the migration that created it",
        )
    return created


def _count(number: int, noun: str) -> str:
    if number == 0:
        return ""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}es"
