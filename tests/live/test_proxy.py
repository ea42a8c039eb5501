"""The delay proxy between real clients and real servers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import psycopg
import pytest
from pymongo import MongoClient

from toolkit.lab.proxy import DelayProxy, mongo_through, postgres_address, postgres_through


def test_every_round_trip_takes_its_time(postgres_url: str) -> None:
    with (
        DelayProxy(*postgres_address(postgres_url), 50) as proxy,
        psycopg.connect(postgres_through(postgres_url, proxy.port), autocommit=True) as connection,
    ):
        for _ in range(3):
            begun = time.perf_counter()
            connection.execute("select 1")
            assert time.perf_counter() - begun >= 0.05


def test_bytes_arrive_whole_and_a_large_answer_is_not_throttled(postgres_url: str) -> None:
    with (
        DelayProxy(*postgres_address(postgres_url), 20) as proxy,
        psycopg.connect(postgres_through(postgres_url, proxy.port)) as connection,
    ):
        begun = time.perf_counter()
        row = connection.execute("select repeat('0123456789', 2000000)").fetchone()
        assert row is not None
        assert row[0] == "0123456789" * 2_000_000
        # One round trip for each 64 KiB would take 6 s.
        assert time.perf_counter() - begun < 5


def test_a_mongo_client_does_not_go_past_it(mongo_url: str) -> None:
    with MongoClient(mongo_url) as direct:
        assert direct.address is not None
        host, port = direct.address
    with (
        DelayProxy(str(host), int(port or 0), 50) as proxy,
        MongoClient(mongo_through(mongo_url, proxy.port)) as client,
    ):
        client.admin.command("ping")
        assert client.address == ("127.0.0.1", proxy.port)
        begun = time.perf_counter()
        client.admin.command("ping")
        assert time.perf_counter() - begun >= 0.05


def test_a_cut_holds_everything_until_it_heals(postgres_url: str) -> None:
    with (
        DelayProxy(*postgres_address(postgres_url), 1) as proxy,
        psycopg.connect(postgres_through(postgres_url, proxy.port), autocommit=True) as connection,
    ):
        proxy.cut()
        threading.Timer(0.4, proxy.heal).start()
        begun = time.perf_counter()
        assert connection.execute("select 1").fetchone() == (1,)
        assert time.perf_counter() - begun >= 0.3


def test_it_leaves_with_every_connection_closed(postgres_url: str) -> None:
    with DelayProxy(*postgres_address(postgres_url), 1) as proxy:
        port = proxy.port
        connection = psycopg.connect(postgres_through(postgres_url, port))
    with pytest.raises(psycopg.OperationalError):
        connection.execute("select 1")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)
    assert not [each for each in threading.enumerate() if each.name == "delay-proxy"]


def test_a_server_that_is_not_there_closes_the_connection() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = probe.getsockname()[1]
    with (
        DelayProxy("127.0.0.1", nobody, 1) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client,
        contextlib.suppress(ConnectionResetError),
    ):
        assert client.recv(1) == b""
