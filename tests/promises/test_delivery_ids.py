"""
What is told twice is known by its order and its version, never by the id of the delivery.

WooCommerce's delivery id hashes the second, so two orders of one second share it; Shopify's event id is shared by
the topics of one event. Whoever took either for a duplicate would lose a paid order.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from flashd.actors.convoy import Convoy
from flashd.actors.intake import ChannelIntake, IntakeRules
from flashd.channels import shopify, woocommerce
from flashd.config import Secret, SecretText
from flashd.domain.order import AcceptCode, Accepted, OrderRef
from flashd.domain.stock import StockLevel
from flashd.runtime.clock import SystemClock
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from tests import intakes
from tests.channels.bodies import shopify_order, woo_order, written

KINDS: dict[str, tuple[Any, Any, str, str]] = {
    "shopify": (shopify, shopify_order, "x-shopify-event-id", "LAMP-1"),
    "woocommerce": (woocommerce, woo_order, "x-wc-webhook-delivery-id", "CUP"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_orders_that_share_a_delivery_id_are_all_taken_and_one_that_is_told_under_two_is_one(
    client: Redis, kind: str
) -> None:
    module, order_of, header, sku = KINDS[kind]
    config = module.Config(kind=kind, secrets=[Secret(env="S")])
    channel = module.connect("shop", config, lambda _: SecretText("a secret of the test"))
    ledger = RedisLedger(client, "main")
    await ledger.recount(StockLevel(sku=sku, on_hand=100))
    intake = ChannelIntake(channel, Convoy(ledger), IntakeRules(route=lambda _: "erp"), clock=SystemClock())
    life = intake.start()

    async def tell(number: int, delivery_id: str) -> str:
        body = written(order_of(id=number, admin_graphql_api_id=f"gid://shopify/Order/{number}"))
        headers = channel.sign(body, now_s=0.0, delivery_id=delivery_id) | {header: delivery_id}
        answer = await intakes.webhook(intake, headers, body)
        return str(answer.code if isinstance(answer, Accepted) else answer.state)

    try:
        codes = await asyncio.gather(tell(1, "one second"), tell(2, "one second"))
        assert list(codes) == [str(AcceptCode.ACCEPTED)] * 2, "a paid order was taken for a duplicate"
        assert await tell(1, "another second") == AcceptCode.REPEAT
        book = RedisOrderBook(client, "main")
        assert [await book.get(OrderRef("shop", name)) is not None for name in ("1", "2")] == [True, True]
        [level] = await ledger.levels([sku])
        assert level.sold == 4
    finally:
        await intake.stop()
        await asyncio.gather(life, return_exceptions=True)
