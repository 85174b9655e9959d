"""What flashd tells and asks a shop of one's own, against one that checks signatures and repeats."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from flashd.channels import standard_webhooks
from flashd.channels.standard_webhooks import Config, StandardWebhooksApi
from flashd.config import PublishConfig, Secret, SecretText
from flashd.domain.catalogue import Entry
from flashd.domain.listing import UNKNOWN, WriteMode
from flashd.domain.order import Incoming
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports import FigureWrite, PriceWrite, WriteCode
from tests.channels.bodies import webhook_order
from tests.shops.own_shop import SECRET, TOKEN, OwnShop

TEXTS = {"hook": SECRET, "token": TOKEN, "none": ""}
PATHS = {"publish_url": "/stock", "figures_url": "/figures", "orders_url": "/orders"}


def reveal(secret: Secret) -> SecretText:
    return SecretText(TEXTS[str(secret.file)])


def config(*, mode: Any = "none", token: str = "token", **more: Any) -> Config:  # the name of a file
    return Config(
        kind="standard_webhooks",
        secrets=(Secret(file="hook"),),
        api_token=Secret(file=token),
        publish=PublishConfig(mode=mode, rate="1000/s"),
        **more,
    )


def connected(url: str, *keys: str) -> StandardWebhooksApi:
    addresses = {key: url + PATHS[key] for key in keys or PATHS}
    made = standard_webhooks.connect_api("own", config(**addresses), reveal)
    assert made is not None
    return made


@pytest.fixture
async def shop() -> AsyncIterator[OwnShop]:
    async with OwnShop() as listening:
        yield listening


@pytest.fixture
async def api(shop: OwnShop) -> AsyncIterator[StandardWebhooksApi]:
    made = connected(shop.url)
    yield made
    await made.close()


def entry(sku: str, /, **ids: str) -> Entry:
    return Entry(sku=sku, ids=ids)


def wish(sku: str, units: int, /, *, key: str = "k1", **ids: str) -> FigureWrite:
    return FigureWrite(entry=entry(sku, **ids), units=units, key=key)


async def test_figures_go_out_in_one_signed_message(api: StandardWebhooksApi, shop: OwnShop) -> None:
    shop.figures = {"LAMP": 9, "CHAIR": 9}
    written = await api.write([wish("LAMP", 3), wish("ours", 4, sku="CHAIR", location="berlin")])
    assert [(one.sku, one.code) for one in written] == [("LAMP", WriteCode.APPLIED), ("ours", WriteCode.APPLIED)]
    (message,) = shop.messages
    assert (message["type"], message["id"]) == ("stock.published", "k1")
    assert message["data"] == {
        "figures": [
            {"sku": "LAMP", "location": "", "units": 3},
            {"sku": "CHAIR", "location": "berlin", "units": 4},
        ]
    }
    assert shop.figures == {"LAMP": 3, "CHAIR": 4}
    now = await api.now_ms()
    assert all(now - 3000 < one.at_ms < now + 3000 for one in written)


async def test_a_lost_reply_is_unknown_and_its_repeat_changes_nothing_again(
    api: StandardWebhooksApi, shop: OwnShop
) -> None:
    assert api.traits.idempotent
    shop.figures, shop.lose_replies = {"LAMP": 9}, 1
    (first,) = await api.write([wish("LAMP", 5)])
    assert (first.code, shop.figures) == (WriteCode.UNKNOWN, {"LAMP": 5})
    shop.figures["LAMP"] = 2  # three were sold
    (second,) = await api.write([wish("LAMP", 5)])
    assert (second.code, shop.figures) == (WriteCode.APPLIED, {"LAMP": 2})
    assert len(shop.messages) == 1


async def test_a_sku_that_is_not_sold_there_is_refused_alone(api: StandardWebhooksApi, shop: OwnShop) -> None:
    shop.figures = {"LAMP": 9}
    gone, lamp = await api.write([wish("GONE", 1), wish("LAMP", 3)])
    assert (gone.code, gone.reason, lamp.code) == (WriteCode.REFUSED, "we do not sell that", WriteCode.APPLIED)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (web.Response(status=200, headers={"Date": "Sat, 21 Nov 2026 12:00:00 GMT"}), WriteCode.APPLIED),
        (web.Response(status=200, text="<html>", headers={"Date": "Sat, 21 Nov 2026 12:00:00 GMT"}), WriteCode.APPLIED),
        (web.Response(status=202, headers={"Date": "not a date"}), WriteCode.UNKNOWN),
        (web.Response(status=301, headers={"Location": "/stock"}), WriteCode.LATER),
        (web.Response(status=401), WriteCode.LATER),
        (web.Response(status=404), WriteCode.REFUSED),
        (web.Response(status=410), WriteCode.LATER),
        (web.Response(status=408), WriteCode.UNKNOWN),
        (web.Response(status=429, headers={"Retry-After": "0"}), WriteCode.LATER),
        (web.Response(status=503, headers={"Retry-After": "0"}), WriteCode.LATER),
        (web.Response(status=503), WriteCode.UNKNOWN),
        (web.Response(status=500), WriteCode.UNKNOWN),
    ],
)
async def test_what_an_answer_means(
    api: StandardWebhooksApi, shop: OwnShop, answer: web.Response, code: WriteCode
) -> None:
    shop.answer = answer
    (written,) = await api.write([wish("LAMP", 3)])
    assert written.code is code
    assert bool(written.reason) is (code is not WriteCode.APPLIED)
    assert len(shop.asked) == 1


async def test_a_shop_that_is_not_there() -> None:
    api = connected("http://127.0.0.1:9")
    assert [one.code for one in await api.write([wish("LAMP", 1)])] == [WriteCode.LATER]
    for question in (api.read([entry("LAMP")]), api.orders(0), api.check(), api.now_ms()):
        with pytest.raises(ChannelUnavailable, match="channel own: no connection"):
            await question
    await api.close()


async def test_its_figures_are_read_fifty_at_a_time(api: StandardWebhooksApi, shop: OwnShop) -> None:
    shop.figures = {**{f"A{n}": n for n in range(60)}, "BELOW": -3, "UNCOUNTED": None}
    entries = [*(entry(f"ours-{n}", sku=f"A{n}") for n in range(60)), entry("BELOW"), entry("UNCOUNTED"), entry("GONE")]
    figures = await api.read(entries)
    assert [one.units for one in figures] == [*range(60), 0, UNKNOWN, UNKNOWN]
    assert [one.sku for one in figures] == [one.sku for one in entries]
    assert [one.reason for one in figures[-2:]] == ["its stock is not counted there", "there is no such SKU"]
    assert len(shop.asked) == 2


async def test_everything_that_it_shows_is_imported(api: StandardWebhooksApi, shop: OwnShop) -> None:
    shop.figures = {"A": 1, "B": 2, "C": None, "D": 4, "E": 5}
    found = [product async for product in api.products()]
    assert [(one.sku, one.units, one.tracked, one.ids) for one in found] == [
        (sku, units, units is not None, {"sku": sku}) for sku, units in shop.figures.items()
    ]
    assert found[0].title == "The A"


async def test_the_poll_brings_exactly_what_the_webhook_brings(api: StandardWebhooksApi, shop: OwnShop) -> None:
    shop.orders = [
        webhook_order() | {"id": f"O{n}", "status": status, "updated_at": f"2026-11-2{n}T08:00:00.500+00:00"}
        for n, status in enumerate(("paid", "pending", "cancelled", "test", "paid"))
    ]
    found: list[Incoming] = []
    cursor = ""
    while True:
        page = await api.orders(1795248000500, cursor=cursor)  # 2026-11-21T08:00:00.500Z
        found += [one.found for one in page.orders if isinstance(one.found, Incoming)]
        if not (cursor := page.cursor):
            break
    assert [order.order.id for order in found] == ["O1", "O2", "O3", "O4"]
    for order, sent in zip(found, shop.orders[1:], strict=True):
        told = standard_webhooks.decode_order(json.dumps(sent).encode(), "own")
        assert isinstance(told, Incoming)
        assert (order.order, order.version, order.effect) == (told.order, told.version, told.effect)
    assert abs(page.upto_ms - await api.now_ms()) < 3000


async def test_an_order_that_cannot_be_read_is_handed_out_with_its_body(
    api: StandardWebhooksApi, shop: OwnShop
) -> None:
    shop.orders = [{"id": 7, "updated_at": "2026-11-21T08:00:00+00:00"}]
    (polled,) = (await api.orders(0)).orders
    assert type(polled.found).__name__ == "Unreadable"
    assert json.loads(polled.raw) == shop.orders[0]


async def test_check_calls_every_address_and_changes_nothing(api: StandardWebhooksApi, shop: OwnShop) -> None:
    shop.figures = {"LAMP": 9}
    assert await api.check() == "a shop of its own at 127.0.0.1"
    assert [path.partition("?")[0] for path in shop.asked] == ["/stock", "/figures", "/orders"]
    assert shop.figures == {"LAMP": 9}
    shop.answer = web.Response(status=401)
    with pytest.raises(ChannelUnavailable, match="HTTP 401: the login was refused"):
        await api.check()


async def test_an_address_that_is_left_out_is_never_called(shop: OwnShop) -> None:
    shop.figures = {"LAMP": 9}
    api = connected(shop.url, "orders_url")
    assert (await api.write([wish("LAMP", 1)]))[0].code is WriteCode.REFUSED
    assert (await api.read([entry("LAMP")]))[0].reason == "it cannot be asked: figures_url is empty"
    assert [product async for product in api.products()] == []
    assert shop.asked == []
    assert await api.check() == "a shop of its own at 127.0.0.1"
    await api.close()
    api = connected(shop.url, "publish_url")
    assert (api.traits.polls, api.traits.reads, api.traits.idempotent) == (False, False, True)
    assert (api.traits.mode, api.traits.prices) == (WriteMode.ABSOLUTE, False)
    with pytest.raises(ChannelUnavailable, match="orders_url is empty"):
        await api.orders(0)
    await api.close()


async def test_it_has_no_prices_and_no_register_of_webhooks(api: StandardWebhooksApi) -> None:
    assert (await api.read_prices([entry("LAMP")]))[0].reason != ""
    assert (await api.write_prices([PriceWrite(entry=entry("LAMP"), price="1.00")]))[0].reason != ""
    assert await api.subscriptions() == []


def test_a_mirror_needs_nothing_but_an_address_for_its_figures() -> None:
    made = standard_webhooks.connect_api("own", config(mode="mirror", publish_url="https://a.example"), reveal)
    assert made is not None
    assert not made.traits.reads


def test_without_an_address_there_is_nothing_to_call() -> None:
    assert standard_webhooks.connect_api("own", config(), reveal) is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (config(mode="mirror"), r'\[channels.own\] publish_url: is empty, and publish.mode = "mirror" needs it'),
        (config(mode="escrow", publish_url="https://a.example"), "figures_url: is empty"),
        (
            config(mode="escrow", publish_url="https://a.example", figures_url="https://a.example/f"),
            "orders_url: is empty",
        ),
        (config(orders_url="http://a.example/orders"), "channels.own.orders_url = .*would go over the wire"),
        (config(orders_url="https://me@a.example/orders"), "a login or a fragment does not belong"),
        (config(orders_url="https://a.example/orders?shop=7", token="none"), "api_token: is empty"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(made: Config, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        standard_webhooks.connect_api("own", made, reveal)
