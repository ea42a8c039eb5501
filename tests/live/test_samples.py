"""Every hard sample on its whole way through both backends, and exactly what comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live import samples
from tests.live.journey import Journey, mongo_database
from tests.live.samples import CASES, Case
from tests.live.support import database

_HEAD = """
[source]
schema = "{schema}"
schemas = {further}
[target.mongo]
database = "{database}"
allow_single_member = true
[root]
table = "{root}"
[root.region]
{rule}
[regions]
eu = {{}}
us = {{}}
[migrate]
chunk_rows = 20
"""


@contextmanager
def sample(case: Case, postgres_url: str, mongo_url: str, folder: Path) -> Iterator[Journey]:
    """Yield the project of a sample, its source loaded."""
    with database(postgres_url) as url, mongo_database(mongo_url) as name:
        case.load(url)
        shutil.copy(case.folder / "map.csv", folder)
        toml = _HEAD.format(
            schema=case.schemas[0],
            further=list(case.schemas[1:]),
            database=name,
            root=case.root,
            rule=f"sql = '''{case.region_sql}'''"
            if case.region_sql
            else f'column = "{case.region_by}"\nmap_file = "map.csv"',
        )
        (folder / "regionkit.toml").write_text(toml + case.inferred + case.stated, encoding="utf-8")
        yield Journey(folder, url, url, mongo_url)


def placed(journey: Journey) -> dict[str, str]:
    """Return the placement as ``case.toml`` writes it."""
    found = {}
    for table, one in journey.project.layout.placement.tables.items():
        found[table] = str(one.kind)
        if one.home is not None:
            found[table] = f"{', '.join(one.home.columns)} -> {one.home.target}"
    return found


def refused(case: Case, journey: Journey, backend: str) -> bool:
    """Run up to what must be refused, if something must; return whether it was."""
    refusal = case.refused.get(backend)
    for command in ("generate", "apply", "migrate", "verify"):
        result = journey.run(command, "--backend", backend)
        if refusal is not None and refusal.command == command:
            assert result.code == refusal.code, result.err
            for words in refusal.says:
                assert words in result.err
            return True
        assert result.code == 0, f"{command}: {result.code}\n{result.out}\n{result.err}"
    return False


@pytest.mark.parametrize("backend", ["postgres", "mongo"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_whole_way(
    case: Case, backend: str, postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with sample(case, postgres_url, mongo_url, tmp_path) as journey:
        home = samples.homes(case, journey.source)
        wanted = samples.in_the_source(case, journey.source, home)
        assert placed(journey) == dict(case.placement)
        if refused(case, journey, backend):
            return
        if backend == "mongo":
            assert samples.in_collections(case, journey) == wanted
            return
        assert samples.in_tables(case, journey, home) == wanted
        if case.move is not None:
            client, region = case.move
            assert home[client] != region
            samples.move(case, journey)
            found = samples.in_tables(case, journey, {**home, client: region})
            assert {table: rows.total() for table, rows in found.items()} == {
                table: rows.total() for table, rows in wanted.items()
            }
