"""
Once all is quiet a shop shows what flashd has, and flashd believes what the shop shows, however the two met before.

The shop counts by itself, and its clock tells whole seconds: which of its sales a figure contains that was written in
the same second, its orders do not say.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from flashd.actors.outlook import Sighting
from flashd.domain.catalogue import Entry
from flashd.domain.listing import Listing, ListingState, WriteMode
from flashd.domain.order import Line
from flashd.domain.publication import PublishMode
from flashd.domain.reservation import HoldCode, HoldRequest
from flashd.ports import Figure
from tests.actors.shops import Make, Shop, World

POLL_S = 10.0
QUIET_S = 2 * POLL_S + 2
COUNTED = 40
FAR = 100_000.0  # no sweep comes to the rescue


@dataclass(frozen=True)
class Sale:
    """A buyer buys in the shop, *held_s* after the units were held; 0: without a hold."""

    units: int
    held_s: float = 0.0


@dataclass(frozen=True)
class Count:
    """Somebody counts so many units more, or less, on the shelf."""

    by: int


@dataclass(frozen=True)
class Wait:
    seconds: float


Step = Sale | Count | Wait
SALES = st.builds(Sale, st.integers(1, 3), st.sampled_from([0.0, 0.1, 0.4, 1.5]))
COUNTS = st.builds(Count, st.integers(-3, 3))
WAITS = st.builds(Wait, st.sampled_from([0.05, 0.2, 0.7, 2.0, 6.0]))


class Trade:
    """Plays steps in one shop, and keeps its own account of what is left."""

    def __init__(self, world: World, shop: Shop) -> None:
        self.world = world
        self.shop = shop
        self.on_hand = COUNTED
        self.sold = 0
        self.holds = 0

    @property
    def left(self) -> int:
        return self.on_hand - self.sold

    async def play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            match step:
                case Sale(units, held_s):
                    await self.sell(units, held_s)
                case Count(by):
                    self.on_hand += by
                    self.world.stock("tee", self.on_hand)
                case Wait(seconds):
                    await self.world.clock.advance(seconds)

    async def sell(self, units: int, held_s: float) -> None:
        hold = await self.hold(units) if held_s else ""
        await self.world.clock.advance(held_s)
        if self.shop.api.sell("tee", units, hold=hold):
            self.sold += units
        elif hold:
            await self.world.ledger.release(hold, "the shop has none")

    async def hold(self, units: int) -> str:
        """Hold, as the shop does before its buyer pays: the figure that it shows is lowered by that."""
        self.holds += 1
        name, lines = f"hold-{self.holds}", (Line(sku="tee", quantity=units),)
        request = HoldRequest(id=name, lines=lines, ttl_ms=600_000, digest=name, channel="a")
        [reply] = await self.world.ledger.hold([request])
        return name if reply.code is HoldCode.HELD else ""


async def opened(
    world: World, write: WriteMode = WriteMode.ABSOLUTE, *, mode: PublishMode = "mirror", hook_s: float = 0.3
) -> Trade:
    """Open a shop at the beginning of a second of its clock, and let it show all that there is."""
    shop = world.shop(mode=mode, write=write, hook_s=hook_s, traits={"lag_ms": 2000})
    shop.api.grain_ms = 1000
    await world.run(12, sweep_s=FAR, poll_s=POLL_S)
    return Trade(world, shop)


def at_rest(trade: Trade) -> None:
    """Both sides have one figure, and nobody is said to have edited it."""
    shop, row = trade.shop, trade.shop.row()
    seen = shop.publisher.slate.shows.get("tee")
    believed = seen.applied_to(row) if seen else row
    assert shop.shows() == trade.left
    assert (row.state, believed.figure, row.exposed) == (ListingState.IDLE, trade.left, trade.left)
    assert "channel.figure_edited" not in trade.world.announcer.kinds


async def live(steps: Sequence[Step], write: WriteMode, hook_s: float, at_ms: int) -> None:
    world = World(tee=COUNTED)
    try:
        trade = await opened(world, write, hook_s=hook_s)
        await world.clock.advance(at_ms / 1000)
        await trade.play(steps)
        await world.clock.advance(QUIET_S)
        at_rest(trade)
    finally:
        await world.stop()


schedules = given(
    steps=st.lists(st.one_of(SALES, SALES, COUNTS, WAITS), min_size=1, max_size=12),
    write=st.sampled_from(list(WriteMode)),
    hook_s=st.sampled_from([0.0, 0.3, 1.2, -1.0]),
    at_ms=st.integers(0, 999),
)


@settings(max_examples=40, deadline=None)
@schedules
def test_however_sales_and_figures_met_both_sides_end_with_one_figure(
    steps: list[Step], write: WriteMode, hook_s: float, at_ms: int
) -> None:
    asyncio.run(live(steps, write, hook_s, at_ms))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=1500, deadline=None)
@schedules
def test_so_they_do_over_fifteen_hundred_schedules(
    steps: list[Step], write: WriteMode, hook_s: float, at_ms: int
) -> None:
    asyncio.run(live(steps, write, hook_s, at_ms))


async def sold_in_the_second_of_its_figure(trade: Trade, units: int = 2) -> None:
    """Hold, let the figure without it be written, and sell, all in one second: no time tells what came first."""
    await trade.hold(units)
    await trade.world.clock.advance(0.3)
    assert trade.shop.shows() == COUNTED - units
    assert trade.shop.api.sell("tee", units, hold=f"hold-{trade.holds}")
    trade.sold += units


async def test_what_was_held_and_sold_in_the_second_of_its_figure_is_shown_again_before_any_sweep(make: Make) -> None:
    trade = await opened(make(tee=COUNTED))
    await sold_in_the_second_of_its_figure(trade)
    assert trade.shop.shows() == COUNTED - 4
    await trade.world.clock.advance(QUIET_S)
    at_rest(trade)


def counted_reads(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets how many SKUs each call reads."""
    sizes: list[int] = []
    read = shop.api.read

    async def counting(entries: Sequence[Entry]) -> list[Figure]:
        sizes.append(len(entries))
        return await read(entries)

    monkeypatch.setattr(shop.api, "read", counting)
    return sizes


async def test_forty_skus_are_read_together(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    skus = [f"s{number:02}" for number in range(40)]
    trade = await opened(make(**dict.fromkeys(skus, 9)))
    world, shop = trade.world, trade.shop
    sizes = counted_reads(shop, monkeypatch)
    for sku in skus:
        request = HoldRequest(id=sku, lines=(Line(sku=sku, quantity=2),), ttl_ms=600_000, digest=sku, channel="a")
        await world.ledger.hold([request])
    await world.clock.advance(0.6)
    for sku in skus:
        assert shop.api.sell(sku, 2, hold=sku)
    await world.clock.advance(QUIET_S)
    assert set(shop.api.stock.values()) == {7}
    assert sum(sizes) == 40
    assert len(sizes) <= 3


async def test_what_was_surely_sold_later_is_not_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = await opened(make(tee=COUNTED))
    sizes = counted_reads(trade.shop, monkeypatch)
    for _ in range(5):
        await trade.play([Wait(3.0), Sale(1), Wait(3.0), Sale(1, held_s=1.5)])
    await trade.world.clock.advance(QUIET_S)
    at_rest(trade)
    assert sizes == []


@pytest.mark.parametrize(
    ("lag_ms", "most"),
    [
        (0, 9),  # settled every second, and read every five
        (5000, 2),  # settled every six seconds; what is to be written then is not read
    ],
)
async def test_a_rush_is_seldom_asked_about(
    make: Make, monkeypatch: pytest.MonkeyPatch, lag_ms: int, most: int
) -> None:
    skus, buyers = [f"s{number}" for number in range(10)], random.Random(5)
    world = make(**dict.fromkeys(skus, 60))
    shops = [world.shop(name, "escrow", WriteMode.ABSOLUTE, traits={"lag_ms": lag_ms}) for name in "ab"]
    for shop in shops:
        shop.api.grain_ms = 1000
    await world.run(20, sweep_s=FAR)
    sizes = counted_reads(shops[0], monkeypatch)
    for _ in range(400):
        shops[0].api.sell(buyers.choice(skus))
        await world.clock.advance(0.1)
    assert 1 <= len(sizes) <= most


async def test_a_sale_that_nobody_has_heard_of_is_not_undone_where_a_figure_was_unclear(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade = await opened(make(tee=COUNTED))
    shop = trade.shop
    await sold_in_the_second_of_its_figure(trade)
    await trade.world.clock.advance(1.0)
    read = shop.api.read

    async def buyer_first(entries: Sequence[Entry]) -> list[Figure]:
        if trade.sold == 2:
            shop.hook_s = 3.0
            trade.sold += 1
            assert shop.api.sell("tee", 1)
        return await read(entries)

    monkeypatch.setattr(shop.api, "read", buyer_first)
    shop.api.on_write = lambda write: shown.append(write.units)
    shown: list[int] = []
    await trade.world.clock.advance(QUIET_S)
    assert trade.sold == 3
    assert shown
    assert max(shown) <= trade.left
    at_rest(trade)


async def test_a_figure_that_was_written_since_is_raised_at_once(make: Make) -> None:
    trade = await opened(make(tee=COUNTED))
    trade.shop.publisher.slate.unclear.add("tee")
    await trade.play([Count(1), Wait(1.0), Count(1), Wait(1.0)])
    assert trade.shop.shows() == trade.left == COUNTED + 2


async def test_a_figure_that_is_believed_to_be_less_than_was_granted_is_read(make: Make) -> None:
    trade = await opened(make(tee=COUNTED), WriteMode.COMPARE)
    world, shop = trade.world, trade.shop
    row = shop.row()
    world.pool.listings["a", "tee"] = replace(row, figure=row.figure - 2)  # of an order that was sold before the write
    await trade.play([Count(-2), Wait(6.0)])  # now it seems to be right
    assert shop.shows() == trade.left


# ---------------------------------------------------------------------------------- a figure that was seen, and orders


def row(**more: int) -> Listing:
    return Listing(sku="tee", **{"figure": 10, "exposed": 10, "seen": 0, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shows", "exposed", "now", "figure"),
    [
        (8, 8, row(figure=7, exposed=5, seen=3), 5),  # all was seen: three more are sold
        (8, 10, row(figure=8, exposed=8, seen=2), 8),  # the two that it lacked
        (8, 10, row(figure=7, exposed=7, seen=3), 7),  # these two, and one more
        (2, 2, row(figure=0, exposed=0, seen=5), 0),
        (8, 8, row(figure=11, exposed=9, later=-1), 9),  # one came back
        (8, 10, row(figure=10, seen=4, began_ms=7), 10),  # written since
    ],
)
def test_a_figure_that_was_seen_goes_down_with_what_is_sold_since(
    shows: int, exposed: int, now: Listing, figure: int
) -> None:
    assert Sighting(shows, row(exposed=exposed)).applied_to(now).figure == figure
