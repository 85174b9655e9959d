"""Counts, shipments, receipts and backorders, put to the fake and to both servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.domain.count import Count, CountCode, Counted, CountKind, Receipt
from flashd.domain.delivery import ResultKind
from flashd.domain.order import Effect, Item, Kind, Line, OrderRef, OrderState
from flashd.domain.reservation import HoldCode
from flashd.errors import Conflict, NotFound
from tests.conformance.ledgers import (
    BENCHES,
    REF,
    Bench,
    accept,
    level,
    make_hold,
    make_incoming,
    open_bench,
    record,
    stock,
)
from tests.servers import Server

PHYSICAL, AVAILABLE = CountKind.PHYSICAL, CountKind.AVAILABLE


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers) as opened:
        yield opened


async def deliver(bench: Bench, order_id: str = "1001", tee: int = 2) -> OrderRef:
    """An order that the backend has, since a moment."""
    ref = OrderRef("shop", order_id)
    await accept(bench, make_incoming(order_id, tee=tee))
    await bench.send(ref, ResultKind.DELIVERED)
    await bench.pass_time(3)
    return ref


async def count(
    bench: Bench, quantity: int, kind: CountKind = AVAILABLE, *, sku: str = "tee", as_of_ms: int = 0, seq: int = 0
) -> Counted:
    """A count, of now by default."""
    as_of_ms = as_of_ms or await bench.now_ms()
    wish = Count(sku=sku, quantity=quantity, kind=kind, as_of_ms=as_of_ms, seq=seq)
    [foreseen] = await bench.stockroom.forecast([wish])
    [counted] = await bench.stockroom.count([wish], by="ann")
    assert (foreseen.code, foreseen.units, foreseen.orders, foreseen.after.sold) == (
        counted.code,
        counted.units,
        counted.orders,
        counted.after.sold,
    )
    await bench.pass_time(3)
    return counted


# ------------------------------------------------------------------------------------------------ counts


async def test_an_available_count_lacks_what_was_delivered_and_nothing_else(bench: Bench) -> None:
    await stock(bench)
    await deliver(bench)
    await accept(bench, make_incoming("1002", tee=3))
    counted = await count(bench, 8)
    assert (counted.orders, counted.units, counted.difference) == (1, 2, 0)
    now = await level(bench)
    assert (now.on_hand, now.sold, now.free) == (8, 3, 5)
    assert (await record(bench)).items == (Item("tee", "main", 2, 0, 2),)


async def test_a_physical_count_lacks_what_was_shipped(bench: Bench) -> None:
    await stock(bench)
    await deliver(bench)
    shipped = await deliver(bench, "1002", 3)
    await bench.stockroom.ship(shipped, by="wms")
    await bench.pass_time(3)
    await count(bench, 7, PHYSICAL)
    now = await level(bench)
    assert (now.on_hand, now.sold, now.free) == (7, 2, 5)


async def test_an_order_near_the_instant_of_the_count_is_not_contained(bench: Bench) -> None:
    await stock(bench)
    await deliver(bench)
    delivered_ms = (await record(bench)).delivered_ms
    await count(bench, 8, as_of_ms=delivered_ms)
    assert (await level(bench)).sold == 2
    await count(bench, 8, as_of_ms=delivered_ms + 1)
    assert (await level(bench)).sold == 0


async def test_a_physical_count_puts_back_what_an_available_one_took_out(bench: Bench) -> None:
    await stock(bench)
    ref = await deliver(bench)
    await count(bench, 8)
    assert (await count(bench, 10, PHYSICAL)).units == -2
    now = await level(bench)
    assert (now.on_hand, now.sold, now.free) == (10, 2, 8)
    await bench.stockroom.ship(ref, by="wms")
    await bench.pass_time(3)
    await count(bench, 8, PHYSICAL)
    await count(bench, 8)
    now = await level(bench)
    assert (now.on_hand, now.sold, now.free) == (8, 0, 8)


async def test_a_count_of_before_the_last_is_stale_and_a_duplicate_changes_nothing(bench: Bench) -> None:
    await stock(bench)
    counted = await count(bench, 9, as_of_ms=1_000_000, seq=5)
    again = await count(bench, 3, as_of_ms=1_000_000, seq=5)
    assert (counted.code, again.code) == (CountCode.COUNTED, CountCode.STALE)
    assert (await count(bench, 3, as_of_ms=2_000_000, seq=4)).code is CountCode.STALE
    assert (await count(bench, 3, as_of_ms=999_999, seq=6)).code is CountCode.STALE
    assert (await level(bench)).on_hand == 9
    assert [kind for kind, _ in await bench.journal()].count("stock.recounted") == 2


async def test_a_negative_count_is_set_as_told_and_its_deficit_is_said(bench: Bench) -> None:
    await stock(bench)
    await bench.ledger.hold([make_hold()])
    counted = await count(bench, -3)
    assert (counted.after.on_hand, counted.deficit) == (-3, 5)
    assert "stock.fell_negative" in [kind for kind, _ in await bench.journal()]
    assert (await bench.ledger.hold([make_hold("h2", tee=1)]))[0].code is HoldCode.SHORT
    [accepted] = await accept(bench, make_incoming(hold_id="h1"))
    assert accepted.state is OrderState.QUEUED


async def test_counted_units_are_not_given_back_by_a_cancel_the_next_count_brings_them(bench: Bench) -> None:
    await stock(bench)
    await deliver(bench)
    await count(bench, 8)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    await bench.send(OrderRef("shop", "1001", Kind.CANCEL), ResultKind.DELIVERED)
    await bench.pass_time(3)
    assert (await level(bench)).free == 8
    await count(bench, 10)
    now = await level(bench)
    assert (now.on_hand, now.sold, now.free) == (10, 0, 10)


async def test_units_on_their_way_in_a_cancel_are_counted_with_their_order(bench: Bench) -> None:
    await stock(bench)
    await deliver(bench)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    await count(bench, 8)
    assert (await level(bench)).sold == 0
    await bench.send(OrderRef("shop", "1001", Kind.CANCEL), ResultKind.DELIVERED)
    assert (await level(bench)).free == 8


async def test_units_that_an_edit_added_are_not_contained_before_the_backend_has_the_edit(bench: Bench) -> None:
    await stock(bench)
    await deliver(bench)
    await accept(bench, make_incoming(version=2, tee=5))
    await count(bench, 8)
    assert (await level(bench)).sold == 5


async def test_a_new_sku_and_many_at_once_are_counted(bench: Bench) -> None:
    await stock(bench)
    now_ms = await bench.now_ms()
    wishes = [Count(sku=f"s{n}", quantity=n, kind=PHYSICAL, as_of_ms=now_ms, safety=1) for n in range(250)]
    counted = await bench.stockroom.count(wishes, by="ann")
    assert [one.after.on_hand for one in counted] == list(range(250))
    assert {one.code for one in counted} == {CountCode.COUNTED}
    assert (await level(bench, "s7")).free == 6


async def test_a_location_that_somebody_else_counts_is_shown_at_once(bench: Bench) -> None:
    await stock(bench, 5)
    assert [one.location for one in await bench.ledger.levels(["tee"])] == ["main"]
    wish = Count(sku="tee", location="attic", quantity=3, kind=PHYSICAL, as_of_ms=await bench.now_ms())
    await bench.stockroom.count([wish], by="ann")
    assert [(one.location, one.free) for one in await bench.ledger.levels(["tee"])] == [("attic", 3), ("main", 5)]
    await bench.stockroom.receive(Receipt(id="r", sku="tee", location="cellar", units=2), by="ann")
    assert [one.location for one in await bench.ledger.levels(["tee"])] == ["attic", "cellar", "main"]


async def test_a_count_of_more_orders_than_one_script_looks_at_is_exact(bench: Bench) -> None:
    await stock(bench, 1000)
    for first in range(0, 400, 100):
        orders = [make_incoming(str(number), tee=1) for number in range(first, first + 100)]
        await accept(bench, *orders)
        for incoming in orders:
            await bench.send(incoming.ref, ResultKind.DELIVERED)
    await bench.pass_time(3)
    counted = await count(bench, 600)
    assert counted.after.on_hand == 600
    assert (await level(bench)).sold == 0
    assert sum(moves[0].sold for kind, moves in await bench.journal() if kind == "order.counted") == -400


async def test_only_a_delivered_order_is_shipped_and_only_once(bench: Bench) -> None:
    await stock(bench)
    with pytest.raises(NotFound):
        await bench.stockroom.ship(REF, by="wms")
    await accept(bench, make_incoming())
    with pytest.raises(Conflict, match=f"^{REF} is queued: it cannot be shipped$"):
        await bench.stockroom.ship(REF, by="wms")
    await bench.send(REF, ResultKind.DELIVERED)
    await bench.stockroom.ship(REF, 12345, by="wms")
    await bench.stockroom.ship(REF, 99999, by="wms")
    assert (await record(bench)).shipped_ms == 12345


# ------------------------------------------------------------------------------------------------ backorders


async def fall_short(bench: Bench, *order_ids: str, tee: int = 2) -> list[OrderRef]:
    refs = [OrderRef("shop", order_id) for order_id in order_ids]
    for ref in refs:
        await accept(bench, make_incoming(ref.id, tee=tee))
        await bench.pass_time(2)
    return refs


async def states(bench: Bench, refs: list[OrderRef]) -> list[OrderState]:
    return [(await record(bench, ref)).state for ref in refs]


async def test_goods_go_to_who_waits_first_before_anything_is_free(bench: Bench) -> None:
    await stock(bench, 0)
    refs = await fall_short(bench, "a", "b", "c")
    for ref in reversed(refs):
        assert await bench.stockroom.backorder(ref, by="ann") is OrderState.BACKORDER
    now = await level(bench)
    assert (now.owed, now.free) == (6, 0)
    received = await bench.stockroom.receive(Receipt(id="r1", sku="tee", units=3), by="ann")
    assert received.served == ("shop:a",)
    assert await states(bench, refs) == [OrderState.QUEUED, OrderState.BACKORDER, OrderState.BACKORDER]
    assert (await record(bench, refs[1])).items == (Item("tee", "main", 2, 1),)
    assert (await bench.book.counts())["backorder"] == 2
    received = await bench.stockroom.receive(Receipt(id="r2", sku="tee", units=9), by="ann")
    assert received.served == ("shop:b", "shop:c")
    now = await level(bench)
    assert (now.on_hand, now.sold, now.owed, now.free) == (12, 6, 0, 6)


async def test_a_receipt_told_twice_is_one(bench: Bench) -> None:
    await stock(bench, 0)
    receipt = Receipt(id="r1", sku="tee", units=3)
    assert not (await bench.stockroom.receive(receipt, by="ann")).repeat
    assert (await bench.stockroom.receive(receipt, by="ann")).repeat
    assert (await level(bench)).on_hand == 3


async def test_no_later_order_takes_units_that_somebody_waits_for_wherever_they_come_from(bench: Bench) -> None:
    await stock(bench, 4)
    await accept(bench, make_incoming("first", tee=4))
    [waiting] = await fall_short(bench, "waiting", tee=3)
    await bench.stockroom.backorder(waiting, by="ann")
    await bench.ledger.cancel(OrderRef("shop", "first"), by="ann", reason="asked")
    assert (await level(bench)).free == 1
    assert (await bench.ledger.hold([make_hold(tee=2)]))[0].left == (("tee", 1),)
    [late] = await fall_short(bench, "late", tee=2)
    assert (await states(bench, [late])) == [OrderState.SHORTFALL]
    assert await bench.stockroom.serve() == [waiting]
    assert (await states(bench, [waiting])) == [OrderState.QUEUED]


async def test_a_count_that_finds_more_serves_who_waits(bench: Bench) -> None:
    await stock(bench, 0)
    [ref] = await fall_short(bench, "a")
    await bench.stockroom.backorder(ref, by="ann")
    await count(bench, 2)
    assert await states(bench, [ref]) == [OrderState.QUEUED]
    assert (await level(bench)).free == 0


async def test_an_edit_or_a_cancel_of_one_who_waits_changes_what_is_owed(bench: Bench) -> None:
    await stock(bench, 0)
    refs = await fall_short(bench, "a", "b")
    for ref in refs:
        await bench.stockroom.backorder(ref, by="ann")
    await accept(bench, make_incoming("a", version=2, tee=5))
    assert ((await level(bench)).owed, await states(bench, refs)) == (7, [OrderState.BACKORDER] * 2)
    await accept(bench, make_incoming("a", version=3, effect=Effect.CANCEL))
    assert (await level(bench)).owed == 2
    await bench.ledger.cancel(refs[1], by="ann", reason="asked")
    assert (await level(bench)).owed == 0
    assert (await bench.stockroom.receive(Receipt(id="r", sku="tee", units=2), by="ann")).served == ()
    assert (await level(bench)).free == 2


async def test_an_order_of_two_skus_waits_for_both_and_keeps_what_it_got(bench: Bench) -> None:
    await stock(bench, 0)
    await stock(bench, 0, "mug")
    await accept(bench, make_incoming("a", lines=(Line("tee", 1, 100), Line("mug", 1, 100))))
    [later] = await fall_short(bench, "b", tee=1)
    refs = [OrderRef("shop", "a"), later]
    for ref in refs:
        await bench.stockroom.backorder(ref, by="ann")
    await bench.stockroom.receive(Receipt(id="r1", sku="tee", units=1), by="ann")
    assert await states(bench, refs) == [OrderState.BACKORDER, OrderState.BACKORDER]
    await bench.stockroom.receive(Receipt(id="r2", sku="mug", units=1), by="ann")
    assert await states(bench, refs) == [OrderState.QUEUED, OrderState.BACKORDER]


async def test_a_doubtful_order_is_parked_when_it_is_covered_and_an_unpaid_one_waits(bench: Bench) -> None:
    await stock(bench, 0)
    await accept(bench, make_incoming("a", reason="the total does not add up"))
    await accept(bench, make_incoming("b", effect=Effect.WAIT))
    refs = [OrderRef("shop", "a"), OrderRef("shop", "b")]
    for ref in refs:
        await bench.stockroom.backorder(ref, by="ann")
    await bench.stockroom.receive(Receipt(id="r", sku="tee", units=4), by="ann")
    assert await states(bench, refs) == [OrderState.PARKED, OrderState.WAITING]
    assert (await record(bench, refs[0])).reason == "the total does not add up"


async def test_only_what_fell_short_waits_for_goods(bench: Bench) -> None:
    await stock(bench)
    with pytest.raises(NotFound):
        await bench.stockroom.backorder(REF, by="ann")
    await accept(bench, make_incoming())
    with pytest.raises(Conflict, match=f"^{REF} is queued: it cannot be backordered$"):
        await bench.stockroom.backorder(REF, by="ann")
    with pytest.raises(Conflict):
        await bench.stockroom.split(REF, by="ann")


# --------------------------------------------------------------------------------------------------------------- splits


async def test_a_split_sends_what_is_covered_and_the_rest_waits_at_the_same_place(bench: Bench) -> None:
    await stock(bench, 3)
    [first, later] = await fall_short(bench, "a", "b", tee=5)
    await bench.stockroom.backorder(later, by="ann")
    assert await bench.stockroom.split(first, by="ann") is OrderState.QUEUED
    sent, rest = await record(bench, first), await record(bench, OrderRef("shop", "a+rest"))
    assert (sent.items, rest.items) == ((Item("tee", "main", 3, 3),), (Item("tee", "main", 2, 0),))
    assert (sent.order, rest.order) != (None, None)
    assert sent.order is not None
    assert rest.order is not None
    assert (sent.order.total, rest.order.total) == (3000, 2000)
    assert rest.state is OrderState.BACKORDER
    assert rest.accepted_ms == sent.accepted_ms
    assert (await level(bench)).owed == 7
    received = await bench.stockroom.receive(Receipt(id="r", sku="tee", units=2), by="ann")
    assert received.served == ("shop:a+rest",)
    counts = await bench.book.counts()
    assert (counts["queued"], counts["backorder"], counts["desk"]) == (2, 1, 0)


async def test_a_split_whose_rest_is_given_up_owes_nothing(bench: Bench) -> None:
    await stock(bench, 3)
    [ref] = await fall_short(bench, "a", tee=5)
    assert await bench.stockroom.split(ref, by="ann", wait=False) is OrderState.QUEUED
    now = await level(bench)
    assert (now.sold, now.owed, now.free) == (3, 0, 0)
    assert await bench.book.get(OrderRef("shop", "a+rest")) is None
