from __future__ import annotations

import asyncio

import pytest

from flashd.runtime.clock import SystemClock
from flashd.runtime.lag import LoopLag
from flashd.runtime.ticker import tick
from tests.fakes.clock import FakeClock


async def test_work_starts_at_once_and_keeps_its_deadlines_however_long_it_takes() -> None:
    clock, began = FakeClock(), []

    async def work() -> None:
        began.append(clock.monotonic_s() - 1000)
        await clock.sleep(0.3)

    ticking = asyncio.create_task(tick(work, 1.0, clock=clock))
    await clock.advance(3.5)
    ticking.cancel()
    assert began == pytest.approx([0, 1, 2, 3])


async def test_missed_deadlines_are_skipped_and_not_made_up_for() -> None:
    clock, began = FakeClock(), []

    async def work() -> None:
        began.append(clock.monotonic_s() - 1000)
        await clock.sleep(2.5 if len(began) == 1 else 0)

    ticking = asyncio.create_task(tick(work, 1.0, clock=clock))
    await clock.advance(5.5)
    ticking.cancel()
    assert began == pytest.approx([0, 3, 4, 5])


async def test_an_error_of_the_work_ends_the_ticking() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await tick(work, 1.0, clock=FakeClock())


async def test_an_interval_of_nothing_is_refused() -> None:
    async def work() -> None: ...

    with pytest.raises(ValueError, match="must be positive, not 0"):
        await tick(work, 0, clock=FakeClock())


class LateClock(FakeClock):
    """Wakes sleepers late by what it is told."""

    late_s = 0.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + self.late_s)


async def test_the_lag_of_the_loop_is_its_worst_and_its_99th_of_100() -> None:
    clock = LateClock()
    lag = LoopLag(clock=clock, interval_s=0.1, window_s=20)
    assert (lag.max_s, lag.p99_s) == (0, 0)
    clock.late_s = 0.25
    measuring = asyncio.create_task(lag.measure())
    await clock.advance(0.3)
    clock.late_s = 0.01
    await clock.advance(0.05 + 199 * 0.11)
    measuring.cancel()
    assert lag.max_s == pytest.approx(0.25)
    assert lag.p99_s == pytest.approx(0.01)


async def test_what_left_the_window_is_forgotten() -> None:
    clock = LateClock()
    lag = LoopLag(clock=clock, interval_s=0.1, window_s=1)
    clock.late_s = 0.5
    measuring = asyncio.create_task(lag.measure())
    await clock.advance(0.6)
    assert lag.max_s == pytest.approx(0.5)
    clock.late_s = 0.0
    await clock.advance(2)
    measuring.cancel()
    assert lag.max_s == pytest.approx(0)


async def test_the_real_clock_sleeps_and_goes_forward() -> None:
    clock = SystemClock()
    before_ms, before_s = clock.now_ms(), clock.monotonic_s()
    await clock.sleep(0.01)
    assert clock.monotonic_s() - before_s >= 0.01
    assert 1_700_000_000_000 < before_ms <= clock.now_ms()
