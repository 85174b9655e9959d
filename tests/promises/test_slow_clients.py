"""
A thousand clients at each listener that dawdle, against the daemon as a process: in their heads, in their bodies, or
saying nothing.

Good callers come over new connections, as webhooks do; their times are measured side by side in one run.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from redis import Redis

from tests.configuration import TOKEN, configuration, fed, keep, native, section
from tests.e2e.process import Flashd
from tests.servers import Server

pytestmark = pytest.mark.timeout(600)  # a busy machine starts a process in twenty seconds

OPS = "ops-token-of-the-test"
ROOT = Path(__file__).parent.parent.parent
SLOW = 1000  # at each listener
OPENING_S = 4.0  # in which they come: all stand together before the first is closed
ORDERS, PER_SECOND = 900, 100


@pytest.fixture
def descriptors() -> Iterator[None]:
    """A shell's usual limit for whoever is started: what 1,024 files would not be enough for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def flashd(tmp_path: Path, valkey: Server, descriptors: None) -> Iterator[Flashd]:
    with Redis(unix_socket_path=valkey.socket_path) as client:
        client.flushall()  # what other tests left there is half a store
    keep(tmp_path, till_token=TOKEN, ops_token=OPS)
    ops = section("[admin.tokens]", name="ops", secret={"file": "ops.token"}, scopes=["operate"])
    daemon = Flashd(tmp_path, configuration(tmp_path, ops, native(), fed(), store=valkey.url))
    yield daemon.start()
    daemon.close()


async def crowd_of(flashd: Flashd, count: int, seconds: float) -> asyncio.subprocess.Process:
    """Let so many dawdle, in a process of their own, half of them at each listener."""
    addresses = [f"POST {flashd.intake} /v1/orders {TOKEN}", f"PUT {flashd.admin} /admin/v1/stock/TEE {OPS}"]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.promises.slow_crowd",
        str(count),
        str(seconds),
        *addresses,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )


async def told(crowd: asyncio.subprocess.Process, within_s: float) -> str:
    assert crowd.stdout is not None
    return (await asyncio.wait_for(crowd.stdout.readline(), within_s)).decode().strip()


async def good(flashd: Flashd, prefix: str, count: int, per_second: int) -> list[float]:
    """Send orders over new connections at a fixed rate; return how long each took, in ms, sorted."""
    took_ms: list[float] = []

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        line = {"sku": "TEE", "quantity": 1, "unit_price": 100}
        order = {"id": f"{prefix}-{number}", "currency": "EUR", "lines": [line], "total": 100}
        began = time.monotonic()
        async with session.post(f"http://127.0.0.1:{flashd.intake}/v1/orders", json=order) as answer:
            assert answer.status == 201, await answer.text()
            await answer.read()
        took_ms.append((time.monotonic() - began) * 1000)

    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, force_close=True), headers=headers
    ) as session:
        began, asked = time.monotonic(), []
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
            asked.append(asyncio.create_task(one(session, number)))
        await asyncio.gather(*asked)
    return sorted(took_ms)


def p99(sorted_ms: list[float]) -> float:
    return sorted_ms[min(len(sorted_ms) - 1, round(len(sorted_ms) * 0.99))]


def put_stock(flashd: Flashd) -> None:
    body = json.dumps({"on_hand": 1_000_000}).encode()
    headers = {"Authorization": f"Bearer {OPS}", "Content-Type": "application/json"}
    status, said, _ = flashd.call("PUT", "/admin/v1/stock/TEE", body, headers, port=flashd.admin)
    assert status == 200, said


def is_quiet() -> bool:
    """Whether this machine has time to spare: elsewhere those who wait for the processor as well are measured."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    print(f"load {load:.1f} on {cores} cores: times are {'judged' if load < 1.5 * cores else 'only printed'}")
    return load < 1.5 * cores


@pytest.mark.slow
async def test_a_thousand_slow_clients_at_each_listener_hold_up_nobody_and_are_closed(flashd: Flashd) -> None:
    put_stock(flashd)
    await good(flashd, "warm", 100, 100)
    alone = p99(await good(flashd, "alone", ORDERS, PER_SECOND))
    crowd = await crowd_of(flashd, 2 * SLOW, OPENING_S)
    try:
        beside = p99(await good(flashd, "beside", ORDERS, PER_SECOND))
        assert await told(crowd, 30) == "open"
        seen = json.loads(await told(crowd, 30))
        await crowd.wait()
    finally:
        with suppress(ProcessLookupError):
            crowd.kill()
    print(f"{2 * SLOW} slow clients: {seen}; good requests p99 {alone:.1f} ms alone, {beside:.1f} ms beside them")
    assert seen["answers"] == {"head cut": 668, "body 408": 666, "idle cut": 666}
    quiet = is_quiet()
    assert max(seen["longest_s"].values()) < (10 if quiet else 60)
    if quiet:
        assert beside < 5 * max(alone, 5.0)  # below 5 ms it is the scheduler that is measured

    crowd = await crowd_of(flashd, 2 * SLOW, 1)
    try:
        assert await told(crowd, 30) == "open"
        code, took_s = await asyncio.to_thread(flashd.terminate, 15)
        print(f"stopped under as many in {took_s:.1f} s")
        assert code == 0
        assert json.loads(await told(crowd, 10))
        await crowd.wait()
    finally:
        with suppress(ProcessLookupError):
            crowd.kill()
    assert "descriptors.short" not in flashd.log.read_text()
