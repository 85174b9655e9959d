"""
A sale: products, window, quota, prices, limits, thresholds and channels as one versioned document.

What the scripts need of it is compiled into one rule per SKU; see docs/adr/0020-a-sale-is-a-document.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flashd.domain.instant import to_ms
from flashd.domain.publication import Threshold

Units = Annotated[int, Meta(ge=0, le=10**12)]
PRODUCTS = 5_000  # one script writes the rules of all of them

_YEARS = range(1971, 2201)
_MONEY = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class SaleState(StrEnum):
    """What a human said of a sale; whether its window is open, the clock says."""

    READY = "ready"
    STOPPED = "stopped"  # no new holds, zero on all channels, paid orders become shortfall
    ENDED = "ended"  # closed by a human before its time, or cleaned up after it


class SaleProduct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One SKU of a sale."""

    sku: Annotated[str, Meta(min_length=1, max_length=255)]
    quota: Units = 0  # units that the sale may sell, over all channels; 0: all there are
    limit: Units = 0  # units per customer; 0: no limit
    price: str = ""  # decimal text; "": the price is left alone
    compare_at: str = ""
    threshold: Threshold | None = None


class Sale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The document as people write it (TOML or JSON)."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    pool: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = "main"
    title: str = ""
    start: datetime  # inclusive, with an offset
    end: datetime  # exclusive
    products: Annotated[tuple[SaleProduct, ...], Meta(min_length=1)]
    channels: tuple[str, ...] = ()  # (): all channels of the pool
    limit: Units = 0  # units per customer over all products; 0: no limit
    threshold: Threshold | None = None  # of products without their own
    outside: Literal["closed", "open"] = "closed"  # outside the window: not for sale, or for sale without these rules
    forecast_per_min: Units = 0  # orders, for the preflight


class SaleRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sale as the store keeps it; *version* rises with every change, and every version is kept."""

    sale: Sale
    version: int
    state: SaleState
    by: str
    changed_ms: int


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What a script must know of one SKU in one sale; many rules of a SKU never overlap in time."""

    sale: str
    state: SaleState
    start_ms: int
    end_ms: int
    quota: int = 0
    limit: int = 0  # per customer and SKU
    sale_limit: int = 0  # per customer over the whole sale
    channels: tuple[str, ...] = ()
    closed_outside: bool = True


class Fault(msgspec.Struct, frozen=True):
    """One thing in a document to mend."""

    path: str  # such as ``products[2].price``
    value: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path} = {self.value}: {self.allowed}" if self.value else f"{self.path}: {self.allowed}"


def faults_of(sale: Sale, channels: Collection[str]) -> list[Fault]:
    """Return what a sale's types cannot say is wrong; *channels* are those of its pool."""
    return [*_window_faults(sale), *_channel_faults(sale, channels), *_product_faults(sale)]


def _window_faults(sale: Sale) -> Iterator[Fault]:
    if _CONTROLS.search(sale.title):
        yield Fault("title", repr(sale.title), "leave out line breaks and other control characters")
    for path, moment in (("start", sale.start), ("end", sale.end)):
        if moment.tzinfo is None:
            yield Fault(path, moment.isoformat(), "write it with its time zone, such as 2026-11-27T08:00:00+01:00")
            return
        if moment.year not in _YEARS:
            yield Fault(path, moment.isoformat(), f"write a year from {_YEARS[0]} to {_YEARS[-1]}")
            return
    if to_ms(sale.start) >= to_ms(sale.end):
        yield Fault(
            "end", sale.end.isoformat(), f"must be after start, {sale.start.isoformat()}: it ends before it begins"
        )


def _channel_faults(sale: Sale, channels: Collection[str]) -> Iterator[Fault]:
    known = ", ".join(sorted(channels)) or "none"
    for index, name in enumerate(sale.channels):
        if name not in channels:
            yield Fault(f"channels[{index}]", f'"{name}"', f"pool {sale.pool} has no such channel; it has: {known}")
        elif name in sale.channels[:index]:
            yield Fault(f"channels[{index}]", f'"{name}"', "stands there twice")


def _product_faults(sale: Sale) -> Iterator[Fault]:
    if len(sale.products) > PRODUCTS:
        yield Fault("products", f"[{len(sale.products)} of them]", f"write at most {PRODUCTS}; split the sale")
    first: dict[str, int] = {}
    for index, product in enumerate(sale.products):
        path = f"products[{index}]"
        if _CONTROLS.search(product.sku):
            yield Fault(f"{path}.sku", repr(product.sku), "leave out line breaks and other control characters")
        if product.sku in first:
            yield Fault(f"{path}.sku", f'"{product.sku}"', f"stands in products[{first[product.sku]}] already")
        first.setdefault(product.sku, index)
        yield from _price_faults(path, product)


def _price_faults(path: str, product: SaleProduct) -> Iterator[Fault]:
    amounts = {"price": product.price, "compare_at": product.compare_at}
    wrong = {name: text for name, text in amounts.items() if text and not _MONEY.fullmatch(text)}
    for name, text in wrong.items():
        yield Fault(
            f"{path}.{name}", f'"{text}"', 'write an amount as decimal text, such as "9.90", without a currency'
        )
    if wrong or not product.compare_at:
        return
    if not product.price:
        yield Fault(f"{path}.compare_at", f'"{product.compare_at}"', "needs a price beside it")
    elif float(product.compare_at) <= float(product.price):
        yield Fault(f"{path}.compare_at", f'"{product.compare_at}"', f"must be above the price, {product.price}")


def overlap(sale: Sale, records: Iterable[SaleRecord]) -> tuple[str, str] | None:
    """Return a SKU that another sale of the pool sells at the same time, and that sale's name: the store refuses it."""
    skus = {product.sku for product in sale.products}
    for record in records:
        other = record.sale
        if other.name == sale.name or record.state is SaleState.ENDED:
            continue
        shared = skus & {product.sku for product in other.products}
        if shared and sale.start < other.end and other.start < sale.end:
            return min(shared), other.name
    return None


def next_boundary_ms(records: Iterable[SaleRecord], now_ms: int) -> int | None:
    """Return when the next window opens or ends; None where none is to come."""
    return min(
        (
            instant
            for record in records
            if record.state is not SaleState.ENDED
            for instant in (to_ms(record.sale.start), to_ms(record.sale.end))
            if instant > now_ms
        ),
        default=None,
    )


def unsold(quota: int, used: int) -> int | None:
    """Return how many units of its quota a sale may still sell; None where there is no quota."""
    return max(0, quota - used) if quota else None
