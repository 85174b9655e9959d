"""Triage of a pool: rules decide, who waits is served, rests follow their orders; an absent store is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from flashd.actors.triage import ROUND_S, Triage
from flashd.domain.delivery import Result, ResultKind
from flashd.domain.order import Effect, Kind, Line, OrderRef, OrderState
from flashd.domain.stock import Move, StockLevel
from flashd.domain.triage import TriageRule
from tests.conformance.ledgers import make_incoming
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.orderbook import FakeOrderBook
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool
from tests.fakes.stockroom import FakeStockroom

REF, REST = OrderRef("shop", "1001"), OrderRef("shop", "1001+rest")


class World:
    def __init__(self, rules: Sequence[TriageRule]) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        for sku, units in (("tee", 3), ("mug", 10)):
            self.pool.levels[sku, "main"] = StockLevel(sku=sku, on_hand=units)
        self.ledger = FakeLedger(self.pool, kinds={"erp": {Kind.CREATE, Kind.CANCEL}})
        self.stockroom = FakeStockroom(self.pool)
        self.moved = 0
        self.triage = Triage(
            self.ledger,
            FakeOrderBook(self.pool),
            self.stockroom,
            clock=self.clock,
            rules=rules,
            substitutes={"tee": ["mug"]},
            moved=self.tell,
        )

    def tell(self) -> None:
        self.moved += 1

    async def sell(self, order_id: str = "1001", tee: int = 5, **more: Any) -> None:
        await self.ledger.accept([make_incoming(order_id, tee=tee, **more)], ["erp"], since_ms=0)

    async def turn(self) -> None:
        await self.clock.advance(ROUND_S)

    def states(self) -> dict[str, OrderState]:
        return {str(ref): record.state for ref, record in self.pool.records.items()}


@pytest.fixture
async def rules(request: pytest.FixtureRequest) -> Sequence[TriageRule]:
    return getattr(request, "param", ())


@pytest.fixture
async def world(rules: Sequence[TriageRule]) -> AsyncIterator[World]:
    world = World(rules)
    world.triage.start()
    yield world
    await world.triage.stop(0.5)


def when(*rules: TriageRule) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rules", [rules], indirect=True)


async def test_without_a_rule_a_shortfall_is_a_human_s(world: World) -> None:
    await world.sell()
    await world.turn()
    assert world.states() == {"shop:1001": OrderState.SHORTFALL}


@when(TriageRule(do="split", max_units=2), TriageRule(do="backorder"))
async def test_the_first_rule_that_matches_decides(world: World) -> None:
    await world.sell("a", tee=5)
    await world.sell("b", tee=5)
    await world.turn()
    assert world.states() == {
        "shop:a": OrderState.QUEUED,
        "shop:a+rest": OrderState.BACKORDER,
        "shop:b": OrderState.BACKORDER,
    }
    assert world.moved == 1


@when(TriageRule(do="backorder"))
async def test_a_doubtful_order_is_a_human_s_whatever_the_rules_say(world: World) -> None:
    await world.sell(reason="the total does not add up")
    await world.turn()
    assert world.states() == {"shop:1001": OrderState.SHORTFALL}


@when(TriageRule(do="substitute", sku="t*"))
async def test_a_substitute_that_is_free_is_sent_instead(world: World) -> None:
    await world.sell()
    await world.turn()
    record = world.pool.records[REF]
    assert (record.state, [item.sku for item in record.items]) == (OrderState.QUEUED, ["mug"])
    assert record.order is not None
    assert record.order.total == 5000


@when(TriageRule(do="backorder"))
async def test_units_that_come_back_go_to_who_waits(world: World) -> None:
    await world.sell("first", tee=3)
    await world.sell("waits", tee=2)
    await world.turn()
    await world.ledger.cancel(OrderRef("shop", "first"), by="ann", reason="asked")
    await world.sell("late", tee=2)
    await world.turn()
    assert world.states()["shop:waits"] is OrderState.QUEUED
    assert world.states()["shop:late"] is OrderState.BACKORDER


@when(TriageRule(do="split"))
async def test_a_cancelled_order_takes_its_rest_with_it(world: World) -> None:
    await world.sell()
    await world.turn()
    await world.sell(version=2, effect=Effect.CANCEL)
    await world.turn()
    assert world.states() == {"shop:1001": OrderState.CANCELLED, "shop:1001+rest": OrderState.CANCELLED}
    assert world.pool.levels["tee", "main"].owed == 0


@when(TriageRule(do="split"))
async def test_a_rest_that_the_backend_has_is_cancelled_there(world: World) -> None:
    outbox = FakeOutbox(world.pool)
    await world.sell()
    await world.turn()
    world.pool.levels["tee", "main"] = world.pool.levels["tee", "main"].moved(_two_more())
    await world.turn()
    for ref in (REF, REST):
        await outbox.claim([ref], epoch=1, lease_ms=60_000)
        await outbox.finish([Result(ref=ref, kind=ResultKind.DELIVERED, backend_ref="SO1")], epoch=1)
    await world.sell(version=2, effect=Effect.CANCEL)
    for _ in range(3):
        await world.turn()
    assert world.states()["shop:1001+rest\x1fcancel"] is OrderState.QUEUED
    assert len(world.pool.records) == 4


def _two_more() -> Move:
    return Move("tee", "main", on_hand=2)


@when(TriageRule(do="split"))
async def test_an_order_that_is_edited_stands_for_all_of_it_again(world: World) -> None:
    await world.sell()
    await world.turn()
    await world.sell(version=2, lines=(Line("tee", 4, 1000),))
    await world.turn()
    assert world.states()["shop:1001+rest"] is OrderState.CANCELLED
    assert world.states()["shop:1001"] is not OrderState.QUEUED


@when(TriageRule(do="backorder"))
async def test_a_store_that_is_away_ends_no_round(world: World) -> None:
    await world.sell()
    world.stockroom.failing.add("serve")
    await world.turn()
    assert world.states() == {"shop:1001": OrderState.SHORTFALL}
    world.stockroom.failing.clear()
    await world.turn()
    assert world.states() == {"shop:1001": OrderState.BACKORDER}


@when(TriageRule(do="backorder"))
async def test_a_decision_whose_reply_is_lost_is_made_once(world: World) -> None:
    await world.sell()
    world.stockroom.lost_replies.append("backorder")
    await world.turn()
    await world.turn()
    assert world.pool.levels["tee", "main"].owed == 2
