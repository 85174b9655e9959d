"""The time."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The time, so that tests can turn it."""

    def now_ms(self) -> int:
        """Return wall-clock time in ms since 1970, UTC."""

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
