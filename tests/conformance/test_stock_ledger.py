"""What every StockLedger keeps: the fake, Valkey and Redis 7.0."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from flashd.domain.delivery import ResultKind
from flashd.domain.order import AcceptCode, Accepted, Effect, Incoming, Item, Kind, Line, OrderRecord, OrderRef
from flashd.domain.order import OrderState as State
from flashd.domain.reservation import HoldCode, HoldState
from flashd.domain.stock import StockLevel
from flashd.errors import Conflict, NotFound
from tests.conformance.ledgers import (
    BACKEND,
    BENCHES,
    HOUR_MS,
    Bench,
    level,
    make_hold,
    make_incoming,
    open_bench,
    stock,
)
from tests.servers import Server

REF = OrderRef("shop", "1001")
CANCEL, AMEND = OrderRef("shop", "1001", Kind.CANCEL), OrderRef("shop", "1001", Kind.AMEND)


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers) as opened:
        yield opened


async def accept(bench: Bench, *incoming: Incoming, since_ms: int = 0) -> list[Accepted]:
    return await bench.ledger.accept(incoming, [BACKEND] * len(incoming), since_ms=since_ms)


async def record(bench: Bench, ref: OrderRef = REF) -> OrderRecord:
    found = await bench.book.get(ref)
    assert found is not None, ref
    return found


async def sold(bench: Bench, sku: str = "tee") -> int:
    return (await level(bench, sku)).sold


async def deliver_one(bench: Bench, tee: int = 2) -> None:
    """An order of *tee* tees that the backend has, of ten on hand."""
    await stock(bench)
    await accept(bench, make_incoming(tee=tee))
    await bench.send(REF, ResultKind.DELIVERED)


# ------------------------------------------------------------------------------------------------------------- holds


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


# ------------------------------------------------------------------------------------------------------------ accept


async def test_the_same_version_twice_is_one_order(bench: Bench) -> None:
    await stock(bench)
    first, second = await accept(bench, make_incoming(), make_incoming())
    assert (first.code, first.state) == (AcceptCode.ACCEPTED, State.QUEUED)
    assert (second.code, second.state) == (AcceptCode.REPEAT, State.QUEUED)
    assert await sold(bench) == 2


async def test_an_order_takes_its_hold(bench: Bench) -> None:
    await stock(bench, 2)
    await bench.ledger.hold([make_hold()])
    assert (await accept(bench, make_incoming(hold_id="h1")))[0].state is State.QUEUED
    now = await level(bench)
    assert (now.held, now.sold) == (0, 2)
    assert (await bench.ledger.hold([make_hold()]))[0].state is HoldState.SOLD


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


# -------------------------------------------------------------------------------------------- in flight and delivered


@pytest.mark.parametrize("outcome", [ResultKind.DELIVERED, ResultKind.LATER, ResultKind.DECLINED])
async def test_a_newer_version_waits_for_the_outcome(bench: Bench, outcome: ResultKind) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF)
    [reply] = await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    assert (reply.code, reply.state) == (AcceptCode.LATER, State.SENDING)
    assert (await record(bench)).has_next
    assert (await accept(bench, make_incoming(version=2, effect=Effect.CANCEL)))[0].code is AcceptCode.REPEAT
    assert await bench.ledger.apply_next() == 0
    await bench.send(REF, outcome)
    assert await bench.ledger.apply_next() == 1
    assert await bench.ledger.apply_next() == 0
    after = await record(bench)
    assert not after.has_next
    assert after.version == 2
    if outcome is ResultKind.DELIVERED:
        assert (after.state, (await record(bench, CANCEL)).state) == (State.DELIVERED, State.QUEUED)
        assert await sold(bench) == 2
    else:
        assert after.state is State.CANCELLED
        assert await sold(bench) == 0


async def test_a_version_to_be_ignored_does_not_push_out_the_one_that_waits(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF)
    await accept(bench, make_incoming(version=2, tee=5))
    await accept(bench, make_incoming(version=3, effect=Effect.IGNORE))
    assert (await accept(bench, make_incoming(version=2, tee=7)))[0].code is AcceptCode.STALE
    await bench.send(REF, ResultKind.LATER)
    assert await bench.ledger.apply_next() == 1
    assert ((await record(bench)).version, await sold(bench)) == (3, 5)


async def test_an_old_version_told_late_replaces_the_one_that_waits(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF)
    await accept(bench, make_incoming(version=2, tee=5))
    assert (await accept(bench, make_incoming(version=3)))[0].code is AcceptCode.LATER
    await bench.send(REF, ResultKind.DELIVERED)
    await bench.ledger.apply_next()
    assert await bench.book.get(AMEND) is None
    assert (await record(bench)).version == 3


async def test_a_newer_version_after_the_outcome_overtakes_the_one_that_waits(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    await bench.send(REF, ResultKind.LATER)
    assert (await accept(bench, make_incoming(version=3, tee=4)))[0].state is State.QUEUED
    assert await bench.ledger.apply_next() == 0
    assert await sold(bench) == 4


async def test_the_units_of_a_cancelled_order_are_free_when_the_backend_knows(bench: Bench) -> None:
    await deliver_one(bench)
    [reply] = await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    assert (reply.code, reply.state) == (AcceptCode.UPDATED, State.DELIVERED)
    follow = await record(bench, CANCEL)
    assert (follow.state, follow.items) == (State.QUEUED, (Item("tee", "main", 2, 2),))
    assert await sold(bench) == 2
    await bench.send(CANCEL, ResultKind.DELIVERED)
    assert await sold(bench) == 0
    await accept(bench, make_incoming(version=3, effect=Effect.CANCEL))
    assert (await record(bench, CANCEL)).state is State.DELIVERED
    assert await sold(bench) == 0


async def test_an_edit_of_a_delivered_order_is_left_to_a_human_where_the_backend_cannot(bench: Bench) -> None:
    await deliver_one(bench, tee=4)
    await accept(bench, make_incoming(version=2, tee=1))
    follow = await record(bench, AMEND)
    assert (follow.state, follow.items) == (State.MANUAL, (Item("tee", "main", 3, 3),))
    assert follow.order is not None
    assert follow.order.lines[0].quantity == 1
    assert await sold(bench) == 4
    assert await bench.ledger.settle(AMEND, "by hand", by="me") is State.DELIVERED
    assert await sold(bench) == 1
    await accept(bench, make_incoming(version=3, tee=2))
    assert ((await record(bench, AMEND)).revision, await sold(bench)) == (1, 2)


async def test_a_cancel_takes_an_amend_away(bench: Bench) -> None:
    await deliver_one(bench, tee=4)
    await accept(bench, make_incoming(version=2, tee=1))
    await accept(bench, make_incoming(version=3, effect=Effect.CANCEL))
    assert (await record(bench, AMEND)).state is State.CANCELLED
    assert (await record(bench, CANCEL)).items == (Item("tee", "main", 4, 4),)
    await bench.send(CANCEL, ResultKind.DELIVERED)
    assert await sold(bench) == 0


async def test_an_edit_after_a_cancel_starts_the_amend_again(bench: Bench) -> None:
    await deliver_one(bench, tee=4)
    await accept(bench, make_incoming(version=2, tee=1))
    await accept(bench, make_incoming(version=3, effect=Effect.CANCEL))
    await accept(bench, make_incoming(version=4, tee=1))
    follow = await record(bench, AMEND)
    assert (follow.state, follow.revision) == (State.MANUAL, 1)


async def test_a_cancel_drops_the_edit_that_waits_in_a_follow_up(bench: Bench) -> None:
    await deliver_one(bench)
    await accept(bench, make_incoming(version=2, tee=1))
    await bench.ledger.requeue(AMEND, by="me")
    await bench.send(AMEND)
    await accept(bench, make_incoming(version=3, tee=5))
    await accept(bench, make_incoming(version=4, effect=Effect.CANCEL))
    await bench.send(AMEND, ResultKind.DELIVERED)
    assert await bench.ledger.apply_next() == 0
    await bench.send(CANCEL, ResultKind.DELIVERED)
    assert await sold(bench) == 0


async def test_an_edit_waits_in_the_follow_up_that_is_in_flight(bench: Bench) -> None:
    await deliver_one(bench)
    await accept(bench, make_incoming(version=2, tee=1))
    await bench.ledger.requeue(AMEND, by="me")
    await bench.send(AMEND)
    assert (await accept(bench, make_incoming(version=3, tee=5)))[0].code is AcceptCode.LATER
    await bench.send(AMEND, ResultKind.DELIVERED)
    assert await sold(bench) == 1
    assert await bench.ledger.apply_next() == 1
    follow = await record(bench, AMEND)
    assert (follow.state, follow.revision, follow.version) == (State.MANUAL, 1, 3)
    assert await sold(bench) == 5


async def test_a_delivered_order_told_again_is_noted(bench: Bench) -> None:
    await deliver_one(bench)
    assert (await accept(bench, make_incoming(version=2)))[0].code is AcceptCode.UPDATED
    assert await bench.book.get(AMEND) is None


async def test_a_dead_letter_is_corrected_and_stays_dead(bench: Bench) -> None:
    await stock(bench)
    await accept(bench, make_incoming())
    await bench.send(REF, ResultKind.DECLINED)
    assert (await accept(bench, make_incoming(version=2, tee=3)))[0].state is State.DEAD
    assert await sold(bench) == 3
    assert (await accept(bench, make_incoming(version=3, effect=Effect.CANCEL)))[0].state is State.CANCELLED
    assert await sold(bench) == 0


# ---------------------------------------------------------------------------------------------------------- commands


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
    with pytest.raises(Conflict, match="is sending"):
        await bench.ledger.cancel(REF, by="me", reason="")
    await bench.send(REF, ResultKind.DELIVERED)
    for command in (
        bench.ledger.cancel(REF, by="me", reason=""),
        bench.ledger.requeue(REF, by="me"),
        bench.ledger.settle(REF, "SO2", by="me"),
    ):
        with pytest.raises(Conflict, match="is delivered"):
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


# ------------------------------------------------------------------------------------------------------------- stock


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
