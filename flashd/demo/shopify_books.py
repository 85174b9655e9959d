"""
What a simulated Shopify shop knows: its products, its stock at each location, its orders. No sockets.

It sells from its own stock, as the real one does: `available` falls and `committed` rises in the moment of the sale,
and a variant of the policy DENY is never sold below zero.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

FIRST_ORDER = 5_400_000_000_000
_SECOND = timedelta(seconds=1)


class RefusedError(Exception):
    """The shop does not do it; *status* is the answer of the control API."""

    def __init__(self, reason: str, status: int = 409) -> None:
        super().__init__(reason)
        self.status = status


class Level(msgspec.Struct, kw_only=True):
    """Stock of one inventory item at one location, and everything that happened to it."""

    item: int
    location: int
    available: int = 0
    committed: int = 0
    updated_at: datetime
    history: list[tuple[float, str, int, int]] = []  # (seconds since 1970, cause, before, after)

    def move(self, to: int, cause: str, now: datetime) -> None:
        """Set what is available."""
        self.history.append((time.time(), cause, self.available, to))  # finer than the platform's own times
        self.available, self.updated_at = to, now


class Variant(msgspec.Struct, kw_only=True):
    """One thing that is sold, with the inventory item behind it."""

    id: int
    item: int
    product: int
    sku: str
    title: str
    price: int  # cents
    compare_at: int | None = None
    policy: str = "DENY"
    tracked: bool = True


class OrderLine(msgspec.Struct, kw_only=True):
    """One line; *taken* says which location gave how much of what is still ordered."""

    id: int
    variant: Variant
    quantity: int
    current: int
    price: int
    discount: int = 0
    taken: dict[int, int] = {}


class Sold(msgspec.Struct, kw_only=True):
    """One order."""

    id: int
    number: int
    created_at: datetime
    updated_at: datetime
    lines: list[OrderLine]
    buyer: str
    shipping: int = 0
    status: str = "paid"  # its financial_status, as REST writes it
    cancelled_at: datetime | None = None
    test: bool = False
    tags: list[str] = []
    note: str | None = None
    refunds: list[dict[int, int]] = []  # line id -> units

    def goods(self, *, current: bool) -> int:
        """Return what the lines cost, after discounts."""
        return sum(_cost(line, line.current if current else line.quantity) for line in self.lines)

    def total(self, *, current: bool) -> int:
        """Return what the order costs; nothing is left of a cancelled one."""
        gone = current and (self.cancelled_at is not None or not any(line.current for line in self.lines))
        return 0 if gone else self.goods(current=current) + self.shipping


def _cost(line: OrderLine, quantity: int) -> int:
    discount = (2 * line.discount * quantity + line.quantity) // (2 * line.quantity) if line.quantity else 0
    return line.price * quantity - discount


class Books:
    """The shop's truth. Every method that changes something returns what a webhook would tell."""

    def __init__(self, *, locations: int = 1, distinct_times: bool = False) -> None:
        self.locations = list(range(61_000_001, 61_000_001 + locations))
        self.variants: dict[int, Variant] = {}
        self.by_sku: dict[str, Variant] = {}
        self.levels: dict[tuple[int, int], Level] = {}
        self.orders: dict[int, Sold] = {}
        self._distinct = distinct_times

    # ------------------------------------------------------------------------------------------------------- products

    def create_product(self, product: dict[str, Any]) -> Variant:
        """
        Put something on sale; the same SKU again changes it.

        Args:
            product: sku, and optionally title, price (cents), policy, tracked, product (an id that groups variants)
                and stock: a number, or one for each location.
        """
        now = self.now()
        known = self.by_sku.get(product["sku"])
        number = known.id - 44_000_000 if known else len(self.variants) + 1
        variant = Variant(
            id=44_000_000 + number,
            item=48_000_000 + number,
            product=int(product.get("product", 40_000_000 + number)),
            sku=product["sku"],
            title=product.get("title", product["sku"]),
            price=int(product.get("price", 1000)),
            compare_at=product.get("compare_at"),
            policy=product.get("policy", "DENY"),
            tracked=bool(product.get("tracked", True)),
        )
        self.variants[variant.id] = self.by_sku[variant.sku] = variant
        stock = product.get("stock", 0)
        for place, location in enumerate(self.locations):
            units = stock[place] if isinstance(stock, list) else stock * (place == 0)
            level = Level(item=variant.item, location=location, updated_at=now, history=[])
            level.move(int(units), "created", now)
            self.levels[variant.item, location] = level
        return variant

    def levels_of(self, variant: Variant) -> list[Level]:
        """Return its stock, a level for each location."""
        return [self.levels[variant.item, location] for location in self.locations]

    def variant_of_item(self, item: int) -> Variant | None:
        """Return the variant of an inventory item."""
        return self.variants.get(item - 4_000_000)

    def set_available(self, item: int, location: int, to: int, cause: str) -> Level:
        """Set what is available at one location."""
        level = self.levels[item, location]
        level.move(to, cause, self.now())
        return level

    # --------------------------------------------------------------------------------------------------------- orders

    def sell(self, wanted: dict[str, Any]) -> Sold:
        """
        Sell, if there is enough; all lines or none.

        Args:
            wanted: Either sku and quantity, or lines of them (each with an optional discount in cents); optionally
                location, status, shipping, test, tags, note, buyer.

        Raises:
            RefusedError: Sold out, or there is no such SKU.
        """
        now = self.now()
        asked = wanted.get("lines") or [wanted]
        needs: dict[str, int] = {}
        for line in asked:
            needs[line["sku"]] = needs.get(line["sku"], 0) + int(line.get("quantity", 1))
        for sku, units in needs.items():
            self._check(sku, units, wanted.get("location"))
        number = len(self.orders) + 1
        order = Sold(
            id=FIRST_ORDER + number,
            number=number,
            created_at=now,
            updated_at=now,
            lines=[],
            buyer=str(wanted.get("buyer", "Ada Quill")),
            shipping=int(wanted.get("shipping", 0)),
            status=wanted.get("status", "paid"),
            test=bool(wanted.get("test", False)),
            tags=list(wanted.get("tags", [])),
            note=wanted.get("note"),
        )
        for line in asked:
            self._add(order, line["sku"], int(line.get("quantity", 1)), line, wanted.get("location"))
        self.orders[order.id] = order
        return order

    def _add(self, order: Sold, sku: str, units: int, asked: dict[str, Any], location: int | None) -> None:
        variant = self.by_sku[sku]
        line = OrderLine(
            id=order.id * 10 + len(order.lines),
            variant=variant,
            quantity=units,
            current=units,
            price=variant.price,
            discount=int(asked.get("discount", 0)),
            taken={},
        )
        self._take(line, units, f"order {order.id}", location)
        order.lines.append(line)

    def _check(self, sku: str, units: int, location: int | None) -> None:
        variant = self.by_sku.get(sku)
        if variant is None:
            raise RefusedError(f"there is no {sku}", 404)
        if units < 1:
            raise RefusedError("the quantity must be positive", 400)
        if variant.tracked and variant.policy == "DENY":
            there = sum(
                max(0, level.available) for level in self.levels_of(variant) if location in (None, level.location)
            )
            if there < units:
                raise RefusedError(f"{sku} is sold out: {there} left")

    def _take(self, line: OrderLine, units: int, cause: str, location: int | None) -> None:
        if not line.variant.tracked:
            return
        levels = [level for level in self.levels_of(line.variant) if location in (None, level.location)]
        for level in levels:
            here = min(units, max(0, level.available))
            if level is levels[-1]:
                here = units  # a variant that continues to be sold goes below zero here
            if here:
                level.move(level.available - here, cause, self.now())
                level.committed += here
                line.taken[level.location] = line.taken.get(level.location, 0) + here
                units -= here

    def _give_back(self, line: OrderLine, units: int, cause: str, *, restock: bool) -> None:
        for location in list(line.taken):
            here = min(units, line.taken[location])
            level = self.levels[line.variant.item, location]
            level.committed -= here
            if restock:
                level.move(level.available + here, cause, self.now())
            line.taken[location] -= here
            units -= here

    def cancel(self, order_id: int, *, restock: bool) -> Sold:
        """Cancel an order, its units back on the shelf or not; twice is once."""
        order = self._order(order_id)
        if order.cancelled_at is None:
            for line in order.lines:
                self._give_back(line, line.current, f"cancel {order.id}", restock=restock)
                line.current = 0
            order.cancelled_at = self._touch(order)
            order.status = "refunded" if order.status in {"paid", "partially_refunded"} else "voided"
        return order

    def edit(self, order_id: int, quantities: dict[str, int], *, restock: bool = True, refund: bool = False) -> Sold:
        """
        Set how many units of a SKU an order has; a SKU that it lacks is added.

        Args:
            order_id: Which order.
            quantities: The new number of each SKU that changes.
            restock: Whether units that are taken off go back on the shelf.
            refund: Whether it is a refund: it stands among the order's refunds, and only takes off.

        Raises:
            RefusedError: There is no such order, it is cancelled, or there is not enough stock.
        """
        order = self._order(order_id)
        if order.cancelled_at is not None:
            raise RefusedError("it is cancelled")
        lines = {line.variant.sku: line for line in order.lines}
        for sku, units in quantities.items():
            more = units - (lines[sku].current if sku in lines else 0)
            if more > 0 and refund:
                raise RefusedError("a refund takes off", 400)
            if more > 0:
                self._check(sku, more, None)
        refunded: dict[int, int] = {}
        for sku, units in quantities.items():
            line = lines.get(sku)
            if line is None:
                self._add(order, sku, units, {}, None)
            elif units > line.current:
                self._take(line, units - line.current, f"edit {order.id}", None)
                line.quantity, line.current = line.quantity + units - line.current, units
            elif units < line.current:
                refunded[line.id] = line.current - units
                self._give_back(line, line.current - units, f"edit {order.id}", restock=restock)
                line.current = units
        if refund:
            order.refunds.append(refunded)
            order.status = "partially_refunded" if any(line.current for line in order.lines) else "refunded"
        self._touch(order)
        return order

    def mark(self, order_id: int, changes: dict[str, Any]) -> Sold:
        """Change what is written on an order: its status, tags or note."""
        order = self._order(order_id)
        order.status = changes.get("status", order.status)
        order.tags = list(changes.get("tags", order.tags))
        order.note = changes.get("note", order.note)
        self._touch(order)
        return order

    def orders_changed(self, since: datetime | None, until: datetime) -> list[Sold]:
        """Return orders by the time of their last change, oldest first."""
        found = [order for order in self.orders.values() if order.updated_at <= until]
        if since is not None:
            found = [order for order in found if order.updated_at >= since]
        return sorted(found, key=lambda order: (order.updated_at, order.id))

    def _order(self, order_id: int) -> Sold:
        order = self.orders.get(order_id)
        if order is None:
            raise RefusedError(f"there is no order {order_id}", 404)
        return order

    def _touch(self, order: Sold) -> datetime:
        now = self.now()
        if self._distinct and now <= order.updated_at:
            now = order.updated_at + _SECOND
        order.updated_at = now
        return now

    @staticmethod
    def now() -> datetime:
        """Return the time in whole seconds, which is all that Shopify writes."""
        return datetime.now(UTC).replace(microsecond=0)
