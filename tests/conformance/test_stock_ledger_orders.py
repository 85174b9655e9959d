"""What every StockLedger makes of the versions of an order, up to its sending."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from flashd.domain.delivery import ResultKind
from flashd.domain.order import AcceptCode, Effect, Item, Kind, Line, OrderRef
from flashd.domain.order import OrderState as State
from flashd.domain.reservation import HoldState
from flashd.errors import Conflict, NotFound
from tests.conformance.ledgers import (
    BACKEND,
    BENCHES,
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


# -------------------------------------------------------------------------------------------------------------- accept


async def test_the_same_version_twice_is_one_order(bench: Bench) -> None:
    await stock(bench)
    first, second = await accept(bench, make_incoming(), make_incoming())
    assert (first.code, first.state) == (AcceptCode.ACCEPTED, State.QUEUED)
    assert (second.code, second.state) == (AcceptCode.REPEAT, State.QUEUED)
    assert await sold(bench) == 2


async def test_an_order_stays_with_its_backend_though_its_next_version_would_go_to_another(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    edited, new = make_incoming(tee=3, version=2), make_incoming("1002", tee=1)
    first, second = await bench.ledger.accept([edited, new], ["elsewhere", "elsewhere"], since_ms=0)
    assert (first.code, first.state) == (AcceptCode.UPDATED, State.QUEUED)
    assert (second.code, second.state) == (AcceptCode.ACCEPTED, State.QUEUED)
    assert (await record(bench)).backend == BACKEND
    assert (await record(bench, OrderRef("shop", "1002"))).backend == "elsewhere"
    assert await sold(bench) == 4


async def test_an_order_takes_its_hold(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold()])
    assert (await accept(bench, make_incoming(hold_id="h1")))[0].state is State.QUEUED
    now = await level(bench)
    assert (now.held, now.sold) == (0, 2)
    assert (await bench.ledger.hold([make_hold()]))[0].state is HoldState.SOLD


async def test_a_hold_of_one_channel_is_taken_by_an_order_that_another_channel_tells(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold(channel="till")])
    incoming = make_incoming(hold_id="h1")
    assert incoming.order.channel != "till"
    assert (await accept(bench, incoming))[0].state is State.QUEUED
    now = await level(bench)
    assert (now.held, now.sold, now.free) == (0, 2, 0)


async def test_an_overdue_hold_that_nobody_swept_is_still_held_to_its_order(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold(ttl_ms=1)])
    await bench.pass_time(5)
    assert (await accept(bench, make_incoming(hold_id="h1")))[0].state is State.QUEUED


async def test_a_late_order_takes_free_stock_or_is_a_shortfall(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold(ttl_ms=1)])
    await bench.pass_time(5)
    await bench.ledger.sweep()
    await bench.ledger.hold([make_hold("h2", tee=1)])
    [reply] = await accept(bench, make_incoming(hold_id="h1"))
    assert (reply.state, reply.short) == (State.SHORTFALL, (("tee", 1),))
    assert (await record(bench)).items == (Item("tee", "main", 2, 1),)


async def test_an_order_that_differs_from_its_hold_gives_the_rest_back(bench: Bench) -> None:
    await stock(bench, 4)
    await bench.ledger.hold([make_hold(tee=4)])
    assert (await accept(bench, make_incoming(tee=1, hold_id="h1")))[0].state is State.QUEUED
    now = await level(bench)
    assert (now.held, now.sold, now.free) == (0, 1, 3)


async def test_a_live_hold_is_honoured_in_a_deficit(bench: Bench) -> None:
    await stock(bench, 5)
    await bench.ledger.hold([make_hold()])
    await stock(bench, 0)
    assert (await accept(bench, make_incoming(hold_id="h1")))[0].state is State.QUEUED
    now = await level(bench)
    assert (now.held, now.sold, now.atp) == (0, 2, -2)


async def test_a_hold_that_is_sold_to_another_counts_as_none(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold()])
    _, second = await accept(bench, make_incoming(hold_id="h1"), make_incoming("1002", hold_id="h1"))
    assert second.state is State.SHORTFALL


async def test_a_doubtful_order_is_parked_with_its_stock(bench: Bench) -> None:
    await stock(bench)
    assert (await accept(bench, make_incoming(reason="the total does not add up")))[0].state is State.PARKED
    assert await sold(bench) == 2
    assert (await record(bench)).reason == "the total does not add up"


async def test_an_unknown_sku_parks_a_platform_order(bench: Bench) -> None:
    await stock(bench)
    [reply] = await accept(bench, make_incoming(lines=(Line("tee", 2), Line("ghost", 1))))
    assert (reply.state, reply.short) == (State.PARKED, ())
    assert (await record(bench)).reason == "unknown SKU: ghost"
    assert await sold(bench) == 2


async def test_an_unknown_sku_refuses_a_native_order_and_writes_nothing(bench: Bench) -> None:
    await stock(bench)
    [reply] = await accept(bench, make_incoming(lines=(Line("tee", 2), Line("ghost", 1)), strict=True))
    assert (reply.code, reply.short) == (AcceptCode.UNKNOWN_SKU, (("ghost", 1),))
    assert await bench.book.get(REF) is None
    assert await sold(bench) == 0


async def test_strict_compares_content_and_not_versions(bench: Bench) -> None:
    await stock(bench)
    replies = await accept(
        bench,
        make_incoming(strict=True),
        make_incoming(version=9, strict=True),
        make_incoming(version=9, tee=3, strict=True),
    )
    assert [reply.code for reply in replies] == [AcceptCode.ACCEPTED, AcceptCode.REPEAT, AcceptCode.CONFLICT]
    assert await sold(bench) == 2


async def test_an_order_placed_before_the_cut_over_never_takes_stock(bench: Bench) -> None:
    await stock(bench)
    old = [make_incoming(version=version, tee=version, placed_ms=5) for version in (1, 2, 3)]
    assert [(await accept(bench, one, since_ms=10))[0].state for one in old] == [State.IGNORED] * 3
    revived = [make_incoming(version=4, placed_ms=5, effect=Effect.CANCEL), make_incoming(version=5, placed_ms=5)]
    assert [(await accept(bench, one, since_ms=10))[0].state for one in revived] == [State.CANCELLED, State.IGNORED]
    assert await sold(bench) == 0


async def test_an_edit_takes_what_it_added_and_gives_back_what_it_reduced(bench: Bench) -> None:
    await stock(bench)
    await stock(bench, 5, "mug")
    await accept(bench, make_incoming(lines=(Line("tee", 3), Line("mug", 1))))
    [reply] = await accept(bench, make_incoming(version=2, lines=(Line("tee", 1), Line("mug", 4))))
    assert (reply.code, reply.state) == (AcceptCode.UPDATED, State.QUEUED)
    assert (await sold(bench), await sold(bench, "mug")) == (1, 4)


async def test_an_edited_order_keeps_its_place(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.pass_time(3)
    await accept(bench, make_incoming("1002"))
    await bench.pass_time(3)
    await accept(bench, make_incoming(version=2, tee=3))
    assert await bench.book.position(REF) == 0


async def test_waiting_goes_on_when_it_is_paid(bench: Bench) -> None:
    await stock(bench)
    assert (await accept(bench, make_incoming(effect=Effect.WAIT)))[0].state is State.WAITING
    assert (await accept(bench, make_incoming(version=2)))[0].state is State.QUEUED
    assert await sold(bench) == 2


async def test_a_parked_order_stays_parked_while_a_reason_stays(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming(reason="odd"))
    assert (await accept(bench, make_incoming(version=2, tee=3, reason="odd")))[0].state is State.PARKED
    assert (await accept(bench, make_incoming(version=3, tee=4)))[0].state is State.QUEUED


async def test_a_note_changes_nothing_but_the_version(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    [reply] = await accept(bench, make_incoming(version=2))
    assert reply.code is AcceptCode.UPDATED
    after = await record(bench)
    assert (after.version, after.state, len(after.timeline)) == (2, State.QUEUED, 1)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_create_update_and_cancel_in_any_order_end_cancelled(bench: Bench, order: tuple[int, ...]) -> None:
    await stock(bench)
    told = [make_incoming(version=1), make_incoming(version=2, tee=3), make_incoming(version=3, effect=Effect.CANCEL)]
    for index in order:
        await accept(bench, told[index])
    after = await record(bench)
    assert (after.state, after.version, after.digest) == (State.CANCELLED, 3, told[2].order.digest)
    assert (await level(bench)).free == 10
    assert await bench.book.counts() == {
        "waiting": 0,
        "queued": 0,
        "in_flight": 0,
        "dead": 0,
        "desk": 0,
        "backorder": 0,
        "done": 1,
    }


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_versions_of_one_timestamp_converge(bench: Bench, order: tuple[int, ...]) -> None:
    await stock(bench)
    told = [make_incoming(version=7, tee=tee) for tee in (1, 2, 3)]
    for index in order:
        await accept(bench, told[index])
    winner = max(told, key=lambda one: one.order.digest)
    assert (await record(bench)).digest == winner.order.digest
    assert await sold(bench) == winner.order.lines[0].quantity


# ------------------------------------------------------------------------------------------------------------ commands


async def test_a_human_s_cancel_is_final(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    for _ in range(2):
        assert await bench.ledger.cancel(REF, by="me", reason="fraud") is State.CANCELLED
    assert (await accept(bench, make_incoming(version=2, tee=3)))[0].state is State.CANCELLED
    assert await sold(bench) == 0


async def test_a_human_s_cancel_settles_the_version_that_waited_too(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF, ResultKind.MANUAL)
    await accept(bench, make_incoming(version=2, tee=5))
    await bench.ledger.cancel(REF, by="me", reason="the backend lacks it")
    assert await bench.ledger.apply_next() == 0
    after = await record(bench)
    assert (after.version, after.has_next, await sold(bench)) == (2, False, 0)


async def test_a_platform_s_cancel_can_be_taken_back(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming(effect=Effect.CANCEL))
    assert (await accept(bench, make_incoming(version=2)))[0].state is State.QUEUED
    assert await sold(bench) == 2


async def test_commands_refuse_what_is_in_flight_delivered_or_unknown(bench: Bench) -> None:
    await stock(bench)
    with pytest.raises(NotFound):
        await bench.ledger.cancel(REF, by="me", reason="")
    await accept(bench, make_incoming())
    await bench.send(REF)
    with pytest.raises(Conflict, match=f"^{REF} is sending: it cannot be cancelled$"):
        await bench.ledger.cancel(REF, by="me", reason="")
    await bench.send(REF, ResultKind.DELIVERED)
    for command, what in (
        (bench.ledger.cancel(REF, by="me", reason=""), "cancelled"),
        (bench.ledger.requeue(REF, by="me"), "sent again"),
        (bench.ledger.settle(REF, "SO2", by="me"), "settled"),
    ):
        with pytest.raises(Conflict, match=f"^{REF} is delivered: it cannot be {what}$"):
            await command
    assert await bench.ledger.settle(REF, "SO1", by="me") is State.DELIVERED


async def test_a_parked_order_that_is_released_is_not_parked_again(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming(reason="odd"))
    assert await bench.ledger.requeue(REF, by="me") is State.QUEUED
    assert (await accept(bench, make_incoming(version=2, tee=3, reason="odd")))[0].state is State.QUEUED


async def test_a_shortfall_is_queued_when_its_units_came(bench: Bench) -> None:
    await stock(bench, 1)
    await accept(bench, make_incoming())
    assert await bench.ledger.requeue(REF, by="me") is State.SHORTFALL
    await stock(bench, 2)
    assert await bench.ledger.requeue(REF, by="me") is State.QUEUED
    assert await sold(bench) == 2


async def test_a_mended_order_goes_out_under_another_key_once(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF, ResultKind.DECLINED)
    mended = make_incoming(tee=5).order
    for _ in range(2):
        assert await bench.ledger.requeue(REF, by="me", order=mended) is State.QUEUED
    after = await record(bench)
    assert (after.revision, after.order, after.refusals) == (1, mended, 0)
    assert await sold(bench) == 5
    assert (await accept(bench, make_incoming()))[0].code is AcceptCode.REPEAT


async def test_a_dead_letter_is_settled_by_a_human_s_word(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming(raw=b"body"))
    await bench.send(REF, ResultKind.DECLINED)
    for _ in range(2):
        assert await bench.ledger.settle(REF, "SO7", by="me") is State.DELIVERED
    assert (await record(bench)).backend_ref == "SO7"
    assert await bench.book.raw(REF) is None


async def test_a_follow_up_that_a_human_drops_leaves_its_units_sold(bench: Bench) -> None:
    await deliver_one(bench)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    await bench.ledger.cancel(CANCEL, by="me", reason="they want it after all")
    assert await sold(bench) == 2
    assert (await record(bench)).items[0].taken == 2
