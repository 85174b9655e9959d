"""
The oracle's verdict, from four kinds of evidence and no code of the daemon's: what was sent and answered, what the
backend's books hold, what passed the sender's proxy, and what the daemon shows of itself at the end.

``python -m tests.chaos.judge FOLDER`` prints it as JSON; exit 1 where a promise was broken, or where a fault that the
run claims never happened.
"""

from __future__ import annotations

import bisect
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.fault_proxy import FAULTS
from tests.chaos.ledger import Entry, read

Key = tuple[str, str]  # channel and id of an order
TARGETS = ("daemon", "redis", "backend", "store_proxy", "backend_proxy")
PARTS = ("sent", "erp", "store_proxy", "backend_proxy")
SHOWN = 20  # of each kind of breach


@dataclass
class Evidence:
    """All that a run left behind."""

    sent: list[Entry]
    books: list[Entry]
    store_proxy: list[Entry]
    backend_proxy: list[Entry]
    end: dict[str, Any]  # orders, stock, audit, kills, drain, terms: what the run itself saw

    @classmethod
    def of(cls, folder: Path) -> Evidence:
        sent, books, store, backend = (read(folder / f"{name}.jsonl") for name in PARTS)
        return cls(sent, books, store, backend, json.loads((folder / "end.json").read_text()))


@dataclass
class Told:
    """One order as the sender saw it."""

    sku: str
    units: int
    total: int
    promised: bool = False  # answered 2xx
    called_off: bool = False  # its cancellation was answered 2xx


@dataclass
class Verdict:
    breaches: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    sometimes: dict[str, int] = field(default_factory=dict)

    @property
    def never(self) -> list[str]:
        return [name for name, count in self.sometimes.items() if count == 0]

    @property
    def passed(self) -> bool:
        return not self.breaches and not self.never


def judge(evidence: Evidence) -> Verdict:
    orders, odd = read_sent(evidence.sent)
    verdict = Verdict(breaches=odd)
    booked, undone = read_books(evidence.books)
    states = {(one["ref"]["channel"], one["ref"]["id"]): one for one in evidence.end["orders"] if is_order(one)}
    judge_orders(verdict, orders, booked, undone, states)
    judge_stock(verdict, booked, undone, evidence.end)
    _judge_pace(verdict, evidence)
    _judge_end(verdict, evidence.end)
    _count(verdict, evidence, orders, states)
    return verdict


def is_order(record: Entry) -> bool:
    return bool(record["ref"].get("kind", "create") == "create")


def read_sent(entries: Sequence[Entry]) -> tuple[dict[Key, Told], list[str]]:
    """Return the orders that were sent, and every answer that no honest sender should get."""
    orders: dict[Key, Told] = {}
    by_id: dict[str, Key] = {}
    odd = []
    for entry in entries:
        what, that, order = entry["what"], entry["that"], entry["order"]
        if what == "sent" and that in {"order", "call_off"}:
            by_id[order] = (entry["channel"], order)
            orders.setdefault(by_id[order], Told(entry["sku"], entry["units"], entry["total"]))
        elif what == "answered":
            good = entry["status"] < 300
            if that == "order":
                orders[by_id[order]].promised |= good
            if that in {"cancel", "call_off"} and good:
                orders[by_id[order]].called_off = True
            fine = {"hold": (409,), "cancel": (409,), "unhold": (404,)}.get(that, ())
            if not good and entry["status"] not in fine:
                odd.append(f"{that} {order}: answered {entry['status']} {entry['said'][:120]}")
    return orders, odd


def read_books(entries: Sequence[Entry]) -> tuple[dict[Key, list[Entry]], set[str]]:
    """Return the bookings of each order, under whatever key, and the ids of those that were cancelled there."""
    booked: dict[Key, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry["what"] == "booked":
            booked[entry["order"]["channel"], entry["order"]["order_id"]].append(entry)
    return booked, {entry["id"] for entry in entries if entry["what"] == "cancelled"}


def judge_orders(
    verdict: Verdict,
    orders: dict[Key, Told],
    booked: dict[Key, list[Entry]],
    undone: set[str],
    states: dict[Key, Entry],
) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for key, told in orders.items():
        mine, state = booked.get(key, []), states.get(key, {}).get("state", "unknown")
        for breach in _breaches_of(told, mine, undone, state):
            found[breach].append(f"{key} is {state}, booked under {[one['key'] for one in mine]}")
    found["booked and never sent"] = [f"{key}" for key in booked if key not in orders]
    for what, which in found.items():
        verdict.figures[what] = len(which)
        verdict.breaches += [f"{what}: {one}" for one in which[:SHOWN]]
    for what in ("lost", "twice in the backend", "called off, and stands", "never answered"):
        verdict.figures.setdefault(what, 0)


def _breaches_of(told: Told, mine: list[Entry], undone: set[str], state: str) -> Iterator[str]:
    standing = [one for one in mine if one["id"] not in undone]
    if len(mine) > 1:
        yield "twice in the backend"
    if any(_content(one["order"]) != (told.sku, told.units, told.total) for one in mine):
        yield "booked with other content"
    if told.called_off:
        if standing or state not in {"cancelled", "delivered"}:
            yield "called off, and stands"
    elif not told.promised:
        yield "never answered"
    elif state == "shortfall" and not mine:
        return  # paid, kept and shown to a human: the sender was told so, or is a platform
    elif state != "delivered" or len(standing) != 1:
        yield "lost"


def _content(order: Entry) -> tuple[str, int, int]:
    lines = order["lines"]
    return lines[0]["sku"], sum(line["quantity"] for line in lines), order["total"]


def judge_stock(verdict: Verdict, booked: dict[Key, list[Entry]], undone: set[str], end: dict[str, Any]) -> None:
    sold: Counter[str] = Counter()
    for bookings in booked.values():
        sold.update(
            {_content(one["order"])[0]: _content(one["order"])[1] for one in bookings if one["id"] not in undone}
        )
    for level in end["stock"]:
        sku, had = level["sku"], end["terms"]["stock"][level["sku"]]
        if sold[sku] > had:
            verdict.breaches.append(f"oversold: {sold[sku]} of {had} {sku}")
        shown = {name: level.get(name, 0) for name in ("on_hand", "held", "sold", "exposed")}
        if shown != {"on_hand": had, "held": 0, "sold": sold[sku], "exposed": 0}:
            verdict.breaches.append(f"stock of {sku} is {shown}: {had} were there and {sold[sku]} are booked")
        verdict.figures[f"sold {sku} of {had}"] = sold[sku]


def _judge_pace(verdict: Verdict, evidence: Evidence) -> None:
    limit = evidence.end["terms"]["limit"]
    at_proxy = most_in([e["at_s"] for e in evidence.backend_proxy if e["what"] == "request"], 1.0)
    at_backend = most_in([e["at_s"] for e in evidence.books if e["what"] == "request"], 1.0)
    verdict.figures |= {"limit a second": limit, "most in a second": at_proxy, "most at the backend": at_backend}
    if at_proxy > limit:
        verdict.breaches.append(f"{at_proxy} requests in a second at the sender's proxy; the limit is {limit}")


def most_in(times: Sequence[float], window_s: float) -> int:
    """Return how many fall into the fullest half-open window."""
    ordered = sorted(times)
    return max((bisect.bisect_left(ordered, at + window_s) - place for place, at in enumerate(ordered)), default=0)


def _judge_end(verdict: Verdict, end: dict[str, Any]) -> None:
    if end["audit"] != "clean":
        verdict.breaches.append(f"the audit: {end['audit'][:2000]}")
    drain = end["drain"]
    verdict.figures |= {name: round(value, 1) for name, value in drain.items()}
    if not 0 <= drain["took_s"] <= drain["bound_s"]:
        verdict.breaches.append(f"the backlog of {drain['backlog']} took {drain['took_s']} s, not {drain['bound_s']}")


def _count(verdict: Verdict, evidence: Evidence, orders: dict[Key, Told], states: dict[Key, Entry]) -> None:
    """Count what must have happened for the run to have proved anything."""
    kills = evidence.end["kills"]
    counts: dict[str, int] = {f"killed {one}": kills.get(one, 0) for one in TARGETS}
    for name, proxy in (("store", evidence.store_proxy), ("backend", evidence.backend_proxy)):
        faults = Counter(entry["fault"] for entry in proxy if entry["what"] == "fault")
        counts |= {f"{name}: {fault}": faults[fault] for fault in FAULTS}
    answers = [entry for entry in evidence.sent if entry["what"] == "answered"]
    by_kind = Counter((entry["that"], entry["status"]) for entry in answers)
    counts |= {
        "holds taken": by_kind["hold", 201] + by_kind["hold", 200],
        "holds refused": by_kind["hold", 409],
        "orders cancelled": by_kind["cancel", 200],
        "cancelled too late": by_kind["cancel", 409],
        "orders answered after a repeat": sum(e["that"] == "order" and e["tries"] > 1 for e in answers),
        "shortfalls": sum(one["state"] == "shortfall" for one in states.values()),
        "sent again by the daemon": sum(one.get("sends", 0) > 1 for one in states.values()),
        "looked up by the daemon": sum(e["what"] == "request" and e["method"] == "GET" for e in evidence.books),
    }
    if evidence.end["terms"]["backend"] == "keys":  # the other one cannot cancel, so nobody calls off
        counts["called off by the platform"] = by_kind["call_off", 200]
        counts["cancelled in the backend"] = sum(e["what"] == "cancelled" for e in evidence.books)
    verdict.sometimes = counts
    verdict.figures |= {
        "orders": len(orders),
        "orders answered 2xx": sum(told.promised for told in orders.values()),
        "booked": sum(e["what"] == "booked" for e in evidence.books),
        "kills": sum(evidence.end["kills"].values()),
        "unanswered requests": sum(e["what"] == "unanswered" for e in evidence.sent),
    }


def main(arguments: Sequence[str]) -> None:
    verdict = judge(Evidence.of(Path(arguments[0])))
    print(json.dumps(asdict(verdict) | {"passed": verdict.passed, "never": verdict.never}))
    sys.exit(0 if verdict.passed else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
