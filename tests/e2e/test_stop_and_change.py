"""
SIGTERM under load, with sockets that are stuck on both sides, and a newer version that takes over from an old one.

Nothing that was answered is lost, nothing is booked twice (the backend heeds no key), and the end comes in time.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flashd import __version__
from flashd.demo.simulated_erp import SimulatedErp
from tests.chaos.seeded.bugs import Bug, Edit
from tests.chaos.seeded.copies import copy, plant
from tests.configuration import TILL, TOKEN, configuration, fed, keep, native, route
from tests.e2e.process import Flashd, free_port
from tests.e2e.test_stop import PACED, booked
from tests.e2e.test_store_away import Stream, daemon
from tests.servers import Server, find_server, missing
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

# Another version, as one is in a rolling upgrade: its scripts have other digests, and both must be served at once.
OTHER = Bug(
    "another version",
    "",
    "",
    (
        Edit("__init__.py", f'__version__ = "{__version__}"', '__version__ = "0.0.9"'),
        *(
            Edit(f"store/lua/{name}.lua", f"-- {name} -- ", f"-- {name} -- (as it was) ")
            for name in ("accept", "claim", "finish", "hold", "drop", "peek", "recover")
        ),
    ),
)


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    erp = SimulatedErp(tmp_path, limit=5000, switches=("--not-idempotent",)).start()
    yield erp
    erp.close()


@pytest.fixture
def server() -> Iterator[Server]:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    server = Server("valkey").start()
    yield server
    server.close()


def half_a_request(port: int) -> socket.socket:
    """Begin an order, and never go on."""
    sock = socket.create_connection(("127.0.0.1", port), 5)
    head = f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: {TILL['Authorization']}\r\n"
    sock.sendall(f'{head}Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{{"id": "st'.encode())
    return sock


def told(flashd: Flashd, sku: str, name: str) -> int:
    line = {"sku": sku, "quantity": 1, "unit_price": 1000}
    body = {"id": name, "status": "paid", "currency": "EUR", "lines": [line], "total": 1000}
    return flashd.call("POST", "/v1/orders", json.dumps(body).encode(), TILL)[0]


async def test_stuck_sockets_on_both_sides_hold_up_no_stop_under_load_and_lose_nothing(
    tmp_path: Path, erp: SimulatedErp
) -> None:
    keep(tmp_path, till_token=TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as mute:  # it accepts, and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/orders"
        backends = fed(erp.url, **PACED), fed(url, "mute", **{**PACED, "timeout_s": 60})
        routes = route("mute", sku="MUTE"), route()
        flashd = Flashd(tmp_path, configuration(tmp_path, native(), *backends, *routes)).start()
        try:
            for sku in ("TEE", "MUTE"):
                await asyncio.to_thread(flashd.ask_admin, "PUT", f"/admin/v1/stock/{sku}", {"on_hand": 10_000})
            assert [await asyncio.to_thread(told, flashd, "MUTE", f"m{n}") for n in range(3)] == [201] * 3
            stream = Stream(flashd, 60)
            with closing(half_a_request(flashd.intake)), closing(half_a_request(flashd.intake)):
                running = asyncio.create_task(stream.run(3, "load"))
                await until(lambda: len(stream.acknowledged) > 60, "it is under load", 20)
                code, took_s = await asyncio.to_thread(flashd.terminate)
                await asyncio.gather(running, return_exceptions=True)  # the rest finds nobody
            assert code == 0, flashd.log.read_text()[-2000:]
            assert took_s < 12
            print(f"{len(stream.acknowledged)} answered 2xx, stopped in {took_s:.1f} s")
            flashd.start()
            await until(lambda: stream.acknowledged <= set(booked(erp)), "every acknowledged order is booked", 60)
            assert len(booked(erp)) == len(set(booked(erp)))
            orders = [flashd.ask_admin("GET", f"/admin/v1/orders/till/m{number}") for number in range(3)]
            assert {one["summary"]["state"] for one in orders} <= {"queued", "sending", "in_doubt"}  # kept, all three
        finally:
            flashd.close()


def version_of(flashd: Flashd) -> str:
    return flashd.run("--version").stdout.split()[-1]


class Platform:
    """Sends each order to whoever takes it, until it is taken: as a load balancer with two daemons behind it does."""

    def __init__(self, daemons: list[Flashd]) -> None:
        self.daemons = daemons
        self.taken: set[str] = set()
        self.enough = asyncio.Event()

    async def run(self, client: int) -> None:
        number = 0
        while not self.enough.is_set():
            number += 1
            name = f"{client}-{number}"
            while name not in self.taken:
                for one in self.daemons:
                    if await asyncio.to_thread(self._sent, one, name):
                        self.taken.add(name)
                        break
            await asyncio.sleep(0.01)

    async def go_on(self, orders: int = 60) -> None:
        """Return when so many more were taken."""
        enough = len(self.taken) + orders
        await until(lambda: len(self.taken) >= enough, "orders are taken", 60)

    @staticmethod
    def _sent(flashd: Flashd, name: str) -> bool:
        try:
            return told(flashd, "TEE", name) < 300
        except (OSError, http.client.HTTPException):
            return False


async def test_a_newer_version_takes_over_under_load_and_nothing_is_lost_or_sent_twice(
    tmp_path: Path, server: Server, erp: SimulatedErp
) -> None:
    """There and back: old, both, new, both, old; scripts of both versions are known to the store at once."""
    former = copy(tmp_path / "former")
    plant(OTHER, former / "flashd")
    old, new = (daemon(tmp_path, server, erp, rate="100/s", name=name) for name in ("old", "new"))
    old.environ = {"PYTHONPATH": str(former)}
    try:
        for one in (old, new):
            one.intake, one.admin = free_port(), free_port()
        await asyncio.to_thread(old.start)
        old.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1_000_000})
        versions = [await asyncio.to_thread(version_of, old)]
        platform = Platform([old, new])
        clients = [asyncio.create_task(platform.run(client)) for client in range(4)]
        for coming, going in ((new, old), (old, new)):
            await platform.go_on()
            await asyncio.to_thread(coming.start)
            versions.append(await asyncio.to_thread(version_of, coming))
            await platform.go_on()
            code, took_s = await asyncio.to_thread(going.terminate)
            assert code == 0, going.log.read_text()[-2000:]
            assert took_s < 12
        await platform.go_on()
        platform.enough.set()
        await asyncio.gather(*clients)
        await until(lambda: platform.taken <= set(booked(erp)), "every order is booked", 60)
        print(f"{len(platform.taken)} orders, versions {versions}")
        assert versions == ["0.0.9", __version__, "0.0.9"]
        assert len(booked(erp)) == len(set(booked(erp)))
        assert set(booked(erp)) == platform.taken
        old.terminate()
        audit = await asyncio.to_thread(new.run, "audit")
        assert audit.returncode == 0, audit.stdout + audit.stderr
    finally:
        for one in (old, new):
            one.close()
