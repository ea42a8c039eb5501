"""What a confirmed write survives, as the servers themselves say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pymongo.errors import OperationFailure

from toolkit.checks.writers import Place
from toolkit.mongo import session as mongo_session
from toolkit.postgres import session

_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "synchronous_standby_names",
)


@dataclass(frozen=True)
class Durability:
    """One server.

    Attributes:
        server: product and version.
        settings: what it says of itself.
        lacks: why a confirmed write can be lost; empty where nothing says so.
    """

    server: str
    settings: Mapping[str, str]
    lacks: tuple[str, ...]

    @property
    def durable(self) -> bool:
        """Whether nothing says that a confirmed write can be lost."""
        return not self.lacks

    def document(self) -> dict[str, Any]:
        """Return it for ``--output json``."""
        return {**asdict(self), "durable": self.durable}


def read(place: Place) -> Durability:
    """Ask the server of a layout.

    Raises:
        ConnectionFailed: it does not answer.
    """
    return _mongo(place) if place.layout == "collections" else _postgres(place)


def _postgres(place: Place) -> Durability:
    with session.connect(place.url, role=place.role) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(_SETTINGS),)
        ).fetchall()
        found = {str(name): str(value) for name, value in rows}
        version = connection.info.parameter_status("server_version") or "?"
    settings = {name: found[name] for name in _SETTINGS if name in found}
    return Durability(f"PostgreSQL {version}", settings, postgres_lacks(settings))


def postgres_lacks(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Return what makes a confirmed commit less than durable. Pure."""
    lacks = []
    if settings.get("fsync") == "off":
        lacks.append("fsync is off: a crash of the machine can destroy the database")
    if settings.get("synchronous_commit") == "off":
        lacks.append("synchronous_commit is off: a crash loses the last commits")
    if settings.get("full_page_writes") == "off":
        lacks.append("full_page_writes is off: a crash can leave torn pages")
    return tuple(lacks)


def _mongo(place: Place) -> Durability:
    with mongo_session.connect(place.url) as opened:
        facts = mongo_session.topology_facts(opened)
        journal = _journal_default(opened)
    settings = {
        "members": str(facts.voting_members or "not said by mongos"),
        "majority": str(facts.majority or "not said by mongos"),
        "write concern": "majority",
        "read concern": "snapshot",
        "majority waits for the journal": journal,
    }
    return Durability(f"MongoDB {facts.version_text}", settings, mongo_lacks(facts, journal))


def mongo_lacks(facts: mongo_session.TopologyFacts, journal: str) -> tuple[str, ...]:
    """Return what makes a majority write less than durable. Pure."""
    lacks = []
    if facts.majority == 1:
        lacks.append("the majority is one member: a confirmed write is lost with it")
    if journal == "no":
        lacks.append("a majority does not wait for the journal: a crash loses confirmed writes")
    return tuple(lacks)


def _journal_default(opened: mongo_session.MongoSession) -> str:
    try:
        config = opened.client.admin.command("replSetGetConfig")["config"]
    except OperationFailure:
        # It takes a privilege that nothing else needs, and a mongos does not know it.
        return "not said"
    return "yes" if config.get("writeConcernMajorityJournalDefault", True) else "no"
