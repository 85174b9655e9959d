"""
Lives of one process that end at a chosen suspension, as SIGKILL ends them.

``python -m tests.promises.crash_points '{"url": ..., "folder": ..., "name": "w", "points": [[3, 0]], "at_once": 9}'``
prints a line of JSON for each world. A world is a pool with its backend and its customers. Its first life ends at the
first point of the pair, its second at the other (0: it does not), and another one puts all in order and is judged.
A point is the nth time that a task of the product goes on after an await, or the first time that it does at a place.
Lives are forked processes that end by ``os._exit``: no `finally`, no goodbye, and the kernel cuts the connections.

What outlives a life stands in files: what customers were answered, and what the backend has booked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from flashd.actors.convoy import Convoy
from flashd.actors.delivery import Courier
from flashd.actors.row import Row
from flashd.actors.wish import Wish
from flashd.config import SecretText, StoreConfig
from flashd.domain.delivery import Absent, Delivery, Finding, Outcome
from flashd.domain.order import AcceptCode, Accepted, OrderState
from flashd.ports import Soon
from flashd.runtime.clock import SystemClock
from flashd.store.connection import connect
from tests.promises.trade import BookedBackend, Booking, House, breaches, patiently, stock, trade

Point = int | str
KILLED = 57
PATIENCE_S = 150


def place_of(work: Any) -> str:
    """Return where in the product a suspended coroutine stands: each call's file, function and line; "" if nowhere."""
    calls = []
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None) or getattr(work, "ag_frame", None)
        if frame is not None:
            _, inside, file = frame.f_code.co_filename.rpartition("/flashd/")
            if inside:
                calls.append(f"{file}:{frame.f_code.co_name}:{frame.f_lineno}")
        work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None) or getattr(work, "ag_await", None)
    return " > ".join(calls)


@dataclass
class Fate:
    """Where this life ends, and what it has seen."""

    point: Point
    write: Callable[[str, object], None]
    passed: int = 0
    seen: set[str] = field(default_factory=set)
    over: bool = False

    def passes(self, work: Coroutine[Any, Any, Any]) -> None:
        """Take note that *work* is about to go on, or end here."""
        place = "" if self.over else place_of(work)
        if not place:
            return
        self.passed += 1
        self.seen.add(place)
        if self.point in (self.passed, place):
            self.write("crashed", place)
            self.close()
            os._exit(KILLED)

    def close(self) -> None:
        """Write down what was seen; what comes now is not counted."""
        self.over = True
        self.write("seen", sorted(self.seen))
        self.write("passed", self.passed)

    def task(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task whose every step is counted."""
        return asyncio.Task(Counted(work, self), loop=loop, **options)


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine that asks its fate before each step."""

    def __init__(self, work: Coroutine[Any, Any, Any], fate: Fate) -> None:
        self._work, self._fate = work, fate

    def send(self, value: Any) -> Any:
        self._fate.passes(self._work)
        return self._work.send(value)

    def throw(self, *raised: Any) -> Any:
        self._fate.passes(self._work)
        return self._work.throw(*raised)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()


class Elsewhere(BookedBackend):
    """
    A backend that is another process: what it is doing when the daemon dies is done or not done, by the order's id.

    One in three books at once and answers later; one books at the end, and never if the connection was cut by then; one
    has read the request and books it though the connection was cut, a moment later.
    """

    async def book(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        way = int(deliveries[0].ref.id) % 3
        if way == 2:
            for delivery in deliveries:
                self.write(self.booking(delivery) | {"read": True})
        said = [self.record(delivery) for delivery in deliveries] if way == 0 else []
        await self.work(deliveries)
        return said or [self.record(delivery) for delivery in deliveries]


@dataclass
class World:
    """One pool, and the file that outlives its lives."""

    url: str
    folder: Path
    pool: str
    points: list[Point]
    lives: int = 0

    def write(self, what: str, said: object) -> None:
        with (self.folder / self.pool).open("a") as out:
            out.write(json.dumps([what, said]) + "\n")

    def read(self) -> list[tuple[str, Any]]:
        path = self.folder / self.pool
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def books(self) -> list[Booking]:
        """Return what was booked; what the backend had read when the connection was cut is booked now."""
        told = [said for what, said in self.read() if what == "booked"]
        booked = [one for one in told if "read" not in one]
        read = [{name: one[name] for name in one if name != "read"} for one in told if "read" in one]
        for one in read:
            if sum(read_one == one for read_one in read) > booked.count(one):
                self.write("booked", one)
                booked.append(one)
        return booked

    async def live(self, fate: Fate) -> None:
        backend = Elsewhere(SystemClock())  # type: ignore[arg-type]  # only time and sleep are used
        backend.known(self.books())
        backend.write = lambda booking: self.write("booked", booking)
        answered = {said for what, said in self.read() if what == "answered"}
        async with connect(StoreConfig(url=self.url, connections=4), lambda _: SecretText("")) as client:
            if "stock" not in answered:
                await stock(client, self.pool)
                self.write("answered", "stock")
            asyncio.get_running_loop().set_task_factory(cast("Any", fate.task))
            house = House(self.url, self.pool, backend, timeout_s=5.0)

            async def do(name: str, ask: Callable[[House], Awaitable[object]]) -> None:
                if name not in answered:  # what was answered is never asked again: it must be there
                    await patiently(lambda: house, ask, within_s=5.0)
                    self.write("answered", name)

            async with asyncio.timeout(PATIENCE_S):
                await trade(do, client, self.pool, backend)
            fate.close()
            await self._judge(client)

    async def _judge(self, client: Redis) -> None:
        self.write("breaches", await breaches(client, self.pool, self.books()))

    def fork(self) -> int:
        """Begin the next life; return its process."""
        point = self.points[self.lives] if self.lives < len(self.points) else 0
        self.lives += 1
        if pid := os.fork():
            return pid
        code = 1
        try:
            asyncio.run(self.live(Fate(point, self.write)))
            code = 0
        except BaseException:  # noqa: BLE001  # whatever it is, it goes into the world's file
            self.write("failed", traceback.format_exc()[-3000:])
        finally:
            os._exit(code)

    def result(self) -> dict[str, Any]:
        told = self.read()
        says = {what: [said for name, said in told if name == what] for what in ("crashed", "failed", "passed")}
        seen = {place for what, places in told if what == "seen" for place in places}
        found = [breach for what, broken in told if what == "breaches" for breach in broken]
        judged = any(what == "breaches" for what, _ in told)
        failed = [*says["failed"], *([] if judged else ["it was never judged"])]
        return {"points": self.points, **says, "failed": failed, "seen": sorted(seen), "breaches": found}


# ------------------------------------------------------------------------------------------------------ seeded bugs


def _answers_first(convoy: Convoy, group: list[tuple[Row, list[Wish]]]) -> Soon[Sequence[Accepted]]:
    """Say that it is kept before the store has kept it."""
    loop = asyncio.get_running_loop()
    loop.call_later(0.01, lambda: _ACCEPT(convoy, group).tell(lambda kept: kept.result()))
    said: asyncio.Future[Sequence[Accepted]] = loop.create_future()
    said.set_result(
        [Accepted(AcceptCode.ACCEPTED, OrderState.QUEUED)]
        * sum(len(wish.items) for _, taken in group for wish in taken)
    )
    return Soon(said, lambda done: done.result())


async def _finds_nothing(_: Courier, flight: Any) -> list[Finding]:
    """Take what is in doubt for absent, without asking."""
    return [Absent()] * len(flight.parcels)


_ACCEPT = Convoy._accept
BUGS: dict[str, Callable[[], None]] = {
    "answers first": lambda: setattr(Convoy, "_accept", _answers_first),
    "does not look": lambda: setattr(Courier, "_find", _finds_nothing),
}


def main(arguments: Sequence[str]) -> None:
    """Let the worlds live, so many at once."""
    wish = json.loads(arguments[0])
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if wish.get("bug"):
        BUGS[wish["bug"]]()
    folder = Path(wish["folder"])
    waiting = [World(wish["url"], folder, f"{wish['name']}-{index}", pair) for index, pair in enumerate(wish["points"])]
    living: dict[int, World] = {}
    while waiting or living:
        while waiting and len(living) < wish["at_once"]:
            world = waiting.pop(0)
            living[world.fork()] = world
        pid, status = os.wait()
        world = living.pop(pid)
        if os.waitstatus_to_exitcode(status) == KILLED:
            living[world.fork()] = world
        else:
            print(json.dumps(world.result()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
