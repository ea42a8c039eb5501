"""What the benchmark says of one comparison, and how it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: what selects it.
        what: what is done.
        peer: what it is compared with.
        unit: of ``ours`` and ``theirs``.
        ours: every run's figure.
        theirs: every run's figure of the peer.
        wanted: the limit of the ratio of the medians, ours to the peer's; ``None`` for a figure
            that is shown and not judged.
        at_least: whether ``wanted`` is a least ratio and not a greatest.
        notes: what a reader of the figures must know.
        more: figures beside the ratio, for the JSON document.
    """

    name: str
    what: str
    peer: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    wanted: float | None
    at_least: bool = False
    notes: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """The ratio of the medians."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is as wanted; ``None`` where nothing is."""
        if self.wanted is None:
            return None
        return self.ratio >= self.wanted if self.at_least else self.ratio <= self.wanted

    def document(self) -> dict[str, Any]:
        """Return the row for the JSON document."""
        return {
            "name": self.name,
            "what": self.what,
            "peer": self.peer,
            "unit": self.unit,
            "ours": {"runs": list(self.ours), "median": statistics.median(self.ours)},
            "theirs": {"runs": list(self.theirs), "median": statistics.median(self.theirs)},
            "ratio": self.ratio,
            "wanted": self.limit,
            "reached": self.reached,
            "notes": list(self.notes),
            **self.more,
        }

    @property
    def limit(self) -> str | None:
        """The limit in words."""
        if self.wanted is None:
            return None
        return f"{'>=' if self.at_least else '<='} {self.wanted:g}"


@dataclass(frozen=True)
class MemoryRow:
    """The line about memory: no peer, but two sizes of bank.

    Attributes:
        name: what selects it.
        peaks: from the command to its greatest sizes in bytes, at the small and the large bank.
        payments: of the small and the large bank.
        most: bytes that no command may exceed.
        growth: the greatest growth that is allowed, as a share.
    """

    name: str
    peaks: dict[str, tuple[int, int]]
    payments: tuple[int, int]
    most: int = 250_000_000
    growth: float = 0.10

    @property
    def peak(self) -> int:
        """The greatest of all."""
        return max(max(sizes) for sizes in self.peaks.values())

    @property
    def grown(self) -> float:
        """The greatest growth of a command, as a share."""
        return max(large / small - 1 for small, large in self.peaks.values())

    @property
    def reached(self) -> bool:
        """Whether both limits are kept."""
        return self.peak <= self.most and round(self.grown, 6) <= self.growth

    def document(self) -> dict[str, Any]:
        """Return the row for the JSON document."""
        return {
            "name": self.name,
            "what": "proportional set size of the command and all its children, greatest sum",
            "unit": "bytes",
            "payments": list(self.payments),
            "peaks": {command: list(sizes) for command, sizes in self.peaks.items()},
            "peak": self.peak,
            "growth": self.grown,
            "wanted": f"<= {self.most} bytes, growth <= {self.growth:g}",
            "reached": self.reached,
        }


def table(rows: Iterable[Row | MemoryRow]) -> str:
    """Return the rows as a table for people."""
    lines = [("row", "ours", "peer", "ratio", "spread", "wanted", "reached")]
    for row in rows:
        if isinstance(row, MemoryRow):
            lines += _memory_lines(row)
            continue
        lines.append(
            (
                row.name,
                _figure(statistics.median(row.ours), row.unit),
                _figure(statistics.median(row.theirs), row.unit),
                f"{row.ratio:.2f}",
                "{:.2f}-{:.2f}".format(*_spread(row.ours, row.theirs)),
                row.limit or "",
                _word(row.reached),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _memory_lines(row: MemoryRow) -> list[tuple[str, str, str, str, str, str, str]]:
    small, large = row.payments
    lines = [
        (
            f"{row.name}: {command}",
            f"{sizes[1] / 1e6:.0f} MB",
            f"{sizes[0] / 1e6:.0f} MB",
            f"{sizes[1] / sizes[0]:.2f}",
            "",
            "",
            "",
        )
        for command, sizes in row.peaks.items()
    ]
    what = f"{row.name}: {large:,} against {small:,} payments"
    wanted = f"<= {row.most / 1e6:.0f} MB, <= {1 + row.growth:g}"
    peak, grown = f"{row.peak / 1e6:.0f} MB", f"{1 + row.grown:.2f}"
    return [*lines, (what, peak, "", grown, "", wanted, _word(row.reached))]


def _spread(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest ratio of two runs of the same round."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return min(ratios), max(ratios)


def _figure(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.2f} {unit}"


def _word(reached: bool | None) -> str:
    return {True: "yes", False: "NO", None: ""}[reached]
