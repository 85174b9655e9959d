"""
One request to a backend, from its drop to the settled result.

The order of things is the promise: drop, claim, the leader's term, the spacing guard, the socket. Whatever happens
after the first byte is an outcome; whatever stops before it goes back into the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from flashd.actors.backend_health import BackendHealth
from flashd.domain.bucket import AHEAD_MAX_US, SpacingGuard
from flashd.domain.delivery import (
    Delivery,
    Doubtful,
    Finding,
    FinishCode,
    Later,
    NoLookup,
    Outcome,
    Result,
    ResultKind,
    Unknown,
)
from flashd.domain.lease import Term
from flashd.domain.verdict import DoubtRules, judge_finding, judge_outcome
from flashd.errors import StoreUnavailable
from flashd.ports import Backend, BackendGate, Clock, Outbox
from flashd.runtime.deadline import bounded

DROP_AGE_S = 0.5  # a drop that old is thrown away
SEND_SLACK_S = 2.0  # how long a claimed item may wait for its moment before it goes back
SETTLE_S = 3.0  # room to settle before the in-flight lease ends
SETTLE_RETRY_S = 0.5
TIMER_S = 0.0012  # how late a timer of the loop may be
CLOSE_US = 50_000

Observe = Callable[[str, float], None]  # told the name of each outcome or finding, and the seconds it took

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast the backend may be fed right now."""

    spacing_us: int
    burst: int = 1


@dataclass(kw_only=True)
class Flight:
    """One item on its way: what a stopping actor must know to settle it."""

    outbox: Outbox
    delivery: Delivery
    term: Term
    is_lookup: bool = False
    use_at_s: float  # when its drop may be used, by the monotonic clock
    claimed_s: float
    sent_s: float | None = None
    result: Result | None = None
    settled: bool = False


class Courier:
    """Carries flights out; shared by all flights of one backend."""

    def __init__(
        self,
        backend: Backend,
        gate: BackendGate,
        health: BackendHealth,
        *,
        clock: Clock,
        pace: Callable[[], Pace],
        rules: Callable[[], DoubtRules],
        timeout_s: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._gate = gate
        self._health = health
        self._clock = clock
        self._pace = pace
        self._rules = rules
        self._timeout_s = timeout_s
        self.observe: Observe = lambda _outcome, _seconds: None
        self._guard = SpacingGuard()
        self.sent_s: deque[float] = deque(maxlen=1000)  # when the last requests left, by the monotonic clock

    def follow(self, former: Courier) -> None:
        """Keep the distance from what *former*, whose place this one takes, sent last."""
        self._guard, self.sent_s = former._guard, former.sent_s

    async def carry(self, flight: Flight) -> None:
        """Wait for the moment, send or look up, conclude, settle."""
        if not await self._moment(flight):
            if not flight.is_lookup:
                result = Result(
                    ref=flight.delivery.ref,
                    sends=flight.delivery.sends,
                    kind=ResultKind.LATER,
                    reason="its moment passed",
                )
                await self._settle(flight, result)
        elif flight.is_lookup:
            await self._settle(flight, await self._look_up(flight))
        else:
            await self._settle(flight, await self._send(flight))

    async def conclude_without_looking(self, flight: Flight) -> None:
        """Settle an item in doubt where the backend has no look-up: no request, no drop."""
        pool, delivery = flight.outbox.pool, flight.delivery
        suspicion = self._health.suspicion(pool, delivery.ref)
        result = judge_finding(NoLookup(), delivery, self._rules(), suspicion=suspicion, wait_ms=0)
        if result.kind is ResultKind.LATER:
            self._health.convict(pool, delivery.ref)
        await self._settle(flight, result)

    async def settle(self, outbox: Outbox, result: Result, epoch: int) -> FinishCode:
        """
        Tell the outbox, again and again until it answers: a repeated result changes nothing.

        Nobody claims the item meanwhile: the actor leaves out what is still in its hands.
        """
        while True:
            try:
                [code] = await outbox.finish([result], epoch=epoch)
            except StoreUnavailable as error:
                log.warning("result.not_settled", item=str(result.ref), reason=str(error))
                await self._clock.sleep(SETTLE_RETRY_S)
                continue
            if code is not FinishCode.DONE:
                log.warning("result.refused", item=str(result.ref), result=str(result.kind), code=str(code))
            if result.kind in {ResultKind.DELIVERED, ResultKind.MANUAL, ResultKind.DECLINED}:
                self._health.acquit(outbox.pool, result.ref)
            return code

    async def _settle(self, flight: Flight, result: Result) -> None:
        flight.result = result
        await self.settle(flight.outbox, result, flight.term.epoch)
        flight.settled = True

    async def _moment(self, flight: Flight) -> bool:
        """Wait until the request may leave; False where it may not any more. The guard is the last thing asked."""
        while True:
            now = self._clock.monotonic_s()
            if not flight.term.may_send(now) or now > flight.claimed_s + SEND_SLACK_S:
                return False
            if now < flight.use_at_s:
                await self._doze(flight.use_at_s - now)
                continue
            if now > flight.use_at_s + DROP_AGE_S:
                if not await self._another_drop(flight):
                    return False
                continue
            pace = self._pace()
            wait_us = self._guard.pass_us(round(now * 1e6), pace.spacing_us, burst=pace.burst)
            if not wait_us:
                flight.sent_s = now
                self.sent_s.append(now)
                log.debug("request.sent", backend=self._backend.name, at_us=round(now * 1e6))
                return True
            await self._doze(wait_us / 1e6)

    async def _doze(self, seconds: float) -> None:
        """
        Wait, more exactly than the loop's timers, which round up to a whole ms.

        What one request leaves late every later one keeps as a delay, for the guard counts from it: at 50 a second a
        ms is five percent of the rate. So where requests are that close the last bit is waited for awake.
        """
        awake_s = TIMER_S if self._pace().spacing_us < CLOSE_US else 0.0
        if seconds > awake_s + 1e-6:
            await self._clock.sleep(seconds - awake_s)
            return
        before_s = self._clock.monotonic_s()
        await asyncio.sleep(0)
        if self._clock.monotonic_s() == before_s:  # a clock that only its owner turns
            await self._clock.sleep(max(seconds, 1e-6))

    async def _another_drop(self, flight: Flight) -> bool:
        pace = self._pace()
        try:
            drop = await self._gate.drop(pace.spacing_us, burst=pace.burst, ahead_us=min(pace.spacing_us, AHEAD_MAX_US))
        except StoreUnavailable:
            return False
        now = self._clock.monotonic_s()
        flight.use_at_s = now + drop.after_us / 1e6
        if drop.wait_ms:
            if drop.reason != "rate":
                return False
            flight.use_at_s = now - DROP_AGE_S - 1  # none yet: ask again
            await self._clock.sleep(drop.wait_ms / 1000)
        return True

    async def _send(self, flight: Flight) -> Result:
        rules = self._rules()
        outcome: Outcome
        try:
            outcome = await bounded(self._backend.deliver(flight.delivery), self._timeout_s(), clock=self._clock)
        except TimeoutError:
            outcome = Doubtful(f"no answer within {self._timeout_s():g} s")
        except Exception as error:
            log.exception("adapter.raised", backend=self._backend.name, verb="deliver")
            outcome = Doubtful(f"the adapter raised {type(error).__name__}")
        self._heard(outcome, flight)
        wait_s = await self._health.heard(outcome, flight.sent_s or 0.0)
        if isinstance(outcome, Doubtful):
            self._health.doubt(flight.outbox.pool, flight.delivery.ref)
        elif isinstance(outcome, Later):
            wait_s = max(wait_s, 1.0)
        return judge_outcome(outcome, flight.delivery, rules, wait_ms=round(wait_s * 1000))

    async def _look_up(self, flight: Flight) -> Result:
        finding: Finding
        try:
            finding = await bounded(self._backend.find(flight.delivery), self._timeout_s(), clock=self._clock)
        except TimeoutError:
            finding = Unknown(f"no answer within {self._timeout_s():g} s")
        except Exception as error:
            log.exception("adapter.raised", backend=self._backend.name, verb="find")
            finding = Unknown(f"the adapter raised {type(error).__name__}")
        suspicion = self._health.suspicion(flight.outbox.pool, flight.delivery.ref)
        self._heard(finding, flight)
        wait_s = await self._health.heard(finding, flight.sent_s or 0.0)
        wait_ms = round(max(wait_s, 1.0) * 1000)
        return judge_finding(finding, flight.delivery, self._rules(), suspicion=suspicion, wait_ms=wait_ms)

    def _heard(self, said: Outcome | Finding, flight: Flight) -> None:
        if flight.sent_s is not None:
            self.observe(type(said).__name__.lower(), self._clock.monotonic_s() - flight.sent_s)
