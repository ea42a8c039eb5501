"""Order-independent digests over one canonical form of a row. Pure.

Every cell has a canonical form that both ends compute by themselves (``None`` for NULL). How the
cells of a row become its digest is a :class:`DigestForm`, taken against accidents and not against
an adversary. :class:`Md5` serves any two ends: the cells' texts, each with its length in bytes in
front, so that no two rows share a form. The digest of a set of rows is their number and the sum of
the digests: a sum, unlike an exclusive or, sees a row that stands twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
        digest: of the canonical form, as text; both ends write it alike.
    """

    key: tuple[str | None, ...]
    region: str | None
    digest: str


class DigestForm(Protocol):
    """How PostgreSQL computes the digest of a row from its cells. Both ends use the same one.

    Attributes:
        halves: whether a digest has two halves of 64 bits; else its low half is 0.
    """

    halves: bool

    def row(self, cells: Sequence[str]) -> str:
        """Return SQL for the digest of a row.

        Args:
            cells: SQL for each cell: its canonical text, NULL for NULL.
        """
        ...

    def numbers(self, digest: str) -> tuple[str, str]:
        """Return SQL for the high and the low half of a digest, as int8.

        Args:
            digest: SQL for what :meth:`row` gave.
        """
        ...


class Md5:
    """MD5 over the cells' texts, each with its length in front: :func:`row_digest` in SQL."""

    halves = True

    def row(self, cells: Sequence[str]) -> str:
        """Return SQL for the MD5 in hex."""
        # Not concat(): a function takes no more than 100 arguments.
        form = " || ".join(
            f"coalesce(octet_length(convert_to({cell}, 'UTF8'))::text || ':' || {cell} || ';', "
            "'-;')"
            for cell in cells
        )
        return f"md5(convert_to({form}, 'UTF8'))"

    def numbers(self, digest: str) -> tuple[str, str]:
        """Return SQL for the first and the last sixteen digits as numbers."""
        return (
            f"('x' || left({digest}, 16))::bit(64)::bigint",
            f"('x' || right({digest}, 16))::bit(64)::bigint",
        )


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
