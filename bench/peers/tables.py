"""Run the SQL scripts of ``tables/``: the layout ``tables`` of the bank, filled by hand.

Each script is one stage; of a stage in two parts (``.a`` and ``.b``) both run at once, each in a
``psql`` of its own. Stage 0 is not timed: it makes the empty tables without their constraints.
"""

from __future__ import annotations

from pathlib import Path

from bench.processes import Started, binary, finish, start

_SCRIPTS = Path(__file__).parent / "tables"


def prepare(url: str, memory: dict[str, str]) -> None:
    """Take constraints, indexes and triggers off the empty layout; no part of the script's time."""
    finish(_psql(_SCRIPTS / "0_prepare.sql", url, memory))


def run(url: str, memory: dict[str, str]) -> None:
    """Fill the tables and put everything on them.

    Raises:
        BenchError: a script failed; what it said stands in the error.
    """
    stages: dict[str, list[Path]] = {}
    for script in sorted(_SCRIPTS.glob("[1-9]_*.sql")):
        stages.setdefault(script.name.split(".")[0], []).append(script)
    for scripts in stages.values():
        finish(*(_psql(script, url, memory) for script in scripts))


def _psql(script: Path, url: str, memory: dict[str, str]) -> Started:
    variables = [part for pair in memory.items() for part in ("-v", "=".join(pair))]
    return start([binary("psql"), "-X", "-q", *variables, "-f", str(script), url])
