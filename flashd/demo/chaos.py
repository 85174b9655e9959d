"""What a demo breaks while it runs, when, and how often it did."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from enum import StrEnum

import msgspec

from flashd.demo.admin_api import AdminApi
from flashd.demo.faults import Fault
from flashd.demo.site import Site

READY_S = 30.0


class Chaos(StrEnum):
    """How much goes wrong."""

    NONE = "none"
    REPLIES = "replies"  # the ERP commits and its answer is lost
    ERP = "erp"  # every fault the ERP knows, an outage and SIGKILL
    DAEMON = "daemon"  # SIGKILL of flashd and of its Redis
    ALL = "all"


_LARGEST = 60  # cards in a deck of faults

DECKS: dict[Chaos, dict[Fault, int]] = {
    Chaos.NONE: {},
    Chaos.REPLIES: {Fault.DROP_REPLY: 6},
    Chaos.ERP: dict.fromkeys(Fault, 1) | {Fault.DROP_REPLY: 4},
    Chaos.DAEMON: {},
    Chaos.ALL: dict.fromkeys(Fault, 1) | {Fault.DROP_REPLY: 4},
}


def deck_size(chaos: Chaos, orders: int) -> int:
    """Return how many requests a deck of faults is spread over, so that even a small run deals one through."""
    return max(sum(DECKS[chaos].values()) + 4, min(_LARGEST, orders // 3))


class Progress:
    """How far a run is, and a way to wait for it."""

    def __init__(self, orders: int) -> None:
        self.orders = orders
        self.purchases = 0
        self.booked = 0
        self.is_sold = False  # the shops are through: what has not happened by now happens at once
        self._moved = asyncio.Event()

    def move(self, *, purchases: int, booked: int) -> None:
        """Note how far it is, and wake who waits."""
        self.purchases, self.booked = purchases, booked
        self._wake()

    def sold(self) -> None:
        """Note that the shops are through, and wake who waits."""
        self.is_sold = True
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def past(self, *, purchases: float = 2.0, booked: float = 2.0) -> None:
        """Return when one of these parts of all orders was reached, or the shops are through."""
        while not (self.is_sold or self.purchases >= purchases * self.orders or self.booked >= booked * self.orders):
            await self._moved.wait()


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to break: its name, its moment, and how."""

    name: str
    due: Callable[[], Awaitable[None]]
    act: Callable[[], Awaitable[None]]


class Havoc:
    """Breaks things one after the other, and counts what it broke."""

    def __init__(
        self, chaos: Chaos, site: Site, api: AdminApi, progress: Progress, *, say: Callable[[str], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._site = site
        self._api = api
        self._say = say
        self._deeds = self._plan(chaos, progress)

    @property
    def claimed(self) -> list[str]:
        """The names of what it is going to break."""
        return sorted({deed.name for deed in self._deeds})

    def _plan(self, chaos: Chaos, progress: Progress) -> list[Deed]:
        def deed(name: str, act: Callable[[], Awaitable[None]], **when: float) -> Deed:
            return Deed(name=name, due=lambda: progress.past(**when), act=act)

        daemon = [
            deed("daemon_killed", self._kill_daemon, purchases=0.25),
            deed("redis_killed", self._kill_store, purchases=0.55),
            deed("daemon_and_redis_killed", self._kill_both, booked=0.3),
        ]
        erp = [
            deed("erp_outage", self._cut_erp_off, booked=0.1),
            deed("erp_killed", self._kill_erp, booked=0.2),
        ]
        return {
            Chaos.DAEMON: daemon,
            Chaos.ERP: erp,
            Chaos.ALL: [*daemon[:2], *erp, daemon[2]],
        }.get(chaos, [])

    async def run(self) -> None:
        """Do every deed when it is due; return after the last."""
        for deed in self._deeds:
            await deed.due()
            await deed.act()

    async def _kill_daemon(self) -> None:
        self._say("SIGKILL to flashd")
        await asyncio.to_thread(self._site.daemon.kill)
        self.counts["daemon_killed"] += 1
        await self._restart()

    async def _kill_both(self) -> None:
        self._say("SIGKILL to flashd and to its Redis")
        await asyncio.to_thread(self._site.daemon.kill)
        self.counts["daemon_and_redis_killed"] += self._site.kill_store()
        await self._restart()

    async def _kill_store(self) -> None:
        self._say("SIGKILL to Redis")
        self.counts["redis_killed"] += self._site.kill_store()
        await asyncio.sleep(1.0)
        await wait_until_ready(self._site, self._api)

    async def _cut_erp_off(self) -> None:
        self._say("the ERP refuses connections")
        self._site.erp.outage()
        self.counts["erp_outage"] += 1
        await asyncio.sleep(1.5)

    async def _kill_erp(self) -> None:
        self._say("SIGKILL to the ERP")
        await asyncio.to_thread(self._site.erp.kill)
        self.counts["erp_killed"] += 1
        await asyncio.to_thread(self._site.erp.start)

    async def _restart(self) -> None:
        self._site.daemon.start()
        await wait_until_ready(self._site, self._api)


async def wait_until_ready(site: Site, api: AdminApi) -> None:
    """
    Return when the daemon accepts orders.

    Raises:
        ChildProcessError: It ended, or is not ready in time; the message has the end of its log.
    """
    try:
        async with asyncio.timeout(READY_S):
            while not await api.is_ready():
                if not site.daemon.is_alive:
                    raise ChildProcessError(f"flashd ended: {site.daemon.tail()}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ChildProcessError(f"flashd is not ready after {READY_S:.0f} s: {site.daemon.tail()}") from None
