"""
The units of an order's items: taken from free stock into sold, and given back.

The executable specification of lua/includes/units.lua. Functions answer with the items as they are afterwards and the
moves that lead there; they change nothing themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from flashd.domain.order import Item
from flashd.domain.stock import Move, StockLevel

Levels = Mapping[tuple[str, str], StockLevel]


class Taken(msgspec.Struct, frozen=True):
    """What came of the wish to take units."""

    items: tuple[Item, ...]
    moves: tuple[Move, ...]
    short: tuple[tuple[str, int], ...]  # (SKU, units that could not be taken)
    unknown: tuple[str, ...]


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


def carry(levels: Levels, old: Sequence[Item], new: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[Move, ...]]:
    """Hand what *old* took over to *new*; what *new* does not want is given back."""
    had = {(item.sku, item.location): item for item in old}
    heirs = tuple(_inherit(item, had.get((item.sku, item.location))) for item in new)
    kept = {(item.sku, item.location): item.taken for item in heirs}
    rest = [replace(item, taken=item.taken - kept.get((item.sku, item.location), 0)) for item in old]
    return heirs, give_back(levels, rest)


def _inherit(item: Item, former: Item | None) -> Item:
    if former is None:
        return item
    counted = min(former.counted, item.quantity)
    return replace(item, taken=min(former.taken, item.quantity - counted), counted=counted)


def take(levels: Levels, items: Sequence[Item]) -> Taken:
    """Take what is still missing of *items* from free stock."""
    got: list[Item] = []
    moves: list[Move] = []
    short: list[tuple[str, int]] = []
    unknown: list[str] = []
    for item in items:
        level = levels.get((item.sku, item.location))
        missing = item.missing
        units = min(missing, level.free) if level is not None and missing > 0 else 0
        if missing > 0 and level is None:
            unknown.append(item.sku)
        elif units < missing:
            short.append((item.sku, missing - units))
        if units > 0:
            moves.append(Move(item.sku, item.location, sold=units))
        got.append(replace(item, taken=item.taken + units))
    return Taken(tuple(got), tuple(moves), tuple(short), tuple(unknown))


def is_covered(levels: Levels, items: Iterable[Item], at_hand: Mapping[tuple[str, str], int]) -> bool:
    """Say whether *items* can be taken, units *at_hand* not counted; unknown SKUs take nothing."""
    return all(
        item.quantity - at_hand.get((item.sku, item.location), 0) <= level.free
        for item in items
        if (level := levels.get((item.sku, item.location))) is not None
    )


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


def share(spare: Sequence[Item], wanted: Sequence[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Let *wanted* take from *spare* what it can; return both as they are then, spare without what is empty."""
    left = {(item.sku, item.location): item for item in spare}
    items: list[Item] = []
    for item in wanted:
        place = (item.sku, item.location)
        there = left.get(place, Item(*place, 0))
        counted = min(there.counted, item.quantity)
        units = min(there.taken, item.quantity - counted)
        rest = there.taken - units, there.counted - counted
        left[place] = Item(*place, sum(rest), *rest)
        items.append(replace(item, taken=units, counted=counted))
    return tuple(items), tuple(item for item in left.values() if item.quantity > 0)


def hand_over(items: Sequence[Item], theirs: Sequence[Item]) -> tuple[Item, ...]:
    """Return *theirs* with what *items* took added, without a change of counters."""
    added = {(item.sku, item.location): item for item in gather(items)}
    merged: list[Item] = []
    for item in theirs:
        more = added.pop((item.sku, item.location), Item(item.sku, item.location, 0))
        merged.append(replace(item, taken=item.taken + more.taken, counted=item.counted + more.counted))
    return (*merged, *added.values())
