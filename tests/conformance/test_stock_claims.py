"""What a shortfall that nobody decided claims, and when it is filled by itself: the same of the fake and of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.domain.count import Receipt
from flashd.domain.order import Effect, Item, Line, OrderRef, OrderState
from tests.conformance.ledgers import (
    BENCHES,
    Bench,
    accept,
    level,
    make_hold,
    make_incoming,
    open_bench,
    record,
    stock,
)
from tests.conformance.test_stockroom import fall_short, states
from tests.servers import Server


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers) as opened:
        yield opened


async def test_nothing_becomes_free_over_the_head_of_a_shortfall_that_nobody_decided(bench: Bench) -> None:
    await stock(bench, 4)
    await accept(bench, make_incoming("first", tee=4))
    [short] = await fall_short(bench, "short", tee=3)
    assert ((await level(bench)).owed, await states(bench, [short])) == (3, [OrderState.SHORTFALL])
    await bench.ledger.cancel(OrderRef("shop", "first"), by="ann", reason="asked")
    assert (await level(bench)).free == 1
    assert (await bench.ledger.hold([make_hold(tee=2)]))[0].left == (("tee", 1),)
    assert await bench.stockroom.serve() == [short]
    assert await states(bench, [short]) == [OrderState.QUEUED]
    assert "order.requeued" in [kind for kind, _ in await bench.journal()]
    now = await level(bench)
    assert (now.sold, now.owed, now.free) == (3, 0, 1)


async def test_shortfalls_and_backorders_are_one_row(bench: Bench) -> None:
    await stock(bench, 0)
    refs = await fall_short(bench, "a", "b", "c")
    await bench.stockroom.backorder(refs[1], by="ann")
    assert (await level(bench)).owed == 6
    received = await bench.stockroom.receive(Receipt(id="r1", sku="tee", units=3), by="ann")
    assert received.served == ("shop:a",)
    assert await states(bench, refs) == [OrderState.QUEUED, OrderState.BACKORDER, OrderState.SHORTFALL]
    assert (await record(bench, refs[1])).items == (Item("tee", "main", 2, 1),)
    received = await bench.stockroom.receive(Receipt(id="r2", sku="tee", units=2), by="ann")
    assert received.served == ("shop:b",)
    assert (await record(bench, refs[2])).items == (Item("tee", "main", 2, 1),)
    assert (await record(bench, refs[2])).reason == "short: 1 of tee"


async def test_a_shortfall_with_a_doubt_waits_for_a_human_and_keeps_what_came_for_it(bench: Bench) -> None:
    await stock(bench, 0)
    await accept(bench, make_incoming("doubtful", reason="the total does not add up", tee=2))
    await bench.pass_time(2)
    [plain] = await fall_short(bench, "plain", tee=2)
    doubtful = OrderRef("shop", "doubtful")
    received = await bench.stockroom.receive(Receipt(id="r1", sku="tee", units=3), by="ann")
    assert received.served == ()
    assert await states(bench, [doubtful, plain]) == [OrderState.SHORTFALL] * 2
    assert [(await record(bench, ref)).items[0].taken for ref in (doubtful, plain)] == [0, 1]
    assert ((await level(bench)).owed, (await level(bench)).free) == (3, 0)
    assert await bench.ledger.requeue(doubtful, by="ann") in {OrderState.QUEUED, OrderState.SHORTFALL}
    await bench.stockroom.serve()
    assert await states(bench, [doubtful, plain]) == [OrderState.QUEUED, OrderState.SHORTFALL]


async def test_those_behind_many_who_wait_for_a_human_are_served(bench: Bench) -> None:
    await stock(bench, 0)
    doubtful = [make_incoming(f"d{number:03}", reason="the total does not add up", tee=1) for number in range(60)]
    await accept(bench, *doubtful)
    await bench.pass_time(2)
    [plain] = await fall_short(bench, "plain", tee=1)
    received = await bench.stockroom.receive(Receipt(id="r1", sku="tee", units=60), by="ann")
    assert received.served == ()
    received = await bench.stockroom.receive(Receipt(id="r2", sku="tee", units=1), by="ann")
    assert received.served == (str(plain),)
    assert (await level(bench)).owed == 60


async def test_a_human_takes_what_a_shortfall_claims_itself(bench: Bench) -> None:
    await stock(bench, 0)
    for order_id in ("a", "b"):
        await accept(bench, make_incoming(order_id, reason="the total does not add up", tee=2))
        await bench.pass_time(2)
    refs = [OrderRef("shop", "a"), OrderRef("shop", "b")]
    await bench.stockroom.receive(Receipt(id="r1", sku="tee", units=4), by="ann")
    assert await bench.ledger.requeue(refs[0], by="ann") is OrderState.QUEUED
    assert await bench.stockroom.backorder(refs[1], by="ann") is OrderState.PARKED
    now = await level(bench)
    assert (now.sold, now.owed, now.free) == (4, 0, 0)


async def test_an_edit_a_cancel_a_split_or_a_substitute_of_a_shortfall_ends_what_it_claimed(bench: Bench) -> None:
    await stock(bench, 1)
    await stock(bench, 9, "mug")
    refs = await fall_short(bench, "split", "edited", "cancelled", "substituted")
    assert (await level(bench)).owed == 7
    assert await bench.stockroom.split(refs[0], by="ann", wait=False) is OrderState.QUEUED
    assert (await level(bench)).owed == 6
    await accept(bench, make_incoming("edited", version=2, tee=1))
    assert (await level(bench)).owed == 5
    await accept(bench, make_incoming("cancelled", version=2, effect=Effect.CANCEL))
    assert (await level(bench)).owed == 3
    mugs = make_incoming("substituted", lines=(Line("mug", 2, 100),)).order
    assert await bench.ledger.requeue(refs[3], by="ann", order=mugs) is OrderState.QUEUED
    await bench.ledger.cancel(refs[1], by="ann", reason="asked")
    now = await level(bench)
    assert (now.owed, now.sold, now.free) == (0, 1, 0)
