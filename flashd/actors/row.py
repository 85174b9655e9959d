"""The wishes of one channel, in the order in which they came: a bounded line from which the pool's convoy takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from flashd.actors.wish import Wish
from flashd.errors import Busy, MailboxFull, Transient


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
        self.waits = 0  # orders or holds
        self._under_way: list[list[Wish]] = []
        self._quiet: asyncio.Future[None] | None = None
        self._is_shut = False

    def add(self, wish: Wish) -> None:
        """
        Let *wish* wait for its turn.

        Raises:
            Busy: There is no room (MailboxFull), or it was shut; nothing was done.
        """
        if self._is_shut:
            raise Busy(f"{self.name} is stopping")
        waits = self.waits + len(wish.items)
        if waits > self._size:
            raise MailboxFull(f"{self.name} has {self.waits} orders and holds waiting")
        self.waits = waits
        self._waiting.append(wish)

    def take(self, limit: int, *, at_least_one: bool) -> list[Wish]:
        """Take wishes of *limit* items, or one that is larger by itself; what nobody waits for any more is dropped."""
        if self.waits <= limit:
            return self.take_all()
        waiting = self._waiting
        taken: list[Wish] = []
        while waiting and (len(waiting[0].items) <= limit or (at_least_one and not taken)):
            wish = waiting.popleft()
            self.waits -= len(wish.items)
            if not wish.is_over:
                limit -= len(wish.items)
                taken.append(wish)
        return self._send_off(taken)

    def take_all(self) -> list[Wish]:
        """Take all that wait."""
        taken = [wish for wish in self._waiting if not wish.is_over]
        self._waiting.clear()
        self.waits = 0
        return self._send_off(taken)

    def _send_off(self, taken: list[Wish]) -> list[Wish]:
        """Tell those whose store went away while they waited; the others are under way."""
        if any(map(self._closed, {wish.is_hold for wish in taken})):
            for wish in taken:
                if reason := self._closed(wish.is_hold):
                    wish.fail(Busy(reason))
            taken = [wish for wish in taken if not wish.is_over]
        if taken:
            self._under_way.append(taken)
        else:
            self._see_whether_quiet()
        return taken

    def settle(self, taken: list[Wish]) -> None:
        """Take note that what was *taken* is under way no more."""
        self._under_way.remove(taken)
        if self._quiet is not None:
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
        self.waits = 0
