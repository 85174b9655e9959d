"""How late the event loop runs what is due: the first sign that something blocks it."""

from __future__ import annotations

from collections import deque
from typing import NoReturn

from flashd.ports import Clock


class LoopLag:
    """Wakes often and notes how late it was woken, over a sliding window."""

    def __init__(self, *, clock: Clock, interval_s: float = 0.1, window_s: float = 60.0) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._late_s: deque[float] = deque(maxlen=max(1, round(window_s / interval_s)))

    async def measure(self) -> NoReturn:
        """Measure until cancelled."""
        while True:
            due = self._clock.monotonic_s() + self._interval_s
            await self._clock.sleep(self._interval_s)
            self._late_s.append(max(0.0, self._clock.monotonic_s() - due))

    @property
    def max_s(self) -> float:
        """The worst of the window."""
        return max(self._late_s, default=0.0)

    @property
    def p99_s(self) -> float:
        """What 99 of 100 wake-ups in the window did not exceed."""
        ordered = sorted(self._late_s)
        return ordered[-(-99 * len(ordered) // 100) - 1] if ordered else 0.0
