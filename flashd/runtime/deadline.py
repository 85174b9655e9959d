"""Waiting for something or for the clock, whichever comes first, by a clock that tests can turn."""

from __future__ import annotations

import asyncio
import math
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


class Deadlines:
    """
    The same for many that run beside each other, with one timer for all of them.

    A task and a timer for each would cost as much as all else that is done for a short request.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[asyncio.Task[Any], float] = {}  # until when each may run
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._next_s = math.inf

    async def bounded(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """
        Run *work* in the caller's own task (it begins at once), cancelled when the time is over.

        Raises:
            TimeoutError: It was not done in time.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        until_s = self._clock.monotonic_s() + within_s
        self._running[task] = until_s
        if until_s < self._next_s or self._timer is None or self._timer.done():
            self._set_timer(until_s)
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError(f"not done within {within_s} s") from None
            raise
        finally:
            del self._running[task]
            self._late.discard(task)

    def _set_timer(self, until_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next_s = until_s
        self._timer = asyncio.ensure_future(self._expire())

    async def _expire(self) -> None:
        while self._running:
            now = self._clock.monotonic_s()
            if now < self._next_s:
                await self._clock.sleep(self._next_s - now)
                continue
            for task, until_s in self._running.items():
                if until_s <= now and task not in self._late:
                    self._late.add(task)
                    task.cancel()
            ahead = [until_s for task, until_s in self._running.items() if task not in self._late]
            if not ahead:
                break
            self._next_s = min(ahead)
        self._next_s = math.inf
