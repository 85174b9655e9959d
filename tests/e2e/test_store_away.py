"""The store goes away, forgets its scripts, or is shared: nothing is lost, nothing is sent twice, nobody is flooded."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import TILL, TOKEN, configuration, fed, keep, native
from tests.e2e.process import Flashd
from tests.e2e.test_stop import booked
from tests.servers import Server, find_server, missing
from tests.until import until


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    erp = SimulatedErp(tmp_path, limit=5000).start()
    yield erp
    erp.close()


@pytest.fixture
def server() -> Iterator[Server]:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    server = Server("valkey").start()
    yield server
    server.close()


def daemon(folder: Path, server: Server, erp: SimulatedErp, *, rate: str, name: str = "flashd") -> Flashd:
    keep(folder, till_token=TOKEN)
    backend = fed(erp.url, rate=rate, settle_s=0.5, timeout_s=5)
    text = configuration(folder, native(), backend, store=server.url, state=f"state-{name}")
    return Flashd(folder, text, name=name)


@dataclass
class Stream:
    """Orders at a fixed rate, whatever becomes of them."""

    flashd: Flashd
    per_second: int
    acknowledged: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    unmended: list[str] = field(default_factory=list)  # refusals without Retry-After
    slowest_s: float = 0.0

    async def run(self, seconds: float, prefix: str) -> None:
        connector = aiohttp.TCPConnector(limit=400)
        async with aiohttp.ClientSession(connector=connector, headers=TILL) as session:
            began, asked = time.monotonic(), []
            for number in range(round(seconds * self.per_second)):
                await asyncio.sleep(max(0.0, began + number / self.per_second - time.monotonic()))
                asked.append(asyncio.create_task(self._order(session, f"{prefix}-{number}")))
            await asyncio.gather(*asked)

    async def _order(self, session: aiohttp.ClientSession, order_id: str) -> None:
        line = {"sku": "TEE", "quantity": 1, "unit_price": 1000}
        body = {"id": order_id, "status": "paid", "currency": "EUR", "lines": [line], "total": 1000}
        began = time.monotonic()
        async with session.post(f"http://127.0.0.1:{self.flashd.intake}/v1/orders", json=body) as answer:
            await answer.read()
            self.statuses[answer.status] += 1
            if answer.status < 300:
                self.acknowledged.add(order_id)
            elif "Retry-After" not in answer.headers:
                self.unmended.append(order_id)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def is_up(flashd: Flashd, what: str) -> int:
    return flashd.call("GET", f"/{what}", port=flashd.admin)[0]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_a_store_that_is_away_for_ten_seconds_is_503_at_once_and_loses_nothing(
    tmp_path: Path, server: Server, erp: SimulatedErp, how: str
) -> None:
    flashd = daemon(tmp_path, server, erp, rate="200/s").start()
    try:
        flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
        stream, away = Stream(flashd, 100), Stream(flashd, 100)
        await stream.run(1, "before")
        assert stream.statuses == {201: 100}
        assert server.process is not None
        if how == "killed":
            server.kill()
        else:
            server.process.send_signal(signal.SIGSTOP)
        outage = asyncio.create_task(away.run(10, "away"))
        await until(lambda: is_up(flashd, "readyz") == 503, "it says that it is not ready", 6)
        assert await asyncio.to_thread(is_up, flashd, "livez") == 200
        await outage
        assert set(away.statuses) == {503}
        assert away.unmended == []
        assert away.slowest_s < (1 if how == "killed" else 3)  # calls in flight wait for [store] timeout_s = 2
        if how == "killed":
            server.start()
        else:
            server.process.send_signal(signal.SIGCONT)
        await until(lambda: is_up(flashd, "readyz") == 200, "it is ready again", 5)
        await stream.run(1, "after")
        assert len(stream.acknowledged) == 200
        await until(lambda: stream.acknowledged <= set(booked(erp)), "every acknowledged order is booked")
        assert len(booked(erp)) == len(set(booked(erp)))
        assert flashd.run("audit").returncode == 0
    finally:
        flashd.close()


async def test_a_store_that_forgets_its_scripts_under_load_loses_nothing(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    flashd = daemon(tmp_path, server, erp, rate="200/s").start()
    try:
        flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
        stream = Stream(flashd, 100)
        running = asyncio.create_task(stream.run(4, "order"))
        flushes = 0
        async with Redis(unix_socket_path=server.socket_path) as client:
            while not running.done():
                await client.script_flush()
                flushes += 1
                await asyncio.sleep(0.05)
        await running
        assert flushes > 20
        assert stream.statuses[201] >= 390, stream.statuses
        assert set(stream.statuses) <= {201, 503}
        await until(lambda: stream.acknowledged <= set(booked(erp)), "every acknowledged order is booked")
        assert len(booked(erp)) == len(set(booked(erp)))
        assert flashd.run("audit").returncode == 0
    finally:
        flashd.close()


@pytest.mark.slow
async def test_two_daemons_on_one_store_share_the_rate_of_one_backend(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    pair = [daemon(tmp_path, server, erp, rate="20/s", name=name) for name in ("one", "two")]
    try:
        for flashd in pair:
            flashd.start()
        pair[0].ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
        streams = [Stream(flashd, 40) for flashd in pair]
        await asyncio.gather(*(stream.run(3, f"d{index}") for index, stream in enumerate(streams)))
        acknowledged = streams[0].acknowledged | streams[1].acknowledged
        assert len(acknowledged) == 240
        await until(lambda: len(booked(erp)) >= 80, "a third is booked")
        pair[0].kill()
        await until(lambda: len(booked(erp)) >= 140, "the other goes on")
        pair[0].start()
        assert pair[1].process is not None
        pair[1].process.send_signal(signal.SIGSTOP)
        await until(lambda: len(booked(erp)) >= 200, "the first leads again")
        pair[1].process.send_signal(signal.SIGCONT)
        await until(lambda: acknowledged <= set(booked(erp)), "every acknowledged order is booked")
        assert len(booked(erp)) == len(set(booked(erp)))
        came_s = [entry["at_us"] / 1e6 for entry in erp.entries("request")]
        assert max(sum(first <= other < first + 1 for other in came_s) for first in came_s) <= 21  # 20 as they left
    finally:
        for flashd in pair:
            flashd.close()
