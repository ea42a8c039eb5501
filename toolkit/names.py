"""Generated names: deterministic, within PostgreSQL's 63 bytes, never clashing. Pure.

PostgreSQL cuts an identifier off after 63 **bytes** without an error (documentation, "Identifiers
and Key Words"), so two long names can become one. A name that would be too long is cut here, at a
character boundary, and gets a digest of the whole name, so that it stays unique and stable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

#: NAMEDATALEN - 1 of a standard build of PostgreSQL.
MAX_BYTES = 63
_DIGEST_CHARACTERS = 8


def shorten(name: str, limit: int = MAX_BYTES) -> str:
    """Return ``name`` if it has at most ``limit`` bytes in UTF-8, else its head and a digest."""
    encoded = name.encode()
    if len(encoded) <= limit:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST_CHARACTERS]
    head = encoded[: limit - _DIGEST_CHARACTERS - 1].decode(errors="ignore")
    return f"{head}_{digest}"


class NamePool:
    """The names of one namespace (the relations of a schema, the columns of a table).

    Args:
        taken: names that exist already and are never given out.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def claim(self, *candidates: str) -> str:
        """Return the first free candidate, shortened; number the last one if none is free.

        The result depends on the candidates and on the names taken before, on nothing else.
        """
        for candidate in candidates:
            name = shorten(candidate)
            if name not in self._taken:
                self._taken.add(name)
                return name
        number = 2
        while True:
            name = shorten(f"{candidates[-1]}_{number}")
            if name not in self._taken:
                self._taken.add(name)
                return name
            number += 1
