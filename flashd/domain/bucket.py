"""
The leaky bucket: GCRA (ITU-T I.371) in whole microseconds, as lua/drop.lua decides it.

With a spacing T and a burst b, at most ``ceil(W / T) + b - 1`` drops leave in any half-open window W. The popular
recipe that sets the burst to the whole rate lets almost twice the rate through.
"""

from __future__ import annotations

import msgspec

AHEAD_MAX_US = 100_000  # nobody may hold a drop that is further ahead


class Bucket(msgspec.Struct, frozen=True):
    """When the next drop is due in theory (its theoretical arrival time), and the spacing that was reckoned with."""

    tat_us: int
    spacing_us: int


class Taking(msgspec.Struct, frozen=True):
    """A wish for a drop, answered: *wait_us* 0 means that it was taken, to be used *after_us* from now."""

    bucket: Bucket | None
    wait_us: int = 0
    after_us: int = 0

    @property
    def wait_ms(self) -> int:
        """The wait in whole ms, rounded up."""
        return -(-self.wait_us // 1000)


def take_drop(bucket: Bucket | None, now_us: int, spacing_us: int, *, burst: int = 1, ahead_us: int = 0) -> Taking:
    """
    Take one drop, or say how long to wait.

    A cold bucket starts empty of credit: whoever lost the key does not know when the last drop left. A theoretical
    arrival time further ahead than an emptied bucket's is a clock that stepped back or a rate that was raised: it is
    re-anchored. A spacing that grew is made up for.

    Args:
        bucket: What was kept of it, None if nothing was.
        now_us: The time.
        spacing_us: T.
        burst: b.
        ahead_us: How far ahead a drop may be taken, at most AHEAD_MAX_US, so that asking costs no time of the flow.
    """
    tolerance = (burst - 1) * spacing_us
    limit = now_us + tolerance + spacing_us + AHEAD_MAX_US
    anchored = bucket is None or bucket.tat_us > limit
    tat = limit if bucket is None else bucket.tat_us
    if bucket is not None and spacing_us > bucket.spacing_us:
        tat += (spacing_us - bucket.spacing_us) * burst
    tat = min(tat, limit)
    after = max(0, tat - tolerance - now_us)
    if after > ahead_us:
        return Taking(Bucket(tat, spacing_us) if anchored else bucket, wait_us=after - ahead_us)
    return Taking(Bucket(max(tat, now_us) + spacing_us, spacing_us), after_us=after)


class SpacingGuard:
    """
    The last check before the socket write, by a clock that never goes back.

    A drop is taken, the process is paused, and goes on with other drops behind it: what left the bucket evenly would
    leave the process at once. So the process keeps a bucket of its own.
    """

    def __init__(self) -> None:
        self._bucket = Bucket(0, 0)

    def pass_us(self, now_us: int, spacing_us: int, *, burst: int = 1) -> int:
        """Let one request pass (0), or return how long it must still wait."""
        known = self._bucket if self._bucket.spacing_us else Bucket(0, spacing_us)
        taking = take_drop(known, now_us, spacing_us, burst=burst)
        self._bucket = taking.bucket or known
        return taking.wait_us
