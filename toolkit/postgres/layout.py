"""The layout ``tables``: a table per region under a common parent, and a link. Pure.

:func:`regionalize` is public: whoever has SQLAlchemy models gets back a ``MetaData`` that
``create_all`` turns into the whole layout, partitions and key tables included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    Connection,
    Enum,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Interval,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    event,
    literal_column,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ClauseElement, Label
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlalchemy.util import OrderedSet

from toolkit.errors import Refused, sampled
from toolkit.layout import Layout, RegionalTable, Scope, decide
from toolkit.names import NamePool, shorten
from toolkit.placement import ForeignKey, Placement, Role
from toolkit.postgres import ddl
from toolkit.topology import Topology
from toolkit.types import PostgresNamed, postgres_type

#: The key of ``Table.info`` under which the layout says what a table is.
INFO = "regionkit"

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]

#: MaxHeapAttributeNumber of PostgreSQL.
_MOST_COLUMNS = 1600

#: A sequence in a default, as a model or PostgreSQL writes it.
_NEXTVAL = re.compile(r"nextval\(\s*'(?P<name>(?:[^']|'')+)'(?:::regclass)?\s*\)", re.I)
#: The name at the end of a dotted one.
_LAST_NAME = re.compile(r'(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[^".]+))$')


class Part(StrEnum):
    """What a table of the layout is."""

    regional = "regional table"
    shared = "global table"
    link = "link"
    region_list = "list of regions"
    key_table = "key table"


@dataclass(frozen=True)
class TableInfo:
    """What the layout says of one of its tables, kept in ``Table.info["regionkit"]``.

    Attributes:
        part: what it is.
        leaves: for a regional table, the partition of each region.
        keeps: for a key table, the regional table whose columns it keeps unique.
        codes: for the list of regions, its rows.
    """

    part: Part
    leaves: Mapping[str, str] = field(default_factory=dict)
    keeps: str | None = None
    codes: tuple[str, ...] = ()


def info(table: Table) -> TableInfo:
    """Return what the layout says of a table that :func:`build` made."""
    found: TableInfo = table.info[INFO]
    return found


def regionalize(
    metadata: MetaData,
    topology: Topology,
    placement: Placement,
    *,
    schema: str | None = None,
    default_schema: str | None = None,
    unique: Mapping[str, str] | None = None,
) -> MetaData:
    """Return the layout ``tables`` of a logical, single-region schema.

    Args:
        metadata: the logical schema; it is not changed.
        topology: the regions.
        placement: of every table, see ``toolkit.placement.infer``.
        schema: the PostgreSQL schema of the result; default ``<default_schema>_regional``.
        default_schema: the schema that table keys leave out.
        unique: ``"<table>.<constraint>"`` to ``"global"`` or ``"region"``.

    Raises:
        Refused: a table is undecided, or something cannot be carried; it is named.
        UsageError: ``unique`` names a constraint that does not exist.
    """
    layout = decide(metadata, topology, placement, default_schema=default_schema, unique=unique)
    return build(layout, schema or f"{default_schema or 'public'}_regional")


def build(layout: Layout, schema: str) -> MetaData:
    """Spell the decisions of a layout out as tables of PostgreSQL schema ``schema``."""
    return _Builder(layout, schema).build()


class _Builder:
    """Builds one ``MetaData``; holds what the tables of one layout share."""

    def __init__(self, layout: Layout, schema: str) -> None:
        self.layout = layout
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        self.region = layout.region_column
        self.enums: dict[str, postgresql.ENUM] = {}
        # Constraint names are unique per table and index names per schema: one pool is simpler,
        # and names that come from the source are never given out.
        self.names = NamePool((*_source_names(layout), *_relations(layout)))

    def build(self) -> MetaData:
        self._refuse_dots()
        for key, table in self.layout.shared.items():
            self._shared_table(key, table)
        self._region_list()
        self._link()
        for regional in self.layout.regional.values():
            self._regional_table(regional)
        for key, table in self.layout.shared.items():
            self._foreign_keys(key, table)
        for key, regional in self.layout.regional.items():
            self._foreign_keys(key, regional.table)
        for key in (*self.layout.regional, *self.layout.shared):
            self._cascade_indexes(key)
        for table in self.metadata.tables.values():
            # PostgreSQL numbers the names of a leaf's indexes in the order in which they are made.
            table.indexes = OrderedSet(_in_order(table.indexes))
        _create_what_metadata_cannot_hold(self.metadata)
        return self.metadata

    def _refuse_dots(self) -> None:
        """Refuse what Alembic takes apart: its foreign keys name their target in one string."""
        dotted = [f"schema {self.schema!r}"] if "." in self.schema else []
        dotted += [f"table {name!r}" for name in self.layout.names.values() if "." in name]
        referenced = {
            (reference.target, column)
            for placed in self.layout.placement.tables.values()
            for reference in placed.roles
            for column in reference.target_columns
        }
        dotted += [
            f"column {column!r} of {key!r}" for key, column in sorted(referenced) if "." in column
        ]
        if dotted:
            raise Refused(
                f"{len(dotted)} name(s) that foreign keys lead to hold a dot",
                details=sampled(dotted),
                hint="rename them in the source; a schema can also be named anew in "
                "[target.postgres]",
            )

    def _target(self, key: str) -> Table:
        return self.metadata.tables[f"{self.schema}.{self.layout.name(key)}"]

    def _shared_table(self, key: str, table: Table) -> None:
        target = Table(
            self.layout.name(key),
            self.metadata,
            *(self._column(column) for column in table.columns),
            *self._reference_columns(key, table),
            comment=table.comment,
            info={INFO: TableInfo(Part.shared)},
        )
        self._primary_key(table, target, ())
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                self._unique_constraint(constraint, target, ())
            elif isinstance(constraint, postgresql.ExcludeConstraint):
                target.append_constraint(_copied(constraint, target))
        self._checks(table, target)
        for index in _in_order(table.indexes):
            self._index(index, target, ())

    def _region_list(self) -> None:
        name = self.layout.region_list
        Table(
            name,
            self.metadata,
            Column("code", Text, nullable=False),
            PrimaryKeyConstraint("code", name=self.names.claim(f"{name}_pkey")),
            comment="The regions. Kept by regionkit.",
            info={INFO: TableInfo(Part.region_list, codes=self.layout.topology.codes)},
        )

    def _link(self) -> None:
        layout, name = self.layout, self.layout.link
        root = layout.root.table
        link_columns = list(layout.link_columns.values())
        Table(
            name,
            self.metadata,
            *(
                Column(
                    link_column,
                    self._type(root.columns[column].type),
                    nullable=False,
                    autoincrement=False,
                )
                for column, link_column in layout.link_columns.items()
            ),
            Column(self.region, Text, nullable=False),
            PrimaryKeyConstraint(*link_columns, name=self.names.claim(f"{name}_pkey")),
            UniqueConstraint(
                *link_columns, self.region, name=self.names.claim(f"{name}_{self.region}_key")
            ),
            ForeignKeyConstraint(
                [self.region],
                [f"{self.schema}.{layout.region_list}.code"],
                name=self.names.claim(f"{name}_{self.region}_fkey"),
            ),
            comment="One row per client, one region per client. To move a client, update it.",
            info={INFO: TableInfo(Part.link)},
        )

    def _regional_table(self, regional: RegionalTable) -> None:
        table = regional.table
        columns = [self._column(column) for column in table.columns]
        columns.append(Column(self.region, Text, nullable=False))
        columns.extend(self._reference_columns(regional.key, table))
        if len(columns) > _MOST_COLUMNS:
            raise Refused(
                f"{regional.key!r} would have {len(columns)} columns, and PostgreSQL allows "
                f"{_MOST_COLUMNS}",
                hint="move some of its columns to another table, one to one",
            )
        target = Table(
            self.layout.name(regional.key),
            self.metadata,
            *columns,
            comment=table.comment,
            postgresql_partition_by=f"LIST ({ddl.quote(self.region)})",
            info={INFO: TableInfo(Part.regional, leaves=dict(regional.parts))},
        )
        self._primary_key(table, target, (self.region,))
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                self._unique_constraint(constraint, target, (self.region,))
            elif isinstance(constraint, postgresql.ExcludeConstraint):
                raise Refused(
                    f"exclusion constraint {constraint.name!r} of {regional.key!r} does not "
                    "contain the region",
                    hint="drop it from the model, and check it with an [[invariant]] instead",
                )
        self._checks(table, target)
        for index in _in_order(table.indexes):
            self._index(index, target, (self.region,) if index.unique else ())
        for unique in regional.uniques:
            if unique.scope is Scope.key_table:
                assert unique.key_table is not None
                self._key_table(regional, unique.key_table, unique.columns)

    def _key_table(self, regional: RegionalTable, name: str, columns: tuple[str, ...]) -> None:
        keeps = self.layout.name(regional.key)
        Table(
            name,
            self.metadata,
            *(
                Column(
                    column,
                    self._type(regional.table.columns[column].type),
                    nullable=False,
                    autoincrement=False,
                )
                for column in columns
            ),
            PrimaryKeyConstraint(*columns, name=self.names.claim(f"{name}_pkey")),
            comment=f"Keeps {keeps} ({', '.join(columns)}) unique over all regions.",
            info={INFO: TableInfo(Part.key_table, keeps=keeps)},
        )

    def _reference_columns(self, key: str, table: Table) -> Iterable[Column[Any]]:
        for reference in self.layout.placement[key].foreign_references:
            nullable = any(table.columns[column].nullable for column in reference.columns)
            yield Column(self.layout.reference_columns[reference], Text, nullable=nullable)

    # Columns and types ---------------------------------------------------------------------

    def _column(self, column: Column[Any]) -> Column[Any]:
        arguments: list[Any] = []
        default = None
        if column.identity is not None:
            always = column.identity.always and not self._written_by_moves(column)
            arguments.append(_identity(column.identity, always=always))
        elif isinstance(column.server_default, Computed):
            arguments.append(
                Computed(
                    ddl.escape_binds(self._in_target(_text(column.server_default.sqltext))),
                    persisted=column.server_default.persisted,
                )
            )
        else:
            default = self._default(column)
        return Column(
            column.name,
            self._type(column.type),
            *arguments,
            nullable=column.nullable,
            server_default=default,
            autoincrement=False if _looks_serial(column) else "auto",
            comment=column.comment,
        )

    def _written_by_moves(self, column: Column[Any]) -> bool:
        """Return whether a cascade sets the column, if only to the value that it has.

        PostgreSQL refuses that for GENERATED ALWAYS, which therefore becomes BY DEFAULT.
        """
        key = self.layout.key_of(column.table)
        if key == self.layout.placement.root and column.primary_key:
            return True
        return any(
            column.name in reference.columns and role is not Role.plain
            for reference, role in self.layout.placement[key].roles.items()
        )

    def _default(self, column: Column[Any]) -> Any:
        table = column.table
        argument = getattr(column.server_default, "arg", None)
        default = None if argument is None else _default_text(argument)
        serial = isinstance(table, Table) and table.autoincrement_column is column
        if default is None and not serial:
            return None
        if default is None:
            default = f"nextval('{shorten(f'{table.name}_{column.name}_seq')}')"
        default = _NEXTVAL.sub(lambda found: self._sequence(found["name"], column), default)
        return text(ddl.escape_binds(self._in_target(default)))

    def _sequence(self, name: str, column: Column[Any]) -> str:
        """Return the call that draws from the target's sequence, which it adds to the layout."""
        last = _LAST_NAME.search(name.replace("''", "'"))
        assert last is not None
        name = (last["quoted"] or last["plain"]).replace('""', '"')
        sequence = Sequence(name, schema=self.schema, metadata=self.metadata)
        sequence.info["owned_by"] = (
            self.layout.name(self.layout.key_of(column.table)),
            column.name,
        )
        return f"nextval({ddl.literal(ddl.quote(self.schema, name))}::regclass)"

    def _in_target(self, sql: str) -> str:
        """Return an expression whose casts name the target's types instead of the source's."""
        if self.layout.default_schema is None:
            return sql
        source = self.layout.default_schema
        spellings = "|".join(map(re.escape, (source, ddl.quote(source))))
        return re.sub(rf"::(?:{spellings})\.", lambda _: f"::{ddl.quote(self.schema)}.", sql)

    def _type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
            return self._type(type_.load_dialect_impl(_DIALECT))
        if isinstance(type_, postgresql.DOMAIN):
            raise Refused(
                f"domain {type_.name!r} is not carried yet",
                hint="replace it in the model by its base type and a named CHECK",
            )
        if isinstance(type_, postgresql.ARRAY) and isinstance(type_.item_type, Enum):
            return postgresql.ARRAY(self._type(type_.item_type), dimensions=type_.dimensions)
        if isinstance(type_, Enum) and type_.native_enum:
            return self._enum(type_)
        if type(type_).__module__.partition(".")[0] not in ("sqlalchemy", "toolkit"):
            # A revision could not import a class of the operator's own.
            return PostgresNamed(type_.compile(dialect=_DIALECT))
        return type_

    def _enum(self, type_: Enum) -> TypeEngine[Any]:
        name, labels = str(type_.name), list(type_.enums)
        found = self.enums.get(name)
        if found is None:
            found = postgresql.ENUM(*labels, name=name, schema=self.schema, metadata=self.metadata)
            self.enums[name] = found
        elif found.enums != labels:
            raise Refused(
                f"two enum types are called {name!r}: {', '.join(found.enums)}; "
                f"and {', '.join(labels)}",
                hint="give one of them another name in the source and in the model",
            )
        return found

    # Constraints and indexes ---------------------------------------------------------------

    def _primary_key(self, table: Table, target: Table, more: tuple[str, ...]) -> None:
        columns = [column.name for column in table.primary_key.columns]
        if not columns:
            return
        computed = [
            name for name in columns if isinstance(table.columns[name].server_default, Computed)
        ]
        if computed and more:
            raise Refused(
                f"generated column {computed[0]!r} is part of the key of {table.name!r}",
                hint="make it an ordinary column in the model",
            )
        name = _given(table.primary_key.name) or self.names.claim(f"{table.name}_pkey")
        target.append_constraint(PrimaryKeyConstraint(*columns, *more, name=name))

    def _unique_constraint(
        self, constraint: UniqueConstraint, target: Table, more: tuple[str, ...]
    ) -> None:
        columns = [column.name for column in constraint.columns]
        name = _given(constraint.name) or self.names.claim(f"{target.name}_{'_'.join(columns)}_key")
        target.append_constraint(
            UniqueConstraint(
                *columns,
                *more,
                name=name,
                deferrable=constraint.deferrable,
                initially=constraint.initially,
                **self._options(constraint.dialect_kwargs),
            )
        )

    def _checks(self, table: Table, target: Table) -> None:
        checks = [
            constraint
            for constraint in table.constraints
            # A constraint that belongs to a type is made again with the type.
            if isinstance(constraint, CheckConstraint) and not constraint._type_bound
        ]
        for check in sorted(checks, key=lambda check: (str(check.name), _text(check.sqltext))):
            name = _given(check.name) or self.names.claim(f"{target.name}_check")
            target.append_constraint(
                CheckConstraint(ddl.escape_binds(self._in_target(_text(check.sqltext))), name=name)
            )

    def _index(self, index: Index, target: Table, more: tuple[str, ...]) -> None:
        parts: list[Any] = [self._index_part(part, target) for part in index.expressions]
        parts.extend(target.columns[name] for name in more)
        name = _given(index.name) or self.names.claim(f"{target.name}_idx")
        target.append_constraint(
            Index(
                name,
                *parts,
                unique=index.unique,
                **self._options(index.dialect_kwargs),
            )
        )

    def _options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the PostgreSQL options of a constraint or index, for the target's table."""
        carried: dict[str, Any] = {}
        for name, value in options.items():
            # The tables are empty when the indexes are made, and a parent allows no CONCURRENTLY.
            if not name.startswith("postgresql_") or name == "postgresql_concurrently":
                continue
            if name == "postgresql_where" and value is not None:
                clause = _text(value)
                carried[name] = text(ddl.escape_binds(self._in_target(clause)))
            elif value and name == "postgresql_include":
                carried[name] = [getattr(column, "name", column) for column in value]
            elif value:
                carried[name] = value
        return carried

    def _index_part(self, part: Any, target: Table) -> Any:
        if isinstance(part, Column):
            return target.columns[part.name]
        # In parentheses where SQLAlchemy would put them.
        sql = self._in_target(_text(part.self_group()))
        if isinstance(part, Label):
            # The label stands for the part in postgresql_ops.
            return literal_column(sql).label(part.name)
        return text(ddl.escape_binds(sql))

    # Foreign keys --------------------------------------------------------------------------

    def _foreign_keys(self, key: str, table: Table) -> None:
        target = self._target(key)
        placed = self.layout.placement[key]
        if key == self.layout.placement.root:
            self._key_to_link(target)
        for reference, role in placed.roles.items():
            constraint = _constraint(table, reference)
            name = reference.name or self.names.claim(
                f"{table.name}_{'_'.join(reference.columns)}_fkey"
            )
            if role is Role.plain:
                assert constraint is not None
                self._plain_key(name, reference, constraint, target)
                continue
            if role is Role.foreign_reference:
                region = self.layout.reference_columns[reference]
                whole = (*reference.columns, region)
            else:
                region = self.region
                # The row's own region is never nulled: only its reference is.
                whole = reference.columns
            target.append_constraint(
                ForeignKeyConstraint(
                    [*reference.columns, region],
                    [
                        self._target(reference.target).columns[column]
                        for column in (*reference.target_columns, self.region)
                    ],
                    name=name,
                    onupdate="CASCADE",
                    ondelete=_on_delete(reference, constraint, whole),
                    deferrable=True,
                    initially=(constraint.initially if constraint is not None else None)
                    or "IMMEDIATE",
                    match=self._match(table, reference, role, constraint),
                )
            )

    def _key_to_link(self, target: Table) -> None:
        layout = self.layout
        link = self.metadata.tables[f"{self.schema}.{layout.link}"]
        target.append_constraint(
            ForeignKeyConstraint(
                [*layout.link_columns, self.region],
                [
                    *(link.columns[name] for name in layout.link_columns.values()),
                    link.columns[self.region],
                ],
                name=self.names.claim(f"{target.name}_{layout.link}_fkey", f"{layout.link}_fkey"),
                onupdate="CASCADE",
                deferrable=True,
                initially="IMMEDIATE",
            )
        )

    def _plain_key(
        self,
        name: str,
        reference: ForeignKey,
        constraint: ForeignKeyConstraint,
        target: Table,
    ) -> None:
        referred = self._target(reference.target)
        target.append_constraint(
            ForeignKeyConstraint(
                list(reference.columns),
                [referred.columns[column] for column in reference.target_columns],
                name=name,
                onupdate=constraint.onupdate,
                ondelete=constraint.ondelete,
                deferrable=constraint.deferrable,
                initially=constraint.initially,
                match=constraint.match,
            )
        )

    def _match(
        self,
        table: Table,
        reference: ForeignKey,
        role: Role,
        constraint: ForeignKeyConstraint | None,
    ) -> str | None:
        """Return ``FULL`` where a NULL region must not switch the check off.

        With ``MATCH SIMPLE``, ``(99999, NULL)`` would pass unchecked. A composite key of which
        only some columns may be NULL cannot be ``FULL``, because the source allows partly NULL
        references; such a reference is refused below rather than weakened.
        """
        if role is not Role.foreign_reference:
            return constraint.match if constraint is not None else None
        nullable = {bool(table.columns[column].nullable) for column in reference.columns}
        if len(reference.columns) > 1 and nullable == {True, False}:
            raise Refused(
                f"foreign reference {reference} has columns of which only some may be NULL",
                hint="state that it stays within the client: same_region in [placement."
                f"{reference.table}], or make its columns all nullable or all NOT NULL",
            )
        return "FULL"

    def _cascade_indexes(self, key: str) -> None:
        """Index the referencing side of every key that cascades: a move looks rows up by it."""
        target = self._target(key)
        for reference, role in self.layout.placement[key].roles.items():
            if role is Role.plain:
                continue
            wanted = set(reference.columns)
            leading = [
                {column.name for column in list(columns)[: len(wanted)]}
                for columns in _indexed_columns(target)
            ]
            if wanted in leading:
                continue
            columns = [target.columns[column] for column in reference.columns]
            name = self.names.claim(f"{target.name}_{'_'.join(reference.columns)}_idx")
            target.append_constraint(Index(name, *columns))


def _copied(constraint: Any, target: Table) -> Any:
    return constraint._copy(target_table=target)


def _in_order(indexes: Iterable[Index]) -> list[Index]:
    """Return a table's indexes in an order that does not change between two runs."""
    return sorted(
        indexes, key=lambda index: (str(index.name), [_text(part) for part in index.expressions])
    )


def _relations(layout: Layout) -> Iterable[str]:
    """Yield the names of the layout's relations and types, which share one namespace."""
    yield from (layout.region_list, layout.link)
    for key in (*layout.regional, *layout.shared):
        table = layout.table(key)
        yield layout.name(key)
        yield from (postgres_type(column.type).name for column in table.columns)
    for regional in layout.regional.values():
        yield from regional.parts.values()
        yield from (unique.key_table for unique in regional.uniques if unique.key_table)


def _source_names(layout: Layout) -> Iterable[str]:
    for table in layout.metadata.tables.values():
        for item in (*table.constraints, *table.indexes):
            name = getattr(item, "name", None)
            if isinstance(name, str):
                yield name


def _indexed_columns(table: Table) -> Iterable[Iterable[Column[Any]]]:
    yield table.primary_key.columns
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield constraint.columns
    for index in table.indexes:
        options = index.dialect_options["postgresql"]
        if (
            options.get("where") is None
            and (options.get("using") or "btree") in ("btree", "hash")
            and all(isinstance(part, Column) for part in index.expressions)
        ):
            yield index.columns


def _looks_serial(column: Column[Any]) -> bool:
    """Return whether SQLAlchemy would give a key column a sequence that the source has not."""
    return column.primary_key and column.identity is None and isinstance(column.type, Integer)


def _given(name: object) -> str | None:
    return str(name) if isinstance(name, str) else None


def _text(clause: ClauseElement | str) -> str:
    """Return SQL text without table names and without bound parameters."""
    if isinstance(clause, str):
        return clause
    return str(
        clause.compile(
            dialect=_DIALECT, compile_kwargs={"literal_binds": True, "include_table": False}
        )
    )


def _default_text(argument: Any) -> str:
    return ddl.literal(argument) if isinstance(argument, str) else _text(argument)


def _identity(source: Identity, *, always: bool | None) -> Identity:
    return Identity(
        always=always,
        on_null=source.on_null,
        start=source.start,
        increment=source.increment,
        minvalue=source.minvalue,
        maxvalue=source.maxvalue,
        cycle=source.cycle,
        cache=source.cache,
    )


def _constraint(table: Table, reference: ForeignKey) -> ForeignKeyConstraint | None:
    """Return the declared constraint of a reference, ``None`` if only the operator states it."""
    for constraint in table.foreign_key_constraints:
        if (
            tuple(constraint.column_keys) == reference.columns
            and tuple(element.column.name for element in constraint.elements)
            == reference.target_columns
            and constraint.name in (reference.name, None)
        ):
            return constraint
    return None


def _on_delete(
    reference: ForeignKey, constraint: ForeignKeyConstraint | None, columns: tuple[str, ...]
) -> str | None:
    action = (constraint.ondelete or "") if constraint is not None else ""
    if action.upper().startswith("SET DEFAULT"):
        raise Refused(
            f"{reference} is ON DELETE SET DEFAULT: the default row may live in another region",
            hint="make it ON DELETE SET NULL or NO ACTION in the model",
        )
    if listed := re.fullmatch(r"SET NULL\s*\((.+)\)", action, re.I):
        named = {part.strip().strip('"') for part in listed[1].split(",")}
        if named != set(reference.columns):
            if len(columns) > len(reference.columns):
                raise Refused(
                    f"{reference} is ON DELETE {action}, which would leave a partly NULL "
                    "reference to a row that may live in another region",
                    hint="let it null all of its columns in the model, or state that it stays "
                    f"within the client: same_region in [placement.{reference.table}]",
                )
            return f"SET NULL ({ddl.columns([c for c in reference.columns if c in named])})"
    if action.upper().startswith("SET NULL"):
        return f"SET NULL ({ddl.columns(columns)})"
    return action.upper() or None


def _create_what_metadata_cannot_hold(metadata: MetaData) -> None:
    """Let ``create_all`` create partitions, the rows of the list of regions, and key triggers."""

    def partitions(target: Table, connection: Connection, **_: Any) -> None:
        for region, leaf in info(target).leaves.items():
            connection.execute(
                ddl.verbatim(ddl.create_partition(str(target.schema), target.name, leaf, region))
            )

    def regions(target: Table, connection: Connection, **_: Any) -> None:
        connection.execute(
            ddl.verbatim(ddl.insert_regions(str(target.schema), target.name, info(target).codes))
        )

    def key_triggers(target: MetaData, connection: Connection, **_: Any) -> None:
        for table in key_tables(target):
            for statement in key_table_statements(table):
                connection.execute(ddl.verbatim(statement))

    for table in metadata.tables.values():
        if info(table).part is Part.regional:
            event.listen(table, "after_create", partitions)
        elif info(table).part is Part.region_list:
            event.listen(table, "after_create", regions)
    event.listen(metadata, "after_create", key_triggers)


def key_tables(metadata: MetaData) -> list[Table]:
    """Return the key tables of a layout, by name."""
    return sorted(
        (table for table in metadata.tables.values() if info(table).part is Part.key_table),
        key=lambda table: table.name,
    )


def key_table_statements(table: Table) -> tuple[str, str]:
    """Return the statements that create a key table's function and its trigger."""
    keeps = info(table).keeps
    assert keeps is not None
    columns = [column.name for column in table.columns]
    schema = str(table.schema)
    function, create_function = ddl.create_key_function(schema, table.name, columns)
    return create_function, ddl.create_key_trigger(schema, keeps, table.name, columns, function)
