"""Lets views go on grouping by a key that has got a region. Pure.

A query that groups by a primary key may select every column of its row. With the region in the key
it has to group by both. The groups stay the same: a key has one region.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit import sqltext
from toolkit.sqltext import Kind, Name, Token

_BEFORE_RELATION = ("FROM", "JOIN", "ONLY")
_END = (
    *("HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "UNION", "INTERSECT", "EXCEPT", "WINDOW"),
    *("FOR", "WITH"),
)


@dataclass
class _Query:
    """One SELECT: the tables that it reads from, by the names that its columns are behind."""

    relations: dict[str, Name] = field(default_factory=dict)


def with_region(text: str, keys: Mapping[Name, Sequence[str]], region: str) -> str:
    """Return a query that groups by the region wherever it groups by the key of a regional table.

    Args:
        text: the query, its tables qualified, as the target has them.
        keys: the logical primary key of each regional table, by its schema and name.
        region: the region column.
    """
    if "GROUP" not in text.upper():
        return text
    found = list(sqltext.tokens(text))
    inserted: dict[int, str] = {}
    levels = [_Query()]
    for position, token in enumerate(found):
        if token.text == "(":
            following = _next(found, position)
            fresh = following is not None and following.means("SELECT", "WITH", "VALUES")
            levels.append(_Query() if fresh else levels[-1])
        elif token.text == ")" and len(levels) > 1:
            levels.pop()
        elif token.means("UNION", "INTERSECT", "EXCEPT"):
            levels[-1] = _Query()
        elif token.is_name:
            _note(found, position, levels[-1])
            if token.means("GROUP"):
                end, items = _items(found, position)
                for item in _regions(items, levels[-1], keys, region):
                    inserted[end] = inserted.get(end, "") + f", {item}"
    return "".join(token.text + inserted.get(position, "") for position, token in enumerate(found))


def _counts(token: Token) -> bool:
    return token.kind not in (Kind.space, Kind.comment)


def _next(found: Sequence[Token], position: int) -> Token | None:
    return next((token for token in found[position + 1 :] if _counts(token)), None)


def _note(found: Sequence[Token], position: int, query: _Query) -> None:
    """Note a table that a query reads from."""
    dotted = found[position : position + 3]
    if len(dotted) < 3 or dotted[1].text != "." or not dotted[2].is_name:
        return
    before = [token for token in found[:position] if _counts(token)][-2:]
    if not before or not (before[-1].means(*_BEFORE_RELATION) or before[-1].text in ("(", ",")):
        return
    name = (dotted[0].name, dotted[2].name)
    after = [token for token in found[position + 3 :] if _counts(token)][:2]
    if after and after[0].means("AS"):
        after = after[1:]
    given = after and after[0].is_name and not sqltext.is_keyword_after_relation(after[0])
    query.relations[after[0].name if given else name[1]] = name


def _items(found: Sequence[Token], position: int) -> tuple[int, list[list[Token]]]:
    """Return where the list behind GROUP BY ends, and its items without spaces."""
    items: list[list[Token]] = [[]]
    depth, end = 0, position
    by = next((at for at in range(position + 1, len(found)) if found[at].means("BY")), len(found))
    for at in range(by + 1, len(found)):
        token = found[at]
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if depth < 0 or token.text == ";" or (depth == 0 and token.means(*_END)):
            break
        if depth == 0 and token.text == ",":
            items.append([])
        elif _counts(token):
            items[-1].append(token)
            end = at
    return end, items


def _regions(
    items: Sequence[Sequence[Token]],
    query: _Query,
    keys: Mapping[Name, Sequence[str]],
    region: str,
) -> list[str]:
    """Return the region columns to group by, each behind the same name as the key is."""
    columns: dict[str | None, set[str]] = {}
    spelled: dict[str | None, str] = {}
    for item in items:
        if len(item) == 1 and item[0].is_name:
            columns.setdefault(None, set()).add(item[0].name)
            spelled[None] = ""
        elif len(item) == 3 and item[0].is_name and item[1].text == "." and item[2].is_name:
            columns.setdefault(item[0].name, set()).add(item[2].name)
            spelled[item[0].name] = f"{item[0].text}."
    found = []
    for alias, name in query.relations.items():
        key = keys.get(name)
        # A column stands for itself where there is one table only.
        behind = alias if alias in columns or len(query.relations) > 1 else None
        grouped = columns.get(behind, set())
        if key and set(key) <= grouped and region not in grouped:
            found.append(spelled[behind] + sqltext.quoted(region))
    return found
