"""What every ChannelApi owes, put to the adapters, each with a shop of its kind, and to the fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from msgspec.structs import replace

from flashd.domain.catalogue import Entry
from flashd.domain.listing import UNKNOWN, WriteMode
from flashd.domain.order import Incoming, Order
from flashd.errors import ChannelUnavailable
from flashd.ports import ChannelApi, FigureWrite, FigureWritten, PriceWrite, WriteCode
from tests.conformance.channel_shops import SHOPS, Processes, Shop, entries_of


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    made = Processes(tmp_path_factory.mktemp("shops"))
    yield made
    made.close()


@pytest.fixture(params=list(SHOPS))
async def shop(request: pytest.FixtureRequest, processes: Processes) -> AsyncIterator[Shop]:
    async with SHOPS[request.param](processes) as made:
        yield made
        await made.api.close()
        await made.api.close()


async def wish(shop: Shop, entry: Entry, units: int, *, key: str = "") -> FigureWrite:
    """Name the figure that stands there, as a compare wants it; without a *key*, under a new one."""
    was = await shop.figure(entry.sku) if shop.api.traits.mode is WriteMode.COMPARE else UNKNOWN
    return FigureWrite(entry=entry, units=units, key=key or uuid4().hex, was=was)


async def written(shop: Shop, entry: Entry, units: int) -> FigureWritten:
    (answer,) = await shop.api.write([await wish(shop, entry, units)])
    return answer


async def polled(api: ChannelApi, since_ms: int, limit: int = 100) -> tuple[dict[str, Order], int]:
    """Return all that changed since, by id, and where the next poll begins."""
    found: dict[str, Order] = {}
    cursor = ""
    while True:
        page = await api.orders(since_ms, cursor=cursor, limit=limit)
        found |= {one.found.order.id: one.found.order for one in page.orders if isinstance(one.found, Incoming)}
        if not (cursor := page.cursor):
            return found, page.upto_ms


async def test_what_the_map_says_can_be_read_in_any_order(shop: Shop) -> None:
    await shop.stock({"A": 3, "B": 0, "C": 7})
    entries = await entries_of(shop.api)
    assert {"A", "B", "C"} <= set(entries)
    before_ms = await shop.api.now_ms()
    figures = await shop.api.read([entries[sku] for sku in ("C", "A", "B")])
    assert [(figure.sku, figure.units) for figure in figures] == [("C", 7), ("A", 3), ("B", 0)]
    assert all(figure.at_ms >= before_ms - 600 for figure in figures)
    assert await shop.api.read([]) == []


async def test_a_thing_that_is_not_there_has_no_figure_and_a_reason(shop: Shop) -> None:
    await shop.stock({"A": 3})
    entry = (await entries_of(shop.api))["A"]
    stranger = replace(entry, sku="Z", ids={name: text.replace("A", "Z") + "9" for name, text in entry.ids.items()})
    found, lost = await shop.api.read([entry, stranger])
    assert (found.units, lost.sku, lost.units) == (3, "Z", UNKNOWN)
    assert lost.reason != ""


async def test_a_figure_that_is_written_stands_there(shop: Shop) -> None:
    await shop.stock({"A": 3, "B": 4})
    entries = await entries_of(shop.api)
    key = uuid4().hex  # all writes of one call share it
    wishes = [await wish(shop, entries["B"], 9, key=key), await wish(shop, entries["A"], 0, key=key)]
    assert shop.api.traits.batch >= 2
    answers = await shop.api.write(wishes)
    assert [(answer.sku, answer.code) for answer in answers] == [("B", WriteCode.APPLIED), ("A", WriteCode.APPLIED)]
    assert (await shop.figure("A"), await shop.figure("B")) == (0, 9)
    assert [figure.units for figure in await shop.api.read([entries["A"], entries["B"]])] == [0, 9]


async def test_what_was_sold_before_a_write_is_never_taken_for_sold_after_it(shop: Shop) -> None:
    """The write overwrote that sale: were it taken for a later one, its unit would be sold twice."""
    await shop.stock({"A": 3})
    entry = (await entries_of(shop.api))["A"]
    before_ms = await shop.api.now_ms()
    sold = await shop.sell("A")
    answer = await written(shop, entry, 3)
    assert before_ms - 600 <= answer.at_ms <= await shop.api.now_ms() + 3000
    orders = await _listed(shop, before_ms - 3000, {sold})
    assert orders[sold].placed_ms <= answer.at_ms


async def test_a_lost_reply_is_unknown_and_nothing_is_sent_twice(shop: Shop) -> None:
    await shop.stock({"A": 3})
    entry = (await entries_of(shop.api))["A"]
    await shop.api.read([entry])  # so that a connection is open, into which clients like to repeat
    request = await wish(shop, entry, 2)
    await shop.lose_reply()
    calls = shop.api.calls
    (answer,) = await shop.api.write([request])
    assert answer.code is WriteCode.UNKNOWN
    assert shop.api.calls == calls + 1
    assert await shop.figure("A") == 2


async def test_a_repeat_under_its_key_answers_as_the_first_did_where_that_is_promised(shop: Shop) -> None:
    await shop.stock({"A": 3})
    entry = (await entries_of(shop.api))["A"]
    request = await wish(shop, entry, 2)
    await shop.lose_reply()
    await shop.api.write([request])
    await shop.sell("A")
    if not shop.api.traits.idempotent:
        return  # then nobody may repeat it
    (answer,) = await shop.api.write([request])
    assert answer.code is WriteCode.APPLIED
    assert await shop.figure("A") == 1


async def test_a_stale_compare_changes_nothing(shop: Shop) -> None:
    await shop.stock({"A": 3})
    entry = (await entries_of(shop.api))["A"]
    request = await wish(shop, entry, 9)
    await shop.sell("A")
    (answer,) = await shop.api.write([request])
    if shop.api.traits.mode is WriteMode.COMPARE:
        assert (answer.code, await shop.figure("A")) == (WriteCode.STALE, 2)
        assert answer.figure in (2, UNKNOWN)
    else:
        assert (answer.code, await shop.figure("A")) == (WriteCode.APPLIED, 9)


async def test_every_order_is_listed_however_small_the_pages(shop: Shop) -> None:
    await shop.stock({"A": 30})
    since_ms = await shop.api.now_ms() - 3000
    sold = [await shop.sell("A") for _ in range(12)]
    found = await _listed(shop, since_ms, set(sold), limit=5)
    assert set(sold) <= set(found)


async def test_the_next_poll_goes_on_where_this_one_ended(shop: Shop) -> None:
    await shop.stock({"A": 30})
    first = await shop.sell("A")
    since_ms = await shop.api.now_ms() - 3000
    await _listed(shop, since_ms, {first})
    _, upto_ms = await polled(shop.api, since_ms)
    assert upto_ms <= await shop.api.now_ms() + 1000
    second = await shop.sell("A")
    assert second in await _listed(shop, upto_ms - shop.api.traits.lag_ms, {second})


async def _listed(shop: Shop, since_ms: int, wanted: set[str], *, limit: int = 100) -> dict[str, Order]:
    """Poll until all that is *wanted* was listed: a listing may be late, later still where the machine is busy."""
    deadline = asyncio.get_running_loop().time() + shop.api.traits.lag_ms / 1000 + 30
    while True:
        found, _ = await polled(shop.api, since_ms, limit)
        if wanted <= set(found) or asyncio.get_running_loop().time() > deadline:
            return found
        clock = getattr(shop.api, "clock", None)
        await (clock.advance(0.1) if clock else asyncio.sleep(0.05))


async def test_prices_are_read_back_as_they_were_written(shop: Shop) -> None:
    await shop.stock({"A": 3})
    if not shop.api.traits.prices or not (entries := await entries_of(shop.api)):
        return
    before = await shop.api.read_prices([entries["A"]])
    if before[0].reason:
        return  # the fake knows no price of it
    (pushed,) = await shop.api.write_prices([PriceWrite(entry=entries["A"], price="7.50", compare_at="9.00")])
    assert (pushed.price, pushed.compare_at, pushed.reason) == ("7.50", "9.00", "")
    assert await shop.api.read_prices([entries["A"]]) == [pushed]


async def test_it_says_who_answered(shop: Shop) -> None:
    assert await shop.api.check() != ""
    assert all(one.alive or one.reason for one in await shop.api.subscriptions())


async def test_a_shop_that_is_not_there_is_a_value_for_writes_and_unavailable_for_the_rest(shop: Shop) -> None:
    await shop.stock({"A": 3})
    entry = (await entries_of(shop.api))["A"]
    gone = shop.gone()
    (answer,) = await gone.write([FigureWrite(entry=entry, units=1, key="key-1", was=3)])
    assert (answer.sku, answer.code) == ("A", WriteCode.LATER)
    assert answer.reason != ""
    (price,) = await gone.write_prices([PriceWrite(entry=entry, price="1.00")])
    assert (price.sku, bool(price.reason)) == ("A", True)
    for question in (gone.read([entry]), gone.orders(0), gone.now_ms(), gone.check()):
        with pytest.raises(ChannelUnavailable):
            await question
    with pytest.raises(ChannelUnavailable):
        await anext(gone.products())
    await gone.close()
