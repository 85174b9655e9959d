"""A backend's gate in memory, deciding by the executable specification."""

from __future__ import annotations

from dataclasses import dataclass, field

from flashd.domain.bucket import Bucket, take_drop
from flashd.domain.lease import Lease, give_up, take_lease
from flashd.domain.rate import Rate
from flashd.errors import StoreUnavailable
from flashd.ports import Drop, GateStatus
from tests.fakes.clock import FakeClock

EPOCH_US = 1_790_000_000_000_000  # the server's clock knows microseconds; this one turns with the monotonic one


@dataclass
class FakeGate:
    clock: FakeClock = field(default_factory=FakeClock)
    backend: str = "erp"
    lease: Lease = field(default_factory=Lease)
    bucket: Bucket | None = None
    paused: bool = False
    human: str = ""
    until_ms: int = 0
    why: str = ""
    rate: str = ""
    first: str = ""
    down: bool = False
    drops: int = 0
    calls: list[str] = field(default_factory=list)

    async def lead(self, owner: str, ttl_ms: int) -> int | None:
        self._begin("lead")
        self.lease, leads = take_lease(self.lease, owner, self.clock.now_ms(), ttl_ms)
        return self.lease.epoch if leads else None

    async def resign(self, owner: str) -> None:
        self._begin()
        self.lease = give_up(self.lease, owner)

    async def drop(self, spacing_us: int, *, burst: int = 1, ahead_us: int = 0, count: int = 1) -> Drop:
        self._begin("drop")
        if self.paused:
            return Drop(1000, "paused")
        if self.until_ms > self.clock.now_ms():
            return Drop(self.until_ms - self.clock.now_ms(), "retry_after")
        now_us = EPOCH_US + round(self.clock.monotonic_s() * 1e6)
        taking = take_drop(self.bucket, now_us, spacing_us, burst=burst, ahead_us=ahead_us, count=count)
        self.bucket = taking.bucket
        if taking.wait_ms:
            return Drop(taking.wait_ms, "rate")
        self.drops += taking.taken
        return Drop(0, "", taking.after_us, taking.taken)

    async def pause(self, *, until_ms: int = 0, reason: str, by: str) -> None:
        self._begin()
        if not until_ms:
            self.paused, self.human = True, reason
        elif until_ms > self.until_ms:
            self.until_ms, self.why = until_ms, reason

    async def resume(self, *, by: str) -> None:
        self._begin()
        self.paused, self.human, self.until_ms, self.why = False, "", 0, ""

    async def set_rate(self, rate: str, *, by: str) -> None:
        if rate:
            Rate.parse(rate)
        self._begin()
        self.rate = rate

    async def ask_first(self, reason: str, *, by: str) -> None:
        self._begin()
        self.first = reason

    async def status(self) -> GateStatus:
        self._begin("status")
        now = self.clock.now_ms()
        waits = self.until_ms > now
        return GateStatus(
            backend=self.backend,
            leader=self.lease.owner if self.lease.until_ms > now else "",
            epoch=self.lease.epoch,
            paused=self.paused,
            until_ms=self.until_ms if waits else 0,
            reason=self.human or (self.why if waits else ""),
            rate=self.rate,
            asks_first=self.first,
        )

    def _begin(self, verb: str = "") -> None:
        if verb:
            self.calls.append(verb)
        if self.down:
            raise StoreUnavailable("gate")
