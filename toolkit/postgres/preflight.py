"""What is in the source and what of it cannot be moved: asked before anything is written.

One pass over each table, along all of its foreign keys at once, counts its rows per region and
those that are in the way; only where there are some does a second pass list their keys.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from sqlalchemy import Table

from toolkit.expressions import IndexPart
from toolkit.journal import Key
from toolkit.layout import Scope, Unique, declared
from toolkit.placement import OWNER, ForeignKey, Role, owner_columns
from toolkit.postgres import ddl
from toolkit.postgres.regions import Joined
from toolkit.postgres.session import Connection
from toolkit.postgres.source import Source, blaming_the_rule
from toolkit.refusal import Offender, Refusal
from toolkit.types import postgres_type

#: Bytes of a value of a type that always takes the same.
_WIDTHS = {
    "smallint": 2,
    "integer": 4,
    "bigint": 8,
    "real": 4,
    "double precision": 8,
    "boolean": 1,
    "uuid": 16,
    "date": 4,
    "time without time zone": 8,
    "timestamp without time zone": 8,
    "timestamp with time zone": 8,
    "interval": 16,
}
#: Rows of which the bytes are measured.
_SAMPLE = 2_000

#: Header and line pointer of a row (PostgreSQL documentation, "Database Page Layout").
_ROW = 28


@dataclass(frozen=True)
class Census:
    """What a table of the source holds.

    Attributes:
        rows: per region; the empty string stands for the rows of a global table, and for those
            that have no region.
        bytes: likewise, about: by a sample of the rows, as they are stored, without indexes.
        refusals: rows that cannot be placed.
    """

    rows: dict[str, int]
    bytes: dict[str, int]
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class _Question:
    """Rows that would be in the way: a condition, and why as SQL text."""

    reason: str
    condition: str


class Preflight:
    """Asks one source. Writes nothing.

    Args:
        source: under an open snapshot.
        codes: the regions.
    """

    def __init__(self, source: Source, codes: Sequence[str]) -> None:
        self._source = source
        self._layout = source.layout
        self._query = source.query
        self._codes = codes

    def census(self, connection: Connection, key: str) -> Census:
        """Count the rows of a table, and list those that cannot be placed.

        Rows of a client that has no region are not listed: they follow the client.
        """
        joined = self._query.joined(key, every_key=True)
        questions = list(self._questions(key, joined))
        counts = "".join(
            f", count(*) FILTER (WHERE {question.condition})" for question in questions
        )
        with blaming_the_rule() if self._query.rule.sql else nullcontext():
            rows = connection.execute(
                f"SELECT coalesce(({joined.region})::text, ''), count(*){counts} "
                f"FROM {joined.sql} GROUP BY 1"
            ).fetchall()
        refusals: list[Refusal] = []
        suspicious = {
            number for number in range(len(questions)) if any(row[2 + number] for row in rows)
        }
        if suspicious:
            joined = self._query.joined(key, every_key=True, thorough=True)
            for number, question in enumerate(self._questions(key, joined)):
                if number in suspicious:
                    refusals += self._listed(connection, key, joined, question)
        refusals += self._owned_twice(connection, key)
        refusals += self._duplicates(connection, key)
        width = self._width(connection, key)
        return Census(
            {row[0]: int(row[1]) for row in rows},
            {row[0]: round(row[1] * width) for row in rows},
            tuple(refusals),
        )

    def _width(self, connection: Connection, key: str) -> float:
        """Return the bytes of a row, of which a sample is asked."""
        table = self._query.table(key)
        row = connection.execute(
            "SELECT relkind IN ('r', 'p', 'm'), greatest(reltuples, 1) FROM pg_class "
            "WHERE oid = %s::regclass",
            (table,),
        ).fetchone()
        assert row is not None
        share = min(100.0, 100 * 2 * _SAMPLE / row[1])
        sample = f" TABLESAMPLE SYSTEM ({share:.6f})" if row[0] and share < 100 else ""
        width = connection.execute(
            f"SELECT avg(size) FROM (SELECT {self._bytes(key)} AS size "
            f"FROM {self._query.rows(key)} AS t{sample} "
            f"LIMIT {_SAMPLE}) AS sample"
        ).fetchone()
        return float(width[0] or 0) if width else 0.0

    def _bytes(self, key: str) -> str:
        """Return SQL for the bytes of a row of alias ``t``; what is stored apart counts too."""
        fixed, varying = _ROW, []
        for column in self._layout.table(key).columns:
            type_ = postgres_type(column.type)
            if OWNER in column.info:
                continue  # The source has no such column.
            if type_.name in _WIDTHS and not type_.is_array:
                fixed += _WIDTHS[type_.name]
            else:
                varying.append(f"coalesce(pg_column_size(t.{ddl.quote(column.name)}), 0)")
        return " + ".join([f"{fixed}::bigint", *varying])

    # Rows that cannot be placed --------------------------------------------------------------

    def _questions(self, key: str, joined: Joined) -> Iterator[_Question]:
        placed = self._layout.placement[key]
        if key == self._layout.placement.root:
            yield self._unplaced(joined)
        if placed.home is not None:
            missing = " OR ".join(
                f"t.{ddl.quote(column)} IS NULL" for column in placed.home.columns
            )
            columns = ", ".join(placed.home.columns)
            nobody = ddl.literal(f"belongs to no client: {columns} leads nowhere")
            through = owner_columns(self._layout.table(key))
            why = f"no row of {through[0].info[OWNER]} leads to it" if through else ""
            null = ddl.literal(f"belongs to no client: {why or f'{columns} is NULL'}")
            assert joined.root is not None
            yield _Question(
                f"CASE WHEN {missing} THEN {null} ELSE {nobody} END",
                f"NOT {self._query.is_client(joined.root)} AND ({joined.region}) IS NULL",
            )
        for reference, alias in joined.targets.items():
            present = " AND ".join(f"t.{ddl.quote(c)} IS NOT NULL" for c in reference.columns)
            found = f"{alias}.{ddl.quote(reference.target_columns[0])}"
            yield _Question(
                ddl.literal(f"{reference} leads nowhere"), f"{present} AND {found} IS NULL"
            )
            if placed.roles[reference] is Role.same_region:
                condition = f"{found} IS NOT NULL"
                if apart := joined.apart[reference]:
                    condition += f" AND ({apart})"
                # Where the client was not asked for, this only says that a second look is needed.
                if place := joined.places.get(reference):
                    condition += f" AND ({place}) <> ({joined.region})"
                yield _Question(
                    ddl.literal(f"{reference} leads to another region, and [placement] says not"),
                    condition,
                )

    def _unplaced(self, joined: Joined) -> _Question:
        """Ask for the clients whose rule gives no region, or one that is not declared."""
        reason = f"coalesce('region ' || quote_literal({joined.region}), 'no region')"
        value = self._query.value()
        if value is not None:
            column = ddl.literal(f"{self._query.rule.column} ")
            reason = f"{column} || coalesce('= ' || quote_literal({value}::text), 'is NULL')"
        known = ", ".join(map(ddl.literal, self._codes))
        return _Question(reason, f"({joined.region}) IS NULL OR ({joined.region}) NOT IN ({known})")

    def _listed(
        self, connection: Connection, key: str, joined: Joined, question: _Question
    ) -> list[Refusal]:
        rows = connection.execute(
            f"SELECT {question.reason}, {self._source.shown_key(key)}, "
            f"{self._source.client_of(joined)} FROM {joined.sql} WHERE {question.condition} "
            "ORDER BY 1, 2"
        )
        return self._refusals(key, rows)

    def _refusals(
        self, key: str, rows: Iterator[tuple[str, str, list[str] | None]]
    ) -> list[Refusal]:
        by_reason: dict[str, list[Offender]] = {}
        for reason, shown, client in rows:
            offender = Offender(str(shown), tuple(client) if client else None)
            by_reason.setdefault(str(reason), []).append(offender)
        shared = key in self._layout.shared
        return [
            Refusal(key, reason, tuple(offenders), shared)
            for reason, offenders in by_reason.items()
        ]

    def _owned_twice(self, connection: Connection, key: str) -> list[Refusal]:
        """List the rows of a table that is owned through another which several clients share."""
        shared = self._query.owned_twice(key)
        if shared is None:
            return []
        through = owner_columns(self._layout.table(key))[0].info[OWNER]
        reason = ddl.literal(f"belongs to several clients, by {through}")
        rows = connection.execute(
            f"SELECT {reason}, {self._source.shown_key(key)}, NULL::text[] FROM {shared} ORDER BY 2"
        )
        return self._refusals(key, rows)

    # Uniqueness ------------------------------------------------------------------------------

    def _duplicates(self, connection: Connection, key: str) -> Iterator[Refusal]:
        """List rows that the target will hold for equal, and the source does not.

        Where the source itself keeps a constraint there is nothing to ask.
        """
        table = self._layout.table(key)
        kept = self._kept(connection, key)
        joined = self._query.joined(key)
        for unique in self._uniques(key, table):
            columns = unique.columns
            folded = {
                column
                for column in columns
                if postgres_type(table.columns[column].type).name == "citext"
            }
            if not folded and self._is_kept(unique, kept):
                continue
            compared = [
                f"lower(t.{ddl.quote(part.column)}::text)"
                if part.column in folded
                else _value(part)
                for part in unique.parts
            ]
            present = [] if unique.where is None else [_over_row(f"({unique.where})")]
            if unique.nulls_distinct:
                present += [f"{_value(part)} IS DISTINCT FROM NULL" for part in unique.parts]
            if unique.scope is Scope.region and key in self._layout.regional:
                compared.append(joined.region)
            what = ", ".join(part.column or part.sql for part in unique.parts)
            but_for_case = " but for case" if folded else ""
            reason = f"{unique.name}: another row has the same {what}{but_for_case}"
            rows = connection.execute(
                "SELECT reason, key, client FROM ("
                f"SELECT {ddl.literal(reason)} AS reason, {self._source.shown_key(key)} AS key, "
                f"{self._source.client_of(joined)} AS client, "
                f"count(*) OVER (PARTITION BY {', '.join(compared)}) AS times "
                f"FROM {joined.sql} WHERE {' AND '.join(present) or 'true'}) AS counted "
                "WHERE times > 1 ORDER BY key"
            )
            yield from self._refusals(key, rows)

    def _uniques(self, key: str, table: Table) -> Iterator[Unique]:
        """Yield what keeps rows of the target apart by equality."""
        regional = self._layout.regional.get(key)
        for unique in regional.uniques if regional else declared(table):
            if not unique.operators:
                yield unique

    def _is_kept(self, unique: Unique, kept: Collection[_Kept]) -> bool:
        """Return whether an index of the source says what a unique constraint says, or more."""
        return any(
            (one.nulls_clash or unique.nulls_distinct)
            and (
                one.columns == frozenset(unique.columns)
                if unique.plain and one.columns is not None
                else one.name == unique.name
            )
            for one in kept
        )

    def _kept(self, connection: Connection, key: str) -> list[_Kept]:
        """Return the unique indexes of the source's table."""
        rows = connection.execute(
            "SELECT min(i.relname), CASE WHEN bool_and(x.indpred IS NULL AND x.indexprs IS NULL) "
            "THEN array_agg(a.attname::text) END, "
            "bool_and((to_jsonb(x) ->> 'indnullsnotdistinct')::boolean IS TRUE "
            "OR a.attnotnull IS TRUE) "
            "FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
            "LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid "
            "AND a.attnum = ANY ((x.indkey::int2[])[0:x.indnkeyatts - 1]) "
            "WHERE x.indrelid = %s::regclass AND x.indisunique AND x.indisvalid "
            "GROUP BY x.indexrelid",
            (self._query.table(key),),
        ).fetchall()
        return [
            _Kept(str(name), None if columns is None else frozenset(columns), bool(clash))
            for name, columns, clash in rows
        ]

    # Clients in quarantine -------------------------------------------------------------------

    def followers(self, connection: Connection, left: set[Key]) -> dict[Key, str]:
        """Return the clients whose rows lead to rows that stay in the source.

        A row cannot go where the row that it refers to is not. Call it again with what it
        returned, until nothing is added.

        Args:
            connection: a reader.
            left: the clients that stay.
        """
        found: dict[Key, str] = {}
        columns = self._layout.root.primary_key
        values = ", ".join(f"({', '.join(map(ddl.literal, key))})" for key in sorted(left))
        for name in self._layout.regional:
            joined = self._query.joined(name, every_key=True, thorough=True)
            assert joined.root is not None
            mine = self._tuple(joined.root, columns)
            for reference, owner in joined.owners.items():
                theirs = self._tuple(owner, columns)
                target = f"{joined.targets[reference]}.{ddl.quote(reference.target_columns[0])}"
                stays = f"({joined.places[reference]}) IS NULL"
                if left:
                    stays += f" OR {theirs} IN (VALUES {values})"
                others = f" AND {mine} NOT IN (VALUES {values})" if left else ""
                rows = connection.execute(
                    f"SELECT DISTINCT {self._query.client(joined.root)} FROM {joined.sql} "
                    f"WHERE {self._query.is_client(joined.root)} AND {target} IS NOT NULL "
                    f"AND ({stays}){others}"
                ).fetchall()
                for (client,) in rows:
                    found.setdefault(tuple(client), _follows(reference))
        return found

    def _tuple(self, alias: str, columns: Sequence[str]) -> str:
        return f"({', '.join(f'{alias}.{ddl.quote(column)}::text' for column in columns)})"


@dataclass(frozen=True)
class _Kept:
    """A unique index of the source.

    Attributes:
        name: its own.
        columns: that it is over; ``None`` for one that is partial or over an expression.
        nulls_clash: whether NULLs are equal to it, or there can be none.
    """

    name: str
    columns: frozenset[str] | None
    nulls_clash: bool


def _over_row(sql: str) -> str:
    """Return an expression over the columns of a table as one over its alias ``t``."""
    return f"(SELECT {sql} FROM (SELECT t.*) AS r)"


def _value(part: IndexPart) -> str:
    return _over_row(part.sql) if part.column is None else f"t.{ddl.quote(part.column)}"


def _follows(reference: ForeignKey) -> str:
    return f"{reference} leads to a row that stays in the source"
