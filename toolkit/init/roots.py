"""Which tables could be the root, and why. Pure: the operator decides."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import MetaData, Table

from toolkit.placement import foreign_keys, table_key

#: What tables of clients are called.
_CLIENTS = frozenset(
    {
        "account",
        "client",
        "company",
        "consumer",
        "customer",
        "holder",
        "household",
        "member",
        "merchant",
        "organisation",
        "organization",
        "owner",
        "partner",
        "party",
        "patient",
        "person",
        "player",
        "shop",
        "student",
        "subscriber",
        "tenant",
        "user",
        "workspace",
    }
)
#: What tables are called that clients share.
_REFERENCE = frozenset(
    {
        "category",
        "city",
        "code",
        "country",
        "currency",
        "genre",
        "kind",
        "language",
        "level",
        "region",
        "role",
        "state",
        "status",
        "type",
        "unit",
    }
)
#: What columns are called that tell where somebody is.
REGION_WORDS = frozenset(
    {
        "branch",
        "city",
        "continent",
        "country",
        "county",
        "jurisdiction",
        "land",
        "locale",
        "location",
        "market",
        "nation",
        "province",
        "region",
        "residence",
        "site",
        "state",
        "territory",
        "zone",
    }
)


@dataclass(frozen=True)
class RootProposal:
    """A table whose rows could be the clients.

    Attributes:
        table: its key.
        followers: how many tables have a path of foreign keys to it.
        region_paths: paths from it to columns that could tell a region.
        reasons: why, in words.
        score: the greater the likelier.
    """

    table: str
    followers: int
    region_paths: tuple[str, ...]
    reasons: tuple[str, ...]
    score: float


def propose(
    metadata: MetaData, rows: Mapping[str, int], default_schema: str, most: int = 5
) -> list[RootProposal]:
    """Return the likely roots, the likeliest first.

    Args:
        metadata: the logical schema.
        rows: about how many each table has, by key.
        default_schema: the schema that table keys leave out.
        most: how many are wanted.
    """
    tables = {table_key(table, default_schema): table for table in metadata.tables.values()}
    referencing: dict[str, set[str]] = {key: set() for key in tables}
    for key, table in tables.items():
        for one in foreign_keys(table, default_schema):
            if one.target != key and one.target in referencing:
                referencing[one.target].add(key)
    found = [
        _proposal(
            key,
            table,
            len(_reaching(key, referencing)),
            rows.get(key, 0),
            len(tables),
            region_paths(tables, key, default_schema)[:3],
        )
        for key, table in tables.items()
        if list(table.primary_key.columns)
    ]
    with_reasons = [one for one in found if one.reasons] or found
    return sorted(with_reasons, key=lambda one: (-one.score, one.table))[:most]


def words(name: str) -> list[str]:
    """Return the words of a name, in lower case and singular."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [singular(word) for word in re.split(r"[\W_]+", spaced.lower()) if word]


def singular(word: str) -> str:
    """Return an English word without its plural, well enough to compare names."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def region_like(table: Table) -> tuple[str, ...]:
    """Return the columns of a table that could tell where somebody is, by their names."""
    return tuple(column.name for column in table.columns if REGION_WORDS & set(words(column.name)))


def region_paths(
    tables: Mapping[str, Table], key: str, default_schema: str, hops: int = 3
) -> tuple[str, ...]:
    """Return paths from a table to columns that could tell a place, the shortest first."""
    found: list[str] = []
    seen = {key}
    queue: deque[tuple[tuple[str, ...], str]] = deque([((), key)])
    while queue:
        path, at = queue.popleft()
        keys = [one for one in foreign_keys(tables[at], default_schema) if len(one.columns) == 1]
        numbers = {one.columns[0] for one in keys if words(one.columns[0])[-1:] == ["id"]}
        found += [
            ".".join((*path, name)) for name in region_like(tables[at]) if name not in numbers
        ]
        if len(path) < hops:
            for one in keys:
                if one.target not in seen and one.target in tables:
                    seen.add(one.target)
                    queue.append(((*path, one.columns[0]), one.target))
    return tuple(found)


def _reaching(root: str, referencing: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    queue = deque([root])
    while queue:
        for name in referencing[queue.popleft()] - seen - {root}:
            seen.add(name)
            queue.append(name)
    return seen


def _proposal(
    key: str, table: Table, followers: int, rows: int, tables: int, places: tuple[str, ...]
) -> RootProposal:
    named = words(table.name)
    reasons = []
    score = 2.0 * math.log2(1 + followers)
    if followers:
        reasons.append(f"{followers} of {tables} tables follow it")
    if named and named[-1] in _CLIENTS:
        score += 6
        reasons.append("it is called like clients are")
    elif _CLIENTS & set(named):
        score += 2
        reasons.append("its name speaks of clients")
    if named and named[-1] in _REFERENCE:
        score -= 6
        reasons.append("its name speaks of shared reference data")
    if places:
        score += 3 if "." not in places[0] else 2
        reasons.append(f"where it is could be told by {', '.join(places)}")
    if rows > 0:
        score += min(2.0, math.log10(rows) / 2)
        reasons.append(f"about {rows:,} rows")
    return RootProposal(key, followers, places, tuple(reasons), score)
