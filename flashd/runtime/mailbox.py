"""A bounded mailbox: letters wait for their turn, and each may carry the place where its reply is awaited."""

from __future__ import annotations

import asyncio
import contextlib
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
    """Room for a number of letters; it outlives the lives of its actor."""

    def __init__(self, owner: str, size: int) -> None:
        self._owner = owner
        self._closed = False
        self._letters: asyncio.Queue[Letter[M] | None] = asyncio.Queue(size)  # None only wakes

    def __len__(self) -> int:
        return self._letters.qsize()

    async def put(self, letter: Letter[M]) -> None:
        """Leave a letter, waiting for room; Busy once it is closed."""
        self._refuse_if_closed()
        await self._letters.put(letter)

    def post(self, letter: Letter[M]) -> None:
        """Leave a letter, or raise MailboxFull at once."""
        self._refuse_if_closed()
        try:
            self._letters.put_nowait(letter)
        except asyncio.QueueFull:
            raise MailboxFull(f"{self._owner} has {len(self)} messages waiting") from None

    async def take(self, limit: int) -> list[Letter[M]]:
        """Wait for a letter or a wake-up, then take up to *limit* letters whose askers still wait."""
        letters = [await self._letters.get()]
        while len(letters) < limit and not self._letters.empty():
            letters.append(self._letters.get_nowait())
        return [letter for letter in letters if letter is not None and not letter.abandoned]

    def wake(self) -> None:
        """Let `take` return even if nothing came."""
        with contextlib.suppress(asyncio.QueueFull):  # a full mailbox is awake
            self._letters.put_nowait(None)

    def close(self) -> None:
        """Refuse letters from now on."""
        self._closed = True

    def is_closed(self) -> bool:
        """Say whether it refuses letters."""
        return self._closed

    async def refuse_rest(self) -> None:
        """Answer Busy to whoever still waits for a reply or for room."""
        while not self._letters.empty():
            letter = self._letters.get_nowait()
            if letter is not None:
                letter.answer(Busy(f"{self._owner} is stopping"))
            await asyncio.sleep(0)  # each freed place lets a waiting letter in, which goes the same way

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Busy(f"{self._owner} is stopping")
