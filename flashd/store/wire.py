"""
One connection that carries the scripts, many calls at a time; its states are drawn in docs/adr/0026 and 0030.

A server answers a connection in order, so each reply belongs to the call that has waited longest. A call is written
once or never, and a call whose reply did not come tells that nothing is known. One answer proves that nothing ran and
says where it would: MOVED; such a call is written once more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.store.line import Admission, Command, Dial, Line, Part, Tell, pack
from flashd.store.proof import Proof, Prover
from flashd.store.refusals import Moved

CALLS = 256  # in flight: more wait for room
BYTES = 32 << 20


class Wire:
    """
    Calls of one store over one connection, opened by the first call and again after a loss.

    Args:
        dial: How to reach the server.
        greeting: Commands that prove who we are and choose the database, before any call.
        timeout_s: Until a reply must be there; connecting is part of it.
        calls: So many may be in flight,
        size: with so many bytes.
        tell: Is told of every loss.
        admission: What a server must answer, each time that the connection is opened.
    """

    def __init__(  # each is a word of its own
        self,
        dial: Dial,
        *,
        greeting: Sequence[Command] = (),
        timeout_s: float,
        calls: int = CALLS,
        size: int = BYTES,
        tell: Tell = lambda _, __: None,
        admission: Admission | None = None,
    ) -> None:
        self.dial = dial
        self.greeting = [pack(tuple(command)) for command in greeting]
        self.timeout_s = timeout_s
        self.tell = tell
        self.admission = admission
        self._prover: Prover | None = None
        self._line: Line | None = None
        self._lines: set[Line] = set()  # the current one, and those retired whose last replies are waited for
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
            Unproven: It ran, and may be forgotten.
        """
        packed = pack(command)
        if self._waiters or self._calls_left <= 0 or self._bytes_left <= 0:
            await self._room()
        if self._closed:
            raise RedisConnectionError("the connection to the store is closed")
        line = self._line
        if line is None or not line.is_usable:
            line = self._open()
        self._calls_left -= 1
        self._bytes_left -= len(packed)
        try:
            if self._prover is None:
                return await line.send(packed)
            return await self._prover.call(packed)
        except Moved as moved:
            until = moved.until
        return await self._follow(packed, until)

    @property
    def is_free(self) -> bool:
        """Whether a call could be written at once, and its reply be all that there is to wait for."""
        has_room = self._calls_left > 0 and self._bytes_left > 0 and not self._waiters
        return has_room and self._prover is None and not self._closed

    def begin(self, *command: Part) -> asyncio.Future[Any]:
        """
        Write *command* now, where the wire is free; the future is that of the reply, and raises what `call` does.

        What was MOVED is not followed: nothing of it ran, and whoever asked may ask again by `call`.
        """
        packed = pack(command)
        self.take(1, len(packed))
        return self.usable().send(packed)

    async def read(self, *command: Part) -> Any:
        """Do as `call` does for a *command* that writes nothing: what it returns is proven by nobody."""
        if self._prover is None:
            return await self.call(*command)
        if self._closed:
            raise RedisConnectionError("the connection to the store is closed")
        packed = pack(command)
        self.take(1, len(packed))
        return await self.usable().send(packed)

    def prove(self, proof: Proof | None) -> None:
        """From now on have every call proven; None: as the primary answers it."""
        self._prover = Prover(self, proof) if proof is not None else None

    async def _follow(self, packed: bytes, until: float) -> Any:
        """Write once more what was MOVED, to where it is now, within its own time."""
        self.take(1, len(packed))
        try:
            async with asyncio.timeout_at(until):
                return await (self.usable().send(packed) if self._prover is None else self._prover.call(packed))
        except TimeoutError as error:
            raise RedisTimeoutError("no reply in time from where it was moved to") from error

    def leave(self, node: object) -> None:
        """Open the next connection anew, unless the one that there is leads to *node*."""
        line = self._line
        if line is not None and line.node not in (None, node):
            line.retire()

    def usable(self) -> Line:
        """Return the connection that takes new calls, opened if need be. Raises RedisConnectionError once closed."""
        if self._closed:
            raise RedisConnectionError("the connection to the store is closed")
        line = self._line
        return line if line is not None and line.is_usable else self._open()

    def _open(self) -> Line:
        line = self._line = Line(self, asyncio.get_running_loop())
        self._lines.add(line)
        return line

    async def close(self) -> None:
        """Let go of the connection: what is in flight fails; fine to call twice."""
        self._closed = True
        lines = list(self._lines)
        for line in lines:
            line.lose("the connection to the store is closed")
        for line in lines:
            await line.ended()

    def take(self, calls: int, size: int) -> None:
        """Take note that so much more is in flight."""
        self._calls_left -= calls
        self._bytes_left -= size

    def freed(self, calls: int, size: int) -> None:
        """Take note that so much is in flight no more."""
        self._calls_left += calls
        self._bytes_left += size
        self._wake()

    def forget(self, line: Line) -> None:
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
