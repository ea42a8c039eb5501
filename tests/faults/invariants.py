"""The invariants I1 to I8 of a finished migration, by queries that the toolkit knows nothing of.

Every row of both ends is fetched and compared as (PostgreSQL's type, text): what ``regionkit
verify`` does with digests is done here with the rows themselves, and the region of a row is
computed by the subject's own SQL. Each function returns what is violated, as lines that begin with
the invariant; an empty list means that all hold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import bson
import psycopg
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from pymongo import MongoClient
from pymongo.database import Database

from tests.faults.subjects import Subject

Row = tuple[str | None, ...]
Document = dict[str, Any]

#: Rows per table: (region or "", the texts of columns and of reference regions).
Rows = dict[str, Counter[tuple[str, Row]]]

_PINNED = (
    "SET lock_timeout = '20s'; SET TimeZone = 'UTC'; "
    "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; "
    "SET extra_float_digits = 1; SET bytea_output = 'hex'; SET default_transaction_read_only = on"
)


@dataclass(frozen=True)
class Column:
    """A column of a source table, with its type as PostgreSQL's catalogue calls it."""

    name: str
    type: str


@dataclass(frozen=True)
class Truth:
    """What must stand in a target, read from the source.

    Attributes:
        columns: of each table.
        rows: of each table.
        money: sums.
    """

    columns: Mapping[str, tuple[Column, ...]]
    rows: Rows
    money: list[tuple[Any, ...]]


def truth(subject: Subject, url: str) -> Truth:
    """Read the source, and where each of its rows belongs."""
    columns: dict[str, tuple[Column, ...]] = {}
    rows: Rows = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PINNED.encode())
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        for name, table in subject.tables.items():
            columns[name] = tuple(
                Column(*row)
                for row in connection.execute(
                    "SELECT a.attname, CASE WHEN y.typtype = 'e' THEN 'enum' ELSE y.typname END "
                    "FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid "
                    "WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped "
                    "ORDER BY a.attnum",
                    (f"{subject.schema}.{name}",),
                )
            )
            cells = [_text(column) for column in columns[name]]
            cells += [f"({expression})" for expression in table.references.values()]
            statement = (
                f"SELECT coalesce({table.region or 'NULL'}, ''), {', '.join(cells)} "
                f"FROM {subject.schema}.{name} t"
            )
            rows[name] = _counted(connection, statement)
        money = connection.execute(subject.money.format(schema=subject.schema).encode()).fetchall()
    link, key = subject.link[0], subject.tables[subject.root].key
    places = [[column.name for column in columns[subject.root]].index(one) for one in key]
    rows[link] = Counter(
        (region, tuple(cells[place] for place in places)) for region, cells in rows[subject.root]
    )
    return Truth(columns, rows, money)


def _text(column: Column) -> str:
    name = f't."{column.name}"'
    if column.type in ("timestamptz", "timestamp"):
        return f"to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    if column.type == "interval":
        return (
            f"format('%s|%s|%s', extract(year FROM {name}) * 12 + extract(month FROM {name}), "
            f"extract(day FROM {name}), (extract(hour FROM {name}) * 3600000000 "
            f"+ extract(minute FROM {name}) * 60000000 + extract(microseconds FROM {name}))"
            "::numeric(30, 0))"
        )
    return f"{name}::text"


def _counted(connection: psycopg.Connection[Any], statement: str) -> Counter[tuple[str, Row]]:
    rows = connection.execute(statement.encode()).fetchall()
    return Counter((str(region), tuple(cells)) for region, *cells in rows)


def _compared(name: str, expected: Counter[Any], actual: Counter[Any]) -> list[str]:
    lines = []
    if missing := expected - actual:
        lines.append(f"I1 {name}: {missing.total()} row(s) lost, as {next(iter(missing))}")
    if extra := actual - expected:
        lines.append(f"I1 {name}: {extra.total()} row(s) too many, as {next(iter(extra))}")
    return lines


def _keys_once(subject: Subject, expected: Truth, rows: Rows) -> list[str]:
    """I2: every key once over all regions, and as many rows as the source has."""
    lines = []
    for name, table in subject.tables.items():
        if rows[name].total() != expected.rows[name].total():
            lines.append(
                f"I2 {name}: {rows[name].total()} rows, source has {expected.rows[name].total()}"
            )
        if not table.key:
            continue
        names = [column.name for column in expected.columns[name]]
        keys = Counter(
            tuple(cells[names.index(one)] for one in table.key)
            for _, cells in rows[name].elements()
        )
        if doubled := [key for key, times in keys.items() if times > 1]:
            lines.append(f"I2 {name}: {len(doubled)} key(s) more than once, as {doubled[0]}")
    return lines


# PostgreSQL --------------------------------------------------------------------------------------


def postgres(subject: Subject, expected: Truth, url: str, applied: Any) -> list[str]:
    """Check I1 to I6 and I8 of the layout ``tables``.

    Args:
        subject: what was migrated.
        expected: what the source holds.
        url: of the target.
        applied: :func:`postgres_catalogue` as it was before the migration.
    """
    lines: list[str] = []
    rows: Rows = {}
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_PINNED.encode())
        connection.execute(f"SET search_path = {subject.target}".encode())
        for name, table in subject.tables.items():
            cells = [_text(column) for column in expected.columns[name]]
            cells += [f't."{column}"' for column in table.references]
            # Where the row really is: the partition's own name, not what its region column says.
            where = f"substr(t.tableoid::regclass::text, {len(name) + 2})"
            region = where if table.region else "''"
            rows[name] = _counted(connection, f"SELECT {region}, {', '.join(cells)} FROM {name} t")
            lines += _compared(name, expected.rows[name], rows[name])
            if table.region:
                lines += _some(
                    connection,
                    f"I3 {name}: the region column differs from the partition",
                    f"SELECT t.region FROM {name} t WHERE t.region <> {where}",
                )
        link, key = subject.link
        columns = ", ".join(f"{one}::text" for one in key)
        rows[link] = _counted(connection, f"SELECT region, {columns} FROM {link}")
        lines += [
            line.replace("I1", "I3", 1) for line in _compared(link, expected.rows[link], rows[link])
        ]
        lines += _keys_once(subject, expected, rows)
        money = connection.execute(subject.money.format(schema=subject.target).encode()).fetchall()
        if money != expected.money:
            lines.append(f"I4 money: {money} is not {expected.money}")
        lines += _some(connection, "I4 balance", subject.broken.format(schema=subject.target))
        for table, columns_, target, target_columns in subject.foreign_keys:
            present = " AND ".join(f"t.{one} IS NOT NULL" for one in columns_)
            on = " AND ".join(
                f"p.{there} = t.{here}"
                for here, there in zip(columns_, target_columns, strict=True)
            )
            lines += _some(
                connection,
                f"I5 {table}: an orphan of {target}",
                f"SELECT t.* FROM {table} t WHERE {present} AND NOT EXISTS "
                f"(SELECT FROM {target} p WHERE {on})",
            )
        for statement in subject.key_tables:
            lines += _some(connection, "I5 key table", statement.format(schema=subject.target))
        for name, table in subject.tables.items():
            if table.sequence:
                lines += _sequence(connection, subject, name, table.sequence)
        lines += _unfinished(connection, subject, rows)
    return lines + differences("I8", applied, postgres_catalogue(subject, url))


def _some(connection: psycopg.Connection[Any], what: str, statement: str) -> list[str]:
    rows = connection.execute(statement.encode()).fetchall()
    return [f"{what}: {len(rows)} row(s), as {rows[0]}"] if rows else []


def _sequence(
    connection: psycopg.Connection[Any], subject: Subject, table: str, column: str
) -> list[str]:
    row = connection.execute(
        "SELECT pg_get_serial_sequence(%s, %s)", (f"{subject.target}.{table}", column)
    ).fetchone()
    assert row is not None
    sequence = row[0] or f"{subject.target}.{table}_{column}_seq"
    return _some(
        connection,
        f"I6 {sequence}: behind",
        f"SELECT s.last_value, m FROM {sequence} s, (SELECT max({column}) m FROM {table}) g "
        "WHERE m > s.last_value OR (m = s.last_value AND NOT s.is_called)",
    )


def _unfinished(connection: psycopg.Connection[Any], subject: Subject, rows: Rows) -> list[str]:
    lines = _some(
        connection,
        "I8 journal: the migration is not finished",
        "SELECT target, state FROM regionkit.migration "
        f"WHERE target = '{subject.target}' AND state <> 'finished'",
    )
    lines += _some(
        connection,
        "I8 journal: something is still taken down",
        f"SELECT kind, name FROM regionkit.taken_down WHERE target = '{subject.target}'",
    )
    journaled = dict(
        connection.execute(
            "SELECT c.table_name, sum(d.rows)::bigint FROM regionkit.chunk c "
            "LEFT JOIN regionkit.checkpoint d USING (target, server, table_name, number) "
            "WHERE c.target = %s GROUP BY 1 HAVING bool_and(d.rows IS NOT NULL)",
            (subject.target,),
        ).fetchall()
    )
    for name, counted in rows.items():
        if journaled.get(name) != counted.total():
            lines.append(f"I8 journal: {journaled.get(name)} rows of {name}, not {counted.total()}")
    return lines


_CATALOGUE = {
    "relation": """
        SELECT c.relname, c.relkind::text, c.relpersistence::text, c.relispartition,
               pg_get_expr(c.relpartbound, c.oid), pg_get_partkeydef(c.oid), c.relacl::text,
               c.relowner::regrole::text, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
               CASE c.relkind WHEN 'v' THEN pg_get_viewdef(c.oid) END,
               obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind NOT IN ('c')
    """,
    "column": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
               a.attnotnull, a.attidentity::text, a.attgenerated::text,
               pg_get_expr(d.adbin, d.adrelid), a.attacl::text, a.attstorage::text,
               col_description(c.oid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
        WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind IN ('r', 'p', 'v')
          AND a.attnum > 0
    """,
    "constraint": """
        SELECT c.relname, o.conname, o.contype::text, pg_get_constraintdef(o.oid), o.convalidated,
               o.condeferrable, o.condeferred, o.coninhcount, o.conislocal,
               obj_description(o.oid, 'pg_constraint')
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
        WHERE c.relnamespace = %(schema)s::regnamespace
    """,
    "index": """
        SELECT c.relname, i.relname, pg_get_indexdef(i.oid), x.indisvalid, x.indisready,
               x.indisunique, x.indisprimary, p.inhparent::regclass::text,
               obj_description(i.oid, 'pg_class')
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        JOIN pg_class c ON c.oid = x.indrelid
        LEFT JOIN pg_inherits p ON p.inhrelid = i.oid
        WHERE c.relnamespace = %(schema)s::regnamespace
    """,
    "trigger": """
        SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text,
               obj_description(t.oid, 'pg_trigger')
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = %(schema)s::regnamespace AND NOT t.tgisinternal
    """,
    "policy": "SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check "
    "FROM pg_policies WHERE schemaname = %(schema)s",
    "function": """
        SELECT p.proname, pg_get_functiondef(p.oid), p.proacl::text,
               p.proowner::regrole::text FROM pg_proc p
        WHERE p.pronamespace = %(schema)s::regnamespace
    """,
    "type": """
        SELECT y.typname, y.typtype::text,
               (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e
                WHERE e.enumtypid = y.oid)::text
        FROM pg_type y WHERE y.typnamespace = %(schema)s::regnamespace AND y.typtype <> 'c'
          AND y.typelem = 0
    """,
    "schema": "SELECT nspname, nspacl::text FROM pg_namespace "
    "WHERE nspname !~ '^pg_(temp|toast)' AND nspname <> 'regionkit'",
    "foreign key trigger": """
        SELECT c.relname, o.conname, count(*), min(t.tgenabled::text), max(t.tgenabled::text)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_constraint o ON o.oid = t.tgconstraint
        WHERE c.relnamespace = %(schema)s::regnamespace AND t.tgisinternal GROUP BY 1, 2
    """,
}


def postgres_catalogue(subject: Subject, url: str) -> dict[str, Counter[tuple[Any, ...]]]:
    """Return everything that the target's schema has, leaves included."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = ''")
        return {
            kind: Counter(
                tuple(str(cell) for cell in row)
                for row in connection.execute(statement, {"schema": subject.target})
            )
            for kind, statement in _CATALOGUE.items()
        }


def differences(word: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return a line for every kind of object that is not as it was."""
    lines = []
    for kind in before.keys() | after.keys():
        old, new = before.get(kind, Counter()), after.get(kind, Counter())
        lines += [f"{word} {kind} missing: {one}" for one in list((old - new).elements())[:3]]
        lines += [f"{word} {kind} left over: {one}" for one in list((new - old).elements())[:3]]
    return lines


# MongoDB -----------------------------------------------------------------------------------------

#: PostgreSQL's types, by the BSON class that the layout promises for them.
_CLASSES: dict[str, type] = {
    "int2": int,
    "int4": int,
    "int8": Int64,
    "numeric": Decimal128,
    "text": str,
    "varchar": str,
    "bpchar": str,
    "enum": str,
    "bool": bool,
    "uuid": Binary,
    "interval": dict,
}


def mongo(subject: Subject, expected: Truth, url: str, name: str, applied: Any) -> list[str]:
    """Check I1 to I5 and I8 of the layout ``collections``."""
    lines: list[str] = []
    rows: Rows = {}
    with MongoClient[Document](url, tz_aware=True) as client:
        database = client[name]
        for table, placed in subject.tables.items():
            found: Counter[tuple[str, Row]] = Counter()
            places = (
                {region: f"{table}_{region}" for region in subject.regions}
                if placed.region
                else {"": table}
            )
            for region, collection in places.items():
                for document in database[collection].find({}):
                    try:
                        cells = _cells(
                            document,
                            placed.key,
                            expected.columns[table],
                            tuple(placed.references),
                            region,
                        )
                    except (KeyError, TypeError, ValueError, AttributeError) as error:
                        lines.append(f"I1 {collection}: {document['_id']}: {error!r}")
                    else:
                        found[region, cells] += 1
            rows[table] = found
            lines += _compared(table, _for_mongo(expected, table), found)
        lines += _keys_once(subject, expected, rows)
        lines += _mongo_link(subject, expected, database, rows)
        lines += _mongo_money(subject, expected, rows)
        for table, columns, target, target_columns in subject.foreign_keys:
            here = _picked(expected, table, rows, columns)
            there = set(_picked(expected, target, rows, target_columns))
            orphans = [one for one in here if None not in one and one not in there]
            if orphans:
                lines.append(f"I5 {table}: {len(orphans)} orphan(s) of {target}, as {orphans[0]}")
        for kept, table, column in subject.key_collections:
            keys = Counter(
                str(one["_id"].as_uuid()) if isinstance(one["_id"], Binary) else one["_id"]
                for one in database[kept].find({})
            )
            wanted = Counter(one for (one,) in _picked(expected, table, rows, (column,)))
            if keys != wanted:
                lines.append(f"I5 key collection {kept}: {(keys - wanted) | (wanted - keys)}")
        journal = client["regionkit_journal"]
        migration = journal["migrations"].find_one({"_id": name}) or {}
        if migration.get("state") != "finished":
            lines.append(f"I8 journal: the migration is {migration.get('state')}, not finished")
        journaled: Counter[str] = Counter()
        for chunk in journal["chunks"].find({"_id.target": name}):
            if chunk["rows"] is None:
                lines.append(f"I8 journal: chunk {chunk['_id']} is not finished")
            journaled[chunk["_id"]["table"]] += chunk["rows"] or 0
        for table, counted in rows.items():
            if journaled[table] != counted.total():
                lines.append(
                    f"I8 journal: {journaled[table]} rows of {table}, not {counted.total()}"
                )
    return lines + differences("I8", applied, mongo_catalogue(subject, url, name))


def _picked(
    expected: Truth, table: str, rows: Rows, columns: Iterable[str]
) -> list[tuple[str | None, ...]]:
    names = [column.name for column in expected.columns[table]]
    places = [names.index(column) for column in columns]
    return [tuple(cells[place] for place in places) for _, cells in rows[table]]


def _for_mongo(expected: Truth, table: str) -> Counter[tuple[str, Row]]:
    """The source's rows with jsonb in one spelling."""
    places = [
        place
        for place, column in enumerate(expected.columns[table])
        if column.type in ("json", "jsonb")
    ]
    if not places:
        return expected.rows[table]
    spelled: Counter[tuple[str, Row]] = Counter()
    for (region, cells), times in expected.rows[table].items():
        changed = list(cells)
        for place in places:
            text = changed[place]
            if text is not None:
                changed[place] = _json(json.loads(text, parse_float=Decimal))
        spelled[region, tuple(changed)] += times
    return spelled


def _json(value: Any) -> str:
    """Return JSON in one spelling; numbers by value, objects by name."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name!r}:{_json(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return repr(int(value)) if type(value) is Int64 else repr(value)


def _cells(
    document: Document,
    key: tuple[str, ...],
    columns: tuple[Column, ...],
    references: tuple[str, ...],
    region: str,
) -> Row:
    """Return a document as the texts of its row; raise where it is not what the layout promises."""
    left = dict(document)
    identity = left.pop("_id")
    values: Document = {}
    if len(key) == 1:
        values[key[0]] = identity
    elif key:
        values.update(identity)
        if tuple(identity) != key:
            raise ValueError(f"_id has the fields {tuple(identity)}")
    if region and left.pop("region") != region:
        raise ValueError("the region field differs from the collection")
    cells: list[str | None] = []
    for column in columns:
        value = values[column.name] if column.name in values else left.pop(column.name)
        micros = left.pop(f"{column.name}_us", None) if column.type == "timestamptz" else None
        cells.append(_cell(column.type, value, micros))
    for reference in references:
        cells.append(left.pop(reference))
    if left:
        raise ValueError(f"unknown fields {sorted(left)}")
    return tuple(cells)


def _cell(kind: str, value: Any, micros: int | None) -> str | None:
    if value is None:
        return None
    if kind == "date":
        return str(value.date().isoformat())
    if kind == "timestamptz":
        if type(micros) is not int:
            raise TypeError(f"{type(micros).__name__} where microseconds belong")
        moment = value.replace(microsecond=value.microsecond + micros, tzinfo=None)
        return str(moment.isoformat(timespec="microseconds"))
    if kind == "jsonb":
        return _json(value)
    wanted = _CLASSES[kind]
    if type(value) is not wanted:
        raise TypeError(f"{type(value).__name__} where {wanted.__name__} belongs")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal128):
        return f"{value.to_decimal():f}"
    if isinstance(value, Binary):
        return str(value.as_uuid())
    if kind == "interval":
        return f"{value['months']}|{value['days']}|{value['us']}"
    return str(value)


def _mongo_link(
    subject: Subject, expected: Truth, database: Database[Document], rows: Rows
) -> list[str]:
    link, key = subject.link
    found: Counter[tuple[str, Row]] = Counter()
    for document in database[link].find({}):
        identity = document["_id"]
        cells = [identity] if len(key) == 1 else [identity[one] for one in key]
        found[document["region"], tuple(map(str, cells))] += 1
    rows[link] = found
    lines = [line.replace("I1", "I3", 1) for line in _compared(link, expected.rows[link], found)]
    listed = sorted(document["_id"] for document in database["region"].find({}))
    if listed != sorted(subject.regions):
        lines.append(f"I8 the list of regions is {listed}")
    return lines


def _mongo_money(subject: Subject, expected: Truth, rows: Rows) -> list[str]:
    """I4: sums per currency, and balances against entries, added up here."""
    entries = "ledger_entry" if subject.name == "bank" else "entry"
    reference = ("account_id",) if subject.name == "bank" else subject.tables["account"].key
    sums: Counter[tuple[str | None, ...]] = Counter()
    for key, amount in zip(
        _picked(expected, entries, rows, reference),
        _picked(expected, entries, rows, ("amount",)),
        strict=True,
    ):
        sums[key] += Decimal(str(amount[0]))  # type: ignore[assignment]  # a Counter of Decimals
    lines, money = [], Counter[str]()
    accounts = zip(
        _picked(expected, "account", rows, subject.tables["account"].key),
        _picked(expected, "account", rows, ("balance", "currency")),
        strict=True,
    )
    for key, (balance, currency) in accounts:
        if sums[key] != Decimal(str(balance)):
            lines.append(f"I4 account {key}: {balance} is not the sum of its entries, {sums[key]}")
        money[str(currency)] += Decimal(str(balance))  # type: ignore[assignment]
    if sorted((code, str(total)) for code, total in money.items()) != expected.money:
        lines.append(f"I4 money: {money} is not {expected.money}")
    return lines[:3]


def mongo_catalogue(subject: Subject, url: str, name: str) -> dict[str, Counter[tuple[Any, ...]]]:
    """Return every collection with its options, and every index."""
    with MongoClient[Document](url) as client:
        database = client[name]
        collections: Counter[tuple[Any, ...]] = Counter()
        indexes: Counter[tuple[Any, ...]] = Counter()
        for found in database.list_collections():
            options = bson.encode(found["options"]).hex()
            collections[found["name"], found["type"], options] += 1
            if found["type"] == "collection":
                for index in database[found["name"]].list_indexes():
                    described = {**index, "key": list(index["key"].items())}
                    indexes[found["name"], json.dumps(described, default=str, sort_keys=True)] += 1
    return {"collection": collections, "index": indexes}
