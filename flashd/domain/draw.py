"""
What becomes of stock when what an order wants changes: one step for a new order, an edit, a cancellation.

The executable specification of lua/includes/draw.lua. Units that the order has stay where they are. Then come those
that its channel was granted (its listing's exposure), then those of its hold; what the platform put on sale again goes
back to the listing, what is left over goes back to free stock, and what is still missing is picked from there.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flashd.domain.catalogue import Bundle
from flashd.domain.listing import Listing, restock, sell
from flashd.domain.order import Item
from flashd.domain.picking import is_covered, is_known, pick
from flashd.domain.stock import Move, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.domain.units import Levels, gather, give_back, keep, spread

Listings = Mapping[str, Listing]  # of one channel, by SKU


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What an order wants now, and what it had."""

    wants: dict[str, int]  # units by SKU, kits taken apart
    terms: SellingTerms
    old: tuple[Item, ...] = ()
    held: tuple[Item, ...] = ()  # of its hold, which has just ended
    sold: tuple[Bundle, ...] = ()  # what its channel sold more than was seen before, as ordered
    returned: tuple[Bundle, ...] = ()  # what its platform put on sale again, as ordered
    blocked: dict[str, int] = {}  # units that must not be taken: their sale is stopped
    placed_ms: int = 0  # by the platform's clock
    travels: bool = False  # what is left over goes with a follow-up, not to free stock


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    items: tuple[Item, ...]
    moves: tuple[Move, ...]
    spare: tuple[Item, ...]  # what is left over, where it travels
    listings: dict[str, Listing]  # those that changed
    short: tuple[tuple[str, int], ...]  # (SKU, units that could not be taken)
    unknown: tuple[str, ...]


class _Work:
    """Levels and listings while they change."""

    def __init__(self, levels: Levels, listings: Listings, demand: Demand) -> None:
        self.levels: dict[tuple[str, str], StockLevel] = dict(levels)
        self.listings: dict[str, Listing] = dict(listings)
        self.changed: dict[str, Listing] = {}
        self.moves: list[Move] = []
        self.demand = demand
        kept, spare = keep(demand.wants, demand.old)
        self.parcels = list(kept)
        self.spare = {(item.sku, item.location): item for item in spare}
        self.missing = dict(demand.wants)
        for item in kept:
            self.missing[item.sku] -= item.quantity

    def move(self, move: Move) -> None:
        """Move units, if any."""
        if any((move.held, move.sold, move.exposed)):
            self.moves.append(move)
            place = (move.sku, move.location)
            self.levels[place] = self.levels[place].moved(move)

    def note(self, listing: Listing) -> None:
        """Remember a listing that changed."""
        self.listings[listing.sku] = self.changed[listing.sku] = listing

    def room(self, sku: str) -> int:
        """Return how many units of *sku* may still be taken."""
        return max(0, self.missing.get(sku, 0) - self.demand.blocked.get(sku, 0))

    def get(self, sku: str, location: str, units: int) -> None:
        """Give *units* to the order; the caller moves them."""
        if units > 0:
            self.parcels.append(Item(sku, location, units, units))
            self.missing[sku] -= units

    def sell(self) -> None:
        """Take what was granted to the channel."""
        for bundle in self.demand.sold:
            listing = self.listings.get(bundle.sku)
            if listing is None:
                continue
            listing, exposed = sell(listing, bundle.quantity, placed_ms=self.demand.placed_ms)
            self.note(listing)
            for part in bundle.components if listing.backed else ():
                if (part.sku, listing.location) in self.levels:
                    units = min(exposed * part.quantity, self.room(part.sku))
                    self.move(Move(part.sku, listing.location, sold=units, exposed=-exposed * part.quantity))
                    self.get(part.sku, listing.location, units)

    def use_hold(self) -> None:
        """Take what was held, also where a recount left a deficit."""
        for item in self.demand.held:
            units = min(item.quantity, self.room(item.sku))
            self.move(Move(item.sku, item.location, sold=units))
            self.get(item.sku, item.location, units)

    def restock(self) -> None:
        """Expose what the platform put on sale again; where that is backed, as far as units are there."""
        for bundle in self.demand.returned:
            listing = self.listings.get(bundle.sku)
            if listing is None:
                continue
            risen = bundle.quantity
            for part in bundle.components if listing.backed else ():
                level = self.levels.get((part.sku, listing.location))
                units = level.free + self._left_over(level) if level is not None else 0
                risen = min(risen, units // part.quantity)
            self.note(restock(listing, bundle.quantity, risen=risen))
            for part in bundle.components if listing.backed and risen else ():
                self._expose(self.levels[part.sku, listing.location], risen * part.quantity)

    def _left_over(self, level: StockLevel) -> int:
        """Return how many units at that level the order does not want any more."""
        spare = self.spare.get((level.sku, level.location))
        return min(spare.taken, level.sold) if spare is not None else 0

    def _expose(self, level: StockLevel, units: int) -> None:
        place = (level.sku, level.location)
        own = min(units, self._left_over(level))
        if own:
            spare = self.spare[place]
            self.spare[place] = Item(*place, spare.quantity - own, spare.taken - own, spare.counted)
        self.move(Move(*place, sold=-own, exposed=units))

    def give_back(self) -> None:
        """Return to free stock what is left over."""
        for move in give_back(self.levels, self.spare.values()):
            self.move(move)
        self.spare = {}

    def pick(self) -> None:
        """Take the rest from free stock."""
        for sku, at, units in pick(self.levels, {sku: self.room(sku) for sku in self.missing}, self.demand.terms):
            self.move(Move(sku, at, sold=units))
            self.get(sku, at, units)


def draw(levels: Levels, listings: Listings, demand: Demand) -> Drawn:
    """Say what moves so that the order has what it wants, as far as that is there."""
    work = _Work(levels, listings, demand)
    work.sell()
    work.use_hold()
    work.restock()
    if not demand.travels:
        work.give_back()
    work.pick()
    left = {sku: units for sku, units in work.missing.items() if units > 0}
    known = {sku for sku in left if is_known(levels, sku, demand.terms)}
    return Drawn(
        items=spread(demand.wants, work.parcels, demand.terms.locations[0]),
        moves=tuple(work.moves),
        spare=gather(work.spare.values()),
        listings=work.changed,
        short=tuple((sku, units) for sku, units in left.items() if sku in known),
        unknown=tuple(sku for sku in left if sku not in known),
    )


def is_supplied(levels: Levels, listings: Listings, demand: Demand) -> bool:
    """Say whether nothing would be short: asked before overdue holds are swept for it."""
    rest = dict(demand.wants)
    for item in demand.old:
        rest[item.sku] = rest.get(item.sku, 0) - item.taken - item.counted
    for item in demand.held:
        rest[item.sku] = rest.get(item.sku, 0) - item.quantity
    for bundle in demand.sold:
        listing = listings.get(bundle.sku)
        if listing is not None and listing.backed:
            for part in bundle.components:
                rest[part.sku] = rest.get(part.sku, 0) - min(bundle.quantity, listing.exposed) * part.quantity
    for sku, units in demand.blocked.items():
        rest[sku] = rest.get(sku, 0) - units
    return is_covered(levels, rest, demand.terms)
