"""A clock that stands still until it is turned."""

from __future__ import annotations

import asyncio
import heapq


class FakeClock:
    """Time moves only by `advance`, which wakes sleepers in order."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._serial = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._serial += 1
        heapq.heappush(self._sleepers, (self._monotonic_s + seconds, self._serial, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Turn the clock; sleepers whose time has come run in order, each with the loop's turns that it needs."""
        target = self._monotonic_s + seconds
        while True:
            await self._settle()
            if not self._sleepers or self._sleepers[0][0] > target:
                break
            when, _, future = heapq.heappop(self._sleepers)
            self._turn_to(max(when, self._monotonic_s))
            if not future.done():
                future.set_result(None)
        self._turn_to(target)

    def stand_still(self, seconds: float) -> None:
        """Let time go by while nobody runs, as in a paused process: sleepers wake late, at the next `advance`."""
        self._turn_to(self._monotonic_s + seconds)

    def _turn_to(self, monotonic_s: float) -> None:
        self._now_ms += round((monotonic_s - self._monotonic_s) * 1000)
        self._monotonic_s = monotonic_s

    @staticmethod
    async def _settle() -> None:
        for _ in range(50):
            await asyncio.sleep(0)
