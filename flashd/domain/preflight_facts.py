"""What is asked before a sale, as it was answered, and how findings are written. No rule stands here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from flashd.domain.catalogue import Kit
from flashd.domain.publication import OPEN, PublishMode, Threshold
from flashd.domain.sale import SaleRecord

NAMED = 5  # SKUs that a finding names


class Level(StrEnum):
    """What a finding means."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to one question."""

    check: str
    subject: str
    level: Level
    said: str
    mend: str = ""


class Preflight(msgspec.Struct, frozen=True, kw_only=True):
    """Go or no-go, with all reasons."""

    sale: str
    version: int
    go: bool
    findings: tuple[Finding, ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How a platform treats one of its products."""

    tracked: bool = True
    oversells: bool = False


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook that a platform sends, or no longer sends."""

    topic: str
    alive: bool
    reason: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The price of one SKU on a platform now."""

    price: str
    reason: str = ""


class ChannelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was found out about one channel of the sale.

    Where a platform was asked, *_error says why it did not answer, "" where it did.
    """

    name: str
    mode: PublishMode = "none"
    has_api: bool = False
    asks: bool = False  # it holds units before it sells them
    oversells: bool = False  # under load it may sell below its own figure
    lists_webhooks: bool = True
    polls: bool = True
    pushes_prices: bool = False
    paused: bool = False
    threshold: Threshold = OPEN
    locations: tuple[str, ...] = ()
    mapped: frozenset[str] = frozenset()
    shown: Mapping[str, Shown] = {}  # by SKU of the map; without an entry: the platform has no such thing
    shown_whole: bool = True  # the whole catalogue was looked at
    shown_error: str = ""
    webhooks: tuple[Webhook, ...] = ()
    webhooks_error: str = ""
    silent: str = ""  # why its webhooks are taken for dead
    prices: Mapping[str, Asked] = {}
    prices_error: str = ""
    pre_images: int = 0  # former prices that this sale keeps already
    poll_ms: int = 0  # how often it is polled; 0: never
    polled_ms: int = 0  # when it last was, by our clock
    poll_error: str = ""
    clock_off_ms: int = 0
    clock_error: str = ""


class BackendFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about one backend."""

    name: str
    per_second: float
    paused: bool = False
    away: bool = False
    queued: int = 0


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out about the store."""

    ok: bool
    reason: str = ""
    durability: str = "fsync"
    used: float = 0.0  # of its memory
    clock_off_ms: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found out."""

    record: SaleRecord
    now_ms: int
    units: Mapping[str, int]  # by SKU that has stock: available to promise, over all locations
    counted_ms: Mapping[str, int]  # by SKU: when it was last counted; none: not known
    kits: Mapping[str, Kit]
    used: Mapping[str, int]  # by SKU: units held or sold under the sale already
    locations: frozenset[str]  # where the pool has stock
    customer_key: bool
    alerts: str  # "": somebody is told; else why nobody is
    channels: tuple[ChannelFacts, ...]
    backends: tuple[BackendFacts, ...]
    store: StoreFacts


def found(check: str, subject: str, level: Level, said: str, mend: str = "") -> Finding:
    """Return a finding."""
    return Finding(check=check, subject=subject, level=level, said=said, mend=mend)


def named(skus: Sequence[str]) -> str:
    """Name the first few."""
    rest = len(skus) - NAMED
    return ", ".join(skus[:NAMED]) + (f" and {rest} more" if rest > 0 else "")


def skus_of(facts: Facts) -> list[str]:
    """Return what the sale sells."""
    return [product.sku for product in facts.record.sale.products]
