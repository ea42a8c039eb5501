"""Whether an application's statements run on the layout ``tables`` as they are.

Three ask, and none is believed alone. The server prepares each statement, on the source and on the
layout: what only the layout refuses would fail, and what returns other columns there has changed.
Its generic plan tells which partitions are read. What fails only when it is run, such as an insert
without a region, is read off the statement's tree. Nothing is ever executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from toolkit.checks import utilities
from toolkit.checks.application_report import (
    ApplicationReport,
    Code,
    Form,
    Judged,
    Problem,
)
from toolkit.checks.judge import UNKNOWN_NAMES, Judge, Touch, Verdict
from toolkit.checks.lexer import tokens
from toolkit.checks.parsed import Reading, parse, render
from toolkit.checks.renaming import Names, Renamed
from toolkit.checks.rules import Rules
from toolkit.checks.statements import HIDDEN, Statement, spaced, without_values
from toolkit.layout import Layout

#: A source that cannot tell: a replica locks nothing for a write.
_NO_ANSWER = ("25006",)

#: SQLSTATE of a privilege that this role lacks.
_NOT_ALLOWED = "42501"

_PARAMETER = re.compile(r"\$(\d+)")

_CODES = {"42P10": Code.conflict_target} | dict.fromkeys(UNKNOWN_NAMES, Code.left_behind)


@dataclass(frozen=True)
class Bench:
    """Who judges.

    Attributes:
        layout: the decisions.
        schema: in which the layout lives.
        names: what the source's tables are called there.
        source: judges on the single-region schema.
        target: judges on the layout.
        wider: judges on the layout with the source's schemas behind it, where these hold
            extensions.
        extensions: names of the functions, types and operators of those extensions.
    """

    layout: Layout
    schema: str
    names: Names
    source: Judge
    target: Judge
    wider: Judge | None = None
    extensions: frozenset[str] = frozenset()

    def verdict(self, statement: str) -> Verdict:
        """Return what the server says of a statement on the layout.

        An extension stays in the schema in which it is; nothing else there counts.
        """
        found = self.target.judge(statement)
        if found.sqlstate not in UNKNOWN_NAMES or self.wider is None:
            return found
        if self.extensions.isdisjoint(token.name for token in tokens(statement)):
            return found
        again = self.wider.judge(statement)
        here = all(touch.schema == self.schema for touch in again.touched)
        return again if again.accepted and here else found


def check(
    statements: Sequence[Statement], bench: Bench, progress: Callable[[str], None]
) -> ApplicationReport:
    """Judge every statement.

    Args:
        statements: of the application.
        bench: who judges.
        progress: called now and then with how far it is.

    Raises:
        ConnectionFailed: a server is gone.
    """
    judged, passed, hidden = [], 0, 0
    for number, statement in enumerate(statements, start=1):
        if statement.text == HIDDEN:
            hidden += 1
            continue
        found = (_judge if statement.explained else _utility)(statement, bench)
        if found is None:
            passed += 1
        else:
            judged.append(found)
        if number % 100 == 0:
            progress(f"{number} of {len(statements)} statements")
    return ApplicationReport(judged, passed, hidden)


def _utility(statement: Statement, bench: Bench) -> Judged | None:
    """Judge what cannot be planned; ``None`` where it is about no table of the layout."""
    given = statement.original or statement.text
    renamed = bench.names.rename(given, None)
    found = utilities.examine(renamed.text, bench.layout)
    if not found.problems and not renamed.tables:
        return None
    regional = any(key in bench.layout.regional for key in found.tables)
    return Judged(
        statement.id,
        statement.text,
        statement.calls,
        (*_called_otherwise(renamed.tables), *found.problems),
        found.forms,
        regional=regional,
    )


@dataclass(frozen=True)
class _Asked:
    """A statement in one spelling, and what the servers say of it.

    Attributes:
        text: of the statement, for the source.
        tree: of the same text; ``None`` where it could not be parsed.
        renamed: for the layout.
        before: what the source says.
        after: what the layout says.
    """

    text: str
    tree: exp.Expr | None
    renamed: Renamed
    before: Verdict
    after: Verdict

    @property
    def accepted(self) -> bool:
        return self.before.accepted or self.after.accepted


def _ask(text: str, bench: Bench) -> _Asked:
    text = spaced(text)
    tree = parse(text)
    renamed = bench.names.rename(text, tree)
    if tree is not None and renamed.text != text:
        tree = parse(renamed.text)
    return _Asked(text, tree, renamed, bench.source.judge(text), bench.verdict(renamed.text))


def _judge(statement: Statement, bench: Bench) -> Judged:
    asked = _ask(statement.text, bench)
    values = False
    if statement.original is not None and not asked.accepted:
        # A value of it cannot be a parameter.
        again = _ask(statement.original, bench)
        if again.accepted:
            asked, values = again, True
    before, after, tree = asked.before, asked.after, asked.tree
    problems = [*_called_otherwise(asked.renamed.tables), *_refusals(before, after)]
    unknown = ""
    if _NOT_ALLOWED in (before.sqlstate, after.sqlstate):
        refusal = after if after.sqlstate == _NOT_ALLOWED else before
        unknown, problems = f"this role may not plan it: {refusal.message}", problems[:0]
    elif not asked.accepted and before.sqlstate not in _NO_ANSWER:
        unknown = f"the source refuses it too: {before.message} ({before.sqlstate})"
    everywhere = _everywhere(after.touched, bench)
    parts = _parts(bench)
    touches = any(touch.name in parts for touch in after.touched)
    forms: list[Form] = []
    if unknown:
        pass
    elif tree is None:
        unknown = "it could not be parsed: only what the server says of it is known"
        problems += _unparsed(everywhere)
    else:
        reading = Reading(tree, bench.layout, bench.schema)
        touches = touches or any(use.regional for use in reading.uses)
        rules = Rules(reading, _highest(asked.renamed.text), everywhere)
        given = render(tree)
        rules.apply()
        if after.accepted and before.accepted and before.columns != after.columns:
            rules.more_columns(
                [name for name, _ in before.columns], [name for name, _ in after.columns]
            )
        own = {problem.code for problem in rules.problems}
        problems = [one for one in problems if one.code not in own] + rules.problems
        problems += _through_views(everywhere, reading, rules)
        for form in _forms(problems, rules, bench):
            if form.statement != given or asked.renamed.tables:
                shown = without_values(form.statement) if values else form.statement
                forms.append(replace(form, statement=shown))
    return Judged(
        statement.id,
        statement.text,
        statement.calls,
        tuple(problems),
        tuple(forms),
        unknown,
        touches,
    )


def _called_otherwise(tables: dict[str, str]) -> list[Problem]:
    return [
        Problem(Code.called_otherwise, key, f"{key} is called {name} in the layout")
        for key, name in tables.items()
    ]


def _refusals(before: Verdict, after: Verdict) -> list[Problem]:
    if after.accepted or not (before.accepted or before.sqlstate in _NO_ANSWER):
        return []
    code = _CODES.get(after.sqlstate, Code.refused)
    return [Problem(code, "", f"the layout refuses it: {after.message} ({after.sqlstate})")]


def _parts(bench: Bench) -> dict[str, str]:
    return {
        part: key for key, table in bench.layout.regional.items() for part in table.parts.values()
    }


def _everywhere(touched: Iterable[Touch], bench: Bench) -> set[str]:
    """Return the keys of the tables of which more partitions are read than one."""
    parts = _parts(bench)
    seen: dict[str, set[str]] = {}
    for touch in touched:
        if touch.schema == bench.schema and touch.name in parts:
            seen.setdefault(parts[touch.name], set()).add(touch.name)
    return {key for key, names in seen.items() if len(names) > 1}


def _unparsed(everywhere: Iterable[str]) -> list[Problem]:
    return [
        Problem(Code.every_region, key, f"asks every region for the rows of {key}")
        for key in sorted(everywhere)
    ]


def _through_views(everywhere: set[str], reading: Reading, rules: Rules) -> list[Problem]:
    """Return the tables of which every region is asked by way of a view or a function."""
    if rules.problems or not re.search(r"=\s*(\$|ANY)", render(reading.tree)):
        return []
    hidden = everywhere - {use.key for use in reading.uses}
    return [
        Problem(
            Code.every_region,
            key,
            f"asks every region for the rows of {key}, through a view: give the view the region "
            "as a column, and name it",
        )
        for key in sorted(hidden)
    ]


def _forms(problems: Sequence[Problem], rules: Rules, bench: Bench) -> list[Form]:
    """Return the mended statement, if there is something to mend and the server accepts it."""
    if not problems:
        return []
    form = rules.instead
    if form is None:
        if not rules.mended:
            return []
        form = Form(*rules.mender.form())
    return [form] if bench.verdict(form.statement).accepted else []


def _highest(text: str) -> int:
    return max((int(found) for found in _PARAMETER.findall(text)), default=0)
