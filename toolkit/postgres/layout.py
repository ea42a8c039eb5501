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
from sqlalchemy.sql.elements import Label
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlalchemy.util import OrderedSet

from toolkit import sqltext
from toolkit.errors import Refused
from toolkit.expressions import sql_text
from toolkit.layout import (
    NEXTVAL,
    Layout,
    RegionalTable,
    Scope,
    Unique,
    decide,
    exclusion,
    sequence,
    serial_sequence,
)
from toolkit.names import NamePool
from toolkit.placement import ForeignKey, Placement, Role
from toolkit.postgres import ddl, foreignkeys
from toolkit.postgres.keytables import KeyTable
from toolkit.postgres.renaming import renames
from toolkit.sqltext import Renames
from toolkit.topology import Topology
from toolkit.types import Composite, CustomRange, PostgresNamed

#: The key of ``Table.info`` under which the layout says what a table is.
INFO = "regionkit"

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]

_NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
#: MaxHeapAttributeNumber of PostgreSQL.
_MOST_COLUMNS = 1600


class Part(StrEnum):
    """What a table of the layout is."""

    regional = "regional table"
    shared = "global table"
    link = "link"
    region_list = "list of regions"


@dataclass(frozen=True)
class TableInfo:
    """What the layout says of one of its tables, kept in ``Table.info["regionkit"]``.

    Attributes:
        part: what it is.
        leaves: for a regional table, the partition of each region.
        storage: for a regional table, the storage parameters of its partitions.
        unlogged: for a regional table, whether its partitions are.
        codes: for the list of regions, its rows.
    """

    part: Part
    leaves: Mapping[str, str] = field(default_factory=dict)
    storage: str = ""
    unlogged: bool = False
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Beside:
    """What a layout has beside its tables, kept in ``MetaData.info["regionkit"]``.

    Attributes:
        key_tables: by name.
        domains: those that the model itself makes: from the name to what follows it.
    """

    key_tables: tuple[KeyTable, ...]
    domains: Mapping[str, str]


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


def build(layout: Layout, schema: str, named: Renames | None = None) -> MetaData:
    """Spell the decisions of a layout out as tables of PostgreSQL schema ``schema``.

    Args:
        layout: the decisions.
        schema: of the result.
        named: what becomes of the names in expressions; default: what the layout alone knows, that
            is all but functions.
    """
    return _Builder(layout, schema, named or renames(layout, schema)).build()


class _Builder:
    """Builds one ``MetaData``; holds what the tables of one layout share."""

    def __init__(self, layout: Layout, schema: str, named: Renames) -> None:
        self.layout = layout
        self.named = named
        self.schema = schema
        self.metadata = MetaData(schema=schema)
        self.region = layout.region_column
        self.enums: dict[str, postgresql.ENUM] = {}
        self.domains: dict[str, str] = {}
        self.key_tables: list[KeyTable] = []
        # Constraint names are unique per table and index names per schema: one pool is simpler,
        # and names that come from the source are never given out.
        self.names = NamePool((*_source_names(layout), *_relations(layout)))

    def build(self) -> MetaData:
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
        key_tables = sorted(self.key_tables, key=lambda one: one.name)
        self.metadata.info[INFO] = Beside(tuple(key_tables), dict(sorted(self.domains.items())))
        _create_what_metadata_cannot_hold(self.metadata)
        return self.metadata

    def _target(self, key: str) -> Table:
        return self.metadata.tables[f"{self.schema}.{self.layout.name(key)}"]

    def _shared_table(self, key: str, table: Table) -> None:
        target = Table(
            self.layout.name(key),
            self.metadata,
            *(self._column(column) for column in table.columns),
            *self._reference_columns(key, table),
            comment=table.comment,
            prefixes=list(table._prefixes),
            postgresql_with=table.dialect_options["postgresql"].get("with"),
            info={INFO: TableInfo(Part.shared)},
        )
        self._primary_key(table, target, ())
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                self._unique_constraint(table, constraint, target, ())
            elif isinstance(constraint, postgresql.ExcludeConstraint):
                self._exclusion(table, constraint, target, ())
        self._checks(table, target)
        for index in _in_order(table.indexes):
            self._index(table, index, target, ())

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
                [self.metadata.tables[f"{self.schema}.{layout.region_list}"].columns["code"]],
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
        # A partitioned table has no storage of its own.
        storage = table.dialect_options["postgresql"].get("with") or {}
        said = TableInfo(
            Part.regional,
            leaves=dict(regional.parts),
            storage=", ".join(f"{name} = {value}" for name, value in storage.items()),
            unlogged="UNLOGGED" in table._prefixes,
        )
        target = Table(
            self.layout.name(regional.key),
            self.metadata,
            *columns,
            comment=table.comment,
            postgresql_partition_by=f"LIST ({ddl.quote(self.region)})",
            info={INFO: said},
        )
        self._primary_key(table, target, (self.region,))
        for constraint in table.constraints:
            if isinstance(constraint, UniqueConstraint):
                self._unique_constraint(table, constraint, target, (self.region,))
            elif isinstance(constraint, postgresql.ExcludeConstraint):
                self._exclusion(table, constraint, target, (self.region,))
        self._checks(table, target)
        for index in _in_order(table.indexes):
            self._index(table, index, target, (self.region,) if index.unique else ())
        self.key_tables += [
            self._key_table(regional, unique)
            for unique in regional.uniques
            if unique.scope is Scope.key_table
        ]

    def _key_table(self, regional: RegionalTable, unique: Unique) -> KeyTable:
        """Describe the key table that keeps what a constraint of a regional table says."""
        assert unique.key_table is not None
        names = NamePool([*unique.columns, *regional.primary_key])
        columns: dict[str, str] = {}
        # An exclusion constraint makes no index by which a row could be found.
        lookup = regional.primary_key if unique.operators else ()
        columns.update((column, ddl.quote(column)) for column in lookup)
        parts = []
        for part in unique.parts:
            name = part.column or names.claim("expression")
            columns.setdefault(name, self._in_target(part.sql))
            parts.append(name)
        where = None if unique.where is None else self._in_target(unique.where)
        nulls = not unique.nulls_distinct and any(
            part.column is None or regional.table.columns[part.column].nullable
            for part in unique.parts
        )
        if unique.operators:
            elements = ", ".join(
                f"{f'{ddl.quote(name)} {part.operators}'.strip()} WITH {operator}"
                for name, part, operator in zip(parts, unique.parts, unique.operators, strict=True)
            )
            definition = f"EXCLUDE USING {unique.method} ({elements})"
        elif nulls:
            definition = f"UNIQUE NULLS NOT DISTINCT ({ddl.columns(parts)})"
        else:
            definition = f"PRIMARY KEY ({ddl.columns(parts)})"
        if unique.deferrable:
            # The statement that it could be checked after is the one in the trigger.
            definition += " DEFERRABLE INITIALLY DEFERRED"
        word = "excl" if unique.operators else "key" if nulls else "pkey"
        return KeyTable(
            unique.key_table,
            self.layout.name(regional.key),
            tuple(columns.items()),
            self.names.claim(f"{unique.key_table}_{word}"),
            definition,
            where=where,
            nulls=nulls,
            single=unique.deferrable or bool(unique.operators),
            images=bool(unique.operators),
            lookup=lookup,
            path=self._path(regional.table, [*columns.values(), where or ""]),
        )

    def _path(self, table: Table, expressions: Iterable[str]) -> tuple[str, ...]:
        """Return the schemas of the extensions whose types are compared in some expressions."""
        sql = " ".join(expressions)
        found = {
            schema
            for column in table.columns
            if re.search(rf"(?<!\w){re.escape(column.name)}(?!\w)", sql)
            and (schema := _extension_schema(column.type)) is not None
        }
        return tuple(sorted(found))

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
                    ddl.escape_binds(self._in_target(sql_text(column.server_default.sqltext))),
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
            return text(
                ddl.escape_binds(self._drawn(table.schema, serial_sequence(column), column))
            )
        drawn = NEXTVAL.sub(
            lambda found: self._drawn(*sequence(found["name"], column), column), default
        )
        return text(ddl.escape_binds(self._in_target(drawn)))

    def _drawn(self, schema: str | None, name: str, column: Column[Any]) -> str:
        """Return the call that draws from the target's sequence, which it adds to the layout."""
        name = self.layout.object_name(schema, name)
        found = Sequence(name, schema=self.schema, metadata=self.metadata)
        found.info["owned_by"] = (
            self.layout.name(self.layout.key_of(column.table)),
            column.name,
        )
        return f"nextval({ddl.literal(ddl.quote(self.schema, name))}::regclass)"

    def _in_target(self, sql: str) -> str:
        """Return an expression that names the target's objects instead of the source's."""
        return self.named.apply(sql)

    def _type(self, type_: TypeEngine[Any]) -> TypeEngine[Any]:
        if isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
            return self._type(type_.load_dialect_impl(_DIALECT))
        if isinstance(type_, postgresql.ARRAY):
            item = self._type(type_.item_type)
            if item is type_.item_type:
                return type_
            return postgresql.ARRAY(item, dimensions=type_.dimensions)
        if isinstance(type_, postgresql.DOMAIN | Composite | CustomRange):
            name = self.layout.object_name(type_.schema, str(type_.name))
            if isinstance(type_, postgresql.DOMAIN) and type_.create_type:
                self.domains[name] = self._domain(type_)
            return PostgresNamed(ddl.quote(self.schema, name))
        if isinstance(type_, Enum) and type_.native_enum:
            return self._enum(type_)
        if type(type_).__module__.partition(".")[0] not in ("sqlalchemy", "toolkit"):
            # A revision could not import a class of the operator's own.
            return PostgresNamed(type_.compile(dialect=_DIALECT))
        return type_

    def _domain(self, domain: postgresql.DOMAIN) -> str:
        """Return what follows the name where a domain is created."""
        words = [f"AS {self._type(domain.data_type).compile(dialect=_DIALECT)}"]
        if domain.collation is not None:
            words.append(f"COLLATE {ddl.quote(domain.collation)}")
        if domain.default is not None:
            words.append(f"DEFAULT {self._in_target(sql_text(domain.default))}")
        if domain.not_null:
            words.append("NOT NULL")
        if domain.check is not None:
            name = domain.constraint_name
            words += [f"CONSTRAINT {ddl.quote(str(name))}"] if name is not None else []
            words.append(f"CHECK ({self._in_target(sql_text(domain.check))})")
        return " ".join(words)

    def _enum(self, type_: Enum) -> TypeEngine[Any]:
        name, labels = self.layout.object_name(type_.schema, str(type_.name)), list(type_.enums)
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
        constraint = table.primary_key
        columns = [column.name for column in constraint.columns]
        if not columns:
            return
        target.append_constraint(
            PrimaryKeyConstraint(
                *columns,
                *more,
                name=self._index_name(table, constraint.name, f"{target.name}_pkey"),
                deferrable=constraint.deferrable,
                initially=constraint.initially,
                **self._options(constraint.dialect_kwargs, more),
            )
        )

    def _unique_constraint(
        self, table: Table, constraint: UniqueConstraint, target: Table, more: tuple[str, ...]
    ) -> None:
        columns = [column.name for column in constraint.columns]
        fallback = f"{target.name}_{'_'.join(columns)}_key"
        target.append_constraint(
            UniqueConstraint(
                *columns,
                *more,
                name=self._index_name(table, constraint.name, fallback),
                deferrable=constraint.deferrable,
                initially=constraint.initially,
                **self._options(constraint.dialect_kwargs, more),
            )
        )

    def _exclusion(
        self,
        table: Table,
        constraint: postgresql.ExcludeConstraint,
        target: Table,
        more: tuple[str, ...],
    ) -> None:
        found = exclusion(table, constraint)
        elements: list[tuple[Any, str]] = []
        for part, operator in zip(found.parts, found.operators, strict=True):
            sql = f"{self._in_target(part.sql)} {part.operators}".strip()
            elements.append((text(ddl.escape_binds(sql)), operator))
        elements += [(text(ddl.quote(column)), "=") for column in more]
        where = None if found.where is None else self._in_target(found.where)
        target.append_constraint(
            postgresql.ExcludeConstraint(
                *elements,
                name=self._index_name(table, constraint.name, f"{target.name}_excl"),
                using=found.method,
                where=None if where is None else text(ddl.escape_binds(where)),
                deferrable=constraint.deferrable,
                initially=constraint.initially,
            )
        )

    def _index_name(self, table: Table, name: object, fallback: str) -> str:
        """Return the name of an index of the target, or of a constraint that has one."""
        if not isinstance(name, str):
            return self.names.claim(fallback)
        return self.layout.index_name(self.layout.key_of(table), str(name))

    def _checks(self, table: Table, target: Table) -> None:
        checks = [
            constraint
            for constraint in table.constraints
            # A constraint that belongs to a type is made again with the type.
            if isinstance(constraint, CheckConstraint) and not constraint._type_bound
        ]
        for check in sorted(checks, key=lambda check: (str(check.name), sql_text(check.sqltext))):
            name = _given(check.name) or self.names.claim(f"{target.name}_check")
            target.append_constraint(
                CheckConstraint(
                    ddl.escape_binds(self._in_target(sql_text(check.sqltext))), name=name
                )
            )

    def _index(self, table: Table, index: Index, target: Table, more: tuple[str, ...]) -> None:
        parts: list[Any] = [self._index_part(part, target) for part in index.expressions]
        parts.extend(target.columns[name] for name in more)
        target.append_constraint(
            Index(
                self._index_name(table, index.name, f"{target.name}_idx"),
                *parts,
                unique=index.unique,
                **self._options(index.dialect_kwargs, more),
            )
        )

    def _options(self, options: Mapping[str, Any], more: tuple[str, ...]) -> dict[str, Any]:
        """Return the PostgreSQL options of a constraint or index, for the target's table."""
        carried: dict[str, Any] = {}
        for name, value in options.items():
            # The tables are empty when the indexes are made, and a parent allows no CONCURRENTLY.
            if not name.startswith("postgresql_") or name == "postgresql_concurrently":
                continue
            if name == "postgresql_where" and value is not None:
                clause = sql_text(value)
                carried[name] = text(ddl.escape_binds(self._in_target(clause)))
            elif value and name == "postgresql_include":
                included = [getattr(column, "name", column) for column in value]
                carried[name] = [column for column in included if column not in more]
            elif value and name == "postgresql_ops":
                carried[name] = {part: self._in_target(ops) for part, ops in value.items()}
            elif value:
                carried[name] = value
        return carried

    def _index_part(self, part: Any, target: Table) -> Any:
        if isinstance(part, Column):
            return target.columns[part.name]
        # In parentheses where SQLAlchemy would put them.
        sql = self._in_target(sql_text(part.self_group()))
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
            constraint = foreignkeys.declared(table, reference)
            name = reference.name or self.names.claim(
                f"{table.name}_{'_'.join(reference.columns)}_fkey"
            )
            if role is Role.plain:
                assert constraint is not None
                self._plain_key(name, reference, constraint, target)
                continue
            foreignkeys.refuse_computed(reference.columns, table, str(reference))
            region = self.layout.reference_columns.get(reference, self.region)
            match = constraint.match if constraint is not None else None
            if role is Role.foreign_reference:
                # With MATCH SIMPLE, (99999, NULL) would pass unchecked.
                match = "FULL"
                if foreignkeys.may_be_null_in_part(table, reference, constraint):
                    match = None
                    self._null_with_its_reference(table, reference, target)
            others = [
                self._target(reference.target).columns[column]
                for column in (*reference.target_columns, self.region)
            ]
            self._referable(others)
            target.append_constraint(
                ForeignKeyConstraint(
                    [*reference.columns, region],
                    others,
                    name=name,
                    onupdate=foreignkeys.on_update(reference, constraint),
                    ondelete=foreignkeys.on_delete(table, reference, role, constraint, region),
                    deferrable=True,
                    initially=(constraint.initially if constraint is not None else None)
                    or "IMMEDIATE",
                    match=match,
                )
            )

    def _null_with_its_reference(self, table: Table, reference: ForeignKey, target: Table) -> None:
        """Let the region be NULL if, and only if, the reference leads nowhere.

        The source allows references that are NULL in part, and so must the target: MATCH FULL is
        out of the question.
        """
        region = self.layout.reference_columns[reference]
        missing = " OR ".join(
            f"{ddl.quote(column)} IS NULL"
            for column in reference.columns
            if table.columns[column].nullable
        )
        target.append_constraint(
            CheckConstraint(
                ddl.escape_binds(f"({ddl.quote(region)} IS NULL) = ({missing})"),
                name=self.names.claim(f"{target.name}_{region}_check"),
            )
        )

    def _referable(self, columns: list[Column[Any]]) -> None:
        """See to it that a foreign key can lead to some columns: no deferrable key serves."""
        target = columns[0].table
        assert isinstance(target, Table)
        wanted = {column.name for column in columns}
        keys: list[Iterable[Column[Any]]] = [
            constraint.columns
            for constraint in target.constraints
            if isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint)
            and not constraint.deferrable
        ]
        keys += [
            index.columns
            for index in target.indexes
            if index.unique
            and index.dialect_options["postgresql"].get("where") is None
            and len(index.expressions) == len(index.columns)
        ]
        if not any({column.name for column in key} == wanted for key in keys):
            names = "_".join(column.name for column in columns)
            index = Index(self.names.claim(f"{target.name}_{names}_idx"), *columns, unique=True)
            target.append_constraint(index)

    def _key_to_link(self, target: Table) -> None:
        layout = self.layout
        foreignkeys.refuse_computed(
            layout.root.primary_key, layout.root.table, f"the key of {target.name}"
        )
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


def _in_order(indexes: Iterable[Index]) -> list[Index]:
    """Return a table's indexes in an order that does not change between two runs."""
    return sorted(
        indexes, key=lambda index: (str(index.name), [sql_text(part) for part in index.expressions])
    )


def _relations(layout: Layout) -> Iterable[str]:
    """Yield the names of the layout's relations and types, which share one namespace."""
    yield from (layout.region_list, layout.link, *layout.names.values())
    yield from (*layout.objects.values(), *layout.indexes.values())
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


def _default_text(argument: Any) -> str:
    return ddl.literal(argument) if isinstance(argument, str) else sql_text(argument)


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


def _create_what_metadata_cannot_hold(metadata: MetaData) -> None:
    """Let ``create_all`` create partitions, the rows of the list of regions, and key triggers."""

    def partitions(target: Table, connection: Connection, **_: Any) -> None:
        said = info(target)
        for region, leaf in said.leaves.items():
            statement = ddl.create_partition(
                str(target.schema),
                target.name,
                leaf,
                region,
                storage=said.storage,
                unlogged=said.unlogged,
            )
            connection.execute(ddl.verbatim(statement))

    def regions(target: Table, connection: Connection, **_: Any) -> None:
        connection.execute(
            ddl.verbatim(ddl.insert_regions(str(target.schema), target.name, info(target).codes))
        )

    def domains(target: MetaData, connection: Connection, **_: Any) -> None:
        for name, definition in beside(target).domains.items():
            statement = ddl.create_domain(str(target.schema), name, definition)
            connection.execute(ddl.verbatim(statement))

    def keys(target: MetaData, connection: Connection, **_: Any) -> None:
        for key_table in key_tables(target):
            for statement in key_table.create(str(target.schema)):
                connection.execute(ddl.verbatim(statement))

    for table in metadata.tables.values():
        if info(table).part is Part.regional:
            event.listen(table, "after_create", partitions)
        elif info(table).part is Part.region_list:
            event.listen(table, "after_create", regions)
    event.listen(metadata, "before_create", domains)
    event.listen(metadata, "after_create", keys)


def beside(metadata: MetaData) -> Beside:
    """Return what a layout that :func:`build` made has beside its tables."""
    found: Beside = metadata.info[INFO]
    return found


def key_tables(metadata: MetaData) -> tuple[KeyTable, ...]:
    """Return the key tables of a layout, by name."""
    return beside(metadata).key_tables


def table_names(metadata: MetaData) -> set[str]:
    """Return the names of the tables of a layout, key tables included, without partitions."""
    return {
        *(table.name for table in metadata.tables.values()),
        *(one.name for one in key_tables(metadata)),
    }


def _extension_schema(type_: TypeEngine[Any]) -> str | None:
    """Return the schema of an extension's type, of a column or of its elements; else ``None``."""
    if isinstance(type_, postgresql.ARRAY):
        return _extension_schema(type_.item_type)
    if isinstance(type_, postgresql.DOMAIN):
        return _extension_schema(type_.data_type)
    if isinstance(type_, postgresql.CITEXT | postgresql.HSTORE):
        return "public"
    if not isinstance(type_, PostgresNamed):
        return None
    qualified = re.match(rf"\s*(?P<schema>{_NAME})\.", type_.name)
    schema = sqltext.unquoted(qualified["schema"]) if qualified else "public"
    return None if schema == "pg_catalog" else schema
