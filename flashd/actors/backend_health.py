"""What one backend's answers do to its flow: outages, throttling, slow start, and what is announced of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from flashd.domain.circuit import Circuit
from flashd.domain.delivery import (
    Absent,
    Away,
    Declined,
    Delivered,
    Doubtful,
    Finding,
    Found,
    Later,
    Mismatch,
    Outcome,
    Throttled,
    Unknown,
)
from flashd.domain.order import OrderRef
from flashd.domain.verdict import Suspicion
from flashd.errors import StoreUnavailable
from flashd.ports import Announcer, BackendGate, Clock

_SUSPECTS = 10_000

log = structlog.get_logger()


class BackendHealth:
    """One process' view of a backend, and the pauses that it shares with the others through the gate."""

    def __init__(
        self,
        gate: BackendGate,
        *,
        clock: Clock,
        announcer: Announcer,
        pools: Sequence[str],
        slow_start_s: float,
    ) -> None:
        self.circuit = Circuit(slow_start_s=slow_start_s)
        self.counts: Counter[str] = Counter()  # outcomes and findings by name
        self.last_error = ""
        self.last_answer_ms = 0
        self._gate = gate
        self._clock = clock
        self._announcer = announcer
        self._pools = tuple(pools)
        self._answers = 0
        self._suspects: dict[tuple[str, OrderRef], tuple[int, int]] = {}  # (answers at its doubt, doubts that count)

    async def heard(self, said: Outcome | Finding, sent_s: float) -> float:  # noqa: PLR0911  # a decision table
        """
        Take note of an answer, or of none.

        Args:
            said: What the adapter returned.
            sent_s: When the request left, by the monotonic clock.

        Returns:
            Seconds for which the backend is left alone.
        """
        self.counts[type(said).__name__.lower()] += 1
        match said:
            case Delivered() | Declined() | Found() | Absent() | Mismatch():
                if isinstance(said, Delivered | Declined):
                    self._answers += 1
                await self._answered()
                return 0.0
            case Later() | Away():
                return await self._left_alone(
                    *self.circuit.went_away(self._clock.monotonic_s(), sent_s),
                    said.reason,
                    alert=isinstance(said, Away),
                )
            case Throttled():
                return await self._throttled(said.reason, sent_s, said.retry_after_s)
            case Unknown():
                if said.retry_after_s is not None:
                    return await self._throttled(said.reason, sent_s, said.retry_after_s)
                return await self._doubted(said.reason, sent_s)
            case Doubtful():
                return await self._doubted(said.reason, sent_s)
        return 0.0  # unsupported, no_lookup: nobody was asked

    def doubt(self, pool: str, ref: OrderRef) -> None:
        """Remember from when on answers to others make this item a suspect."""
        _, total = self._suspects.pop((pool, ref), (0, 0))
        self._suspects[pool, ref] = (self._answers, total)
        if len(self._suspects) > _SUSPECTS:
            self._suspects.pop(next(iter(self._suspects)))

    def suspicion(self, pool: str, ref: OrderRef) -> Suspicion:
        """Say what speaks against an item in doubt; one that was in doubt before this life is not a suspect."""
        if (pool, ref) not in self._suspects:
            self.doubt(pool, ref)
        answers, total = self._suspects[pool, ref]
        meanwhile = self._answers > answers
        return Suspicion(meanwhile, total + meanwhile)

    def convict(self, pool: str, ref: OrderRef) -> None:
        """Count a doubt against the item: it is sent again, while others were answered."""
        suspicion = self.suspicion(pool, ref)
        self._suspects[pool, ref] = (self._answers, suspicion.total)

    def acquit(self, pool: str, ref: OrderRef) -> None:
        """Forget an item that is settled."""
        self._suspects.pop((pool, ref), None)

    async def _answered(self) -> None:
        self.last_answer_ms = self._clock.now_ms()
        if self.circuit.answered(self._clock.monotonic_s()):
            log.info("backend.came_back", backend=self._gate.backend)
            await self._announce("backend.came_back", {})

    async def _doubted(self, reason: str, sent_s: float) -> float:
        news, wait_s = self.circuit.doubted(self._clock.monotonic_s(), sent_s)
        self.last_error = reason
        return await self._left_alone(news, wait_s, reason, alert=False) if wait_s else 0.0

    async def _left_alone(self, news: bool, wait_s: float, reason: str, *, alert: bool) -> float:  # noqa: FBT001  # as the circuit returns it
        self.last_error = reason
        await self._pause(wait_s, reason)
        if news:
            log.error("backend.went_away", backend=self._gate.backend, reason=reason, alert=alert)
            await self._announce("backend.went_away", {"reason": reason, "alert": alert})
        return wait_s

    async def _throttled(self, reason: str, sent_s: float, retry_after_s: float | None) -> float:
        news, wait_s = self.circuit.throttled(self._clock.monotonic_s(), sent_s, retry_after_s)
        self.last_error = reason
        await self._pause(wait_s, reason)
        if news:
            log.warning("backend.throttled", backend=self._gate.backend, reason=reason, wait_s=wait_s)
            await self._announce("backend.throttled", {"reason": reason, "wait_ms": round(wait_s * 1000)})
        return wait_s

    async def _pause(self, wait_s: float, reason: str) -> None:
        until_ms = self._clock.now_ms() + round(wait_s * 1000)
        self.circuit.retry_at_s = max(self.circuit.retry_at_s, self._clock.monotonic_s() + wait_s)
        try:
            await self._gate.pause(until_ms=until_ms, reason=reason, by="flashd")
        except StoreUnavailable as error:  # this process waits by its own clock; nothing flows without the store
            log.warning("backend.pause_not_shared", backend=self._gate.backend, reason=str(error))

    async def _announce(self, kind: str, data: dict[str, object]) -> None:
        for pool in self._pools:
            try:
                await self._announcer.announce(pool, kind, {"backend": self._gate.backend, **data})
            except StoreUnavailable as error:  # an event is a convenience here: the metrics tell the same
                log.warning("event.not_announced", kind=kind, reason=str(error))
