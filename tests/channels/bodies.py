"""Small orders in each platform's words, to be bent by a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent.parent / "recorded"

Body = dict[str, Any]


def written(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_bytes())


def shopify_order(**changes: Any) -> Body:
    """Two units at 199.00, 4.00 off, 5.00 shipping, tax in the prices: 399.00 EUR."""
    return {
        "id": 1001,
        "admin_graphql_api_id": "gid://shopify/Order/1001",
        "name": "#1001",
        "created_at": "2026-11-27T08:00:00+01:00",
        "updated_at": "2026-11-27T08:00:05+01:00",
        "cancelled_at": None,
        "financial_status": "paid",
        "currency": "EUR",
        "taxes_included": True,
        "test": False,
        "total_price": "399.00",
        "current_total_price": "399.00",
        "total_tax": "63.71",
        "current_total_tax": "63.71",
        "email": "ada@example.com",
        "tags": "vip, flash",
        "note": "ring twice",
        "line_items": [
            {
                "id": 11,
                "sku": "LAMP-1",
                "variant_id": 21,
                "name": "Lamp",
                "quantity": 2,
                "current_quantity": 2,
                "price": "199.00",
                "requires_shipping": True,
                "discount_allocations": [{"amount": "4.00"}],
            }
        ],
        "shipping_lines": [{"price": "5.00", "discounted_price": "5.00", "discount_allocations": []}],
        "shipping_address": {
            "name": "Ada L",
            "address1": "Lane 1",
            "city": "Bonn",
            "zip": "53111",
            "country_code": "DE",
        },
        "refunds": [],
        **changes,
    }


def shopify_line(**changes: Any) -> Body:
    line: Body = {**shopify_order()["line_items"][0], **changes}
    return line


def woo_order(**changes: Any) -> Body:
    """Two units at 10.00 less 1.00 by coupon, 4.00 shipping, 4.37 tax: 27.37 EUR."""
    return {
        "id": 727,
        "number": "727",
        "status": "processing",
        "currency": "EUR",
        "date_created_gmt": "2026-11-27T07:00:00",
        "date_modified_gmt": "2026-11-27T07:00:05",
        "total": "27.37",
        "total_tax": "4.37",
        "shipping_total": "4.00",
        "prices_include_tax": False,
        "line_items": [woo_line()],
        "fee_lines": [],
        "refunds": [],
        "billing": {"first_name": "Ada", "last_name": "L", "address_1": "Lane 1", "email": "ada@example.com"},
        "shipping": {"first_name": "Ada", "last_name": "L", "address_1": "Lane 2", "city": "Bonn", "country": "DE"},
        **changes,
    }


def woo_line(**changes: Any) -> Body:
    return {
        "id": 315,
        "name": "Cup",
        "product_id": 93,
        "variation_id": 0,
        "sku": "CUP",
        "quantity": 2,
        "subtotal": "20.00",
        "total": "19.00",
        "price": 9.5,
        **changes,
    }


def own_order(**changes: Any) -> Body:
    """An order in flashd's own schema, as both the native API and Standard Webhooks take it: 205.00 EUR."""
    return {
        "id": "A-1",
        "currency": "EUR",
        "placed_at": "2026-11-27T07:00:00Z",
        "lines": [{"sku": "LAMP-1", "quantity": 2, "unit_price": 10000}],
        "shipping": 500,
        "total": 20500,
        "customer": {"email": "ada@example.com"},
        "ship_to": {"name": "Ada L", "street": "Lane 1", "country": "DE"},
        **changes,
    }


def webhook_order(**changes: Any) -> Body:
    return own_order(**{"status": "paid", "updated_at": "2026-11-27T07:00:05Z", **changes})
