"""
Counts: what a backend or a human says is there, and which orders that figure contains already.

The rule and its reasons stand in docs/adr/0021-a-count-knows-its-orders.md; the specification of recount.lua.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from flashd.domain.order import Item, OrderRecord, OrderState
from flashd.domain.stock import DEFAULT_LOCATION, StockLevel

MARGIN_MS = 2_000
"""So near to the instant of a count an order is in doubt, and counts as not contained."""


class CountKind(StrEnum):
    """What a figure lacks already."""

    PHYSICAL = "physical"  # what lies there: it lacks what was shipped
    AVAILABLE = "available"  # what the backend has not promised: it lacks what it confirmed


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """So many units of one SKU were at one location at one instant; below zero, the backend promised what it lacks."""

    sku: str
    location: str = DEFAULT_LOCATION
    quantity: int
    kind: CountKind
    as_of_ms: int
    seq: int = 0  # rises with every count of the source; 0: as_of_ms is the sequence
    source: str = ""
    safety: int | None = None  # None: stays as it is

    @property
    def number(self) -> int:
        """The sequence number: one that is not higher than the last known is stale."""
        return self.seq or self.as_of_ms


class CountCode(StrEnum):
    """What became of a count."""

    COUNTED = "counted"
    STALE = "stale"  # a later one is known; nothing changed


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What one count did, or would do."""

    count: Count
    code: CountCode
    before: StockLevel | None
    after: StockLevel
    orders: int = 0  # whose units were taken out of sold, or put back
    units: int = 0  # taken out of sold since the count lacks them; below zero: put back
    contained: tuple[str, ...] = ()  # the first of these orders

    @property
    def expected(self) -> int:
        """What the count should have been, by all that is known of sales."""
        return (self.before.on_hand if self.before else 0) - self.units

    @property
    def difference(self) -> int:
        """Units found that nothing explains; below zero: units that are missing."""
        return 0 if self.code is CountCode.STALE else self.count.quantity - self.expected

    @property
    def deficit(self) -> int:
        """Promised units that are not there afterwards."""
        return max(0, -self.after.atp)


def is_contained(record: OrderRecord, kind: CountKind, horizon_ms: int) -> bool:
    """Say whether a count surely lacks the units of an order; *horizon_ms* is its instant less the margin."""
    at_ms = record.delivered_ms if kind is CountKind.AVAILABLE else record.shipped_ms
    return record.state is OrderState.DELIVERED and 0 < at_ms < horizon_ms


def net(
    items: Iterable[Item], place: tuple[str, str], kind: CountKind, *, contained: bool
) -> tuple[tuple[Item, ...], int]:
    """
    Return an item list after a count of *place*, and how many of its units left `sold` (below zero: came back).

    Only a physical count puts units back: it holds what an available one lacked, the confirmed and not yet shipped.
    """
    after: list[Item] = []
    units = 0
    for item in items:
        moved = 0
        if (item.sku, item.location) == place:
            moved = item.taken if contained else -item.counted if kind is CountKind.PHYSICAL else 0
        units += moved
        after.append(replace(item, taken=item.taken - moved, counted=item.counted + moved) if moved else item)
    return tuple(after), units


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Goods that came in; the same id twice is one receipt."""

    id: str
    sku: str
    location: str = DEFAULT_LOCATION
    units: int


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt did."""

    repeat: bool  # it was known: nothing changed
    level: StockLevel
    served: tuple[str, ...] = ()  # backorders that are covered now and go to their backend
