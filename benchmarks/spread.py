"""Several rounds as one figure: the median, and between which figures it lies."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """A median with its least and its most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def over(self, divisor: float) -> Spread:
        """Return the same in another unit."""
        return Spread(self.median / divisor, self.least / divisor, self.most / divisor)

    def text(self, form: str = ",.0f") -> str:
        return f"{self.median:{form}} ({self.least:{form}}-{self.most:{form}})"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of *values* lies."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]
