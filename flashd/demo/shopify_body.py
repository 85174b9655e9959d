"""
One order of the simulated Shopify in the vendor's two spellings: the REST body of webhooks, and the GraphQL object.

They say the same in different words, as the real ones do: snake and camel case, decimals as ``19.90`` and ``19.9``,
times with the shop's offset and in UTC, states in small and capital letters, tags joined and listed. The members of the
REST body were taken from the vendor's documented ``orders/create`` of 2026-04.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from flashd.demo.graphql import connection
from flashd.demo.shopify_books import Level, OrderLine, Sold, Variant

CURRENCY = "EUR"
_SHOP_TIME = timezone(timedelta(hours=-5))


def gid(kind: str, number: int) -> str:
    """Return a global id."""
    return f"gid://shopify/{kind}/{number}"


def number_of(name: str, kind: str) -> int:
    """Return the number at the end of a global id of that kind, 0 where it is none."""
    tail = name.removeprefix(f"gid://shopify/{kind}/")
    return int(tail) if tail != name and tail.isdecimal() else 0


def rest_time(moment: datetime) -> str:
    """Write a time as REST does, in the shop's time zone."""
    return moment.astimezone(_SHOP_TIME).isoformat(timespec="seconds")


def graph_time(moment: datetime) -> str:
    """Write a time as GraphQL does."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decimal(cents: int) -> str:
    """Write money as REST does: always two decimals."""
    return f"{cents // 100}.{cents % 100:02}"


def short_decimal(cents: int) -> str:
    """Write money as GraphQL does: no more decimals than it needs, but one."""
    return decimal(cents)[:-1] if cents % 10 == 0 else decimal(cents)


def _money_set(cents: int) -> dict[str, Any]:
    money = {"amount": decimal(cents), "currency_code": CURRENCY}
    return {"shop_money": money, "presentment_money": money}


def _money_bag(cents: int) -> dict[str, Any]:
    money = {"__typename": "MoneyV2", "amount": short_decimal(cents), "currencyCode": CURRENCY}
    return {"__typename": "MoneyBag", "shopMoney": money, "presentmentMoney": money}


def _email(order: Sold) -> str:
    return f"{order.buyer.lower().replace(' ', '.')}@example.com"


def _shipping_now(order: Sold) -> int:
    return 0 if order.total(current=True) == 0 else order.shipping


# --------------------------------------------------------------------------------------------------------------- REST


def rest_order(order: Sold) -> dict[str, Any]:
    """Return the body of an ``orders/*`` webhook."""
    total, now = order.total(current=False), order.total(current=True)
    discounts = sum(line.discount for line in order.lines)
    first, _, last = order.buyer.partition(" ")
    return {
        "id": order.id,
        "admin_graphql_api_id": gid("Order", order.id),
        "cancel_reason": "other" if order.cancelled_at else None,
        "cancelled_at": rest_time(order.cancelled_at) if order.cancelled_at else None,
        "closed_at": None,
        "confirmed": True,
        "contact_email": _email(order),
        "created_at": rest_time(order.created_at),
        "currency": CURRENCY,
        "current_subtotal_price": decimal(order.goods(current=True)),
        "current_total_additional_fees_set": None,
        "current_total_discounts": decimal(discounts),
        "current_total_duties_set": None,
        "current_total_price": decimal(now),
        "current_total_price_set": _money_set(now),
        "current_total_tax": "0.00",
        "current_total_tax_set": _money_set(0),
        "duties_included": False,
        "email": _email(order),
        "financial_status": order.status,
        "fulfillment_status": None,
        "name": f"#{1000 + order.number}",
        "note": order.note,
        "number": order.number,
        "order_number": 1000 + order.number,
        "phone": None,
        "presentment_currency": CURRENCY,
        "processed_at": rest_time(order.created_at),
        "source_name": "web",
        "subtotal_price": decimal(order.goods(current=False)),
        "tags": ", ".join(order.tags),
        "tax_lines": [],
        "taxes_included": True,
        "test": order.test,
        "total_discounts": decimal(discounts),
        "total_line_items_price": decimal(sum(line.price * line.quantity for line in order.lines)),
        "total_price": decimal(total),
        "total_price_set": _money_set(total),
        "total_tax": "0.00",
        "total_tax_set": _money_set(0),
        "updated_at": rest_time(order.updated_at),
        "customer": {"id": 8_800_000 + order.number, "first_name": first, "last_name": last, "email": _email(order)},
        "billing_address": _rest_address(order),
        "shipping_address": _rest_address(order),
        "discount_applications": [],
        "discount_codes": [],
        "fulfillments": [],
        "line_items": [_rest_line(line) for line in order.lines],
        "refunds": [_rest_refund(order, place, units) for place, units in enumerate(order.refunds)],
        "shipping_lines": [_rest_shipping(order)] if order.shipping else [],
    }


def _rest_line(line: OrderLine) -> dict[str, Any]:
    allocations = []
    if line.discount:
        allocations = [
            {
                "amount": decimal(line.discount),
                "amount_set": _money_set(line.discount),
                "discount_application_index": 0,
            }
        ]
    return {
        "id": line.id,
        "admin_graphql_api_id": gid("LineItem", line.id),
        "current_quantity": line.current,
        "fulfillable_quantity": line.current,
        "fulfillment_status": None,
        "gift_card": False,
        "grams": 250,
        "name": line.variant.title,
        "price": decimal(line.price),
        "price_set": _money_set(line.price),
        "product_exists": True,
        "product_id": line.variant.product,
        "properties": [],
        "quantity": line.quantity,
        "requires_shipping": True,
        "sku": line.variant.sku,
        "taxable": True,
        "title": line.variant.title,
        "total_discount": "0.00",
        "variant_id": line.variant.id,
        "variant_title": None,
        "vendor": "flashd demo",
        "tax_lines": [],
        "duties": [],
        "discount_allocations": allocations,
    }


def _rest_shipping(order: Sold) -> dict[str, Any]:
    return {
        "id": order.id + 1,
        "title": "Standard",
        "is_removed": False,
        "price": decimal(order.shipping),
        "price_set": _money_set(order.shipping),
        "discounted_price": decimal(order.shipping),
        "discounted_price_set": _money_set(order.shipping),
        "current_discounted_price_set": _money_set(_shipping_now(order)),
        "tax_lines": [],
        "discount_allocations": [],
    }


def _rest_refund(order: Sold, place: int, units: Mapping[int, int]) -> dict[str, Any]:
    lines = [{"id": line * 10 + place, "line_item_id": line, "quantity": count} for line, count in units.items()]
    return {"id": order.id * 10 + place, "order_id": order.id, "refund_line_items": lines, "transactions": []}


def _rest_address(order: Sold) -> dict[str, Any]:
    first, _, last = order.buyer.partition(" ")
    return {
        "first_name": first,
        "last_name": last,
        "name": order.buyer,
        "company": None,
        "address1": f"{order.number} Market Street",
        "address2": None,
        "city": "Berlin",
        "province": None,
        "province_code": None,
        "zip": "10115",
        "country": "Germany",
        "country_code": "DE",
        "phone": None,
    }


def rest_level(level: Level) -> dict[str, Any]:
    """Return the body of an ``inventory_levels/update`` webhook."""
    return {
        "inventory_item_id": level.item,
        "location_id": level.location,
        "available": level.available,
        "updated_at": rest_time(level.updated_at),
        "admin_graphql_api_id": f"gid://shopify/InventoryLevel/{level.location}?inventory_item_id={level.item}",
    }


# ------------------------------------------------------------------------------------------------------------ GraphQL


def graph_order(order: Sold, variant: Any) -> dict[str, Any]:
    """
    Return the object of an order.

    Args:
        order: Which.
        variant: Makes the object of a variant.
    """
    first, _, last = order.buyer.partition(" ")
    return {
        "__typename": "Order",
        "id": gid("Order", order.id),
        "legacyResourceId": str(order.id),
        "name": f"#{1000 + order.number}",
        "createdAt": graph_time(order.created_at),
        "processedAt": graph_time(order.created_at),
        "updatedAt": graph_time(order.updated_at),
        "cancelledAt": graph_time(order.cancelled_at) if order.cancelled_at else None,
        "test": order.test,
        "currencyCode": CURRENCY,
        "displayFinancialStatus": order.status.upper(),
        "taxesIncluded": True,
        "dutiesIncluded": False,
        "totalPriceSet": _money_bag(order.total(current=False)),
        "currentTotalPriceSet": _money_bag(order.total(current=True)),
        "totalTaxSet": _money_bag(0),
        "currentTotalTaxSet": _money_bag(0),
        "currentTotalDutiesSet": None,
        "currentTotalAdditionalFeesSet": None,
        "email": _email(order),
        "phone": None,
        "note": order.note,
        "tags": order.tags,
        "sourceName": "web",
        "customer": {
            "__typename": "Customer",
            "id": gid("Customer", 8_800_000 + order.number),
            "firstName": first,
            "lastName": last,
            "defaultEmailAddress": {"emailAddress": _email(order)},
            "defaultPhoneNumber": None,
        },
        "billingAddress": _graph_address(order),
        "shippingAddress": _graph_address(order),
        "refunds": lambda first=None: [
            {"id": gid("Refund", order.id * 10 + place), "createdAt": graph_time(order.updated_at)}
            for place in range(len(order.refunds))
        ][:first],
        "lineItems": lambda **page: paged(order.lines, lambda line: _graph_line(line, variant), **page),
        "shippingLines": lambda includeRemovals=False, **page: paged(  # noqa: N803, ARG005  # the vendor's name
            [order] if order.shipping else [], _graph_shipping, **page
        ),
    }


def _graph_line(line: OrderLine, variant: Any) -> dict[str, Any]:
    return {
        "__typename": "LineItem",
        "id": gid("LineItem", line.id),
        "name": line.variant.title,
        "title": line.variant.title,
        "sku": line.variant.sku,
        "quantity": line.quantity,
        "currentQuantity": line.current,
        "requiresShipping": True,
        "variant": variant(line.variant),
        "originalUnitPriceSet": _money_bag(line.price),
        "discountAllocations": [{"allocatedAmountSet": _money_bag(line.discount)}] if line.discount else [],
    }


def _graph_shipping(order: Sold) -> dict[str, Any]:
    return {
        "__typename": "ShippingLine",
        "id": gid("ShippingLine", order.id + 1),
        "title": "Standard",
        "isRemoved": False,
        "originalPriceSet": _money_bag(order.shipping),
        "discountedPriceSet": _money_bag(order.shipping),
        "currentDiscountedPriceSet": _money_bag(_shipping_now(order)),
        "discountAllocations": [],
    }


def _graph_address(order: Sold) -> dict[str, Any]:
    rest = _rest_address(order)
    return {
        "__typename": "MailingAddress",
        **{name: rest[name] for name in ("name", "company", "address1", "address2", "city", "province", "zip")},
        "firstName": rest["first_name"],
        "lastName": rest["last_name"],
        "provinceCode": rest["province_code"],
        "country": rest["country"],
        "countryCodeV2": rest["country_code"],
        "phone": rest["phone"],
    }


def graph_variant(variant: Variant) -> dict[str, Any]:
    """Return the plain members of a variant's object."""
    return {
        "__typename": "ProductVariant",
        "id": gid("ProductVariant", variant.id),
        "legacyResourceId": str(variant.id),
        "title": "Default Title",
        "displayName": variant.title,
        "sku": variant.sku,
        "price": decimal(variant.price),
        "compareAtPrice": None if variant.compare_at is None else decimal(variant.compare_at),
        "inventoryPolicy": variant.policy,
    }


def paged(rows: list[Any], node: Any, *, first: int, after: str | None = None) -> dict[str, Any]:
    """Return one page of a list that only grows at its end; its cursors are places."""
    start = int(after) + 1 if after else 0
    places = list(range(start, min(start + first, len(rows))))
    return connection(places, lambda place: node(rows[place]), str, more=start + first < len(rows))
