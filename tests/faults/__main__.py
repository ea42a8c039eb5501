"""``python -m tests.faults``: the campaign, and the mutations."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.faults.campaign import campaign, document, plan, table
from tests.faults.servers import grounds


def main() -> int:
    """Run what the arguments ask for; return 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=None, help="how many faults; default: all")
    parser.add_argument("--only", default="", help="the id of one fault, or how ids begin")
    parser.add_argument("--json", type=Path, default=Path("build/faults.json"))
    arguments = parser.parse_args()
    faults = plan(arguments.seed, arguments.n, arguments.only)
    if not faults:
        print(f"no fault is called {arguments.only!r}", file=sys.stderr)
        return 2
    subjects = sorted({fault.subject for fault in faults})
    with grounds(subjects) as those:
        outcomes = campaign(faults, those, arguments.seed)
    counted = document(outcomes, arguments.seed)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(counted, indent=2))
    print(table(counted))
    print(
        f"\n{counted['faults']} faults in {counted['seconds']:.0f} s: "
        f"{counted['kills_of_the_tool']} kills of the tool "
        f"({counted['kills_while_writing']} while it wrote), kills of servers "
        f"{counted['kills_of_servers']}, {len(counted['violations'])} violated, "
        f"{len(counted['missed'])} missed (seed {arguments.seed}, {arguments.json})"
    )
    return 1 if counted["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
