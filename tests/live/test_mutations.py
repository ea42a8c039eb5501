"""A seeded share of the mutations (docs/faults.md): each is found, named, and gone when undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults import mutations
from tests.faults.mutations import Clinic, Mutation
from tests.faults.servers import grounds

SEED = 1

#: One of each kind for each backend; all of them are `make mutations`.
SHARE = [
    mutation
    for mutation in mutations.plan(SEED, 200)
    if mutation.number < len(getattr(mutations, mutation.backend.upper()))
]


@pytest.fixture(scope="module")
def clinics() -> Iterator[dict[str, Clinic]]:
    """Both subjects, migrated to both backends."""
    with grounds() as those, ExitStack() as stack:
        yield {name: stack.enter_context(mutations.clinic(one)) for name, one in those.items()}


@pytest.mark.parametrize("mutation", SHARE, ids=lambda mutation: mutation.id)
def test_found_and_named(clinics: dict[str, Clinic], mutation: Mutation) -> None:
    outcome = mutations.run(mutation, clinics[mutation.subject], SEED)
    assert not outcome.problem


def test_untouched_targets_are_equal(clinics: dict[str, Clinic]) -> None:
    for one in clinics.values():
        one.journey.done("verify", "-q")
