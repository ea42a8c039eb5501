"""Order-independent digests over one canonical form of a row. Pure.

Every cell has a canonical text that both ends compute by themselves (``None`` for NULL). A row is
the cells' texts, each with its length in bytes in front, so that no two rows share a form; its
digest is MD5, which every PostgreSQL has, taken against accidents and not against an adversary.
The digest of a set of rows is their number and the sum of the digests: a sum, unlike an exclusive
or, sees a row that stands twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Digest:
    """The digest of a set of rows.

    Attributes:
        rows: how many.
        high: sum of the first 8 bytes of each row's digest, modulo 2**64.
        low: sum of the last 8 bytes, modulo 2**64.
    """

    rows: int = 0
    high: int = 0
    low: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(
            self.rows + other.rows,
            (self.high + other.high) & _MASK,
            (self.low + other.low) & _MASK,
        )


@dataclass(frozen=True)
class RowDigest:
    """The digest of one row.

    Attributes:
        key: canonical texts of the key's cells; of all cells where there is no key.
        region: where the row is, ``None`` for a row of a global table.
        digest: MD5 of the canonical form, in hex.
    """

    key: tuple[str | None, ...]
    region: str | None
    digest: str


def row_digest(cells: Sequence[str | None]) -> str:
    """Return the MD5 of a row's canonical form, in hex."""
    form = "".join(
        [
            # Counting characters is counting bytes where all are ASCII, and much cheaper.
            "-;"
            if cell is None
            else f"{len(cell) if cell.isascii() else len(cell.encode())}:{cell};"
            for cell in cells
        ]
    )
    return hashlib.md5(form.encode(), usedforsecurity=False).hexdigest()


def total(digests: Iterable[str]) -> Digest:
    """Return the digest of a set of rows, given their MD5 in hex."""
    rows = high = low = 0
    for digest in digests:
        rows += 1
        high += int(digest[:16], 16)
        low += int(digest[16:], 16)
    return Digest(rows, high & _MASK, low & _MASK)
