from __future__ import annotations

import asyncio

import pytest

from flashd.runtime.deadline import Deadlines, any_of, bounded
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


async def test_of_many_that_run_beside_each_other_each_has_its_own_time() -> None:
    clock = FakeClock()
    deadlines = Deadlines(clock=clock)
    ended: list[str] = []

    async def work(name: str, takes_s: float, within_s: float) -> None:
        try:
            await deadlines.bounded(clock.sleep(takes_s), within_s)
            ended.append(f"{name} done")
        except TimeoutError:
            ended.append(f"{name} late")

    tasks = [asyncio.create_task(work("slow", 60, 5)), asyncio.create_task(work("quick", 1, 5))]
    await clock.advance(2)
    tasks += [asyncio.create_task(work("hasty", 60, 1)), asyncio.create_task(work("later", 60, 5))]
    await clock.advance(1.5)
    assert ended == ["quick done", "hasty late"]
    await clock.advance(2)
    assert ended == ["quick done", "hasty late", "slow late"]
    await clock.advance(2)
    assert ended[-1] == "later late"
    await asyncio.gather(*tasks)
    assert not deadlines._running


async def test_one_timer_serves_them_all_and_is_gone_when_nothing_runs() -> None:
    clock = FakeClock()
    deadlines = Deadlines(clock=clock)
    before = len(asyncio.all_tasks())
    for _ in range(50):
        await deadlines.bounded(asyncio.sleep(0), 5)
    assert len(asyncio.all_tasks()) == before + 1
    await clock.advance(6)
    assert len(asyncio.all_tasks()) == before


async def test_a_cancellation_from_outside_is_none_of_the_deadlines() -> None:
    clock = FakeClock()
    deadlines = Deadlines(clock=clock)
    task = asyncio.create_task(deadlines.bounded(clock.sleep(60), 5))
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(10)


async def test_an_error_of_the_work_itself_goes_to_the_caller() -> None:
    async def work() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await Deadlines(clock=FakeClock()).bounded(work(), 5)
