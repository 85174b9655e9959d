"""Every recorded payload, signed as its platform signs, sent to a running daemon."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis import Redis

from flashd.domain.order import OrderState
from tests.configuration import configuration, fed, keep, signed
from tests.e2e.process import Flashd
from tests.recorded.substitute import recent, substituted
from tests.servers import Server, find_server, missing

RECORDED = Path(__file__).parent.parent / "recorded"
SHOPIFY = sorted(path for folder in RECORDED.glob("shopify-*") for path in folder.glob("*.json"))
WOO = sorted((RECORDED / "woocommerce").glob("*.json"))
SECRETS = {"shop": b"shpss-secret-of-the-test", "woo": b"woo-secret-of-the-test"}
HEADER = {"shop": "X-Shopify-Hmac-Sha256", "woo": "X-WC-Webhook-Signature"}
PROBED = {b"fd:{main}:probe"}
NAMED = {*OrderState, "quarantined", "unrelated", "pong"}


@pytest.fixture
def store() -> Iterator[Server]:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    server = Server("valkey").start()
    yield server
    server.close()


@pytest.fixture
def flashd(tmp_path: Path, store: Server) -> Iterator[Flashd]:
    """A daemon with both platforms; its backend is away, so that what it took stays to be seen."""
    keep(tmp_path, **{f"{name}_secret": secret for name, secret in SECRETS.items()})
    channels = signed("shop"), signed("woo", "woocommerce")
    daemon = Flashd(tmp_path, configuration(tmp_path, *channels, fed(), store=store.url)).start()
    yield daemon
    daemon.close()


def sign(channel: str, body: bytes) -> dict[str, str]:
    """Sign as the platforms say they do, with nothing of flashd's."""
    return {HEADER[channel]: base64.b64encode(hmac.digest(SECRETS[channel], body, hashlib.sha256)).decode()}


def send(flashd: Flashd, channel: str, body: bytes, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    given = sign(channel, body) if headers is None else headers
    status, answer, _ = flashd.call("POST", f"/webhooks/{channel}", body, {"Content-Type": "application/json"} | given)
    return status, json.loads(answer)


def kept(store: Server) -> dict[bytes, bytes | None]:
    """All that the store holds of the pool, but for what the daemon's own probe writes every second."""
    with Redis(unix_socket_path=store.socket_path) as client:
        keys = [key for key in client.scan_iter("fd:{main}:*") if key not in PROBED]
        return {key: client.dump(key) for key in keys}


def orders() -> list[dict[str, Any]]:
    """Every recorded Shopify order, substituted and recent."""
    now = datetime.now(UTC)
    bodies = [json.loads(path.read_text()) for path in SHOPIFY]
    found = [
        body for body in bodies if "line_items" in body and "financial_status" in body and "subtotal_price" in body
    ]
    return [recent(substituted(body, number), now) for number, body in enumerate(found, 1)]


def test_every_recorded_payload_gets_200_and_a_named_state(flashd: Flashd) -> None:
    states: Counter[str] = Counter()
    for channel, paths in (("shop", SHOPIFY), ("woo", WOO)):
        for path in paths:
            status, answer = send(flashd, channel, path.read_bytes())
            assert status == 200, (path.name, answer)
            assert answer["state"] in NAMED, path.name
            states[answer["state"]] += 1
    print(dict(states))
    assert states["unrelated"] > 0
    assert sum(states.values()) == len(SHOPIFY) + len(WOO)


def test_with_ids_skus_and_prices_substituted_every_order_is_accepted(flashd: Flashd) -> None:
    bodies = orders()
    assert len(bodies) >= 10
    for body in bodies:
        for line in body["line_items"]:
            flashd.ask_admin("PUT", f"/admin/v1/stock/{line['sku']}", {"on_hand": 1000})
    for body in bodies:
        status, answer = send(flashd, "shop", json.dumps(body).encode())
        assert (status, answer["state"], answer["code"]) == (200, "queued", "accepted"), answer
    for body in bodies:
        kept = flashd.ask_admin("GET", f"/admin/v1/orders/shop/{body['id']}")["order"]
        assert [(line["sku"], line["quantity"]) for line in kept["lines"]] == [
            (line["sku"], line["quantity"]) for line in body["line_items"]
        ]
        assert kept["total"] == round(float(body["total_price"]) * 100)


def test_recorded_woocommerce_orders_are_accepted(flashd: Flashd) -> None:
    body = recent(json.loads((RECORDED / "woocommerce" / "order_1.json").read_text()), datetime.now(UTC))
    status, answer = send(flashd, "woo", json.dumps(body).encode())
    assert (status, answer["code"]) == (200, "accepted")
    assert answer["state"] in {"queued", "waiting", "parked", "shortfall"}


def test_one_bit_changed_in_body_or_signature_is_401_and_writes_nothing(flashd: Flashd, store: Server) -> None:
    body = json.dumps(orders()[0]).encode()
    before = kept(store)
    assert before
    for position in (0, len(body) // 2, len(body) - 1):
        changed = bytes([*body[:position], body[position] ^ 1, *body[position + 1 :]])
        status, _ = send(flashd, "shop", changed, sign("shop", body))
        assert status == 401
    signature = sign("shop", body)[HEADER["shop"]]
    for position in (0, 20, len(signature) - 2):
        forged = signature[:position] + chr(ord(signature[position]) ^ 1) + signature[position + 1 :]
        status, _ = send(flashd, "shop", body, {HEADER["shop"]: forged})
        assert status == 401
    status, _ = send(flashd, "nobody", body, sign("shop", body))
    assert status == 401
    assert kept(store) == before
    send(flashd, "shop", body)
    assert kept(store) != before


async def test_each_sent_fifty_times_at_once_is_one_order(flashd: Flashd) -> None:
    bodies = orders()
    for body in bodies:
        for line in body["line_items"]:
            flashd.ask_admin("PUT", f"/admin/v1/stock/{line['sku']}", {"on_hand": 1000})
    address = f"http://127.0.0.1:{flashd.intake}/webhooks/shop"

    async def post(session: aiohttp.ClientSession, data: bytes) -> tuple[int, str]:
        async with session.post(address, data=data, headers=sign("shop", data)) as answer:
            return answer.status, (await answer.json())["code"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for body in bodies:
            data = json.dumps(body).encode()
            answers = Counter(await asyncio.gather(*(post(session, data) for _ in range(50))))
            assert answers == {(200, "accepted"): 1, (200, "repeat"): 49}
    listed = flashd.ask_admin("GET", "/admin/v1/orders?limit=500")["orders"]
    assert len(listed) == len(bodies)
    sold = {row["sku"]: row["sold"] for row in flashd.ask_admin("GET", "/admin/v1/stock")["levels"]}
    assert sold == {line["sku"]: line["quantity"] for body in bodies for line in body["line_items"]}
    report = flashd.run("audit", "--json")
    assert report.returncode == 0, report.stdout
