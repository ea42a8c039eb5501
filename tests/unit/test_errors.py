"""Exit codes, their order, and passwords that no message prints."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo

from toolkit import errors
from toolkit.errors import (
    EXIT_CODE_ORDER,
    SAMPLES,
    RegionkitError,
    redact,
    sampled,
    worst_exit_code,
)

DOCS = Path(__file__).parents[2] / "docs" / "exit-codes.md"
CODES = st.sampled_from(EXIT_CODE_ORDER)
SECRET = "canary-7Qx"
TREE = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RegionkitError)
]

# Exit codes ---------------------------------------------------------------------------------


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [found.exit_code for found in TREE]
    assert len(set(codes)) == len(codes)
    assert {*codes, 0} == set(EXIT_CODE_ORDER)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^    (?:[├└]── )?(\w+) +(\d+) ", inspect.getdoc(errors) or "", re.M)
    assert {(name, int(code)) for name, code in drawn} == {
        (found.__name__, found.exit_code) for found in TREE
    }


def test_the_documentation_lists_every_code_in_its_order() -> None:
    rows = re.findall(r"^\| (\d+) \| `?([\w ]+?)`? \| .+ \| .+ \|$", DOCS.read_text("utf-8"), re.M)
    assert [int(code) for code, _ in rows] == list(EXIT_CODE_ORDER)
    names = {found.exit_code: found.__name__ for found in TREE}
    assert {int(code): name for code, name in rows} == {**names, 0: "done"}


@given(st.lists(CODES, min_size=1))
def test_the_worst_code_is_the_first_in_the_order(codes: list[int]) -> None:
    worst = worst_exit_code(codes)
    assert worst in codes
    assert all(EXIT_CODE_ORDER.index(worst) <= EXIT_CODE_ORDER.index(code) for code in codes)


@given(st.lists(CODES), st.lists(CODES))
def test_codes_can_be_combined_in_any_grouping(some: list[int], others: list[int]) -> None:
    together = worst_exit_code([*some, *others])
    assert together == worst_exit_code([worst_exit_code(some), worst_exit_code(others)])
    assert together == worst_exit_code([*others, *some])


def test_nothing_happened_is_done() -> None:
    assert worst_exit_code([]) == 0


@given(st.integers().filter(lambda code: code not in EXIT_CODE_ORDER), st.lists(CODES))
def test_an_unknown_code_is_unexpected(code: int, others: list[int]) -> None:
    assert worst_exit_code([*others, code]) == 1


@pytest.mark.parametrize(
    ("codes", "worst"),
    [([5, 4], 5), ([4, 3], 4), ([3, 6], 3), ([10, 5], 10), ([9, 10], 9), ([130, 1], 130)],
)
def test_order(codes: list[int], worst: int) -> None:
    assert worst_exit_code(codes) == worst


# What an error carries ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_no_part_of_an_error_holds_a_password(kind: type[RegionkitError]) -> None:
    url = f"postgresql://app:{SECRET}@db/bank?sslpassword={SECRET}"
    error = kind(f"no {url}", hint=f"try {url}", details=[url])
    for part in (str(error), repr(error), error.message, error.hint, *error.details):
        assert SECRET not in part
    assert error.message.startswith("no postgresql://app:***@db/bank")


@given(st.lists(st.text(), max_size=3 * SAMPLES), st.integers(0, 50))
def test_samples_are_bounded_and_add_up(lines: list[str], unseen: int) -> None:
    total = len(lines) + unseen
    shown = sampled(lines, total)
    assert len(shown) <= SAMPLES + 1
    kept = min(len(lines), SAMPLES)
    assert shown[:kept] == lines[:kept]
    assert shown[kept:] == ([f"... and {total - kept} more"] if total > kept else [])


# Passwords ----------------------------------------------------------------------------------

SHAPES = [
    "postgresql://app:{}@db.example:5432/bank",
    "postgresql+psycopg://app:{}@db/bank?sslmode=require",
    "postgresql://:{}@db/bank",
    "mongodb://app:{}@one:27017,two:27017/?replicaSet=rs",
    "mongodb+srv://app:{}@cluster.example/bank",
    "redis://:{}@cache:6379/0",
    "HTTPS://app:{}@proxy",
    "postgresql://db/bank?password={}",
    "postgresql://db:5432/bank?user=app&password={}&sslmode=require",
    "postgresql:///bank?host=/run/postgresql&PASSWORD={}",
    "postgresql://db/bank?sslkey=k&sslpassword={}",
    "mongodb://db/?tlsCertificateKeyFilePassword={}&tls=true",
    "host=db user=app password={} dbname=bank",
    "host=db password = {} dbname=bank",
    "PGPASSWORD={} psql -h db",
    "connection to 'postgresql://app:{}@db/bank' failed: timeout",
    'connection to "postgresql://db/bank?password={}" failed',
    "two: postgresql://app:{}@one/a, mongodb://app:{}@two/b",
    "postgresql://app:{}@one/a,postgresql://app:{}@two/b",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_password_is_masked_wherever_it_stands(shape: str) -> None:
    masked = redact(shape.replace("{}", SECRET))
    assert SECRET not in masked
    assert masked == shape.replace("{}", "***")


@pytest.mark.parametrize(
    "text",
    [
        f"host=db password='{SECRET} and half of it' dbname=bank",
        rf"host=db password='half\'s {SECRET}' dbname=bank",
        f"ALTER ROLE app PASSWORD '{SECRET}'",
        f"ALTER ROLE app ENCRYPTED PASSWORD 'half''s {SECRET}'",
        f'{{"user": "app", "password": "{SECRET}"}}',
        f"{{'user': 'app', 'password': '{SECRET}'}}",
        f"connect(user='app', password='{SECRET}')",
        f"postgresql://app:half@{SECRET}@db/bank",
        f"postgresql://app:half/{SECRET}@db/bank",
        f"postgresql://app:half?{SECRET}@db/bank",
        f"postgresql://app:half#{SECRET}@db/bank",
        f"postgresql://app:password={SECRET}@db/bank",
        f"postgresql://db:5432/bank?password=half@{SECRET}&sslmode=require",
        f"postgresql://db/bank?password=half's{SECRET}&sslmode=require",
    ],
)
def test_a_password_that_was_not_encoded_is_masked_whole(text: str) -> None:
    assert SECRET not in redact(text)
    assert "half" not in redact(text)


@given(st.sampled_from(SHAPES), st.text(min_size=1).map(lambda text: quote(text, safe="")))
@example(SHAPES[0], "%40%2F%3A%3F%26")
def test_no_encoded_password_survives(shape: str, password: str) -> None:
    assume(password not in shape.replace("{}", ""))
    assert password not in redact(shape.replace("{}", password)).replace("***", "")


# Without double quotes, which libpq does not escape: one may be the end of a quotation as well.
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0"'), min_size=1))
@example("a&b")
@example("it's \\ 'quoted'")
@example("''")
def test_no_password_of_a_connection_string_survives(password: str) -> None:
    masked = redact(make_conninfo(user="app", password=password, dbname="bank"))
    assert masked == "user=app password=*** dbname=bank"


@given(st.text(), st.sampled_from(SHAPES), st.text())
def test_masking_twice_masks_no_more(before: str, shape: str, password: str) -> None:
    once = redact(before + shape.replace("{}", password))
    assert redact(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app@db:5432/bank",
        "mongodb://one:27017,two:27017/?replicaSet=rs",
        "the password is wrong",
        "wrong password: see the log",
        "at 10:30 ops@example.com was told",
        "ratio 3:4 @ noon",
        "https://example.com/a:b",
    ],
)
def test_what_is_no_password_is_left_alone(text: str) -> None:
    assert redact(text) == text
