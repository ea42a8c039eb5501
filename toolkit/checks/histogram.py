"""How long something took, many times: an HDR histogram that speaks seconds in, milliseconds out.

From 1 µs to 60 s at three significant digits: every figure is within 0.1 % of what was measured,
and a histogram takes the same memory after ten values and after ten million.
"""

from __future__ import annotations

import math
from typing import Any

from hdrh.histogram import HdrHistogram

_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 60_000_000, 3


class Distribution:
    """The distribution of durations. The figures of an empty one are NaN, ``None`` in JSON."""

    def __init__(self) -> None:
        self._histogram = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
        self._greatest_us = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration, in seconds. Beyond 60 s it counts as 60 s; ``max`` stays exact."""
        microseconds = seconds * 1e6
        self._greatest_us = max(self._greatest_us, microseconds)
        self._histogram.record_value(min(_HIGHEST_US, max(_LOWEST_US, round(microseconds))))

    def merge(self, other: Distribution) -> None:
        """Count everything that ``other`` counted, too."""
        if other.count:
            self._histogram.add(other._histogram)
            self._greatest_us = max(self._greatest_us, other._greatest_us)

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return int(self._histogram.get_total_count())

    def percentile(self, percent: float) -> float:
        """Return what ``percent`` of the durations did not exceed, in milliseconds."""
        if not self.count:
            return math.nan
        value = float(self._histogram.get_value_at_percentile(percent))
        # A bucket is named by its upper end, which the greatest value need not reach.
        return min(value, self._greatest_us) / 1000

    @property
    def p50(self) -> float:
        """The median, in milliseconds."""
        return self.percentile(50)

    @property
    def p95(self) -> float:
        """What 95 % did not exceed, in milliseconds."""
        return self.percentile(95)

    @property
    def p99(self) -> float:
        """What 99 % did not exceed, in milliseconds."""
        return self.percentile(99)

    @property
    def max(self) -> float:
        """The greatest, in milliseconds."""
        return self._greatest_us / 1000 if self.count else math.nan

    def document(self) -> dict[str, Any]:
        """Return the figures for ``--output json``: milliseconds, three digits after the point."""
        figures = {"p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.max}
        return {
            "count": self.count,
            **{
                f"{name}_ms": None if math.isnan(value) else round(value, 3)
                for name, value in figures.items()
            },
        }
