"""What the web room is handed: it opens no door itself, and knows nobody behind one but by a port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flashd.domain.alert import Receiver, Standing
from flashd.domain.flow import BackendSnapshot, ChannelFlow, PollFlow
from flashd.domain.order import Order
from flashd.domain.preflight_facts import Preflight
from flashd.domain.routing import Choice
from flashd.domain.terms import SellingTerms
from flashd.errors import NotFound
from flashd.ports import (
    BackendGate,
    Channel,
    ChannelApi,
    Clock,
    Eraser,
    Feed,
    GateStatus,
    Intake,
    Listings,
    NativeChannel,
    OrderBook,
    PriceBook,
    Sales,
    Sent,
    StockLedger,
    Stockroom,
    StoreHealth,
)
from flashd.web.metrics import Metrics
from flashd.web.tokens import TokenTable


def _idle() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDoor:
    """One pool: its stock, its orders, its journal, what its channels show, its sales."""

    ledger: StockLedger
    book: OrderBook
    feed: Feed
    listings: Listings
    sales: Sales
    prices: PriceBook
    stockroom: Stockroom
    eraser: Eraser
    wake_sales: Callable[[], None] = _idle  # a sale was changed: look now
    forgotten: Callable[[], int] = int  # how many acknowledged orders the store was found to have forgotten
    safety_stock: int = 0  # of a SKU that is counted for the first time
    location: str = "main"
    hold_ttl_ms: int = 600_000
    hold_max_ms: int = 1_800_000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletDoor:
    """The way out to one sales channel: its own API, the gate before it, and how those do who use it."""

    api: ChannelApi
    gate: BackendGate  # pausing it stops publishing and polling, in all processes
    flow: Callable[[], ChannelFlow]
    polling: Callable[[], PollFlow | None]
    wake: Callable[[], None]  # what it shows may be out of date: look now


def _none() -> OutletDoor | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelDoor:
    """
    One sales channel: who it is, whose stock it sells, its way in and its way out.

    What a reload may exchange is asked for anew each time.
    """

    name: str
    kind: str
    pool: str
    intake: Intake
    outlet: Callable[[], OutletDoor | None] = _none  # None: flashd calls no API of it
    terms: Callable[[], SellingTerms] = SellingTerms
    since_ms: Callable[[], int] = int  # the configured cut-over; 0: none
    last_event_ms: Callable[[], int] = int  # the last proven webhook; 0: none since the start

    @property
    def adapter(self) -> Channel | NativeChannel:
        """How its messages are read now: a reload may exchange it."""
        return self.intake.channel


async def _none_stand() -> list[Standing]:
    return []


async def _nobody(_by: str) -> Sent | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertDoor:
    """What a person is told."""

    standing: Callable[[], Awaitable[list[Standing]]] = _none_stand
    receiver: Callable[[], Receiver] = lambda: Receiver(configured=False)
    test: Callable[[str], Awaitable[Sent | None]] = _nobody  # by whom; None: nobody is told


async def _no_preflight(_pool: str, sale: str) -> Preflight:
    raise NotFound(f"there is no sale {sale!r}")


def held_s(gate: GateStatus, now_ms: int) -> float | None:
    """Return for how long a backend's gate lets nothing out: 0 it flows, None until a human resumes it."""
    return None if gate.paused else max(0, gate.until_ms - now_ms) / 1000


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a human changed: for the audit trail. No customer data in it."""

    who: str
    what: str  # "order.cancelled", "stock.counted" ...
    subject: str
    pool: str = ""
    before: Any = None
    after: Any = None


async def _kept_in_the_log(_: Change) -> None:
    """Announce nothing: every change is logged anyway."""


async def _nothing() -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """All that both listeners may reach; the composition root fills it once."""

    clock: Clock
    channels: Mapping[str, ChannelDoor]
    pools: Mapping[str, PoolDoor]
    gates: Mapping[str, BackendGate]
    backends: Mapping[str, Callable[[], BackendSnapshot]]
    store_health: Callable[[], StoreHealth]  # the last probe's answer: no I/O
    channel_tokens: TokenTable  # each entry's subject is a channel
    admin_tokens: TokenTable
    metrics: Metrics
    explain_route: Callable[[Order], Choice]
    substitutes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what may go instead of a SKU
    alerts: AlertDoor = field(default_factory=AlertDoor)
    preflight: Callable[[str, str], Awaitable[Preflight]] = _no_preflight  # of a pool and a sale; NotFound
    audit: Callable[[], Awaitable[Mapping[str, Any]]] = _nothing  # {"ok": bool, ...}
    status: Callable[[], Awaitable[Mapping[str, Any]]] = _nothing  # merged into GET /admin/v1/status
    config: Callable[[], Mapping[str, Any]] = dict  # effective, secrets as ***
    changed: Callable[[Change], Awaitable[None]] = _kept_in_the_log
    broken: Callable[[BaseException], None] | None = None  # told of an InvariantBroken: the daemon must crash
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    async def eta_s(self, backend: str, count: int | None) -> float | None:
        """
        Return in how many seconds *count* orders have left for *backend*; None where nothing flows, or for None.

        An order's own pool is counted only, so pools that share a backend make it later.
        """
        if count is None or backend not in self.backends or backend not in self.gates:
            return None
        if count == 0:
            return 0.0
        leave_s = self.backends[backend]().leave_s(count)
        wait_s = held_s(await self.gates[backend].status(), self.clock.now_ms())
        return None if leave_s is None or wait_s is None else wait_s + leave_s
