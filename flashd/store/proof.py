"""
Whether replicas have what was written: asked behind the calls, on their own connection.

Calls go in groups, each behind the proof of the one before: WAIT blocks its connection, and counts from the last write
of it. Whoever comes meanwhile is of the next group, so a thousand calls cost as many proofs as fit into their time.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.store.line import Command, Line, pack
from flashd.store.refusals import Unproven
from flashd.store.settings import ServerKind

_WAITAOF = {"redis": (7, 2), "valkey": (7, 2)}
_ASK_AGAIN_MS = 100
"""A replica that was asked while it fsyncs tells of the time before, and by itself only every second: ask again."""


class Proof(msgspec.Struct, frozen=True):
    """
    Two commands that go behind a group of calls, and what their replies must say.

    WAIT counts from the last write of its own connection. An order that was found accepted wrote nothing, and its
    write may be another connection's, so the mark goes first: one write, behind all that any connection wrote before.
    """

    mark: Command
    wait: Command
    replicas: int
    patience_s: float  # so long it is asked again

    def lacks(self, reply: object) -> str:
        """Say what the reply to *wait* lacks, or ""."""
        local, have = reply if isinstance(reply, list) else (1, reply)
        if not local:
            return "the primary has not fsynced it"
        if isinstance(have, int) and have >= self.replicas:
            return ""
        return f"{have} of {self.replicas} replicas have it"


def proof_of(kind: ServerKind, replicas: int, durability: str, timeout_s: float, mark: Command) -> Proof | None:
    """
    Return how that server proves what *replicas* have; None where none is asked for.

    Args:
        timeout_s: Of a call; the server is given half of it, so that its answer comes in time.
        mark: What writes something.
    """
    if not replicas:
        return None
    wait_ms = max(1, round(timeout_s * 500))
    if durability == "fsync" and kind.numbers[:2] >= _WAITAOF[kind.name]:
        return Proof(mark, ("WAITAOF", 1, replicas, min(_ASK_AGAIN_MS, wait_ms)), replicas, timeout_s / 2)
    return Proof(mark, ("WAIT", replicas, wait_ms), replicas, 0.0)


class Owner(Protocol):
    """Whose calls are proven."""

    timeout_s: float

    def usable(self) -> Line:
        """Return the connection that takes new calls."""
        ...

    def take(self, calls: int, size: int) -> None:
        """Take note that so much more is in flight."""
        ...

    def freed(self, calls: int, size: int) -> None:
        """Take note that so much is in flight no more."""
        ...


class Prover:
    """Writes calls in groups, and answers them when each has been proven."""

    def __init__(self, wire: Owner, proof: Proof) -> None:
        self._wire = wire
        self._proof = proof
        self._waiting: list[tuple[bytes, asyncio.Future[Any]]] = []
        self._going: asyncio.Task[None] | None = None

    async def call(self, packed: bytes) -> Any:
        """
        Write a command and return the reply to it, when all have it who must.

        Raises:
            RedisError: As `Wire.call` does.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((packed, future))
        if self._going is None:
            self._going = loop.create_task(self._go())
        try:
            async with asyncio.timeout(self._wire.timeout_s):
                return await future
        except TimeoutError as error:
            raise RedisTimeoutError(f"not proven within {self._wire.timeout_s} s") from error

    async def _go(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                try:
                    await self._prove(group)
                finally:
                    for _, future in group:
                        if not future.done():  # only where something broke that nobody foresaw
                            future.set_exception(RedisConnectionError("the proof was given up"))
        finally:
            self._going = None

    async def _prove(self, group: list[tuple[bytes, asyncio.Future[Any]]]) -> None:
        asked = list[tuple[asyncio.Future[Any], asyncio.Future[Any]]]()
        try:
            line = self._wire.usable()
        except RedisConnectionError as error:  # closed while they waited
            for packed, future in group:
                self._wire.freed(1, len(packed))
                if not future.done():
                    future.set_exception(error)
            return
        for packed, future in group:
            if future.done():  # whoever asked has left before it was written
                self._wire.freed(1, len(packed))
            else:
                asked.append((future, line.send(packed)))
        if not asked:
            return
        lack = await self._lack(line)
        await asyncio.wait([reply for _, reply in asked])  # they came before, but where the connection was lost
        for future, reply in asked:
            failure = reply.exception() or (Unproven(lack) if lack else None)
            if future.done():
                continue
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(reply.result())

    async def _lack(self, line: Line) -> str:
        """Say what keeps all that was written on *line* from being proven, or ""."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._proof.patience_s
        try:
            await self._send(line, self._proof.mark)
            while True:
                lack = self._proof.lacks(await self._send(line, self._proof.wait))
                if not lack or loop.time() >= until:
                    return lack
        except RedisError as error:
            return f"who has it is not known: {error}"

    def _send(self, line: Line, command: Command) -> asyncio.Future[Any]:
        if line.is_lost:
            raise RedisConnectionError("the connection was lost")
        packed = pack(tuple(command))
        self._wire.take(1, len(packed))
        return line.send(packed)
