"""Clients move while others pay; ``make moves`` does it a thousand times on each backend."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from tests.live.journey import Journey
from tests.moves import campaign as moves
from tests.moves.campaign import campaign, till
from toolkit.cli import backends
from toolkit.mongo import clients as mongo_clients


@pytest.fixture(scope="module")
def journey(
    postgres_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Journey]:
    with till(postgres_url, mongo_url, tmp_path_factory.mktemp("till")) as journey:
        yield journey


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_no_payment_is_lost_or_doubled(journey: Journey, backend: backends.Name) -> None:
    found = campaign(journey, backend, moves=20, seed=1)
    assert found["violations"] == []
    assert found["moves"] + found["moves_busy"] == 20
    assert found["moves"] >= 15
    assert found["payments"]["acknowledged"] > 20


def test_nor_where_a_move_takes_several_transactions(journey: Journey) -> None:
    with patch.object(mongo_clients, "MOST_DOCUMENTS", 3):
        found = campaign(journey, "mongo", moves=8, seed=2)
    assert found["violations"] == []
    assert found["moves"] == 8
    # Whoever paid with the client that moved was told, by the validator of its link.
    assert found["payments"]["errors"].get("code 121", 0) > 0
    assert found["payments"]["acknowledged"] > 0


def test_a_writer_who_does_not_begin_at_the_link_is_caught(journey: Journey) -> None:
    """The campaign itself can fail: plain writers charge what they do not book."""

    def careless(client: object, name: str, identity: int, key: int, amount: int) -> None:
        """Say that a payment was made, and make none."""

    with patch.object(moves, "_pay_mongo", careless):
        found = campaign(journey, "mongo", moves=1, seed=3)
    assert any("was acknowledged" in one for one in found["violations"])


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("backend", ["postgres", "mongo"])
def test_a_thousand_moves(journey: Journey, backend: backends.Name) -> None:
    found = campaign(journey, backend, moves=1000, seed=4)
    assert found["violations"] == []
    assert found["moves"] >= 950
