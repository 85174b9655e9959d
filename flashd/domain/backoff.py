"""How long to wait, and how to begin again: the arithmetic of outages."""

from __future__ import annotations

import math

import msgspec

RETRY_AFTER_MIN_S = 1.0
RETRY_AFTER_MAX_S = 900.0
OUTAGE_MAX_S = 30.0


def clamp_retry_after(seconds: float) -> float:
    """Return what a backend asked for, never under 1 s and never over 15 min; what is not a number is 1 s."""
    if math.isnan(seconds):
        return RETRY_AFTER_MIN_S
    return min(RETRY_AFTER_MAX_S, max(RETRY_AFTER_MIN_S, seconds))


def outage_delay_s(failures: int) -> float:
    """Return how long a backend that was away *failures* times in a row is left alone: 1, 2, 4 ... 30 s."""
    return min(OUTAGE_MAX_S, 2.0 ** min(10, max(0, failures - 1)))


class SlowStart(msgspec.Struct, frozen=True, kw_only=True):
    """After an outage: a tenth of the rate, doubled with every step, until the rate is reached."""

    since_s: float = -math.inf  # when it came back; by a clock that never goes back
    step_s: float = 10.0

    @property
    def is_over(self) -> bool:
        """Whether there was no outage to begin again from."""
        return self.since_s == -math.inf

    def factor(self, now_s: float) -> float:
        """Return the part of the rate that is in force, from 0.1 to 1."""
        if self.since_s == -math.inf:
            return 1.0
        steps = max(0.0, (now_s - self.since_s) // self.step_s)
        return 1.0 if steps >= 4 else 0.1 * 2.0**steps

    def spacing_us(self, spacing_us: int, now_s: float) -> int:
        """Return the spacing in force, rounded up."""
        return math.ceil(spacing_us / self.factor(now_s))


def drain_eta_s(depth: int, per_second: float) -> float | None:
    """Return how long *depth* orders take at that rate, or None where nothing flows."""
    if depth <= 0:
        return 0.0
    return round(depth / per_second, 3) if per_second > 0 else None
