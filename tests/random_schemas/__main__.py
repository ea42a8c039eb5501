"""``python -m tests.random_schemas``: takes many random schemas through both backends."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.random_schemas.journey import Outcome, run
from toolkit.lab import Lab


def main() -> int:
    """Run schemas from a seed on; return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_schemas")
    parser.add_argument("--seed", type=int, default=1, help="of the first schema")
    parser.add_argument("--n", type=int, default=100, help="how many")
    parser.add_argument("--json", type=Path, default=Path("build/schemas.json"))
    arguments = parser.parse_args()
    began = time.monotonic()
    outcomes: list[Outcome] = []
    failed: list[int] = []
    with tempfile.TemporaryDirectory(prefix="regionkit-schemas-") as folder:
        lab = Lab(Path(folder) / "lab")
        lab.up(fast=True)
        try:
            urls = lab.url("postgres"), lab.url("mongo")
            assert urls[0] is not None and urls[1] is not None
            for seed in range(arguments.seed, arguments.seed + arguments.n):
                try:
                    outcomes.append(run(seed, urls[0], urls[1], Path(folder) / str(seed)))
                except Exception:  # noqa: BLE001  (a schema that fails must not end the campaign)
                    failed.append(seed)
                    print(f"seed {seed}:\n{traceback.format_exc()}", file=sys.stderr)
        finally:
            lab.down()
    refused = Counter(backend for one in outcomes for backend in one.refused)
    document = {
        "schemas": arguments.n,
        "first_seed": arguments.seed,
        "passed": len(outcomes),
        "failed": failed,
        "tables": sum(one.tables for one in outcomes),
        "rows": sum(one.rows for one in outcomes),
        "refused": dict(refused),
        "asked": sum(bool(one.asked) for one in outcomes),
        "seconds": round(time.monotonic() - began),
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=2), encoding="utf-8")
    print(json.dumps(document, indent=2))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
