"""SQLAlchemy's types for what ``pg_type`` says. Pure.

SQLAlchemy's own where they are exact; those of the schema by what they are made of; anything else
under the name that PostgreSQL gives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from toolkit.postgres import ddl
from toolkit.postgres.reflect.renaming import Renaming
from toolkit.postgres.reflect.rows import Attribute, TypeRow, TypeUse
from toolkit.types import Composite, CustomRange, PostgresNamed

#: An extension's types are found there without their schema.
_DEFAULT_SCHEMA = "public"
_QUALIFIER = re.compile(r'^(?:"(?:[^"]|"")*"|[^".]+)\.')

#: Types without arguments.
_SIMPLE: dict[str, Callable[[], TypeEngine[Any]]] = {
    "smallint": sa.SmallInteger,
    "integer": sa.Integer,
    "bigint": sa.BigInteger,
    "numeric": sa.Numeric,
    "real": sa.REAL,
    "double precision": sa.Double,
    "boolean": sa.Boolean,
    "date": sa.Date,
    "uuid": sa.Uuid,
    "bytea": sa.LargeBinary,
    "timestamp without time zone": sa.DateTime,
    "timestamp with time zone": lambda: sa.DateTime(timezone=True),
    "time without time zone": sa.Time,
    "time with time zone": lambda: sa.Time(timezone=True),
    "interval": postgresql.INTERVAL,
    "json": postgresql.JSON,
    "jsonb": postgresql.JSONB,
    "jsonpath": postgresql.JSONPATH,
    "inet": postgresql.INET,
    "cidr": postgresql.CIDR,
    "macaddr": postgresql.MACADDR,
    "macaddr8": postgresql.MACADDR8,
    "money": postgresql.MONEY,
    "oid": postgresql.OID,
    "regclass": postgresql.REGCLASS,
    "regconfig": postgresql.REGCONFIG,
    "tsvector": postgresql.TSVECTOR,
    "tsquery": postgresql.TSQUERY,
    "int4range": postgresql.INT4RANGE,
    "int8range": postgresql.INT8RANGE,
    "numrange": postgresql.NUMRANGE,
    "daterange": postgresql.DATERANGE,
    "tsrange": postgresql.TSRANGE,
    "tstzrange": postgresql.TSTZRANGE,
    "int4multirange": postgresql.INT4MULTIRANGE,
    "int8multirange": postgresql.INT8MULTIRANGE,
    "nummultirange": postgresql.NUMMULTIRANGE,
    "datemultirange": postgresql.DATEMULTIRANGE,
    "tsmultirange": postgresql.TSMULTIRANGE,
    "tstzmultirange": postgresql.TSTZMULTIRANGE,
    "bit varying": lambda: postgresql.BIT(varying=True),
}

#: Types with arguments, from ``format_type``'s text.
_FORMS: list[tuple[re.Pattern[str], Callable[[re.Match[str]], TypeEngine[Any]]]] = [
    (
        re.compile(r"numeric\((\d+),(-?\d+)\)"),
        lambda found: sa.Numeric(int(found[1]), int(found[2])),
    ),
    (
        re.compile(r"timestamp\((\d)\) (with|without) time zone"),
        lambda found: postgresql.TIMESTAMP(timezone=found[2] == "with", precision=int(found[1])),
    ),
    (
        re.compile(r"time\((\d)\) (with|without) time zone"),
        lambda found: postgresql.TIME(timezone=found[2] == "with", precision=int(found[1])),
    ),
    (
        re.compile(r"interval(?: ([a-z][a-z ]*[a-z]))?(?:\((\d)\))?"),
        lambda found: postgresql.INTERVAL(
            fields=found[1], precision=int(found[2]) if found[2] else None
        ),
    ),
    (re.compile(r"bit\((\d+)\)"), lambda found: postgresql.BIT(int(found[1]))),
    (
        re.compile(r"bit varying\((\d+)\)"),
        lambda found: postgresql.BIT(int(found[1]), varying=True),
    ),
]

_STRING = re.compile(r"(text|character varying|character)(?:\((\d+)\))?")
_STRINGS = {"text": sa.Text, "character varying": sa.String, "character": sa.CHAR}


class TypeReader:
    """Turns the types of one catalogue into SQLAlchemy's.

    A type that the schema defines is one object, however many columns have it.

    Args:
        types: every type, by oid.
        attributes: the fields of composite types, by relation.
        renaming: what schemas are called in the result.
    """

    def __init__(
        self,
        types: Mapping[int, TypeRow],
        attributes: Mapping[int, Sequence[Attribute]],
        renaming: Renaming,
    ) -> None:
        self._types = types
        self._attributes = attributes
        self._renaming = renaming
        self._defined: dict[int, TypeEngine[Any]] = {}

    def is_row_of_table(self, type_: int) -> bool:
        """Return whether values are rows of a table, or hold some."""
        row = self._types[type_]
        if row.element:
            return self.is_row_of_table(row.element)
        return row.relation_kind not in (None, "c")

    def loses_collation(self, use: TypeUse) -> bool:
        """Return whether a column's own collation has no place in what :meth:`read` returns."""
        row = self._types[use.type]
        while row.element:
            row = self._types[row.element]
        return use.collation is not None and row.kind == "d"

    def read(self, use: TypeUse) -> TypeEngine[Any]:
        """Return the type of a column, with its collation where SQLAlchemy has a place for it."""
        row = self._types[use.type]
        if row.element:
            element = TypeUse(
                row.element,
                use.text.removesuffix("[]"),
                collation=use.collation,
                collation_schema=use.collation_schema,
            )
            return postgresql.ARRAY(
                self.read(element), dimensions=use.dimensions if use.dimensions > 1 else None
            )
        if row.schema == "pg_catalog":
            return self._built_in(use)
        if row.kind == "b" or row.extension is not None:
            return PostgresNamed(self._named(row, use) + self._collated(use))
        if use.type not in self._defined:
            self._defined[use.type] = self._definition(row, use)
        return self._defined[use.type]

    def _built_in(self, use: TypeUse) -> TypeEngine[Any]:
        if use.text in _SIMPLE:
            return _SIMPLE[use.text]()
        if (found := _STRING.fullmatch(use.text)) is not None:
            length = int(found[2]) if found[2] else None
            collation: dict[str, str] = {}
            if use.collation is not None:
                collation["collation"] = use.collation
                if use.collation_schema not in (None, "pg_catalog"):
                    collation["collation_schema"] = self._renaming.schema(str(use.collation_schema))
            return _STRINGS[found[1]](length, **collation)
        for form, made in _FORMS:
            if (found := form.fullmatch(use.text)) is not None:
                return made(found)
        return PostgresNamed(use.text + self._collated(use))

    def _named(self, row: TypeRow, use: TypeUse) -> str:
        """Return ``format_type``'s text, without the schema where nobody needs it."""
        if row.extension is not None and row.schema == _DEFAULT_SCHEMA:
            return _QUALIFIER.sub("", use.text)
        return self._renaming.text(use.text)

    def _definition(self, row: TypeRow, use: TypeUse) -> TypeEngine[Any]:
        schema = self._renaming.schema(row.schema)
        if row.kind == "e":
            return postgresql.ENUM(*row.labels, name=row.name, schema=schema, create_type=False)
        if row.kind == "d":
            base = self.read(TypeUse(row.base, str(row.base_text), row.base_dimensions))
            return postgresql.DOMAIN(row.name, base, schema=schema, create_type=False)
        if row.kind == "c" and row.relation in self._attributes:
            fields = [
                (field.name, self.read(field.use)) for field in self._attributes[row.relation]
            ]
            return Composite(row.name, *fields, schema=schema)
        if row.kind == "r":
            subtype = self.read(TypeUse(row.subtype, str(row.subtype_text)))
            return CustomRange(row.name, subtype, schema=schema)
        if row.kind == "m":
            range_ = self._types[row.range]
            subtype = self.read(TypeUse(range_.subtype, str(range_.subtype_text)))
            return CustomRange(row.name, subtype, schema=schema, multi=True)
        return PostgresNamed(self._named(row, use))

    def _collated(self, use: TypeUse) -> str:
        if use.collation is None:
            return ""
        schema = self._renaming.schema(str(use.collation_schema))
        qualifier = None if schema == "pg_catalog" else schema
        return f" COLLATE {ddl.quote(qualifier, use.collation)}"
