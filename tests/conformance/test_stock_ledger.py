"""What every StockLedger keeps of stock and holds: the fake, Valkey and Redis 7.0."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.domain.delivery import ResultKind
from flashd.domain.order import AcceptCode, Effect, Item, Kind, Line, OrderRef
from flashd.domain.order import OrderState as State
from flashd.domain.reservation import HoldCode, HoldState
from flashd.domain.stock import StockLevel
from tests.conformance.ledgers import (
    BENCHES,
    HOUR_MS,
    REF,
    Bench,
    accept,
    deliver_one,
    level,
    make_hold,
    make_incoming,
    open_bench,
    record,
    sold,
    stock,
)
from tests.servers import Server

CANCEL, AMEND = OrderRef("shop", "1001", Kind.CANCEL), OrderRef("shop", "1001", Kind.AMEND)


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers) as opened:
        yield opened


# --------------------------------------------------------------------------------------------------------------- holds


async def test_the_same_id_twice_is_one_hold(bench: Bench) -> None:
    await stock(bench)
    first, second = await bench.ledger.hold([make_hold(), make_hold()])
    assert (first.code, first.state) == (HoldCode.HELD, HoldState.HELD)
    assert (second.code, second.state, second.expires_ms) == (HoldCode.REPEAT, HoldState.HELD, first.expires_ms)
    assert (await level(bench)).held == 2


async def test_the_same_id_with_another_request_is_a_conflict(bench: Bench) -> None:
    await stock(bench)
    _, other = await bench.ledger.hold([make_hold(), make_hold(tee=3)])
    assert other.code is HoldCode.CONFLICT
    assert (await level(bench)).held == 2


async def test_all_lines_or_nothing_and_the_answer_says_what_is_left(bench: Bench) -> None:
    await stock(bench, 10)
    await stock(bench, 1, "mug")
    [reply] = await bench.ledger.hold([make_hold(lines=(Line("tee", 2), Line("mug", 2)))])
    assert (reply.code, reply.left) == (HoldCode.SHORT, (("mug", 1),))
    assert [one.held for one in await bench.ledger.levels()] == [0, 0]


async def test_the_same_sku_twice_is_summed_before_the_check(bench: Bench) -> None:
    await stock(bench, 3)
    [reply] = await bench.ledger.hold([make_hold(lines=(Line("tee", 2), Line("tee", 2)))])
    assert (reply.code, reply.left) == (HoldCode.SHORT, (("tee", 3),))


async def test_an_unknown_sku_is_said_before_a_shortage(bench: Bench) -> None:
    await stock(bench, 1)
    [reply] = await bench.ledger.hold([make_hold(lines=(Line("tee", 2), Line("ghost", 1)))])
    assert (reply.code, reply.left) == (HoldCode.UNKNOWN_SKU, (("ghost", 0),))


async def test_refusals_are_not_remembered(bench: Bench) -> None:
    await stock(bench, 1)
    assert (await bench.ledger.hold([make_hold()]))[0].code is HoldCode.SHORT
    await stock(bench, 5)
    assert (await bench.ledger.hold([make_hold()]))[0].code is HoldCode.HELD


async def test_safety_stock_is_not_held(bench: Bench) -> None:
    await stock(bench, 3, safety=2)
    assert (await bench.ledger.hold([make_hold()]))[0].left == (("tee", 1),)


async def test_a_hold_leaves_held_once(bench: Bench) -> None:
    await stock(bench)
    await bench.ledger.hold([make_hold()])
    assert (await bench.ledger.release("h1", "changed his mind")).code is HoldCode.RELEASED
    assert (await bench.ledger.release("h1", "again")).code is HoldCode.REPEAT
    assert (await bench.ledger.extend("h1", 1, max_total_ms=1)).code is HoldCode.GONE
    assert (await bench.ledger.release("nobody", "")).code is HoldCode.GONE
    assert (await level(bench)).held == 0


async def test_an_overdue_hold_makes_room_for_the_next(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold(ttl_ms=1)])
    await bench.pass_time(5)
    [reply] = await bench.ledger.hold([make_hold("h2")])
    assert reply.code is HoldCode.HELD
    assert (await bench.ledger.hold([make_hold(ttl_ms=1)]))[0].state is HoldState.EXPIRED


async def test_short_is_said_only_when_no_overdue_hold_is_left(bench: Bench) -> None:
    await stock(bench, 80)
    await bench.ledger.hold([make_hold(f"old{number}", tee=1, ttl_ms=1) for number in range(80)])
    await bench.pass_time(5)
    [reply] = await bench.ledger.hold([make_hold("h", tee=80)])
    assert reply.code is HoldCode.HELD
    assert (await level(bench)).held == 80


async def test_an_extension_is_bounded_and_never_shortens(bench: Bench) -> None:
    await stock(bench)
    [held] = await bench.ledger.hold([make_hold(ttl_ms=HOUR_MS)])
    assert (await bench.ledger.extend("h1", 1, max_total_ms=HOUR_MS)).expires_ms == held.expires_ms
    longer = await bench.ledger.extend("h1", 9 * HOUR_MS, max_total_ms=2 * HOUR_MS)
    assert longer.expires_ms == held.expires_ms + HOUR_MS


async def test_sweep_ends_what_is_overdue(bench: Bench) -> None:
    await stock(bench)
    await bench.ledger.hold([make_hold("a", tee=1, ttl_ms=1), make_hold("b", tee=1, ttl_ms=1), make_hold("c", tee=1)])
    await bench.pass_time(5)
    assert await bench.ledger.sweep(1) == 1
    assert await bench.ledger.sweep() == 1
    assert (await level(bench)).held == 1


# --------------------------------------------------------------------------------------------------------------- stock


async def test_a_stale_count_changes_nothing(bench: Bench) -> None:
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=9, seq=5))
    same = await bench.ledger.recount(StockLevel(sku="tee", on_hand=3, seq=5))
    assert (same.on_hand, same.seq) == (9, 5)


async def test_a_count_takes_from_sold_what_it_lacks_and_a_deficit_is_said(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming(tee=4))
    counted = await bench.ledger.recount(StockLevel(sku="tee", on_hand=1, seq=1), lacks=1)
    assert (counted.on_hand, counted.sold, counted.atp) == (1, 3, -2)
    assert "stock.fell_negative" in [kind for kind, _ in await bench.journal()]
    assert (await bench.ledger.hold([make_hold(tee=1)]))[0].left == (("tee", 0),)


async def test_units_that_a_count_took_out_of_sold_are_not_given_back_twice(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=8, seq=1), lacks=2)
    await bench.ledger.cancel(REF, by="me", reason="")
    assert (await level(bench)).sold == 0
    assert (await level(bench)).free == 8


async def test_whatever_changes_stock_makes_its_sku_dirty_and_nothing_else_does(bench: Bench) -> None:
    await stock(bench)
    await stock(bench, sku="mug")
    assert await bench.wash() == ["mug", "tee"]
    await bench.ledger.hold([make_hold(), make_hold("h2", ttl_ms=1)])
    assert await bench.wash() == ["tee"]
    await bench.ledger.hold([make_hold(), make_hold(tee=3), make_hold("h3", lines=(Line("ghost", 1),))])
    await bench.ledger.extend("h1", 1, max_total_ms=1)
    assert await bench.wash() == []
    await bench.pass_time(5)
    for change in (
        bench.ledger.sweep(),
        bench.ledger.release("h1", ""),
        accept(bench, make_incoming(), make_incoming("1002")),
        bench.ledger.cancel(OrderRef("shop", "1002"), by="me", reason=""),
    ):
        await change
        assert await bench.wash() == ["tee"]
    await bench.send(REF, ResultKind.DELIVERED)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    assert await bench.wash() == []
    await bench.send(CANCEL, ResultKind.DELIVERED)
    assert await bench.wash() == ["tee"]


async def test_a_sku_that_is_dirty_keeps_since_when(bench: Bench) -> None:
    await stock(bench)
    since = (await bench.dirty())["tee"]
    await bench.pass_time(5)
    await accept(bench, make_incoming())
    assert await bench.dirty() == {"tee": since}


async def test_levels_answer_for_known_skus_only(bench: Bench) -> None:
    await stock(bench)
    assert [one.sku for one in await bench.ledger.levels(["tee", "ghost"])] == ["tee"]
    assert [one.sku for one in await bench.ledger.levels()] == ["tee"]


async def test_names_may_hold_anything_printable(bench: Bench) -> None:
    odd = "a b:c#d'\"é\U0001f600{}%\\/"
    await stock(bench, sku=odd)
    await bench.ledger.hold([make_hold(odd, lines=(Line(odd, 1),))])
    incoming = make_incoming(odd, lines=(Line(odd, 2, 100),), hold_id=odd, reason="why\n not", raw=b"\x00\xff" * 40)
    assert (await accept(bench, incoming))[0].state is State.PARKED
    ref = OrderRef("shop", odd)
    after = await record(bench, ref)
    assert (after.items, after.order, after.hold_id) == ((Item(odd, "main", 2, 2),), incoming.order, odd)
    assert after.reason == "why  not"
    assert await bench.book.raw(ref) == incoming.raw
    assert len([moves for _, moves in await bench.journal() if moves]) == 4


async def test_fifteen_digits_are_kept_to_the_unit(bench: Bench) -> None:
    most = 10**15 - 1
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=most, seq=most))
    await accept(bench, make_incoming(version=most, tee=most - 1))
    now = await level(bench)
    assert (now.on_hand, now.sold, now.free, now.seq) == (most, most - 1, 1, most)
    assert (await accept(bench, make_incoming(version=most - 1)))[0].code is AcceptCode.STALE
    await bench.send(REF)
    await accept(bench, make_incoming(version=most + 1, tee=1))
    await bench.send(REF, ResultKind.LATER)
    assert await bench.ledger.apply_next() == 1
    assert ((await record(bench)).version, await sold(bench)) == (most + 1, 1)


async def test_folding_the_journal_gives_the_counters(bench: Bench) -> None:
    await deliver_one(bench)
    await bench.ledger.hold([make_hold("a"), make_hold("b", tee=1), make_hold("c", tee=1)])
    await accept(bench, make_incoming("1002", tee=3, hold_id="a"), make_incoming(version=2, tee=1))
    await bench.ledger.release("b", "")
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=20, safety=2, seq=1), lacks=1)
    folded = StockLevel(sku="tee", seq=1)
    for _, moves in await bench.journal():
        for move in moves:
            folded = folded.moved(move)
    assert folded == await level(bench)
