"""
Asking everybody before a sale: the store, the platforms, the clocks. What the answers mean, the domain says.

Nothing is written, and nobody is waited for longer than a bound: who does not answer is a finding, too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flashd.domain.catalogue import Entry, Product
from flashd.domain.flow import BackendSnapshot, PollFlow
from flashd.domain.preflight import judge
from flashd.domain.preflight_facts import (
    Asked,
    BackendFacts,
    ChannelFacts,
    Facts,
    Preflight,
    Shown,
    StoreFacts,
    Webhook,
)
from flashd.domain.rate import UNLIMITED
from flashd.domain.sale import SaleRecord
from flashd.domain.terms import SellingTerms
from flashd.errors import ChannelUnavailable, NotFound
from flashd.ports import (
    BackendGate,
    ChannelApi,
    ChannelBook,
    Clock,
    Listings,
    PriceBook,
    Sales,
    StockLedger,
    StoreHealth,
    Subscription,
)
from flashd.runtime.deadline import bounded

T = TypeVar("T")

ASK_S = 15.0  # one question to one platform
CATALOGUE_S = 45.0  # its products, page by page


async def _at_once() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class InquiredChannel:
    """One channel as it is configured, and how to reach it; *api* None: flashd calls no API of it."""

    name: str
    terms: SellingTerms
    api: ChannelApi | None = None
    gate: BackendGate | None = None
    poll_ms: int = 0
    polling: Callable[[], PollFlow | None] = lambda: None
    ready_to_send: Callable[[], Awaitable[None]] = _at_once  # waits for the channel's own pace


@dataclass(frozen=True, kw_only=True)
class InquiredPool:
    """
    What is asked of the store: one pool.

    Args:
        counted: When each of these SKUs was last counted, ms; one that is not known is left out.
        channels: Those of the pool; a reload may change what it returns.
    """

    ledger: StockLedger
    listings: Listings
    sales: Sales
    prices: PriceBook
    book: ChannelBook
    counted: Callable[[Collection[str]], Awaitable[Mapping[str, int]]]
    channels: Callable[[], Sequence[InquiredChannel]]
    customer_key: bool = False


@dataclass(frozen=True, kw_only=True)
class InquiredHouse:
    """What is asked of this process; none of it costs I/O but the gates."""

    health: Callable[[], StoreHealth]
    backends: Callable[[], Sequence[BackendSnapshot]]
    gates: Mapping[str, BackendGate] = field(default_factory=dict)
    alerts: Callable[[], str] = lambda: ""  # why nobody is told; "" where somebody is


class Inquiry:
    """Asks; keeps nothing."""

    def __init__(self, pools: Mapping[str, InquiredPool], house: InquiredHouse, *, clock: Clock) -> None:
        self._pools = pools
        self._house = house
        self._clock = clock

    async def preflight(self, pool_name: str, sale: str) -> Preflight:
        """
        Say whether a sale may go.

        Raises:
            NotFound: There is no such sale.
            StoreUnavailable: Ask again.
        """
        pool = self._pools[pool_name]
        record = await pool.sales.get(sale)
        if record is None:
            raise NotFound(f"there is no sale {sale!r}")
        return judge(await self._facts(pool, record))

    async def _facts(self, pool: InquiredPool, record: SaleRecord) -> Facts:
        asked_ms = self._clock.now_ms()
        server_ms = await pool.sales.clock_ms()
        now_ms = self._clock.now_ms()
        skus = [product.sku for product in record.sale.products]
        kits = {sku: kit for sku, kit in (await pool.listings.kits()).items() if sku in skus}
        parts = {part.sku for kit in kits.values() for part in kit.components} | ({*skus} - kits.keys())
        levels = await pool.ledger.levels()
        units: dict[str, int] = {}
        for level in levels:
            if level.sku in parts:
                units[level.sku] = units.get(level.sku, 0) + max(0, level.atp)
        chosen = [one for one in pool.channels() if not record.sale.channels or one.name in record.sale.channels]
        channels = await asyncio.gather(*(self._channel(pool, record, one) for one in chosen))
        return Facts(
            record=record,
            now_ms=server_ms,
            units=units,
            counted_ms=await pool.counted(units),
            kits=kits,
            used=await pool.sales.used(record.sale.name),
            locations=frozenset(level.location for level in levels),
            customer_key=pool.customer_key,
            alerts=self._house.alerts(),
            channels=tuple(channels),
            backends=await self._backends(),
            store=self._store(_off(server_ms, asked_ms, now_ms)),
        )

    def _store(self, off_ms: int) -> StoreFacts:
        health = self._house.health()
        return StoreFacts(
            ok=health.ok and not health.closed,
            reason=health.reason,
            durability=health.durability,
            used=health.used_bytes / health.max_bytes if health.max_bytes else 0.0,
            clock_off_ms=off_ms,
        )

    async def _backends(self) -> tuple[BackendFacts, ...]:
        found = []
        for one in self._house.backends():
            gate = self._house.gates.get(one.name)
            paused = gate is not None and (await gate.status()).paused
            away = one.circuit == "open"
            found.append(
                BackendFacts(
                    name=one.name,
                    per_second=math.inf if one.rate == UNLIMITED else one.orders_per_second,
                    paused=paused,
                    away=away,
                    queued=one.queued + one.in_flight,
                )
            )
        return tuple(found)

    async def _channel(self, pool: InquiredPool, record: SaleRecord, channel: InquiredChannel) -> ChannelFacts:
        terms, api = channel.terms, channel.api
        told: dict[str, Any] = {
            "name": channel.name,
            "mode": terms.mode,
            "asks": terms.asks,
            "threshold": terms.threshold,
            "locations": terms.locations,
        }
        if api is None:
            return ChannelFacts(**told)
        entries = await pool.listings.entries(channel.name, [product.sku for product in record.sale.products])
        mark = await pool.book.mark(channel.name)
        rows = await pool.prices.rows(channel.name)
        gate = None if channel.gate is None else await channel.gate.status()
        seen = channel.polling()
        paused = gate is not None and gate.paused
        ask = _Asking(channel, api, self._clock, paused=paused)
        traits = api.traits
        told |= {
            "has_api": True,
            "oversells": traits.oversells,
            "lists_webhooks": traits.lists_webhooks,
            "polls": traits.polls,
            "pushes_prices": traits.prices,
            "paused": paused,
            "mapped": frozenset(entries),
            "pre_images": sum(row.sale == record.sale.name for row in rows),
            "silent": seen.silent if seen else "",
            "poll_ms": channel.poll_ms,
            "polled_ms": max(mark.polled_ms, seen.last_poll_ms if seen else 0),
            "poll_error": seen.last_error if seen else "",
        }
        told |= await ask.clock()
        told |= await ask.webhooks()
        told |= await ask.products(list(entries.values()))
        if traits.prices:
            priced = {product.sku for product in record.sale.products if product.price}
            told |= await ask.prices([entry for sku, entry in entries.items() if sku in priced])
        return ChannelFacts(**told)


class _Asking:
    """The questions to one platform, each answered as members of ChannelFacts."""

    def __init__(self, channel: InquiredChannel, api: ChannelApi, clock: Clock, *, paused: bool) -> None:
        self._api = api
        self._clock = clock
        self._ready = _at_once if paused else channel.ready_to_send

    async def _ask(self, question: Callable[[], Awaitable[T]], within_s: float = ASK_S) -> T:
        async def asked() -> T:
            await self._ready()
            return await question()

        try:
            return await bounded(asked(), within_s, clock=self._clock)
        except TimeoutError:
            raise ChannelUnavailable(f"no answer within {within_s:g} s") from None

    async def clock(self) -> dict[str, Any]:
        times: list[int] = []

        async def told() -> int:
            times.append(self._clock.now_ms())
            return await self._api.now_ms()

        try:
            their_ms = await self._ask(told)
        except ChannelUnavailable as error:
            return {"clock_error": str(error)}
        return {"clock_off_ms": _off(their_ms, times[0], self._clock.now_ms())}

    async def webhooks(self) -> dict[str, Any]:
        try:
            found: list[Subscription] = await self._ask(self._api.subscriptions)
        except ChannelUnavailable as error:
            return {"webhooks_error": str(error)}
        return {"webhooks": tuple(Webhook(topic=one.topic, alive=one.alive, reason=one.reason) for one in found)}

    async def products(self, entries: Sequence[Entry]) -> dict[str, Any]:
        shown: dict[str, Shown] = {}

        async def look() -> None:
            whole = {frozenset(entry.ids.items()): entry.sku for entry in entries}
            by_hand = {entry.sku: entry for entry in entries if entry.source == "hand"}
            products: Any = self._api.products()
            async with aclosing(products):
                async for product in products:
                    named = whole.get(frozenset(product.ids.items()))
                    skus = [named] if named else [sku for sku, entry in by_hand.items() if _is_of(product, entry)]
                    for sku in skus:
                        shown[sku] = Shown(tracked=product.tracked, oversells=product.oversells)
                        by_hand.pop(sku, None)
                    if len(shown) == len(entries):
                        return

        if not entries:
            return {}
        try:
            await self._ready()
            await bounded(look(), CATALOGUE_S, clock=self._clock)
        except TimeoutError:
            return {"shown": shown, "shown_whole": False}
        except ChannelUnavailable as error:
            return {"shown": shown, "shown_error": str(error)}
        return {"shown": shown}

    async def prices(self, entries: Sequence[Entry]) -> dict[str, Any]:
        try:
            found = await self._ask(lambda: self._api.read_prices(entries), CATALOGUE_S) if entries else []
        except ChannelUnavailable as error:
            return {"prices_error": str(error)}
        return {"prices": {one.sku: Asked(price=one.price, reason=one.reason) for one in found}}


def _is_of(product: Product, entry: Entry) -> bool:
    """Say whether a product is the one that *entry* names: a map by hand may know fewer of its ids."""
    return bool(entry.ids) and entry.ids.items() <= product.ids.items()


def _off(their_ms: int, before_ms: int, after_ms: int) -> int:
    """Return by how much a clock is surely off, as it was read between two readings of ours."""
    if their_ms < before_ms:
        return their_ms - before_ms
    return max(0, their_ms - after_ms)
