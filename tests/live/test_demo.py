"""The demo in small: the whole journey and the answer, on servers that are gone afterwards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.live.support import ROOT, Result, regionkit

_SMALL_BANK = """
from schemas.bank.seed import create
from schemas.bank.seed import load as load_all

def load(connection, *, seed):
    return load_all(connection, clients=300, payments=3000, seed=seed)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bank's project with less data."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("extras.sql", "countries.csv"):
        shutil.copy(ROOT / "schemas" / "bank" / name, folder)
    text = (ROOT / "schemas" / "bank" / "regionkit.toml").read_text()
    text = text.replace('demo = "schemas.bank.seed"', 'demo = "small_bank_of_the_demo"')
    text = text.replace("../../migrations", f"{ROOT}/migrations")
    (folder / "regionkit.toml").write_text(text)
    (folder / "small_bank_of_the_demo.py").write_text(_SMALL_BANK)
    return folder


@pytest.fixture(scope="module")
def shown(project: Path) -> Result:
    """What the demo says, as JSON."""
    return regionkit("demo", "--seconds", "1", "--output", "json", env={}, cwd=project)


def _servers() -> set[str]:
    """Return the ids of the server processes that this process started and that still run."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in entry.read_text().splitlines())
        except OSError:
            continue
        ours = fields["PPid"].strip() == str(os.getpid())
        if ours and fields["Name"].strip() in ("postgres", "mongod"):
            found.add(entry.parent.name)
    return found


def test_it_ends_well_and_says_what_it_did(shown: Result) -> None:
    assert shown.code == 0, shown.err
    document = shown.document
    assert document["source"]["rows"]["payment"] == 3000
    for backend in ("postgres", "mongo"):
        entry = document["backends"][backend]
        assert entry["verification"]["equal"] is True
        counts = entry["counts"]
        assert sum(counts["payment"].values()) == 3000
        assert set(counts["client"]) == {"gl", "eu", "na", "ap"}
        assert entry["seconds"].keys() == {"apply", "migrate", "verify"}
    both = [document["backends"][name]["counts"] for name in ("postgres", "mongo")]
    assert both[0] == both[1]


def test_it_ends_with_the_answer(shown: Result) -> None:
    checks = shown.document["checks"]
    for query in checks["joins"]["queries"]:
        layouts = {layout["layout"]: layout for layout in query["layouts"]}
        assert layouts.keys() == {"single", "tables", "collections"}
        assert layouts["tables"]["equal"] is True
        assert layouts["collections"]["equal"] is True
    lanes = {(lane["write"], lane["layout"]) for lane in checks["latency"]["writes"]}
    assert len(lanes) == 9
    assert all(lane["service"]["count"] > 0 for lane in checks["latency"]["writes"])


@pytest.mark.campaign
def test_a_person_reads_it_at_a_glance(project: Path) -> None:
    before = _servers()
    result = regionkit("demo", "--seconds", "1", env={}, cwd=project)
    assert result.code == 0, result.err
    for word in ("Greenland", "equal to the source", "What it costs", "not durable", "all of it"):
        assert word in result.out
    assert "Traceback" not in result.out + result.err
    assert _servers() <= before


def test_without_demonstration_data_it_says_so(project: Path, tmp_path: Path) -> None:
    config = tmp_path / "regionkit.toml"
    text = (project / "regionkit.toml").read_text()
    config.write_text(text.replace('demo = "small_bank_of_the_demo"\n', ""))
    for name in ("extras.sql", "countries.csv"):
        shutil.copy(project / name, tmp_path)
    result = regionkit("demo", "--config", str(config), env={}, cwd=tmp_path)
    assert result.code == 2
    assert "no demonstration data" in result.err


def test_it_asks_before_it_writes_to_servers_of_ones_own(project: Path, postgres_url: str) -> None:
    env = {"REGIONKIT_SOURCE_URL": postgres_url}
    result = regionkit("demo", "--no-input", env=env, cwd=project)
    assert result.code == 2
    assert "--yes" in result.err
