"""Asking the rows of a source what its foreign keys cannot tell: whose they are, who shares them.

One pass over each table; nothing is written, and any role that may read the tables may ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

from toolkit.config import Configuration
from toolkit.errors import Refused
from toolkit.evidence import Meeting, Sharing, TableEvidence, Use, Way
from toolkit.layout import Layout
from toolkit.placement import ForeignKey
from toolkit.postgres import ddl, session
from toolkit.postgres.environment import JOURNAL_SCHEMA, version_table
from toolkit.postgres.regions import HOME_ALIAS, Joined, RegionQuery
from toolkit.postgres.session import Connection
from toolkit.postgres.source import blaming_the_rule

#: Ways that are compared each with each; of more, each is compared with the home path alone.
_MOST_WAYS = 8

#: Clients whose keys are read without a region.
_MOST_KEYS = 1_000_000


#: The oldest PostgreSQL that is read.
OLDEST_SOURCE = 130000


@contextmanager
def looking(url: str) -> Iterator[Connection]:
    """Open a connection that sees one state of the source, and can change nothing.

    Raises:
        Refused: the source is too old.
    """
    with session.connect(url, role="source") as connection:
        version = connection.info.server_version
        if version < OLDEST_SOURCE:
            raise Refused(
                f"the source is PostgreSQL {version // 10000}",
                hint=f"{OLDEST_SOURCE // 10000} is the oldest that can be read: upgrade it, or a "
                "copy of it",
            )
        # Joins are written in the order that suits whole tables, as for a migration.
        session.set_for_session(connection, {"join_collapse_limit": "1", "work_mem": "64MB"})
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield connection
        finally:
            if not connection.closed:
                connection.rollback()


@dataclass(frozen=True)
class Relation:
    """A table of the source, as its catalogue shows it.

    Attributes:
        schema: that it stands in.
        name: its own.
        rows: about how many rows it has, as the planner knows.
        bytes: of its rows as they are stored, those of its partitions included, without indexes.
        usable: whether this role may use the schema.
        readable: whether this role may read every column, the schema included.
        filtered: whether row-level security would hide rows from this role.
    """

    schema: str
    name: str
    rows: int
    bytes: int
    usable: bool
    readable: bool
    filtered: bool


def relations(connection: Connection) -> list[Relation]:
    """Return every table of the database that is the operator's own, in one query.

    What belongs to an extension, to PostgreSQL or to regionkit is left out.
    """
    layouts = _layouts(connection)
    rows = connection.execute(
        """
        SELECT n.nspname, c.relname,
               greatest(0, CASE c.relkind WHEN 'p' THEN
                 (SELECT sum(greatest(l.reltuples, 0)) FROM pg_partition_tree(c.oid) p
                  JOIN pg_class l ON l.oid = p.relid WHERE p.isleaf)
                 ELSE c.reltuples END)::bigint,
               CASE c.relkind WHEN 'p' THEN
                 (SELECT coalesce(sum(pg_table_size(p.relid)), 0) FROM pg_partition_tree(c.oid) p)
                 ELSE pg_table_size(c.oid) END::bigint,
               has_schema_privilege(n.oid, 'USAGE'),
               has_schema_privilege(n.oid, 'USAGE') AND (
                 has_table_privilege(c.oid, 'SELECT') OR NOT EXISTS (
                   SELECT FROM pg_attribute a
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                     AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT'))),
               row_security_active(c.oid)
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
          AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %(journal)s)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                          AND d.objid = c.oid AND d.deptype = 'e')
        ORDER BY 1, 2
        """,
        {"journal": JOURNAL_SCHEMA},
    ).fetchall()
    return [Relation(*row) for row in rows if row[0] not in layouts]


def _layouts(connection: Connection) -> set[str]:
    """Return the schemas in which regionkit has created a layout."""
    rows = connection.execute(
        "SELECT n.nspname FROM pg_namespace n WHERE n.nspname !~ '^pg_'"
    ).fetchall()
    versions = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' "
        "AND relnamespace = to_regnamespace(quote_ident(%s))",
        (JOURNAL_SCHEMA,),
    ).fetchall()
    known = {str(name) for (name,) in versions}
    return {str(schema) for (schema,) in rows if version_table(str(schema)) in known}


class Evidence:
    """Asks the rows of a source.

    Args:
        connection: of :func:`looking`.
        layout: as it is thought to be: every regional table has a home path, and the roles of its
            foreign keys name those that are to be asked.
        project: the rule of the root.
    """

    def __init__(self, connection: Connection, layout: Layout, project: Configuration) -> None:
        self._connection = connection
        self._layout = layout
        self._query = RegionQuery(layout, project)

    def check_rule(self) -> None:
        """Refuse an expression of the operator's that the server does not understand.

        Raises:
            UsageError: it does not.
        """
        joined = self._query.joined(self._layout.placement.root)
        with blaming_the_rule(), self._connection.transaction():
            self._connection.execute(f"EXPLAIN SELECT {joined.region} FROM {joined.sql}")

    def table(self, key: str) -> TableEvidence:
        """Count the rows of a table per region, along each way to a client, and how ways differ."""
        placed = self._layout.placement[key]
        if not placed.regional and not placed.roles:
            return TableEvidence({"": self._count(self._query.rows(key))})
        joined = self._query.joined(key, every_key=True, thorough=True)
        ends = self._ends(key, joined)
        pairs = [
            (one, other)
            for one, other in combinations(ends, 2)
            if len(ends) <= _MOST_WAYS or one == placed.home
        ]
        ways = [way for way in ends if way is not None]
        counts = [count for way in ways for count in self._way(way, joined, ends[way])]
        for one, other in pairs:
            counts += self._meeting(ends[one], ends[other])
        filters = "".join(f", count(*) FILTER (WHERE {condition})" for condition in counts)
        with blaming_the_rule():
            rows = self._connection.execute(
                f"SELECT coalesce(({joined.region})::text, ''), count(*){filters} "
                f"FROM {joined.sql} GROUP BY 1 ORDER BY 1"
            ).fetchall()
        sums = [sum(int(row[place]) for row in rows) for place in range(2, 2 + len(counts))]
        numbers = iter(sums)
        return TableEvidence(
            {str(row[0]): int(row[1]) for row in rows},
            {way: Way(next(numbers), next(numbers), next(numbers)) for way in ways},
            {
                frozenset(pair): Meeting(next(numbers), next(numbers), next(numbers))
                for pair in pairs
            },
        )

    def _ends(self, key: str, joined: Joined) -> dict[ForeignKey | None, tuple[str, str]]:
        """Return each way from a row of ``t``: the alias of its client, and the client's region."""
        placed = self._layout.placement[key]
        found: dict[ForeignKey | None, tuple[str, str]] = {}
        if joined.root is not None:
            found[placed.home] = (joined.root, joined.region)
        for way, alias in joined.owners.items():
            found[way] = (alias, joined.places[way])
        return found

    def _way(self, way: ForeignKey, joined: Joined, end: tuple[str, str]) -> Iterable[str]:
        filled = " AND ".join(f"t.{ddl.quote(column)} IS NOT NULL" for column in way.columns)
        client = self._query.is_client(end[0])
        yield filled
        first = f"{joined.targets.get(way, HOME_ALIAS)}.{ddl.quote(way.target_columns[0])}"
        yield f"{filled} AND {first} IS NULL"
        yield client

    def _meeting(self, one: tuple[str, str], other: tuple[str, str]) -> Iterable[str]:
        both = f"{self._query.is_client(one[0])} AND {self._query.is_client(other[0])}"
        yield both
        yield f"{both} AND {self._tuple(one[0])} <> {self._tuple(other[0])}"
        yield f"{both} AND ({one[1]}) IS DISTINCT FROM ({other[1]})"

    def _tuple(self, alias: str) -> str:
        columns = self._layout.root.primary_key
        return f"({', '.join(f'{alias}.{ddl.quote(column)}' for column in columns)})"

    def _count(self, table: str) -> int:
        row = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    def sharing(self, target: str, keys: Sequence[ForeignKey], first: int | None = None) -> Sharing:
        """Count the rows of a table that one client refers to, and those that several do.

        Args:
            target: key of the table.
            keys: the foreign keys that lead to it from regional tables.
            first: look at so many uses by each key at most.
        """
        limit = "" if first is None else f" LIMIT {first:d}"
        branches = [f"({self._uses(number, key)}{limit})" for number, key in enumerate(keys)]
        each = "".join(
            f", min(client) FILTER (WHERE k = {number}) AS lo{number}, "
            f"max(client) FILTER (WHERE k = {number}) AS hi{number}"
            for number in range(len(keys))
        )
        counts = "".join(
            f", count(*) FILTER (WHERE lo{number} IS NOT NULL), "
            f"count(*) FILTER (WHERE lo{number} <> hi{number})"
            for number in range(len(keys))
        )
        with blaming_the_rule():
            row = self._connection.execute(
                f"SELECT (SELECT count(*) FROM {self._query.rows(target)}), count(*), "
                "count(*) FILTER (WHERE lo <> hi), "
                f"count(*) FILTER (WHERE near IS DISTINCT FROM far){counts} FROM ("
                "SELECT min(client) AS lo, max(client) AS hi, min(region) AS near, "
                f"max(region) AS far{each} FROM ({' UNION ALL '.join(branches)}) AS uses "
                "GROUP BY part, place) AS used"
            ).fetchone()
        assert row is not None
        rows, used, shared, regions, *uses = map(int, row)
        return Sharing(
            rows,
            used,
            shared,
            regions,
            {key: Use(uses[2 * at], uses[2 * at + 1]) for at, key in enumerate(keys)},
            whole=first is None,
        )

    def _uses(self, number: int, key: ForeignKey) -> str:
        """Return SQL for each use of a row of ``key.target`` by a client's row."""
        joined = self._query.joined(key.table)
        assert joined.root is not None
        condition = " AND ".join(
            f"t.{ddl.quote(column)} = x.{ddl.quote(target)}"
            for column, target in zip(key.columns, key.target_columns, strict=True)
        )
        return (
            f"SELECT {number} AS k, x.tableoid AS part, x.ctid AS place, "
            f"{self._query.client(joined.root)} AS client, ({joined.region})::text AS region "
            f"FROM {joined.sql} JOIN {self._query.rows(key.target)} AS x ON {condition} "
            f"WHERE {self._query.is_client(joined.root)}"
        )

    # The rule of the root --------------------------------------------------------------------

    def ruled(self) -> dict[str | None, int]:
        """Return how many clients the rule gives each region; ``None`` for none."""
        joined = self._query.joined(self._layout.placement.root)
        with blaming_the_rule():
            rows = self._connection.execute(
                f"SELECT ({joined.region})::text, count(*) FROM {joined.sql} GROUP BY 1 ORDER BY 1"
            ).fetchall()
        return {row[0]: int(row[1]) for row in rows}

    def unmapped(self) -> dict[str | None, int]:
        """Return the values of the rule's column that have no region, with their clients."""
        joined = self._query.joined(self._layout.placement.root)
        value = self._query.value()
        assert value is not None
        rows = self._connection.execute(
            f"SELECT {value}::text, count(*) FROM {joined.sql} WHERE ({joined.region}) IS NULL "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
        return {row[0]: int(row[1]) for row in rows}

    def homeless(self) -> list[tuple[str, ...]]:
        """Return the keys of the clients that the rule gives no region."""
        joined = self._query.joined(self._layout.placement.root)
        columns = ", ".join(
            f"t.{ddl.quote(column)}::text" for column in self._layout.root.primary_key
        )
        rows = self._connection.execute(
            f"SELECT {columns} FROM {joined.sql} WHERE ({joined.region}) IS NULL "
            f"ORDER BY {columns} LIMIT {_MOST_KEYS}"
        ).fetchall()
        return [tuple(map(str, row)) for row in rows]

    def strangers(self) -> int:
        """Return how many lines of the operator's list name no client."""
        columns = self._layout.root.primary_key
        listed = self._query.listed()
        names = ", ".join(f"k{number}" for number in range(len(columns)))
        condition = " AND ".join(
            f"t.{ddl.quote(column)}::text = l.k{number}" for number, column in enumerate(columns)
        )
        row = self._connection.execute(
            f"SELECT count(*) FROM unnest({listed}) AS l({names}, region) WHERE NOT EXISTS "
            f"(SELECT FROM {self._query.rows(self._layout.placement.root)} AS t "
            f"WHERE {condition})"
        ).fetchone()
        assert row is not None
        return int(row[0])

    # Keys that nothing declares --------------------------------------------------------------

    def contained(
        self, table: str, guesses: Sequence[tuple[str, str, str]]
    ) -> list[tuple[int, int, int]]:
        """Return how far columns of a table hold values of other tables' keys.

        Args:
            table: key of the table.
            guesses: column, key of the other table, column of that.

        Returns:
            For each: the rows with a value, of these the rows whose value is not there, and how
            many different values there are.
        """
        counts = []
        for column, other, target in guesses:
            mine = f"t.{ddl.quote(column)}"
            counts += [
                f"count({mine})",
                f"count(*) FILTER (WHERE {mine} IS NOT NULL AND NOT EXISTS (SELECT FROM "
                f"{self._query.rows(other)} AS o WHERE o.{ddl.quote(target)} = {mine}))",
                f"count(DISTINCT {mine})",
            ]
        row = self._connection.execute(
            f"SELECT {', '.join(counts)} FROM {self._query.rows(table)} AS t"
        ).fetchone()
        assert row is not None
        return [(int(row[at]), int(row[at + 1]), int(row[at + 2])) for at in range(0, len(row), 3)]


def names_of(relations: Iterable[Relation], default_schema: str) -> Mapping[str, Relation]:
    """Return tables by the key that they have in ``regionkit.toml``."""
    return {key_of(one, default_schema): one for one in relations}


def key_of(relation: Relation, default_schema: str) -> str:
    """Return the key that a table has in ``regionkit.toml``."""
    if relation.schema == default_schema:
        return relation.name
    return f"{relation.schema}.{relation.name}"
