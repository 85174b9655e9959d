"""The clerk meets what platforms demand, erases what is due, and lets the store's files follow."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.actors.clerk import AT_ONCE, BODIES_AGAIN_S, LOOK_AGAIN_S, ROUND_S, SCRUB_EVERY_MS, Clerk
from flashd.actors.convoy import Convoy
from flashd.actors.intake import ChannelIntake, IntakeRules
from flashd.channels import shopify
from flashd.config import Secret, SecretText
from flashd.domain.privacy import Demand, DemandKind, Person
from flashd.errors import Busy
from flashd.ports import Receipt
from tests import intakes
from tests.fakes.clock import FakeClock
from tests.fakes.eraser import FakeEraser
from tests.fakes.ledger import FakeLedger
from tests.fakes.pool import FakePool

REDACT = (
    b'{"shop_id":1,"shop_domain":"s.myshopify.com",'
    b'"customer":{"id":7,"email":"ada@example.com"},"orders_to_redact":[1]}'
)


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.eraser = FakeEraser(clock=self.clock)
        self.days = 30
        self.there = False
        self.cut: list[str] = []
        self.clerk = Clerk(self.eraser, clock=self.clock, after_ms=lambda: self.days * 86_400_000, cut_off=self.cut_off)

    async def cut_off(self, channel: str) -> bool:
        self.cut.append(channel)
        return self.there

    async def demand(self, kind: DemandKind, **person: object) -> str:
        told = Demand(kind=kind, channel="shop", person=Person(channel="shop", **person))  # type: ignore[arg-type]
        return await self.eraser.demand(told, kind.encode())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    made.clerk.start()
    yield made
    await made.clerk.stop(0.5)


async def test_whoever_is_to_be_forgotten_is_forgotten_without_a_human(world: World) -> None:
    world.eraser.kept["ada@example.com"] = ("shop:1", "shop:2")
    demand_id = await world.demand(DemandKind.ERASE, email="ada@example.com")
    await world.clock.advance(ROUND_S + 1)
    [(person, by)] = world.eraser.forgotten
    assert (person.email, by) == ("ada@example.com", "the platform of shop")
    met = world.eraser.book[demand_id]
    assert met.met_ms
    assert met.person == Person(channel="shop")
    assert met.outcome.startswith("2 orders erased")
    await world.clock.advance(10 * ROUND_S)
    assert len(world.eraser.forgotten) == 1


async def test_a_platform_s_demand_waits_for_bodies_that_no_human_has_looked_at(world: World) -> None:
    world.eraser.kept["ada@example.com"] = ("shop:1",)
    world.eraser.quarantined["ada@example.com"] = ("a body",)
    demand_id = await world.demand(DemandKind.ERASE, email="ada@example.com")
    await world.clock.advance(10 * ROUND_S)
    assert len(world.eraser.forgotten) == 1  # what can be erased is, and once
    assert world.eraser.quarantined
    assert not world.eraser.book[demand_id].met_ms
    world.eraser.quarantined.clear()  # mended, or discarded
    await world.clock.advance(BODIES_AGAIN_S)
    assert world.eraser.book[demand_id].met_ms


async def test_many_demands_are_met_a_few_at_a_time(world: World) -> None:
    for number in range(10):
        told = Demand(kind=DemandKind.ERASE, channel="shop", person=Person(channel="shop", orders=(str(number),)))
        await world.eraser.demand(told, str(number).encode())
    await world.clock.advance(ROUND_S + 1)
    first = len(world.eraser.forgotten)
    assert AT_ONCE <= first <= 2 * AT_ONCE
    await world.clock.advance(4 * ROUND_S)
    assert len(world.eraser.forgotten) == 10


async def test_a_merchant_who_left_takes_all_customers_along(world: World) -> None:
    await world.demand(DemandKind.ERASE_SHOP, everything=True)
    await world.clerk.tell(None)
    await world.clock.advance(0.1)
    assert [person.everything for person, _ in world.eraser.forgotten] == [True]


async def test_a_customer_who_wants_to_know_waits_for_a_human(world: World) -> None:
    demand_id = await world.demand(DemandKind.DISCLOSE, email="ada@example.com")
    await world.clock.advance(10 * ROUND_S)
    assert world.eraser.book[demand_id].met_ms == 0
    assert world.eraser.forgotten == []


async def test_an_app_that_was_taken_away_is_looked_for_until_it_is_there_again(world: World) -> None:
    demand_id = await world.demand(DemandKind.UNINSTALL)
    await world.clock.advance(5 * ROUND_S)
    assert world.cut == ["shop"]
    await world.clock.advance(LOOK_AGAIN_S)
    assert world.cut == ["shop", "shop"]
    assert world.eraser.book[demand_id].met_ms == 0
    world.there = True
    await world.clock.advance(LOOK_AGAIN_S + ROUND_S)
    assert world.eraser.book[demand_id].outcome == "the shop's API answers our login"


async def test_what_is_due_is_erased_by_the_configured_days_and_a_reload_may_change_them(world: World) -> None:
    await world.clock.advance(1)
    world.days = 0
    await world.clock.advance(ROUND_S)
    assert world.eraser.swept == [30 * 86_400_000, 0]


async def test_the_log_follows_at_most_once_an_hour(world: World) -> None:
    await world.clock.advance(1)
    assert world.eraser.scrubs[0][1] == SCRUB_EVERY_MS


async def test_a_store_that_is_away_is_asked_again(world: World) -> None:
    world.eraser.down = True
    await world.clock.advance(3 * ROUND_S)
    world.eraser.down = False
    await world.demand(DemandKind.ERASE, email="ada@example.com")
    await world.clock.advance(ROUND_S)
    assert len(world.eraser.forgotten) == 1


@pytest.mark.parametrize("closed", ["", "the store is away"])
async def test_a_demand_is_answered_after_it_is_durable_and_not_while_nothing_can_be(closed: str) -> None:
    clock = FakeClock()
    eraser = FakeEraser(clock=clock)

    async def demanded(demand: Demand, body: bytes) -> None:
        await eraser.demand(demand, body)

    config = shopify.Config(kind="shopify", secrets=(Secret(env="S"),))
    channel = shopify.connect("shop", config, lambda _: SecretText("a secret of the test"))
    rules = IntakeRules(demanded=demanded, closed=lambda _: closed)
    intake = ChannelIntake(channel, Convoy(FakeLedger(FakePool(clock=clock))), rules, clock=clock)
    headers = {name.lower(): value for name, value in channel.sign(REDACT, now_s=0, delivery_id="d").items()}
    if closed:
        with pytest.raises(Busy, match=closed):
            await intakes.webhook(intake, headers, REDACT)
        assert eraser.book == {}
        return
    intake.start()
    assert await intakes.webhook(intake, headers, REDACT) == Receipt(state="demanded", reason="erase")
    await intake.stop()
    [kept] = eraser.book.values()
    assert kept.person == Person(channel="shop", orders=("1",), email="ada@example.com", customer_id="7")
