"""SQL as text: taken apart into tokens, and its qualified names replaced. Pure.

Definitions come from PostgreSQL with every name qualified. What is replaced is therefore
``schema.name``, object by object: in SQL, in the bodies of functions, and in those strings that
hold names or SQL: ``nextval('shop.seq'::regclass)``, ``EXECUTE 'TRUNCATE shop.entry'`` in a body.
Values and comments stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, auto

#: A schema, and the name of something in it.
Name = tuple[str, str]


class Kind(Enum):
    """What a token is."""

    space = auto()
    comment = auto()
    string = auto()
    #: A string in dollar quotes: most of the time a body.
    body = auto()
    word = auto()
    quoted = auto()
    number = auto()
    symbol = auto()


@dataclass(frozen=True)
class Token:
    """A piece of SQL; all of them joined are the text again."""

    kind: Kind
    text: str

    @property
    def is_name(self) -> bool:
        """Whether it can be (a part of) a name."""
        return self.kind in (Kind.word, Kind.quoted)

    @property
    def name(self) -> str:
        """The name that it stands for, folded as PostgreSQL folds it."""
        return unquoted(self.text)

    def means(self, *words: str) -> bool:
        """Return whether it is one of these key words, given in capitals."""
        return self.kind is Kind.word and self.text.upper() in words


_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>--[^\n]*|/\*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|(?:[bBxXnN]|[uU]&)?'(?:[^']|'')*')
    |(?P<body>\$(?P<tag>(?:[^\W\d]\w*)?)\$)
    |(?P<quoted>(?:[uU]&)?"(?:[^"]|"")+")
    |(?P<word>[^\W\d][\w$]*)
    |(?P<number>\$?\d[\w.]*|\$\w+)
    |(?P<symbol>::|:=|.)""",
    re.X | re.S,
)


def tokens(text: str) -> Iterator[Token]:
    """Take SQL apart. What is not closed (a comment, a body) reaches to the end, or is a symbol."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None and match.lastgroup is not None
        kind, end = Kind[match.lastgroup if match.lastgroup != "tag" else "body"], match.end()
        if match["comment"] == "/*":
            end = _comment_end(text, position)
        elif kind is Kind.body:
            closing = text.find(match.group(), end)
            kind, end = (
                (Kind.body, closing + len(match.group()))
                if closing >= 0
                else (Kind.symbol, position + 1)
            )
        yield Token(kind, text[position:end])
        position = end


def _comment_end(text: str, start: int) -> int:
    """Return where a comment ends; one may stand within another."""
    depth = 0
    for match in re.compile(r"/\*|\*/").finditer(text, start):
        depth += 1 if match.group() == "/*" else -1
        if depth == 0:
            return match.end()
    return len(text)


def quoted(*names: str) -> str:
    """Return a dotted name in double quotes."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*", re.ASCII)


def spelled(*names: str) -> str:
    """Return a dotted name, in double quotes only where it could not be read back without."""
    return ".".join(name if _PLAIN.fullmatch(name) else quoted(name) for name in names)


def unquoted(text: str) -> str:
    """Return the name that an identifier stands for."""
    if text.endswith('"'):
        return text[text.index('"') + 1 : -1].replace('""', '"')
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def names(text: str) -> tuple[str, ...]:
    """Return the parts of a dotted name.

    Raises:
        ValueError: it is none.
    """
    found = list(tokens(text))
    parts, dots = found[::2], found[1::2]
    if not found or len(found) % 2 == 0 or not all(part.is_name for part in parts):
        raise ValueError(text)
    if any(dot.text != "." for dot in dots):
        raise ValueError(text)
    return tuple(part.name for part in parts)


def statements(text: str) -> list[str]:
    """Return the statements of a text, without semicolons; those in parentheses do not divide it.

    A body that is not in quotes (``BEGIN ATOMIC``) holds semicolons of its own: such a text is not
    to be given.
    """
    found: list[list[str]] = [[]]
    depth = 0
    for token in tokens(text):
        if token.text in ("(", ")"):
            depth += 1 if token.text == "(" else -1
        if token.text == ";" and depth == 0:
            found.append([])
        else:
            found[-1].append(token.text)
    return [statement for parts in found if (statement := "".join(parts).strip())]


#: What makes a relation of the name that follows, in a query.
_BEFORE_RELATION = ("FROM", "JOIN", "INTO", "UPDATE", "USING", "ONLY")
_QUERY = ("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "PERFORM")
#: Key words that can follow a relation which has no alias.
_AFTER_RELATION = frozenset(
    re.findall(
        r"\w+",
        """AND CROSS DEFAULT DO ELSE END EXCEPT FETCH FOR FULL GROUP HAVING INNER INTERSECT INTO
        JOIN LEFT LIMIT LOOP NATURAL OFFSET ON OR ORDER OVERRIDING RETURNING RIGHT SELECT SET
        TABLESAMPLE THEN UNION USING VALUES WHEN WHERE WINDOW WITH""",
    )
)
_TRIGGER = re.compile(r"\s*CREATE\s+(?:CONSTRAINT\s+)?TRIGGER\s", re.I)
_NOTHING = Token(Kind.space, "")
_PATH_PART = re.compile(r""""[^"]+"|'[^']+'|[\w$]+""")
_SEARCH_PATH = re.compile(
    rf"(?P<head>\bSET\s+(?:LOCAL\s+)?search_path\s*(?:=|\bTO\b)\s*)"
    rf"(?P<path>(?:{_PATH_PART.pattern})(?:\s*,\s*(?:{_PATH_PART.pattern}))*)",
    re.I,
)


@dataclass(frozen=True)
class Renames:
    """What becomes of qualified names.

    Attributes:
        objects: from the names of the source to those of the target. What is not among them keeps
            its name: it is not the source's own, but an extension's for example.
        relations: those of ``objects`` that rows can be selected from. Where one gets another name
            it keeps its old one as an alias, because columns are written behind it.
        schemas: from schemas of the source to those of the target, in search paths.
        whole: whether everything in ``schemas`` moves, and not only ``objects``.
    """

    objects: Mapping[Name, Name] = field(default_factory=dict)
    relations: AbstractSet[Name] = frozenset()
    schemas: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False

    def apply(self, text: str) -> str:
        """Return SQL that names the target's objects."""
        if not self.objects and not self.schemas:
            return text
        quoting = _TRIGGER.match(text) is not None
        return self._sql(_SEARCH_PATH.sub(self._path, text), quoting=quoting)

    def _path(self, found: re.Match[str]) -> str:
        # A function that fixes its own search path would go on working on the source.
        parts: list[str] = []
        for part in _PATH_PART.findall(found["path"]):
            name = part[1:-1] if part[0] in "'\"" else part.lower()
            target = self.schemas.get(name)
            part = part if target is None else quoted(target)
            if part not in parts:
                parts.append(part)
        return found["head"] + ", ".join(parts)

    def _target(self, schema: str, name: str) -> Name | None:
        found = self.objects.get((schema, name))
        if found is None and self.whole and schema in self.schemas:
            return self.schemas[schema], name
        return found

    def _sql(self, text: str, *, string: bool = False, quoting: bool = False) -> str:
        """Return SQL that names the target's objects.

        Args:
            text: the SQL.
            string: whether it is what stands in a string.
            quoting: whether its strings may be SQL, as in a body, or names, as for a trigger. In
                an expression they are values, but for those that are cast to ``regclass``.
        """
        found = list(tokens(text))
        parts: list[str] = []
        query = False
        position = 0
        while position < len(found):
            token = found[position]
            query = query or (token.means(*_QUERY) and not _is_event(found, position))
            if token.kind is Kind.body:
                delimiter = token.text[: token.text.index("$", 1) + 1]
                body = token.text[len(delimiter) : -len(delimiter)]
                parts.append(f"{delimiter}{self._sql(body, quoting=True)}{delimiter}")
            elif token.kind is Kind.string and (quoting or _is_name(found, position)):
                start = token.text.index("'") + 1
                inner = token.text[start:-1].replace("''", "'")
                inner = self._sql(inner, string=True, quoting=True)
                parts.append(token.text[:start] + inner.replace("'", "''") + "'")
            elif token.is_name and (end := _chain(found, position)) > position + 2:
                parts.append(self._chained(found, position, end, query=query, string=string))
                position = end
                continue
            else:
                parts.append(token.text)
            position += 1
        return "".join(parts)

    def _chained(
        self, found: Sequence[Token], start: int, end: int, *, query: bool, string: bool
    ) -> str:
        """Return a dotted name as the target has it."""
        plain = "".join(token.text for token in found[start:end])
        before = found[start - 1] if start else None
        if before is not None and (
            before.text in (".", "$") or before.kind is Kind.number or (string and _glued(before))
        ):
            return plain
        last = found[start + 2 : end] if not found[start + 2].is_name else found[start + 2 :][:1]
        name = found[start + 2].name if found[start + 2].is_name else "".join(t.text for t in last)
        old = (found[start].name, name)
        new = self._target(*old)
        if new is None:
            return plain
        spelling = "".join(token.text for token in last) if new[1] == name else quoted(new[1])
        text = f"{quoted(new[0])}.{spelling}"
        rest = "".join(token.text for token in found[start + 2 + len(last) : end])
        if query and not rest and new[1] != name and old in self.relations:
            text += self._alias(found, start, end, name)
        return text + rest

    def _alias(self, found: Sequence[Token], start: int, end: int, name: str) -> str:
        """Return the alias that a relation needs, in a query; empty where it has one."""
        before = next((one for one in reversed(found[:start]) if _counts(one)), None)
        after = next((one for one in found[end:] if _counts(one)), None)
        if before is None or not (before.means(*_BEFORE_RELATION) or before.text in (",", "(")):
            return ""
        if after is not None and (after.text == "(" and not before.means("INTO")):
            return ""
        if after is not None and after.kind is Kind.quoted:
            return ""
        if after is not None and after.kind is Kind.word:
            return f" AS {quoted(name)}" if is_keyword_after_relation(after) else ""
        return f" AS {quoted(name)}"


def is_keyword_after_relation(token: Token) -> bool:
    """Return whether a word behind a relation in a query is no alias of it."""
    return token.kind is Kind.word and token.text.upper() in _AFTER_RELATION


def _is_event(found: Sequence[Token], position: int) -> bool:
    """Return whether UPDATE, say, is what a trigger, a rule or a policy is about."""
    before = next((one for one in reversed(found[:position]) if _counts(one)), None)
    return before is not None and before.means("AFTER", "BEFORE", "OR", "OF", "ON", "FOR")


def _is_name(found: Sequence[Token], position: int) -> bool:
    """Return whether a string is cast to a type that stands for the names of objects."""
    cast, type_ = ([*found[position + 1 : position + 3], _NOTHING, _NOTHING])[:2]
    return cast.text == "::" and type_.kind is Kind.word and type_.text.lower().startswith("reg")


def _counts(token: Token) -> bool:
    return token.kind not in (Kind.space, Kind.comment)


def _glued(token: Token) -> bool:
    """Return whether what follows is a part of something longer in a string: a path, an address."""
    return token.text in ("@", "/", "\\", "-", ":")


def _chain(found: Sequence[Token], start: int) -> int:
    """Return where the dotted name ends that begins here; an operator can be its last part."""
    end = start + 1
    while end + 1 < len(found) and found[end].text == ".":
        if found[end + 1].is_name:
            end += 2
            continue
        before = [token for token in found[max(0, start - 4) : start] if _counts(token)][-2:]
        if any(token.means("OPERATOR") for token in before):
            last = end + 1
            while (
                last < len(found)
                and found[last].kind is Kind.symbol
                and found[last].text not in ("(", ")")
            ):
                last += 1
            if last > end + 1:
                return last
        break
    return end


def requalified(text: str, old: str, new: str) -> str:
    """Return SQL in which columns of one relation are qualified by another name: ``old.id``."""
    found = list(tokens(text))
    parts = [token.text for token in found]
    for position, token in enumerate(found):
        if (
            token.is_name
            and token.name == old
            and _chain(found, position) == position + 3
            and (position == 0 or found[position - 1].text != ".")
        ):
            parts[position] = quoted(new)
    return "".join(parts)


def retargeted(text: str, old: Name, new: Name) -> str:
    """Return SQL whose first mention of an object names another one."""
    found = list(tokens(text))
    for position, token in enumerate(found):
        end = _chain(found, position) if token.is_name else position
        if end < position + 3 or (position and found[position - 1].text == "."):
            continue
        if (token.name, found[position + 2].name) == old:
            rest = found[position + 3 :]
            parts = [*(one.text for one in found[:position]), quoted(*new)]
            return "".join([*parts, *(one.text for one in rest)])
    return text


def comparable(text: str) -> tuple[str, ...]:
    """Return SQL as words that are the same however it is laid out, quoted, and aliased."""
    words: list[str] = []
    in_path = False
    for token in tokens(text):
        if not _counts(token) or token.means("AS") or token.text == ";":
            continue
        if token.means("SEARCH_PATH"):
            in_path = True
        elif in_path and not (token.means("TO") or token.text in ("=", ",")):
            in_path = token.kind in (Kind.string, Kind.quoted, Kind.word)
        if token.is_name:
            words.append(f"={token.name}")
        elif token.kind is Kind.string:
            # The server writes the names in a list of schemas as strings.
            words.append(
                f"={token.text[1:-1]}" if in_path else _QUOTED_PLAIN.sub(r"\1", token.text)
            )
        else:
            words.append(token.text)
    return tuple(words)


_QUOTED_PLAIN = re.compile(r'"([a-z_][a-z0-9_$]*)"')
