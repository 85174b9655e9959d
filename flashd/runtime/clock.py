"""The system's own time, behind ``ports.Clock``."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """The real clock; everything that waits or stamps is handed one, so that tests can hand it another."""

    def now_ms(self) -> int:
        """Return wall-clock time in ms since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
