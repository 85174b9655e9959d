"""Escrow over several channels: nothing is sold twice, nothing is stranded, and a stop takes everything to zero."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import WriteMode
from flashd.domain.publication import Threshold
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.domain.standing import Phase, phase_of
from flashd.domain.terms import SellingTerms
from tests.actors.shops import Make, World
from tests.fakes.channel_api import Fault

MODES = list(WriteMode)


def sale_of(world: World, *, begins_s: float, lasts_s: float, **more: object) -> Sale:
    start = datetime.fromtimestamp(world.clock.now_ms() / 1000 + begins_s, UTC)
    products = (SaleProduct(sku="tee", quota=int(str(more.pop("quota", 0)))),)
    return Sale(name="drop", start=start, end=start + timedelta(seconds=lasts_s), products=products, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", MODES)
async def test_each_channel_is_granted_a_part_and_the_rest_stays_free(make: Make, write: WriteMode) -> None:
    world = make(tee=80)
    one, other = world.shop("a", "escrow", write), world.shop("b", "escrow", write)
    await world.run(30)
    assert (one.shows(), other.shows(), world.level().free) == (10, 10, 60)
    assert world.lawful()


@pytest.mark.parametrize("modes", [(WriteMode.COMPARE, WriteMode.COMPARE), tuple(MODES)])
async def test_all_is_sold_and_nothing_twice_with_slow_and_lost_webhooks(
    make: Make, modes: tuple[WriteMode, WriteMode]
) -> None:
    world = make(tee=60)
    one = world.shop("a", "escrow", modes[0], hook_s=1.0)
    world.shop("b", "escrow", modes[1], hook_s=-1.0)
    await world.run(15, poll_s=10.0)
    sold = 0
    for seed in range(12):
        one.api.faults.extend({1: [Fault.LOST], 2: [Fault.VANISHED], 3: [Fault.LATER]}.get(seed, []))
        sold += sum((await world.sell(20, {"a": 1.0, "b": 0.6}, seed=seed)).values())
        assert world.lawful()
        if sold == 60:
            break
    await world.clock.advance(60)
    assert sold == 60
    assert world.oversold() == 0
    assert world.level().sold == 60
    assert world.level().exposed == 0


@pytest.mark.parametrize("modes", [(WriteMode.COMPARE, WriteMode.COMPARE), (WriteMode.ABSOLUTE, WriteMode.COMPARE)])
@pytest.mark.parametrize("shows", [50, 41], ids=["both show all", "one unit too many"])
async def test_shops_that_show_more_than_there_is_are_taken_over(
    make: Make, modes: tuple[WriteMode, WriteMode], shows: int
) -> None:
    world = make(tee=40)
    one = world.shop("a", "escrow", modes[0], shows=shows)
    other = world.shop("b", "escrow", modes[1], shows=shows)
    await world.run(60)
    assert (one.row().backed, other.row().backed) == (True, True)
    assert one.shows() + other.shows() + world.level().free == 40
    assert world.lawful()


async def test_one_shop_that_shows_its_safety_stock_too_never_shows_nothing(make: Make) -> None:
    world = make(tee=40)
    shop = world.shop("a", "escrow", shows=41)
    await world.run(1)
    for _ in range(60):
        await world.clock.advance(0.5)
        assert shop.shows() > 0
    assert (shop.shows() + world.level().free, shop.row().backed) == (40, True)


async def test_units_wander_to_the_only_channel_that_sells(make: Make) -> None:
    world = make(tee=12)
    world.shop("a", "escrow")
    world.shop("b", "escrow")
    await world.run(15)
    sold = await world.sell(100, {"a": 0.5})
    assert sold["a"] == 12


async def test_the_last_unit_comes_round_to_who_wants_it(make: Make) -> None:
    world = make(tee=1)
    shops = [world.shop(name, "escrow") for name in "ab"]
    await world.run(15, sweep_s=3600.0, poll_s_of_looks=0.5)
    [holder] = [shop for shop in shops if shop.shows()]
    [other] = [shop for shop in shops if not shop.shows()]
    for _ in range(30):
        await world.clock.advance(10)
        if other.shows():
            break
    assert (holder.shows(), other.shows()) == (0, 1)


async def test_a_buffer_is_kept_once_over_all_channels(make: Make) -> None:
    world = make(tee=20)
    for name in "ab":
        world.shop(name, "escrow", threshold=Threshold(buffer=5))
    await world.run(15)
    sold = await world.sell(150, {"a": 0.5, "b": 0.5})
    assert sum(sold.values()) == 15
    assert world.level().free == 5


async def test_a_kit_is_backed_by_its_parts(make: Make) -> None:
    world = make(cup=40, saucer=9)
    world.pool.kits["set"] = Kit("set", (Component("cup", 2), Component("saucer", 1)))
    shop = world.shop("a", "escrow", skus=["set"])
    await world.run(15)
    assert shop.shows("set") > 0
    assert world.level("cup").exposed == 2 * shop.shows("set")
    assert world.level("saucer").exposed == shop.shows("set")
    sold = await world.sell(100, {"a": 1.0}, sku="set")
    await world.clock.advance(5)
    assert sold["a"] == 9
    assert world.level("saucer").sold == 9


async def test_a_count_that_finds_fewer_takes_back_what_is_shown(make: Make) -> None:
    world = make(tee=80)
    shops = [world.shop(name, "escrow") for name in "ab"]
    await world.run(15)
    world.stock("tee", 5)
    await world.clock.advance(15)
    assert sum(shop.shows() for shop in shops) <= 5
    assert world.lawful()


async def test_what_a_human_added_on_the_platform_is_told_and_taken_back(make: Make) -> None:
    world = make(tee=80)
    shop = world.shop("a", "escrow")
    await world.run(15, sweep_s=60.0)
    granted = shop.shows()
    shop.api.stock["tee"] = 95
    await world.clock.advance(90)
    assert shop.shows() <= 80
    assert granted <= 80
    assert world.lawful()
    assert "channel.figure_edited" in world.announcer.kinds
    assert "stock.drifted" in [event.kind for event in world.pool.journal]


async def test_what_a_human_took_away_comes_back_to_free_stock(make: Make) -> None:
    world = make(tee=40)
    shop = world.shop("a", "escrow")
    await world.run(15, sweep_s=60.0)
    shop.api.stock["tee"] = 1
    await world.clock.advance(120)
    assert world.level().exposed == shop.shows()
    assert "channel.figure_edited" in world.announcer.kinds


@pytest.mark.parametrize("names", ["a", "ab"])
@pytest.mark.parametrize("write", MODES)
async def test_mirrored_figures_become_backed_ones_without_being_sold_twice(
    make: Make, write: WriteMode, names: str
) -> None:
    world = make(tee=12)
    shops = [world.shop(name, "mirror", write) for name in names]
    await world.run(15)
    assert {shop.shows() for shop in shops} == {12}
    for shop in shops:
        shop.display = replace(shop.display, terms=SellingTerms(mode="escrow"))
    table = tuple(shop.display for shop in shops)
    for shop in shops:
        shop.publisher.rules = replace(shop.publisher.rules, display=shop.display, table=table)
        await world.listings.mark(shop.name, ["tee"])
    await world.clock.advance(30)
    assert 0 < sum(shop.shows() for shop in shops) <= 12
    assert all(shop.row().backed for shop in shops)
    assert world.level().exposed == sum(shop.row().exposed for shop in shops)
    assert world.lawful()


# ------------------------------------------------------------------------------------------------------------ sales


@pytest.mark.parametrize("mode", ["mirror", "escrow"])
@pytest.mark.parametrize("write", MODES)
async def test_a_stopped_sale_is_zero_everywhere_and_comes_back_when_resumed(
    make: Make, mode: str, write: WriteMode
) -> None:
    world = make(tee=80, cap=80)
    shops = [world.shop(name, mode, write) for name in "abc"]  # type: ignore[arg-type]
    await world.sales.put(sale_of(world, begins_s=-60, lasts_s=9999, outside="open"), by="me")
    await world.run(20)
    assert all(shop.shows() > 0 for shop in shops)
    await world.sales.set_state("drop", SaleState.STOPPED, by="me")
    await world.clock.advance(1.5)
    assert [shop.shows("tee") for shop in shops] == [0, 0, 0]
    assert all(shop.shows("cap") > 0 for shop in shops)
    await world.clock.advance(10)
    await world.sales.set_state("drop", SaleState.READY, by="me")
    await world.clock.advance(10)
    assert all(shop.shows() > 0 for shop in shops)


@pytest.mark.parametrize("late_s", [number / 20 for number in range(20)])
async def test_a_stop_is_seen_soon_however_lately_sales_were_read(make: Make, late_s: float) -> None:
    world = make(tee=80)
    shop = world.shop()
    await world.sales.put(sale_of(world, begins_s=-60, lasts_s=9999, outside="open"), by="me")
    await world.run(10 + late_s, poll_s_of_looks=0.1)
    await world.sales.set_state("drop", SaleState.STOPPED, by="me")
    world.stock("tee", 80)  # it is dirty by that, as by the script
    shop.publisher.wake()
    await world.clock.advance(0.5)
    assert shop.shows() == 0


async def test_a_window_opens_and_closes_the_figures(make: Make) -> None:
    world = make(tee=80)
    shop = world.shop()
    await world.sales.put(sale_of(world, begins_s=20, lasts_s=20), by="me")
    await world.run(19)
    assert shop.shows() == 0
    await world.clock.advance(3)
    assert shop.shows() == 80
    await world.clock.advance(20)
    assert shop.shows() == 0
    [record] = await world.sales.all()
    assert phase_of(record, world.clock.now_ms()) is Phase.AFTER


async def test_a_quota_is_shown_less_what_was_used(make: Make) -> None:
    world = make(tee=80)
    mirror, escrow = world.shop(), world.shop("b", "escrow")
    await world.sales.put(sale_of(world, begins_s=-1, lasts_s=999, quota=10), by="me")
    world.sales.counted["drop", "tee"] = 7
    await world.run(15)
    assert mirror.shows() == 3
    assert escrow.shows() <= 3


async def test_a_sale_says_nothing_of_channels_that_it_does_not_name(make: Make) -> None:
    world = make(tee=80)
    named, other = world.shop("a"), world.shop("b")
    await world.sales.put(sale_of(world, begins_s=-1, lasts_s=999, quota=10, channels=("a",)), by="me")
    await world.run(15)
    assert (named.shows(), other.shows()) == (10, 80)
