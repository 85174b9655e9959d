"""Polling a channel: what its webhooks missed is found within a poll, once, and silence is said loudly."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flashd.domain.listing import ListingState, WriteMode
from flashd.domain.order import AcceptCode
from flashd.ports import Subscription
from tests.actors.shops import Make, Shop


def snapshot(shop: Shop) -> tuple[int, str]:
    assert shop.poller is not None
    flow = shop.poller.snapshot()
    return flow.missed, flow.silent


def accepted(shop: Shop) -> int:
    return sum(one.code is AcceptCode.ACCEPTED for one in shop.found)


async def test_a_dropped_webhook_is_found_within_a_poll_and_none_is_taken_twice(make: Make) -> None:
    world = make(tee=300)
    shop = world.shop()
    await world.run(5, grace_ms=1000)
    sold = 0
    for number in range(60):
        if number % 10 == 0:
            shop.hook_s = -1.0
        sold += shop.api.sell("tee") is not None
        shop.hook_s = 0.3
        await world.clock.advance(1)
    await world.clock.advance(70)
    assert accepted(shop) == sold == 60
    assert world.level().sold == 60
    assert snapshot(shop) == (6, "")
    assert world.announcer.kinds.count("channel.order_missed") == 6
    assert "channel.webhooks_silent" not in world.announcer.kinds


async def test_webhooks_that_do_not_come_any_more_are_said_loudly_and_so_is_their_return(make: Make) -> None:
    world = make(tee=300)
    shop = world.shop()
    await world.run(5)
    await world.sell(40, {"a": 1.0})
    shop.hook_s = -1.0
    sold = await world.sell(90, {"a": 1.0})
    assert sold["a"] > 50
    assert "channel.webhooks_silent" in world.announcer.kinds
    assert snapshot(shop)[1] == "polls find orders that no webhook told of"
    shop.hook_s = 0.3
    await world.sell(60, {"a": 1.0})
    await world.clock.advance(60)
    assert world.announcer.kinds.count("channel.webhooks_silent") == 1
    assert "channel.webhooks_returned" in world.announcer.kinds
    assert snapshot(shop)[1] == ""
    assert world.level().sold == 300 - shop.shows()


async def test_an_absolute_channel_that_polls_all_the_time_notices_silence_too(make: Make) -> None:
    world = make(tee=300)
    shop = world.shop("a", "escrow", WriteMode.ABSOLUTE, hook_s=-1.0)
    await world.run(20)
    await world.sell(120, {"a": 1.0})
    assert "channel.webhooks_silent" in world.announcer.kinds
    assert snapshot(shop)[1]


async def test_a_subscription_that_the_platform_switched_off_is_told_by_its_reason(make: Make) -> None:
    world = make(tee=30)
    shop = world.shop()
    await world.run(5, poll_s_of_looks=1.0)
    [alive] = shop.api.hooks
    shop.api.hooks = [replace(alive, alive=False, reason="disabled after 5 failures")]
    await world.clock.advance(300)
    assert "disabled after 5 failures" in snapshot(shop)[1]
    shop.api.hooks = [Subscription(topic="orders", address="", alive=False, reason="there is none")]  # it was deleted
    await world.clock.advance(300)
    assert snapshot(shop)[1] == "the platform has switched off orders: there is none"
    shop.api.hooks = []
    await world.clock.advance(300)
    assert snapshot(shop)[1] == "the platform has no webhook for orders"
    shop.api.hooks = [Subscription(topic="orders", address="https://flashd.example", alive=True)]
    await world.clock.advance(300)
    assert snapshot(shop)[1] == ""


async def test_a_subscription_that_is_gone_is_put_back_and_said_loudly(make: Make) -> None:
    world = make(tee=30)
    shop = world.shop()
    shop.api.restores = True
    await world.run(5)
    [alive] = shop.api.hooks
    shop.api.hooks = [replace(alive, alive=False, reason="there is none")]
    await world.clock.advance(300)
    assert [one.alive for one in shop.api.hooks] == [True]
    kinds = world.announcer.kinds
    assert kinds.count("channel.webhooks_restored") == 1
    assert kinds.index("channel.webhooks_silent") < kinds.index("channel.webhooks_restored")
    await world.clock.advance(300)
    assert snapshot(shop)[1] == ""
    assert "channel.webhooks_returned" in world.announcer.kinds


async def test_a_platform_that_takes_webhooks_away_again_and_again_is_not_fought(make: Make) -> None:
    world = make(tee=30)
    shop = world.shop()
    shop.api.restores, shop.api.restore_refused = True, "the address is blocked"
    await world.run(5)
    [alive] = shop.api.hooks
    shop.api.hooks = [replace(alive, alive=False, reason="there is none")]
    await world.clock.advance(1500)
    assert shop.api.restored in {2, 3}, "once in ten minutes"
    assert "channel.webhooks_restored" not in world.announcer.kinds
    assert snapshot(shop)[1]


async def test_what_nobody_understands_is_quarantined_and_blocks_nothing(make: Make) -> None:
    world = make(tee=30)
    shop = world.shop(hook_s=-1.0)
    await world.run(5)
    shop.api.sell("tee")
    shop.api.unreadable.add("1001")
    shop.api.sell("tee")
    await world.clock.advance(70)
    assert len(world.pool.quarantine) == 1
    assert world.level().sold == 1


async def test_the_mark_moves_only_once_all_is_durable_and_outlives_the_process(make: Make) -> None:
    world = make(tee=30)
    shop = world.shop(hook_s=-1.0)
    await world.run(5)
    mark = world.book.marks["a"]
    shop.api.sell("tee", 2)
    world.intake_down = True
    await world.clock.advance(40)
    assert world.book.marks["a"] == mark
    assert world.level().sold == 0
    world.intake_down = False
    await world.clock.advance(40)
    assert world.level().sold == 2
    assert world.book.marks["a"].seen_ms > mark.seen_ms


async def test_many_pages_are_read_to_the_end(make: Make) -> None:
    world = make(tee=500)
    shop = world.shop(hook_s=-1.0, rate="50/s")
    await world.run(5)
    for _ in range(250):
        assert shop.api.sell("tee")
    await world.clock.advance(60)
    assert world.level().sold == 250
    assert shop.poller is not None
    assert shop.poller.snapshot().found >= 250


@pytest.mark.parametrize("skew_ms", [-5_000, 0, 5_000])
async def test_an_absolute_figure_settles_soon_whatever_the_platforms_clock(make: Make, skew_ms: int) -> None:
    world = make(tee=30)
    shop = world.shop(write=WriteMode.ABSOLUTE)
    shop.api.skew_ms = skew_ms
    await world.run(5, poll_s=600.0)
    await world.clock.advance(5)
    assert shop.row().state is ListingState.IDLE
    assert (shop.row().exposed, shop.publisher.snapshot().settling) == (30, 0)
    assert shop.poller is not None
    assert shop.poller.snapshot().polls < 8


async def test_an_outage_of_the_channel_delays_and_loses_nothing(make: Make) -> None:
    world = make(tee=30)
    shop = world.shop(hook_s=-1.0)
    await world.run(5)
    shop.api.down = True
    shop.api.sell("tee", 3)
    await world.clock.advance(120)
    shop.api.down = False
    await world.clock.advance(70)
    assert world.level().sold == 3


async def test_what_the_store_may_have_forgotten_is_asked_about_again(make: Make) -> None:
    world = make(tee=300)
    shop = world.shop(hook_s=-1.0)
    await world.run(5)
    assert shop.poller is not None
    shop.api.sell("tee")
    await world.clock.advance(70)
    mark = world.book.marks["a"]
    world.pool.records.clear()
    await world.clock.advance(70)
    assert accepted(shop) == 1  # nobody had told it to look back
    world.pool.records.clear()
    shop.poller.look_back()
    world.intake_down = True
    await world.clock.advance(30)
    assert accepted(shop) == 1
    world.intake_down = False
    await world.clock.advance(5)
    assert accepted(shop) == 2
    assert world.book.marks["a"].seen_ms > mark.seen_ms
    asked = len(shop.found)
    await world.clock.advance(70)
    assert len(shop.found) == asked
