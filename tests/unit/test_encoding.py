"""Which texts a database of another encoding may not hold."""

from __future__ import annotations

import pytest

from toolkit.encoding import is_ascii, not_utf8, unheld


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("UTF8", "UTF8"),
        ("LATIN1", "UTF8"),
        ("EUC_JP", "UTF8"),
        ("UTF8", "SQL_ASCII"),
        ("LATIN1", "SQL_ASCII"),
        ("SQL_ASCII", "SQL_ASCII"),
        ("LATIN1", "LATIN1"),
    ],
)
def test_nothing_to_ask(source: str, target: str) -> None:
    assert unheld("c", source, target) is None


@pytest.mark.parametrize(
    ("source", "target", "condition", "reason"),
    [
        ("SQL_ASCII", "UTF8", not_utf8("c"), "not UTF-8"),
        ("UTF8", "LATIN1", r"(c)::text ~ '[^\u0001-\u00ff]'", "LATIN1 does not have"),
        ("UTF8", "EUC_JP", r"(c)::text ~ '[^\u0001-\u007f]'", "UTF8 and EUC_JP"),
        ("LATIN1", "LATIN2", r"(c)::text ~ '[^\u0001-\u007f]'", "LATIN1 and LATIN2"),
        ("SQL_ASCII", "LATIN1", r"(c)::text ~ '[^\u0001-\u007f]'", "SQL_ASCII and LATIN1"),
    ],
)
def test_what_is_asked(source: str, target: str, condition: str, reason: str) -> None:
    found = unheld("c", source, target)
    assert found is not None
    assert found[0] == condition
    assert reason in found[1]


def test_types_that_are_ascii() -> None:
    assert is_ascii("timestamp with time zone") and is_ascii("bytea")
    assert not is_ascii("text") and not is_ascii("mood")
