"""Where tables belong: inferred from foreign keys, stated by the operator, never guessed."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
)

from schemas.bank.model import SCHEMA
from schemas.bank.model import metadata as bank
from tests.unit.support import key, table
from toolkit.errors import Refused, UsageError
from toolkit.placement import ForeignKey as Reference
from toolkit.placement import Kind, Placement, Role, Statement, foreign_keys, infer, table_key

# Random graphs ------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Draw tables and the tables that each of them references: cycles, loops and islands too."""
    names = [f"t{number}" for number in range(draw(st.integers(1, 8)))]
    return {name: draw(st.lists(st.sampled_from(names), max_size=3)) for name in names}


def schema_of(graph: dict[str, list[str]]) -> MetaData:
    metadata = MetaData()
    for name, targets in graph.items():
        columns = [
            key(f"{target}_{number}", target, nullable=True)
            for number, target in enumerate(targets)
        ]
        table(metadata, name, *columns)
    return metadata


def shortest(graph: dict[str, list[str]]) -> dict[str, int]:
    """Return the distance of each table that reaches ``t0`` by foreign keys."""
    distance = {"t0": 0}
    queue = deque(["t0"])
    while queue:
        target = queue.popleft()
        for name in graph:
            if target in graph[name] and name not in distance:
                distance[name] = distance[target] + 1
                queue.append(name)
    return distance


def nearest(graph: dict[str, list[str]], name: str) -> list[str]:
    """Return the columns of the foreign keys of ``name`` that start a shortest path."""
    distance = shortest(graph)
    return [
        f"{target}_{number}"
        for number, target in enumerate(graph[name])
        if distance.get(target) == distance[name] - 1
    ]


def check_placement(graph: dict[str, list[str]], placement: Placement) -> None:
    distance = shortest(graph)
    assert set(placement.tables) == set(graph)
    assert {name for name in graph if placement[name].regional} == set(distance)
    order = list(placement.tables)
    for name, placed in placement.tables.items():
        tables = [name, *(step.target for step in placed.home_path)]
        assert len(set(tables)) == len(tables), "a home path has no cycle"
        assert [step.table for step in placed.home_path] == tables[:-1]
        assert len(placed.home_path) == distance.get(name, 0)
        if placed.kind is Kind.owned:
            assert tables[-1] == "t0"
            assert placed.home == placed.home_path[0]
            assert placed.roles[placed.home] is Role.home
            assert order.index(tables[1]) < order.index(name)
        else:
            assert placed.home is None
            assert Role.home not in placed.roles.values()
        assert len(placed.roles) == len(graph[name])
        for reference, role in placed.roles.items():
            assert (role is Role.plain) == (reference.target not in distance)


@given(graphs())
def test_a_placement_follows_the_shortest_paths_or_names_the_tables(
    graph: dict[str, list[str]],
) -> None:
    metadata = schema_of(graph)
    doubtful = {name for name in shortest(graph) if name != "t0" and len(nearest(graph, name)) > 1}
    statements: dict[str, Statement] = {}
    # Every answer takes one table off the list, or the tables that stand behind it come up.
    for _ in range(len(graph) + 1):
        try:
            placement = infer(metadata, "t0", statements)
        except Refused as error:
            named = {line.partition(": ")[0] for line in error.details}
            assert named
            assert named <= doubtful - set(statements)
            assert error.message.startswith(f"{len(named)} table(s)")
            assert "home = [columns]" in error.hint
            for line in error.details:
                name, _, choices = line.partition(": ")
                assert choices.split(" or ") == sorted(nearest(graph, name))
                statements[name] = Statement(home=(choices.split(" or ")[0],))
        else:
            assert set(statements) == doubtful
            check_placement(graph, placement)
            return
    raise AssertionError("the refusals never end")


@given(graphs(), st.randoms(use_true_random=False))
def test_a_placement_does_not_depend_on_the_order_of_the_tables(
    graph: dict[str, list[str]], random: Any
) -> None:
    names = list(graph)
    random.shuffle(names)
    other = {name: graph[name] for name in names}
    results = []
    for one in (graph, other):
        try:
            results.append(repr(infer(schema_of(one), "t0").tables))
        except Refused as error:
            results.append(repr(error.details))
    assert results[0] == results[1]


@given(graphs())
def test_a_table_that_nothing_connects_is_undecided(graph: dict[str, list[str]]) -> None:
    seen, grew = {"t0"}, True
    while grew:
        more = {
            name
            for name, targets in graph.items()
            if seen & set(targets) or any(name in graph[one] for one in seen)
        }
        grew = not more <= seen
        seen |= more
    try:
        placement = infer(schema_of(graph), "t0")
    except Refused:
        return
    assert set(placement.of_kind(Kind.undecided)) == set(graph) - seen


# Chosen cases -------------------------------------------------------------------------------


@pytest.fixture
def metadata() -> MetaData:
    """Clients with accounts and cards, a reference table, and an island."""
    found = MetaData()
    table(found, "country")
    table(found, "client", key("country_id", "country"))
    table(found, "account", key("client_id", "client"))
    table(found, "card", key("account_id", "account"))
    table(found, "island", Column("client_number", BigInteger), Column("name", Text))
    return found


def roles(placement: Placement, name: str) -> dict[str, Role]:
    return {", ".join(one.columns): role for one, role in placement[name].roles.items()}


def test_kinds_and_reasons(metadata: MetaData) -> None:
    placement = infer(metadata, "client")
    assert {name: placed.kind for name, placed in placement.tables.items()} == {
        "client": Kind.root,
        "account": Kind.owned,
        "card": Kind.owned,
        "country": Kind.shared,
        "island": Kind.undecided,
    }
    assert placement.regional == ("client", "account", "card")
    assert placement["card"].reason == "follows account -> client by account_id"
    assert all(placed.reason for placed in placement.tables.values())
    assert [str(step) for step in placement["card"].home_path] == [
        "card(account_id) -> account",
        "account(client_id) -> client",
    ]


def test_a_statement_decides_an_island(metadata: MetaData) -> None:
    shared = infer(metadata, "client", {"island": Statement(Kind.shared)})
    assert shared["island"].kind is Kind.shared
    assert "stated" in shared["island"].reason
    owned = infer(metadata, "client", {"island": Statement(owner=("account", ("client_number",)))})
    assert owned["island"].kind is Kind.owned
    assert owned["island"].home == Reference(
        "island", ("client_number",), "account", ("id",), declared=False
    )
    assert len(owned["island"].home_path) == 2


def test_a_stated_owner_wins_over_declared_keys(metadata: MetaData) -> None:
    table(metadata, "visit", key("client_id", "client"), Column("paid_by", BigInteger))
    placement = infer(metadata, "client", {"visit": Statement(owner=("account", ("paid_by",)))})
    home = placement["visit"].home
    assert home is not None
    assert (home.target, home.columns) == ("account", ("paid_by",))
    assert roles(placement, "visit")["client_id"] is Role.foreign_reference


def test_a_table_behind_an_ambiguous_one_is_not_a_crash(metadata: MetaData) -> None:
    table(metadata, "transfer", key("payer_id", "account"), key("payee_id", "account"))
    table(metadata, "receipt", key("transfer_id", "transfer"))
    with pytest.raises(Refused) as caught:
        infer(metadata, "client")
    assert caught.value.details == ("transfer: payee_id or payer_id",)
    placement = infer(metadata, "client", {"transfer": Statement(home=("payer_id",))})
    assert [step.target for step in placement["receipt"].home_path] == [
        "transfer",
        "account",
        "client",
    ]
    assert roles(placement, "transfer") == {
        "payer_id": Role.home,
        "payee_id": Role.foreign_reference,
    }


def test_same_region_settles_which_of_two_keys_is_home(metadata: MetaData) -> None:
    table(metadata, "move", key("a_id", "account"), key("b_id", "account"))
    placement = infer(metadata, "client", {"move": Statement(same_region=(("b_id",),))})
    assert roles(placement, "move") == {"a_id": Role.home, "b_id": Role.same_region}


def test_the_shortest_path_is_home_and_the_other_a_foreign_reference(metadata: MetaData) -> None:
    table(metadata, "payment", key("client_id", "client"), key("card_id", "card"))
    assert roles(infer(metadata, "client"), "payment") == {
        "client_id": Role.home,
        "card_id": Role.foreign_reference,
    }
    stated = infer(
        metadata,
        "client",
        {"payment": Statement(home=("card_id",), same_region=(("client_id",),))},
    )
    assert roles(stated, "payment") == {"card_id": Role.home, "client_id": Role.same_region}
    assert len(stated["payment"].home_path) == 3


def test_a_home_that_is_stated_lengthens_the_paths_behind_it(metadata: MetaData) -> None:
    table(metadata, "payment", key("client_id", "client"), key("card_id", "card"))
    table(metadata, "refund", key("payment_id", "payment"))
    placement = infer(metadata, "client", {"payment": Statement(home=("card_id",))})
    assert [step.target for step in placement["refund"].home_path] == [
        "payment",
        "card",
        "account",
        "client",
    ]
    order = list(placement.tables)
    assert order.index("card") < order.index("payment") < order.index("refund")


def test_two_homes_that_form_a_cycle_are_refused(metadata: MetaData) -> None:
    table(metadata, "a", key("client_id", "client"), key("b_id", "b"))
    table(metadata, "b", key("client_id", "client"), key("a_id", "a"))
    with pytest.raises(UsageError, match="not a foreign key towards 'client'"):
        infer(
            metadata,
            "client",
            {"a": Statement(home=("b_id",)), "b": Statement(home=("a_id",))},
        )


def test_self_references_and_a_cycle_with_the_root() -> None:
    metadata = MetaData()
    table(
        metadata,
        "client",
        key("referred_by", "client", nullable=True),
        key("default_account_id", "account", nullable=True, use_alter=True),
    )
    table(
        metadata, "account", key("client_id", "client"), key("parent_id", "account", nullable=True)
    )
    placement = infer(metadata, "client")
    assert roles(placement, "client") == {
        "default_account_id": Role.foreign_reference,
        "referred_by": Role.foreign_reference,
    }
    assert roles(placement, "account") == {
        "client_id": Role.home,
        "parent_id": Role.foreign_reference,
    }
    stated = infer(
        metadata, "client", {"client": Statement(same_region=(("default_account_id",),))}
    )
    assert roles(stated, "client")["default_account_id"] is Role.same_region


def test_a_global_table_may_reference_a_regional_one(metadata: MetaData) -> None:
    table(metadata, "featured", key("client_id", "client"))
    placement = infer(metadata, "client", {"featured": Statement(Kind.shared)})
    assert placement["featured"].kind is Kind.shared
    assert [str(one) for one in placement["featured"].foreign_references] == [
        "featured(client_id) -> client"
    ]


def test_what_follows_a_global_table_only_is_global(metadata: MetaData) -> None:
    table(metadata, "featured", key("client_id", "client"))
    table(metadata, "banner", key("featured_id", "featured"))
    placement = infer(metadata, "client", {"featured": Statement(Kind.shared)})
    assert placement["banner"].kind is Kind.shared
    assert roles(placement, "banner") == {"featured_id": Role.plain}


def test_orphans_are_kept_with_the_owned_table(metadata: MetaData) -> None:
    assert infer(metadata, "client", {"card": Statement(orphans="eu")})["card"].orphans == "eu"


def test_composite_keys_keep_the_order_of_their_columns() -> None:
    metadata = MetaData()
    Table(
        "client",
        metadata,
        Column("tenant", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
    )
    account = Table(
        "account",
        metadata,
        Column("z_tenant", Integer),
        Column("a_number", Integer),
        ForeignKeyConstraint(["z_tenant", "a_number"], ["client.tenant", "client.number"], "fk"),
    )
    (found,) = foreign_keys(account, None)
    assert found == Reference(
        "account", ("z_tenant", "a_number"), "client", ("tenant", "number"), "fk"
    )
    home = infer(metadata, "client")["account"].home
    assert home == found


def test_keys_of_tables_leave_the_default_schema_out() -> None:
    metadata = MetaData()
    tables = [Table("t", metadata, schema=schema) for schema in (None, "shop", "audit")]
    assert [table_key(one, "shop") for one in tables] == ["t", "t", "audit.t"]
    assert [table_key(one, None) for one in tables] == ["t", "shop.t", "audit.t"]


def test_the_reference_bank() -> None:
    with pytest.raises(Refused) as caught:
        infer(bank, "client", default_schema=SCHEMA)
    assert "transfer: from_account_id or to_account_id" in caught.value.details


# Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statements", "message", "hint"),
    [
        ({"acount": Statement(Kind.shared)}, "1 table(s) named in regionkit.toml", "[placement]"),
        ({"card": Statement(home=("id",))}, "home of [placement.card] names id", "foreign keys"),
        ({"country": Statement(home=("id",))}, "home of [placement.country]", "foreign keys"),
        ({"country": Statement(Kind.owned)}, "no foreign key of 'country' leads", "owner ="),
        (
            {"card": Statement(same_region=(("number",),))},
            "same_region of [placement.card] names number",
            "foreign keys",
        ),
        (
            {"island": Statement(owner=("acount", ("client_number",)))},
            "1 table(s) named in regionkit.toml",
            "[placement]",
        ),
        (
            {"island": Statement(owner=("client", ("nr",)))},
            "owner of [placement.island] is wrong: column 'nr' does not exist",
            "via",
        ),
        (
            {"island": Statement(owner=("client", ("client_number", "name")))},
            "'client' has 1 key column(s), not 2",
            "via",
        ),
        (
            {"island": Statement(owner=("country", ("client_number",)))},
            "owner of [placement.island] is wrong: 'country' does not lead to 'client'",
            "name 'client'",
        ),
        (
            {"island": Statement(owner=("island", ("client_number",)))},
            "owner of [placement.island] is wrong: 'island' does not lead to 'client'",
            "name 'client'",
        ),
        ({"client": Statement(Kind.shared)}, "[placement.client] states kind", "same_region"),
        ({"client": Statement(Kind.owned)}, "[placement.client] states kind", "same_region"),
        ({"client": Statement(orphans="eu")}, "[placement.client] states orphans", "same_region"),
        (
            {"client": Statement(home=("country_id",))},
            "[placement.client] states home",
            "same_region",
        ),
        (
            {"account": Statement(Kind.shared, home=("client_id",))},
            "[placement.account] says global, and also home",
            "leave out",
        ),
        (
            {"account": Statement(Kind.shared, same_region=(("client_id",),))},
            "[placement.account] says global, and also same_region",
            "leave out",
        ),
        (
            {"account": Statement(Kind.shared, orphans="eu")},
            "[placement.account] says global, and also orphans",
            "leave out",
        ),
    ],
)
def test_a_statement_that_cannot_be_right(
    metadata: MetaData, statements: dict[str, Statement], message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        infer(metadata, "client", statements)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_name_that_is_nearly_right_is_proposed(metadata: MetaData) -> None:
    with pytest.raises(UsageError) as caught:
        infer(metadata, "cleint", {"acount": Statement()})
    assert caught.value.details == ("'acount' (near: account, country)", "'cleint' (near: client)")


def test_a_root_without_a_key() -> None:
    metadata = MetaData()
    Table("client", metadata, Column("id", Integer))
    with pytest.raises(UsageError, match="'client' has no primary key") as caught:
        infer(metadata, "client")
    assert caught.value.hint


def test_a_foreign_key_out_of_the_schema(metadata: MetaData) -> None:
    table(metadata, "order", key("shop_id", "shop"), key("client_id", "client"))
    with pytest.raises(UsageError, match="foreign key of 'order'") as caught:
        infer(metadata, "client")
    assert "shop" in caught.value.message
    assert "MetaData" in caught.value.hint


def test_a_foreign_key_to_a_column_that_is_not_there(metadata: MetaData) -> None:
    table(metadata, "order", Column("client", BigInteger, ForeignKey("client.number")))
    with pytest.raises(UsageError, match="foreign key of 'order'"):
        infer(metadata, "client")


def test_a_column_whose_key_is_not_its_name(metadata: MetaData) -> None:
    table(metadata, "order", Column("client", BigInteger, ForeignKey("client.id"), key="owner"))
    with pytest.raises(UsageError) as caught:
        infer(metadata, "client")
    assert caught.value.details == ("order.client (key 'owner')",)
    assert "key=" in caught.value.hint
