"""Servers for the tests: one embedded PostgreSQL and one mongod for the whole session."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.versions import chosen_server
from toolkit.lab import Lab, temporary_lab

# A shell starts what runs in its background with Ctrl-C ignored, and so would everything be that
# the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers() -> Iterator[Lab]:
    """Real servers, gone with the test process, however it ends."""
    with temporary_lab(fast=True, server=chosen_server()) as lab:
        yield lab


@pytest.fixture(scope="session")
def postgres_url(servers: Lab) -> str:
    """URL of a PostgreSQL 18, or the one that REGIONKIT_TEST_PG_BIN names, with a superuser."""
    url = servers.url("postgres")
    assert url is not None
    return url


@pytest.fixture(scope="session")
def mongo_url(servers: Lab) -> str:
    """URL of a mongod that is a replica set of one."""
    url = servers.url("mongo")
    assert url is not None
    return url
