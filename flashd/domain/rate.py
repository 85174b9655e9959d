"""A rate as people write it, and the spacing that keeps it in any window."""

from __future__ import annotations

import math
import re

import msgspec

UNLIMITED = "unlimited"
SLACK_US = 10_000  # so late may a request leave without pushing those behind it: what an event loop is late at times

_RATE = re.compile(r"^\s*(\d+)\s*/\s*(?:(\d+)\s*)?(s|sec|min|h)\s*$")
_SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600}


class Rate(msgspec.Struct, frozen=True):
    """At most *count* requests in any half-open window of *window_s* seconds; 0: as many as may be under way."""

    count: int
    window_s: int

    @classmethod
    def parse(cls, text: str, *, unlimited: bool = False) -> Rate:
        """
        Read ``5/s``, ``120/min``, ``1000/h`` or ``10/30s``; also ``unlimited``, where *unlimited* lets it.

        Raises:
            ValueError: The text is of another form; the message says what is allowed.
        """
        if unlimited and text.strip() == UNLIMITED:
            return cls(0, 1)
        match = _RATE.match(text)
        if match is None or int(match[1]) == 0:
            allowed = f"5/s, 120/min, 1000/h or 10/30s{f', or {UNLIMITED}' if unlimited else ''}"
            raise ValueError(f"{text!r} is not a rate: write a positive number per time, such as {allowed}")
        rate = cls(int(match[1]), int(match[2] or 1) * _SECONDS[match[3]])
        if rate.window_s == 0 or rate.count > rate.window_s * 1_000_000:
            raise ValueError(f"{text!r} is not a rate: write at most 1,000,000 a second, over a time above 0")
        return rate

    @property
    def is_unlimited(self) -> bool:
        """Whether only the number of requests under way is bounded."""
        return self.count == 0

    @property
    def per_second(self) -> float:
        """The same as a number per second."""
        return self.count / self.window_s if self.count else math.inf

    @property
    def spacing_us(self) -> int:
        """Whole microseconds between two drops, rounded up: floor(1 s / 7) would admit 8 in a second; 0: none."""
        return -(-self.window_s * 1_000_000 // self.count) if self.count else 0

    @property
    def paced_us(self) -> int:
        """The spacing that keeps the rate where a request may leave SLACK_US late: `domain.bucket` proves it."""
        return -(-(self.window_s * 1_000_000 + SLACK_US) // self.count) if self.count else 0

    def __str__(self) -> str:
        if self.is_unlimited:
            return UNLIMITED
        unit = {1: "s", 60: "min", 3600: "h"}.get(self.window_s, f"{self.window_s}s")
        return f"{self.count}/{unit}"
