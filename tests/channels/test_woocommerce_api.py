"""WooCommerce's own API, against a simulated shop in a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from aiohttp import web

from flashd.channels import woocommerce
from flashd.channels.exchange import Pace
from flashd.channels.woocommerce import Config, WooCommerceApi
from flashd.config import PublishConfig, Secret, SecretText
from flashd.domain.catalogue import Entry
from flashd.domain.listing import UNKNOWN, WriteMode
from flashd.domain.order import Effect, Incoming
from flashd.domain.rate import Rate
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports import FigureWrite, OrderPage, Price, PriceWrite, WriteCode
from tests.shops.receiver import Receiver
from tests.shops.woocommerce import SimulatedWooCommerce

SECRETS = {"ck": "ck_sim", "cs": "cs_sim", "none": " ", "wrong": "cs_other"}


def reveal(secret: Secret) -> SecretText:
    return SecretText(SECRETS[str(secret.file)])


def config(url: str = "", *, secret: str = "cs", mode: Any = "none", rate: str = "1000/s", **more: Any) -> Config:
    return Config(
        kind="woocommerce",
        url=url,
        consumer_key=Secret(file="ck"),
        consumer_secret=Secret(file=secret),
        publish=PublishConfig(mode=mode, rate=rate),
        **more,
    )


def connected(url: str, **more: Any) -> WooCommerceApi:
    made = woocommerce.connect_api("woo", config(url, **more), reveal)
    assert made is not None
    return made


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedWooCommerce]:
    shop = SimulatedWooCommerce(tmp_path_factory.mktemp("woo")).start()
    yield shop
    shop.close()


@pytest.fixture
def woo(process: SimulatedWooCommerce) -> SimulatedWooCommerce:
    process.clear()
    return process


@pytest.fixture
async def api(woo: SimulatedWooCommerce) -> AsyncIterator[WooCommerceApi]:
    made = connected(woo.url)
    yield made
    await made.close()


async def entries_of(api: WooCommerceApi) -> dict[str, Entry]:
    return {product.sku: Entry(sku=product.sku, ids=product.ids) async for product in api.products()}


def wish(entry: Entry, units: int) -> FigureWrite:
    return FigureWrite(entry=entry, units=units, key="k1")


async def drained(api: WooCommerceApi, since_ms: int = 0, limit: int = 100) -> tuple[list[Incoming], OrderPage]:
    found: list[Incoming] = []
    cursor = ""
    while True:
        page = await api.orders(since_ms, cursor=cursor, limit=limit)
        for order in page.orders:
            assert isinstance(order.found, Incoming)
            found.append(order.found)
        if not (cursor := page.cursor):
            return found, page


SHIRT = {
    "sku": "SHIRT",
    "variations": [
        {"sku": "RED", "stock": 4, "regular_price": "12.00"},
        {"sku": "BLUE", "stock": 0, "backorders": "notify"},
        {"sku": "GREEN", "manage_stock": "parent"},
    ],
    "stock": 6,
}


# ----------------------------------------------------------------------------------------------------------- catalogue


async def test_every_product_and_variation_is_handed_out_once(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    ids = woo.stock(SHIRT, {"sku": "", "stock": 3}, *({"sku": f"A{n}", "stock": n} for n in range(120)))
    found = [product async for product in api.products()]
    by_sku = {product.sku: product for product in found}
    assert len(found) == 124
    red, blue, green, gap = by_sku["RED"], by_sku["BLUE"], by_sku["GREEN"], by_sku[""]
    assert red.ids == {"product": str(ids["SHIRT"]), "variation": str(ids["RED"]), "sku": "RED"}
    assert (red.units, red.tracked, red.oversells, red.price) == (4, True, False, "12.00")
    assert (blue.units, blue.tracked, blue.oversells) == (0, True, True)
    assert (green.units, green.tracked) == (None, False)
    assert (gap.sku, gap.units, "sku" in gap.ids) == ("", 3, False)
    assert [by_sku[f"A{n}"].units for n in range(120)] == list(range(120))


# ------------------------------------------------------------------------------------------------------------- figures


async def test_two_hundred_figures_are_read_in_two_calls(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    shirts = [{"sku": f"S{n}", "variations": [{"sku": f"V{n}", "stock": n}]} for n in range(30)]
    woo.stock(*shirts, *({"sku": f"A{n}", "stock": n} for n in range(170)))
    entries = list((await entries_of(api)).values())
    calls = api.calls
    figures = await api.read(entries)
    assert api.calls - calls == 2
    assert [(figure.sku, figure.units) for figure in figures] == [(one.sku, int(one.sku[1:])) for one in entries]


async def test_a_map_without_the_platforms_sku_is_read_by_ids(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    ids = woo.stock(SHIRT, LAMP=5)
    product, red, lamp = (str(ids[sku]) for sku in ("SHIRT", "RED", "LAMP"))
    figures = await api.read(
        [
            Entry(sku="ours-1", ids={"product": lamp}),
            Entry(sku="ours-2", ids={"product": product, "variation": red}),
            Entry(sku="ours-3", ids={"product": lamp, "sku": "was called otherwise"}),
            Entry(sku="ours-4", ids={"product": "999999"}),
            Entry(sku="ours-5", ids={"product": "999999", "variation": "7"}),
            Entry(sku="ours-6", ids={}),
            Entry(sku="ours-7", ids={"product": product, "variation": str(ids["GREEN"])}),
        ]
    )
    assert [figure.units for figure in figures] == [5, 4, 5, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]
    assert [figure.reason[:24] for figure in figures[3:]] == [
        "there is no such product",
        "there is no such product",
        "the map does not say whe",
        "the variation sells from",
    ]


async def test_a_figure_below_zero_is_nothing_left_and_not_an_unknown_one(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock({"sku": "LAMP", "stock": 1, "backorders": "yes"})
    woo.buy("LAMP", 2)
    (figure,) = await api.read([(await entries_of(api))["LAMP"]])
    assert (figure.units, figure.reason) == (0, "")


async def test_a_batch_is_written_with_variations_through_their_parent(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(SHIRT, {"sku": "CHAIR", "manage_stock": False}, LAMP=5)
    entries = await entries_of(api)
    writes = [wish(entries[sku], units) for sku, units in (("RED", 9), ("LAMP", 8), ("GREEN", 7), ("CHAIR", 6))]
    calls = api.calls
    answers = await api.write(writes)
    assert api.calls - calls == 2
    assert [(one.sku, one.code, one.reason) for one in answers] == [
        (sku, WriteCode.APPLIED, "") for sku in ("RED", "LAMP", "GREEN", "CHAIR")
    ]
    assert [figure.units for figure in await api.read([write.entry for write in writes])] == [9, 8, 7, 6]
    stock = woo.books["stock"]
    assert (stock["SHIRT"], stock["RED"], stock["GREEN"], stock["CHAIR"]) == (6, 9, 7, 6)


async def test_what_failed_in_a_batch_is_refused_and_the_rest_is_written(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(LAMP=5)
    lamp = (await entries_of(api))["LAMP"]
    gone, unmapped = Entry(sku="GONE", ids={"product": "999999"}), Entry(sku="NOWHERE", ids={"product": "seven"})
    answers = await api.write([wish(gone, 1), wish(lamp, 2), wish(unmapped, 3)])
    assert [one.code for one in answers] == [WriteCode.REFUSED, WriteCode.APPLIED, WriteCode.REFUSED]
    assert answers[0].reason == "woocommerce_rest_product_invalid_id: Invalid ID."
    assert woo.books["stock"]["LAMP"] == 2


async def test_a_write_was_in_force_before_the_instant_it_tells_also_behind_a_slow_shop(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    """Apache dates an answer when the request came: what the shop sold up to the write must count as before it."""
    woo.stock(LAMP=5)
    lamp = (await entries_of(api))["LAMP"]
    woo.turn(clock_offset_s=-7200, api={"latency_s": [1.2, 1.2]})
    (answer,) = await api.write([wish(lamp, 4)])
    (move,) = woo.call("GET", "moves/LAMP")
    assert move["by"] == "api"
    assert move["at_s"] * 1000 <= answer.at_ms < move["at_s"] * 1000 + 4000


@pytest.mark.parametrize(
    ("fault", "code", "figure"),
    [
        ({"lose_replies": 1}, WriteCode.UNKNOWN, 4),
        ({"lose_requests": 1}, WriteCode.UNKNOWN, 5),
        ({"errors": 1, "status": 500}, WriteCode.UNKNOWN, 5),
        ({"errors": 1, "status": 502}, WriteCode.UNKNOWN, 5),
        ({"errors": 1, "status": 503}, WriteCode.UNKNOWN, 5),
        ({"errors": 1, "status": 401}, WriteCode.LATER, 5),
        ({"errors": 1, "status": 403}, WriteCode.LATER, 5),
        ({"errors": 1, "status": 404}, WriteCode.REFUSED, 5),
    ],
)
async def test_a_failed_write_is_a_value_and_sent_once(
    api: WooCommerceApi, woo: SimulatedWooCommerce, fault: dict[str, int], code: WriteCode, figure: int
) -> None:
    woo.stock(LAMP=5)
    lamp = (await entries_of(api))["LAMP"]
    await api.read([lamp])  # the connection is kept open and used again: that is where clients repeat by themselves
    woo.turn(next={**fault, "writes_only": True})
    (answer,) = await api.write([wish(lamp, 4)])
    assert (answer.code, bool(answer.reason)) == (code, True)
    books = woo.books
    assert (books["stock"]["LAMP"], books["calls"]["POST /products/batch"]) == (figure, 1)


async def test_a_question_into_a_dropped_connection_is_asked_once(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(LAMP=5)
    lamp = (await entries_of(api))["LAMP"]
    before = woo.books["calls"]["GET /products"]
    woo.turn(next={"lose_requests": 1})
    with pytest.raises(ChannelUnavailable, match="may have gone out"):
        await api.read([lamp])
    assert woo.books["calls"]["GET /products"] == before + 1


async def test_a_throttled_write_is_for_later_and_all_that_follows_waits(
    woo: SimulatedWooCommerce,
) -> None:
    woo.stock(LAMP=5)
    api = connected(woo.url)
    lamp = (await entries_of(api))["LAMP"]
    woo.turn(api={"rate_limit": 1})
    began = asyncio.get_running_loop().time()
    first, second = await api.write([wish(lamp, 4)]), await api.write([wish(lamp, 3)])
    (figure,) = await api.read([lamp])
    assert [first[0].code, second[0].code] == [WriteCode.APPLIED, WriteCode.LATER]
    assert figure.units == 4
    assert asyncio.get_running_loop().time() - began >= 1.0
    await api.close()


async def test_a_shop_that_is_not_there_is_later_for_writes_and_unavailable_for_the_rest() -> None:
    api = connected("http://127.0.0.1:9")
    entry = Entry(sku="LAMP", ids={"product": "1"})
    assert (await api.write([wish(entry, 1)]))[0].code is WriteCode.LATER
    assert (await api.write_prices([PriceWrite(entry=entry, price="1.00")]))[0].reason.startswith("no connection")
    for question in (api.read([entry]), api.orders(0), api.subscriptions(), api.now_ms(), api.check()):
        with pytest.raises(ChannelUnavailable, match="channel woo: no connection"):
            await question
    with pytest.raises(ChannelUnavailable, match="no connection"):
        await anext(api.products())
    await api.close()
    await api.close()


# -------------------------------------------------------------------------------------------------------------- orders


async def test_the_poll_brings_exactly_what_the_webhook_brings(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    woo.stock(SHIRT, LAMP=50)
    woo.turn(plugin_statuses=["packing"])
    with Receiver() as receiver:
        woo.subscribe(receiver.url)
        receiver.messages.clear()
        for number, status in enumerate(
            ("pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "trash", "packing")
        ):
            lines = [{"sku": "LAMP", "quantity": 1 + number % 3}, {"sku": "RED", "quantity": number % 2}]
            woo.buy_all([{"lines": [line for line in lines if line["quantity"]], "status": status}])
        woo.settled()
        polled, _ = await drained(api)
        told: dict[str, Incoming] = {}
        for message in receiver.messages:
            seen = woocommerce.decode_order(message.body, "woo", config())
            assert isinstance(seen, Incoming)
            told[seen.order.id] = seen
    assert len(polled) == len(told) == 9
    for found in polled:
        webhook = told[found.order.id]
        assert (found.order.digest, found.version, found.effect, found.reason, found.order) == (
            webhook.order.digest,
            webhook.version,
            webhook.effect,
            webhook.reason,
            webhook.order,
        )
        assert json.loads(found.raw) == json.loads(webhook.raw)
    assert [found.effect for found in polled].count(Effect.CANCEL) == 4


async def test_every_order_is_found_however_many_share_a_second(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=5000)
    woo.buy_all([{"lines": [{"sku": "LAMP", "quantity": 1}]}] * 330)
    found, page = await drained(api)
    assert {order.order.id for order in found} == {str(order["id"]) for order in woo.orders}
    assert len(found) == 330
    assert page.cursor == ""


async def test_an_order_that_changes_between_two_pages_hides_none(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(LAMP=5000)
    ids = [one["id"] for one in woo.buy_all([{"lines": [{"sku": "LAMP", "quantity": 1}], "status": "pending"}] * 60)]
    await asyncio.sleep(1.1)  # the shop's clock must show another second
    page, found, moved = await api.orders(0, limit=20), set(), 0
    while True:
        found |= {one.found.order.id for one in page.orders if isinstance(one.found, Incoming)}
        if not page.cursor:
            break
        if moved < 5:
            woo.move(ids[moved], "processing")
            moved += 1
        page = await api.orders(0, cursor=page.cursor, limit=20)
    assert moved >= 3
    assert found == {str(number) for number in ids}


async def test_the_next_poll_begins_where_the_last_one_cannot_have_missed_anything(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(LAMP=50)
    woo.turn(clock_offset_s=5000, api={"latency_s": [0.3, 0.3]})
    first = woo.buy("LAMP")["id"]
    found, page = await drained(api)
    assert [order.order.id for order in found] == [str(first)]
    second = woo.buy("LAMP")
    (made,) = [order for order in woo.orders if order["id"] == second["id"]]
    assert page.upto_ms <= made["modified_s"] * 1000
    again, _ = await drained(api, page.upto_ms)
    assert str(second["id"]) in {order.order.id for order in again}
    assert abs(await api.now_ms() - (made["modified_s"] * 1000)) < 3000


async def test_a_poll_begins_with_the_second_that_it_is_asked_for(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    """And no hour earlier: the shop's local time is ahead of GMT."""
    woo.stock(LAMP=50)
    woo.turn(clock_offset_s=-1800)
    woo.buy("LAMP", status="pending")
    woo.turn(clock_offset_s=0)
    woo.buy("LAMP", status="pending")
    early, late = (int(order["modified_s"]) * 1000 for order in woo.orders)
    assert [len((await drained(api, since_ms))[0]) for since_ms in (early, early + 999, early + 1000, late + 999)] == [
        2,
        2,
        1,
        1,
    ]
    assert (await drained(api, late + 1000))[0] == []


async def test_what_cannot_be_read_in_a_page_is_handed_out_with_its_body_and_hides_nothing() -> None:
    bodies = [
        {"id": 5, "status": "processing"},
        {"id": 6, "line_items": 7, "status": "x", "date_modified_gmt": "never"},
    ]

    async def answer(request: web.Request) -> web.Response:
        return web.json_response([] if request.path.endswith("totals") else bodies)

    async with Listening(answer) as url:
        api = connected(url)
        page = await api.orders(0)
        assert [type(order.found).__name__ for order in page.orders] == ["Unreadable", "Unreadable"]
        assert [json.loads(order.raw) for order in page.orders] == bodies
        await api.close()


async def test_a_status_whose_plug_in_is_gone_stops_one_poll_only(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(LAMP=5)
    woo.turn(plugin_statuses=["packing"])
    assert await drained(api)
    woo.turn(plugin_statuses=[])
    woo.buy("LAMP")
    with pytest.raises(ChannelUnavailable, match=r"HTTP 400: Invalid parameter\(s\): status"):
        await api.orders(0)
    assert len((await drained(api))[0]) == 1


async def test_a_cursor_of_somebody_else_is_refused(api: WooCommerceApi) -> None:
    with pytest.raises(ValueError, match="is no cursor"):
        await api.orders(0, cursor="page=2")


# -------------------------------------------------------------------------------------------------- prices and the rest


async def test_a_price_is_pushed_as_a_sale_read_back_and_put_back(
    api: WooCommerceApi, woo: SimulatedWooCommerce
) -> None:
    woo.stock(SHIRT, {"sku": "LAMP", "stock": 5, "regular_price": "20.00"})
    entries = await entries_of(api)
    both = [entries["LAMP"], entries["RED"]]
    before = await api.read_prices(both)
    assert [(one.price, one.compare_at) for one in before] == [("20.00", ""), ("12.00", "")]
    pushed = await api.write_prices(
        [
            PriceWrite(entry=both[0], price="15.00", compare_at="20.00"),
            PriceWrite(entry=both[1], price="9.00", compare_at="12.00"),
        ]
    )
    assert pushed == await api.read_prices(both)
    assert [(one.price, one.compare_at, one.reason) for one in pushed] == [
        ("15.00", "20.00", ""),
        ("9.00", "12.00", ""),
    ]
    assert woo.rest("GET", "products?sku=LAMP")[1][0]["price"] == "15.00"
    back = await api.write_prices(
        [
            PriceWrite(entry=one, price=was.price, compare_at=was.compare_at)
            for one, was in zip(both, before, strict=True)
        ]
    )
    assert back == before


async def test_a_sale_with_dates_is_said_and_a_write_ends_it(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    woo.stock({"sku": "LAMP", "stock": 5, "regular_price": "20.00"})
    lamp = (await entries_of(api))["LAMP"]
    woo.edit("LAMP", sale_price="5.00", date_on_sale_from_gmt="2099-01-01T00:00:00")
    (seen,) = await api.read_prices([lamp])
    assert (seen.price, seen.compare_at) == ("20.00", "")
    assert "a sale of its own" in seen.reason
    (pushed,) = await api.write_prices([PriceWrite(entry=lamp, price="15.00", compare_at="20.00")])
    assert pushed == Price(sku="LAMP", price="15.00", compare_at="20.00")
    assert (await api.read_prices([Entry(sku="GONE", ids={"product": "7"}), Entry(sku="X", ids={})]))[0].reason != ""


async def test_a_price_whose_answer_is_lost_says_so(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=5)
    lamp = (await entries_of(api))["LAMP"]
    woo.turn(next={"lose_replies": 1})
    (answer,) = await api.write_prices([PriceWrite(entry=lamp, price="15.00")])
    assert (answer.price, "may have gone out" in answer.reason) == ("", True)


async def test_a_webhook_that_was_switched_off_is_not_alive(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    assert await api.subscriptions() == []
    with Receiver() as receiver:
        created, _ = woo.subscribe(receiver.url)
        assert [(one.topic, one.address, one.alive) for one in await api.subscriptions()] == [
            ("order.created", receiver.url, True),
            ("order.updated", receiver.url, True),
        ]
        woo.rest("PUT", f"webhooks/{created}", {"status": "paused"})
    (dead,) = [one for one in await api.subscriptions() if not one.alive]
    assert (dead.topic, dead.reason) == ("order.created", "WooCommerce says that it is paused")


async def test_check_says_who_answered_and_writes_nothing(api: WooCommerceApi, woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=5)
    assert await api.check() == "WooCommerce at 127.0.0.1, selling in EUR"
    assert woo.call("GET", "moves/LAMP") == []


async def test_check_finds_a_wrong_secret_and_a_key_that_may_only_read(
    woo: SimulatedWooCommerce, tmp_path_factory: pytest.TempPathFactory
) -> None:
    api = connected(woo.url, secret="wrong")  # the name of a file
    with pytest.raises(
        ChannelUnavailable, match=r"HTTP 401: the consumer key or secret was refused.*secret is invalid"
    ):
        await api.check()
    await api.close()
    shop = SimulatedWooCommerce(tmp_path_factory.mktemp("read"), "--read-only").start()
    try:
        api = connected(shop.url)
        with pytest.raises(ChannelUnavailable, match=r"refused.*does not have write permissions"):
            await api.check()
        await api.close()
    finally:
        shop.close()


# --------------------------------------------------------------------------------------------------- hostile answers


class Listening:
    """A server that answers what it is told to, inside an ``async with``."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()


HOSTILE: dict[str, Any] = {
    "a login page": lambda: web.Response(text="<html>Please log in</html>", content_type="text/html"),
    "nothing": lambda: web.Response(body=b""),
    "another list": lambda: web.json_response({"update": [{"id": 8, "stock_quantity": 4, "manage_stock": True}]}),
    "strange types": lambda: web.json_response({"update": [{"id": 7, "stock_quantity": "4", "manage_stock": 3}]}),
    "no list": lambda: web.json_response({"update": {"id": 7}}),
    "deep": lambda: web.Response(body=b'{"update":' + b"[" * 100_000, content_type="application/json"),
    "latin": lambda: web.Response(body=b'{"update": "\xe9"}', content_type="application/json"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_200_that_proves_nothing_leaves_a_write_unknown(name: str) -> None:
    async def answer(_: web.Request) -> Any:
        return HOSTILE[name]()

    entry = Entry(sku="LAMP", ids={"product": "7"})
    async with Listening(answer) as url:
        api = connected(url)
        (written,) = await api.write([wish(entry, 4)])
        assert (written.code, bool(written.reason)) == (WriteCode.UNKNOWN, True)
        (price,) = await api.write_prices([PriceWrite(entry=entry, price="1.00")])
        assert (price.price, bool(price.reason)) == ("", True)
        with pytest.raises(ChannelUnavailable):
            await api.read([entry])
        await api.close()


async def test_a_redirect_is_refused_and_not_followed() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=301, headers={"Location": "/elsewhere"})

    async with Listening(answer) as url:
        api = connected(url)
        (written,) = await api.write([wish(Entry(sku="LAMP", ids={"product": "7"}), 4)])
        assert (written.code, written.reason[:8]) == (WriteCode.LATER, "HTTP 301")
        assert asked == ["/wp-json/wc/v3/products/batch"]
        await api.close()


async def test_an_answer_out_of_a_cache_is_no_answer() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response([], headers={"Age": "30"})

    async with Listening(answer) as url:
        api = connected(url)
        with pytest.raises(ChannelUnavailable, match="a cache answered"):
            await api.read([Entry(sku="LAMP", ids={"product": "7"})])
        await api.close()


async def test_stock_management_that_is_off_in_the_shop_is_a_refusal_that_says_what_to_mend() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"update": [{"id": 7, "manage_stock": False, "stock_quantity": None}]})

    async with Listening(answer) as url:
        api = connected(url)
        (written,) = await api.write([wish(Entry(sku="LAMP", ids={"product": "7"}), 4)])
        assert (written.code, "Settings > Products > Inventory" in written.reason) == (WriteCode.REFUSED, True)
        await api.close()


# ------------------------------------------------------------------------------------------------------ configuration


def test_it_writes_absolutely_a_hundred_at_a_time() -> None:
    traits = WooCommerceApi.traits
    assert (traits.mode, traits.batch, traits.idempotent, traits.prices) == (WriteMode.ABSOLUTE, 100, False, True)


def test_without_an_address_there_is_no_api() -> None:
    assert woocommerce.connect_api("woo", config(), reveal) is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (config(mode="escrow"), r"\[channels.woo\] url: is empty, so no stock can be published"),
        (config("shop.example.com"), "channels.woo.url = 'shop.example.com': write an address"),
        (config("http://shop.example.com"), "would go over the wire as it is"),
        (config("https://ck:cs@shop.example.com"), "a login, a query or a fragment does not belong"),
        (config("https://shop.example.com", secret="none"), r"\[channels.woo\] consumer_secret: is missing"),
        (Config(kind="woocommerce", url="https://shop.example.com"), "consumer_key: is missing"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(made: Config, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        woocommerce.connect_api("woo", made, reveal)


async def test_requests_are_spaced_and_a_rest_holds_all_that_wait() -> None:
    now = 100.0
    sent: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if len(sent) == 2 and now < 105:
            pace.rest(10)

    pace = Pace(Rate.parse("2/s"), clock=lambda: now, sleep=sleep)
    for _ in range(4):
        await pace.turn()
        sent.append(now)
    assert sent == pytest.approx([100.0, 100.5, 111.0, 111.5])
