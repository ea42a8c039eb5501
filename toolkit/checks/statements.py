"""The statements of an application: read from a file or an export, and brought into one form. Pure.

A statement is kept as ``pg_stat_statements`` has it: ``$1`` for every value. Values are personal
data more often than not, and what this check prints goes into logs.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolkit.checks import lexer
from toolkit.checks.lexer import Kind, Token
from toolkit.errors import UsageError

#: What ``pg_stat_statements`` shows of the statements of others without pg_read_all_stats.
HIDDEN = "<insufficient privilege>"

#: Types that PostgreSQL lets stand before a string: ``date '2026-01-01'``. With a parameter, as
#: ``pg_stat_statements`` writes it, that is a syntax error, and a cast says the same.
_TYPES_BEFORE_STRINGS = re.compile(
    "bit|bool|boolean|bytea|cidr|date|float8|inet|int4|int8|interval|json|jsonb|numeric|time|"
    "timestamp|timestamptz|timetz|uuid|xml",
    re.I,
)
_UNITS = ("year", "month", "day", "hour", "minute", "second")

#: Types whose parentheses hold a length or a precision.
_TYPES_WITH_LENGTH = re.compile(
    "bit|bpchar|char|character|dec|decimal|float|interval|numeric|time|timestamp|timestamptz|"
    "timetz|varbit|varchar|varying",
    re.I,
)

#: The first words of statements that PostgreSQL can explain.
_EXPLAINED = ("select", "insert", "update", "delete", "merge", "with", "values", "table")


@dataclass(frozen=True)
class Statement:
    """One statement of the application.

    Attributes:
        id: ``queryid`` of ``pg_stat_statements``, or a digest of the text.
        text: on one line, without comments, ``$1`` for every value.
        calls: how often it was called, ``None`` where nobody counted.
        original: as it was given, where values became parameters in ``text``; never to be printed.
    """

    id: str
    text: str
    calls: int | None = None
    original: str | None = None

    @property
    def tokens(self) -> list[Token]:
        """The words of the text."""
        return lexer.words(lexer.tokens(self.text))

    @property
    def explained(self) -> bool:
        """Whether it reads or writes rows, so that PostgreSQL can plan it."""
        first = next((token for token in self.tokens if token.text != "("), None)
        return first is not None and first.name in _EXPLAINED


def read(content: str, suffix: str) -> list[Statement]:
    """Return the statements of a file, each once, the most called first.

    Args:
        content: of the file.
        suffix: ``.csv`` or ``.json`` for an export of ``pg_stat_statements``; anything else is SQL.

    Raises:
        UsageError: an export has no column ``query``, or is not what its suffix says.
    """
    if suffix.lower() == ".csv":
        rows: Iterable[Mapping[str, Any]] = _csv(content)
    elif suffix.lower() == ".json":
        rows = _json(content)
    else:
        rows = ({"query": lexer.text(found)} for found in lexer.split(content))
    return distinct(from_rows(rows))


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Statement]:
    """Yield the statements of rows with ``query``, and ``queryid`` and ``calls`` where known."""
    for row in rows:
        query, calls = row.get("query"), row.get("calls")
        for found in lexer.split(str(query or "")):
            yield statement(
                found,
                queryid=None if row.get("queryid") in (None, "") else str(row["queryid"]),
                calls=None if calls in (None, "") else int(calls),
            )


def distinct(statements: Iterable[Statement]) -> list[Statement]:
    """Return each statement once, its calls added up, the most called first."""
    found: dict[str, Statement] = {}
    for one in statements:
        before = found.get(one.text)
        if before is None:
            found[one.text] = one
        elif one.calls is not None:
            found[one.text] = replace(before, calls=(before.calls or 0) + one.calls)
    return sorted(found.values(), key=lambda one: -(one.calls or 0))


def statement(
    given: Sequence[Token], *, queryid: str | None = None, calls: int | None = None
) -> Statement:
    """Return a statement in the form that everything else here works with."""
    original = _placeholders(lexer.without_comments(given))
    parameterised = _literals(_typed(original))
    text, whole = lexer.text(parameterised), lexer.text(original)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Statement(queryid or digest, text, calls, None if whole == text else whole)


def _csv(content: str) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(content.removeprefix("\ufeff"), newline=""))
    if "query" not in (reader.fieldnames or ()):
        raise UsageError(
            "the export has no column 'query'",
            hint="write it with: copy (select queryid, calls, query from pg_stat_statements) to "
            "stdout with csv header",
        )
    return [dict(row) for row in reader]


def _json(content: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(content)
    except ValueError as error:
        raise UsageError(
            f"the export is not JSON: {error}", hint="write it with json_agg"
        ) from None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and "query" in row for row in rows
    ):
        raise UsageError(
            "the export is no list of objects with a field 'query'",
            hint="write it with: select json_agg(s) from pg_stat_statements s",
        )
    return rows


def _placeholders(given: Sequence[Token]) -> list[Token]:
    """Replace every placeholder by a parameter; the same name is the same parameter."""
    numbers: dict[str, int] = {}
    highest = _highest(given)
    pyformat = any(token.text.startswith("%") for token in given if token.kind is Kind.placeholder)
    found: list[Token] = []
    for token in given:
        if token.kind is Kind.placeholder:
            anonymous = token.text == "?" or token.text.startswith(("%s", "%b", "%t"))
            name = f"{len(numbers)} anonymous" if anonymous else token.text.strip(":%()sbt ")
            found.append(parameter(numbers.setdefault(name, highest + len(numbers) + 1)))
        elif pyformat and "%%" in token.text:
            # Doubled for the driver.
            found.append(replace(token, text=token.text.replace("%%", "%")))
        else:
            found.append(token)
    return found


def parameter(number: int) -> Token:
    """Return the token of a parameter."""
    return Token(Kind.parameter, f"${number}")


def _highest(given: Sequence[Token]) -> int:
    return max((int(token.text[1:]) for token in given if token.kind is Kind.parameter), default=0)


def _typed(given: Sequence[Token]) -> list[Token]:
    """Write ``interval $1`` as ``$1::interval``, and likewise with a string."""
    found: list[Token] = []
    tokens = list(given)
    at = 0
    while at < len(tokens):
        token = tokens[at]
        after = at + 2 if at + 1 < len(tokens) and tokens[at + 1].kind is Kind.gap else at + 1
        value = tokens[after] if after < len(tokens) else None
        unit = lexer.words(tokens[after + 1 : after + 3])
        if (
            token.kind is Kind.word
            and _TYPES_BEFORE_STRINGS.fullmatch(token.text)
            and value is not None
            and value.kind in (Kind.string, Kind.parameter)
            and not (unit and unit[0].name in _UNITS)
            and not (found and found[-1].text in ("::", "."))
        ):
            found += [value, Token(Kind.symbol, "::"), token]
            at = after + 1
        else:
            found.append(token)
            at += 1
    return found


def _literals(given: Sequence[Token]) -> list[Token]:
    """Replace literals by parameters where a parameter can stand."""
    number = _highest(given)
    found: list[Token] = []
    words: list[Token] = []
    lengths: list[bool] = []  # of each open parenthesis: whether it holds a length
    positional = False
    for token in given:
        if token.kind is Kind.word and token.name == "by":
            positional = True
        elif positional and not _keeps_position(token, words):
            positional = False
        if token.text == "(":
            lengths.append(bool(words and _TYPES_WITH_LENGTH.fullmatch(words[-1].text)))
        elif token.text == ")" and lengths:
            lengths.pop()
        literal = token.kind in (Kind.string, Kind.number)
        unit_before = bool(words) and words[-1].name == "interval"
        if literal and not positional and not unit_before and not (lengths and lengths[-1]):
            number += 1
            token = parameter(number)
        found.append(token)
        if token.kind is not Kind.gap:
            words.append(token)
    return found


def _keeps_position(token: Token, words: Sequence[Token]) -> bool:
    """Return whether a list of ``order by 1, 2 desc`` may go on with this."""
    if token.kind is Kind.number:
        return bool(words) and (words[-1].name == "by" or words[-1].text == ",")
    return token.kind is Kind.gap or token.text == "," or token.name in ("asc", "desc")


def spaced(text: str) -> str:
    """Return a statement with a space after each parameter.

    ``$1,$2`` is two parameters to PostgreSQL, and the beginning of a string to sqlglot.
    """
    parts: list[str] = []
    after_parameter = False
    for token in lexer.tokens(text):
        if after_parameter and token.kind is not Kind.gap:
            parts.append(" ")
        parts.append(token.text)
        after_parameter = token.kind is Kind.parameter
    return "".join(parts)


def without_values(text: str) -> str:
    """Return a statement with a parameter for every value that is left in it."""
    return lexer.text(_literals(_typed(lexer.tokens(text))))
