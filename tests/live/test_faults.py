"""A seeded share of the fault campaign (docs/faults.md): after every fault all invariants hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.campaign import Fault, plan, replay, run
from tests.faults.servers import Ground, grounds

SEED = 1

#: Kinds of which each run of the suite does one; the whole campaign is `make faults`.
SHARE = plan(SEED, 8, quick=True)


@pytest.fixture(scope="module")
def prepared() -> Iterator[dict[str, Ground]]:
    """Servers that may be killed, and both subjects on them."""
    with grounds() as those:
        yield those


@pytest.mark.parametrize("fault", SHARE, ids=lambda fault: fault.id)
def test_fault(prepared: dict[str, Ground], fault: Fault) -> None:
    outcome = run(fault, prepared[fault.subject], SEED)
    assert not outcome.missed
    assert not outcome.violations, f"{outcome.violations}\nreplay: {replay(SEED, fault)}"


def test_a_plan_is_the_same_for_the_same_seed() -> None:
    assert [fault.id for fault in plan(7, 40)] == [fault.id for fault in plan(7, 40)]
    assert [fault.id for fault in plan(7, 40)] != [fault.id for fault in plan(8, 40)]
    (one,) = plan(7, only=plan(7, 1)[0].id)
    assert one.generator(7).random() == one.generator(7).random()
    assert one.generator(7).random() != one.generator(8).random()


def test_a_full_campaign_is_as_large_as_promised() -> None:
    faults = plan(1)
    kills = [fault for fault in faults if fault.kind.point]
    points = {fault.kind.point for fault in kills}
    assert len(kills) >= 200
    assert all(sum(fault.kind.point == point for fault in kills) >= 10 for point in points)
    assert sum(fault.kind.writes for fault in kills) >= 0.8 * len(kills)
    for server in ("postgres", "mongod"):
        assert sum(fault.kind.server == server for fault in faults) >= 40
    assert {fault.kind.row for fault in faults} == set(range(1, 15))
