"""
What the channels of a pool ask of its ledger at the same time travels as one call.

Each channel groups its own; a hundred channels that sell at once would still make a hundred small calls. Nothing waits
for company: a call leaves in the turn of the loop in which it was asked for, with all that was asked for by then, and
more gathers only while as many calls as may be are under way.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar

from flashd.domain.order import Accepted, Incoming
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.errors import Busy, Transient
from flashd.ports import StockLedger

T = TypeVar("T")
R = TypeVar("R")

CALLS_IN_FLIGHT = 8
ITEMS = 512  # of one call, but for a part that is larger by itself


@dataclass(slots=True)
class _Part(Generic[T, R]):
    """What one channel asks for, and where it waits for the answers."""

    items: Sequence[T]
    answers: asyncio.Future[Sequence[R]]


class _Road(Generic[T, R]):
    """Calls of one verb."""

    def __init__(self, call: Callable[[list[T]], Awaitable[Sequence[R]]]) -> None:
        self._call = call
        self._waiting: deque[_Part[T, R]] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    async def ask(self, items: Sequence[T]) -> Sequence[R]:
        """Return the answers to *items*; an error of theirs alone is raised."""
        loop = asyncio.get_running_loop()
        part: _Part[T, R] = _Part(items, loop.create_future())
        self._waiting.append(part)
        if not self._is_leaving and len(self._calls) < CALLS_IN_FLIGHT:
            self._is_leaving = True
            loop.call_soon(self._leave)
        return await part.answers

    def _leave(self) -> None:
        self._is_leaving = False
        while self._waiting and len(self._calls) < CALLS_IN_FLIGHT:
            parts = [self._waiting.popleft()]
            count = len(parts[0].items)
            while self._waiting and count + len(self._waiting[0].items) <= ITEMS:
                parts.append(self._waiting.popleft())
                count += len(parts[-1].items)
            call = asyncio.get_running_loop().create_task(self._travel(parts))
            self._calls.add(call)
            call.add_done_callback(self._arrived)
            for part in parts:
                part.answers.add_done_callback(functools.partial(_turn_back, call, parts))

    def _arrived(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # each part has been told
        self._leave()

    async def _travel(self, parts: list[_Part[T, R]]) -> None:
        """Make one call for all *parts*; one that is refused as a whole is made again for each alone."""
        try:
            replies = await self._call(list(chain.from_iterable(part.items for part in parts)))
        except asyncio.CancelledError:
            _fail(parts, Transient("cut off in the middle"))
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes to the askers
            if len(parts) == 1 or isinstance(error, Transient | Busy):
                _fail(parts, error)
                return
            for part in parts:  # asking again is safe by the ids, and nobody is to answer for another channel's orders
                await self._travel([part])
        else:
            at = 0
            for part in parts:
                if not part.answers.done():  # else its channel was stopped
                    part.answers.set_result(replies[at : at + len(part.items)])
                at += len(part.items)


def _turn_back(call: asyncio.Task[None], parts: Sequence[_Part[Any, Any]], answers: asyncio.Future[Any]) -> None:
    """Let go of a call for which nobody waits any more."""
    if answers.cancelled() and all(part.answers.done() for part in parts):
        call.cancel()


def _fail(parts: Sequence[_Part[Any, Any]], error: Exception) -> None:
    for part in parts:
        if not part.answers.done():
            part.answers.set_exception(error)


class Convoy:
    """The ledger of one pool, as its channels' intakes ask it."""

    def __init__(self, ledger: StockLedger) -> None:
        self.ledger = ledger
        self._orders: _Road[tuple[Incoming, str, int], Accepted] = _Road(self._accept)
        self._holds: _Road[HoldRequest, HoldReply] = _Road(ledger.hold)

    async def accept(self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int) -> Sequence[Accepted]:
        """Make orders durable; see the port StockLedger."""
        return await self._orders.ask(
            [(order, backend, since_ms) for order, backend in zip(orders, backends, strict=True)]
        )

    async def hold(self, requests: Sequence[HoldRequest]) -> Sequence[HoldReply]:
        """Set stock aside; see the port StockLedger."""
        return await self._holds.ask(requests)

    async def _accept(self, told: list[tuple[Incoming, str, int]]) -> Sequence[Accepted]:
        orders, backends, since_ms = zip(*told, strict=True)
        return await self.ledger.accept(orders, backends, since_ms=since_ms)
