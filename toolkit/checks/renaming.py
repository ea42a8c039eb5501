"""The names that a statement has to say once its tables are in the layout's schema. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlglot import exp

from toolkit.checks import lexer
from toolkit.checks.lexer import Kind, Token
from toolkit.checks.parsed import named, quoted
from toolkit.layout import Layout


@dataclass(frozen=True)
class Renamed:
    """A statement under the names of the layout.

    Attributes:
        text: of the statement.
        tables: key of each table that is called otherwise there, and its name.
    """

    text: str
    tables: dict[str, str]


class Names:
    """What the source's tables are called in the layout.

    Args:
        layout: the decisions.
        schemas: of the source as statements name them, the default one first.
        target: the schema in which the layout lives now.
    """

    def __init__(self, layout: Layout, schemas: Iterable[str], target: str) -> None:
        default, *further = schemas
        self._layout = layout
        self._target = target
        self._default = default
        self._further = frozenset(further)
        self._keys: dict[tuple[str, str], str] = {}
        self._alone: dict[str, str] = {}
        own = set()
        for key in (*layout.regional, *layout.shared):
            table = layout.table(key)
            schema = table.schema or default
            self._keys[schema, table.name] = key
            if schema == default:
                own.add(table.name)
            elif table.name in self._alone:
                own.add(table.name)  # Two further schemas have it: which one is meant is not clear.
            else:
                self._alone[table.name] = key
        for name in own:
            self._alone.pop(name, None)

    def rename(self, text: str, tree: exp.Expr | None) -> Renamed:
        """Return a statement under the names of the layout.

        The default schema becomes the layout's, which takes its name at the cutover. A table of a
        further schema gets its new name, and keeps the old one as an alias.

        Args:
            text: of the statement.
            tree: of the same text, where it could be parsed.
        """
        named_here = _aliases(tree)
        bare = _tables_without_alias(tree)
        tokens = lexer.tokens(text)
        starts = _starts(tokens)
        found: list[str] = []
        renamed: dict[str, str] = {}
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token.kind not in (Kind.word, Kind.quoted) or _after_dot(tokens, at):
                found.append(token.text)
                at += 1
                continue
            name = token.name
            follows = at + 2 < len(tokens) and tokens[at + 1].text == "."
            if follows and self._is_schema(name) and name not in named_here:
                table = tokens[at + 2].name
                key = self._keys.get((name, table))
                if key is None or name == self._default:
                    found.append(f"{quoted(self._target)}.{tokens[at + 2].text}")
                else:
                    renamed[key] = self._layout.name(key)
                    found.append(f"{quoted(self._target)}.{quoted(renamed[key])}")
                    if starts[at + 2] in bare:
                        found.append(f" AS {quoted(table)}")
                at += 3
            elif starts[at] in bare and name in self._alone:
                key = self._alone[name]
                renamed[key] = self._layout.name(key)
                found.append(f"{quoted(renamed[key])} AS {quoted(name)}")
                at += 1
            else:
                found.append(token.text)
                at += 1
        return Renamed("".join(found), renamed)

    def _is_schema(self, name: str) -> bool:
        return name == self._default or name in self._further


def _after_dot(tokens: list[Token], at: int) -> bool:
    return at > 0 and tokens[at - 1].text == "."


def _starts(tokens: list[Token]) -> list[int]:
    starts, at = [], 0
    for token in tokens:
        starts.append(at)
        at += len(token.text)
    return starts


def _aliases(tree: exp.Expr | None) -> set[str]:
    if tree is None:
        return set()
    return {named(alias.this) for alias in tree.find_all(exp.TableAlias) if alias.this is not None}


def _tables_without_alias(tree: exp.Expr | None) -> set[int]:
    """Return where the names of tables begin that the statement gives no other name."""
    if tree is None:
        return set()
    ctes = {named(cte.args["alias"].this) for cte in tree.find_all(exp.CTE)}
    return {
        int(table.this.meta["start"])
        for table in tree.find_all(exp.Table)
        if table.args.get("alias") is None
        and isinstance(table.this, exp.Identifier)
        and "start" in table.this.meta
        and table.find_ancestor(exp.Lock) is None
        and not (table.args.get("db") is None and named(table.this) in ctes)
    }
