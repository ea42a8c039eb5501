"""Generated names: within 63 bytes, deterministic, and never the same twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.names import MAX_BYTES, NamePool, shorten

# Every script, but no lone surrogates, which no database can store.
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(NAMES)
def test_a_name_fits_and_is_stable(name: str) -> None:
    short = shorten(name)
    assert len(short.encode()) <= MAX_BYTES
    assert shorten(name) == short
    assert shorten(short) == short


@given(NAMES)
def test_a_name_that_fits_is_kept(name: str) -> None:
    assert (shorten(name) == name) == (len(name.encode()) <= MAX_BYTES)


@given(NAMES, st.integers(10, 62))
def test_another_limit_is_kept_too(name: str, limit: int) -> None:
    assert len(shorten(name, limit).encode()) <= limit


@pytest.mark.parametrize("letter", ["a", "é", "語", "𝒳"])
def test_long_names_that_differ_at_the_end_stay_apart(letter: str) -> None:
    names = [letter * 70 + end for end in ("1", "2")]
    short = [shorten(name) for name in names]
    assert short[0] != short[1]
    for name in short:
        assert name.startswith(letter)
        assert len(name.encode()) > MAX_BYTES - len(letter.encode())


def test_a_character_is_never_cut_in_two() -> None:
    # 53 bytes of one-byte letters, then a character of three: only its first byte would fit.
    short = shorten("a" * 53 + "語" + "b" * 20)
    assert short.startswith("a" * 53 + "_")


@given(st.lists(NAMES, max_size=30), st.lists(NAMES, max_size=10))
def test_a_pool_gives_out_no_name_twice(wanted: list[str], taken: list[str]) -> None:
    pool = NamePool(taken)
    given_out = [pool.claim(name) for name in wanted]
    assert len({*given_out}) == len(given_out)
    assert not {*given_out} & {*taken}
    assert all(len(name.encode()) <= MAX_BYTES for name in given_out)
    assert all(name in pool for name in (*given_out, *taken))


@given(st.lists(NAMES, max_size=30))
def test_a_pool_gives_the_same_names_again(wanted: list[str]) -> None:
    one, other = NamePool(), NamePool()
    assert [one.claim(name) for name in wanted] == [other.claim(name) for name in wanted]


def test_candidates_are_tried_in_order() -> None:
    pool = NamePool(["region"])
    assert pool.claim("region", "home_region") == "home_region"
    assert pool.claim("region", "home_region") == "home_region_2"
    assert pool.claim("region", "home_region") == "home_region_3"
    assert "client" not in pool


def test_a_numbered_name_is_shortened_as_a_whole() -> None:
    pool = NamePool()
    names = [pool.claim("x" * MAX_BYTES) for _ in range(12)]
    assert len(set(names)) == 12
    assert {len(name.encode()) for name in names} == {MAX_BYTES}
