"""Alembic operations that say what they mean, each with its reverse.

Importing this module registers them, so that a generated revision runs under plain
``alembic upgrade head`` as well as under ``regionkit apply``. An operation is data
(:class:`alembic.operations.MigrateOperation`); the functions below it carry it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import psycopg
from alembic.autogenerate.api import AutogenContext
from alembic.autogenerate.render import renderers
from alembic.operations import MigrateOperation, Operations, ops
from sqlalchemy import Column, ForeignKeyConstraint, Integer, text
from sqlalchemy import Sequence as NumberSequence
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSequence, SchemaItem

from toolkit import sqltext
from toolkit.errors import Refused
from toolkit.names import shorten
from toolkit.postgres import ddl, session
from toolkit.postgres.keytables import KeyTable

#: What a warning begins with that says that something was left behind.
LEFT_BEHIND = "regionkit left behind: "


def _call(name: str, *arguments: Any, **options: Any) -> str:
    """Return ``op.<name>(...)`` as source, one argument per line."""
    lines = [repr(argument) for argument in arguments]
    lines += [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"op.{name}(\n    " + ",\n    ".join(lines) + ",\n)"


@Operations.register_operation("create_regional_schema")
class CreateRegionalSchemaOp(MigrateOperation):
    """Create the schema that the layout lives in, unless it exists."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    @classmethod
    def create_regional_schema(cls, operations: Operations, schema: str) -> None:
        """Create the schema that the layout lives in, unless it exists."""
        operations.invoke(cls(schema))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropRegionalSchemaOp(self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("create_regional_schema", self.schema)


@Operations.register_operation("drop_regional_schema")
class DropRegionalSchemaOp(MigrateOperation):
    """Drop the schema of the layout; PostgreSQL refuses while anything is left in it."""

    def __init__(self, schema: str) -> None:
        self.schema = schema

    @classmethod
    def drop_regional_schema(cls, operations: Operations, schema: str) -> None:
        """Drop the schema of the layout; PostgreSQL refuses while anything is left in it."""
        operations.invoke(cls(schema))

    def reverse(self) -> MigrateOperation:
        """Create it."""
        return CreateRegionalSchemaOp(self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("drop_regional_schema", self.schema)


@Operations.register_operation("create_enum")
class CreateEnumOp(MigrateOperation):
    """Create an enum type."""

    def __init__(self, name: str, labels: Sequence[str], *, schema: str) -> None:
        self.name = name
        self.labels = list(labels)
        self.schema = schema

    @classmethod
    def create_enum(
        cls, operations: Operations, name: str, labels: Sequence[str], *, schema: str
    ) -> None:
        """Create an enum type."""
        operations.invoke(cls(name, labels, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropEnumOp(self.name, self.labels, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("create_enum", self.name, self.labels, schema=self.schema)


@Operations.register_operation("drop_enum")
class DropEnumOp(MigrateOperation):
    """Drop an enum type; its labels are kept for the way back."""

    def __init__(self, name: str, labels: Sequence[str], *, schema: str) -> None:
        self.name = name
        self.labels = list(labels)
        self.schema = schema

    @classmethod
    def drop_enum(
        cls, operations: Operations, name: str, labels: Sequence[str], *, schema: str
    ) -> None:
        """Drop an enum type; its labels are kept for the way back."""
        operations.invoke(cls(name, labels, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Create it."""
        return CreateEnumOp(self.name, self.labels, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("drop_enum", self.name, self.labels, schema=self.schema)


@Operations.register_operation("create_domain")
class CreateDomainOp(MigrateOperation):
    """Create a domain that the model itself defines."""

    def __init__(self, name: str, definition: str, *, schema: str) -> None:
        self.name = name
        self.definition = definition
        self.schema = schema

    @classmethod
    def create_domain(
        cls, operations: Operations, name: str, definition: str, *, schema: str
    ) -> None:
        """Create a domain that the model itself defines.

        Args:
            operations: Alembic's.
            name: of the domain.
            definition: what follows the name, as SQL.
            schema: of the layout.
        """
        operations.invoke(cls(name, definition, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropDomainOp(self.name, self.definition, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("create_domain", self.name, self.definition, schema=self.schema)


@Operations.register_operation("drop_domain")
class DropDomainOp(MigrateOperation):
    """Drop a domain; its definition is kept for the way back."""

    def __init__(self, name: str, definition: str, *, schema: str) -> None:
        self.name = name
        self.definition = definition
        self.schema = schema

    @classmethod
    def drop_domain(
        cls, operations: Operations, name: str, definition: str, *, schema: str
    ) -> None:
        """Drop a domain; its definition is kept for the way back."""
        operations.invoke(cls(name, definition, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Create it."""
        return CreateDomainOp(self.name, self.definition, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("drop_domain", self.name, self.definition, schema=self.schema)


@Operations.register_operation("create_sequence")
class CreateSequenceOp(MigrateOperation):
    """Create the sequence that several regions draw from."""

    def __init__(self, name: str, *, schema: str) -> None:
        self.name = name
        self.schema = schema

    @classmethod
    def create_sequence(cls, operations: Operations, name: str, *, schema: str) -> None:
        """Create the sequence that several regions draw from."""
        operations.invoke(cls(name, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropSequenceOp(self.name, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("create_sequence", self.name, schema=self.schema)


@Operations.register_operation("drop_sequence")
class DropSequenceOp(MigrateOperation):
    """Drop a sequence."""

    def __init__(self, name: str, *, schema: str) -> None:
        self.name = name
        self.schema = schema

    @classmethod
    def drop_sequence(cls, operations: Operations, name: str, *, schema: str) -> None:
        """Drop a sequence."""
        operations.invoke(cls(name, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Create it."""
        return CreateSequenceOp(self.name, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("drop_sequence", self.name, schema=self.schema)


class TableOp(MigrateOperation):
    """A table of the layout, created under an operation name of its own.

    Args:
        table_name: its name.
        items: columns and constraints. Foreign keys are operations of their own.
        options: keyword arguments of the call, the schema and the comment included.
    """

    #: The name of the operation.
    method: ClassVar[str]
    #: What it does, in words.
    title: ClassVar[str]
    #: The options that plain ``create_table`` does not know.
    own: ClassVar[tuple[str, ...]] = ()

    def __init__(self, table_name: str, items: Sequence[SchemaItem], options: Mapping[str, Any]):
        self.table_name = table_name
        self.items = list(items)
        self.options = dict(options)

    @property
    def schema(self) -> str:
        """The schema of the layout."""
        return str(self.options["schema"])

    def create_table(self) -> ops.CreateTableOp:
        """Return the plain operation that creates the table."""
        options = {key: value for key, value in self.options.items() if key not in self.own}
        return ops.CreateTableOp(self.table_name, self.items, **options)

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return ops.DropTableOp(self.table_name, schema=self.schema)


@Operations.register_operation("create_regional_table")
class CreateRegionalTableOp(TableOp):
    """Create the common parent of a table per region; ``create_region`` adds the regions."""

    method = "create_regional_table"
    title = "create regional table"
    own = ("region_column",)

    @classmethod
    def create_regional_table(
        cls,
        operations: Operations,
        table_name: str,
        *items: SchemaItem,
        region_column: str,
        **options: Any,
    ) -> None:
        """Create the common parent of a table per region; ``create_region`` adds the regions."""
        operations.invoke(cls(table_name, items, {**options, "region_column": region_column}))

    def create_table(self) -> ops.CreateTableOp:
        """Return the plain operation that creates the parent."""
        plain = super().create_table()
        plain.kw["postgresql_partition_by"] = f"LIST ({ddl.quote(self.options['region_column'])})"
        return plain


@Operations.register_operation("create_link")
class CreateLinkOp(TableOp):
    """Create the link: one row per client, one region per client."""

    method = "create_link"
    title = "create link"

    @classmethod
    def create_link(
        cls, operations: Operations, table_name: str, *items: SchemaItem, **options: Any
    ) -> None:
        """Create the link: one row per client, one region per client."""
        operations.invoke(cls(table_name, items, options))


@Operations.register_operation("create_region_list")
class CreateRegionListOp(TableOp):
    """Create the table of regions, empty: ``create_region`` puts each one on it, last."""

    method = "create_region_list"
    title = "create list of regions"

    @classmethod
    def create_region_list(
        cls, operations: Operations, table_name: str, *items: SchemaItem, **options: Any
    ) -> None:
        """Create the table of regions, empty: ``create_region`` puts each one on it, last."""
        operations.invoke(cls(table_name, items, options))


@Operations.register_operation("create_key_table")
class CreateKeyTableOp(MigrateOperation):
    """Create a key table with the function and the triggers that keep it."""

    def __init__(self, key_table: KeyTable, *, schema: str) -> None:
        self.key_table = key_table
        self.schema = schema

    @classmethod
    def create_key_table(
        cls,
        operations: Operations,
        name: str,
        *,
        keeps: str,
        columns: Mapping[str, str],
        constraint: str,
        definition: str,
        schema: str,
        lookup: Sequence[str] = (),
        path: Sequence[str] = (),
        **options: Any,
    ) -> None:
        """Create a key table with the function and the triggers that keep it.

        Args:
            operations: Alembic's.
            name: the key table.
            keeps: the regional table whose keys it holds.
            columns: name of each of its columns, and the SQL over a row of ``keeps``.
            constraint: name of its constraint.
            definition: of that constraint.
            schema: of the layout.
            lookup: see :class:`toolkit.postgres.keytables.KeyTable`, as for the following.
            path: likewise.
            options: likewise.
        """
        key_table = KeyTable(
            name,
            keeps,
            tuple(columns.items()),
            constraint,
            definition,
            lookup=tuple(lookup),
            path=tuple(path),
            **options,
        )
        operations.invoke(cls(key_table, schema=schema))

    @property
    def name(self) -> str:
        """The key table."""
        return self.key_table.name

    @property
    def table(self) -> str:
        """The regional table whose keys it holds."""
        return self.key_table.keeps

    def reverse(self) -> MigrateOperation:
        """Drop triggers, function and table."""
        return DropKeyTableOp(self.name, keeps=self.table, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        options = {
            one.name: value
            for one in fields(self.key_table)
            if (value := getattr(self.key_table, one.name)) != one.default
        }
        options["columns"] = dict(options["columns"])
        return _call("create_key_table", options.pop("name"), **options, schema=self.schema)


@Operations.register_operation("drop_key_table")
class DropKeyTableOp(MigrateOperation):
    """Drop a key table with its triggers and its function."""

    def __init__(self, table_name: str, *, keeps: str, schema: str) -> None:
        self.table_name = table_name
        self.keeps = keeps
        self.schema = schema

    @classmethod
    def drop_key_table(
        cls, operations: Operations, table_name: str, *, keeps: str, schema: str
    ) -> None:
        """Drop a key table with its triggers and its function."""
        operations.invoke(cls(table_name, keeps=keeps, schema=schema))

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("drop_key_table", self.table_name, keeps=self.keeps, schema=self.schema)


@Operations.register_operation("add_foreign_key")
class AddForeignKeyOp(MigrateOperation):
    """Add a foreign key.

    Alembic's own operation names what is referred to in one string with dots, and so cannot name
    what has a dot in its name.
    """

    def __init__(self, name: str, table: str, other: str, *, schema: str, **options: Any) -> None:
        self.name = name
        self.table = table
        self.other = other
        self.schema = schema
        self.options = options

    @classmethod
    def from_constraint(cls, key: ForeignKeyConstraint) -> AddForeignKeyOp:
        """Return the operation that adds a constraint of a table of the layout."""
        options: dict[str, Any] = {
            "from_columns": list(key.column_keys),
            "to_columns": [element.column.name for element in key.elements],
            "match": key.match,
            "on_update": key.onupdate,
            "on_delete": key.ondelete,
            "deferrable": key.deferrable,
            "initially": key.initially,
        }
        return cls(
            str(key.name),
            key.table.name,
            key.referred_table.name,
            schema=str(key.table.schema),
            **{option: value for option, value in options.items() if value is not None},
        )

    @classmethod
    def add_foreign_key(
        cls,
        operations: Operations,
        name: str,
        table: str,
        other: str,
        *,
        schema: str,
        from_columns: Sequence[str],
        to_columns: Sequence[str],
        **options: Any,
    ) -> None:
        """Add a foreign key.

        Args:
            operations: Alembic's.
            name: of the constraint.
            table: that refers.
            other: the table that is referred to.
            schema: of both.
            from_columns: that refer, in order.
            to_columns: that are referred to, in that order.
            options: ``match``, ``on_update``, ``on_delete``, ``deferrable`` and ``initially``.
        """
        operations.invoke(
            cls(
                name,
                table,
                other,
                schema=schema,
                from_columns=list(from_columns),
                to_columns=list(to_columns),
                **options,
            )
        )

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return ops.DropConstraintOp(self.name, self.table, type_="foreignkey", schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _call(
            "add_foreign_key", self.name, self.table, self.other, **self.options, schema=self.schema
        )


@Operations.register_operation("create_partitions")
class CreatePartitionsOp(MigrateOperation):
    """Create partitions of one region; a later ``create_region`` puts the region on the list."""

    method: ClassVar[str] = "create_partitions"
    undo: ClassVar[str] = "drop_partitions"
    #: The table of regions, for the operation that puts the region on it.
    region_list: str | None = None

    def __init__(
        self,
        code: str,
        partitions: Mapping[str, str],
        *,
        schema: str,
        storage: Mapping[str, str] | None = None,
        unlogged: Sequence[str] = (),
    ) -> None:
        self.code = code
        self.partitions = dict(partitions)
        self.schema = schema
        self.storage = dict(storage or {})
        self.unlogged = list(unlogged)

    @classmethod
    def create_partitions(
        cls, operations: Operations, code: str, partitions: Mapping[str, str], **options: Any
    ) -> None:
        """Create partitions of one region; a later ``create_region`` puts the region on the list.

        Args:
            operations: Alembic's.
            code: the region.
            partitions: as ``create_region`` takes them, as the following.
            options: likewise, without the list of regions.
        """
        operations.invoke(cls(code, partitions, **options))

    def divided(self) -> list[CreatePartitionsOp]:
        """Return the operations that do the same table by table; the last is of this one's kind."""
        if len(self.partitions) < 2:
            return [self]
        *first, last = self.partitions.items()
        return [
            *(CreatePartitionsOp(**self._of(dict([pair]))) for pair in first),
            self._with(**self._of(dict([last]))),
        ]

    def after(self, before: CreatePartitionsOp) -> CreatePartitionsOp:
        """Return the operation that does what another one of the region does, and then this."""
        whole = self._of({**before.partitions, **self.partitions})
        whole["storage"] = {**before.storage, **self.storage}
        whole["unlogged"] = [*before.unlogged, *self.unlogged]
        return self._with(**whole)

    def _of(self, partitions: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments that create some of the partitions."""
        return {
            "code": self.code,
            "partitions": partitions,
            "schema": self.schema,
            "storage": {key: text for key, text in self.storage.items() if key in partitions},
            "unlogged": [key for key in self.unlogged if key in partitions],
        }

    def _with(self, **arguments: Any) -> CreatePartitionsOp:
        return CreatePartitionsOp(**arguments)

    def reverse(self) -> MigrateOperation:
        """Drop them."""
        return DropPartitionsOp(self)

    def source(self) -> str:
        """Return the call as Python source."""
        return self.call(self.method)

    def call(self, method: str) -> str:
        """Return a call with this operation's arguments as Python source."""
        leaves = "".join(f"        {key!r}: {leaf!r},\n" for key, leaf in self.partitions.items())
        more = f"    region_list={self.region_list!r},\n" if self.region_list is not None else ""
        more += f"    storage={self.storage!r},\n" if self.storage else ""
        more += f"    unlogged={self.unlogged!r},\n" if self.unlogged else ""
        return (
            f"op.{method}(\n    {self.code!r},\n    {{\n{leaves}    }},\n"
            f"    schema={self.schema!r},\n{more})"
        )


@Operations.register_operation("create_region")
class CreateRegionOp(CreatePartitionsOp):
    """Create the partitions of one region, then put the region on the list.

    Last, because the link's foreign key to the list is what lets a client live in a region.
    """

    method = "create_region"
    undo = "drop_region"
    region_list: str

    def __init__(
        self,
        code: str,
        partitions: Mapping[str, str],
        *,
        schema: str,
        region_list: str,
        storage: Mapping[str, str] | None = None,
        unlogged: Sequence[str] = (),
    ) -> None:
        super().__init__(code, partitions, schema=schema, storage=storage, unlogged=unlogged)
        self.region_list = region_list

    @classmethod
    def create_region(
        cls,
        operations: Operations,
        code: str,
        partitions: Mapping[str, str],
        *,
        schema: str,
        region_list: str,
        storage: Mapping[str, str] | None = None,
        unlogged: Sequence[str] = (),
    ) -> None:
        """Create the partitions of one region, then put the region on the list.

        Args:
            operations: Alembic's.
            code: the region.
            partitions: from regional table to the name of its partition, parents first.
            schema: of all of them.
            region_list: the table of regions.
            storage: from regional table to the storage parameters of its partition, where it has
                some.
            unlogged: the regional tables whose partitions are.
        """
        operations.invoke(
            cls(
                code,
                partitions,
                schema=schema,
                region_list=region_list,
                storage=storage,
                unlogged=unlogged,
            )
        )

    def _with(self, **arguments: Any) -> CreatePartitionsOp:
        return CreateRegionOp(**arguments, region_list=self.region_list)

    def reverse(self) -> MigrateOperation:
        """Drop the region."""
        return DropRegionOp(self)


@Operations.register_operation("drop_partitions")
class DropPartitionsOp(MigrateOperation):
    """Detach and drop partitions of one region, children first."""

    def __init__(self, created: CreatePartitionsOp) -> None:
        self.created = created

    @classmethod
    def drop_partitions(
        cls, operations: Operations, code: str, partitions: Mapping[str, str], **options: Any
    ) -> None:
        """Detach and drop partitions of one region, children first.

        Args:
            operations: Alembic's.
            code: the region.
            partitions: as ``create_partitions`` takes them, as the following.
            options: likewise.
        """
        operations.invoke(cls(CreatePartitionsOp(code, partitions, **options)))

    @property
    def code(self) -> str:
        """The region."""
        return self.created.code

    @property
    def partitions(self) -> Mapping[str, str]:
        """From regional table to the name of its partition, parents first."""
        return self.created.partitions

    def reverse(self) -> MigrateOperation:
        """Create them."""
        return self.created

    def source(self) -> str:
        """Return the call as Python source."""
        return self.created.call(self.created.undo)


@Operations.register_operation("drop_region")
class DropRegionOp(DropPartitionsOp):
    """Take a region off the list, then detach and drop its partitions, children first.

    Off the list first: the link's foreign key refuses while a client lives there.
    """

    @classmethod
    def drop_region(
        cls, operations: Operations, code: str, partitions: Mapping[str, str], **options: Any
    ) -> None:
        """Take a region off the list, then detach and drop its partitions, children first.

        Args:
            operations: Alembic's.
            code: the region.
            partitions: as ``create_region`` takes them, as the following.
            options: likewise.
        """
        operations.invoke(cls(CreateRegionOp(code, partitions, **options)))


@Operations.register_operation("carry_function")
class CarryFunctionOp(MigrateOperation):
    """Create a function of the source in the layout's schema, from PostgreSQL's own text."""

    def __init__(self, name: str, definition: str, *, schema: str) -> None:
        self.name = name
        self.definition = definition
        self.schema = schema

    @classmethod
    def carry_function(
        cls, operations: Operations, name: str, definition: str, *, schema: str
    ) -> None:
        """Create a function of the source in the layout's schema, from PostgreSQL's own text."""
        operations.invoke(cls(name, definition, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropCarriedOp("FUNCTION", self.name, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        return _text_source("carry_function", self.name, None, self.definition, self.schema)


@Operations.register_operation("carry_trigger")
class CarryTriggerOp(MigrateOperation):
    """Create a trigger of the source on the layout's table, silent while regionkit moves rows."""

    def __init__(
        self, name: str, table: str, definition: str, *, schema: str, state: str | None = None
    ) -> None:
        self.name = name
        self.table = table
        self.definition = definition
        self.schema = schema
        self.state = state

    @classmethod
    def carry_trigger(
        cls,
        operations: Operations,
        name: str,
        table: str,
        definition: str,
        *,
        schema: str,
        state: str | None = None,
    ) -> None:
        """Create a trigger of the source on the layout's table.

        Args:
            operations: Alembic's.
            name: the trigger.
            table: of the layout.
            definition: PostgreSQL's text.
            schema: of the layout.
            state: ``disabled``, ``replica`` or ``always`` if it does not simply fire.
        """
        operations.invoke(cls(name, table, definition, schema=schema, state=state))

    def reverse(self) -> MigrateOperation:
        """Drop it."""
        return DropCarriedOp("TRIGGER", self.name, table=self.table, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        text = _text_source("carry_trigger", self.name, self.table, self.definition, self.schema)
        return text if self.state is None else f"{text[:-1]}    state={self.state!r},\n)"


@Operations.register_operation("drop_carried")
class DropCarriedOp(MigrateOperation):
    """Drop a carried function or trigger."""

    def __init__(self, kind: str, name: str, *, schema: str, table: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.schema = schema
        self.table = table

    @classmethod
    def drop_carried(
        cls, operations: Operations, kind: str, name: str, *, schema: str, table: str | None = None
    ) -> None:
        """Drop a carried function or trigger."""
        operations.invoke(cls(kind, name, schema=schema, table=table))

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("drop_carried", self.kind, self.name, table=self.table, schema=self.schema)


@Operations.register_operation("carry")
class CarryOp(MigrateOperation):
    """Create an object of the source in the layout's schema, from PostgreSQL's own text.

    Args:
        kind: what it is, in words.
        name: which one, in the layout.
        definition: the statements that create it.
        schema: of the layout.
        undo: the statements that take it back; ``None`` where it goes with what it is on.
        soft: whether it is left behind, with a warning, where PostgreSQL refuses it.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        definition: str,
        *,
        schema: str,
        undo: str | None = None,
        soft: bool = False,
    ) -> None:
        self.kind = kind
        self.name = name
        self.definition = definition
        self.schema = schema
        self.undo = undo
        self.soft = soft

    @classmethod
    def carry(
        cls,
        operations: Operations,
        kind: str,
        name: str,
        definition: str,
        *,
        schema: str,
        undo: str | None = None,
        soft: bool = False,
    ) -> None:
        """Create an object of the source in the layout's schema, from PostgreSQL's own text."""
        operations.invoke(cls(kind, name, definition, schema=schema, undo=undo, soft=soft))

    def reverse(self) -> MigrateOperation:
        """Take it back."""
        return TakeBackOp(self.kind, self.name, self.undo, schema=self.schema)

    def source(self) -> str:
        """Return the call as Python source."""
        more = "" if self.undo is None else f"    undo={self.undo!r},\n"
        more += "    soft=True,\n" if self.soft else ""
        return (
            f"op.carry(\n    {self.kind!r},\n    {self.name!r},\n    (\n"
            f"        {_lines(self.definition)}\n    ),\n    schema={self.schema!r},\n{more})"
        )


@Operations.register_operation("take_back")
class TakeBackOp(MigrateOperation):
    """Take back what was carried; nothing where it goes with what it is on."""

    def __init__(self, kind: str, name: str, statements: str | None, *, schema: str) -> None:
        self.kind = kind
        self.name = name
        self.statements = statements
        self.schema = schema

    @classmethod
    def take_back(
        cls, operations: Operations, kind: str, name: str, statements: str | None, *, schema: str
    ) -> None:
        """Take back what was carried; nothing where it goes with what it is on."""
        operations.invoke(cls(kind, name, statements, schema=schema))

    def source(self) -> str:
        """Return the call as Python source."""
        return _call("take_back", self.kind, self.name, self.statements, schema=self.schema)


def _text_source(method: str, name: str, table: str | None, definition: str, schema: str) -> str:
    head = [repr(name)] + ([repr(table)] if table else [])
    return (
        f"op.{method}(\n    {', '.join(head)},\n    (\n        {_lines(definition)}\n    ),\n"
        f"    schema={schema!r},\n)"
    )


def _lines(text: str) -> str:
    """Return a text as Python source, one string per line."""
    return "\n        ".join(repr(line) for line in text.splitlines(keepends=True))


# Carrying the operations out ----------------------------------------------------------------


@Operations.implementation_for(CreateRegionalSchemaOp)
def _create_regional_schema(operations: Operations, op: CreateRegionalSchemaOp) -> None:
    operations.execute(ddl.verbatim(ddl.ensure_schema(op.schema)))


@Operations.implementation_for(DropRegionalSchemaOp)
def _drop_regional_schema(operations: Operations, op: DropRegionalSchemaOp) -> None:
    operations.execute(ddl.verbatim(f"DROP SCHEMA {ddl.quote(op.schema)}"))


@Operations.implementation_for(CreateEnumOp)
def _create_enum(operations: Operations, op: CreateEnumOp) -> None:
    operations.execute(ddl.verbatim(ddl.create_enum(op.schema, op.name, op.labels)))


@Operations.implementation_for(DropEnumOp)
def _drop_enum(operations: Operations, op: DropEnumOp) -> None:
    operations.execute(ddl.verbatim(f"DROP TYPE {ddl.quote(op.schema, op.name)}"))


@Operations.implementation_for(CreateDomainOp)
def _create_domain(operations: Operations, op: CreateDomainOp) -> None:
    operations.execute(ddl.verbatim(ddl.create_domain(op.schema, op.name, op.definition)))


@Operations.implementation_for(DropDomainOp)
def _drop_domain(operations: Operations, op: DropDomainOp) -> None:
    operations.execute(ddl.verbatim(f"DROP DOMAIN {ddl.quote(op.schema, op.name)}"))


@Operations.implementation_for(CreateSequenceOp)
def _create_sequence(operations: Operations, op: CreateSequenceOp) -> None:
    operations.execute(ddl.verbatim(f"CREATE SEQUENCE {ddl.quote(op.schema, op.name)}"))


@Operations.implementation_for(DropSequenceOp)
def _drop_sequence(operations: Operations, op: DropSequenceOp) -> None:
    operations.execute(ddl.verbatim(f"DROP SEQUENCE {ddl.quote(op.schema, op.name)}"))


@Operations.implementation_for(CreateRegionalTableOp)
@Operations.implementation_for(CreateLinkOp)
@Operations.implementation_for(CreateRegionListOp)
def _create_table(operations: Operations, op: TableOp) -> None:
    if any(isinstance(item, ExcludeConstraint) and item.using == "gist" for item in op.items):
        # The region is compared for equality. It stays on the way back: others may use it by now.
        operations.execute(ddl.verbatim("CREATE EXTENSION IF NOT EXISTS btree_gist"))
    plain = op.create_table()
    owned: dict[str, str] = {}
    if isinstance(op, CreateRegionalTableOp) and not _has_identities(operations):
        plain.columns = [_drawing(operations, op, item, owned) for item in plain.columns]
    operations.invoke(plain)
    for sequence, column in owned.items():
        # It goes with its table.
        statement = (
            f"ALTER SEQUENCE {ddl.quote(op.schema, sequence)} "
            f"OWNED BY {ddl.quote(op.schema, op.table_name, column)}"
        )
        operations.execute(ddl.verbatim(statement))


def _has_identities(operations: Operations) -> bool:
    """Return whether partitions have the identity columns of their parent: from 17 on."""
    version = operations.get_context().dialect.server_version_info
    return operations.get_context().as_sql or version is None or version >= (17,)


def _drawing(
    operations: Operations, op: TableOp, item: SchemaItem, owned: dict[str, str]
) -> SchemaItem:
    """Return an identity column as one that draws from a sequence, which it creates and notes."""
    identity = item.identity if isinstance(item, Column) else None
    if identity is None:
        return item
    assert isinstance(item, Column)
    sequence = NumberSequence(
        shorten(f"{op.table_name}_{item.name}_seq"),
        schema=op.schema,
        data_type=item.type if isinstance(item.type, Integer) else None,
        start=identity.start,
        increment=identity.increment,
        minvalue=identity.minvalue,
        maxvalue=identity.maxvalue,
        cycle=identity.cycle,
        cache=identity.cache,
    )
    operations.execute(CreateSequence(sequence))
    owned[sequence.name] = item.name
    drawn = f"nextval({ddl.literal(ddl.quote(op.schema, sequence.name))}::regclass)"
    return Column(
        item.name,
        item.type,
        server_default=text(ddl.escape_binds(drawn)),
        primary_key=item.primary_key,
        nullable=False,
        autoincrement=False,
        comment=item.comment,
    )


@Operations.implementation_for(CreateKeyTableOp)
def _create_key_table(operations: Operations, op: CreateKeyTableOp) -> None:
    for statement in op.key_table.create(op.schema):
        operations.execute(ddl.verbatim(statement))


@Operations.implementation_for(DropKeyTableOp)
def _drop_key_table(operations: Operations, op: DropKeyTableOp) -> None:
    for statement in KeyTable(op.table_name, op.keeps, (), "", "").drop(op.schema):
        operations.execute(ddl.verbatim(statement))


@Operations.implementation_for(AddForeignKeyOp)
def _add_foreign_key(operations: Operations, op: AddForeignKeyOp) -> None:
    statement = ddl.add_foreign_key(op.schema, op.name, op.table, op.other, **op.options)
    operations.execute(ddl.verbatim(statement))


@Operations.implementation_for(CreatePartitionsOp)
@Operations.implementation_for(CreateRegionOp)
def _create_partitions(operations: Operations, op: CreatePartitionsOp) -> None:
    for parent, leaf in op.partitions.items():
        statement = ddl.create_partition(
            op.schema,
            parent,
            leaf,
            op.code,
            storage=op.storage.get(parent, ""),
            unlogged=parent in op.unlogged,
        )
        operations.execute(ddl.verbatim(statement))
    if op.region_list is not None:
        operations.execute(ddl.verbatim(ddl.insert_regions(op.schema, op.region_list, [op.code])))


@Operations.implementation_for(DropPartitionsOp)
@Operations.implementation_for(DropRegionOp)
def _drop_partitions(operations: Operations, op: DropPartitionsOp) -> None:
    created = op.created
    if created.region_list is not None:
        statement = ddl.delete_region(created.schema, created.region_list, created.code)
        operations.execute(ddl.verbatim(statement))
    for parent, leaf in reversed(created.partitions.items()):
        operations.execute(ddl.verbatim(ddl.detach_partition(created.schema, parent, leaf)))
        operations.execute(ddl.verbatim(f"DROP TABLE {ddl.quote(created.schema, leaf)}"))


@Operations.implementation_for(CarryFunctionOp)
def _carry_function(operations: Operations, op: CarryFunctionOp) -> None:
    operations.execute(ddl.verbatim(op.definition))


@Operations.implementation_for(CarryTriggerOp)
def _carry_trigger(operations: Operations, op: CarryTriggerOp) -> None:
    operations.execute(ddl.verbatim(op.definition))
    if op.state is not None:
        operations.execute(ddl.verbatim(ddl.set_trigger(op.schema, op.table, op.name, op.state)))


@Operations.implementation_for(DropCarriedOp)
def _drop_carried(operations: Operations, op: DropCarriedOp) -> None:
    if op.kind == "TRIGGER":
        operations.execute(
            ddl.verbatim(f"DROP TRIGGER {ddl.quote(op.name)} ON {ddl.quote(op.schema, op.table)}")
        )
    else:
        operations.execute(ddl.verbatim(f"DROP {op.kind} {ddl.quote(op.schema, op.name)}"))


#: Whose text is one statement, whatever semicolons are in it.
_CALLABLE = ("function", "procedure")

#: What PostgreSQL refuses of a soft object. A lock that was not to be had, or a right that is
#: lacking, is no reason to leave anything behind: then the whole revision fails.
_REFUSALS = ("0A", "22", "42")
_NO_REFUSAL = "42501"


@Operations.implementation_for(CarryOp)
def _carry(operations: Operations, op: CarryOp) -> None:
    if op.kind in _CALLABLE:
        # A body may name what is created later, or only in the application's own search path.
        operations.execute("SELECT set_config('check_function_bodies', 'off', true)")
        statements = [op.definition]
    else:
        statements = sqltext.statements(op.definition)
    if op.soft:
        operations.execute(ddl.verbatim(_softly(op, statements)))
        return
    for statement in statements:
        try:
            operations.execute(ddl.verbatim(statement))
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error) and not session.passes(error.orig):
                raise Refused(
                    f"{op.kind} {op.name!r} cannot be carried: {session.first_line(error.orig)}",
                    hint="change it in the extras file, or take it out if nothing needs it",
                ) from None
            raise


def _softly(op: CarryOp, statements: Sequence[str]) -> str:
    """Return a block that creates an object, or warns of what PostgreSQL says against it.

    A block, and not a savepoint, so that ``generate --sql`` prints what is done.
    """
    tag = "$regionkit$"
    while any(tag in statement for statement in statements):
        tag = f"{tag[:-1]}_$"
    executed = "".join(f"  EXECUTE {ddl.literal(statement)};\n" for statement in statements)
    classes = ", ".join(map(ddl.literal, _REFUSALS))
    return (
        f"DO {tag}\nBEGIN\n{executed}EXCEPTION WHEN OTHERS THEN\n"
        f"  IF left(SQLSTATE, 2) NOT IN ({classes}) OR SQLSTATE = {ddl.literal(_NO_REFUSAL)} THEN\n"
        f"    RAISE;\n  END IF;\n"
        f"  RAISE WARNING USING MESSAGE = {ddl.literal(f'{LEFT_BEHIND}{op.kind} {op.name}: ')} "
        f"|| SQLERRM;\nEND {tag}"
    )


@Operations.implementation_for(TakeBackOp)
def _take_back(operations: Operations, op: TakeBackOp) -> None:
    for statement in sqltext.statements(op.statements or ""):
        operations.execute(ddl.verbatim(statement))


# Writing the operations down ------------------------------------------------------------------


@renderers.dispatch_for(CreateRegionalSchemaOp)
@renderers.dispatch_for(DropRegionalSchemaOp)
@renderers.dispatch_for(CreateEnumOp)
@renderers.dispatch_for(DropEnumOp)
@renderers.dispatch_for(CreateDomainOp)
@renderers.dispatch_for(DropDomainOp)
@renderers.dispatch_for(CreateSequenceOp)
@renderers.dispatch_for(DropSequenceOp)
@renderers.dispatch_for(CreatePartitionsOp)
@renderers.dispatch_for(DropPartitionsOp)
@renderers.dispatch_for(CreateRegionOp)
@renderers.dispatch_for(DropRegionOp)
@renderers.dispatch_for(CreateKeyTableOp)
@renderers.dispatch_for(DropKeyTableOp)
@renderers.dispatch_for(AddForeignKeyOp)
@renderers.dispatch_for(CarryFunctionOp)
@renderers.dispatch_for(CarryTriggerOp)
@renderers.dispatch_for(DropCarriedOp)
@renderers.dispatch_for(CarryOp)
@renderers.dispatch_for(TakeBackOp)
def _render_plain(context: AutogenContext, op: Any) -> str:
    return str(op.source())


@renderers.dispatch_for(CreateRegionalTableOp)
@renderers.dispatch_for(CreateLinkOp)
@renderers.dispatch_for(CreateRegionListOp)
def _render_table(context: AutogenContext, op: TableOp) -> str:
    """Write the call like Alembic's ``create_table``, under the operation's own name."""
    plain = TableOp.create_table(op)
    rendered = renderers.dispatch(plain)(context, plain)
    assert isinstance(rendered, str)
    head = rendered.replace("op.create_table(", f"op.{op.method}(", 1).removesuffix("\n)")
    own = "".join(f",\n{name}={op.options[name]!r}" for name in op.own)
    return f"{head}{own}\n)"
