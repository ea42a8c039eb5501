"""Compares the rows of two ends by key and region, in memory that does not grow with them.

Both ends give the digests of their rows in any order. They are put into a temporary SQLite file,
readable by nobody else and gone when it is closed, and read back by key.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from toolkit.digest import RowDigest
from toolkit.findings import Code, Finding, sampled_keys

Key = tuple[str | None, ...]

#: What an operator does about each kind of difference.
_REPAIRS = {
    Code.row_missing: "copy it from the source",
    Code.row_unexpected: "remove it from the target",
    Code.row_differs: "copy it from the source again",
    Code.row_misplaced: "remove it from this region, copy it from the source again",
    Code.row_duplicated: "remove it from this region",
}


@dataclass(frozen=True)
class Mismatch:
    """One row that differs.

    Attributes:
        code: how.
        table: its table.
        region: where it is, or should be.
        key: of the row.
        detail: what an operator needs in order to understand it.
    """

    code: Code
    table: str
    region: str | None
    key: Key
    detail: str = ""

    @property
    def text(self) -> str:
        """The key as one text."""
        return ", ".join("NULL" if cell is None else cell for cell in self.key)

    @property
    def repair(self) -> str:
        """What to do about it."""
        return _REPAIRS[self.code]


class RowComparison:
    """The rows of one table at both ends. Use it as a context manager.

    Args:
        server: the target's name, for findings.
        table: the table's key.
    """

    def __init__(self, server: str, table: str) -> None:
        self._server = server
        self._table = table
        # No name: a private file of SQLite's own, in memory while it is small.
        self._store = sqlite3.connect("", check_same_thread=False)
        self._store.execute("PRAGMA cache_size = -8192")
        self._store.execute("PRAGMA journal_mode = OFF")
        self._store.execute("CREATE TABLE row (key TEXT, side INT, region TEXT, digest TEXT)")
        self._store.execute("CREATE TABLE mismatch (code TEXT, region TEXT, key TEXT, detail TEXT)")

    def __enter__(self) -> RowComparison:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        self._store.close()

    def compare(self, expected: Iterable[RowDigest], actual: Iterable[RowDigest]) -> None:
        """Find every row that differs; call it once."""
        for side, rows in enumerate((expected, actual)):
            self._store.executemany(
                "INSERT INTO row VALUES (?, ?, ?, ?)",
                ((json.dumps(row.key), side, row.region, row.digest) for row in rows),
            )
        self._note(self._found())
        self._store.execute("DROP TABLE row")

    def _note(self, found: Iterable[Mismatch]) -> None:
        self._store.executemany(
            "INSERT INTO mismatch VALUES (?, ?, ?, ?)",
            ((one.code.value, one.region, json.dumps(one.key), one.detail) for one in found),
        )

    def _found(self) -> Iterator[Mismatch]:
        ordered = self._store.execute("SELECT key, side, region, digest FROM row ORDER BY key")
        for key, group in groupby(ordered, itemgetter(0)):
            sides: tuple[list[tuple[str | None, str]], list[tuple[str | None, str]]] = ([], [])
            for _, side, region, digest in group:
                sides[side].append((region, digest))
            for code, region, detail in classified(*sides):
                yield Mismatch(code, self._table, region, tuple(json.loads(key)), detail)

    def mismatches(self, code: Code | None = None) -> Iterator[Mismatch]:
        """Yield every row that differs, by kind, region and key.

        Args:
            code: only those of this kind.
        """
        rows = self._store.execute(
            "SELECT code, region, key, detail FROM mismatch WHERE ? IS NULL OR code = ? "
            "ORDER BY code, coalesce(region, ''), key",
            (code, code),
        )
        for kind, region, key, detail in rows:
            yield Mismatch(Code(kind), self._table, region, tuple(json.loads(key)), detail)

    def explain(self, details: Iterable[tuple[Key, str]]) -> None:
        """Say of rows that differ which columns do."""
        self._store.executemany(
            "UPDATE mismatch SET detail = ? WHERE code = ? AND key = ?",
            ((detail, Code.row_differs.value, json.dumps(key)) for key, detail in details),
        )

    def findings(self) -> list[Finding]:
        """Return one finding for each kind and region, with the exact number and samples."""
        found = []
        groups = self._store.execute(
            "SELECT code, region, count(*) FROM mismatch GROUP BY 1, 2 "
            "ORDER BY code, coalesce(region, '')"
        ).fetchall()
        for code, region, count in groups:
            samples = self._store.execute(
                "SELECT key, detail FROM mismatch WHERE code = ? AND region IS ? "
                "ORDER BY key LIMIT 10",
                (code, region),
            ).fetchall()
            keys = [
                Mismatch(Code(code), "", None, tuple(json.loads(key))).text for key, _ in samples
            ]
            detail = ", ".join(sorted({text for _, text in samples if text}))
            found.append(
                Finding(
                    Code(code), self._server, self._table, region, count, sampled_keys(keys), detail
                )
            )
        return found


def classified(
    wanted: Sequence[tuple[str | None, str]], seen: Sequence[tuple[str | None, str]]
) -> list[tuple[Code, str | None, str]]:
    """Return what is wrong with the rows of one key: kind, region, detail. Pure.

    Args:
        wanted: region and digest of each row of the source.
        seen: likewise, of the target.
    """
    places, right = [place for place, _ in seen], [place for place, _ in wanted]
    if not wanted:
        return [(Code.row_unexpected, region, "") for region in places]
    if not seen:
        return [(Code.row_missing, region, "") for region in right]
    more, fewer = Counter(places) - Counter(right), Counter(right) - Counter(places)
    times = f"{len(places)} times, not {len(right)}"
    if more and fewer:
        home = ", ".join(sorted(map(str, fewer)))
        return [(Code.row_misplaced, region, f"belongs to {home}") for region in more]
    if more:
        return [(Code.row_duplicated, region, times) for region in more]
    if fewer:
        return [(Code.row_missing, region, times) for region in fewer]
    if sorted(digest for _, digest in seen) != sorted(digest for _, digest in wanted):
        return [(Code.row_differs, places[0], "")]
    return []
