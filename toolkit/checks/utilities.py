"""What becomes of statements that PostgreSQL cannot plan: COPY, TRUNCATE, LOCK, DDL. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from toolkit.checks import lexer
from toolkit.checks.application_report import Code, Form, Problem
from toolkit.checks.lexer import Kind, Token
from toolkit.checks.mending import source_columns
from toolkit.checks.parsed import quoted
from toolkit.layout import Layout, Scope
from toolkit.placement import owner_columns

#: Statements that change what the catalogue says of a table.
_DDL = ("create", "alter", "drop")


@dataclass(frozen=True)
class Utility:
    """What was found out of a statement.

    Attributes:
        problems: what is not as it was.
        forms: what works instead.
        tables: keys of the tables of the layout that it names.
    """

    problems: tuple[Problem, ...] = ()
    forms: tuple[Form, ...] = ()
    tables: tuple[str, ...] = ()


def examine(text: str, layout: Layout) -> Utility:
    """Return what becomes of a statement, under the names of the layout."""
    words = lexer.words(lexer.tokens(text))
    first = words[0].name if words else ""
    if first == "set" and len(words) > 2 and words[1].name == "constraints":
        return _constraints(words)
    tables = tuple(_tables(words, layout))
    if not tables:
        return Utility()
    if first == "copy":
        return _copy(words, text, layout, tables)
    if first == "truncate":
        return _truncate(words, layout, tables)
    if first == "lock":
        problems = [
            Problem(
                Code.locks_every_region,
                key,
                f"locks {key} and its {len(layout.topology.codes)} partitions, one by one",
            )
            for key in tables
            if key in layout.regional
        ]
        return Utility(tuple(problems), (), tables)
    if first in _DDL:
        return Utility(tuple(_ddl(words, layout, tables)), (), tables)
    return Utility(tables=tables)


def _tables(words: Sequence[Token], layout: Layout) -> Iterator[str]:
    """Yield the keys of the tables of the layout that a statement names, each once."""
    keys = {layout.name(key): key for key in (*layout.regional, *layout.shared)}
    parts = {part: key for key, one in layout.regional.items() for part in one.parts.values()}
    copy = words[0].name == "copy"
    seen: set[str] = set()
    depth = 0
    for at, token in enumerate(words):
        depth += (token.text == "(") - (token.text == ")")
        if depth or token.kind not in (Kind.word, Kind.quoted):
            continue
        if at + 1 < len(words) and words[at + 1].text == ".":
            continue  # The schema.
        key = keys.get(token.name) or parts.get(token.name)
        if key is not None and key not in seen:
            seen.add(key)
            yield key
            if copy:
                return


def _constraints(words: Sequence[Token]) -> Utility:
    if words[2].name != "all" or words[-1].name != "deferred":
        return Utility()
    return Utility(
        (
            Problem(
                Code.defers_more,
                "",
                "every foreign key between regional tables is deferrable now: what it refuses is "
                "found at the commit only",
            ),
        )
    )


def _copy(words: Sequence[Token], text: str, layout: Layout, tables: tuple[str, ...]) -> Utility:
    key = tables[0]
    direction = next((word.name for word in words if word.name in ("from", "to")), "")
    if key not in layout.regional or not direction:
        return Utility(tables=tables)
    listed = _listed(words)
    relation, tail = _around(text, direction)
    columns = listed or source_columns(layout.table(key))
    names = ", ".join(map(quoted, columns))
    if direction == "to":
        problem = Problem(
            Code.copy_from_parent,
            key,
            f"{key} is partitioned now, and COPY reads no partitioned table (42809)",
        )
        return Utility(
            (problem,), (Form(f"COPY (SELECT {names} FROM {relation}) TO{tail}"),), tables
        )
    missing = [
        name
        for name in (
            *(column.name for column in owner_columns(layout.table(key))),
            layout.region_column,
            *layout.regional[key].reference_columns.values(),
        )
        if name not in (listed or ())
    ]
    if layout.region_column not in missing:
        return Utility(tables=tables)
    problem = Problem(
        Code.copy_without_region,
        key,
        f"copies into {key} without {', '.join(missing)}: no partition would be found for the rows "
        "(23514)",
    )
    form = Form(
        f"COPY {relation} ({names}, {', '.join(map(quoted, missing))}) FROM{tail}",
        note=f"the data have these columns too: {', '.join(missing)}",
    )
    return Utility((problem,), (form,), tables)


def _listed(words: Sequence[Token]) -> list[str] | None:
    """Return the columns in parentheses after the table."""
    for at, word in enumerate(words):
        if word.name in ("from", "to"):
            return None
        if word.text == "(":
            end = next((i for i in range(at, len(words)) if words[i].text == ")"), len(words))
            return [one.name for one in words[at + 1 : end] if one.text != ","]
    return None


def _around(text: str, direction: str) -> tuple[str, str]:
    """Return the table of a COPY as it is written, and what stands after FROM or TO."""
    found = lexer.tokens(text)
    at = next(
        i for i, token in enumerate(found) if token.kind is Kind.word and token.name == direction
    )
    words = [token.text for token in lexer.words(found[:at])][1:]
    end = words.index("(") if "(" in words else len(words)
    return "".join(words[:end]), lexer.text(found[at + 1 :])


def _truncate(words: Sequence[Token], layout: Layout, tables: tuple[str, ...]) -> Utility:
    problems, more = [], []
    for key in tables:
        if key not in layout.regional:
            continue
        kept = [
            unique.key_table
            for unique in layout.regional[key].uniques
            if unique.scope is Scope.key_table and unique.key_table is not None
        ]
        if key == layout.placement.root:
            kept.append(layout.link)
        if kept:
            problem = Problem(
                Code.truncates,
                key,
                f"empties {key} and leaves {', '.join(kept)}: the same keys cannot be inserted "
                "again",
            )
            problems.append(problem)
            more += kept
    if not problems:
        return Utility(tables=tables)
    listed = [word for word in words[1:] if word.name != "table"]
    at = next(
        (i for i, word in enumerate(listed) if word.name in ("restart", "continue", "cascade")),
        len(listed),
    )
    named = "".join(word.text if word.text != "," else ", " for word in listed[:at])
    tail = " ".join(word.text for word in listed[at:])
    form = f"TRUNCATE {named}, {', '.join(map(quoted, more))} {tail}".rstrip()
    return Utility(tuple(problems), (Form(form),), tables)


def _ddl(words: Sequence[Token], layout: Layout, tables: tuple[str, ...]) -> Iterator[Problem]:
    names = [word.name for word in words]
    key = tables[0]
    if names[0] == "create" and "on" not in names:
        return  # It reads the table.
    if names[0] == "create" and "index" in names[:3] and key in layout.regional:
        if "concurrently" in names:
            yield Problem(
                Code.ddl_fails,
                key,
                f"{key} is partitioned: no index on it is made concurrently (0A000)",
            )
            return
        if names[1] == "unique" and layout.region_column not in names:
            yield Problem(
                Code.ddl_fails,
                key,
                f"a unique index of {key} has to contain {layout.region_column} (0A000)",
            )
            return
    yield Problem(
        Code.ddl,
        key,
        f"changes {key} behind the migrations: change the single-region schema, then run "
        "'regionkit generate'",
    )
