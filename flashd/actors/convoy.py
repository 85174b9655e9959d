"""
What the channels of a pool wish for at the same time travels as one call.

Each channel has a row of its own, where its wishes wait; whenever a call may leave, it takes from all rows in turn, so
that a flood in one row holds up the others by its share of a call and no more. Nothing waits for company: a call leaves
in the turn of the loop after the one in which it was asked for, with all that came by then, and more gathers only while
as many calls as may be are under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from flashd.actors.row import Row
from flashd.actors.wish import Wish
from flashd.domain.order import OrderState
from flashd.errors import Busy, FlashdError, Transient
from flashd.ports import StockLedger

CALLS_IN_FLIGHT = 8
ITEMS = 96  # of one call, but for a wish that is larger by itself: the store works on it while the next is read


_Group = list[tuple[Row, list[Wish]]]  # whose, and what


class Convoy:
    """
    The ledger of one pool, as its channels' wishes reach it.

    Args:
        ledger: The pool's.
        wake: Told which backend has something new to deliver.
        moved: Told that stock may have moved.
    """

    def __init__(
        self,
        ledger: StockLedger,
        *,
        wake: Callable[[str], object] = lambda _backend: None,
        moved: Callable[[], object] = lambda: None,
    ) -> None:
        self.ledger = ledger
        self._wake = wake
        self._moved = moved
        self._called: deque[Row] = deque()
        self._calls: set[asyncio.Task[None]] = set()
        self._is_leaving = False

    def call(self, row: Row) -> None:
        """Take what waits in *row*, as soon as a call may leave."""
        if not row.is_called:
            row.is_called = True
            self._called.append(row)
        if not self._is_leaving and len(self._calls) < CALLS_IN_FLIGHT:
            self._is_leaving = True
            asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._is_leaving = False
        while self._called and len(self._calls) < CALLS_IN_FLIGHT:
            group = self._gather()
            if group:
                call = asyncio.get_running_loop().create_task(self._travel(group))
                self._calls.add(call)
                call.add_done_callback(self._arrived)

    def _gather(self) -> _Group:
        """Take from each row its share of one call; what is left there waits for the next."""
        group: _Group = []
        room, before = ITEMS, 0
        while self._called and room > 0 and room != before:
            before = room
            for rows_left in range(len(self._called), 0, -1):
                row = self._called.popleft()
                taken = row.take(room // rows_left, at_least_one=not group)
                if taken:
                    group.append((row, taken))
                    room -= sum([len(wish.items) for wish in taken])
                row.is_called = len(row) > 0
                if row.is_called:
                    self._called.append(row)
        self._called.rotate(-1)  # else who stands first would stay so, and a wish larger than its share never would
        return group

    def _arrived(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:  # of who is told, not of the ledger
            context = {"message": "what follows a call failed; its orders are answered", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        self._leave()

    async def _travel(self, group: _Group) -> None:
        """Make one call of the orders and one of the holds, at once; whatever happens, nobody is left unanswered."""
        try:
            orders = [(row, found) for row, taken in group if (found := [wish for wish in taken if not wish.is_hold])]
            holds = [(row, found) for row, taken in group if (found := [wish for wish in taken if wish.is_hold])]
            if orders and holds:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._ask(orders, self._accept))
                    both.create_task(self._ask(holds, self._hold))
            elif orders:
                await self._ask(orders, self._accept)
            elif holds:
                await self._ask(holds, self._hold)
            self._moved()
        except BaseException:  # a cancellation, or a bug in who is told
            for _, taken in group:
                for wish in taken:
                    wish.fail(Transient("cut off in the middle"))
            raise
        finally:
            for row, taken in group:
                row.settle(taken)

    async def _ask(self, group: _Group, ask: Callable[[_Group], Any]) -> None:
        """Make one call for *group*; one that is refused as a whole is made again for each channel alone."""
        wishes = [wish for _, taken in group for wish in taken]
        try:
            replies = await ask(group)
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes to the askers
            if len(group) > 1 and not isinstance(error, Transient | Busy):
                for part in group:  # asking again is safe by the ids, and nobody answers for another channel's orders
                    await self._ask([part], ask)
                return
            for wish in wishes:
                wish.fail(error)
            if not isinstance(error, FlashdError):
                for row, _ in group:
                    row.broke(error)
            return
        at = 0
        for wish in wishes:
            end = at + len(wish.items)
            wish.answer(replies[at:end])
            at = end

    async def _accept(self, group: _Group) -> Sequence[Any]:
        orders: list[Any] = []
        backends: list[str] = []
        since_ms: list[int] = []
        for row, taken in group:
            for wish in taken:
                orders += wish.items
                backends += wish.backends
            since_ms += [row.since_ms()] * (len(orders) - len(since_ms))
        replies = await self.ledger.accept(orders, backends, since_ms=since_ms)
        for name in {name for name, reply in zip(backends, replies, strict=True) if reply.state is OrderState.QUEUED}:
            self._wake(name)
        return replies

    async def _hold(self, group: _Group) -> Sequence[Any]:
        requests: list[Any] = []
        for _, taken in group:
            for wish in taken:
                requests += wish.items
        return await self.ledger.hold(requests)
