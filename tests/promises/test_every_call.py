"""
A cut and a crash at every call to Redis, of intake and of outflow, before it and after it: nothing lost, nothing twice.

A proxy writes down the calls of a piece of trade. Then it is lived through once for each of them, and that call never
arrives, or its reply never does; the process goes on, or dies with all that it knew and another begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis

from flashd.config import SecretText, StoreConfig
from flashd.runtime.clock import SystemClock
from flashd.store.connection import connect
from flashd.store.scripts import load, script_names
from tests.chaos.fault_proxy import FaultProxy
from tests.promises.trade import BookedBackend, House, breaches, patiently, stock, trade
from tests.servers import Server

AT_ONCE = 16  # worlds, each in a pool of its own
_SCRIPT = re.compile(rb"EVALSHA\r\n\$40\r\n([0-9a-f]{40})")
_COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)")
NAMES = {load(name).sha.encode(): name for name in script_names()}
# or the trade is none of intake and outflow
INTAKE = {"hold", "extend", "release", "quarantine", "register", "accept", "apply_next", "sweep"}
WANTED = INTAKE | {"lease", "recover", "peek", "drop", "claim", "finish"}


@dataclass(frozen=True)
class Point:
    """Where it happens: at the nth call of that name."""

    name: str
    nth: int
    fault: str  # cut_before: it never arrives; drop_reply: it ran, and nobody hears of it
    dies: bool

    def __str__(self) -> str:
        return f"{self.name} {self.nth} {self.fault}{' and death' if self.dies else ''}"


class CallProxy(FaultProxy):
    """Writes down each call, and strikes at one of them."""

    def __init__(self, upstream: str, point: Point | None, die: Callable[[], None]) -> None:
        super().__init__(upstream, io.StringIO(), random.Random(0), 0)
        self.calls: Counter[str] = Counter()
        self.struck = 0
        self._point, self._die = point, die

    def next_fault(self, data: bytes) -> str:
        found = [NAMES[sha] for sha in _SCRIPT.findall(data)] or [
            name.decode() for name in _COMMAND.findall(data)
        ]  # several at once are one: they arrive together or not at all
        fault = ""
        for name in found:
            self.calls[name] += 1
            if self._point is not None and (name, self.calls[name]) == (self._point.name, self._point.nth):
                fault = self._point.fault
        if fault:
            self.struck += 1
            if self._point is not None and self._point.dies and fault == "cut_before":
                self._die()
        return fault

    def dropped(self) -> None:
        if self._point is not None and self._point.dies:
            self._die()


@dataclass
class World:
    """One pool with its backend, a customer who does not give up, and a house that may die."""

    server: Server
    folder: Path
    pool: str
    point: Point | None = None
    houses: list[House] = field(default_factory=list)
    deaths: int = 0

    def __post_init__(self) -> None:
        self.backend = BookedBackend(SystemClock())  # type: ignore[arg-type]  # only time and sleep are used
        self.proxy = CallProxy(self.server.socket_path, self.point, self._die)

    def _die(self) -> None:
        self.deaths += 1
        self.houses[-1].die()
        self._move_in()

    def _move_in(self) -> None:
        self.houses.append(House(f"unix://{self.folder / self.pool}", self.pool, self.backend))

    async def live(self) -> None:
        """Live through the trade, and see that every promise was kept."""
        async with (
            await asyncio.start_unix_server(self.proxy.serve, self.folder / self.pool),
            self._direct() as client,
        ):
            await stock(client, self.pool)
            self._move_in()
            try:
                async with asyncio.timeout(100):
                    await trade(self._do, client, self.pool, self.backend)
            finally:
                for house in self.houses:
                    house.die()
                    await house.buried()
            assert await breaches(client, self.pool, self.backend.books) == []
        if self.point is not None and self.point.nth == 1:  # a later one may come when all is settled
            assert self.deaths == self.point.dies

    async def _do(self, _: str, ask: Callable[[House], Awaitable[object]]) -> None:
        await patiently(lambda: self.houses[-1], ask)

    @contextlib.asynccontextmanager
    async def _direct(self) -> AsyncIterator[Redis]:
        async with connect(StoreConfig(url=self.server.url, connections=4), lambda _: SecretText("")) as client:
            yield client


async def points_of(server: Server, folder: Path, most: int) -> list[Point]:
    """Live once undisturbed; return every call that was seen, each with what may happen to it."""
    async with connect(StoreConfig(url=server.url), lambda _: SecretText("")) as client:
        await client.flushall()
        for name in script_names():  # as the daemon does at its start: later nobody says them in full
            await client.script_load(load(name).source)
    world = World(server, folder, "calm")
    await world.live()
    seen = world.proxy.calls
    assert set(seen) >= WANTED, seen
    print(f"the calls of the scenario: {dict(seen)}")
    return [
        Point(name, nth, fault, dies)
        for name, count in seen.items()
        for nth in range(1, min(count, most) + 1)
        for fault in ("cut_before", "drop_reply")
        for dies in (False, True)
    ]


async def live_through(server: Server, folder: Path, points: list[Point]) -> None:
    """Live once for each point. Whoever polls may be done before its nth time; the first time must have been met."""
    turn, failed, unmet = asyncio.Semaphore(AT_ONCE), {}, []

    async def one(number: int, point: Point) -> None:
        world = World(server, folder, f"p{number}", point)
        async with turn:
            try:
                await world.live()
            except (AssertionError, TimeoutError) as error:
                failed[str(point)] = repr(error)
        if not world.proxy.struck:
            unmet.append(point)

    await asyncio.gather(*(one(number, point) for number, point in enumerate(points)))
    print(f"{len(points)} worlds, {len(unmet)} of them undisturbed: {len(failed)} broke a promise")
    assert failed == {}
    assert [point for point in unmet if point.nth == 1] == []
    assert len(unmet) < len(points) / 2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What a hundred worlds log costs more than what they do."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(wrapper_class=before)


async def test_the_first_call_of_each_kind_may_be_lost_and_the_process_with_it(valkey: Server, tmp_path: Path) -> None:
    """Of the four things that may happen to a call, two that the dice choose: the slow test has them all."""
    points, dice = await points_of(valkey, tmp_path, most=1), random.Random(417)
    chosen = [point for first in range(0, len(points), 4) for point in dice.sample(points[first : first + 4], 2)]
    await live_through(valkey, tmp_path, chosen)


@pytest.mark.slow
async def test_every_call_may_be_lost_and_the_process_with_it(server: Server, tmp_path: Path) -> None:
    points = await points_of(server, tmp_path, most=6)
    await live_through(server, tmp_path, points)
