"""An outbox over a FakePool, deciding by the executable specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from flashd.domain import dispatch
from flashd.domain.delivery import ClaimCode, Delivery, FinishCode, InFlight, Result, idempotency_key
from flashd.domain.event import Event
from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.errors import StoreUnavailable
from flashd.ports import Depth
from tests.fakes.pool import FakePool, delivered

LATEST_MS = 1_000_000  # nothing is due later, unless a clock was set back


@dataclass
class FakeOutbox:
    state: FakePool
    backend: str = "erp"
    lost_replies: list[str] = field(default_factory=list)  # verbs that are done and then answer with StoreUnavailable
    failing: set[str] = field(default_factory=set)  # verbs that are not done at all
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = self.state.name

    async def due(self, limit: int) -> list[OrderRef]:
        self._begin("due")
        return self._standing({OrderState.QUEUED})[:limit]

    async def claim(
        self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        self._begin("claim")
        if self._stale(epoch):
            return [(ClaimCode.FENCED, None) for _ in refs]
        claims: list[tuple[ClaimCode, Delivery | None]] = []
        for ref in refs:
            code, change = dispatch.claim(
                self._record(ref),
                self.state.due_ms.get(ref, 0),
                backend=self.backend,
                epoch=epoch,
                now_ms=self.state.clock.now_ms(),
                lease_ms=lease_ms,
            )
            if change is not None:
                self._apply(change)
            claims.append((code, self._delivery(ref) if change is not None else None))
        self._end("claim")
        return claims

    async def finish(self, results: Sequence[Result], *, epoch: int) -> list[FinishCode]:
        self._begin("finish")
        stale = self._stale(epoch)
        codes = []
        for result in results:
            code, change = dispatch.finish(
                self._record(result.ref),
                self.state.due_ms.get(result.ref, 0),
                result,
                backend=self.backend,
                stale=stale,
                now_ms=self.state.clock.now_ms(),
            )
            if change is not None:
                self._apply(change, result.reason, result.backend_ref)
            codes.append(code)
        self._end("finish")
        return codes

    async def recover(self, *, epoch: int, delay_ms: int, limit: int = 100) -> list[OrderRef]:
        self._begin("recover")
        if self._stale(epoch):
            return []
        turned = []
        for ref in self._standing({OrderState.SENDING})[:limit]:
            change = dispatch.recover(
                self._record(ref),
                self.state.due_ms[ref],
                backend=self.backend,
                now_ms=self.state.clock.now_ms(),
                delay_ms=delay_ms,
            )
            if change is not None:
                self._apply(change, "lease ended")
                turned.append(ref)
        return turned

    async def doubtful(self, limit: int) -> list[Delivery]:
        self._begin("doubtful")
        return [self._delivery(ref) for ref in self._standing({OrderState.IN_DOUBT})[:limit]]

    async def in_flight(self) -> list[InFlight]:
        states = {OrderState.SENDING, OrderState.IN_DOUBT}
        refs = self._standing(states, due_only=False)
        return [InFlight(ref=ref, due_ms=self.state.due_ms[ref]) for ref in refs]

    async def depth(self) -> Depth:
        self._begin("depth")
        queued = self._standing({OrderState.QUEUED}, due_only=False)
        oldest_ms = self.state.records[queued[0]].accepted_ms if queued else 0
        return Depth(
            queued=len(queued),
            oldest_ms=oldest_ms,
            in_flight=len(await self.in_flight()),
            due=bool(self._standing({OrderState.QUEUED})),
            overdue=self._is_overdue(),
        )

    def _is_overdue(self) -> bool:
        in_flight = {OrderState.SENDING, OrderState.IN_DOUBT}
        late_ms = self.state.clock.now_ms() + LATEST_MS
        known = self._standing({OrderState.QUEUED, *in_flight}, due_only=False)
        return bool(self._standing(in_flight)) or any(self.state.due_ms[ref] > late_ms for ref in known)

    def _record(self, ref: OrderRef) -> OrderRecord | None:
        record = self.state.records.get(ref)
        return record and replace(record, has_next=ref in self.state.waiting)

    def _standing(self, states: set[OrderState], *, due_only: bool = True) -> list[OrderRef]:
        now = self.state.clock.now_ms()
        found = [
            (self.state.due_ms[ref], str(ref), ref)
            for ref, record in self.state.records.items()
            if record.state in states
            and record.backend == self.backend
            and (not due_only or self.state.due_ms[ref] <= now)
        ]
        return [ref for _, _, ref in sorted(found)]

    def _delivery(self, ref: OrderRef) -> Delivery:
        record = self.state.records[ref]
        parent = self.state.records.get(OrderRef(ref.channel, ref.id))
        assert record.order is not None
        return Delivery(
            ref=ref,
            key=idempotency_key(ref, record.revision),
            order=record.order,
            backend_ref=parent.backend_ref if parent is not None else "",
            sends=record.sends,
        )

    def _stale(self, epoch: int) -> bool:
        fence = self.state.fences.get(self.backend, 0)
        self.state.fences[self.backend] = max(fence, epoch)
        return dispatch.is_stale(epoch, fence)

    def _apply(self, change: dispatch.Change, reason: str = "", backend_ref: str = "") -> None:
        record = delivered(self.state, change.record) if "order.delivered" in change.events else change.record
        self.state.records[record.ref] = replace(record, has_next=False)
        self.state.due_ms[record.ref] = change.score_ms
        if change.forget_raw:
            self.state.raws.pop(record.ref, None)
        moves = []
        for move in change.moves:  # what a recount took out of sold already does not go back twice
            level = self.state.levels[move.sku, move.location]
            units = min(-move.sold, level.sold)
            base = self.state.records.get(OrderRef(record.ref.channel, record.ref.id))
            gone = (
                base is not None and base.shipped_ms > 0
            )  # shipped goods left the shelf: they do not come back by this
            moves.append(replace(move, sold=-units, on_hand=-units if gone else 0))
            self.state.levels[move.sku, move.location] = level.moved(moves[-1])
            if moves[-1].sold:
                self.state.dirty.setdefault(move.sku, self.state.clock.now_ms())
        for kind in change.events:
            data: dict[str, Any] = {
                "order": {"channel": record.ref.channel, "id": record.ref.id},
                "item": str(record.ref.kind),
                "state": str(record.state),
                "backend": record.backend,
                "version": record.version,
                "backend_ref": backend_ref,
                "sends": record.sends,
            }
            if reason:
                data["reason"] = reason
            if moves:
                data["moves"] = [msgspec.to_builtins(move) for move in moves if move.sold]
            self.state.journal.append(
                Event(
                    id=f"{self.state.clock.now_ms()}-{len(self.state.journal)}",
                    at_ms=self.state.clock.now_ms(),
                    kind=kind,
                    pool=self.pool,
                    data=data,
                )
            )

    def _begin(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.failing:
            raise StoreUnavailable(verb)

    def _end(self, verb: str) -> None:
        if verb in self.lost_replies:
            self.lost_replies.remove(verb)
            raise StoreUnavailable(verb)
