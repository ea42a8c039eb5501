"""Region codes are allow-listed, and what was not declared is not invented."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import UsageError
from toolkit.topology import Region, Topology, check_region_code

BAD = [
    "",
    "EU",
    "Eu",
    "eu ",
    " eu",
    "eu\n",
    "eu\0",
    "1eu",
    "_eu",
    "e-u",
    "e.u",
    'e"u',
    "e'u",
    "é",
    "e" * 17,
    "x" * 70,
]


@given(st.from_regex(r"[a-z][a-z0-9_]{0,15}", fullmatch=True))
def test_a_code_of_the_form_is_taken(code: str) -> None:
    assert check_region_code(code) == code
    assert Region(code).code == code


@pytest.mark.parametrize("code", BAD)
def test_any_other_code_is_refused(code: str) -> None:
    with pytest.raises(UsageError) as caught:
        Region(code)
    assert repr(code) in caught.value.message
    assert "a-z" in caught.value.hint


@given(st.text())
def test_only_what_is_safe_in_a_name_passes(code: str) -> None:
    try:
        check_region_code(code)
    except UsageError:
        assert not re.fullmatch("[a-z][a-z0-9_]{0,15}", code)
    else:
        assert code.isascii()
        assert len(code) <= 16


def test_the_order_is_the_order_of_the_file() -> None:
    assert Topology((Region("us"), Region("eu"), Region("ap"))).codes == ("us", "eu", "ap")


def test_no_region_is_refused() -> None:
    with pytest.raises(UsageError, match="no region is declared") as caught:
        Topology(())
    assert "[regions]" in caught.value.hint


def test_a_region_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="declared twice"):
        Topology((Region("eu"), Region("us"), Region("eu", "Europe")))


def test_a_round_trip_is_the_same_both_ways() -> None:
    topology = Topology((Region("eu"), Region("us")), {frozenset(("eu", "us")): 90.5})
    assert topology.round_trip("eu", "us") == topology.round_trip("us", "eu") == 90.5
    assert topology.round_trip("eu", "eu") == 0.0


def test_a_round_trip_that_is_not_declared_is_refused_with_the_line_to_add() -> None:
    topology = Topology((Region("eu"), Region("us")))
    with pytest.raises(UsageError, match="'eu' and 'us'") as caught:
        topology.round_trip("eu", "us")
    assert 'between = ["eu", "us"]' in caught.value.hint


def test_every_region_of_a_backend_is_on_its_server() -> None:
    topology = Topology((Region("eu"), Region("us")))
    assert {topology.server("postgres", code) for code in (None, "eu", "us")} == {"postgres"}
    assert topology.server("mongo") == "mongo"
