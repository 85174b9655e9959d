"""Telling one outbox what became of its items: results that wait together are told together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from flashd.domain.delivery import FinishCode, Result
from flashd.errors import StoreUnavailable
from flashd.ports import Clock, Outbox

_CALLS = 2  # under way at once; the second only where it is full: a call costs as much as what it says of some orders
_TOGETHER = 128  # results in one call; the store's one thread serves nobody else meanwhile
_RETRY_S = 0.5

log = structlog.get_logger()

Spawn = Callable[..., Any]  # runs a coroutine beside its caller, by the name that is given


class Settler:
    """
    Takes results and tells the outbox, again and again until it answers: a repeated result changes nothing.

    There is no timer: a call takes what waits when it begins. Nobody claims an item meanwhile, for the actor leaves
    out what is still in its hands.

    Args:
        told: Called with each result that the outbox knows now.
    """

    def __init__(self, outbox: Outbox, *, clock: Clock, spawn: Spawn, told: Callable[[Outbox, Result], None]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._spawn = spawn
        self._told = told
        self._waiting: deque[tuple[int, Result]] = deque()
        self._calls = 0

    def clear(self) -> None:
        """Forget what waits: a new life of its actor begins."""
        self._waiting.clear()
        self._calls = 0

    def hand(self, result: Result, epoch: int) -> None:
        """Leave a result to be told in the term *epoch*; returns at once."""
        self._waiting.append((epoch, result))
        if self._calls == 0 or (self._calls < _CALLS and len(self._waiting) >= _TOGETHER):
            self._calls += 1
            self._spawn(self._work(), name="settle")

    async def _work(self) -> None:
        while self._waiting:
            epoch = self._waiting[0][0]
            results: list[Result] = []
            while self._waiting and self._waiting[0][0] == epoch and len(results) < _TOGETHER:
                results.append(self._waiting.popleft()[1])
            await self._tell(results, epoch)
        self._calls -= 1

    async def _tell(self, results: list[Result], epoch: int) -> None:
        codes: list[FinishCode] | None = None
        while codes is None:
            try:
                codes = await self._outbox.finish(results, epoch=epoch)
            except StoreUnavailable as error:
                log.warning("results.not_settled", items=len(results), first=str(results[0].ref), reason=str(error))
                await self._clock.sleep(_RETRY_S)
        for result, code in zip(results, codes, strict=True):
            if code is not FinishCode.DONE:
                log.warning("result.refused", item=str(result.ref), result=str(result.kind), code=str(code))
            self._told(self._outbox, result)
