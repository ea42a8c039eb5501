"""What a rename of the source's schema would surprise: found before anything is written.

PostgreSQL knows objects by number and prints them by name. What was stored as numbers (a view, a
foreign key) follows the old tables under their new name; what was stored as text (the body of a
function, a search path) means whatever has the name then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from toolkit.postgres.cutover import Names
from toolkit.postgres.environment import JOURNAL_SCHEMA
from toolkit.postgres.session import Connection


@dataclass(frozen=True)
class Dependent:
    """One object that knows the source's schema.

    Attributes:
        kind: what it is.
        name: which one.
        effect: what the switch means for it.
    """

    kind: str
    name: str
    effect: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.effect}"


_BY_NUMBER = """
WITH mine AS (
  SELECT 'pg_class'::regclass AS classid, oid FROM pg_class WHERE relnamespace = %(source)s
  UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = %(source)s
  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typnamespace = %(source)s
), using_mine AS (
  SELECT d.classid, d.objid, d.objsubid,
         CASE d.classid
           WHEN 'pg_rewrite'::regclass THEN (SELECT ev_class FROM pg_rewrite WHERE oid = d.objid)
           WHEN 'pg_constraint'::regclass
             THEN (SELECT conrelid FROM pg_constraint WHERE oid = d.objid)
           WHEN 'pg_attrdef'::regclass THEN (SELECT adrelid FROM pg_attrdef WHERE oid = d.objid)
           WHEN 'pg_trigger'::regclass THEN (SELECT tgrelid FROM pg_trigger WHERE oid = d.objid)
           WHEN 'pg_policy'::regclass THEN (SELECT polrelid FROM pg_policy WHERE oid = d.objid)
           WHEN 'pg_class'::regclass THEN d.objid
         END AS relation
  FROM pg_depend d JOIN mine m ON d.refclassid = m.classid AND d.refobjid = m.oid
  WHERE d.deptype IN ('n', 'a')
)
SELECT DISTINCT
       CASE WHEN u.classid = 'pg_proc'::regclass THEN 'function'
            WHEN u.classid = 'pg_constraint'::regclass AND o.contype = 'f' THEN 'foreign key'
            WHEN u.classid = 'pg_constraint'::regclass THEN 'constraint'
            WHEN u.classid = 'pg_attrdef'::regclass THEN 'default'
            WHEN u.classid = 'pg_trigger'::regclass THEN 'trigger'
            WHEN u.classid = 'pg_policy'::regclass THEN 'policy'
            WHEN c.relkind = 'v' THEN 'view' WHEN c.relkind = 'm' THEN 'materialized view'
            ELSE 'table' END,
       CASE WHEN p.oid IS NOT NULL THEN p.oid::regprocedure::text
            WHEN o.oid IS NOT NULL THEN o.conname || ' of ' || c.oid::regclass::text
            WHEN t.oid IS NOT NULL THEN t.tgname || ' on ' || c.oid::regclass::text
            ELSE c.oid::regclass::text END
FROM using_mine u
LEFT JOIN pg_class c ON c.oid = u.relation
LEFT JOIN pg_proc p ON u.classid = 'pg_proc'::regclass AND p.oid = u.objid
LEFT JOIN pg_constraint o ON u.classid = 'pg_constraint'::regclass AND o.oid = u.objid
LEFT JOIN pg_trigger t ON u.classid = 'pg_trigger'::regclass AND t.oid = u.objid
WHERE coalesce(c.relnamespace, p.pronamespace) IS DISTINCT FROM %(source)s
  AND coalesce(c.relnamespace, p.pronamespace) IS NOT NULL
  AND NOT coalesce(t.tgisinternal, false) AND coalesce(o.conparentid, 0) = 0
ORDER BY 1, 2
"""

_BY_NAME = r"""
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, p.oid::regprocedure::text,
       n.nspname = %(source_name)s,
       concat_ws(' ', p.prosrc, array_to_string(p.proconfig, ' ')) ~* %(target_word)s
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prokind IN ('f', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema', %(journal)s,
                                                    %(target_name)s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                  AND d.deptype = 'e')
  AND concat_ws(' ', p.prosrc, array_to_string(p.proconfig, ' ')) ~* %(word)s
  -- One that is in the layout too has a twin there, which is renamed with it.
  AND NOT (n.nspname = %(source_name)s AND EXISTS (
    SELECT FROM pg_proc o WHERE o.pronamespace = %(target)s AND o.proname = p.proname
    AND o.proargtypes = p.proargtypes))
ORDER BY 2
"""

_SETTINGS = """
SELECT CASE WHEN s.setrole = 0 THEN 'setting of database' ELSE 'setting of role' END,
       concat_ws(' in ', CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END,
                 (SELECT datname FROM pg_database WHERE oid = s.setdatabase)),
       setting, setting ~* %(target_word)s
FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
  AND setting ~* '^search_path=' AND setting ~* %(word)s
ORDER BY 1, 2
"""

_PUBLICATIONS = """
SELECT p.pubname, string_agg(c.relname, ', ' ORDER BY c.relname)
FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid WHERE c.relnamespace = %(source)s GROUP BY 1
UNION ALL
SELECT p.pubname, 'all tables of the schema'
FROM pg_publication p JOIN pg_publication_namespace n ON n.pnpubid = p.oid
WHERE n.pnnspid = %(source)s
ORDER BY 1
"""

_ALL_TABLES = "SELECT pubname FROM pg_publication WHERE puballtables ORDER BY 1"

_SUBSCRIPTIONS = """
SELECT s.subname, string_agg(c.relname, ', ' ORDER BY c.relname)
FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid
JOIN pg_class c ON c.oid = r.srrelid WHERE c.relnamespace = %(source)s GROUP BY 1 ORDER BY 1
"""

#: What has no counterpart in the layout, and so is not to be found under the old name any more.
_LEFT_BEHIND = """
SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN
       'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END AS kind, c.relname::text AS name
FROM pg_class c
WHERE c.relnamespace = %(source)s AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_class o WHERE o.relnamespace = %(target)s
                  AND o.relname = c.relname)
UNION ALL
SELECT CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
       p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'
FROM pg_proc p
WHERE p.pronamespace = %(source)s
  AND NOT EXISTS (SELECT FROM pg_proc o WHERE o.pronamespace = %(target)s
                  AND o.proname = p.proname AND o.proargtypes = p.proargtypes)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
                  AND d.deptype = 'e')
UNION ALL
SELECT CASE t.typtype WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' ELSE 'type' END, t.typname
FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE t.typnamespace = %(source)s AND (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c')
  AND NOT EXISTS (SELECT FROM pg_type o WHERE o.typnamespace = %(target)s
                  AND o.typname = t.typname)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                  AND d.deptype = 'e')
UNION ALL
SELECT 'extension', extname FROM pg_extension WHERE extnamespace = %(source)s
ORDER BY 1, 2
"""


def dependents(connection: Connection, names: Names, keep_as: str | None) -> list[Dependent]:
    """Return what knows the source's schema, by number or by name; write nothing.

    Args:
        connection: to the database of both schemas.
        names: of the schemas, before the switch.
        keep_as: the name that the source's schema will have; ``None`` if nothing is renamed, and
            only what writes past a freeze is of interest.
    """
    row = connection.execute(
        "SELECT to_regnamespace(quote_ident(%s))::oid, to_regnamespace(quote_ident(%s))::oid",
        (names.source, names.target),
    ).fetchone()
    assert row is not None
    parameters = {
        "source": row[0],
        "target": row[1],
        "source_name": names.source,
        "target_name": names.target,
        "journal": JOURNAL_SCHEMA,
        "word": word(names.source, names.target),
        "target_word": word(names.target),
    }
    found: list[Dependent] = []
    with connection.transaction():
        connection.execute("SELECT set_config('search_path', '', true)")
        if keep_as is not None:
            for part in _PARTS:
                found += part(connection, parameters, names, keep_as)
        found += _subscriptions(connection, parameters)
    return found


def _by_number(
    connection: Connection, parameters: dict[str, object], names: Names, keep_as: str
) -> list[Dependent]:
    effect = (
        f"goes on using what is in {names.source!r} now, under its new name {keep_as!r}: "
        "create it anew after the switch"
    )
    rows = connection.execute(_BY_NUMBER, parameters).fetchall()
    return [Dependent(kind, name, effect) for kind, name in rows]


def _by_name(
    connection: Connection, parameters: dict[str, object], names: Names, keep_as: str
) -> list[Dependent]:
    return [
        Dependent(
            kind,
            name,
            f"stays in {keep_as!r}; {_text(names, target)}" if own else _text(names, target),
        )
        for kind, name, own, target in connection.execute(_BY_NAME, parameters)
    ]


def _settings(
    connection: Connection, parameters: dict[str, object], names: Names, keep_as: str
) -> list[Dependent]:
    return [
        Dependent(kind, where, f"{setting}: {_text(names, target)}")
        for kind, where, setting, target in connection.execute(_SETTINGS, parameters)
    ]


def _publications(
    connection: Connection, parameters: dict[str, object], names: Names, keep_as: str
) -> list[Dependent]:
    found = [
        Dependent(
            "publication", name, f"goes on publishing the frozen tables, and not the new: {what}"
        )
        for name, what in connection.execute(_PUBLICATIONS, parameters)
    ]
    found += [
        Dependent("publication", name, "publishes all tables: the layout's too, already now")
        for (name,) in connection.execute(_ALL_TABLES)
    ]
    return found


def _subscriptions(connection: Connection, parameters: dict[str, object]) -> list[Dependent]:
    return [
        Dependent(
            "subscription",
            name,
            f"writes to tables that are to be frozen, and no trigger stops it: disable it: {what}",
        )
        for name, what in connection.execute(_SUBSCRIPTIONS, parameters)
    ]


def _left_behind(
    connection: Connection, parameters: dict[str, object], names: Names, keep_as: str
) -> list[Dependent]:
    return [
        Dependent(kind, f"{names.source}.{name}", f"is not in the layout: stays in {keep_as!r}")
        for kind, name in connection.execute(_LEFT_BEHIND, parameters)
    ]


def _text(names: Names, target: bool) -> str:
    if target:
        return f"names {names.target!r}, which will be called {names.source!r}"
    return f"names {names.source!r}, and so will mean the layout"


def word(*names: str) -> str:
    """Return a regular expression for a schema's name as a word of its own."""
    spelled = "|".join(
        "".join(f"\\{c}" if not c.isalnum() and c != "_" else c for c in name) for name in names
    )
    return rf"(?<![\w.$])(?:{spelled})(?![\w$])"


_PARTS: tuple[Callable[[Connection, dict[str, object], Names, str], list[Dependent]], ...] = (
    _by_number,
    _by_name,
    _settings,
    _publications,
    _left_behind,
)
