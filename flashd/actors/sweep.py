"""The full sweep of one channel's map: every SKU is looked at now and then, whatever was or was not heard of it."""

from __future__ import annotations

from collections import deque

from flashd.ports import Clock, Listings

PART = 250  # SKUs that are swept together, and only while little else is dirty


class Sweep:
    """Walks through the map a part at a time, so that what sells is never behind it."""

    def __init__(self, listings: Listings, channel: str, *, clock: Clock) -> None:
        self._listings = listings
        self._channel = channel
        self._clock = clock
        self._left: deque[str] = deque()
        self._cursor = -1  # of the map, -1 where no sweep is under way
        self._began_s = float("-inf")

    def restart(self) -> None:
        """Begin anew with the next part."""
        self._left.clear()
        self._cursor, self._began_s = -1, float("-inf")

    async def next_part(self, every_s: float) -> list[str]:
        """Return the SKUs to be looked at next; none where the last sweep is done and began less than *every_s* ago."""
        now_s = self._clock.monotonic_s()
        if not self._left and self._cursor < 0 and now_s - self._began_s >= every_s:
            self._cursor, self._began_s = 0, now_s
        if not self._left and self._cursor >= 0:
            skus, cursor = await self._listings.mapped(self._channel, self._cursor, limit=PART)
            self._left.extend(skus)
            self._cursor = cursor or -1
        return [self._left.popleft() for _ in range(min(PART, len(self._left)))]
