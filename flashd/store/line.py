"""
One connection and its row of calls: what is written, whose each reply is, and what becomes of them when it ends.

A reply belongs to the call that has waited longest. The life of a line is drawn in docs/adr/0026 and 0030.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.store.refusals import AWAY, Moved, refusal

Part = str | bytes | int
Command = Sequence[Part]
Dial = Callable[[Callable[[], asyncio.BaseProtocol]], Awaitable[object]]
"""Connects a protocol to a server, and returns which; raises what asyncio raises, or a RedisError."""
Tell = Callable[[Any, RedisError], None]
"""Is told of a server, as dial returned it (None: it was not reached), that it may be the right one no more."""

pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # its stub knows commands of one word only
_MORE = object()  # the reader's word for a reply that is not whole yet


class Admission(Protocol):
    """What a server must answer before it is used."""

    def questions(self) -> Sequence[Command]:
        """Return what to ask."""
        ...

    def refuse(self, replies: Sequence[Any]) -> str:
        """Say why the server that answered so must not be used, or ""."""
        ...


class Owner(Protocol):
    """Whose line it is: how it is opened, and who is told of what becomes of it."""

    dial: Dial
    greeting: list[bytes]
    timeout_s: float
    tell: Tell
    admission: Admission | None

    def freed(self, calls: int, size: int) -> None:
        """Take note that so much is in flight no more."""
        ...

    def forget(self, line: Line) -> None:
        """Use *line* no more."""
        ...


class Line(asyncio.Protocol):
    """The row is in the order in which the calls were written."""

    def __init__(self, wire: Owner, loop: asyncio.AbstractEventLoop) -> None:
        self._wire = wire
        self._loop = loop
        self._reader = hiredis.Reader(replyError=refusal, notEnoughData=_MORE)
        self._row: deque[tuple[asyncio.Future[Any], float, int]] = deque()  # who waits, until when, bytes
        self._unsent: list[bytes] | None = []  # until the greeting is answered
        self.node: Any = None  # to which it leads
        questions = wire.admission.questions() if wire.admission is not None else ()
        self._greeting = b"".join((*wire.greeting, *(pack(tuple(question)) for question in questions)))
        self._ungreeted = len(wire.greeting) + len(questions)
        self._answers: list[Any] = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_retired = self.is_lost = False
        self._gone = loop.create_future()
        self._opening: asyncio.Task[None] | None = loop.create_task(self._open())

    @property
    def is_usable(self) -> bool:
        """Whether a new call may be written."""
        return not (self._is_retired or self.is_lost or (self._transport is not None and self._transport.is_closing()))

    def send(self, packed: bytes) -> asyncio.Future[Any]:
        """Write a command; the future is that of its reply."""
        future = self._loop.create_future()
        deadline = self._loop.time() + self._wire.timeout_s
        self._row.append((future, deadline, len(packed)))
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._look_at_the_time)
        if self._unsent is not None:
            self._unsent.append(packed)
        else:
            self._write(packed)
        return future

    def retire(self) -> None:
        """Carry no new call, and end with the last reply."""
        self._is_retired = True
        if not self._row and not self.is_lost:
            self.lose("retired")

    def lose(self, reason: str, kind: type[RedisError] = RedisConnectionError) -> None:
        """Give the connection up: every call in the row fails, and nothing is known of it."""
        if self.is_lost:
            return
        self.is_lost, self._unsent = True, None
        self._wire.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()
        elif not self._gone.done():
            self._gone.set_result(None)
        for future, until, _ in self._row:
            if not future.done():
                error = kind(reason)
                if isinstance(error, Moved):  # nothing of it was written: it may still be elsewhere
                    error.until = until
                future.set_exception(error)
        size = sum(size for _, _, size in self._row)
        self._wire.freed(len(self._row), size)
        self._row.clear()

    async def ended(self) -> None:
        """Return when the socket is closed."""
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        await asyncio.wait([self._gone], timeout=1.0)

    # ---------------------------------------------------------------------------------------------------- opening

    async def _open(self) -> None:
        try:
            self.node = await self._wire.dial(lambda: self)
        except RedisError as error:
            self._opening = None
            self.lose(str(error), type(error))
        except (OSError, RuntimeError) as error:  # the second is uvloop's where asyncio says the first
            self._opening = None
            self.lose(f"{type(error).__name__}: {error}")
        else:
            self._opening = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are."""
        self._transport = cast("asyncio.Transport", transport)
        if self.is_lost:
            self._gone = self._loop.create_future()
            self._transport.abort()
        elif self._greeting:
            self._write(self._greeting)
        else:
            self._greeted()

    def _greeted(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent:
            self._write(b"".join(unsent))

    def _write(self, packed: bytes) -> None:
        try:
            cast("asyncio.Transport", self._transport).write(packed)  # OPEN: there is one
        except RuntimeError as error:  # uvloop's word for a handle that is closed already
            self.lose(str(error))

    # ---------------------------------------------------------------------------------------------------- replies

    def data_received(self, data: bytes) -> None:
        """Hand each whole reply to the first of the row."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _MORE:
                self._take(reply)
        except hiredis.ProtocolError as error:
            self.lose(f"what the server sent is no reply: {error}")

    def _take(self, reply: Any) -> None:
        if self.is_lost:
            return
        if self._ungreeted:
            self._ungreeted -= 1
            self._hear(reply)
            return
        if not self._row:
            self.lose(f"a reply that nobody asked for: {reply!r:.100}")
            return
        future, until, size = self._row.popleft()
        if isinstance(reply, RedisError):
            self._heed(reply, until)
            if not future.done():  # its caller may have been cancelled, or late
                future.set_exception(reply)
        elif not future.done():
            future.set_result(reply)
        self._wire.freed(1, size)
        if self._is_retired and not self._row:
            self.lose("retired")

    def _hear(self, reply: Any) -> None:
        """Take an answer to the greeting; with the last one the calls go out, or the server is refused."""
        if isinstance(reply, RedisError):
            self._heed(reply, 0.0)
            self.lose(str(reply), type(reply))
            return
        self._answers.append(reply)
        if self._ungreeted:
            return
        admission = self._wire.admission
        reason = admission.refuse(self._answers[len(self._wire.greeting) :]) if admission is not None else ""
        if not reason:
            self._greeted()
            return
        refused = RedisConnectionError(f"{self.node} is refused: {reason}")
        self._wire.tell(self.node, refused)
        self.lose(str(refused))

    def _heed(self, reply: RedisError, until: float) -> None:
        """Leave a server that says that another is the primary; those who wait for it have their answers yet."""
        if isinstance(reply, AWAY):
            self._is_retired = True
            if isinstance(reply, Moved):
                reply.until = until
            self._wire.tell(self.node, reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was in flight."""
        if not self.is_lost:
            lost = RedisConnectionError(f"the connection was lost: {exc or 'closed by the server'}")
            self._wire.tell(self.node, lost)
            self.lose(str(lost))
        if not self._gone.done():
            self._gone.set_result(None)

    # ------------------------------------------------------------------------------------------------------- time

    def _look_at_the_time(self) -> None:
        """Fail what is late; the row is in the order of deadlines, so one timer serves all."""
        self._timer = None
        now = self._loop.time()
        for future, deadline, _ in self._row:
            if deadline > now:
                self._timer = self._loop.call_at(deadline, self._look_at_the_time)
                break
            if not self._is_retired:
                self._is_retired = True
                self._wire.tell(self.node, RedisTimeoutError("a call was not answered in time"))
            if not future.done():
                future.set_exception(RedisTimeoutError(f"no reply within {self._wire.timeout_s} s"))
        if self._is_retired and (self._unsent is not None or all(future.done() for future, _, _ in self._row)):
            self.lose("retired: a call was not answered in time")
