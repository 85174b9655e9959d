"""A bounded mailbox: letters wait for their turn, and each may carry the place where its reply is awaited."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flashd.errors import Busy, MailboxFull

M = TypeVar("M")


@dataclass(slots=True)
class Letter(Generic[M]):
    """A message, and the asker's future if somebody waits for a reply."""

    message: M
    reply: asyncio.Future[Any] | None = None

    @property
    def abandoned(self) -> bool:
        """Whether its asker went away, so that the work would be for nobody."""
        return self.reply is not None and self.reply.done()

    def answer(self, reply: object) -> None:
        """Hand the reply to the asker, if there is one; an exception is raised there."""
        if self.reply is None or self.reply.done():
            return
        if isinstance(reply, Exception):
            self.reply.set_exception(reply)
        else:
            self.reply.set_result(reply)


class Mailbox(Generic[M]):
    """
    Room for a number of letters; it outlives the lives of its actor, who alone takes them out.

    A queue of asyncio would do, at twice the cost a letter.
    """

    def __init__(self, owner: str, size: int) -> None:
        self._owner = owner
        self._size = size
        self._closed = False
        self._letters: deque[Letter[M]] = deque()
        self._woken = False
        self._taker: asyncio.Future[None] | None = None
        self._senders: deque[asyncio.Future[None]] = deque()  # who waits for room, in turn

    def __len__(self) -> int:
        return len(self._letters)

    async def put(self, letter: Letter[M]) -> None:
        """Leave a letter, waiting for room; Busy once it is closed. One that waits when it closes is lost."""
        while len(self._letters) >= self._size and not self.is_closed():
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._senders.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._call_senders(1)  # the place was his already: the next one's
                raise
            if self.is_closed():
                return
        self.post(letter)

    def post(self, letter: Letter[M]) -> None:
        """Leave a letter, or raise MailboxFull at once; Busy once it is closed."""
        if self._closed:
            raise Busy(f"{self._owner} is stopping")
        if len(self._letters) >= self._size:
            raise MailboxFull(f"{self._owner} has {len(self)} messages waiting")
        self._letters.append(letter)
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    async def take(self, limit: int) -> list[Letter[M]]:
        """Wait for a letter or a wake-up, then take up to *limit* letters whose askers still wait."""
        while not self._letters and not self._woken:
            self._taker = asyncio.get_running_loop().create_future()
            try:
                await self._taker
            finally:
                self._taker = None
        self._woken = False
        taken = [self._letters.popleft() for _ in range(min(limit, len(self._letters)))]
        self._call_senders(len(taken))
        return [letter for letter in taken if letter.reply is None or not letter.abandoned]

    def wake(self) -> None:
        """Let `take` return even if nothing came."""
        self._woken = True
        if self._taker is not None and not self._taker.done():
            self._taker.set_result(None)

    def close(self) -> None:
        """Refuse letters from now on, also of those who wait for room."""
        self._closed = True
        self._call_senders(len(self._senders))

    def is_closed(self) -> bool:
        """Say whether it refuses letters."""
        return self._closed

    def refuse_rest(self) -> None:
        """Answer Busy to whoever still waits for a reply."""
        while self._letters:
            self._letters.popleft().answer(Busy(f"{self._owner} is stopping"))

    def _call_senders(self, places: int) -> None:
        while places > 0 and self._senders:
            turn = self._senders.popleft()
            if not turn.done():
                turn.set_result(None)
                places -= 1
