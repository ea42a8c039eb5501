"""Digests of rows and of sets of rows."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from toolkit.digest import Digest, row_digest, total

_CELLS = st.lists(st.one_of(st.none(), st.text()), max_size=5)


def _reference(cells: list[str | None]) -> str:
    """The canonical form as its description says, in bytes."""
    form = b""
    for cell in cells:
        data = None if cell is None else cell.encode()
        form += b"-;" if data is None else str(len(data)).encode() + b":" + data + b";"
    return hashlib.md5(form, usedforsecurity=False).hexdigest()


@given(_CELLS)
def test_a_row_is_its_cells_each_with_its_length_in_bytes(cells: list[str | None]) -> None:
    assert row_digest(cells) == _reference(cells)


def test_no_two_rows_share_a_form() -> None:
    rows = [[None], [""], ["-;"], ["a", "b"], ["ab"], ["a;1:b"], ["é"], ["e\u0301"], []]
    assert len({row_digest(row) for row in rows}) == len(rows)


@given(st.lists(_CELLS, max_size=6), st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[list[str | None]], random: object) -> None:
    digests = [row_digest(row) for row in rows]
    shuffled = list(digests)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert total(digests) == total(shuffled)


def test_a_row_that_stands_twice_is_seen() -> None:
    one, other = row_digest(["1"]), row_digest(["2"])
    assert total([one, one, other]) != total([one, other])
    assert total([one, one, other]) != total([other])


@given(st.lists(_CELLS, max_size=6), st.lists(_CELLS, max_size=6))
def test_digests_of_parts_add_up(
    some: list[list[str | None]], more: list[list[str | None]]
) -> None:
    digests = [[row_digest(row) for row in rows] for rows in (some, more)]
    assert total(digests[0]) + total(digests[1]) == total(digests[0] + digests[1])
    assert total([]) == Digest()
