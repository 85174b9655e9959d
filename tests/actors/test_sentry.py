"""Watching the store: closed at once when it goes away, open again when it is back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flashd.actors.sentry import PATIENCE_S, StoreSentry
from flashd.errors import ConfigError, StoreUnavailable
from flashd.ports import StoreHealth
from tests.fakes.clock import FakeClock

FINE = StoreHealth(ok=True)
AWAY = StoreHealth(ok=False, reason="it does not answer")


class World:
    """A store that answers as it is told, and an embedded server that takes its time to come back."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.health = FINE
        self.probes = 0
        self.answers_after_s = 0.0
        self.revivals = 0
        self.error: Exception | None = None
        self.back = asyncio.Event()
        self.died = False
        self.recollections = 0
        self.sentry = StoreSentry(self, clock=self.clock, revive=self.revive, recollect=self.recollect)

    async def probe(self) -> StoreHealth:
        self.probes += 1
        await self.clock.sleep(self.answers_after_s)
        return self.health

    async def revive(self) -> bool:
        if not self.died:
            return False
        self.revivals += 1
        if self.error is not None:
            raise self.error
        await self.back.wait()
        self.died, self.health = False, FINE
        return True

    async def recollect(self, *, again: bool) -> None:
        assert again == (self.recollections > 0)
        self.recollections += 1
        if self.error is not None:
            raise self.error

    def die(self) -> None:
        self.died, self.health = True, AWAY


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.sentry.start()
    yield world
    await world.sentry.stop(0.5)


async def test_before_the_first_probe_nothing_comes_in() -> None:
    assert World().sentry.closed(False) == "nothing can be made durable now: not probed yet"


async def test_it_is_ready_when_the_first_probe_is_done_and_probes_every_second(world: World) -> None:
    await asyncio.wait_for(world.sentry.ready.wait(), 30)
    assert world.sentry.closed(False) == ""
    await world.clock.advance(5)
    assert 5 <= world.probes <= 7


async def test_a_store_that_is_away_closes_within_a_second_and_opens_within_a_second(world: World) -> None:
    await world.clock.advance(1)
    world.health = AWAY
    await world.clock.advance(1)
    assert "it does not answer" in world.sentry.closed(False)
    assert not world.sentry.health.ok
    world.health = FINE
    await world.clock.advance(1)
    assert world.sentry.closed(False) == ""


async def test_a_store_that_does_not_answer_closes_before_its_probe_is_given_up(world: World) -> None:
    await world.clock.advance(0.5)
    world.answers_after_s = 4.0
    await world.clock.advance(1)
    assert world.sentry.closed(False) == ""
    await world.clock.advance(PATIENCE_S)
    assert "has not answered" in world.sentry.closed(False)
    world.answers_after_s = 0.0
    await world.clock.advance(4)
    assert world.sentry.closed(False) == ""


async def test_while_a_dead_server_is_started_again_nothing_comes_in(world: World) -> None:
    await world.clock.advance(1)
    world.die()
    await world.clock.advance(1)
    assert world.revivals == 1
    assert not world.sentry.health.ok
    assert world.sentry.closed(False)
    world.back.set()
    await world.clock.advance(0)
    assert world.sentry.health.ok


@pytest.mark.parametrize("error", [ConfigError("it does not start"), FileNotFoundError("valkey-server")])
async def test_a_server_that_does_not_start_is_tried_again_and_is_no_crash(world: World, error: Exception) -> None:
    await world.clock.advance(1)
    world.die()
    world.error = error
    await world.clock.advance(3)
    assert world.revivals >= 3
    assert world.sentry.closed(False)
    world.error = None
    world.back.set()
    await world.clock.advance(1)
    assert world.sentry.closed(False) == ""


@pytest.mark.parametrize(
    ("used", "refused"), [(0, set()), (79, set()), (80, {"hold"}), (89, {"hold"}), (90, {"hold", "order"})]
)
async def test_a_full_store_refuses_holds_first_and_orders_later(world: World, used: int, refused: set[str]) -> None:
    world.health = StoreHealth(ok=True, used_bytes=used, max_bytes=100)
    await world.clock.advance(1)
    assert {what for what in ("hold", "order") if world.sentry.closed(what == "hold")} == refused


async def test_a_store_without_a_limit_is_never_full(world: World) -> None:
    world.health = StoreHealth(ok=True, used_bytes=10**12)
    await world.clock.advance(1)
    assert world.sentry.closed(True) == ""


async def test_another_server_is_asked_what_it_forgot_until_it_could_be_asked(world: World) -> None:
    await asyncio.wait_for(world.sentry.ready.wait(), 30)
    world.health = StoreHealth(ok=True, run="one")
    await world.clock.advance(5)
    assert world.recollections == 0  # the first there is has nothing to forget
    world.health = StoreHealth(ok=False, run="two")
    await world.clock.advance(5)
    assert world.recollections == 0
    world.error = StoreUnavailable("it went again")
    world.health = StoreHealth(ok=True, run="two")
    await world.clock.advance(2)
    assert world.recollections >= 2
    world.error, asked = None, world.recollections
    await world.clock.advance(5)
    assert world.recollections == asked + 1


async def test_a_primary_that_is_away_closes_its_own_pools_alone(world: World) -> None:
    world.health = StoreHealth(ok=True, closed={"vip": "it does not answer"})
    await world.clock.advance(1)
    assert world.sentry.closed(False, "main") == ""
    assert world.sentry.closed(False, "vip") == "nothing of pool vip can be made durable now: it does not answer"
