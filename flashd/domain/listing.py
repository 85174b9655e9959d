"""
A listing: what one sales channel shows of one SKU, and how much it may have sold that flashd has not seen yet.

The protocol, its drawing and its proof stand in docs/adr/0019-exposure-is-exact-arithmetic.md. The functions here are
the executable specification of lua/includes/listing.lua.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

UNKNOWN = -1
"""A figure that nobody knows."""


class ListingState(StrEnum):
    """Where the newest write of a listing stands."""

    IDLE = "idle"
    WRITING = "writing"
    IN_DOUBT = "in_doubt"  # written, outcome unknown: exposure counts the worse
    SETTLING = "settling"  # the figure was `to` at `written_ms`; orders from before may still be on their way


class WriteMode(StrEnum):
    """How a platform takes a figure."""

    COMPARE = "compare"  # compare-and-set from a figure that must be named
    ABSOLUTE = "absolute"  # overwrites whatever it is


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """
    What one channel shows of one SKU.

    *exposed* is the upper bound of what the channel may have sold unseen or may still sell. Where the listing is
    *backed* (escrow) these units are taken out of free stock at *location*; where it is not (mirror) they are measured.
    """

    sku: str
    location: str = "main"
    backed: bool = False
    exposed: int = 0
    figure: int = UNKNOWN  # last known on the platform, less orders seen since
    state: ListingState = ListingState.IDLE
    mode: WriteMode = WriteMode.COMPARE
    was: int = UNKNOWN  # compare: from which figure
    to: int = 0  # the figure being written, or known at written_ms
    key: str = ""  # idempotency key of the newest write
    began_ms: int = 0  # server's clock
    written_ms: int = 0  # platform's clock, the latest instant at which `to` came into force, newest settling
    later: int = 0  # SETTLING: units seen that were surely sold after written_ms; less units returned, in any state
    seen: int = 0  # units of orders seen since the newest write began or figure was read, whenever they were sold


class BeginCode(StrEnum):
    """What became of what was to be begun."""

    BEGUN = "begun"
    UNCHANGED = "unchanged"  # the platform shows it already: an unchanged figure is never rewritten
    BUSY = "busy"  # another write is not settled yet
    UNKNOWN = "unknown"  # backed, and nobody knows what the platform shows: observe first (zero may always be written)
    STOPPED = "stopped"  # the row belongs to a stopped sale and more than zero was wanted


class Outcome(StrEnum):
    """What is known of a write afterwards."""

    APPLIED = "applied"
    REFUSED = "refused"  # surely not applied: stale, refused, or nothing reached the wire
    UNKNOWN = "unknown"


class Begin(msgspec.Struct, frozen=True, kw_only=True):
    """Begin to write: a channel is to show *units* of a SKU; less is granted where free stock does not back it."""

    sku: str
    units: int
    mode: WriteMode
    key: str
    was: int = UNKNOWN  # compare: the figure that the platform shows now
    backed: bool = False


class Begun(msgspec.Struct, frozen=True):
    """The answer to `Begin`: write *units* now, if the code is BEGUN."""

    code: BeginCode
    units: int
    listing: Listing


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a write that was begun under *key*."""

    sku: str
    key: str
    outcome: Outcome
    figure: int = UNKNOWN  # what the platform shows instead, where it said so (stale)
    at_ms: int = 0  # platform's clock at which an applied figure was surely in force


def sell(listing: Listing, units: int, *, placed_ms: int) -> tuple[Listing, int]:
    """
    Say what an order of *units* that is seen now leaves of the exposure, and how many of its units were exposed.

    Args:
        listing: What the order's channel shows.
        units: How many the order wants.
        placed_ms: When it was placed, by the platform's clock; 0: not told, so it counts as placed before any write.
    """
    exposed = min(units, listing.exposed)
    settling = listing.state is ListingState.SETTLING
    after = settling and placed_ms > listing.written_ms
    figure = listing.figure
    if figure > 0 and (after or not settling):  # else the figure was read, or written, after this sale
        figure = max(0, figure - units)
    later = listing.later + (units if after else 0)
    seen = listing.seen + units
    return replace(listing, exposed=listing.exposed - exposed, figure=figure, later=later, seen=seen), exposed


def restock(listing: Listing, units: int, *, risen: int) -> Listing:
    """
    Say what the listing is once the platform put *units* on sale again by itself.

    Args:
        listing: What the channel shows.
        units: How many the platform put back.
        risen: By how many the exposure rises: all, but where it is backed no more than are there to back it.
    """
    # The units may have come back after the figure was written or read, also where that is not known to have happened.
    figure = listing.figure if listing.figure == UNKNOWN else listing.figure + units
    return replace(listing, exposed=listing.exposed + risen, figure=figure, later=listing.later - units)


def unsell(listing: Listing, units: int) -> Listing:
    """
    Say what the listing is once an order of *units* was first seen when it had been cancelled and restocked already.

    It moves no exposure: what was sold unseen came back unseen. But it may have been sold before the figure was written
    or read, and come back after it.
    """
    return replace(listing, later=listing.later - units)
