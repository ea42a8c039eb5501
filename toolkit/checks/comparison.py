"""Two answers to one question, compared as multisets of rows. Pure.

The order of rows does not count, how often a row is there does. Floats are equal within one part in
10^9: a sum of floats depends on the order of its parts, which no layout promises.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from toolkit.checks.cells import Cell, render
from toolkit.errors import SAMPLES
from toolkit.types import PostgresType

Row = tuple[Cell, ...]

#: How far two floats may be apart, relative to the greater one.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Answer:
    """What a query returned.

    Attributes:
        columns: with their types in the source.
        rows: each row with how often it is there, cells in the order of the columns.
        strange: names of fields or columns that the source does not return.
    """

    columns: Mapping[str, PostgresType]
    rows: Counter[Row]
    strange: frozenset[str] = frozenset()


@dataclass
class Difference:
    """How an answer differs from the source's, over all drawn parameters.

    Attributes:
        missing: rows that only the source returns, exactly.
        unexpected: rows that only the layout returns, exactly.
        strange: fields or columns that the source does not return.
        samples: some of the rows, rendered.
    """

    missing: int = 0
    unexpected: int = 0
    strange: set[str] = field(default_factory=set)
    samples: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.missing or self.unexpected or self.strange)

    @property
    def count(self) -> int:
        """How many rows differ: a changed row is missing and unexpected, and counts once."""
        return max(self.missing, self.unexpected, len(self.strange))

    @property
    def words(self) -> str:
        """What differs, in words, with exact counts."""
        parts = [
            f"{count:,} row(s) {word}"
            for count, word in ((self.missing, "missing"), (self.unexpected, "unexpected"))
            if count
        ]
        if self.strange:
            parts.append(f"the source returns no {', '.join(sorted(self.strange))}")
        return ", ".join(parts)

    def add(self, source: Answer, other: Answer, parameters: Mapping[str, object]) -> None:
        """Compare the answers to one row of parameters."""
        missing, unexpected = unmatched(source.rows, other.rows)
        self.missing += len(missing)
        self.unexpected += len(unexpected)
        self.strange |= other.strange
        asked = ", ".join(f"{name} = {value}" for name, value in parameters.items())
        names = list(source.columns)
        for word, rows in (("missing", missing), ("unexpected", unexpected)):
            # Room is kept for both kinds: which is which is what the reader looks for.
            room = SAMPLES // 2 - sum(sample.startswith(word) for sample in self.samples)
            for row in sorted(_shown(names, row) for row in rows)[: max(0, room)]:
                self.samples.append(f"{word}{f' ({asked})' if asked else ''}: {row}")


def _shown(names: Sequence[str], row: Row) -> str:
    return ", ".join(f"{name} = {render(cell)}" for name, cell in zip(names, row, strict=True))


def unmatched(source: Counter[Row], other: Counter[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows that only ``source`` has, and those that only ``other`` has."""
    missing = list((source - other).elements())
    unexpected = list((other - source).elements())
    return _without_rounding(missing, unexpected)


def _without_rounding(missing: list[Row], unexpected: list[Row]) -> tuple[list[Row], list[Row]]:
    """Leave out pairs of rows that differ in the last digits of floats only."""
    candidates: dict[Row, list[Row]] = defaultdict(list)
    for row in unexpected:
        candidates[_exact(row)].append(row)
    for rows in candidates.values():
        rows.sort(key=_floats)
    left = []
    for row in missing:
        rows = candidates[_exact(row)]
        found = _close(row, rows)
        if found is None:
            left.append(row)
        else:
            del rows[found]
    return left, [row for rows in candidates.values() for row in rows]


def _exact(row: Row) -> Row:
    return tuple(("float", None) if _is_float(cell) else cell for cell in row)


def _is_float(cell: Cell) -> bool:
    return cell[0] == "float" and isinstance(cell[1], float)


def _floats(row: Row) -> tuple[float, ...]:
    return tuple(cell[1] for cell in row if _is_float(cell))


def _close(row: Row, rows: Sequence[Row]) -> int | None:
    """Return which of ``rows``, sorted by their floats, is as good as equal."""
    wanted = _floats(row)
    if not wanted:
        return None
    margin = abs(wanted[0]) * 2 * TOLERANCE
    start = bisect_left(rows, wanted[0] - margin, key=lambda item: _floats(item)[0])
    for place in range(start, len(rows)):
        found = _floats(rows[place])
        if found[0] > wanted[0] + margin:
            return None
        if all(
            math.isclose(one, other, rel_tol=TOLERANCE)
            for one, other in zip(wanted, found, strict=True)
        ):
            return place
    return None
