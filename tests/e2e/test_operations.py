"""docs/operations.md, followed: backups while orders come, restores that lose and double nothing, rolling upgrades."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest

from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import TILL, TOKEN, configuration, fed, keep, native, signed
from tests.e2e.process import Flashd
from tests.e2e.runbook import Runbook, steps
from tests.servers import Server, find_server, missing
from tests.shops.shopify import SimulatedShopify
from tests.until import until

pytestmark = pytest.mark.timeout(600)  # a busy machine starts a process in twenty seconds

# How flashd feeds an ERP that can be asked, and books a key twice that comes twice.
ASKED: dict[str, object] = {"rate": "200/s", "settle_s": 0.5, "idempotent": False}


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    """An ERP that can be asked, and books a key twice that comes twice."""
    found = SimulatedErp(tmp_path, limit=5000, switches=("--not-idempotent",)).start()
    yield found
    found.close()


def booked(erp: SimulatedErp) -> Counter[str]:
    return Counter(
        f"{entry['order']['channel']}:{entry['order']['order_id']}"
        for entries in erp.bookings().values()
        for entry in entries
    )


class Till:
    """Sells at one or several daemons, and sends an order again until somebody takes it."""

    def __init__(self, *daemons: Flashd) -> None:
        self.daemons = daemons
        self.sold: list[str] = []  # answered 2xx
        self.again = 0
        self.over = asyncio.Event()
        self._numbers = itertools.count(1)
        self._turn = itertools.cycle(range(len(daemons)))

    async def sell(self, session: aiohttp.ClientSession, count: int) -> None:
        for _ in range(count):
            await self.send(session, f"t{next(self._numbers)}")

    async def send(self, session: aiohttp.ClientSession, order_id: str) -> None:
        line = {"sku": "TEE", "quantity": 1, "unit_price": 1000}
        order = {"id": order_id, "status": "paid", "currency": "EUR", "lines": [line], "total": 1000}
        async with asyncio.timeout(60):
            while True:
                port = self.daemons[next(self._turn)].intake
                try:
                    async with session.post(f"http://127.0.0.1:{port}/v1/orders", json=order, headers=TILL) as answer:
                        if answer.status < 300:
                            break
                        assert answer.status == 503, await answer.text()
                except (aiohttp.ClientError, TimeoutError):
                    pass
                self.again += 1
                await asyncio.sleep(0.05)
        if order_id not in self.sold:
            self.sold.append(order_id)

    async def run(self) -> None:
        """Sell from four lanes until it is over."""

        async def lane() -> None:
            timeout = aiohttp.ClientTimeout(5)
            async with aiohttp.ClientSession(timeout=timeout) as session:
                while not self.over.is_set():
                    await self.sell(session, 1)
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(lane() for _ in range(4)))


def quiet(daemon: Flashd) -> bool:
    """Whether nothing is queued, on its way or in doubt."""
    (backend,) = daemon.ask_admin("GET", "/admin/v1/backends")["backends"]
    flow = backend["flow"]
    return not (flow["queued"] or flow["in_flight"] or flow["in_doubt"])


def generation_file(daemon: Flashd) -> Path:
    return daemon.folder / "state" / "generation.json"


class Host:
    """One daemon, its store, and the operator with the page."""

    def __init__(self, folder: Path, erp: SimulatedErp, shop: SimulatedShopify, server: Server | None) -> None:
        keep(folder, till_token=TOKEN, shop_secret=shop.secret, shop_access=shop.token)
        since = datetime.now(UTC).replace(microsecond=0)
        polled = signed("shop", url=shop.url, access_token={"file": "shop.access"}, poll_s=0.5, since=since)
        url = server.url if server else "embedded"
        self.daemon = Flashd(folder, configuration(folder, native(), polled, fed(erp.url, **ASKED), store=url))
        self._server = server
        store = server.folder if server else folder / "state" / "store"
        names = {"STORE": store, "BACKUP": folder / "backup", "TRIAL": folder / "trial"}
        units: dict[str, Callable[[], object]] = {
            "systemctl stop flashd": self.daemon.terminate,
            "systemctl start flashd": self.daemon.start,
            "systemctl stop redis-server": self._stop_server,
            "systemctl start redis-server": self._start_server,
        }
        self.book = Runbook(folder, {name: str(path) for name, path in names.items()}, units, self.daemon.path)

    def _stop_server(self) -> None:
        assert self._server is not None
        assert self._server.process is not None
        self._server.process.send_signal(signal.SIGTERM)
        self._server.process.wait(20)

    def _start_server(self) -> None:
        assert self._server is not None
        self._server.start()


async def lose_and_restore(host: Host, shop: SimulatedShopify, erp: SimulatedErp, *, adopting: bool) -> Counter[str]:
    """Back up under load, sell on, restore, let all come back; return the ERP's books."""
    daemon, book = host.daemon, host.book
    kind = "restore server" if host._server else "restore embedded"
    await asyncio.to_thread(daemon.start)
    daemon.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 10_000})
    till = Till(daemon)
    for _ in range(5):
        assert await shop.sell("TEE") is not None
    selling = asyncio.create_task(till.run())
    await until(lambda: len(till.sold) >= 40, "it sells")
    await asyncio.to_thread(book.take, "backup")
    copied, noted = len(till.sold), generation_file(daemon).read_text()
    await until(lambda: len(till.sold) >= copied + 40, "it sells on")
    for _ in range(5):
        assert await shop.sell("TEE") is not None
    await until(lambda: sum(key.startswith("shop:") for key in booked(erp)) == 10, "the shop's orders were polled")
    daemon.ask_admin("POST", "/admin/v1/backends/erp/pause", {"reason": "so that some are lost before they are sent"})
    reached = len(till.sold)
    await until(lambda: len(till.sold) >= reached + 10, "some more")
    await until(lambda: generation_file(daemon).read_text() != noted, "it has noted that it saw more", 20)
    till.over.set()
    await selling
    await asyncio.to_thread(book.take, "try")
    unsent = len(till.sold) + 10 - len(booked(erp))
    assert unsent >= 5

    await asyncio.to_thread(book.take, kind)
    if adopting:
        said = await asyncio.to_thread(book.take, "adopt")
        assert "is older than what was seen before" in said
        assert "asked before anything is sent: erp" in said
    else:
        generation_file(daemon).unlink()  # what the page warns of
        await asyncio.to_thread(daemon.start)
    async with aiohttp.ClientSession() as session:
        for order_id in till.sold:
            await till.send(session, order_id)  # the till sends what it has sold, with the same ids
    wanted = {f"till:{order_id}" for order_id in till.sold}

    def all_back() -> bool:
        have = booked(erp)
        listed = daemon.ask_admin("GET", "/admin/v1/stock")["levels"][0]["sold"]
        return wanted <= set(have) and listed == len(wanted) + 10 and quiet(daemon)

    await until(all_back, "all came back", 90)
    print(
        f"backup after {copied} of {len(till.sold)} orders, {unsent} never sent; {dict(Counter(booked(erp).values()))}"
    )
    return booked(erp)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedded", "redis7"])
async def test_a_backup_made_under_load_is_restored_and_nothing_is_lost_or_sent_twice(
    tmp_path: Path, erp: SimulatedErp, kind: str
) -> None:
    server = None
    if kind == "redis7":
        if find_server(kind) is None or shutil.which("redis-check-aof") is None:
            pytest.skip(missing(kind))
        server = Server(kind).start()
    with_shop = SimulatedShopify(tmp_path).start()
    host = Host(tmp_path, erp, with_shop, server)
    try:
        async with with_shop as shop:
            await shop.create({"sku": "TEE", "stock": 1000})
            books = await lose_and_restore(host, shop, erp, adopting=True)
            assert set(books.values()) == {1}, [key for key, count in books.items() if count > 1]
            said = await asyncio.to_thread(host.book.take, "settle")
            assert "clean" in said
            assert "erp: sent without asking" in said
            assert host.book.taken == [
                "backup",
                "try",
                f"restore {'server' if server else 'embedded'}",
                "adopt",
                "settle",
            ]
            till = Till(host.daemon)
            async with aiohttp.ClientSession() as session:
                await till.send(session, "afterwards")
            await until(lambda: booked(erp)["till:afterwards"] == 1, "it flows without asking")
    finally:
        host.daemon.close()
        with_shop.close()
        if server is not None:
            server.close()


@pytest.mark.slow
async def test_without_adopting_the_backend_would_have_orders_twice(tmp_path: Path, erp: SimulatedErp) -> None:
    """The control: who deletes generation.json instead has what the page warns of."""
    with_shop = SimulatedShopify(tmp_path).start()
    host = Host(tmp_path, erp, with_shop, None)
    try:
        async with with_shop as shop:
            await shop.create({"sku": "TEE", "stock": 1000})
            books = await lose_and_restore(host, shop, erp, adopting=False)
            assert max(books.values()) == 2
    finally:
        host.daemon.close()
        with_shop.close()


def test_each_step_of_the_page_is_one_that_a_shell_can_read() -> None:
    found = steps()
    assert set(found) == {
        "names", "backup", "try", "restore embedded", "restore server", "adopt", "settle", "upgrade",
    }  # fmt: skip
    for name, text in found.items():
        done = subprocess.run(["bash", "-n", "-c", text], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (name, done.stderr)
    assert json.dumps(found)
