"""
An actor: a bounded mailbox and one task that takes one turn at a time, so its state needs no lock.

A message may be lost at any moment; the receiver of work polls as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Generic, TypeVar

from flashd.errors import InvariantBroken, Transient
from flashd.ports import Clock
from flashd.runtime.deadline import bounded
from flashd.runtime.mailbox import Letter, Mailbox

M = TypeVar("M")
T = TypeVar("T")

TURN_S = 10.0  # for what a turn waits: a call of the store may take a minute, and the watchdog has no such patience


class Actor(Generic[M]):
    """Override `receive`, or `batch_limit` and `receive_many`; the supervisor runs it again after a crash."""

    batch_limit = 1

    def __init__(self, name: str, *, clock: Clock, mailbox_size: int = 1000) -> None:
        self.name = name
        self.clock = clock
        self.mailbox: Mailbox[M] = Mailbox(name, mailbox_size)
        self.ready = asyncio.Event()  # on_start is done, and the life has not ended since
        self.children: set[asyncio.Task[Any]] = set()
        self._task: asyncio.Task[None] | None = None
        self._failures: list[BaseException] = []  # of children, in this life
        self._busy_since_s: float | None = None

    async def on_start(self) -> None:
        """Open what a life needs; an error here is a crash."""

    async def receive(self, message: M) -> Any:
        """Take one message; what it returns or raises goes to an asker. An error in a tell is a crash."""
        raise NotImplementedError

    async def receive_many(self, messages: Sequence[M]) -> Sequence[Any]:
        """Take up to `batch_limit` messages in one turn; return a reply each (an exception is raised at its asker)."""
        return [await self.receive(message) for message in messages]

    async def on_stop(self) -> None:
        """Close what a life opened, also after a crash; children still run, and those left after it are cancelled."""

    async def tell(self, message: M) -> None:
        """Leave a message, waiting for room; Busy once the actor was stopped."""
        await self.mailbox.put(Letter(message))

    def offer(self, message: M) -> None:
        """Leave a message, or raise MailboxFull at once; Busy once the actor was stopped."""
        self.mailbox.post(Letter(message))

    def post(self, message: M) -> asyncio.Future[Any]:
        """Leave a message and return the place of its reply; MailboxFull at once, or Busy once it was stopped."""
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.mailbox.post(Letter(message, reply))
        return reply

    async def ask(self, message: M, timeout_s: float) -> Any:
        """
        Leave a message and wait for its reply; a full mailbox is MailboxFull at once, not a wait for room.

        Raises:
            Busy: There was no room, or the actor stopped first; nothing was done.
            Transient: No reply in time; nothing is known.
        """
        reply = self.post(message)
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                return await reply
        except TimeoutError:
            if limit.expired():
                raise Transient(f"{self.name} did not reply within {timeout_s} s") from None
            raise  # the actor's own answer

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str = "child") -> asyncio.Task[Any]:
        """Run *work* beside the mailbox for this life; if it fails, the actor crashes after the turn in hand."""
        child = asyncio.create_task(work, name=f"{self.name}/{name}")
        self.children.add(child)
        child.add_done_callback(self._child_ended)
        return child

    async def end_children(self) -> None:
        """Cancel all that runs beside the mailbox, and wait for its end."""
        for child in self.children:
            child.cancel()
        await asyncio.gather(*self.children, return_exceptions=True)

    async def within_turn(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait in a turn for *work*, but no longer than TURN_S; then it is cut off with Transient: nothing is known."""
        try:
            return await bounded(work, TURN_S, clock=self.clock)
        except TimeoutError:
            raise Transient(f"{self.name} waited for {TURN_S:g} s") from None

    def crash(self, error: BaseException) -> None:
        """End this life with *error* after the turn in hand, as when a child fails."""
        self._failures.append(error)
        self.mailbox.wake()

    def stalled_s(self) -> float:
        """Say for how long the turn in hand has gone on, for the watchdog; 0 while idle or not running."""
        return 0.0 if self._busy_since_s is None else self.clock.monotonic_s() - self._busy_since_s

    def start(self) -> asyncio.Task[None]:
        """Begin a life; the returned task raises what crashed it. Starting what runs is fine."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._live(), name=self.name)
        return self._task

    async def stop(self, timeout_s: float = 5.0) -> None:
        """End for good after the turn in hand, cancelled after *timeout_s*. Twice, or before a start, is fine."""
        self.mailbox.close()
        self.mailbox.wake()
        if self._task is not None:
            _, late = await asyncio.wait({self._task}, timeout=timeout_s)
            if late:
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=1.0)  # what defies a cancellation is left behind
        self.mailbox.refuse_rest()

    async def _live(self) -> None:
        if self.mailbox.is_closed():
            return
        self._failures.clear()
        self._busy_since_s = self.clock.monotonic_s()
        try:
            await self.on_start()
            self.ready.set()
            while not self.mailbox.is_closed() and not self._failures:
                self._busy_since_s = None
                letters = await self.mailbox.take(self.batch_limit)
                self._busy_since_s = self.clock.monotonic_s()
                await self._turn(letters)
            if self._failures:
                raise self._failures[0]
        finally:
            self.ready.clear()
            try:
                await self.on_stop()
            finally:
                await self.end_children()
                self._busy_since_s = None

    async def _turn(self, letters: list[Letter[M]]) -> None:
        replies: Sequence[Any] = [Transient(f"{self.name} was stopped in the middle")] * len(letters)
        try:
            if letters:
                replies = await self.receive_many([letter.message for letter in letters])
        except Exception as error:  # noqa: BLE001  # whatever it is, it goes to the askers, or up as the crash
            replies = [error] * len(letters)
        finally:
            for letter, reply in zip(letters, replies, strict=True):
                if letter.reply is not None:
                    letter.answer(reply)
        for letter, reply in zip(letters, replies, strict=True):
            if isinstance(reply, Exception) and (letter.reply is None or isinstance(reply, InvariantBroken)):
                raise reply

    def _child_ended(self, child: asyncio.Task[Any]) -> None:
        self.children.discard(child)
        if not child.cancelled() and (failure := child.exception()) is not None:
            self.crash(failure)
