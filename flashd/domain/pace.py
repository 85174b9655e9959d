"""
How fast a SKU sells and how late a channel shows it: sell rate, publishing lag, and the buffer that follows from both.

Everything here takes the time as an argument, by a clock that never goes back.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque

import msgspec

FADE_S = 30.0  # after so long a sale counts for a third of the rate
CAUTION_S = 5.0  # what sold within less time says nothing of a rate yet
LAG_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
STILL_PER_S = 0.001  # what is left of a rate after minutes without a sale is no demand: it keeps nothing from anybody
BUFFER_MAX = 1_000_000  # a buffer that is tuned never asks for more


class SellRate:
    """Units a second, decaying: what sold last counts most."""

    def __init__(self) -> None:
        self.last_s = -math.inf  # when it sold last
        self._weight = 0.0  # units, faded to the instant at_s
        self._at_s = 0.0
        self._since_s = 0.0  # when this spell of selling began

    def note(self, units: int, now_s: float) -> None:
        """Take note of *units* that were sold."""
        if units <= 0:
            return
        if self.per_s(now_s) * FADE_S < 0.01 * units:  # nothing left of the last spell: begin afresh
            self._since_s, self._weight = now_s, 0.0
        self._weight = self._faded(now_s) + units
        self._at_s = self.last_s = now_s

    def per_s(self, now_s: float) -> float:
        """Return the rate now; a spell that is young is not stretched to a rate it has not proven."""
        age_s = max(CAUTION_S, now_s - self._since_s)
        return self._faded(now_s) / (FADE_S * -math.expm1(-age_s / FADE_S))

    def idle_s(self, now_s: float) -> float:
        """Return how long nothing was sold, endless before the first sale."""
        return now_s - self.last_s

    def _faded(self, now_s: float) -> float:
        return self._weight * math.exp(-max(0.0, now_s - self._at_s) / FADE_S) if self._weight else 0.0


STALE_S = 0.5


class LagWindow:
    """How late what was published was, lately: percentiles of a window, and buckets over the whole life."""

    def __init__(self, *, window_s: float = 600.0, entries: int = 2048) -> None:
        self.count = 0
        self.sum_s = 0.0
        self.buckets = [0] * (len(LAG_BUCKETS_S) + 1)  # not cumulative; the last is what is over all bounds
        self._window_s = window_s
        self._late: deque[tuple[float, float]] = deque(maxlen=entries)
        self._told: dict[float, tuple[float, float]] = {}  # part -> (when it was computed, what it was)

    def note(self, lag_s: float, now_s: float) -> None:
        """Take note of a figure that was right *lag_s* after the stock behind it had changed."""
        lag_s = max(0.0, lag_s)
        self.count += 1
        self.sum_s += lag_s
        self.buckets[bisect_left(LAG_BUCKETS_S, lag_s)] += 1
        self._late.append((now_s, lag_s))

    def percentile(self, part: float, now_s: float) -> float:
        """
        Return what *part* (0 to 1) of the figures in the window did not exceed, 0 where there were none.

        It is asked for with every figure and may be half a second old: sorting each time cost a tenth of a busy second.
        """
        told_s, value = self._told.get(part, (-math.inf, 0.0))
        if value and now_s - told_s < STALE_S:
            return value
        value = self._percentile(part, now_s)
        self._told[part] = (now_s, value)
        return value

    def _percentile(self, part: float, now_s: float) -> float:
        while self._late and now_s - self._late[0][0] > self._window_s:
            self._late.popleft()
        ordered = sorted(lag_s for _, lag_s in self._late)
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0


def tuned_buffer(per_s: float, lag_s: float, factor: float) -> int:
    """
    Return how many units a mirrored figure keeps back: what sells while a figure is on its way, times *factor*.

    0 switches it off. The product is rounded up: a SKU that sells at all keeps at least one back.
    """
    if factor <= 0 or per_s < STILL_PER_S:
        return 0
    return min(BUFFER_MAX, math.ceil(per_s * max(0.0, lag_s) * factor))


class Quantum(msgspec.Struct, frozen=True, kw_only=True):
    """How large one grant to a channel is: what sells until the next one can be there, and half as much again."""

    refill_s: float  # from a sale to the next grant in force
    margin: float = 1.5

    def units(self, per_s: float) -> int:
        """Return the credit window of a channel that sells at that rate; 0 where it does not."""
        return math.ceil(per_s * self.refill_s * self.margin) if per_s >= STILL_PER_S else 0
