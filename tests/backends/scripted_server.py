"""A server that answers byte for byte as it is told, whether or not that is HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

HANG_UP = None
RESET = ConnectionResetError
Step = bytes | None | type[ConnectionResetError] | asyncio.Event  # an event is waited for


@dataclass
class ScriptedServer:
    """Takes one list of steps for each request, the last one again and again, and hangs up where it says so."""

    answers: list[Sequence[Step]]
    seen: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    port: int = 0
    more: asyncio.Event = field(default_factory=asyncio.Event)  # a request came, or a connection ended

    @contextlib.asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.connections += 1
            self.open += 1
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._serve_one(reader, writer):
                    pass
            self.open -= 1
            self.more.set()
            tasks.discard(task)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def until(self, *, seen: int = 0, open_: int | None = None) -> None:
        """Wait until so many requests came, or so many connections are open."""
        async with asyncio.timeout(20):
            while len(self.seen) < seen or (open_ is not None and self.open != open_):
                self.more.clear()
                await self.more.wait()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        self.seen.append(head + await reader.readexactly(length))
        self.more.set()
        for step in self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
            if step is HANG_UP:
                return False
            if step is RESET:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return False
            if isinstance(step, asyncio.Event):
                await step.wait()
                continue
            assert isinstance(step, bytes)
            writer.write(step)
            await writer.drain()
            await asyncio.sleep(0)  # so that the next piece is another packet
        return True
