"""What every Clock keeps to; the actors' timing rests on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from flashd.ports import Clock
from flashd.runtime.clock import SystemClock
from tests.fakes.clock import FakeClock

Bench = tuple[Clock, Callable[[float], Awaitable[None]]]


@pytest.fixture(params=["fake", "system"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A clock, and how to let time go by."""
    if request.param == "system":
        return SystemClock(), asyncio.sleep
    turned = FakeClock()
    return turned, turned.advance


async def test_both_hands_go_on_together(bench: Bench) -> None:
    clock, wait = bench
    began = clock.monotonic_s(), clock.now_ms(), clock.monotonic_s()
    await wait(0.05)
    ended = clock.monotonic_s(), clock.now_ms(), clock.monotonic_s()
    assert ended[0] - began[0] > 0.049
    passed_s = (ended[1] - began[1]) / 1000  # read between two looks at the other hand, however far apart those are
    assert ended[0] - began[2] - 0.02 < passed_s < ended[2] - began[0] + 0.02


async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before(bench: Bench) -> None:
    clock, wait = bench
    began_s = clock.monotonic_s()
    long, short = (asyncio.create_task(clock.sleep(seconds)) for seconds in (60.0, 0.02))
    await wait(0.01)
    assert not short.done() or clock.monotonic_s() - began_s > 0.019  # we may have been asleep for longer ourselves
    await wait(0.05)
    await asyncio.wait_for(short, 30)
    assert clock.monotonic_s() - began_s > 0.019
    assert not long.done()
    long.cancel()


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_sleeping_for_no_time_lets_the_others_run_and_returns(bench: Bench, seconds: float) -> None:
    clock, _ = bench
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await asyncio.wait_for(clock.sleep(seconds), 30)
    assert ran.is_set()


async def test_a_cancelled_sleeper_harms_nobody(bench: Bench) -> None:
    clock, wait = bench
    given_up, other = (asyncio.create_task(clock.sleep(0.02)) for _ in range(2))
    await asyncio.sleep(0)
    given_up.cancel()
    await wait(0.05)
    await asyncio.wait_for(other, 30)
    assert given_up.cancelled()
