"""The words of a SQL statement, as PostgreSQL's own lexer takes it apart. Pure.

Statements come from files and from ``pg_stat_statements``; before anything parses them they have to
be told apart, freed of comments, and their placeholders brought into one form. All of that needs
to know what is a string, what a comment and what neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a token is."""

    gap = "white space, or a comment"
    word = "keyword or identifier"
    quoted = "quoted identifier"
    string = "string literal"
    number = "numeric literal"
    parameter = "$1"
    placeholder = ":name, %(name)s, %s or ?"
    symbol = "operator or punctuation"


@dataclass(frozen=True)
class Token:
    """A piece of a statement.

    Attributes:
        kind: what it is.
        text: as it is written.
    """

    kind: Kind
    text: str

    @property
    def name(self) -> str:
        """The name that an identifier means: without quotes, or folded to lower case."""
        if self.kind is Kind.quoted:
            return self.text[1:-1].replace('""', '"')
        return self.text.lower()


_TOKEN = re.compile(
    r"""
    (?P<gap>\s+|--[^\n]*)
  | (?P<string>
        [eE]'(?:[^'\\]|\\.|'')*'                       # E'it\'s'
      | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*'
      | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$    # $tag$...$tag$
    )
  | (?P<quoted>(?:[uU]&)?"(?:[^"]|"")*")
  | (?P<parameter>\$\d+)
  | (?P<placeholder>
        %\([^)\s]+\)[sbt] | %[sbt](?!\w)
      | (?<![:\w\]]):[^\W\d]\w*(?!:)
    )
  | (?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|0[xXoObB][\da-fA-F_]+)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<symbol>::|:=|=>|\.\.|(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`]){2,}|.)
    """,
    re.X | re.S,
)

#: Words after which an operand comes: a ``?`` there is a placeholder, and an operator elsewhere.
_BEFORE_OPERAND = re.compile(
    "all|and|any|as|between|by|case|distinct|else|from|full|having|i?like|in|inner|into|is|join|"
    "key|limit|not|offset|on|or|over|returning|select|set|similar|some|then|to|using|values|when|"
    "where|with",
    re.I,
)


def tokens(sql: str) -> list[Token]:
    """Return all of ``sql`` as tokens; their texts joined are ``sql`` again."""
    return list(_tokens(sql))


def _tokens(sql: str) -> Iterator[Token]:
    at = 0
    before: Token | None = None
    while at < len(sql):
        if sql.startswith("/*", at):
            end = _comment_end(sql, at)
            yield Token(Kind.gap, sql[at:end])
            at = end
            continue
        found = _TOKEN.match(sql, at)
        assert found is not None and found.lastgroup is not None
        name = "string" if found["string"] is not None else found.lastgroup
        token = Token(Kind[name], found[0])
        if token.text == "?" and _wants_operand(before):
            token = Token(Kind.placeholder, "?")
        if token.kind is not Kind.gap:
            before = token
        yield token
        at = found.end()


def _comment_end(sql: str, start: int) -> int:
    """Return where a comment ends; they nest."""
    depth = 0
    for found in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(sql)


def _wants_operand(before: Token | None) -> bool:
    if before is None:
        return False
    if before.kind is Kind.symbol:
        return before.text not in (")", "]")
    return before.kind is Kind.word and _BEFORE_OPERAND.fullmatch(before.text) is not None


#: How ``pg_stat_statements`` writes that a list goes on.
_MORE = "/*, ... */"


def split(sql: str) -> list[list[Token]]:
    """Return the statements of a script: what semicolons part, without gaps at either end."""
    statements: list[list[Token]] = [[]]
    for token in tokens(sql):
        if token == Token(Kind.symbol, ";"):
            statements.append([])
        elif token.kind is not Kind.gap or statements[-1]:
            statements[-1].append(token)
    return [tidy for statement in statements if (tidy := without_comments(statement))]


def without_comments(statement: Sequence[Token]) -> list[Token]:
    """Return a statement with a single space for every gap, and none at either end."""
    tidy: list[Token] = []
    for token in statement:
        if token.kind is not Kind.gap:
            tidy.append(token)
        elif token.text == _MORE and tidy:
            # ``in ($1 /*, ... */)``: so pg_stat_statements shortens a list from PostgreSQL 18 on.
            last = next(one for one in reversed(tidy) if one.kind is not Kind.gap)
            tidy += [Token(Kind.symbol, ","), Token(Kind.gap, " "), last]
        elif tidy and tidy[-1].kind is not Kind.gap:
            tidy.append(Token(Kind.gap, " "))
    while tidy and tidy[-1].kind is Kind.gap:
        tidy.pop()
    return tidy


def text(statement: Sequence[Token]) -> str:
    """Return the text of tokens."""
    return "".join(token.text for token in statement)


def words(statement: Sequence[Token]) -> list[Token]:
    """Return the tokens that are not gaps."""
    return [token for token in statement if token.kind is not Kind.gap]
