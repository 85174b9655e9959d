"""The ceiling of intake: groups of 256 orders straight into the accept script, durable, no HTTP anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.recorder import Recorder, replay
from benchmarks.site import PLENTY
from benchmarks.store import client_of, new_store
from benchmarks.traffic import SKU
from flashd.channels.native import decode_order
from flashd.config import SecretText, StoreConfig
from flashd.domain.order import Incoming
from flashd.domain.stock import StockLevel
from flashd.store.connection import connect
from flashd.store.ledger import RedisLedger

GROUP = 256
GROUPS = 80
ORDERS = GROUP * GROUPS
_IN_FLIGHT = 2  # the server never waits for us


class Ceiling(msgspec.Struct, frozen=True):
    """Orders a second, durable before the answer."""

    script: float  # what the ledger says, recorded beforehand and said again
    ledger: float  # RedisLedger.accept: packing, the client and reading the replies included


@contextlib.asynccontextmanager
async def ledger_at(path: str) -> AsyncIterator[RedisLedger]:
    """Hand out a ledger of the pool main on the server at that socket, as the daemon makes it."""
    client = connect(StoreConfig(), lambda _: SecretText(""), url=f"unix://{path}")
    try:
        yield RedisLedger(client, "main")
    finally:
        await client.aclose()


def grouped(bodies: Sequence[bytes]) -> list[list[Incoming]]:
    """Decode native orders, and put them into groups."""
    orders = [decode_order(body, "till") for body in bodies]
    return [orders[at : at + GROUP] for at in range(0, len(orders), GROUP)]


async def accept(ledger: RedisLedger, groups: Sequence[Sequence[Incoming]], *, in_flight: int = _IN_FLIGHT) -> None:
    """Let groups of orders be accepted, so many calls under way at once."""
    slots = asyncio.Semaphore(in_flight)

    async def one(group: Sequence[Incoming]) -> None:
        async with slots:
            await ledger.accept(group, ["sink-00"] * len(group), since_ms=0)

    await asyncio.gather(*map(one, groups))


async def measure(folder: Path, bodies: Sequence[bytes]) -> Ceiling:
    """Run both ways, each on a server of its own."""
    groups = grouped(bodies)
    first, second = new_store(), new_store()
    try:
        async with ledger_at(first.socket_path) as ledger:
            await _begin(ledger, groups[0])
            began_s = time.perf_counter()
            await accept(ledger, groups[1:])
            through_ledger = GROUP * (len(groups) - 1) / (time.perf_counter() - began_s)
        first.close()
        before, calls = await _recorded(folder, groups)
        took_s = await asyncio.to_thread(replay, second.socket_path, before, calls, in_flight=_IN_FLIGHT)
        with client_of(second) as client:
            if (count := client.zcard("fd:{main}:q:sink-00")) != len(bodies):
                raise RuntimeError(f"only {count} of {len(bodies)} orders came into being")
        return Ceiling(GROUP * len(calls) / took_s, through_ledger)
    finally:
        first.close()
        second.close()


async def _begin(ledger: RedisLedger, group: Sequence[Incoming]) -> None:
    """Count the stock, and accept a first group: then scripts are loaded and backends known."""
    await ledger.recount(StockLevel(sku=SKU, location="main", on_hand=PLENTY))
    await accept(ledger, [group])


async def _recorded(folder: Path, groups: Sequence[Sequence[Incoming]]) -> tuple[bytes, list[bytes]]:
    """Return what the ledger says to begin with, and what it says for each group."""
    server = new_store()
    try:
        async with Recorder(server.socket_path, folder / "recorder") as recorder:
            async with ledger_at(str(recorder.path)) as ledger:
                await _begin(ledger, groups[0])
                before = recorder.take()
                calls = []
                for group in groups[1:]:
                    await accept(ledger, [group])
                    calls.append(recorder.take())
            return before, calls
    finally:
        server.close()
