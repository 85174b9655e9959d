"""
A proxy that breaks what passes: it stands before Redis and before the backend, as a process that is itself killed.

``python -m tests.chaos.fault_proxy '{"listen": ..., "upstream": ..., "log": ..., "seed": 1, "every_s": 2}'``; an
address is a port of the loopback or the path of a unix socket. Every *every_s* the next bytes of a caller meet a fault
of a shuffled deck, so that each kind comes: what a killed one had not dealt of it, its next life deals. SIGUSR1 ends
them. Faults and requests are lines of the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

FAULTS = ("cut_before", "cut_during", "cut_after", "delay", "black_hole", "drop_reply")
Address = int | str


async def connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, int):
        return await asyncio.open_connection("127.0.0.1", address)
    return await asyncio.open_unix_connection(address)


def arrived_s(writer: asyncio.StreamWriter) -> float:
    """Say when the last bytes came, by the kernel: this process may have been busy meanwhile (tcp(7), TCP_INFO)."""
    sock = writer.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_INET:
        return time.time()
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return time.time() - float(struct.unpack_from("I", info, 52)[0]) / 1000  # tcpi_last_data_recv, ms


class FaultProxy:
    """Forwards both ways; `next_fault` says what the bytes that just came from a caller meet."""

    def __init__(
        self, upstream: Address, log: IO[str], dice: random.Random, every_s: float, dealt: Sequence[str] = ()
    ) -> None:
        self.upstream = upstream
        self.calm = every_s == 0
        self._log, self._dice, self._every_s = log, dice, every_s
        begun = dealt[len(dealt) - len(dealt) % len(FAULTS) :]  # of the deck that a former life had in hand
        self._deck = [fault for fault in dice.sample(FAULTS, len(FAULTS)) if fault not in begun]
        self._next_s = time.monotonic() + every_s
        self.delay_s, self.hole_s = 0.3, 3.0

    def note(self, **fields: object) -> None:
        self._log.write(json.dumps(fields) + "\n")
        self._log.flush()  # the page cache outlives SIGKILL

    def next_fault(self, data: bytes) -> str:
        if self.calm or time.monotonic() < self._next_s:
            return ""
        self._next_s = time.monotonic() + self._every_s * self._dice.uniform(0.5, 1.5)
        if not self._deck:
            self._deck = self._dice.sample(FAULTS, len(FAULTS))
        return self._deck.pop()

    def dropped(self) -> None:
        """Take note that a reply was there, and was not passed on."""

    async def serve(self, down: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            up, server = await connect(self.upstream)
            link = Link(self, caller, server)
            replies = asyncio.create_task(link.answer(up))
            with contextlib.suppress(OSError):
                await link.ask(down)
            server.close()
            replies.cancel()
            await asyncio.wait({replies})
        caller.transport.abort()


class Link:
    """One connection of a caller, and ours to the server for it."""

    def __init__(self, proxy: FaultProxy, caller: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy, self._caller, self._server = proxy, caller, server
        self._asking = False  # the request that is under way was counted
        self._drops = False

    async def ask(self, down: asyncio.StreamReader) -> None:
        """Pass on what the caller says, until he or a fault ends it."""
        while data := await down.read(1 << 18):
            fault = self._proxy.next_fault(data)
            if not self._asking:
                self._asking = True
                if isinstance(self._proxy.upstream, int):
                    line = data.partition(b"\r\n")[0].decode("latin-1")
                    self._proxy.note(what="request", at_s=arrived_s(self._caller), line=line[:120])
            if fault:
                self._proxy.note(what="fault", fault=fault, at_s=time.time())
            if fault == "cut_before":
                return
            if fault == "black_hole":
                await asyncio.sleep(self._proxy.hole_s)
                return
            if fault == "delay":
                await asyncio.sleep(self._proxy.delay_s)
            self._drops = self._drops or fault == "drop_reply"
            self._server.write(data[: len(data) // 2] if fault == "cut_during" else data)
            await self._server.drain()
            if fault in {"cut_during", "cut_after"}:
                return

    async def answer(self, up: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await up.read(1 << 18):
                self._asking = False
                if self._drops:
                    self._proxy.dropped()
                    break
                self._caller.write(data)
                await self._caller.drain()
        self._caller.transport.abort()


def dealt_in(log: Path) -> list[str]:
    """Return the faults that former lives noted, oldest first."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [note["fault"] for note in found if note.get("what") == "fault"]


async def run(listen: Address, upstream: Address, log: Path, seed: int, every_s: float) -> None:
    """Serve until SIGTERM."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    with log.open("a") as lines:
        proxy = FaultProxy(upstream, lines, random.Random(seed), every_s, dealt_in(log))
        loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(proxy, "calm", True))
        if isinstance(listen, int):
            await asyncio.start_server(proxy.serve, "127.0.0.1", listen)
        else:
            await asyncio.start_unix_server(proxy.serve, listen)
        await stop.wait()


def main(arguments: Sequence[str]) -> None:
    wish = json.loads(arguments[0])
    if isinstance(wish["listen"], str):
        Path(wish["listen"]).unlink(missing_ok=True)  # what a killed one left
    asyncio.run(run(wish["listen"], wish["upstream"], Path(wish["log"]), wish["seed"], wish["every_s"]))


if __name__ == "__main__":
    main(sys.argv[1:])
