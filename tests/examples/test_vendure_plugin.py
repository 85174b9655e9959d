"""
The channel plug-in of examples/vendure, without a shop: what it says of an order, and what it concludes from answers.

tests/e2e/test_vendure.py has it with the real shop.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flashd.channels.standard_webhooks import decode_order
from flashd.domain.catalogue import Entry
from flashd.domain.order import Effect, Incoming, Line
from flashd.domain.rate import Rate
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports import ChannelApi, FigureWrite, WriteCode

PACKAGE = Path(__file__).parents[2] / "examples" / "vendure" / "flashd_vendure"
ORDER = {
    "code": "AB12",
    "state": "PaymentSettled",
    "updatedAt": "2026-11-27T08:00:05.123Z",
    "orderPlacedAt": "2026-11-27T08:00:00.000Z",
    "currencyCode": "EUR",
    "shippingWithTax": 500,
    "totalWithTax": 12_380,
    "customFields": {"flashdHold": 2},
    "customer": {"firstName": "Ada", "lastName": "L", "emailAddress": "ada@example.com", "phoneNumber": None},
    "shippingAddress": {"fullName": "Ada L", "streetLine1": "Lane 1", "city": "Bonn", "countryCode": "DE"},
    "lines": [
        {
            "quantity": 1,
            "orderPlacedQuantity": 1,
            "unitPriceWithTax": 11_880,
            "proratedLinePriceWithTax": 11_880,
            "productVariant": {"sku": "LAMP", "name": "Lamp"},
        }
    ],
}
SHOP = {
    "globalSettings": {"trackInventory": True, "outOfStockThreshold": 0},
    "activeChannel": {"code": "main", "defaultCurrencyCode": "EUR"},
    "stockLocations": {"items": [{"id": "1"}]},
}
ENTRY = Entry(sku="LAMP", ids={"variant": "7"})

Reply = Callable[[str, dict[str, Any]], Any]


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """The package's modules by name, as if it were installed."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    yield lambda name: importlib.import_module(f"flashd_vendure.{name}")
    for name in [name for name in sys.modules if name.startswith("flashd_vendure")]:
        del sys.modules[name]


@pytest.fixture
def read(plug_in: Callable[[str], Any]) -> Callable[..., Incoming]:
    """What flashd understands of an order that the shop's API lists so."""

    def decoded(**changes: Any) -> Incoming:
        found = decode_order(plug_in("orders").message_of({**ORDER, **changes}), "vendure")
        assert isinstance(found, Incoming), found
        return found

    return decoded


def variant(**changes: Any) -> dict[str, Any]:
    return {
        "id": "7",
        "sku": "LAMP",
        "name": "Lamp",
        "trackInventory": "INHERIT",
        "useGlobalOutOfStockThreshold": True,
        "outOfStockThreshold": 0,
        "prices": [{"currencyCode": "EUR", "price": 9900}],
        "stockLevels": [{"stockLocationId": "1", "stockOnHand": 10, "stockAllocated": 3}],
        **changes,
    }


def line(**changes: Any) -> dict[str, Any]:
    return {**ORDER["lines"][0], **changes}  # type: ignore[index]  # a list of dicts


# ----------------------------------------------------------------------------------------------------------- orders


def test_an_order_has_its_version_its_hold_and_adds_up(read: Callable[..., Incoming]) -> None:
    found = read()
    assert (found.effect, found.reason, found.hold_id) == (Effect.DELIVER, "", "AB12-2")
    assert found.version // 10 == 1_795_766_405_123
    assert found.order.lines == (Line("LAMP", 1, unit_price=11_880, title="Lamp"),)
    assert (found.order.shipping, found.order.total, found.order.customer.name) == (500, 12_380, "Ada L")


@pytest.mark.parametrize(
    ("changes", "shipping", "discount"),
    [
        ({"totalWithTax": 12_680}, 800, 0),  # a surcharge
        ({"totalWithTax": 12_000}, 500, 380),  # a rebate by hand
        ({"lines": [line(proratedLinePriceWithTax=11_000)], "totalWithTax": 11_500}, 500, 0),  # a promotion
        (
            {
                "lines": [line(quantity=3, unitPriceWithTax=3333, proratedLinePriceWithTax=10_000)],
                "totalWithTax": 10_500,
            },
            501,
            0,
        ),
    ],
)
def test_whatever_the_shop_charges_or_leaves_off_the_order_adds_up(
    read: Callable[..., Incoming], changes: dict[str, Any], shipping: int, discount: int
) -> None:
    found = read(**changes)
    assert (found.reason, found.order.shipping, found.order.discount) == ("", shipping, discount)
    assert found.order.total == changes["totalWithTax"]


def test_a_payment_that_is_not_captured_waits_and_a_cancelled_order_gives_all_back(
    read: Callable[..., Incoming],
) -> None:
    assert read(state="PaymentAuthorized").effect is Effect.WAIT
    gone = line(quantity=0, proratedLinePriceWithTax=0)
    cancelled = read(state="Cancelled", lines=[gone], totalWithTax=500)
    assert (cancelled.effect, cancelled.order.lines[0].quantity) == (Effect.CANCEL, 1)


def test_a_line_that_was_cancelled_goes_and_the_order_of_lines_does_not_matter(read: Callable[..., Incoming]) -> None:
    other = line(productVariant={"sku": "CAP", "name": "Cap"})
    gone = line(quantity=0, proratedLinePriceWithTax=0)
    both = [read(lines=lines, totalWithTax=24_260).order for lines in ([line(), other, gone], [other, gone, line()])]
    assert [one.sku for one in both[0].lines] == ["CAP", "LAMP"]
    assert both[0].digest == both[1].digest


# ------------------------------------------------------------------------------------------------------- connecting


def test_signed_orders_and_holds_come_through_one_channel(plug_in: Callable[[str], Any]) -> None:
    channel = plug_in("channel")
    config = channel.Config(kind="vendure", secrets=({"file": "secret"},))
    connected = channel.connect("vendure", config, lambda _secret: "whsec_c2VjcmV0")
    body = plug_in("orders").message_of(ORDER)
    headers = connected.sign(body, now_s=1000, delivery_id="m1")
    assert connected.verify(headers, body, now_s=1001)
    assert not connected.verify(headers, body + b" ", now_s=1001)
    assert isinstance(connected.decode(headers, body), Incoming)
    wish = connected.decode_hold(b'{"id": "AB12-0", "lines": [{"sku": "LAMP", "quantity": 1}]}')
    assert (wish.id, wish.channel) == ("AB12-0", "vendure")


def test_without_an_address_there_is_no_api_and_without_a_key_it_is_a_mistake(plug_in: Callable[[str], Any]) -> None:
    channel = plug_in("channel")
    assert channel.connect_api("shop", channel.Config(kind="vendure"), str) is None
    with pytest.raises(ConfigError, match=r"channels\.shop\] api_key"):
        channel.connect_api("shop", channel.Config(kind="vendure", url="https://shop.example/admin-api"), str)
    with pytest.raises(ConfigError, match=r"channels\.shop\.url"):
        channel.connect_api("shop", channel.Config(kind="vendure", url="shop.example"), str)


# -------------------------------------------------------------------------------------------------------------- API


def always(answer: Any) -> Reply:
    return lambda _query, _variables: answer


class Admin:
    """Answers every query with what *reply* says: data, a list of errors, or a finished response."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reply: Reply = always(SHOP)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((body["query"], body["variables"]))
        said = SHOP if "globalSettings" in body["query"] else self.reply(body["query"], body["variables"])
        if said is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(said, web.StreamResponse):
            return said
        return web.json_response({"errors": said} if isinstance(said, list) else {"data": said})


@pytest.fixture
async def admin() -> Admin:
    return Admin()


@pytest.fixture
async def api(plug_in: Callable[[str], Any], admin: Admin) -> AsyncIterator[ChannelApi]:
    application = web.Application()
    application.router.add_post("/admin-api", admin.handle)
    async with TestServer(application) as server:
        link = plug_in("link").Link(
            "shop", server.make_url("/admin-api"), "key", rate=Rate.parse("1000/s"), timeout_s=5
        )
        made: ChannelApi = plug_in("api").VendureApi("shop", link)
        yield made
        await made.close()


async def test_what_may_be_sold_is_on_hand_less_allocated_and_threshold(api: ChannelApi, admin: Admin) -> None:
    kept = variant(useGlobalOutOfStockThreshold=False, outOfStockThreshold=2)
    untracked = variant(trackInventory="FALSE")
    for listed, units in ((variant(), 7), (kept, 5), (untracked, -1)):
        admin.reply = always({"productVariants": {"items": [listed]}})
        assert [figure.units for figure in await api.read([ENTRY])] == [units]


async def test_a_figure_is_written_on_top_of_what_is_allocated(api: ChannelApi, admin: Admin) -> None:
    def reply(query: str, variables: dict[str, Any]) -> Any:
        if "mutation" not in query:
            return {"productVariants": {"items": [variant()]}}
        (change,) = variables["input"]
        (level,) = change["stockLevels"]
        return {"updateProductVariants": [variant(stockLevels=[{**level, "stockAllocated": 3}])]}

    admin.reply = reply
    (done,) = await api.write([FigureWrite(entry=ENTRY, units=4, key="k")])
    assert done.code is WriteCode.APPLIED
    assert admin.asked[-1][1]["input"] == [{"id": "7", "stockLevels": [{"stockLocationId": "1", "stockOnHand": 7}]}]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, WriteCode.UNKNOWN),
        (web.Response(text="<html>", content_type="text/html"), WriteCode.UNKNOWN),
        (web.Response(status=502, text="Bad gateway"), WriteCode.UNKNOWN),
        (web.Response(status=429, headers={"Retry-After": "0"}), WriteCode.LATER),
        ([{"message": "no such location", "extensions": {"code": "ENTITY_NOT_FOUND"}}], WriteCode.REFUSED),
        ([{"message": "no commit", "extensions": {"code": "INTERNAL_SERVER_ERROR"}}], WriteCode.UNKNOWN),
        ({"updateProductVariants": []}, WriteCode.UNKNOWN),
        ({"updateProductVariants": [variant()]}, WriteCode.UNKNOWN),  # shows more than was written
    ],
)
async def test_what_a_write_came_to_is_never_guessed(
    api: ChannelApi, admin: Admin, answer: Any, code: WriteCode
) -> None:
    admin.reply = lambda query, _variables: (
        answer if "mutation" in query else {"productVariants": {"items": [variant()]}}
    )
    (done,) = await api.write([FigureWrite(entry=ENTRY, units=4, key="k")])
    assert done.code is code
    assert len([query for query, _ in admin.asked if "mutation" in query]) == 1


async def test_a_write_that_cannot_even_read_first_is_for_later(api: ChannelApi, admin: Admin) -> None:
    admin.reply = always(None)
    assert [one.code for one in await api.write([FigureWrite(entry=ENTRY, units=4, key="k")])] == [WriteCode.LATER]


async def test_a_refused_key_names_the_key_and_nothing_of_it_is_shown(api: ChannelApi, admin: Admin) -> None:
    admin.reply = always([{"message": "key", "extensions": {"code": "FORBIDDEN"}}])
    with pytest.raises(ChannelUnavailable, match="API key"):
        await api.orders(0)


async def test_pages_of_orders_lose_none_even_where_a_whole_page_changed_in_one_millisecond(
    api: ChannelApi, admin: Admin
) -> None:
    times = [5, 7, 7, 7, 7, 7, 9, 11]
    rows = [
        {**ORDER, "code": f"O{number}", "updatedAt": f"2026-11-27T08:00:00.{at:03}Z"} for number, at in enumerate(times)
    ]

    def reply(_query: str, variables: dict[str, Any]) -> Any:
        found = [row for row in rows if str(row["updatedAt"]) > variables["after"]]
        return {"orders": {"items": found[variables["skip"] : variables["skip"] + variables["take"]]}}

    admin.reply = reply
    seen, cursor = [], ""
    while True:
        page = await asyncio.wait_for(api.orders(1_795_766_400_000, cursor=cursor, limit=2), 30)
        seen += [json.loads(polled.raw)["id"] for polled in page.orders]
        if not (cursor := page.cursor):
            break
    assert list(dict.fromkeys(seen)) == [row["code"] for row in rows]
