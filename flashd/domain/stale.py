"""
What a figure that is not the expected one means: a sale on its way to us, our own lost acknowledgement, a human's edit.

Exposure is the better witness here: E is the platform's figure and what was sold unseen. So what a platform shows less
than E is sales that flashd has yet to see; what it shows more than E, nobody sold and nobody granted.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from flashd.domain.listing import UNKNOWN, Listing, ListingState


class Staleness(StrEnum):
    """Which it was."""

    EXPECTED = "expected"  # it shows what we believe
    SALE = "sale"  # less: the difference was sold there, and its order is on its way
    ACKNOWLEDGEMENT = "acknowledgement"  # it shows what a write of ours, whose reply was lost, asked for
    EDIT = "edit"  # more than we ever granted: somebody changed it there


def classify(listing: Listing, shows: int) -> Staleness:
    """
    Say why the platform shows *shows*.

    A figure between what we believe and E is explained by orders that were seen after our last write and sold before
    it: they were taken off a figure that lacked them already.
    """
    if listing.state in {ListingState.IN_DOUBT, ListingState.WRITING}:
        # applied, and perhaps some sold since: either way the write is known to have arrived only by observing it
        return Staleness.ACKNOWLEDGEMENT if shows == listing.to else Staleness.SALE
    if shows == listing.figure:
        return Staleness.EXPECTED
    if listing.figure != UNKNOWN and shows > max(listing.figure, listing.exposed):
        return Staleness.EDIT
    return Staleness.SALE


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """
    A platform that showed less than expected at an instant: orders will explain it, or somebody took units away.

    *missing* counts down with every order that is seen; what is left of it, once all orders up to *at_ms* were seen,
    nobody bought.
    """

    at_ms: int  # platform's clock
    missing: int  # units unseen at that instant, if nobody edited
    figure: int  # what it showed

    def seen(self, units: int) -> Suspicion:
        """Return what is left of it after orders of *units* came."""
        return msgspec.structs.replace(self, missing=max(0, self.missing - max(0, units)))


def suspect(listing: Listing, shows: int, at_ms: int) -> Suspicion | None:
    """Return what orders must explain of a platform that shows *shows*, or None where nothing is missing."""
    missing = listing.exposed - shows
    return Suspicion(at_ms=at_ms, missing=missing, figure=shows) if missing > 0 else None
