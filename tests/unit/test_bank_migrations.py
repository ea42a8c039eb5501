"""The bank's committed migrations are those that its model and its topology lead to."""

from __future__ import annotations

from pathlib import Path

from tests.live.support import ROOT, regionkit

CONFIG = ROOT / "schemas" / "bank" / "regionkit.toml"


def test_nothing_would_be_generated(tmp_path: Path) -> None:
    # From another folder and without any server: the files follow from the inputs alone.
    result = regionkit("generate", "--check", "--config", str(CONFIG), env={}, cwd=tmp_path)
    assert result.code == 0, result.err
    assert result.out.count("kept") == 2


def test_the_sql_can_be_printed(tmp_path: Path) -> None:
    result = regionkit("generate", "--sql", "--config", str(CONFIG), env={}, cwd=tmp_path)
    assert result.code == 0, result.err
    assert "CREATE TABLE bank_regional.client_region" in result.out
    assert result.out.count('PARTITION OF "bank_regional"."client" FOR VALUES IN') == 4
