"""The ceiling of intake: batches of 256 orders straight from one process into the accept script, no HTTP anywhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.connection import UnixDomainSocketConnection

from benchmarks.traffic import SKU
from flashd.channels.native import decode_order
from flashd.domain.order import Incoming
from flashd.domain.stock import StockLevel
from flashd.store.embedded import EmbeddedServer
from flashd.store.ledger import RedisLedger
from flashd.store.scripts import load

BATCH = 256
BATCHES = 48
ORDERS = BATCH * BATCHES * 2
_IN_FLIGHT = 2  # the server never waits for us


class Ceiling(msgspec.Struct, frozen=True):
    """Orders a second, durable before the answer."""

    script: float  # packed beforehand
    ledger: float  # RedisLedger.accept: packing, redis-py and reading the replies included


class _Tap:
    """A client that keeps the calls of accept instead of making them."""

    def __init__(self, client: Redis) -> None:
        self._client: Any = client
        self.kept: list[tuple[str | bytes | int, ...]] | None = None

    async def evalsha(self, sha: str, count: int, *rest: str | bytes | int) -> Any:
        if self.kept is None:
            return await self._client.evalsha(sha, count, *rest)
        self.kept.append(("EVALSHA", sha, count, *rest))
        return [[b"accepted", b"queued"]] * BATCH

    async def eval(self, source: str, count: int, *rest: str | bytes | int) -> Any:
        return await self._client.eval(source, count, *rest)


async def measure(folder: Path, bodies: Sequence[bytes]) -> Ceiling:
    """Run both ways on a server of their own, each with half of the bodies."""
    orders = [decode_order(body, "till") for body in bodies]
    batches = [orders[at : at + BATCH] for at in range(0, len(orders), BATCH)]
    half = len(batches) // 2
    server = EmbeddedServer(str(folder))
    await server.start()
    client = Redis(unix_socket_path=str(server.socket_path))
    try:
        tap: Any = _Tap(client)
        ledger = RedisLedger(tap, "main")
        await ledger.recount(StockLevel(sku=SKU, location="main", on_hand=1_000_000_000))
        await ledger.accept([], [], since_ms=0)
        await _accept(ledger, batches[:1])  # loads the script, and learns the backends
        began_s = time.perf_counter()
        await _accept(ledger, batches[1:half])
        through_ledger = BATCH * (half - 1) / (time.perf_counter() - began_s)
        tap.kept = []
        await _accept(ledger, batches[half:])
        took_s = await asyncio.to_thread(_pump, str(server.socket_path), tap.kept)
        assert await client.zcard("fd:{main}:q:sink") == len(orders)
        return Ceiling(BATCH * len(tap.kept) / took_s, through_ledger)
    finally:
        await client.aclose()
        await server.stop()


async def _accept(ledger: RedisLedger, batches: Sequence[Sequence[Incoming]]) -> None:
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(batch: Sequence[Incoming]) -> None:
        async with slots:
            await ledger.accept(batch, ["sink"] * len(batch), since_ms=0)

    await asyncio.gather(*map(one, batches))


def _pump(path: str, calls: Sequence[tuple[str | bytes | int, ...]]) -> float:
    """Send calls that were packed beforehand; return the seconds until the last answer."""
    kind: Any = UnixDomainSocketConnection  # redis-py types its connections by halves
    connection = kind(path=path)
    connection.connect()
    try:
        connection.send_command("SCRIPT", "LOAD", load("accept").source)
        connection.read_response()
        packed = [connection.pack_command(*call) for call in calls]
        began_s = time.perf_counter()
        for index, command in enumerate(packed):
            connection.send_packed_command(command)
            if index >= _IN_FLIGHT - 1:
                connection.read_response()
        for _ in range(min(len(packed), _IN_FLIGHT - 1)):
            connection.read_response()
        return time.perf_counter() - began_s
    finally:
        connection.disconnect()
