"""SIGTERM under load: back in ten seconds, nothing lost, and an open event stream does not delay it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import TILL, TOKEN, configuration, fed, keep, native, route
from tests.e2e.process import Flashd
from tests.until import until

PACED: dict[str, object] = {"rate": "100/s", "settle_s": 0.5, "timeout_s": 5}


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    erp = SimulatedErp(tmp_path, limit=5000).start()
    yield erp
    erp.close()


@pytest.fixture
def flashd(tmp_path: Path, erp: SimulatedErp) -> Iterator[Flashd]:
    """A daemon with an embedded store of its own."""
    keep(tmp_path, till_token=TOKEN)
    daemon = Flashd(tmp_path, configuration(tmp_path, native(), fed(erp.url, **PACED))).start()
    yield daemon
    daemon.close()


class Load:
    """Orders from four clients until told to stop; remembers what was answered 2xx."""

    def __init__(self, flashd: Flashd) -> None:
        self.flashd = flashd
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.enough = asyncio.Event()

    async def run(self, clients: int = 4) -> None:
        async with aiohttp.ClientSession(headers=TILL, timeout=aiohttp.ClientTimeout(5)) as session:
            await asyncio.gather(*(self._client(session, number) for number in range(clients)))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        serial = 0
        while True:
            serial += 1
            order_id = f"{number}-{serial}"
            body = {
                "id": order_id,
                "status": "paid",
                "currency": "EUR",
                "lines": [{"sku": "TEE", "quantity": 1, "unit_price": 1000}],
                "total": 1000,
            }
            try:
                async with session.post(f"http://127.0.0.1:{self.flashd.intake}/v1/orders", json=body) as answer:
                    if answer.status < 300:
                        self.acknowledged.add(order_id)
                    else:
                        self.refused += 1
            except (aiohttp.ClientError, TimeoutError):
                return  # it is gone
            if len(self.acknowledged) >= 200:
                self.enough.set()


def booked(erp: SimulatedErp) -> list[str]:
    """Every order in the ERP's books, as often as it stands there."""
    return [entry["order"]["order_id"] for entries in erp.bookings().values() for entry in entries]


async def listen(flashd: Flashd, opened: asyncio.Event) -> None:
    """Keep an event stream open until the daemon ends it."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{flashd.admin}/events") as answer:
        assert answer.status == 200
        opened.set()
        with suppress(aiohttp.ClientPayloadError):  # under load it is cut rather than ended: what counts is the time
            async for _ in answer.content:
                pass


async def test_sigterm_under_load_returns_in_ten_seconds_and_loses_nothing(flashd: Flashd, erp: SimulatedErp) -> None:
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
    opened = asyncio.Event()
    stream = asyncio.create_task(listen(flashd, opened))
    await asyncio.wait_for(opened.wait(), 10)
    load = Load(flashd)
    running = asyncio.create_task(load.run())
    await asyncio.wait_for(load.enough.wait(), 30)
    code, took_s = await asyncio.to_thread(flashd.terminate)
    await running
    await stream
    assert code == 0, flashd.log.read_text()[-3000:]
    assert took_s < 10
    flashd.start()
    await until(lambda: load.acknowledged <= set(booked(erp)), "every acknowledged order is booked", 60)
    assert len(booked(erp)) == len(set(booked(erp)))
    flashd.terminate()
    report = flashd.run("audit", "--json")
    assert report.returncode == 0, report.stdout + report.stderr


async def test_sigkill_under_load_loses_nothing_that_was_acknowledged(flashd: Flashd, erp: SimulatedErp) -> None:
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
    load = Load(flashd)
    running = asyncio.create_task(load.run())
    await asyncio.wait_for(load.enough.wait(), 30)
    flashd.kill()
    await running
    flashd.start()
    await until(lambda: load.acknowledged <= set(booked(erp)), "every acknowledged order is booked", 60)
    assert len(booked(erp)) == len(set(booked(erp)))


async def test_many_stuck_backends_delay_the_stop_no_longer_than_one(tmp_path: Path) -> None:
    keep(tmp_path, till_token=TOKEN)
    names = [f"erp{number}" for number in range(5)]
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it accepts, and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/orders"
        stuck = [fed(url, name, **{**PACED, "timeout_s": 30}) for name in names]
        routes = [*(route(name, sku=name) for name in names), route("erp0")]
        daemon = Flashd(tmp_path, configuration(tmp_path, native(), *stuck, *routes)).start()
        try:
            for name in names:
                await asyncio.to_thread(daemon.ask_admin, "PUT", f"/admin/v1/stock/{name}", {"on_hand": 10})
                line = {"sku": name, "quantity": 1, "unit_price": 1000}
                body = {"id": name, "status": "paid", "currency": "EUR", "lines": [line], "total": 1000}
                data = json.dumps(body).encode()
                assert (await asyncio.to_thread(daemon.call, "POST", "/v1/orders", data, TILL))[0] == 201

            def flying() -> bool:
                backends = daemon.ask_admin("GET", "/admin/v1/backends")["backends"]
                return all(backend["flow"]["in_flight"] for backend in backends)

            await until(flying, "each backend has one order on its way")
            code, took_s = await asyncio.to_thread(daemon.terminate)
        finally:
            daemon.close()
    assert code == 0
    assert took_s < 7
