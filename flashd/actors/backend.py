"""
Feeding one backend at its pace: the actor that leads, takes drops, claims and sends.

A message only says that there is work; the actor polls as well, so a lost one delays and never loses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import structlog

from flashd.actors.backend_health import BackendHealth
from flashd.actors.backend_rules import BackendRules, Wake
from flashd.actors.candidate import Candidates, Wish
from flashd.actors.delivery import DROP_AGE_S, Courier, Flight, Pace
from flashd.actors.leadership import Leadership
from flashd.domain.bucket import AHEAD_MAX_US
from flashd.domain.delivery import ClaimCode, Delivery, Doubtful, Result, ResultKind
from flashd.domain.flow import BackendSnapshot
from flashd.domain.lease import Term
from flashd.domain.order import OrderRef
from flashd.domain.rate import Rate
from flashd.domain.verdict import DoubtRules, judge_outcome
from flashd.errors import StoreUnavailable
from flashd.ports import Announcer, Backend, BackendGate, Clock, Depth, GateStatus, Outbox
from flashd.runtime.actor import Actor
from flashd.runtime.deadline import any_of, bounded
from flashd.runtime.ticker import tick

STORE_PAUSE_S = 0.5  # after the store did not answer

log = structlog.get_logger()


class BackendActor(Actor[Wake]):
    """Drains all pools' outboxes of one backend while it leads."""

    def __init__(
        self,
        backend: Backend,
        rules: BackendRules,
        outboxes: Sequence[Outbox],
        gate: BackendGate,
        *,
        clock: Clock,
        announcer: Announcer,
        owner: str,
        apply_next: Callable[[str], Awaitable[object]],
    ) -> None:
        super().__init__(f"backend:{backend.name}", clock=clock, mailbox_size=64)
        self.backend = backend
        self.rules = rules
        self.status = GateStatus(backend=backend.name)
        self.health = BackendHealth(
            gate,
            clock=clock,
            announcer=announcer,
            pools=[outbox.pool for outbox in outboxes],
            slow_start_s=rules.slow_start_s,
        )
        self.courier = Courier(
            backend,
            gate,
            self.health,
            clock=clock,
            pace=self._pace,
            rules=self._doubt_rules,
            timeout_s=lambda: self.rules.timeout_s,
        )
        self._outboxes = tuple(outboxes)
        self._gate = gate
        self.leadership = Leadership(
            gate, owner, clock=clock, lease_s=lambda: self.rules.lease_s, prepare=self._prepare
        )
        self._apply_next = apply_next
        self._stir = asyncio.Event()
        self._in_hand: dict[tuple[str, OrderRef], Flight | None] = {}
        self._candidates = Candidates(self._outboxes, self._in_hand)
        self._depths: dict[str, Depth] = {}
        self._rounds: list[asyncio.Task[object]] = []
        self._election: asyncio.Task[object] | None = None
        self._stop_bound_s = 3.5

    # ------------------------------------------------------------------------------------------------ its life

    async def on_start(self) -> None:
        """Stand for election, look after the outboxes, and let it flow."""
        self._in_hand.clear()
        self._candidates.clear()
        self._rounds = [
            self.spawn(self._flow(), name="flow"),
            self.spawn(tick(self._tend, self.rules.poll_s, clock=self.clock), name="tend"),
        ]
        self._election = self.spawn(self.leadership.run(), name="lead")

    async def receive(self, message: Wake) -> None:
        """Look for work now instead of at the next poll."""
        if message.resumed:
            self.health.circuit.retry_at_s = self.clock.monotonic_s()
        self._stir.set()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Claim no more; wait for what is on its way, and leave the rest in doubt, within *timeout_s*."""
        self._stop_bound_s = max(0.2, timeout_s - 1.5)
        await super().stop(timeout_s)

    async def on_stop(self) -> None:
        """Let requests under way end, settle the rest as in doubt, and let another lead."""
        for task in self._rounds:
            task.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        deadline_s = self.clock.monotonic_s() + self._stop_bound_s
        while flying := [task for task in self.children if task.get_name().endswith("/flight")]:
            left_s = deadline_s - self.clock.monotonic_s()
            if left_s <= 0:
                break
            await any_of(flying, left_s, clock=self.clock)
            await asyncio.sleep(0)  # the callback that takes an ended child away
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        if self._election is not None:
            self._election.cancel()
        try:
            await bounded(self._leave(), 1.0, clock=self.clock)
        except (StoreUnavailable, TimeoutError) as error:  # leases end by themselves, and then it is in doubt
            log.warning("backend.left_unsettled", backend=self.backend.name, reason=str(error))

    async def _leave(self) -> None:
        outboxes = {outbox.pool: outbox for outbox in self._outboxes}
        for (pool, ref), flight in self._in_hand.items():
            if flight is None:  # perhaps it was claimed, surely it was not sent
                back = Result(ref=ref, kind=ResultKind.LATER, reason="stopped before it was sent")
                await outboxes[pool].finish([back], epoch=self.leadership.epoch)
                continue
            if flight.settled or (flight.is_lookup and flight.result is None):
                continue
            if flight.result is not None:
                result = flight.result
            elif flight.sent_s is None:
                result = Result(
                    ref=flight.delivery.ref,
                    sends=flight.delivery.sends,
                    kind=ResultKind.LATER,
                    reason="stopped before it was sent",
                )
            else:
                said = Doubtful("stopped while it was being sent")
                result = judge_outcome(said, flight.delivery, self._doubt_rules(), wait_ms=0)
            await flight.outbox.finish([result], epoch=flight.term.epoch)
        await self.leadership.resign()

    # ------------------------------------------------------------------------------------------------ looking after

    async def _prepare(self, epoch: int) -> None:
        """Before the first claim of a term: the rate may be overridden, and the last leader may have left items."""
        self.status = await self._gate.status()
        await self._recover(epoch)
        self._stir.set()

    async def _recover(self, epoch: int) -> None:
        for outbox in self._outboxes:
            doubted = await outbox.recover(epoch=epoch, delay_ms=round(self.rules.settle_s * 1000))
            if doubted:
                log.warning("items.doubted", backend=self.backend.name, pool=outbox.pool, count=len(doubted))

    async def _tend(self) -> None:
        """Once a second: the gate's word, ended leases, how deep the outboxes are."""
        try:
            before, self.status = self.status, await self._gate.status()
            if before.until_ms > self.clock.now_ms() and not self.status.until_ms:  # a human resumed it
                self.health.circuit.retry_at_s = self.clock.monotonic_s()
            if term := self.leadership.term:
                await self._recover(term.epoch)
            for outbox in self._outboxes:
                self._depths[outbox.pool] = await outbox.depth()
        except StoreUnavailable as error:
            self.health.last_error = str(error)

    # ------------------------------------------------------------------------------------------------------ flow

    async def _flow(self) -> None:
        while True:
            try:
                await self._step()
            except StoreUnavailable as error:
                self.health.last_error = str(error)
                await self.clock.sleep(STORE_PAUSE_S)

    async def _step(self) -> None:
        """Free places, something to do, drops, and only then the claims; a few at a time, so that calls are shared."""
        self._stir.clear()
        self._candidates.begin()
        term, now, circuit = self.leadership.term, self.clock.monotonic_s(), self.health.circuit
        free = self.rules.max_in_flight - len(self._in_hand)
        if term is None or free <= 0:
            return await self._nap(self.rules.poll_s)
        if not circuit.may_try(now, len(self._in_hand)):
            left_s = circuit.retry_at_s - now
            return await self._nap(min(self.rules.poll_s, left_s) if left_s > 0 else self.rules.poll_s)
        pace = self._pace()
        ahead_us = min(AHEAD_MAX_US, pace.spacing_us * max(1, free - 1))
        at_once = 1 if circuit.is_open else min(free, ahead_us // pace.spacing_us + pace.burst)
        wishes = await self._take(at_once)
        if not wishes:
            return await self._nap(self.rules.poll_s)
        uses, wait_ms = await self._drops(len(wishes), pace, ahead_us)
        while len(wishes) > len(uses):
            self._candidates.give_back(wishes.pop())
        if wishes:
            return await self._launch(wishes, uses, term)
        return await self.clock.sleep(min(wait_ms / 1000, self.rules.poll_s))

    async def _take(self, count: int) -> list[Wish]:
        """Return up to *count* candidates that need a drop; what needs none is concluded on the way."""
        wishes: list[Wish] = []
        lookups, probing = self.backend.traits.lookup, self.health.circuit.is_open
        while len(wishes) < count:
            now = self.clock.monotonic_s()
            wish = await self._candidates.take(now, lookups=lookups, prefer_lookup=probing)
            if wish is None:
                break
            term = self.leadership.term
            if wish.delivery is None or lookups:
                wishes.append(wish)
            elif term is not None:
                flight = Flight(
                    outbox=wish.outbox, delivery=wish.delivery, term=term, is_lookup=True, use_at_s=now, claimed_s=now
                )
                self._fly(flight, self.courier.conclude_without_looking)
        return wishes

    async def _drops(self, count: int, pace: Pace, ahead_us: int) -> tuple[deque[float], int]:
        """Take up to *count* drops together; return when each may be used, and how long to wait for the next."""
        asked = [self._gate.drop(pace.spacing_us, burst=pace.burst, ahead_us=ahead_us) for _ in range(count)]
        drops = await asyncio.gather(*asked)
        now = self.clock.monotonic_s()
        uses = sorted(now + drop.after_us / 1e6 for drop in drops if not drop.wait_ms)
        return deque(uses), min((drop.wait_ms for drop in drops if drop.wait_ms), default=0)

    async def _launch(self, wishes: list[Wish], uses: deque[float], term: Term) -> None:
        """Use the drops for the candidates that can still be claimed, and for the next ones in their place."""
        while wishes and self.leadership.term is term:
            claimed_s = self.clock.monotonic_s()
            claimed: list[tuple[Wish, Delivery]] = []
            fault: StoreUnavailable | None = None
            try:
                await self._claim(wishes, term, claimed)
            except StoreUnavailable as error:  # what was claimed before it flies all the same
                fault = error
            for wish, delivery in claimed:
                flight = Flight(
                    outbox=wish.outbox,
                    delivery=delivery,
                    term=term,
                    is_lookup=wish.delivery is not None,
                    use_at_s=uses.popleft(),
                    claimed_s=claimed_s,
                )
                self._fly(flight, self.courier.carry)
            if fault is not None:
                raise fault
            while uses and uses[0] + DROP_AGE_S < self.clock.monotonic_s():
                uses.popleft()  # too old: thrown away
            wishes = await self._take(len(uses))

    async def _claim(self, wishes: list[Wish], term: Term, claimed: list[tuple[Wish, Delivery]]) -> None:
        """Add to *claimed* what is to be sent, one call for each pool; what is to be looked up is in flight already."""
        claimed += [(wish, wish.delivery) for wish in wishes if wish.delivery is not None]
        for outbox in self._outboxes:
            group = [wish for wish in wishes if wish.outbox is outbox and wish.delivery is None]
            if not group:
                continue
            self._in_hand.update({(outbox.pool, wish.ref): None for wish in group})
            replies = await self._claim_group(outbox, [wish.ref for wish in group], term)
            for wish, (code, delivery) in zip(group, replies, strict=True):
                if delivery is not None:
                    claimed.append((wish, delivery))
                    continue
                del self._in_hand[outbox.pool, wish.ref]
                if code is ClaimCode.FENCED:
                    term.end()
                    log.warning("claim.fenced", backend=self.backend.name, pool=outbox.pool, epoch=term.epoch)
            if any(code is ClaimCode.CHANGED for code, _ in replies):
                await self._apply_next(outbox.pool)

    async def _claim_group(
        self, outbox: Outbox, refs: list[OrderRef], term: Term
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        try:
            return await outbox.claim(refs, epoch=term.epoch, lease_ms=self.rules.lease_ms)
        except StoreUnavailable as error:
            # perhaps they were claimed, surely they were not sent: they go back, and are left out until the store
            # says so
            self.health.last_error = str(error)
            for ref in refs:
                back = Result(ref=ref, kind=ResultKind.LATER, reason="the claim was not answered")
                self.spawn(self._give_back(outbox, back, term.epoch), name="flight")
            raise

    async def _give_back(self, outbox: Outbox, result: Result, epoch: int) -> None:
        try:
            await self.courier.settle(outbox, result, epoch)
        finally:
            self._in_hand.pop((outbox.pool, result.ref), None)
            self._stir.set()

    def _fly(self, flight: Flight, journey: Callable[[Flight], Awaitable[None]]) -> None:
        self._in_hand[flight.outbox.pool, flight.delivery.ref] = flight
        self.spawn(self._carry(flight, journey), name="flight")

    async def _carry(self, flight: Flight, journey: Callable[[Flight], Awaitable[None]]) -> None:
        await journey(flight)
        self._in_hand.pop((flight.outbox.pool, flight.delivery.ref), None)
        self._stir.set()

    async def _nap(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await bounded(self._stir.wait(), seconds, clock=self.clock)

    # ------------------------------------------------------------------------------------------------------ rules

    def _rate(self) -> Rate:
        if self.status.rate:
            with contextlib.suppress(ValueError):  # an override of a later version: keep to the configured rate
                return Rate.parse(self.status.rate)
        return self.rules.rate

    def _pace(self) -> Pace:
        spacing_us = self.health.circuit.slow.spacing_us(self._rate().spacing_us, self.clock.monotonic_s())
        return Pace(spacing_us=spacing_us, burst=self.rules.burst)

    def _doubt_rules(self) -> DoubtRules:
        traits = self.backend.traits
        return DoubtRules(
            idempotent=traits.idempotent,
            lookup=traits.lookup,
            at_least_once=self.rules.at_least_once,
            settle_ms=round(self.rules.settle_s * 1000),
            max_refusals=self.rules.max_refusals,
        )

    def snapshot(self) -> BackendSnapshot:
        """Say how the backend stands, as of the last round; asks nobody."""
        circuit = self.health.circuit
        factor = circuit.slow.factor(self.clock.monotonic_s())
        depths = self._depths.values()
        sending = sum(flight is None or not flight.is_lookup for flight in self._in_hand.values())
        return BackendSnapshot(
            name=self.backend.name,
            kind=self.backend.kind,
            rate=str(self._rate()),
            per_second=self._rate().per_second * factor,
            queued=sum(one.queued for one in depths),
            oldest_ms=min((one.oldest_ms for one in depths if one.queued), default=0),
            in_flight=len(self._in_hand),
            in_doubt=max(0, sum(one.in_flight for one in depths) - sending) if self.leadership.term else 0,
            circuit="open" if circuit.is_open else "slow" if factor < 1 else "closed",
            leading=self.leadership.term is not None,
            epoch=self.leadership.epoch or self.status.epoch,
            last_error=self.health.last_error,
            last_answer_ms=self.health.last_answer_ms,
            counts=dict(self.health.counts),
        )
