"""What the fake ledger writes: one order from state to state, holds that end, levels and the journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from flashd.domain import units
from flashd.domain.acceptance import CLAIMING, IN_FLIGHT, SETTLED, Verdict, explain, place
from flashd.domain.allowance import Count, Uses, breaches
from flashd.domain.catalogue import Bundle
from flashd.domain.draw import Demand, Drawn, draw
from flashd.domain.event import Event
from flashd.domain.listing import Listing, unsell
from flashd.domain.order import AcceptCode, Accepted, Effect, Incoming, Item, Kind, OrderRecord, OrderRef, OrderState
from flashd.domain.reservation import HoldState, Reservation
from flashd.domain.stock import Move, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.store.packing import clean
from tests.fakes.pool import FakePool

_PAST = {
    OrderState.PARKED: "order.parked",
    OrderState.SHORTFALL: "order.fell_short",
    OrderState.BACKORDER: "order.backordered",
    OrderState.CANCELLED: "order.cancelled",
    OrderState.IGNORED: "order.ignored",
    OrderState.DELIVERED: "order.delivered",
}
_BY_HAND = "a human must do this in the backend"
_NEW = OrderState.IGNORED  # the state of a record that was not written yet


class Plan(msgspec.Struct, frozen=True):
    """What a version means for stock."""

    demand: Demand
    lines: tuple[Item, ...]  # as they were ordered
    bundles: tuple[Bundle, ...]
    counted_before: Uses
    count: Count
    parked: bool = False


class Transitions:
    def __init__(self, pool: FakePool, kinds: Mapping[str, Collection[Kind]]) -> None:
        self._pool = pool
        self._kinds = kinds
        self._was: dict[tuple[str, str], int] = {}
        self._order: dict[str, Any] = {}

    # ---------------------------------------------------------------------------------------- counters and journal

    def shift(self, moves: Sequence[Move]) -> None:
        for move in moves:
            level = self._pool.levels[move.sku, move.location]
            self._was.setdefault((move.sku, move.location), level.atp - level.exposed - level.owed)
            self._pool.levels[move.sku, move.location] = level.moved(move)

    def write_levels(self) -> None:
        changed: list[tuple[str, str, int]] = []
        for where, was in self._was.items():
            level = self._pool.levels[where]
            now = level.atp - level.exposed - level.owed
            self._pool.dirty.setdefault(level.sku, self._pool.clock.now_ms())
            if (now > 0) == (was > 0):
                changed.append((level.sku, level.location, level.free))
                continue
            kind = "stock.came_back" if now > 0 else "stock.sold_out"
            self.say(kind, {"sku": level.sku, "location": level.location, "free": level.free}, ())
        if changed:
            self.say("stock.changed", {"levels": changed}, ())
        self._was = {}

    def say(self, kind: str, data: dict[str, Any], moves: Sequence[Move]) -> None:
        now = self._pool.clock.now_ms()
        if moves:
            data = data | {"moves": [msgspec.to_builtins(move) for move in moves]}
        event = Event(id=f"{now}-{len(self._pool.journal)}", at_ms=now, kind=kind, pool=self._pool.name, data=data)
        self._pool.journal.append(event)

    def recount(self, was: StockLevel, count: StockLevel, lacks: int) -> None:
        where = (was.sku, was.location)
        move = Move(
            was.sku,
            was.location,
            on_hand=count.on_hand - was.on_hand,
            sold=-min(lacks, was.sold),
            safety=count.safety - was.safety,
        )
        self._pool.levels[where] = replace(was, seq=max(was.seq, count.seq))
        self.shift([move])
        self.say("stock.recounted", {"sku": was.sku, "location": was.location}, [move])
        if self._pool.levels[where].atp < 0:
            self.say("stock.fell_negative", {"sku": was.sku, "location": was.location}, ())

    def draw(self, channel: str, demand: Demand) -> Drawn:
        """Let what the order wants come about: counters and listings."""
        drawn = draw(self._pool.levels, self.listings(channel, demand.terms), demand)
        self.shift(drawn.moves)
        self._pool.listings.update({(channel, sku): listing for sku, listing in drawn.listings.items()})
        return drawn

    def change_uses(self, before: Uses, after: Uses) -> None:
        for field in {**before, **after}:
            self._pool.uses[field] = self._pool.uses.get(field, 0) + after.get(field, 0) - before.get(field, 0)
            if self._pool.uses[field] <= 0:
                del self._pool.uses[field]

    def review(self, incoming: Incoming, plan: Plan) -> str:
        found = breaches(plan.count, plan.counted_before, self._pool.uses, all_of_them=plan.parked)
        reasons = (clean(incoming.reason), *plan.count.reasons, *(breach.reason for breach in found))
        return "; ".join(reason for reason in reasons if reason)

    def listings(self, channel: str, terms: SellingTerms) -> dict[str, Listing]:
        there = self._pool.listings.items() if terms.mode != "none" else ()
        return {sku: listing for (name, sku), listing in there if name == channel}

    def end_hold(self, hold: Reservation, state: HoldState, order: str = "") -> None:
        moves = [Move(item.sku, item.location, held=-item.quantity) for item in hold.items]
        self.shift(moves)
        now = self._pool.clock.now_ms()
        self._pool.holds[hold.id] = replace(hold, state=state, ended_ms=now, order=order, items=(), bundles=())
        if state is not HoldState.SOLD:
            self.change_uses(hold.uses, {})
        self._pool.holds[hold.id] = replace(self._pool.holds[hold.id], uses={})
        self.say(f"hold.{state}", {"hold": hold.id}, moves)

    # ------------------------------------------------------------------------------------------------------ records

    def enter(
        self, record: OrderRecord, state: OrderState, reason: str, moves: Sequence[Move], event: str = ""
    ) -> OrderRecord:
        known = self._pool.records.get(record.ref)
        old = known.state if known is not None else None
        now = self._pool.clock.now_ms()
        event = event or (_PAST.get(state, "") if old is not state else "") or "order.updated"
        record = replace(record, state=state, reason=reason, changed_ms=now, has_next=False)
        self._pool.records[record.ref] = record
        if state in SETTLED:
            self._pool.raws.pop(record.ref, None)
        if CLAIMING & {old, state}:
            self.owe(record)
        if old is not state:
            at_its_place = state in {OrderState.WAITING, OrderState.BACKORDER}
            self._pool.due_ms[record.ref] = record.accepted_ms if at_its_place else now
        self.remember(record.ref, f"{event[6:]} {state}" + (f": {reason}" if reason else ""))
        data = {"order": {"channel": record.ref.channel, "id": record.ref.id}, "item": record.ref.kind.value}
        self.say(event, data | {"state": state.value, "backend": record.backend}, moves)
        return record

    def owe(self, record: OrderRecord) -> None:
        claims = tuple(
            Item(item.sku, item.location, item.missing)
            for item in record.items
            if record.state in CLAIMING and item.missing and (item.sku, item.location) in self._pool.levels
        )
        self.unclaim(record.ref)
        for claim in claims:
            self._change_owed(claim, claim.quantity)
        if claims:
            self._pool.claims[record.ref] = claims

    def unclaim(self, ref: OrderRef) -> None:
        for claim in self._pool.claims.pop(ref, ()):
            self._change_owed(claim, -claim.quantity)

    def _change_owed(self, claim: Item, units: int) -> None:
        where = (claim.sku, claim.location)
        self.shift([Move(*where)])
        level = self._pool.levels[where]
        self._pool.levels[where] = replace(level, owed=level.owed + units)

    def remember(self, ref: OrderRef, text: str) -> None:
        record = self._pool.records[ref]
        line = (self._pool.clock.now_ms(), text)
        self._pool.records[ref] = replace(record, timeline=(*record.timeline, line))

    def write(
        self,
        verdict: Verdict,
        incoming: Incoming,
        plan: Plan,
        backend: str,
        record: OrderRecord | None,
        hold: Reservation | None,
        waiting: Incoming | None,
    ) -> Accepted:
        if verdict is Verdict.LATER:
            assert record is not None
            self._pool.waiting[incoming.ref] = incoming
            return Accepted(AcceptCode.LATER, record.state)
        if verdict is Verdict.NOTE:
            assert record is not None
            return self._note(incoming, record, waiting)
        self._pool.waiting.pop(incoming.ref, None)
        if verdict in {Verdict.AMEND, Verdict.REVOKE}:
            assert record is not None
            follow = self._amend if verdict is Verdict.AMEND else self._revoke
            return follow(incoming, plan, record)
        code = AcceptCode.ACCEPTED if record is None else AcceptCode.UPDATED
        known = record or self._new(incoming, incoming.ref, backend)
        bare = self._content(replace(known, items=plan.lines), incoming)
        if verdict in {Verdict.IGNORE, Verdict.TOMBSTONE}:
            state = OrderState.IGNORED if verdict is Verdict.IGNORE else OrderState.CANCELLED
            self._pool.raws.pop(bare.ref, None)
            late = verdict is Verdict.IGNORE and incoming.effect is not Effect.IGNORE
            reason = "placed before the cut-over" if late else clean(incoming.reason)
            if verdict is Verdict.TOMBSTONE:
                self._unsell(incoming.order.channel, plan)
            self.enter(bare, state, reason, (), _PAST[state])
            return Accepted(code, state)
        self.unclaim(known.ref)
        if verdict is Verdict.CANCEL:
            drawn = self.draw(incoming.order.channel, plan.demand)
            self.change_uses(known.uses, {})
            bare = replace(bare, bundles=(), uses={})
            self.enter(bare, OrderState.CANCELLED, clean(incoming.reason), drawn.moves)
            return Accepted(code, OrderState.CANCELLED)
        return self._take(verdict, incoming, plan, bare, hold, code)

    def _unsell(self, channel: str, plan: Plan) -> None:
        listings = self.listings(channel, plan.demand.terms) if plan.demand.terms.restocks else {}
        for item in plan.lines:
            if item.sku in listings:
                self._pool.listings[channel, item.sku] = unsell(listings[item.sku], item.quantity)

    def _note(self, incoming: Incoming, record: OrderRecord, waiting: Incoming | None) -> Accepted:
        if waiting is not None and incoming.effect is Effect.IGNORE:
            self._pool.waiting[incoming.ref] = replace(waiting, version=incoming.version)
        else:
            now = self._pool.clock.now_ms()
            self._pool.records[record.ref] = replace(record, version=incoming.version, changed_ms=now)
            self._pool.waiting.pop(incoming.ref, None)
        return Accepted(AcceptCode.UPDATED, record.state)

    def _take(
        self,
        verdict: Verdict,
        incoming: Incoming,
        plan: Plan,
        known: OrderRecord,
        hold: Reservation | None,
        code: AcceptCode,
    ) -> Accepted:
        reason = self.review(incoming, plan)
        if hold is not None:
            self.end_hold(hold, HoldState.SOLD, str(known.ref))
            known = replace(known, hold_id=hold.id)
        drawn = self.draw(incoming.order.channel, plan.demand)
        why = explain(reason, drawn.short, drawn.unknown)
        self.change_uses(plan.counted_before, plan.count.uses)
        record = replace(known, items=drawn.items, bundles=plan.bundles, uses=plan.count.uses)
        state = place(
            short=bool(drawn.short),
            doubtful=bool(why),
            released=record.released,
            waits=record.waits,
            backorder=record.state is OrderState.BACKORDER,
        )
        if verdict is Verdict.CORRECT:
            state = OrderState.DEAD
        if verdict is Verdict.TAKE:
            record = replace(record, revoked=False)
        event = _PAST.get(state, "order.accepted") if verdict is Verdict.TAKE else ""
        self.enter(record, state, why, drawn.moves, event)
        return Accepted(code, state, drawn.short)

    def _new(self, incoming: Incoming, ref: OrderRef, backend: str) -> OrderRecord:
        now = self._pool.clock.now_ms()
        return OrderRecord(
            ref=ref,
            state=_NEW,
            version=incoming.version,
            digest=incoming.order.digest,
            backend=backend,
            accepted_ms=now,
            changed_ms=now,
        )

    def _content(self, record: OrderRecord, incoming: Incoming) -> OrderRecord:
        self._pool.raws[record.ref] = incoming.raw
        if not incoming.raw:
            del self._pool.raws[record.ref]
        return replace(
            record,
            version=incoming.version,
            digest=incoming.order.digest,
            order=incoming.order,
            waits=incoming.effect is Effect.WAIT if record.ref.kind is Kind.CREATE else record.waits,
        )

    # --------------------------------------------------------------------------------------------------- follow-ups

    def _note_order(self, incoming: Incoming, record: OrderRecord) -> None:
        self._pool.records[record.ref] = replace(
            record,
            version=incoming.version,
            digest=incoming.order.digest,
            changed_ms=self._pool.clock.now_ms(),
        )

    def _revoke(self, incoming: Incoming, plan: Plan, record: OrderRecord) -> Accepted:
        ref = replace(record.ref, kind=Kind.CANCEL)
        follow = self._pool.records.get(ref)
        if follow is not None and follow.state in IN_FLIGHT:
            self._pool.waiting[ref] = incoming
            self._note_order(incoming, record)
            return Accepted(AcceptCode.LATER, record.state)
        if follow is not None and follow.state in SETTLED:
            self._note_order(incoming, record)
            return Accepted(AcceptCode.UPDATED, record.state)
        drawn = self.draw(incoming.order.channel, plan.demand)
        spare = units.gather(follow.items if follow else (), drawn.spare, self._overtake(record))
        self.change_uses(record.uses, {})
        self._note_order(incoming, replace(record, items=units.emptied(record.items), revoked=True, uses={}))
        self._follow_up(incoming, ref, follow, spare, drawn.moves, "", record.backend)
        return Accepted(AcceptCode.UPDATED, record.state)

    def _overtake(self, record: OrderRecord) -> tuple[Item, ...]:
        ref = replace(record.ref, kind=Kind.AMEND)
        amend = self._pool.records.get(ref)
        if amend is None:
            return ()
        self._pool.waiting.pop(ref, None)
        if amend.state in IN_FLIGHT or amend.state in SETTLED:
            return ()
        items = amend.items
        bare = replace(amend, items=units.emptied(items))
        self.enter(bare, OrderState.CANCELLED, "overtaken by a cancel", ())
        return items

    def _amend(self, incoming: Incoming, plan: Plan, record: OrderRecord) -> Accepted:
        ref = replace(record.ref, kind=Kind.AMEND)
        follow = self._pool.records.get(ref)
        if follow is not None and follow.state in IN_FLIGHT:
            self._pool.waiting[ref] = incoming
            self._note_order(incoming, record)
            return Accepted(AcceptCode.LATER, record.state)
        if follow and follow.state is not OrderState.CANCELLED and follow.digest == incoming.order.digest:
            self._note_order(incoming, record)
            self._pool.waiting.pop(ref, None)
            return Accepted(AcceptCode.UPDATED, record.state)
        reason = self.review(incoming, plan)
        drawn = self.draw(incoming.order.channel, plan.demand)
        self.change_uses(plan.counted_before, plan.count.uses)
        record = replace(record, items=drawn.items, bundles=plan.bundles, revoked=False, uses=plan.count.uses)
        if drawn.moves:  # until the amend is delivered, the backend does not know of these units
            record = replace(record, delivered_ms=0, shipped_ms=0)
        self._note_order(incoming, record)
        why = explain(reason, drawn.short, drawn.unknown)
        self._follow_up(incoming, ref, follow, drawn.spare, drawn.moves, why, record.backend)
        return Accepted(AcceptCode.UPDATED, record.state, drawn.short)

    def _follow_up(
        self,
        incoming: Incoming,
        ref: OrderRef,
        follow: OrderRecord | None,
        spare: tuple[Item, ...],
        moves: tuple[Move, ...],
        why: str,
        backend: str,
    ) -> None:
        over = follow is None or follow.state in SETTLED
        head = follow or self._new(incoming, ref, backend)
        if over:
            head = replace(head, revision=head.revision + 1 if follow else 0, refusals=0, absences=0)
        state, reason = head.state, head.reason
        if (over or why) and (follow is None or state is not OrderState.DEAD):
            takes = ref.kind in self._kinds.get(backend, ())
            state = OrderState.QUEUED if takes and not why else OrderState.MANUAL
            reason = why or ("" if takes else _BY_HAND)
        self._pool.waiting.pop(ref, None)
        record = self._content(replace(head, items=spare), incoming)
        self.enter(record, state, reason, moves, "order.followed_up" if over else "")
