"""
Feeding one backend at its pace: the actor that leads, takes drops, claims and sends.

A message only says that there is work; the actor polls as well, so a lost one delays and never loses.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from flashd.actors.backend_health import BackendHealth
from flashd.actors.backend_rules import BackendRules, BackendSnapshot, Wake
from flashd.actors.candidate import Candidates, Wish
from flashd.actors.delivery import DROP_AGE_S, Courier, Flight, Pace
from flashd.domain.backoff import drain_eta_s
from flashd.domain.bucket import AHEAD_MAX_US
from flashd.domain.delivery import ClaimCode, Delivery, Doubtful, Result, ResultKind
from flashd.domain.lease import Term
from flashd.domain.order import OrderRef
from flashd.domain.rate import Rate
from flashd.domain.verdict import DoubtRules, judge_outcome
from flashd.errors import StoreUnavailable
from flashd.ports import Announcer, Backend, BackendGate, Clock, GateStatus, Outbox
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
        self._owner = owner
        self._apply_next = apply_next
        self._term: Term | None = None
        self._stir = asyncio.Event()
        self._in_hand: dict[tuple[str, OrderRef], Flight | None] = {}
        self._candidates = Candidates(self._outboxes, self._in_hand)
        self._depths: dict[str, tuple[int, int]] = {}
        self._rounds: list[asyncio.Task[object]] = []
        self._election: asyncio.Task[object] | None = None
        self._stop_bound_s = 3.5

    # ------------------------------------------------------------------------------------------------ its life

    async def on_start(self) -> None:
        """Stand for election, look after the outboxes, and let it flow."""
        self._term = None
        self._in_hand.clear()
        self._candidates.clear()
        self._rounds = [
            self.spawn(self._flow(), name="flow"),
            self.spawn(tick(self._tend, self.rules.poll_s, clock=self.clock), name="tend"),
        ]
        self._election = self.spawn(self._lead(), name="lead")

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
        for flight in self._in_hand.values():
            if flight is None or flight.settled or (flight.is_lookup and flight.result is None):
                continue
            if flight.result is not None:
                result = flight.result
            elif flight.sent_s is None:
                result = Result(ref=flight.delivery.ref, kind=ResultKind.LATER, reason="stopped before it was sent")
            else:
                said = Doubtful("stopped while it was being sent")
                result = judge_outcome(said, flight.delivery, self._doubt_rules(), wait_ms=0)
            await flight.outbox.finish([result], epoch=flight.term.epoch)
        await self._gate.resign(self._owner)

    # ------------------------------------------------------------------------------------------------ leadership

    async def _lead(self) -> None:
        """Take or renew the lease at a third of its time, for ever."""
        while True:
            asked_s = self.clock.monotonic_s()
            ttl_s = self.rules.lease_s
            try:
                if self._term is not None and self._term.ended:  # fenced: a new term has a higher epoch
                    await self._gate.resign(self._owner)
                    self._term = None
                epoch = await self._gate.lead(self._owner, round(ttl_s * 1000))
                await self._elected(epoch, asked_s, ttl_s)
                wait_s = ttl_s / 3 if epoch is not None else min(ttl_s / 3, self.rules.poll_s)
            except StoreUnavailable as error:  # the term, if any, ends by itself
                self.health.last_error = str(error)
                wait_s = STORE_PAUSE_S
            await self.clock.sleep(asked_s + wait_s - self.clock.monotonic_s())

    async def _elected(self, epoch: int | None, asked_s: float, ttl_s: float) -> None:
        term = self._term
        if epoch is None:
            if term is not None:
                term.end()
                log.warning("backend.lost_leadership", backend=self.backend.name, epoch=term.epoch)
            self._term = None
        elif term is not None and term.epoch == epoch:
            term.renew(asked_s, ttl_s)
        else:
            if term is not None:
                term.end()
            self.status = await self._gate.status()  # before the first drop: the rate may be overridden
            await self._recover(epoch)
            self._term = Term(epoch, asked_s, ttl_s)
            log.info("backend.led", backend=self.backend.name, epoch=epoch)
            self._stir.set()

    def _leading(self) -> Term | None:
        term = self._term
        return term if term is not None and term.may_send(self.clock.monotonic_s()) else None

    async def _recover(self, epoch: int) -> None:
        for outbox in self._outboxes:
            doubted = await outbox.recover(epoch=epoch, delay_ms=round(self.rules.settle_s * 1000))
            if doubted:
                log.warning("items.doubted", backend=self.backend.name, pool=outbox.pool, count=len(doubted))

    async def _tend(self) -> None:
        """Once a second: the gate's word, ended leases, how deep the outboxes are."""
        try:
            self.status = await self._gate.status()
            if term := self._leading():
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
        """A free place, something to do, a drop, and only then the claim."""
        self._stir.clear()
        term, now = self._leading(), self.clock.monotonic_s()
        circuit = self.health.circuit
        if term is None or len(self._in_hand) >= self.rules.max_in_flight:
            return await self._nap(self.rules.poll_s)
        if not circuit.may_try(now, len(self._in_hand)):
            left_s = circuit.retry_at_s - now
            return await self._nap(min(self.rules.poll_s, left_s) if left_s > 0 else self.rules.poll_s)
        wish = await self._take()
        if wish is None:
            return await self._nap(self.rules.poll_s)
        if wish.delivery is not None and not self.backend.traits.lookup:
            return self._fly(self._flight(wish, wish.delivery, term, use_at_s=now, claimed_s=now), needs_drop=False)
        pace = self._pace()
        drop = await self._gate.drop(pace.spacing_us, burst=pace.burst, ahead_us=min(pace.spacing_us, AHEAD_MAX_US))
        if drop.wait_ms:
            self._candidates.give_back(wish)
            return await self.clock.sleep(min(drop.wait_ms / 1000, self.rules.poll_s))
        use_at_s = self.clock.monotonic_s() + drop.after_us / 1e6
        await self._launch(wish, term, use_at_s)
        return None

    async def _take(self) -> Wish | None:
        return await self._candidates.take(
            self.clock.monotonic_s(),
            lookups=self.backend.traits.lookup,
            prefer_lookup=self.health.circuit.is_open,
        )

    async def _launch(self, first: Wish, term: Term, use_at_s: float) -> None:
        """Use the drop for the first candidate that can still be claimed."""
        wish: Wish | None = first
        while wish is not None and self.clock.monotonic_s() < use_at_s + DROP_AGE_S:
            claimed_s = self.clock.monotonic_s()
            delivery = wish.delivery or await self._claim(wish, term)
            if delivery is not None:
                needs_drop = wish.delivery is None or self.backend.traits.lookup
                flight = self._flight(wish, delivery, term, use_at_s=use_at_s, claimed_s=claimed_s)
                self._fly(flight, needs_drop=needs_drop)
                if needs_drop:
                    return
            wish = await self._take() if self._leading() is term else None

    async def _claim(self, wish: Wish, term: Term) -> Delivery | None:
        place = (wish.outbox.pool, wish.ref)
        self._in_hand[place] = None
        try:
            [(code, delivery)] = await wish.outbox.claim([wish.ref], epoch=term.epoch, lease_ms=self.rules.lease_ms)
        except StoreUnavailable:
            # perhaps it was claimed, surely it was not sent: it goes back, and is left out until the store says so
            back = Result(ref=wish.ref, kind=ResultKind.LATER, reason="the claim was not answered")
            self.spawn(self._give_back(wish.outbox, back, term.epoch), name="flight")
            raise
        except BaseException:
            del self._in_hand[place]
            raise
        if code is not ClaimCode.CLAIMED:
            del self._in_hand[place]
        if code is ClaimCode.FENCED:
            term.end()
            log.warning("claim.fenced", backend=self.backend.name, pool=wish.outbox.pool, epoch=term.epoch)
        elif code is ClaimCode.CHANGED:
            await self._apply_next(wish.outbox.pool)
        return delivery

    async def _give_back(self, outbox: Outbox, result: Result, epoch: int) -> None:
        try:
            await self.courier.settle(outbox, result, epoch)
        finally:
            self._in_hand.pop((outbox.pool, result.ref), None)
            self._stir.set()

    def _flight(self, wish: Wish, delivery: Delivery, term: Term, *, use_at_s: float, claimed_s: float) -> Flight:
        return Flight(
            outbox=wish.outbox,
            delivery=delivery,
            term=term,
            is_lookup=wish.delivery is not None,
            use_at_s=use_at_s,
            claimed_s=claimed_s,
        )

    def _fly(self, flight: Flight, *, needs_drop: bool) -> None:
        self._in_hand[flight.outbox.pool, flight.delivery.ref] = flight
        self.spawn(self._carry(flight, needs_drop=needs_drop), name="flight")

    async def _carry(self, flight: Flight, *, needs_drop: bool) -> None:
        await (self.courier.carry(flight) if needs_drop else self.courier.conclude_without_looking(flight))
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
        circuit, now_s = self.health.circuit, self.clock.monotonic_s()
        factor = circuit.slow.factor(now_s)
        depth = sum(count for count, _ in self._depths.values())
        since = [accepted_ms for count, accepted_ms in self._depths.values() if count]
        per_second = self._rate().per_second * factor
        stands = self.status.paused or circuit.is_open
        return BackendSnapshot(
            backend=self.backend.name,
            depth=depth,
            oldest_age_s=max(0.0, (self.clock.now_ms() - min(since)) / 1000) if since else 0.0,
            in_flight=len(self._in_hand),
            leading=self._leading() is not None,
            epoch=self._term.epoch if self._term is not None else self.status.epoch,
            circuit="open" if circuit.is_open else "slow" if factor < 1 else "closed",
            rate=str(self._rate()),
            per_second=per_second,
            paused=self.status.paused,
            wait_until_ms=self.status.until_ms,
            last_error=self.health.last_error,
            last_answer_ms=self.health.last_answer_ms,
            eta_s=drain_eta_s(depth, 0.0 if stands else per_second),
            counts=dict(self.health.counts),
        )
