"""
The leaky bucket: GCRA (ITU-T I.371) in whole microseconds, as lua/drop.lua decides it.

With a spacing T and a burst b, at most ``ceil(W / T) + b - 1`` drops leave in any half-open window W. The popular
recipe that sets the burst to the whole rate lets almost twice the rate through.

With a slack s, what leaves up to s late does not push those behind it: they keep their own times. The m-th after any
one leaves no earlier than ``m T - s`` behind it (with a burst, the m-th for m >= b: ``(m - b + 1) T - s``). So where
``T >= (W + s) / N``, N behind one that left at t leave at ``t + N T - s >= t + W`` at the earliest: no half-open window
W holds more than N, and neither does one k times as long hold more than ``ceil(k N)``, for k >= 1, since
``k N T - s >= k W + (k - 1) s``. In windows shorter than W up to ``ceil(s / T)`` more may stand than T alone would let.
"""

from __future__ import annotations

import msgspec

AHEAD_MAX_US = 100_000  # nobody may hold a drop that is further ahead


class Bucket(msgspec.Struct, frozen=True):
    """When the next drop is due in theory (its theoretical arrival time), and the spacing that was reckoned with."""

    tat_us: int
    spacing_us: int


class Taking(msgspec.Struct, frozen=True):
    """
    A wish for drops, answered: *wait_us* 0 means that *taken* of them were, the first to be used *after_us* from now.

    The others follow a spacing apart; what is below 0, by the credit of a burst, is to be used at once.
    """

    bucket: Bucket | None
    wait_us: int = 0
    after_us: int = 0
    taken: int = 0

    @property
    def wait_ms(self) -> int:
        """The wait in whole ms, rounded up."""
        return -(-self.wait_us // 1000)


def take_drop(
    bucket: Bucket | None,
    now_us: int,
    spacing_us: int,
    *,
    burst: int = 1,
    ahead_us: int = 0,
    count: int = 1,
    slack_us: int = 0,
) -> Taking:
    """
    Take a drop, or as many of *count* as may be had now, or say how long to wait for the next.

    A cold bucket starts empty of credit: whoever lost the key does not know when the last drop left. A theoretical
    arrival time further ahead than an emptied bucket's is a clock that stepped back or a rate that was raised: it is
    re-anchored. A spacing that grew is made up for.

    Args:
        bucket: What was kept of it, None if nothing was.
        now_us: The time.
        spacing_us: T.
        burst: b.
        ahead_us: How far ahead a drop may be taken, at most AHEAD_MAX_US, so that asking costs no time of the flow.
        count: How many are wanted.
        slack_us: s, for the guard.
    """
    tolerance = (burst - 1) * spacing_us + slack_us
    limit = now_us + tolerance + spacing_us + AHEAD_MAX_US
    anchored = bucket is None or bucket.tat_us > limit
    tat = limit if bucket is None else bucket.tat_us
    if bucket is not None and spacing_us > bucket.spacing_us:
        tat += (spacing_us - bucket.spacing_us) * burst
    tat = min(tat, limit)
    after = max(tat, now_us) - tolerance - now_us
    if after > ahead_us:
        return Taking(Bucket(tat, spacing_us) if anchored else bucket, wait_us=after - ahead_us)
    taken = min(count, (ahead_us - after) // spacing_us + 1)
    return Taking(Bucket(max(tat, now_us) + taken * spacing_us, spacing_us), after_us=after, taken=taken)


class SpacingGuard:
    """
    The last check before the socket write, by a clock that never goes back.

    A drop is taken, the process is paused, and goes on with other drops behind it: what left the bucket evenly would
    leave the process at once. So the process keeps a bucket of its own. It counts from what really left, with a slack:
    without one, each ms by which the loop is late would push all that follow, and add up.
    """

    def __init__(self) -> None:
        self._bucket = Bucket(0, 0)

    def pass_us(self, now_us: int, spacing_us: int, *, burst: int = 1, slack_us: int = 0) -> int:
        """Let one request pass (0), or return how long it must still wait."""
        known = self._bucket if self._bucket.spacing_us else Bucket(0, spacing_us)
        taking = take_drop(known, now_us, spacing_us, burst=burst, slack_us=slack_us)
        self._bucket = taking.bucket or known
        return taking.wait_us
