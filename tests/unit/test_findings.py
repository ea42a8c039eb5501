"""A finding says what, where and how often; samples are bounded and stable."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import SAMPLES
from toolkit.findings import Code, Finding, sampled_keys


@pytest.mark.parametrize("code", Code)
def test_a_code_is_stable_text(code: Code) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code.value)
    assert code.name == code.value.replace("-", "_")


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding(Code.orphan, "postgres", "account"), "postgres: account: 1 orphan"),
        (
            Finding(Code.row_missing, "mongo", "client", "eu", 3, ("1", "2"), "copied late"),
            "mongo: client in eu: 3 row-missing (1, 2, ...): copied late",
        ),
        (
            Finding(Code.row_differs, "postgres", "client", count=2, keys=("1", "2")),
            "postgres: client: 2 row-differs (1, 2)",
        ),
    ],
)
def test_a_finding_in_words(finding: Finding, text: str) -> None:
    assert str(finding) == text


def test_a_finding_as_a_document() -> None:
    finding = Finding(Code.row_misplaced, "postgres", "account", "eu", 2, ("7", "8"), "in us")
    assert json.loads(json.dumps(finding.document())) == {
        "code": "row-misplaced",
        "server": "postgres",
        "table": "account",
        "region": "eu",
        "count": 2,
        "keys": ["7", "8"],
        "detail": "in us",
    }


@given(st.lists(st.text(), max_size=4 * SAMPLES), st.randoms(use_true_random=False))
def test_samples_are_bounded_and_do_not_depend_on_the_order(keys: list[str], random) -> None:
    shuffled = list(keys)
    random.shuffle(shuffled)
    samples = sampled_keys(shuffled)
    assert samples == sampled_keys(iter(keys))
    assert len(samples) == min(len(keys), SAMPLES)
    assert set(samples) <= set(keys)
