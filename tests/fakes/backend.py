"""A backend in memory whose answers are scripted; it keeps what a real one would have recorded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from flashd.domain.delivery import (
    Absent,
    BackendTraits,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Finding,
    Found,
    Later,
    NoLookup,
    Outcome,
    Sunk,
    Unknown,
)
from tests.fakes.clock import FakeClock

Answer = Outcome | Finding | Callable[[Delivery], Outcome | Finding] | Exception


@dataclass
class FakeBackend:
    clock: FakeClock
    name: str = "erp"
    kind: ClassVar[str] = "fake"
    traits: BackendTraits = field(default_factory=lambda: BackendTraits(idempotent=True, lookup=True))
    takes_s: float = 0.01  # how long an answer takes
    script: deque[Answer] = field(default_factory=deque)  # answers to sends; then it simply records
    findings: deque[Answer] = field(default_factory=deque)  # answers to look-ups; then it tells the truth
    by_order: dict[str, Answer] = field(default_factory=dict)  # always this, for these order ids
    refused: bool = False  # connection refused: nothing reaches the wire
    recorded: list[str] = field(default_factory=list)  # keys, once for each record made
    requests_s: list[float] = field(default_factory=list)  # sends and look-ups, when they left
    sent: list[Delivery] = field(default_factory=list)
    looked_up: list[Delivery] = field(default_factory=list)
    busy: int = 0
    busiest: int = 0

    async def deliver(self, delivery: Delivery) -> Outcome:
        self.requests_s.append(self.clock.monotonic_s())
        self.sent.append(delivery)
        if self.refused:
            return Later("connection refused")
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.clock.sleep(self.takes_s)
        finally:
            self.busy -= 1
        answer = self.by_order.get(delivery.ref.id) or (self.script.popleft() if self.script else None)
        return self._say(answer, delivery) if answer is not None else self.record(delivery)  # type: ignore[return-value]  # scripted

    async def find(self, delivery: Delivery) -> Finding:
        self.requests_s.append(self.clock.monotonic_s())
        self.looked_up.append(delivery)
        await self.clock.sleep(self.takes_s)
        if not self.traits.lookup:
            return NoLookup()
        if self.findings:
            return self._say(self.findings.popleft(), delivery)  # type: ignore[return-value]  # scripted
        return Found(f"SO-{delivery.key}") if delivery.key in self.recorded else Absent()

    async def check(self) -> str:
        return "a fake"

    async def close(self) -> None:
        return

    def record(self, delivery: Delivery) -> Outcome:
        """Record it; once a key where it is idempotent."""
        if not (self.traits.idempotent and delivery.key in self.recorded):
            self.recorded.append(delivery.key)
        return Delivered(f"SO-{delivery.key}")

    def record_and_drop_the_reply(self, delivery: Delivery) -> Outcome:
        """Commit, and let the answer be lost."""
        self.record(delivery)
        return Doubtful("connection reset")

    @staticmethod
    def _say(answer: Answer, delivery: Delivery) -> Outcome | Finding:
        if isinstance(answer, Exception):
            raise answer
        return answer(delivery) if callable(answer) else answer


ManyAnswer = Callable[[Sequence[Delivery]], Sequence[Outcome]]


@dataclass
class BatchingFake(FakeBackend):
    """
    The same, of several orders in one request: all or none are recorded, as in a transaction.

    It refuses a request whole (`Sunk`) where it has one of the *poisoned* in it, unless that one is alone.
    """

    traits: BackendTraits = field(default_factory=lambda: BackendTraits(idempotent=True, lookup=True, batch=8))
    poisoned: set[str] = field(default_factory=set)  # order ids
    unreadable: set[str] = field(default_factory=set)  # order ids that no look-up can be made with
    scripts: deque[ManyAnswer | Exception] = field(default_factory=deque)  # answers to requests of several
    batches: list[list[str]] = field(default_factory=list)  # order ids of each request that sent, also of one
    searches: list[list[str]] = field(default_factory=list)  # of each that looked up

    async def deliver(self, delivery: Delivery) -> Outcome:
        self.batches.append([delivery.ref.id])
        if delivery.ref.id in self.poisoned:
            self.requests_s.append(self.clock.monotonic_s())
            return Declined("poisoned")
        return await super().deliver(delivery)

    async def find(self, delivery: Delivery) -> Finding:
        self.searches.append([delivery.ref.id])
        found = await super().find(delivery)
        return Unknown("unreadable") if delivery.ref.id in self.unreadable else found

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        assert 1 < len(deliveries) <= self.traits.batch
        self.requests_s.append(self.clock.monotonic_s())
        self.sent.extend(deliveries)
        self.batches.append([delivery.ref.id for delivery in deliveries])
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.clock.sleep(self.takes_s)
        finally:
            self.busy -= 1
        if self.scripts:
            answer = self.scripts.popleft()
            if isinstance(answer, Exception):
                raise answer
            return answer(deliveries)
        if any(delivery.ref.id in self.poisoned for delivery in deliveries):
            return [Sunk("rolled back")] * len(deliveries)
        return [self.record(delivery) for delivery in deliveries]

    async def find_many(self, deliveries: Sequence[Delivery]) -> Sequence[Finding]:
        assert 1 < len(deliveries) <= self.traits.batch
        self.requests_s.append(self.clock.monotonic_s())
        self.looked_up.extend(deliveries)
        self.searches.append([delivery.ref.id for delivery in deliveries])
        await self.clock.sleep(self.takes_s)
        if any(delivery.ref.id in self.unreadable for delivery in deliveries):
            return [Unknown("unreadable")] * len(deliveries)
        return [Found(f"SO-{one.key}") if one.key in self.recorded else Absent() for one in deliveries]
