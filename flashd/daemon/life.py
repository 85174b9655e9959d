"""
The life of the daemon: start in order, tell the service manager, reload, and stop in the reverse order within a bound.

Stopping: nobody new is let in, what came in becomes durable, what is at a backend may finish or becomes in doubt, and
the store closes last. The backlog stays in the store.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress

import structlog
import uvloop

from flashd import logs
from flashd.config import Loaded, require_runnable
from flashd.daemon.adapters import connect_backend, reveal_of
from flashd.daemon.assembly import Assembly, assemble, kinds_of
from flashd.daemon.front import Front, open_doors
from flashd.daemon.outlet import connect_apis
from flashd.daemon.process_limits import claim_descriptors
from flashd.daemon.reload import Reload
from flashd.daemon.telling import connect_messenger
from flashd.errors import FlashdError, StoreUnavailable
from flashd.ports import Backend, ChannelApi, Messenger
from flashd.runtime.clock import SystemClock
from flashd.runtime.lag import LoopLag
from flashd.runtime.supervisor import Supervisor
from flashd.runtime.ticker import tick
from flashd.store.opening import Store, open_store
from flashd.systemd import Notifier, listeners, watchdog_s
from flashd.web.doors import Doors

log = structlog.get_logger()

ACTOR_STOP_S = 4.0  # how long sends in flight may take to finish
STATUS_S = 2.0
STALLED_S = 15.0  # an actor that works on one thing for so long makes no progress
CRASHED = 70  # EX_SOFTWARE of sysexits(3)
_YOUNG_OBJECTS = 20_000  # Python collects at 700, which a few dozen orders in flight are already


def run(loaded: Loaded, reload: Reload) -> int:
    """
    Live until SIGTERM or SIGINT; return the exit code.

    Raises:
        ConfigError: The configuration or the store is refused.
    """
    logs.configure(loaded.config.logs.level, stream=sys.stderr, environ=os.environ)
    require_runnable(loaded)
    for warning in loaded.warnings:
        log.warning("config.warned", reason=warning)
    if lacking := claim_descriptors(loaded.config):
        log.warning("descriptors.short", reason=lacking)
    return uvloop.run(Life(loaded, reload).live())


class Life:
    """One run of the daemon."""

    def __init__(self, loaded: Loaded, reload: Reload) -> None:
        self._loaded = loaded
        self._reload = reload
        self._clock = SystemClock()
        self._notifier = Notifier(os.environ)
        self._watchdog_s = watchdog_s(os.environ, os.getpid())
        self._given = listeners(os.environ, os.getpid())
        self._lag = LoopLag(clock=self._clock)
        self._supervisor = Supervisor(clock=self._clock)
        self._over = asyncio.Event()
        self._crash: BaseException | None = None
        self._chores: set[asyncio.Task[object]] = set()
        self._hangup = asyncio.Event()  # a reload is wanted; from the first moment, for SIGHUP ends who does not listen

    async def live(self) -> int:
        """Start, wait for the end, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._over.set)
        loop.add_signal_handler(signal.SIGHUP, self._hangup.set)
        adapters = {
            name: connect_backend(name, section, self._loaded) for name, section in self._loaded.config.backends.items()
        }
        apis, messenger = connect_apis(self._loaded), connect_messenger(self._loaded)
        opening = asyncio.create_task(self._open(adapters))
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait({opening, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not opening.done():  # told to stop while it waited for the store
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await opening
            return 0
        return await self._serve(opening.result(), adapters, apis, messenger)

    async def _open(self, adapters: dict[str, Backend]) -> Store:
        reveal = reveal_of(self._loaded)
        return await open_store(self._loaded.config, kinds_of(adapters), reveal, self._clock, self._say)

    def _say(self, text: str) -> None:
        self._notifier.status(text)
        self._notifier.extend(30)

    async def _serve(
        self, store: Store, adapters: dict[str, Backend], apis: dict[str, ChannelApi], messenger: Messenger | None
    ) -> int:
        try:
            house = assemble(self._loaded, store, adapters, apis, messenger, self._clock)
            doors = open_doors(house, self._lag, self._broken)
            front = Front(house, doors, self._given)
            try:
                await self._start(house, front)
                await self._wait(house, doors)
            finally:
                await self._stop(house, doors, front)
        finally:
            for adapter in adapters.values():
                await adapter.close()
            for api in apis.values():
                await api.close()
            if messenger is not None:
                await messenger.close()
            await store.close()
        if self._crash is not None:
            log.error("daemon.crashed", reason=str(self._crash))
            return CRASHED
        log.info("daemon.stopped")
        return 0

    async def _start(self, house: Assembly, front: Front) -> None:
        await self._supervisor.start([house.sentry, *house.reapers.values(), *house.backends.values()])
        await self._supervisor.start(house.intakes.values())
        for outlet in house.outlets.values():
            await self._supervisor.start(outlet.actors)
        await self._supervisor.start([*house.sale_clocks.values(), *house.triages.values()])
        await self._supervisor.start([*house.counters.values(), *house.clerks.values(), house.alerter])
        await front.start()
        gc.collect()
        gc.freeze()  # what lives as long as the process need not be looked at in every collection
        gc.set_threshold(_YOUNG_OBJECTS)
        self._notifier.ready()
        log.info("daemon.started", store=house.store.contract.server, durability=house.store.contract.durability)
        with suppress(StoreUnavailable):  # the sentry tells of that; `flashd status` names them, too
            for backend, count in (await house.store.stranded()).items():
                log.error("orders.stranded", backend=backend, count=count, mend="configure this backend again")

    async def _wait(self, house: Assembly, doors: Doors) -> None:
        self._chore(self._follow_hangups(house))
        self._chore(self._lag.measure())
        self._chore(tick(lambda: self._tell_status(house), STATUS_S, clock=self._clock))
        if self._watchdog_s is not None:
            self._chore(tick(self._feed_watchdog, self._watchdog_s / 2, clock=self._clock))
        crashed = asyncio.create_task(self._supervisor.wait())
        over = asyncio.create_task(self._over.wait())
        await asyncio.wait({crashed, over}, return_when=asyncio.FIRST_COMPLETED)
        if crashed.done() and self._crash is None:
            self._crash = crashed.exception()
        for task in (crashed, over):
            task.cancel()
        await asyncio.gather(crashed, over, return_exceptions=True)
        doors.draining.set()

    async def _stop(self, house: Assembly, doors: Doors, front: Front) -> None:
        doors.draining.set()
        self._notifier.stopping()
        log.info("daemon.stopping")
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await front.stop_intake()
        await asyncio.gather(*(outlet.stop(ACTOR_STOP_S) for outlet in house.outlets.values()))
        await asyncio.gather(*(intake.stop(ACTOR_STOP_S) for intake in house.intakes.values()))
        await asyncio.gather(*(backend.stop(ACTOR_STOP_S) for backend in house.backends.values()))  # one bound for all
        await self._supervisor.stop(ACTOR_STOP_S)
        await front.stop()

    def _chore(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]  # coroutines of several kinds
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    def _broken(self, error: BaseException) -> None:
        """Crash: a promise does not hold."""
        self._crash = error
        self._over.set()

    async def _follow_hangups(self, house: Assembly) -> None:
        """Reload after each SIGHUP, one after the other: two at once would put two actors in the place of one."""
        while True:
            await self._hangup.wait()
            self._hangup.clear()
            await self._do_reload(house)

    async def _do_reload(self, house: Assembly) -> None:
        """Take a new configuration over, or keep the old one and say why; either way tell that it is done."""
        self._notifier.reloading()
        try:
            await self._reload(house, self._supervisor)
        except FlashdError as error:
            log.error("config.kept", reason=str(error))  # noqa: TRY400  # its message says all
        finally:
            self._notifier.ready()

    async def _tell_status(self, house: Assembly) -> None:
        if self._notifier.active:
            self._notifier.status(summary(house))

    async def _feed_watchdog(self) -> None:
        stalled = self._supervisor.stalled(STALLED_S)
        if stalled:
            log.error("actor.stalled", actors=stalled)
            return
        self._notifier.watchdog()


def summary(house: Assembly) -> str:
    """Say in one line what `systemctl status` should answer: the backlog of each backend and when it is gone."""
    health = house.sentry.health
    parts = [] if health.ok and not health.closed else [f"NOT READY: {health.reason}"]
    for name, actor in house.backends.items():
        seen = actor.snapshot()
        eta = "away" if seen.drain_s is None else f"{seen.drain_s:.0f} s"
        parts.append(f"{name}: queue {seen.queued}, in flight {seen.in_flight}, ETA {eta}")
    return "; ".join(parts)
