"""An order book over a FakePool."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.ports import Headcount, Quarantined
from tests.fakes.pool import FakePool

_GROUP = {
    OrderState.WAITING: "waiting",
    OrderState.QUEUED: "queued",
    OrderState.SENDING: "in_flight",
    OrderState.IN_DOUBT: "in_flight",
    OrderState.DEAD: "dead",
    OrderState.MANUAL: "desk",
    OrderState.PARKED: "desk",
    OrderState.SHORTFALL: "desk",
    OrderState.DELIVERED: "done",
    OrderState.BACKORDER: "backorder",
    OrderState.CANCELLED: "done",
    OrderState.IGNORED: "done",
}


@dataclass
class FakeOrderBook:
    state: FakePool

    def __post_init__(self) -> None:
        self.pool = self.state.name

    async def get(self, ref: OrderRef) -> OrderRecord | None:
        record = self.state.records.get(ref)
        return record and replace(record, has_next=ref in self.state.waiting)

    async def raw(self, ref: OrderRef) -> bytes | None:
        return self.state.raws.get(ref)

    async def page(
        self, states: Sequence[OrderState] = (), *, backend: str = "", offset: int = 0, limit: int = 100
    ) -> list[OrderRecord]:
        found = sorted(
            (self.state.due_ms[ref], str(ref), ref)
            for ref, record in self.state.records.items()
            if (not states or record.state in states) and (not backend or record.backend == backend)
        )
        records = [await self.get(ref) for _, _, ref in found[offset : offset + limit]]
        return [record for record in records if record is not None]

    async def every(self, states: Sequence[OrderState] = (), *, backend: str = "") -> AsyncIterator[OrderRecord]:
        for record in await self.page(states, backend=backend, limit=1_000_000):
            yield record

    async def counts(self) -> dict[str, int]:
        return (await self.headcount()).orders

    async def headcount(self) -> Headcount:
        counts = dict.fromkeys(("waiting", "queued", "in_flight", "dead", "desk", "backorder", "done"), 0)
        for record in self.state.records.values():
            counts[_GROUP[record.state]] += 1
        queued = Counter(one.backend for one in self.state.records.values() if one.state is OrderState.QUEUED)
        return Headcount(orders=counts, queued=dict(queued))

    async def position(self, ref: OrderRef) -> int | None:
        record = self.state.records.get(ref)
        if record is None or record.state is not OrderState.QUEUED:
            return None
        queue = sorted(
            (self.state.due_ms[other], str(other), other)
            for other, there in self.state.records.items()
            if there.state is OrderState.QUEUED and there.backend == record.backend
        )
        return [other for _, _, other in queue].index(ref)

    async def quarantined(self, *, offset: int = 0, limit: int = 100) -> list[Quarantined]:
        return list(self.state.quarantine.values())[offset : offset + limit]
