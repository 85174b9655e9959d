"""The commands against a running daemon, as an operator would type them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue

import pytest

from flashd.demo.simulated_erp import SimulatedErp
from tests.configuration import configuration, fed, keep, signed
from tests.e2e.process import Flashd
from tests.recorded.substitute import recent, substituted
from tests.until import until

RECORDED = Path(__file__).parent.parent / "recorded"


@pytest.fixture
def erp(tmp_path: Path) -> Iterator[SimulatedErp]:
    """An ERP that refuses one SKU for good."""
    erp = SimulatedErp(tmp_path, limit=100, switches=("--poison", "POISON")).start()
    yield erp
    erp.close()


@pytest.fixture
def flashd(tmp_path: Path, erp: SimulatedErp) -> Iterator[Flashd]:
    keep(tmp_path, shop_secret="shpss-secret-of-the-test")
    daemon = Flashd(tmp_path, configuration(tmp_path, signed(), fed(erp.url, rate="50/s", settle_s=0.5))).start()
    yield daemon
    daemon.close()


def order(number: int, sku: str, folder: Path) -> Path:
    """A recorded order of one line of that SKU, in a file."""
    path = next(path for path in sorted((RECORDED / "shopify-docs").glob("orders__create.json")))
    body = recent(substituted(json.loads(path.read_text()), number), datetime.now(UTC))
    body["line_items"] = [body["line_items"][0] | {"sku": sku}]
    body["shipping_lines"], body["tax_lines"] = [], []
    body["total_tax"] = body["current_total_tax"] = "0.00"
    line = body["line_items"][0]
    discount = sum(float(part["amount"]) for part in line.get("discount_allocations", []))
    body["total_price"] = body["current_total_price"] = f"{float(line['price']) * line['quantity'] - discount:.2f}"
    file = folder / f"order-{number}.json"
    file.write_text(json.dumps(body))
    return file


def said(flashd: Flashd, *arguments: str, code: int = 0) -> str:
    done = flashd.run(*arguments)
    assert done.returncode == code, f"{arguments}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


async def test_stock_is_counted_an_order_delivered_and_a_refused_one_mended(
    flashd: Flashd, tmp_path: Path, erp: SimulatedErp
) -> None:
    assert "is 5 (new), free 5" in said(flashd, "stock", "set", "TEE", "5")
    counts = tmp_path / "counts.csv"
    counts.write_text("sku,on_hand\nPOISON,10\nCAP,3\n")
    assert "2 rows checked, nothing written" in said(flashd, "stock", "import", "--dry-run", str(counts))
    assert "2 rows" in said(flashd, "stock", "import", str(counts))
    assert "CAP" in said(flashd, "stock", "show")
    assert "flashd " in said(flashd, "status")
    assert "/webhooks/shop" in said(flashd, "channel", "list")

    assert said(flashd, "send-test", "shop", "--order", str(order(1, "TEE", tmp_path))).startswith("200 ")
    await until(lambda: bool(erp.bookings()), "the order is booked")
    key = "shop:5000000000001"
    await until(lambda: "delivered" in said(flashd, "orders", "show", key), "it is known to be delivered")
    shown = said(flashd, "orders", "show", key)
    assert "timeline" in shown
    assert "route 1 -> erp: catch-all" in shown

    said(flashd, "send-test", "shop", "--order", str(order(2, "POISON", tmp_path)))
    await until(lambda: "5000000000002" in said(flashd, "dead", "list"), "the refused order is a dead letter")
    assert "1 match; send them with --confirm 1" in said(flashd, "dead", "replay", "--dry-run")
    assert "confirm that number" in flashd.run("dead", "replay", "--confirm", "7").stderr
    assert "1 of 1 go again" in said(flashd, "dead", "replay", "--confirm", "1")
    await until(lambda: "5000000000002" in said(flashd, "dead", "list"), "it is refused again")
    detail = json.loads(said(flashd, "orders", "show", "shop:5000000000002", "--json"))
    mended = tmp_path / "mended.json"
    detail["order"]["lines"][0]["sku"] = "CAP"
    mended.write_text(json.dumps(detail["order"]))
    assert "queued" in said(flashd, "orders", "mend", "shop:5000000000002", "--order", str(mended))
    await until(lambda: len(erp.bookings()) == 2, "the mended order is booked")
    free = {row["sku"]: row["free"] for row in json.loads(said(flashd, "stock", "show", "--json"))["levels"]}
    assert free == {"TEE": 4, "POISON": 10, "CAP": 2}


async def test_a_backend_is_paused_an_order_cancelled_and_a_body_mended(flashd: Flashd, tmp_path: Path) -> None:
    said(flashd, "stock", "set", "TEE", "5")
    said(flashd, "backend", "pause", "erp", "--reason", "month end")
    said(flashd, "send-test", "shop", "--order", str(order(3, "TEE", tmp_path)))
    await until(lambda: "month end" in said(flashd, "backend", "list"), "the pause is shown")
    assert "before it, nothing leaves now" in said(flashd, "orders", "show", "shop:5000000000003")
    assert "cancelled" in said(flashd, "orders", "cancel", "shop:5000000000003", "--reason", "the customer rang")
    said(flashd, "backend", "rate", "erp", "5/s")
    said(flashd, "backend", "resume", "erp")
    assert "5/s" in said(flashd, "backend", "list")

    broken = tmp_path / "broken.json"
    broken.write_text('{"id": 7, "line_items": [{"sku": 5}], "financial_status": "paid"}')
    assert "quarantined" in said(flashd, "send-test", "shop", "--order", str(broken))
    entry = json.loads(said(flashd, "quarantine", "list", "--json"))["entries"][0]["id"]
    assert '"line_items"' in said(flashd, "quarantine", "show", entry, "--body")
    assert "accepted" in said(flashd, "quarantine", "mend", entry, "--body", str(order(4, "TEE", tmp_path)))
    assert "nothing in quarantine" in said(flashd, "quarantine", "list")

    exported = [json.loads(line) for line in said(flashd, "orders", "export").splitlines()]
    assert {record["ref"]["id"] for record in exported} == {"5000000000003", "5000000000004"}
    address = json.loads((tmp_path / "order-3.json").read_text())["shipping_address"]
    assert address["address1"] not in json.dumps(exported)
    assert address["address1"] in said(flashd, "orders", "export", "--customers")
    assert "order.cancelled" in said(flashd, "events", "--topic", "order")
    assert "clean" in said(flashd, "audit")


async def test_a_hangup_while_the_daemon_still_starts_is_a_reload_and_not_its_end(flashd: Flashd) -> None:
    flashd.terminate()
    started = flashd.log.read_text().count("store.started")
    flashd.start(ready=False)
    assert flashd.process is not None
    await until(lambda: flashd.log.read_text().count("store.started") > started, "it has begun")
    flashd.process.send_signal(signal.SIGHUP)
    flashd.wait_until_ready()
    await until(lambda: "config.reloaded" in flashd.log.read_text(), "it reloads once it can")


async def test_orders_of_a_backend_that_is_no_longer_configured_are_said_loudly(flashd: Flashd, tmp_path: Path) -> None:
    said(flashd, "stock", "set", "TEE", "5")
    said(flashd, "backend", "pause", "erp", "--reason", "month end")
    said(flashd, "send-test", "shop", "--order", str(order(6, "TEE", tmp_path)))
    assert "STRANDED" not in said(flashd, "status")
    flashd.terminate()
    before = flashd.config
    flashd.config = before.replace("[backends.erp]", "[backends.new]").replace('backend = "erp"', 'backend = "new"')
    flashd.start()
    assert "STRANDED 1 orders wait for backend erp" in said(flashd, "status")
    await until(lambda: "orders.stranded" in flashd.log.read_text(), "it is logged")
    assert '"event":"orders.stranded","backend":"erp","count":1' in flashd.log.read_text()


def copy(stream: Iterable[str], lines: Queue[str]) -> None:
    for line in stream:
        lines.put(line)


async def test_events_are_followed_over_a_restart_without_a_gap(flashd: Flashd, tmp_path: Path) -> None:
    said(flashd, "stock", "set", "TEE", "5")
    lines: Queue[str] = Queue()
    follower = subprocess.Popen(  # noqa: ASYNC220  # read by a thread
        [sys.executable, "-m", "flashd", "events", "--follow", "--from", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "FLASHD_CONFIG": str(flashd.path), "PYTHONUNBUFFERED": "1"},
    )
    assert follower.stdout is not None
    reader = threading.Thread(target=copy, args=(follower.stdout, lines), daemon=True)
    reader.start()
    try:
        await until(lambda: not lines.empty(), "the first event is followed")
        flashd.kill()
        flashd.start()
        for count in (6, 7, 8):
            said(flashd, "stock", "set", "TEE", str(count))
        wanted = [json.loads(line) for line in said(flashd, "events", "--json").splitlines()]
        seen: list[object] = []

        def has_all() -> bool:
            while not lines.empty():
                seen.append(json.loads(lines.get()))
            return len(seen) >= len(wanted)

        await until(has_all, "all events are followed")
        assert seen == wanted
    finally:
        follower.kill()
        follower.wait()
        reader.join(5)
        follower.stdout.close()


async def test_a_reload_takes_a_new_rate_over_and_a_bad_file_keeps_the_old_one(flashd: Flashd) -> None:
    assert flashd.process is not None

    def rate() -> str:
        return str(flashd.ask_admin("GET", "/admin/v1/backends/erp")["flow"]["rate"])

    flashd.config = flashd.config.replace("50/s", "7/s")
    flashd.write()
    flashd.process.send_signal(signal.SIGHUP)
    await until(lambda: rate() == "7/s", "the new rate is in force")
    flashd.config = flashd.config.replace("7/s", "fast")
    flashd.write()
    flashd.process.send_signal(signal.SIGHUP)
    await until(lambda: "config.kept" in flashd.log.read_text(), "the bad file is told")
    assert rate() == "7/s"
    assert "backends.erp.rate" in flashd.log.read_text()
