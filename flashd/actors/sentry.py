"""Watching the store: whether an order could be made durable right now, and closing the way in while it could not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from msgspec.structs import replace

from flashd.errors import FlashdError, Transient
from flashd.ports import Clock, StoreHealth, StoreWatch
from flashd.runtime.actor import Actor
from flashd.runtime.deadline import any_of
from flashd.runtime.ticker import tick

NO_NEW_SALES = 0.8  # of the server's memory: holds are refused, paid orders still come in
NO_INTAKE = 0.9
PATIENCE_S = 1.0  # a probe that takes longer: nobody is let in to wait behind it

log = structlog.get_logger()


class Recollect(Protocol):
    """Raises Transient where it must be asked again."""

    async def __call__(self, *, again: bool) -> None:
        """Look everywhere, or *again* where no answer came."""
        ...


async def _nothing_to_revive() -> bool:
    return False


async def _nothing_to_recollect(*, again: bool) -> None:  # noqa: ARG001  # the shape of Recollect
    return None


class StoreSentry(Actor[None]):
    """
    Probes the store every *interval_s* and remembers the answer.

    Args:
        revive: Starts an embedded server again that died; says whether it had to.
        recollect: Looks for what was acknowledged and is gone, after another server took the place of the one before;
            *again* where a part of the store did not answer the last time.
    """

    def __init__(
        self,
        watch: StoreWatch,
        *,
        clock: Clock,
        interval_s: float = 1.0,
        revive: Callable[[], Awaitable[bool]] = _nothing_to_revive,
        recollect: Recollect = _nothing_to_recollect,
    ) -> None:
        super().__init__("store sentry", clock=clock, mailbox_size=4)
        self.health = StoreHealth(ok=False, reason="not probed yet")
        self._watch = watch
        self._interval_s = interval_s
        self._revive = revive
        self._recollect = recollect
        self._run = self._met = ""

    async def on_start(self) -> None:
        """Probe once before anybody is let in, then go on."""
        await self.look()
        self.spawn(tick(self.look, self._interval_s, clock=self.clock), name="probe")

    async def look(self) -> None:
        """Probe now; revive an embedded server that died; see whether another server knows what the last one knew."""
        self._note(await self._probe())
        if not self.health.ok and await self._try_to_revive():
            self._note(await self._probe())
        if self.health.ok and self.health.run != self._run:
            await self._meet(self.health.run)

    async def _meet(self, run: str) -> None:
        if self._run:
            again, self._met = run == self._met, run
            if not again:
                log.warning("store.changed", server=self.health.server, run=run, before=self._run)
            try:
                await self._recollect(again=again)
            except Transient as error:  # asked again with the next look
                log.warning("store.not_recollected", reason=str(error))
                return
        self._run = run

    async def _probe(self) -> StoreHealth:
        probe = asyncio.ensure_future(self._watch.probe())
        try:
            await any_of([probe], PATIENCE_S, clock=self.clock)
            if not probe.done():
                self._note(replace(self.health, ok=False, reason=f"it has not answered for {PATIENCE_S:g} s"))
            return await probe
        finally:
            probe.cancel()

    def _note(self, health: StoreHealth) -> None:
        if health.ok != self.health.ok or health.reason != self.health.reason:
            say = log.info if health.ok else log.error
            say("store.health_changed", ok=health.ok, reason=health.reason)
        self.health = health

    def closed(self, is_hold: bool, pool: str = "") -> str:  # noqa: FBT001  # the shape of IntakeRules.closed
        """Say why nothing (or no new hold) of *pool* may come in now, or ""."""
        if not self.health.ok:
            return f"nothing can be made durable now: {self.health.reason}"
        if reason := self.health.closed.get(pool):
            return f"nothing of pool {pool} can be made durable now: {reason}"
        if not self.health.max_bytes:
            return ""
        used = self.health.used_bytes / self.health.max_bytes
        if used >= NO_INTAKE:
            return f"the store is {used:.0%} full: raise its maxmemory or let the backlog drain"
        if is_hold and used >= NO_NEW_SALES:
            return f"the store is {used:.0%} full: no new holds until the backlog has drained"
        return ""

    async def _try_to_revive(self) -> bool:
        try:
            return await self._revive()
        except (FlashdError, OSError) as error:  # a full disk or a binary that is gone may be mended meanwhile
            log.error("store.not_revived", reason=str(error))  # noqa: TRY400  # its message says all
            return False
