"""What a cutover decides without a server."""

from __future__ import annotations

import datetime as dt
import re

import pytest

from toolkit.postgres.cutover import Entry, Names, State
from toolkit.postgres.dependents import word
from toolkit.postgres.freeze import Blocker
from toolkit.postgres.privileges import AccessList, Grant

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def entry(state: State, keep_as: str | None = "bank_single", until: float | None = None) -> Entry:
    return Entry(
        id=1,
        source="bank",
        target="bank_regional",
        backend="postgres",
        place="schema 'bank_regional'",
        keep_as=keep_as,
        state=state,
        started_by="somebody",
        started_at=NOON,
        refused_from=NOON,
        refused_until=None if until is None else NOON + dt.timedelta(seconds=until),
        moment=None,
        rows=None,
    )


@pytest.mark.parametrize("state", State)
def test_the_names_change_with_the_switch_alone(state: State) -> None:
    renamed = Names("bank_single", "bank")
    configured = Names("bank", "bank_regional")
    assert entry(state).names == (renamed if state is State.switched else configured)
    assert entry(state, keep_as=None).names == configured


def test_how_long_writes_were_refused() -> None:
    assert entry(State.frozen).refused_seconds is None
    assert entry(State.switched, until=1.25).refused_seconds == 1.25
    document = entry(State.switched, until=1.25).document()
    assert document["refused_seconds"] == 1.25
    assert document["schemas"] == {"source": "bank_single", "layout": "bank"}


def test_privileges_come_back_from_the_journal_as_they_went() -> None:
    grants = (
        Grant("owner", "owner", (("SELECT", False), ("INSERT", False))),
        Grant(None, "owner", (("SELECT", False),)),
        Grant("app", "owner", (("INSERT", True), ("SELECT", True))),
        Grant("clerk", "app", (("TRUNCATE", False),)),
    )
    one = AccessList("TABLE", "payment", None, "owner", grants, False)
    assert AccessList.read(one.document()) == one
    # The owner can grant anything to itself: the trigger is what stops it.
    assert [grant.grantee for grant in one.writers] == ["app", "clerk"]


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("select * from bank.payment", True),
        ("select * from BANK.payment", True),
        ('select * from "bank".payment', True),
        ("search_path=bank, public", True),
        ("search_path=public,bank", True),
        ("select * from bank_single.payment", False),
        ("select * from my_bank.payment", False),
        ("select banker, x.bank from y", False),
        ("select 1 as embank", False),
        ("select $bank$", False),
    ],
)
def test_a_schema_is_a_word_of_its_own(text: str, mentioned: bool) -> None:
    assert (re.search(word("bank"), text, re.I) is not None) is mentioned


def test_a_schema_with_odd_characters_is_no_pattern() -> None:
    assert re.search(word("a.b+"), "from a.b+.t")
    assert not re.search(word("a.b+"), "from axbb.t")


def test_who_is_in_the_way_is_named() -> None:
    writer = Blocker(7, "app", "night job", NOON, "idle in transaction", "client, entry")
    assert str(writer) == (
        "process 7 of app (night job), idle in transaction since 2026-01-02 12:00:00, "
        "holds locks on client, entry"
    )
    prepared = Blocker(None, "app", "x-1", NOON, "prepared", "client")
    assert str(prepared).startswith("prepared transaction 'x-1' of app, prepared since")
    assert str(Blocker(8, "dump", "", None, "active", "")) == (
        "process 8 of dump, active, reads what was before"
    )
