"""
Triage of one pool: rules decide what becomes of new shortfalls, who waits is served, split orders stay in step.

All of it is level-triggered: each round looks at what stands there now, so a round that fails, or a process that dies,
leaves nothing behind that the next round does not see.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import structlog
from msgspec.structs import replace

from flashd.domain.order import Effect, Incoming, Kind, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.triage import SPLIT_OF, Option, TriageRule, Way, choose, options, origin_of, short_of, substituted
from flashd.errors import Refused, StoreUnavailable
from flashd.ports import Clock, OrderBook, StockLedger, Stockroom
from flashd.runtime.actor import Actor
from flashd.runtime.ticker import tick

ROUND_S = 5.0
PAGE = 200
RULE = "rule"

log = structlog.get_logger()


class Triage(Actor[None]):
    """
    Looks after what fell short in one pool.

    Args:
        rules: The first that matches a shortfall decides; where none does, a human must.
        substitutes: What may go instead of a SKU, the best first.
        moved: Told when orders became ready for their backend.
    """

    def __init__(
        self,
        ledger: StockLedger,
        book: OrderBook,
        stockroom: Stockroom,
        *,
        clock: Clock,
        rules: Sequence[TriageRule] = (),
        substitutes: Mapping[str, Sequence[str]] | None = None,
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(f"triage:{ledger.pool}", clock=clock, mailbox_size=4)
        self._ledger = ledger
        self._book = book
        self._stockroom = stockroom
        self._rules = tuple(rules)
        self._substitutes = dict(substitutes or {})
        self._moved = moved
        self._told: set[OrderRef] = set()  # of whom the log was told

    async def on_start(self) -> None:
        """Begin the rounds."""
        self.spawn(tick(self.round, ROUND_S, clock=self.clock), name="round")

    async def round(self) -> None:
        """Serve, decide, and keep the rests in step; a store that does not answer is asked again next round."""
        try:
            served = await self._stockroom.serve()
            decided = await self._decide_all() if self._rules else 0
            followed = await self._follow_origins()
        except StoreUnavailable as error:
            log.warning("pool.not_triaged", pool=self._ledger.pool, reason=str(error))
            return
        if served or decided or followed:
            log.info("pool.triaged", pool=self._ledger.pool, served=len(served), decided=decided, followed=followed)
            self._moved()

    # ---------------------------------------------------------------------------------------------------- deciding

    async def _decide_all(self) -> int:
        decided = 0
        for record in [record async for record in self._all(OrderState.SHORTFALL)]:
            option = choose(record, await self._options(record), self._rules)
            if option is not None:
                decided += await self._try(record, option)
        return decided

    async def _options(self, record: OrderRecord) -> list[Option]:
        skus = sorted({new for sku in short_of(record) for new in self._substitutes.get(sku, ())})
        free: dict[str, int] = {}
        for level in await self._ledger.levels(skus) if skus else ():
            free[level.sku] = free.get(level.sku, 0) + level.free
        return options(record, now_ms=self.clock.now_ms(), free=free, substitutes=self._substitutes)

    async def _try(self, record: OrderRecord, option: Option) -> bool:
        try:
            await self._act(record, option)
        except Refused as refusal:  # it changed since it was read, or another process was first
            if record.ref not in self._told:
                self._told.add(record.ref)
                log.info("order.not_triaged", order=str(record.ref), way=str(option.way), reason=str(refusal))
            return False
        log.info("order.triaged", order=str(record.ref), way=str(option.way), reason=option.why)
        return True

    async def _act(self, record: OrderRecord, option: Option) -> None:
        match option.way:
            case Way.BACKORDER:
                await self._stockroom.backorder(record.ref, by=RULE)
            case Way.SPLIT | Way.REDUCE:
                await self._stockroom.split(record.ref, by=RULE, wait=option.way is Way.SPLIT)
            case Way.CANCEL:
                await self._ledger.cancel(record.ref, by=RULE, reason=option.why)
            case Way.SUBSTITUTE:
                if record.order is not None:
                    mended = substituted(record.order, option.substitutes)
                    await self._ledger.requeue(record.ref, by=RULE, order=mended)

    # ------------------------------------------------------------------------------------------------------- rests

    async def _follow_origins(self) -> int:
        """
        Keep what was split off in step with its order.

        Cancelled, the rest is cancelled too, also in a backend that has it. Edited, the order stands for all of it
        again, so a rest that did not leave yet is given up; one that did is a human's to settle.
        """
        followed = 0
        for ref in await self._stockroom.rests():
            origin, rest = origin_of(ref), await self._book.get(ref)
            first = await self._book.get(origin) if origin is not None else None
            if rest is None or first is None or rest.state is OrderState.CANCELLED or rest.order is None:
                continue
            if first.state is OrderState.CANCELLED or await self._has_cancel(first.ref):
                followed += not await self._has_cancel(ref) and await self._cancel(rest, rest.order, first)
            elif SPLIT_OF + first.digest not in rest.order.tags:
                followed += await self._give_up(rest)
        return followed

    async def _has_cancel(self, ref: OrderRef) -> bool:
        return await self._book.get(replace(ref, kind=Kind.CANCEL)) is not None

    async def _cancel(self, rest: OrderRecord, order: Order, first: OrderRecord) -> bool:
        version = max(first.version, rest.version + 1)
        told = Incoming(order=order, version=version, effect=Effect.CANCEL, reason=f"{first.ref} was cancelled")
        await self._ledger.accept([told], [rest.backend], since_ms=0)
        return True

    async def _give_up(self, rest: OrderRecord) -> bool:
        try:
            await self._ledger.cancel(rest.ref, by=RULE, reason="the order was edited after it was split")
        except Refused:
            if rest.ref not in self._told:
                self._told.add(rest.ref)
                log.warning("order.edited_after_split", order=str(rest.ref), state=str(rest.state))
            return False
        return True

    async def _all(self, state: OrderState) -> AsyncIterator[OrderRecord]:
        offset = 0
        while page := await self._book.page([state], offset=offset, limit=PAGE):
            for record in page:
                if record.ref.kind is Kind.CREATE:
                    yield record
            if len(page) < PAGE:
                return
            offset += PAGE
