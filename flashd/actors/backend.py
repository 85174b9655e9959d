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
from flashd.actors.backend_rules import BackendRules
from flashd.actors.candidate import Candidate, Candidates
from flashd.actors.delivery import DROP_AGE_S, Courier
from flashd.actors.flight import Flight, Parcel
from flashd.actors.in_hand import InHand
from flashd.actors.leadership import Leadership
from flashd.actors.roll_call import RollCall
from flashd.actors.runway import Runway
from flashd.actors.tempo import Pace, Tempo
from flashd.domain.bucket import AHEAD_MAX_US
from flashd.domain.delivery import Result, ResultKind
from flashd.domain.flow import BackendSnapshot
from flashd.domain.lease import Term
from flashd.errors import StoreUnavailable
from flashd.ports import Announcer, Backend, BackendGate, Clock, Depth, GateStatus, Outbox
from flashd.runtime.actor import Actor
from flashd.runtime.deadline import any_of, bounded
from flashd.runtime.ticker import tick

STORE_PAUSE_S = 0.5  # after the store did not answer
REFILL_S = 0.03  # with what leaves in this time still in hand the next drops are taken; sooner from a slow store
IDLE_POLLS = 5  # a flow that has nothing to do looks for work by itself so many times more seldom
GATE_S = 0.1  # how often the gate is asked where no drops are: so late is a pause noticed there

log = structlog.get_logger()


class BackendActor(Actor[None]):
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
        self.tempo = Tempo(backend, self.health, clock=clock, rules=lambda: self.rules)
        self._outboxes = tuple(outboxes)
        self._in_hand = InHand(
            self._outboxes,
            self.health,
            clock=clock,
            spawn=self.spawn,
            lease_ms=lambda: self.rules.lease_ms,
            apply_next=apply_next,
            leave_out=lambda pool: self._candidates.leave_out(pool, clock.monotonic_s()),
            told=self._settled,
        )
        self.courier = Courier(
            backend,
            gate,
            self.health,
            self._in_hand.companies,
            clock=clock,
            tempo=self.tempo,
            rules=lambda: self.rules.doubts(backend.traits),
            hand=self._in_hand.settle,
        )
        self._pools = RollCall(self._outboxes)
        self._gate = gate
        self.leadership = Leadership(
            gate, owner, clock=clock, lease_s=lambda: self.rules.lease_s, prepare=self._prepare
        )
        self._stir = asyncio.Event()  # the flow looks whether it can go on
        self._has_news = self._wants_work = False  # something is new to deliver; the flow waits for that
        self._runway = Runway(self.courier, spawn=self.spawn, landed=self._landed)
        self._candidates = Candidates(
            self._outboxes, self._in_hand.parcels, self._in_hand.companies, spawn=self.spawn, stir=self._stir.set
        )
        self._laden = False  # too much is in hand
        self._low = 0  # no more flights than that wait for a place: claim more
        self._last_use_s = 0.0  # when the last drop may be used
        self._claim_s = 0.0  # how long a claim took the store lately
        self._asked_s = 0.0  # the gate
        self._depths: dict[str, Depth] = {}
        self._rounds: list[asyncio.Task[object]] = []
        self._election: asyncio.Task[object] | None = None
        self._stop_bound_s = 3.5

    async def on_start(self) -> None:
        """Stand for election, look after the outboxes, and let it flow."""
        self._in_hand.clear()
        self._runway.clear()
        self._candidates.clear()
        self._rounds = [
            self.spawn(self._flow(), name="flow"),
            self.spawn(tick(self._tend, self.rules.poll_s, clock=self.clock), name="tend"),
        ]
        self._election = self.spawn(self.leadership.run(), name="lead")

    async def receive(self, message: None) -> None:
        """Take no message: there is none."""

    def wake(self) -> None:
        """
        Say that there is work; never waits, for each call of the intake says it to every backend with new orders.

        A flow that waits for something else is let alone: for a place, for the lead, for the end of a pause.
        """
        self._has_news = True
        if self._wants_work:
            self._stir.set()

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Claim no more; wait for what is on its way, and leave the rest in doubt, within *timeout_s*."""
        self._stop_bound_s = max(0.2, timeout_s - 1.5)
        await super().stop(timeout_s)

    async def on_stop(self) -> None:
        """Let requests under way end, settle the rest as in doubt, and let another lead."""
        self._runway.places = 0  # what waits for a place goes back into the queue
        for task in self._rounds:
            task.cancel()
        await asyncio.gather(*self._rounds, return_exceptions=True)
        deadline_s = self.clock.monotonic_s() + self._stop_bound_s
        while flying := [task for task in self.children if task.get_name().endswith(("/flight", "/settle"))]:
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
        for flight in self._runway.flights:
            self.courier.break_off(flight)
        await self._in_hand.leave(self.leadership.epoch)
        await self.leadership.resign()

    async def _prepare(self, epoch: int) -> None:
        """Before the first claim of a term: the rate may be overridden, and the last leader may have left items."""
        await self._ask_gate()
        await self._recover(epoch)
        self._stir.set()

    async def _recover(self, epoch: int) -> None:
        delay_ms, now_s = round(self.rules.settle_s * 1000), self.clock.monotonic_s()
        for outbox, doubted in await self._pools.ask(lambda one: one.recover(epoch=epoch, delay_ms=delay_ms), now_s):
            if doubted:
                log.warning("items.doubted", backend=self.backend.name, pool=outbox.pool, count=len(doubted))

    async def _tend(self) -> None:
        """Once a second: the gate's word, how deep the outboxes are, ended leases; the flow hears if it can go on."""
        await self._tend_gate()
        with self.health.suffering():
            for outbox, depth in await self._pools.ask(lambda one: one.depth(), self.clock.monotonic_s()):
                self._depths[outbox.pool] = depth
            term = self.leadership.term
            if term is not None and self._is_overdue():
                await self._recover(term.epoch)
        if not self._is_shut() and (self._is_overdue() or any(one.due for one in self._depths.values())):
            self._stir.set()

    def _is_overdue(self) -> bool:
        return any(one.overdue for one in self._depths.values())

    def _is_shut(self) -> bool:
        """Whether the end of a human's pause is all that there is to wait for; without a rate the flow asks itself."""
        return self.status.paused and not self._is_overdue() and not self.tempo.rate.is_unlimited

    async def _tend_gate(self) -> None:
        with self.health.suffering():
            await self._ask_gate()

    async def _ask_gate(self) -> None:
        self._asked_s = self.clock.monotonic_s()
        before, self.status = self.status, await self._gate.status()
        self.tempo.gate = self.status
        if before.paused and not self.status.paused:
            self._stir.set()
        if before.until_ms > self.clock.now_ms() and not self.status.until_ms:  # a human resumed it
            self.health.circuit.retry_at_s = self.clock.monotonic_s()

    # ------------------------------------------------------------------------------------------------------ flow

    async def _flow(self) -> None:
        while True:
            try:
                await self._step()
            except StoreUnavailable as error:
                self.health.suffered(error)
                await self.clock.sleep(STORE_PAUSE_S)

    async def _step(self) -> None:
        """Free places, something to do, drops, and only then the claims; many at a time, so that calls are shared."""
        self._stir.clear()
        self._has_news = False
        self._candidates.begin()
        term, now, circuit = self.leadership.term, self.clock.monotonic_s(), self.health.circuit
        under_way, ahead = len(self._runway.flights), self.tempo.ahead(self._claim_s)
        self._runway.places, self._low = self.tempo.places(), ahead // 2
        free = self._runway.places + ahead - under_way
        self._laden = len(self._in_hand) > self.tempo.most_unsettled()
        if term is None or free <= self._low or self._laden or self._is_shut():
            return await self._nap(self.rules.poll_s * (IDLE_POLLS if self._is_shut() else 1))
        if not circuit.may_try(now, under_way):
            left_s = circuit.retry_at_s - now
            return await self._nap(min(self.rules.poll_s, left_s) if left_s > 0 else self.rules.poll_s)
        pace = self.tempo.pace()
        ahead_us = min(AHEAD_MAX_US, pace.spacing_us * max(1, free - 1))
        early_s = self._last_use_s - now - min(0.9 * AHEAD_MAX_US / 1e6, max(REFILL_S, 4 * self._claim_s))
        if pace.spacing_us and early_s > 0:  # enough is in hand: take the rest together
            return await self.clock.sleep(early_s)
        groups = await self._take(self.tempo.at_once(pace, free, ahead_us), pace)
        if not groups:
            return await self._wait_for_work()
        uses, wait_s = await self._drops(len(groups), pace, ahead_us)
        while len(groups) > len(uses):
            self._candidates.give_back(groups.pop())
        if groups:
            return await self._launch(groups, uses, term)
        return await self.clock.sleep(min(wait_s, self.rules.poll_s))

    async def _take(self, count: int, pace: Pace) -> list[list[Candidate]]:
        """Return what up to *count* requests would carry; what needs no request is concluded on the way."""
        groups: list[list[Candidate]] = []
        lookups, probing = self.backend.traits.lookup, self.health.circuit.is_open
        most = 1 if probing else self.tempo.batch
        ahead = count * most * (4 if pace.spacing_us else 8)  # rounds for one peek: each is a round trip
        while len(groups) < count:
            now = self.clock.monotonic_s()
            group = await self._candidates.take(now, lookups=lookups, prefer_lookup=probing, most=most, ahead=ahead)
            if not group:
                break
            term = self.leadership.term
            if lookups or not group[0].is_lookup:
                groups.append(group)
            elif term is not None:
                flight = Flight(parcels=_parcels(group), term=term, use_at_s=now, claimed_s=now)
                self._in_hand.hold(flight)
                self.courier.conclude_without_looking(flight)
        return groups

    async def _drops(self, count: int, pace: Pace, ahead_us: int) -> tuple[deque[float], float]:
        """Take up to *count* drops together; return when each may be used, and how long to wait for the next."""
        if not pace.spacing_us:
            return self._free_use(count)
        drop = await self._gate.drop(pace.spacing_us, burst=pace.burst, ahead_us=ahead_us, count=count)
        now = self.clock.monotonic_s()
        uses = deque(now + after_us / 1e6 for after_us in drop.uses_us(pace.spacing_us))
        if uses:
            self._last_use_s = uses[-1]
        return uses, drop.wait_ms / 1000

    def _free_use(self, count: int) -> tuple[deque[float], float]:
        """There is no bucket without a rate; what is asked for is whether it flows at all, beside the flow."""
        now = self.clock.monotonic_s()
        if now >= self._asked_s + GATE_S:
            self._asked_s = now
            self.spawn(self._tend_gate(), name="gate")
        return (deque(), held_s) if (held_s := self.tempo.held_s()) else (deque([now] * count), 0.0)

    async def _launch(self, groups: list[list[Candidate]], uses: deque[float], term: Term) -> None:
        """Use the drops for what can still be claimed, and for the next candidates in its place."""
        while groups and self.leadership.term is term:
            claimed_s = self.clock.monotonic_s()
            await self._in_hand.claim(
                [candidate for group in groups for candidate in group if not candidate.is_lookup], term
            )
            for group in groups:
                if parcels := _parcels(group):
                    self._fly(Flight(parcels=parcels, term=term, use_at_s=uses.popleft(), claimed_s=claimed_s))
            while uses and uses[0] + DROP_AGE_S < self.clock.monotonic_s():
                uses.popleft()  # too old: thrown away
            groups = await self._take(len(uses), self.tempo.pace()) if uses else []
            self._claim_s = max(0.9 * self._claim_s, self.clock.monotonic_s() - claimed_s)

    def _fly(self, flight: Flight) -> None:
        self._in_hand.hold(flight)
        self._runway.fly(flight)

    def _landed(self, flight: Flight) -> None:
        self._in_hand.landed(flight)
        if self._runway.waiting <= self._low:
            self._stir.set()

    def _settled(self, result: Result) -> None:
        """What did not end well may be taken again, and there is room where too much was in hand."""
        if result.kind is not ResultKind.DELIVERED or self._laden:
            self._stir.set()

    async def _wait_for_work(self) -> None:
        """Nothing is due: `wake` says what is new, `_tend` what is due by now; should both fail, it is looked for."""
        if self._has_news:
            return
        self._wants_work = True
        try:
            await self._nap(IDLE_POLLS * self.rules.poll_s)
        finally:
            self._wants_work = False

    async def _nap(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await bounded(self._stir.wait(), seconds, clock=self.clock)

    def snapshot(self) -> BackendSnapshot:
        """Say how the backend stands, as of the last round; asks nobody."""
        circuit, factor, rate = self.health.circuit, self.tempo.factor, self.tempo.rate
        depths = self._depths.values()
        return BackendSnapshot(
            name=self.backend.name,
            kind=self.backend.kind,
            rate=str(rate),
            per_second=self.courier.per_second() if rate.is_unlimited else rate.per_second * factor,
            batch=self.tempo.batch,
            queued=sum(one.queued for one in depths),
            oldest_ms=min((one.oldest_ms for one in depths if one.queued), default=0),
            in_flight=len(self._in_hand),
            in_doubt=max(0, sum(one.in_flight for one in depths) - self._in_hand.sending)
            if self.leadership.term
            else 0,
            circuit="open" if circuit.is_open else "slow" if factor < 1 else "closed",
            leading=self.leadership.term is not None,
            epoch=self.leadership.epoch or self.status.epoch,
            last_error=self.health.last_error,
            last_answer_ms=self.health.last_answer_ms,
            counts=dict(self.health.counts),
        )


def _parcels(group: Sequence[Candidate]) -> tuple[Parcel, ...]:
    """Return what of a request's candidates is claimed, or is looked up."""
    return tuple(
        Parcel(candidate.outbox, candidate.delivery, candidate.is_lookup)
        for candidate in group
        if candidate.delivery is not None
    )
