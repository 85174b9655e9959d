"""What one channel may sell of one SKU right now: the answer to a storefront that asks before it shows a figure."""

from __future__ import annotations

from collections.abc import Mapping

from flashd.domain.catalogue import Kit, kit_units
from flashd.domain.listing import Listing
from flashd.domain.publication import shown
from flashd.domain.standing import Standing
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms

Stock = Mapping[str, Mapping[str, StockLevel]]  # SKU -> location


def free_at(sku: str, places: tuple[str, ...], stock: Stock, kits: Mapping[str, Kit]) -> int:
    """Return what is free of a SKU at *places* together: of a kit, what can be put together from what lies there."""

    def free(part: str) -> int:
        levels = stock.get(part, {})
        return sum(levels[place].free for place in places if place in levels)

    kit = kits.get(sku)
    return free(sku) if kit is None else kit_units(kit, {part.sku: free(part.sku) for part in kit.components})


def offered(
    sku: str,
    terms: SellingTerms,
    stock: Stock,
    kits: Mapping[str, Kit],
    *,
    standing: Standing,
    used: int = 0,
    row: Listing | None = None,
) -> int:
    """
    Return how many units the channel may sell in one order, thresholds applied.

    It is what a hold would get, as far as one can say beforehand: the script that holds decides. An escrow channel has
    what it was granted.

    Args:
        sku: A SKU or a kit.
        terms: The channel's.
        stock: Counters of the SKU, or of the kit's components.
        kits: All kits.
        standing: What sales say of the SKU on this channel.
        used: Units of the sale's quota that are held or sold.
        row: What the channel shows, where it is an escrow channel.
    """
    if standing.closed:
        return 0
    if terms.mode == "escrow":
        return row.exposed if row is not None and row.backed else 0
    groups = [terms.locations] if terms.split else [(place,) for place in terms.locations]
    units = max((free_at(sku, places, stock, kits) for places in groups), default=0)
    units = shown(units, standing.threshold or terms.threshold_of(sku))
    return min(units, max(0, standing.quota - used)) if standing.quota else units
