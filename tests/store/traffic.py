"""Random traffic on one pool: holds, orders in many versions, a backend that answers anything, humans, recounts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from flashd.domain.count import Count, CountKind, Receipt
from flashd.domain.delivery import ClaimCode, Result, ResultKind
from flashd.domain.order import Effect, Incoming, Kind, Line, Order, OrderRef
from flashd.domain.reservation import HoldRequest
from flashd.domain.stock import StockLevel
from flashd.errors import Conflict, NotFound
from flashd.store.ledger import RedisLedger
from flashd.store.outbox import RedisOutbox
from flashd.store.stockroom import RedisStockroom

SKUS = ("A", "B/1", "c d")


class Traffic:
    """Each step is one call that a daemon would make; *did* counts them by name."""

    def __init__(self, client: Redis, seed: int, *, lacking: bool = True) -> None:
        self.ledger = RedisLedger(client, "main", kinds={"erp": {Kind.CREATE, Kind.CANCEL}, "wms": {Kind.CREATE}})
        self.outboxes = {name: RedisOutbox(client, "main", name) for name in ("erp", "wms")}
        self.stockroom = RedisStockroom(client, "main", margin_ms=0)
        self.did: Counter[str] = Counter()
        self.stopping = False
        self._random = random.Random(seed)
        self._client: Any = client
        self._serial = seed * 100_000
        self._lacks = (0, 0, 1) if lacking else (0,)
        self._holds: list[str] = []
        self._orders: dict[str, int] = {}  # id -> version

    async def stock(self, units: int) -> None:
        for sku in SKUS:
            await self.ledger.recount(StockLevel(sku=sku, on_hand=units, safety=2))

    async def run(self, steps: int, *, pause_s: float = 0) -> None:
        steps_of = [
            (self._hold, 4), (self._accept, 8), (self._change, 4), (self._release, 1), (self._deliver, 5),
            (self._command, 2), (self._apply, 1), (self._recount, 1), (self._count, 1), (self._ship, 2),
            (self._receive, 1), (self._triage, 2),
        ]  # fmt: skip
        names, weights = zip(*steps_of, strict=True)
        for _ in range(steps):
            if self.stopping:
                return
            step = self._random.choices(names, weights)[0]
            self.did[step.__name__] += 1
            await step()
            await asyncio.sleep(pause_s)

    def _lines(self) -> tuple[Line, ...]:
        skus = self._random.sample(SKUS, self._random.randint(1, 2))
        return tuple(Line(sku=sku, quantity=self._random.randint(1, 3)) for sku in skus)

    def _next_id(self) -> str:
        self._serial += 1
        return str(self._serial)

    async def _hold(self) -> None:
        wish = HoldRequest(
            id=self._next_id(), lines=self._lines(), ttl_ms=self._random.choice((1, 60_000)), digest="d", channel="till"
        )
        self._holds.append(wish.id)
        await self.ledger.hold([wish])

    async def _release(self) -> None:
        if self._holds:
            await self.ledger.release(self._random.choice(self._holds), "changed their mind")
        await self.ledger.sweep()

    async def _accept(self) -> None:
        order_id = self._next_id()
        hold = self._random.choice(self._holds) if self._holds and self._random.random() < 0.4 else ""
        self._orders[order_id] = 1
        await self._send(order_id, self._random.choice((Effect.DELIVER, Effect.DELIVER, Effect.WAIT)), hold)

    async def _change(self) -> None:
        if self._orders:
            order_id = self._random.choice(list(self._orders))
            self._orders[order_id] += 1
            await self._send(order_id, self._random.choice((Effect.DELIVER, Effect.CANCEL)), "")

    async def _send(self, order_id: str, effect: Effect, hold: str) -> None:
        order = Order(channel="shop", id=order_id, placed_ms=1000, currency="EUR", lines=self._lines(), total=0)
        reason = self._random.choice(("", "", "", "the total does not add up"))
        incoming = Incoming(
            order=order, version=self._orders[order_id], effect=effect, hold_id=hold, raw=b"{}", reason=reason
        )
        await self.ledger.accept([incoming], [self._random.choice(("erp", "wms"))], since_ms=0)

    async def _deliver(self) -> None:
        outbox = self.outboxes[self._random.choice(("erp", "wms"))]
        claims = await outbox.claim(await outbox.due(3), epoch=1, lease_ms=self._random.choice((1, 60_000)))
        claimed = [delivery.ref for code, delivery in claims if code is ClaimCode.CLAIMED and delivery]
        kinds = [ResultKind.DELIVERED, ResultKind.DELIVERED, *ResultKind]
        doubtful = [delivery.ref for delivery in await outbox.doubtful(3)]
        results = [
            Result(ref=ref, kind=self._random.choice(kinds), reason="r", backend_ref="SO1")
            for ref in claimed + doubtful
        ]
        if results:
            await outbox.finish(results, epoch=1)
        await outbox.recover(epoch=1, delay_ms=1)

    async def _command(self) -> None:
        if not self._orders:
            return
        order_id = self._random.choice(list(self._orders))
        ref = OrderRef("shop", order_id, self._random.choice(list(Kind)))
        try:
            match self._random.randint(0, 2):
                case 0:
                    await self.ledger.cancel(ref, by="ann", reason="asked")
                case 1:
                    await self.ledger.requeue(ref, by="ann")
                case _:
                    await self.ledger.settle(ref, "SO2", by="ann")
        except (Conflict, NotFound):
            self.did["refused"] += 1

    async def _apply(self) -> None:
        await self.ledger.apply_next()

    async def _recount(self) -> None:
        sku = self._random.choice(SKUS)
        units = self._random.randint(5, 60)
        lacks = self._random.choice(self._lacks)
        await self.ledger.recount(StockLevel(sku=sku, on_hand=units, safety=2, seq=int(self._next_id())), lacks=lacks)

    async def _count(self) -> None:
        seconds, micros = await self._client.time()
        wishes = [
            Count(
                sku=sku,
                quantity=self._random.randint(5, 60),
                kind=self._random.choice(list(CountKind)),
                as_of_ms=int(seconds) * 1000 + int(micros) // 1000,
                seq=int(self._next_id()),
                source="erp",
            )
            for sku in self._random.sample(SKUS, self._random.randint(1, 3))
        ]
        await self.stockroom.count(wishes, by="ann")

    async def _ship(self) -> None:
        await self._about_one(lambda ref: self.stockroom.ship(ref, by="wms"))

    async def _receive(self) -> None:
        receipt = Receipt(id=self._next_id(), sku=self._random.choice(SKUS), units=self._random.randint(1, 5))
        await self.stockroom.receive(receipt, by="ann")

    async def _triage(self) -> None:
        wait = self._random.random() < 0.7
        if self._random.random() < 0.5:
            await self._about_one(lambda ref: self.stockroom.backorder(ref, by="ann"), only="shortfall")
        else:
            await self._about_one(lambda ref: self.stockroom.split(ref, by="ann", wait=wait), only="shortfall")
        await self.stockroom.serve()

    async def _about_one(self, act: Callable[[OrderRef], Awaitable[object]], only: str = "") -> None:
        """Do it to a random order, or to one that stands on the desk."""
        ids = list(self._orders)
        if only:
            members = [member.decode() for member in await self._client.zrange("fd:{main}:desk", 0, -1)]
            ids = [OrderRef.parse(member).id for member in members if "\x1f" not in member]
        if not ids:
            return
        try:
            await act(OrderRef("shop", self._random.choice(ids)))
        except (Conflict, NotFound):
            self.did["refused"] += 1
