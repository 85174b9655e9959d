"""Shopify's Admin API against a simulated shop that is a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flashd.channels import shopify
from flashd.channels.shopify import ShopifyApi
from flashd.config import PublishConfig, Secret, SecretText
from flashd.domain.catalogue import Entry
from flashd.domain.listing import UNKNOWN
from flashd.domain.order import Incoming
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports.channel_api import FigureWrite, OrderPage, PriceWrite, WriteCode
from tests.shops.shopify import SimulatedShopify

APPLIED, STALE, REFUSED, LATER, LOST = (
    WriteCode.APPLIED,
    WriteCode.STALE,
    WriteCode.REFUSED,
    WriteCode.LATER,
    WriteCode.UNKNOWN,
)
Connect = Callable[..., ShopifyApi]


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedShopify]:
    """One shop for all tests that do not mind what others left in it."""
    made = SimulatedShopify(tmp_path_factory.mktemp("shop"), "--distinct-times", "--restore", "2000").start()
    yield made
    made.close()


@pytest.fixture
async def shop(process: SimulatedShopify) -> AsyncIterator[SimulatedShopify]:
    async with process:
        yield process
        await process.faults()
        await process.unsubscribe()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make APIs that are closed in the end."""
    made: list[ShopifyApi] = []

    def connect(shop: SimulatedShopify | str, token: str = "", **config: Any) -> ShopifyApi:
        url = shop if isinstance(shop, str) else shop.url
        known = token or (shop.token if isinstance(shop, SimulatedShopify) else "t")
        told = shopify.Config(
            kind="shopify", url=url, access_token=Secret(env="T"), publish=PublishConfig(rate="1000/s"), **config
        )
        api = shopify.connect_api("shop", told, lambda _: SecretText(known))
        assert api is not None
        made.append(api)
        return api

    yield connect
    for api in made:
        await api.close()
        await api.close()


async def stocked(shop: SimulatedShopify, *products: dict[str, Any]) -> list[Entry]:
    made = await shop.create(*products)
    return [
        Entry(
            sku=one["sku"],
            ids={
                "variant": f"gid://shopify/ProductVariant/{one['variant']}",
                "inventory_item": f"gid://shopify/InventoryItem/{one['item']}",
            },
        )
        for one in made["products"]
    ]


def writes(key: str, *wishes: tuple[Entry, int, int]) -> list[FigureWrite]:
    return [FigureWrite(entry=entry, was=was, units=units, key=key) for entry, was, units in wishes]


async def put(api: ShopifyApi, key: str, *wishes: tuple[Entry, int, int]) -> list[WriteCode]:
    return [ended.code for ended in await api.write(writes(key, *wishes))]


DENIED = """{"data": {"group0": null}, "errors": [
  {"message": "Access denied", "path": ["group0"], "extensions": {"code": "ACCESS_DENIED"}}
]}"""


# --------------------------------------------------------------------------------------------------------------- stock


async def test_figures_are_read_in_the_order_they_were_asked_for(shop: SimulatedShopify, connect: Connect) -> None:
    a, b, c = await stocked(
        shop,
        {"sku": "r1", "stock": 5},
        {"sku": "r2", "stock": 0},
        {"sku": "r3", "stock": 7, "tracked": False},
    )
    gone = Entry(sku="gone", ids={"inventory_item": "9"})
    wrong = Entry(sku="wrong", ids={"inventory_item": a.ids["variant"]})
    by_number = Entry(sku="bare", ids={"inventory_item": a.ids["inventory_item"].rpartition("/")[2]})
    api = connect(shop)
    found = await api.read([b, gone, a, c, wrong, Entry(sku="none", ids={}), by_number])
    assert [(figure.sku, figure.units) for figure in found] == [
        ("r2", 0),
        ("gone", UNKNOWN),
        ("r1", 5),
        ("r3", UNKNOWN),
        ("wrong", UNKNOWN),
        ("none", UNKNOWN),
        ("bare", 5),
    ]
    assert found[3].reason == "Shopify does not track its quantity"
    now_ms = await api.now_ms()
    assert now_ms - 3000 < found[0].at_ms <= now_ms + 3000
    assert (await api.read([]), api.calls) == ([], 3)  # which location, the figures, the time


@pytest.mark.parametrize("stands", [-1, -3])
async def test_a_figure_below_zero_is_nothing_to_sell_and_can_be_raised(
    shop: SimulatedShopify, connect: Connect, stands: int
) -> None:
    """Shopify goes below zero: units sold while the policy was CONTINUE, a till without a line, a draft order."""
    (entry,) = await stocked(shop, {"sku": f"below{stands}", "stock": 0})
    await shop.set_stock(entry.sku, stands)
    api = connect(shop)
    assert [one.units for one in await api.read([entry])] == [0]
    assert [one.units async for one in api.products() if one.sku == entry.sku] == [0]
    assert await put(api, f"below{stands}", (entry, 0, 4)) == [APPLIED]
    assert [one.units for one in await api.read([entry])] == [4]
    assert await put(api, f"again{stands}", (entry, 4, 0)) == [APPLIED]
    assert await put(api, f"above{stands}", (entry, 0, 2)) == [APPLIED]


async def test_more_figures_than_a_call_may_ask_for_are_read_in_several(
    shop: SimulatedShopify, connect: Connect
) -> None:
    entries = await stocked(shop, *({"sku": f"many{n}", "stock": n} for n in range(260)))
    api = connect(shop)
    assert [figure.units for figure in await api.read(entries)] == list(range(260))
    assert api.calls == 3


async def test_a_figure_is_set_only_where_the_one_that_was_known_stands(
    shop: SimulatedShopify, connect: Connect
) -> None:
    a, b, c, d = await stocked(shop, *({"sku": f"w{n}", "stock": 5} for n in range(4)))
    await shop.sell("w1")
    api = connect(shop, together=2)
    ended = await api.write(writes("k-w", (a, 5, 9), (b, 5, 9), (c, 5, 0), (d, 5, 7)))
    assert [one.code for one in ended] == [LATER, STALE, APPLIED, APPLIED]
    assert [await shop.available(f"w{n}") for n in range(4)] == [5, 4, 0, 7]
    assert ended[1].reason.startswith("CHANGE_FROM_QUANTITY_STALE: ")
    assert ended[2].at_ms >= await api.now_ms() - 1500
    assert await put(api, "k-w2", (a, 5, 9), (b, 4, 3)) == [APPLIED, APPLIED]


async def test_what_must_not_be_sent_is_refused_and_the_rest_goes_out(shop: SimulatedShopify, connect: Connect) -> None:
    (a,) = await stocked(shop, {"sku": "u1", "stock": 5})
    gone, bare = Entry(sku="gone", ids={"inventory_item": "9"}), Entry(sku="bare", ids={})
    api = connect(shop, together=1)
    ended = await api.write(writes("k-u", (bare, 1, 2), (a, 5, 6), (a, UNKNOWN, 6), (a, 5, -1), (gone, 1, 2)))
    assert [one.code for one in ended] == [REFUSED, APPLIED, REFUSED, REFUSED, REFUSED]
    assert ended[2].reason == "the figure that stands there is not known: read it first"
    assert ended[4].reason.startswith("INVALID_INVENTORY_ITEM")
    assert await shop.available("u1") == 6


async def test_a_lost_reply_is_unknown_and_the_same_call_under_the_same_key_tells_what_it_was(
    shop: SimulatedShopify, connect: Connect
) -> None:
    a, b = await stocked(shop, {"sku": "l1", "stock": 5}, {"sku": "l2", "stock": 5})
    api = connect(shop, together=1, location="61000001")
    await shop.faults(lose_next=1)
    assert await put(api, "k-l", (a, 5, 10), (b, 5, 0)) == [LOST, LOST]
    assert [await shop.sell("l1") is not None for _ in range(5)] == [True] * 5
    again = connect(shop, together=1)  # another process, as after a crash
    assert await put(again, "k-l", (a, 5, 10), (b, 5, 0)) == [APPLIED, APPLIED]
    assert (await shop.available("l1"), await shop.available("l2")) == (5, 0)  # and not 10 again
    assert await put(again, "k-l2", (a, 5, 10)) == [APPLIED]
    assert await put(again, "k-l", (a, 5, 11), (b, 5, 0)) == [LOST, APPLIED]  # the same key, another wish: a mistake


async def test_the_repeat_of_a_refused_call_was_surely_not_applied(shop: SimulatedShopify, connect: Connect) -> None:
    (a,) = await stocked(shop, {"sku": "s1", "stock": 5})
    api = connect(shop)
    await api.read([a])
    await shop.faults(lose_next=1)
    assert await put(api, "k-s", (a, 4, 10)) == [LOST]
    assert await put(api, "k-s", (a, 4, 10)) == [STALE]
    assert await shop.available("s1") == 5


@pytest.mark.parametrize(
    ("fault", "code", "applied"),
    [
        ({"reset_next": 1}, LOST, False),
        ({"fail_next": 1}, LOST, False),
        ({"fail_after_next": 1}, LOST, True),
        ({"token": "another"}, LATER, False),
    ],
    ids=str,
)
async def test_how_a_failed_call_is_told(
    shop: SimulatedShopify, connect: Connect, fault: dict[str, Any], code: WriteCode, *, applied: bool
) -> None:
    (a,) = await stocked(shop, {"sku": f"f{min(fault)}", "stock": 5})
    api = connect(shop)
    await api.read([a])
    await shop.faults(**fault)
    (ended,) = await api.write(writes(f"k-{fault}", (a, 5, 8)))
    assert ended.code is code
    assert ended.reason
    assert await shop.available(a.sku) == (8 if applied else 5)
    await shop.faults(**fault)
    with pytest.raises(ChannelUnavailable, match="channel shop: "):
        await api.read([a])


async def test_where_nobody_listens_nothing_was_sent(connect: Connect) -> None:
    api = connect("http://127.0.0.1:9", location="61")
    assert await put(api, "k", (Entry(sku="a", ids={"inventory_item": "1"}), 5, 6)) == [LATER]
    with pytest.raises(ChannelUnavailable, match="no connection"):
        await api.orders(0)
    prices = await api.write_prices([PriceWrite(entry=Entry(sku="a", ids={"variant": "1"}), price="1.00")])
    assert [(price.price, price.reason[:40]) for price in prices] == [("", "channel shop: no connection: ClientConne")]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("<html>Please log in</html>", LOST),
        ("[]", LOST),
        ("{}", LOST),
        ('{"data": null, "errors": [{"message": "Internal error"}]}', LOST),
        ('{"errors": [{"message": "x", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}', LOST),
        ('{"errors": [{"message": "Field does not exist", "extensions": null}]}', LATER),
        ('{"errors": "Not Found"}', LATER),
        ('{"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}', LATER),
        ('{"data": {}}', LOST),
        ('{"data": {"group0": {"userErrors": 7}}}', LOST),
        ('{"data": {"group0": {"userErrors": [{"message": "No.", "field": null}]}}}', REFUSED),
        ('{"data": {"group0": {"userErrors": [{"message": "w", "code": "IDEMPOTENCY_CONCURRENT_REQUEST"}]}}}', LOST),
        (DENIED, LATER),
        ('{"data": {"group0": {"userErrors": []}}}', APPLIED),
        ('{"data": {"group0": {"userErrors": []}}, "extensions": {"cost": {"requestedQueryCost": "x"}}}', APPLIED),
    ],
)
async def test_what_an_answer_proves(connect: Connect, body: str, code: WriteCode) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_post("/admin/api/2026-10/graphql.json", answer)
    async with TestServer(app) as server:
        api = connect(str(server.make_url("/")), location="61")
        (ended,) = await api.write(writes("k", (Entry(sku="a", ids={"inventory_item": "1"}), 5, 6)))
        assert ended.code is code
        if "THROTTLED" not in body:
            with pytest.raises(ChannelUnavailable):
                await api.orders(0)
            with pytest.raises(ChannelUnavailable):
                await api.check()


# ---------------------------------------------------------------------------------------------------------- the budget


async def test_an_empty_bucket_is_waited_for_and_never_overdrawn(tmp_path: Path, connect: Connect) -> None:
    made = SimulatedShopify(tmp_path, "--points", "100", "--restore", "400").start()
    try:
        async with made:
            entries = await stocked(made, *({"sku": f"t{n}", "stock": 5} for n in range(40)))
            api = connect(made, together=1)
            await put(api, "learn", (entries[0], 5, 6))
            at_once = [put(api, f"k{n}", *((entry, 5, 4) for entry in entries[n : n + 4])) for n in range(4, 40, 4)]
            ended = await asyncio.gather(*at_once)
            stats = await made.stats()
            assert [await made.available(entry.sku) for entry in entries[4:]] == [4] * 36
    finally:
        made.close()
    assert {code for codes in ended for code in codes} == {APPLIED}
    assert stats["calls"].get("throttled", 0) == 0


async def test_a_throttled_write_is_for_later_and_a_throttled_reading_is_asked_again(
    tmp_path: Path, connect: Connect
) -> None:
    made = SimulatedShopify(tmp_path, "--points", "30", "--restore", "100").start()
    try:
        async with made:
            a, b, c, d = await stocked(made, *({"sku": f"t{n}", "stock": 5} for n in range(4)))
            api = connect(made, together=1, location="61000001")
            four = [(a, 5, 1), (b, 5, 1), (c, 5, 1), (d, 5, 1)]
            other = connect(made, together=1, location="61000001")  # knows nothing of what the first has used up
            assert await put(api, "k1", *four) == [APPLIED] * 4  # 40 points of 30, as a full bucket lets through
            assert await put(other, "k2", (a, 1, 2)) == [LATER]
            assert await put(other, "k3", (a, 1, 2)) == [APPLIED]  # after it waited
            fresh = connect(made, location="61000001")
            assert [figure.units for figure in await fresh.read([a, b, c, d])] == [2, 1, 1, 1]
            assert (await made.stats())["calls"]["throttled"] >= 2
    finally:
        made.close()


# -------------------------------------------------------------------------------------------------------------- orders


async def everything(api: ShopifyApi, since_ms: int = 0, limit: int = 100) -> dict[str, Incoming]:
    """Poll all pages; by order id."""
    found: dict[str, Incoming] = {}
    cursor = ""
    while True:
        page: OrderPage = await api.orders(since_ms, cursor=cursor, limit=limit)
        for polled in page.orders:
            assert isinstance(polled.found, Incoming), polled
            assert polled.found.order.id not in found
            found[polled.found.order.id] = polled.found
        if not page.cursor:
            return found
        cursor = page.cursor


async def test_a_polled_order_is_exactly_what_its_webhook_brings(shop: SimulatedShopify, connect: Connect) -> None:
    config = shopify.Config(kind="shopify")
    many = [f"p{n}" for n in range(130)]
    await stocked(shop, *({"sku": sku, "stock": 50, "price": 1000 + 7 * n} for n, sku in enumerate(many)))
    long: dict[str, Any] = {"sku": "", "lines": [{"sku": sku, "quantity": 1 + n % 3} for n, sku in enumerate(many)]}
    two: dict[str, Any] = {
        "sku": "",
        "lines": [{"sku": "p1", "quantity": 3, "discount": 100}, {"sku": "p2"}],
        "shipping": 490,
    }
    sold = [
        await shop.sell("p0", 2),
        await shop.sell(**long),
        await shop.sell(**two, tags=["flash", "vip"], note="Ring twice", buyer="Noor Vance"),
        await shop.sell(**two),
        await shop.sell(**two),
        await shop.sell(**two),
        await shop.sell(**two, status="pending"),
        await shop.sell(**two, test=True),
        await shop.sell(**two, status="authorized"),
    ]
    ids = [order["id"] for order in sold if order is not None]
    assert len(ids) == 9
    await shop.refund(ids[3], {"p1": 1})
    await shop.refund(ids[4], {"p1": 0, "p2": 0})
    await shop.cancel(ids[5])
    await shop.cancel(ids[6], restock=False)
    await shop.edit(ids[8], {"p2": 3, "p5": 2})
    bodies = {str(order["id"]): order for order in (await shop.books())["orders"]}
    polled = await everything(connect(shop), limit=4)
    assert set(polled) == set(bodies)
    for number in map(str, ids):
        told = shopify.decode_order(msgspec.json.encode(bodies[number]), "shop", config)
        found = polled[number]
        assert isinstance(told, Incoming)
        assert found.order == told.order
        assert (found.order.digest, found.version) == (told.order.digest, told.version)
        assert (found.effect, found.reason, found.strict) == (told.effect, told.reason, told.strict)
        raw = shopify.decode_order(found.raw, "shop", config)  # what is kept can be read again
        assert isinstance(raw, Incoming)
        assert (raw.order, raw.version) == (found.order, found.version)
    assert len(polled[str(ids[1])].order.lines) == 130
    assert len({found.effect for found in polled.values()}) == 4


async def test_polling_goes_on_where_it_stopped_and_sees_late_changes_again(
    shop: SimulatedShopify, connect: Connect
) -> None:
    await stocked(shop, {"sku": "o1", "stock": 50})
    api = connect(shop)
    first = await shop.sell("o1")
    assert first is not None
    page = await api.orders(0, limit=100)
    assert abs(page.upto_ms - await api.now_ms()) < 3000
    later = [await shop.sell("o1") for _ in range(3)]
    await shop.mark(first["id"], tags=["moved"])  # a second later than it was made
    found = await everything(api, page.upto_ms - 2000, limit=2)
    wanted = {str(order["id"]) for order in [first, *later] if order is not None}
    assert wanted <= set(found)
    assert found[str(first["id"])].order.tags == ("moved",)


async def test_a_page_that_is_too_dear_is_asked_for_in_smaller_ones(shop: SimulatedShopify, connect: Connect) -> None:
    await stocked(shop, {"sku": "d1", "stock": 90})
    ids = {str(order["id"]) for order in [await shop.sell("d1") for _ in range(30)] if order is not None}
    api = connect(shop)
    before = api.calls
    assert ids <= set(await everything(api, limit=100))
    tried = api.calls - before
    before = api.calls
    assert ids <= set(await everything(api, limit=100))
    assert api.calls - before < tried  # it has learned


# ----------------------------------------------------------------------------------------------- catalogue and webhooks


async def test_everything_that_is_sold_is_listed_with_its_ids_policy_and_price(
    shop: SimulatedShopify, connect: Connect
) -> None:
    a, _, _ = await stocked(
        shop,
        {"sku": "c1", "stock": 3, "price": 1990, "compare_at": 2990, "title": "Lamp"},
        {"sku": "c2", "stock": 0, "policy": "CONTINUE"},
        {"sku": "c3", "tracked": False},
    )
    api = connect(shop)
    found = {product.sku: product async for product in api.products()}
    lamp = found["c1"]
    assert {name: lamp.ids[name] for name in a.ids} == a.ids
    assert (lamp.title, lamp.units, lamp.price, lamp.compare_at) == ("Lamp", 3, "19.90", "29.90")
    assert [found[sku].oversells for sku in ("c1", "c2", "c3")] == [False, True, False]
    assert [found[sku].tracked for sku in ("c1", "c2", "c3")] == [True, True, False]
    assert (found["c2"].units, found["c3"].units) == (0, None)
    ids = Entry(sku="c1", ids=lamp.ids)
    assert [figure.units for figure in await api.read([ids])] == [3]


async def test_a_deleted_subscription_is_told_as_not_alive(shop: SimulatedShopify, connect: Connect) -> None:
    api = connect(shop)
    await shop.subscribe("http://127.0.0.1:9/webhooks/shop", ["orders/create", "orders/updated", "orders/paid"])
    assert [(one.topic, one.alive) for one in await api.subscriptions()] == [
        ("ORDERS_CREATE", True),
        ("ORDERS_UPDATED", True),
        ("ORDERS_PAID", True),
    ]
    await shop.unsubscribe("orders/updated")
    (dead,) = [one for one in await api.subscriptions() if not one.alive]
    assert (dead.topic, dead.address) == ("ORDERS_UPDATED", "")
    assert "deletes a subscription" in dead.reason
    assert await connect(shop, webhooks="notifications").subscriptions() == []


# -------------------------------------------------------------------------------------------------------------- prices


async def test_prices_are_written_product_by_product_and_read_back(shop: SimulatedShopify, connect: Connect) -> None:
    a, b, c = await stocked(
        shop,
        {"sku": "m1", "price": 1000, "product": 777},
        {"sku": "m2", "price": 2000, "compare_at": 2500, "product": 777},
        {"sku": "m3", "price": 3000},
    )
    gone = Entry(sku="gone", ids={"variant": "1"})
    api = connect(shop)
    before = await api.read_prices([c, gone, b])
    assert [(price.sku, price.price, price.compare_at) for price in before] == [
        ("m3", "30.00", ""),
        ("gone", "", ""),
        ("m2", "20.00", "25.00"),
    ]
    told = await api.write_prices(
        [
            PriceWrite(entry=c, price="9.5", compare_at="30"),
            PriceWrite(entry=gone, price="1.00"),
            PriceWrite(entry=a, price="8.00"),
            PriceWrite(entry=b, price="15.00"),
        ]
    )
    assert [(price.sku, price.price, price.compare_at) for price in told] == [
        ("m3", "9.50", "30.00"),
        ("gone", "", ""),
        ("m1", "8.00", ""),
        ("m2", "15.00", ""),
    ]
    assert told[1].reason.startswith("Shopify has no such variant")
    assert await api.read_prices([c, a, b]) == [told[0], told[2], told[3]]


async def test_a_price_whose_answer_was_lost_is_told_with_the_reason(shop: SimulatedShopify, connect: Connect) -> None:
    (a,) = await stocked(shop, {"sku": "n1", "price": 1000})
    api = connect(shop)
    await api.read_prices([a])
    variants = api._variants

    async def then_lose(entries: Any) -> Any:
        found = await variants(entries)
        await shop.faults(lose_next=1)
        return found

    api._variants = then_lose  # type: ignore[method-assign]  # the fault comes between reading and writing
    (told,) = await api.write_prices([PriceWrite(entry=a, price="5.00")])
    assert (told.price, "may have gone out" in told.reason) == ("", True)


# --------------------------------------------------------------------------------------------------------------- login


async def test_check_says_who_answered_and_what_is_missing(shop: SimulatedShopify, connect: Connect) -> None:
    assert await connect(shop).check() == (
        "Shopify flashd demo (flashd-demo.myshopify.com), location 61000001, API 2026-10"
    )
    assert (await connect(shop, api_version="2025-10").check()).endswith("API 2025-10, which answers as 2026-10")
    with pytest.raises(ChannelUnavailable, match="401: the access token was refused"):
        await connect(shop, token="wrong").check()
    await shop.faults(scopes=["read_orders", "write_products", "read_inventory"])
    with pytest.raises(ChannelUnavailable, match="lacks the scopes write_inventory, read_locations"):
        await connect(shop).check()


async def test_a_shop_with_several_locations_must_be_told_which(tmp_path: Path, connect: Connect) -> None:
    made = SimulatedShopify(tmp_path, "--locations", "2").start()
    try:
        async with made:
            (a,) = await stocked(made, {"sku": "A", "stock": [3, 4]})
            api = connect(made)
            with pytest.raises(ChannelUnavailable, match=r"61000001 \(Warehouse 1\), 61000002 \(Warehouse 2\)"):
                await api.read([a])
            assert await put(api, "k", (a, 3, 5)) == [LATER]
            second = connect(made, location="61000002")
            assert [figure.units for figure in await second.read([a])] == [4]
            assert await put(second, "k", (a, 4, 0)) == [APPLIED]
            assert await made.available("A") == 3
    finally:
        made.close()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"url": "https://x.myshopify.com"},
            r'channels.shop.access_token: is missing; write access_token = \{ file = "shop.token"',
        ),
        ({"access_token": Secret(env="T")}, "channels.shop.url: is missing"),
        ({"url": "http://x.myshopify.com", "access_token": Secret(env="T")}, "write https://"),
        ({"url": "x.myshopify.com", "access_token": Secret(env="T")}, "with its scheme"),
        (
            {"url": "https://x.myshopify.com", "access_token": Secret(env="T"), "webhooks_url": "http://me.example/w"},
            "channels.shop.webhooks_url = .*write https://",
        ),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_at_the_start(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shopify.connect_api("shop", shopify.Config(kind="shopify", **config), lambda _: SecretText("t"))


def test_an_empty_access_token_is_refused_at_the_start() -> None:
    told = shopify.Config(kind="shopify", url="https://x.myshopify.com", access_token=Secret(env="T"))
    with pytest.raises(ConfigError, match="is empty or no access token"):
        shopify.connect_api("shop", told, lambda _: SecretText(""))


def test_without_an_address_there_is_no_api() -> None:
    assert shopify.connect_api("shop", shopify.Config(kind="shopify"), lambda _: SecretText("t")) is None
