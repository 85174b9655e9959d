"""
What a WooCommerce shop knows: products, stock and orders, and its own rules of selling. No sockets.

The rules are the vendor's (woocommerce/woocommerce wc-stock-functions.php and the V3 REST controllers): checkout sees
the stock less what unpaid orders hold; the stock itself falls when an order *becomes* processing, on-hold or completed,
and rises again by itself when one becomes cancelled or pending. A refund, a failure and the bin give nothing back. A
figure that is written from outside stands as it was written, whatever was sold meanwhile; so an order that was placed
before a lower figure was written, and is paid after it, takes the stock below zero, as it does there.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

STATUSES = frozenset({"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "trash"})
_REDUCE = frozenset({"processing", "on-hold", "completed"})
_RESTORE = frozenset({"cancelled", "pending"})
_BACKORDERS = ("no", "notify", "yes")


class Refusal(Exception):  # noqa: N818  # WordPress calls it an error and answers with it
    """What WordPress answers as a WP_Error."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Short(Exception):  # noqa: N818  # an answer of the checkout
    """The checkout refused: these SKUs are out of stock."""

    def __init__(self, skus: list[str]) -> None:
        super().__init__(", ".join(skus))
        self.skus = skus


class Move(msgspec.Struct, frozen=True):
    """One change of a stock figure: *by* is "sale", "restore", "api" or "human"."""

    at_s: float
    by: str
    before: int
    after: int
    order: int = 0


class Product(msgspec.Struct, kw_only=True):
    """A simple product, a variable one, or a variation of one."""

    id: int
    sku: str
    name: str
    created_s: float
    modified_s: float
    parent_id: int = 0
    type: str = "simple"  # simple, variable, variation
    manage_stock: bool | str = True  # "parent": a variation that sells from its parent's figure
    stock: int | None = None
    backorders: str = "no"
    regular_price: str = "10.00"
    sale_price: str = ""
    sale_from_s: int | None = None
    sale_to_s: int | None = None
    moves: list[Move] = []

    def on_sale(self, now_s: float) -> bool:
        """Say whether the sale price counts now."""
        begun = self.sale_from_s is None or self.sale_from_s <= now_s
        over = self.sale_to_s is not None and self.sale_to_s < now_s
        return (
            self.sale_price != "" and float(self.sale_price) < float(self.regular_price or "0") and begun and not over
        )

    def price(self, now_s: float) -> str:
        """Return what it costs now."""
        return self.sale_price if self.on_sale(now_s) else self.regular_price


class OrderLine(msgspec.Struct, kw_only=True):
    """One line; *reduced* is what it took from stock."""

    id: int
    product: Product
    quantity: int
    price_cents: int
    reduced: int = 0


class WooOrder(msgspec.Struct, kw_only=True):
    """An order as the shop keeps it."""

    id: int
    status: str
    created_s: float
    modified_s: float
    lines: list[OrderLine]
    shipping_cents: int = 490
    paid_s: float | None = None
    completed_s: float | None = None

    @property
    def total_cents(self) -> int:
        """What the customer pays."""
        return sum(line.price_cents * line.quantity for line in self.lines) + self.shipping_cents


class WooShop:
    """The books of one shop."""

    def __init__(self, *, currency: str = "EUR") -> None:
        self.currency = currency
        self.told: Callable[[str, WooOrder], None] = lambda _event, _order: None
        self._next_id = 100
        self.clear()

    def clear(self) -> None:
        """Forget everything; the next id goes on, so that nothing old is taken for new."""
        self.clock_offset_s = 0.0
        self.plugin_statuses: set[str] = set()
        self.products: dict[int, Product] = {}
        self.orders: dict[int, WooOrder] = {}
        self.refused = 0  # purchases that the checkout turned away
        self._by_sku: dict[str, Product] = {}
        self._held: dict[int, int] = {}  # product id -> units in unpaid orders

    def now_s(self) -> float:
        """Return the shop's clock; what it shows of it has whole seconds."""
        return time.time() + self.clock_offset_s

    def take_id(self) -> int:
        """Return the next post id: products, orders and webhooks count together."""
        self._next_id += 1
        return self._next_id

    # --------------------------------------------------------------------------------------------------- products

    def add_product(self, entry: Mapping[str, Any], *, parent: Product | None = None) -> Product:
        """
        Create a product, with its variations where it has some.

        Args:
            entry: ``sku``, and any of ``name``, ``stock``, ``manage_stock``, ``backorders``, ``regular_price``,
                ``variations`` (entries like this one).
            parent: Whose variation it is.
        """
        now = self.now_s()
        kind = "variation" if parent else "variable" if entry.get("variations") else "simple"
        stock = entry.get("stock")
        product = Product(
            id=self.take_id(),
            sku=str(entry.get("sku", "")),
            name=str(entry.get("name", entry.get("sku", ""))),
            created_s=now,
            modified_s=now,
            parent_id=parent.id if parent else 0,
            type=kind,
            manage_stock=entry.get("manage_stock", stock is not None),
            stock=stock,
            backorders=str(entry.get("backorders", "no")),
            regular_price=str(entry.get("regular_price", "10.00")),
            moves=[],
        )
        self.products[product.id] = product
        if product.sku:
            if product.sku in self._by_sku:
                raise Refusal("product_invalid_sku", "Invalid or duplicated SKU.", 400)
            self._by_sku[product.sku] = product
        for variation in entry.get("variations", ()):
            self.add_product(variation, parent=product)
        return product

    def by_sku(self, sku: str) -> Product | None:
        """Return the product or variation of this SKU."""
        return self._by_sku.get(sku)

    def variations(self, product: Product) -> list[Product]:
        """Return what a variable product consists of."""
        return [other for other in self.products.values() if other.parent_id == product.id]

    def holder(self, product: Product) -> Product:
        """Return the one whose figure counts: a variation may sell from its parent's."""
        inherits = product.parent_id and product.manage_stock in ("parent", False)
        parent = self.products[product.parent_id] if inherits else product
        return parent if parent.manage_stock is True else product

    def sellable(self, product: Product) -> float:
        """Return how many units the checkout would sell now; infinite where stock is not managed."""
        holder = self.holder(product)
        if holder.manage_stock is not True or holder.backorders != "no":
            return float("inf")
        return (holder.stock or 0) - self._held.get(holder.id, 0)

    def update_product(self, product: Product, fields: Mapping[str, Any], *, by: str) -> None:
        """
        Write what the REST API or a human may write.

        Raises:
            Refusal: A value is not allowed; nothing was written.
        """
        if fields.get("backorders", "no") not in _BACKORDERS:
            raise Refusal("product_invalid_backorders", "Invalid backorders.", 400)
        product.manage_stock = bool(fields.get("manage_stock", product.manage_stock is True)) or (
            "parent" if product.manage_stock == "parent" else False
        )
        product.backorders = fields.get("backorders", product.backorders)
        if product.manage_stock is True:
            if fields.get("stock_quantity") is not None:
                self.move(product, int(float(fields["stock_quantity"])), by=by)
        else:
            product.stock = None
        for name in ("regular_price", "sale_price", "name"):
            if name in fields:
                setattr(product, name, str(fields[name] if fields[name] is not None else ""))
        for name, member in (("date_on_sale_from_gmt", "sale_from_s"), ("date_on_sale_to_gmt", "sale_to_s")):
            if fields.get(name) is not None:  # PHP's isset: a null is passed over, empty text clears it
                setattr(product, member, gmt_s(fields[name]) if fields[name] else None)
        product.modified_s = self.now_s()

    def move(self, product: Product, figure: int, *, by: str, order: int = 0) -> None:
        """Set a stock figure and remember who did."""
        product.moves.append(Move(self.now_s(), by, product.stock or 0, figure, order))
        product.stock = figure

    # ----------------------------------------------------------------------------------------------------- orders

    def place(self, lines: Iterable[tuple[str, int]], *, status: str = "processing") -> WooOrder:
        """
        Buy: an order is made as pending, and becomes *status* at once where that is another one.

        Raises:
            Short: The checkout has not enough; nothing was made.
            Refusal: There is no such product.
        """
        wanted: list[tuple[Product, int]] = []
        units: dict[int, int] = {}
        short = []
        for sku, quantity in lines:
            product = self._by_sku.get(sku)
            if product is None:
                raise Refusal("woocommerce_rest_invalid_product_id", f"There is no product {sku}.", 404)
            wanted.append((product, quantity))
            holder = self.holder(product)
            units[holder.id] = units.get(holder.id, 0) + quantity
            if self.sellable(product) < units[holder.id]:
                short.append(sku)
        if short:
            self.refused += 1
            raise Short(short)
        now = self.now_s()
        made = [
            OrderLine(
                id=self.take_id(),
                product=product,
                quantity=quantity,
                price_cents=round(float(product.price(now) or "0") * 100),
            )
            for product, quantity in wanted
        ]
        order = WooOrder(id=self.take_id(), status="pending", created_s=now, modified_s=now, lines=made)
        self.orders[order.id] = order
        self._hold(order, +1)
        self.told("created", order)
        if status != "pending":
            self.change_status(order, status)
        return order

    def change_status(self, order: WooOrder, status: str) -> None:
        """
        Move an order to *status*, and the stock with it.

        Raises:
            Refusal: There is no such status.
        """
        if status not in STATUSES | self.plugin_statuses:
            raise Refusal("rest_invalid_param", "Invalid parameter(s): status", 400)
        if status == order.status:
            return
        if order.status == "pending":
            self._hold(order, -1)
        now = self.now_s()
        order.status, order.modified_s = status, now
        if status in {"processing", "completed"} and order.paid_s is None:
            order.paid_s = now
        if status == "completed":
            order.completed_s = now
        if status in _REDUCE:
            self._reduce(order)
        elif status in _RESTORE:
            self._restore(order)
        if status == "pending":
            self._hold(order, +1)
        self.told("updated", order)

    def _hold(self, order: WooOrder, sign: int) -> None:
        for line in order.lines:
            holder = self.holder(line.product)
            self._held[holder.id] = self._held.get(holder.id, 0) + sign * line.quantity

    def _reduce(self, order: WooOrder) -> None:
        for line in order.lines:
            holder = self.holder(line.product)
            if not line.reduced and holder.manage_stock is True:
                self.move(holder, (holder.stock or 0) - line.quantity, by="sale", order=order.id)
                line.reduced = line.quantity

    def _restore(self, order: WooOrder) -> None:
        for line in order.lines:
            holder = self.holder(line.product)
            if line.reduced and holder.manage_stock is True:
                self.move(holder, (holder.stock or 0) + line.reduced, by="restore", order=order.id)
                line.reduced = 0


def gmt_s(text: str) -> int:
    """
    Read a naive time in GMT as the REST API writes it.

    Raises:
        Refusal: It is none.
    """
    try:
        return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        raise Refusal("rest_invalid_param", "Invalid date.", 400) from None
