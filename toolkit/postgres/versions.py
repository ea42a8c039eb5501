"""What the sessions of regionkit ask of a server's version: here, and nowhere by number.

Where a version has not learned something there is another way, and the caller takes it. What a
*layout* needs and has no other way for is refused by name: ``toolkit.postgres.capabilities``. The
table in docs/versions.md is both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Learned:
    """Something that PostgreSQL has learned.

    Attributes:
        title: what, in words.
        since: the major version that has it first.
        otherwise: what is done, or refused, on those before.
    """

    title: str
    since: int
    otherwise: str

    def there(self, *connections: Connection) -> bool:
        """Return whether all of these servers have it."""
        return all(one.info.server_version >= self.since * 10_000 for one in connections)


MOVES_BY_CASCADE = Learned(
    "correct row movement by a cascading key", 15, "refused as a target: a move would lose rows"
)
RECORD_HASH = Learned("a hash of whole rows", 14, "rows are compared by md5 of their text")
IDLE_SESSION_TIMEOUT = Learned("`idle_session_timeout`", 14, "it need not be turned off")
GRANTED_SET = Learned(
    "membership in a role without the right to act as it", 16, "every member may act as the role"
)
TRANSACTION_TIMEOUT = Learned("`transaction_timeout`", 17, "it need not be turned off")
IDENTITY_ON_PARTITIONS = Learned(
    "identity columns on partitions",
    17,
    "numbers are drawn by inserts through the table only; one into a partition must name the value",
)
UNPROVEN_FOREIGN_KEYS = Learned(
    "foreign keys of partitioned tables that stand before they are proven",
    18,
    "after a load each is added and proven in one step, which keeps writers off for longer",
)

#: All of it, for the documentation.
ALL = tuple(value for value in list(globals().values()) if isinstance(value, Learned))
