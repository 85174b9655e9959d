"""What a token may see, and what the cut-over keeps out, on a running daemon."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.configuration import configuration, fed, keep, section, signed
from tests.e2e.process import Flashd
from tests.servers import Server, find_server, missing

SECRET = b"shpss-secret-of-the-test"
SINCE = (datetime.now(UTC) - timedelta(days=7)).replace(microsecond=0)  # within the retention, whenever this runs


def text_of(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def days(count: int) -> str:
    """So many days after the cut-over."""
    return text_of(SINCE + timedelta(days=count))


@pytest.fixture
def flashd(tmp_path: Path) -> Iterator[Flashd]:
    """Two pools with a till each, and a shop in the north."""
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    keep(tmp_path, north_token="north-token-of-the-test", south_token="south-token-of-the-test", shop_secret=SECRET)
    tokens = {name: [{"name": name, "secret": {"file": f"{name}.token"}}] for name in ("north", "south")}
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    sections = (
        *(section(f"pools.{name}") for name in tokens),
        section("channels.till-north", kind="native", pool="north", tokens=tokens["north"]),
        section("channels.till-south", kind="native", pool="south", tokens=tokens["south"], since=long_ago),
        signed("shop", pool="north", since=SINCE),
        fed(),
    )
    server = Server("valkey").start()
    daemon = Flashd(tmp_path, configuration(tmp_path, *sections, store=server.url))
    try:
        yield daemon.start()
    finally:
        daemon.close()
        server.close()


def ask(flashd: Flashd, who: str, method: str, target: str, body: Any = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {who}-token-of-the-test", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    status, answer, _ = flashd.call(method, target, data, headers)
    return status, json.loads(answer) if answer else None


def test_a_token_of_one_pool_sees_nothing_of_another(flashd: Flashd) -> None:
    for pool in ("north", "south"):
        flashd.ask_admin("PUT", f"/admin/v1/stock/TEE?pool={pool}", {"on_hand": 5})
    flashd.ask_admin("PUT", "/admin/v1/stock/ONLY-NORTH?pool=north", {"on_hand": 5})
    line = [{"sku": "TEE", "quantity": 2, "unit_price": 100}]
    order = {"id": "1", "currency": "EUR", "lines": line, "total": 200}
    hold = {"id": "h1", "lines": [{"sku": "TEE", "quantity": 3}], "ttl_ms": 60_000}
    assert ask(flashd, "north", "POST", "/v1/holds", hold)[0] == 201
    assert ask(flashd, "north", "POST", "/v1/orders", order)[0] == 201
    assert ask(flashd, "north", "GET", "/v1/orders/till-north/1")[0] == 200
    assert ask(flashd, "north", "GET", "/v1/stock/TEE")[1]["available"] == 0

    assert ask(flashd, "south", "GET", "/v1/orders/till-north/1")[0] in {403, 404}
    assert ask(flashd, "south", "DELETE", "/v1/orders/till-north/1")[0] in {403, 404}
    assert ask(flashd, "south", "GET", "/v1/stock/TEE")[1]["available"] == 5
    assert ask(flashd, "south", "GET", "/v1/stock/ONLY-NORTH")[0] == 404
    assert ask(flashd, "south", "DELETE", "/v1/holds/h1")[0] in {404, 409}
    assert ask(flashd, "south", "POST", "/v1/orders", order | {"channel": "till-north"})[0] == 403
    assert ask(flashd, "south", "POST", "/v1/holds", hold)[0] == 201  # its own h1, in its own pool
    assert ask(flashd, "north", "GET", "/v1/stock/TEE")[1]["available"] == 0
    assert ask(flashd, "nobody", "GET", "/v1/stock/TEE")[0] == 401
    assert ask(flashd, "north", "GET", "/v1/orders/till-north/1")[1]["state"] == "queued"


def test_an_order_that_does_not_say_when_is_taken_however_old_the_cut_over_is(flashd: Flashd) -> None:
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE?pool=south", {"on_hand": 5})
    line = [{"sku": "TEE", "quantity": 2, "unit_price": 100}]
    status, answer = ask(flashd, "south", "POST", "/v1/orders", {"id": "1", "currency": "EUR", "lines": line})
    assert (status, answer["state"]) == (201, "queued")


def test_an_unknown_sku_is_404_and_writes_no_order(flashd: Flashd) -> None:
    order = {"id": "1", "currency": "EUR", "lines": [{"sku": "NONE", "quantity": 1, "unit_price": 1}], "total": 1}
    status, answer = ask(flashd, "north", "POST", "/v1/orders", order)
    assert (status, answer["title"]) == (404, "unknown_sku")
    assert ask(flashd, "north", "GET", "/v1/orders/till-north/1")[0] == 404


def shopify(flashd: Flashd, **changes: Any) -> Any:
    body = {
        "id": 820982911946154508,
        "name": "#1001",
        "created_at": text_of(SINCE - timedelta(seconds=1)),
        "updated_at": days(1),
        "currency": "EUR",
        "financial_status": "paid",
        "test": False,
        "cancelled_at": None,
        "taxes_included": True,
        "total_price": "10.00",
        "subtotal_price": "10.00",
        "total_tax": "0.00",
        "tags": "",
        "line_items": [{"id": 1, "sku": "TEE", "variant_id": 1, "title": "Tee", "quantity": 1, "price": "10.00"}],
        "shipping_lines": [],
        "refunds": [],
    } | changes
    data = json.dumps(body).encode()
    signature = base64.b64encode(hmac.digest(SECRET, data, hashlib.sha256)).decode()
    status, answer, _ = flashd.call(
        "POST", "/webhooks/shop", data, {"X-Shopify-Hmac-Sha256": signature, "Content-Type": "application/json"}
    )
    assert status == 200, answer
    return json.loads(answer)


def test_an_order_created_before_the_cut_over_never_reserves_whatever_update_arrives(flashd: Flashd) -> None:
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE?pool=north", {"on_hand": 5})
    for changes in (
        {},
        {"updated_at": days(2), "tags": "vip"},
        {"updated_at": days(3), "financial_status": "pending"},
        {"updated_at": days(4), "financial_status": "paid"},
    ):
        assert shopify(flashd, **changes)["state"] == "ignored"
    level = flashd.ask_admin("GET", "/admin/v1/stock/TEE?pool=north")["levels"][0]
    assert (level["on_hand"], level["held"], level["sold"]) == (5, 0, 0)
    told = flashd.ask_admin("GET", "/admin/v1/orders/shop/820982911946154508")
    assert told["summary"]["reason"] == "placed before the cut-over"
    assert told["raw"] is None
    after = shopify(flashd, id=820982911946154509, created_at=days(0))
    assert after["state"] in {"queued", "parked"}
    level = flashd.ask_admin("GET", "/admin/v1/stock/TEE?pool=north")["levels"][0]
    assert level["sold"] == 1


def test_audit_is_clean_and_finds_a_counter_that_was_changed_by_hand(flashd: Flashd) -> None:
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE?pool=north", {"on_hand": 5})
    shopify(flashd, created_at=days(1))
    clean = flashd.run("audit")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert "pool north: clean" in clean.stdout
    from redis import Redis  # noqa: PLC0415  # by hand, as somebody with a shell would

    path = flashd.path.read_text().split('url = "unix://')[1].split('"')[0]
    with Redis(unix_socket_path=path) as client:
        client.hset("fd:{north}:stock", "TEE\x1fmain", "9 0 1 0 0 0")
        client.xadd("fd:{north}:j", {"k": "hold.held", "d": '"hold":"1","moves":[["TEE","main",0,7,0,0,0]]'})
    found = flashd.run("audit")
    assert found.returncode == 1
    assert "TEE" in found.stdout
    assert "expected 5" in found.stdout.replace("on_hand ", "")
    assert flashd.call("POST", "/admin/v1/audit", b"", port=flashd.admin)[0] == 409
    metrics = flashd.call("GET", "/metrics", port=flashd.admin)[1].decode()
    assert "flashd_oversold_units_total 3.0" in metrics.splitlines()  # five, one sold, seven more promised
