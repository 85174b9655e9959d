"""
Load: 64 connections that each send the next request as soon as the last one was answered.

wrk does it where it is installed; else a generator of our own, which takes more of the machine than wrk and so shows
lower figures on both sides of every ratio.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.traffic import Traffic

SCRIPT = Path(__file__).parent / "load.lua"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of load came to."""

    answered: int
    refused: int  # answers that are no 2xx or 3xx
    broken: int  # connections that failed, and answers that did not come in time
    took_us: int
    p50_us: int
    p99_us: int

    @property
    def per_second(self) -> float:
        return (self.answered - self.refused) * 1e6 / max(1, self.took_us)


def generator() -> str:
    """Name what makes the load."""
    return "wrk -t1" if shutil.which("wrk") else "the bench's own asyncio generator"


def load(port: int, traffic: Traffic, *, seconds: int, connections: int) -> Load:
    """Send *traffic* for some seconds."""
    if wrk := shutil.which("wrk"):
        return _wrk(wrk, port, traffic, seconds=seconds, connections=connections)
    return uvloop.run(_own(port, traffic, seconds=seconds, connections=connections))


def _wrk(wrk: str, port: int, traffic: Traffic, *, seconds: int, connections: int) -> Load:
    arguments = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "5s", "-s", str(SCRIPT)]
    found = subprocess.run(
        [wrk, *arguments, f"http://127.0.0.1:{port}/", "--", str(traffic.path), str(traffic.size)],
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    for line in found.stdout.splitlines():
        if line.startswith("RESULT "):
            return msgspec.json.decode(line.removeprefix("RESULT "), type=Load)
    raise RuntimeError(f"wrk said nothing of its result: {found.stdout}{found.stderr}")


class _Caller(asyncio.Protocol):
    """One connection: the next request goes out with the last answer."""

    def __init__(self, book: _Book) -> None:
        self._book = book
        self._seen = b""
        self._sent_s = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        self._sent_s = time.perf_counter()
        self._transport.write(self._book.next())

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        _, _, after = head.lower().partition(b"content-length:")
        if not end or len(body) < int(after.split(b"\r\n", 1)[0] or b"0"):
            return
        self._seen = b""
        self._book.note(ok=head[9:10] in b"23", took_s=time.perf_counter() - self._sent_s)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._book.broken += exc is not None


class _Book:
    """What all connections send and saw."""

    def __init__(self, traffic: Traffic) -> None:
        self._file = traffic.path.open("rb")
        self._size = traffic.size
        self.times_s: list[float] = []
        self.refused = 0
        self.broken = 0

    def next(self) -> bytes:
        text = self._file.read(self._size)
        if len(text) < self._size:
            self._file.seek(0)
            text = self._file.read(self._size)
        return text

    def note(self, *, ok: bool, took_s: float) -> None:
        self.times_s.append(took_s)
        self.refused += not ok

    def close(self) -> None:
        self._file.close()


async def _own(port: int, traffic: Traffic, *, seconds: int, connections: int) -> Load:
    loop, book = asyncio.get_running_loop(), _Book(traffic)
    began_s = time.perf_counter()
    pairs = [await loop.create_connection(lambda: _Caller(book), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    took_us = int((time.perf_counter() - began_s) * 1e6)
    for transport, _ in pairs:
        transport.abort()
    times_s = book.times_s or [0.0, 0.0]
    cuts = statistics.quantiles(times_s, n=100)
    book.close()
    return Load(
        answered=len(book.times_s),
        refused=book.refused,
        broken=book.broken,
        took_us=took_us,
        p50_us=int(cuts[49] * 1e6),
        p99_us=int(cuts[98] * 1e6),
    )
