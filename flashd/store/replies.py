"""
The replies to the items of one call, on their way.

A call that can be written at once is written at once, and its replies are told in the turn of the loop in which they
came: on the hot path stands no task. What takes more than one call takes a task: docs/adr/0036 draws it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from flashd.store.refusals import Moved

AGAIN = b"again"
_NOTHING_RAN = (NoScriptError, Moved)


def wants_again(reply: Any) -> bool:
    """Say whether a script wants to be asked about this item once more: nothing was written of it."""
    return not isinstance(reply, int) and AGAIN in (reply, reply[0])


class Replies:
    """
    A Future of `flashd.ports.soon`; its result is one reply for each item.

    Args:
        written: The reply to the call that was written, or None where none could be.
        cover: Goes on from the replies that are there, none at first, until each item has its own.
    """

    __slots__ = ("_cover", "_heard", "_is_over", "_reply")

    def __init__(
        self, written: asyncio.Future[Any] | None, cover: Callable[[Sequence[Any]], Coroutine[Any, Any, Sequence[Any]]]
    ) -> None:
        self._cover = cover
        self._heard: Callable[[Any], object] | None = None
        self._is_over = False
        if written is None:
            self._go_on(())
        else:
            self._reply = written
            written.add_done_callback(self._look)

    def _go_on(self, replies: Sequence[Any]) -> None:
        self._reply = asyncio.get_running_loop().create_task(self._cover(replies))
        self._reply.add_done_callback(self._end)

    def _look(self, written: asyncio.Future[Any]) -> None:
        """See whether the first call was enough."""
        if not written.cancelled():
            error = written.exception()
            if isinstance(error, _NOTHING_RAN):
                self._go_on(())
                return
            odd = [reply for reply in written.result() if not isinstance(reply, int)] if error is None else ()
            if any(map(wants_again, odd)):
                self._go_on(written.result())
                return
        self._end(written)

    def _end(self, _: object) -> None:
        self._is_over = True
        heard, self._heard = self._heard, None
        if heard is not None:
            heard(self)

    def result(self) -> Sequence[Any]:
        """Return the replies, or raise what became of the call."""
        replies: Sequence[Any] = self._reply.result()
        return replies

    def add_done_callback(self, heard: Callable[[Any], object], /) -> None:
        """Call *heard* with it when it is done, never before this returns; there is one who hears."""
        if self._is_over:
            asyncio.get_running_loop().call_soon(heard, self)
        else:
            self._heard = heard

    def __await__(self) -> Generator[Any, None, Sequence[Any]]:
        """Wait for it; whoever is cancelled meanwhile asks no more, and what was written runs all the same."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.add_done_callback(lambda _: None if turn.done() else turn.set_result(None))
        try:
            yield from turn
        except asyncio.CancelledError:
            self._reply.cancel()
            raise
        return self.result()
