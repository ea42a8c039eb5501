"""What a layout needs of the server is told before anything is created."""

from __future__ import annotations

from sqlalchemy import Column, Computed, Integer, MetaData, Text
from sqlalchemy.dialects import postgresql

from tests.unit.support import SCHEMA, key, laid_out, table
from toolkit.placement import Kind, Statement
from toolkit.postgres.capabilities import (
    EXCLUSION_ON_REGIONAL_TABLE,
    REGION_IN_GIST,
    VIRTUAL_COLUMN,
    Need,
    needs,
)
from toolkit.postgres.generate import operations


def found(*items: object) -> set[tuple[str, str]]:
    """Return what a root and a global table with these items need."""
    metadata = MetaData()
    table(metadata, "client", key("country_id", "country"), *_copies(items))
    table(metadata, "country", *_copies(items))
    layout = laid_out(metadata, {"country": Statement(Kind.shared)})
    return {(need.capability.name, need.subject) for need in needs(operations(layout, SCHEMA))}


def _copies(items: tuple[object, ...]) -> list[object]:
    return [item._copy() if isinstance(item, Column) else item() for item in items]  # type: ignore[operator]


def test_a_layout_of_tables_needs_nothing() -> None:
    assert found(Column("name", Text)) == set()


def test_a_generated_column_that_is_not_stored() -> None:
    loud = Column("loud", Text, Computed("upper('x')", persisted=False))
    assert found(loud) == {
        (VIRTUAL_COLUMN.name, "column loud of client"),
        (VIRTUAL_COLUMN.name, "column loud of country"),
    }
    assert found(Column("loud", Text, Computed("upper('x')", persisted=True))) == set()


def test_an_exclusion_constraint_of_a_regional_table() -> None:
    def excluded() -> postgresql.ExcludeConstraint:
        return postgresql.ExcludeConstraint(("during", "&&"), name="once")

    during = Column("during", postgresql.INT4RANGE)
    subject = "exclusion constraint once of client"
    assert found(during, excluded) == {
        (EXCLUSION_ON_REGIONAL_TABLE.name, subject),
        (REGION_IN_GIST.name, subject),
    }


def test_no_extension_is_needed_where_everything_is_compared_for_equality() -> None:
    def excluded() -> postgresql.ExcludeConstraint:
        return postgresql.ExcludeConstraint(("n", "="), name="once", using="btree")

    assert {name for name, _ in found(Column("n", Integer), excluded)} == {
        EXCLUSION_ON_REGIONAL_TABLE.name
    }


def test_what_a_server_cannot_do() -> None:
    need = Need(EXCLUSION_ON_REGIONAL_TABLE, "exclusion constraint once of client")
    assert need.unmet(170000, ()) == ""
    assert need.unmet(160012, ()) == (
        "exclusion constraint once of client: an exclusion constraint of a regional table needs "
        "PostgreSQL 17; take it out of the model, and check it with an [[invariant]]"
    )
    need = Need(REGION_IN_GIST, "exclusion constraint once of client")
    assert need.unmet(180000, {"btree_gist"}) == ""
    assert "the extension btree_gist, which is not installed there" in need.unmet(
        180000, {"hstore"}
    )
