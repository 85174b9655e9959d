"""What every Listings port keeps: the fake, Valkey and Redis 7.0."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.domain.catalogue import Component, Entry, Kit
from flashd.domain.listing import (
    UNKNOWN,
    Begin,
    BeginCode,
    Begun,
    Ended,
    Listing,
    ListingState,
    Outcome,
    WriteMode,
)
from flashd.domain.stock import StockLevel
from flashd.errors import Conflict
from flashd.ports import Dirty, Listings
from flashd.store.listings import RedisListings
from tests.conformance.ledgers import BENCHES, Bench, level, make_hold, open_bench, stock
from tests.fakes.listings import FakeListings
from tests.servers import Server

T = 1_790_000_000_000  # an instant of the platform's clock
COMPARE, ABSOLUTE = WriteMode.COMPARE, WriteMode.ABSOLUTE


@dataclass
class Shelf:
    """One channel's listings, and the pool that they stand in."""

    port: Listings
    bench: Bench

    async def row(self, sku: str = "tee") -> Listing:
        [found] = await self.port.get("shop", [sku])
        return replace(found, began_ms=0)

    async def show(self, figure: int, at_ms: int = T, sku: str = "tee") -> Listing:
        """The platform is seen to show *figure*, and all orders are seen."""
        [known] = await self.port.get("shop", [sku])
        await self.port.observe("shop", known, figure, at_ms=at_ms)
        await self.port.settle("shop", seen_ms=at_ms + 1)
        return await self.row(sku)

    async def begin(self, units: int, key: str = "k1", was: int = 0, sku: str = "tee", **more: Any) -> Begun:
        wanted = replace(Begin(sku=sku, units=units, key=key, was=was, mode=COMPARE, backed=True), **more)
        return (await self.port.begin("shop", [wanted]))[0]

    async def end(self, outcome: Outcome, key: str = "k1", at_ms: int = T, sku: str = "tee", **more: Any) -> Listing:
        await self.port.end("shop", [Ended(sku=sku, key=key, outcome=outcome, at_ms=at_ms, **more)])
        return await self.row(sku)

    async def kinds(self) -> list[str]:
        return [kind for kind, _ in await self.bench.journal() if kind not in {"stock.changed", "stock.recounted"}]

    async def exposed(self, sku: str = "tee") -> int:
        return (await level(self.bench, sku)).exposed

    async def dirty(self) -> list[str]:
        return [one.sku for one in await self.port.dirty("shop")]


@pytest.fixture(params=BENCHES)
async def shelf(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Shelf]:
    async with open_bench(request.param, servers) as bench:
        if bench.fake is not None:
            yield Shelf(FakeListings(bench.fake), bench)
        else:
            assert bench.client is not None
            yield Shelf(RedisListings(bench.client, "main"), bench)


@pytest.fixture
async def zero(shelf: Shelf) -> Shelf:
    """Ten tees, and a channel that is known to show none."""
    await stock(shelf.bench)
    await shelf.show(0)
    return shelf


# -------------------------------------------------------------------------------------------------------------- begin


async def test_a_raise_is_backed_before_it_is_written(zero: Shelf) -> None:
    begun = await zero.begin(4)
    assert (begun.code, begun.units) == (BeginCode.BEGUN, 4)
    assert (begun.listing.exposed, begun.listing.state, begun.listing.backed) == (4, ListingState.WRITING, True)
    assert await zero.exposed() == 4
    assert (await zero.kinds())[-1] == "stock.granted"
    assert (await zero.bench.ledger.hold([make_hold(tee=7)]))[0].left == (("tee", 6),)


async def test_no_more_is_granted_than_is_free(zero: Shelf) -> None:
    await zero.bench.ledger.hold([make_hold(tee=7)])
    begun = await zero.begin(9)
    assert (begun.code, begun.units, await zero.exposed()) == (BeginCode.BEGUN, 3, 3)


async def test_two_figures_of_one_call_share_what_is_free(shelf: Shelf) -> None:
    await stock(shelf.bench)
    await shelf.port.put_kits([Kit("pair", (Component("tee", 2),))], by="ann")
    await shelf.show(0)
    await shelf.show(0, T + 1, "pair")
    begins = [Begin(sku=sku, units=8, mode=COMPARE, key="k1", was=0, backed=True) for sku in ("tee", "pair")]
    assert [begun.units for begun in await shelf.port.begin("shop", begins)] == [8, 1]
    assert await shelf.exposed() == 10


async def test_the_same_key_twice_is_one_write(zero: Shelf) -> None:
    first, again = await zero.begin(4), await zero.begin(4)
    assert (again.code, again.units, again.listing) == (BeginCode.BEGUN, 4, first.listing)
    assert await zero.exposed() == 4
    assert (await zero.begin(5, key="k2")).code is BeginCode.BUSY


async def test_a_key_that_was_used_up_begins_nothing(zero: Shelf) -> None:
    await zero.begin(4)
    await zero.end(Outcome.APPLIED)
    assert (await zero.begin(4)).code is BeginCode.BUSY
    assert await zero.exposed() == 4


async def test_an_unchanged_figure_is_never_rewritten(zero: Shelf) -> None:
    assert (await zero.begin(0)).code is BeginCode.UNCHANGED
    assert (await zero.begin(0, mode=ABSOLUTE, was=UNKNOWN)).code is BeginCode.UNCHANGED


async def test_a_backed_listing_is_looked_at_before_it_is_written_but_zero_always_may(shelf: Shelf) -> None:
    await stock(shelf.bench)
    assert (await shelf.begin(4, was=3)).code is BeginCode.UNKNOWN
    assert (await shelf.begin(4, mode=ABSOLUTE, was=UNKNOWN)).code is BeginCode.UNKNOWN
    assert (await shelf.row()).state is ListingState.IDLE
    assert (await shelf.begin(0, mode=ABSOLUTE, was=UNKNOWN)).code is BeginCode.BEGUN


async def test_a_mirror_is_measured_and_not_backed(shelf: Shelf) -> None:
    await stock(shelf.bench)
    begun = await shelf.begin(30, mode=ABSOLUTE, backed=False)
    assert (begun.code, begun.units, begun.listing.exposed) == (BeginCode.BEGUN, 30, 30)
    assert await shelf.exposed() == 0
    settling = await shelf.end(Outcome.APPLIED)
    assert settling.state is ListingState.SETTLING
    assert (await shelf.begin(20, key="k2", mode=ABSOLUTE, backed=False)).listing.exposed == 50


async def test_a_mirror_becomes_escrow_once_free_stock_backs_it(shelf: Shelf) -> None:
    await stock(shelf.bench)
    await shelf.show(12)
    assert (await shelf.begin(12, was=12, backed=False)).listing.exposed == 12
    busy = await shelf.begin(12, was=12)
    assert (busy.code, busy.listing.backed) == (BeginCode.BUSY, False)
    assert (await shelf.begin(5, mode=ABSOLUTE, was=UNKNOWN)).code is BeginCode.BUSY
    assert not (await shelf.begin(0, was=12)).listing.backed
    await shelf.end(Outcome.APPLIED)
    assert (await shelf.begin(3, key="k2")).listing.backed
    assert await shelf.exposed() == 3


async def test_a_shop_that_shows_more_than_there_is_is_lowered_to_what_can_be_backed_and_not_emptied(
    shelf: Shelf,
) -> None:
    await stock(shelf.bench)
    await shelf.show(12)
    await shelf.begin(12, was=12, backed=False)
    lowered = await shelf.begin(9, was=12)
    assert (lowered.code, lowered.units, lowered.listing.backed) == (BeginCode.BEGUN, 9, False)
    assert (await shelf.end(Outcome.APPLIED)).exposed == 9
    backed = await shelf.begin(9, key="k2", was=9)
    assert (backed.code, backed.listing.backed, await shelf.exposed()) == (BeginCode.UNCHANGED, True, 9)


async def test_escrow_becomes_a_mirror_and_its_units_are_free(zero: Shelf) -> None:
    await zero.begin(4)
    await zero.end(Outcome.APPLIED)
    begun = await zero.begin(9, key="k2", was=4, backed=False)
    assert (begun.listing.exposed, begun.listing.backed, await zero.exposed()) == (9, False, 0)


# ---------------------------------------------------------------------------------------------------------------- end


async def test_a_raise_that_was_refused_gives_its_grant_back(zero: Shelf) -> None:
    await zero.begin(4)
    row = await zero.end(Outcome.REFUSED, figure=1)
    assert (row.exposed, row.figure, row.state, await zero.exposed()) == (0, 1, ListingState.IDLE, 0)
    assert (await zero.kinds())[-1] == "stock.returned"
    assert "tee" in await zero.dirty()


async def test_lowering_gives_back_what_is_confirmed_and_not_before(zero: Shelf) -> None:
    await zero.begin(8)
    await zero.end(Outcome.APPLIED)
    assert (await zero.begin(3, key="k2", was=8)).listing.exposed == 8
    row = await zero.end(Outcome.APPLIED, key="k2")
    assert (row.exposed, row.figure, await zero.exposed()) == (3, 3, 3)


async def test_lowering_that_was_refused_gives_nothing_back(zero: Shelf) -> None:
    await zero.begin(8)
    await zero.end(Outcome.APPLIED)
    await zero.begin(3, key="k2", was=8)
    assert (await zero.end(Outcome.REFUSED, key="k2", figure=6)).exposed == 8


async def test_an_unknown_outcome_counts_as_the_worse_until_the_same_key_answers(zero: Shelf) -> None:
    await zero.begin(4)
    assert (await zero.end(Outcome.UNKNOWN)).state is ListingState.IN_DOUBT
    assert await zero.exposed() == 4
    assert (await zero.begin(1, key="k2")).code is BeginCode.BUSY
    assert (await zero.end(Outcome.REFUSED)).exposed == 0
    assert await zero.exposed() == 0


async def test_an_end_of_another_key_or_a_second_end_changes_nothing(zero: Shelf) -> None:
    await zero.begin(4)
    assert (await zero.end(Outcome.REFUSED, key="k0")).exposed == 4
    await zero.end(Outcome.APPLIED)
    assert (await zero.end(Outcome.REFUSED)).exposed == 4
    assert await zero.exposed() == 4
    assert (await zero.end(Outcome.APPLIED, sku="mug")).state is ListingState.IDLE


async def test_an_absolute_write_adds_up_until_it_settles(zero: Shelf) -> None:
    await zero.begin(4, mode=ABSOLUTE, was=UNKNOWN)
    await zero.end(Outcome.APPLIED)
    assert (await zero.begin(5, key="k2", mode=ABSOLUTE, was=UNKNOWN)).code is BeginCode.BUSY
    assert await zero.port.settle("shop", seen_ms=T) == []
    [settled] = await zero.port.settle("shop", seen_ms=T + 1)
    assert (settled.exposed, settled.state) == (4, ListingState.IDLE)
    begun = await zero.begin(5, key="k2", mode=ABSOLUTE, was=UNKNOWN)
    assert (begun.units, begun.listing.exposed, await zero.exposed()) == (5, 9, 9)
    await zero.end(Outcome.APPLIED, key="k2", at_ms=T + 10)
    await zero.port.settle("shop", seen_ms=T + 11)
    assert await zero.exposed() == 5


async def test_zero_may_be_written_while_an_earlier_figure_settles(zero: Shelf) -> None:
    await zero.begin(4, mode=ABSOLUTE, was=UNKNOWN)
    await zero.end(Outcome.APPLIED)
    begun = await zero.begin(0, key="k2", mode=ABSOLUTE, was=UNKNOWN)
    assert (begun.code, begun.listing.exposed) == (BeginCode.BEGUN, 4)
    await zero.end(Outcome.APPLIED, key="k2", at_ms=T + 5)
    assert await zero.port.settle("shop", seen_ms=T + 5) == []
    await zero.port.settle("shop", seen_ms=T + 6)
    assert await zero.exposed() == 0


async def test_an_absolute_write_without_an_instant_stays_in_doubt(zero: Shelf) -> None:
    await zero.begin(4, mode=ABSOLUTE, was=UNKNOWN)
    assert (await zero.end(Outcome.APPLIED, at_ms=0)).state is ListingState.IN_DOUBT


# ---------------------------------------------------------------------------------------------------- observe, settle


async def test_the_first_look_is_granted_where_free_stock_backs_it(shelf: Shelf) -> None:
    await stock(shelf.bench)
    await shelf.begin(0, mode=ABSOLUTE, was=UNKNOWN)
    await shelf.end(Outcome.REFUSED)
    row = await shelf.show(6)
    assert (row.exposed, row.backed, row.figure, await shelf.exposed()) == (6, True, 6, 6)
    assert (await shelf.kinds())[-1] == "stock.granted"


async def test_more_than_any_sale_explains_is_drift_and_told(zero: Shelf) -> None:
    await zero.begin(4)
    await zero.end(Outcome.APPLIED)
    row = await zero.show(13, T + 5)
    assert (row.exposed, await zero.exposed()) == (13, 13)
    assert (await zero.kinds())[-2:] == ["stock.drifted", "stock.sold_out"]
    assert (await level(zero.bench)).free == 0


async def test_less_than_was_granted_goes_back(zero: Shelf) -> None:
    await zero.begin(9)
    await zero.end(Outcome.APPLIED)
    assert (await zero.show(2, T + 5)).exposed == 2
    assert await zero.exposed() == 2


async def test_a_look_is_void_once_something_was_written(zero: Shelf) -> None:
    known = (await zero.port.get("shop", ["tee"]))[0]
    await zero.begin(4)
    await zero.end(Outcome.APPLIED)
    row = await zero.port.observe("shop", known, 0, at_ms=T + 9)
    assert (row.state, row.exposed, row.figure) == (ListingState.IDLE, 4, 4)


async def test_a_doubtful_listing_is_looked_at_and_settles(zero: Shelf) -> None:
    await zero.begin(4)
    await zero.end(Outcome.UNKNOWN)
    row = await zero.show(0, T + 5)
    assert (row.exposed, row.state, await zero.exposed()) == (0, ListingState.IDLE, 0)


async def test_asked_again_after_a_lost_reply_nothing_is_done_twice(zero: Shelf) -> None:
    await zero.begin(4)
    await zero.end(Outcome.APPLIED)
    known = (await zero.port.get("shop", ["tee"]))[0]
    first = await zero.port.observe("shop", known, 3, at_ms=T + 5)
    assert await zero.port.observe("shop", known, 3, at_ms=T + 5) == first
    assert len(await zero.port.settle("shop", seen_ms=T + 6)) == 1
    assert await zero.port.settle("shop", seen_ms=T + 6) == []
    assert await zero.exposed() == 3


# ------------------------------------------------------------------------------------------------------------ dirty


async def test_what_changes_is_spread_to_every_channel_and_cleaned_by_each(shelf: Shelf) -> None:
    await stock(shelf.bench)
    assert await shelf.port.spread(["shop", "mall"]) == 1
    assert await shelf.port.spread(["shop", "mall"]) == 0
    seen = await shelf.port.dirty("shop")
    assert [one.sku for one in seen] == ["tee"]
    await shelf.port.clean("shop", seen)
    assert await shelf.dirty() == []
    assert [one.sku for one in await shelf.port.dirty("mall")] == ["tee"]


async def test_a_channel_knows_whether_there_is_anything_to_look_at(shelf: Shelf) -> None:
    port = shelf.port
    await stock(shelf.bench)
    await port.spread(["shop", "mall"])
    assert port.waits("shop")
    for channel in ("shop", "mall"):
        await port.clean(channel, await port.dirty(channel))
    await port.spread(["shop", "mall"])
    assert (port.waits("shop"), port.waits("mall")) == (False, False)
    await port.mark("mall", ["tee"])
    assert (port.waits("shop"), port.waits("mall")) == (False, True)
    await port.spread(["shop", "mall"])
    assert (port.waits("shop"), port.waits("mall")) == (False, True), "what waits is not forgotten"
    await port.place("shop", [Entry(sku="tee", ids={"variant": "1"})], by="ann")
    assert port.waits("shop")


async def test_one_channel_spreads_for_all_who_ask_in_the_same_moment(shelf: Shelf) -> None:
    if shelf.bench.fake is not None:
        pytest.skip("the fake does it anew each time")
    await stock(shelf.bench)
    assert await shelf.port.spread(["shop", "mall"], within_s=60.0) == 1
    await stock(shelf.bench, on_hand=11)
    assert await shelf.port.spread(["shop", "mall"], within_s=60.0) == 0
    assert await shelf.port.spread(["shop", "mall"]) == 1, "it happened since"
    await stock(shelf.bench, on_hand=12)
    assert await shelf.port.spread(["shop"], within_s=60.0) == 1, "for other channels nobody did it"


async def test_who_is_spread_for_by_another_does_not_look_before_that_is_done(shelf: Shelf) -> None:
    await stock(shelf.bench)
    first = asyncio.ensure_future(shelf.port.spread(["shop", "mall"]))
    await asyncio.sleep(0)
    await shelf.port.spread(["shop", "mall"], within_s=60.0)
    assert shelf.port.waits("mall")
    await first


async def test_what_is_marked_while_it_is_spread_waits(shelf: Shelf) -> None:
    await asyncio.gather(shelf.port.spread(["shop", "mall"]), shelf.port.mark("mall", ["tee"]))
    assert shelf.port.waits("mall")


async def test_what_became_dirty_again_after_it_was_seen_stays_dirty(shelf: Shelf) -> None:
    await shelf.port.mark("shop", ["tee", "mug"])
    seen = await shelf.port.dirty("shop")
    await shelf.port.mark("shop", ["tee"])
    await shelf.port.clean("shop", seen)
    assert await shelf.dirty() == ["tee"]


async def test_dirty_keeps_the_instant_of_the_first_change(shelf: Shelf) -> None:
    await shelf.port.mark("shop", ["tee"])
    await shelf.bench.pass_time(5)
    await shelf.port.mark("shop", ["tee", "mug"])
    first, second = await shelf.port.dirty("shop")
    assert (first.sku, second.sku) == ("tee", "mug")
    assert second.since_ms - first.since_ms >= 5
    assert await shelf.port.dirty("shop", 1) == [first]


async def test_a_clean_of_something_else_changes_nothing(shelf: Shelf) -> None:
    await shelf.port.mark("shop", ["tee"])
    await shelf.port.clean("shop", [Dirty("tee", 5), Dirty("mug", 5)])
    assert await shelf.dirty() == ["tee"]


async def test_a_kit_is_dirty_with_its_parts(shelf: Shelf) -> None:
    await shelf.port.put_kits([Kit("pair", (Component("tee", 2),))], by="ann")
    await shelf.port.spread(["mall"])
    await stock(shelf.bench)
    await shelf.port.spread(["shop"])
    assert set(await shelf.dirty()) == {"tee", "pair"}


async def test_a_compare_that_proves_an_edit_gives_nothing_back_before_all_is_seen(zero: Shelf) -> None:
    """Four were sold unseen before a human wrote 25, and the channel is taken to zero at once."""
    await zero.begin(10)
    await zero.end(Outcome.APPLIED)
    [known] = await zero.port.get("shop", ["tee"])
    await zero.port.observe("shop", known, 25, at_ms=T + 1)
    assert (await zero.begin(0, key="k2", was=25)).code is BeginCode.BEGUN
    row = await zero.end(Outcome.APPLIED, key="k2", at_ms=T + 2)
    assert (row.state, row.figure, row.exposed) == (ListingState.SETTLING, 0, 10)
    assert (await zero.bench.ledger.hold([make_hold(tee=4)]))[0].left == (("tee", 0),)
    await zero.port.settle("shop", seen_ms=T + 3)
    assert ((await zero.row()).exposed, await zero.exposed()) == (0, 0)


# ------------------------------------------------------------------------------------------------------------ the map


async def test_the_map_keeps_one_entry_a_sku(shelf: Shelf) -> None:
    tee, odd = Entry(sku="tee", ids={"variant": "1"}), Entry(sku="a b:é\U0001f600", ids={"variant": "2"}, title="Ö")
    assert await shelf.port.place("shop", [tee, odd], by="ann") == 2
    assert await shelf.port.place("shop", [tee], by="ann") == 0
    newer = replace(tee, ids={"variant": "9"})
    assert await shelf.port.place("shop", [newer], by="ann") == 1
    assert await shelf.port.entries("shop") == {odd.sku: odd, "tee": newer}
    assert await shelf.port.entries("shop", ["tee", "mug"]) == {"tee": newer}
    assert set(await shelf.dirty()) == {"tee", odd.sku}
    assert await shelf.port.displace("shop", ["tee", "mug"], by="ann") == 1
    assert list(await shelf.port.entries("shop")) == [odd.sku]
    assert (await shelf.kinds()) == ["channel.mapped", "channel.mapped", "channel.unmapped"]


async def test_a_large_map_is_told_in_pages(shelf: Shelf) -> None:
    names = [f"S-{number:04}" for number in range(700)]
    await shelf.port.place("shop", [Entry(sku=name, ids={"variant": name}) for name in names], by="ann")
    pages, cursor = [], 0
    while True:
        skus, cursor = await shelf.port.mapped("shop", cursor, limit=100)
        pages.append(skus)
        if not cursor:
            break
    assert {sku for page in pages for sku in page} >= set(names)
    assert max(len(page) for page in pages) < 200, "about so many at a time"
    assert await shelf.port.mapped("nowhere", 0, limit=100) == ([], 0)


# --------------------------------------------------------------------------------------------------------------- kits


async def test_a_kit_is_backed_by_its_components(shelf: Shelf) -> None:
    await stock(shelf.bench, 10)
    await stock(shelf.bench, 5, "mug")
    await shelf.port.put_kits([Kit("set", (Component("tee", 3), Component("mug", 1)))], by="ann")
    await shelf.show(0, sku="set")
    begun = await shelf.begin(9, sku="set")
    assert (begun.units, await shelf.exposed("tee"), await shelf.exposed("mug")) == (3, 9, 3)
    await shelf.end(Outcome.REFUSED, sku="set")
    assert (await shelf.exposed("tee"), await shelf.exposed("mug")) == (0, 0)


async def test_a_kit_may_be_defined_again_and_taken_away(shelf: Shelf) -> None:
    kit = Kit("pair", (Component("tee", 2),))
    await shelf.port.put_kits([kit], by="ann")
    await shelf.port.put_kits([kit], by="ann")
    assert await shelf.port.kits() == {"pair": kit}
    await shelf.port.put_kits([Kit("pair", ())], by="ann")
    assert await shelf.port.kits() == {}
    assert (await shelf.kinds()) == ["stock.kit_changed"] * 2


@pytest.mark.parametrize("case", ["exposed", "nested", "stocked", "within"])
async def test_a_kit_that_would_not_add_up_is_refused_and_nothing_is_written(shelf: Shelf, case: str) -> None:
    await stock(shelf.bench)
    pair = Kit("pair", (Component("tee", 2),))
    await shelf.port.put_kits([pair], by="ann")
    await shelf.show(0, sku="pair")
    wrong = {
        "exposed": Kit("pair", (Component("tee", 3),)),
        "nested": Kit("box", (Component("pair", 1),)),
        "stocked": Kit("tee", (Component("mug", 1),)),
        "within": Kit("box", (Component("crate", 1),)),
    }[case]
    if case == "exposed":
        await shelf.begin(1, sku="pair")
    with pytest.raises(Conflict):
        await shelf.port.put_kits([wrong, Kit("crate", (Component("mug", 1),))], by="ann")
    assert await shelf.port.kits() == {"pair": pair}


async def test_all_listings_are_told_by_sku(zero: Shelf) -> None:
    await zero.show(3, sku="mug")
    assert [row.sku for row in await zero.port.get("shop")] == ["mug", "tee"]
    assert await zero.port.get("mall") == []
    assert await zero.row("cap") == Listing(sku="cap")


async def test_folding_the_journal_gives_the_counters(zero: Shelf) -> None:
    await zero.begin(8)
    await zero.end(Outcome.APPLIED)
    await zero.begin(3, key="k2", was=8)
    await zero.end(Outcome.APPLIED, key="k2")
    await zero.show(12, T + 5)
    await zero.show(1, T + 9)
    folded = StockLevel(sku="tee")
    for _, moves in await zero.bench.journal():
        for move in moves:
            folded = folded.moved(move)
    assert folded == await level(zero.bench)
    assert folded.exposed == 1
