"""What is sold under which name where: the map from SKUs to a channel's own ids, products of a platform, and kits."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """
    One SKU on one channel (or backend): the ids under which it is known there.

    *ids* is the adapter's business, such as ``{"variant": "gid://...", "inventory_item": "gid://..."}`` or
    ``{"product": "17", "variation": "4"}``. A SKU without an entry is never published.
    """

    sku: str
    ids: dict[str, str]
    title: str = ""
    source: str = "hand"  # import, csv or hand


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One sellable thing as a platform lists it."""

    sku: str  # as the platform spells it; "" is a gap
    ids: dict[str, str]
    title: str = ""
    units: int | None = None  # shown stock; None: the platform does not count it
    tracked: bool = True  # the platform counts its stock
    oversells: bool = False  # it sells below its own figure: Shopify CONTINUE, WooCommerce backorders
    price: str = ""  # decimal text in the shop's currency
    compare_at: str = ""


class Component(msgspec.Struct, frozen=True):
    """So many units of one SKU in one kit."""

    sku: str
    quantity: int


class Kit(msgspec.Struct, frozen=True):
    """A SKU that is put together from others; it has no stock of its own."""

    sku: str
    components: tuple[Component, ...]


def kit_units(kit: Kit, free: dict[str, int]) -> int:
    """Return how many kits can be put together from what is free of each component."""
    return min((max(0, free.get(part.sku, 0)) // part.quantity for part in kit.components), default=0)
