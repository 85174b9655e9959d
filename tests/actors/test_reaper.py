"""Hygiene of a pool: what is overdue ends, what waited is applied, and a store that is away is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.actors.reaper import SWEEP_S, TRIM_S, Reaper
from flashd.domain.delivery import Result, ResultKind
from flashd.domain.order import AcceptCode, OrderRef, OrderState
from flashd.domain.reservation import HoldState
from flashd.domain.stock import StockLevel
from flashd.errors import StoreUnavailable
from tests.conformance.ledgers import make_hold, make_incoming
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool

REF = OrderRef("shop", "1001")


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        self.pool.levels["tee", "main"] = StockLevel(sku="tee", location="main", on_hand=10_000)
        self.ledger = FakeLedger(self.pool)
        self.applied = 0
        self.trims = 0
        self.trim_fails = False
        self.reaper = Reaper(self.ledger, clock=self.clock, trim=self.trim, applied=self.tell)

    async def trim(self) -> int:
        self.trims += 1
        if self.trim_fails:
            raise StoreUnavailable("trim")
        return 1

    def tell(self) -> None:
        self.applied += 1

    def alive(self) -> bool:
        return self.reaper.ready.is_set()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.reaper.start()
    yield world
    await world.reaper.stop(0.5)


async def test_overdue_holds_end_in_one_round_however_many_there_are(world: World) -> None:
    await world.ledger.hold([make_hold(f"h{number}", tee=1, ttl_ms=5000) for number in range(1200)])
    await world.clock.advance(5 - SWEEP_S)
    assert world.pool.levels["tee", "main"].held == 1200
    await world.clock.advance(2 * SWEEP_S)
    assert world.pool.levels["tee", "main"].held == 0
    assert {hold.state for hold in world.pool.holds.values()} == {HoldState.EXPIRED}


async def test_a_version_that_waited_is_applied_when_the_outcome_is_known_and_the_backends_are_told(
    world: World,
) -> None:
    outbox = FakeOutbox(world.pool)
    await world.ledger.accept([make_incoming()], ["erp"], since_ms=0)
    await outbox.claim([REF], epoch=1, lease_ms=60_000)
    [later] = await world.ledger.accept([make_incoming(version=2, tee=5)], ["erp"], since_ms=0)
    assert later.code is AcceptCode.LATER
    await world.clock.advance(3)
    assert world.applied == 0
    await outbox.finish([Result(ref=REF, kind=ResultKind.LATER)], epoch=1)
    await world.clock.advance(SWEEP_S)
    assert world.applied == 1
    assert world.pool.records[REF].version == 2
    assert world.pool.records[REF].state is OrderState.QUEUED
    assert world.pool.levels["tee", "main"].sold == 5
    await world.clock.advance(3)
    assert world.applied == 1


async def test_a_store_that_is_away_ends_no_round(world: World) -> None:
    await world.ledger.hold([make_hold(ttl_ms=1000)])
    world.ledger.failing.update({"sweep", "apply_next"})
    world.trim_fails = True
    await world.clock.advance(TRIM_S + 1)
    assert world.alive()
    assert world.trims == 2
    world.ledger.failing.clear()
    await world.clock.advance(SWEEP_S)
    assert world.pool.levels["tee", "main"].held == 0
    world.trim_fails = False
    await world.clock.advance(TRIM_S)
    assert world.trims == 3


async def test_a_sweep_that_fails_in_its_midst_goes_on_in_the_next_round(world: World) -> None:
    await world.ledger.hold([make_hold(ttl_ms=1000)])
    world.ledger.lost_replies.append("sweep")
    await world.clock.advance(1 + 2 * SWEEP_S)
    assert world.alive()
    assert world.pool.levels["tee", "main"].held == 0
