"""A plan is data: it can be printed, hashed and compared without a server."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest

from toolkit.plan import Plan, Step

STEP = Step("postgres", "create regional table", "client", lock="none", rows=3)


def test_a_plan_as_a_document() -> None:
    plan = Plan("postgres", "0001", (STEP, Step("mongo", "copy", "account", reversible=False)))
    assert json.loads(json.dumps(plan.document())) == {
        "backend": "postgres",
        "revision": "0001",
        "steps": [
            {
                "server": "postgres",
                "action": "create regional table",
                "target": "client",
                "detail": "",
                "lock": "none",
                "rows": 3,
                "reversible": True,
            },
            {
                "server": "mongo",
                "action": "copy",
                "target": "account",
                "detail": "",
                "lock": "",
                "rows": None,
                "reversible": False,
            },
        ],
        "locks": None,
    }


def test_the_order_of_the_steps_is_kept() -> None:
    steps = tuple(Step("postgres", "do", str(number)) for number in (3, 1, 2))
    targets = [step["target"] for step in Plan("postgres", "0001", steps).document()["steps"]]
    assert targets == ["3", "1", "2"]


def test_a_plan_can_be_compared_and_hashed_but_not_changed() -> None:
    one, other = (Plan("postgres", "0001", (STEP,)) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Plan("mongo", "0001", (STEP,))
    with pytest.raises(FrozenInstanceError):
        STEP.rows = 4  # type: ignore[misc]
