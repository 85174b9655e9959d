"""Looking at once after a pause, and in a rush not after every order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flashd.actors.stir import REST_S, Stir
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def looks(clock: FakeClock, stir: Stir, during_s: float, say: Callable[[], None], every_s: float) -> int:
    """Return how often somebody looks who polls once a second, while something is said every so often."""
    count = 0

    async def look() -> None:
        nonlocal count
        while True:
            stir.begin()
            count += 1
            await stir.wait(1.0)

    looking = asyncio.ensure_future(look())
    for _ in range(round(during_s / every_s)):
        await clock.advance(every_s)
        say()
    looking.cancel()
    return count


async def test_what_happens_after_a_pause_is_looked_at_at_once(clock: FakeClock) -> None:
    stir = Stir(clock)
    stir.begin()
    waiting = asyncio.ensure_future(stir.wait(10.0))
    await clock.advance(3.0)
    assert not waiting.done()
    stir.say()
    await clock.advance(0.001)
    assert waiting.done()


async def test_in_a_rush_it_is_looked_at_intervals(clock: FakeClock) -> None:
    stir = Stir(clock)
    count = await looks(clock, stir, 2.0, stir.say, 0.002)
    assert 2.0 / REST_S / 2 < count <= 2.0 / REST_S + 1


async def test_what_is_urgent_does_not_wait(clock: FakeClock) -> None:
    stir = Stir(clock)
    assert await looks(clock, stir, 0.2, lambda: stir.say(urgent=True), 0.002) > 50


async def test_without_news_it_is_looked_at_as_often_as_it_polls(clock: FakeClock) -> None:
    stir = Stir(clock)
    assert await looks(clock, stir, 10.0, lambda: None, 0.1) == pytest.approx(10, abs=1)


async def test_a_look_knows_how_long_ago_something_happened(clock: FakeClock) -> None:
    stir = Stir(clock)
    assert stir.begin() == float("inf")
    await clock.advance(1.0)
    stir.say()
    await clock.advance(0.25)
    assert stir.begin() == pytest.approx(0.25)
