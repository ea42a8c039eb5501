"""regionkit as an operator runs it: the command line, as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import Started, finish, start

ROOT = Path(__file__).resolve().parents[1]
_BANK = ROOT / "schemas" / "bank"

#: The layout ``tables`` of the bank, where its configuration puts it.
SCHEMA = "bank_regional"


@dataclass(frozen=True)
class Project:
    """The bank's own project, with a MongoDB database of its own.

    Attributes:
        config: a copy of its ``regionkit.toml``.
        source: URL of the source.
        postgres: URL of the target of the layout ``tables``.
        mongo: URL of the server of the layout ``collections``.
    """

    config: Path
    source: str
    postgres: str
    mongo: str

    def start(self, *arguments: str) -> Started:
        """Start a command; what it prints is a JSON document."""
        command = [sys.executable, "-m", "toolkit", *arguments, "--config", str(self.config)]
        # An operator's own servers are none of the benchmark's business.
        own = {name: "" for name in os.environ if name.startswith("REGIONKIT_")}
        return start(
            [*command, "--output", "json"],
            environment={
                **own,
                "REGIONKIT_SOURCE_URL": self.source,
                "REGIONKIT_POSTGRES_URL": self.postgres,
                "REGIONKIT_MONGO_URL": self.mongo,
            },
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> Any:
        """Run a command to its end; return the JSON document that it printed."""
        return json.loads(finish(self.start(*arguments)))

    def apply(self, backend: str) -> None:
        """Create the layout."""
        self.run("apply", "--backend", backend)

    def migrate(self, backend: str, *arguments: str) -> Any:
        """Move the data; return what was done."""
        return self.run("migrate", "--backend", backend, "-q", *arguments)["results"][0]

    def verify(self, backend: str) -> None:
        """Compare everything; raise if anything differs."""
        self.run("verify", "--backend", backend, "-q")


def write_config(folder: Path, *, database: str, chunk_rows: int | None = None) -> Path:
    """Copy the bank's configuration; only where its documents go is another.

    Args:
        folder: is made.
        database: of MongoDB.
        chunk_rows: rows of a chunk, if they are not to be the default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("countries.csv", "extras.sql"):
        shutil.copy(_BANK / name, folder)
    text = (_BANK / "regionkit.toml").read_text(encoding="utf-8")
    text = text.replace("[target.mongo]", f'[target.mongo]\ndatabase = "{database}"')
    text = text.replace('"../../migrations_', f'"{ROOT}/migrations_')
    if chunk_rows is not None:
        text += f"\n[migrate]\nchunk_rows = {chunk_rows}\n"
    path = folder / "regionkit.toml"
    path.write_text(text, encoding="utf-8")
    return path
