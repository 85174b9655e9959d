"""The shapes of what Shopify's Admin API answers, as far as flashd reads it."""

from __future__ import annotations

from typing import Any

import msgspec

from flashd.channels.shopify.figures import Item
from flashd.channels.shopify.listed import Lines, PageInfo
from flashd.domain.catalogue import Product


class Nodes(msgspec.Struct, frozen=True):
    """Things that were asked for by their ids; null where there is none."""

    nodes: list[dict[str, Any] | None]

    @property
    def of_the_kind(self) -> list[dict[str, Any]]:
        """Those that are there, and of the kind that was asked for."""
        return [node for node in self.nodes if node]


class Page(msgspec.Struct, frozen=True, rename="camel"):
    """A page of a list."""

    nodes: list[dict[str, Any]]
    page_info: PageInfo

    @property
    def after(self) -> str:
        """Where the next page begins, "" after the last."""
        return self.page_info.end_cursor or "" if self.page_info.has_next_page else ""


class RestOfLines(msgspec.Struct, frozen=True, rename="camel"):
    """Further lines of an order, and when it changed last."""

    updated_at: str
    line_items: Lines


class _Scope(msgspec.Struct, frozen=True):
    handle: str


class _App(msgspec.Struct, frozen=True, rename="camel"):
    access_scopes: list[_Scope]


class _Shop(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    myshopify_domain: str


class Login(msgspec.Struct, frozen=True, rename="camel"):
    """Who answered, and what the app may do."""

    shop: _Shop
    current_app_installation: _App


class Place(msgspec.Struct, frozen=True, rename="camel"):
    """A location."""

    id: str
    name: str = ""
    is_active: bool = True


class _Product(msgspec.Struct, frozen=True):
    id: str


class Variant(msgspec.Struct, frozen=True, rename="camel"):
    """A variant, with its stock at one location."""

    id: str
    display_name: str
    inventory_policy: str
    inventory_item: Item
    product: _Product
    price: str = ""
    sku: str | None = None
    compare_at_price: str | None = None


class Hook(msgspec.Struct, frozen=True):
    """A webhook subscription."""

    topic: str
    uri: str = ""


def product_of(variant: Variant) -> Product:
    """Return what is sold."""
    item = variant.inventory_item
    return Product(
        sku=variant.sku or "",
        ids={"variant": variant.id, "inventory_item": item.id, "product": variant.product.id},
        title=variant.display_name,
        units=item.units,
        tracked=item.tracked,
        oversells=variant.inventory_policy != "DENY",
        price=variant.price,
        compare_at=variant.compare_at_price or "",
    )
