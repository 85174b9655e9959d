"""A backend with nothing to send, or that a human paused, asks next to nothing and hears of work all the same."""

from __future__ import annotations

from collections import Counter

import pytest

from flashd.domain.order import OrderState
from tests.actors.test_backend import Make, World, make

__all__ = ["make"]

SECONDS = 20


def asked(world: World) -> Counter[str]:
    return Counter(world.outbox.calls) + Counter(world.gate.calls)


async def rest(world: World) -> Counter[str]:
    """Return what was asked while nothing happened."""
    world.outbox.calls.clear()
    world.gate.calls.clear()
    await world.clock.advance(SECONDS)
    return asked(world)


async def test_a_backend_without_work_is_looked_after_once_a_second_and_searched_for_work_every_five(
    make: Make,
) -> None:
    world = make(lease_s=6.0)
    await world.run(2)
    asks = await rest(world)
    assert asks["status"] == asks["depth"] == SECONDS
    assert asks["due"] <= SECONDS / 5 + 1
    assert asks["doubtful"] <= SECONDS / 5 + 1
    assert asks["drop"] == asks["claim"] == asks["recover"] == 0
    assert asks["lead"] <= SECONDS / 2 + 1


async def test_a_paused_backend_asks_for_nothing_but_the_end_of_the_pause_however_often_it_is_told_of_orders(
    make: Make,
) -> None:
    world = make(lease_s=6.0)
    await world.gate.pause(reason="stock-taking", by="ada")
    world.queue(*range(50))
    actor = await world.run(3)
    world.outbox.calls.clear()
    world.gate.calls.clear()
    for _ in range(SECONDS * 10):
        actor.wake()
        await world.clock.advance(0.1)
    asks = asked(world)
    assert set(asks) == {"status", "depth", "lead"}
    assert asks["status"] <= SECONDS + 1
    assert asks["depth"] <= SECONDS + 1
    await world.gate.resume(by="ada")  # another process' admin API: nobody tells this actor
    await world.clock.advance(1.4)  # a second, and the first drop of a bucket that nobody knew
    assert world.backend.sent


async def test_an_order_that_comes_after_a_pause_leaves_at_once(make: Make) -> None:
    world = make()
    await world.gate.pause(reason="stock-taking", by="ada")
    actor = await world.run(3)
    await world.gate.resume(by="ada")
    await world.clock.advance(1.1)
    world.queue(1)
    actor.wake()
    await world.clock.advance(0.4)
    assert world.states() == ["delivered"]


async def test_what_is_in_doubt_is_looked_up_at_the_end_of_a_pause_and_left_to_a_human_within_it(make: Make) -> None:
    world = make(settle_s=1.0)
    world.backend.traits = type(world.backend.traits)(idempotent=False, lookup=False)
    world.queue(0, state=OrderState.IN_DOUBT)
    await world.gate.pause(reason="stock-taking", by="ada")
    await world.run(3)
    assert world.states() == ["manual"]  # it takes no request to say so


async def test_an_order_that_nobody_told_of_leaves_within_a_second(make: Make) -> None:
    world = make()
    await world.run(10)
    world.queue(1)
    await world.clock.advance(1.4)
    assert world.states() == ["delivered"]


@pytest.mark.parametrize("seconds", [6.0])
async def test_work_is_found_though_the_store_does_not_say_how_much_there_is(make: Make, seconds: float) -> None:
    world = make()
    await world.run(10)
    world.outbox.failing.add("depth")
    world.queue(1)
    await world.clock.advance(seconds)
    assert world.states() == ["delivered"]


async def test_an_order_that_the_flow_is_told_of_while_it_looks_is_not_left_for_the_next_look(make: Make) -> None:
    world = make()
    actor = await world.run(10)
    due = world.outbox.due

    async def slow_due(limit: int) -> list[object]:
        found = await due(limit)
        world.outbox.due = due  # type: ignore[method-assign]
        world.queue(2)
        actor.wake()  # the look that is under way has not seen it
        return found  # type: ignore[return-value]

    world.outbox.due = slow_due  # type: ignore[assignment,method-assign]
    await world.clock.advance(0.3)  # at a time when nobody looks after it
    actor.wake()
    await world.clock.advance(0.4)
    assert world.states() == ["delivered"]
