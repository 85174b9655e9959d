"""
Shopify's own budget: every call costs points, a bucket holds them, and each answer says how full it is.

Nothing of it is known beforehand. What a kind of call costs, how large the bucket is and how fast it fills are all
learned from the answers (``extensions.cost``): they depend on the shop's plan, and other processes draw from the bucket
too. Facts: shopify.dev/docs/apps/build/apis/graphql-admin/rate-limits.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

SPARED = 0.25  # of the bucket, which listings leave to stock: a sell-stop does not wait for a catalogue
_LONGEST_S = 60.0
_NOTHING = 1e-6  # points; a rest too small for the clock would be waited for without end


class Throttle(msgspec.Struct, rename="camel", frozen=True):
    """How the bucket stood when an answer was made."""

    maximum_available: float
    currently_available: float
    restore_rate: float


class Cost(msgspec.Struct, rename="camel", frozen=True):
    """What a call cost."""

    requested_query_cost: float
    throttle_status: Throttle
    actual_query_cost: float | None = None


class Points:
    """The bucket as far as it is known."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = asyncio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._status: Throttle | None = None
        self._there = 0.0
        self._at = 0.0
        self._away = 0.0  # asked for, and not answered yet
        self._costs: dict[str, float] = {}  # of a kind of call, for each unit of its size

    def wait_s(self, points: float, *, spare: bool) -> float:
        """Return how long to wait until a call of that cost may go out."""
        status = self._status
        if status is None:
            return 0.0
        there = self._now(status)
        needed = points + (SPARED * status.maximum_available if spare else 0.0)
        lacking = min(needed, status.maximum_available) - there
        if lacking <= _NOTHING:
            return 0.0
        return min(_LONGEST_S, lacking / max(status.restore_rate, 0.1))

    def _now(self, status: Throttle) -> float:
        return min(status.maximum_available, self._there + (self._clock() - self._at) * status.restore_rate)

    async def take(self, kind: str, size: int, *, spare: bool = False, patience_s: float = math.inf) -> float | None:
        """
        Wait until the bucket holds what a call of this kind and size is expected to cost.

        Returns:
            The points taken, or None where that would last longer than *patience_s*.
        """
        points = self._costs.get(kind, 0.0) * size
        until_s = self._clock() + patience_s
        while (wait_s := self.wait_s(points, spare=spare)) > 0:
            if self._clock() + wait_s > until_s:
                return None
            await self._sleep(wait_s)
        if self._status is not None:
            self._there, self._at = self._now(self._status) - points, self._clock()
        self._away += points
        return points

    def settle(self, kind: str, size: int, taken: float, cost: Cost | None) -> None:
        """Note what an answer said; None where none came, so that what was taken counts as gone."""
        self._away -= taken
        if cost is None:
            return
        self._costs[kind] = cost.requested_query_cost / max(size, 1)
        self._status = cost.throttle_status
        self._there, self._at = cost.throttle_status.currently_available - self._away, self._clock()
