from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flashd.channels import native, shopify, standard_webhooks, woocommerce
from flashd.demo import payloads
from flashd.demo.ledger import Ledger, read
from flashd.demo.purchase import BLOCKED, Purchase, Shop, Stage, plan
from flashd.demo.shops import Shops
from flashd.demo.signatures import shop_signature, standard_signature
from flashd.domain.order import Effect, Incoming

SECRETS = {
    Shop.SHOPIFY: "shopify-secret",
    Shop.WOOCOMMERCE: "woo-secret",
    Shop.STANDARD: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    Shop.TILL: "till-token",
}


def test_shops_sign_as_the_public_vectors_say() -> None:
    # Source: the hmac test of SQLPage; accepted by @shopify/shopify-api.
    body = b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}'
    assert shop_signature("test-webhook-secret", body) == "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="
    # Source: standard-webhooks/standard-webhooks, libraries/go/webhook_test.go.
    assert (
        standard_signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
        )
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_one_seed_plans_one_crowd() -> None:
    assert plan(7, 50) == plan(7, 50)
    assert plan(7, 50) != plan(8, 50)
    assert len({payloads.order_id(purchase) for purchase in plan(7, 500)}) == 500


def test_a_crowd_has_every_kind_of_customer() -> None:
    crowd = plan(1, 300, with_blocked=True)
    assert {purchase.shop for purchase in crowd} == set(Shop)
    assert {version.stage for purchase in crowd for version in purchase.versions} == set(Stage)
    assert any(purchase.abandons for purchase in crowd)
    assert any(purchase.releases for purchase in crowd)
    assert any(list(purchase.sequence) != sorted(purchase.sequence) for purchase in crowd), "out of order"
    assert any(len(purchase.sequence) > len(purchase.versions) for purchase in crowd), "repeats"
    assert sum(line.article.sku == BLOCKED for purchase in crowd for line in purchase.versions[0].lines) == 2


def understood(purchase: Purchase, index: int) -> Incoming:
    """What the daemon's own adapters make of a version; the demo shares no code with them."""
    version, placed = purchase.versions[index], datetime(2026, 11, 21, 12, tzinfo=UTC)
    found: Any
    if purchase.shop is Shop.SHOPIFY:
        body = msgspec.json.encode(payloads.shopify(purchase, version, placed))
        found = shopify.decode_order(body, "shop", shopify.Config(kind="shopify"))
    elif purchase.shop is Shop.WOOCOMMERCE:
        body = msgspec.json.encode(payloads.woocommerce(purchase, version, placed))
        found = woocommerce.decode_order(body, "woo", woocommerce.Config(kind="woocommerce"))
    elif purchase.shop is Shop.STANDARD:
        body = msgspec.json.encode(payloads.standard(purchase, version, placed))
        found = standard_webhooks.decode_order(body, "store")
    else:
        body = msgspec.json.encode(payloads.native(purchase, version, placed))
        found = native.decode_order(body, "till")
    assert isinstance(found, Incoming), (purchase.shop, found)
    return found


def test_the_daemon_understands_every_body_as_it_was_meant() -> None:
    effects = {Stage.PENDING: Effect.WAIT, Stage.PAID: Effect.DELIVER, Stage.CANCELLED: Effect.CANCEL}
    for purchase in plan(3, 400):
        found = [understood(purchase, index) for index in range(len(purchase.versions))]
        assert [seen.version for seen in found] == sorted({seen.version for seen in found}), "versions rise"
        for version, seen in zip(purchase.versions, found, strict=True):
            assert seen.effect is effects[version.stage]
            assert seen.reason == "", "nothing is doubtful"
            assert seen.order.id == payloads.order_id(purchase)
            assert seen.order.total == version.total
            assert (seen.order.shipping, seen.order.tax) == (version.shipping, version.tax)
            assert [(line.sku, line.quantity, line.unit_price, line.discount) for line in seen.order.lines] == [
                (line.article.sku, line.quantity, line.article.price, line.discount) for line in version.lines
            ]


class Daemon:
    """Stands where flashd stands: remembers what came, and answers as it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, dict[str, str]]] = []
        self.failures: Counter[str] = Counter()  # by path: how many requests get 503 first

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append((request.path, body, dict(request.headers)))
        if self.failures[request.path] > 0:
            self.failures[request.path] -= 1
            return web.json_response({}, status=503, headers={"Retry-After": "1"})
        state = "held" if request.path == "/v1/holds" else "queued"
        return web.json_response({"state": state, "code": "accepted"}, status=201)


@pytest.fixture
async def daemon() -> AsyncIterator[tuple[Daemon, str]]:
    daemon, app = Daemon(), web.Application()
    app.router.add_route("*", "/{tail:.*}", daemon.answer)
    async with TestServer(app) as server:
        yield daemon, f"http://127.0.0.1:{server.port}"


async def test_what_was_sent_stands_in_the_ledger_and_is_really_signed(
    tmp_path: Path, daemon: tuple[Daemon, str]
) -> None:
    stand_in, address = daemon
    ledger = Ledger(tmp_path / "shops")
    shops = Shops(address, SECRETS, ledger, seed=1)
    crowd = [msgspec.structs.replace(purchase, think_s=0.0) for purchase in plan(5, 60)]
    await shops.run(crowd, buyers=20)
    ledger.close()
    entries = list(read(tmp_path / "shops"))
    sent = [entry for entry in entries if entry["kind"] == "order_sent"]
    orders = [seen for seen in stand_in.seen if seen[0] == "/v1/orders" or seen[0].startswith("/webhooks/")]
    assert len(sent) == len(orders) == sum(entry["kind"] == "order_answered" for entry in entries)
    for path, body, headers in orders:
        if path == "/webhooks/shop":
            assert headers["X-Shopify-Hmac-Sha256"] == shop_signature(SECRETS[Shop.SHOPIFY], body)
        elif path == "/webhooks/woo":
            assert headers["X-WC-Webhook-Signature"] == shop_signature(SECRETS[Shop.WOOCOMMERCE], body)
        elif path == "/webhooks/store":
            signed = standard_signature(
                SECRETS[Shop.STANDARD], headers["webhook-id"], int(headers["webhook-timestamp"]), body
            )
            assert headers["webhook-signature"] == signed
        else:
            assert headers["Authorization"] == "Bearer till-token"
    assert shops.counts["purchases"] == 60


@pytest.mark.parametrize("shop", list(Shop))
async def test_only_woocommerce_does_not_repeat_what_was_not_acknowledged(
    tmp_path: Path, daemon: tuple[Daemon, str], shop: Shop
) -> None:
    stand_in, address = daemon
    purchase = next(
        purchase
        for purchase in plan(2, 300)
        if purchase.shop is shop and len(purchase.sequence) == 1 and not (purchase.abandons or purchase.releases)
    )
    path = "/v1/orders" if shop is Shop.TILL else f"/webhooks/{shop}"
    stand_in.failures[path] = 1
    ledger = Ledger(tmp_path / "shops")
    shops = Shops(address, SECRETS, ledger, seed=1)
    await shops.run([msgspec.structs.replace(purchase, think_s=0.0)], buyers=1)
    ledger.close()
    bodies = [body for seen, body, _ in stand_in.seen if seen == path]
    answers = [entry for entry in read(tmp_path / "shops") if entry["kind"] == "order_answered"]
    assert len(set(bodies)) == 1, "a repeat is the same message"
    assert len(bodies) == (1 if shop is Shop.WOOCOMMERCE else 2)
    assert [entry["status"] for entry in answers] == [503 if shop is Shop.WOOCOMMERCE else 201]
    assert json.loads(bodies[0])
