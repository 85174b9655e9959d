"""
A small model of the stock of one pool, for test_stock_model.py, that shares no code with flashd.

Written from docs/lifecycle.md and the decisions. Every method answers what the store should, as a plain tuple.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from tests.store.sale_model import SaleModel
from tests.store.stock_books import CLAIMING, Bag, Count, Held, Place, Row, Shelf, Terms


class StockModel(SaleModel):
    """Adds holds and goods."""

    def hold(self, name: str, wish: Held, at: str) -> tuple[object, ...]:
        """*wish* brings digest, channel, customer and lines; *at* is where it is pinned."""
        known = self.holds.get(name)
        if known:
            return ("repeat" if known.digest == wish.digest else "conflict"), known.state
        terms = self.terms[wish.channel]
        terms = replace(terms, places=(at,)) if at else terms
        wants, wish.parts = self.apart(wish.lines, {})
        unknown = [sku for sku in wants if not self.is_known(sku, terms)]
        if unknown:
            return "unknown_sku", tuple((sku, 0) for sku in unknown)
        count = self.weigh(wish.lines, {}, Counter(), (wish.channel, wish.customer, self.now))
        if count.barred:
            return "closed", *count.barred[0]

        def refusal() -> tuple[object, ...] | None:
            return self.refusal(wish, wants, count, terms)

        if refusal():
            self.expire()
        refused = refusal()
        if refused:
            return refused
        wish.units, wish.uses = self.pick(wants, terms)[0], count.uses
        self.holds[name] = wish
        return "held", "held"

    def refusal(self, wish: Held, wants: Bag, count: Count, terms: Terms) -> tuple[object, ...] | None:
        passed = self.passed(count, Counter())
        for use, sku, had, may in passed:
            if use[0] != "q":
                return "limit", use[1], sku, had, may
        if passed:
            return "short", tuple((sku, max(0, may - had)) for _, sku, had, may in passed)
        places = terms.places if terms.split else (self.best(wants, terms),)
        free = {sku: sum(self.free(sku, at) for at in places) for sku in wants}
        short: list[tuple[str, int]] = []
        for sku, units in wish.lines.items():
            there = min(free[part] // q for part, q in wish.parts.get(sku, {sku: 1}).items())
            if terms.shown(there) < units:
                short.append((sku, terms.shown(there)))
        short = short or [(sku, free[sku]) for sku, units in wants.items() if free[sku] < units]
        return ("short", tuple(short)) if short else None

    def release(self, name: str) -> tuple[object, ...]:
        hold = self.holds.get(name)
        if hold is None:
            return "gone", None
        if hold.state != "held":
            return ("repeat" if hold.state == "released" else "gone"), hold.state
        self.end(hold, "released")
        return "released", "released"

    def extend(self, name: str, *, lasts: bool) -> tuple[object, ...]:
        hold = self.holds.get(name)
        if hold is None:
            return "gone", None
        if hold.state != "held":
            return "gone", hold.state
        if lasts:
            hold.short = hold.overdue = False
        return "held", "held"

    # ------------------------------------------------------------------------------------------------------ goods

    def recount(self, place: Place, counted: Shelf) -> None:
        shelf = self.shelves.get(place)
        if shelf and 0 < counted.seq <= shelf.seq:
            return
        counted.seq = max(counted.seq, shelf.seq if shelf else 0)
        self.shelves[place] = counted

    def receive(self, name: str, place: Place, units: int) -> tuple[object, ...]:
        if name in self.receipts:
            return True, ()
        self.receipts.add(name)
        self.shelves.setdefault(place, Shelf()).on_hand += units
        return False, tuple(self.serve(place))

    def serve(self, place: Place) -> list[str]:
        """First come, first served; return who is complete. Units of those whom a human must look at first are kept."""
        complete: list[str] = []
        kept = 0
        for order in sorted(self.orders.values(), key=lambda order: (order.tick, order.name)):
            claim = order.claims.get(place, 0)
            if order.state == "shortfall" and order.doubt:
                kept += claim
                continue
            got = min(claim, self.spare(place) + self.owed(place) - kept)
            if got > 0:
                self.move(order, place, got)
                self.enter(order, self.place_of(order))
                complete += [] if order.state in CLAIMING else [order.name]
        return complete

    def move(self, order: Row, place: Place, units: int) -> None:
        """Units of what an order lacks come from its place."""
        order.units[place] = order.units.get(place, 0) + units
        order.lacks[place] -= units

    def place_of(self, order: Row) -> str:
        """Where an order goes on: docs/lifecycle.md, *place*; what a SKU lacks that is unknown is a doubt, or waits."""
        if any(order.lacks.values()):
            return "backorder" if order.state == "backorder" else "shortfall"
        return "parked" if order.doubt and not order.released else "waiting" if order.waits else "queued"

    def enter(self, order: Row, state: str) -> None:
        order.state, order.claims = state, {}
        if state in CLAIMING:
            order.claims = {place: n for place, n in order.lacks.items() if n and place in self.shelves}

    def settle(self, test: Callable[[], bool], keep: str = "") -> None:
        """Overdue holds end only for those who want what they have."""
        if not test():
            self.expire(keep)
