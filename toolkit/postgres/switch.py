"""The switch within one database: the layout gets the source's name, and what hangs on names.

Everything here happens in a transaction that the caller has open, and is kept in the journal
before it is changed, so that it can be put back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from toolkit.errors import Refused, sampled
from toolkit.extras import in_schemas
from toolkit.layout import Layout
from toolkit.postgres import ddl, privileges, session
from toolkit.postgres.audit import sequences
from toolkit.postgres.cutover import Entry, Journal, Names
from toolkit.postgres.privileges import AccessList
from toolkit.postgres.session import Connection


def require_able(connection: Connection, names: Names, keep_as: str) -> None:
    """Refuse a rename that would fail; nothing is written.

    Raises:
        Refused: the name is taken, or this role may not rename.
    """
    row = connection.execute(
        """
        SELECT to_regnamespace(quote_ident(%(keep_as)s)) IS NOT NULL,
               has_database_privilege(current_database(), 'CREATE'),
               (SELECT array_agg(nspname) FROM pg_namespace
                WHERE nspname IN (%(source)s, %(target)s) AND NOT pg_has_role(nspowner, 'USAGE')),
               (SELECT array_agg(oid::regclass::text) FROM pg_class
                WHERE relnamespace IN (to_regnamespace(quote_ident(%(source)s)),
                                       to_regnamespace(quote_ident(%(target)s)))
                  AND relkind IN ('r', 'p') AND NOT pg_has_role(relowner, 'USAGE'))
        """,
        {"keep_as": keep_as, "source": names.source, "target": names.target},
    ).fetchone()
    assert row is not None
    taken, may_create, schemas, tables = row
    if taken:
        raise Refused(
            f"schema {keep_as!r}, which {names.source!r} is to be renamed to, exists already",
            hint="name another one with --keep-as",
        )
    lacks = [f"CREATE on the database {connection.info.dbname!r}"] if not may_create else []
    lacks += [f"ownership of schema {name!r}" for name in schemas or ()]
    lacks += [f"ownership of {name}" for name in tables or ()]
    if lacks:
        raise Refused(
            f"role {connection.info.user!r} may not freeze and rename",
            details=sampled(lacks),
            hint="docs/privileges.md names what the command needs",
        )


def switch(
    connection: Connection, journal: Journal, entry: Entry, names: Names, layout: Layout
) -> None:
    """Give the layout the source's name, its privileges, and functions that know it.

    Args:
        connection: in a transaction.
        journal: keeps what is changed.
        entry: of this cutover.
        names: before the switch.
        layout: the decisions.
    """
    assert entry.keep_as is not None
    before = [
        *privileges.access_lists(connection, names.target),
        *privileges.view_access_lists(connection, names.target),
    ]
    journal.save(connection, entry, "target privileges", [one.document() for one in before])
    # What is on the source now lacks the writes; the journal has what was there before.
    source = journal.saved_lists(connection, entry, "source privileges")
    source += privileges.view_access_lists(connection, names.source)
    _grant(connection, names.target, layout, source, before)
    functions = _functions(connection, names.target)
    # What the layout still has of the source's schema is not carried, as an extension is not.
    schemas = {names.target: names.source, names.source: entry.keep_as}
    renamed = {
        signature: text
        for signature, text in functions.items()
        if in_schemas(text, schemas) != text
    }
    # Triggers go on calling the same functions: these are replaced, not created anew.
    journal.save(connection, entry, "functions", list(renamed.values()))
    _rename(connection, names.source, entry.keep_as)
    _rename(connection, names.target, names.source)
    for text in renamed.values():
        _define(connection, in_schemas(text, schemas))


def switch_back(connection: Connection, journal: Journal, entry: Entry) -> None:
    """Take the switch back, in the transaction that is open."""
    assert entry.keep_as is not None
    _rename(connection, entry.source, entry.target)
    _rename(connection, entry.keep_as, entry.source)
    for text in journal.saved(connection, entry, "functions"):
        _define(connection, text)
    lists = journal.saved_lists(connection, entry, "target privileges")
    privileges.put_back(connection, entry.target, lists)


def _rename(connection: Connection, name: str, to: str) -> None:
    connection.execute(f"ALTER SCHEMA {ddl.quote(name)} RENAME TO {ddl.quote(to)}")


def _functions(connection: Connection, schema: str) -> Mapping[str, str]:
    """Return the statements that create a schema's functions, all names in them qualified."""
    session.set_for_transaction(connection, {"search_path": ""})
    rows = connection.execute(
        "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc "
        "WHERE pronamespace = to_regnamespace(quote_ident(%s)) AND prokind IN ('f', 'p') "
        "ORDER BY 1",
        (schema,),
    ).fetchall()
    return {str(signature): str(text) for signature, text in rows}


def _define(connection: Connection, text: str) -> None:
    """Replace a function, whatever its body names."""
    session.set_for_transaction(connection, {"search_path": "", "check_function_bodies": "off"})
    connection.execute(text.encode())


def _grant(
    connection: Connection,
    schema: str,
    layout: Layout,
    source: Sequence[AccessList],
    target: Sequence[AccessList],
) -> None:
    """Let every role do on the layout what it may do on the source.

    Whoever writes clients writes their links too, and whoever reads them reads these.
    """
    present = {(one.kind, one.name): one.owner for one in target}
    schema_owner = next(one.owner for one in target if one.kind == "SCHEMA")
    for one in source:
        owner = schema_owner if one.kind == "SCHEMA" else present.get((one.kind, one.name))
        if owner is not None:
            privileges.grant_like(connection, schema, [one], owner)
        if (one.kind, one.name, one.column) == ("TABLE", layout.name(layout.root.key), None):
            link = replace(one, name=layout.link)
            privileges.grant_like(connection, schema, [link], present["TABLE", layout.link])


def follow_sequences(
    source: Connection, source_schema: str, target: Connection, target_schema: str
) -> int:
    """Let no sequence of the target hand out what the source's handed out; return how many moved.

    Past the greatest value is not enough: a number that was handed out and rolled back, or whose
    row was deleted, stands elsewhere too, and must not come again.
    """
    positions = {
        (table, column): _position(source, sequence)
        for table, column, sequence in _qualified(source, source_schema)
    }
    moved = 0
    for table, column, sequence in _qualified(target, target_schema):
        wanted = positions.get((table, column))
        if wanted is None:
            continue
        mine = _position(target, sequence)
        if (wanted.following - mine.following) * mine.increment > 0:
            target.execute(
                f"SELECT setval({ddl.literal(sequence)}, {wanted.last:d}, {wanted.called})"
            )
            moved += 1
    return moved


def _qualified(connection: Connection, schema: str) -> list[tuple[str, str, str]]:
    """Return table, column and sequence; of one that no column draws from, its name alone."""
    with connection.transaction():
        session.set_for_transaction(connection, {"search_path": ""})
        found = sequences(connection, schema)
        known = {sequence for _, _, sequence in found}
        rows = connection.execute(
            "SELECT relname, oid::regclass::text FROM pg_class WHERE relkind = 'S' "
            "AND relnamespace = to_regnamespace(quote_ident(%s))",
            (schema,),
        )
        free = [("", str(name), str(sequence)) for name, sequence in rows if sequence not in known]
        return [*found, *free]


class _Position(NamedTuple):
    """Where a sequence stands: its last value, whether that was handed out, and the next one."""

    last: int
    called: bool
    following: int
    increment: int


def _position(connection: Connection, sequence: str) -> _Position:
    row = connection.execute(
        f"SELECT last_value, is_called, last_value + CASE WHEN is_called THEN seqincrement "
        f"ELSE 0 END, seqincrement FROM {sequence}, pg_sequence "
        f"WHERE seqrelid = {ddl.literal(sequence)}::regclass"
    ).fetchone()
    assert row is not None
    return _Position(*row)


# Has anybody written since? ---------------------------------------------------------------------


def moment(connection: Connection) -> str:
    """Return a mark of now: which transactions are over."""
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    assert row is not None
    return str(row[0])


#: The whole number of the transaction that wrote a row: rows hold its lower half. What is greater
#: than the newest one is of the epoch before; numbers below 3 mean "long ago".
_WRITTEN = """
  count(*) FILTER (WHERE x >= 3 AND NOT pg_visible_in_snapshot((
    greatest(3, newest - newest % 4294967296 + x
             - CASE WHEN x > newest % 4294967296 THEN 4294967296 ELSE 0 END))::text::xid8,
    {mark}::pg_snapshot))
"""


def written_since(
    connection: Connection, schema: str, mark: str, counted: Mapping[str, int]
) -> list[str]:
    """Return the tables of a schema that were written to, found out from every row of them.

    Args:
        connection: outside of a transaction, while another one holds writers off.
        schema: of the layout.
        mark: the moment.
        counted: rows of tables at that moment; fewer now means that rows were deleted.
    """
    rows = connection.execute(
        "SELECT c.relname, r.relname FROM pg_class c "
        "JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid) "
        "WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind = 'r' ORDER BY 1",
        (schema,),
    ).fetchall()
    totals: dict[str, int] = {}
    written: dict[str, int] = {}
    for name, parent in rows:
        row = connection.execute(
            f"SELECT count(*), {_WRITTEN.format(mark=ddl.literal(mark))} "
            f"FROM (SELECT xmin::text::bigint AS x FROM {ddl.quote(schema, name)}) AS rows, "
            "(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS newest) AS now"
        ).fetchone()
        assert row is not None
        totals[parent] = totals.get(parent, 0) + int(row[0])
        written[parent] = written.get(parent, 0) + int(row[1])
    found = []
    for name in totals:
        gone = counted.get(name, 0) - totals[name]
        words = [f"{written[name]} row(s) inserted or changed"] if written[name] else []
        words += [f"{gone} row(s) fewer"] if gone > 0 else []
        if words:
            found.append(f"{name}: {', '.join(words)}")
    return found
