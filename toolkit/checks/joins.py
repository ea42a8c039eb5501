"""``check joins``: every declared query on every layout, compared with the source and timed.

Three things are asked of each query, in this order: does a layout return the same rows as the
source; what does it touch on the way; and how long does it take, layout after layout in turns, so
that whatever disturbs the machine disturbs all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from toolkit.checks.asking import (
    Asker,
    Columns,
    QueryFailed,
    Question,
    SqlAsker,
    check_declaration,
)
from toolkit.checks.comparison import Answer, Difference
from toolkit.checks.joins_report import Exceeded, JoinsReport, LayoutResult, QueryResult, Settings
from toolkit.checks.parameters import Parameters, draw
from toolkit.checks.plans import touched
from toolkit.config import QuerySection
from toolkit.errors import SAMPLES, UsageError
from toolkit.findings import Code, Finding
from toolkit.layout import Layout

#: How many rows of parameters are drawn for each query.
DRAWN = 20
#: Runs that are not counted: drivers and servers prepare a statement after a few of them.
_WARM_UP = 12
#: Runs that are measured however long they take.
_LEAST_RUNS = 5

_FIGURES: tuple[Literal["p50", "p95", "p99"], ...] = ("p50", "p95", "p99")


def check(
    queries: Sequence[QuerySection],
    source: SqlAsker,
    layouts: Sequence[Asker],
    decisions: Layout,
    settings: Settings,
    progress: Callable[[str], None] = lambda _: None,
) -> JoinsReport:
    """Ask every query of the source and of every layout.

    Args:
        queries: the declarations.
        source: the single-region source.
        layouts: open for questions.
        decisions: of the layouts.
        settings: how thoroughly.
        progress: gets a line for each query.

    Raises:
        UsageError: a declaration is wrong.
        ConnectionFailed: a server has gone.
    """
    report = JoinsReport(settings)
    for query in queries:
        progress(query.name)
        report.queries.append(_Check(query, source, layouts, decisions, report).run())
    return report


@dataclass
class _Asked:
    """One layout while a query is asked of it."""

    asker: Asker
    question: Question
    result: LayoutResult


class _Check:
    """One query on every layout."""

    def __init__(
        self,
        query: QuerySection,
        source: SqlAsker,
        layouts: Sequence[Asker],
        decisions: Layout,
        report: JoinsReport,
    ) -> None:
        self._query = query
        self._source = source
        self._layouts = layouts
        self._codes = decisions.topology.codes
        self._report = report
        self._parameters = self._draw()
        check_declaration(query, self._parameters, decisions)

    def run(self) -> QueryResult:
        """Ask; findings go to the report."""
        found = QueryResult(self._query, self._parameters)
        asked: list[_Asked] = []
        expected: list[Answer] = []
        askers: list[Asker] = [self._source, *self._layouts]
        for asker in askers:
            result = LayoutResult(asker.layout)
            found.layouts.append(result)
            question = asker.question(self._query, self._parameters)
            if not self._parameters.rows:
                result.skipped = "`draw` returns no row"
            elif question is None:
                result.skipped = f"not declared for {asker.layout}"
            elif asker is not self._source and not expected:
                result.skipped = "it does not run on the source"
            else:
                one = _Asked(asker, question, result)
                try:
                    if asker is self._source:
                        expected = self._answers(one)
                    else:
                        self._compare(one, expected)
                    self._explain(one)
                except QueryFailed as error:
                    self._fails(one, error)
                else:
                    asked.append(one)
        self._time(asked)
        for one in asked:
            if one.result.difference is not None:
                self._judge(one)
        return found

    def _draw(self) -> Parameters:
        seed = self._report.settings.seed
        try:
            return draw(self._source.connection, self._query.draw, count=DRAWN, seed=seed)
        except UsageError as error:
            raise UsageError(
                f"query {self._query.name!r}: {error.message}",
                details=error.details,
                hint=error.hint,
            ) from None

    def _fails(self, one: _Asked, error: QueryFailed) -> None:
        one.result.error = str(error)
        self._find(Code.query_fails, one, detail=str(error))

    def _find(
        self, code: Code, one: _Asked, *, count: int = 1, keys: Sequence[str] = (), detail: str = ""
    ) -> None:
        self._report.findings.append(
            Finding(
                code,
                one.asker.server,
                self._query.name,
                count=count,
                keys=tuple(keys[:SAMPLES]),
                detail=detail,
            )
        )

    # The same rows? --------------------------------------------------------------------------

    def _answers(self, one: _Asked, columns: Columns | None = None) -> list[Answer]:
        found = [one.question.answer(row, columns) for row in self._parameters.rows]
        one.result.rows = sum(answer.rows.total() for answer in found)
        return found

    def _compare(self, one: _Asked, expected: Sequence[Answer]) -> None:
        found = self._answers(one, expected[0].columns)
        difference = one.result.difference = Difference()
        for row, source, other in zip(self._parameters.rows, expected, found, strict=True):
            difference.add(source, other, row)

    # What is touched? ------------------------------------------------------------------------

    def _explain(self, one: _Asked) -> None:
        """Explain a lookup for every row of parameters, any other query once: it may be long."""
        rows = self._parameters.rows
        result = one.result
        for row in rows if self._query.lookup else rows[:1]:
            trace = one.question.explain(row)
            found = touched(trace, one.asker.parts, self._codes)
            if result.plan is None or len(found.regions) > len(result.regions):
                result.plan = trace.plan
            result.touched.append(found)
            for scan in trace.scans:
                known = result.scans.get(scan.relation)
                if known is None or scan.rows > known.rows:
                    result.scans[scan.relation] = scan

    # How long? -------------------------------------------------------------------------------

    def _time(self, asked: list[_Asked]) -> None:
        rows, settings = self._parameters.rows, self._report.settings
        begun = time.monotonic()

        def late(share: float) -> bool:
            return time.monotonic() - begun > settings.seconds * share

        for number in range(min(_WARM_UP, settings.runs)):
            if number and late(0.25):
                break
            self._round(asked, number, measured=False)
        begun = time.monotonic()
        for number in range(settings.runs):
            if number >= min(_LEAST_RUNS, settings.runs) and late(1):
                break
            # Each layout goes first in its turn.
            turn = number % max(1, len(asked))
            self._round([*asked[turn:], *asked[:turn]], number % len(rows), measured=True)

    def _round(self, asked: Sequence[_Asked], number: int, *, measured: bool) -> None:
        row = self._parameters.rows[number % len(self._parameters.rows)]
        for one in asked:
            if one.result.error:
                continue
            begun = time.perf_counter()
            try:
                one.question.run(row)
            except QueryFailed as error:
                self._fails(one, error)
                continue
            if measured:
                one.result.times.add(time.perf_counter() - begun)

    # What is wrong? --------------------------------------------------------------------------

    def _judge(self, one: _Asked) -> None:
        result, query = one.result, self._query
        difference = result.difference
        if difference is not None and not difference.equal:
            self._find(
                Code.rows_differ,
                one,
                count=difference.count,
                keys=difference.samples,
                detail=difference.words,
            )
        if result.error:
            return
        if query.lookup:
            self._judge_lookup(one)
        for figure in _FIGURES:
            threshold = query.threshold.get(figure)
            measured = getattr(result.times, figure)
            if threshold is not None and measured > threshold:
                self._report.exceeded.append(
                    Exceeded(query.name, result.layout, figure, measured, threshold)
                )

    def _judge_lookup(self, one: _Asked) -> None:
        result = one.result
        wide = [found for found in result.touched if len(found.regions) > 1]
        if wide:
            self._find(
                Code.touches_regions,
                one,
                detail=f"{len(wide)} of {len(result.touched)} lookups of one client touch "
                f"{', '.join(result.regions)}",
            )
        slow = [str(scan) for scan in result.scans.values() if one.asker.wants_index(scan)]
        if slow:
            self._find(Code.scan_without_index, one, count=len(slow), keys=sorted(slow))
