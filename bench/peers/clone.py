"""Clone a database to another server with PostgreSQL's own programs, two ways.

Neither computes a region: the clone has the source's tables.
"""

from __future__ import annotations

import subprocess
import tempfile

from bench.processes import binary, finish, start


def piped(source: str, target: str, memory: dict[str, str]) -> None:
    """``pg_dump`` piped to ``psql``."""
    dump = start([binary("pg_dump"), source], stdout=subprocess.PIPE)
    load = start(
        [binary("psql"), "-X", "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1", target],
        environment=_options(memory),
        stdin=dump.process.stdout,
    )
    finish(dump, load)


def parallel(source: str, target: str, memory: dict[str, str]) -> None:
    """``pg_dump -Fd -j2``, then ``pg_restore -j2``. Not compressed: the files stay here."""
    with tempfile.TemporaryDirectory() as folder:
        dump = f"{folder}/dump"
        finish(start([binary("pg_dump"), "-Fd", "-j2", "--compress=none", "-f", dump, source]))
        finish(
            start([binary("pg_restore"), "-j2", "-d", target, dump], environment=_options(memory))
        )


def _options(memory: dict[str, str]) -> dict[str, str]:
    return {"PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in memory.items())}
