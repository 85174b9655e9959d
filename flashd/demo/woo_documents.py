"""
What WooCommerce's REST API v3 and its webhooks show of orders, products and webhooks.

Members and types are those of the vendor's documented examples (woocommerce.github.io/woocommerce-rest-api-docs); a
test compares them with recorded ones.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from flashd.demo.woo_shop import OrderLine, Product, WooOrder, WooShop

_LOCAL_S = 3600  # the shop's own clock face is an hour ahead of GMT; only the *_gmt members can be trusted
_BUYERS = ("Ada Quill", "Noor Vance", "Jun Okada", "Mia Brandt", "Otis Penn")
Document = dict[str, Any]


def php_json(body: Any) -> bytes:
    """Encode as PHP does, which escapes every slash."""
    return msgspec.json.encode(body).replace(b"/", b"\\/")


def written(at_s: float | None) -> str | None:
    """Write a time as WooCommerce does: whole seconds, no offset."""
    return None if at_s is None else time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(at_s)))


def decimal(cents: int) -> str:
    """Write cents as ``"19.90"``."""
    return f"{cents // 100}.{cents % 100:02}"


def _times(name: str, at_s: float | None) -> Document:
    return {name: written(None if at_s is None else at_s + _LOCAL_S), f"{name}_gmt": written(at_s)}


def order_document(order: WooOrder, shop: WooShop, home: str) -> Document:
    """Return an order, as the API and the webhooks show it alike."""
    first, last = _BUYERS[order.id % len(_BUYERS)].split()
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
    return {
        "id": order.id,
        "parent_id": 0,
        "number": str(order.id),
        "order_key": f"wc_order_{order.id:013x}",
        "created_via": "checkout",
        "version": "10.3.4",
        "status": order.status,
        "currency": shop.currency,
        **_times("date_created", order.created_s),
        **_times("date_modified", order.modified_s),
        "discount_total": "0.00",
        "discount_tax": "0.00",
        "shipping_total": decimal(order.shipping_cents),
        "shipping_tax": "0.00",
        "cart_tax": "0.00",
        "total": decimal(order.total_cents),
        "total_tax": "0.00",
        "prices_include_tax": False,
        "customer_id": 0,
        "customer_ip_address": "",
        "customer_user_agent": "",
        "customer_note": "",
        "billing": address | {"email": f"{first}.{last}@example.com".lower(), "phone": ""},
        "shipping": address | {"phone": ""},
        "payment_method": "bacs",
        "payment_method_title": "Direct bank transfer",
        "transaction_id": "",
        **_times("date_paid", order.paid_s),
        **_times("date_completed", order.completed_s),
        "cart_hash": "",
        "meta_data": [],
        "line_items": [_line_document(line) for line in order.lines],
        "tax_lines": [],
        "shipping_lines": [_shipping_document(order)],
        "fee_lines": [],
        "coupon_lines": [],
        "refunds": [],
        "_links": _links(home, f"orders/{order.id}"),
    }


def _shipping_document(order: WooOrder) -> Document:
    return {
        "id": order.id * 10,
        "method_title": "Flat rate",
        "method_id": "flat_rate",
        "total": decimal(order.shipping_cents),
        "total_tax": "0.00",
        "taxes": [],
        "meta_data": [],
    }


def _line_document(line: OrderLine) -> Document:
    product = line.product
    total = decimal(line.price_cents * line.quantity)
    # The hidden `_reduced_stock` of a line is not shown: names that begin with an underscore are left out.
    return {
        "id": line.id,
        "name": product.name,
        "product_id": product.parent_id or product.id,
        "variation_id": product.id if product.parent_id else 0,
        "quantity": line.quantity,
        "tax_class": "",
        "subtotal": total,
        "subtotal_tax": "0.00",
        "total": total,
        "total_tax": "0.00",
        "taxes": [],
        "meta_data": [],
        "sku": product.sku,
        "price": line.price_cents / 100 if line.price_cents % 100 else line.price_cents // 100,
    }


def product_document(product: Product, shop: WooShop, home: str) -> Document:
    """Return a product, or a variation as the list of products shows it."""
    now = shop.now_s()
    holder = shop.holder(product)
    managed: bool | str = "parent" if holder is not product else product.manage_stock is True
    stock = holder.stock if holder.manage_stock is True else None
    allowed = holder.backorders != "no"
    path = f"products/{product.parent_id}/variations/{product.id}" if product.parent_id else f"products/{product.id}"
    return {
        "id": product.id,
        "name": product.name,
        "slug": product.sku.lower(),
        "permalink": f"{home}/product/{product.sku.lower()}/",
        **_times("date_created", product.created_s),
        **_times("date_modified", product.modified_s),
        "type": product.type,
        "status": "publish",
        "catalog_visibility": "visible",
        "sku": product.sku,
        "price": product.price(now),
        "regular_price": product.regular_price,
        "sale_price": product.sale_price,
        **_times("date_on_sale_from", product.sale_from_s),
        **_times("date_on_sale_to", product.sale_to_s),
        "on_sale": product.on_sale(now),
        "purchasable": True,
        "manage_stock": managed,
        "stock_quantity": stock,
        "stock_status": "instock" if stock is None or stock > 0 else "onbackorder" if allowed else "outofstock",
        "backorders": holder.backorders,
        "backorders_allowed": allowed,
        "backordered": allowed and stock is not None and stock < 0,
        "parent_id": product.parent_id,
        "variations": [other.id for other in shop.variations(product)] if product.type == "variable" else [],
        "meta_data": [],
        "_links": _links(home, path),
    }


def webhook_document(webhook: Any, home: str) -> Document:
    """Return a webhook; its secret is never shown."""
    resource, _, event = webhook.topic.partition(".")
    return {
        "id": webhook.id,
        "name": webhook.name,
        "status": webhook.status,
        "topic": webhook.topic,
        "resource": resource,
        "event": event,
        "hooks": [],
        "delivery_url": webhook.delivery_url,
        **_times("date_created", webhook.created_s),
        **_times("date_modified", webhook.modified_s),
        "_links": _links(home, f"webhooks/{webhook.id}"),
    }


def _links(home: str, path: str) -> Document:
    collection = path.rpartition("/")[0]
    root = f"{home}/wp-json/wc/v3"
    return {"self": [{"href": f"{root}/{path}"}], "collection": [{"href": f"{root}/{collection}"}]}
