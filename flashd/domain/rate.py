"""A rate as people write it, and the spacing that keeps it in any window."""

from __future__ import annotations

import re

import msgspec

_RATE = re.compile(r"^\s*(\d+)\s*/\s*(?:(\d+)\s*)?(s|sec|min|h)\s*$")
_SECONDS = {"s": 1, "sec": 1, "min": 60, "h": 3600}


class Rate(msgspec.Struct, frozen=True):
    """At most *count* requests in any half-open window of *window_s* seconds."""

    count: int
    window_s: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """
        Read ``5/s``, ``120/min``, ``1000/h`` or ``10/30s``.

        Raises:
            ValueError: The text is of another form; the message says what is allowed.
        """
        match = _RATE.match(text)
        if match is None or int(match[1]) == 0:
            raise ValueError(
                f"{text!r} is not a rate: write a positive number per time, such as 5/s, 120/min, 1000/h or 10/30s"
            )
        rate = cls(int(match[1]), int(match[2] or 1) * _SECONDS[match[3]])
        if rate.window_s == 0 or rate.spacing_us == 0:
            raise ValueError(f"{text!r} is not a rate: the time must be positive, and at most 1,000,000 a second")
        return rate

    @property
    def per_second(self) -> float:
        """The same as a number per second."""
        return self.count / self.window_s

    @property
    def spacing_us(self) -> int:
        """Whole microseconds between two drops, rounded up: floor(1 s / 7) would admit 8 in a second."""
        return -(-self.window_s * 1_000_000 // self.count)

    def __str__(self) -> str:
        unit = {1: "s", 60: "min", 3600: "h"}.get(self.window_s, f"{self.window_s}s")
        return f"{self.count}/{unit}"
