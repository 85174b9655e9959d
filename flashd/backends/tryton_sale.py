"""A sale of Tryton as flashd writes it and reads it again: lines that add up, the states, and what must be equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from flashd.backends.exchange import plain
from flashd.backends.tryton_catalogue import EXTRA, Products, Shop
from flashd.domain.delivery import Delivery
from flashd.domain.money import decimal_text
from flashd.domain.order import Order

RANK = {"cancelled": -1, "draft": 0, "quotation": 1, "confirmed": 2, "processing": 3, "done": 4}
STEP = {"draft": "quote", "quotation": "confirm"}
SALE_FIELDS = ("state", "web_id", "total_amount", "lines.type", "lines.product", "lines.quantity", "lines.unit_price")


class SaleLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line as it goes into the sale: never repriced, without taxes of Tryton's own."""

    product: int | None
    unit: int | None
    quantity: int
    unit_price: Decimal
    description: str = ""

    @property
    def measure(self) -> tuple[int | None, int, Decimal]:
        """What must be equal in Tryton."""
        return (self.product, self.quantity, self.unit_price.normalize())


def encode_lines(order: Order, products: Products) -> list[SaleLine]:
    """Return the lines whose sum is exactly the order's total."""
    lines = [
        SaleLine(
            product=products[line.sku][0],
            unit=products[line.sku][1],
            quantity=line.quantity,
            unit_price=amount(line.unit_price, order.currency),
            description=line.title,
        )
        for line in order.lines
    ]
    extras = {
        "shipping": order.shipping,
        "discount": -order.discount - sum(line.discount for line in order.lines),
        "tax": order.tax,
        "rounding": order.total - order.sum_of_parts,  # of an order that a human let go as it is
    }
    for name, minor in extras.items():
        if minor:
            product, unit = products.get(EXTRA + name, (None, None))
            price = amount(minor, order.currency)
            line = SaleLine(product=product, unit=unit, quantity=1, unit_price=price, description=name.capitalize())
            lines.append(line)
    return lines


def amount(minor: int, currency: str) -> Decimal:
    """Return an amount as Tryton has it."""
    return Decimal(decimal_text(minor, currency))


def encode_comment(order: Order) -> str:
    """Return what has no field of its own in a sale: who bought, and the address in words."""
    who, to = order.customer, order.ship_to
    place = " ".join(part for part in (to.postcode, to.city, to.region, to.country) if part)
    parts = (who.name, who.email, who.phone, to.name, to.company, to.street, to.street2, place, to.phone, order.note)
    return "\n".join(dict.fromkeys(part for part in parts if part))


def encode_sale(
    delivery: Delivery, lines: Sequence[SaleLine], shop: Shop, *, currency: int, ship_to: int
) -> dict[str, Any]:
    """Return the fields of the sale."""
    order = delivery.order
    return {
        "company": shop.company,
        "currency": currency,
        "party": shop.party,
        "invoice_address": shop.address,
        "shipment_address": ship_to,
        "warehouse": shop.warehouse,
        "web_shop": shop.id,
        "web_id": delivery.key,
        "reference": plain(order.number or order.id),
        "description": plain(f"{order.channel} {order.id}"),
        "comment": encode_comment(order),
        "lines": [["create", [_encode_line(line) for line in lines]]],
    }


def _encode_line(line: SaleLine) -> dict[str, Any]:
    price = {"__class__": "Decimal", "decimal": str(line.unit_price)}
    # What a line lacks is told too: Tryton inserts at once what has the same fields, and else one by one.
    told = {"product": line.product, "unit": line.unit, "description": line.description or None}
    return {"type": "line", "quantity": line.quantity, "unit_price": price} | told


def decode_decimal(value: object) -> Decimal | None:
    """Read Tryton's way of writing an exact number."""
    try:
        return Decimal(value["decimal"]) if isinstance(value, dict) else None
    except (KeyError, TypeError, InvalidOperation):
        return None


def compare(sale: Mapping[str, Any], lines: Sequence[SaleLine], total: Decimal) -> str:
    """Say how a sale that was read differs from what was sent; "" if it does not."""
    if sale.get("state") == "cancelled":
        return "it is cancelled in Tryton"
    if decode_decimal(sale.get("total_amount")) != total:
        return "its total is another"
    theirs: Counter[object] = Counter()
    for line in sale.get("lines") or ():
        price = decode_decimal(line.get("unit_price"))
        if line.get("type") == "line" and price is not None:
            product = line.get("product")
            theirs[
                product["id"] if isinstance(product, dict) else product, line.get("quantity"), price.normalize()
            ] += 1
    return "" if theirs == Counter(line.measure for line in lines) else "its lines are others"


def is_sale(body: object) -> bool:
    """Say whether *body* is a sale in a state that is known."""
    return isinstance(body, dict) and isinstance(body.get("id"), int) and body.get("state") in RANK
