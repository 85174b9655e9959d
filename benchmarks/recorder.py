"""
What a client says to a server, kept, to be said again without the client: how fast the server alone is.

It knows nothing of the calls, so it measures whatever the ledger sends, in whatever way.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import hiredis

_PIECE = 1 << 20


class Recorder:
    """A socket on which the server is reached; `take` returns what was said there since the last time."""

    def __init__(self, server: str, path: Path) -> None:
        self._server_path = server
        self.path = path
        self._said: list[bytes] = []
        self._listening: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_unix_server(self._join, str(self.path), limit=_PIECE)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self) -> bytes:
        """Return what was said since the last time."""
        said, self._said = b"".join(self._said), []
        return said

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, questions = await asyncio.open_unix_connection(self._server_path, limit=_PIECE)
        for source, sink, keep in ((reader, questions, True), (answers, writer, False)):
            self._tasks.add(asyncio.create_task(self._carry(source, sink, keep=keep)))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, keep: bool) -> None:
        try:
            while data := await source.read(_PIECE):
                if keep:
                    self._said.append(data)
                sink.write(data)
                await sink.drain()
        finally:
            sink.close()
            with contextlib.suppress(ConnectionError):
                await sink.wait_closed()


def commands(said: bytes) -> int:
    """Count the commands in what a client said."""
    reader = hiredis.Reader()
    reader.feed(said)
    count = 0
    while reader.gets() is not False:
        count += 1
    return count


def replay(path: str, before: bytes, calls: Sequence[bytes], *, in_flight: int = 2) -> float:
    """
    Say *before*, and then *calls* with so many under way at once; return the seconds that the calls took.

    Raises:
        RuntimeError: The server refused a call.
    """
    reader = hiredis.Reader()
    counts = [commands(call) for call in calls]

    def hear(connection: socket.socket, count: int, *, strict: bool = True) -> None:
        while count:
            answer = reader.gets()
            if answer is False:
                data = connection.recv(_PIECE)
                if not data:
                    raise RuntimeError("the server hung up")
                reader.feed(data)
                continue
            if strict and isinstance(answer, hiredis.ReplyError):
                raise RuntimeError(f"the server refused: {answer}")
            count -= 1

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(60.0)
        connection.connect(path)
        if before:
            connection.sendall(before)
            hear(connection, commands(before), strict=False)  # a script not known yet, a command of newer servers
        began_s = time.perf_counter()
        heard = 0
        for index, call in enumerate(calls):
            connection.sendall(call)
            if index >= in_flight - 1:
                hear(connection, counts[heard])
                heard += 1
        while heard < len(calls):
            hear(connection, counts[heard])
            heard += 1
        return time.perf_counter() - began_s
