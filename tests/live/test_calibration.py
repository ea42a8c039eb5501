"""The load generator beside pgbench, and PyMongo beside a socket. No timing decides a test."""

from __future__ import annotations

import pytest

from bench import calibrate, calibrate_mongo
from tests.live.journey import query
from tests.live.support import database
from toolkit.checks.load import Pace


@pytest.mark.campaign
def test_both_run_the_same_transactions(postgres_url: str) -> None:
    pace = Pace(rate=40, duration=2, warmup=1, workers=4)
    with database(postgres_url) as url:
        calibrate.create(url)
        [first, second] = calibrate.rounds(url, pace, 2)
        rows = dict(query(url, "select mark, count(*) from calibration group by mark"))
    for one in (first, second):
        assert one.pgbench.count > 0
        assert one.ours.errors == {}
        assert one.ours.scheduled == 80
        assert one.ratio > 0
    # The schedule, warm-up included, and one rehearsal of each worker; pgbench draws its own.
    started = first.ours.started + second.ours.started
    assert started <= rows["regionkit"] <= 2 * (120 + 4)
    assert rows["pgbench"] >= first.pgbench.count + second.pgbench.count
    print(f"ratio of the medians: {first.ratio:.2f}, {second.ratio:.2f}")


def test_the_driver_of_mongodb_beside_a_bare_socket(mongo_url: str) -> None:
    bare, driver = calibrate_mongo.measure(mongo_url, count=5, rounds=2)
    assert len(bare) == len(driver) == 2
    assert min(bare + driver) > 0
    print(f"ratio of the medians: {driver[0] / bare[0]:.2f}, {driver[1] / bare[1]:.2f}")
