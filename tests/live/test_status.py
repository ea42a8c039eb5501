"""What the journal tells from another terminal: who is at work, how far, and how runs ended."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.live.journey import JOURNAL, Journey, namespaces
from tests.live.shop import ROWS, configured, shop, started, wait_for
from toolkit import __version__
from toolkit.migrate.history import fingerprint
from toolkit.postgres.store import operator


def status(journey: Journey, backend: str) -> dict[str, Any]:
    result = journey.done("status", "--backend", backend, "--output", "json")
    (found,) = result.document["backends"]
    assert isinstance(found, dict)
    return found


def release_lock(journey: Journey) -> None:
    """Let the lease of a killed holder run out at once, instead of in half a minute."""
    with MongoClient[dict[str, Any]](journey.mongo) as client:
        client[JOURNAL]["locks"].update_one(
            {"_id": f"migrate {journey.mongo_database}"},
            [{"$set": {"until": {"$subtract": ["$$NOW", 1000]}}}],
        )


@pytest.mark.parametrize("backend", [pytest.param("postgres", marks=pytest.mark.campaign), "mongo"])
def test_every_start_is_kept_with_its_end(
    postgres_url: str, mongo_url: str, tmp_path: Path, backend: str
) -> None:
    pause = tmp_path / "PAUSE"
    command = ("migrate", "--backend", backend, "--pause-file", str(pause))
    with shop(postgres_url, mongo_url, tmp_path, backend) as journey:
        fresh = status(journey, backend)
        assert (fresh["runs"], fresh["at_work"]) == ([], None)
        assert fresh["next"] == "regionkit migrate --dry-run"
        assert "state" not in fresh

        # A third of it is copied, slowly enough to be watched; then it is killed.
        with started(journey, *command, "--max-rate", "200") as process:
            wait_for(process, lambda: status(journey, backend).get("rows_copied", 0) >= 200)
            pause.touch()
            reason = f"paused by {pause}"
            wait_for(process, lambda: status(journey, backend)["throttled_by"] == reason)
            seen = status(journey, backend)
            process.kill()
            process.wait()
            pid = process.pid
        assert seen["state"] == "copying" and seen["epoch"] == 1
        assert seen["rows_expected"] == ROWS
        assert seen["percent"] == pytest.approx(100 * seen["rows_copied"] / ROWS)
        # Below the rate that holds it: the pause counts.
        assert 0 < seen["rows_per_second"] <= 400
        left = (ROWS - seen["rows_copied"]) / seen["rows_per_second"]
        assert seen["seconds_left"] == pytest.approx(left)
        assert seen["next"] == "wait, then regionkit status"
        since = datetime.fromisoformat(seen["at_work"]["since"])
        assert abs((datetime.now(UTC) - since).total_seconds()) < 120
        (run,) = seen["runs"]
        assert (run["who"], run["pid"], run["version"]) == (operator(), pid, __version__)
        assert run["fingerprint"] == fingerprint(journey.project.configuration)
        assert (run["epoch"], run["text"], run["ended"]) == (1, "at work", None)

        if backend == "mongo":
            release_lock(journey)
        wait_for_nobody(journey, backend)
        dead = status(journey, backend)
        assert (dead["at_work"], dead["rows_per_second"], dead["seconds_left"]) == (None,) * 3
        assert dead["runs"][0]["text"] == "did not end"
        assert dead["next"] == "regionkit migrate --resume"

        other = configured(journey, "DE =", "GL = 'eu', DE =")
        assert other.run("migrate", "--backend", backend).code == 9
        journey = configured(other, "GL = 'eu', DE =", "DE =")

        with started(journey, *command) as process:
            wait_for(process, lambda: status(journey, backend)["throttled_by"] == reason)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        assert process.returncode == 130
        pause.unlink()

        copied = status(journey, backend)["rows_copied"]
        journey.done(*command, "-q")
        done = status(journey, backend)
        assert (done["state"], done["percent"], done["at_work"]) == ("finished", 100, None)
        assert done["next"] == "regionkit verify"
        assert [(run["text"], run["rows"]) for run in done["runs"]] == [
            ("finished", ROWS - copied),
            ("interrupted (exit 130)", 0),
            ("refused (exit 9)", 0),
            ("did not end", None),
        ]
        assert [run["throttled_by"] for run in done["runs"][:3]] == [None] * 3
        assert all(run["seconds"] > 0 for run in done["runs"][:3])
        assert done["runs"][0]["pid"] == os.getpid()
        assert done["runs"][2]["fingerprint"] != done["runs"][0]["fingerprint"]

        short = journey.done("status", "--backend", backend).out
        whole = journey.done("status", "--backend", backend, "--history").out
        assert f"{ROWS:,} of {ROWS:,} (100 %)" in short
        assert short.count(operator()) == 3 and whole.count(operator()) == 4
        assert "did not end" in whole and "did not end" not in short


def wait_for_nobody(journey: Journey, backend: str) -> None:
    """The server notices a moment later that a killed process is gone."""
    for _ in range(600):
        if status(journey, backend)["at_work"] is None:
            return
    raise AssertionError


def test_a_first_start_that_is_refused_leaves_nothing(
    postgres_url: str, mongo_url: str, tmp_path: Path
) -> None:
    with shop(postgres_url, mongo_url, tmp_path, "postgres") as journey:
        configured(journey, "US =", "UK =")
        before = namespaces(journey.postgres)
        result = journey.run("migrate", "--backend", "postgres")
        assert result.code == 9 and "nothing was written" in result.err
        assert namespaces(journey.postgres) == before


def test_history_outlasts_the_layout(postgres_url: str, mongo_url: str, tmp_path: Path) -> None:
    with shop(postgres_url, mongo_url, tmp_path, "postgres") as journey:
        journey.done("migrate", "--backend", "postgres", "-q")
        journey.done("apply", "--backend", "postgres", "--revert", "--yes")
        found = status(journey, "postgres")
        assert "state" not in found and found["pending"]
        assert [run["text"] for run in found["runs"]] == ["finished"]
