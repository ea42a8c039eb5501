"""What a run shows while it works, and what is made of its journal: the exact forms."""

from __future__ import annotations

import io
import json
import uuid
from contextlib import redirect_stderr
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from toolkit.cli import watch
from toolkit.cli.output import Output
from toolkit.errors import (
    ConnectionFailed,
    Interrupted,
    Refused,
    StoppedByUser,
    UsageError,
    VerificationFailed,
)
from toolkit.journal import Holder, Outcome, Pace, RunRecord, State
from toolkit.migrate.history import outcome_of
from toolkit.migrate.progress import Progress, TableProgress, Watcher, duration, event, line
from toolkit.migrate.standing import Standing, next_command, outcome_text

PAYMENT = TableProgress("payment", total=1_000_000, done=300_000, started=10.0, before=100_000)
ALL = TableProgress("", total=2_000_000, done=1_000_000, started=10.0, before=500_000)
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def record(number: int = 1) -> RunRecord:
    return RunRecord(uuid.UUID(int=number).hex, "ann@host", 42, "0.1.0", "f" * 64, started=START)


def test_a_line_names_the_table_the_totals_and_what_throttles() -> None:
    assert line(PAYMENT, ALL, 30.0) == (
        "payment: 300,000 of 1,000,000 rows (30 %), 10,000 rows/s, 1 min 10 s left; "
        "all tables: 1,000,000 of 2,000,000 rows (50 %), 25,000 rows/s, 40 s left"
    )
    assert line(PAYMENT, ALL, 30.0, "rate 50,000 rows/s").endswith(
        "40 s left; throttled: rate 50,000 rows/s"
    )


def test_a_line_leaves_out_what_is_not_known() -> None:
    done = TableProgress("country", total=3, done=3, started=10.0)
    assert line(done, TableProgress("", 0), 10.0) == (
        "country: 3 of 3 rows (100 %), 0 rows/s; all tables: 0 of 0 rows (100 %), 0 rows/s"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (185, "3 min 5 s"), (7_800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_an_event_of_a_table() -> None:
    assert event(
        "table", "mongo", "copying", entry=PAYMENT, now=30.0, throttled="12 active sessions > 10"
    ) == {
        "event": "table",
        "backend": "mongo",
        "phase": "copying",
        "table": "payment",
        "copied": 300_000,
        "total": 1_000_000,
        "rows_per_second": 10_000.0,
        "seconds_left": 70.0,
        "throttled_by": "12 active sessions > 10",
        "detail": None,
    }


def test_totals_are_over_all_tables_and_this_run() -> None:
    seen: list[tuple[TableProgress, TableProgress]] = []

    class Seeing(Watcher):
        def advanced(self, table: TableProgress, overall: TableProgress) -> None:
            seen.append((replace(table), overall))

    now = 100.0
    progress = Progress(Seeing(), clock=lambda: now)
    progress.expect("a", 100, 40)
    progress.expect("b", 300, 0)
    assert progress.copied() == 0
    progress.begin("a")
    now = 110.0
    progress.begin("b")
    progress.add("a", 60)
    progress.add("b", 50)
    assert seen[1] == (
        TableProgress("b", 300, 50, 110.0),
        TableProgress("", 400, 150, 100.0, before=40),
    )
    assert progress.copied() == 110


def drive(watcher: Watcher) -> None:
    watcher.phase("copying")
    watcher.throttled("rate 5 rows/s")
    watcher.advanced(TableProgress("a", 10, 5), TableProgress("", 20, 5))
    # Too soon after the first one.
    watcher.advanced(TableProgress("a", 10, 6), TableProgress("", 20, 6))
    watcher.advanced(TableProgress("a", 10, 10), TableProgress("", 20, 10))
    watcher.throttled("")
    watcher.warned("replica lag cannot be watched: no")
    watcher.phase("finishing")
    watcher.detail("index")


def shown(output: Output, *, quiet: bool = False) -> str:
    text = io.StringIO()
    with (
        redirect_stderr(text),
        watch.watching("postgres", output=output, quiet=quiet) as watcher,
    ):
        drive(watcher)
    return text.getvalue()


def test_plain_lines() -> None:
    assert shown(Output.text).splitlines() == [
        "postgres: copying",
        "postgres: throttled: rate 5 rows/s",
        "postgres: a: 5 of 10 rows (50 %), 0 rows/s; all tables: 5 of 20 rows (25 %), 0 rows/s; "
        "throttled: rate 5 rows/s",
        "postgres: a: 10 of 10 rows (100 %), 0 rows/s; all tables: 10 of 20 rows (50 %), "
        "0 rows/s; throttled: rate 5 rows/s",
        "postgres: no longer throttled",
        "postgres: replica lag cannot be watched: no",
        "postgres: finishing",
        "postgres: index",
    ]


def test_json_lines() -> None:
    def like(kind: str, phase: str, **more: object) -> dict[str, object]:
        empty = event(kind, "postgres", phase)
        assert empty.keys() >= more.keys()
        return {**empty, **more}

    def figures(table: str | None, done: int, total: int) -> dict[str, object]:
        return {"table": table, "copied": done, "total": total, "rows_per_second": 0.0}

    rate = {"throttled_by": "rate 5 rows/s"}
    assert [json.loads(text) for text in shown(Output.json).splitlines()] == [
        like("phase", "copying"),
        like("throttled", "copying", **rate),
        like("table", "copying", **figures("a", 5, 10), **rate),
        like("total", "copying", **figures(None, 5, 20), **rate),
        like("table", "copying", **figures("a", 10, 10), **rate),
        like("total", "copying", **figures(None, 10, 20), **rate),
        like("throttled", "copying"),
        like("warning", "copying", detail="replica lag cannot be watched: no"),
        like("phase", "finishing"),
        like("detail", "finishing", detail="index"),
    ]


@pytest.mark.parametrize("output", list(Output))
def test_quiet_says_nothing(output: Output) -> None:
    assert shown(output, quiet=True) == ""


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (KeyboardInterrupt(), Outcome.interrupted, 130),
        (StoppedByUser(""), Outcome.interrupted, 130),
        (Interrupted(""), Outcome.interrupted, 10),
        (Refused(""), Outcome.refused, 9),
        (UsageError(""), Outcome.refused, 2),
        (VerificationFailed(""), Outcome.failed, 5),
        (ConnectionFailed(""), Outcome.failed, 7),
        (psycopg.OperationalError("gone"), Outcome.failed, 7),
        (psycopg.errors.InsufficientPrivilege("no"), Outcome.refused, 9),
        (MemoryError(), Outcome.failed, 1),
    ],
)
def test_how_a_run_ended(error: BaseException, outcome: Outcome, code: int) -> None:
    assert outcome_of(error) == (outcome, code)


def test_a_run_without_an_end_is_at_work_or_did_not_end() -> None:
    older, newest = record(1), record(2)
    ended = replace(
        record(3), ended=START + timedelta(seconds=90), outcome=Outcome.interrupted, exit_code=130
    )
    busy = Standing(runs=(newest, ended, older), holder=Holder("process 1", START))
    assert [outcome_text(run, busy) for run in busy.runs] == [
        "at work",
        "interrupted (exit 130)",
        "did not end",
    ]
    assert outcome_text(newest, replace(busy, holder=None)) == "did not end"
    finished = replace(ended, outcome=Outcome.finished, exit_code=0)
    assert outcome_text(finished, busy) == "finished"
    assert finished.seconds == 90 and newest.seconds is None


def test_rate_and_time_left_are_of_a_run_that_copies() -> None:
    run = replace(record(), epoch=2, expected=1_000)
    # A start that was refused counted nothing: the one before it did.
    found = Standing(
        state=State.copying,
        rows_copied=400,
        pace=Pace(100, 10.0),
        holder=Holder("process 1", START),
        runs=(record(9), run),
    )
    assert (found.rate, found.percent, found.seconds_left) == (10, 40, 60)
    idle = replace(found, holder=None)
    assert (idle.rate, idle.percent, idle.seconds_left) == (None, 40, None)
    assert replace(found, runs=()).percent is None
    assert replace(found, pace=Pace()).seconds_left is None


@pytest.mark.parametrize(
    ("pending", "found", "command"),
    [
        (["1"], Standing(), "regionkit apply --dry-run"),
        ([], Standing(), "regionkit migrate --dry-run"),
        ([], Standing(State.copying), "regionkit migrate --resume"),
        ([], Standing(State.copied), "regionkit migrate --resume"),
        ([], Standing(State.finished), "regionkit verify"),
        ([], Standing(State.copying, holder=Holder("x", START)), "wait, then regionkit status"),
    ],
)
def test_the_next_command(pending: list[str], found: Standing, command: str) -> None:
    assert next_command(pending, found) == command
