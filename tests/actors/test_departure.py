"""What is late because it had to connect does not leave with those behind it: the rate is that of what is written."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest

from flashd.domain.delivery import Delivery, Finding, Later, Outcome, ResultKind
from flashd.domain.order import OrderState
from flashd.ports.departure import depart
from tests.actors.test_backend import World, most_in_any_second
from tests.fakes.backend import FakeBackend


@dataclass
class ConnectingFake(FakeBackend):
    """Opens a connection for a request where `connects_s` says how long that takes; then writes it."""

    asks: bool = True  # whether it asks before it writes
    connects_s: deque[float] = field(default_factory=deque)
    written_s: list[float] = field(default_factory=list)

    async def _connect(self) -> None:
        if self.connects_s:
            await self.clock.sleep(self.connects_s.popleft())
        if self.asks:
            await depart()
        self.written_s.append(self.clock.monotonic_s())

    async def deliver(self, delivery: Delivery) -> Outcome:
        await self._connect()
        return await super().deliver(delivery)

    async def find(self, delivery: Delivery) -> Finding:
        await self._connect()
        return await super().find(delivery)


def world_of(*, asks: bool = True, **rules: Any) -> World:
    world = World(**{"rate": "50/s", "max_in_flight": 32, **rules})
    world.backend = ConnectingFake(world.clock, asks=asks)
    return world


def backend_of(world: World) -> ConnectingFake:
    assert isinstance(world.backend, ConnectingFake)
    return world.backend


@pytest.mark.parametrize("asks", [True, False])
async def test_requests_that_had_to_connect_first_are_not_written_together_with_those_behind_them(
    asks: bool,  # noqa: FBT001  # without asking: the control
) -> None:
    world = world_of(asks=asks)
    world.queue(*range(200))
    backend_of(world).connects_s.extend([0.2] * 10)
    actor = await world.run(3)
    await world.stop(actor)
    assert len(backend_of(world).written_s) >= 120
    assert (most_in_any_second(backend_of(world).written_s) <= 50) is asks


async def test_no_window_holds_more_however_long_connecting_takes() -> None:
    dice = random.Random(417)
    world = world_of(rate="30/s", settle_s=1.0, timeout_s=30.0)
    world.queue(*range(500))
    world.queue(*range(500, 520), state=OrderState.IN_DOUBT, sends=1)
    backend_of(world).connects_s.extend(dice.choice([0.0, 0.0, 0.0, 0.02, 0.1, 0.5]) for _ in range(300))
    actor = await world.run(12)
    await world.stop(actor)
    written = backend_of(world).written_s
    assert most_in_any_second(written) <= 30
    assert len(written) >= 0.8 * 30 * 12
    assert backend_of(world).looked_up


async def test_connections_that_cost_each_request_the_same_cost_nothing_of_the_rate() -> None:
    world = world_of()
    world.queue(*range(600))
    backend_of(world).connects_s.extend([0.1] * 1000)
    actor = await world.run(2)
    before = len(backend_of(world).written_s)
    await world.clock.advance(6)
    assert len(backend_of(world).written_s) - before >= 0.95 * 300
    await world.stop(actor)


async def test_what_connects_while_the_backend_goes_away_is_not_written_and_goes_back() -> None:
    world = world_of(rate="10/s")
    world.queue(0, 1)
    backend_of(world).connects_s.extend([1.0, 0.0])
    backend_of(world).script.append(Later("refused"))
    actor = await world.run(1.25)
    assert len(backend_of(world).written_s) == 1  # the second, which told of the outage
    assert world.states() == ["queued", "queued"]
    assert world.record(0).reason == "its moment passed"
    await world.clock.advance(8)
    assert world.states() == ["delivered", "delivered"]
    assert sorted(backend_of(world).recorded) == sorted(set(backend_of(world).recorded))
    await world.stop(actor)


@pytest.mark.parametrize("ends", ["timeout", "stop"])
async def test_what_waited_to_be_written_and_never_was_is_in_no_doubt(ends: str) -> None:
    world = world_of(rate="1/30s")
    flight = await world.claimed_flight()
    actor = world.actor()
    actor.courier._door.pass_us(round(world.clock.monotonic_s() * 1e6), 30_000_000)  # the next may be written in 30 s
    carrying = asyncio.create_task(actor.courier.carry(flight))
    await world.clock.advance(11 if ends == "timeout" else 1)
    if ends == "stop":
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
        actor.courier.break_off(flight)
    else:
        await carrying
    [parcel] = flight.parcels
    assert parcel.result is not None
    assert parcel.result.kind is ResultKind.LATER
    assert backend_of(world).written_s == []


async def test_what_connects_until_its_term_is_over_is_not_written() -> None:
    world = world_of(lease_s=6.0)
    flight = await world.claimed_flight()
    flight.term = type(flight.term)(1, world.clock.monotonic_s(), 6.0)
    backend_of(world).connects_s.append(4.0)
    carrying = asyncio.create_task(world.actor().courier.carry(flight))
    await world.clock.advance(5)
    await carrying
    assert backend_of(world).written_s == []
    assert flight.parcels[0].result is not None
    assert flight.parcels[0].result.reason == "its moment passed"
