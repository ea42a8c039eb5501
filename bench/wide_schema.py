"""A generated source of many tables and foreign keys: for ``bench.wide``, and for tests.

The same seed gives the same schema. Owned tables hang under the root up to six levels deep, global
tables under each other; further keys lead sideways, down and in circles.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, ExecutableDDLElement

ROOT = "client"
#: The countries that clients live in, and the region of each.
COUNTRIES = {"DE": "eu", "GL": "gl", "US": "na", "JP": "ap"}

#: How far an owned table may be from the root.
_DEEPEST = 6

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Wide:
    """A schema with many tables.

    Attributes:
        schema: that holds them.
        tables: how many.
        references: how many foreign keys.
        seed: of everything else.
    """

    schema: str = "wide"
    tables: int = 400
    references: int = 800
    seed: int = 1

    def metadata(self) -> MetaData:
        """Return the schema. Pure.

        Raises:
            ValueError: fewer foreign keys than the tables need to hang together.
        """
        if self.references < 2 * self.tables // 3 + 8:
            raise ValueError("too few foreign keys for so many tables")
        return _Generator(self).metadata()

    def statements(self, rows: int) -> Iterator[str]:
        """Yield what creates the schema with so many rows per table; keys come last."""
        metadata = self.metadata()
        yield f"CREATE SCHEMA {self.schema}"
        for table in metadata.tables.values():
            yield _sql(CreateTable(table, include_foreign_key_constraints=[]))
            yield _rows(table, rows)
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                yield _sql(CreateIndex(index))
        for table in metadata.tables.values():
            for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name)):
                yield _sql(AddConstraint(key))

    def toml(self, mongo_database: str, more: str = "") -> str:
        """Return the ``regionkit.toml`` of a project for it.

        Args:
            mongo_database: for the layout ``collections``.
            more: further lines.
        """
        mapping = ", ".join(f'{country} = "{region}"' for country, region in COUNTRIES.items())
        regions = "\n".join(f"[regions.{region}]" for region in COUNTRIES.values())
        return (
            f'[source]\nschema = "{self.schema}"\n'
            f'[target.mongo]\ndatabase = "{mongo_database}"\nallow_single_member = true\n'
            f'[root]\ntable = "{ROOT}"\n'
            f'[root.region]\ncolumn = "country"\nmap = {{ {mapping} }}\n{regions}\n{more}'
        )


class _Generator:
    """Draws one schema."""

    def __init__(self, wanted: Wide) -> None:
        self.wanted = wanted
        self.random = random.Random(wanted.seed)  # noqa: S311 - a schema, not a secret
        self.built = MetaData(schema=wanted.schema)
        self.depth: dict[str, int] = {}
        self.left = wanted.references

    def metadata(self) -> MetaData:
        shared = [self._table(f"kind_{n:03}") for n in range(1, self.wanted.tables // 4 + 1)]
        root = self._table(ROOT, Column("country", Text, nullable=False))
        self.depth = {ROOT: 0}
        owned: list[Table] = []
        for number in range(1, self.wanted.tables - len(shared)):
            table = self._table(f"item_{number:03}")
            near = [one for one in (root, *owned) if self.depth[one.name] < _DEEPEST]
            parent = self.random.choice(near)
            self.depth[table.name] = self.depth[parent.name] + 1
            self._reference(table, parent, nullable=False)
            owned.append(table)
        # A client has a favourite among their own things: a circle, at every seed.
        self._reference(root, owned[0])
        for one, other in zip(shared[1:], shared, strict=False):
            if self.random.random() < 0.5:
                self._reference(one, other, nullable=False)
        # Global tables that the root reaches, and so all of them.
        for one in shared:
            self._reference(self.random.choice(owned), one)
        while self.left > 0:
            child = self.random.choice(owned)
            if self.random.random() < 0.5:
                self._reference(child, self.random.choice(shared))
                continue
            # Not nearer to the root than the parent, and so no second way there.
            level = self.depth[child.name]
            self._reference(
                child, self.random.choice([one for one in owned if self.depth[one.name] >= level])
            )
        return self.built

    def _table(self, name: str, *columns: Column[str]) -> Table:
        number = len(self.built.tables)
        table = Table(
            name,
            self.built,
            Column("id", BigInteger, primary_key=True, autoincrement=False),
            Column("code", Text, nullable=False),
            Column("amount", Numeric(18, 2), nullable=False, server_default=text("0")),
            Column("seen_at", DateTime(timezone=True)),
            *columns,
        )
        if number % 3 == 0:
            table.append_constraint(UniqueConstraint("code", name=f"{name}_code_key"))
        else:
            Index(f"{name}_code_idx", table.c.code)
        return table

    def _reference(self, child: Table, parent: Table, *, nullable: bool = True) -> None:
        if self.left <= 0:
            return
        self.left -= 1
        name = f"{parent.name}_id_{len(child.foreign_key_constraints) + 1}"
        child.append_column(Column(name, BigInteger, nullable=nullable))
        child.append_constraint(
            ForeignKeyConstraint([name], [parent.c.id], name=f"{child.name}_{name}_fkey")
        )


def _sql(statement: ExecutableDDLElement) -> str:
    return str(statement.compile(dialect=_DIALECT))


def _rows(table: Table, rows: int) -> str:
    """Return the statement that fills a table; its references lead to rows that will be there."""
    values = {
        "id": "n",
        "code": "'code ' || n",
        "amount": "n * 1.25",
        "seen_at": "timestamptz '2024-01-01' + n * interval '1 second'",
        "country": f"(ARRAY[{', '.join(map(repr, COUNTRIES))}])[1 + n % {len(COUNTRIES)}]",
    }
    cells = [
        values.get(column.name, f"1 + (n * {7 + 2 * position}) % {rows}")
        for position, column in enumerate(table.columns)
    ]
    names = ", ".join(column.name for column in table.columns)
    # Names and cells are this module's own.
    statement = "INSERT INTO {} ({}) SELECT {} FROM generate_series(1, {}) n"
    return statement.format(table.fullname, names, ", ".join(cells), rows)
