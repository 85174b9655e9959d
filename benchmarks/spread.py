"""Several rounds as one figure: the median, and between which figures it lies."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

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

    def text(self, form: str = ",.0f") -> str:
        return f"{self.median:{form}} ({self.least:{form}}-{self.most:{form}})"
