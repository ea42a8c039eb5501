"""Key tables, which keep keys unique over all regions. Pure: descriptions in, SQL out.

A unique constraint of a partitioned table must contain the region, so uniqueness over all regions
is kept beside the table: a key table holds the key of every row, under the constraint itself, and
triggers on the table keep it. An exclusion constraint is kept in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.names import shorten
from toolkit.postgres import ddl


@dataclass(frozen=True)
class KeyTable:
    """One key table.

    Attributes:
        name: its own.
        keeps: the regional table whose keys it holds.
        columns: name of each of its columns, and the SQL over a row of ``keeps`` that fills it.
        constraint: name of the constraint that its rows are under.
        definition: that constraint, as ``ALTER TABLE ... ADD CONSTRAINT`` takes it.
        where: the condition of the rows that it holds, over a row of ``keeps``; ``None`` for all.
        nulls: whether it holds keys in which there is a NULL.
        single: whether it can hold equal keys for a moment, so that one at a time is deleted.
        images: whether keys are compared bit by bit, because not every type that an exclusion
            constraint takes has an equality.
        lookup: with ``images``: the columns that have one, and an index.
        path: further schemas that operators of the columns' types are looked up in.
    """

    name: str
    keeps: str
    columns: tuple[tuple[str, str], ...]
    constraint: str
    definition: str
    where: str | None = None
    nulls: bool = False
    single: bool = False
    images: bool = False
    lookup: tuple[str, ...] = ()
    path: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(name for name, _ in self.columns)

    @property
    def plain(self) -> bool:
        """Whether it holds nothing but columns, of every row."""
        return self.where is None and all(ddl.quote(name) == sql for name, sql in self.columns)

    @property
    def function(self) -> str:
        """The name of the trigger function that keeps it."""
        return shorten(f"{self.name}_keep")

    @property
    def triggers(self) -> tuple[str, str]:
        """The names of the triggers: for rows that come and go, and for rows that change."""
        return self.name, shorten(f"{self.name}_update")

    def select(self, relation: str) -> str:
        """Return the SELECT of the keys of a relation's rows.

        Args:
            relation: that has the columns of ``keeps``, as it stands behind FROM.
        """
        items = ", ".join(f"{sql} AS {ddl.quote(name)}" for name, sql in self.columns)
        return f"SELECT {items} FROM {relation} AS t{self._condition()}"

    def _condition(self) -> str:
        # A row value of which a part is NULL "IS NOT NULL" not, and yet it is a key.
        conditions = [] if self.where is None else [f"({self.where})"]
        if not self.nulls:
            conditions += [f"({sql}) IS DISTINCT FROM NULL" for _, sql in self.columns]
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def create(self, schema: str) -> list[str]:
        """Return the statements that create the table, empty, and everything that keeps it."""
        table, keeps = ddl.quote(schema, self.name), ddl.quote(schema, self.keeps)
        items = ", ".join(f"{sql} AS {ddl.quote(name)}" for name, sql in self.columns)
        what = ", ".join(sql.replace('"', "") for _, sql in self.columns)
        found = [
            # The server knows the type and the collation of every expression.
            f"CREATE TABLE {table} AS SELECT {items} FROM {keeps} WITH NO DATA",
            f"ALTER TABLE {table} ADD CONSTRAINT {ddl.quote(self.constraint)} {self.definition}",
            f"COMMENT ON TABLE {table} IS "
            + ddl.literal(f"Keeps {self.keeps} ({what}) unique over all regions."),
        ]
        if self.lookup:
            index = ddl.quote(shorten(f"{self.name}_row"))
            found.append(f"CREATE INDEX {index} ON {table} ({ddl.columns(self.lookup)})")
        call = f"EXECUTE FUNCTION {ddl.quote(schema, self.function)}()"
        comes, changes = map(ddl.quote, self.triggers)
        found += [
            self._function(schema),
            # AFTER ROW, because a before-row trigger breaks upserts and a statement trigger misses
            # inserts into a leaf.
            f"CREATE TRIGGER {comes} AFTER INSERT OR DELETE ON {keeps} FOR EACH ROW {call}",
            # Not UPDATE OF: a trigger of the source's may set a column that the statement does not.
            f"CREATE TRIGGER {changes} AFTER UPDATE ON {keeps} FOR EACH ROW {self._when()}{call}",
        ]
        return found

    def drop(self, schema: str) -> list[str]:
        """Return the statements that drop all of it."""
        keeps = ddl.quote(schema, self.keeps)
        return [
            *(f"DROP TRIGGER {ddl.quote(name)} ON {keeps}" for name in self.triggers),
            f"DROP FUNCTION {ddl.quote(schema, self.function)}()",
            f"DROP TABLE {ddl.quote(schema, self.name)}",
        ]

    def fill(self, schema: str) -> str:
        """Return the statement that loads it; equal keys fail on its constraint."""
        keys = self.select(ddl.quote(schema, self.keeps))
        return f"INSERT INTO {ddl.quote(schema, self.name)} ({ddl.columns(self.names)}) {keys}"

    def _when(self) -> str:
        """Return the condition for a changed row to have another key; empty if it costs a call."""
        if not self.plain or self.path:
            return ""
        differs = " OR ".join(
            f"OLD.{column} IS DISTINCT FROM NEW.{column}" for _, column in self.columns
        )
        return f"WHEN ({differs}) "

    def _function(self, schema: str) -> str:
        """Return the statement that creates the trigger function.

        SECURITY DEFINER, because whoever writes a client need not be able to write the key table;
        therefore the search path is fixed (PostgreSQL documentation, "Writing SECURITY DEFINER
        Functions Safely").
        """
        table = ddl.quote(schema, self.name)
        path = ", ".join(["pg_catalog", *map(ddl.quote, self.path), "pg_temp"])
        body = self._plain_body(table) if self.plain else self._computed_body(table)
        return f"""CREATE FUNCTION {ddl.quote(schema, self.function)}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {path} AS $regionkit$
#variable_conflict use_column
BEGIN
{body}
  RETURN NULL;
END
$regionkit$"""

    def _plain_body(self, table: str) -> str:
        columns = [column for _, column in self.columns]
        rows = {row: [f"{row}.{column}" for column in columns] for row in ("OLD", "NEW")}
        present = {
            row: ""
            if self.nulls
            else " AND " + " AND ".join(f"{value} IS DISTINCT FROM NULL" for value in values)
            for row, values in rows.items()
        }
        lines: list[str] = []
        if not self._when():
            lines += _unchanged(*map(_record, rows.values()))
        found = self._found("k", dict(zip(self.names, rows["OLD"], strict=True)))
        lines += [
            f"  IF TG_OP <> 'INSERT'{present['OLD']} THEN",
            f"    {self._delete(table, '', found)};",
            "  END IF;",
            f"  IF TG_OP <> 'DELETE'{present['NEW']} THEN",
            f"    INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(rows['NEW'])});",
            "  END IF;",
        ]
        return "\n".join(lines)

    def _computed_body(self, table: str) -> str:
        keys = {row: self.select(f"(SELECT {row}.*)") for row in ("OLD", "NEW")}
        items = ", ".join(sql for _, sql in self.columns)
        images = (
            f"(SELECT {_record([items])} FROM (SELECT {row}.*) AS t{self._condition()})"
            for row in keys
        )
        before = f"({keys['OLD']}) AS o"
        found = self._found("k", {name: f"o.{ddl.quote(name)}" for name in self.names})
        lines = [
            *_unchanged(*images),
            "  IF TG_OP <> 'INSERT' THEN",
            f"    {self._delete(table, before, found)};",
            "  END IF;",
            "  IF TG_OP <> 'DELETE' THEN",
            f"    INSERT INTO {table} ({ddl.columns(self.names)}) {keys['NEW']};",
            "  END IF;",
        ]
        return "\n".join(lines)

    def _delete(self, table: str, beside: str, found: str) -> str:
        if self.single:
            relations = ", ".join(filter(None, (f"{table} AS k", beside)))
            row = f"SELECT k.ctid FROM {relations} WHERE {found} LIMIT 1"
            return f"DELETE FROM {table} WHERE ctid = ({row})"
        using = f" USING {beside}" if beside else ""
        return f"DELETE FROM {table} AS k{using} WHERE {found}"

    def _found(self, alias: str, values: dict[str, str]) -> str:
        """Return the condition for a row of the key table to hold these values."""
        own = {name: f"{alias}.{ddl.quote(name)}" for name in values}
        if self.images:
            equal = [f"{own[name]} = {values[name]}" for name in self.lookup]
            return " AND ".join([*equal, f"{_record(own.values())} *= {_record(values.values())}"])
        if self.nulls:
            null = "IS NOT DISTINCT FROM NULL"
            return " AND ".join(
                f"({own[name]} = {value} OR {own[name]} {null} AND {value} {null})"
                for name, value in values.items()
            )
        return " AND ".join(f"{own[name]} = {value}" for name, value in values.items())


def _record(values: Iterable[str]) -> str:
    """Return a row as one value, which compares bit by bit with another."""
    return f"ROW({', '.join(values)})::record"


def _unchanged(old: str, new: str) -> Sequence[str]:
    """Return the lines that leave a function where the key is the same, bit by bit."""
    return (f"  IF TG_OP = 'UPDATE' AND {old} *= {new} THEN", "    RETURN NULL;", "  END IF;")
