"""What ``pg_catalog`` says of the tables of some schemas, as data.

A bounded number of queries, whatever the number of tables. They only read, need no privilege beyond
connecting, and run on PostgreSQL 13 and later, on a standby too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg.rows import class_row

from toolkit.postgres.session import Connection


@dataclass(frozen=True)
class Relation:
    """A table, partitioned table or foreign table (``pg_class``).

    Attributes:
        kind: ``r``, ``p`` or ``f``, as in the catalogue.
        partition: whether it is a partition of another one.
        of_type: the composite type of a typed table.
        method: the access method, where it is not ``heap``.
        options: storage parameters, those of its TOAST table with ``toast.`` in front.
        partition_key: PostgreSQL's text, for a partitioned table.
        partition_columns: its columns by number, 0 for an expression.
        extension: the extension that it is part of.
    """

    oid: int
    schema: str
    name: str
    kind: str
    unlogged: bool
    partition: bool
    of_type: str | None
    method: str | None
    tablespace: str | None
    options: list[str]
    partition_key: str | None
    partition_columns: list[int]
    comment: str | None
    extension: str | None


@dataclass(frozen=True)
class Inherited:
    """One parent of a table: by partition or by old-style inheritance (``pg_inherits``)."""

    child: int
    parent: int


@dataclass(frozen=True)
class TypeUse:
    """A type where it is used: by a column, a field, a domain or a range.

    Attributes:
        type: of ``pg_type``.
        text: what ``format_type`` says, arguments included.
        dimensions: declared array dimensions.
        collation: name where it is not the type's own, else ``None``.
        collation_schema: where that collation is defined.
    """

    type: int
    text: str
    dimensions: int = 0
    collation: str | None = None
    collation_schema: str | None = None


@dataclass(frozen=True)
class Attribute:
    """A column, or a field of a composite type (``pg_attribute``).

    Attributes:
        identity: ``a`` (always), ``d`` (by default) or empty.
        generated: ``s`` (stored), ``v`` (virtual) or empty.
        default: PostgreSQL's text of the default or of the generated value.
    """

    relation: int
    number: int
    name: str
    type: int
    text: str
    dimensions: int
    collation: str | None
    collation_schema: str | None
    not_null: bool
    identity: str
    generated: str
    default: str | None
    comment: str | None

    @property
    def use(self) -> TypeUse:
        """Its type."""
        return TypeUse(self.type, self.text, self.dimensions, self.collation, self.collation_schema)


@dataclass(frozen=True)
class IdentitySequence:
    """The sequence behind an identity column, or the sequence that a column owns."""

    relation: int
    number: int
    schema: str
    name: str
    type: str
    start: int
    increment: int
    minimum: int
    maximum: int
    cache: int
    cycle: bool


@dataclass(frozen=True)
class Constraint:
    """A row of ``pg_constraint``; codes and numbers as in the catalogue."""

    oid: int
    relation: int
    name: str
    type: str
    deferrable: bool
    deferred: bool
    validated: bool
    enforced: bool
    no_inherit: bool
    inherited: bool
    period: bool
    parent: int
    index: int
    columns: list[int]
    target: int
    target_columns: list[int]
    on_update: str
    on_delete: str
    match: str
    delete_columns: list[int]
    operators: list[str]
    expression: str | None
    comment: str | None


@dataclass(frozen=True)
class IndexRow:
    """An index.

    Attributes:
        definition: what ``pg_get_indexdef`` says.
        keys: column numbers, 0 for an expression; those of INCLUDE follow the keys.
        key_count: how many of them are keys.
        folding: which keys compare by a collation that takes different strings as equal.
        where: predicate of a partial index.
    """

    oid: int
    relation: int
    name: str
    method: str
    unique: bool
    valid: bool
    nulls_not_distinct: bool
    definition: str
    keys: list[int]
    key_count: int
    folding: list[bool]
    where: str | None
    options: list[str]
    tablespace: str | None


@dataclass(frozen=True)
class TypeRow:
    """A type (``pg_type``).

    Attributes:
        kind: ``b``, ``c``, ``d``, ``e``, ``m`` or ``r``, as in the catalogue.
        element: type of the elements of a true array, else 0.
        relation: that describes a composite type, else 0.
        relation_kind: ``c`` for a type by itself, other for the row type of a table.
        base: type that a domain stands for, else 0.
        labels: of an enum.
        subtype: type of a range's bounds, else 0.
        range: the range whose multirange it is, else 0.
    """

    oid: int
    schema: str
    name: str
    kind: str
    element: int
    relation: int
    relation_kind: str | None
    base: int
    base_text: str | None
    base_dimensions: int
    labels: list[str]
    subtype: int
    subtype_text: str | None
    range: int
    extension: str | None


@dataclass(frozen=True)
class Rows:
    """Everything that was read. Lists are in the catalogue's order, by column number or name.

    Attributes:
        relations: every table of the database that is not PostgreSQL's own, by oid.
        parents: of a table, in the order of inheritance.
        children: partitions and inheriting tables.
        attributes: of tables, also of those that foreign keys lead to, and of composite types.
    """

    relations: Mapping[int, Relation]
    parents: Mapping[int, Sequence[int]]
    children: Mapping[int, Sequence[int]]
    attributes: Mapping[int, Sequence[Attribute]]
    identities: Mapping[tuple[int, int], IdentitySequence]
    constraints: Mapping[int, Sequence[Constraint]]
    indexes: Mapping[int, Sequence[IndexRow]]
    types: Mapping[int, TypeRow]

    def leaves(self, oid: int) -> list[int]:
        """Return the partitions of a partitioned table that hold rows."""
        return [child for child in self.partitions(oid) if self.relations[child].kind != "p"]

    def partitions(self, oid: int) -> list[int]:
        """Return the partitions of a partitioned table, on all levels."""
        found: list[int] = []
        for child in self.children.get(oid, ()):
            if self.relations[child].partition:
                found += [child, *self.partitions(child)]
        return found

    def top(self, oid: int) -> int:
        """Return the partitioned table that a partition belongs to in the end."""
        return _top(oid, self.relations, self.parents)


def read_rows(connection: Connection, schemas: Sequence[str]) -> Rows:
    """Read the tables of some schemas, with their partitions wherever these are."""
    version = connection.info.server_version
    relations = {row.oid: row for row in _fetch(connection, Relation, _RELATIONS)}
    parents: dict[int, list[int]] = {}
    children: dict[int, list[int]] = {}
    for row in _fetch(connection, Inherited, _INHERITED):
        if row.child in relations and row.parent in relations:
            parents.setdefault(row.child, []).append(row.parent)
            children.setdefault(row.parent, []).append(row.child)
    wanted = [
        oid
        for oid in relations
        if relations[_top(oid, relations, parents)].schema in schemas
        or relations[oid].schema in schemas
    ]
    types = {row.oid: row for row in _fetch(connection, TypeRow, _types(version))}
    constraints = _fetch(connection, Constraint, _constraints(version), wanted)
    described = [
        *wanted,
        *(row.target for row in constraints),
        *(row.relation for row in types.values() if row.relation_kind == "c"),
    ]
    return Rows(
        relations,
        parents,
        children,
        _grouped(_fetch(connection, Attribute, _ATTRIBUTES, described)),
        {
            (row.relation, row.number): row
            for row in _fetch(connection, IdentitySequence, _IDENTITIES, wanted)
        },
        _grouped(constraints),
        _grouped(_fetch(connection, IndexRow, _indexes(version), wanted)),
        types,
    )


def _top(oid: int, relations: Mapping[int, Relation], parents: Mapping[int, Sequence[int]]) -> int:
    while relations[oid].partition and oid in parents:
        oid = parents[oid][0]
    return oid


_Row = TypeVar("_Row")


def _fetch(
    connection: Connection, kind: type[_Row], query: str, wanted: Sequence[int] = ()
) -> list[_Row]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, {"wanted": list(wanted)}).fetchall()


def _grouped(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.relation, []).append(row)
    return found


_RELATIONS = """
SELECT c.oid::int8 AS oid, n.nspname::text AS schema, c.relname::text AS name,
       c.relkind::text AS kind, c.relpersistence = 'u' AS unlogged, c.relispartition AS partition,
       CASE WHEN c.reloftype <> 0 THEN format_type(c.reloftype, NULL) END AS of_type,
       nullif(m.amname::text, 'heap') AS method, s.spcname::text AS tablespace,
       coalesce(c.reloptions, '{}')
       || ARRAY(SELECT 'toast.' || option FROM unnest(t.reloptions) AS option) AS options,
       pg_get_partkeydef(c.oid) AS partition_key,
       coalesce(p.partattrs::int2[], '{}') AS partition_columns,
       d.description AS comment, x.extname::text AS extension
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
LEFT JOIN pg_description d
  ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass AND d.objsubid = 0
LEFT JOIN pg_depend e
  ON e.objid = c.oid AND e.classid = 'pg_class'::regclass AND e.deptype = 'e'
  AND e.refclassid = 'pg_extension'::regclass
LEFT JOIN pg_extension x ON x.oid = e.refobjid
WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
  AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema'
ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"
"""

_INHERITED = """
SELECT i.inhrelid::int8 AS child, i.inhparent::int8 AS parent
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n
  ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f')
ORDER BY i.inhparent, n.nspname COLLATE "C", c.relname COLLATE "C", i.inhseqno
"""

_ATTRIBUTES = """
SELECT a.attrelid::int8 AS relation, a.attnum::int4 AS number, a.attname::text AS name,
       a.atttypid::int8 AS type, format_type(a.atttypid, a.atttypmod) AS text,
       a.attndims::int4 AS dimensions, l.collname::text AS collation,
       ln.nspname::text AS collation_schema, a.attnotnull AS not_null,
       a.attidentity::text AS identity, a.attgenerated::text AS generated,
       pg_get_expr(d.adbin, d.adrelid) AS "default", o.description AS comment
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation AND a.attcollation <> t.typcollation
LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
LEFT JOIN pg_description o
  ON o.objoid = a.attrelid AND o.classoid = 'pg_class'::regclass AND o.objsubid = a.attnum
WHERE a.attrelid = ANY(%(wanted)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
"""

_IDENTITIES = """
SELECT d.refobjid::int8 AS relation, d.refobjsubid::int4 AS number, n.nspname::text AS schema,
       c.relname::text AS name, format_type(s.seqtypid, NULL) AS type, s.seqstart AS start,
       s.seqincrement AS increment, s.seqmin AS minimum, s.seqmax AS maximum,
       s.seqcache AS cache, s.seqcycle AS cycle
FROM pg_depend d
JOIN pg_sequence s ON s.seqrelid = d.objid
JOIN pg_class c ON c.oid = d.objid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype = 'i' AND d.refobjid = ANY(%(wanted)s::oid[])
"""


def _constraints(version: int) -> str:
    delete_columns = "o.confdelsetcols" if version >= 150000 else "NULL::int2[]"
    enforced = "o.conenforced" if version >= 180000 else "true"
    period = "o.conperiod" if version >= 180000 else "false"
    return f"""
SELECT o.oid::int8 AS oid, o.conrelid::int8 AS relation, o.conname::text AS name,
       o.contype::text AS type, o.condeferrable AS deferrable, o.condeferred AS deferred,
       o.convalidated AS validated, {enforced} AS enforced, o.connoinherit AS no_inherit,
       o.coninhcount > 0 AS inherited,
       {period} AS period, o.conparentid::int8 AS parent, o.conindid::int8 AS index,
       coalesce(o.conkey, '{{}}') AS columns, o.confrelid::int8 AS target,
       coalesce(o.confkey, '{{}}') AS target_columns, o.confupdtype::text AS on_update,
       o.confdeltype::text AS on_delete, o.confmatchtype::text AS match,
       coalesce({delete_columns}, '{{}}') AS delete_columns,
       ARRAY(SELECT CASE WHEN n.nspname = 'pg_catalog' THEN p.oprname::text
                         ELSE format('OPERATOR(%%I.%%s)', n.nspname, p.oprname) END
             FROM unnest(o.conexclop) WITH ORDINALITY AS u(oid, position)
             JOIN pg_operator p ON p.oid = u.oid
             JOIN pg_namespace n ON n.oid = p.oprnamespace
             ORDER BY u.position) AS operators,
       pg_get_expr(o.conbin, o.conrelid) AS expression, d.description AS comment
FROM pg_constraint o
LEFT JOIN pg_description d
  ON d.objoid = o.oid AND d.classoid = 'pg_constraint'::regclass
WHERE o.conrelid = ANY(%(wanted)s::oid[]) AND o.contype IN ('p', 'u', 'c', 'f', 'x', 'n')
ORDER BY o.conrelid, o.conname COLLATE "C", o.oid
"""


def _indexes(version: int) -> str:
    distinct = "x.indnullsnotdistinct" if version >= 150000 else "false"
    return f"""
SELECT x.indexrelid::int8 AS oid, x.indrelid::int8 AS relation, c.relname::text AS name,
       m.amname::text AS method, x.indisunique AS unique, x.indisvalid AS valid,
       {distinct} AS nulls_not_distinct, pg_get_indexdef(x.indexrelid) AS definition,
       x.indkey::int2[] AS keys, x.indnkeyatts::int4 AS key_count,
       ARRAY(SELECT NOT coalesce(l.collisdeterministic, true)
             FROM unnest(x.indcollation::oid[]) WITH ORDINALITY AS u(oid, position)
             LEFT JOIN pg_collation l ON l.oid = u.oid
             ORDER BY u.position) AS folding,
       pg_get_expr(x.indpred, x.indrelid) AS "where", coalesce(c.reloptions, '{{}}') AS options,
       s.spcname::text AS tablespace
FROM pg_index x
JOIN pg_class c ON c.oid = x.indexrelid
JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
WHERE x.indrelid = ANY(%(wanted)s::oid[])
ORDER BY x.indrelid, c.relname COLLATE "C"
"""


def _types(version: int) -> str:
    multirange = (
        "LEFT JOIN pg_range m ON m.rngmultitypid = t.oid"
        if version >= 140000
        else "LEFT JOIN pg_range m ON false"
    )
    return f"""
SELECT t.oid::int8 AS oid, n.nspname::text AS schema, t.typname::text AS name,
       t.typtype::text AS kind, coalesce(a.oid, 0)::int8 AS element,
       t.typrelid::int8 AS relation, c.relkind::text AS relation_kind,
       t.typbasetype::int8 AS base,
       format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_text,
       t.typndims::int4 AS base_dimensions,
       ARRAY(SELECT g.enumlabel::text FROM pg_enum g WHERE g.enumtypid = t.oid
             ORDER BY g.enumsortorder) AS labels,
       coalesce(r.rngsubtype, 0)::int8 AS subtype,
       format_type(r.rngsubtype, NULL) AS subtype_text,
       coalesce(m.rngtypid, 0)::int8 AS range, x.extname::text AS extension
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_type a ON a.typarray = t.oid
LEFT JOIN pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_range r ON r.rngtypid = t.oid
{multirange}
LEFT JOIN pg_depend e
  ON e.objid = t.oid AND e.classid = 'pg_type'::regclass AND e.deptype = 'e'
  AND e.refclassid = 'pg_extension'::regclass
LEFT JOIN pg_extension x ON x.oid = e.refobjid
WHERE t.typtype <> 'p'
"""
