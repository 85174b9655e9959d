"""
One connection that carries the scripts, many calls at a time; its states are drawn in docs/adr/0026.

A server answers a connection in order, so each reply belongs to the call that has waited longest. A call is written
once or never: nothing is repeated, and a call whose reply did not come tells that nothing is known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import hiredis
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

Part = str | bytes | int
Command = Sequence[Part]
Dial = Callable[[Callable[[], asyncio.BaseProtocol]], Awaitable[object]]
"""Connects a protocol to the server; what it returns is not looked at."""

CALLS = 256  # in flight: more wait for room
BYTES = 32 << 20
_pack = cast("Callable[[Command], bytes]", hiredis.pack_command)  # its stub knows commands of one word only
_MORE = object()  # the reader's word for a reply that is not whole yet
_REFUSALS: dict[str, type[RedisError]] = {
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "LOADING": BusyLoadingError,
    "NOAUTH": AuthenticationError,
    "WRONGPASS": AuthenticationError,
    "NOPERM": NoPermissionError,
}


def refusal(text: str) -> RedisError:
    """Return what redis-py would raise for a server's error."""
    return _REFUSALS.get(text.partition(" ")[0], ResponseError)(text)


class Wire:
    """
    Calls of one store over one connection, opened by the first call and again after a loss.

    Args:
        dial: How to reach the server.
        greeting: Commands that prove who we are and choose the database, before any call.
        timeout_s: Until a reply must be there; connecting is part of it.
        calls: So many may be in flight,
        size: with so many bytes.
    """

    def __init__(
        self, dial: Dial, *, greeting: Sequence[Command] = (), timeout_s: float, calls: int = CALLS, size: int = BYTES
    ) -> None:
        self.dial = dial
        self.greeting = [_pack(tuple(command)) for command in greeting]
        self.timeout_s = timeout_s
        self._line: _Line | None = None
        self._lines: set[_Line] = set()  # the current one, and those retired whose last replies are waited for
        self._calls_left, self._bytes_left = calls, size
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def call(self, *command: Part) -> Any:
        """
        Write *command* and return the reply to it.

        Raises:
            ResponseError: The server refused it, or one of its kind such as NoScriptError.
            RedisConnectionError: The connection was lost or not to be had; whether the command ran is not known.
            RedisTimeoutError: No reply came in time; as above.
        """
        packed = _pack(command)
        if self._waiters or self._calls_left <= 0 or self._bytes_left <= 0:
            await self._room()
        if self._closed:
            raise RedisConnectionError("the connection to the store is closed")
        line = self._line
        if line is None or not line.is_usable:
            line = self._line = _Line(self, asyncio.get_running_loop())
            self._lines.add(line)
        self._calls_left -= 1
        self._bytes_left -= len(packed)
        return await line.send(packed)

    async def close(self) -> None:
        """Let go of the connection: what is in flight fails; fine to call twice."""
        self._closed = True
        lines = list(self._lines)
        for line in lines:
            line.lose("the connection to the store is closed")
        for line in lines:
            await line.ended()

    def freed(self, calls: int, size: int) -> None:
        """Take note that so much is in flight no more."""
        self._calls_left += calls
        self._bytes_left += size
        self._wake()

    def forget(self, line: _Line) -> None:
        """Use *line* no more."""
        self._lines.discard(line)
        if self._line is line:
            self._line = None

    def _wake(self) -> None:
        while self._waiters and self._calls_left > 0 and self._bytes_left > 0:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return  # the next is woken when this one has taken its room

    async def _room(self) -> None:
        """Wait in a row until there is room; bounded by one more time-out."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.timeout_s):
                while True:
                    waiter = loop.create_future()
                    self._waiters.append(waiter)
                    await waiter
                    if self._calls_left > 0 and self._bytes_left > 0:
                        break
        except TimeoutError as error:
            raise RedisTimeoutError(f"no room for a call within {self.timeout_s} s") from error
        finally:
            loop.call_soon(self._wake)  # what is left of the room, or was given to a caller who left, is the next one's


class _Line(asyncio.Protocol):
    """One connection and its row of calls, in the order in which they were written."""

    def __init__(self, wire: Wire, loop: asyncio.AbstractEventLoop) -> None:
        self._wire = wire
        self._loop = loop
        self._reader = hiredis.Reader(replyError=refusal, notEnoughData=_MORE)
        self._row: deque[tuple[asyncio.Future[Any], float, int]] = deque()  # who waits, until when, bytes
        self._unsent: list[bytes] | None = []  # until the greeting is answered
        self._ungreeted = len(wire.greeting)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_retired = self._is_lost = False
        self._gone = loop.create_future()
        self._opening: asyncio.Task[None] | None = loop.create_task(self._open())

    @property
    def is_usable(self) -> bool:
        """Whether a new call may be written."""
        return not (self._is_retired or self._is_lost or (self._transport is not None and self._transport.is_closing()))

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

    def lose(self, reason: str, kind: type[RedisError] = RedisConnectionError) -> None:
        """Give the connection up: every call in the row fails, and nothing is known of it."""
        if self._is_lost:
            return
        self._is_lost, self._unsent = True, None
        self._wire.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()
        elif not self._gone.done():
            self._gone.set_result(None)
        for future, _, _ in self._row:
            if not future.done():
                future.set_exception(kind(reason))
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
            await self._wire.dial(lambda: self)
        except (OSError, RuntimeError) as error:  # the second is uvloop's where asyncio says the first
            self._opening = None
            self.lose(f"{type(error).__name__}: {error}")
        else:
            self._opening = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who we are."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_lost:
            self._gone = self._loop.create_future()
            self._transport.abort()
        elif self._wire.greeting:
            self._write(b"".join(self._wire.greeting))
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
        if self._is_lost:
            return
        if self._ungreeted:
            self._ungreeted -= 1
            if isinstance(reply, RedisError):
                self.lose(str(reply), type(reply))
            elif not self._ungreeted:
                self._greeted()
            return
        if not self._row:
            self.lose(f"a reply that nobody asked for: {reply!r:.100}")
            return
        future, _, size = self._row.popleft()
        if not future.done():  # its caller may have been cancelled, or late
            if isinstance(reply, RedisError):
                future.set_exception(reply)
            else:
                future.set_result(reply)
        self._wire.freed(1, size)
        if self._is_retired and not self._row:
            self.lose("retired")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was in flight."""
        self.lose(f"the connection was lost: {exc or 'closed by the server'}")
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
            self._is_retired = True
            if not future.done():
                future.set_exception(RedisTimeoutError(f"no reply within {self._wire.timeout_s} s"))
        if self._is_retired and (self._unsent is not None or all(future.done() for future, _, _ in self._row)):
            self.lose("retired: a call was not answered in time")
