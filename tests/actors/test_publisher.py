"""Keeping one channel's figures right: mirrored figures, doubts, refusals, budgets, leadership."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import ListingState, WriteMode
from flashd.domain.publication import Threshold
from tests.actors.shops import Make
from tests.fakes.channel_api import Fault

MODES = list(WriteMode)


# ------------------------------------------------------------------------------------------------ the right figure


@pytest.mark.parametrize("write", MODES)
async def test_each_sku_is_published_and_nothing_is_written_twice(make: Make, write: WriteMode) -> None:
    world = make(tee=10, cap=3)
    shop = world.shop(write=write)
    await world.run(60)
    assert shop.api.stock == {"tee": 10, "cap": 3}
    assert len(shop.api.written) == 2
    flow = shop.publisher.snapshot()
    assert (flow.leading, flow.dirty, flow.in_flight, flow.written, flow.settling) == (True, 0, 0, 2, 0)


@pytest.mark.parametrize("write", MODES)
async def test_a_change_is_shown_within_a_moment(make: Make, write: WriteMode) -> None:
    world = make(tee=10)
    shop = world.shop(write=write)
    await world.run(10)
    world.stock("tee", 7)
    await world.clock.advance(1)
    assert shop.shows() == 7
    assert 0 < shop.publisher.snapshot().lag.p99_s < 10


async def test_a_rush_is_looked_at_twenty_times_a_second(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(tee=10)
    shop = world.shop()
    await world.run(10)
    looks = 0
    spread = world.listings.spread

    async def counted(channels: Sequence[str], *, within_s: float) -> int:
        nonlocal looks
        looks += 1
        return await spread(channels, within_s=within_s)

    monkeypatch.setattr(world.listings, "spread", counted)
    for _ in range(400):
        shop.publisher.wake()
        await world.clock.advance(0.005)
    assert 30 <= looks <= 42
    world.stock("tee", 7)
    await world.clock.advance(1)
    assert shop.shows() == 7


async def test_what_the_shop_sold_by_itself_is_not_written_back(make: Make) -> None:
    world = make(tee=10)
    shop = world.shop()
    await world.run(10)
    before = len(shop.api.written)
    await world.sell(5, {"a": 1.0})
    await world.clock.advance(5)
    assert shop.shows() < 10
    assert len(shop.api.written) == before
    assert world.level().free == shop.shows()


@pytest.mark.parametrize("write", MODES)
async def test_what_one_shop_sells_the_others_show_less(make: Make, write: WriteMode) -> None:
    world = make(tee=20)
    one, other = world.shop("a", write=write), world.shop("b", write=write)
    await world.run(10)
    sold = await world.sell(10, {"a": 1.0})
    await world.clock.advance(60)
    assert sold["a"] > 3
    assert one.shows() == other.shows() == 20 - sold["a"] == world.level().free


async def test_only_what_is_in_the_map_is_published_and_the_rest_is_a_gap(make: Make) -> None:
    world = make(tee=10, cap=5)
    shop = world.shop(skus=["tee"])
    await world.run(5)
    assert shop.api.stock == {"tee": 10}
    assert shop.publisher.snapshot().gaps == ("cap",)


async def test_thresholds_keep_back_once(make: Make) -> None:
    world = make(tee=100, cap=100, mug=3)
    shop = world.shop(threshold=Threshold(percent=50, buffer=5), thresholds={"mug": Threshold(floor=3)})
    await world.run(5)
    assert shop.api.stock == {"tee": 45, "cap": 45, "mug": 0}


async def test_a_kit_is_the_least_of_its_parts_and_follows_each_of_them(make: Make) -> None:
    world = make(cup=10, saucer=7)
    world.pool.kits["set"] = Kit("set", (Component("cup", 2), Component("saucer", 1)))
    shop = world.shop()
    await world.run(5)
    assert shop.api.stock == {"cup": 10, "saucer": 7, "set": 5}
    world.stock("saucer", 4)
    await world.clock.advance(2)
    assert shop.shows("set") == 4


async def test_a_mirror_shows_all_of_its_places(make: Make) -> None:
    world = make(tee=4)
    world.stock("tee", 3, "depot")
    world.stock("tee", 9, "closed")
    shop = world.shop(locations=("main", "depot"))
    await world.run(5)
    assert shop.shows() == 7


async def test_a_buffer_that_tunes_itself_is_what_sells_while_a_figure_is_on_its_way(make: Make) -> None:
    world = make(tee=400)
    world.shop("a", hook_s=0.5)
    slow = world.shop("b", rate="1/s")
    await world.run(5, tune=2.0, sweep_s=150.0, poll_s_of_looks=0.5)
    await world.sell(20, {"a": 5.0})
    gap = world.level().free - slow.shows()
    assert gap > 3
    await world.clock.advance(450)  # nothing sells: a later sweep shows all of it again
    assert slow.shows() == world.level().free


# ---------------------------------------------------------------------------------- urgency, batches, and bad SKUs


async def test_a_crossing_of_zero_overtakes_all_that_waits(make: Make) -> None:
    world = make(**{f"s{number:03}": 50 for number in range(80)})
    shop = world.shop(rate="1/s")
    await world.run(30)
    assert set(shop.api.stock.values()) == {50}
    shop.api.written.clear()
    before = shop.publisher.snapshot()
    for number in range(80):
        world.stock(f"s{number:03}", 49)
    await world.clock.advance(1.05)
    world.stock("s079", 0)
    await world.clock.advance(1.1)
    assert ("s079", 50, 0) in shop.api.written[:30]
    assert len(shop.api.written) <= 30
    await world.clock.advance(15)
    assert len(shop.api.written) == 80
    after = shop.publisher.snapshot()
    assert after.zero_lag.count - before.zero_lag.count == 1
    assert after.zero_lag.sum_s - before.zero_lag.sum_s < 2.2
    assert (after.lag.sum_s - before.lag.sum_s) / 80 > 2.2


async def test_many_sales_need_few_calls(make: Make) -> None:
    world = make(tee=400)
    world.shop("a")
    other = world.shop("b", rate="1/s")
    await world.run(10)
    calls = other.api.calls
    sold = await world.sell(30, {"a": 8.0})
    await world.clock.advance(5)
    assert sold["a"] > 100
    assert other.api.calls - calls < 40
    assert other.shows() == 400 - sold["a"]


async def test_a_refused_figure_blocks_nobody_and_is_remembered_with_its_reason(make: Make) -> None:
    world = make(tee=10, cap=3)
    shop = world.shop()
    shop.api.refused["tee"] = "stock is not tracked"
    await world.run(10)
    assert shop.api.stock == {"tee": 0, "cap": 3}
    assert shop.publisher.snapshot().refused == {"tee": "stock is not tracked"}
    assert shop.row().exposed == 0
    tries = len(shop.api.keys)
    await world.clock.advance(150)
    assert 1 <= len(shop.api.keys) - tries <= 2
    shop.api.refused.clear()
    await world.clock.advance(120)
    assert shop.shows() == 10
    assert shop.publisher.snapshot().refused == {}


async def test_a_sku_that_the_platform_does_not_have_is_a_gap(make: Make) -> None:
    world = make(tee=10, cap=3)
    shop = world.shop()
    del shop.api.stock["cap"]
    await world.run(10)
    assert shop.shows() == 10
    assert "cap" in shop.publisher.snapshot().gaps


# ----------------------------------------------------------------------------------------------- outages and doubts


async def test_an_outage_is_waited_out_and_told(make: Make) -> None:
    world = make(tee=10)
    shop = world.shop()
    await world.run(5)
    shop.api.down = True
    world.stock("tee", 4)
    calls = shop.api.calls
    await world.clock.advance(60)
    assert shop.api.calls - calls < 20
    assert "channel.went_away" in world.announcer.kinds
    assert shop.publisher.snapshot().away
    shop.api.down = False
    await world.clock.advance(40)
    assert shop.shows() == 4
    assert "channel.came_back" in world.announcer.kinds


async def test_a_lost_reply_is_asked_for_under_the_same_key(make: Make) -> None:
    world = make(tee=10)
    shop = world.shop()
    await world.run(5)
    shop.api.faults.append(Fault.LOST)
    world.stock("tee", 4)
    await world.clock.advance(2)
    assert shop.shows() == 4
    assert shop.api.keys[-1] == shop.api.keys[-2]
    assert [one[2] for one in shop.api.written] == [10, 4]
    assert shop.row().state is ListingState.IDLE
    assert shop.row().figure == 4


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.VANISHED, Fault.LATE])
@pytest.mark.parametrize("write", MODES)
async def test_without_keys_a_doubt_is_read_once_no_request_can_land_any_more(
    make: Make, write: WriteMode, fault: Fault
) -> None:
    world = make(tee=10)
    shop = world.shop(write=write, traits={"idempotent": False})
    await world.run(10)
    shop.api.faults.append(fault)
    world.stock("tee", 4)
    await world.clock.advance(2)
    assert shop.row().state is ListingState.IN_DOUBT
    assert shop.publisher.snapshot().in_doubt == 1
    writes = len(shop.api.keys)
    await world.clock.advance(15)
    shop.api.land()
    await world.clock.advance(10)
    assert len(shop.api.keys) == writes, "it was written again while it could still land"
    await world.clock.advance(30)
    assert shop.shows() == 4
    assert shop.row().state is ListingState.IDLE
    assert (shop.row().exposed, shop.publisher.snapshot().in_doubt) == (4, 0)


async def test_what_another_process_left_behind_is_a_doubt(make: Make) -> None:
    world = make(tee=10)
    shop = world.shop(traits={"idempotent": False})
    await world.run(5)
    shop.api.latency_s = 60.0
    world.stock("tee", 4)
    await world.clock.advance(1)
    assert shop.row().state is ListingState.WRITING
    for actor in reversed(world.actors):
        for task in [*actor.children, actor._task]:
            task.cancel()
    await world.clock.advance(10)
    shop.api.latency_s = 0.0
    second = world.shop("b")  # a line of its own; the gate is the first one's
    del world.shops["b"]
    world.actors.clear()
    second.line._gate = shop.gate
    second.line.leadership._gate = shop.gate
    second.line.channel = "a"
    world.man(shop, owner_line=second.line)
    await world.run(10)
    assert shop.row().state is ListingState.IN_DOUBT, "it was read while the request could still land"
    await world.clock.advance(60)
    assert shop.shows() == 4
    assert shop.row().state is ListingState.IDLE


async def test_only_one_of_two_processes_publishes(make: Make) -> None:
    world = make(tee=10)
    shop = world.shop()
    world.man(shop)
    first = shop.publisher
    rival = world.shop("b")
    del world.shops["b"]
    rival.line._gate = rival.line.leadership._gate = shop.gate
    rival.line.channel = "a"
    world.man(shop, owner_line=rival.line)
    await world.run(10)
    assert shop.shows() == 10
    assert {first.snapshot().leading, shop.publisher.snapshot().leading} == {True, False}
    assert len(shop.api.written) == 1


# --------------------------------------------------------------------------------- figures that are not the expected


async def test_a_sale_that_is_not_seen_yet_is_not_undone(make: Make) -> None:
    world = make(tee=10)
    shop = world.shop(hook_s=5.0)
    await world.run(5)
    shop.api.sell("tee", 3)
    world.stock("tee", 9)  # something else changed by one: the figure to write is nine less the three
    await world.clock.advance(2)
    assert shop.shows() == 6
    await world.clock.advance(60)
    assert shop.shows() == 6
    assert shop.publisher.snapshot().stale.get("sale", 0) >= 1
    assert "channel.figure_edited" not in world.announcer.kinds


@pytest.mark.parametrize("write", MODES)
@pytest.mark.parametrize("edited", [25, 2])
async def test_a_humans_edit_is_told_and_put_right(make: Make, write: WriteMode, edited: int) -> None:
    world = make(tee=10)
    shop = world.shop(write=write)
    await world.run(10, sweep_s=20.0)
    shop.api.stock["tee"] = edited
    await world.clock.advance(40)  # the sweep reads it
    assert shop.shows() == 10
    assert world.announcer.kinds.count("channel.figure_edited") == 1
    [said] = [data for _, kind, data in world.announcer.said if kind == "channel.figure_edited"]
    assert (said["sku"], said["after"]) == ("tee", edited)
    assert shop.row().exposed == 10


async def test_a_sweep_reads_a_large_map_to_its_end_page_by_page(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(**{f"s{number:03}": 5 for number in range(260)})
    shop = world.shop(rate="100/s")
    await world.run(6, sweep_s=15.0)
    pages: list[int] = []
    mapped = world.listings.mapped

    async def counted(channel: str, cursor: int, *, limit: int) -> tuple[list[str], int]:
        skus, after = await mapped(channel, cursor, limit=limit)
        pages.append(len(skus))
        return skus, after

    monkeypatch.setattr(world.listings, "mapped", counted)
    shop.api.stock |= {"s000": 9, "s259": 9}
    await world.clock.advance(14)
    assert pages == [250, 10]
    assert set(shop.api.stock.values()) == {5}


# ------------------------------------------------------------------------------------------------- the daily budget


async def test_a_listing_never_gets_more_revisions_than_its_budget_and_ends_right(make: Make) -> None:
    world = make(tee=1000)
    shop = world.shop()
    await world.run(5, revisions_per_day=40, poll_s=600.0, poll_s_of_looks=0.5)
    for number in range(200):
        world.stock("tee", 0 if number in (50, 150) else 1000 - number)
        await world.clock.advance(2)
    spent = len(shop.api.written)
    assert 20 < spent <= 32
    assert world.book.used["a", "tee"].used(world.clock.now_ms()) == spent
    assert shop.publisher.snapshot().revisions_left == 40 - spent
    assert shop.shows() != world.level().free
    await world.clock.advance(200)  # nothing changes any more
    assert shop.shows() == world.level().free == 801
    assert len(shop.api.written) == spent + 1


async def test_without_a_budget_every_change_is_written(make: Make) -> None:
    world = make(tee=1000)
    shop = world.shop()
    await world.run(5, poll_s=600.0)
    for number in range(50):
        world.stock("tee", 900 - number)
        await world.clock.advance(1)
    assert len(shop.api.written) == 51
