"""Asking the outboxes of all pools: one whose server is away must not keep those of the others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from flashd.errors import StoreUnavailable
from flashd.ports import Outbox

ABSENT_S = 5.0  # until a pool that did not answer is asked again, while others do: it may cost a time-out each time
T = TypeVar("T")


class RollCall:
    """In a Cluster each pool may have a server of its own; elsewhere all answer, or none does."""

    def __init__(self, outboxes: Sequence[Outbox]) -> None:
        self._outboxes = outboxes
        self._absent: dict[str, float] = {}  # by pool: until when it is left out

    def leave_out(self, pool: str, now_s: float) -> None:
        """Do not ask that pool for a while, as long as others answer."""
        self._absent[pool] = now_s + ABSENT_S

    async def ask(self, question: Callable[[Outbox], Awaitable[T]], now_s: float) -> list[tuple[Outbox, T]]:
        """
        Put a question to every outbox; return the answers of those that gave one.

        Raises:
            StoreUnavailable: None did.
        """
        asked = [one for one in self._outboxes if self._absent.get(one.pool, now_s) <= now_s] or self._outboxes
        if len(asked) == 1:  # most have one pool: no task is made for its answer
            answers = [await _hear(question, asked[0])]
        else:
            answers = await asyncio.gather(*(_hear(question, one) for one in asked))
        found: list[tuple[Outbox, T]] = []
        fault: StoreUnavailable | None = None
        for outbox, answer in zip(asked, answers, strict=True):
            if isinstance(answer, StoreUnavailable):
                fault = answer
                self.leave_out(outbox.pool, now_s)
            else:
                found.append((outbox, answer))
                self._absent.pop(outbox.pool, None)
        if fault is not None and not found:
            raise fault
        return found


async def _hear(question: Callable[[Outbox], Awaitable[T]], outbox: Outbox) -> T | StoreUnavailable:
    try:
        return await question(outbox)
    except StoreUnavailable as error:
        return error
