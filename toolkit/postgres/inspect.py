"""What a PostgreSQL server says of itself: whole catalogues.

Catalogues are compared with catalogues, in the text of ``pg_get_*def``, because a reflection loses
too much to be compared with a model. The tables of a source are read by
:mod:`toolkit.postgres.reflect`, what is beside them by :mod:`toolkit.postgres.extras`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from toolkit.postgres.session import Connection

#: The trigger that refuses writes while a cutover has the source frozen: not the schema's own.
FROZEN_TRIGGER = "regionkit_frozen"

#: One part of a catalogue: from the object's name to what the server says of it.
Catalogue = dict[str, dict[str, str]]


_QUERIES = {
    "relations": """
        SELECT c.relname,
               c.relkind::text || ' ' || c.relpersistence::text
               || coalesce(' partition by ' || pg_get_partkeydef(c.oid), '')
               || coalesce(' of ' || (SELECT inhparent::regclass::text FROM pg_inherits
                                      WHERE inhrelid = c.oid)
                           || ' ' || pg_get_expr(c.relpartbound, c.oid), '')
               || coalesce(' with ' || array_to_string(c.reloptions, ','), '')
               || CASE WHEN c.relrowsecurity THEN ' row security' ELSE '' END
               || CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END
               || coalesce(' acl ' || array_to_string(nullif(c.relacl, acldefault(
                    CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner)), ','), '')
               || coalesce(' comment ' || obj_description(c.oid, 'pg_class'), '')
        FROM pg_class c
        WHERE c.relnamespace = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    """,
    "columns": """
        SELECT c.relname || '.' || a.attname,
               a.attnum::text || ' ' || format_type(a.atttypid, a.atttypmod)
               || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
               || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
               || CASE WHEN a.attidentity <> '' THEN ' identity ' || a.attidentity::text ELSE '' END
               || CASE WHEN a.attgenerated <> '' THEN ' generated ' || a.attgenerated::text
                       ELSE '' END
               || coalesce(' collate ' || (SELECT collname FROM pg_collation
                                           WHERE oid = a.attcollation
                                             AND collname <> 'default'), '')
               || coalesce(' acl ' || array_to_string(a.attacl, ','), '')
               || coalesce(' comment ' || col_description(c.oid, a.attnum), '')
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = %(schema)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND a.attnum > 0 AND NOT a.attisdropped
    """,
    # A partitioned foreign key has clones whose names count up from the parent's.
    "constraints": """
        SELECT c.relname || '.' || o.conname,
               pg_get_constraintdef(o.oid) || CASE WHEN o.convalidated THEN '' ELSE ' NOT VALID' END
               || coalesce(' comment ' || obj_description(o.oid, 'pg_constraint'), '')
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
        WHERE c.relnamespace = %(schema)s
          AND NOT (o.contype = 'f' AND o.conparentid <> 0 AND c.relkind = 'p')
    """,
    "indexes": """
        SELECT i.relname,
               pg_get_indexdef(i.oid) || CASE WHEN x.indisvalid THEN '' ELSE ' INVALID' END
               || coalesce(' comment ' || obj_description(i.oid, 'pg_class'), '')
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        WHERE i.relnamespace = %(schema)s
    """,
    "triggers": """
        SELECT c.relname || '.' || t.tgname,
               pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
               || coalesce(' comment ' || obj_description(t.oid, 'pg_trigger'), '')
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE c.relnamespace = %(schema)s AND NOT t.tgisinternal
    """,
    "functions": """
        SELECT p.oid::regprocedure::text,
               pg_get_functiondef(p.oid) || coalesce(' acl ' || array_to_string(p.proacl, ','), '')
        FROM pg_proc p WHERE p.pronamespace = %(schema)s AND p.prokind IN ('f', 'p')
    """,
    "types": """
        SELECT t.typname, t.typtype::text || ' '
               || coalesce((SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder)
                            FROM pg_enum e WHERE e.enumtypid = t.oid), '')
               || coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), '')
        FROM pg_type t
        WHERE t.typnamespace = %(schema)s AND t.typtype IN ('e', 'd', 'r')
    """,
    "sequences": """
        SELECT c.relname, concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin,
                                    s.seqmax, s.seqcache, s.seqcycle)
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
        WHERE c.relnamespace = %(schema)s
    """,
    "policies": """
        SELECT c.relname || '.' || p.polname,
               concat_ws(' ', p.polcmd, p.polpermissive, p.polroles,
                         pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE c.relnamespace = %(schema)s
    """,
    "rules": """
        SELECT tablename || '.' || rulename, definition FROM pg_rules
        WHERE schemaname = (SELECT nspname FROM pg_namespace WHERE oid = %(schema)s)
          AND rulename <> '_RETURN'
    """,
    "views": """
        SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class c
        WHERE c.relnamespace = %(schema)s AND c.relkind IN ('v', 'm')
    """,
}


def catalogue(connection: Connection, schema: str) -> Catalogue:
    """Read everything that a schema holds, in a bounded number of queries.

    Returns:
        From the kind of object to its name to the server's own text. Names of the schema itself
        are replaced by ``@``, so that two schemas can be compared. A schema that does not exist
        is empty.
    """
    return {
        kind: {_neutral(name, schema): _neutral(text, schema) for name, text in objects.items()}
        for kind, objects in qualified(connection, schema).items()
    }


def qualified(connection: Connection, schema: str) -> Catalogue:
    """Read the same as :func:`catalogue`, with every name as the server qualifies it."""
    row = connection.execute("SELECT to_regnamespace(quote_ident(%s))::oid", (schema,)).fetchone()
    oid = row[0] if row else None
    found: Catalogue = {kind: {} for kind in _QUERIES}
    if oid is None:
        return found
    # With an empty search path every name that the server prints is qualified.
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', '', true)")
        for kind, query in _QUERIES.items():
            rows: Iterable[Any] = connection.execute(query, {"schema": oid})
            found[kind] = {str(name): str(text) for name, text in sorted(rows)}
    return found


def differences(expected: Catalogue, actual: Catalogue) -> list[str]:
    """Return one line per object that is missing, unexpected or different."""
    lines = []
    for kind in expected:
        one, other = expected[kind], actual[kind]
        lines += [f"{kind}: {name} is missing" for name in sorted(one.keys() - other.keys())]
        lines += [f"{kind}: {name} is unexpected" for name in sorted(other.keys() - one.keys())]
        lines += [
            f"{kind}: {name} is {other[name]!r} instead of {one[name]!r}"
            for name in sorted(one.keys() & other.keys())
            if one[name] != other[name]
        ]
    return lines


#: The search path that a function fixes: the server writes it as strings.
_FIXED_PATH = re.compile(r"\bSET search_path TO .*")


def _neutral(text: str, schema: str) -> str:
    own = re.escape("'" + schema.replace("'", "''") + "'")
    text = _FIXED_PATH.sub(lambda found: re.sub(own, "'@'", found.group()), text)
    quoted = re.escape('"' + schema.replace('"', '""') + '"')
    return re.sub(rf'(?:{quoted}|(?<![\w"]){re.escape(schema)})\.', "@.", text)


def table_names(connection: Connection, schema: str) -> set[str]:
    """Return the names of everything in a schema that rows can stand in."""
    rows = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s)) "
        "AND relkind IN ('r', 'p', 'v', 'm', 'f')",
        (schema,),
    )
    return {str(row[0]) for row in rows}


def lock_entries(connection: Connection) -> tuple[int, int]:
    """Return the locks that a server has room for, and how many of them for each transaction.

    PostgreSQL documentation, "Lock Management": for every connection and prepared transaction as
    many as ``max_locks_per_transaction`` says. There is room for a few more.
    """
    row = connection.execute(
        "SELECT current_setting('max_locks_per_transaction')::int, "
        "current_setting('max_connections')::int "
        "+ current_setting('max_prepared_transactions')::int"
    ).fetchone()
    assert row is not None
    return int(row[0]) * int(row[1]), int(row[0])
