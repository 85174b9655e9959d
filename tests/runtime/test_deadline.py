from __future__ import annotations

import asyncio

import pytest

from flashd.runtime.deadline import any_of, bounded
from tests.fakes.clock import FakeClock


async def test_what_is_done_in_time_is_returned() -> None:
    clock = FakeClock()

    async def work() -> str:
        await clock.sleep(1)
        return "done"

    task = asyncio.create_task(bounded(work(), 2, clock=clock))
    await clock.advance(1)
    assert await task == "done"
    await clock.advance(5)  # the timer is gone: nobody is cancelled


async def test_what_takes_too_long_is_cancelled_and_says_so() -> None:
    clock = FakeClock()
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await clock.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(bounded(work(), 2, clock=clock))
    await clock.advance(3)
    with pytest.raises(TimeoutError):
        await task
    assert ended.is_set()


async def test_a_cancellation_from_outside_stays_one() -> None:
    clock = FakeClock()
    task = asyncio.create_task(bounded(clock.sleep(60), 70, clock=clock))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_work_begins_before_anything_else_may_run() -> None:
    clock = FakeClock()
    seen: list[str] = []

    async def work() -> None:
        seen.append("work")

    asyncio.get_running_loop().call_soon(seen.append, "other")
    await bounded(work(), 1, clock=clock)
    assert seen[0] == "work"


async def test_any_of_returns_with_the_first_and_cancels_nobody() -> None:
    clock = FakeClock()
    quick = asyncio.create_task(clock.sleep(1))
    slow = asyncio.create_task(clock.sleep(60))
    waiting = asyncio.create_task(any_of([quick, slow], 5, clock=clock))
    await clock.advance(1.5)
    assert waiting.done()
    late = asyncio.create_task(any_of([slow], 5, clock=clock))
    await clock.advance(6)
    assert late.done()
    assert not slow.done()
    slow.cancel()
