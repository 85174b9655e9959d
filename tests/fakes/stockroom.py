"""A stockroom over a FakePool, deciding by the executable specification in flashd/domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from flashd.domain.acceptance import CLAIMING, explain, place
from flashd.domain.count import MARGIN_MS, Count, CountCode, Counted, Receipt, Received, is_contained, net
from flashd.domain.order import Item, Kind, OrderRecord, OrderRef, OrderState
from flashd.domain.stock import Move, StockLevel
from flashd.domain.triage import REST, asks_a_human, doubt_of, rest_of, short_of, split
from flashd.errors import Conflict, NotFound, StoreUnavailable
from flashd.store.packing import clean
from tests.fakes.pool import FakePool
from tests.fakes.transitions import Transitions


@dataclass
class FakeStockroom:
    state: FakePool
    margin_ms: int = MARGIN_MS
    safety: int = 0
    failing: set[str] = field(default_factory=set)  # verbs that are not done at all
    lost_replies: list[str] = field(default_factory=list)  # verbs that are done and then answer with StoreUnavailable
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = self.state.name
        self._on = Transitions(self.state, {})

    # ------------------------------------------------------------------------------------------------------ counting

    async def count(self, counts: Sequence[Count], *, by: str) -> list[Counted]:
        self._begin("count")
        done = [self._count(count) for count in counts]
        for counted in done:
            self._serve_place((counted.after.sku, counted.after.location))
        self._end("count")
        return done

    async def forecast(self, counts: Sequence[Count]) -> list[Counted]:
        self._begin("forecast")
        return [self._foresee(count)[0] for count in counts]

    def _foresee(self, count: Count) -> tuple[Counted, dict[OrderRef, tuple[tuple[Item, ...], int]]]:
        where = (count.sku, count.location)
        before, last = self.state.levels.get(where), self.state.counts.get(where)
        level = before or StockLevel(sku=count.sku, location=count.location, safety=self.safety)
        if (before and count.number <= before.seq) or (last and count.as_of_ms < last.as_of_ms):
            return Counted(count=count, code=CountCode.STALE, before=before, after=level), {}
        changes: dict[OrderRef, tuple[tuple[Item, ...], int]] = {}
        per_order: dict[OrderRef, int] = {}
        for ref, record in self.state.records.items():
            base = self.state.records.get(OrderRef(ref.channel, ref.id))
            if base is None or base.state is not OrderState.DELIVERED:
                continue
            contained = is_contained(base, count.kind, count.as_of_ms - self.margin_ms)
            items, moved = net(record.items, where, count.kind, contained=contained)
            if moved:
                changes[ref] = (items, moved)
                per_order[base.ref] = per_order.get(base.ref, 0) + moved
        total = sum(moved for _, moved in changes.values())
        after = replace(
            level,
            on_hand=count.quantity,
            sold=level.sold - min(total, level.sold),
            safety=level.safety if count.safety is None else count.safety,
            seq=count.number,
        )
        names = sorted(str(ref) for ref, moved in per_order.items() if moved)
        answer = Counted(
            count=count,
            code=CountCode.COUNTED,
            before=before,
            after=after,
            orders=len(names),
            units=total,
            contained=tuple(names),
        )
        return answer, changes

    def _count(self, count: Count) -> Counted:
        answer, changes = self._foresee(count)
        if answer.code is CountCode.STALE:
            return answer
        where = (count.sku, count.location)
        self.state.levels.setdefault(where, StockLevel(sku=count.sku, location=count.location))
        orders: dict[OrderRef, int] = {}
        for ref, (items, moved) in changes.items():
            self.state.records[ref] = replace(self.state.records[ref], items=items)
            base = OrderRef(ref.channel, ref.id)
            orders[base] = orders.get(base, 0) + moved
        for ref, moved in orders.items():
            gone = min(moved, self.state.levels[where].sold)
            move = Move(*where, on_hand=-gone, sold=-gone)
            self._on.shift([move])
            self._on.say("order.counted", {"order": {"channel": ref.channel, "id": ref.id}}, [move])
        self.state.counts[where] = count
        level = self.state.levels[where]
        safety = answer.after.safety
        self._on.recount(level, replace(level, on_hand=count.quantity, safety=safety, seq=count.number), 0)
        self._on.write_levels()
        return replace(answer, after=self.state.levels[where], contained=())

    # ---------------------------------------------------------------------------------------- shipments and receipts

    async def ship(self, ref: OrderRef, at_ms: int = 0, *, by: str) -> OrderState:
        self._begin("ship")
        record = self._known(ref)
        if record.state is not OrderState.DELIVERED:
            raise Conflict(f"{ref} is {record.state}: it cannot be shipped", state=record.state.value)
        if not record.shipped_ms:
            now = self.state.clock.now_ms()
            self.state.records[ref] = replace(record, shipped_ms=min(at_ms or now, now))
            self._on.remember(ref, f"shipped, says {clean(by)}")
            self._on.say("order.shipped", {"order": {"channel": ref.channel, "id": ref.id}}, ())
        self._end("ship")
        return record.state

    async def receive(self, receipt: Receipt, *, by: str) -> Received:
        if receipt.units < 1:
            raise ValueError("a receipt brings at least one unit")
        self._begin("receive")
        where = (receipt.sku, receipt.location)
        if receipt.id in self.state.receipts:
            return Received(repeat=True, level=self.state.levels[where])
        fresh = StockLevel(sku=receipt.sku, location=receipt.location)
        known = self.state.levels.setdefault(where, fresh)
        new = known == fresh
        move = Move(*where, on_hand=receipt.units, safety=self.safety if new else 0)
        self._on.shift([move])
        self.state.receipts.add(receipt.id)
        self._on.say("stock.received", {"sku": receipt.sku, "by": by}, [move])
        served = self._serve_place(where)
        self._on.write_levels()
        self._end("receive")
        return Received(repeat=False, level=self.state.levels[where], served=tuple(map(str, served)))

    async def serve(self) -> list[OrderRef]:
        self._begin("serve")
        places = sorted({(item.sku, item.location) for items in self.state.claims.values() for item in items})
        return [ref for where in places for ref in self._serve_place(where)]

    def _serve_place(self, where: tuple[str, str]) -> list[OrderRef]:
        waiting = [ref for ref, claims in self.state.claims.items() if where in {(c.sku, c.location) for c in claims}]
        served = []
        kept = 0  # for who came first and waits for a human
        for ref in sorted(waiting, key=lambda ref: (self.state.records[ref].accepted_ms, str(ref))):
            record, moves, items = self.state.records[ref], [], []
            if asks_a_human(record):
                kept += sum(item.missing for item in record.items if (item.sku, item.location) == where)
                continue
            for item in record.items:
                level = self.state.levels.get((item.sku, item.location))
                got = 0
                if (item.sku, item.location) == where and level is not None:
                    got = max(0, min(level.atp - level.exposed - kept, item.missing))
                    moves += [Move(*where, sold=got)] if got else []
                    self._on.shift(moves[-1:] if got else ())
                items.append(replace(item, taken=item.taken + got))
            if not moves:
                break
            if self._stand(replace(record, items=tuple(items)), moves) not in CLAIMING:
                served.append(ref)
        self._on.write_levels()
        return served

    def _stand(self, record: OrderRecord, moves: Sequence[Move], event: str = "") -> OrderState:
        """Let an order stand where it belongs by what it has now."""
        doubt, short = doubt_of(record.reason), short_of(record)
        doubtful = bool(doubt)
        waits = record.state is OrderState.BACKORDER
        state = place(
            short=bool(short), doubtful=doubtful, released=record.released, waits=record.waits, backorder=waits
        )
        if state is OrderState.QUEUED:
            event = event or "order.requeued"
        self._on.enter(record, state, explain(doubt, tuple(short.items())), moves, event)
        return state

    # ---------------------------------------------------------------------------------------------- what fell short

    async def rests(self) -> list[OrderRef]:
        self._begin("rests")
        return [ref for ref in self.state.records if ref.id.endswith(REST) and ref.kind is Kind.CREATE]

    async def backorder(self, ref: OrderRef, *, by: str) -> OrderState:
        self._begin("backorder")
        record = self._known(ref)
        if record.state is OrderState.BACKORDER:
            return record.state
        if record.state is not OrderState.SHORTFALL:
            raise Conflict(f"{ref} is {record.state}: it cannot be backordered", state=record.state.value)
        self._on.unclaim(ref)
        moves: list[Move] = []
        items: list[Item] = []
        for item in record.items:
            level = self.state.levels.get((item.sku, item.location))
            got = min(item.missing, level.free) if level is not None else 0
            moves += [Move(item.sku, item.location, sold=got)] if got else []
            self._on.shift(moves[-1:] if got else ())
            items.append(replace(item, taken=item.taken + got))
        record = replace(record, items=tuple(items))
        if short := short_of(record):
            state = OrderState.BACKORDER
            self._on.enter(record, state, explain(doubt_of(record.reason), tuple(short.items())), moves)
        else:
            state = self._stand(record, moves)
        self._on.remember(ref, f"left to wait for goods by {clean(by)}")
        self._on.write_levels()
        self._end("backorder")
        return state

    async def split(self, ref: OrderRef, *, by: str, wait: bool = True) -> OrderState:
        self._begin("split")
        record = self._known(ref)
        parts = split(record)
        if parts is None:
            raise Conflict(f"{ref} cannot be split: nothing is covered, or nothing is short", state=record.state.value)
        open_ = record.state in {OrderState.SHORTFALL, OrderState.BACKORDER}
        if not open_ or record.sends or rest_of(ref) in self.state.records:
            raise Conflict(f"{ref} is {record.state}: it cannot be split", state=record.state.value)
        first = tuple(replace(item, taken=item.quantity) for item in parts.first_items)
        left = {(item.sku, item.location): item.taken for item in record.items}
        for item in first:
            left[item.sku, item.location] -= item.taken
        moves = tuple(Move(*where, sold=-count) for where, count in left.items() if count)
        self._on.shift(moves)
        sent = replace(record, items=first, order=parts.first, bundles=parts.first_bundles)
        state = self._stand(sent, moves, "order.split")
        self._on.remember(ref, f"split by {clean(by)}: the rest " + ("waits for goods" if wait else "is given up"))
        if wait:
            others = tuple(
                replace(item, taken=min(left.get((item.sku, item.location), 0), item.quantity))
                for item in parts.rest_items
            )
            moves = tuple(Move(item.sku, item.location, sold=item.taken) for item in others if item.taken)
            self._on.shift(moves)
            rest = OrderRecord(
                ref=rest_of(ref),
                state=OrderState.IGNORED,
                version=record.version,
                digest=parts.rest.digest,
                backend=record.backend,
                accepted_ms=record.accepted_ms,
                released=record.released,
                waits=record.waits,
                items=others,
                order=parts.rest,
                bundles=parts.rest_bundles,
            )
            why = explain(doubt_of(record.reason), tuple(short_of(rest).items()))
            self._on.enter(rest, OrderState.BACKORDER, why, moves)
        self._on.write_levels()
        self._end("split")
        return state

    def _known(self, ref: OrderRef) -> OrderRecord:
        if ref not in self.state.records or ref.kind is not Kind.CREATE:
            raise NotFound(f"there is no order {ref}")
        return self.state.records[ref]

    def _begin(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.failing:
            raise StoreUnavailable(verb)

    def _end(self, verb: str) -> None:
        if verb in self.lost_replies:
            self.lost_replies.remove(verb)
            raise StoreUnavailable(verb)
