"""
Bodies as the platforms send them: the members that matter and enough of the rest to look like the real thing.

The members were taken from the platforms' documented examples (Shopify Admin API 2026-04 ``orders/create``, WooCommerce
REST v3 orders); values are the demo's own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flashd.demo.purchase import BasketLine, Purchase, Stage, Version

CURRENCY = "EUR"
_BUYERS = ("Ada Quill", "Noor Vance", "Jun Okada", "Mia Brandt", "Otis Penn")


def decimal(cents: int) -> str:
    """Write cents as the platforms do: ``"19.90"``."""
    return f"{cents // 100}.{cents % 100:02}"


def order_id(purchase: Purchase) -> str:
    """Return the id under which the shop knows this purchase, and flashd after it."""
    return {
        "shop": str(5_120_000_000_000 + purchase.number),
        "woo": str(70_000 + purchase.number),
        "store": f"st_{purchase.number:06}",
        "till": f"till-{purchase.number:06}",
    }[purchase.shop]


def shopify(purchase: Purchase, version: Version, placed: datetime) -> dict[str, Any]:
    """Return an ``orders/*`` body."""
    changed = placed + timedelta(seconds=version.after_s)
    cancelled = version.stage is Stage.CANCELLED
    goods = sum(line.article.price * line.quantity for line in version.lines)
    discounts = sum(line.discount for line in version.lines)
    number = int(order_id(purchase))
    name = _buyer(purchase)
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/Order/{number}",
        "name": f"#{1000 + purchase.number}",
        "number": purchase.number,
        "order_number": 1000 + purchase.number,
        "test": False,
        "confirmed": True,
        "currency": CURRENCY,
        "presentment_currency": CURRENCY,
        "financial_status": _shopify_status(version.stage),
        "fulfillment_status": None,
        "cancel_reason": "customer" if cancelled else None,
        "cancelled_at": _shopify_time(changed) if cancelled else None,
        "closed_at": None,
        "created_at": _shopify_time(placed),
        "processed_at": _shopify_time(placed),
        "updated_at": _shopify_time(changed),
        "email": _email(name),
        "contact_email": _email(name),
        "phone": None,
        "note": None,
        "tags": "",
        "source_name": "web",
        "taxes_included": True,
        "tax_lines": [],
        "total_tax": "0.00",
        "total_line_items_price": decimal(goods),
        "total_discounts": decimal(discounts),
        "current_total_discounts": decimal(discounts),
        "subtotal_price": decimal(goods - discounts),
        "current_subtotal_price": decimal(goods - discounts),
        "total_shipping_price_set": _money_set(version.shipping),
        "total_price": decimal(version.total),
        "current_total_price": decimal(version.total),
        "current_total_tax": "0.00",
        "total_tip_received": "0.00",
        "customer": {"id": 8_800_000 + purchase.number, "first_name": name.split()[0], "last_name": name.split()[1]},
        "billing_address": _shopify_address(name),
        "shipping_address": _shopify_address(name),
        "shipping_lines": [
            {
                "id": number + 1,
                "title": "Standard",
                "price": decimal(version.shipping),
                "discounted_price": decimal(version.shipping),
                "tax_lines": [],
                "discount_allocations": [],
            }
        ],
        "discount_codes": [],
        "discount_applications": [],
        "fulfillments": [],
        "refunds": [],
        "line_items": [
            _shopify_line(number * 10 + place, line, cancelled=cancelled) for place, line in enumerate(version.lines)
        ],
    }


def _shopify_status(stage: Stage) -> str:
    return {Stage.PENDING: "pending", Stage.PAID: "paid", Stage.CANCELLED: "refunded"}[stage]


def _shopify_line(number: int, line: BasketLine, *, cancelled: bool) -> dict[str, Any]:
    allocations = [{"amount": decimal(line.discount), "discount_application_index": 0}] if line.discount else []
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/LineItem/{number}",
        "name": line.article.title,
        "title": line.article.title,
        "sku": line.article.sku,
        "quantity": line.quantity,
        "current_quantity": 0 if cancelled else line.quantity,
        "fulfillable_quantity": 0 if cancelled else line.quantity,
        "fulfillment_status": None,
        "gift_card": False,
        "grams": 250,
        "price": decimal(line.article.price),
        "price_set": _money_set(line.article.price),
        "product_exists": True,
        "requires_shipping": True,
        "taxable": True,
        "total_discount": "0.00",
        "discount_allocations": allocations,
        "tax_lines": [],
        "duties": [],
        "properties": [],
        "variant_id": 4_400_000 + len(line.article.sku),
        "variant_title": None,
        "vendor": "flashd demo",
    }


def woocommerce(purchase: Purchase, version: Version, placed: datetime) -> dict[str, Any]:
    """Return an order as WooCommerce's REST API and webhooks show it."""
    changed = placed + timedelta(seconds=version.after_s)
    number = int(order_id(purchase))
    first, last = _buyer(purchase).split()
    address = {
        "first_name": first,
        "last_name": last,
        "company": "",
        "address_1": "Harbour Lane 7",
        "address_2": "",
        "city": "Bremen",
        "state": "",
        "postcode": "28195",
        "country": "DE",
    }
    tax_each = _spread(version.tax, len(version.lines))
    return {
        "id": number,
        "parent_id": 0,
        "number": str(number),
        "order_key": f"wc_order_{number:013x}",
        "created_via": "checkout",
        "version": "10.3.4",
        "status": {Stage.PENDING: "pending", Stage.PAID: "processing", Stage.CANCELLED: "cancelled"}[version.stage],
        "currency": CURRENCY,
        "date_created": _woo_time(placed + timedelta(hours=1)),
        "date_created_gmt": _woo_time(placed),
        "date_modified": _woo_time(changed + timedelta(hours=1)),
        "date_modified_gmt": _woo_time(changed),
        "discount_total": "0.00",
        "discount_tax": "0.00",
        "shipping_total": decimal(version.shipping),
        "shipping_tax": "0.00",
        "cart_tax": decimal(version.tax),
        "total": decimal(version.total),
        "total_tax": decimal(version.tax),
        "prices_include_tax": False,
        "customer_id": 0,
        "customer_note": "",
        "billing": address | {"email": _email(f"{first} {last}"), "phone": ""},
        "shipping": address | {"phone": ""},
        "payment_method": "bacs",
        "payment_method_title": "Bank transfer",
        "transaction_id": "",
        "date_paid": None if version.stage is Stage.PENDING else _woo_time(changed + timedelta(hours=1)),
        "date_paid_gmt": None if version.stage is Stage.PENDING else _woo_time(changed),
        "date_completed": None,
        "date_completed_gmt": None,
        "meta_data": [],
        "line_items": [
            _woo_line(number * 10 + place, line, tax)
            for place, (line, tax) in enumerate(zip(version.lines, tax_each, strict=True))
        ],
        "tax_lines": [],
        "shipping_lines": [
            {"id": number, "method_title": "Flat rate", "method_id": "flat_rate", "total": decimal(version.shipping)}
        ],
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [],
    }


def _woo_line(number: int, line: BasketLine, tax: int) -> dict[str, Any]:
    cost = line.article.price * line.quantity
    return {
        "id": number,
        "name": line.article.title,
        "product_id": 93,
        "variation_id": 0,
        "quantity": line.quantity,
        "tax_class": "",
        "subtotal": decimal(cost),
        "subtotal_tax": decimal(tax),
        "total": decimal(cost),
        "total_tax": decimal(tax),
        "taxes": [],
        "meta_data": [],
        "sku": line.article.sku,
        "price": line.article.price / 100,
    }


def standard(purchase: Purchase, version: Version, placed: datetime) -> dict[str, Any]:
    """Return an order in flashd's own form, as a storefront tells each of its states."""
    changed = placed + timedelta(seconds=version.after_s)
    return native(purchase, version, placed) | {
        "status": str(version.stage),
        "updated_at": changed.isoformat().replace("+00:00", "Z"),
    }


def native(purchase: Purchase, version: Version, placed: datetime) -> dict[str, Any]:
    """Return an order in flashd's own form, as the till tells it."""
    name = _buyer(purchase)
    return {
        "id": order_id(purchase),
        "number": f"T{purchase.number}",
        "placed_at": placed.isoformat().replace("+00:00", "Z"),
        "currency": CURRENCY,
        "lines": [
            {"sku": line.article.sku, "quantity": line.quantity, "unit_price": line.article.price}
            | ({"discount": line.discount} if line.discount else {})
            for line in version.lines
        ],
        "shipping": version.shipping,
        "tax": version.tax,
        "total": version.total,
        "customer": {"name": name, "email": _email(name)},
    }


def _spread(amount: int, parts: int) -> list[int]:
    """Split cents over lines so that they add up."""
    return [amount // parts + (1 if place < amount % parts else 0) for place in range(parts)]


def _buyer(purchase: Purchase) -> str:
    return _BUYERS[purchase.number % len(_BUYERS)]


def _email(name: str) -> str:
    return f"{name.lower().replace(' ', '.')}@example.com"


def _money_set(cents: int) -> dict[str, Any]:
    money = {"amount": decimal(cents), "currency_code": CURRENCY}
    return {"shop_money": money, "presentment_money": money}


def _shopify_address(name: str) -> dict[str, Any]:
    first, last = name.split()
    return {
        "first_name": first,
        "last_name": last,
        "name": name,
        "company": None,
        "address1": "Harbour Lane 7",
        "address2": None,
        "city": "Bremen",
        "province": None,
        "province_code": None,
        "zip": "28195",
        "country": "Germany",
        "country_code": "DE",
        "phone": None,
    }


def _shopify_time(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0).isoformat()


def _woo_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
