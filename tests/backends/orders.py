"""Orders and deliveries for the backends' tests."""

from __future__ import annotations

from typing import Any

from flashd.config import Secret, SecretText
from flashd.domain.delivery import Delivery, idempotency_key
from flashd.domain.order import Address, Customer, Kind, Line, Order, OrderRef

CUSTOMER = Customer(name="Ada Lovelace", email="ada@example.com", phone="+44 20 7946 0000")
PLACE = Address(name="Ada Lovelace", street="12 St James's Square", city="London", postcode="SW1Y 4JH", country="GB")


def an_order(order_id: str, *, lines: tuple[Line, ...] | None = None, **changes: Any) -> Order:
    """Return an order whose total adds up, with shipping, discounts and tax in it."""
    lines = lines or (
        Line("SKU-01", 2, 1050, 0, "A green mug"),
        Line("SKU-02", 1, 499, 99),
    )
    fields: dict[str, Any] = {
        "channel": "shop",
        "id": order_id,
        "number": f"#{order_id}",
        "placed_ms": 1_790_000_000_000,
        "currency": "USD",
        "lines": lines,
        "shipping": 495,
        "discount": 200,
        "tax": 133,
        "customer": CUSTOMER,
        "ship_to": PLACE,
    } | changes
    fields.setdefault("total", Order(**(fields | {"total": 0})).sum_of_parts)
    return Order(**fields)


def a_delivery(order: Order, *, kind: Kind = Kind.CREATE, sends: int = 1, backend_ref: str = "") -> Delivery:
    """Return the delivery of that order under its own key."""
    ref = OrderRef(order.channel, order.id, kind)
    return Delivery(ref=ref, key=idempotency_key(ref), order=order, sends=sends, backend_ref=backend_ref)


def reveal(secret: Secret) -> SecretText:
    """Reveal what a test wrote into `env` as it stands."""
    return SecretText(secret.env or "")
