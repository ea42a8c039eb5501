"""The demo's answer: what each query and each write costs on each layout, in one table."""

from __future__ import annotations

from rich.table import Table

from toolkit.checks.histogram import Distribution
from toolkit.checks.joins_report import JoinsReport
from toolkit.checks.latency import LatencyReport

_LAYOUTS = ("single", "tables", "collections")
_TITLES = {"single": "today", "tables": "tables", "collections": "collections"}


def table(joins: JoinsReport, latency: LatencyReport) -> Table:
    """Return the table: a line for each query and write, a column for each layout.

    A cell is the median and the 95th percentile in milliseconds, and how many times today's median
    that is.
    """
    answer = Table(title="What it costs: median / 95th percentile in ms (times today's median)")
    answer.add_column("")
    answer.add_column("")
    for layout in _LAYOUTS:
        durable = layout not in latency.servers or latency.servers[layout].durable
        answer.add_column(_TITLES[layout] + ("" if durable else " *"), justify="right")
    answer.add_column("same rows", justify="right")
    for query in joins.queries:
        times = {result.layout: result.times for result in query.layouts}
        same = all(
            result.difference is None or result.difference.equal
            for result in query.layouts
            if not result.skipped and not result.error
        )
        answer.add_row("ask", query.query.name, *_cells(times), "yes" if same else "NO")
    answer.add_section()
    for name in dict.fromkeys(lane.write for lane in latency.lanes):
        times = {lane.layout: lane.result.service for lane in latency.lanes if lane.write == name}
        answer.add_row("write", name, *_cells(times), "")
    return answer


def _cells(times: dict[str, Distribution]) -> list[str]:
    today = times.get("single")
    cells = []
    for layout in _LAYOUTS:
        found = times.get(layout)
        if found is None or not found.count:
            cells.append("-")
            continue
        cell = f"{found.p50:.1f} / {found.p95:.1f}"
        if layout != "single" and today is not None and today.count:
            cell += f" ({found.p50 / today.p50:.1f}x)"
        cells.append(cell)
    return cells


def remarks(joins: JoinsReport, latency: LatencyReport) -> list[str]:
    """Return what must be said beside the table, one line each."""
    runs = max((found.times.count for one in joins.queries for found in one.layouts), default=0)
    lines = [
        f"asked up to {runs} times each; written {latency.pace.rate:g} times a second each, for "
        f"{latency.pace.duration:g} s; every layout in turn, on this machine, without a network"
    ]
    for layout, found in latency.servers.items():
        lines += [f"* {_TITLES[layout]}: not durable: {lack}" for lack in found.lacks]
    for lane in latency.lanes:
        if not lane.result.reached:
            lines.append(
                f"{lane.write} on {_TITLES[lane.layout]}: {lane.result.rate:g}/s was not reached, "
                f"only {lane.result.achieved:.1f}/s"
            )
    lines += [f"finding: {finding}" for finding in joins.findings]
    return lines
