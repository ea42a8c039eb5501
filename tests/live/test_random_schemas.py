"""A small, seeded share of the random schemas (``make schemas`` runs as many as asked for)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.random_schemas.generator import draw, statements
from tests.random_schemas.journey import run

#: Of each it is known what it once broke: a sequence below its range, names of partitions' indexes
#: that changed places, a key of numerics in MongoDB; and a value that MongoDB cannot hold.
SEEDS = (5, 11, 41, 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_schema_goes_all_the_way(
    seed: int, postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    run(seed, postgres_url, mongo_url, tmp_path)


@given(st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_the_same_seed_draws_the_same_schema(seed: int) -> None:
    assert statements(draw(seed)) == statements(draw(seed))
