"""What is sold under which name where: the map from SKUs to a channel's own ids, products of a platform, and kits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


class Bundle(msgspec.Struct, frozen=True):
    """
    So many units of one SKU as they were ordered, and what each of them is made of.

    A hold and an order keep those of their kits: what becomes of a kit later is not theirs any more. What is no kit is
    made of one of itself.
    """

    sku: str
    quantity: int
    components: tuple[Component, ...]


def take_apart(
    ordered: Mapping[str, int], kits: Mapping[str, Kit], known: Sequence[Bundle] = ()
) -> tuple[dict[str, int], tuple[Bundle, ...]]:
    """
    Return the units that *ordered* wants from stock, by SKU, and the kits among it.

    Args:
        ordered: Units by SKU, in the order of the lines.
        kits: As they are put together now.
        known: Kits that were taken apart before: those stay as they were.
    """
    made_of = {bundle.sku: bundle.components for bundle in known}
    wants: dict[str, int] = {}
    bundles: list[Bundle] = []
    for sku, quantity in ordered.items():
        components = made_of.get(sku) or (kits[sku].components if sku in kits else ())
        if components:
            bundles.append(Bundle(sku, quantity, components))
        for part in components or (Component(sku, 1),):
            wants[part.sku] = wants.get(part.sku, 0) + quantity * part.quantity
    return wants, tuple(bundles)


def ordered_of(wants: Mapping[str, int], bundles: Sequence[Bundle]) -> dict[str, int]:
    """Return what was ordered, by SKU, from what was wanted from stock and the kits among it."""
    ordered = dict(wants)
    for bundle in bundles:
        for part in bundle.components:
            ordered[part.sku] = ordered.get(part.sku, 0) - bundle.quantity * part.quantity
    for bundle in bundles:
        ordered[bundle.sku] = ordered.get(bundle.sku, 0) + bundle.quantity
    return {sku: units for sku, units in ordered.items() if units > 0}


def added(old: Mapping[str, int], new: Mapping[str, int], kits: Mapping[str, Kit]) -> tuple[Bundle, ...]:
    """Return by how much *new* is more than *old*, each SKU with what it is made of now."""
    return tuple(
        Bundle(sku, units - old.get(sku, 0), kits[sku].components if sku in kits else (Component(sku, 1),))
        for sku, units in new.items()
        if units > old.get(sku, 0)
    )
