"""Leadership of a backend: who may act, and in which term, as lua/lease.lua decides it."""

from __future__ import annotations

import msgspec


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The last term given: its owner, its end and its epoch."""

    owner: str = ""
    until_ms: int = 0
    epoch: int = 0


def take_lease(lease: Lease, owner: str, now_ms: int, ttl_ms: int) -> tuple[Lease, bool]:
    """
    Take or renew the leadership; return the lease and whether *owner* leads.

    Every term has a higher epoch than all before, also after the store lost its last one (then it is the time of day).
    A term that lapsed is not renewed but begun anew: another may have led in between.
    """
    if lease.until_ms > now_ms:
        if lease.owner != owner:
            return lease, False
        return Lease(owner=owner, until_ms=now_ms + ttl_ms, epoch=lease.epoch), True
    return Lease(owner=owner, until_ms=now_ms + ttl_ms, epoch=max(lease.epoch + 1, now_ms)), True


def give_up(lease: Lease, owner: str) -> Lease:
    """Return the lease with nobody leading, if it was *owner*; the epoch stays."""
    return Lease(epoch=lease.epoch) if lease.owner == owner else lease


class Term:
    """
    A leader's own view of its lease, by a clock that never goes back.

    It counts from *before* the store was asked, and it ends at half the time: the other half is for a pause of the
    process between this check and the socket.
    """

    def __init__(self, epoch: int, asked_s: float, ttl_s: float) -> None:
        self.epoch = epoch
        self.ended = False
        self.renew(asked_s, ttl_s)

    def renew(self, asked_s: float, ttl_s: float) -> None:
        """Go on from the moment the store was asked."""
        self.stop_at_s = asked_s + ttl_s / 2

    def end(self) -> None:
        """Send nothing more in this term, for good: somebody else leads, or has led."""
        self.ended = True

    def may_send(self, now_s: float) -> bool:
        """Say whether a request may still go out."""
        return not self.ended and now_s < self.stop_at_s
