"""Waiting for something or for the clock, whichever comes first, by a clock that tests can turn."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from flashd.ports import Clock

T = TypeVar("T")


async def any_of(tasks: Collection[asyncio.Task[Any]], within_s: float, *, clock: Clock) -> None:
    """Return when one of *tasks* is done or the time is over; none is cancelled."""
    sleeper = asyncio.ensure_future(clock.sleep(within_s))
    try:
        await asyncio.wait([*tasks, sleeper], return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()


async def bounded(work: Coroutine[Any, Any, T], within_s: float, *, clock: Clock) -> T:
    """
    Run *work* in the caller's own task (it begins at once), cancelled when the time is over.

    Raises:
        TimeoutError: It was not done in time.
    """
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine runs in a task
    expired = False

    async def expire() -> None:
        nonlocal expired
        await clock.sleep(within_s)
        expired = True
        task.cancel()

    timer = asyncio.ensure_future(expire())
    try:
        return await work
    except asyncio.CancelledError:
        if expired and task.uncancel() == 0:
            raise TimeoutError(f"not done within {within_s} s") from None
        raise
    finally:
        timer.cancel()
