"""
What one process holds of a backend's outboxes: being claimed, on its way, or with a result that is not settled yet.

Nothing that is in hand is taken again, and what is in hand at a stop is settled as far as anybody knows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from flashd.actors.backend_health import BackendHealth
from flashd.actors.candidate import Candidate
from flashd.actors.company import Companies, Key
from flashd.actors.flight import Flight, Parcel
from flashd.actors.settler import Settler, Spawn
from flashd.actors.tempo import CLAIMED_TOGETHER
from flashd.domain.delivery import ClaimCode, Delivery, Result, ResultKind
from flashd.domain.lease import Term
from flashd.domain.order import OrderRef
from flashd.errors import StoreUnavailable
from flashd.ports import Clock, Outbox

_FINAL = {ResultKind.DELIVERED, ResultKind.MANUAL, ResultKind.DECLINED}

Claims = list[tuple[ClaimCode, Delivery | None]]

log = structlog.get_logger()


class InHand:
    """
    Claims items and lets go of them when their outbox knows what became of them.

    Args:
        health: Of the backend whose items they are.
        lease_ms: How long a claimed item may be in flight.
        apply_next: Brings a waiting version of an order into a pool's queue.
        leave_out: Called with a pool that did not answer a claim.
        told: Called with each result that an outbox knows now.
    """

    def __init__(
        self,
        outboxes: Sequence[Outbox],
        health: BackendHealth,
        *,
        clock: Clock,
        spawn: Spawn,
        lease_ms: Callable[[], int],
        apply_next: Callable[[str], Awaitable[object]],
        leave_out: Callable[[str], None],
        told: Callable[[Result], None],
    ) -> None:
        self.parcels: dict[Key, Parcel | None] = {}  # None: being claimed, or the claim was not answered
        self.companies = Companies()
        self._outboxes = outboxes
        self._health = health
        self._lease_ms = lease_ms
        self._apply_next = apply_next
        self._leave_out = leave_out
        self._told = told
        self._settlers = {
            outbox.pool: Settler(outbox, clock=clock, spawn=spawn, told=self._settled) for outbox in outboxes
        }

    def __len__(self) -> int:
        return len(self.parcels)

    @property
    def sending(self) -> int:
        """How many are being sent, not looked up."""
        return sum(parcel is None or not parcel.is_lookup for parcel in self.parcels.values())

    def clear(self) -> None:
        """Forget all: a new life of the actor begins."""
        self.parcels.clear()
        self.companies.clear()
        for settler in self._settlers.values():
            settler.clear()

    def hold(self, flight: Flight) -> None:
        """Have what a flight carries in hand."""
        for parcel in flight.parcels:
            self.parcels[parcel.outbox.pool, parcel.delivery.ref] = parcel

    def landed(self, flight: Flight) -> None:
        """Let a look-up whose moment passed out of hand; what has a result waits for the settler."""
        for parcel in flight.parcels:
            if parcel.result is None:
                self.parcels.pop((parcel.outbox.pool, parcel.delivery.ref), None)

    def settle(self, outbox: Outbox, result: Result, epoch: int) -> None:
        """Leave a result to be told to its outbox in the term *epoch*; returns at once."""
        self._settlers[outbox.pool].hand(result, epoch)

    async def claim(self, candidates: Sequence[Candidate], term: Term) -> None:
        """
        Give those a delivery that could be claimed, by one call for each pool.

        Raises:
            StoreUnavailable: A pool did not answer, and of the others nothing was claimed.
        """
        fault: StoreUnavailable | None = None
        for outbox in self._outboxes:
            if not (group := [candidate for candidate in candidates if candidate.outbox is outbox]):
                continue
            self.parcels.update(dict.fromkeys(candidate.key for candidate in group))
            try:
                replies = await self._claim_group(outbox, [candidate.ref for candidate in group], term)
            except StoreUnavailable as error:  # what was claimed of other pools flies all the same
                fault = error
                self._leave_out(outbox.pool)
                continue
            for candidate, (code, delivery) in zip(group, replies, strict=True):
                candidate.delivery = delivery
                if delivery is None:
                    del self.parcels[candidate.key]
                if code is ClaimCode.FENCED:
                    term.end()
                    log.warning("claim.fenced", backend=self._health.backend, pool=outbox.pool, epoch=term.epoch)
            if any(code is ClaimCode.CHANGED for code, _ in replies):
                with self._health.suffering():
                    await self._apply_next(outbox.pool)
        if fault is not None and not any(candidate.delivery for candidate in candidates):
            raise fault

    async def _claim_group(self, outbox: Outbox, refs: list[OrderRef], term: Term) -> Claims:
        try:
            return await outbox.claim(refs, epoch=term.epoch, lease_ms=self._lease_ms())
        except StoreUnavailable as error:
            # perhaps they were claimed, surely not sent: they go back, and are left out until the store says so
            self._health.suffered(error)
            for ref in refs:
                back = Result(ref=ref, kind=ResultKind.LATER, reason="the claim was not answered")
                self.settle(outbox, back, term.epoch)
            raise

    def _settled(self, outbox: Outbox, result: Result) -> None:
        """The outbox knows: let the item out of hand."""
        key = outbox.pool, result.ref
        if result.kind in _FINAL:
            self._health.acquit(*key)
            self.companies.leave(key)
        self.parcels.pop(key, None)
        self._told(result)

    async def leave(self, epoch: int) -> None:
        """
        Tell the outboxes what has a result and what was never sent: nobody does it later.

        Raises:
            StoreUnavailable: What was not told of is in doubt when its lease ends.
        """
        for outbox in self._outboxes:
            left: list[Result] = []
            for (pool, ref), parcel in self.parcels.items():
                if pool != outbox.pool:
                    continue
                if parcel is None:  # perhaps it was claimed, surely it was not sent
                    left.append(Result(ref=ref, kind=ResultKind.LATER, reason="stopped before it was sent"))
                elif parcel.result is not None:
                    left.append(parcel.result)
            for start in range(0, len(left), CLAIMED_TOGETHER):
                await outbox.finish(left[start : start + CLAIMED_TOGETHER], epoch=epoch)
