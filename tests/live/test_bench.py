"""The benchmark runs, row by row. No timing decides a test."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import bank, processes, wide
from bench.processes import BenchError, Memory
from bench.rows import MemoryRow, Row, table
from bench.run import MEASURES, main
from tests.live.support import ROOT

_SMALL = ["--payments", "600", "--small", "600", "--chunk-rows", "40", "--runs", "1", "--fast"]


@pytest.mark.campaign
def test_both_end_states_are_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the rows that fill a layout: comparing what came out is part of the run."""
    out = tmp_path / "bench.json"
    with pytest.raises(SystemExit) as stop:
        main([*_SMALL, "--rows", "tables,documents", "--out", str(out)])
    said = capsys.readouterr()
    assert stop.value.code == 0, said.out + said.err
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["failed"] == {}
    assert {"tables", "documents"} <= {row["name"] for row in document["rows"]}


@pytest.mark.campaign
def test_every_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On servers of its own; that both end states are equal is part of the run."""
    out = tmp_path / "bench.json"
    with pytest.raises(SystemExit) as stop:
        main([*_SMALL, "--out", str(out)])
    said = capsys.readouterr()
    assert stop.value.code == 0, said.out + said.err
    document = json.loads(out.read_text(encoding="utf-8"))
    rows: dict[str, Any] = {row["name"]: row for row in document["rows"]}
    assert set(rows) == {*MEASURES, "documents-job", "ceiling"}
    assert document["failed"] == {}
    assert document["settings"]["durable"] is False
    assert document["machine"]["cores"] >= 1
    for name, row in rows.items():
        assert row["reached"] in (True, False) or name == "documents-job"
        assert name in said.out
        if name == "memory":
            assert all(1e7 < size < 1e9 for sizes in row["peaks"].values() for size in sizes)
        else:
            assert len(row["ours"]["runs"]) == len(row["theirs"]["runs"]) == 1
            assert row["ratio"] > 0
    assert set(rows["server"]["ways"]) == {"pg_dump | psql", "pg_dump -Fd, pg_restore"}
    assert "killed after" in said.err
    assert "://" not in out.read_text(encoding="utf-8")


@pytest.mark.campaign
def test_many_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """A few, that is: the commands, their seconds and their locks."""
    sizes = ["--tables", "8", "--references", "16", "--rows", "2"]
    wide.main([*sizes, "--fast", "--backend", "postgres"])
    said = capsys.readouterr().out
    assert "8 tables, 16 foreign keys, 2 row(s) each, 4 regions" in said
    assert "max_locks_per_transaction = 64, max_connections = 100" in said
    lines = re.findall(r"^\w+ +(\w+) +[0-9.]+ s   most locks +([0-9,]+)$", said, re.M)
    assert [command for command, _ in lines] == ["init", "generate", "apply", "migrate", "verify"]
    assert int(dict(lines)["apply"].replace(",", "")) > 50


def test_a_ratio_is_judged_by_medians() -> None:
    slow = Row("a", "", "", "s", (2.0, 9.0, 1.0), (1.0, 1.0, 1.0), 1.5)
    fast = Row("b", "", "", "rows/s", (2.0, 2.0, 2.0), (1.0, 1.0, 1.0), 2.0, at_least=True)
    shown = Row("c", "", "", "s", (2.0,), (1.0,), None)
    assert (slow.ratio, slow.reached) == (2.0, False)
    assert (fast.ratio, fast.reached) == (2.0, True)
    assert shown.reached is None
    assert "1.00-9.00" in table([slow, fast, shown])


def test_memory_is_judged_by_size_and_growth() -> None:
    sizes = (200_000, 2_000_000)
    assert MemoryRow("m", {"a": (100, 110), "b": (90, 80)}, sizes, most=110).reached
    assert not MemoryRow("m", {"a": (100, 111)}, sizes).reached
    assert not MemoryRow("m", {"a": (100, 105)}, sizes, most=104).reached


def test_end_states_that_differ_are_no_comparison() -> None:
    with pytest.raises(BenchError, match="table b"):
        bank.require_equal("tables", {"table a": 1, "table b": 2}, {"table a": 1, "table b": 3})


def test_memory_counts_children() -> None:
    """A child that holds 64 MB more than its parent."""
    child = "x = bytearray(64_000_000); x[::4096] = b'1' * len(x[::4096]); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    one = processes.start([sys.executable, "-c", parent], stdin=subprocess.PIPE)
    try:
        with Memory(one.process.pid) as memory:
            while memory.peak < 64_000_000 and memory.samples < 400:
                pass
    finally:
        processes.kill(one)
    assert memory.peak >= 64_000_000


def test_what_fails_is_named_without_its_url() -> None:
    missing = [processes.binary("psql"), "-X", "postgresql://u:secret@127.0.0.1:1/x"]
    with pytest.raises(BenchError, match="psql -X URL exited 2") as error:
        processes.finish(processes.start(missing))
    assert "secret" not in str(error.value)


def test_a_row_that_cannot_run_is_an_exit_code() -> None:
    """An unknown row is refused before any server starts."""
    command = [sys.executable, "-m", "bench.run", "--rows", "tables,nothing"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    assert "no row 'nothing'" in result.stderr


def test_interrupted_it_leaves_nothing(tmp_path: Path) -> None:
    """Neither servers nor folders, when somebody ends it while something is being measured."""
    command = [sys.executable, "-m", "bench.run", "--rows", "server", "--payments", "2000"]
    one = subprocess.Popen(
        [*command, "--runs", "50", "--fast"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert one.stderr is not None
    for line in one.stderr:
        if "server, ours" in line:
            break
    running = processes.family(one.pid)
    assert len(running) > 3
    one.send_signal(signal.SIGTERM)
    said = one.communicate(timeout=60)[1]
    assert one.returncode == 130, said
    assert list(tmp_path.iterdir()) == []
    assert [pid for pid in running if Path(f"/proc/{pid}").exists()] == []
