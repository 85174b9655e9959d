"""What stands behind the doors of the web room: small fakes that remember what they were asked."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import msgspec

from flashd.domain.event import Event, Gap, Topic
from flashd.domain.flow import BackendSnapshot, ChannelFlow, PollFlow
from flashd.domain.order import (
    AcceptCode,
    Accepted,
    Effect,
    Incoming,
    Line,
    Order,
    OrderRecord,
    OrderRef,
    OrderState,
)
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest, HoldState
from flashd.domain.routing import Choice
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import Conflict, NotFound, Refused, Unauthenticated
from flashd.ports import Headcount, Quarantined, Receipt, Soon, StoreHealth, Unreadable, Unrelated
from flashd.web.doors import Change, ChannelDoor, Doors, OutletDoor, PoolDoor
from flashd.web.metrics import Metrics
from flashd.web.tokens import Caller, Scope, TokenTable
from tests.fakes.channel_api import FakeChannelApi
from tests.fakes.clock import FakeClock
from tests.fakes.eraser import FakeEraser
from tests.fakes.gate import FakeGate
from tests.fakes.listings import FakeListings
from tests.fakes.pool import FakePool
from tests.fakes.sales import FakePriceBook, FakeSales
from tests.fakes.soon import soon
from tests.fakes.stockroom import FakeStockroom

T = TypeVar("T")
KEY = b"the secret of the shop"
SHOP_TOKEN = "token-of-the-shop-0001"
TILL_TOKEN = "token-of-the-till-0001"
OTHER_TOKEN = "token-of-other-pool-01"
READ, OPERATE, ADMIN = "read-read-read-read-1", "operate-operate-oper1", "admin-admin-admin-ad1"


def sign(body: bytes) -> dict[str, str]:
    return {"X-Signature": hmac.new(KEY, body, hashlib.sha256).hexdigest()}


class DoorChannel:
    kind: ClassVar[str] = "fake"

    def __init__(self, name: str) -> None:
        self.name = name

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
        return hmac.compare_digest(headers.get("x-signature", ""), sign(body)["X-Signature"])

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        return body == b"webhook_id=1"

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated:
        if body == b'"product"':
            return Unrelated("product")
        try:
            return DoorChannel.decode_order(self, body)
        except (Refused, msgspec.MsgspecError) as error:
            return Unreadable(str(error))

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        return sign(body)

    def decode_hold(
        self, body: bytes, *, default_ttl_ms: int = 600_000, max_ttl_ms: int = 1_800_000, location: str = "main"
    ) -> HoldRequest:
        seen = msgspec.json.decode(body)
        lines = tuple(Line(line["sku"], line["quantity"]) for line in seen["lines"])
        digest = hashlib.sha256(msgspec.json.encode(lines)).hexdigest()
        channel = seen.get("channel", self.name)
        return HoldRequest(id=seen["id"], lines=lines, ttl_ms=default_ttl_ms, digest=digest, channel=channel)

    def decode_order(self, body: bytes) -> Incoming:
        seen = msgspec.json.decode(body)
        if not isinstance(seen, dict) or "id" not in seen:
            raise Refused("$.id is missing")
        lines = tuple(Line(line["sku"], line["quantity"]) for line in seen.get("lines", []))
        order = Order(
            channel=seen.get("channel", self.name), id=seen["id"], placed_ms=1, currency="EUR", lines=lines, total=0
        )
        return Incoming(order=order, version=1, effect=Effect.DELIVER, strict=True, raw=body)


class WebhookOnly(DoorChannel):
    decode_order = None  # type: ignore[assignment]


@dataclass
class DoorPool:
    """Ledger, book and feed of one pool at once."""

    pool: str
    clock: FakeClock
    stock: dict[str, StockLevel] = field(default_factory=dict)
    holds: dict[str, tuple[HoldRequest, HoldReply]] = field(default_factory=dict)
    barred: dict[str, HoldReply] = field(default_factory=dict)  # by SKU: what a sale says of it
    records: dict[OrderRef, OrderRecord] = field(default_factory=dict)
    raws: dict[OrderRef, bytes] = field(default_factory=dict)
    kept: dict[str, Quarantined] = field(default_factory=dict)
    journal: list[Event | Gap] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    following: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    places_in: OrderState | None = None  # where new orders stand, whatever the stock
    asked: list[str] = field(default_factory=list)

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def put(self, record: OrderRecord) -> None:
        self.records[record.ref] = record

    @soon
    async def hold(self, requests: Sequence[HoldRequest]) -> list[HoldReply]:
        self._ask("hold")
        return [self._hold(request) for request in requests]

    def _hold(self, request: HoldRequest) -> HoldReply:
        if request.id in self.holds:
            known, reply = self.holds[request.id]
            if known.digest != request.digest:
                return HoldReply(code=HoldCode.CONFLICT)
            return msgspec.structs.replace(reply, code=HoldCode.REPEAT)
        for line in request.lines:
            if line.sku in self.barred:
                return self.barred[line.sku]
        unknown = [line.sku for line in request.lines if line.sku not in self.stock]
        if unknown:
            return HoldReply(code=HoldCode.UNKNOWN_SKU, left=tuple((sku, 0) for sku in unknown))
        short = [line.sku for line in request.lines if self.stock[line.sku].free < line.quantity]
        if short:
            return HoldReply(code=HoldCode.SHORT, left=tuple((sku, self.stock[sku].free) for sku in short))
        for line in request.lines:
            level = self.stock[line.sku]
            self.stock[line.sku] = msgspec.structs.replace(level, held=level.held + line.quantity)
        expires_ms = self.clock.now_ms() + request.ttl_ms
        reply = HoldReply(code=HoldCode.HELD, state=HoldState.HELD, expires_ms=expires_ms)
        self.holds[request.id] = (request, reply)
        return reply

    async def extend(self, hold_id: str, ttl_ms: int, *, max_total_ms: int) -> HoldReply:
        self._ask("extend")
        if hold_id not in self.holds:
            return HoldReply(code=HoldCode.GONE)
        return HoldReply(code=HoldCode.HELD, state=HoldState.HELD, expires_ms=self.clock.now_ms() + ttl_ms)

    async def release(self, hold_id: str, reason: str) -> HoldReply:
        self._ask("release")
        if self.holds.pop(hold_id, None) is None:
            return HoldReply(code=HoldCode.GONE)
        return HoldReply(code=HoldCode.HELD, state=HoldState.RELEASED)

    async def sweep(self, limit: int = 500) -> int:
        return 0

    @soon
    async def accept(
        self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int | Sequence[int]
    ) -> list[Accepted]:
        self._ask("accept")
        return [self._accept(incoming) for incoming in orders]

    def _accept(self, incoming: Incoming) -> Accepted:
        known = self.records.get(incoming.ref)
        if known is not None:
            same = known.digest == incoming.order.digest
            return Accepted(AcceptCode.REPEAT if same else AcceptCode.CONFLICT, known.state)
        short = tuple((line.sku, line.quantity) for line in incoming.order.lines if line.sku not in self.stock)
        state = self.places_in or (OrderState.SHORTFALL if short else OrderState.QUEUED)
        self.put(record(incoming.order, state))
        return Accepted(AcceptCode.ACCEPTED, state, short)

    async def cancel(self, ref: OrderRef, *, by: str, reason: str) -> OrderState:
        self._ask(f"cancel by {by}: {reason}")
        if self._known(ref).state in {OrderState.SENDING, OrderState.IN_DOUBT, OrderState.DELIVERED}:
            raise Conflict("it left already")
        return self._move(ref, OrderState.CANCELLED)

    async def requeue(self, ref: OrderRef, *, by: str, order: Order | None = None, backend: str = "") -> OrderState:
        self._ask(f"requeue by {by}")
        if self._known(ref).state in {OrderState.QUEUED, OrderState.DELIVERED}:
            raise Conflict("there is nothing to retry")
        return self._move(ref, OrderState.QUEUED)

    async def settle(self, ref: OrderRef, backend_ref: str, *, by: str) -> OrderState:
        self._ask(f"settle by {by}")
        if self._known(ref).state not in {OrderState.MANUAL, OrderState.DEAD}:
            raise Conflict("only a manual or dead order can be settled")
        return self._move(ref, OrderState.DELIVERED)

    def _known(self, ref: OrderRef) -> OrderRecord:
        if ref not in self.records:
            raise NotFound("there is no such order")
        return self.records[ref]

    def _move(self, ref: OrderRef, state: OrderState) -> OrderState:
        self.put(msgspec.structs.replace(self._known(ref), state=state))
        return state

    async def apply_next(self, limit: int = 100) -> int:
        return 0

    async def recount(self, level: StockLevel, *, lacks: int = 0, by: str = "") -> StockLevel:
        self._ask(f"recount by {by}")
        old = self.stock.get(level.sku, StockLevel(sku=level.sku, location=level.location))
        if level.seq and level.seq <= old.seq:
            return old
        new = msgspec.structs.replace(old, on_hand=level.on_hand, safety=level.safety, seq=max(level.seq, old.seq))
        self.stock[level.sku] = new
        return new

    async def levels(self, skus: Sequence[str] = ()) -> list[StockLevel]:
        self._ask("levels")
        return [level for level in self.stock.values() if not skus or level.sku in skus]

    async def quarantine(self, channel: str, headers: Mapping[str, str], body: bytes, reason: str) -> str:
        self._ask("quarantine")
        entry = Quarantined(
            id=hashlib.sha256(body).hexdigest()[:8],
            channel=channel,
            received_ms=self.clock.now_ms(),
            reason=reason,
            headers=dict(headers),
            body=body,
        )
        self.kept[entry.id] = entry
        return entry.id

    async def unquarantine(self, quarantine_id: str, *, by: str) -> None:
        self._ask(f"unquarantine by {by}")
        self.kept.pop(quarantine_id, None)

    async def get(self, ref: OrderRef) -> OrderRecord | None:
        self._ask("get")
        return self.records.get(ref)

    async def raw(self, ref: OrderRef) -> bytes | None:
        return self.raws.get(ref)

    async def page(
        self, states: Sequence[OrderState] = (), *, backend: str = "", offset: int = 0, limit: int = 100
    ) -> list[OrderRecord]:
        self._ask("page")
        found = [
            each
            for each in self.records.values()
            if (not states or each.state in states) and backend in {"", each.backend}
        ]
        return found[offset : offset + limit]

    async def every(self, states: Sequence[OrderState] = (), *, backend: str = "") -> AsyncIterator[OrderRecord]:
        for record in await self.page(states, backend=backend, limit=1_000_000):
            yield record

    async def counts(self) -> dict[str, int]:
        return (await self.headcount()).orders

    async def headcount(self) -> Headcount:
        self._ask("headcount")
        counts = dict.fromkeys(("waiting", "queued", "in_flight", "dead", "desk", "done"), 0)
        for each in self.records.values():
            counts[{OrderState.QUEUED: "queued", OrderState.DEAD: "dead"}.get(each.state, "desk")] += 1
        queued = Counter(each.backend for each in self.records.values() if each.state is OrderState.QUEUED)
        return Headcount(orders=counts, queued=dict(queued))

    async def position(self, ref: OrderRef) -> int | None:
        queued = [each.ref for each in self.records.values() if each.state is OrderState.QUEUED]
        return queued.index(ref) if ref in queued else None

    async def quarantined(self, *, offset: int = 0, limit: int = 100) -> list[Quarantined]:
        return list(self.kept.values())[offset : offset + limit]

    def happen(self, *events: Event | Gap) -> None:
        self.journal += events
        self.heard.set()

    async def read(self, after: str, *, limit: int = 500) -> list[Event | Gap]:
        later = [e for e in self.journal if isinstance(e, Gap) or after == "0" or e.id > after]
        return later[:limit]

    async def last_id(self) -> str:
        return next((each.id for each in reversed(self.journal) if isinstance(each, Event)), "0")

    async def follow(self, after: str = "$", *, topics: Sequence[Topic] = ()) -> AsyncIterator[Event | Gap]:
        seen = len(self.journal) if after == "$" else 0
        self.following.set()
        try:
            while True:
                while seen < len(self.journal):
                    event = self.journal[seen]
                    seen += 1
                    late = isinstance(event, Gap) or after == "$" or event.id > after
                    if late and (isinstance(event, Gap) or not topics or event.topic in topics):
                        yield event
                self.heard.clear()
                await self.heard.wait()
        finally:
            self.following.clear()


class DoorIntake:
    """An intake that decides with its pool; `gate` holds its answers back, `inside` says that one waits there."""

    def __init__(self, channel: DoorChannel, pool: DoorPool) -> None:
        self.channel = channel
        self.pool = pool
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = asyncio.Event()
        self.at_work = 0
        self.most_at_work = 0
        self.error: Exception | None = None

    async def _enter(self) -> None:
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.inside.set()
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
        finally:
            self.at_work -= 1
        if self.error is not None:
            raise self.error

    def prove(self, headers: Mapping[str, str], body: bytes) -> bool:
        if self.channel.is_ping(headers, body):
            return False
        if not self.channel.verify(headers, body, now_s=0):
            raise Unauthenticated("wrong")
        return True

    def read(self, headers: Mapping[str, str], body: bytes) -> Incoming | Soon[Receipt]:
        decoded = self.channel.decode(headers, body)
        return decoded if isinstance(decoded, Incoming) else self._keep(headers, body, decoded)

    @soon
    async def _keep(self, headers: Mapping[str, str], body: bytes, decoded: Unrelated | Unreadable) -> Receipt:
        await self._enter()
        if isinstance(decoded, Unrelated):
            return Receipt(state="unrelated")
        await self.pool.quarantine(self.channel.name, headers, body, decoded.reason)
        return Receipt(state="quarantined", reason=decoded.reason)

    @soon
    async def admit(self, orders: Sequence[Incoming]) -> Sequence[Accepted]:
        await self._enter()
        return await self.pool.accept(orders, ["erp"] * len(orders), since_ms=0)

    async def admit_many(self, orders: Sequence[Incoming]) -> list[Accepted | BaseException]:
        answers = await asyncio.gather(*(self.admit([one]) for one in orders), return_exceptions=True)
        return [one if isinstance(one, BaseException) else one[0] for one in answers]

    @soon
    async def hold(self, requests: Sequence[HoldRequest]) -> Sequence[HoldReply]:
        await self._enter()
        return await self.pool.hold(requests)


def record(order: Order, state: OrderState, *, backend: str = "erp") -> OrderRecord:
    return OrderRecord(
        ref=OrderRef(order.channel, order.id),
        state=state,
        version=1,
        digest=order.digest,
        backend=backend,
        accepted_ms=1_790_000_000_000,
        changed_ms=1_790_000_000_000,
        order=order,
        timeline=((1_790_000_000_000, "accepted"),),
    )


class DoorHouse:
    """Everything behind the doors: shop and till sell from the pool main, the kiosk from the pool other."""

    def __init__(self, *, tokens: bool = True) -> None:
        self.clock = FakeClock()
        self.pools = {name: DoorPool(name, self.clock) for name in ("main", "other")}
        self.main = self.pools["main"]
        self.listings = {name: FakeListings(FakePool(name=name, clock=self.clock)) for name in self.pools}
        self.stockrooms = {name: FakeStockroom(FakePool(name=name, clock=self.clock)) for name in self.pools}
        self.erasers = {name: FakeEraser(pool=name, clock=self.clock) for name in self.pools}
        self.sales = {name: FakeSales(pool=name, now_ms=self.clock.now_ms) for name in self.pools}
        self.prices = {name: FakePriceBook(pool=name) for name in self.pools}
        self.api = FakeChannelApi(clock=self.clock, name="shop")
        self.channel_gate = FakeGate(clock=self.clock, backend="shop")
        self.flow = ChannelFlow(name="shop", mode="mirror", leading=True, dirty=3, in_doubt=1)
        self.polling = PollFlow(name="shop", polls=4, missed=2)
        self.woken = 0
        self.since_ms = 0
        self.terms = {"shop": SellingTerms(mode="mirror"), "till": SellingTerms(asks=True)}
        self.outlets = {
            "shop": OutletDoor(
                api=self.api,
                gate=self.channel_gate,
                flow=lambda: self.flow,
                polling=lambda: self.polling,
                wake=self._wake,
            )
        }
        self.health = StoreHealth(ok=True, server="valkey 9.1.2")
        self.snapshot = BackendSnapshot(name="erp", kind="http", rate="2/s", per_second=2.0, queued=10, oldest_ms=1)
        self.changes: list[Change] = []
        self.broken: list[BaseException] = []
        self.gate = FakeGate(clock=self.clock)
        self.audited = {"ok": True, "moves": 7}
        channels: dict[str, DoorChannel] = {
            "shop": DoorChannel("shop"),
            "till": DoorChannel("till"),
            "kiosk": DoorChannel("kiosk"),
            "hooks": WebhookOnly("hooks"),
        }
        belongs = {"kiosk": self.pools["other"]}
        self.intakes = {name: DoorIntake(each, belongs.get(name, self.main)) for name, each in channels.items()}
        self.doors = Doors(
            clock=self.clock,
            channels={
                name: ChannelDoor(
                    name=name,
                    kind="fake",
                    pool=intake.pool.pool,
                    intake=intake,
                    outlet=functools.partial(self.outlets.get, name),
                    terms=functools.partial(self._terms_of, name),
                    since_ms=lambda: self.since_ms,
                )
                for name, intake in self.intakes.items()
            },
            pools={
                name: PoolDoor(
                    ledger=pool,
                    book=pool,
                    feed=pool,
                    listings=self.listings[name],
                    sales=self.sales[name],
                    prices=self.prices[name],
                    wake_sales=self._wake,
                    stockroom=self.stockrooms[name],
                    eraser=self.erasers[name],
                )
                for name, pool in self.pools.items()
            },
            gates={"erp": self.gate},
            backends={"erp": lambda: self.snapshot},
            store_health=lambda: self.health,
            channel_tokens=self._channel_tokens(),
            admin_tokens=self._admin_tokens() if tokens else TokenTable(),
            metrics=Metrics(),
            explain_route=lambda order: Choice("erp", (f"route 1 -> erp: catch-all for {order.channel}",)),
            audit=self._audit,
            config=lambda: {"store": {"password": "***"}},
            changed=self._changed,
            broken=self.broken.append,
        )

    def count(self, sku: str, units: int) -> None:
        self.main.stock[sku] = StockLevel(sku=sku, on_hand=units)

    def _terms_of(self, channel: str) -> SellingTerms:
        return self.terms.get(channel, SellingTerms())

    def _wake(self) -> None:
        self.woken += 1

    async def _audit(self) -> dict[str, object]:
        return dict(self.audited)

    async def _changed(self, change: Change) -> None:
        self.changes.append(change)

    @staticmethod
    def _channel_tokens() -> TokenTable:
        table = TokenTable()
        for token, channel in ((SHOP_TOKEN, "shop"), (TILL_TOKEN, "till"), (OTHER_TOKEN, "kiosk")):
            table.add(token, Caller(channel, Scope.READ, channel))
        table.add("token-of-the-hooks-001", Caller("hooks", Scope.READ, "hooks"))
        return table

    @staticmethod
    def _admin_tokens() -> TokenTable:
        table = TokenTable()
        for token, scope in ((READ, Scope.READ), (OPERATE, Scope.OPERATE), (ADMIN, Scope.ADMIN)):
            table.add(token, Caller(scope.name.lower(), scope))
        return table
