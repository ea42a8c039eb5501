"""What `check schema` holds a schema to: every rule with its id, explanation and remedy. Pure.

Ids are stable: scripts, suppressions and reports name them. ``RK0xx`` are about a model or a
migration and need no server; ``RK1xx`` are about a live PostgreSQL, ``RK2xx`` about a live MongoDB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How a report shows a broken rule."""

    error = "error"
    warning = "warning"


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        id: ``RK`` and three digits.
        title: what is wrong where it is broken, in a few words.
        explanation: why that matters.
        remedy: what to do.
        severity: how a report shows it.
    """

    id: str
    title: str
    explanation: str
    remedy: str
    severity: Severity = Severity.error


def _by_id(*rules: Rule) -> dict[str, Rule]:
    return {rule.id: rule for rule in rules}


#: Rules about a model or a migration.
_OFFLINE: Mapping[str, Rule] = _by_id()

#: Rules about a live PostgreSQL.
_POSTGRES: Mapping[str, Rule] = _by_id()

#: Rules about a live MongoDB.
_MONGO: Mapping[str, Rule] = _by_id()

#: Every rule, by its id.
RULES: Mapping[str, Rule] = {**_OFFLINE, **_POSTGRES, **_MONGO}
