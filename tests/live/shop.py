"""A small source whose migration is held, paced or cut: what the tests of a live run share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.live.journey import Journey, execute, mongo_database, write
from tests.live.support import ROOT, database

CLIENTS, SALES = 200, 1_200
#: What a migration copies: the clients, their links, the sales.
ROWS = 2 * CLIENTS + SALES

_SCHEMA = f"""
CREATE SCHEMA shop;
CREATE TABLE shop.client (id bigint PRIMARY KEY, land text NOT NULL);
CREATE TABLE shop.sale (
  id bigint PRIMARY KEY, client_id bigint NOT NULL REFERENCES shop.client, what text);
INSERT INTO shop.client SELECT n, CASE n % 2 WHEN 0 THEN 'DE' ELSE 'US' END
  FROM generate_series(1, {CLIENTS}) n;
INSERT INTO shop.sale SELECT n, 1 + n % {CLIENTS}, 'sale ' || n FROM generate_series(1, {SALES}) n;
"""

_TOML = """
[source]
schema = "shop"
[target.mongo]
database = "{database}"
allow_single_member = true
[root]
table = "client"
[root.region]
column = "land"
map = {{ DE = "eu", US = "na" }}
[regions]
eu = {{}}
na = {{}}
[migrate]
{migrate}
"""


@contextmanager
def shop(
    postgres_url: str, mongo_url: str, folder: Path, backend: str, migrate: str = "chunk_rows = 100"
) -> Iterator[Journey]:
    """Yield the shop's project with the layout of one backend applied, and nothing copied."""
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        execute(url, _SCHEMA)
        write(folder, _TOML.format(database=name, migrate=migrate))
        journey = Journey(folder, url, url, mongo_url)
        for command in ("generate", "apply"):
            journey.done(command, "--backend", backend)
        yield journey


def configured(journey: Journey, old: str, new: str) -> Journey:
    """Change the shop's configuration; return its journey, read anew."""
    toml = journey.folder / "regionkit.toml"
    text = toml.read_text(encoding="utf-8")
    assert old in text
    toml.write_text(text.replace(old, new), encoding="utf-8")
    return replace(journey)


@contextmanager
def started(journey: Journey, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command as a process of its own; it never outlives the block."""
    environment = {name: value for name, value in os.environ.items() if "REGIONKIT" not in name}
    process = subprocess.Popen(
        [sys.executable, "-m", "toolkit", *arguments],
        cwd=ROOT,
        env={**environment, **journey.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], reached: Callable[[], object]) -> None:
    """Wait until something is so, while a command runs."""
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
