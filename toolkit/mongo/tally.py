"""Counting what a check sees, with the first few keys. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.errors import SAMPLES
from toolkit.findings import Code, Finding, sampled_keys


@dataclass
class Tally:
    """Counts offenders and keeps the first few keys."""

    count: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        """Count one."""
        self.count += 1
        if len(self.keys) < SAMPLES:
            self.keys.append(key)


class Tallies:
    """Tallies by code, table, region and detail."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._found: dict[tuple[Code, str, str | None, str], Tally] = {}

    def add(self, code: Code, table: str, region: str | None, detail: str, key: str) -> None:
        """Count one."""
        self._found.setdefault((code, table, region, detail), Tally()).add(key)

    def findings(self) -> Iterator[Finding]:
        """Yield one finding for each tally."""
        for (code, table, region, detail), tally in self._found.items():
            yield Finding(
                code, self._server, table, region, tally.count, sampled_keys(tally.keys), detail
            )
