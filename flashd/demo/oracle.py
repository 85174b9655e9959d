"""
The oracle: whether every promise was kept, by the evidence of the shops, of the ERP and of flashd itself.

It shares no code with the daemon and believes none of the three alone. ``python -m flashd.demo.oracle EVIDENCE.json``
prints the verdict and exits with 1 if a promise was broken.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from pathlib import Path

import click
import msgspec

from flashd.demo.evidence import (
    Booked,
    Evidence,
    FlashdOrder,
    FlashdStock,
    Ref,
    Sold,
    bookings_of,
    content_of,
    orders_of,
    read_evidence,
    ref_of,
)
from flashd.demo.ledger import SECOND_US

UNSETTLED = frozenset({"queued", "sending", "in_doubt"})
NEVER_SENT = frozenset({"waiting", "parked", "shortfall", "cancelled", "ignored", "dead"})
HOLDS_NOTHING = frozenset({"cancelled", "ignored"})
MANY = 50  # problems that are spelled out


class Verdict(msgspec.Struct, kw_only=True):
    """How many times each promise was broken, and what was seen."""

    oversold: int = 0  # units
    lost: int = 0  # acknowledged orders that are not where they should be
    duplicated: int = 0  # bookings too many
    over_limit: int = 0  # requests too many
    wrong: int = 0  # other content, or books and flashd contradict each other
    problems: list[str] = []
    acknowledged: int = 0
    never_acknowledged: int = 0
    booked: int = 0
    units_booked: int = 0
    requests: int = 0
    max_in_a_second: int = 0
    max_sent_in_a_second: int = 0  # at the sender, before the network bunches anything up
    states: dict[str, int] = {}
    faults: dict[str, int] = {}

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not (self.oversold or self.lost or self.duplicated or self.over_limit or self.wrong)

    @property
    def line(self) -> str:
        """The verdict in one line."""
        wrong = f"  wrong {self.wrong}" if self.wrong else ""
        return (
            f"oversold {self.oversold}  lost {self.lost}  duplicated {self.duplicated}  over limit {self.over_limit}"
            f"{wrong}  {'PASS' if self.passed else 'FAIL'}"
        )


def judge(evidence: Evidence) -> Verdict:
    """Compute the verdict."""
    case = _Case(evidence)
    case.count_requests()
    case.find_duplicates()
    case.follow_every_order()
    case.count_units()
    return case.verdict


class _Case:
    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.verdict = Verdict()
        self.sold = orders_of(evidence.shops)
        self.booked = bookings_of(evidence.erp)
        self.refused = {ref_of(entry["order"]) for entry in evidence.erp if entry["kind"] == "refused"}
        self.records: dict[tuple[str, str, str], list[FlashdOrder]] = defaultdict(list)
        for order in evidence.orders:
            self.records[order.channel, order.id, order.kind].append(order)
        self.verdict.states = dict(Counter(order.state for order in evidence.orders if order.kind == "create"))

    def _say(self, problem: str) -> None:
        if len(self.verdict.problems) < MANY:
            self.verdict.problems.append(problem)

    def _lost(self, ref: Ref, problem: str) -> None:
        self.verdict.lost += 1
        self._say(f"lost: order {ref[0]}:{ref[1]} {problem}")

    def _wrong(self, ref: Ref, problem: str) -> None:
        self.verdict.wrong += 1
        self._say(f"wrong: order {ref[0]}:{ref[1]} {problem}")

    # ---------------------------------------------------------------------------------------------------- the limit

    def count_requests(self) -> None:
        """Slide a half-open second over the ERP's arrivals."""
        requests = [entry for entry in self.evidence.erp if entry["kind"] == "request"]
        self.verdict.requests = len(requests)
        self.verdict.faults = dict(Counter(entry["fault"] for entry in requests if entry["fault"]))
        limit = self.evidence.limit
        arrived = _seconds(entry["at_us"] for entry in requests)
        sent = _seconds(self.evidence.sent_us or ())
        self.verdict.max_in_a_second, self.verdict.max_sent_in_a_second = max(arrived, default=0), max(sent, default=0)
        self.verdict.over_limit = sum(count > limit for count in (*arrived, *sent))
        if self.verdict.over_limit:
            self._say(f"over limit: {max(*arrived, *sent, 0, 0)} requests in one second, the limit is {limit}")
        if self.evidence.sent_us is not None and len(sent) < len(requests):
            self.verdict.wrong += 1
            self._say(f"wrong: the ERP saw {len(requests)} requests, flashd's log tells of {len(sent)}")
        sends = sum(order.sends for order in self.evidence.orders)
        if (posts := sum(entry["method"] == "POST" for entry in requests)) > sends:
            self.verdict.wrong += posts - sends
            self._say(f"wrong: the ERP saw {posts} sendings, flashd counted {sends}: one left before it was counted")

    # ------------------------------------------------------------------------------------------------------- orders

    def find_duplicates(self) -> None:
        """One booking per order, and per key."""
        self.verdict.booked = sum(len(bookings) for bookings in self.booked.values())
        for ref, bookings in self.booked.items():
            if len(bookings) > 1:
                self.verdict.duplicated += len(bookings) - 1
                self._say(f"duplicated: order {ref[0]}:{ref[1]} is {', '.join(found.id for found in bookings)}")
            if ref not in self.sold:
                self._wrong(ref, "is in the ERP, and no shop ever sent it")
        keys = Counter(found.key for bookings in self.booked.values() for found in bookings)
        shared = {key for key, count in keys.items() if count > 1}
        for bookings in self.booked.values():
            if len(bookings) == 1 and bookings[0].key in shared:
                self.verdict.duplicated += 1
                self._say(f"duplicated: key {bookings[0].key} stands under two orders")

    def follow_every_order(self) -> None:
        """Every acknowledged order is in exactly one visible state, and the ERP's books agree with it."""
        for ref, sold in self.sold.items():
            records = self.records.get((*ref, "create"), [])
            if not sold.acknowledged:
                self.verdict.never_acknowledged += 1
            else:
                self.verdict.acknowledged += 1
            if len(records) > 1:
                self._lost(ref, f"is in {len(records)} states: {', '.join(record.state for record in records)}")
            elif records:
                self._follow(ref, sold, records[0])
            elif sold.acknowledged:
                self._lost(ref, "was acknowledged and is unknown to flashd")
            elif self.booked.get(ref):
                self._wrong(ref, "is in the ERP and unknown to flashd")

    def _follow(self, ref: Ref, sold: Sold, record: FlashdOrder) -> None:
        bookings = self.booked.get(ref, [])
        stages = {entry["stage"] for entry in sold.candidates}
        misplaced = _misplaced(record.state, stages)
        if misplaced:
            self._lost(ref, misplaced)
        elif record.state == "delivered" and not bookings:
            self._lost(ref, "is delivered by flashd's word, and not in the ERP")
        elif record.state in NEVER_SENT and bookings:
            self._wrong(ref, f"is {record.state} by flashd's word, and in the ERP as {bookings[0].id}")
        elif record.state == "parked":
            self._wrong(ref, "is parked, and nothing about it was doubtful")
        elif record.state == "dead" and ref not in self.refused:
            self._wrong(ref, "is a dead letter, and the ERP did not refuse it")
        if bookings:
            self._compare(ref, sold, bookings[0])

    def _compare(self, ref: Ref, sold: Sold, booking: Booked) -> None:
        """What the ERP booked is what the shop said last; what it said later is a follow-up that can be seen."""
        said = {number for number, entry in sold.versions.items() if content_of(entry) == content_of(booking.order)}
        if not said:
            self._wrong(ref, f"is in the ERP as {booking.id} with other lines, prices or total than its shop said")
            return
        stages = {entry["stage"] for entry in sold.candidates}
        cancels = self.records.get((*ref, "cancel"), [])
        if stages == {"cancelled"} and not cancels:
            self._lost(ref, f"is booked as {booking.id}, and its cancellation is nowhere")
        if any(cancel.state in UNSETTLED for cancel in cancels):
            self._lost(ref, f"its cancellation is still {cancels[0].state}")
        is_told = any(cancel.state == "delivered" for cancel in cancels)
        is_open = any(cancel.state in {"manual", *UNSETTLED} for cancel in cancels)  # flashd says that it does not know
        if is_told != booking.is_cancelled and not (is_open and booking.is_cancelled):
            self._wrong(ref, "its cancellation: the ERP and flashd contradict each other")
        latest = {entry["version"] for entry in sold.candidates}
        has_last_word = bool(said & latest) or stages == {"cancelled"}
        if not has_last_word and not self.records.get((*ref, "amend")):
            self._wrong(ref, f"is in the ERP as {booking.id} in an old version, and its change is nowhere")

    # -------------------------------------------------------------------------------------------------------- units

    def count_units(self) -> None:
        """Nothing was sold twice: by the ERP's books, by flashd's counters, and by what holds promised."""
        booked: Counter[str] = Counter()
        for bookings in self.booked.values():
            for line in bookings[0].order["lines"] if not bookings[0].is_cancelled else ():
                booked[line["sku"]] += line["quantity"]
        self.verdict.units_booked = booked.total()
        taken: Counter[str] = Counter()
        for record in self.evidence.orders:
            if record.state not in HOLDS_NOTHING:
                taken.update(record.taken)
        for sku, units in self.evidence.stock.items():
            self._oversold(booked[sku] - units, f"the ERP shall ship {booked[sku]} of {sku}, there are {units}")
            self._oversold(taken[sku] - units, f"flashd's orders hold {taken[sku]} of {sku}, there are {units}")
        for sku in set(booked) - set(self.evidence.stock):
            self._oversold(booked[sku], f"the ERP shall ship {booked[sku]} of {sku}, which nobody has")
        for counter in self.evidence.counters:
            self._check_counter(counter, taken[counter.sku])
        for record in self.evidence.orders:
            self._check_cover(record)
        self._check_holds()

    def _oversold(self, units: int, problem: str) -> None:
        if units > 0:
            self.verdict.oversold += units
            self._say(f"oversold: {problem}")

    def _check_counter(self, counter: FlashdStock, taken: int) -> None:
        left = counter.on_hand - counter.held - counter.sold - counter.safety
        self._oversold(-left, f"{left} of {counter.sku} are left by flashd's counters")
        self._oversold(-min(counter.held, counter.sold), f"a counter of {counter.sku} is negative")
        units = self.evidence.stock.get(counter.sku, 0)
        if counter.on_hand != units or counter.sold != taken:
            self.verdict.wrong += 1
            self._say(
                f"wrong: {counter.sku}: flashd counts {counter.on_hand} on hand and {counter.sold} sold, "
                f"there are {units} and its orders hold {taken}"
            )

    def _check_cover(self, record: FlashdOrder) -> None:
        """What is delivered or on its way has its units; they move to the cancellation when there is one."""
        if record.kind != "create" or record.state not in {"delivered", *UNSETTLED}:
            return
        if self.records.get((record.channel, record.id, "cancel")):
            return
        for sku, wanted in record.wanted.items():
            missing = wanted - record.taken.get(sku, 0)
            ref = f"{record.channel}:{record.id}"
            self._oversold(missing, f"order {ref} is {record.state} without {missing} of its {sku}")

    def _check_holds(self) -> None:
        """An order that came while its hold lived is never short."""
        for ref, sold in self.sold.items():
            for at_us, state in sold.states:
                if state == "shortfall" and at_us < sold.held_until_us:
                    self._oversold(1, f"order {ref[0]}:{ref[1]} had a live hold and was told of a shortfall")


def _misplaced(state: str, stages: set[str]) -> str:
    """Say why an order cannot be in *state* when its shop's last word is one of *stages*; "" if it can."""
    if state in UNSETTLED:
        return f"is still {state}"
    if state == "ignored":
        return "was ignored"
    if state == "waiting" and "pending" not in stages:
        return "was paid and still waits for its payment"
    if state == "cancelled" and "cancelled" not in stages:
        return "is cancelled, and its shop never said so"
    if stages == {"cancelled"} and state not in {"cancelled", "delivered", "manual"}:
        return f"was cancelled by its shop and is {state}"
    return ""


def _seconds(moments_us: Iterable[int]) -> list[int]:
    """Return for each moment how many lie in the half-open second that it ends."""
    window: deque[int] = deque()
    counts = []
    for at_us in sorted(moments_us):
        while window and at_us - window[0] >= SECOND_US:
            window.popleft()
        window.append(at_us)
        counts.append(len(window))
    return counts


@click.command()
@click.argument("evidence", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def main(*, evidence: Path, as_json: bool) -> None:
    """Judge a run by its evidence."""
    verdict = judge(read_evidence(evidence))
    text = "\n".join([*verdict.problems, verdict.line])
    click.echo(msgspec.json.encode(verdict) if as_json else text)
    sys.exit(0 if verdict.passed else 1)


if __name__ == "__main__":
    main()
