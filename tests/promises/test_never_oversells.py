"""
Two hundred buyers, one hundred units, three processes.

The oracle counts what the buyers were told and what the ERP booked; it shares no code with the daemon.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import TILL, TOKEN, configuration, fed, keep, native
from tests.e2e.process import Flashd
from tests.servers import Server, find_server, missing
from tests.until import until

BUYERS, UNITS, REPEATS = 200, 100, 10


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[list[Flashd], SimulatedErp]]:
    """Three daemons on one store, and the ERP they feed."""
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    keep(tmp_path, till_token=TOKEN)
    server = Server("valkey").start()
    erp = SimulatedErp(tmp_path, limit=5000).start()
    sections = native(), fed(erp.url, rate="2000/s", max_in_flight=16)
    texts = [configuration(tmp_path, *sections, store=server.url, state=f"state{n}") for n in range(3)]
    daemons = [Flashd(tmp_path, text, name=f"flashd{n}") for n, text in enumerate(texts)]
    try:
        for daemon in daemons:
            daemon.start()
        yield daemons, erp
    finally:
        for daemon in daemons:
            daemon.close()
        erp.close()
        server.close()


async def buy(session: aiohttp.ClientSession, daemon: Flashd, sku: str, buyer: int, *, hold: bool) -> str:
    """Buy one unit as a buyer would: half of them hold first; returns what the buyer was told in the end."""
    base = f"http://127.0.0.1:{daemon.intake}"
    order = {
        "id": f"{sku}-{buyer}",
        "status": "paid",
        "currency": "EUR",
        "lines": [{"sku": sku, "quantity": 1, "unit_price": 1000}],
        "total": 1000,
    }
    if hold:
        body = {"id": f"h-{sku}-{buyer}", "lines": [{"sku": sku, "quantity": 1}], "ttl_ms": 60_000}
        async with session.post(f"{base}/v1/holds", json=body) as answer:
            if answer.status == 409:
                return "short"
            assert answer.status == 201, await answer.text()
        order["hold_id"] = body["id"]
    async with session.post(f"{base}/v1/orders", json=order) as answer:
        told = json.loads(await answer.text())
        assert answer.status in {201, 202}, told
        return str(told["state"])


async def test_two_hundred_buyers_of_a_hundred_units_at_three_processes_buy_exactly_a_hundred(
    three: tuple[list[Flashd], SimulatedErp],
) -> None:
    daemons, erp = three
    sold_at_the_erp: Counter[str] = Counter()
    headers = TILL
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        for repeat in range(REPEATS):
            sku = f"HOT-{repeat}"
            daemons[0].ask_admin("PUT", f"/admin/v1/stock/{sku}", {"on_hand": UNITS})
            told = Counter(
                await asyncio.gather(
                    *(buy(session, daemons[n % 3], sku, n, hold=n % 2 == 0) for n in range(BUYERS)),
                )
            )
            bought = BUYERS - told["short"] - told["shortfall"]
            assert bought == UNITS, told
            assert told["short"] + told["shortfall"] == BUYERS - UNITS
    await until(lambda: len(erp.bookings()) >= REPEATS * UNITS, "the ERP has every order")
    for entries in erp.bookings().values():
        assert len(entries) == 1
        for line in entries[0]["order"]["lines"]:
            sold_at_the_erp[line["sku"]] += line["quantity"]
    assert sold_at_the_erp == {f"HOT-{repeat}": UNITS for repeat in range(REPEATS)}
    for daemon in daemons:
        daemon.terminate()
    report = daemons[0].run("audit", "--json")
    assert report.returncode == 0, report.stdout + report.stderr
