"""The clock of sales: boundaries said once, prices pushed, read back, and restored where they are still ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from flashd.actors.leadership import Election
from flashd.actors.sale_clock import SaleBooks, SaleClock
from flashd.domain.catalogue import Entry
from flashd.domain.price import PriceRow, PriceState, Tag
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.ports import ChannelApi, Price, PriceWrite
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.channel_api import FakeChannelApi, entry
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.listings import FakeListings
from tests.fakes.pool import FakePool
from tests.fakes.sales import FakePriceBook, FakeSales

NOW_MS = 1_790_000_000_000
START_S, END_S = 10, 60  # from now on


class PriceShop(FakeChannelApi):
    """A shop whose price writes may be lost on the way back (True) or on the way there (False)."""

    faults_of_prices: list[bool | None]

    def __init__(self, clock: FakeClock, **prices: str) -> None:
        super().__init__(clock, prices={sku: (price, "") for sku, price in prices.items()})
        self.faults_of_prices = []
        self.price_writes: list[str] = []

    async def write_prices(self, writes: Any) -> list[Price]:
        fault = self.faults_of_prices.pop(0) if self.faults_of_prices else None
        self.price_writes += [write.entry.sku for write in writes]
        answers = await super().write_prices(writes) if fault is not False else []
        lost = [Price(sku=write.entry.sku, price="", reason="the reply was lost") for write in writes]
        return answers if fault is None else lost


@dataclass
class Stage:
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW_MS))
    book: FakePriceBook = field(default_factory=FakePriceBook)
    announcer: FakeAnnouncer = field(default_factory=FakeAnnouncer)
    clocks: list[SaleClock] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sales = FakeSales(now_ms=self.clock.now_ms)
        self.pool = FakePool(clock=self.clock)
        self.gate = FakeGate(self.clock)
        self.shop = PriceShop(self.clock, TEE="19.90", CAP="25.00")
        self.pool.entries["shop"] = {sku: entry(sku) for sku in ("TEE", "CAP")}

    def start(self) -> SaleClock:
        apis: dict[str, ChannelApi] = {"shop": self.shop}
        books = SaleBooks(sales=self.sales, prices=self.book, listings=FakeListings(self.pool))
        election = Election(gate=self.gate, owner="test")
        made = SaleClock(books, apis, election, clock=self.clock, announcer=self.announcer)
        self.clocks.append(made)
        made.start()
        return made

    async def open_sale(
        self, name: str = "friday", start_s: int = START_S, end_s: int = END_S, /, **prices: str
    ) -> None:
        start, end = (datetime.fromtimestamp(NOW_MS / 1000 + s, UTC) for s in (start_s, end_s))
        products = tuple(SaleProduct(sku=sku, price=price) for sku, price in (prices or {"TEE": "9.90"}).items())
        await self.sales.put(Sale(name=name, start=start, end=end, products=products), by="ann")

    def asks(self, sku: str = "TEE") -> str:
        return self.shop.prices[sku][0]

    def state(self, sku: str = "TEE", sale: str = "friday") -> PriceState:
        return self.book.kept["shop"][sale, sku].state

    def said(self, kind: str) -> list[dict[str, object]]:
        return [data for _, said, data in self.announcer.said if said == f"sale.price_{kind}"]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    for each in made.clocks:
        await each.stop()


async def test_prices_follow_the_window_there_and_back(stage: Stage) -> None:
    stage.start()
    await stage.open_sale()
    await stage.clock.advance(START_S - 1)
    assert stage.asks() == "19.90"
    await stage.clock.advance(2)
    assert (stage.asks(), stage.state()) == ("9.90", PriceState.PUSHED)
    await stage.clock.advance(END_S - START_S)
    assert (stage.asks(), stage.state()) == ("19.90", PriceState.RESTORED)
    assert stage.shop.price_writes == ["TEE", "TEE"]
    assert stage.said("pushed") == [{"sale": "friday", "channel": "shop", "skus": ["TEE"]}]
    assert stage.said("restored") == [{"sale": "friday", "channel": "shop", "skus": ["TEE"]}]


async def test_the_pre_image_is_durable_before_the_first_write(stage: Stage) -> None:
    stage.start()
    await stage.open_sale()
    seen: list[PriceRow] = []

    async def write(writes: list[PriceWrite]) -> list[Price]:
        seen.extend(stage.book.history)
        return await PriceShop.write_prices(stage.shop, writes)

    stage.shop.write_prices = write  # type: ignore[method-assign]
    await stage.clock.advance(START_S + 1)
    [kept] = seen
    assert (kept.state, kept.before.price) == (PriceState.PUSHING, "19.90")


async def test_boundaries_are_said_once_over_two_processes(stage: Stage) -> None:
    stage.start()
    second = stage.start()
    await stage.open_sale()
    await stage.clock.advance(START_S + 1)
    assert stage.sales.said == [("sale.opened", "friday")]
    assert stage.sales.dirty == {"TEE"}
    await stage.clocks[0].stop()
    await stage.clock.advance(END_S)
    assert stage.sales.said == [("sale.opened", "friday"), ("sale.over", "friday")]
    assert stage.asks() == "19.90"  # by the second
    assert second.children


async def test_a_human_s_edit_is_left_alone_and_told(stage: Stage) -> None:
    stage.start()
    await stage.open_sale()
    await stage.clock.advance(START_S + 1)
    stage.shop.prices["TEE"] = ("12.00", "")
    await stage.clock.advance(END_S)
    assert (stage.asks(), stage.state()) == ("12.00", PriceState.KEPT)
    [told] = stage.said("kept")
    assert told["skus"] == ["TEE"]
    assert told["reason"] == "somebody changed it to 12.00; before the sale it was 19.90"


@pytest.mark.parametrize("was_done", [True, False])
async def test_a_lost_answer_of_the_channel_is_looked_at_again(stage: Stage, *, was_done: bool) -> None:
    stage.start()
    stage.shop.faults_of_prices = [was_done]
    await stage.open_sale()
    await stage.clock.advance(START_S + 5)
    assert (stage.asks(), stage.state()) == ("9.90", PriceState.PUSHED)
    await stage.clock.advance(END_S)
    assert (stage.asks(), stage.state()) == ("19.90", PriceState.RESTORED)


@pytest.mark.parametrize("was_done", [True, False])
@pytest.mark.parametrize("calls_before", [0, 1, 2, 3])
async def test_a_store_that_loses_a_reply_delays_and_breaks_nothing(
    stage: Stage, *, calls_before: int, was_done: bool
) -> None:
    stage.start()
    stage.book.faults = [None] * calls_before + [was_done]
    await stage.open_sale()
    await stage.clock.advance(START_S + 5)
    assert (stage.asks(), stage.state()) == ("9.90", PriceState.PUSHED)
    await stage.clock.advance(END_S + 40)
    assert (stage.asks(), stage.state()) == ("19.90", PriceState.RESTORED)


@pytest.mark.parametrize("at_s", [START_S + 1, END_S + 1])
async def test_a_process_that_dies_leaves_the_rest_to_the_next(stage: Stage, at_s: int) -> None:
    stage.start()
    await stage.open_sale(TEE="9.90", CAP="20.00")
    await stage.clock.advance(at_s - 1.5)
    stage.shop.faults_of_prices = [True]
    await stage.clock.advance(1.5)
    await stage.clocks[0].stop()
    stage.start()
    await stage.clock.advance(5)
    wanted = ("9.90", "20.00") if at_s < END_S else ("19.90", "25.00")
    assert (stage.asks("TEE"), stage.asks("CAP")) == wanted
    await stage.clock.advance(END_S + 40)
    assert (stage.asks("TEE"), stage.asks("CAP")) == ("19.90", "25.00")


async def test_a_sale_that_is_ended_by_hand_restores_at_once(stage: Stage) -> None:
    clock = stage.start()
    await stage.open_sale()
    await stage.clock.advance(START_S + 1)
    await stage.sales.set_state("friday", SaleState.ENDED, by="ann")
    clock.wake()
    await stage.clock.advance(0.1)
    assert stage.asks() == "19.90"


async def test_a_stopped_sale_keeps_its_prices_until_its_window_is_over(stage: Stage) -> None:
    stage.start()
    await stage.open_sale()
    await stage.clock.advance(START_S + 1)
    await stage.sales.set_state("friday", SaleState.STOPPED, by="ann")
    await stage.clock.advance(5)
    assert stage.asks() == "9.90"
    await stage.clock.advance(END_S)
    assert stage.asks() == "19.90"


async def test_a_sale_after_a_sale_never_takes_the_first_one_s_price_for_the_ordinary_one(stage: Stage) -> None:
    stage.start()
    await stage.open_sale("first", START_S, END_S, TEE="9.90")
    await stage.open_sale("second", END_S, END_S + 50, TEE="8.00")
    await stage.clock.advance(END_S + 2)
    assert (stage.asks(), stage.state(sale="second")) == ("8.00", PriceState.PUSHED)
    await stage.clock.advance(60)
    assert (stage.asks(), stage.state(sale="second")) == ("19.90", PriceState.RESTORED)


async def test_a_second_sale_waits_while_the_first_one_s_price_cannot_be_taken_back(stage: Stage) -> None:
    stage.start()
    await stage.open_sale("first", START_S, END_S, TEE="9.90")
    await stage.open_sale("second", END_S, END_S + 50, TEE="8.00")
    await stage.clock.advance(END_S - 1)
    stage.shop.faults_of_prices = [False, False]
    await stage.clock.advance(1.5)
    assert stage.asks() == "9.90"
    await stage.clock.advance(10)
    assert (stage.asks(), stage.state(sale="first")) == ("8.00", PriceState.RESTORED)
    await stage.clock.advance(60)
    assert stage.asks() == "19.90"


async def test_a_channel_that_is_away_is_asked_again_and_stops_nobody_else(stage: Stage) -> None:
    stage.start()
    stage.shop.down = True
    await stage.open_sale()
    await stage.clock.advance(START_S + 3)
    assert stage.sales.said == [("sale.opened", "friday")]
    assert stage.book.kept == {}
    stage.shop.down = False
    await stage.clock.advance(8)
    assert stage.asks() == "9.90"


async def test_what_cannot_be_priced_is_told_once_with_its_reason_and_holds_up_no_other(stage: Stage) -> None:
    stage.start()
    stage.pool.entries["shop"]["GHOST"] = Entry(sku="GHOST", ids={"item": "GHOST"})
    await stage.open_sale(TEE="9.90", GHOST="1.00", NOWHERE="2.00")
    await stage.clock.advance(START_S + 20)
    assert stage.asks() == "9.90"
    told = {str(data["reason"]): data["skus"] for data in stage.said("failed")}
    assert told == {"it is not in the channel's map": ["NOWHERE"], "there is no such product": ["GHOST"]}
    assert len(stage.said("failed")) == 2


async def test_a_new_version_of_the_document_changes_the_price_and_a_product_taken_out_goes_back(stage: Stage) -> None:
    clock = stage.start()
    await stage.open_sale(TEE="9.90", CAP="20.00")
    await stage.clock.advance(START_S + 1)
    await stage.open_sale(TEE="8.00")
    clock.wake()
    await stage.clock.advance(0.1)
    assert (stage.asks("TEE"), stage.asks("CAP")) == ("8.00", "25.00")
    await stage.clock.advance(END_S)
    assert stage.asks("TEE") == "19.90"


async def test_many_prices_are_moved_in_chunks(stage: Stage) -> None:
    skus = [f"S{number:03d}" for number in range(120)]
    stage.shop.prices = dict.fromkeys(skus, ("5.00", ""))
    stage.pool.entries["shop"] = {sku: entry(sku) for sku in skus}
    stage.start()
    await stage.open_sale(**dict.fromkeys(skus, "4.00"))
    await stage.clock.advance(START_S + 2)
    assert {price for price, _ in stage.shop.prices.values()} == {"4.00"}
    await stage.clock.advance(END_S)
    assert {price for price, _ in stage.shop.prices.values()} == {"5.00"}
    assert [len(str(data["skus"]).split(",")) for data in stage.said("restored")] == [50, 50, 20]


async def test_a_channel_without_prices_is_left_alone(stage: Stage) -> None:
    stage.shop.traits = stage.shop.traits.__class__(mode=stage.shop.traits.mode)
    assert stage.start().keepers == {}


async def test_a_process_that_does_not_lead_touches_no_price(stage: Stage) -> None:
    stage.start()
    await stage.clock.advance(1)
    first, stage.shop = stage.shop, PriceShop(stage.clock, TEE="19.90")
    stage.start()
    await stage.open_sale()
    await stage.clock.advance(START_S + 1)
    assert first.prices["TEE"][0] == "9.90"
    assert stage.shop.calls == 0


async def test_a_price_that_another_process_took_in_hand_first_is_not_written(stage: Stage) -> None:
    clock = stage.start()
    await stage.clock.advance(1)
    await stage.open_sale("friday", 0)
    theirs = PriceRow(
        sale="friday", sku="TEE", state=PriceState.PUSHING, before=Tag("19.90"), wish=Tag("9.00"), ours=(Tag("9.00"),)
    )
    await stage.book.change("shop", [(None, theirs)])
    stage.book.rows = _nothing  # type: ignore[assignment]  # as they stood before
    assert not await clock.keepers["shop"].look(await stage.sales.all(), stage.clock.now_ms())
    assert stage.shop.price_writes == []
    assert stage.book.kept["shop"]["friday", "TEE"] is theirs


async def _nothing(_channel: str) -> list[PriceRow]:
    return []
