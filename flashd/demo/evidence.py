"""What the oracle's verdict is computed from: the shops' ledger, the ERP's ledger, and what flashd shows over HTTP."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import msgspec

from flashd.demo.ledger import Entry, read


class FlashdOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One record as flashd's admin API shows it."""

    channel: str
    id: str
    kind: str
    state: str
    sends: int = 0
    taken: dict[str, int] = {}  # units of stock it holds, by SKU
    wanted: dict[str, int] = {}


class FlashdStock(msgspec.Struct, frozen=True, kw_only=True):
    """One article's counters as flashd's admin API shows them."""

    sku: str
    on_hand: int
    held: int
    sold: int
    safety: int = 0


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that the verdict is computed from."""

    stock: dict[str, int]  # units that there really are, by SKU
    limit: int  # requests that the ERP takes in any second
    shops: list[Entry]
    erp: list[Entry]
    orders: list[FlashdOrder]
    counters: list[FlashdStock]
    sent_us: list[int] | None = None  # when flashd let each request go, by its own log; None: no log was kept


Ref = tuple[str, str]  # channel, order id


class Sold(msgspec.Struct):
    """One order as the shops know it: every version that was sent, and which were acknowledged."""

    versions: dict[int, Entry] = {}
    acknowledged: set[int] = set()
    states: list[tuple[int, str]] = []  # (when, state) of every 2xx answer
    held_until_us: int = 0

    @property
    def candidates(self) -> list[Entry]:
        """Versions that may be the last word: the newest acknowledged one, and newer ones that may have arrived."""
        newest = max(self.acknowledged, default=0)
        return [entry for number, entry in self.versions.items() if number >= newest]


class Booked(msgspec.Struct):
    """One booking of the ERP."""

    id: str
    key: str
    order: Entry
    is_cancelled: bool = False


def read_evidence(path: Path) -> Evidence:
    """Read an evidence file, the two ledgers and the daemon's log that it names."""
    loaded = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    for name in ("shops", "erp"):
        loaded[name] = list(read(Path(loaded[name])))
    if log := loaded.pop("log", ""):
        sent = [line for line in Path(log).read_bytes().splitlines() if b'"request.sent"' in line]
        loaded["sent_us"] = [msgspec.json.decode(line)["at_us"] for line in sent]
    return msgspec.convert(loaded, Evidence)


def orders_of(entries: list[Entry]) -> dict[Ref, Sold]:
    """Return every order of the shops' ledger."""
    found: dict[Ref, Sold] = defaultdict(Sold)
    for entry in entries:
        if entry["kind"] == "order_sent":
            sold = found[entry["channel"], entry["order"]]
            sold.versions[entry["version"]] = entry
            sold.held_until_us = entry["held_until_us"]
        elif entry["kind"] == "order_answered" and 200 <= entry["status"] < 300:
            sold = found[entry["channel"], entry["order"]]
            sold.acknowledged.add(entry["version"])
            sold.states.append((entry["at_us"], entry["state"]))
    return found


def bookings_of(entries: list[Entry]) -> dict[Ref, list[Booked]]:
    """Return every booking of the ERP's ledger, by order."""
    found: dict[Ref, list[Booked]] = defaultdict(list)
    by_id: dict[str, Booked] = {}
    for entry in entries:
        if entry["kind"] == "booked":
            booking = by_id[entry["id"]] = Booked(entry["id"], entry["key"], entry["order"])
            found[ref_of(entry["order"])].append(booking)
        elif entry["kind"] == "cancelled":
            by_id[entry["id"]].is_cancelled = True
    return found


def ref_of(order: Entry) -> Ref:
    """Return which order a booking or a refusal speaks of."""
    return order["channel"], order["order_id"]


def content_of(order: Entry) -> Any:
    """Return what must agree to the cent: units and prices by article, what stands beside them, and the total."""
    lines = Counter[tuple[str, int]]()
    for line in order["lines"]:
        lines[line["sku"], line["unit_price"]] += line["quantity"]
    discounts = sum(line.get("discount", 0) for line in order["lines"]) + order.get("discount", 0)
    return lines, discounts, order.get("shipping", 0), order.get("tax", 0), order["total"]
