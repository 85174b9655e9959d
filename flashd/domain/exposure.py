"""
Writing a figure to a platform, and what may be concluded from how that ended: exposure from state to state.

The protocol, its drawing and its proof stand in docs/adr/0019-exposure-is-exact-arithmetic.md. The functions here are
the executable specification of lua/includes/listing_write.lua; what orders do to a listing stands in
`flashd.domain.listing`. They change nothing themselves: the units that a backed listing took or gave back are the
difference of its exposure, see `backing`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import UNKNOWN, Begin, BeginCode, Begun, Ended, Listing, ListingState, Outcome, WriteMode
from flashd.domain.stock import Move
from flashd.domain.units import Levels

_OPEN = (ListingState.WRITING, ListingState.IN_DOUBT)


def parts_of(sku: str, kits: Mapping[str, Kit]) -> tuple[Component, ...]:
    """Return what backs one unit of *sku*: itself, or a kit's components."""
    kit = kits.get(sku)
    return kit.components if kit is not None else (Component(sku, 1),)


def backable(levels: Levels, location: str, parts: tuple[Component, ...]) -> int:
    """Return how many units free stock can back; none where a part is unknown."""
    found = [(levels.get((part.sku, location)), part.quantity) for part in parts]
    return min((level.free // quantity if level is not None else 0 for level, quantity in found), default=0)


def backing(before: Listing, after: Listing, parts: tuple[Component, ...]) -> tuple[Move, ...]:
    """Return the moves between free stock and exposure that lead from one row to the next."""
    units = (after.exposed if after.backed else 0) - (before.exposed if before.backed else 0)
    return tuple(Move(part.sku, after.location, exposed=units * part.quantity) for part in parts if units)


def begin(listing: Listing, wanted: Begin, *, free: int, location: str, now_ms: int) -> Begun:
    """
    Say whether a figure may be written now, and which.

    Args:
        listing: The row as it is.
        wanted: What the channel is to show.
        free: How many units free stock can back at the row's location, or at *location* where nothing is exposed.
        location: Where a row without exposure takes its units from now on.
        now_ms: The server's clock.
    """
    row = listing
    if row.key == wanted.key:  # a repeat, or a key that was used up
        code = BeginCode.BEGUN if row.state in _OPEN else BeginCode.BUSY
        return Begun(code, row.to, row)
    settling = row.state is ListingState.SETTLING
    based = _based(row, wanted, free, location)
    if row.state in _OPEN or (settling and wanted.backed and wanted.units > 0) or based is None:
        return Begun(BeginCode.BUSY, row.to, row)
    listing, free = based, free - (row.exposed if based.backed and not row.backed else 0)
    was = wanted.was if wanted.mode is WriteMode.COMPARE else listing.figure
    unknown = was == UNKNOWN and (wanted.mode is WriteMode.COMPARE or (wanted.backed and wanted.units > 0))
    if unknown or (wanted.backed and wanted.units > 0 and listing.figure == UNKNOWN):
        return Begun(BeginCode.UNKNOWN, wanted.units, row)
    units, kept = wanted.units, max(0, was) if wanted.mode is WriteMode.COMPARE else 0
    if listing.backed:
        units = min(units, kept + free)
    if units == was:
        return Begun(BeginCode.UNCHANGED, units, listing)
    begun = replace(
        listing,
        exposed=listing.exposed + max(0, units - kept),
        state=ListingState.WRITING,
        mode=wanted.mode,
        was=was,
        to=units,
        key=wanted.key,
        began_ms=now_ms,
        later=0,
        seen=0,
    )
    return Begun(BeginCode.BEGUN, units, begun)


def _based(listing: Listing, wanted: Begin, free: int, location: str) -> Listing | None:
    """Return the row backed as *wanted* has it, or None where free stock cannot back what is exposed already."""
    if listing.exposed == 0:
        listing = replace(listing, location=location)
    if listing.backed or not wanted.backed:
        return replace(listing, backed=wanted.backed)
    if listing.exposed <= free:
        return replace(listing, backed=True)
    # A shop that is taken over shows more than there is: it is lowered first, unbacked as it is. An absolute write may
    # only go to zero, for units count twice until it settles.
    lowers = wanted.units == 0 or (wanted.mode is WriteMode.COMPARE and wanted.units < wanted.was)
    return listing if lowers else None


def end(listing: Listing, ended: Ended) -> Listing:
    """Return the row once that is known of the write that was begun under *ended*'s key."""
    if ended.key != listing.key or listing.state not in _OPEN:
        return listing
    compare = listing.mode is WriteMode.COMPARE
    kept = max(0, listing.was) if compare else 0
    if ended.outcome is Outcome.REFUSED:
        exposed = max(0, listing.exposed - max(0, listing.to - kept))
        figure = ended.figure if ended.figure != UNKNOWN else listing.figure
        return replace(listing, exposed=exposed, figure=figure, state=ListingState.IDLE)
    if ended.outcome is Outcome.UNKNOWN or (not compare and ended.at_ms <= 0):
        return replace(listing, state=ListingState.IN_DOUBT)
    if compare and _uncovered(listing, kept):
        return _overwritten(listing, kept, ended.at_ms)
    if compare:
        exposed = max(0, listing.exposed - max(0, kept - listing.to))
        return replace(listing, exposed=exposed, figure=listing.to, state=ListingState.IDLE)
    return replace(listing, figure=listing.to, state=ListingState.SETTLING, written_ms=ended.at_ms)


def _uncovered(listing: Listing, kept: int) -> bool:
    """Say whether the exposure was less than the figure that the compare proved: nobody granted what stood there."""
    return listing.exposed + listing.seen < kept + max(0, listing.to - kept)


def _overwritten(listing: Listing, kept: int, at_ms: int) -> Listing:
    """Return the row of an applied compare that proved an edit: it settles, and nothing is given back before."""
    if at_ms <= 0:
        return replace(listing, state=ListingState.IN_DOUBT)
    exposed = listing.exposed + (0 if listing.backed else min(kept, listing.to))
    return replace(listing, exposed=exposed, figure=listing.to, state=ListingState.SETTLING, written_ms=at_ms)


def observe(listing: Listing, known: Listing, figure: int, *, at_ms: int) -> Listing:
    """
    Return the row once the platform was seen to show *figure*, at *at_ms* of its clock or before.

    Args:
        listing: The row as it is.
        known: The row as it was before the platform was asked.
        figure: What it shows.
        at_ms: The latest instant, by the platform's clock, at which it surely showed that.
    """
    stamp = (known.state, known.key, known.began_ms, known.written_ms)
    same = stamp == (listing.state, listing.key, listing.began_ms, listing.written_ms)
    if not same or listing.state not in (ListingState.IDLE, ListingState.IN_DOUBT) or at_ms <= 0:
        return listing
    return replace(
        listing,
        state=ListingState.SETTLING,
        was=known.figure,
        to=figure,
        figure=figure,
        written_ms=at_ms,
        later=listing.later - known.later,
        seen=listing.seen - known.seen,
    )


class Settled(msgspec.Struct, frozen=True):
    """A row that settled, and whether its exposure is more than any sale explains: a human's edit."""

    listing: Listing
    drifted: bool


def settle(listing: Listing, *, seen_ms: int) -> Settled | None:
    """
    Return the row with its exposure made exact, or None where it is not SETTLING or not all was seen yet.

    The truth is *most* at most and, if no human meddled, *least* at least; between them the row's own bound holds.

    Args:
        listing: The row as it is.
        seen_ms: All of the channel's orders that changed before this instant of the platform's clock were seen.
    """
    if listing.state is not ListingState.SETTLING or listing.written_ms >= seen_ms:
        return None
    most, least = max(0, listing.to - listing.later), listing.to - listing.seen
    first_look = listing.was == UNKNOWN
    drifted = not first_look and listing.exposed < least
    exposed = most if first_look or drifted else min(listing.exposed, most)
    return Settled(replace(listing, exposed=exposed, state=ListingState.IDLE), drifted and exposed > listing.exposed)
