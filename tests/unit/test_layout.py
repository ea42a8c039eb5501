"""The decisions that both layouts share: names, region columns, and how far uniqueness reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    Column,
    Computed,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, DOMAIN

from tests.unit.support import TOPOLOGY, key, laid_out, table
from toolkit.errors import Refused, UsageError
from toolkit.layout import Layout, Scope, decide, is_generated
from toolkit.names import MAX_BYTES
from toolkit.placement import Kind, Statement, infer
from toolkit.topology import Region, Topology


def scopes(layout: Layout, name: str) -> dict[tuple[str, ...], Scope]:
    return {unique.columns: unique.scope for unique in layout.regional[name].uniques}


def every_name(layout: Layout) -> list[str]:
    """Return the name of every relation that a layout has, generated and carried ones."""
    names = [layout.region_list, layout.link]
    names += [found.name for found in layout.metadata.tables.values()]
    for regional in layout.regional.values():
        names += regional.parts.values()
        names += [unique.key_table for unique in regional.uniques if unique.key_table]
    return names


# Names --------------------------------------------------------------------------------------


def test_the_usual_names() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("email", Text, unique=True))
    table(metadata, "account", key("client_id", "client"))
    layout = laid_out(metadata)
    assert (layout.region_column, layout.region_list, layout.link) == (
        "region",
        "region",
        "client_region",
    )
    assert layout.link_columns == {"id": "client_id"}
    assert layout.root.parts == {"gl": "client_gl", "eu": "client_eu"}
    assert layout.regional["account"].parts == {"gl": "account_gl", "eu": "account_eu"}
    assert [unique.key_table for unique in layout.root.uniques] == [
        None,
        # client_email_key is the index of the unnamed unique constraint itself.
        "client_email_regionkit_key",
    ]


def test_a_named_constraint_leaves_its_usual_name_to_the_key_table() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("email", Text), UniqueConstraint("email", name="uq_email"))
    (unique,) = (one for one in laid_out(metadata).root.uniques if not one.primary)
    assert (unique.name, unique.key_table) == ("uq_email", "client_email_key")


def northwind() -> MetaData:
    """A schema in which every name that would be generated is taken."""
    metadata = MetaData()
    Table("region", metadata, Column("region_id", Integer, primary_key=True))
    Table(
        "client",
        metadata,
        Column("id", CHAR(5), primary_key=True),
        Column("region", Text),
        Column("region_id", Integer, ForeignKey("region.region_id")),
    )
    table(metadata, "client_region", key("client_id", "client"))
    table(metadata, "client_eu")
    table(metadata, "orders", key("home", "client"), key("ship", "client"))
    return metadata


def test_a_source_with_its_own_regions() -> None:
    layout = laid_out(
        northwind(), {"orders": Statement(home=("ship",)), "client_eu": Statement(Kind.shared)}
    )
    assert layout.region_list == "regionkit_region"
    assert layout.link == "client_region_link"
    assert layout.region_column == "home_region"
    assert layout.root.parts == {"gl": "client_gl", "eu": "client__eu"}
    # The reference column of "home" would be called like the region column.
    assert list(layout.reference_columns.values()) == ["home_region_2"]
    assert len(set(every_name(layout))) == len(every_name(layout))


def test_an_enum_takes_a_name_too() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("region", Enum("north", "south", name="region")))
    layout = laid_out(metadata)
    assert (layout.region_list, layout.region_column) == ("regionkit_region", "home_region")


def test_a_region_may_be_called_region() -> None:
    metadata = MetaData()
    table(metadata, "client")
    layout = laid_out(metadata, topology=Topology((Region("region"), Region("eu"))))
    assert layout.link == "client_region"
    assert layout.root.parts == {"region": "client__region", "eu": "client_eu"}


def test_the_region_column_is_free_in_every_regional_table() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("region", Text))
    table(metadata, "account", key("client_id", "client"), Column("home_region", Text))
    table(metadata, "country", Column("regionkit_region", Text))
    assert laid_out(metadata, {"country": Statement(Kind.shared)}).region_column == (
        "regionkit_region"
    )


def test_the_links_columns_of_a_composite_key() -> None:
    metadata = MetaData()
    Table(
        "client",
        metadata,
        Column("client_id", Integer, primary_key=True),
        Column("id", Integer, primary_key=True),
    )
    assert laid_out(metadata).link_columns == {"client_id": "client_id", "id": "client_id_2"}


# One letter each of one, two, three and four bytes.
LONG = st.text("aé語𝒳", min_size=1, max_size=40).filter(lambda name: len(name.encode()) <= 63)


@given(LONG, LONG, LONG, LONG)
def test_names_of_any_script_fit_and_never_clash(
    root: str, owned: str, column: str, other: str
) -> None:
    if root == owned or column == other or {column, other} & {"id"}:
        return
    metadata = MetaData()
    table(metadata, root, Column(other, Text, unique=True))
    table(metadata, owned, key(column, root), key(other, root))
    layout = laid_out(metadata, {owned: Statement(home=(column,))}, root=root)
    names = every_name(layout)
    assert len(set(names)) == len(names)
    columns = [*layout.link_columns.values(), *layout.reference_columns.values()]
    assert all(len(name.encode()) <= MAX_BYTES for name in (*names, *columns))
    again = laid_out(metadata, {owned: Statement(home=(column,))}, root=root)
    assert every_name(again) == names


def test_tables_of_another_schema() -> None:
    metadata = MetaData()
    table(metadata, "client", schema="shop")
    Table(
        "entry",
        metadata,
        Column("id", BigInteger, ForeignKey("shop.client.id"), primary_key=True),
        schema="audit",
    )
    layout = laid_out(metadata, default_schema="shop")
    assert list(layout.regional) == ["client", "audit.entry"]
    assert layout.regional["audit.entry"].parts["eu"] == "audit_entry_eu"
    assert layout.name("audit.entry") == "audit_entry"
    assert layout.name("client") == "client"
    assert layout.key_of(metadata.tables["audit.entry"]) == "audit.entry"


def test_a_table_by_its_key() -> None:
    layout = laid_out(northwind(), {"orders": Statement(home=("ship",)), "client_eu": SHARED})
    assert layout.table("client").name == "client"
    assert layout.table("region").name == "region"
    with pytest.raises(KeyError):
        layout.table("none")


SHARED = Statement(Kind.shared)


def test_types_sequences_and_indexes_of_several_schemas() -> None:
    metadata = MetaData(schema="shop")
    moods = [Enum("a", name="mood", schema=schema) for schema in ("shop", "hr")]
    client = table(
        metadata,
        "client",
        Column("mood", moods[0]),
        Column("c", Integer, server_default=text("nextval('shop.counter'::regclass)")),
    )
    Index("by_mood", client.c.mood)
    person = Table(
        "person",
        metadata,
        Column("id", BigInteger, ForeignKey("shop.client.id"), primary_key=True),
        Column("mood", ARRAY(moods[1])),
        Column("level", DOMAIN("mood_level", Integer, schema="hr")),
        Column("c", Integer, server_default=text("nextval('hr.counter'::regclass)")),
        Column("d", Integer, server_default=text("nextval('hr.\"Odd.One\"'::regclass)")),
        schema="hr",
    )
    Index("by_mood", person.c.mood)
    Index("client", person.c.level)
    layout = laid_out(metadata, default_schema="shop")
    assert layout.objects == {
        (None, "counter"): "counter",
        (None, "mood"): "mood",
        ("hr", "Odd.One"): "hr_Odd.One",
        ("hr", "counter"): "hr_counter",
        ("hr", "mood"): "hr_mood",
        ("hr", "mood_level"): "hr_mood_level",
    }
    assert layout.object_name("shop", "mood") == layout.object_name(None, "mood") == "mood"
    assert layout.object_name("hr", "mood") == "hr_mood"
    assert layout.object_name("hr", "never_seen") == "hr_never_seen"
    assert layout.indexes == {
        ("hr.person", "by_mood"): "hr_by_mood",
        ("hr.person", "client"): "hr_client",
    }
    assert layout.index_name("client", "by_mood") == "by_mood"
    assert len(set(every_name(layout))) == len(every_name(layout))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["shop", "hr", "h"]),
            st.sampled_from(["a", "r_a", "hr_a", "a" * 63, "a" * 60, "region"]),
        ),
        max_size=8,
        unique=True,
    )
)
def test_objects_never_share_a_name(names: list[tuple[str, str]]) -> None:
    metadata = MetaData(schema="shop")
    client = table(metadata, "client")
    for number, (schema, name) in enumerate(names):
        client.append_column(Column(f"c{number}", Enum("x", name=name, schema=schema)))
    layout = laid_out(metadata, default_schema="shop")
    found = [layout.object_name(schema, name) for schema, name in names]
    taken = [*found, *every_name(layout), *layout.indexes.values()]
    assert len(set(taken)) == len(taken)
    assert all(len(name.encode()) <= MAX_BYTES for name in found)
    assert [name for (schema, own), name in zip(names, found, strict=True) if schema == "shop"] == [
        own for schema, own in names if schema == "shop"
    ]


# Uniqueness ---------------------------------------------------------------------------------


def test_how_far_each_constraint_reaches() -> None:
    metadata = MetaData()
    table(
        metadata,
        "client",
        Column("email", Text, unique=True),
        Column("card", Uuid, server_default=text("gen_random_uuid()"), unique=True),
        Column("number", Integer),
        UniqueConstraint("id", "number"),
        UniqueConstraint("email", "number"),
    )
    assert scopes(laid_out(metadata), "client") == {
        ("id",): Scope.implied,
        ("email",): Scope.key_table,
        ("card",): Scope.generated,
        ("id", "number"): Scope.implied,
        # Whoever has the e-mail address to themselves has the pair to themselves.
        ("email", "number"): Scope.implied,
    }


def test_an_owned_tables_key_is_implied_by_its_home() -> None:
    metadata = MetaData()
    table(metadata, "client")
    Table(
        "position",
        metadata,
        key("client_id", "client"),
        Column("number", Integer),
        Column("isin", Text),
        PrimaryKeyConstraint("client_id", "number"),
        UniqueConstraint("isin", "client_id"),
        UniqueConstraint("isin"),
    )
    assert scopes(laid_out(metadata), "position") == {
        ("client_id", "number"): Scope.implied,
        ("isin", "client_id"): Scope.implied,
        ("isin",): Scope.key_table,
    }


def test_a_natural_key_of_an_owned_table_is_kept_by_a_key_table() -> None:
    metadata = MetaData()
    table(metadata, "client")
    Table("account", metadata, Column("iban", Text, primary_key=True), key("client_id", "client"))
    (unique,) = laid_out(metadata).regional["account"].uniques
    assert (unique.scope, unique.primary) == (Scope.key_table, True)
    assert unique.key_table == "account_iban_key"


def test_a_table_without_a_key() -> None:
    metadata = MetaData()
    table(metadata, "client")
    Table("visit", metadata, key("client_id", "client"), Column("at", Text))
    visit = laid_out(metadata).regional["visit"]
    assert visit.primary_key == ()
    assert visit.uniques == ()


def test_the_operators_choice() -> None:
    metadata = MetaData()
    client = table(metadata, "client", Column("email", Text), Column("nick", Text))
    Index("nick_idx", client.c.nick, unique=True)
    client.append_constraint(UniqueConstraint("email", name="client_email_key"))
    chosen = laid_out(
        metadata, unique={"client.client_email_key": "global", "client.nick_idx": "region"}
    )
    assert scopes(chosen, "client") == {
        ("id",): Scope.implied,
        ("email",): Scope.key_table,
        ("nick",): Scope.region,
    }


def test_a_choice_reaches_an_unnamed_constraint_by_postgresqls_name() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("email", Text, unique=True))
    chosen = laid_out(metadata, unique={"client.client_email_key": "region"})
    assert scopes(chosen, "client")["email",] is Scope.region
    assert all(unique.key_table is None for unique in chosen.root.uniques)


def test_what_is_given_up_implies_nothing() -> None:
    metadata = MetaData()
    client = table(metadata, "client", Column("a", Text), Column("b", Text))
    client.append_constraint(UniqueConstraint("a", name="one"))
    client.append_constraint(UniqueConstraint("a", "b", name="two"))
    chosen = laid_out(metadata, unique={"client.one": "region"})
    assert scopes(chosen, "client")["a", "b"] is Scope.key_table


def test_a_choice_for_a_constraint_that_does_not_exist() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("email", Text, unique=True))
    wrong = {"client.email": "region", "cleint.client_email_key": "global"}
    with pytest.raises(UsageError, match=r"\[unique\] names 2 constraint") as caught:
        laid_out(metadata, unique=wrong)
    assert caught.value.details == ("cleint.client_email_key", "client.email")
    assert "<table>.<constraint>" in caught.value.hint
    assert len(wrong) == 2, "the operator's mapping is not consumed"


@pytest.mark.parametrize(
    ("kind", "columns", "sql", "key_table"),
    [
        ("partial", ("email",), '"email"', "odd_key"),
        ("expression", (), "lower(email)", "odd_key"),
        ("descending", ("email",), '"email"', "client_email_key"),
    ],
)
def test_a_unique_index_over_less_than_plain_columns_has_a_key_table(
    kind: str, columns: tuple[str, ...], sql: str, key_table: str
) -> None:
    metadata = MetaData()
    client = table(metadata, "client", Column("email", Text), Column("active", Boolean))
    column, options = client.c.email, {}
    if kind == "partial":
        options = {"postgresql_where": client.c.active}
    Index(
        "odd",
        {"expression": func.lower(column), "descending": column.desc()}.get(kind, column),
        unique=True,
        **options,
    )
    (unique,) = (one for one in laid_out(metadata).root.uniques if not one.primary)
    assert (unique.scope, unique.key_table) == (Scope.key_table, key_table)
    assert (unique.columns, [part.sql for part in unique.parts]) == (columns, [sql])
    assert unique.where == ("active" if kind == "partial" else None)
    assert unique.plain is (kind == "descending")
    (given_up,) = (
        one
        for one in laid_out(metadata, unique={"client.odd": "region"}).root.uniques
        if not one.primary
    )
    assert (given_up.scope, given_up.key_table) == (Scope.region, None)


def test_what_a_partial_index_keeps_apart_says_nothing_of_other_rows() -> None:
    metadata = MetaData()
    client = table(
        metadata, "client", Column("email", Text), Column("active", Boolean), Column("n", Integer)
    )
    Index("a_partial", client.c.email, unique=True, postgresql_where=client.c.active)
    Index("b_whole", client.c.email, client.c.n, unique=True)
    found = {one.name: one.scope for one in laid_out(metadata).root.uniques}
    assert found["b_whole"] is Scope.key_table


def test_one_main_address_per_client_is_implied() -> None:
    metadata = MetaData()
    table(metadata, "client")
    address = table(metadata, "address", key("client_id", "client"), Column("main", Boolean))
    Index("one_main", address.c.client_id, unique=True, postgresql_where=address.c.main)
    assert scopes(laid_out(metadata), "address") == {
        ("id",): Scope.generated,
        ("client_id",): Scope.implied,
    }
    assert laid_out(metadata, unique={"address.one_main": "region"}).regional["address"]


def booking(*elements: tuple[str, str]) -> MetaData:
    metadata = MetaData()
    table(metadata, "client")
    table(
        metadata,
        "booking",
        key("client_id", "client"),
        Column("room", Integer),
        Column("during", postgresql.DATERANGE),
        postgresql.ExcludeConstraint(*elements, name="no_overlap", where=text("room > 0")),
    )
    return metadata


@pytest.mark.parametrize(
    ("element", "scope"), [("client_id", Scope.implied), ("room", Scope.key_table)]
)
def test_an_exclusion_constraint(element: str, scope: Scope) -> None:
    metadata = booking((element, "="), ("during", "&&"))
    (unique,) = (one for one in laid_out(metadata).regional["booking"].uniques if one.operators)
    assert (unique.scope, unique.columns) == (scope, (element,))
    assert (unique.method, unique.operators, unique.where) == ("gist", ("=", "&&"), "room > 0")
    assert (unique.key_table is not None) is (scope is Scope.key_table)
    given_up = laid_out(metadata, unique={"booking.no_overlap": "region"})
    assert any(one.scope is Scope.region for one in given_up.regional["booking"].uniques)


def test_an_ordinary_partial_index_is_none_of_our_business() -> None:
    metadata = MetaData()
    client = table(metadata, "client", Column("email", Text), Column("active", Boolean))
    Index("odd", client.c.email, postgresql_where=client.c.active)
    assert scopes(laid_out(metadata), "client") == {("id",): Scope.implied}


@pytest.mark.parametrize("as_index", [True, False])
def test_nulls_that_clash(as_index: bool) -> None:
    metadata = MetaData()
    client = table(metadata, "client", Column("vat", Text), Column("no", Text, unique=True))
    if as_index:
        Index("one_vat", client.c.vat, client.c.no, unique=True, postgresql_nulls_not_distinct=True)
    else:
        client.append_constraint(
            UniqueConstraint("vat", "no", name="one_vat", postgresql_nulls_not_distinct=True)
        )
    # "no" alone is unique, but not where it is NULL.
    found = {one.name: one for one in laid_out(metadata).root.uniques}
    assert (found["one_vat"].scope, found["one_vat"].nulls_distinct) == (Scope.key_table, False)
    client.c.no.nullable = False
    assert scopes(laid_out(metadata), "client")["vat", "no"] is Scope.implied


def test_a_unique_that_is_checked_at_commit() -> None:
    metadata = MetaData()
    table(
        metadata,
        "client",
        Column("place", Integer),
        UniqueConstraint("place", name="u", deferrable=True),
    )
    (unique,) = (one for one in laid_out(metadata).root.uniques if not one.primary)
    assert (unique.deferrable, unique.scope) == (True, Scope.key_table)


@pytest.mark.parametrize(
    ("column", "generated"),
    [
        (Column("c", Integer, Identity()), True),
        (Column("c", Integer, Identity(always=True)), True),
        (Column("c", Integer, server_default=text("nextval('s'::regclass)")), True),
        (Column("c", Uuid, server_default=text("gen_random_uuid()")), True),
        (Column("c", Uuid, server_default=func.gen_random_uuid()), True),
        (Column("c", Uuid, server_default=text("uuidv7()")), True),
        (Column("c", Uuid, server_default=text("public.uuid_generate_v4()")), True),
        (Column("c", Integer, primary_key=True), True),
        (Column("c", Integer, primary_key=True, autoincrement=False), False),
        (Column("c", Integer), False),
        (Column("c", Text, primary_key=True), False),
        (Column("c", Text, server_default="x"), False),
        (Column("c", Text, server_default=func.now()), False),
        (Column("c", Integer, Computed("1 + 1")), False),
    ],
)
def test_what_a_generator_fills(column: Column[object], generated: bool) -> None:
    Table("t", MetaData(), column)
    assert is_generated(column) is generated


def test_a_key_that_is_a_foreign_key_is_not_generated() -> None:
    metadata = MetaData()
    table(metadata, "client")
    profile = Table(
        "profile", metadata, Column("id", Integer, ForeignKey("client.id"), primary_key=True)
    )
    assert not is_generated(profile.c.id)
    assert scopes(laid_out(metadata), "profile") == {("id",): Scope.implied}


COLUMNS = ("client_id", "a", "b")


@dataclass(frozen=True)
class Said:
    """One unique constraint of a random table."""

    columns: tuple[str, ...]
    nulls_distinct: bool
    partial: bool
    given_up: bool

    def keys(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return the keys of the rows that it is concerned with."""
        found = []
        for row in rows:
            values = dict(zip(COLUMNS, row, strict=False))
            key = tuple(values[column] for column in self.columns)
            if self.nulls_distinct and None in key:
                continue
            if not self.partial or values["b"] == 1:
                found.append(key)
        return found

    def holds(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        keys = self.keys(rows)
        return len(set(keys)) == len(keys)


SAID = st.builds(
    Said,
    st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3, unique=True).map(tuple),
    st.booleans(),
    st.booleans(),
    st.sampled_from([False, False, False, True]),
)


@settings(max_examples=500)
@given(st.lists(SAID, min_size=2, max_size=4), st.lists(st.booleans(), min_size=2, max_size=2))
def test_what_is_kept_implies_every_constraint(said: list[Said], nullable: list[bool]) -> None:
    """Rows that pass what the layout keeps pass what the source says.

    It takes two rows to break a constraint. All pairs of a row of client 1, in one region, and one
    of client 2, in another, are tried.
    """
    metadata = MetaData()
    table(metadata, "client")
    columns = [
        Column(name, Integer, nullable=may) for name, may in zip(COLUMNS[1:], nullable, strict=True)
    ]
    owned = Table("owned", metadata, key("client_id", "client"), *columns)
    for number, one in enumerate(said):
        options: dict[str, Any] = {"postgresql_nulls_not_distinct": not one.nulls_distinct}
        if one.partial:
            options["postgresql_where"] = text("b = 1")
        Index(f"u{number}", *(owned.c[name] for name in one.columns), unique=True, **options)
    choices = {f"owned.u{number}": "region" for number, one in enumerate(said) if one.given_up}
    uniques = laid_out(metadata, unique=choices).regional["owned"].uniques
    assert [one.name for one in uniques] == [f"u{number}" for number in range(len(said))]
    kept = [one for one, unique in zip(said, uniques, strict=True) if unique.key_table]
    cells = [[None, 0, 1] if may else [0, 1] for may in nullable]
    for one_row, other_row in product(product(*cells), repeat=2):
        rows = [(1, *one_row), (2, *other_row)]
        if all(one.holds(rows) for one in kept):
            assert all(one.holds(rows) for one in said if not one.given_up)


# Foreign references -------------------------------------------------------------------------


def test_every_foreign_reference_gets_a_column() -> None:
    metadata = MetaData()
    Table(
        "client",
        metadata,
        Column("tenant", Integer, primary_key=True),
        Column("no", Integer, primary_key=True),
    )
    Table(
        "gift",
        metadata,
        Column("t", Integer),
        Column("n", Integer),
        Column("to_t", Integer),
        Column("to_n", Integer),
        Column("to_t_to_n_region", Text),
        ForeignKeyConstraint(["t", "n"], ["client.tenant", "client.no"]),
        ForeignKeyConstraint(["to_t", "to_n"], ["client.tenant", "client.no"]),
    )
    layout = laid_out(metadata, {"gift": Statement(home=("t", "n"))})
    assert list(layout.reference_columns.values()) == ["to_t_to_n_region_2"]
    assert layout.regional["gift"].reference_columns == layout.reference_columns


def test_a_global_tables_reference_gets_one_too() -> None:
    metadata = MetaData()
    table(metadata, "client")
    table(metadata, "featured", key("client_id", "client"))
    layout = laid_out(metadata, {"featured": SHARED})
    assert list(layout.reference_columns.values()) == ["client_id_region"]
    assert list(layout.shared) == ["featured"]


# Refusals -----------------------------------------------------------------------------------


def test_undecided_tables_are_refused_by_name() -> None:
    metadata = MetaData()
    table(metadata, "client")
    table(metadata, "b_island")
    table(metadata, "a_island")
    with pytest.raises(Refused, match=r"2 table\(s\) are undecided") as caught:
        laid_out(metadata)
    assert caught.value.details == ("a_island", "b_island")
    assert "[placement.<table>]" in caught.value.hint


def test_a_layout_is_decided_the_same_way_twice() -> None:
    metadata = northwind()
    statements = {"orders": Statement(home=("ship",)), "client_eu": SHARED}
    placement = infer(metadata, "client", statements)
    one, other = (decide(metadata, TOPOLOGY, placement) for _ in range(2))
    assert every_name(one) == every_name(other)
    assert [asdict(unique) for unique in one.root.uniques] == [
        asdict(unique) for unique in other.root.uniques
    ]


def test_columns_as_string_exist_and_are_carried_like_what_they_lead_to() -> None:
    metadata = MetaData()
    table(metadata, "client", Column("since", Text))
    table(metadata, "account", key("client_id", "client"), Column("no", Text))
    placement = infer(metadata, "client")

    def decided(*named: str) -> Layout:
        return decide(metadata, TOPOLOGY, placement, as_string=named)

    assert decided("client.since").as_string == {("client", "since")}
    both = decided("client.id", "account.client_id")
    assert both.as_string == {("client", "id"), ("account", "client_id")}
    with pytest.raises(UsageError) as caught:
        decided("client.sinse", "account.no", "nowhere.x")
    assert caught.value.details[0].startswith("'client.sinse': did you mean client.since")
    assert caught.value.details[1].startswith("'nowhere.x'")
    for one in ("client.id", "account.client_id"):
        with pytest.raises(UsageError) as caught:
            decided(one)
        said = f"account.client_id and client.id: only {one} is a string"
        assert list(caught.value.details) == [said]
