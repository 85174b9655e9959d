"""What every StockLedger keeps of sales: windows by the store's clock, quotas, limits, and paid orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.domain.delivery import ResultKind
from flashd.domain.order import AcceptCode, Effect, Kind, Line, OrderRef
from flashd.domain.order import OrderState as State
from flashd.domain.reservation import HoldCode, HoldReply
from flashd.domain.sale import Rule, SaleState
from tests.conformance.ledgers import (
    BENCHES,
    HOUR_MS,
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

QUOTA, TEES, ALL = "q\x1fxmas\x1ftee", "c\x1fxmas\x1ftee\x1fann", "t\x1fxmas\x1fann"


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers) as opened:
        await stock(opened, 50)
        await stock(opened, 50, "mug")
        yield opened


async def sell(bench: Bench, sku: str = "tee", begins: int = -HOUR_MS, ends: int = HOUR_MS, **more: Any) -> None:
    """Let *sku* be in the sale xmas, in a window that is told from now."""
    now = await bench.now_ms()
    rule = Rule(sale="xmas", state=SaleState.READY, start_ms=now + begins, end_ms=now + ends)
    await bench.put_rules(sku, replace(rule, **more))


async def hold(bench: Bench, name: str = "h1", *, customer: str = "ann", **more: Any) -> HoldReply:
    return (await bench.ledger.hold([make_hold(name, customer=customer, **more)]))[0]


async def test_a_window_is_half_open_and_the_store_s_clock_decides(bench: Bench) -> None:
    await sell(bench, begins=250, ends=500)
    early = await hold(bench)
    assert (early.code, early.sale, early.sku, early.end_ms - early.start_ms) == (HoldCode.CLOSED, "xmas", "tee", 250)
    await bench.pass_time(early.start_ms - await bench.now_ms())
    assert (await hold(bench)).code is HoldCode.HELD
    await bench.pass_time(early.end_ms - await bench.now_ms())
    assert (await hold(bench, "h2")).code is HoldCode.CLOSED
    assert (await bench.uses())[QUOTA] == 2


async def test_outside_an_open_sale_holds_are_as_if_there_were_none(bench: Bench) -> None:
    await sell(bench, begins=HOUR_MS, ends=2 * HOUR_MS, quota=1, closed_outside=False)
    assert (await hold(bench)).code is HoldCode.HELD
    assert await bench.uses() == {}


@pytest.mark.parametrize(
    ("state", "code"), [(SaleState.STOPPED, HoldCode.CLOSED), (SaleState.ENDED, HoldCode.HELD)], ids=str
)
async def test_what_a_human_said_of_a_sale_comes_before_its_window(
    bench: Bench, state: SaleState, code: HoldCode
) -> None:
    await sell(bench, state=state)
    assert (await hold(bench)).code is code


async def test_a_sale_on_some_channels_is_none_on_others(bench: Bench) -> None:
    await sell(bench, quota=1, channels=("app", "web"))
    assert (await hold(bench, channel="web")).left == (("tee", 1),)
    assert (await hold(bench, channel="we")).code is HoldCode.HELD


async def test_a_quota_is_for_all_and_comes_back_with_the_units(bench: Bench) -> None:
    await sell(bench, quota=5)
    await bench.ledger.hold([make_hold("a"), make_hold("b")])
    refused = await hold(bench)
    assert (refused.code, refused.left) == (HoldCode.SHORT, (("tee", 1),))
    await bench.ledger.release("a", "")
    assert (await hold(bench, tee=3)).code is HoldCode.HELD
    assert await bench.uses() == {QUOTA: 5}


async def test_an_overdue_hold_is_in_nobody_s_way(bench: Bench) -> None:
    await sell(bench, quota=2, limit=2)
    await hold(bench, "old", ttl_ms=1)
    await bench.pass_time(5)
    assert (await hold(bench)).code is HoldCode.HELD


async def test_a_limit_counts_one_customer_over_all_channels(bench: Bench) -> None:
    await sell(bench, limit=3)
    assert (await hold(bench, channel="web")).code is HoldCode.HELD
    refused = await hold(bench, "h2", channel="app")
    assert (refused.code, refused.sale, refused.sku, refused.had, refused.may) == (HoldCode.LIMIT, "xmas", "tee", 2, 3)
    assert (await hold(bench, "h3", customer="bob")).code is HoldCode.HELD
    assert (await hold(bench, "h4", customer="", tee=9)).code is HoldCode.HELD
    assert await bench.uses() == {QUOTA: 13, TEES: 2, TEES.replace("ann", "bob"): 2}


async def test_the_limit_of_a_sale_counts_all_its_products(bench: Bench) -> None:
    await sell(bench, sale_limit=3)
    await sell(bench, "mug", sale_limit=3)
    refused = await hold(bench, lines=(Line("tee", 2), Line("mug", 2)))
    assert (refused.code, refused.had, refused.may) == (HoldCode.LIMIT, 0, 3)
    await hold(bench, lines=(Line("tee", 2), Line("mug", 1)))
    assert (await bench.uses())[ALL] == 3


async def test_what_a_hold_counts_for_passes_to_its_order_and_goes_back_with_it(bench: Bench) -> None:
    await sell(bench, quota=2, limit=2)
    await hold(bench)
    await sell(bench, begins=HOUR_MS, ends=2 * HOUR_MS, limit=1)
    [told] = await accept(bench, make_incoming(hold_id="h1"))
    assert (told.state, (await record(bench)).uses) == (State.QUEUED, {QUOTA: 2, TEES: 2})
    await accept(bench, make_incoming(version=2, tee=1))
    assert await bench.uses() == {QUOTA: 1, TEES: 1}
    await bench.ledger.cancel(REF, by="me", reason="")
    assert (await bench.uses(), (await record(bench)).uses) == ({}, {})


async def test_a_paid_order_that_passes_a_limit_is_parked_with_its_stock_taken(bench: Bench) -> None:
    await sell(bench, limit=3)
    await hold(bench)
    [told] = await accept(bench, make_incoming(customer="ann", placed_ms=0))
    assert (told.code, told.state) == (AcceptCode.ACCEPTED, State.PARKED)
    assert (await record(bench)).reason == "beyond the limit of sale xmas: tee"
    assert ((await level(bench)).sold, (await bench.uses())[TEES]) == (2, 4)
    await accept(bench, make_incoming(version=2, customer="ann", placed_ms=0, note="please"))
    assert (await record(bench)).state is State.PARKED
    await bench.ledger.requeue(REF, by="me")
    await accept(bench, make_incoming(version=3, customer="ann", placed_ms=0, note="please!"))
    assert (await record(bench)).state is State.QUEUED


async def test_a_paid_order_is_judged_by_the_instant_it_was_placed(bench: Bench) -> None:
    await sell(bench, quota=3)
    early = (await bench.now_ms()) - 2 * HOUR_MS
    await accept(bench, make_incoming(placed_ms=early), make_incoming("1002", placed_ms=early + HOUR_MS + 1000))
    assert ((await record(bench)).state, (await record(bench)).reason) == (
        State.PARKED,
        "not in the time of sale xmas: tee",
    )
    assert (await record(bench, OrderRef("shop", "1002"))).state is State.QUEUED
    assert ((await level(bench)).sold, await bench.uses()) == (4, {QUOTA: 2})


async def test_a_paid_order_of_a_stopped_sale_is_a_shortfall_that_takes_nothing(bench: Bench) -> None:
    await sell(bench, state=SaleState.STOPPED)
    [told] = await accept(bench, make_incoming(lines=(Line("tee", 2), Line("mug", 1))))
    assert (told.state, told.short) == (State.SHORTFALL, (("tee", 2),))
    assert "stopped: sale xmas: tee" in (await record(bench)).reason
    assert ((await level(bench)).sold, (await level(bench, "mug")).sold) == (0, 1)
    await bench.ledger.requeue(REF, by="me")
    assert ((await record(bench)).state, (await level(bench)).sold) == (State.QUEUED, 2)


async def test_a_later_version_does_not_get_past_a_stopped_sale(bench: Bench) -> None:
    await stock(bench, 10)
    await sell(bench, state=SaleState.STOPPED)
    await accept(bench, make_incoming(lines=(Line("tee", 2),)))
    await accept(bench, make_incoming(version=2, lines=(Line("tee", 2),), note="ring twice"))
    known = await record(bench)
    assert (known.state, known.items[0].taken) == (State.SHORTFALL, 0)
    assert "stopped: sale xmas: tee" in known.reason


async def test_an_edit_is_judged_by_the_sale_that_it_counts_for(bench: Bench) -> None:
    await sell(bench, quota=4)
    await accept(bench, make_incoming(placed_ms=0))
    await sell(bench, quota=4, begins=-2 * HOUR_MS, ends=-HOUR_MS)
    await accept(bench, make_incoming(version=2, tee=4, placed_ms=0))
    assert ((await record(bench)).state, await bench.uses()) == (State.QUEUED, {QUOTA: 4})
    await accept(bench, make_incoming(version=3, tee=5, placed_ms=0))
    assert (await record(bench)).reason == "beyond the quota of sale xmas: tee"


async def test_a_cancel_after_delivery_frees_what_the_order_counted_for(bench: Bench) -> None:
    await sell(bench, quota=4)
    await accept(bench, make_incoming(placed_ms=0))
    await bench.send(REF, ResultKind.DELIVERED)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL, placed_ms=0))
    assert await bench.uses() == {}
    await bench.send(replace(REF, kind=Kind.CANCEL), ResultKind.DELIVERED)
    assert (await level(bench)).sold == 0


async def test_rules_are_of_the_sku_as_it_was_ordered(bench: Bench) -> None:
    await sell(bench, quota=1)
    await bench.put_kit("set", tee=2, mug=1)
    assert (await hold(bench, lines=(Line("set", 1),))).code is HoldCode.HELD
    await sell(bench, "set", quota=1)
    assert (await hold(bench, "h2", lines=(Line("set", 2),))).left == (("set", 1),)
