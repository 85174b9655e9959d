"""
A shop with an API, in memory: it sells by itself, takes figures in both ways, and loses replies where a test says so.

Its stock is the truth of what its buyers can buy; flashd only ever hears of it by orders and by asking.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from msgspec.structs import replace

from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import UNKNOWN, WriteMode
from flashd.domain.order import Effect, Incoming, Line, Order
from flashd.errors import ChannelUnavailable
from flashd.ports import (
    ApiTraits,
    Clock,
    Figure,
    FigureWrite,
    FigureWritten,
    OrderPage,
    Polled,
    Price,
    PriceWrite,
    Subscription,
    Unreadable,
    WriteCode,
)
from tests.fakes.clock import FakeClock


class Fault(StrEnum):
    """What happens to one call that writes."""

    LATER = "later"  # nothing reached the wire
    LOST = "lost"  # applied, and the reply is lost
    VANISHED = "vanished"  # lost on the way there, and nobody knows
    LATE = "late"  # the request still travels: it is applied when the test calls `land`


def entry(sku: str) -> Entry:
    return Entry(sku=sku, ids={"item": sku})


@dataclass
class FakeChannelApi:
    clock: Clock = field(default_factory=FakeClock)
    name: str = "shop"
    traits: ApiTraits = field(
        default_factory=lambda: ApiTraits(mode=WriteMode.COMPARE, batch=10, idempotent=True, prices=True)
    )
    stock: dict[str, int] = field(default_factory=dict)
    prices: dict[str, tuple[str, str]] = field(default_factory=dict)
    skew_ms: int = 0  # the platform's clock is ahead of ours by so much
    grain_ms: int = 1  # and tells no finer than this
    latency_s: float = 0.0
    down: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    faults: deque[Fault | None] = field(default_factory=deque)
    hooks: list[Subscription] = field(default_factory=list)
    restores: bool = False  # its section says whither webhooks go
    restore_refused: str = ""
    restored: int = 0  # how often it was asked to
    on_order: Callable[[Incoming], None] = field(default=lambda _: None)  # its webhook
    on_write: Callable[[FigureWrite], None] = field(default=lambda _: None)  # before it is looked at
    calls: int = 0
    written: list[tuple[str, int, int]] = field(default_factory=list)  # (sku, from, to), as applied
    keys: list[str] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)  # ids of orders that nobody understands
    closed: bool = False

    def __post_init__(self) -> None:
        self._orders: dict[str, Incoming] = {}
        self._changed_ms: dict[str, int] = {}
        self._answered: dict[str, list[FigureWritten]] = {}
        self._travelling: list[Sequence[FigureWrite]] = []

    # ------------------------------------------------------------------------------------------------- what it sells

    def sell(self, sku: str, units: int = 1, *, tell: bool = True, hold: str = "") -> Incoming | None:
        """Let a buyer buy, if there is enough; its webhook is told unless it gets lost."""
        if self.stock.get(sku, 0) < units:
            return None
        self.stock[sku] -= units
        return self._note(sku, units, Effect.DELIVER, str(1001 + len(self._orders)), tell=tell, hold=hold)

    def cancel(self, order_id: str, *, tell: bool = True) -> Incoming:
        """Let the shop cancel an order and put its units back on its own shelf."""
        line = self._orders[order_id].order.lines[0]
        self.stock[line.sku] += line.quantity
        return self._note(line.sku, line.quantity, Effect.CANCEL, order_id, tell=tell)

    def _note(self, sku: str, units: int, effect: Effect, order_id: str, *, tell: bool, hold: str = "") -> Incoming:
        now_ms = self._told_ms()
        placed_ms = self._orders[order_id].order.placed_ms if order_id in self._orders else now_ms
        order = Order(
            channel=self.name,
            id=order_id,
            placed_ms=placed_ms,
            currency="EUR",
            lines=(Line(sku=sku, quantity=units),),
            total=0,
        )
        version = now_ms * 10 + (9 if effect is Effect.CANCEL else 0)
        incoming = Incoming(order=order, version=version, effect=effect, hold_id=hold)
        self._orders[order_id] = incoming
        self._changed_ms[order_id] = now_ms
        if tell:
            self.on_order(incoming)
        return incoming

    # --------------------------------------------------------------------------------------------------- figures

    async def read(self, entries: Sequence[Entry]) -> list[Figure]:
        assert self.traits.reads
        await self._call()
        return [self._figure(one) for one in entries]

    def _figure(self, one: Entry) -> Figure:
        if one.ids["item"] not in self.stock:
            return Figure(sku=one.sku, at_ms=self._surely_ms(), reason="there is no such product")
        return Figure(sku=one.sku, units=self.stock[one.ids["item"]], at_ms=self._surely_ms())

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        assert 0 < len(writes) <= self.traits.batch
        assert len({write.key for write in writes}) == 1
        try:
            await self._call()
        except ChannelUnavailable as error:
            return [self._said(write, WriteCode.LATER, reason=str(error)) for write in writes]
        key = writes[0].key
        self.keys.append(key)
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.LATER:
            return [self._said(write, WriteCode.LATER, reason="throttled") for write in writes]
        if fault is Fault.LATE:
            self._travelling.append(tuple(writes))
        if fault in (Fault.VANISHED, Fault.LATE):
            return [self._said(write, WriteCode.UNKNOWN, reason="no reply") for write in writes]
        answers = self._take(key, writes)
        if fault is Fault.LOST:
            return [self._said(write, WriteCode.UNKNOWN, reason="no reply") for write in writes]
        return answers

    def land(self) -> None:
        """Let requests that still travelled arrive."""
        while self._travelling:
            writes = self._travelling.pop(0)
            self._take(writes[0].key, writes)

    def _take(self, key: str, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        if self.traits.idempotent and key in self._answered:
            return self._answered[key]
        answers = [self._apply(write) for write in writes]
        self._answered[key] = answers
        return answers

    def _apply(self, write: FigureWrite) -> FigureWritten:
        self.on_write(write)
        item = write.entry.ids["item"]
        if item in self.refused:
            return self._said(write, WriteCode.REFUSED, reason=self.refused[item])
        if item not in self.stock:
            return self._said(write, WriteCode.REFUSED, reason="there is no such product")
        if self.traits.mode is WriteMode.COMPARE and self.stock[item] != write.was:
            return self._said(write, WriteCode.STALE, figure=self.stock[item])
        self.written.append((item, self.stock[item], write.units))
        self.stock[item] = write.units
        return self._said(write, WriteCode.APPLIED)

    def _said(self, write: FigureWrite, code: WriteCode, *, figure: int = UNKNOWN, reason: str = "") -> FigureWritten:
        at_ms = self._surely_ms() if code is WriteCode.APPLIED else 0
        return FigureWritten(sku=write.entry.sku, code=code, figure=figure, at_ms=at_ms, reason=reason)

    # ------------------------------------------------------------------------------------- orders, products, prices

    async def orders(self, changed_since_ms: int, *, cursor: str = "", limit: int = 100) -> OrderPage:
        await self._call()
        now_ms = self._told_ms()
        visible_ms = now_ms - self.traits.lag_ms
        found = sorted(
            (changed, order_id)
            for order_id, changed in self._changed_ms.items()
            if changed_since_ms <= changed and (changed <= visible_ms or self.traits.lag_ms == 0)
        )
        begin = int(cursor or 0)
        page = [self._polled(order_id) for _, order_id in found[begin : begin + limit]]
        more = str(begin + limit) if begin + limit < len(found) else ""
        return OrderPage(orders=tuple(page), cursor=more, upto_ms=now_ms)

    def _polled(self, order_id: str) -> Polled:
        if order_id in self.unreadable:
            return Polled(found=Unreadable("nobody understands it"), raw=order_id.encode())
        return Polled(found=self._orders[order_id], raw=order_id.encode())

    async def products(self) -> AsyncIterator[Product]:
        await self._call()
        for item, units in self.stock.items():
            price, compare_at = self.prices.get(item, ("", ""))
            yield Product(sku=item, ids={"item": item}, units=units, price=price, compare_at=compare_at)

    async def subscriptions(self) -> list[Subscription]:
        await self._call()
        return list(self.hooks)

    async def restore(self) -> list[Subscription]:
        await self._call()
        self.restored += 1
        dead = [one for one in self.hooks if not one.alive] if self.restores else []
        mended = [replace(one, alive=not self.restore_refused, reason=self.restore_refused) for one in dead]
        self.hooks = [one for one in self.hooks if one.alive] + mended
        return mended

    async def read_prices(self, entries: Sequence[Entry]) -> list[Price]:
        await self._call()
        return [self._price(one) for one in entries]

    def _price(self, one: Entry) -> Price:
        if one.ids["item"] not in self.prices:
            return Price(sku=one.sku, price="", reason="there is no such product")
        price, compare_at = self.prices[one.ids["item"]]
        return Price(sku=one.sku, price=price, compare_at=compare_at)

    async def write_prices(self, writes: Sequence[PriceWrite]) -> list[Price]:
        try:
            await self._call()
        except ChannelUnavailable as error:
            return [Price(sku=write.entry.sku, price="", reason=str(error)) for write in writes]
        for write in writes:
            if write.entry.ids["item"] in self.prices:
                self.prices[write.entry.ids["item"]] = (write.price, write.compare_at)
        return [self._price(write.entry) for write in writes]

    # ------------------------------------------------------------------------------------------------------ the rest

    async def now_ms(self) -> int:
        await self._call()
        return self._now_ms()

    async def check(self) -> str:
        await self._call()
        return "a shop in memory"

    async def close(self) -> None:
        self.closed = True

    def without_idempotency(self) -> FakeChannelApi:
        """Forget the keys: a repeat is a new request."""
        self.traits = replace(self.traits, idempotent=False)
        return self

    def _now_ms(self) -> int:
        return self.clock.now_ms() + self.skew_ms

    def _told_ms(self) -> int:
        """Return its clock as it writes it into what it tells: cut."""
        return self._now_ms() - self._now_ms() % self.grain_ms

    def _surely_ms(self) -> int:
        """Return an instant, as it would tell it, by which what is true now was true: the next that it tells."""
        return self._told_ms() + self.grain_ms - 1

    async def _call(self) -> None:
        self.calls += 1
        if self.latency_s:
            await self.clock.sleep(self.latency_s)
        if self.down:
            raise ChannelUnavailable(f"{self.name} does not answer")
