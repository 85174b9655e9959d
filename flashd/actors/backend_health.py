"""What one backend's answers do to its flow: outages, throttling, slow start, and what is announced of them."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator, Sequence

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
    Sunk,
    Throttled,
    Unknown,
)
from flashd.domain.order import OrderRef
from flashd.domain.verdict import Suspicion
from flashd.errors import StoreUnavailable
from flashd.ports import Announcer, BackendGate, Clock

_SUSPECTS = 10_000
_TAKEN = {Delivered, Declined}
_ANSWERS = {*_TAKEN, Found, Absent, Mismatch, Sunk}  # somebody is there, and understood
_GRAVITY: dict[type, int] = {Doubtful: 1, Unknown: 1, Throttled: 2, Later: 3, Away: 3}

log = structlog.get_logger()


@functools.cache
def word_for(kind: type[Outcome | Finding]) -> str:
    """Return the name under which outcomes and findings of a kind are counted."""
    return kind.__name__.lower()


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
        self.backend = gate.backend
        self.circuit = Circuit(slow_start_s=slow_start_s)
        self.counts: Counter[str] = Counter()  # outcomes and findings by name
        self.last_error = ""
        self._of_store = ""  # what the store did not answer last
        self.last_answer_ms = 0
        self._gate = gate
        self._clock = clock
        self._announcer = announcer
        self._pools = tuple(pools)
        self._answers = 0
        self._suspects: dict[tuple[str, OrderRef], tuple[int | None, int]] = {}  # (answers then, doubts that count)

    async def heard(self, said: Sequence[Outcome | Finding], sent_s: float) -> float:
        """
        Take note of what one request was answered, for each item of it: the backend is judged by it once.

        A request by which some item got its answer was answered, whatever is in doubt of the others.

        Args:
            said: What the adapter returned.
            sent_s: When the request left, by the monotonic clock.

        Returns:
            Seconds for which the backend is left alone.
        """
        kinds = {type(one) for one in said}
        for one in said:
            self.counts[word_for(type(one))] += 1
        answered = not kinds.isdisjoint(_ANSWERS)
        if answered:
            self._answers += not kinds.isdisjoint(_TAKEN)
            self.last_answer_ms = self._clock.now_ms()
            if self.circuit.answered(self._clock.monotonic_s()):
                await self._came_back()
        if kinds.isdisjoint(_GRAVITY):
            if answered:
                self.last_error = ""  # it is over: nobody shall read it beside a backend that flows
            return 0.0  # unsupported, no_lookup: nobody was asked
        worst = max(said, key=lambda one: _GRAVITY.get(type(one), 0))
        return await self._fared_ill(worst, said, sent_s, answered=answered)

    async def _fared_ill(
        self, worst: Outcome | Finding, said: Sequence[Outcome | Finding], sent_s: float, *, answered: bool
    ) -> float:
        match worst:
            case Later() | Away():
                return await self._left_alone(
                    *self.circuit.went_away(self._clock.monotonic_s(), sent_s),
                    worst.reason,
                    alert=isinstance(worst, Away),
                )
            case Throttled():
                return await self._throttled(worst.reason, sent_s, worst.retry_after_s)
            case Doubtful() | Unknown():
                for one in said:
                    if isinstance(one, Unknown) and one.retry_after_s is not None:
                        return await self._throttled(one.reason, sent_s, one.retry_after_s)
                self.last_error = worst.reason
                return 0.0 if answered else await self._doubted(worst.reason, sent_s)
        return 0.0

    @contextlib.contextmanager
    def suffering(self) -> Iterator[None]:
        """Note what the store did not answer; the next round asks again, and an answer ends that trouble."""
        try:
            yield
        except StoreUnavailable as error:
            self.suffered(error)
        else:
            if self.last_error == self._of_store:
                self.last_error = ""

    def suffered(self, error: StoreUnavailable) -> None:
        """Note what the store did not answer."""
        self.last_error = self._of_store = str(error)

    def doubt(self, pool: str, ref: OrderRef, *, alone: bool = True) -> None:
        """
        Remember from when on answers to others make this item a suspect.

        One that was not *alone* in its request never is: who knows whose fault it was.
        """
        _, total = self._suspects.pop((pool, ref), (0, 0))
        self._suspects[pool, ref] = (self._answers if alone else None, total)
        if len(self._suspects) > _SUSPECTS:
            self._suspects.pop(next(iter(self._suspects)))

    def suspicion(self, pool: str, ref: OrderRef) -> Suspicion:
        """Say what speaks against an item in doubt; one that was in doubt before this life is not a suspect."""
        if (pool, ref) not in self._suspects:
            self.doubt(pool, ref)
        answers, total = self._suspects[pool, ref]
        meanwhile = answers is not None and self._answers > answers
        return Suspicion(meanwhile, total + meanwhile)

    def convict(self, pool: str, ref: OrderRef) -> None:
        """Count a doubt against the item: it is sent again, while others were answered."""
        suspicion = self.suspicion(pool, ref)
        self._suspects[pool, ref] = (self._answers, suspicion.total)

    def acquit(self, pool: str, ref: OrderRef) -> None:
        """Forget an item that is settled."""
        self._suspects.pop((pool, ref), None)

    async def _came_back(self) -> None:
        log.info("backend.came_back", backend=self.backend)
        await self._announce("backend.came_back", {})

    async def _doubted(self, reason: str, sent_s: float) -> float:
        news, wait_s = self.circuit.doubted(self._clock.monotonic_s(), sent_s)
        self.last_error = reason
        return await self._left_alone(news, wait_s, reason, alert=False) if wait_s else 0.0

    async def _left_alone(self, news: bool, wait_s: float, reason: str, *, alert: bool) -> float:  # noqa: FBT001  # as the circuit returns it
        self.last_error = reason
        await self._pause(wait_s, reason)
        if news:
            log.error("backend.went_away", backend=self.backend, reason=reason, alert=alert)
            await self._announce("backend.went_away", {"reason": reason, "alert": alert})
        return wait_s

    async def _throttled(self, reason: str, sent_s: float, retry_after_s: float | None) -> float:
        news, wait_s = self.circuit.throttled(self._clock.monotonic_s(), sent_s, retry_after_s)
        self.last_error = reason
        await self._pause(wait_s, reason)
        if news:
            log.warning("backend.throttled", backend=self.backend, reason=reason, wait_s=wait_s)
            await self._announce("backend.throttled", {"reason": reason, "wait_ms": round(wait_s * 1000)})
        return wait_s

    async def _pause(self, wait_s: float, reason: str) -> None:
        until_ms = self._clock.now_ms() + round(wait_s * 1000)
        self.circuit.retry_at_s = max(self.circuit.retry_at_s, self._clock.monotonic_s() + wait_s)
        try:
            await self._gate.pause(until_ms=until_ms, reason=reason, by="flashd")
        except StoreUnavailable as error:  # this process waits by its own clock; nothing flows without the store
            log.warning("backend.pause_not_shared", backend=self.backend, reason=str(error))

    async def _announce(self, kind: str, data: dict[str, object]) -> None:
        for pool in self._pools:
            try:
                await self._announcer.announce(pool, kind, {"backend": self.backend, **data})
            except StoreUnavailable as error:  # an event is a convenience here: the metrics tell the same
                log.warning("event.not_announced", kind=kind, reason=str(error))
