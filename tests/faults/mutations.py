"""A checker that is checked: one thing is changed in a migrated target, and verify must name it.

Each mutation is drawn from a seed: kind, table, row, column. On PostgreSQL it is done to a copy of
the migrated database, on MongoDB to the database itself, which is put back afterwards. It counts
as found when ``regionkit verify`` exits 5 with a finding of a fitting code that names the table
and the key or object.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

import bson
import psycopg
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from tests.faults import invariants
from tests.faults.servers import Document, Ground
from tests.faults.subjects import Subject
from tests.live.journey import Journey, copy_of

Backend = Literal["postgres", "mongo"]

#: Codes that fit a change of rows, and of the catalogue. What an object is called decides the rest.
ROWS = ("row-", "document-invalid")
PLACES = (*ROWS, "link-", "client-", "orphan")
OBJECTS = (
    "constraint-",
    "index-",
    "catalogue-",
    "column-",
    "trigger-",
    "grant-",
    "object-",
    "validator-",
    "collection-",
    "table-",
    "unexpected-",
    "policy-",
    "view-",
    "options-",
    "schema-",
    "default-",
    "privilege-",
)


#: The campaign's own checker is checked by the same mutations.
_BLIND = "the campaign's own invariants do not see it"


class Unfit(Exception):
    """This draw cannot be done to this table; another one is drawn."""


@dataclass(frozen=True)
class Change:
    """What was done, and what verify has to say of it.

    Attributes:
        text: for people.
        codes: how the code of a fitting finding may begin.
        names: what the finding has to name, all of it.
    """

    text: str
    codes: tuple[str, ...]
    names: tuple[str, ...]


@dataclass
class Outcome:
    """What became of one mutation."""

    id: str
    change: Change
    problem: str = ""
    seconds: float = 0.0
    kind: str = field(default="")


# PostgreSQL --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Patient:
    """A migrated PostgreSQL target that may be spoilt.

    Attributes:
        subject: what is in it.
        connection: to it; the layout is its search path, triggers and foreign keys are silent.
        rng: of the draw.
    """

    subject: Subject
    connection: psycopg.Connection[Any]
    rng: random.Random

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.connection.execute(statement.encode(), parameters or None).fetchall()

    def do(self, statement: str) -> int:
        """Run a statement; return how many rows it changed."""
        return self.connection.execute(statement.encode()).rowcount

    def table(self, *, regional: bool | None = None, keyed: bool = False) -> str:
        """Return a table."""
        names = [
            name
            for name, table in self.subject.tables.items()
            if (regional is None or bool(table.region) == regional) and (table.key or not keyed)
        ]
        return self.rng.choice(names)

    def columns(self, table: str) -> dict[str, str]:
        """Return the columns that are copied, with their types; keys, region and generated not."""
        rows = self.rows(
            "SELECT a.attname, CASE WHEN y.typtype = 'e' THEN 'enum' ELSE y.typname END "
            "FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid "
            "WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT attisdropped "
            "AND a.attgenerated = '' ORDER BY a.attnum",
            table,
        )
        key = self.subject.tables[table].key
        return {
            name: kind
            for name, kind in rows
            if name not in key and name != "region" and not name.endswith("_region")
        }

    def row(self, table: str, where: str = "true") -> tuple[str, str]:
        """Return a condition that one row fulfils, and its key as verify prints it."""
        key = self.subject.tables[table].key
        rows = self.rows(f"SELECT tableoid::regclass::text, ctid::text FROM {table} WHERE {where}")
        if not rows:
            raise Unfit(f"{table} has no row where {where}")
        part, ctid = self.rng.choice(sorted(rows))
        one = f"tableoid = '{part}'::regclass AND ctid = '{ctid}'"
        shown = [*key] or [name for name, _ in self.columns_in_order(table)]
        cells = self.rows(
            f"SELECT {', '.join(f'{name}::text' for name in shown)} FROM {table} WHERE {one}"
        )
        return one, ", ".join("NULL" if cell is None else cell for cell in cells[0])

    def columns_in_order(self, table: str) -> list[tuple[str, str]]:
        """Return the columns of the source, in order."""
        return [*self.columns(table).items()]


_DRIFT = {
    "int2": "{c} + 1",
    "int4": "{c} + 1",
    "int8": "{c} + 100000",
    "numeric": "{c} + 0.01",
    "text": "{c} || 'x'",
    "varchar": "{c} || 'x'",
    "bpchar": "overlay({c} placing 'Z' from 1)",
    "bool": "NOT {c}",
    "date": "{c} + 1",
    "timestamptz": "{c} + interval '1 microsecond'",
    "uuid": "gen_random_uuid()",
    "interval": "{c} + interval '1 microsecond'",
    "jsonb": "jsonb_build_object('was', {c})",
    "enum": "CASE {c}::text WHEN 'active' THEN 'closed' ELSE 'active' END::client_status",
}


def pg_cell(at: Patient) -> Change:
    table = at.table()
    column, kind = at.rng.choice([*at.columns(table).items()] or _unfit(table))
    one, key = at.row(table, f"{column} IS NOT NULL")
    if at.do(f"UPDATE {table} SET {column} = {_DRIFT[kind].format(c=column)} WHERE {one}") != 1:
        raise Unfit("no row")
    return Change(f"{table}.{column} of {key} changed", ROWS, (table, key))


def pg_null_and_empty(at: Patient) -> Change:
    table = at.table()
    texts = [name for name, kind in at.columns(table).items() if kind in ("text", "varchar")]
    column = at.rng.choice(texts or _unfit(table))
    one, key = at.row(table, f"{column} IS NULL OR {column} = ''")
    at.do(f"UPDATE {table} SET {column} = CASE WHEN {column} IS NULL THEN '' END WHERE {one}")
    return Change(f"{table}.{column} of {key}: NULL against empty", ROWS, (table, key))


def pg_null(at: Patient) -> Change:
    table = at.table()
    nullable = [
        name
        for name in at.columns(table)
        if at.rows(
            "SELECT NOT attnotnull FROM pg_attribute WHERE attrelid = %s::regclass "
            "AND attname = %s",
            table,
            name,
        )
        == [(True,)]
    ]
    column = at.rng.choice(nullable or _unfit(table))
    one, key = at.row(table, f"{column} IS NOT NULL")
    at.do(f"UPDATE {table} SET {column} = NULL WHERE {one}")
    return Change(f"{table}.{column} of {key} is NULL", ROWS, (table, key))


def pg_drop(at: Patient) -> Change:
    table = at.table()
    one, key = at.row(table)
    at.do(f"DELETE FROM {table} WHERE {one}")
    return Change(f"{key} of {table} is gone", ("row-missing",), (table, key))


def pg_duplicate(at: Patient) -> Change:
    table = at.table(regional=True)
    one, key = at.row(table)
    columns = at.rows(
        "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute WHERE attnum > 0 "
        "AND attrelid = %s::regclass AND attgenerated = '' AND attname <> 'region'",
        table,
    )[0][0]
    region = "region"
    if at.subject.tables[table].key:
        (now,) = at.rows(f"SELECT region FROM {table} WHERE {one}")[0]
        region = f"'{at.rng.choice([code for code in at.subject.regions if code != now])}'"
    at.do(
        f"INSERT INTO {table} ({columns}, region) OVERRIDING SYSTEM VALUE "
        f"SELECT {columns}, {region} FROM {table} WHERE {one}"
    )
    return Change(f"{key} of {table} is there twice ({region})", ROWS, (table, key))


def pg_extra(at: Patient) -> Change:
    table = at.rng.choice(["transfer", "client"] if at.subject.name == "bank" else ["transfer"])
    one, _ = at.row(table)
    columns = [
        name
        for (name,) in at.rows(
            "SELECT attname FROM pg_attribute WHERE attnum > 0 AND attrelid = %s::regclass "
            "AND attgenerated = '' AND attname <> 'id'",
            table,
        )
    ]
    values = [f"'x' || {name}" if name == "email" else name for name in columns]
    at.do(
        f"INSERT INTO {table} (id, {', '.join(columns)}) OVERRIDING SYSTEM VALUE "
        f"SELECT 777777, {', '.join(values)} FROM {table} WHERE {one}"
    )
    return Change(f"777777 of {table} is not in the source", ("row-unexpected",), (table, "777777"))


def pg_misplaced(at: Patient) -> Change:
    table = at.table(regional=True)
    one, key = at.row(table)
    (now,) = at.rows(f"SELECT region FROM {table} WHERE {one}")[0]
    other = at.rng.choice([code for code in at.subject.regions if code != now])
    at.do(f"UPDATE {table} SET region = '{other}' WHERE {one}")
    return Change(f"{key} of {table} is in {other}", ROWS, (table, key))


def pg_reference(at: Patient) -> Change:
    table = at.rng.choice([name for name, one in at.subject.tables.items() if one.references])
    column = at.rng.choice([*at.subject.tables[table].references])
    one, key = at.row(table, f"{column} IS NOT NULL")
    (now,) = at.rows(f"SELECT {column} FROM {table} WHERE {one}")[0]
    other = at.rng.choice([code for code in at.subject.regions if code != now])
    at.do(f"UPDATE {table} SET {column} = '{other}' WHERE {one}")
    return Change(f"{table}.{column} of {key} is {other}", ROWS, (table, key))


def pg_link(at: Patient) -> Change:
    link, columns = at.subject.link
    rows = at.rows(f"SELECT {', '.join(columns)}, region FROM {link}")
    *values, now = at.rng.choice(sorted(rows))
    where = " AND ".join(f"{c} = {v}" for c, v in zip(columns, values, strict=True))
    key = ", ".join(map(str, values))
    other = at.rng.choice([code for code in at.subject.regions if code != now])
    what = at.rng.choice(["wrong", "gone", "extra"])
    if what == "wrong":
        at.do(f"UPDATE {link} SET region = '{other}' WHERE {where}")
    elif what == "gone":
        at.do(f"DELETE FROM {link} WHERE {where}")
    else:
        key = ", ".join(["7"] * len(columns[1:]) + ["888888"])
        at.do(f"INSERT INTO {link} ({', '.join(columns)}, region) VALUES ({key}, '{now}')")
    return Change(f"the link of {key} is {what}", PLACES, (key,))


def pg_sequence(at: Patient) -> Change:
    table = at.rng.choice([name for name, one in at.subject.tables.items() if one.sequence])
    (name,) = at.rows(
        "SELECT coalesce(pg_get_serial_sequence(%s, 'id'), %s)",
        f"{at.subject.target}.{table}",
        f"{at.subject.target}.{table}_id_seq",
    )[0]
    (most,) = at.rows(f"SELECT max(id) FROM {table}")[0]
    value, called = at.rng.choice([(most - 1, True), (most, False), (1, False)])
    at.rows("SELECT setval(%s, %s, %s)", name, value, called)
    return Change(f"{name} stands at {value}", ("sequence-behind",), (table, str(most)))


def pg_key_table(at: Patient) -> Change:
    kept = at.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace "
        "AND relkind = 'r' AND relname ~ '_key$'",
        at.subject.target,
    )
    (name,) = at.rng.choice(sorted(kept))
    (column,) = at.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1", name
    )[0]
    table = name.split("_")[0]
    keys = at.rows(f"SELECT {column}::text FROM {name}")
    (key,) = at.rng.choice(sorted(keys))
    if at.rng.random() < 0.5:
        at.do(f"DELETE FROM {name} WHERE {column}::text = '{key}'")
        return Change(f"{key} is not in {name}", ("key-table-differs",), (table, key))
    extra = "00000000-0000-0000-0000-000000000007" if column == "pan_token" else "extra@key"
    at.do(f"INSERT INTO {name} VALUES ('{extra}')")
    return Change(f"{extra} is too many in {name}", ("key-table-differs",), (table, extra))


def pg_type(at: Patient) -> Change:
    table = at.table()
    wider = {
        "int4": "bigint",
        "int2": "integer",
        "numeric": "numeric(30,4)",
        "varchar": "text",
        "date": "timestamp",
        "interval": "text",
        "jsonb": "json",
        "text": "varchar(500)",
        "uuid": "text",
        "bool": "text",
    }
    columns = [(name, wider[kind]) for name, kind in at.columns(table).items() if kind in wider]
    column, kind = at.rng.choice(columns or _unfit(table))
    at.do(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}")
    return Change(f"{table}.{column} is {kind}", (*OBJECTS, *ROWS), (table, column))


def _constraint(at: Patient, kinds: str) -> tuple[str, str, str]:
    rows = at.rows(
        "SELECT c.relname, o.conname, o.contype::text FROM pg_constraint o "
        "JOIN pg_class c ON c.oid = o.conrelid WHERE c.relnamespace = %s::regnamespace "
        "AND o.conparentid = 0 AND NOT c.relispartition AND o.contype::text = ANY (%s)",
        at.subject.target,
        list(kinds),
    )
    return at.rng.choice(sorted(rows) or _unfit("constraints"))  # type: ignore[return-value]


def pg_constraint(at: Patient, kinds: str) -> Change:
    table, name, kind = _constraint(at, kinds)
    if kind == "n":
        (column,) = at.rows(
            "SELECT a.attname FROM pg_constraint o JOIN pg_attribute a ON a.attrelid = o.conrelid "
            "AND a.attnum = o.conkey[1] WHERE o.conname = %s AND o.conrelid = %s::regclass",
            name,
            table,
        )[0]
        at.do(f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL")
        return Change(f"{table}.{column} may be NULL", OBJECTS, (table, column))
    cascade = " CASCADE" if kind in "pu" else ""
    at.do(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"{cascade}')
    return Change(f"{name} of {table} is gone", OBJECTS, (table, name))


def pg_foreign_key(at: Patient) -> Change:
    return pg_constraint(at, "f")


def pg_unique(at: Patient) -> Change:
    return pg_constraint(at, "pu")


def pg_check(at: Patient) -> Change:
    return pg_constraint(at, "c")


def pg_not_null(at: Patient) -> Change:
    return pg_constraint(at, "n")


def pg_deferrable(at: Patient) -> Change:
    table, name, _ = _constraint(at, "f")
    (deferrable,) = at.rows(
        "SELECT condeferrable FROM pg_constraint WHERE conname = %s AND conrelid = %s::regclass",
        name,
        table,
    )[0]
    word = "NOT DEFERRABLE" if deferrable else "DEFERRABLE"
    at.do(f'ALTER TABLE {table} ALTER CONSTRAINT "{name}" {word}')
    return Change(f"{name} of {table} is {word}", OBJECTS, (table, name))


def _index(at: Patient) -> tuple[str, str, str]:
    rows = at.rows(
        "SELECT c.relname, i.relname, pg_get_indexdef(i.oid) FROM pg_index x "
        "JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid "
        "WHERE c.relnamespace = %s::regnamespace AND NOT c.relispartition "
        "AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.oid)",
        at.subject.target,
    )
    return at.rng.choice(sorted(rows) or _unfit("indexes"))  # type: ignore[return-value]


def pg_index(at: Patient) -> Change:
    table, name, _ = _index(at)
    at.do(f'DROP INDEX "{name}"')
    return Change(f"index {name} of {table} is gone", OBJECTS, (table, name))


def pg_leaf_index(at: Patient) -> Change:
    """An index that one partition does not have: the parent's is invalid then."""
    table, name, definition = _index(at)
    leaves = at.rows(
        "SELECT inhrelid::regclass::text FROM pg_inherits "
        "WHERE inhparent = %s::regclass ORDER BY 1",
        table,
    )
    if not leaves:
        raise Unfit(f"{table} has no partitions")
    at.do(f'DROP INDEX "{name}"')
    at.do(re.sub(r" ON (ONLY )?", " ON ONLY ", definition, count=1))
    spared = at.rng.choice(leaves)
    for (leaf,) in leaves:
        if (leaf,) != spared:
            of_leaf = f"{name[:40]}_{leaf[-12:]}"
            tail = re.split(r" ON (?:ONLY )?\S+ ", definition, maxsplit=1)[1]
            at.do(f'CREATE INDEX "{of_leaf}" ON {leaf} {tail}')
            at.do(f'ALTER INDEX "{name}" ATTACH PARTITION "{of_leaf}"')
    return Change(f"index {name} is not on {spared[0]}", OBJECTS, (name,))


def _trigger(at: Patient) -> tuple[str, str]:
    rows = at.rows(
        "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0",
        at.subject.target,
    )
    return at.rng.choice(sorted(rows) or _unfit("triggers"))  # type: ignore[return-value]


def pg_trigger(at: Patient) -> Change:
    table, name = _trigger(at)
    at.do(f'DROP TRIGGER "{name}" ON {table}')
    return Change(f"trigger {name} of {table} is gone", OBJECTS, (table, name))


def pg_trigger_disabled(at: Patient) -> Change:
    """One that keeps a key table: whether those of the source fire is the operator's decision."""
    table, name = _trigger(at)
    if not name.endswith("_key"):
        raise Unfit(name)
    leaves = [
        leaf
        for (leaf,) in at.rows(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", table
        )
    ]
    place = at.rng.choice([table, *sorted(leaves)])
    how = at.rng.choice(["DISABLE", "ENABLE REPLICA"])
    at.do(f'ALTER TABLE {place} {how} TRIGGER "{name}"')
    return Change(f"{how} trigger {name} of {place}", OBJECTS, (name,))


def _relation(at: Patient) -> str:
    rows = at.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace "
        "AND relkind IN ('r', 'p')",
        at.subject.target,
    )
    return str(at.rng.choice(sorted(rows))[0])


def pg_grant(at: Patient) -> Change:
    """On a partition: what an operator grants on a table is theirs."""
    rows = at.rows(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relispartition "
        "AND relkind = 'r'",
        at.subject.target,
    )
    (name,) = at.rng.choice(sorted(rows))
    privilege = at.rng.choice(["SELECT", "INSERT", "UPDATE", "TRUNCATE"])
    at.do(f"GRANT {privilege} ON {name} TO PUBLIC")
    return Change(f"PUBLIC may {privilege} {name}", OBJECTS, (name,))


def pg_policy(at: Patient) -> Change:
    name = _relation(at)
    at.do(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY")
    return Change(f"row level security on {name}", OBJECTS, (name,))


def pg_default(at: Patient) -> Change:
    table = at.table()
    column = at.rng.choice([*at.columns(table)] or _unfit(table))
    at.do(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT NULL")
    had = at.rows(
        "SELECT FROM pg_attrdef d JOIN pg_attribute a ON (a.attrelid, a.attnum) = "
        "(d.adrelid, d.adnum) WHERE d.adrelid = %s::regclass AND a.attname = %s",
        table,
        column,
    )
    if not had:
        raise Unfit("a default of NULL is none")
    return Change(f"{table}.{column} has another default", OBJECTS, (table, column))


def pg_leftover(at: Patient) -> Change:
    """Indexes and constraints that an operator adds to a table are theirs."""
    what, statement = at.rng.choice(
        [
            ("client_backup", "CREATE TABLE client_backup AS SELECT * FROM client"),
            ("some_view", "CREATE VIEW some_view AS SELECT 1 AS one"),
            ("some_sequence", "CREATE SEQUENCE some_sequence"),
            ("some_column", "ALTER TABLE client ADD some_column integer"),
        ]
    )
    at.do(statement)
    return Change(f"{what} is left over", OBJECTS, (what,))


def _unfit(what: str) -> Any:
    raise Unfit(what)


POSTGRES: dict[str, Callable[[Patient], Change]] = {
    "cell": pg_cell,
    "type": pg_type,
    "NULL against empty": pg_null_and_empty,
    "NULL": pg_null,
    "row dropped": pg_drop,
    "row duplicated": pg_duplicate,
    "row too many": pg_extra,
    "wrong region": pg_misplaced,
    "wrong region of a reference": pg_reference,
    "link": pg_link,
    "sequence behind": pg_sequence,
    "key table": pg_key_table,
    "index missing": pg_index,
    "index missing on one partition": pg_leaf_index,
    "foreign key missing": pg_foreign_key,
    "unique missing": pg_unique,
    "check missing": pg_check,
    "not null missing": pg_not_null,
    "foreign key deferrable": pg_deferrable,
    "trigger missing": pg_trigger,
    "trigger disabled": pg_trigger_disabled,
    "grant added": pg_grant,
    "row level security": pg_policy,
    "default changed": pg_default,
    "left over": pg_leftover,
}


# MongoDB -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Documents:
    """A migrated MongoDB database that may be spoilt."""

    subject: Subject
    database: Database[Document]
    rng: random.Random

    def collection(self, table: str | None = None) -> tuple[str, str, str]:
        """Return table, collection and region ("" for a global one) of a collection with rows."""
        table = table or self.rng.choice([*self.subject.tables])
        if not self.subject.tables[table].region:
            return table, table, ""
        for region in self.rng.sample(self.subject.regions, len(self.subject.regions)):
            if self.database[f"{table}_{region}"].find_one({}):
                return table, f"{table}_{region}", region
        raise Unfit(f"{table} is empty")

    def document(self, name: str, filter_: Document | None = None) -> Document:
        """Return a document."""
        found = list(self.database[name].find(filter_ or {}))
        if not found:
            raise Unfit(f"{name} has no such document")
        return self.rng.choice(sorted(found, key=lambda one: repr(one["_id"])))

    def key(self, table: str, document: Document) -> str:
        """Return a document's key as verify prints it."""
        key = self.subject.tables[table].key
        if len(key) == 1:
            return str(document["_id"])
        if key:
            return ", ".join(str(document["_id"][one]) for one in key)
        rest = [value for name, value in document.items() if name not in ("_id", "region")]
        return ", ".join("NULL" if value is None else str(value) for value in rest)

    def field(self, table: str, document: Document, kinds: tuple[type, ...]) -> str:
        """Return a field of some types."""
        names = [
            name
            for name, value in document.items()
            if type(value) in kinds
            and name not in ("_id", "region")
            and name not in self.subject.tables[table].references
        ]
        return str(self.rng.choice(names or _unfit(table)))

    def set(self, name: str, document: Document, change: Document) -> None:
        """Change a document whatever the validator says."""
        result = self.database.command(
            "update",
            name,
            updates=[{"q": {"_id": document["_id"]}, "u": change}],
            bypassDocumentValidation=True,
        )
        if result["nModified"] != 1:
            raise Unfit("nothing changed")

    def insert(self, name: str, document: Document) -> None:
        """Insert a document whatever the validator says."""
        self.database.command("insert", name, documents=[document], bypassDocumentValidation=True)


def mg_cell(at: Documents) -> Change:
    table, name, _ = at.collection()
    document = at.document(name)
    column = at.field(table, document, (str, Int64, int, Decimal128, bool, dict))
    value = document[column]
    new: Any = {"x": Int64(1)}
    if isinstance(value, bool):
        new = not value
    elif isinstance(value, (Int64, int)):
        new = type(value)(value + 1)
    elif isinstance(value, str):
        new = value + "x"
    elif isinstance(value, Decimal128):
        new = Decimal128(value.to_decimal() + Decimal("0.01"))
    at.set(name, document, {"$set": {column: new}})
    key = at.key(table, document)
    return Change(f"{column} of {key} in {name} changed", ROWS, (table, key))


def mg_microseconds(at: Documents) -> Change:
    table, name, _ = at.collection()
    document = at.document(name)
    names = [one for one in document if one.endswith("_us")]
    column = at.rng.choice(names or _unfit(table))
    if document[column] is None:
        raise Unfit("NULL")
    at.set(name, document, {"$set": {column: (document[column] + 1) % 1000}})
    key = at.key(table, document)
    return Change(f"{column} of {key} in {name} changed", ROWS, (table, key))


def mg_type(at: Documents) -> Change:
    table, name, _ = at.collection()
    document = at.document(name)
    column = at.field(table, document, (Int64, Decimal128, str, bool))
    value = document[column]
    new: Any
    if isinstance(value, bool):
        new = int(value)
    elif isinstance(value, Int64):
        new = at.rng.choice([int(value), float(value), Decimal128(str(value)), str(value)])
    elif isinstance(value, Decimal128):
        text = str(value.to_decimal())
        new = at.rng.choice([float(text), text, Decimal128(f"{text}0")])
    else:
        new = value.encode()
    at.set(name, document, {"$set": {column: new}})
    key = at.key(table, document)
    return Change(f"{column} of {key} in {name} is {type(new).__name__} {new!r}", ROWS, (table,))


def mg_null_and_empty(at: Documents) -> Change:
    table, name, _ = at.collection()
    document = at.document(name)
    names = [one for one, value in document.items() if value is None or value == ""]
    column = at.rng.choice(names or _unfit(table))
    change = at.rng.choice(["empty", "missing"])
    if change == "missing":
        at.set(name, document, {"$unset": {column: ""}})
    else:
        at.set(name, document, {"$set": {column: "" if document[column] is None else None}})
    return Change(f"{column} of {document['_id']} in {name} is {change}", ROWS, (table,))


def mg_extra_field(at: Documents) -> Change:
    table, name, _ = at.collection()
    document = at.document(name)
    at.set(name, document, {"$set": {"some_field": 1}})
    return Change(f"{document['_id']} of {name} has another field", ROWS, (table,))


def mg_drop(at: Documents) -> Change:
    table, name, _ = at.collection()
    document = at.document(name)
    at.database[name].delete_one({"_id": document["_id"]})
    key = at.key(table, document)
    return Change(f"{key} of {name} is gone", ("row-missing",), (table, key))


def mg_duplicate(at: Documents) -> Change:
    table = at.rng.choice([one for one, placed in at.subject.tables.items() if placed.region])
    _, name, region = at.collection(table)
    document = at.document(name)
    other = at.rng.choice([code for code in at.subject.regions if code != region])
    key = at.key(table, document)
    if at.subject.tables[table].key:
        at.insert(f"{table}_{other}", {**document, "region": other})
    else:
        identity = {**document["_id"], "ordinal": 77}
        at.insert(name, {**document, "_id": identity})
    return Change(f"{key} of {name} is there twice", ROWS, (table, key))


def mg_misplaced(at: Documents) -> Change:
    table = at.rng.choice([one for one, placed in at.subject.tables.items() if placed.region])
    _, name, region = at.collection(table)
    document = at.document(name)
    other = at.rng.choice([code for code in at.subject.regions if code != region])
    key = at.key(table, document)
    if at.rng.random() < 0.5:
        at.set(name, document, {"$set": {"region": other}})
        return Change(f"{key} of {name} says {other}", PLACES, (table,))
    at.database[name].delete_one({"_id": document["_id"]})
    at.insert(f"{table}_{other}", {**document, "region": other})
    return Change(f"{key} of {name} is in {other}", ROWS, (table, key))


def mg_reference(at: Documents) -> Change:
    table = at.rng.choice([name for name, one in at.subject.tables.items() if one.references])
    column = at.rng.choice([*at.subject.tables[table].references])
    _, name, _ = at.collection(table)
    document = at.document(name, {column: {"$ne": None}})
    other = at.rng.choice([code for code in at.subject.regions if code != document[column]])
    at.set(name, document, {"$set": {column: other}})
    key = at.key(table, document)
    return Change(f"{column} of {key} in {name} is {other}", ROWS, (table, key))


def mg_link(at: Documents) -> Change:
    link, columns = at.subject.link
    document = at.document(link)
    identity = document["_id"]
    key = str(identity) if len(columns) == 1 else ", ".join(map(str, identity.values()))
    what = at.rng.choice(["wrong", "gone", "extra"])
    if what == "wrong":
        other = at.rng.choice([one for one in at.subject.regions if one != document["region"]])
        at.set(link, document, {"$set": {"region": other}})
    elif what == "gone":
        at.database[link].delete_one({"_id": identity})
    else:
        new = Int64(888888) if len(columns) == 1 else {**identity, "number": Int64(888888)}
        key = "888888"
        at.insert(link, {**document, "_id": new})
    return Change(f"the link of {key} is {what}", PLACES, (key,))


def mg_key_collection(at: Documents) -> Change:
    names = [name for name in at.database.list_collection_names() if name.endswith("_key")]
    name = at.rng.choice(sorted(names))
    document = at.document(name)
    table = name.split("_")[0]
    if at.rng.random() < 0.5:
        at.database[name].delete_one({"_id": document["_id"]})
        key = str(document["_id"])
    else:
        key = "extra@key"
        at.insert(name, {"_id": key})
    return Change(f"{key} of {name}", ("key-table-differs",), (table,))


def mg_index(at: Documents) -> Change:
    table, name, _ = at.collection()
    indexes = [one for one in at.database[name].index_information() if one != "_id_"]
    index = at.rng.choice(sorted(indexes) or _unfit(table))
    at.database[name].drop_index(index)
    return Change(f"index {index} of {name} is gone", OBJECTS, (table, index))


def mg_index_changed(at: Documents) -> Change:
    table, name, _ = at.collection()
    indexes = at.database[name].index_information()
    index = at.rng.choice(sorted(one for one in indexes if one != "_id_") or _unfit(table))
    at.database[name].drop_index(index)
    at.database[name].create_index([("some_field", 1)], name=index)
    return Change(f"index {index} of {name} is another", OBJECTS, (table, index))


def mg_validator(at: Documents) -> Change:
    _, name, _ = at.collection()
    (found,) = at.database.list_collections(filter={"name": name})
    validator = found["options"]["validator"]
    how = at.rng.choice(["removed", "off", "warn", "looser"])
    if how == "removed":
        at.database.command("collMod", name, validator={})
    elif how == "off":
        at.database.command("collMod", name, validationLevel="off")
    elif how == "warn":
        at.database.command("collMod", name, validationAction="warn")
    else:
        schema = dict(validator["$jsonSchema"])
        schema["properties"] = {
            column: rule if column == "_id" else {} for column, rule in schema["properties"].items()
        }
        at.database.command("collMod", name, validator={"$jsonSchema": schema})
    return Change(f"the validator of {name} is {how}", OBJECTS, (name,))


def mg_collection(at: Documents) -> Change:
    what = at.rng.choice(["left over", "view gone", "empty collection gone"])
    if what == "left over":
        at.database["client_backup"].insert_one({"_id": 1})
        return Change("client_backup is left over", OBJECTS, ("client_backup",))
    table = at.rng.choice([one for one, placed in at.subject.tables.items() if placed.region])
    if what == "view gone":
        at.database.drop_collection(table)
        return Change(f"the view {table} is gone", OBJECTS, (table,))
    raise Unfit("there is no empty collection")


MONGO: dict[str, Callable[[Documents], Change]] = {
    "cell": mg_cell,
    "microseconds": mg_microseconds,
    "type": mg_type,
    "NULL against empty": mg_null_and_empty,
    "field too many": mg_extra_field,
    "row dropped": mg_drop,
    "row duplicated": mg_duplicate,
    "wrong region": mg_misplaced,
    "wrong region of a reference": mg_reference,
    "link": mg_link,
    "key collection": mg_key_collection,
    "index missing": mg_index,
    "index changed": mg_index_changed,
    "validator": mg_validator,
    "collections": mg_collection,
}


# All of them --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutation:
    """One draw: with the seed, its id is all that a replay needs."""

    backend: Backend
    subject: str
    kind: str
    number: int

    @property
    def id(self) -> str:
        """What ``ONLY`` names."""
        return f"mutation/{self.backend}/{self.subject}/{self.kind}/{self.number}"


def plan(seed: int, count: int = 200, only: str = "") -> list[Mutation]:
    """Return ``count`` mutations for each backend, or those whose ids begin with ``only``."""
    found = []
    for backend, kinds in (("postgres", POSTGRES), ("mongo", MONGO)):
        rng = random.Random(f"{seed}/{backend}")
        names: list[str] = []
        while len(names) < max(count, 200):
            names += rng.sample([*kinds], len(kinds))
        for number, kind in enumerate(names[: count if not only else 200]):
            subject = ("bank", "ring")[(number + number // len(kinds)) % 2]
            if kind == "check missing" or kind.startswith("default"):
                subject = "bank"
            found.append(Mutation(backend, subject, kind, number))  # type: ignore[arg-type]
    return [one for one in found if one.id.startswith(only)] if only else found


@dataclass
class Clinic:
    """A subject that is migrated to both backends, to be spoilt and mended.

    Attributes:
        ground: the subject's.
        postgres: URL of the migrated database.
        content: every document of the migrated MongoDB database.
        catalogue: its collections and indexes.
    """

    ground: Ground
    postgres: str
    content: dict[str, list[Document]]
    catalogue: Any
    options: dict[str, Document]
    indexes: dict[str, dict[str, Any]]

    @property
    def journey(self) -> Journey:
        """The project over the migrated targets."""
        ground = self.ground
        return Journey(
            ground.folder, ground.template("source"), self.postgres, ground.servers.url("mongo")
        )

    @contextmanager
    def copied(self) -> Iterator[Journey]:
        """Yield the project with a copy of the migrated PostgreSQL database."""
        with copy_of(self.postgres) as url:
            yield replace(self.journey, postgres=url)

    @contextmanager
    def database(self) -> Iterator[Database[Document]]:
        """Yield the migrated MongoDB database; put it back afterwards."""
        with MongoClient[Document](self.journey.mongo) as client:
            database = client[self.ground.database]
            try:
                yield database
            finally:
                self._restore(database)

    def _restore(self, database: Database[Document]) -> None:
        for found in list(database.list_collections()):
            name, options = found["name"], found["options"]
            if name.startswith("system."):
                continue
            if name not in self.options:
                database.drop_collection(name)
            elif found["type"] == "collection" and options != self.options[name]:
                wanted = self.options[name]
                database.command(
                    "collMod",
                    name,
                    validator=wanted.get("validator", {}),
                    validationLevel=wanted.get("validationLevel", "strict"),
                    validationAction=wanted.get("validationAction", "error"),
                )
        there = set(database.list_collection_names())
        for name, options in self.options.items():
            if name not in there:
                database.create_collection(name, **options)
        for name, documents in self.content.items():
            # As bytes: to Python, a number is equal whatever its type.
            if [*map(bson.encode, database[name].find({}))] != [*map(bson.encode, documents)]:
                database[name].delete_many({})
                if documents:
                    database.command(
                        "insert", name, documents=documents, bypassDocumentValidation=True
                    )
            if database[name].index_information() != self.indexes[name]:
                for index in database[name].index_information():
                    if index != "_id_":
                        database[name].drop_index(index)
                for index, described in self.indexes[name].items():
                    if index != "_id_":
                        rest = {k: v for k, v in described.items() if k not in ("key", "v", "ns")}
                        database[name].create_index(described["key"], name=index, **rest)


@contextmanager
def clinic(ground: Ground) -> Iterator[Clinic]:
    """Migrate a subject to both backends; undo it at the end."""
    with copy_of(ground.template("other")) as url:
        mongo = ground.servers.url("mongo")
        Journey(ground.folder, ground.template("source"), url, mongo).done("migrate")
        with MongoClient[Document](mongo) as client:
            database = client[ground.database]
            collections = [
                found
                for found in database.list_collections()
                if not found["name"].startswith("system.")
            ]
            names = [found["name"] for found in collections if found["type"] == "collection"]
            content = {name: list(database[name].find({})) for name in names}
            indexes = {name: database[name].index_information() for name in names}
            options = {found["name"]: found["options"] for found in collections}
        yield Clinic(
            ground,
            url,
            content,
            invariants.mongo_catalogue(ground.subject, mongo, ground.database),
            options,
            indexes,
        )
    ground.restore_mongo(anew=True)


def run(mutation: Mutation, where: Clinic, seed: int) -> Outcome:
    """Do one mutation; return whether verify found it, and nothing once it is undone."""
    began = time.monotonic()
    rng = random.Random(f"{seed}/{mutation.id}")
    for _ in range(60):
        try:
            if mutation.backend == "postgres":
                outcome = _postgres(mutation, where, rng)
            else:
                outcome = _mongo(mutation, where, rng)
            break
        except (
            Unfit,
            psycopg.errors.DependentObjectsStillExist,
            psycopg.errors.FeatureNotSupported,
            psycopg.errors.InvalidTableDefinition,
            psycopg.errors.InvalidObjectDefinition,
            psycopg.errors.WrongObjectType,
            psycopg.errors.DatatypeMismatch,
            psycopg.errors.SyntaxError,
            OperationFailure,
        ) as error:
            last = error
        except Exception as error:  # noqa: BLE001 - one that fails must not end the others
            outcome = Outcome(mutation.id, Change("", (), ()), f"campaign: {error!r}")
            break
    else:
        outcome = Outcome(mutation.id, Change("", (), ()), f"cannot be done: {last!r}")
    outcome.kind = f"{mutation.backend}: {mutation.kind}"
    outcome.seconds = time.monotonic() - began
    return outcome


def _postgres(mutation: Mutation, where: Clinic, rng: random.Random) -> Outcome:
    with where.copied() as journey:
        with psycopg.connect(journey.postgres) as connection:
            connection.execute(f"SET search_path = {where.ground.subject.target}".encode())
            connection.execute("SET session_replication_role = replica")
            change = POSTGRES[mutation.kind](Patient(where.ground.subject, connection, rng))
        problem = _judged(journey, "postgres", change)
        ground = where.ground
        if not invariants.postgres(ground.subject, ground.truth, journey.postgres, ground.applied):
            problem += f" {_BLIND}: {change.text}"
        return Outcome(mutation.id, change, problem)


def _mongo(mutation: Mutation, where: Clinic, rng: random.Random) -> Outcome:
    with where.database() as database:
        change = MONGO[mutation.kind](Documents(where.ground.subject, database, rng))
        problem = _judged(where.journey, "mongo", change)
        ground = where.ground
        if not invariants.mongo(
            ground.subject, ground.truth, where.journey.mongo, ground.database, where.catalogue
        ):
            problem += f" {_BLIND}: {change.text}"
    if not problem:
        result = where.journey.run("verify", "--backend", "mongo", "-q")
        if result.code != 0:
            problem = f"undone, verify says {result.code}: {result.err[:300]}"
    return Outcome(mutation.id, change, problem)


def _judged(journey: Journey, backend: str, change: Change) -> str:
    """Return why verify did not find a change as it should; empty if it did."""
    result = journey.run("verify", "--backend", backend, "-q", "--output", "json")
    if result.code == 0:
        return f"NOT FOUND: {change.text}"
    if result.code != 5:
        return f"verify ended with {result.code} after: {change.text}: {result.err[:300]}"
    findings = result.document["results"][0]["findings"]
    for finding in findings:
        text = " ".join([finding["table"], *finding["keys"], finding["detail"]])
        if finding["code"].startswith(change.codes) and all(name in text for name in change.names):
            return ""
    said = "; ".join(f"{f['code']} {f['table']} {f['keys'][:3]} {f['detail']}" for f in findings)
    return f"NOT NAMED: {change.text}: wanted {change.names}: {said[:400]}"


def mutate(
    mutations: Sequence[Mutation], clinics: dict[str, Clinic], seed: int, *, quiet: bool = False
) -> list[Outcome]:
    """Do mutations one after the other."""
    outcomes = []
    for mutation in mutations:
        outcome = run(mutation, clinics[mutation.subject], seed)
        outcomes.append(outcome)
        if outcome.problem:
            print(
                f"VIOLATED {mutation.id}: {outcome.problem}\n"
                f"       replay: make mutations SEED={seed} ONLY='{mutation.id}'",
                file=sys.stderr,
                flush=True,
            )
        elif not quiet:
            print(
                f"found    {outcome.seconds:5.1f} s  {mutation.id}: {outcome.change.text}",
                file=sys.stderr,
                flush=True,
            )
    return outcomes


def counts(outcomes: Sequence[Outcome], seed: int) -> Document:
    """Return what was found and what was not, by kind."""
    kinds: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        entry = kinds.setdefault(outcome.kind, {"done": 0, "not found": 0})
        entry["done"] += 1
        entry["not found"] += bool(outcome.problem)
    return {
        "seed": seed,
        "mutations": len(outcomes),
        "found": sum(not outcome.problem for outcome in outcomes),
        "seconds": sum(outcome.seconds for outcome in outcomes),
        "kinds": dict(sorted(kinds.items())),
        "not_found": [
            {"mutation": outcome.id, "problem": outcome.problem}
            for outcome in outcomes
            if outcome.problem
        ],
    }
