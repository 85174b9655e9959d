"""
What one caller wants made durable together, and the place of its answer.

A wish is answered in the turn of the loop in which its call came back: of the thousands that wait, none needs a task, a
future or a turn of its own. Whoever awaits one has a future made for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from typing import Any

from flashd.domain.order import Incoming
from flashd.domain.reservation import HoldRequest


class Wish:
    """
    Orders, or holds, of one channel; a Future of `flashd.ports.soon` whose result is the replies to them, in order.

    Args:
        items: What is wanted: all of one kind.
        backends: Where each order goes; of holds, none.
    """

    __slots__ = ("_error", "_heard", "_replies", "backends", "is_hold", "is_over", "items")

    def __init__(self, items: Sequence[Incoming] | Sequence[HoldRequest], backends: Sequence[str] = ()) -> None:
        self.items = items
        self.backends = backends
        self.is_hold = not backends
        self.is_over = False  # answered, or nobody waits for it any more
        self._heard: Callable[[Any], object] | None = None
        self._replies: Sequence[Any] = ()
        self._error: BaseException | None = None

    def answer(self, replies: Sequence[Any]) -> None:
        """Hand the replies over; one that is over keeps what it has."""
        if not self.is_over:
            self._replies = replies
            self._end()

    def fail(self, error: BaseException) -> None:
        """Let *error* be the answer; one that is over keeps what it has."""
        if not self.is_over:
            self._error, trail = error, error.__traceback__
            self._end()
            error.__traceback__ = trail  # it may be the answer of many, and would keep the frames of all who were told

    def _end(self) -> None:
        self.is_over = True
        heard, self._heard = self._heard, None  # who hears knows the wish: a ring that only the collector would undo
        if heard is None:
            return
        try:
            heard(self)
        except Exception as error:  # noqa: BLE001  # as a future has it: the others of the call are told all the same
            context = {"message": "who waited for a wish failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

    def result(self) -> Sequence[Any]:
        """Return the replies, or raise the error."""
        if self._error is not None:
            raise self._error
        return self._replies

    def add_done_callback(self, heard: Callable[[Any], object], /) -> None:
        """Call *heard* with it when it is over; there is one who hears."""
        if self.is_over:
            asyncio.get_running_loop().call_soon(heard, self)
        else:
            self._heard = heard

    def __await__(self) -> Generator[Any, None, Sequence[Any]]:
        """Wait for it; whoever is cancelled meanwhile wants it no more."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_: object) -> None:
            if not turn.done():
                turn.set_result(None)

        self.add_done_callback(wake)
        try:
            yield from turn
        except asyncio.CancelledError as gone:
            self.fail(gone)
            raise
        return self.result()
