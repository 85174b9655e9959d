"""
What the simulated Shopify's Admin API reads from its books: the shop, its catalogue, its stock, its orders.

Lists are cut into pages by cursors; that of orders is a value (time of change and id), so that an order which moves
while somebody turns the pages is seen again and not skipped.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flashd.demo.graphql import GraphqlError, connection
from flashd.demo.shopify_body import gid, graph_order, graph_time, graph_variant, number_of, paged
from flashd.demo.shopify_books import Books, Level, Sold, Variant
from flashd.demo.shopify_schema import API_VERSION
from flashd.demo.shopify_webhooks import Subscription, Webhooks

_FILTER = re.compile(r"updated_at:\s*(>=?)\s*['\"]?([0-9T:.Z+-]+)['\"]?")
SCOPES = ("read_orders", "write_products", "write_inventory", "read_locations")  # writing implies reading
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Reading:
    """The queries."""

    def __init__(self, books: Books, webhooks: Webhooks) -> None:
        self._books = books
        self._webhooks = webhooks
        self.index_lag_s = 0.0  # how far the search index is behind
        self.scopes = [{"handle": name} for name in SCOPES]

    def root(self) -> dict[str, Any]:
        """Return the root of all queries."""
        return {
            "shop": _SHOP,
            "currentAppInstallation": {"id": gid("AppInstallation", 1), "accessScopes": self.scopes},
            "node": self._node,
            "nodes": lambda ids: [self._node(name) for name in ids],
            "order": self._node,
            "location": self._node,
            "locations": lambda **page: paged(self._books.locations, _location, **page),
            "orders": self._orders,
            "productVariants": self._variants,
            "products": self._products,
            "inventoryItems": lambda query=None, **page: paged(  # noqa: ARG005  # not understood
                list(self._books.variants.values()), self._item, **page
            ),
            "webhookSubscriptions": self._subscriptions,
        }

    def _node(self, id: str) -> dict[str, Any] | None:  # noqa: A002  # the vendor's name
        if (order := self._books.orders.get(number_of(id, "Order"))) is not None:
            return self._order(order)
        if (variant := self._books.variants.get(number_of(id, "ProductVariant"))) is not None:
            return self.variant(variant)
        if (item := self._books.variant_of_item(number_of(id, "InventoryItem"))) is not None:
            return self._item(item)
        location = number_of(id, "Location")
        return _location(location) if location in self._books.locations else None

    def _orders(
        self,
        first: int,
        sortKey: str = "",  # noqa: N803  # the vendor's name
        **rest: Any,
    ) -> dict[str, Any]:
        query, after = rest.get("query") or "", rest.get("after")
        match = _FILTER.search(query)
        if (query and match is None) or sortKey != "UPDATED_AT" or rest.get("reverse"):
            raise GraphqlError("the simulated shop lists orders by updated_at only", "BAD_REQUEST")
        since = _LONG_AGO
        if match is not None:
            since = datetime.fromisoformat(match[2]) + (_MILLISECOND if match[1] == ">" else timedelta())
        until = self._books.now() + timedelta(days=1) - timedelta(seconds=self.index_lag_s)
        if self.index_lag_s:
            until -= timedelta(days=1)
        rows = self._books.orders_changed(since, until)
        if after:
            moment, number = msgspec.json.decode(base64.b64decode(after), type=tuple[datetime, int])
            rows = [order for order in rows if (order.updated_at, order.id) > (moment, number)]
        return connection(rows[:first], self._order, _order_cursor, more=len(rows) > first)

    def _order(self, order: Sold) -> dict[str, Any]:
        return graph_order(order, self.variant)

    def _variants(self, first: int, after: str | None = None, query: str | None = None) -> dict[str, Any]:
        rows = list(self._books.variants.values())
        if query and query.startswith("sku:"):
            wanted = query.removeprefix("sku:").strip("'\"")
            rows = [variant for variant in rows if variant.sku == wanted]
        return paged(rows, self.variant, first=first, after=after)

    def _products(self, first: int, after: str | None = None, query: str | None = None) -> dict[str, Any]:  # noqa: ARG002  # not understood
        numbers = list(dict.fromkeys(variant.product for variant in self._books.variants.values()))
        return paged(numbers, self.product, first=first, after=after)

    def product(self, number: int) -> dict[str, Any]:
        """Return the object of a product."""
        variants = [variant for variant in self._books.variants.values() if variant.product == number]
        return {
            "__typename": "Product",
            "id": gid("Product", number),
            "title": variants[0].title,
            "status": "ACTIVE",
            "variants": lambda **page: paged(variants, self.variant, **page),
        }

    def variant(self, variant: Variant) -> dict[str, Any]:
        """Return the object of a variant."""
        return graph_variant(variant) | {
            "inventoryQuantity": sum(level.available for level in self._books.levels_of(variant)),
            "inventoryItem": lambda: self._item(variant),
            "product": lambda: self.product(variant.product),
        }

    def _item(self, variant: Variant) -> dict[str, Any]:
        levels = self._books.levels_of(variant)

        def level_at(locationId: str) -> dict[str, Any] | None:  # noqa: N803  # as above
            place = number_of(locationId, "Location")
            return next((self._level(level) for level in levels if level.location == place), None)

        return {
            "__typename": "InventoryItem",
            "id": gid("InventoryItem", variant.item),
            "legacyResourceId": str(variant.item),
            "sku": variant.sku,
            "tracked": variant.tracked,
            "variant": lambda: self.variant(variant),
            "inventoryLevel": level_at,
            "inventoryLevels": lambda **page: paged(levels, self._level, **page),
        }

    def _level(self, level: Level) -> dict[str, Any]:
        told = {
            "available": level.available,
            "committed": level.committed,
            "on_hand": level.available + level.committed,
        }
        variant = self._books.variant_of_item(level.item)
        assert variant is not None  # noqa: S101  # levels are made with their variant
        return {
            "id": f"gid://shopify/InventoryLevel/{level.location}?inventory_item_id={level.item}",
            "isActive": True,
            "updatedAt": graph_time(level.updated_at),
            "item": lambda: self._item(variant),
            "location": lambda: _location(level.location),
            "quantities": lambda names: [
                {"name": name, "quantity": told[name], "updatedAt": graph_time(level.updated_at)} for name in names
            ],
        }

    def _subscriptions(
        self, first: int, after: str | None = None, topics: list[str] | None = None, uri: str | None = None
    ) -> dict[str, Any]:
        rows = [
            one
            for one in self._webhooks.subscriptions
            if (topics is None or one.topic in topics) and uri in (None, one.uri)
        ]
        return paged(rows, subscription, first=first, after=after)


_SHOP = {
    "__typename": "Shop",
    "id": gid("Shop", 548_380_009),
    "name": "flashd demo",
    "email": "owner@example.com",
    "myshopifyDomain": "flashd-demo.myshopify.com",
    "currencyCode": "EUR",
    "url": "https://flashd-demo.myshopify.com",
    "ianaTimezone": "America/New_York",
    "plan": {"publicDisplayName": "Basic"},
}


def _location(number: int) -> dict[str, Any]:
    return {
        "__typename": "Location",
        "id": gid("Location", number),
        "name": f"Warehouse {number % 1000}",
        "isActive": True,
        "fulfillsOnlineOrders": True,
        "shipsInventory": True,
    }


def subscription(one: Subscription) -> dict[str, Any]:
    """Return the object of a subscription."""
    return {
        "id": gid("WebhookSubscription", one.id),
        "topic": one.topic,
        "uri": one.uri,
        "format": "JSON",
        "createdAt": graph_time(one.created_at),
        "updatedAt": graph_time(one.created_at),
        "apiVersion": {"handle": API_VERSION, "supported": True},
    }


def _order_cursor(order: Sold) -> str:
    return base64.b64encode(msgspec.json.encode((order.updated_at, order.id))).decode()
