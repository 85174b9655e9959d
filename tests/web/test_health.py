"""Health, metrics, status and the index page."""

from __future__ import annotations

import msgspec

from flashd.domain.order import OrderState
from flashd.errors import StoreUnavailable
from flashd.ports import StoreHealth
from tests.fakes.doors import READ, DoorHouse
from tests.web.conftest import Served
from tests.web.test_admin import put


async def test_alive_asks_nothing_and_needs_no_token(admin: Served, house: DoorHouse) -> None:
    house.health = StoreHealth(ok=False, reason="gone")
    answer = await admin.call("GET", "/livez")
    assert (answer.status, answer.raw) == (200, b"ok\n")


async def test_ready_is_503_while_no_order_can_be_made_durable(admin: Served, house: DoorHouse) -> None:
    assert (await admin.call("GET", "/readyz")).status == 200
    house.health = StoreHealth(ok=False, reason="MISCONF: the disk is full")
    answer = await admin.call("GET", "/readyz")
    assert (answer.status, answer.json["reasons"]) == (503, ["store: MISCONF: the disk is full"])


async def test_ready_is_503_while_draining(admin: Served, house: DoorHouse) -> None:
    house.doors.draining.set()
    answer = await admin.call("GET", "/readyz?verbose")
    assert (answer.status, answer.json["checks"]) == (503, {"store": "ok", "draining": "yes: it is stopping"})


async def test_a_backends_outage_is_a_warning_and_not_unready(admin: Served, house: DoorHouse) -> None:
    house.snapshot = msgspec.structs.replace(house.snapshot, circuit="open", last_error="connection refused")
    assert (await admin.call("GET", "/readyz")).status == 200
    health = await admin.call("GET", "/healthz")
    assert (health.status, health.headers["Content-Type"]) == (200, "application/health+json")
    assert health.json["status"] == "warn"
    assert health.json["checks"]["backend:erp"][0]["status"] == "warn"
    house.health = StoreHealth(ok=False, reason="gone")
    failed = await admin.call("GET", "/healthz")
    assert (failed.status, failed.json["status"]) == (503, "fail")


async def test_metrics_are_told_also_while_the_store_is_away(admin: Served, house: DoorHouse) -> None:
    put(house, OrderState.DEAD)
    text = (await admin.call("GET", "/metrics", token=READ)).raw.decode()
    for line in (
        'flashd_orders{pool="main",state="dead"} 1.0',
        'flashd_dead_letters{pool="main"} 1.0',
        'flashd_backend_queue_depth{backend="erp"} 10.0',
        'flashd_backend_drain_eta_seconds{backend="erp"} 5.0',
        "flashd_durability_ok 1.0",
        "flashd_oversold_units_total 0.0",
    ):
        assert line in text.splitlines(), line
    house.main.error = StoreUnavailable("away")
    away = await admin.call("GET", "/metrics", token=READ)
    assert away.status == 200
    assert "flashd_durability_ok 0.0" in away.raw.decode().splitlines()


async def test_what_an_audit_found_oversold_is_counted_once(admin: Served, house: DoorHouse) -> None:
    for found in (0, 3, 3, 5):
        house.doors.metrics.audited(found)
    text = (await admin.call("GET", "/metrics", token=READ)).raw.decode()
    assert "flashd_oversold_units_total 5.0" in text.splitlines()


async def test_the_index_names_nothing_outside_and_carries_the_security_headers(admin: Served) -> None:
    answer = await admin.call("GET", "/")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"http" not in answer.raw
    assert b"<script" not in answer.raw
    missing = await admin.call("GET", "/none")
    assert missing.headers["Content-Security-Policy"].startswith("default-src 'self'")


async def test_status_says_what_an_operator_asks_first(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    put(house, OrderState.QUEUED)
    status = (await admin.call("GET", "/admin/v1/status", token=READ)).json
    assert status["ready"] is True
    assert status["pools"]["main"]["free"] == 5
    assert status["pools"]["main"]["orders"]["queued"] == 1
    assert status["store"]["server"] == "valkey 9.1.2"


async def test_status_counts_orders_and_the_queues_of_backends_at_one_instant(admin: Served, house: DoorHouse) -> None:
    put(house, OrderState.QUEUED)
    for number in range(5):
        put(house, OrderState.DEAD, f"d{number}", "no such tax")
    assert house.snapshot.queued == 10  # what its actor saw at its last look
    status = (await admin.call("GET", "/admin/v1/status", token=READ)).json
    (backend,) = status["backends"]
    assert status["pools"]["main"]["orders"]["queued"] == backend["flow"]["queued"] == 1
    assert backend["drain_eta_s"] == 0.5
    shown = (await admin.call("GET", "/admin/v1/backends/erp", token=READ)).json
    assert shown["flow"]["queued"] == 10  # beside nothing that it could differ from
