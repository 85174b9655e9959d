"""Requests that come when they come: an open model, so that a slow answer delays no later request."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator
from typing import cast


class Caller(asyncio.Protocol):
    """One connection, and the request that it waits for."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._seen = b""
        self.due_ns = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        _, _, after = head.lower().partition(b"content-length:")
        if not end or len(body) < int(after.split(b"\r\n", 1)[0] or b"0"):
            return
        self._seen = b""
        self._crowd.answered(self, ok=head[9:10] == b"2")

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.lost += exc is not None


class Crowd:
    """Sends each request when it is due, on whichever connection is free; those that must wait are counted late."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self._requests = requests
        self._idle: deque[Caller] = deque()
        self._waiting: deque[int] = deque()
        self.answer_ms: list[float] = []  # from when it was due to its answer
        self.sent = self.refused = self.lost = 0

    async def connect(self, port: int, connections: int) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, caller = await loop.create_connection(lambda: Caller(self), "127.0.0.1", port)
            self._idle.append(caller)

    async def arrive(self, per_s: float, seconds: float) -> None:
        """Let requests come by chance, so many a second on average."""
        chance, due_s = random.Random(1), time.monotonic()
        until_s = due_s + seconds
        offset_ns = time.time_ns() - time.monotonic_ns()
        while due_s < until_s:
            due_s += chance.expovariate(per_s)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._waiting.append(int(due_s * 1e9) + offset_ns)
            self._send()

    def _send(self) -> None:
        while self._waiting and self._idle:
            caller = self._idle.popleft()
            caller.due_ns = self._waiting.popleft()
            assert caller.transport is not None
            caller.transport.write(next(self._requests))
            self.sent += 1

    def answered(self, caller: Caller, *, ok: bool) -> None:
        """Note an answer; the connection is free again."""
        self.answer_ms.append((time.time_ns() - caller.due_ns) / 1e6)
        self.refused += not ok
        self._idle.append(caller)
        self._send()

    def close(self) -> None:
        """Hang up."""
        for caller in self._idle:
            if caller.transport is not None:
                caller.transport.abort()
