"""What was acknowledged and is gone is found out, by looking or when it comes again, and counts once."""

from __future__ import annotations

from redis.asyncio import Redis

from flashd.domain.order import AcceptCode, Accepted, Incoming, Kind, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.store.keys import generation_key, order_key
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.recall import KEPT_S, Recall
from tests.conformance.ledgers import make_incoming

NEW = Accepted(AcceptCode.ACCEPTED, OrderState.QUEUED)


async def sold(ledger: RedisLedger, *names: str) -> list[Incoming]:
    orders = [make_incoming(order_id=name) for name in names]
    await ledger.accept(orders, ["erp"] * len(orders), since_ms=0)
    return orders


async def test_an_order_that_the_store_forgot_is_counted_once_however_often_one_looks(client: Redis) -> None:
    ledger = RedisLedger(client, "main", kinds={"erp": [Kind.CREATE]})
    await ledger.recount(StockLevel(sku="tee", on_hand=10))
    orders = await sold(ledger, "1", "2", "3")
    assert await ledger.recall.check(client) == 0
    channel = orders[0].order.channel
    await client.delete(order_key("main", OrderRef(channel, "2")))
    assert await ledger.recall.check(client) == 1
    assert await ledger.recall.check(client) == 0
    assert ledger.recall.forgotten == 1


async def test_an_order_that_comes_again_and_is_new_was_forgotten(client: Redis) -> None:
    ledger = RedisLedger(client, "main", kinds={"erp": [Kind.CREATE]})
    await ledger.recount(StockLevel(sku="tee", on_hand=10))
    orders = await sold(ledger, "1", "2")
    await ledger.accept(orders, ["erp", "erp"], since_ms=0)
    assert ledger.recall.forgotten == 0  # a repeat is none
    await client.delete(order_key("main", OrderRef(orders[0].order.channel, "1")))
    await sold(ledger, "1")
    assert ledger.recall.forgotten == 1
    assert await ledger.recall.check(client) == 0


async def test_a_backend_that_the_store_forgot_is_told_again_or_nobody_would_find_its_queue(client: Redis) -> None:
    ledger, book = RedisLedger(client, "main", kinds={"erp": [Kind.CREATE]}), RedisOrderBook(client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=10))
    await sold(ledger, "1")
    await client.hdel(generation_key("main"), "backends")
    await sold(ledger, "2")
    assert (await book.counts()).get("queued", 0) == 0
    await ledger.recollect()
    assert (await book.counts())["queued"] == 2


def test_only_the_newest_are_remembered_and_only_what_is_durable() -> None:
    recall = Recall("main", kept=4)
    orders = [make_incoming(order_id=str(number)) for number in range(8)]
    refused = Accepted(AcceptCode.UNKNOWN_SKU, OrderState.IGNORED)
    recall.note([*orders[:3], orders[7]], [NEW, NEW, NEW, refused])
    recall.note([orders[7]], [NEW])
    assert recall.forgotten == 0  # it was refused before
    recall.note(orders[3:6], [NEW] * 3)
    recall.note([orders[0]], [NEW])
    assert recall.forgotten == 0  # the first had to make room for them
    recall.note([orders[4]], [NEW])
    assert recall.forgotten == 1


def test_memory_ends_with_the_minute_after_the_next() -> None:
    now_s = [1000.0]
    recall = Recall("main", now_s=lambda: now_s[0])
    orders = [make_incoming(order_id=str(number)) for number in range(4)]
    recall.note(orders[:2], [NEW, NEW])
    for order in orders[2:]:
        now_s[0] += KEPT_S + 1
        recall.note([order], [NEW])
    recall.note([orders[2]], [NEW])
    assert recall.forgotten == 1
    now_s[0] += KEPT_S + 1
    recall.note([orders[3]], [NEW])
    assert recall.forgotten == 2
    recall.note([orders[0]], [NEW])
    assert recall.forgotten == 2  # it was too long ago
