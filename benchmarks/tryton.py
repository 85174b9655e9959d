"""
`python -m benchmarks.tryton`: the same number of orders into a real Tryton, one by one and in batches, by turns.

Real flashd, real Tryton on PostgreSQL; what arrived is read from Tryton's own database by SQL. It ends with 1 if an
order is missing there, is there twice, or with other lines or another total.
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil

from benchmarks.goals import Finding
from benchmarks.options import Say
from benchmarks.results import RESULTS
from benchmarks.run import Run
from benchmarks.section import Section, Sheet
from benchmarks.spread import Spread
from tests.e2e.process import Flashd
from tests.erp import postgres
from tests.erp.tryton import PASSWORD, USER, HeldOrder, Tryton

TITLE = "Into a real Tryton"
_CPU_HEAD = ("Tryton CPU ms an order", "PostgreSQL CPU ms an order")
HEAD = ("flashd, 2 requests under way", "orders", "orders /s", "ms an order", *_CPU_HEAD, "once, lines and total right")
GOAL = 8.0
CONFIG = """
[store]
state_dir = "STATE"
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[backends.erp]
kind = "tryton"
url = "URL"
database = "DATABASE"
secret = { file = "KEY" }
user = "USER"
password = { file = "password" }
shop = SHOP
party = PARTY
batch = BATCH
rate = "unlimited"
max_in_flight = 2
timeout_s = 300
settle_s = 10
[[routes]]
backend = "erp"
"""
_TOKEN = "till-token-of-the-bench"
# Orders before the clock starts, some at a time: Tryton's workers load themselves with their first requests
_WARM, _WARM_STEP = 24, 6
_ENOUGH = 1000  # fewer orders are a try, and say nothing of the goal
_PATIENCE_S = 1800.0
_ALIKE_S = 20.0  # Tryton processes a sale after it was confirmed


class Drive(msgspec.Struct, frozen=True):
    """One side of one round."""

    batch: int
    orders: int
    took_s: float
    right: int  # there once, with the lines and the total that were sold
    used_s: tuple[float, float] = (0.0, 0.0)  # CPU of Tryton's and of PostgreSQL's processes meanwhile
    wrong: tuple[str, ...] = ()  # what was wrong with the others

    @property
    def per_s(self) -> float:
        return self.orders / self.took_s

    @property
    def cpu_s(self) -> float:
        """CPU seconds an order, of both."""
        return sum(self.used_s) / self.orders


@click.command()
@click.option(
    "--orders", default=1000, type=click.IntRange(20), show_default=True, help="Each way, over all rounds, at least."
)
@click.option("--batch", default=100, type=click.IntRange(2, 200), show_default=True, help="Orders in one request.")
@click.option("--rounds", default=3, type=click.IntRange(1, 9), show_default=True, help="Turns of both ways.")
@click.option("--note", default="", help="A sentence for RESULTS.md, such as what else the machine did.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/RESULTS.md.")
def main(*, orders: int, batch: int, rounds: int, note: str, write: bool) -> None:
    """Bring orders into a real Tryton, one by one and in batches."""
    if reason := postgres.missing():
        raise click.ClickException(f"this benchmark wants more than this machine has. {reason}")
    run = Run("bench-tryton", note, path=RESULTS if write else None)

    def fill(section: Section, say: Say) -> None:
        _measure(section, say, each=share(orders, batch=batch, rounds=rounds), batch=batch, rounds=rounds)

    if run.measure([(TITLE, fill)]):
        raise SystemExit(1)


def share(orders: int, *, batch: int, rounds: int) -> int:
    """
    Return how many orders go each way in one round, so that all rounds have *orders* at least.

    They are whole batches, as many for one of the two requests under way as for the other: else one would stand idle at
    the end of so short a run, which is no matter where thousands wait.
    """
    together = 2 * batch
    return -(-orders // (rounds * together)) * together


def _measure(section: Section, say: Say, *, each: int, batch: int, rounds: int) -> None:
    say("installing and filling Tryton (the first time takes minutes)")
    erp = Tryton("postgresql", threads=0)
    singles: list[Drive] = []
    batches: list[Drive] = []
    try:
        ways = [(1, singles), (batch, batches)]
        for number in range(1, rounds + 1):
            # Whoever goes first in one round goes last in the next: a machine that slows down meanwhile favours nobody
            for size, drives in ways if number % 2 else reversed(ways):
                how = "one by one" if size == 1 else f"in batches of {size}"
                say(f"round {number} of {rounds}: {each} orders {how}")
                drives.append(_drive(erp, size, each, f"{number}-{size}", say))
                say(f"round {number} of {rounds}: {drives[-1].per_s:.2f} orders/s {how}")
    finally:
        erp.close()
        if batches:
            _tell(section, singles, batches)
    if wrong := [word for drive in (*singles, *batches) for word in drive.wrong]:
        raise RuntimeError("; ".join(wrong[:10]))


def _drive(erp: Tryton, batch: int, count: int, name: str, say: Say) -> Drive:
    """Let a flashd of its own bring *count* orders into an empty Tryton; the clock runs while they do."""
    erp.empty()
    wanted = _orders(_WARM + count, sorted(sku for sku in erp.ids["products"] if sku.startswith("SKU")), name)
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder:
        flashd = _flashd(Path(folder), erp, batch).start()
        try:
            for sku in erp.ids["products"]:
                flashd.ask_admin("PUT", f"/admin/v1/stock/{sku}", {"on_hand": 1_000_000})
            for first in range(0, _WARM, _WARM_STEP):
                _place(flashd, wanted[first : first + _WARM_STEP])
                _wait_for(flashd, first + _WARM_STEP, say)
            flashd.ask_admin("POST", "/admin/v1/backends/erp/pause", {"reason": "the bench"})
            _place(flashd, wanted[_WARM:])
            flashd.ask_admin("POST", "/admin/v1/backends/erp/resume")
            began_s, before = time.monotonic(), _used_s(erp)
            _wait_for(flashd, _WARM + count, say)
            took_s, after = time.monotonic() - began_s, _used_s(erp)
            wrong = _wrong(erp, wanted)
            audit = flashd.run("audit", "--json")
            if audit.returncode:
                wrong.append(f"flashd's audit: {audit.stdout}")
        finally:
            flashd.close()
    used_s = (after[0] - before[0], after[1] - before[1])
    return Drive(batch, count, took_s, right=count - len(wrong), used_s=used_s, wrong=tuple(wrong))


def _used_s(erp: Tryton) -> tuple[float, float]:
    """Return the CPU seconds of Tryton's and of PostgreSQL's processes since their start."""
    assert erp.process is not None, "it does not run"
    assert erp.postgres is not None, "it is on SQLite"
    postmaster = int((erp.postgres.data / "postmaster.pid").read_text(encoding="ascii").split("\n", 1)[0])
    return used_by(erp.process.pid), used_by(postmaster)


def used_by(pid: int) -> float:
    """Return the CPU seconds of a process and of all that it has started; of those that have ended too."""
    parent, used = psutil.Process(pid), 0.0
    for process in (parent, *parent.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used


def _flashd(folder: Path, erp: Tryton, batch: int) -> Flashd:
    for name, text in (("till.token", _TOKEN), ("password", PASSWORD)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    given = erp.config()
    words = {
        "STATE": str(folder / "state"),
        "URL": given["url"],
        "DATABASE": given["database"],
        "KEY": given["secret"]["file"],
        "USER": USER,
        "SHOP": str(given["shop"]),
        "PARTY": str(given["party"]),
        "BATCH": str(batch),
    }
    text = CONFIG
    for word, value in words.items():
        text = text.replace(word, value)
    return Flashd(folder, text)


def _orders(count: int, skus: list[str], name: str) -> list[dict[str, Any]]:
    """Orders as a flash sale has them: most with one line, each with prices and a place of its own, and shipping."""
    chance = random.Random(count)
    made = []
    for number in range(count):
        few = chance.choices((1, 2, 3), (7, 2, 1))[0]
        sold = [(sku, chance.choice((1, 1, 1, 2)), chance.randint(500, 99_999)) for sku in chance.sample(skus, few)]
        lines = [{"sku": sku, "quantity": quantity, "unit_price": price} for sku, quantity, price in sold]
        place = {"name": f"Buyer {number}", "street": f"Lane {number}", "postcode": "53111", "city": "Bonn"}
        total = 490 + sum(quantity * price for _, quantity, price in sold)
        order = {"id": f"B-{name}-{number}", "number": f"#{number}", "currency": "USD", "lines": lines, "total": total}
        made.append(order | {"shipping": 490, "ship_to": place | {"country": "DE"}})
    return made


def _place(flashd: Flashd, wanted: list[dict[str, Any]]) -> None:
    body = b"\n".join(json.dumps(order).encode() for order in wanted) + b"\n"
    headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/x-ndjson"}
    status, said, _ = flashd.call("POST", "/v1/orders:batch", body, headers, timeout=60)
    if status != 200 or said.count(b'"status":201') != len(wanted):
        raise RuntimeError(f"not all orders came into being: {status} {said[:300]!r}")


def _wait_for(flashd: Flashd, count: int, say: Say) -> None:
    """Return when so many orders are delivered, to a fifth of a second."""
    deadline, told_s = time.monotonic() + _PATIENCE_S, time.monotonic()
    while (orders := _counted(flashd))["done"] < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {_PATIENCE_S:.0f} s: {orders}")
        if time.monotonic() > told_s + 30:
            told_s = time.monotonic()
            say(f"    {orders['done']} of {count} delivered")
        time.sleep(0.2)


def _counted(flashd: Flashd) -> dict[str, int]:
    counted: dict[str, int] = flashd.ask_admin("GET", "/admin/v1/status")["pools"]["main"]["orders"]
    return counted


def _wrong(erp: Tryton, wanted: list[dict[str, Any]]) -> list[str]:
    """Say which orders are missing, there twice, or not as they were sold, by Tryton's own database."""
    deadline = time.monotonic() + _ALIKE_S
    while (held := erp.orders()) and time.monotonic() < deadline:
        if all(sale.state == "processing" for sale in held):
            break
        time.sleep(0.5)
    times, by_number = Counter(sale.reference for sale in held), {sale.reference: sale for sale in held}
    found = [f"{number} is no order" for number in times.keys() - {order["number"] for order in wanted}]
    for order in wanted:
        number = order["number"]
        if times[number] != 1:
            found.append(f"{number} is there {times[number]} times")
        elif difference := _difference(by_number[number], order):
            found.append(f"{number}: {difference}")
    return found


def _difference(sale: HeldOrder, order: dict[str, Any]) -> str:
    sold = [(line["sku"], float(line["quantity"]), Decimal(line["unit_price"]) / 100) for line in order["lines"]]
    if Counter(sale.lines) != Counter([*sold, ("Shipping", 1.0, Decimal(order["shipping"]) / 100)]):
        return f"its lines are {sale.lines}"
    if sale.total != Decimal(order["total"]) / 100:
        return f"its total is {sale.total}"
    return "" if sale.state == "processing" else f"it is {sale.state}"


def _tell(section: Section, singles: list[Drive], batches: list[Drive]) -> None:
    ratio = Spread.of(many.per_s / one.per_s for one, many in zip(singles, batches, strict=False))
    by_cpu = Spread.of(one.cpu_s / many.cpu_s for one, many in zip(singles, batches, strict=False))
    section.notes += [
        "Tryton 8.2, two workers with a request at a time each; PostgreSQL 15 without fsync; all of it on this machine",
        "the clock runs from the backlog's release to the last delivery",
        "a sale is made with its address, quoted, confirmed and processed (shipment, invoice) by Tryton in the request",
        "orders of one line (70%), two (20%) or three, and shipping; each to a place of its own",
        f"{_WARM} orders before the clock starts, {_WARM_STEP} at a time; the ways take turns at going first",
        "each way of each round begins with an empty Tryton",
        "whole batches, as many for one of the two requests under way as for the other; the same number one by one",
        "CPU time: of Tryton's and PostgreSQL's processes, which others on the machine lengthen less than the clock",
        "once, lines and total right: read by SQL from Tryton's own database",
    ]
    rows = []
    for name, drives in (("one by one", singles), (f"in batches of {batches[0].batch}", batches)):
        pace = Spread.of(drive.per_s for drive in drives)
        count, right = sum(drive.orders for drive in drives), sum(drive.right for drive in drives)
        cpu = [f"{1000 * sum(drive.used_s[which] for drive in drives) / count:,.0f}" for which in (0, 1)]
        rows.append((name, f"{count:,}", pace.text(".2f"), f"{1000 / pace.median:.0f}", *cpu, f"{right:,}"))
    section.sheets.append(Sheet(HEAD, rows))
    whole = not any(drive.wrong for drive in (*singles, *batches))
    text = f"{ratio.text('.1f')}, {rows[1][2]} against {rows[0][2]} orders/s; {by_cpu.text('.1f')} by CPU time"
    text += "" if whole else ", NOT WHOLE"
    section.notes.append(f"in batches, times one by one: {text}")
    if sum(drive.orders for drive in batches) >= _ENOUGH:
        section.findings.append(Finding("tryton", text, whole and ratio.median >= GOAL))


if __name__ == "__main__":
    main()
