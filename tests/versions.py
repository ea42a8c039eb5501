"""Which PostgreSQL the live tests run on, and which others there are on this machine.

``REGIONKIT_TEST_PG_BIN=/usr/lib/postgresql/15/bin pytest tests/live`` runs them on that one.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from toolkit.lab import Server, binaries

VARIABLE = "REGIONKIT_TEST_PG_BIN"

#: Where Debian and its descendants keep each major version.
_PLACES = Path("/usr/lib/postgresql")


def chosen() -> Path | None:
    """The folder of programs that the variable names, ``None`` for the embedded ones."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def chosen_server(settings: Mapping[str, str] | None = None) -> Server:
    """The PostgreSQL that the live tests run on."""
    return Server(chosen(), settings or {})


def major(programs: Path) -> int:
    """The major version of the programs in a folder."""
    said = subprocess.run(
        [programs / "postgres", "--version"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"\d+", said)
    assert found is not None, said
    return int(found[0])


def others(oldest: int) -> list[Path]:
    """Other majors than the embedded one, from ``oldest`` on, the oldest first."""
    embedded = major(binaries.postgres_bin())
    found = {}
    for programs in (*([chosen()] if chosen() else []), *sorted(_PLACES.glob("*/bin"))):
        if programs is not None and (programs / "postgres").exists():
            found.setdefault(major(programs), programs)
    return [found[one] for one in sorted(found) if one >= oldest and one != embedded]
