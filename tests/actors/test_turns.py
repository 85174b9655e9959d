"""A turn that waits for the store gives up before the watchdog takes the actor for dead, and the daemon with it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flashd.actors.clerk import Clerk
from flashd.actors.convoy import Convoy
from flashd.actors.intake import ChannelIntake, IntakeRules
from flashd.config import StoreConfig
from flashd.daemon.life import STALLED_S
from flashd.domain.listing import Listing
from flashd.domain.privacy import Demand, DemandKind, Person
from flashd.errors import Transient
from flashd.runtime.actor import Actor
from flashd.runtime.supervisor import Supervisor
from tests import intakes
from tests.actors.shops import World
from tests.fakes.clock import FakeClock
from tests.fakes.doors import DoorChannel, sign
from tests.fakes.eraser import FakeEraser
from tests.fakes.ledger import FakeLedger
from tests.fakes.pool import FakePool

TIMEOUT_S = 60.0  # of a call: the most that the configuration takes


class _Demanding(DoorChannel):
    def decode(self, headers: Mapping[str, str], body: bytes) -> Any:  # the shape of the port
        return Demand(kind=DemandKind.ERASE, channel=self.name, person=Person(channel=self.name))


async def _stalled(supervisor: Supervisor, clock: FakeClock, actor: Actor[Any]) -> list[str]:
    """Return who the watchdog found at work for too long, in one call's time and a little more."""
    found: list[str] = []
    for _ in range(round(TIMEOUT_S) + 10):
        await clock.advance(1.0)
        found += supervisor.stalled(STALLED_S)
    assert actor.ready.is_set(), "it lives no more"
    return found


def test_a_call_may_take_as_long_as_these_tests_say() -> None:
    assert "le=60" in str(StoreConfig.__annotations__["timeout_s"])


@pytest.mark.parametrize("channel", [DoorChannel("shop"), _Demanding("shop")], ids=["unreadable", "demand"])
async def test_an_intake_s_turn_is_over_before_the_watchdog_bites_and_the_shop_is_told(channel: DoorChannel) -> None:
    clock = FakeClock()

    async def hang(*_: object) -> Any:
        await clock.sleep(TIMEOUT_S)
        return ""

    ledger = FakeLedger(FakePool(clock=clock))
    ledger.quarantine = hang  # type: ignore[method-assign, assignment]
    intake = ChannelIntake(channel, Convoy(ledger), IntakeRules(demanded=hang), clock=clock)
    supervisor = Supervisor(clock=clock)
    await supervisor.start([intake])
    body = b"unreadable"
    # More than a turn takes.
    told = [intakes.webhook(intake, {"x-signature": sign(body)["X-Signature"]}, body) for _ in range(20)]
    answers = [asyncio.ensure_future(_answer(one)) for one in told]
    assert await _stalled(supervisor, clock, intake) == []
    assert {type(answer) for answer in await asyncio.gather(*answers, return_exceptions=True)} == {Transient}
    assert intake.counts == {}
    await supervisor.stop(0.5)


async def _answer(soon: Any) -> Any:
    return await soon


async def test_a_clerk_is_not_taken_for_dead_while_it_reads_all_orders() -> None:
    clock = FakeClock()

    class _Long(FakeEraser):
        async def forget(self, *args: Any, **options: Any) -> Any:
            await clock.sleep(TIMEOUT_S)
            return await super().forget(*args, **options)

    eraser = _Long(clock=clock)
    clerk = Clerk(eraser, clock=clock, after_ms=lambda: 86_400_000)
    supervisor = Supervisor(clock=clock)
    await supervisor.start([clerk])
    await clock.advance(1)  # the first round found nothing
    person = Person(channel="shop", email="ada@example.com")
    await eraser.demand(Demand(kind=DemandKind.ERASE, channel="shop", person=person), b"erase")
    await clerk.tell(None)
    assert await _stalled(supervisor, clock, clerk) == []
    assert len(eraser.forgotten) == 1, "at once, and by one round alone"
    await supervisor.stop(0.5)


async def test_a_publisher_that_waits_for_figures_to_settle_is_not_taken_for_dead() -> None:
    world = World(tee=10)
    shop = world.shop()
    await world.run(10)

    async def hang(_channel: str, *, seen_ms: int) -> Sequence[Listing]:  # the shape of the port
        await world.clock.sleep(TIMEOUT_S)
        return []

    world.listings.settle = hang  # type: ignore[method-assign, assignment]
    supervisor = Supervisor(clock=world.clock)
    supervisor._kept.append((shop.publisher, shop.publisher.start()))  # the world keeps its actors by itself
    shop.publisher.seen(world.clock.now_ms())
    assert await _stalled(supervisor, world.clock, shop.publisher) == []
    await world.stop()
