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

from flashd.actors.wish import Wish
from flashd.domain.order import OrderState
from flashd.errors import Busy, FlashdError, MailboxFull, Transient
from flashd.ports import StockLedger

CALLS_IN_FLIGHT = 8
ITEMS = 512  # of one call, but for a wish that is larger by itself


class Row:
    """
    The wishes of one channel: those that wait, and those under way.

    Args:
        name: For whoever reads an error.
        size: How many items may wait.
        since_ms: Returns before which an unknown order is recorded as ignored.
        closed: Says why nothing may come in now, for a hold (True) or an order, or "".
        broke: Told of an error that no ledger may raise.
    """

    def __init__(
        self,
        name: str,
        size: int,
        *,
        since_ms: Callable[[], int],
        closed: Callable[[bool], str],
        broke: Callable[[Exception], object],
    ) -> None:
        self.name = name
        self.since_ms = since_ms
        self.broke = broke
        self.is_called = False  # it stands among those that a call will take from
        self._size = size
        self._closed = closed
        self._waiting: deque[Wish] = deque()
        self._count = 0  # items that wait
        self._under_way: list[list[Wish]] = []
        self._quiet: asyncio.Future[None] | None = None
        self._is_shut = False

    def __len__(self) -> int:
        return self._count

    def add(self, wish: Wish) -> None:
        """
        Let *wish* wait for its turn.

        Raises:
            Busy: There is no room (MailboxFull), or it was shut; nothing was done.
        """
        if self._is_shut:
            raise Busy(f"{self.name} is stopping")
        count = self._count + len(wish.items)
        if count > self._size:
            raise MailboxFull(f"{self.name} has {self._count} orders and holds waiting")
        self._count = count
        self._waiting.append(wish)

    def take(self, limit: int, *, at_least_one: bool) -> list[Wish]:
        """Take wishes of *limit* items, or one that is larger by itself; what nobody waits for any more is dropped."""
        waiting = self._waiting
        if self._count <= limit:
            taken = [wish for wish in waiting if not wish.is_over]
            waiting.clear()
            self._count = 0
        else:
            taken = []
            while waiting and (len(waiting[0].items) <= limit or (at_least_one and not taken)):
                wish = waiting.popleft()
                self._count -= len(wish.items)
                if not wish.is_over:
                    limit -= len(wish.items)
                    taken.append(wish)
        taken = self._let_through(taken)
        if taken:
            self._under_way.append(taken)
        else:
            self._see_whether_quiet()
        return taken

    def _let_through(self, taken: list[Wish]) -> list[Wish]:
        """Tell those whose store went away while they waited; return the others."""
        why = (self._closed(False), self._closed(True))
        if not any(why):
            return taken
        for wish in taken:
            if reason := why[wish.is_hold]:
                wish.fail(Busy(reason))
        return [wish for wish in taken if not wish.is_over]

    def settle(self, taken: list[Wish]) -> None:
        """Take note that what was *taken* is under way no more."""
        self._under_way.remove(taken)
        self._see_whether_quiet()

    def _see_whether_quiet(self) -> None:
        if self._quiet is not None and not self._waiting and not self._under_way and not self._quiet.done():
            self._quiet.set_result(None)

    async def quiet(self, timeout_s: float) -> None:
        """Wait until nothing waits and nothing is under way, no longer than *timeout_s*; not at all once it is shut."""
        if not self._is_shut and (self._waiting or self._under_way):
            self._quiet = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._quiet], timeout=timeout_s)

    def shut(self) -> None:
        """Take nothing any more, and answer whoever still waits; of a call that is under way nothing is known."""
        self._is_shut = True
        why = f"{self.name} is stopping"
        for wish in self._waiting:
            wish.fail(Busy(why))
        for taken in self._under_way:
            for wish in taken:
                wish.fail(Transient(why))
        self._waiting.clear()
        self._count = 0


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
        """Make one call of the orders and one of the holds; whatever happens, nobody is left without an answer."""
        try:
            orders = [(row, found) for row, taken in group if (found := [wish for wish in taken if not wish.is_hold])]
            holds = [(row, found) for row, taken in group if (found := [wish for wish in taken if wish.is_hold])]
            if orders:
                await self._ask(orders, self._accept)
            if holds:
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
