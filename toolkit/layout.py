"""The decisions that the layouts ``tables`` and ``collections`` share. Pure.

From the logical schema, the topology and the placement follow the names of everything that is
generated, the region column, the region columns of foreign references, and what becomes of each
unique constraint. The backends only spell these decisions out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from sqlalchemy import (
    Column,
    Computed,
    Identity,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)

from toolkit.errors import Refused, UsageError
from toolkit.names import NamePool, shorten
from toolkit.placement import ForeignKey, Kind, Placement, TablePlacement, table_key
from toolkit.topology import Topology
from toolkit.types import postgres_type


class Scope(StrEnum):
    """How far a unique constraint of a regional table reaches, and what keeps it."""

    #: Global: it holds the key of the client, or of a row that follows the client.
    implied = "implied by the home key"
    #: Global: one generator serves all regions (identity, sequence, uuid).
    generated = "one generator for all regions"
    #: Global: kept by a key table (PostgreSQL) or key collection (MongoDB).
    key_table = "kept by a key table"
    #: Given up: unique within a region only, because the operator said so.
    region = "within a region only"


@dataclass(frozen=True)
class Unique:
    """A primary key, unique constraint or unique index over plain columns.

    Attributes:
        name: its name in the source; generated where it has none.
        columns: in order, without the region.
        primary: whether it is the primary key.
        scope: what becomes of it.
        key_table: name of its key table, for ``Scope.key_table``.
    """

    name: str
    columns: tuple[str, ...]
    primary: bool
    scope: Scope
    key_table: str | None = None


@dataclass(frozen=True)
class RegionalTable:
    """A root or owned table once its rows live in regions.

    Attributes:
        key: the table's key in the placement.
        table: the logical table.
        placement: its placement.
        parts: the partition (PostgreSQL) or collection (MongoDB) of each region, by its code.
        reference_columns: the region column that each of its foreign references carries.
        uniques: what becomes of its unique constraints.
    """

    key: str
    table: Table
    placement: TablePlacement
    parts: Mapping[str, str]
    reference_columns: Mapping[ForeignKey, str]
    uniques: tuple[Unique, ...]

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the logical primary key; empty where there is none."""
        return tuple(column.name for column in self.table.primary_key.columns)


@dataclass(frozen=True)
class Layout:
    """Everything that a backend needs in order to spell a layout out.

    Attributes:
        metadata: the logical schema.
        topology: the regions.
        placement: where each table belongs.
        default_schema: the PostgreSQL schema that table keys leave out.
        names: the name of each table in the target, where there are no schemas, by its key.
        region_column: the name of the region column, free in every table that gets one.
        region_list: the name of the table of regions.
        link: the name of the link table.
        link_columns: the link's column for each column of the root's primary key, in order.
        regional: the root and the owned tables, parents first.
        shared: the global tables, by key.
        reference_columns: the region column of every foreign reference, of global tables too.
        as_string: table key and column of what travels as PostgreSQL's text form to a backend that
            has types of its own.
    """

    metadata: MetaData
    topology: Topology
    placement: Placement
    default_schema: str | None
    names: Mapping[str, str]
    region_column: str
    region_list: str
    link: str
    link_columns: Mapping[str, str]
    regional: Mapping[str, RegionalTable]
    shared: Mapping[str, Table]
    reference_columns: Mapping[ForeignKey, str]
    as_string: frozenset[tuple[str, str]] = frozenset()

    @property
    def root(self) -> RegionalTable:
        """The root."""
        return self.regional[self.placement.root]

    def key_of(self, table: Table) -> str:
        """Return the placement's key of a logical table."""
        return table_key(table, self.default_schema)

    def table(self, key: str) -> Table:
        """Return the logical table with this key.

        Raises:
            KeyError: there is none.
        """
        return self.regional[key].table if key in self.regional else self.shared[key]

    def name(self, key: str) -> str:
        """Return the name of a table in the target: its parent's in PostgreSQL, its view's in
        MongoDB.

        Raises:
            KeyError: there is no such table.
        """
        return self.names[key]


def decide(
    metadata: MetaData,
    topology: Topology,
    placement: Placement,
    *,
    default_schema: str | None = None,
    unique: Mapping[str, str] | None = None,
    as_string: Iterable[str] = (),
) -> Layout:
    """Decide what both layouts share.

    Args:
        metadata: the logical, single-region schema.
        topology: the regions.
        placement: of every table of ``metadata``.
        default_schema: the schema that table keys leave out.
        unique: ``"<table>.<constraint>"`` to ``"global"`` or ``"region"``, the operator's choices.
        as_string: ``"<table>.<column>"`` of each column that travels as text.

    Raises:
        Refused: a table is undecided.
        UsageError: ``unique`` names a constraint that does not exist, ``as_string`` a column that
            does not, or one end of a foreign key alone.
    """
    undecided = placement.of_kind(Kind.undecided)
    if undecided:
        raise Refused(
            f"{len(undecided)} table(s) are undecided: no foreign key connects them with "
            f"{placement.root!r}",
            details=sorted(undecided),
            hint='state kind = "global", or owner = "<table> via <column>", in '
            "[placement.<table>] of regionkit.toml",
        )
    tables = {table_key(table, default_schema): table for table in metadata.tables.values()}
    relations = NamePool(
        name for table in tables.values() for name in _relation_names(table, default_schema)
    )
    names = _names(tables, default_schema, relations)
    regional_tables = [tables[key] for key in placement.regional]
    columns = NamePool(column.name for table in regional_tables for column in table.columns)
    region_column = columns.claim("region", "home_region", "regionkit_region")
    root_table = tables[placement.root]
    region_list = relations.claim("region", "regionkit_region")
    root_name = names[placement.root]
    link = relations.claim(f"{root_name}_region", f"{root_name}_region_link")
    regional: dict[str, RegionalTable] = {}
    choices = dict(unique or {})
    for key in placement.regional:
        regional[key] = _regional_table(
            key,
            tables[key],
            names[key],
            placement[key],
            topology,
            region_column,
            relations,
            choices,
        )
    if choices:
        raise UsageError(
            f"[unique] names {len(choices)} constraint(s) that do not exist",
            details=sorted(choices),
            hint='write "<table>.<constraint>" = "global" or "region"',
        )
    shared = {key: tables[key] for key in placement.of_kind(Kind.shared)}
    references: dict[ForeignKey, str] = {}
    for key in (*regional, *shared):
        references.update(reference_columns(tables[key], placement[key], region_column))
    return Layout(
        metadata=metadata,
        topology=topology,
        placement=placement,
        default_schema=default_schema,
        names=names,
        region_column=region_column,
        region_list=region_list,
        link=link,
        link_columns=_link_columns(root_table, region_column),
        regional=regional,
        shared=shared,
        reference_columns=references,
        as_string=_as_string(as_string, tables, placement),
    )


def _names(
    tables: Mapping[str, Table], default_schema: str | None, relations: NamePool
) -> dict[str, str]:
    """Return the name of each table in the target.

    Tables of the default schema keep theirs; the others have their schema in front.
    """
    names = {}
    for key, table in sorted(tables.items()):
        if table.schema in (None, default_schema):
            names[key] = table.name
        else:
            names[key] = relations.claim(f"{table.schema}_{table.name}")
    return names


def _as_string(
    named: Iterable[str], tables: Mapping[str, Table], placement: Placement
) -> frozenset[tuple[str, str]]:
    """Return table key and column of what ``[columns]`` names."""
    columns = {
        f"{key}.{column.name}": (key, column.name)
        for key, table in tables.items()
        for column in table.columns
    }
    found: set[tuple[str, str]] = set()
    wrong: list[str] = []
    for name in named:
        if name in columns:
            found.add(columns[name])
            continue
        near = get_close_matches(name, columns, n=3, cutoff=0.5)
        wrong.append(f"{name!r}" + (f": did you mean {', '.join(near)}?" if near else ""))
    if wrong:
        raise UsageError(
            f"[columns] names {len(wrong)} column(s) that do not exist",
            details=wrong,
            hint='write [columns."<table>.<column>"]; a table outside the source\'s default schema '
            "is called <schema>.<table>",
        )
    apart = [
        f"{name}.{column} and {key.target}.{target}: only {said[0]}.{said[1]} is a string"
        for name in tables
        for key in placement[name].roles
        for column, target in zip(key.columns, key.target_columns, strict=True)
        for ends in [{(name, column), (key.target, target)}]
        for said in ends & found
        if not ends <= found
    ]
    if apart:
        raise UsageError(
            f"[columns] would keep {len(apart)} pair(s) of columns from being compared: a foreign "
            "key and the column that it leads to must be carried alike",
            details=apart,
            hint='say as = "string" for both columns, or for neither',
        )
    return frozenset(found)


def _relation_names(table: Table, default_schema: str | None) -> Iterable[str]:
    """Yield the names that a table takes in the target: its indexes', its enums', its own."""
    if table.schema in (None, default_schema):
        yield table.name
    for column in table.columns:
        # A table makes a type of its own name.
        if (type_ := postgres_type(column.type)).labels:
            yield type_.name
    for unique, columns, fallback in _constraints(table):
        if columns and not isinstance(unique.name, str):
            yield shorten(fallback)
    for index in table.indexes:
        if index.name is not None:
            yield str(index.name)
    for constraint in table.constraints:
        if isinstance(constraint.name, str):
            yield constraint.name


def _regional_table(
    key: str,
    table: Table,
    base: str,
    placed: TablePlacement,
    topology: Topology,
    region_column: str,
    relations: NamePool,
    choices: dict[str, str],
) -> RegionalTable:
    return RegionalTable(
        key=key,
        table=table,
        placement=placed,
        parts={
            code: relations.claim(f"{base}_{code}", f"{base}__{code}") for code in topology.codes
        },
        reference_columns=reference_columns(table, placed, region_column),
        uniques=tuple(_uniques(key, base, table, placed, relations, choices)),
    )


def _link_columns(root: Table, region_column: str) -> dict[str, str]:
    """Return the link's column for each column of the root's primary key."""
    names = [column.name for column in root.primary_key.columns]
    taken = NamePool([region_column, *(name for name in names if name != "id")])
    return {name: taken.claim(f"{root.name}_id") if name == "id" else name for name in names}


def reference_columns(
    table: Table, placed: TablePlacement, region_column: str
) -> dict[ForeignKey, str]:
    """Return the region column that each foreign reference of a table carries."""
    taken = NamePool([region_column, *(column.name for column in table.columns)])
    return {
        # A field of MongoDB's can hold no dot, and begin with no dollar sign.
        reference: taken.claim(
            f"{'_'.join(reference.columns).replace('.', '_').lstrip('$')}_region"
        )
        for reference in placed.foreign_references
    }


def _uniques(
    key: str,
    base: str,
    table: Table,
    placed: TablePlacement,
    relations: NamePool,
    choices: dict[str, str],
) -> Iterable[Unique]:
    primary = tuple(column.name for column in table.primary_key.columns)
    #: Column sets that are unique over all regions without a key table.
    certain = [placed.home.columns] if placed.home else [primary]
    found: list[tuple[str, tuple[str, ...], bool]] = []
    nulls_clash: set[str] = set()
    for constraint, columns, fallback in _constraints(table):
        name = constraint.name if isinstance(constraint.name, str) else shorten(fallback)
        if columns:
            found.append((name, columns, constraint is table.primary_key))
        if _nulls_not_distinct(constraint):
            nulls_clash.add(name)
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.unique:
            if _nulls_not_distinct(index):
                nulls_clash.add(str(index.name))
            if not _plain(index):
                choice = choices.pop(f"{key}.{index.name}", None)
                covered = {part.name for part in index.expressions if isinstance(part, Column)}
                if choice == "region" or any(set(sure) <= covered for sure in certain):
                    continue
                raise Refused(
                    f"unique index {index.name!r} of {key!r} is partial or over an expression: "
                    "its uniqueness over all regions cannot be kept",
                    hint=f'give it up across regions: "{key}.{index.name}" = "region" in [unique]',
                )
            columns = tuple(column.name for column in index.columns)
            found.append((str(index.name), columns, False))
    known: list[tuple[str, ...]] = list(certain)
    for name, columns, is_primary in sorted(found, key=lambda item: (not item[2], item[0])):
        choice = choices.pop(f"{key}.{name}", None)
        key_table = None
        if choice == "region":
            scope = Scope.region
        elif any(set(sure) <= set(columns) for sure in known):
            scope = Scope.implied
        elif len(columns) == 1 and is_generated(table.columns[columns[0]]):
            scope = Scope.generated
            known.append(columns)
        elif name in nulls_clash and any(table.columns[column].nullable for column in columns):
            raise Refused(
                f"unique {name!r} of {key!r} is NULLS NOT DISTINCT: its uniqueness over all "
                "regions cannot be kept, because a key table holds no NULL",
                hint=f'give it up across regions: "{key}.{name}" = "region" in [unique]',
            )
        else:
            scope = Scope.key_table
            stem = f"{base}_{'_'.join(columns)}"
            key_table = relations.claim(f"{stem}_key", f"{stem}_regionkit_key")
            known.append(columns)
        yield Unique(name, columns, is_primary, scope, key_table)


def _plain(index: Index) -> bool:
    """Return whether an index covers all rows by plain columns."""
    where = index.dialect_options["postgresql"].get("where")
    return where is None and all(isinstance(part, Column) for part in index.expressions)


def _constraints(
    table: Table,
) -> Iterable[tuple[PrimaryKeyConstraint | UniqueConstraint, tuple[str, ...], str]]:
    """Yield the primary key and the unique constraints: columns, and PostgreSQL's name for them."""
    primary = table.primary_key
    yield primary, tuple(column.name for column in primary.columns), f"{table.name}_pkey"
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            columns = tuple(column.name for column in constraint.columns)
            yield constraint, columns, f"{table.name}_{'_'.join(columns)}_key"


def _nulls_not_distinct(item: UniqueConstraint | PrimaryKeyConstraint | Index) -> bool:
    return bool(item.dialect_kwargs.get("postgresql_nulls_not_distinct"))


def is_generated(column: Column[object]) -> bool:
    """Return whether the server draws a column's values from a generator that never repeats."""
    if isinstance(column.server_default, Computed):
        return False
    if isinstance(column.server_default, Identity) or column.identity is not None:
        return True
    default = getattr(column.server_default, "arg", None)
    text = str(getattr(default, "text", default)).lower()
    if (
        "nextval(" in text
        or "gen_random_uuid()" in text
        or "uuidv7()" in text
        or ("uuid_generate_v" in text)
    ):
        return True
    table = column.table
    return isinstance(table, Table) and table.autoincrement_column is column
