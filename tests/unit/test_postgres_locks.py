"""How operations are divided into transactions: the same steps, each with locks that fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from alembic.operations import MigrateOperation
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.wide_schema import COUNTRIES, ROOT, Wide
from toolkit import placement
from toolkit.config import TRANSACTION_LOCKS
from toolkit.errors import Refused
from toolkit.layout import Layout, decide
from toolkit.postgres import revisions
from toolkit.postgres.generate import generate, operations
from toolkit.postgres.locks import Counter, batches, budget_of, count, entries_for, split
from toolkit.topology import Region, Topology

WIDE = Wide(tables=36, references=72)


def layout(wide: Wide = WIDE) -> Layout:
    metadata = wide.metadata()
    placed = placement.infer(metadata, ROOT, {}, default_schema=wide.schema)
    topology = Topology(tuple(Region(code) for code in COUNTRIES.values()))
    return decide(metadata, topology, placed, default_schema=wide.schema)


OPERATIONS = operations(layout(), "w")


def flat(found: Sequence[MigrateOperation]) -> list[tuple[object, ...]]:
    """What is done, one thing at a time, however it is put together."""
    lines: list[tuple[object, ...]] = []
    for op in found:
        if isinstance(op, revisions.CreatePartitionsOp):
            lines += [("partition", op.code, *pair) for pair in op.partitions.items()]
            if isinstance(op, revisions.CreateRegionOp):
                lines.append(("region", op.code))
        else:
            lines.append(("op", id(op)))
    return lines


def test_what_fits_is_not_divided() -> None:
    whole = count(OPERATIONS, Counter())
    assert split(OPERATIONS, whole) == [OPERATIONS]
    assert len(split(OPERATIONS, whole - 1)) == 2


@settings(max_examples=10, deadline=None)
@given(st.integers(100, 4000))
def test_the_same_steps_in_the_same_order(budget: int) -> None:
    parts = split(OPERATIONS, budget)
    assert flat([op for part in parts for op in part]) == flat(OPERATIONS)
    counter = Counter()
    for part in parts:
        assert count(part, counter) <= budget or len(part) == 1


def test_a_region_is_listed_with_the_last_of_its_partitions() -> None:
    parts = split(OPERATIONS, 400)
    made = [op for part in parts for op in part if isinstance(op, revisions.CreatePartitionsOp)]
    assert len(made) > 4
    for code in COUNTRIES.values():
        own = [op for op in made if op.code == code]
        assert [isinstance(op, revisions.CreateRegionOp) for op in own] == (
            [False] * (len(own) - 1) + [True]
        )


def test_a_step_that_fits_nowhere_stands_alone() -> None:
    parts = split(OPERATIONS, 1)
    assert all(len(part) == 1 for part in parts)


def test_a_foreign_key_locks_both_trees_with_their_indexes() -> None:
    counter = Counter()
    key = next(
        op
        for op in OPERATIONS
        if isinstance(op, revisions.AddForeignKeyOp) and op.table == "item_001"
    )
    before = OPERATIONS[: OPERATIONS.index(key)]
    count(before, counter)
    # Both have a key and two indexes or more; PostgreSQL took 40 locks of relations, 29 of clones.
    assert 40 + 29 <= count([key], counter) <= 90


def test_the_share_of_the_lock_table() -> None:
    assert budget_of(64 * 100) == TRANSACTION_LOCKS
    assert budget_of(entries_for(777)) == 777


def test_batches() -> None:
    assert list(batches([3, 3, 3, 9, 1], lambda n: n, 6)) == [[3, 3], [3], [9], [1]]
    assert list(batches([], lambda n: n, 6)) == []


# The files -----------------------------------------------------------------------------------


def written(folder: Path, **options: int | bool) -> list[tuple[str, bool]]:
    found = generate(layout(), "w", folder, folder / "regionkit.toml", **options)  # type: ignore[arg-type]
    return [(path.name, new) for path, new in found]


def test_a_layout_of_several_revisions(tmp_path: Path) -> None:
    names = [f"000{n}_create_the_regional_schema.py" for n in range(1, 6)]
    assert written(tmp_path, budget=1600, write=False) == [(name, True) for name in names]
    assert list(tmp_path.iterdir()) == []
    assert written(tmp_path, budget=1600) == [(name, True) for name in names]
    texts = [(tmp_path / "versions" / name).read_text() for name in names]
    assert [text.splitlines()[0] for text in texts] == [
        f'"""create the regional schema (part {n} of 5)"""' for n in range(1, 6)
    ]
    assert ["down_revision = '0003'" in text for text in texts] == [False] * 3 + [True, False]
    assert len({text.split("model_digest = ")[1][:66] for text in texts}) == 1
    # Generating again writes nothing, whatever the budget is now.
    for budget in (1600, TRANSACTION_LOCKS):
        assert written(tmp_path, budget=budget) == [(name, False) for name in names]
    assert [(tmp_path / "versions" / name).read_text() for name in names] == texts


def test_revisions_that_were_not_written_to_the_end(tmp_path: Path) -> None:
    whole = written(tmp_path, budget=1600)
    files = [tmp_path / "versions" / name for name, _ in whole]
    texts = [file.read_text() for file in files]
    for file in files[3:]:
        file.unlink()
    assert [new for _, new in written(tmp_path, budget=1600, write=False)] == [
        *[False] * 3,
        *[True] * 2,
    ]
    with pytest.raises(Refused, match="part 3 of 5, and the rest is missing"):
        written(tmp_path, budget=TRANSACTION_LOCKS)
    written(tmp_path, budget=1600)
    assert [file.read_text() for file in files] == texts


def test_a_changed_model_of_several_revisions(tmp_path: Path) -> None:
    written(tmp_path, budget=1600)
    other = layout(Wide(tables=36, references=73))
    with pytest.raises(Refused, match="the model has changed since 0005_"):
        generate(other, "w", tmp_path, tmp_path / "regionkit.toml", budget=1600)
