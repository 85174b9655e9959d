"""
The daily budget of revisions of one listing: some platforms count how often a figure is changed.

It is kept by the hour and summed over 25 hours, so that it holds in *any* 24 hours, and not only from midnight on.
"""

from __future__ import annotations

import msgspec

HOUR_MS = 3_600_000
_HOURS = 25  # the current one has only begun: with 24 whole ones before it, any 24 hours are covered
_QUIET_MS = 60_000
_QUIET_MAX_MS = HOUR_MS


class Revisions(msgspec.Struct, frozen=True, kw_only=True):
    """What one listing has used: (hour since 1970, revisions) of the last 25 hours, and when the last one was."""

    hours: tuple[tuple[int, int], ...] = ()
    last_ms: int = 0

    @classmethod
    def unpacked(cls, text: str) -> Revisions:
        """Read what `packed` wrote; "" is none."""
        if not text:
            return cls()
        last, *hours = text.split(" ")
        pairs = (hour.split(":") for hour in hours)
        return cls(hours=tuple((int(hour), int(count)) for hour, count in pairs), last_ms=int(last))

    def packed(self) -> str:
        """Return it as text: ``<last ms> <hour>:<count> ...``."""
        return " ".join([str(self.last_ms), *(f"{hour}:{count}" for hour, count in self.hours)])

    def used(self, now_ms: int) -> int:
        """Return how many revisions count against the budget now."""
        return sum(count for hour, count in self.hours if hour > now_ms // HOUR_MS - _HOURS)

    def spent(self, now_ms: int) -> Revisions:
        """Return it with one more, made now; a clock that stepped back counts in the newest hour."""
        hour = max(now_ms // HOUR_MS, self.hours[-1][0] if self.hours else 0)
        kept = {past: count for past, count in self.hours if past > hour - _HOURS}
        kept[hour] = kept.get(hour, 0) + 1
        return Revisions(hours=tuple(sorted(kept.items())), last_ms=max(now_ms, self.last_ms))


def wait_ms(revisions: Revisions, budget: int, *, shows: int, wants: int, quiet_ms: int, now_ms: int) -> int:
    """
    Say how long the figure must wait for its revision: 0 is now.

    The first half of the budget may go at once. From then on changes are spread over the rest of the day; the last
    fifth is kept for crossings of zero and for figures that came to rest; and the very last revision only ever takes a
    figure *to* zero, so that a listing which shows something can always be emptied.

    Args:
        revisions: What the listing has used.
        budget: Revisions in 24 hours; 0: no budget.
        shows: The figure on the platform; below zero where it is not known.
        wants: The figure that it should be.
        quiet_ms: For how long *wants* has not changed.
        now_ms: The time.
    """
    if budget <= 0 or shows == wants:
        return 0
    used = revisions.used(now_ms)
    if used + (1 if wants > 0 else 0) >= budget:
        return HOUR_MS // 60  # the oldest hour must go first
    if wants == 0 or shows == 0 or used < budget // 2:
        return 0
    kept = budget - max(2, budget // 5)
    rest_ms = _QUIET_MS if used < kept else min(_QUIET_MAX_MS, _QUIET_MS << min(10, used - kept + 1))
    until_rest = rest_ms - quiet_ms
    if used >= kept:
        return max(0, until_rest) if used < budget - max(1, budget // 20) else HOUR_MS // 60
    spacing_ms = 24 * HOUR_MS // max(1, kept - budget // 2)
    return max(0, min(until_rest, revisions.last_ms + spacing_ms - now_ms))
