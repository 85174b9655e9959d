"""
Keeping customers' data as short as it is needed: what platforms demand is met, what is due is erased, in one pool.

Whatever it does is done once however often it is done, so every process may do it, and one that died is not missed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

import structlog

from flashd.actors.stir import Stir
from flashd.domain.privacy import Demand, DemandKind, Scrubbed, ScrubCode
from flashd.errors import StoreUnavailable
from flashd.ports import Clock, Eraser
from flashd.runtime.actor import Actor
from flashd.runtime.ticker import tick

ROUND_S = 30.0
AT_ONCE = 3  # demands in a round: each reads all orders, and there are thirty days for it
SCRUB_EVERY_MS = 3_600_000  # a new log costs the server a fork
SCRUB_WAIT_S = 300.0
LOOK_AGAIN_S = 600.0  # whether an app that was taken away is there again
BODIES_AGAIN_S = 21_600.0  # whether a human has seen to the quarantined bodies of whom a platform wants forgotten

log = structlog.get_logger()

_ERASES = frozenset({DemandKind.ERASE, DemandKind.ERASE_SHOP})


async def _unheard(_channel: str) -> bool:
    return False


class Clerk(Actor[None]):
    """
    Looks after the customers of one pool.

    Args:
        after_ms: How long after it was settled an order's customer is erased.
        cut_off: Told of a channel whose app was taken away: stops its publishing if its API refuses us, and returns
            whether it answers our login (again).
    """

    def __init__(
        self,
        eraser: Eraser,
        *,
        clock: Clock,
        after_ms: Callable[[], int],
        cut_off: Callable[[str], Awaitable[bool]] = _unheard,
    ) -> None:
        super().__init__(f"clerk:{eraser.pool}", clock=clock, mailbox_size=4)
        self._eraser = eraser
        self._after_ms = after_ms
        self._cut_off = cut_off
        self._stir = Stir(clock)
        self._looked_s: dict[str, float] = {}  # demand id -> when it was looked at last, while it waits

    async def on_start(self) -> None:
        """Begin the rounds."""
        self.spawn(self._rounds(), name="rounds")
        self.spawn(tick(self.scrub, ROUND_S, clock=self.clock), name="scrub")

    async def receive(self, message: None) -> None:  # noqa: ARG002  # there is only one message
        """Let a round begin now: something was demanded. No turn waits for it, for it may read all orders."""
        self._stir.say()

    async def _rounds(self) -> NoReturn:
        while True:
            self._stir.begin()
            await self.round()
            await self._stir.wait(ROUND_S)

    async def round(self) -> None:
        """Meet what is demanded and erase what is due; a store that does not answer is asked again next round."""
        try:
            due = [demand for demand in await self._eraser.demands() if not demand.met_ms]
            erasures = [one for one in due if one.kind in _ERASES and self._is_time_for(one, BODIES_AGAIN_S)]
            for demand in erasures[:AT_ONCE]:
                await self._erase(demand)
            for demand in due:
                if demand.kind is DemandKind.UNINSTALL:
                    await self._look_at(demand)
            gone = await self._eraser.sweep(self._after_ms())
        except StoreUnavailable as error:
            log.warning("pool.not_erased", pool=self._eraser.pool, reason=str(error))
            return
        if gone:
            log.info("orders.erased", pool=self._eraser.pool, count=gone)

    async def scrub(self) -> None:
        """Let the server's files follow, at most once an hour."""
        try:
            done = await self._eraser.scrub(wait_s=SCRUB_WAIT_S, least_ms=SCRUB_EVERY_MS)
        except StoreUnavailable as error:
            log.warning("log.not_rewritten", pool=self._eraser.pool, reason=str(error))
            return
        if done is not None:
            _tell(self._eraser.pool, done)

    async def _erase(self, demand: Demand) -> None:
        by = f"the platform of {demand.channel}"
        forgotten = await self._eraser.forget(demand.person, by=by, journal=False, bodies=False)
        if forgotten.quarantined:  # one may be a paid order: nothing but a human drops it, and then the demand is met
            self._looked_s[demand.id] = self.clock.monotonic_s()
            log.warning(
                "demand.waits",
                channel=demand.channel,
                demand=demand.id,
                quarantined=len(forgotten.quarantined),
                mend="mend or discard them: flashd quarantine list",
            )
            return
        await self._close(demand, by, forgotten.summary)

    def _is_time_for(self, demand: Demand, again_s: float) -> bool:
        return self.clock.monotonic_s() - self._looked_s.get(demand.id, -again_s) >= again_s

    async def _look_at(self, demand: Demand) -> None:
        """See whether an app that was taken away is there: a header said so that nobody signed."""
        if not self._is_time_for(demand, LOOK_AGAIN_S):
            return
        self._looked_s[demand.id] = self.clock.monotonic_s()
        if await self._cut_off(demand.channel):
            await self._close(demand, "flashd", "the shop's API answers our login")

    async def _close(self, demand: Demand, by: str, outcome: str) -> None:
        await self._eraser.meet(demand.id, by=by, outcome=outcome)
        self._looked_s.pop(demand.id, None)
        log.warning("demand.met", channel=demand.channel, kind=demand.kind, demand=demand.id, outcome=outcome)


def _tell(pool: str, done: Scrubbed) -> None:
    if done.code in (ScrubCode.FORBIDDEN, ScrubCode.FAILED):
        log.error("log.not_rewritten", pool=pool, reason=done.code, mend=list(done.mend))
    else:
        log.info("log.rewritten", pool=pool, state=done.code)
