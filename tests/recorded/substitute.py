"""The documented substitution (SOURCES.md) that turns anonymised Shopify orders into orders with checkable figures."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

Body = dict[str, Any]


def substituted(order: Body, n: int) -> Body:
    """Return the *n*th order with ids, SKUs, quantities and prices by rule, and a total that adds up."""
    body = copy.deepcopy(order)
    body["id"] = 5_000_000_000_000 + n
    body["admin_graphql_api_id"] = f"gid://shopify/Order/{body['id']}"
    body |= {"test": False, "cancelled_at": None, "financial_status": "paid", "currency": "EUR"}
    body |= {"current_total_duties_set": None, "current_total_additional_fees_set": None}
    total = sum((_line(line, n, i) for i, line in enumerate(body["line_items"], 1)), Decimal(0))
    for shipping in body["shipping_lines"]:
        shipping |= {"price": "4.90", "discounted_price": "4.90", "discount_allocations": []}
        shipping.pop("current_discounted_price_set", None)
        total += Decimal("4.90")
    tax = Decimal("2.00") if body.get("tax_lines") and not body["taxes_included"] else Decimal("0.00")
    body["total_tax"] = body["current_total_tax"] = str(tax)
    body["total_price"] = str(total + tax)
    if "current_total_price" in body:
        body["current_total_price"] = body["total_price"]
    return body


def _line(line: Body, n: int, i: int) -> Decimal:
    line |= {"id": 1000 * n + i, "sku": f"SKU-{n}-{i}", "quantity": i, "price": f"{10 * i + n}.50"}
    if "current_quantity" in line:
        line["current_quantity"] = i
    allocations = line.get("discount_allocations") or []
    for allocation in allocations:
        allocation["amount"] = "1.00"
    return Decimal(line["price"]) * i - len(allocations)


def recent(body: Body, now: datetime) -> Body:
    """Return the order placed and changed at *now*: an unknown one older than the tombstones is never taken."""
    body = copy.deepcopy(body)
    for field in ("created_at", "processed_at", "updated_at"):
        if field in body:
            body[field] = now.isoformat(timespec="seconds")
    for field in ("date_created_gmt", "date_modified_gmt", "date_paid_gmt"):
        if body.get(field):
            body[field] = now.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")
    return body
