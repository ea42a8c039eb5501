"""PostgreSQL's own text of indexes and expressions, taken apart. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: What parentheses and commas mean nothing in, and those that do mean something.
_TOKEN = re.compile(
    r"""(?<!\w)E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[()\[\],]""", re.S
)


def _depths(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield each bracket and comma with its place, and how deep it is (brackets: inside)."""
    depth = 0
    for token in _TOKEN.finditer(text):
        character = token[0]
        if character in "([":
            depth += 1
            yield token.start(), character, depth
        elif character in ")]":
            yield token.start(), character, depth
            depth -= 1
        elif character == ",":
            yield token.start(), character, depth


def without_parentheses(expression: str) -> str:
    """Return an expression without the pair of parentheses that encloses all of it."""
    text = expression.strip()
    while text.startswith("(") and text.endswith(")"):
        closing = next(
            place for place, character, depth in _depths(text) if character == ")" and depth == 1
        )
        if closing != len(text) - 1:
            break
        text = text[1:-1].strip()
    return text


def index_parts(definition: str) -> list[str]:
    """Return the key parts of what ``pg_get_indexdef`` says, each with all of its options."""
    start = end = 0
    parts = []
    for place, character, depth in _depths(definition):
        if depth == 1 and character == "(":
            start = place + 1
        elif depth == 1 and character in ",)":
            end = place
            parts.append(definition[start:end].strip())
            start = end + 1
            if character == ")":
                break
    return parts
