"""
An order of the Admin API, said as the plug-in says it in its messages.

What is polled must be exactly what the message brings, else the same order would be two versions: order-message.ts has
the other half.
"""

from __future__ import annotations

import json
import re
from typing import Any

_COUNTRY = re.compile(r"[A-Z]{2}")

FIELDS = """
  code state updatedAt orderPlacedAt currencyCode shippingWithTax totalWithTax
  customFields { flashdHold }
  customer { firstName lastName emailAddress phoneNumber }
  shippingAddress { fullName company streetLine1 streetLine2 city province postalCode countryCode phoneNumber }
  lines { quantity orderPlacedQuantity unitPriceWithTax proratedLinePriceWithTax productVariant { sku name } }
"""


def message_of(order: dict[str, Any]) -> bytes:
    """Return the body of the message that the plug-in would send of *order*, which has `FIELDS`."""
    cancelled = order["state"] == "Cancelled"
    quantities = [line["orderPlacedQuantity" if cancelled else "quantity"] for line in order["lines"]]
    lines = [_line(line, count) for line, count in zip(order["lines"], quantities, strict=True) if count > 0]
    lines.sort(key=lambda line: (line["sku"], line["quantity"], line["unit_price"], line["discount"]))
    goods = sum(line["unit_price"] * line["quantity"] - line["discount"] for line in lines)
    total = goods if cancelled else order["totalWithTax"]
    shipping = 0 if cancelled else order["shippingWithTax"]
    rest = total - goods - shipping  # surcharges, a cent of rounding
    customer = order["customer"] or {}
    body = {
        "id": order["code"],
        "number": order["code"],
        "status": {"Cancelled": "cancelled", "PaymentAuthorized": "pending"}.get(order["state"], "paid"),
        "updated_at": order["updatedAt"],
        "placed_at": order["orderPlacedAt"] or order["updatedAt"],
        "currency": order["currencyCode"],
        "lines": lines,
        "shipping": shipping + max(0, rest),
        "discount": max(0, -rest),
        "total": total,
        "customer": {
            "name": " ".join(filter(None, (customer.get("firstName"), customer.get("lastName")))),
            "email": customer.get("emailAddress") or "",
            "phone": customer.get("phoneNumber") or "",
        },
        "ship_to": _address(order["shippingAddress"] or {}),
        "hold_id": f"{order['code']}-{(order['customFields'] or {}).get('flashdHold') or 0}",
    }
    return json.dumps(body).encode()


def _line(line: dict[str, Any], quantity: int) -> dict[str, Any]:
    price = line["unitPriceWithTax"]
    saved = price * quantity - line["proratedLinePriceWithTax"] if quantity == line["quantity"] else 0
    variant = line["productVariant"]
    return {
        "sku": variant["sku"],
        "quantity": quantity,
        "unit_price": price,
        "discount": max(0, saved),
        "title": variant["name"] or "",
    }


def _address(address: dict[str, Any]) -> dict[str, str]:
    names = {
        "name": "fullName",
        "company": "company",
        "street": "streetLine1",
        "street2": "streetLine2",
        "city": "city",
        "region": "province",
        "postcode": "postalCode",
        "country": "countryCode",
        "phone": "phoneNumber",
    }
    found = {ours: address.get(theirs) or "" for ours, theirs in names.items()}
    return {**found, "country": found["country"] if _COUNTRY.fullmatch(found["country"]) else ""}
