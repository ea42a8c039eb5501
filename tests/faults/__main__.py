"""``python -m tests.faults``: the fault campaign, or with ``mutations`` those."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.faults import mutations
from tests.faults.campaign import campaign, document, plan, table
from tests.faults.servers import grounds


def main() -> int:
    """Run what the arguments ask for; return 1 if anything was violated or not found."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("what", nargs="?", default="faults", choices=("faults", "mutations"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, default=None, help="how many; default: all")
    parser.add_argument("--only", default="", help="an id, or how ids begin")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    # A shell starts what runs in its background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run = _faults if arguments.what == "faults" else _mutations
    counted = run(arguments.seed, arguments.n, arguments.only)
    if counted is None:
        print(f"nothing is called {arguments.only!r}", file=sys.stderr)
        return 2
    path = arguments.json or Path(f"build/{arguments.what}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(counted, indent=2))
    print(f"written to {path}")
    return 1 if counted.get("violations") or counted.get("not_found") else 0


def _faults(seed: int, count: int | None, only: str) -> dict[str, Any] | None:
    faults = plan(seed, count, only)
    if not faults:
        return None
    with grounds(sorted({fault.subject for fault in faults})) as those:
        counted = document(campaign(faults, those, seed), seed)
    print(table(counted))
    print(
        f"\nseed {seed}: {counted['faults']} faults in {counted['seconds']:.0f} s: "
        f"{counted['kills_of_the_tool']} kills of the tool "
        f"({counted['kills_while_writing']} while it wrote), kills of servers "
        f"{counted['kills_of_servers']}, {len(counted['violations'])} violated, "
        f"{len(counted['missed'])} missed"
    )
    return counted


def _mutations(seed: int, count: int | None, only: str) -> dict[str, Any] | None:
    wanted = mutations.plan(seed, 200 if count is None else count, only)
    if not wanted:
        return None
    with grounds(sorted({one.subject for one in wanted})) as those, ExitStack() as stack:
        clinics = {
            name: stack.enter_context(mutations.clinic(ground)) for name, ground in those.items()
        }
        counted = mutations.counts(mutations.mutate(wanted, clinics, seed), seed)
    print("| mutation | done | not found |\n|---|---|---|")
    for kind, entry in counted["kinds"].items():
        print(f"| {kind} | {entry['done']} | {entry['not found']} |")
    print(
        f"\nseed {seed}: {counted['found']} of {counted['mutations']} mutations found "
        f"in {counted['seconds']:.0f} s"
    )
    return counted


if __name__ == "__main__":
    sys.exit(main())
