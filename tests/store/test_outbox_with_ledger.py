"""The outbox beside the ledger that fills it: what each leaves behind, the other and the audit understand."""

from __future__ import annotations

from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.delivery import ClaimCode, Result, ResultKind
from flashd.domain.order import AcceptCode, Effect, Incoming, Kind, Line, Order, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.store.audit import audit
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox

ORDER = Order(channel="shop", id="1", placed_ms=1, currency="EUR", lines=(Line("tee", 3, 1000),), total=3000)
CREATE, CANCEL = OrderRef("shop", "1"), OrderRef("shop", "1", Kind.CANCEL)


class House:
    def __init__(self, client: Redis) -> None:
        self.client = client
        self.ledger = RedisLedger(client, "main", kinds={"erp": {Kind.CREATE, Kind.CANCEL}})
        self.outbox = RedisOutbox(client, "main", "erp")
        self.book = RedisOrderBook(client, "main")

    async def accept(self, version: int, effect: Effect, order: Order = ORDER) -> AcceptCode:
        incoming = Incoming(order=order, version=version, effect=effect, raw=b"the raw body")
        [accepted] = await self.ledger.accept([incoming], ["erp"], since_ms=0)
        return accepted.code

    async def claim(self, ref: OrderRef) -> ClaimCode:
        [(code, _)] = await self.outbox.claim([ref], epoch=5, lease_ms=60_000)
        return code

    async def finish(self, ref: OrderRef, kind: ResultKind, **more: object) -> None:
        await self.outbox.finish([Result(ref=ref, kind=kind, **more)], epoch=5)  # type: ignore[arg-type]  # by name

    async def state(self, ref: OrderRef) -> OrderState:
        record = await self.book.get(ref)
        assert record is not None
        return record.state

    async def sold(self) -> int:
        [level] = await self.ledger.levels(["tee"])
        return level.sold


async def test_a_cancelled_order_gives_its_units_back_when_the_backend_knows(client: Redis) -> None:
    house = House(client)
    await house.ledger.recount(StockLevel(sku="tee", on_hand=10, seq=1))
    await house.accept(10, Effect.DELIVER)
    assert await house.outbox.due(10) == [CREATE]
    assert await house.claim(CREATE) is ClaimCode.CLAIMED
    await house.finish(CREATE, ResultKind.DELIVERED, backend_ref="SO7")
    assert await house.sold() == 3
    assert (await audit(client, "main")).differences == ()

    await house.accept(19, Effect.CANCEL)
    [(code, delivery)] = await house.outbox.claim([CANCEL], epoch=5, lease_ms=60_000)
    assert code is ClaimCode.CLAIMED
    assert delivery is not None
    assert delivery.backend_ref == "SO7"
    assert await house.sold() == 3
    for _ in range(2):
        await house.finish(CANCEL, ResultKind.DELIVERED)
    assert await house.sold() == 0
    assert await house.state(CANCEL) is OrderState.DELIVERED
    assert (await audit(client, "main")).differences == ()


async def test_an_edit_of_an_order_in_doubt_waits_and_is_applied_before_it_is_sent_again(client: Redis) -> None:
    house = House(client)
    await house.ledger.recount(StockLevel(sku="tee", on_hand=10, seq=1))
    await house.accept(10, Effect.DELIVER)
    await house.claim(CREATE)
    edited = replace(ORDER, lines=(Line("tee", 2, 1000),), total=2000)
    assert await house.accept(20, Effect.DELIVER, edited) is AcceptCode.LATER
    await house.finish(CREATE, ResultKind.DOUBT, reason="reset")
    for _ in range(2):
        await house.finish(CREATE, ResultKind.ABSENT)
    assert await house.claim(CREATE) is ClaimCode.CHANGED
    assert await house.ledger.apply_next() == 1
    [(code, delivery)] = await house.outbox.claim([CREATE], epoch=5, lease_ms=60_000)
    assert code is ClaimCode.CLAIMED
    assert delivery is not None
    assert delivery.order == edited
    assert await house.sold() == 2
    assert (await audit(client, "main")).differences == ()


async def test_every_result_leaves_books_that_add_up(client: Redis) -> None:
    house = House(client)
    await house.ledger.recount(StockLevel(sku="tee", on_hand=100, seq=1))
    for number, kind in enumerate(ResultKind):
        order = replace(ORDER, id=f"o{number}")
        await house.accept(10, Effect.DELIVER, order)
        ref = OrderRef("shop", order.id)
        assert await house.claim(ref) is ClaimCode.CLAIMED
        await house.finish(ref, kind, reason=f"because of {kind}")
        if await house.state(ref) in {OrderState.DEAD, OrderState.MANUAL}:
            assert await house.ledger.requeue(ref, by="ada") is OrderState.QUEUED
            assert await house.claim(ref) is ClaimCode.CLAIMED
    assert (await audit(client, "main")).differences == ()
