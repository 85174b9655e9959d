"""Every order that matches is exported, however many there are: or a human who counts them is told a lie."""

from __future__ import annotations

from collections import Counter

import pytest
from redis.asyncio import Redis

from flashd.domain.order import OrderState
from flashd.store import orderbook
from flashd.store.orderbook import RedisOrderBook
from tests.conformance.ledgers import BACKEND, make_incoming, real_bench, stock

ORDERS = 700


async def fill(client: Redis) -> RedisOrderBook:
    bench = real_bench(client)
    await stock(bench, 10_000)
    orders = [make_incoming(f"{number:04}") for number in range(ORDERS)]
    await bench.ledger.accept(orders, [BACKEND] * ORDERS, since_ms=0)
    return RedisOrderBook(client, "main")


@pytest.mark.parametrize("chunk", [100, 500, 1000])
async def test_a_shop_is_exported_whole_and_each_order_once(
    client: Redis, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(orderbook, "_CHUNK", chunk)  # all of them came in a few ms, so chunks end among equals
    book = await fill(client)
    assert Counter([one.ref.id async for one in book.every()]) == Counter(f"{number:04}" for number in range(ORDERS))
    assert [one async for one in book.every([OrderState.DEAD])] == []
    assert len([one async for one in book.every([OrderState.QUEUED], backend=BACKEND)]) == ORDERS
    assert [one async for one in book.every(backend="another")] == []


async def test_what_leaves_the_index_meanwhile_hides_nobody(client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orderbook, "_CHUNK", 50)
    book = await fill(client)
    told = []
    async for one in book.every([OrderState.QUEUED]):
        told.append(one.ref.id)
        await client.zrem(f"fd:{{main}}:q:{BACKEND}", str(one.ref))
    assert sorted(told) == [f"{number:04}" for number in range(ORDERS)]
