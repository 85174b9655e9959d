"""
The example's real Vendure shop, the real daemon, and the example's own channel plug-in between them.

The benchmark (`make bench-vendure`) has the rush; here is what goes wrong one buyer at a time.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from flashd.channels.standard_webhooks import StandardWebhooks, key_of
from flashd.domain.catalogue import Entry
from flashd.domain.order import Incoming
from flashd.errors import ChannelUnavailable
from flashd.ports import ChannelApi, FigureWrite, OrderPage, PriceWrite, WriteCode
from tests.e2e.beside_vendure import BEARER, SKU, address, level, order, ready, told
from tests.e2e.process import Flashd
from tests.erp import vendure
from tests.erp.vendure import SECRET, Vendure
from tests.erp.vendure_buyers import RefusedError
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
async def api(shop: Vendure, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ChannelApi]:
    """The plug-in's way to the Admin API, as flashd would connect it."""
    monkeypatch.syspath_prepend(str(vendure.install_adapter()))
    channel: Any = importlib.import_module("flashd_vendure.channel")
    config = channel.Config(kind="vendure", url=f"{shop.url}/admin-api", api_key={"file": str(shop.key_file)})
    connected: ChannelApi = channel.connect_api("vendure", config, lambda _secret: shop.key_file.read_text())
    yield connected
    await connected.close()
    for name in [name for name in sys.modules if name.startswith("flashd_vendure")]:
        del sys.modules[name]


async def codes(flashd: Flashd, found: OrderPage) -> dict[str, str]:
    """Send polled orders as the shop sends its own; return what flashd made of each."""
    sender = StandardWebhooks("vendure", (key_of(SECRET),))
    answers = {}
    for polled in found.orders:
        assert isinstance(polled.found, Incoming), polled.found
        headers = sender.sign(polled.raw, now_s=time.time(), delivery_id="polled")
        status, answer, _ = flashd.call("POST", "/webhooks/vendure", polled.raw, headers)
        assert status == 200, answer
        answers[polled.found.order.id] = json.loads(answer)["code"]
    return answers


# ---------------------------------------------------------------------------------------------------------- holding


async def test_going_to_the_till_holds_paying_sells_and_going_back_gives_back(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    buyer = await ready(session, shop, 1, units=4)
    assert level(flashd, "held") == 0
    await buyer.go_to_the_till()
    assert level(flashd, "held") == 4
    await buyer.go_back()
    await until(lambda: level(flashd, "held") == 0, "the hold is released")
    await buyer.go_to_the_till()  # under another id: the first one has ended
    assert level(flashd, "held") == 4
    await buyer.go_back()
    await buyer.go_to_the_till()  # at once: the late release of the second hold must not hit the third
    await until(lambda: level(flashd, "held") == 4, "only one hold is left")
    code = await buyer.pay()
    record = await told(flashd, code)
    assert record["hold_id"] == f"{code}-2"
    assert (level(flashd, "held"), level(flashd, "sold"), level(flashd, "free")) == (0, 4, 6)


async def test_who_comes_too_late_is_told_what_is_left(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    first, second = await ready(session, shop, 1, units=7), await ready(session, shop, 2, units=7)
    await first.go_to_the_till()
    with pytest.raises(RefusedError, match="only 3 of Lamp are left"):
        await second.go_to_the_till()
    flashd.ask_admin("PUT", f"/admin/v1/stock/{SKU}", {"on_hand": 7})
    with pytest.raises(RefusedError, match="Lamp has just been sold out"):
        await second.go_to_the_till()


async def test_a_hold_that_ended_meanwhile_is_renewed_or_refused_before_any_money_moves(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    slow, late = await ready(session, shop, 1, units=4), await ready(session, shop, 2, units=4)
    await slow.go_to_the_till()
    assert end_hold(flashd, f"{slow.code}-0") == 200
    await slow.pay()
    assert (await told(flashd, slow.code))["hold_id"] == f"{slow.code}-1"
    await late.go_to_the_till()
    assert end_hold(flashd, f"{late.code}-0") == 200
    flashd.ask_admin("PUT", f"/admin/v1/stock/{SKU}", {"on_hand": 4})  # the rest went elsewhere
    with pytest.raises(RefusedError, match="sold out"):
        await late.pay()
    assert [placed.code for placed in shop.placed()] == [slow.code]


def end_hold(flashd: Flashd, hold_id: str) -> int:
    return flashd.call("DELETE", f"/v1/holds/{hold_id}", headers=BEARER)[0]


async def test_while_flashd_is_away_nothing_is_sold_and_afterwards_it_is(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    early, late = await ready(session, shop, 1), await ready(session, shop, 2)
    await early.go_to_the_till()
    flashd.kill()
    for attempt in (late.go_to_the_till, early.pay):
        with pytest.raises(RefusedError, match="Nothing was charged"):
            await attempt()
    assert shop.placed() == []
    flashd.start()
    await late.go_to_the_till()
    for buyer in (early, late):
        await told(flashd, await buyer.pay())
    assert (level(flashd, "held"), level(flashd, "sold")) == (0, 2)


# ---------------------------------------------------------------------------------------------------------- telling


async def test_an_order_outlives_both_dying_and_arrives_once(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    shop.kill()
    shop.go_on(address(flashd), FLASHD_WHEN_AWAY="sell")
    buyer = await ready(session, shop, 1)
    await buyer.go_to_the_till()
    flashd.kill()
    code = await buyer.pay()  # the shop sells while flashd is away, as it is told to here
    shop.kill()
    flashd.start()
    assert order(flashd, code) == {}
    shop.go_on(address(flashd))
    await told(flashd, code)
    assert (level(flashd, "held"), level(flashd, "sold")) == (0, 1)


async def test_an_order_whose_message_is_lost_is_found_by_the_poll(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    shop.kill()
    shop.go_on(address(flashd), FLASHD_CHANNEL="elsewhere")  # no such channel: no message is taken
    buyer = await ready(session, shop, 1, units=2)
    await buyer.go_to_the_till()
    record = await told(flashd, await buyer.pay())
    assert record["hold_id"] == f"{buyer.code}-0"
    assert (level(flashd, "held"), level(flashd, "sold")) == (0, 2)


async def test_who_pays_long_after_filling_the_cart_is_polled_as_well(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession
) -> None:
    shop.kill()
    shop.go_on(address(flashd), FLASHD_CHANNEL="elsewhere")  # no such channel: no message is taken
    buyer = await ready(session, shop, 1)
    await buyer.go_to_the_till()
    shop.age_carts()  # further than any poll looks back
    code = await buyer.pay()
    assert shop.rows('SELECT "updatedAt" >= "orderPlacedAt" FROM "order"') == [[True]]
    await told(flashd, code)
    assert level(flashd, "sold") == 1


async def test_what_is_polled_is_the_very_version_that_was_told_also_after_cancelling(
    flashd: Flashd, shop: Vendure, session: aiohttp.ClientSession, api: ChannelApi
) -> None:
    buyers = [await ready(session, shop, number, units=2) for number in range(3)]
    for buyer in buyers:
        await buyer.go_to_the_till()
        await told(flashd, await buyer.pay())
    kept, reduced, cancelled = (buyer.code for buyer in buyers)
    shop.cancel(reduced, units=1)
    shop.cancel(cancelled)
    await until(lambda: level(flashd, "sold") == 3, "the cancellations are told")
    pages, cursor = [await api.orders(0, limit=2)], ""
    while cursor := pages[-1].cursor:
        pages.append(await api.orders(0, cursor=cursor, limit=2))
    found = [await codes(flashd, page) for page in pages]
    assert {code: answer for page in found for code, answer in page.items()} == dict.fromkeys(
        (kept, reduced, cancelled), "repeat"
    )
    assert len(found) > 1
    assert level(flashd, "sold") == 3


# -------------------------------------------------------------------------------------------------------- Admin API


async def test_a_figure_is_what_the_shop_may_still_sell(
    shop: Vendure, session: aiohttp.ClientSession, api: ChannelApi
) -> None:
    (product,) = [product async for product in api.products()]
    assert (product.sku, product.units, product.price, product.tracked) == (SKU, 10, "99.00", True)
    entry, unknown = Entry(sku=SKU, ids=product.ids), Entry(sku="NONE", ids={"variant": "4711"})
    buyer = await ready(session, shop, 1, units=3)
    await buyer.go_to_the_till()
    await buyer.pay()
    assert [figure.units for figure in await api.read([entry, unknown])] == [7, -1]
    began_ms = await api.now_ms()
    done, refused = await api.write(
        [FigureWrite(entry=entry, units=2, key="k"), FigureWrite(entry=unknown, units=1, key="k")]
    )
    assert (done.code, refused.code) == (WriteCode.APPLIED, WriteCode.REFUSED)
    assert done.at_ms >= began_ms
    assert [figure.units for figure in await api.read([entry])] == [2]
    assert shop.rows('SELECT "stockOnHand", "stockAllocated" FROM stock_level') == [[5, 3]]
    with pytest.raises(RefusedError):
        await ready(session, shop, 2, units=3)


async def test_prices_are_written_and_read_back(api: ChannelApi) -> None:
    (product,) = [product async for product in api.products()]
    entry = Entry(sku=SKU, ids=product.ids)
    (written,) = await api.write_prices([PriceWrite(entry=entry, price="79.5")])
    assert (written.price, written.reason) == ("79.50", "")
    (refused,) = await api.write_prices([PriceWrite(entry=entry, price="7.999")])
    assert "two decimals" in refused.reason
    assert [price.price for price in await api.read_prices([entry])] == ["79.50"]


async def test_the_plug_in_is_seen_a_wrong_key_and_an_absent_shop_are_said(
    shop: Vendure, api: ChannelApi, installed: Vendure
) -> None:
    assert "Vendure" in await api.check()
    assert [one.alive for one in await api.subscriptions()] == [True]
    (product,) = [product async for product in api.products()]
    write = FigureWrite(entry=Entry(sku=SKU, ids=product.ids), units=1, key="k")
    installed.stop()
    with pytest.raises(ChannelUnavailable):
        await api.check()
    assert [one.code for one in await api.write([write])] == [WriteCode.LATER]
    installed.go_on()  # without the plug-in
    assert await api.subscriptions() == []
    (done,) = await api.write([write])
    assert done.code is WriteCode.APPLIED
    shop.forget_keys()
    with pytest.raises(ChannelUnavailable, match="API key"):
        await api.check()
