"""
One request to a backend, from its drop to what became of each item of it.

The order of things is the promise: drop, claim, the leader's term, the spacing guard, the socket. Whatever happens
after the first byte is an outcome; whatever stops before it goes back into the queue.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import structlog

from flashd.actors.backend_health import BackendHealth, word_for
from flashd.actors.backend_rules import SEND_SLACK_S
from flashd.actors.company import Companies
from flashd.actors.flight import Flight, Parcel
from flashd.actors.sendings import Sendings
from flashd.actors.tempo import Tempo
from flashd.domain.bucket import AHEAD_MAX_US, SpacingGuard
from flashd.domain.delivery import (
    Declined,
    Delivery,
    Doubtful,
    Finding,
    Later,
    NoLookup,
    Outcome,
    Result,
    ResultKind,
    Sunk,
    Unknown,
)
from flashd.domain.order import OrderRef
from flashd.domain.rate import SLACK_US
from flashd.domain.verdict import DoubtRules, judge_finding, judge_outcome
from flashd.errors import StoreUnavailable
from flashd.ports import Backend, BackendGate, BatchingBackend, Clock, Outbox
from flashd.ports.departure import MomentPassedError, before_departure
from flashd.runtime.deadline import Deadlines

ASKED_KEPT = 100_000  # items that were asked for before they are sent; one that is forgotten is asked for again
DROP_AGE_S = 0.5  # a drop that old is thrown away
LATELY_S = 10.0
_WRITE_US = 2_000  # what may lie between the last question and the write, in a busy process

Observe = Callable[[Sequence[str], float], None]  # told the outcomes or findings of a request, and the seconds it took
Hand = Callable[[Outbox, Result, int], None]  # takes a result of an item, to be settled in that term

log = structlog.get_logger()


class Courier:
    """
    Carries flights out; shared by all flights of one backend.

    Args:
        hand: Takes what has a result.
    """

    def __init__(
        self,
        backend: Backend,
        gate: BackendGate,
        health: BackendHealth,
        companies: Companies,
        *,
        clock: Clock,
        tempo: Tempo,
        rules: Callable[[], DoubtRules],
        hand: Hand,
    ) -> None:
        self._backend = backend
        self._gate = gate
        self._health = health
        self._companies = companies
        self._clock = clock
        self._tempo = tempo
        self._rules = rules
        self._hand = hand
        self._deadlines = Deadlines(clock=clock)
        self._asked: dict[tuple[str, OrderRef], None] = {}
        self._asked_why = ""
        self._sendings = Sendings()
        self.observe: Observe = lambda _outcomes, _seconds: None
        self._guard = SpacingGuard()  # of what is let go
        self._door = SpacingGuard()  # of what is written, by those that ask: `flashd.ports.departure`
        self._log = log.bind(backend=backend.name)  # once: a line's own binding costs 14 us, written or not
        self.sent_s: deque[float] = deque(maxlen=1000)  # when the last requests left, by the monotonic clock

    def follow(self, former: Courier) -> None:
        """Keep the distance from what *former*, whose place this one takes, sent last, and remember what that was."""
        self._sendings = former._sendings
        self._guard, self._door, self.sent_s = former._guard, former._door, former.sent_s

    def per_second(self) -> float:
        """Say how many requests left in a second lately."""
        now = self._clock.monotonic_s()
        since = [when for when in self.sent_s if when > now - LATELY_S]
        return len(since) / max(1.0, now - since[0]) if since else 0.0

    async def carry(self, flight: Flight) -> None:
        """Wait for the moment, send or look up, conclude for each item, and hand it on to be settled."""
        if not flight.is_lookup and not self._hold_back(flight):
            return None
        if await self._moment(flight):
            before_departure(functools.partial(self._leave, flight))
            try:
                return await (self._look_up(flight) if flight.is_lookup else self._send(flight))
            except MomentPassedError:
                flight.sent_s = None
        if not flight.is_lookup:
            for parcel in flight.parcels:
                self._conclude(flight, parcel, late(parcel.delivery, "its moment passed"))
        return None

    def _hold_back(self, flight: Flight) -> bool:
        """
        Leave in doubt, unsent, what the backend may have already; say whether something is left to be sent.

        The store may have forgotten that it was sent, so it is looked up as any doubt is; sent is what was proven
        absent. What was sent and asked for is this process's memory: lost, it is asked for again, or not known of.
        """
        asks_first, heeds_keys = self._tempo.gate.asks_first, self._backend.traits.idempotent
        if heeds_keys and not asks_first:
            return True
        rules, ready = self._rules(), list[Parcel]()
        for parcel in flight.parcels:
            delivery, why = parcel.delivery, ""
            if asks_first and self._is_unasked(asks_first, (parcel.outbox.pool, delivery.ref)):
                why = "not sent: the backend is asked first"
            elif not heeds_keys and self._sendings.knows(delivery):
                why = "not sent: it was sent before, and the store forgot that"
                log.warning(
                    "send.forgotten", backend=self._backend.name, channel=delivery.ref.channel, key=delivery.key
                )
            if why:
                self._sendings.note(delivery)  # as if it had left: after two absences it comes under the next number
                self._conclude(flight, parcel, judge_outcome(Doubtful(why), delivery, rules, wait_ms=0))
            else:
                ready.append(parcel)
        flight.parcels = tuple(ready) or flight.parcels
        return bool(ready)

    def _is_unasked(self, why: str, item: tuple[str, OrderRef]) -> bool:
        """Say whether it was not asked for yet; from now on it was."""
        if self._asked_why != why:  # another backup was restored: nothing is known any more
            self._asked.clear()
            self._asked_why = why
        if item in self._asked:
            return False
        while len(self._asked) >= ASKED_KEPT:
            del self._asked[next(iter(self._asked))]
        self._asked[item] = None
        return True

    def conclude_without_looking(self, flight: Flight) -> None:
        """Settle items in doubt where the backend has no look-up: no request, no drop."""
        for parcel in flight.parcels:
            pool, delivery = parcel.outbox.pool, parcel.delivery
            suspicion = self._health.suspicion(pool, delivery.ref)
            result = judge_finding(NoLookup(), delivery, self._rules(), suspicion=suspicion, wait_ms=0)
            if result.kind is ResultKind.LATER:
                self._health.convict(pool, delivery.ref)
            self._conclude(flight, parcel, result)

    def break_off(self, flight: Flight) -> None:
        """Conclude for what has no outcome at a stop: it was not sent, or nobody knows. A look-up may be made again."""
        for parcel in flight.parcels:
            if parcel.result is not None or parcel.is_lookup:
                continue
            if flight.sent_s is None:
                parcel.result = late(parcel.delivery, "stopped before it was sent")
            else:
                said = Doubtful("stopped while it was being sent")
                parcel.result = judge_outcome(said, parcel.delivery, self._rules(), wait_ms=0)

    def _conclude(self, flight: Flight, parcel: Parcel, result: Result) -> None:
        parcel.result = result
        self._hand(parcel.outbox, result, flight.term.epoch)

    async def _moment(self, flight: Flight) -> bool:
        """Wait until the request may leave; False where it may not any more. The guard is the last thing asked."""
        while True:
            now = self._clock.monotonic_s()
            if not flight.term.may_send(now) or now > flight.claimed_s + SEND_SLACK_S:
                return False
            if now < flight.use_at_s:
                await self._clock.sleep(flight.use_at_s - now)
                continue
            if self._health.circuit.retry_at_s > now:  # another's answer says so
                return False
            if self._tempo.rate.is_unlimited:
                if self._tempo.gate_held_s():
                    return False
            else:
                if now > flight.use_at_s + DROP_AGE_S:
                    if not await self._another_drop(flight):
                        return False
                    continue
                pace = self._tempo.pace()
                wait_us = self._guard.pass_us(round(now * 1e6), pace.spacing_us, burst=pace.burst, slack_us=SLACK_US)
                if wait_us:
                    await self._clock.sleep(wait_us / 1e6)
                    continue
            flight.sent_s = now
            self.sent_s.append(now)
            self._tempo.left(now)
            self._log.debug("request.sent", at_us=round(now * 1e6))
            return True

    async def _leave(self, flight: Flight) -> bool:
        """Say that a request may be written now, after a wait where those before it were late; False if never."""
        flight.sent_s = None
        while True:
            now = self._clock.monotonic_s()
            if not flight.term.may_send(now) or self._health.circuit.retry_at_s > now:
                return False
            pace = self._tempo.pace()
            wait_us, slack_us = 0, SLACK_US - _WRITE_US
            if pace.spacing_us:
                wait_us = self._door.pass_us(round(now * 1e6), pace.spacing_us, burst=pace.burst, slack_us=slack_us)
            if not wait_us:
                flight.sent_s = now
                return True
            await self._clock.sleep(wait_us / 1e6)

    async def _another_drop(self, flight: Flight) -> bool:
        pace = self._tempo.pace()
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

    async def _send(self, flight: Flight) -> None:
        rules, alone = self._rules(), len(flight.parcels) == 1
        if not rules.idempotent:
            for parcel in flight.parcels:
                self._sendings.note(parcel.delivery)
        outcomes = await self._deliver(flight)
        self._heard(outcomes, flight)
        wait_s = await self._health.heard(outcomes, flight.sent_s or 0.0)
        astray = []
        for parcel, said in zip(flight.parcels, outcomes, strict=True):
            pool, delivery = parcel.outbox.pool, parcel.delivery
            outcome, wait_ms = said, round(wait_s * 1000)
            if isinstance(said, Sunk) and alone:  # there was nobody else whose fault it could be
                outcome = Declined(said.reason)
            elif isinstance(said, Sunk):
                astray.append((pool, delivery.ref))
            elif isinstance(said, Doubtful):
                self._health.doubt(pool, delivery.ref, alone=alone)
                if not alone:
                    astray.append((pool, delivery.ref))
            elif isinstance(said, Later):
                wait_ms = max(wait_ms, 1000)
            self._conclude(flight, parcel, judge_outcome(outcome, delivery, rules, wait_ms=wait_ms))
        if astray:
            self._companies.split(astray)

    async def _look_up(self, flight: Flight) -> None:
        rules = self._rules()
        findings = await self._find(flight)
        suspicions = [self._health.suspicion(parcel.outbox.pool, parcel.delivery.ref) for parcel in flight.parcels]
        self._heard(findings, flight)
        wait_s = await self._health.heard(findings, flight.sent_s or 0.0)
        wait_ms = round(max(wait_s, 1.0) * 1000)
        for parcel, finding, suspicion in zip(flight.parcels, findings, suspicions, strict=True):
            result = judge_finding(finding, parcel.delivery, rules, suspicion=suspicion, wait_ms=wait_ms)
            self._conclude(flight, parcel, result)
        failed = [
            (parcel.outbox.pool, parcel.delivery.ref)
            for parcel, finding in zip(flight.parcels, findings, strict=True)
            if isinstance(finding, Unknown) and finding.retry_after_s is None
        ]
        if failed and len(flight.parcels) > 1:  # one key that cannot be looked up must not hide the others
            self._companies.split(failed, lookup=True)

    async def _deliver(self, flight: Flight) -> Sequence[Outcome]:
        deliveries, backend = flight.deliveries, self._backend
        try:
            if len(deliveries) == 1:
                return [await self._deadlines.bounded(backend.deliver(deliveries[0]), self._tempo.timeout_s)]
            work = cast("BatchingBackend", backend).deliver_many(deliveries)
            outcomes = await self._deadlines.bounded(work, self._tempo.timeout_s)
            if len(outcomes) == len(deliveries):
                return outcomes
            log.error("adapter.answered_short", backend=backend.name, verb="deliver_many", items=len(deliveries))
            reason = "the adapter did not answer for each of them"
        except MomentPassedError:
            raise
        except TimeoutError:
            if flight.sent_s is None:  # it waited to be written, and never was
                raise MomentPassedError from None
            reason = f"no answer within {self._tempo.timeout_s:g} s"
        except Exception as error:
            log.exception("adapter.raised", backend=backend.name, verb="deliver")
            reason = f"the adapter raised {type(error).__name__}"
        return [Doubtful(reason)] * len(deliveries)

    async def _find(self, flight: Flight) -> Sequence[Finding]:
        deliveries, backend = flight.deliveries, self._backend
        try:
            if len(deliveries) == 1:
                return [await self._deadlines.bounded(backend.find(deliveries[0]), self._tempo.timeout_s)]
            work = cast("BatchingBackend", backend).find_many(deliveries)
            findings = await self._deadlines.bounded(work, self._tempo.timeout_s)
            if len(findings) == len(deliveries):
                return findings
            log.error("adapter.answered_short", backend=backend.name, verb="find_many", items=len(deliveries))
            reason = "the adapter did not answer for each of them"
        except MomentPassedError:
            raise
        except TimeoutError:
            if flight.sent_s is None:  # it waited to be written, and never was
                raise MomentPassedError from None
            reason = f"no answer within {self._tempo.timeout_s:g} s"
        except Exception as error:
            log.exception("adapter.raised", backend=backend.name, verb="find")
            reason = f"the adapter raised {type(error).__name__}"
        return [Unknown(reason)] * len(deliveries)

    def _heard(self, said: Sequence[Outcome | Finding], flight: Flight) -> None:
        if flight.sent_s is not None:
            took_s = self._clock.monotonic_s() - flight.sent_s
            self.observe([word_for(type(one)) for one in said], took_s)


def late(delivery: Delivery, reason: str) -> Result:
    """Return what becomes of an item that was claimed and not sent."""
    return Result(ref=delivery.ref, sends=delivery.sends, kind=ResultKind.LATER, reason=reason)
