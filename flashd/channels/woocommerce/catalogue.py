"""
Products as WooCommerce's REST API v3 shows them, and the bodies that write them. No I/O.

A variation either counts its own stock or sells from its parent's figure (``manage_stock: "parent"``); a write gives it
a figure of its own. A figure below zero, after a sale on backorder, is nothing left to sell. Empty text clears a date:
a null would be passed over.

Facts: woocommerce/woocommerce includes/rest-api/Controllers/Version3 (products, product variations, batch).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from flashd.channels.exchange import plain
from flashd.domain.catalogue import Entry, Product
from flashd.ports import Figure, Price, PriceWrite

T = TypeVar("T")

BATCH = 100
_LONGEST_LIST = 1500  # characters of a query, well below what hosts allow of an address
_SOLD_HERE = frozenset({"simple", "variable", "variation"})


class Shown(msgspec.Struct):
    """What is read of a product or variation."""

    id: int
    sku: str = ""
    name: str = ""
    type: str = "simple"
    parent_id: int = 0
    manage_stock: bool | str = False
    stock_quantity: int | float | None = None
    backorders: str = "no"
    price: str | int | float | None = None
    regular_price: str | int | float | None = None
    sale_price: str | int | float | None = None
    on_sale: bool = False
    date_on_sale_from_gmt: str | None = None
    date_on_sale_to_gmt: str | None = None

    @property
    def units(self) -> int | None:
        """What may be sold by its own figure; None where it has none."""
        if self.manage_stock is not True or self.stock_quantity is None:
            return None
        return max(0, int(self.stock_quantity))

    @property
    def why_uncounted(self) -> str:
        """Why there is no figure."""
        if self.manage_stock == "parent":
            return "the variation sells from its parent's stock; the first write gives it a figure of its own"
        return "WooCommerce does not manage its stock; the first write switches that on"


class Refusal(msgspec.Struct):
    """What stands in the place of an item that failed."""

    code: str = ""
    message: str = ""

    @property
    def reason(self) -> str:
        """Both, for a person."""
        return plain(f"{self.code}: {self.message}")


class Item(msgspec.Struct):
    """One member of a batch's answer."""

    id: int
    error: Refusal | None = None


class Target(msgspec.Struct, frozen=True):
    """Where one SKU lies in WooCommerce."""

    product: int
    variation: int = 0

    @property
    def id(self) -> int:
        """The id of what is sold."""
        return self.variation or self.product


def target_of(entry: Entry) -> Target | None:
    """Return where an entry of the map leads; None where it does not say."""
    product, variation = entry.ids.get("product", ""), entry.ids.get("variation", "") or "0"
    if not (product.isascii() and product.isdigit() and variation.isascii() and variation.isdigit()):
        return None
    return Target(int(product), int(variation))


def figure_of(entry: Entry, shown: Shown | None, at_ms: int) -> Figure:
    """Return what the shop shows of an entry."""
    if shown is None:
        return Figure(sku=entry.sku, at_ms=at_ms, reason="there is no such product")
    if shown.units is None:
        return Figure(sku=entry.sku, at_ms=at_ms, reason=shown.why_uncounted)
    return Figure(sku=entry.sku, units=shown.units, at_ms=at_ms)


def price_of(sku: str, shown: Shown | None) -> Price:
    """Return what customers pay: the sale price with the regular one beside it, while it is on sale."""
    if shown is None:
        return Price(sku=sku, price="", reason="there is no such product")
    regular, reduced = _text(shown.regular_price), _text(shown.sale_price)
    timed = shown.date_on_sale_from_gmt or shown.date_on_sale_to_gmt
    reason = "it has a sale of its own with dates in WooCommerce, which a write would end" if timed else ""
    if shown.on_sale and reduced:
        return Price(sku=sku, price=reduced, compare_at=regular, reason=reason)
    return Price(sku=sku, price=regular, reason=reason)


def _text(amount: str | float | None) -> str:
    return "" if amount is None else str(amount)


def product_of(shown: Shown, parent: Shown | None = None) -> Product | None:
    """Return what is sold; None for a group, something sold elsewhere, and the parent of variations."""
    if shown.type not in _SOLD_HERE or (parent is None and shown.type == "variable"):
        return None
    ids = {"product": str(parent.id if parent else shown.id)}
    if parent is not None:
        ids["variation"] = str(shown.id)
    if shown.sku and "," not in shown.sku:
        ids["sku"] = shown.sku
    name = shown.name if parent is None or shown.name.startswith(parent.name) else f"{parent.name} - {shown.name}"
    price = price_of(shown.sku, shown)
    return Product(
        sku=shown.sku,
        ids=ids,
        title=plain(name.removesuffix(" - ")),
        units=shown.units,
        tracked=shown.manage_stock is True,
        oversells=shown.backorders != "no",
        price=price.price,
        compare_at=price.compare_at,
    )


def stock_body(targets: Iterable[tuple[Target, int]]) -> bytes:
    """Return the batch that sets figures."""
    items = [{"id": target.id, "manage_stock": True, "stock_quantity": units} for target, units in targets]
    return msgspec.json.encode({"update": items})


def price_body(writes: Iterable[tuple[Target, PriceWrite]]) -> bytes:
    """Return the batch that sets prices, which count at once: a sale with dates would begin or end by itself."""
    items = []
    for target, write in writes:
        regular, reduced = (write.compare_at, write.price) if write.compare_at else (write.price, "")
        item: dict[str, Any] = {"id": target.id, "regular_price": regular, "sale_price": reduced}
        items.append(item | {"date_on_sale_from_gmt": "", "date_on_sale_to_gmt": ""})
    return msgspec.json.encode({"update": items})


def by_call(found: Iterable[tuple[Target, T]]) -> dict[int, list[tuple[Target, T]]]:
    """Group by what one batch can hold: 0 all that is no variation, else the variations of that parent."""
    groups: dict[int, list[tuple[Target, T]]] = {}
    for target, what in found:
        groups.setdefault(target.product if target.variation else 0, []).append((target, what))
    return groups


def in_parts(values: Sequence[T], of: int = BATCH) -> Iterator[Sequence[T]]:
    """Cut into parts of at most *of*."""
    for begin in range(0, len(values), of):
        yield values[begin : begin + of]


def in_queries(texts: Sequence[str]) -> Iterator[list[str]]:
    """Cut into lists of at most a hundred that fit into one address."""
    part: list[str] = []
    length = 0
    for text in texts:
        if part and (len(part) == BATCH or length + len(text) > _LONGEST_LIST):
            yield part
            part, length = [], 0
        part.append(text)
        length += len(text.encode()) + 3
    if part:
        yield part
