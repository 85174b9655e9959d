"""Hygiene of one pool: overdue holds end, versions that waited are applied, the journal and old orders are trimmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from flashd.errors import StoreUnavailable
from flashd.ports import Clock, StockLedger
from flashd.runtime.actor import Actor
from flashd.runtime.ticker import tick

SWEEP_S = 1.0
TRIM_S = 30.0
BATCH = 500

log = structlog.get_logger()


class Reaper(Actor[None]):
    """
    Looks after one pool. Nothing depends on its punctuality: the scripts sweep lazily themselves.

    Args:
        trim: Shortens the journal and lets old orders go; returns how much went.
        applied: Told when waiting versions were applied: there may be work for the backends.
    """

    def __init__(
        self,
        ledger: StockLedger,
        *,
        clock: Clock,
        trim: Callable[[], Awaitable[int]],
        applied: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(f"reaper:{ledger.pool}", clock=clock, mailbox_size=4)
        self._ledger = ledger
        self._trim = trim
        self._applied = applied

    async def on_start(self) -> None:
        """Begin both rounds."""
        self.spawn(tick(self.sweep, SWEEP_S, clock=self.clock), name="sweep")
        self.spawn(tick(self.trim, TRIM_S, clock=self.clock), name="trim")

    async def sweep(self) -> None:
        """End what is overdue and apply what waited; a store that does not answer is asked again next round."""
        try:
            while await self._ledger.sweep(BATCH) >= BATCH:
                pass
            applied = await self._ledger.apply_next(BATCH)
        except StoreUnavailable as error:
            log.warning("pool.not_swept", pool=self._ledger.pool, reason=str(error))
            return
        if applied:
            self._applied()

    async def trim(self) -> None:
        """Let go what is no longer needed."""
        try:
            gone = await self._trim()
        except StoreUnavailable as error:
            log.warning("pool.not_trimmed", pool=self._ledger.pool, reason=str(error))
            return
        if gone:
            log.info("pool.trimmed", pool=self._ledger.pool, gone=gone)
