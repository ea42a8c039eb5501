"""Which way home is chosen, by what the rows say of every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import MetaData

from tests.unit.support import key, table
from toolkit.evidence import Meeting, Sharing, TableEvidence, Use, Way
from toolkit.init.ownership import Choice, candidates, choose, on_the_way, private
from toolkit.placement import ForeignKey, Placement, infer

ROWS = 10


def schema() -> MetaData:
    """A payment has a client of its own, and an account's, and a second account's."""
    metadata = MetaData()
    table(metadata, "client")
    table(metadata, "account", key("client_id", "client"))
    table(
        metadata,
        "payment",
        key("client_id", "client", nullable=True),
        key("from_id", "account"),
        key("to_id", "account"),
    )
    return metadata


def way(name: str) -> ForeignKey:
    target = "client" if name == "client_id" else "account"
    return ForeignKey("payment", (name,), target, ("id",))


def evidence(
    meetings: dict[tuple[str, str], Meeting], missing: dict[str, int] | None = None
) -> TableEvidence:
    counts = {
        name: ROWS - (missing or {}).get(name, 0) for name in ("client_id", "from_id", "to_id")
    }
    return TableEvidence(
        {"eu": ROWS},
        {way(name): Way(count, 0, count) for name, count in counts.items()},
        {frozenset((way(one), way(other))): meeting for (one, other), meeting in meetings.items()},
    )


AGREE, DIFFER = Meeting(ROWS, 0, 0), Meeting(ROWS, 4, 2)


def chosen(
    meetings: dict[tuple[str, str], Meeting],
    missing: dict[str, int] | None = None,
    *,
    stated: str | None = None,
) -> Choice:
    metadata = schema()
    placement = infer(metadata, "client")
    return choose(
        placement,
        "payment",
        metadata.tables["payment"],
        evidence(meetings, missing),
        {},
        way(stated) if stated else None,
    )


def test_ways_that_agree_make_the_shortest_home_and_the_others_stay() -> None:
    choice = chosen(
        {
            ("client_id", "from_id"): AGREE,
            ("client_id", "to_id"): AGREE,
            ("from_id", "to_id"): AGREE,
        }
    )
    assert choice.home == way("client_id")
    assert set(choice.same_region) == {way("from_id"), way("to_id")}
    assert choice.alternatives == ()


def test_a_way_that_leads_elsewhere_is_a_foreign_reference() -> None:
    choice = chosen(
        {
            ("client_id", "from_id"): AGREE,
            ("client_id", "to_id"): DIFFER,
            ("from_id", "to_id"): DIFFER,
        }
    )
    assert (choice.home, choice.same_region) == (way("client_id"), (way("from_id"),))
    assert choice.alternatives == ()
    assert choice.why == "the shortest way"


def test_a_way_that_is_missing_for_some_rows_is_no_way_home() -> None:
    part = Meeting(ROWS - 3, 0, 0)
    choice = chosen(
        {("client_id", "from_id"): part, ("client_id", "to_id"): part, ("from_id", "to_id"): AGREE},
        {"client_id": 3},
    )
    assert choice.home == way("from_id")
    assert set(choice.same_region) == {way("client_id"), way("to_id")}


def test_two_ways_of_equal_right_that_differ_are_asked_about() -> None:
    choice = chosen({("from_id", "to_id"): DIFFER}, {"client_id": 3})
    assert choice.alternatives == (way("from_id"), way("to_id"))
    # So are two that no row tells apart.
    choice = chosen({}, {"client_id": 3})
    assert choice.alternatives == (way("from_id"), way("to_id"))


def test_what_the_operator_states_is_taken() -> None:
    choice = chosen({("client_id", "to_id"): DIFFER, ("from_id", "to_id"): DIFFER}, stated="to_id")
    assert (choice.home, choice.stated, choice.alternatives) == (way("to_id"), True, ())


@pytest.mark.parametrize("crossing", [1, 5])
def test_one_row_that_leads_elsewhere_is_enough(crossing: int) -> None:
    choice = chosen(
        {("client_id", "from_id"): Meeting(ROWS, crossing, 0), ("client_id", "to_id"): AGREE}
    )
    assert choice.same_region == (way("to_id"),)


def test_a_way_that_comes_back_is_none() -> None:
    metadata = schema()
    table(metadata, "link", key("client_id", "client"), key("thing_id", "thing"))
    table(metadata, "thing")
    table(metadata, "part", key("thing_id", "thing"), key("link_id", "link"))
    placed = infer(metadata, "client")
    homes = {name: one.home for name, one in placed.tables.items()}
    assert on_the_way(homes, "payment", {}) == {"payment", "client"}
    assert on_the_way(homes, "thing", {"thing": "link"}) == {"thing", "link", "client"}
    part = candidates(placed, "part", {"thing": "part"})
    assert [one.target for one in part] == ["link"]


# Tables without a way of their own ------------------------------------------------------------

ADDRESS = ForeignKey("client", ("address_id",), "address", ("id",))
ORDER = ForeignKey("order", ("address_id",), "address", ("id",))


def sharing(rows: int, used: int, shared: int, **uses: tuple[int, int]) -> Sharing:
    keys = {"client": ADDRESS, "order": ORDER}
    return Sharing(
        rows, used, shared, shared, {keys[name]: Use(*counts) for name, counts in uses.items()}
    )


@pytest.mark.parametrize(
    ("found", "own", "through", "proposed"),
    [
        (sharing(9, 9, 0, client=(9, 0)), False, ADDRESS, None),
        (sharing(9, 9, 0, client=(9, 0), order=(5, 0)), False, ADDRESS, None),
        # Shared by clients, by whatever key.
        (sharing(9, 9, 2, client=(9, 2)), False, None, None),
        (sharing(9, 9, 2, client=(9, 0), order=(5, 1)), False, None, ADDRESS),
        # The schema says by itself who the owner is: others may refer to the row.
        (sharing(9, 9, 2, client=(9, 0), order=(5, 1)), True, ADDRESS, None),
        # A row that nobody refers to has no client.
        (sharing(9, 8, 0, client=(8, 0)), False, None, ADDRESS),
        # One row alone tells nothing, and no row less.
        (sharing(1, 1, 0, client=(1, 0)), True, None, ADDRESS),
        (sharing(0, 0, 0, client=(0, 0)), True, None, None),
    ],
)
def test_a_table_is_private_if_each_row_has_one_client(
    found: Sharing, own: bool, through: ForeignKey | None, proposed: ForeignKey | None
) -> None:
    privacy = private(found, lambda key: own and key == ADDRESS)
    assert (privacy.through, privacy.proposed) == (through, proposed)
    assert privacy.why


# Whatever the rows say ------------------------------------------------------------------------


@st.composite
def said(draw: st.DrawFn) -> TableEvidence:
    names = ("client_id", "from_id", "to_id")
    clients = {
        name: draw(st.lists(st.sampled_from([None, 1, 2]), min_size=4, max_size=4))
        for name in names
    }
    meetings = {}
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            both = [
                (a, b)
                for a, b in zip(clients[one], clients[other], strict=True)
                if a is not None and b is not None
            ]
            differ = sum(a != b for a, b in both)
            meetings[frozenset((way(one), way(other)))] = Meeting(len(both), differ, differ)
    counts = {name: sum(one is not None for one in found) for name, found in clients.items()}
    ways = {way(name): Way(count, 0, count) for name, count in counts.items()}
    return TableEvidence({"eu": 4}, ways, meetings)


@given(said())
def test_never_picks_silently(found: TableEvidence) -> None:
    metadata = schema()
    placement: Placement = infer(metadata, "client")
    choice = choose(placement, "payment", metadata.tables["payment"], found, {})
    assert choice.home is not None
    for other in choice.same_region:
        assert found.meeting(choice.home, other).rows > 0
        assert found.meeting(choice.home, other).clients == 0
    # Of equal standing are the two accounts alone.
    if choice.alternatives:
        assert set(choice.alternatives) == {way("from_id"), way("to_id")}
        assert not (
            found.meeting(*choice.alternatives).rows
            and found.meeting(*choice.alternatives).clients == 0
            and all(
                found.ways[one].clients == found.ways[one].filled for one in choice.alternatives
            )
            and found.meeting(*choice.alternatives).rows
            == min(found.ways[one].clients for one in choice.alternatives)
            == max(found.ways[one].clients for one in choice.alternatives)
        )
