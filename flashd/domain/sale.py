"""
A sale: products, window, quota, prices, limits, thresholds and channels as one versioned document.

What the scripts need of it is compiled into one rule per SKU; see docs/adr/0020-a-sale-is-a-document.md.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flashd.domain.publication import Threshold

Units = Annotated[int, Meta(ge=0)]


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
