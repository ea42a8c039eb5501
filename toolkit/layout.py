"""The decisions that the layouts ``tables`` and ``collections`` share. Pure.

From the logical schema, the topology and the placement follow the names of everything that is
generated, the region column, the region columns of foreign references, and what becomes of each
unique constraint. The backends only spell these decisions out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

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
from sqlalchemy.dialects.postgresql import ExcludeConstraint

from toolkit.errors import Refused, UsageError
from toolkit.expressions import IndexPart, index_part, index_parts, predicate, quoted, sql_text
from toolkit.names import NamePool, shorten
from toolkit.placement import ForeignKey, Kind, Placement, TablePlacement, table_key
from toolkit.topology import Topology
from toolkit.types import user_types


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
    """What keeps rows apart: a key, a unique constraint or index, or an exclusion constraint.

    Attributes:
        name: its name in the source; generated where it has none.
        columns: the plain columns that it is over, in order, without the region.
        primary: whether it is the primary key.
        scope: what becomes of it.
        key_table: name of its key table, for ``Scope.key_table``.
        parts: everything that it is over, in order, as SQL of the source.
        where: the condition of the rows that it holds, as SQL of the source; ``None`` for all.
        nulls_distinct: whether rows with a NULL are no concern of it.
        deferrable: whether it can be checked at the end of a transaction.
        method: the index method of an exclusion constraint; empty for all others.
        operators: that rows must not all fulfil, one for each part of an exclusion constraint.
    """

    name: str
    columns: tuple[str, ...]
    primary: bool
    scope: Scope
    key_table: str | None
    parts: tuple[IndexPart, ...]
    where: str | None = None
    nulls_distinct: bool = True
    deferrable: bool = False
    method: str = ""
    operators: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it says that the values of some columns stand in one row at most."""
        return self.where is None and not self.operators and len(self.columns) == len(self.parts)


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
        objects: the name in the target of each type and sequence that columns use, by its schema
            and its name in the source.
        indexes: the name in the target of each index, and of each constraint that has one, where it
            cannot keep its own: by the table's key and its name.
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
    objects: Mapping[tuple[str | None, str], str]
    indexes: Mapping[tuple[str, str], str]
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

    def object_name(self, schema: str | None, name: str) -> str:
        """Return what a type, a sequence or another object of the source is called in the target.

        Those of the default schema keep their names; the others have their schema in front.
        """
        schema = None if schema == self.default_schema else schema
        found = self.objects.get((schema, name))
        return found or (name if schema is None else shorten(f"{schema}_{name}"))

    def index_name(self, key: str, name: str) -> str:
        """Return what an index of a table, or a constraint that has one, is called in the target.

        Args:
            key: of the table.
            name: in the source.
        """
        return self.indexes.get((key, name), name)


def decide(
    metadata: MetaData,
    topology: Topology,
    placement: Placement,
    *,
    default_schema: str | None = None,
    unique: Mapping[str, str] | None = None,
    as_string: Iterable[str] = (),
    taken: Iterable[str] = (),
) -> Layout:
    """Decide what both layouts share.

    Args:
        metadata: the logical, single-region schema.
        topology: the regions.
        placement: of every table of ``metadata``.
        default_schema: the schema that table keys leave out.
        unique: ``"<table>.<constraint>"`` to ``"global"`` or ``"region"``, the operator's choices.
        as_string: ``"<table>.<column>"`` of each column that travels as text.
        taken: names of what else there is in the default schema: views, sequences, types.

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
        (
            *taken,
            *(name for table in tables.values() for name in _relation_names(table, default_schema)),
        )
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
    objects = _objects(tables, default_schema, relations)
    taken = {region_list, link, *names.values(), *objects.values()}
    for one in regional.values():
        taken.update(one.parts.values())
        taken.update(unique.key_table for unique in one.uniques if unique.key_table)
    references: dict[ForeignKey, str] = {}
    for key in (*regional, *shared):
        references.update(reference_columns(tables[key], placement[key], region_column))
    return Layout(
        metadata=metadata,
        topology=topology,
        placement=placement,
        default_schema=default_schema,
        names=names,
        objects=objects,
        indexes=_index_names(tables, default_schema, relations, taken),
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


def _objects(
    tables: Mapping[str, Table], default_schema: str | None, relations: NamePool
) -> dict[tuple[str | None, str], str]:
    """Return the names in the target of the types and sequences of all columns."""
    found = {
        (None if schema == default_schema else schema, name)
        for table in tables.values()
        for column in table.columns
        for schema, name in (*user_types(column.type), *sequences(column))
    }
    return {
        (schema, name): name if schema is None else relations.claim(f"{schema}_{name}")
        for schema, name in sorted(found, key=lambda one: (one[0] or "", one[1]))
    }


def _index_names(
    tables: Mapping[str, Table],
    default_schema: str | None,
    relations: NamePool,
    taken: set[str],
) -> dict[tuple[str, str], str]:
    """Return the names of indexes that another relation of the target has: only those."""
    renamed = {}
    for key, table in sorted(
        tables.items(), key=lambda item: (item[1].schema not in (None, default_schema), item[0])
    ):
        constraints = [
            one
            for one in table.constraints
            if isinstance(one, PrimaryKeyConstraint | UniqueConstraint | ExcludeConstraint)
        ]
        for name in sorted(
            one.name for one in (*constraints, *table.indexes) if isinstance(one.name, str)
        ):
            if name in taken:
                renamed[key, name] = relations.claim(f"{table.schema}_{name}")
            else:
                taken.add(name)
    return renamed


#: A sequence in a default, as a model or PostgreSQL writes it.
NEXTVAL = re.compile(r"nextval\(\s*'(?P<name>(?:[^']|'')+)'(?:::(?:text::)?regclass)?\s*\)", re.I)
_DOTTED = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^".]+))(?:\.|$)')


def sequence(dotted: str, column: Column[Any]) -> tuple[str | None, str]:
    """Return schema and name of a sequence as a default of a column writes it.

    Where no schema is written it is the table's.
    """
    parts = [
        found["plain"] or found["quoted"].replace('""', '"')
        for found in _DOTTED.finditer(dotted.replace("''", "'"))
    ]
    table = column.table
    schema = table.schema if isinstance(table, Table) else None
    return (parts[-2] if len(parts) > 1 else schema), parts[-1]


def sequences(column: Column[Any]) -> Iterator[tuple[str | None, str]]:
    """Yield schema and name of each sequence that a column draws from."""
    argument = getattr(column.server_default, "arg", None)
    if argument is not None:
        for found in NEXTVAL.finditer(sql_text(argument)):
            yield sequence(found["name"], column)
    elif (
        isinstance(column.table, Table)
        and column.table.autoincrement_column is column
        and column.identity is None
        and column.server_default is None
    ):
        yield column.table.schema, serial_sequence(column)


def serial_sequence(column: Column[Any]) -> str:
    """Return the name of the sequence that PostgreSQL makes for a serial column."""
    return shorten(f"{column.table.name}_{column.name}_seq")


def _relation_names(table: Table, default_schema: str | None) -> Iterable[str]:
    """Yield the names that a table takes in the target: its indexes', its types', its own."""
    if table.schema in (None, default_schema):
        yield table.name
    for column in table.columns:
        # A table makes a type of its own name.
        for schema, name in (*user_types(column.type), *sequences(column)):
            if schema in (None, default_schema):
                yield name
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
    known: list[tuple[str, ...]] = list(certain)
    for unique in sorted(declared(table), key=lambda one: (not one.primary, one.name)):
        choice = choices.pop(f"{key}.{unique.name}", None)
        columns, key_table = unique.columns, None
        # Whoever has some columns to themselves has those and more to themselves. Where NULLs clash
        # this says nothing of rows in which one of the some is NULL.
        sure = [
            some
            for some in known
            if unique.nulls_distinct
            or some in certain
            or not any(table.columns[column].nullable for column in some)
        ]
        if choice == "region":
            scope = Scope.region
        elif any(set(some) <= set(columns) for some in sure):
            scope = Scope.implied
        elif unique.plain and len(columns) == 1 and is_generated(table.columns[columns[0]]):
            scope = Scope.generated
            known.append(columns)
        else:
            scope = Scope.key_table
            stem = f"{base}_{'_'.join(columns)}" if unique.plain else unique.name
            key_table = relations.claim(f"{stem}_key", f"{stem}_regionkit_key")
            if unique.plain:
                known.append(columns)
        yield replace(unique, scope=scope, key_table=key_table)


def declared(table: Table) -> Iterator[Unique]:
    """Yield what keeps the rows of a table apart; what becomes of it is not decided yet."""
    for constraint, columns, fallback in _constraints(table):
        if columns:
            yield Unique(
                name=constraint.name if isinstance(constraint.name, str) else shorten(fallback),
                columns=columns,
                primary=constraint is table.primary_key,
                scope=Scope.region,
                key_table=None,
                parts=tuple(IndexPart(column, quoted(column)) for column in columns),
                nulls_distinct=not _nulls_not_distinct(constraint),
                deferrable=bool(constraint.deferrable),
            )
    for index in table.indexes:
        if index.unique:
            parts = index_parts(index)
            yield Unique(
                name=str(index.name),
                columns=_plain_columns(parts),
                primary=False,
                scope=Scope.region,
                key_table=None,
                parts=parts,
                where=predicate(index),
                nulls_distinct=not _nulls_not_distinct(index),
            )
    for other in table.constraints:
        if isinstance(other, ExcludeConstraint):
            yield exclusion(table, other)


def exclusion(table: Table, constraint: ExcludeConstraint) -> Unique:
    """Take an exclusion constraint apart; what becomes of it is not decided yet.

    Its ``columns`` are those that are compared for equality: rows of different clients are no
    concern of it where the client's key is among them.
    """
    names = frozenset(table.columns.keys())
    elements = constraint._render_exprs
    parts = tuple(
        replace(part, operators=constraint.ops[key])
        if (key := getattr(expression, "key", None)) in constraint.ops
        else part
        for expression, _, _ in elements
        for part in [index_part(expression, names)]
    )
    operators = tuple(str(operator) for _, _, operator in elements)
    equal = tuple(part for part, operator in zip(parts, operators, strict=True) if operator == "=")
    return Unique(
        name=str(constraint.name or shorten(f"{table.name}_excl")),
        columns=_plain_columns(equal),
        primary=False,
        scope=Scope.region,
        key_table=None,
        parts=parts,
        where=None if constraint.where is None else sql_text(constraint.where),
        deferrable=bool(constraint.deferrable),
        method=str(constraint.using or "gist").lower(),
        operators=operators,
    )


def _plain_columns(parts: Iterable[IndexPart]) -> tuple[str, ...]:
    return tuple(part.column for part in parts if part.column is not None)


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
