"""The daemon and a simulated Shopify: it subscribes again, forgets whom the shop names, and asks before it stops."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.configuration import configuration, keep, section, signed
from tests.e2e.process import Flashd
from tests.e2e.test_canary import Parrot
from tests.shops.shopify import SimulatedShopify
from tests.until import until

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SimulatedShopify]:
    made = SimulatedShopify(tmp_path).start()
    yield made
    made.close()


@pytest.fixture
def flashd(tmp_path: Path, shop: SimulatedShopify) -> Iterator[Flashd]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keep(tmp_path, shop_secret=shop.secret, shop_token=shop.token, lost_token="shpat_of_an_app_that_is_gone")
    api: dict[str, object] = {"secrets": [{"file": "shop.secret"}], "url": shop.url, "poll_s": 1}
    hooks = "http://127.0.0.1:{intake}/webhooks/shop"
    sections = (
        signed("shop", access_token={"file": "shop.token"}, webhooks_url=hooks, **api),
        signed("lost", access_token={"file": "lost.token"}, **api),
        section("backends.erp", kind="http", url=f"http://127.0.0.1:{server.server_port}/orders", rate="50/s"),
    )
    daemon = Flashd(tmp_path, configuration(tmp_path, *sections)).start()
    yield daemon
    daemon.close()
    server.shutdown()
    server.server_close()


def tell(flashd: Flashd, shop: SimulatedShopify, channel: str, body: Any, topic: str) -> Any:
    data = json.dumps(body).encode()
    signed = base64.b64encode(hmac.digest(shop.secret.encode(), data, hashlib.sha256)).decode()
    headers = {"X-Shopify-Hmac-Sha256": signed, "X-Shopify-Topic": topic}
    status, answer, _ = flashd.call("POST", f"/webhooks/{channel}", data, headers)
    return status, json.loads(answer)


async def test_what_a_shop_demands_is_done_and_what_it_took_away_is_put_back(
    flashd: Flashd, shop: SimulatedShopify
) -> None:
    async with shop:
        address = f"http://127.0.0.1:{flashd.intake}/webhooks/shop"

        async def subscribed() -> set[str]:
            _, books = await shop.ask("GET", "books")
            return {one["topic"] for one in books["webhooks"]["subscriptions"] if one["uri"] == address}

        while await subscribed() != {"ORDERS_CREATE", "ORDERS_UPDATED"}:  # another process' books
            await until(lambda: "webhook.restored" in flashd.log.read_text(), "they are made, as there is none")
        flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 5})
        await shop.create({"sku": "TEE", "stock": 5})
        sold = await shop.sell("TEE")
        assert sold is not None
        path = f"/admin/v1/orders/shop/{sold['id']}"
        orders = "/admin/v1/orders?channel=shop&state=delivered"
        await until(lambda: len(flashd.ask_admin("GET", orders)["orders"]) == 1, "it is delivered")
        person = flashd.ask_admin("GET", path)["order"]["customer"]
        assert person["email"]
        named = {"shop_id": 1, "shop_domain": "127.0.0.1", "customer": {"email": person["email"]}}
        status, answer = tell(
            flashd, shop, "shop", named | {"orders_requested": [sold["id"]]}, "customers/data_request"
        )
        assert (status, answer["state"]) == (200, "demanded")
        [asked] = flashd.ask_admin("GET", "/admin/v1/demands")["demands"]
        shown = flashd.ask_admin("GET", f"/admin/v1/demands/{asked['id']}")
        assert shown["kept"]["erased"] == [f"shop:{sold['id']}"]
        alerts = "/admin/v1/alerts"
        await until(
            lambda: "data_requested" in {one["kind"] for one in flashd.ask_admin("GET", alerts)["alerts"]}, "it is told"
        )
        assert tell(flashd, shop, "shop", named | {"orders_to_redact": [sold["id"]]}, "customers/redact")[0] == 200
        await until(lambda: flashd.ask_admin("GET", path)["order"].get("customer") in (None, {}), "it is erased")
        status, answer = tell(flashd, shop, "shop", {"shop_id": 1, "shop_domain": "other.example"}, "shop/redact")
        assert (status, answer["state"]) == (200, "quarantined")

        gone = {"id": 1, "name": "A shop", "myshopify_domain": "127.0.0.1"}
        for channel in ("shop", "lost"):
            assert tell(flashd, shop, channel, gone, "app/uninstalled")[1]["state"] == "demanded"
        show = "/admin/v1/channels/"
        await until(lambda: flashd.ask_admin("GET", f"{show}lost")["paused"], "its API refuses us, so it is paused")
        demands = "/admin/v1/demands"
        await until(
            lambda: any(
                one["kind"] == "uninstall" and one["channel"] == "shop" and one["met_at"]
                for one in flashd.ask_admin("GET", demands)["demands"]
            ),
            "the other answers, so its demand is over",
        )
        assert not flashd.ask_admin("GET", f"{show}shop")["paused"]
        assert person["email"] not in flashd.log.read_text()
