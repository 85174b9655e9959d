"""A ledger over a FakePool, deciding by the executable specification in flashd/domain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from flashd.domain import units
from flashd.domain.acceptance import (
    ANSWERS,
    CANCELLABLE,
    IN_FLIGHT,
    REQUEUABLE,
    SETTLEABLE,
    Verdict,
    Version,
    decide,
    explain,
)
from flashd.domain.allowance import Count, Purchase, breaches, count, judged_again
from flashd.domain.catalogue import Component, added, ordered_of, take_apart
from flashd.domain.draw import Demand, Drawn, is_supplied
from flashd.domain.order import AcceptCode, Accepted, Incoming, Item, Kind, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.picking import is_known, pick, short_of
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest, HoldState, Reservation, extended
from flashd.domain.stock import Move, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import Conflict, NotFound, StoreUnavailable
from flashd.ports import Quarantined
from flashd.store.packing import clean, items_of
from tests.fakes.pool import FakePool, delivered
from tests.fakes.soon import soon
from tests.fakes.transitions import Plan, Transitions

_TAKES = frozenset({Verdict.TAKE, Verdict.EDIT, Verdict.CORRECT, Verdict.AMEND})


@dataclass
class FakeLedger:
    state: FakePool
    location: str = "main"
    kinds: Mapping[str, Collection[Kind]] = field(default_factory=dict)
    terms: Mapping[str, SellingTerms] = field(default_factory=dict)
    lost_replies: list[str] = field(default_factory=list)  # verbs that are done and then answer with StoreUnavailable
    failing: set[str] = field(default_factory=set)  # verbs that are not done at all
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = self.state.name
        self._on = Transitions(self.state, self.kinds)

    def adopt(self, kinds: Mapping[str, Collection[Kind]], terms: Mapping[str, SellingTerms] | None = None) -> None:
        self.kinds = kinds
        self.terms = self.terms if terms is None else terms
        self._on = Transitions(self.state, kinds)

    def _terms_of(self, channel: str) -> SellingTerms:
        return self.terms.get(channel, SellingTerms(locations=(self.location,)))

    # ------------------------------------------------------------------------------------------------------- holds

    @soon
    async def hold(self, requests: Sequence[HoldRequest]) -> list[HoldReply]:
        self._begin("hold")
        replies = [self._hold_one(request) for request in requests]
        self._end("hold")
        return replies

    def _hold_one(self, request: HoldRequest) -> HoldReply:
        known = self.state.holds.get(request.id)
        if known is not None:
            code = HoldCode.REPEAT if known.digest == request.digest else HoldCode.CONFLICT
            return HoldReply(code=code, state=known.state, expires_ms=known.expires_ms)
        terms = self._terms_of(request.channel)
        terms = replace(terms, locations=(request.location,)) if request.location else terms
        ordered = units.wants_of(items_of(request.lines, ""))
        wants, bundles = take_apart(ordered, self.state.kits)
        unknown = [sku for sku in wants if not is_known(self.state.levels, sku, terms)]
        if unknown:
            return HoldReply(code=HoldCode.UNKNOWN_SKU, left=tuple((sku, 0) for sku in unknown))

        now = self.state.clock.now_ms()
        purchase = Purchase(ordered=ordered, channel=request.channel, at_ms=now, customer=request.customer)
        counted = count(self.state.rules, purchase)
        if counted.barred:
            sku, _, rule = counted.barred[0]
            return HoldReply(code=HoldCode.CLOSED, sale=rule.sale, sku=sku, start_ms=rule.start_ms, end_ms=rule.end_ms)

        def refusal() -> HoldReply | None:
            passed = breaches(counted, {}, self.state.uses, all_of_them=False)
            for breach in passed:
                if not breach.quota:
                    return HoldReply(
                        code=HoldCode.LIMIT, sale=breach.sale, sku=breach.sku, had=breach.had, may=breach.may
                    )
            short = tuple((breach.sku, max(0, breach.may - breach.had)) for breach in passed)
            short = short or short_of(self.state.levels, ordered, wants, bundles, terms)
            return HoldReply(code=HoldCode.SHORT, left=short) if short else None

        self._cover(lambda: refusal() is None)
        if refused := refusal():
            return refused
        items = tuple(Item(*parcel) for parcel in pick(self.state.levels, wants, terms))
        moves = tuple(Move(item.sku, item.location, held=item.quantity) for item in items)
        hold = Reservation(
            id=request.id,
            state=HoldState.HELD,
            digest=request.digest,
            began_ms=now,
            expires_ms=now + request.ttl_ms,
            channel=request.channel,
            items=items,
            bundles=bundles,
            customer=request.customer,
            uses=counted.uses,
        )
        self._on.change_uses({}, counted.uses)
        self._on.shift(moves)
        self.state.holds[request.id] = hold
        self._on.say("hold.held", {"hold": hold.id}, moves)
        return HoldReply(code=HoldCode.HELD, state=HoldState.HELD, expires_ms=hold.expires_ms)

    async def extend(self, hold_id: str, ttl_ms: int, *, max_total_ms: int) -> HoldReply:
        self._begin("extend")
        hold = self.state.holds.get(hold_id)
        if hold is None or hold.state is not HoldState.HELD:
            return _gone(hold)
        expires = extended(hold, now_ms=self.state.clock.now_ms(), ttl_ms=ttl_ms, max_total_ms=max_total_ms)
        if expires > hold.expires_ms:
            self.state.holds[hold_id] = replace(hold, expires_ms=expires)
            self._on.say("hold.extended", {"hold": hold_id}, ())
        self._end("extend")
        return HoldReply(code=HoldCode.HELD, state=HoldState.HELD, expires_ms=expires)

    async def release(self, hold_id: str, reason: str) -> HoldReply:
        self._begin("release")
        hold = self.state.holds.get(hold_id)
        if hold is None or hold.state is not HoldState.HELD:
            repeat = hold is not None and hold.state is HoldState.RELEASED
            return replace(_gone(hold), code=HoldCode.REPEAT) if repeat else _gone(hold)
        self._on.end_hold(hold, HoldState.RELEASED)
        self._end("release")
        return HoldReply(code=HoldCode.RELEASED, state=HoldState.RELEASED, expires_ms=hold.expires_ms)

    async def sweep(self, limit: int = 500) -> int:
        self._begin("sweep")
        ended = self._sweep(limit)
        self._end("sweep")
        return ended

    def _sweep(self, limit: int, keep: str = "") -> int:
        now = self.state.clock.now_ms()
        holds = [hold for hold in self.state.holds.values() if hold.state is HoldState.HELD]
        due = sorted((hold.expires_ms, hold.id) for hold in holds if hold.expires_ms <= now)
        ids = [hold_id for _, hold_id in due[:limit] if hold_id != keep]
        for hold_id in ids:
            self._on.end_hold(self.state.holds[hold_id], HoldState.EXPIRED)
        return len(ids)

    def _cover(self, test: Callable[[], bool], keep: str = "") -> bool:
        swept = -1
        while not (covered := test()) and swept != 0:
            swept = self._sweep(32, keep)
        return covered

    # ------------------------------------------------------------------------------------------------------ orders

    @soon
    async def accept(
        self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int | Sequence[int]
    ) -> list[Accepted]:
        self._begin("accept")
        since = [since_ms] * len(orders) if isinstance(since_ms, int) else since_ms
        replies = [
            self._accept_one(incoming, backend, admit=incoming.order.placed_after(cut_over))
            for incoming, backend, cut_over in zip(orders, backends, since, strict=True)
        ]
        self._end("accept")
        return replies

    def _accept_one(self, incoming: Incoming, backend: str, *, admit: bool, replay: bool = False) -> Accepted:
        record = self.state.records.get(incoming.ref)
        next_one = None if replay else self.state.waiting.get(incoming.ref)
        waiting = Version(next_one.version, next_one.order.digest) if next_one else None
        verdict = decide(record, waiting, incoming, admit=admit)
        if verdict in ANSWERS:
            assert record is not None
            return Accepted(AcceptCode(verdict.value), record.state)
        hold = self.state.holds.get(incoming.hold_id) if verdict is Verdict.TAKE else None
        hold = hold if hold is not None and hold.state is HoldState.HELD else None
        plan = self._plan(verdict, incoming, record, hold)
        if verdict in _TAKES:
            wants, terms = plan.demand.wants, plan.demand.terms
            unknown = [sku for sku in wants if not is_known(self.state.levels, sku, terms)]
            if incoming.strict and unknown:
                state = record.state if record else OrderState.IGNORED
                return Accepted(AcceptCode.UNKNOWN_SKU, state, tuple((sku, wants[sku]) for sku in unknown))
            listings = self._on.listings(incoming.order.channel, terms)
            self._cover(lambda: is_supplied(self.state.levels, listings, plan.demand), hold.id if hold else "")
        return self._on.write(verdict, incoming, plan, backend, record, hold, next_one)

    def _plan(self, verdict: Verdict, incoming: Incoming, record: OrderRecord | None, hold: Reservation | None) -> Plan:
        terms = self._terms_of(incoming.order.channel)
        lines = items_of(incoming.order.lines, terms.locations[0])
        known = record if verdict is not Verdict.TAKE else None
        old = known.items if known else ()
        had = known.bundles if known else ()
        before = ordered_of(units.wants_of(old), had) if known and not known.revoked else {}
        ordered = {} if verdict in {Verdict.CANCEL, Verdict.REVOKE} else units.wants_of(lines)
        wants, bundles = take_apart(ordered, self.state.kits, hold.bundles if hold else had)
        if (
            known
            and verdict is Verdict.AMEND
            and (amend := self.state.records.get(replace(known.ref, kind=Kind.AMEND)))
        ):
            old = (*old, *amend.items)
        listed = terms.mode != "none"
        demand = Demand(
            wants=wants,
            terms=terms,
            old=old,
            held=hold.items if hold else (),
            sold=added(before, ordered, self.state.kits) if listed else (),
            returned=added(ordered, before, self.state.kits) if listed and terms.restocks else (),
            placed_ms=incoming.order.placed_ms,
            travels=verdict in {Verdict.AMEND, Verdict.REVOKE},
        )
        if verdict not in _TAKES:
            return Plan(demand, lines, bundles, known.uses if known else {}, Count({}, {}))
        return self._count(Plan(demand, lines, bundles, {}, Count({}, {})), incoming, ordered, before, known, hold)

    def _count(
        self,
        plan: Plan,
        incoming: Incoming,
        ordered: dict[str, int],
        had: dict[str, int],
        known: OrderRecord | None,
        hold: Reservation | None,
    ) -> Plan:
        counted_before = hold.uses if hold else known.uses if known else {}
        had = ordered_of(units.wants_of(hold.items), hold.bundles) if hold else had
        record = self.state.records.get(incoming.ref)
        undecided = record is not None and record.state in (OrderState.PARKED, OrderState.SHORTFALL)
        parked = record is not None and undecided and not record.released
        purchase = Purchase(
            ordered=ordered,
            channel=incoming.order.channel,
            at_ms=incoming.order.placed_ms or self.state.clock.now_ms(),
            customer=incoming.customer or (hold.customer if hold else ""),
            had=judged_again(had, counted_before) if parked else had,
            before=counted_before,
        )
        counted = count(self.state.rules, purchase)
        made_of = {bundle.sku: bundle.components for bundle in plan.bundles}
        blocked: dict[str, int] = {}
        for sku, some in counted.blocked.items():
            for part in made_of.get(sku, (Component(sku, 1),)):
                blocked[part.sku] = blocked.get(part.sku, 0) + some * part.quantity
        return replace(
            plan,
            demand=replace(plan.demand, blocked=blocked),
            counted_before=counted_before,
            count=counted,
            parked=parked,
        )

    async def apply_next(self, limit: int = 100) -> int:
        self._begin("apply_next")
        applied = 0
        for ref, incoming in list(self.state.waiting.items()):
            record = self.state.records[ref]
            unsettled = record.state is OrderState.MANUAL and ref.kind is Kind.CREATE
            if record.state in IN_FLIGHT or unsettled or applied == limit:
                continue
            parent = self.state.records[OrderRef(ref.channel, ref.id)]
            if ref.kind is Kind.CREATE:
                self._accept_one(incoming, record.backend, admit=True, replay=True)
            else:
                verdict = Verdict.REVOKE if ref.kind is Kind.CANCEL else Verdict.AMEND
                newest = replace(incoming, version=max(incoming.version, parent.version))
                plan = self._plan(verdict, newest, parent, None)
                self._on.write(verdict, newest, plan, record.backend, parent, None, None)
            self.state.waiting.pop(ref, None)
            applied += 1
        self._end("apply_next")
        return applied

    # ---------------------------------------------------------------------------------------------------- commands

    async def cancel(self, ref: OrderRef, *, by: str, reason: str) -> OrderState:
        self._begin("cancel")
        record = self._commanded(ref, "cancelled", CANCELLABLE)
        if not (record.state is OrderState.CANCELLED and record.final):
            moves: tuple[Move, ...] = ()
            if ref.kind is Kind.CREATE:
                moves = units.give_back(self.state.levels, record.items)
                self._on.shift(moves)
                self._on.change_uses(record.uses, {})
                record = replace(record, uses={})
            else:
                order = self.state.records[OrderRef(ref.channel, ref.id)]
                self.state.records[order.ref] = replace(order, items=units.hand_over(record.items, order.items))
            newer = self.state.waiting.pop(ref, None)
            record = replace(record, final=True, version=newer.version if newer else record.version)
            record = replace(record, items=units.emptied(record.items))
            why = f"{clean(reason)} (by {clean(by)})"
            self._on.enter(record, OrderState.CANCELLED, why, moves, "order.cancelled")
        self._end("cancel")
        return OrderState.CANCELLED

    async def requeue(self, ref: OrderRef, *, by: str, order: Order | None = None, backend: str = "") -> OrderState:
        self._begin("requeue")
        known = self.state.records.get(ref)
        mended = order is not None and known is not None and order != known.order
        if known and known.state is OrderState.QUEUED and not mended and backend in {"", known.backend}:
            return known.state
        record = self._commanded(ref, "sent again", REQUEUABLE)
        drawn = Drawn(items=record.items, moves=(), spare=(), listings={}, short=(), unknown=())
        bundles = record.bundles
        if ref.kind is Kind.CREATE:
            terms = self._terms_of(ref.channel)
            ordered = ordered_of(units.wants_of(record.items), record.bundles)
            if order is not None and mended:
                ordered = units.wants_of(items_of(order.lines, ""))
            wants, bundles = take_apart(ordered, self.state.kits, record.bundles)
            demand = Demand(wants=wants, terms=terms, old=record.items)
            if mended:
                had = ordered_of(units.wants_of(record.items), record.bundles)
                purchase = Purchase(ordered=ordered, channel="", at_ms=0, had=had, before=record.uses)
                counted = count({}, purchase)
                self._on.change_uses(record.uses, counted.uses)
                record = replace(record, uses=counted.uses)
            self._cover(lambda: is_supplied(self.state.levels, {}, demand))
            self._on.unclaim(ref)
            drawn = self._on.draw("", demand)
        owing = OrderState.BACKORDER if record.state is OrderState.BACKORDER else OrderState.SHORTFALL
        state = owing if drawn.short else OrderState.QUEUED
        record = replace(
            record,
            items=drawn.items,
            bundles=bundles,
            order=order if mended else record.order,
            revision=record.revision + mended,
            backend=backend or record.backend,
            refusals=0,
            absences=0,
            released=record.released or state is OrderState.QUEUED,
        )
        event = "order.requeued" if state is OrderState.QUEUED else ""
        self._on.enter(record, state, explain("", drawn.short, drawn.unknown), drawn.moves, event)
        self._on.remember(ref, f"{'mended' if mended else 'retried'} by {clean(by)}")
        self._end("requeue")
        return state

    async def settle(self, ref: OrderRef, backend_ref: str, *, by: str) -> OrderState:
        self._begin("settle")
        known = self.state.records.get(ref)
        if known and known.state is OrderState.DELIVERED and known.backend_ref == clean(backend_ref):
            return known.state
        record = self._commanded(ref, "settled", SETTLEABLE)
        moves: tuple[Move, ...] = ()
        if ref.kind is not Kind.CREATE:
            moves = units.give_back(self.state.levels, record.items)
            if self.state.records[OrderRef(ref.channel, ref.id)].shipped_ms:
                moves = tuple(replace(move, on_hand=move.sold) for move in moves)
            self._on.shift(moves)
            record = replace(record, items=units.emptied(record.items))
        record = delivered(self.state, replace(record, backend_ref=clean(backend_ref)))
        self._on.enter(record, OrderState.DELIVERED, f"settled by {clean(by)}", moves, "order.delivered")
        self._end("settle")
        return OrderState.DELIVERED

    def _commanded(self, ref: OrderRef, what: str, allowed: Collection[OrderState]) -> OrderRecord:
        record = self.state.records.get(ref)
        if record is None:
            raise NotFound(f"there is no order {ref}")
        if record.state not in allowed:
            raise Conflict(f"{ref} is {record.state}: it cannot be {what}", state=record.state.value)
        return record

    # -------------------------------------------------------------------------------------------- stock, quarantine

    async def recount(self, level: StockLevel, *, lacks: int = 0, by: str = "") -> StockLevel:
        if lacks and not level.seq:
            raise ValueError("a count that lacks sold units needs a sequence number, so that it can be repeated")
        self._begin("recount")
        at = (level.sku, level.location)
        was = self.state.levels.get(at)
        if was is not None and 0 < level.seq <= was.seq:
            return was
        self._on.recount(was or StockLevel(sku=level.sku, location=level.location), level, lacks)
        self._end("recount")
        return self.state.levels[at]

    async def levels(self, skus: Sequence[str] = ()) -> list[StockLevel]:
        self._begin("levels")
        at = sorted(self.state.levels) if not skus else sorted(where for where in self.state.levels if where[0] in skus)
        return [self.state.levels[where] for where in at if where in self.state.levels]

    async def quarantine(self, channel: str, headers: Mapping[str, str], body: bytes, reason: str) -> str:
        self._begin("quarantine")
        entry_id = hashlib.blake2b(channel.encode() + b"\0" + body, digest_size=12).hexdigest()
        if entry_id not in self.state.quarantine:
            self.state.quarantine[entry_id] = Quarantined(
                id=entry_id,
                channel=channel,
                received_ms=self.state.clock.now_ms(),
                reason=clean(reason),
                headers=dict(headers),
                body=body,
            )
            self._on.say("channel.quarantined", {"channel": channel, "quarantine": entry_id}, ())
        self._end("quarantine")
        return entry_id

    async def unquarantine(self, quarantine_id: str, *, by: str) -> None:
        self._begin("unquarantine")
        if self.state.quarantine.pop(quarantine_id, None) is not None:
            self._on.say("channel.unquarantined", {"quarantine": quarantine_id, "by": by}, ())
        self._end("unquarantine")

    def _begin(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.failing:
            raise StoreUnavailable(verb)

    def _end(self, verb: str) -> None:
        self._on.write_levels()
        if verb in self.lost_replies:
            self.lost_replies.remove(verb)
            raise StoreUnavailable(verb)


def _gone(hold: Reservation | None) -> HoldReply:
    if hold is None:
        return HoldReply(code=HoldCode.GONE)
    return HoldReply(code=HoldCode.GONE, state=hold.state, expires_ms=hold.expires_ms)
