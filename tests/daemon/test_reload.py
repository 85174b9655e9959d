"""SIGHUP in the midst of a sale: what changes, what does not, and that the flow goes on at the rate in force."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from flashd.cli.session import load_config
from flashd.daemon.adapters import connect_backend, reveal_of
from flashd.daemon.assembly import Assembly, assemble, kinds_of
from flashd.daemon.front import open_doors
from flashd.daemon.life import Life
from flashd.daemon.reload import Reload, adopt, reloading
from flashd.domain.order import Effect, OrderState
from flashd.domain.stock import StockLevel
from flashd.errors import ConfigError
from flashd.runtime.clock import SystemClock
from flashd.runtime.lag import LoopLag
from flashd.runtime.supervisor import Supervisor
from flashd.store.opening import open_store
from tests.conformance.ledgers import make_incoming
from tests.servers import KINDS, Server

CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[backends.erp]
kind = "http"
url = "ERP"
rate = "RATE"
settle_s = 0.5
idempotent = true
MORE
[[routes]]
backend = "erp"
"""


class Books:
    """A backend that answers every POST and notes when it came."""

    def __init__(self) -> None:
        self.came_s: list[float] = []
        self.keys: list[str] = []
        self.url = ""
        self.one_came = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        self.came_s.append(asyncio.get_running_loop().time())
        self.one_came.set()
        seen = await request.json()
        self.keys.append(request.headers["Idempotency-Key"])
        return web.json_response({"id": f"SO{len(self.keys)}", "order_id": seen["order_id"]})


class House:
    """All of a daemon but its listeners."""

    def __init__(self, folder: Path, store: str, books: Books) -> None:
        self.folder = folder
        self.books = books
        self._text = CONFIG.replace("STORE", store).replace("STATE", str(folder / "state")).replace("ERP", books.url)
        self.supervisor = Supervisor(clock=SystemClock())
        self.house: Assembly
        self._kept: dict[int, Sequence[float]] = {}

    def write(self, rate: str = "5/s", more: str = "", *, change: tuple[str, str] = ("", "")) -> None:
        text = self._text.replace("RATE", rate).replace("MORE", more).replace(*change)
        (self.folder / "flashd.toml").write_text(text)

    def load(self) -> Any:
        return load_config(str(self.folder / "flashd.toml"))

    async def open(self) -> None:
        self.write()
        loaded = self.load()
        adapters = {name: connect_backend(name, section, loaded) for name, section in loaded.config.backends.items()}
        store = await open_store(loaded.config, kinds_of(adapters), reveal_of(loaded), SystemClock())
        self.house = assemble(loaded, store, adapters, {}, None, SystemClock())
        await self.supervisor.start([*self.house.backends.values(), *self.house.intakes.values()])

    async def reload(self, rate: str = "5/s", more: str = "", *, change: tuple[str, str] = ("", "")) -> None:
        self.write(rate, more, change=change)
        await adopt(self.house, self.supervisor, self.load())

    async def queue(self, count: int) -> None:
        ledger = self.house.store.pools["main"].ledger
        await ledger.recount(StockLevel(sku="tee", on_hand=100_000))
        orders = [make_incoming(str(number), channel="till") for number in range(count)]
        await ledger.accept(orders, ["erp"] * count, since_ms=0)
        self.house.wake_all()

    @property
    def let_go_s(self) -> list[float]:
        """When each request was let go, whichever actor sent it."""
        self._kept |= {id(kept): kept for actor in self.house.backends.values() for kept in [actor.courier.sent_s]}
        return sorted(when for kept in self._kept.values() for when in kept)

    async def sent(self, count: int, within_s: float = 60) -> None:
        async with asyncio.timeout(within_s):
            while len(self.books.came_s) < count:
                self.books.one_came.clear()
                await self.books.one_came.wait()

    async def close(self) -> None:
        await self.supervisor.stop(3)
        for adapter in self.house.adapters.values():
            await adapter.close()
        await self.house.store.close()


@pytest.fixture
async def house(tmp_path: Path, servers: dict[str, Server]) -> AsyncIterator[House]:
    server = servers.get(KINDS[0]) or servers.setdefault(KINDS[0], Server(KINDS[0]).start())
    books = Books()
    app = web.Application()
    app.router.add_post("/orders", books.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    books.url = f"http://127.0.0.1:{runner.addresses[0][1]}/orders"
    (tmp_path / "till.token").write_text("till-token-of-the-test")
    (tmp_path / "till.token").chmod(0o600)
    house = House(tmp_path, f"{server.url}?db=7", books)
    async with Redis(unix_socket_path=server.socket_path, db=7) as client:
        await client.flushdb()
    await house.open()
    yield house
    await house.close()
    await runner.cleanup()


WINDOW_S = 0.95


def most_in(window_s: float, came_s: list[float]) -> int:
    return max((sum(first <= other < first + window_s for other in came_s) for first in came_s), default=0)


async def test_five_then_fifty_then_five_a_second_keeps_each_bound_and_sends_each_order_once(house: House) -> None:
    """Judged by when each was let go: one that is late on its way arrives closer to the next than it was sent."""
    await house.queue(60)
    await house.sent(6)
    assert most_in(WINDOW_S, house.let_go_s) <= 5
    await house.reload("50/s")
    await house.sent(len(house.books.came_s) + 30)
    assert most_in(WINDOW_S, house.let_go_s) <= 50
    await house.reload("5/s")
    again = len(house.let_go_s)
    await house.sent(again + 6)
    late = house.let_go_s[again:]
    assert len(late) >= 6
    assert most_in(WINDOW_S, late) <= 5
    assert min(later - earlier for earlier, later in pairwise(late)) > 0.19
    assert len(house.let_go_s) >= len(house.books.came_s), "one came that was not let go"
    assert len(set(house.books.keys)) == len(house.books.keys)


async def test_the_new_actor_keeps_the_distance_from_what_the_old_one_sent_last(house: House) -> None:
    before = house.house.backends["erp"]
    await house.queue(3)
    await house.sent(1)
    await house.reload("5/s", "timeout_s = 20")
    after = house.house.backends["erp"]
    assert after is not before
    assert after.courier.sent_s is before.courier.sent_s
    now_us = round(SystemClock().monotonic_s() * 1e6)
    assert after.courier._guard.pass_us(now_us, 60_000_000) > 0


async def test_a_reload_puts_the_new_actor_in_the_old_ones_place_for_the_stop(house: House) -> None:
    for timeout in (20, 21, 22):
        await house.reload("5/s", f"timeout_s = {timeout}")
    assert [actor.name for actor in house.supervisor.actors] == ["backend:erp", "intake:till"]
    assert house.supervisor.actors[0] is house.house.backends["erp"]


async def test_a_backend_whose_old_connections_do_not_close_goes_on_with_the_new_ones(house: House) -> None:
    async def break_off() -> None:
        raise OSError("a bug of the adapter")

    house.house.adapters["erp"].close = break_off  # type: ignore[method-assign]
    await house.reload("50/s")
    await house.queue(5)
    await house.sent(5)


async def test_a_second_hangup_during_a_reload_waits_for_the_first_and_leaves_one_actor(house: House) -> None:
    await house.queue(30)
    await house.sent(1)
    began, go = asyncio.Event(), asyncio.Event()
    reload = reloading(house.load)

    async def slow(assembly: Assembly, supervisor: Supervisor) -> None:
        began.set()
        await go.wait()
        await reload(assembly, supervisor)

    life = living(house, slow)
    life._hangup.set()  # before anybody follows it: it is kept
    following = asyncio.create_task(life._follow_hangups(house.house))
    house.write("50/s")
    await began.wait()
    began.clear()
    life._hangup.set()
    await asyncio.sleep(0.05)
    assert not began.is_set()
    go.set()
    await began.wait()
    while life._hangup.is_set() or house.house.loaded.config.backends["erp"].rate != "50/s":  # noqa: ASYNC110  # no event
        await asyncio.sleep(0.01)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [actor.name for actor in house.supervisor.actors] == ["backend:erp", "intake:till"]
    await house.sent(30)
    assert len(set(house.books.keys)) == len(house.books.keys) == 30


def living(house: House, reload: Reload) -> Life:
    life = Life(house.house.loaded, reload)
    life._supervisor = house.supervisor
    return life


async def test_a_bad_file_changes_nothing(house: House) -> None:
    actor, loaded = house.house.backends["erp"], house.house.loaded
    for change in (('kind = "http"', 'kind = "odd"'), ('rate = "9/s"', 'rate = "much"'), ("till.token", "none.token")):
        with pytest.raises(ConfigError):
            await house.reload("9/s", change=change)
    with pytest.raises(ConfigError, match=r"need a restart.*store"):
        await house.reload("9/s", change=("[store]", "[store]\ntimeout_s = 3"))
    assert house.house.backends["erp"] is actor
    assert house.house.loaded is loaded
    await house.queue(1)
    await house.sent(1)


async def test_a_follow_up_goes_by_what_the_backend_takes_after_the_reload(house: House) -> None:
    ledger, book = house.house.store.pools["main"].ledger, house.house.store.pools["main"].book
    await house.reload("50/s", f'cancel_url = "{house.books.url}/cancel"')
    await house.queue(1)
    async with asyncio.timeout(30):
        while not await book.page([OrderState.DELIVERED]):  # noqa: ASYNC110  # what Redis will show
            await asyncio.sleep(0.01)
    await ledger.accept([make_cancel()], ["erp"], since_ms=0)
    states = {str(record.ref.kind): record.state for record in await book.page()}
    assert states["cancel"] is not OrderState.MANUAL


def make_cancel() -> Any:

    return make_incoming("0", 2, Effect.CANCEL, channel="till")


async def test_the_doors_read_with_the_new_adapter_of_a_channel(house: House) -> None:

    doors = open_doors(house.house, LoopLag(clock=SystemClock()), lambda _: None)
    await house.reload("5/s")
    assert doors.channels["till"].adapter is house.house.intakes["till"].channel
