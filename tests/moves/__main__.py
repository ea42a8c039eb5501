"""``python -m tests.moves``: many moves under payments, as ``make moves`` runs it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.moves.campaign import campaign, till
from toolkit.lab import temporary_lab


def main() -> int:
    """Run the campaign; print JSON; return 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.moves")
    parser.add_argument("--n", type=int, default=1000, help="moves on each backend")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=150.0, help="payments per second")
    given = parser.parse_args()
    with (
        temporary_lab(fast=True, servers=["postgres", "mongo"]) as lab,
        tempfile.TemporaryDirectory(prefix="regionkit-moves-") as folder,
        till(lab.url("postgres") or "", lab.url("mongo") or "", Path(folder)) as journey,
    ):
        found = [
            campaign(journey, backend, given.n, given.seed, given.rate)
            for backend in ("postgres", "mongo")
        ]
    print(json.dumps(found, indent=2))
    return 1 if any(one["violations"] for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
