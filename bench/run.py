"""Measure what regionkit needs beside the best that one would write by hand.

Servers of its own, with the durability that a bank needs; every figure is a ratio to a peer that
runs by turns on the same servers::

    make bench
    make bench PAYMENTS=200000 ROWS=tables,server OUT=bench.json

The exit code tells whether every row ran, not whether it was fast enough.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

import toolkit
from bench.bank import Server
from bench.measures import MEMORY, Bench
from bench.processes import BenchError, kill_all
from bench.rows import MemoryRow, Row, table
from toolkit.lab import Lab, temporary_lab

_Measure = Callable[[Bench], "Row | MemoryRow | list[Row]"]

#: Every row, in the order in which they run; ``documents`` gives ``ceiling`` as well.
MEASURES: dict[str, _Measure] = {
    "tables": Bench.tables,
    "server": Bench.server,
    "documents": Bench.documents,
    "verify-tables": Bench.verify_tables,
    "verify-documents": Bench.verify_documents,
    "memory": Bench.memory,
    "resume-tables": Bench.resume_tables,
    "resume-documents": Bench.resume_documents,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; exit 0 if every row ran, 1 otherwise, 130 when interrupted."""
    given = _arguments(arguments)
    # Otherwise a plain kill would leave the servers' folders behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        document, rows = _run(given)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: everything is stopped\n")
        sys.exit(130)
    machine, failed = document["machine"], document["failed"]
    sys.stdout.write(
        f"{document['date'][:10]}, {machine['cores']} cores, {machine['memory_gib']:.0f} GiB, "
        f"{given.payments:,} payments ({document['payments']['documents']:,} to MongoDB), "
        f"{given.runs} run(s) of each; spread: of the ratios of single runs\n"
    )
    if rows:
        sys.stdout.write(table(rows) + "\n")
    for name, reason in failed.items():
        sys.stdout.write(f"{name} did not run: {reason}\n")
    sys.exit(1 if failed else 0)


def _run(given: argparse.Namespace) -> tuple[dict[str, Any], list[Row | MemoryRow]]:
    """Run every row that was asked for; return the JSON document, and the rows by themselves."""
    begun = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:7.1f} s  {text}\n")
        sys.stderr.flush()

    say("starting two PostgreSQL and one MongoDB")
    with ExitStack() as stack:
        lab = stack.enter_context(temporary_lab(fast=given.fast))
        other = stack.enter_context(temporary_lab(fast=given.fast, servers=["postgres"]))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="regionkit-bench-"))
        # Before the servers go.
        stack.callback(kill_all)
        bench = Bench(
            home=Server(_url(lab, "postgres")),
            away=Server(_url(other, "postgres")),
            mongo=_url(lab, "mongo"),
            folder=Path(folder),
            payments=given.payments,
            small=given.small or max(1, given.payments // 10),
            most_documents=given.documents,
            runs=given.runs,
            seed=given.seed,
            chunk_rows=given.chunk_rows,
            say=say,
        )
        document = _about(bench, given)
        rows: list[Row | MemoryRow] = []
        failed: dict[str, str] = {}
        for name in given.rows:
            try:
                found = MEASURES[name](bench)
            except (BenchError, psycopg.Error, PyMongoError) as error:
                failed[name] = str(error)
                say(f"{name} failed: {error}")
            else:
                rows += found if isinstance(found, list) else [found]
            document |= {
                "seconds": time.monotonic() - begun,
                "banks": {str(payments): counts for payments, counts in bench.counts.items()},
                "rows": [row.document() for row in rows],
                "failed": failed,
            }
            if given.out:
                # After every row: it takes long, and may be interrupted.
                given.out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return document, rows


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--payments", type=int, default=2_000_000, help="of the bank")
    parser.add_argument(
        "--small",
        type=int,
        help="payments of the bank that memory is compared with; default a tenth",
    )
    parser.add_argument(
        "--documents",
        type=int,
        default=400_000,
        help="payments of the bank that is moved to MongoDB (at most those of the bank)",
    )
    parser.add_argument("--runs", type=int, default=3, help="of ours and of each peer")
    parser.add_argument(
        "--rows",
        type=_rows,
        default=list(MEASURES),
        help=f"which, separated by commas: {', '.join(MEASURES)}",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the bank")
    parser.add_argument(
        "--chunk-rows",
        type=int,
        help="rows of a chunk of the run that is killed; "
        "for banks so small that they would be one chunk",
    )
    parser.add_argument("--out", type=Path, help="a file for the figures, as JSON")
    parser.add_argument("--fast", action="store_true", help="without fsync: to try it out only")
    given = parser.parse_args(arguments)
    if given.runs < 1:
        parser.error("--runs: at least one")
    return given


def _rows(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = sorted(set(names) - set(MEASURES))
    if unknown:
        raise argparse.ArgumentTypeError(f"no row {unknown[0]!r}; rows are {', '.join(MEASURES)}")
    return [name for name in MEASURES if name in names] or list(MEASURES)


def _url(lab: Lab, name: str) -> str:
    url = lab.url(name)
    assert url is not None
    return url


def _about(bench: Bench, given: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures depend on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with MongoClient[Any](bench.mongo) as client:
        mongod = client.server_info()["version"]
        options = client.admin.command("getCmdLineOpts")["parsed"]
    # Where this machine keeps its files says nothing.
    for private in ("net", "storage", "systemLog"):
        found = options.pop(private, {})
        if private == "storage":
            options["storage"] = {"wiredTiger": found.get("wiredTiger")}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": pages / 2**30,
            "system": platform.platform(),
            # Above the number of cores, somebody else was at work, and the figures are noisy.
            "load_before": os.getloadavg()[0],
        },
        "versions": {
            "regionkit": toolkit.__version__,
            "python": platform.python_version(),
            "psycopg": psycopg.__version__,
            "pymongo": pymongo.version,
            "mongod": mongod,
            "postgres": bench.home.settings()["server_version"],
        },
        "settings": {
            "postgres": bench.home.settings(),
            "mongod": options,
            "peers": MEMORY,
            "workers": 2,
            "durable": not given.fast,
        },
        "seed": given.seed,
        "runs": given.runs,
        "payments": {
            "bank": bench.payments,
            "documents": bench.documents_payments,
            "memory": [bench.small, bench.payments],
        },
    }


if __name__ == "__main__":
    main()
