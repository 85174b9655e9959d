"""
Prices, read and written variant by variant, product by product.

Facts: shopify.dev/docs/api/admin-graphql/2026-10/mutations/productVariantsBulkUpdate: the variants of one product, all
or none; the answer has the variants as they are then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from flashd.channels.exchange import plain
from flashd.channels.shopify.admin import Failed, Told
from flashd.channels.shopify.figures import UserError, gid
from flashd.domain.catalogue import Entry
from flashd.ports.channel_api import Price, PriceWrite


class _Product(msgspec.Struct, frozen=True):
    id: str


class Priced(msgspec.Struct, frozen=True, rename="camel"):
    """A variant with its price."""

    id: str
    price: str
    compare_at_price: str | None = None
    product: _Product | None = None


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    user_errors: list[UserError]
    product_variants: list[Priced] | None = None


def variant_of(entry: Entry) -> str:
    """Return the global id of an entry's variant, "" where the map has none."""
    return gid("ProductVariant", entry.ids.get("variant", ""))


def price_of(sku: str, found: Priced | None) -> Price:
    """Return what is asked for one SKU."""
    if found is None:
        return Price(sku=sku, price="", reason="Shopify has no such variant: import the map again")
    return Price(sku=sku, price=found.price, compare_at=found.compare_at_price or "")


def input_of(write: PriceWrite) -> dict[str, Any]:
    """Return one variant of the mutation's input."""
    return {"id": variant_of(write.entry), "price": write.price, "compareAtPrice": write.compare_at or None}


def written(writes: Sequence[PriceWrite], told: Told | Failed) -> list[Price]:
    """Say what the variants of one product cost after a write, or why that is not known."""
    if isinstance(told, Failed):
        return failed(writes, told.reason)
    payload = told.data.get("productVariantsBulkUpdate")
    if payload is None:
        return failed(writes, plain(told.errors[0].message) if told.errors else "the answer does not speak of it")
    try:
        seen = msgspec.convert(payload, _Payload)
    except msgspec.ValidationError as error:
        return failed(writes, plain(f"the answer is not understood: {error}"))
    if seen.user_errors:
        return failed(writes, plain(seen.user_errors[0].message))
    by_id = {variant.id: variant for variant in seen.product_variants or ()}
    return [price_of(write.entry.sku, by_id.get(variant_of(write.entry))) for write in writes]


def failed(writes: Sequence[PriceWrite], reason: str) -> list[Price]:
    """Say that prices were not written, or may not have been."""
    return [Price(sku=write.entry.sku, price="", reason=reason) for write in writes]
