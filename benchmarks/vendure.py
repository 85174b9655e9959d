"""
`python -m benchmarks.vendure`: a real shop alone, and the same shop with flashd, when everybody comes at once.

Real Vendure on PostgreSQL, real flashd, real Tryton on PostgreSQL; what was sold and what arrived is read by SQL. It
ends with 1 if, with flashd, not exactly what was there is sold or an order is missing from Tryton or there twice.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import machine, results
from tests.e2e.process import Flashd
from tests.erp import postgres, vendure
from tests.erp.tryton import Tryton, UnavailableError
from tests.erp.vendure import Vendure, beside
from tests.erp.vendure_buyers import Rush, rush

SKU = "SKU-01"  # in data/products.csv, and in the Tryton of the tests
UNITS = 10
HEAD = ("run", "checkouts", "units", "sold", "told no", "errors", "seconds", "in Tryton once", "missing", "twice")
_ARRIVE_S, _QUIET_S = 120.0, 3.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One opening of the shop."""

    name: str
    checkouts: int
    sold: int  # units of placed orders, by the shop's database
    refused: int
    errors: dict[str, int]
    took_s: float
    once: int | None = None  # None: no ERP behind it
    missing: int | None = None
    twice: int | None = None
    audit: str = ""  # what flashd's own audit found wrong

    @property
    def is_right(self) -> bool:
        return (self.sold, self.once, self.missing, self.twice, self.audit) == (UNITS, UNITS, 0, 0, "")

    def cells(self) -> tuple[str, ...]:
        arrived = ["-" if count is None else str(count) for count in (self.once, self.missing, self.twice)]
        sold = f"{self.sold} OVERSOLD" if self.sold > UNITS else str(self.sold)
        counts = (self.checkouts, UNITS, sold, self.refused, sum(self.errors.values()), f"{self.took_s:.1f}")
        return (self.name, *map(str, counts), *arrived)


@click.command()
@click.option("--runs", default=3, type=click.IntRange(1, 20), show_default=True, help="Of each kind.")
@click.option("--checkouts", default=100, type=click.IntRange(1, 1000), show_default=True, help="All at once.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/RESULTS.md.")
def main(*, runs: int, checkouts: int, write: bool) -> None:
    """Sell 10 units to 100 buyers at once, with Vendure alone and with flashd beside it."""
    if reason := vendure.missing() or postgres.missing():
        raise click.ClickException(f"this benchmark wants more than this machine has. {reason}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name:
        seen = machine.look(Path(name))
    try:
        found = _measure(console, runs, checkouts)
    except UnavailableError as error:
        raise click.ClickException(str(error)) from None
    _show(console, found)
    if write:
        _write(found, seen, time.monotonic() - began_s)
    guarded = [run for run in found if run.once is not None]
    if not all(run.is_right for run in guarded):
        console.print("FAIL", style="bold red")
        raise SystemExit(1)
    console.print(
        f"with flashd {UNITS} of {UNITS} sold in each of {len(guarded)} runs, each order once in Tryton: PASS"
    )


def _measure(console: Console, runs: int, checkouts: int) -> list[Run]:
    console.print("installing and filling Vendure and Tryton (the first time takes minutes)", style="dim")
    shop = Vendure()
    try:
        erp = Tryton("postgresql")
        try:
            found = []
            for number in range(1, runs + 1):
                console.print(f"round {number} of {runs}", style="dim")
                found.append(_alone(shop, f"alone {number}", checkouts))
                found.append(_guarded(shop, erp, f"with flashd {number}", checkouts))
            return sorted(found, key=lambda run: run.once is not None)
        finally:
            erp.close()
    finally:
        shop.close()


def _run(name: str, shop: Vendure, seen: Rush, checkouts: int) -> Run:
    placed = shop.placed()
    errors = dict(seen.errors)
    told = Counter(order.code for order in placed)
    if set(told) != set(seen.codes):
        errors["orders that buyers were told of and those in the shop's database differ"] = 1
    return Run(
        name=name,
        checkouts=checkouts,
        sold=sum(order.quantity for order in placed),
        refused=seen.refused.total(),
        errors=errors,
        took_s=seen.took_s,
    )


def _alone(shop: Vendure, name: str, checkouts: int) -> Run:
    """The control: the same shop, the same stock, and nothing that guards it."""
    shop.start()
    try:
        return _run(name, shop, asyncio.run(rush(shop.url, shop.variant(SKU), checkouts)), checkouts)
    finally:
        shop.stop()


def _guarded(shop: Vendure, erp: Tryton, name: str, checkouts: int) -> Run:
    erp.empty()
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as folder:
        flashd = beside(shop, Path(folder), erp)
        try:
            shop.start(f"http://127.0.0.1:{flashd.intake}")
            flashd.start()
            _count(flashd)
            run = _run(name, shop, asyncio.run(rush(shop.url, shop.variant(SKU), checkouts)), checkouts)
            codes = [order.code for order in shop.placed()]
            _wait_for(erp, codes)
            held = Counter(sale.reference for sale in erp.orders())
            audit = flashd.run("audit", "--json")
            return msgspec.structs.replace(
                run,
                once=sum(held[code] == 1 for code in codes),
                missing=sum(held[code] == 0 for code in codes),
                twice=sum(count > 1 for count in held.values()) + len(held.keys() - set(codes)),
                audit="" if audit.returncode == 0 else audit.stdout + audit.stderr,
            )
        finally:
            shop.stop()
            flashd.close()
            erp.stop()


def _count(flashd: Flashd) -> None:
    """Say how many there are; 503 is the daemon's wish to be asked again, on a disk that others keep busy."""
    body, headers = json.dumps({"on_hand": UNITS}).encode(), {"Content-Type": "application/json"}
    deadline = time.monotonic() + 10
    while True:
        status, said, _ = flashd.call("PUT", f"/admin/v1/stock/{SKU}", body, headers, port=flashd.admin)
        if status == 200:
            return
        if status != 503 or time.monotonic() > deadline:
            raise click.ClickException(f"flashd cannot count: {status} {said[:300]!r} {flashd.log.read_text()[-2000:]}")
        time.sleep(0.5)


def _wait_for(erp: Tryton, codes: list[str]) -> None:
    """Give every order its time to arrive, and a second copy of one a while to show up."""
    deadline = time.monotonic() + _ARRIVE_S
    while time.monotonic() < deadline and not {sale.reference for sale in erp.orders()} >= set(codes):
        time.sleep(0.25)
    time.sleep(_QUIET_S)


def _show(console: Console, found: list[Run]) -> None:
    table = Table(*HEAD)
    for run in found:
        table.add_row(*run.cells())
    console.print(table)
    for run in found:
        for error, count in run.errors.items():
            console.print(f"{run.name}: {count} x {error}", highlight=False)
        if run.audit:
            console.print(f"{run.name}: the audit found: {run.audit}", highlight=False)


def _write(found: list[Run], seen: machine.Machine, took_s: float) -> None:
    notes = [
        *seen.lines(),
        "Vendure 3.7.3 with the plug-in of examples/vendure, Tryton 8.2, both on PostgreSQL, all on this machine",
        "alone: the same shop without the plug-in; a buyer makes 7 GraphQL calls, from an empty cart to the payment",
        "sold and arrived are counted by SQL in the shop's and in Tryton's own databases",
        f"the run took {took_s:.0f} s, load average after it {' '.join(f'{value:.2f}' for value in os.getloadavg())}",
    ]
    lines = [
        f"{UNITS} units, everybody at once: a real shop alone, and with flashd.",
        "",
        *(f"* {note}" for note in notes),
    ]
    results.put("bench-vendure", lines + results.table(HEAD, [run.cells() for run in found]))


if __name__ == "__main__":
    main()
