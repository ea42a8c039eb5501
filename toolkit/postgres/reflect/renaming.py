"""The names that schemas have in the result. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Renaming:
    """What schemas are called in the result, where a cutover has renamed one.

    Attributes:
        schemas: from the name in the database to that in the result.
        spellings: the same names as PostgreSQL prints them, in quotes where it needs them.
    """

    schemas: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, str] = field(default_factory=dict)

    def schema(self, name: str) -> str:
        """Return what a schema is called."""
        return self.schemas.get(name, name)

    def text(self, sql: str) -> str:
        """Return PostgreSQL's text with the schemas' right names, in string literals too."""
        for found, wanted in self.spellings.items():
            sql = _replaced(sql, found, wanted)
            if "'" in found:
                # A sequence stands in a literal, where quotes are doubled.
                sql = _replaced(sql, found.replace("'", "''"), wanted.replace("'", "''"))
        return sql


def _replaced(sql: str, found: str, wanted: str) -> str:
    return re.sub(rf'(?<![\w".$]){re.escape(found)}\.', lambda _: f"{wanted}.", sql)
