"""Counting a backend's stock at an interval, and setting what differs as far as the operator lets it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import structlog
from msgspec.structs import replace

from flashd.domain.count import Count, CountCode, Counted
from flashd.errors import BackendUnavailable, StoreUnavailable
from flashd.ports import Clock, CountingBackend, StockLedger, Stockroom
from flashd.runtime.actor import Actor
from flashd.runtime.ticker import tick

Repair = Literal["safe", "all", "none"]

log = structlog.get_logger()


def is_set(counted: Counted, repair: Repair) -> bool:
    """Say whether a count is set: never a stale one, and a new deficit only where everything is."""
    if counted.code is CountCode.STALE or repair == "none":
        return False
    before = max(0, -counted.before.atp) if counted.before is not None else 0
    return repair == "all" or counted.deficit <= before


class Counter(Actor[None]):
    """
    Asks one backend what it has, and tells the stockroom of each pool about the SKUs that the pool knows.

    Args:
        pools: Ledger, stockroom and own location of each pool that this backend is fed from.
        moved: Told when counts were set: backorders may have been served.
    """

    def __init__(
        self,
        backend: Callable[[], CountingBackend],
        pools: Mapping[str, tuple[StockLedger, Stockroom, str]],
        *,
        clock: Clock,
        interval_s: float,
        repair: Repair = "safe",
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(f"counter:{backend().name}", clock=clock, mailbox_size=4)
        self._backend = backend
        self._pools = dict(pools)
        self._interval_s = interval_s
        self._repair: Repair = repair
        self._moved = moved

    async def on_start(self) -> None:
        """Begin to count."""
        self.spawn(tick(self.round, self._interval_s, clock=self.clock), name="round")

    async def round(self) -> None:
        """Count once; whoever does not answer is asked again next round."""
        backend = self._backend()
        try:
            counts = await backend.counts(self.clock.now_ms())
            for name, (ledger, stockroom, location) in self._pools.items():
                known = {(level.sku, level.location) for level in await ledger.levels()}
                placed = [replace(one, location=one.location or location) for one in counts]
                await self._tell(name, stockroom, [one for one in placed if (one.sku, one.location) in known])
        except (BackendUnavailable, StoreUnavailable) as error:
            log.warning("backend.not_counted", backend=backend.name, reason=str(error))

    async def _tell(self, pool: str, stockroom: Stockroom, counts: Sequence[Count]) -> None:
        foreseen = await stockroom.forecast(counts) if counts else []
        wanted = [one.count for one in foreseen if is_set(one, self._repair)]
        left = [one for one in foreseen if one.code is CountCode.COUNTED and not is_set(one, self._repair)]
        for one in [one for one in left if one.difference][:20]:
            log.warning(
                "stock.differs",
                pool=pool,
                sku=one.count.sku,
                counted=one.count.quantity,
                expected=one.expected,
                deficit=one.deficit,
            )
        if wanted:
            done = await stockroom.count(wanted, by=self._backend().name)
            differ = sum(one.difference != 0 for one in done)
            log.info("stock.counted", pool=pool, counts=len(done), differ=differ, left=len(left))
            self._moved()
