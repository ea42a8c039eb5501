"""What a layout needs that not every PostgreSQL can do. Pure, but for one query.

The oldest target is PostgreSQL 15. What a newer one does alone has a name here, and a server that
cannot do it is told before anything is created.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from alembic.operations import MigrateOperation, ops
from sqlalchemy import Column, Computed
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import SchemaItem

from toolkit.errors import Refused
from toolkit.postgres import revisions
from toolkit.postgres.session import Connection


@dataclass(frozen=True)
class Capability:
    """Something that PostgreSQL can do.

    Attributes:
        name: in words, as the subject of a sentence.
        since: the version that does it first, as ``server_version`` counts; 0 if any does.
        extension: that it needs; empty if none.
        instead: what else the operator can do.
    """

    name: str
    since: int = 0
    extension: str = ""
    instead: str = ""


#: An exclusion constraint must contain the region, compared for equality.
EXCLUSION_ON_REGIONAL_TABLE = Capability(
    "an exclusion constraint of a regional table",
    since=170000,
    instead="take it out of the model, and check it with an [[invariant]]",
)
REGION_IN_GIST = Capability(
    "an exclusion constraint that compares the region",
    extension="btree_gist",
    instead="install the extension's files on the server",
)
VIRTUAL_COLUMN = Capability(
    "a generated column that is not stored",
    since=180000,
    instead="make it STORED in the model: Computed(..., persisted=True)",
)


@dataclass(frozen=True)
class Need:
    """A capability that a part of a layout needs.

    Attributes:
        capability: which.
        subject: what needs it, by name.
    """

    capability: Capability
    subject: str

    def unmet(self, version: int, extensions: Iterable[str]) -> str:
        """Return why a server cannot do it; empty if it can.

        Args:
            version: as ``server_version`` counts.
            extensions: that can be created there.
        """
        needed = self.capability
        if version < needed.since:
            why = f"needs PostgreSQL {needed.since // 10000}"
        elif needed.extension and needed.extension not in extensions:
            why = f"needs the extension {needed.extension}, which is not installed there"
        else:
            return ""
        return f"{self.subject}: {needed.name} {why}; {needed.instead}"


def needs(found: Iterable[MigrateOperation]) -> Iterator[Need]:
    """Yield what operations need of the server."""
    for op in found:
        if isinstance(op, revisions.TableOp):
            yield from _of_table(op.table_name, op.items, op)
        elif isinstance(op, ops.CreateTableOp):
            yield from _of_table(op.table_name, op.columns, op)


def _of_table(table: str, items: Iterable[SchemaItem], op: MigrateOperation) -> Iterator[Need]:
    for item in items:
        if isinstance(item, Column) and isinstance(item.server_default, Computed):
            if item.server_default.persisted is False:
                yield Need(VIRTUAL_COLUMN, f"column {item.name} of {table}")
        elif isinstance(item, ExcludeConstraint) and isinstance(op, revisions.TableOp):
            subject = f"exclusion constraint {item.name} of {table}"
            yield Need(EXCLUSION_ON_REGIONAL_TABLE, subject)
            if item.using == "gist":
                yield Need(REGION_IN_GIST, subject)


def require(connection: Connection, found: Iterable[MigrateOperation]) -> None:
    """Refuse a server that cannot do what operations need. Writes nothing.

    Raises:
        Refused: it cannot; each thing is named.
    """
    wanted = list(needs(found))
    if not wanted:
        return
    version = connection.info.server_version
    rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    extensions = {str(row[0]) for row in rows}
    details = [why for need in wanted if (why := need.unmet(version, extensions))]
    if details:
        raise Refused(
            f"PostgreSQL {version // 10000} cannot hold {len(details)} thing(s) of the layout",
            details=details,
            hint="use a newer PostgreSQL as the target, or change the model as each line says",
        )
