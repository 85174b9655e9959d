"""
A real ERP, and everything dies in between: flashd by SIGKILL three times, Tryton stopped and started once.

What Tryton holds is read from its database by SQL.
"""

from __future__ import annotations

import asyncio
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.process import Flashd
from tests.erp.fixtures import tryton, tryton_pg, trytons  # noqa: F401  # fixtures
from tests.erp.tryton import PASSWORD, USER, HeldOrder, Tryton
from tests.until import until

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
shop = SHOP
party = PARTY
rate = "10/s"
max_in_flight = 2
timeout_s = 10
settle_s = 2
slow_start_s = 1
BATCH
[[routes]]
backend = "erp"
"""
HEADERS = {"Authorization": "Bearer till-token-of-the-test"}


def daemon_for(erp: Tryton, folder: Path, batch: int) -> Flashd:
    for name, secret in (("till.token", "till-token-of-the-test\n"), ("password", PASSWORD)):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secret)
    given = erp.config()
    login = f'batch = {batch}\nuser = "{USER}"\npassword = {{ file = "password" }}' if batch > 1 else ""
    text = CONFIG.replace("BATCH", login)
    text = text.replace("timeout_s = 10\n", "timeout_s = 60\n") if batch > 1 else text
    text = text.replace("STATE", str(folder / "state")).replace("URL", given["url"])
    text = text.replace("DATABASE", given["database"]).replace("KEY", given["secret"]["file"])
    return Flashd(folder, text.replace("SHOP", str(given["shop"])).replace("PARTY", str(given["party"])))


def orders(count: int, skus: list[str], seed: int) -> list[dict[str, Any]]:
    """Orders of one to three lines, with prices of their own."""
    chance = random.Random(seed)
    made: list[dict[str, Any]] = []
    for number in range(count):
        lines, total = [], 0
        for sku in chance.sample(skus, chance.randint(1, 3)):
            quantity, price = chance.randint(1, 4), chance.randint(100, 99_999)
            lines.append({"sku": sku, "quantity": quantity, "unit_price": price})
            total += quantity * price
        order = {"id": f"T-{seed}-{number}", "number": f"#{number}", "currency": "USD", "lines": lines, "total": total}
        made.append(order)
    return made


async def place(flashd: Flashd, wanted: list[dict[str, Any]]) -> None:
    """Place every order; each must be answered 201, however often it must be asked."""
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        for order in wanted:
            address = f"http://127.0.0.1:{flashd.intake}/v1/orders"
            async with session.post(address, json=order) as answer:
                assert answer.status == 201, await answer.text()


def measure(held: HeldOrder) -> list[tuple[str, float, Decimal]]:
    return sorted((code, quantity, price.quantize(Decimal("0.01"))) for code, quantity, price in held.lines)


def expected(order: dict[str, Any]) -> list[tuple[str, float, Decimal]]:
    return sorted((line["sku"], float(line["quantity"]), Decimal(line["unit_price"]) / 100) for line in order["lines"])


async def holds(erp: Tryton, count: int, within_s: float) -> None:
    await until(lambda: len(erp.orders()) >= count, f"Tryton holds {count} sales", within_s)


async def journey(erp: Tryton, folder: Path, count: int, seed: int, within_s: float, batch: int = 1) -> None:
    erp.empty()
    flashd = daemon_for(erp, folder, batch).start()
    skus = sorted(sku for sku in erp.ids["products"] if sku.startswith("SKU"))
    wanted = orders(count, skus, seed)
    print(f"seed {seed}")
    try:
        for sku in skus:
            flashd.ask_admin("PUT", f"/admin/v1/stock/{sku}", {"on_hand": 1_000_000})
        await place(flashd, wanted)
        kills = 0
        for share in (0.15, 0.4, 0.65):
            await holds(erp, round(count * share), within_s)
            flashd.kill()
            kills += 1
            if share == 0.4:
                erp.stop()
                flashd.start()
                await asyncio.to_thread(erp.start)
            else:
                flashd.start()
        assert kills == 3
        await until(
            lambda: flashd.ask_admin("GET", "/admin/v1/status")["pools"]["main"]["orders"]["done"] >= count,
            "every order is delivered",
            within_s,
        )
        held = erp.orders()
        by_number = {one.reference: one for one in held}
        assert len(held) == count, f"{len(held)} sales in Tryton"
        assert len(by_number) == count
        for order in wanted:
            found = by_number[order["number"]]
            assert measure(found) == expected(order)
            assert found.state in {"confirmed", "processing"}
        code, _ = flashd.terminate()
        assert code == 0
        report = flashd.run("audit", "--json")
        assert report.returncode == 0, report.stdout + report.stderr
        print(json.dumps({"orders": count, "kills": kills, "held_once": len(held)}))
    finally:
        flashd.close()


@pytest.mark.timeout(420)
async def test_forty_orders_reach_a_real_tryton_once_whatever_dies(tryton: Tryton, tmp_path: Path) -> None:  # noqa: F811
    await journey(tryton, tmp_path, 40, seed=40, within_s=180)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_two_hundred_orders_reach_a_real_tryton_on_postgresql_once(tryton_pg: Tryton, tmp_path: Path) -> None:  # noqa: F811
    await journey(tryton_pg, tmp_path, 200, seed=200, within_s=600)


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_two_hundred_orders_in_batches_reach_a_real_tryton_on_postgresql_once(
    tryton_pg: Tryton,  # noqa: F811
    tmp_path: Path,
) -> None:
    await journey(tryton_pg, tmp_path, 200, seed=201, within_s=600, batch=20)
