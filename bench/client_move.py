"""Measure the move of one client against the transaction that somebody writes by hand.

::

    python -m bench.client_move
    python -m bench.client_move --moves 30 --large 2000 --fast

The bank, with about 200 rows for each client, and one client with many more. Both ways take turns
with the same clients, in sessions with the same settings: by hand, the link is updated and
everything follows; ours also proves every row. Prints JSON: medians, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from bench.processes import BenchError, finish, kill_all, start
from schemas.bank import seed
from schemas.bank.model import SCHEMA
from toolkit.cli import backends
from toolkit.cli.project import Project, open_project
from toolkit.clients import Note, Residence
from toolkit.lab import temporary_lab
from toolkit.migrate.moving import Mover
from toolkit.postgres import session
from toolkit.postgres.clients import PLANS
from toolkit.postgres.session import Connection

_ROOT = Path(__file__).resolve().parents[1]
_CONFIG = _ROOT / "schemas" / "bank" / "regionkit.toml"
_REGIONAL = f"{SCHEMA}_regional"
_REGIONS = ("gl", "eu", "na", "ap")
_NOTE = Note("bench", "bench", "bench")

#: Rows of a usual client, and moves that only warm up the sessions.
_USUAL, _WARM = 200, 12

_ROWS = f"""
SELECT c.id, c.region, 1 + a.accounts + a.rows FROM {_REGIONAL}.client c JOIN LATERAL (
  SELECT count(*) AS accounts, coalesce(sum(
    (SELECT count(*) FROM {_REGIONAL}.card o WHERE o.account_id = a.id)
    + (SELECT count(*) FROM {_REGIONAL}.payment o WHERE o.account_id = a.id)
    + (SELECT count(*) FROM {_REGIONAL}.debit o WHERE o.account_id = a.id)
    + (SELECT count(*) FROM {_REGIONAL}.transfer o WHERE o.from_account_id = a.id)
    + (SELECT count(*) FROM {_REGIONAL}.ledger_entry o WHERE o.account_id = a.id)), 0) AS rows
  FROM {_REGIONAL}.account a WHERE a.client_id = c.id) a ON true
ORDER BY 3, 1
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; exit 0, 1 if it could not be measured, 130 when interrupted."""
    given = _arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _run(given)
    except BenchError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: everything is stopped\n")
        sys.exit(130)


def _run(given: argparse.Namespace) -> None:
    load = os.getloadavg()[0]
    with (
        temporary_lab(fast=given.fast) as lab,
        tempfile.TemporaryDirectory(prefix="regionkit-bench-") as folder,
    ):
        url = lab.url("postgres") or ""
        _build(url, given)
        environment = {
            "REGIONKIT_CONFIG": str(_CONFIG),
            "REGIONKIT_SOURCE_URL": url,
            "REGIONKIT_POSTGRES_URL": url,
            "REGIONKIT_MONGO_URL": lab.url("mongo") or "",
        }
        try:
            for command in ("apply", "migrate"):
                program = [sys.executable, "-m", "toolkit", command]
                finish(
                    start(
                        program,
                        environment={**environment, "PYTHONPATH": str(_ROOT)},
                        cwd=Path(folder),
                    )
                )
        finally:
            kill_all()
        os.environ.update(environment)
        _measure(given, open_project(_CONFIG), url, load)


def _build(url: str, given: argparse.Namespace) -> None:
    """Make the bank, and give its first client's account as many rows as are asked for."""
    with psycopg.connect(url) as connection:
        seed.create(connection)
        seed.load(connection, clients=given.clients, payments=given.payments, seed=given.seed)
        # A payment and its entry; the trigger on entries expects the application's path.
        connection.execute(f"SET search_path = {SCHEMA}")
        connection.execute(
            f"""
            WITH account AS (SELECT id, currency FROM {SCHEMA}.account WHERE id =
              (SELECT min(id) FROM {SCHEMA}.account)),
            paid AS (
              INSERT INTO {SCHEMA}.payment (account_id, merchant_id, amount, currency, made_in)
              SELECT a.id, (SELECT min(id) FROM {SCHEMA}.merchant), 1, a.currency, 'gl'
              FROM account a, generate_series(1, {int(given.large) // 2}) RETURNING id, account_id)
            INSERT INTO {SCHEMA}.ledger_entry (account_id, payment_id, amount)
            SELECT account_id, id, -1 FROM paid
            """
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


def _measure(given: argparse.Namespace, project: Project, url: str, load: float) -> None:
    with (
        session.connect(url, role="postgres") as hand,
        backends.clients(project, "postgres").open() as ours,
        backends.clients(project, "mongo").open() as mongo,
    ):
        # As ours: the server's own lookups of foreign keys gain by it, too.
        session.set_for_session(hand, PLANS)
        rows = [
            (int(client), str(region), int(count)) for client, region, count in hand.execute(_ROWS)
        ]
        near = sorted(rows, key=lambda row: abs(row[2] - _USUAL))[: given.clients_moved]
        largest = rows[-1]
        found = {
            "cores": os.cpu_count(),
            "load_before": load,
            "machine": platform.platform(),
            "fast": given.fast,
            "seed": given.seed,
            "server": hand.info.parameter_status("server_version"),
            "usual": _alternate(hand, ours, near, given.moves, given.seed),
            "large": _alternate(hand, ours, [largest], given.large_moves, given.seed),
        }
        found["mongo"] = {
            "usual": _alone(mongo, near, given.moves // 2),
            "large": _alone(mongo, [largest], given.large_moves),
        }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _alternate(
    hand: Connection, ours: Mover, clients: Sequence[tuple[int, str, int]], moves: int, number: int
) -> dict[str, Any]:
    """Move the same clients both ways, in turns; the first moves of each are not counted."""
    draw = random.Random(number)  # noqa: S311 - clients, not secrets
    where = {client: region for client, region, _ in clients}
    rows = {client: count for client, _, count in clients}
    seconds: dict[str, list[float]] = {"hand": [], "ours": []}
    moved: list[int] = []
    for turn in range(-_WARM, moves):
        client = clients[turn % len(clients)][0]
        for way in draw.sample(["hand", "ours"], 2):
            region = draw.choice([one for one in _REGIONS if one != where[client]])
            residence = Residence((str(client),), where[client])
            begun = time.perf_counter()
            if way == "hand":
                _by_hand(hand, client, region)
            else:
                ours.move(residence, region, _NOTE)
            took = time.perf_counter() - begun
            where[client] = region
            if turn >= 0:
                seconds[way].append(took)
        moved.append(rows[client])
    return {
        "rows": median(moved),
        "moves": moves,
        **{f"{way}_ms": _figures(took) for way, took in seconds.items()},
        "ratio": round(median(seconds["ours"]) / median(seconds["hand"]), 2),
    }


def _by_hand(connection: Connection, client: int, region: str) -> None:
    """The transaction of docs/layout-tables.md."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.execute("SET CONSTRAINTS ALL DEFERRED")
        connection.execute("SELECT set_config('regionkit.moving', 'on', true)")
        connection.execute(
            f"UPDATE {_REGIONAL}.client_region SET region = %s WHERE client_id = %s",
            (region, client),
        )


def _alone(mover: Mover, clients: Sequence[tuple[int, str, int]], moves: int) -> dict[str, Any]:
    seconds = []
    transactions = 0
    for turn in range(-1, moves):
        key = (str(clients[turn % len(clients)][0]),)
        (residence,) = mover.residences([key])
        assert residence is not None
        region = _REGIONS[(_REGIONS.index(residence.region) + 1) % len(_REGIONS)]
        begun = time.perf_counter()
        done = mover.move(residence, region, _NOTE)
        if turn >= 0:
            seconds.append(time.perf_counter() - begun)
            transactions += done.transactions
    return {"moves": moves, "ours_ms": _figures(seconds), "transactions": transactions}


def _figures(seconds: Sequence[float]) -> dict[str, float]:
    p95 = quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    return {
        "median": round(1000 * median(seconds), 2),
        "p95": round(1000 * p95, 2),
        "least": round(1000 * min(seconds), 2),
    }


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.client_move", description=__doc__)
    parser.add_argument("--clients", type=int, default=250, help="of the bank")
    parser.add_argument("--payments", type=int, default=20_000, help="of all of them")
    parser.add_argument("--clients-moved", type=int, default=30, help="with about 200 rows")
    parser.add_argument("--moves", type=int, default=200, help="of these, each way")
    parser.add_argument("--large", type=int, default=20_000, help="rows of the largest client")
    parser.add_argument("--large-moves", type=int, default=6, help="of that, each way")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fast", action="store_true", help="without fsync: to try it out only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
