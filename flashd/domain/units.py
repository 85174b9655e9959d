"""
The units of an order's items: taken from free stock into sold, and given back.

The executable specification of lua/includes/units.lua. Functions answer with the items as they are afterwards and the
moves that lead there; they change nothing themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from flashd.domain.order import Item
from flashd.domain.stock import Move, StockLevel

Levels = Mapping[tuple[str, str], StockLevel]


def give_back(levels: Levels, items: Iterable[Item]) -> tuple[Move, ...]:
    """Give what was taken for *items* back; what a recount took out of sold already is not given twice."""
    sold = {place: level.sold for place, level in levels.items()}
    moves: list[Move] = []
    for item in items:
        place = (item.sku, item.location)
        units = min(item.taken, sold.get(place, 0))
        if units > 0:
            sold[place] -= units
            moves.append(Move(item.sku, item.location, sold=-units))
    return tuple(moves)


def wants_of(items: Iterable[Item]) -> dict[str, int]:
    """Return the units that *items* want, by SKU."""
    wants: dict[str, int] = {}
    for item in items:
        wants[item.sku] = wants.get(item.sku, 0) + item.quantity
    return wants


def keep(wants: Mapping[str, int], old: Iterable[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Return what *wants* keep of the units of *old*, where they are, counted ones first, and what is left over."""
    left = dict(wants)
    had = gather(old)
    counted = {}
    for item in had:
        counted[item.sku, item.location] = min(item.counted, left.get(item.sku, 0))
        left[item.sku] = left.get(item.sku, 0) - counted[item.sku, item.location]
    kept: list[Item] = []
    rest: list[Item] = []
    for item in had:
        place = (item.sku, item.location)
        taken = min(item.taken, left[item.sku])
        left[item.sku] -= taken
        kept.append(Item(*place, taken + counted[place], taken, counted[place]))
        over = item.taken - taken, item.counted - counted[place]
        rest.append(Item(*place, sum(over), *over))
    return tuple(item for item in kept if item.quantity), tuple(item for item in rest if item.quantity)


def spread(wants: Mapping[str, int], parcels: Iterable[Item], location: str) -> tuple[Item, ...]:
    """Return an order's items: its units where they are, what is missing with the first of them (or at *location*)."""
    items: list[Item] = []
    there = gather(parcels)
    for sku, units in wants.items():
        mine = [item for item in there if item.sku == sku] or [Item(sku, location, 0)]
        missing = units - sum(item.quantity for item in mine)
        items += [replace(mine[0], quantity=mine[0].quantity + missing), *mine[1:]]
    return tuple(items)


def gather(*lists: Iterable[Item]) -> tuple[Item, ...]:
    """Return all units as items of their own, one per SKU and location: what a follow-up brings back."""
    units: dict[tuple[str, str], Item] = {}
    for item in (item for items in lists for item in items if item.taken + item.counted > 0):
        place = (item.sku, item.location)
        units[place] = _sum(units.get(place, Item(*place, 0)), item)
    return tuple(units.values())


def _sum(one: Item, other: Item) -> Item:
    taken, counted = one.taken + other.taken, one.counted + other.counted
    return Item(one.sku, one.location, taken + counted, taken, counted)


def emptied(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return the same wishes with nothing taken."""
    return tuple(replace(item, taken=0, counted=0) for item in items)


def hand_over(items: Sequence[Item], theirs: Sequence[Item]) -> tuple[Item, ...]:
    """Return *theirs* with what *items* took added, without a change of counters."""
    added = {(item.sku, item.location): item for item in gather(items)}
    merged: list[Item] = []
    for item in theirs:
        more = added.pop((item.sku, item.location), Item(item.sku, item.location, 0))
        merged.append(replace(item, taken=item.taken + more.taken, counted=item.counted + more.counted))
    return (*merged, *added.values())
