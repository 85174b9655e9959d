"""A proxy before a server's unix socket that cuts, swallows or withholds replies when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Self


class CuttingProxy:
    """
    Forwards until it is told otherwise.

    *lets_through* counts down with each byte of a reply; at 0 both sides are cut. *withholds* keeps replies back until
    it is unset; *swallows* drops them and cuts.
    """

    def __init__(self, upstream: str, path: Path) -> None:
        self.path = str(path)
        self.opened = 0
        self.open = 0
        self.lets_through: int | None = None
        self.withholds = False
        self.swallows = False
        self.cuts = 0
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._released = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def release(self) -> None:
        self.withholds = False
        self._released.set()

    async def _serve(self, down: asyncio.StreamReader, up: asyncio.StreamWriter) -> None:
        self._tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]  # it runs in one
        self.opened += 1
        self.open += 1
        reader, writer = await asyncio.open_unix_connection(self._upstream)
        asking = asyncio.create_task(self._forward(down, writer))
        try:
            await self._answer(reader, up)
        finally:
            self.open -= 1
            asking.cancel()
            for end in (up, writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            await asyncio.gather(asking, return_exceptions=True)
            self._tasks.discard(task)

    async def _forward(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def _answer(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.withholds:
                self._released.clear()
                await self._released.wait()
            if self.swallows:
                self.cuts += 1
                return
            if self.lets_through is not None:
                data, self.lets_through = data[: self.lets_through], max(0, self.lets_through - len(data))
            with contextlib.suppress(OSError):
                sink.write(data)
                await sink.drain()
            if self.lets_through == 0:
                self.lets_through = None
                self.cuts += 1
                return
