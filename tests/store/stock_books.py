"""
What the stock model keeps: see stock_model.py.

It has no counters. What is held, sold, owed and counted for a sale is summed, each time it is asked, from the holds and
orders that stand there; so it cannot forget to give a unit back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Bag = dict[str, int]  # units by SKU, in order
Place = tuple[str, str]  # SKU and location
Use = tuple[str, ...]  # ("q", sale, sku), ("c", sale, sku, customer) or ("t", sale, customer)
Kits = dict[str, Bag]

OPEN = ("waiting", "queued", "shortfall", "backorder", "parked")
CLAIMING = ("shortfall", "backorder")  # what they lack is nobody else's
SINCE = 10  # the cut-over, in ms since 1970


@dataclass(frozen=True)
class Terms:
    """On which terms a channel sells."""

    places: tuple[str, ...]
    split: bool = True
    percent: int = 100
    buffer: int = 0
    floor: int = 0
    cap: int = 0

    def shown(self, units: int) -> int:
        """Return what a new hold may see of so many units."""
        left = units * self.percent // 100 - self.buffer
        if left <= self.floor:
            return 0
        return min(left, self.cap) if self.cap else left


@dataclass(frozen=True)
class Deal:
    """What is asked of a sale: its document."""

    start: int
    end: int
    products: tuple[tuple[str, int, int], ...]  # SKU, quota, limit
    limit: int = 0
    channels: tuple[str, ...] = ()
    closed: bool = True

    def terms_of(self, sku: str) -> tuple[int, int] | None:
        return next(((quota, limit) for name, quota, limit in self.products if name == sku), None)


@dataclass
class SaleRow:
    deal: Deal
    state: str = "ready"
    version: int = 1


@dataclass
class Shelf:
    """What was counted at one place."""

    on_hand: int = 0
    safety: int = 0
    seq: int = 0


@dataclass
class Held:
    digest: str
    channel: str
    customer: str
    lines: Bag
    parts: Kits
    units: dict[Place, int]
    uses: Counter[Use]
    state: str = "held"
    short: bool = False  # ends within the millisecond
    overdue: bool = False
    expires: int = 0


@dataclass(frozen=True)
class Told:
    """One version of an order, as a channel tells it."""

    channel: str
    id: str
    version: int
    digest: str
    effect: str
    lines: tuple[tuple[str, int], ...]
    placed: int = 0
    reason: str = ""
    hold: str = ""
    customer: str = ""
    strict: bool = False

    @property
    def name(self) -> str:
        return f"{self.channel}:{self.id}"


@dataclass
class Row:
    """One order."""

    name: str
    tick: int
    state: str = ""
    version: int = 0
    digest: str = ""
    content: object = None
    waits: bool = False
    released: bool = False
    final: bool = False
    doubt: bool = False
    lines: Bag = field(default_factory=dict)
    parts: Kits = field(default_factory=dict)
    units: dict[Place, int] = field(default_factory=dict)
    lacks: dict[Place, int] = field(default_factory=dict)
    claims: dict[Place, int] = field(default_factory=dict)
    uses: Counter[Use] = field(default_factory=Counter)
    later: Told | None = None


@dataclass
class Count:
    """What a wish counts for, and what sales have against it."""

    uses: Counter[Use] = field(default_factory=Counter)
    bounds: dict[Use, tuple[str, int]] = field(default_factory=dict)  # the SKU it was met at, and how many it may be
    barred: list[tuple[str, set[str]]] = field(default_factory=list)  # SKU, and by which sale
    blocked: Bag = field(default_factory=dict)


def summed(lines: Iterable[tuple[str, int]]) -> Bag:
    """Sum the same SKU twice."""
    bag: Bag = {}
    for sku, units in lines:
        bag[sku] = bag.get(sku, 0) + units
    return bag


class Books:
    """Sums of what there is, and where units are taken from."""

    def __init__(self, terms: dict[str, Terms]) -> None:
        self.terms = terms
        self.kits: Kits = {}
        self.shelves: dict[Place, Shelf] = {}
        self.sales: dict[str, SaleRow] = {}
        self.holds: dict[str, Held] = {}
        self.orders: dict[str, Row] = {}
        self.receipts: set[str] = set()
        self.tick = 0
        self.now = 0

    # ------------------------------------------------------------------------------------------------------- sums

    def live(self) -> Iterator[Held]:
        return (hold for hold in self.holds.values() if hold.state == "held")

    def held(self, place: Place) -> int:
        return sum(hold.units.get(place, 0) for hold in self.live())

    def sold(self, place: Place) -> int:
        return sum(order.units.get(place, 0) for order in self.orders.values())

    def owed(self, place: Place) -> int:
        return sum(order.claims.get(place, 0) for order in self.orders.values())

    def used(self) -> Counter[Use]:
        total: Counter[Use] = Counter()
        for hold in self.live():
            total.update(hold.uses)
        for order in self.orders.values():
            total.update(order.uses)
        return total

    def spare(self, place: Place) -> int:
        shelf = self.shelves[place]
        return shelf.on_hand - shelf.safety - self.held(place) - self.sold(place) - self.owed(place)

    def free(self, sku: str, at: str) -> int:
        return max(0, self.spare((sku, at))) if (sku, at) in self.shelves else 0

    def is_known(self, sku: str, terms: Terms) -> bool:
        return any((sku, at) in self.shelves for at in terms.places)

    def apart(self, lines: Bag, known: Kits) -> tuple[Bag, Kits]:
        """Return what is wanted from stock, and how the kits among the lines are made (as *known*, or as of now)."""
        parts = {sku: known.get(sku) or self.kits[sku] for sku in lines if sku in known or sku in self.kits}
        units = ((part, n * q) for sku, n in lines.items() for part, q in parts.get(sku, {sku: 1}).items())
        return summed(units), parts

    def best(self, wants: Bag, terms: Terms) -> str:
        """Return the location that covers most, the first of equals."""
        return max(terms.places, key=lambda at: sum(min(n, self.free(sku, at)) for sku, n in wants.items()))

    def pick(self, wants: Bag, terms: Terms) -> tuple[dict[Place, int], bool]:
        """Return from where wants are filled, and whether all that is known at all can be."""
        wants = {sku: n for sku, n in wants.items() if n > 0 and self.is_known(sku, terms)}
        best = self.best(wants, terms)
        alone = all(self.free(sku, best) >= n for sku, n in wants.items())
        picked: dict[Place, int] = {}
        for sku, units in wants.items():
            left = units
            for at in terms.places if terms.split and not alone else (best,):
                got = min(left, self.free(sku, at))
                if got:
                    picked[sku, at], left = got, left - got
        return picked, sum(picked.values()) == sum(wants.values())

    def expire(self, keep: str = "") -> int:
        """End what is overdue; return how many holds that were."""
        due = [hold for name, hold in self.holds.items() if hold.state == "held" and hold.overdue and name != keep]
        for hold in due:
            self.end(hold, "expired")
        return len(due)

    def end(self, hold: Held, state: str) -> None:
        hold.state, hold.units, hold.uses = state, {}, Counter()
