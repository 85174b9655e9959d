"""What the fake ledger writes: one order from state to state, holds that end, levels and the journal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from flashd.domain import units
from flashd.domain.acceptance import IN_FLIGHT, SETTLED, Verdict, explain, place
from flashd.domain.event import Event
from flashd.domain.order import AcceptCode, Accepted, Effect, Incoming, Item, Kind, OrderRecord, OrderRef, OrderState
from flashd.domain.reservation import HoldState, Reservation
from flashd.domain.stock import Move, StockLevel
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
        for where, was in self._was.items():
            level = self._pool.levels[where]
            now = level.atp - level.exposed - level.owed
            kind = "changed" if (now > 0) == (was > 0) else "came_back" if now > 0 else "sold_out"
            self._pool.dirty.setdefault(level.sku, self._pool.clock.now_ms())
            self.say(f"stock.{kind}", {"sku": level.sku, "location": level.location, "free": level.free}, ())
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

    def end_hold(self, hold: Reservation, state: HoldState, order: str = "") -> None:
        moves = [Move(item.sku, item.location, held=-item.quantity) for item in hold.items]
        self.shift(moves)
        now = self._pool.clock.now_ms()
        self._pool.holds[hold.id] = replace(hold, state=state, ended_ms=now, order=order, items=())
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
        if OrderState.BACKORDER in {old, state}:
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
            if record.state is OrderState.BACKORDER and item.missing and (item.sku, item.location) in self._pool.levels
        )
        for claim, sign in [
            *((old, -1) for old in self._pool.claims.pop(record.ref, ())),
            *((new, 1) for new in claims),
        ]:
            where = (claim.sku, claim.location)
            self.shift([Move(*where)])
            level = self._pool.levels[where]
            self._pool.levels[where] = replace(level, owed=level.owed + sign * claim.quantity)
        if claims:
            self._pool.claims[record.ref] = claims

    def remember(self, ref: OrderRef, text: str) -> None:
        record = self._pool.records[ref]
        line = (self._pool.clock.now_ms(), text)
        self._pool.records[ref] = replace(record, timeline=(*record.timeline, line))

    def write(
        self,
        verdict: Verdict,
        incoming: Incoming,
        items: tuple[Item, ...],
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
            return follow(incoming, items, record)
        code = AcceptCode.ACCEPTED if record is None else AcceptCode.UPDATED
        known = record or self._new(incoming, incoming.ref, backend)
        if verdict in {Verdict.IGNORE, Verdict.TOMBSTONE}:
            state = OrderState.IGNORED if verdict is Verdict.IGNORE else OrderState.CANCELLED
            bare = self._content(replace(known, items=items), incoming)
            self._pool.raws.pop(bare.ref, None)
            late = verdict is Verdict.IGNORE and incoming.effect is not Effect.IGNORE
            reason = "placed before the cut-over" if late else clean(incoming.reason)
            self.enter(bare, state, reason, (), _PAST[state])
            return Accepted(code, state)
        if verdict is Verdict.CANCEL:
            moves = units.give_back(self._pool.levels, known.items)
            self.shift(moves)
            bare = self._content(replace(known, items=items), incoming)
            self.enter(bare, OrderState.CANCELLED, clean(incoming.reason), moves)
            return Accepted(code, OrderState.CANCELLED)
        return self._take(verdict, incoming, items, known, hold, code)

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
        items: tuple[Item, ...],
        known: OrderRecord,
        hold: Reservation | None,
        code: AcceptCode,
    ) -> Accepted:
        moves: tuple[Move, ...] = ()
        if hold is not None:
            held = {(item.sku, item.location): item.quantity for item in hold.items}
            self.end_hold(hold, HoldState.SOLD, str(known.ref))
            items = tuple(
                replace(item, taken=min(item.quantity, held.get((item.sku, item.location), 0))) for item in items
            )
            moves = tuple(Move(item.sku, item.location, sold=item.taken) for item in items if item.taken)
            known = replace(known, hold_id=hold.id)
        elif verdict is not Verdict.TAKE:
            items, moves = units.carry(self._pool.levels, known.items, items)
        self.shift(moves)
        taken = units.take(self._pool.levels, items)
        self.shift(taken.moves)
        why = explain(clean(incoming.reason), taken.short, taken.unknown)
        record = self._content(replace(known, items=taken.items), incoming)
        state = place(
            short=bool(taken.short),
            doubtful=bool(why),
            released=record.released,
            waits=record.waits,
            backorder=record.state is OrderState.BACKORDER,
        )
        if verdict is Verdict.CORRECT:
            state = OrderState.DEAD
        event = _PAST.get(state, "order.accepted") if verdict is Verdict.TAKE else ""
        self.enter(record, state, why, moves + taken.moves, event)
        return Accepted(code, state, taken.short)

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

    def _note_order(self, incoming: Incoming, record: OrderRecord, items: tuple[Item, ...] | None = None) -> None:
        self._pool.records[record.ref] = replace(
            record,
            version=incoming.version,
            digest=incoming.order.digest,
            items=record.items if items is None else items,
            changed_ms=self._pool.clock.now_ms(),
        )

    def _revoke(self, incoming: Incoming, _items: tuple[Item, ...], record: OrderRecord) -> Accepted:
        ref = replace(record.ref, kind=Kind.CANCEL)
        follow = self._pool.records.get(ref)
        if follow is not None and follow.state in IN_FLIGHT:
            self._pool.waiting[ref] = incoming
            self._note_order(incoming, record)
            return Accepted(AcceptCode.LATER, record.state)
        if follow is not None and follow.state in SETTLED:
            self._note_order(incoming, record)
            return Accepted(AcceptCode.UPDATED, record.state)
        spare = units.gather(follow.items if follow else (), record.items, self._overtake(record))
        self._note_order(incoming, record, units.emptied(record.items))
        self._follow_up(incoming, ref, follow, spare, (), "", record.backend)
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

    def _amend(self, incoming: Incoming, items: tuple[Item, ...], record: OrderRecord) -> Accepted:
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
        items, spare = units.share(units.gather(record.items, follow.items if follow else ()), items)
        taken = units.take(self._pool.levels, items)
        self.shift(taken.moves)
        self._note_order(incoming, record, taken.items)
        if taken.moves:  # until the amend is delivered, the backend does not know of these units
            known = self._pool.records[record.ref]
            self._pool.records[record.ref] = replace(known, delivered_ms=0, shipped_ms=0)
        why = explain(clean(incoming.reason), taken.short, taken.unknown)
        self._follow_up(incoming, ref, follow, spare, taken.moves, why, record.backend)
        return Accepted(AcceptCode.UPDATED, record.state, taken.short)

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
