"""What the tests of placement and layouts share: small schemas and their SQL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sqlalchemy import BigInteger, Column, ForeignKey, Identity, MetaData, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from toolkit.layout import Layout, decide
from toolkit.placement import Statement, infer
from toolkit.postgres.layout import build
from toolkit.topology import Region, Topology

TOPOLOGY = Topology((Region("gl"), Region("eu")))
#: The schema of every layout that the tests build.
SCHEMA = "r"

_DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]


def key(name: str, target: str, /, *, nullable: bool = False, **options: object) -> Column[int]:
    """Return a foreign key column ``name`` to ``<target>.id``."""
    reference = ForeignKey(f"{target}.id", **options)  # type: ignore[arg-type]
    return Column(name, BigInteger, reference, nullable=nullable)


def table(metadata: MetaData, name: str, *items: object, **options: object) -> Table:
    """Return a table with an identity column ``id`` as its key."""
    return Table(
        name,
        metadata,
        Column("id", BigInteger, Identity(), primary_key=True),
        *items,  # type: ignore[arg-type]
        **options,  # type: ignore[arg-type]
    )


def laid_out(
    metadata: MetaData,
    statements: Mapping[str, Statement] | None = None,
    *,
    root: str = "client",
    default_schema: str | None = None,
    unique: Mapping[str, str] | None = None,
    topology: Topology = TOPOLOGY,
) -> Layout:
    """Place a schema and decide its layout."""
    placement = infer(metadata, root, statements, default_schema=default_schema)
    return decide(metadata, topology, placement, default_schema=default_schema, unique=unique)


class Built:
    """The layout ``tables`` of a schema, as SQL on one line each."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.metadata = build(layout, SCHEMA)

    def table(self, name: str) -> Table:
        return self.metadata.tables[f"{SCHEMA}.{name}"]

    def create(self, name: str) -> str:
        return one_line(str(CreateTable(self.table(name)).compile(dialect=_DIALECT)))

    def lines(self, name: str) -> list[str]:
        """Return the columns and constraints of a table."""
        sql = str(CreateTable(self.table(name)).compile(dialect=_DIALECT))
        return [one_line(line).removesuffix(",") for line in sql.split("\n")[2:-3] if line.strip()]

    def indexes(self, name: str) -> list[str]:
        return sorted(
            one_line(str(CreateIndex(index).compile(dialect=_DIALECT)))
            for index in self.table(name).indexes
        )


def built(metadata: MetaData, statements: Mapping[str, Statement] | None = None, **options: object):  # type: ignore[no-untyped-def]
    """Place, decide and build."""
    return Built(laid_out(metadata, statements, **options))  # type: ignore[arg-type]


def source_sql(metadata: MetaData) -> str:
    """Return all that a schema would create, to see that nothing changed it."""
    return "\n".join(
        str(ddl.compile(dialect=_DIALECT))
        for found in metadata.sorted_tables
        for ddl in (
            CreateTable(found),
            *sorted((CreateIndex(index) for index in found.indexes), key=str),
        )
    )


def one_line(sql: str) -> str:
    """Return SQL with single spaces."""
    return re.sub(r"\s+", " ", sql).strip()
