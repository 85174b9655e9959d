"""When to look again: at once after a pause, and in a rush not after every order."""

from __future__ import annotations

import asyncio

from flashd.ports import Clock
from flashd.runtime.deadline import any_of

REST_S = 0.05  # a rush says hundreds of times a second that something moved; each look is several calls of the store


class Stir:
    """
    What somebody waits for who looks at intervals, and sooner where something happened.

    Args:
        rest_s: So long after a look began the next one begins, whatever happened, but for what is urgent.
    """

    def __init__(self, clock: Clock, *, rest_s: float = REST_S) -> None:
        self._clock = clock
        self._rest_s = rest_s
        self._said = asyncio.Event()
        self._is_urgent = False
        self._began_s = self._said_s = float("-inf")

    def begin(self) -> float:
        """
        Take note that a look begins, which sees all that happened until now.

        Return how many seconds ago something happened last: who looked later than that saw it as well.
        """
        self._said.clear()
        self._is_urgent = False
        self._began_s = self._clock.monotonic_s()
        return self._began_s - self._said_s

    def say(self, *, urgent: bool = False) -> None:
        """Say that something happened; never waits."""
        self._is_urgent = self._is_urgent or urgent
        self._said_s = self._clock.monotonic_s()
        self._said.set()

    async def wait(self, seconds: float) -> None:
        """Return when something happened since the look began, at the latest after *seconds*, but not in a row."""
        sleeper = asyncio.ensure_future(self._said.wait())
        try:
            await any_of([sleeper], seconds, clock=self._clock)
        finally:
            sleeper.cancel()
        rest_s = self._began_s + self._rest_s - self._clock.monotonic_s()
        if rest_s > 0 and not self._is_urgent:
            await self._clock.sleep(rest_s)
