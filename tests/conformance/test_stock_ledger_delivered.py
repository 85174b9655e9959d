"""What every StockLedger makes of versions that come while an order is in flight, and after."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.domain.delivery import ResultKind
from flashd.domain.order import AcceptCode, Effect, Item, Kind, OrderRef
from flashd.domain.order import OrderState as State
from tests.conformance.ledgers import (
    BENCHES,
    REF,
    Bench,
    accept,
    deliver_one,
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
