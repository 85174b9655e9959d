"""
A listing: what one sales channel shows of one SKU, and how much it may have sold that flashd has not seen yet.

The protocol, its drawing and its proof stand in docs/adr/0019-exposure-is-exact-arithmetic.md. The functions here are
the executable specification of lua/includes/listing.lua.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

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
    written_ms: int = 0  # SETTLING: platform's clock, the latest instant at which `to` came into force
    later: int = 0  # SETTLING: units of orders seen that were surely sold after written_ms, less units returned since


class BeginCode(StrEnum):
    """What became of the wish to write a figure."""

    BEGUN = "begun"
    UNCHANGED = "unchanged"  # the platform shows it already: an unchanged figure is never rewritten
    BUSY = "busy"  # another write is not settled yet
    STOPPED = "stopped"  # the row belongs to a stopped sale and the wish was not zero


class Outcome(StrEnum):
    """What is known of a write afterwards."""

    APPLIED = "applied"
    REFUSED = "refused"  # surely not applied: stale, refused, or nothing reached the wire
    UNKNOWN = "unknown"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """The wish that a channel shows *units* of a SKU; less is granted where free stock does not back it."""

    sku: str
    units: int
    mode: WriteMode
    key: str
    was: int = UNKNOWN  # compare: the figure that the platform shows now
    backed: bool = False


class Begun(msgspec.Struct, frozen=True):
    """The answer to a wish: write *units* now, if the code is BEGUN."""

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
