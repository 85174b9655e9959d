"""Webhooks that a platform took away are put back, where the section says whither they go."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from flashd.channels import shopify, woocommerce
from flashd.config import PublishConfig, Secret, SecretText
from flashd.ports import RestoringApi, Subscription
from tests.shops.receiver import Receiver
from tests.shops.shopify import SimulatedShopify
from tests.shops.woocommerce import SimulatedWooCommerce

ADDRESS = "https://flashd.example.com/webhooks/shop"
FAST = PublishConfig(rate="1000/s")


async def test_a_subscription_that_shopify_deleted_is_made_again_once(tmp_path: Path) -> None:
    shop = SimulatedShopify(tmp_path).start()
    try:
        async with shop:
            config = shopify.Config(
                kind="shopify", url=shop.url, access_token=Secret(env="T"), publish=FAST, webhooks_url=ADDRESS
            )
            api = shopify.connect_api("shop", config, lambda _: SecretText(shop.token))
            assert isinstance(api, RestoringApi)
            await shop.subscribe(ADDRESS)
            assert await api.restore() == [], "nothing is lacking"
            await shop.unsubscribe("orders/updated")
            assert [one.topic for one in await api.subscriptions() if not one.alive] == ["ORDERS_UPDATED"]
            assert await api.restore() == [Subscription(topic="ORDERS_UPDATED", address=ADDRESS, alive=True)]
            assert await api.restore() == []
            there = {(one.topic, one.address) for one in await api.subscriptions() if one.alive}
            assert there == {("ORDERS_CREATE", ADDRESS), ("ORDERS_UPDATED", ADDRESS)}
            await api.close()
            for told in (replace(config, webhooks_url=""), replace(config, webhooks="notifications")):
                other = shopify.connect_api("shop", told, lambda _: SecretText(shop.token))
                assert other is not None
                await shop.unsubscribe()
                assert await other.restore() == [], "nobody said whither"
                await other.close()
    finally:
        shop.close()


async def test_a_webhook_that_woocommerce_disabled_is_active_again_and_a_paused_one_is_left(tmp_path: Path) -> None:
    woo = SimulatedWooCommerce(tmp_path).start()
    try:
        with Receiver() as receiver, Receiver() as stranger:
            config = woocommerce.Config(
                kind="woocommerce",
                url=woo.url,
                consumer_key=Secret(env="ck_sim"),
                consumer_secret=Secret(env="cs_sim"),
                publish=FAST,
                webhooks_url=receiver.url,
            )
            api = woocommerce.connect_api("woo", config, lambda secret: SecretText(secret.env or ""))
            assert isinstance(api, RestoringApi)
            created, updated = woo.subscribe(receiver.url)
            foreign, _ = woo.subscribe(stranger.url)
            assert await api.restore() == []
            woo.webhooks_off(3600)
            woo.rest("PUT", f"webhooks/{updated}", {"status": "paused"})
            assert await api.restore() == [Subscription(topic="order.created", address=receiver.url, alive=True)]
            states = {one["id"]: one["status"] for one in woo.rest("GET", "webhooks?per_page=100")[1]}
            assert (states[created], states[updated], states[foreign]) == ("active", "paused", "disabled")
            await api.close()
    finally:
        woo.close()
