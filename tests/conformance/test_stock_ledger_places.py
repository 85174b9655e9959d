"""Where every StockLedger takes units from: locations, kits, listings and what a channel may show of new holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.domain.catalogue import Bundle, Component
from flashd.domain.delivery import ResultKind
from flashd.domain.listing import Listing, ListingState
from flashd.domain.order import AcceptCode, Effect, Item, Kind, Line, OrderRef
from flashd.domain.order import OrderState as State
from flashd.domain.publication import Threshold
from flashd.domain.reservation import HoldCode, HoldReply
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from tests.conformance.ledgers import (
    BENCHES,
    REF,
    Bench,
    accept,
    level,
    make_hold,
    make_incoming,
    open_bench,
    record,
    stock,
)
from tests.servers import Server

BOTH = ("main", "shop")
TERMS = {
    "web": SellingTerms(locations=BOTH),
    "till": SellingTerms(locations=BOTH, split=False),
    "shop": SellingTerms(mode="escrow"),
    "keeps": SellingTerms(mode="mirror", restocks=False),
    "shy": SellingTerms(threshold=Threshold(buffer=2, cap=4), thresholds={"mug": Threshold(percent=50, floor=1)}),
}
CANCEL, AMEND = replace(REF, kind=Kind.CANCEL), replace(REF, kind=Kind.AMEND)
SET = (Component("tee", 2), Component("mug", 1))


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers, TERMS) as opened:
        yield opened


async def put(bench: Bench, sku: str, **units: int) -> None:
    for location, count in units.items():
        await bench.ledger.recount(StockLevel(sku=sku, location=location, on_hand=count))


async def free(bench: Bench, sku: str = "tee") -> dict[str, int]:
    return {one.location: one.free for one in await bench.ledger.levels([sku])}


async def hold(
    bench: Bench, *lines: tuple[str, int], channel: str = "web", name: str = "h1", at: str = ""
) -> HoldReply:
    wish = make_hold(name, lines=tuple(Line(sku, units) for sku, units in lines), channel=channel, location=at)
    return (await bench.ledger.hold([wish]))[0]


async def taken(bench: Bench, channel: str = "web", order_id: str = "1001") -> list[tuple[str, str, int, int]]:
    items = (await record(bench, OrderRef(channel, order_id))).items
    return [(item.sku, item.location, item.quantity, item.taken) for item in items]


# ----------------------------------------------------------------------------------------------------------- locations


async def test_one_location_that_covers_all_is_preferred(bench: Bench) -> None:
    await put(bench, "tee", main=3, shop=9)
    await put(bench, "mug", main=1, shop=9)
    assert (await hold(bench, ("tee", 2), ("mug", 2))).code is HoldCode.HELD
    assert (await free(bench), await free(bench, "mug")) == ({"main": 3, "shop": 7}, {"main": 1, "shop": 7})


async def test_where_none_covers_all_each_sku_is_filled_in_the_order_of_the_locations(bench: Bench) -> None:
    await put(bench, "tee", main=3, shop=9)
    assert (await hold(bench, ("tee", 10))).code is HoldCode.HELD
    assert await free(bench) == {"main": 0, "shop": 2}
    await accept(bench, make_incoming(tee=10, channel="web", hold_id="h1"))
    assert await taken(bench) == [("tee", "main", 3, 3), ("tee", "shop", 7, 7)]


async def test_what_must_not_be_split_comes_from_one_location_or_is_short(bench: Bench) -> None:
    await put(bench, "tee", main=3, shop=5)
    refused = await hold(bench, ("tee", 6), channel="till")
    assert (refused.code, refused.left) == (HoldCode.SHORT, (("tee", 5),))
    [told] = await accept(bench, make_incoming(tee=6, channel="till"))
    assert (told.state, told.short) == (State.SHORTFALL, (("tee", 1),))
    assert await taken(bench, "till") == [("tee", "shop", 6, 5)]


async def test_short_tells_what_is_left_at_all_locations(bench: Bench) -> None:
    await put(bench, "tee", main=3, shop=5)
    assert (await hold(bench, ("tee", 9))).left == (("tee", 8),)


async def test_a_hold_may_be_pinned_to_one_location(bench: Bench) -> None:
    await put(bench, "tee", main=9, shop=2)
    assert (await hold(bench, ("tee", 3), at="shop")).left == (("tee", 2),)
    assert (await hold(bench, ("tee", 2), at="shop")).code is HoldCode.HELD
    assert (await hold(bench, ("tee", 2), at="attic", name="h2")).code is HoldCode.UNKNOWN_SKU
    await accept(bench, make_incoming(channel="web", hold_id="h1"))
    assert await taken(bench) == [("tee", "shop", 2, 2)]


async def test_a_sku_is_unknown_only_where_no_location_of_the_channel_knows_it(bench: Bench) -> None:
    await put(bench, "tee", shop=2, attic=9)
    assert (await hold(bench, ("tee", 2), channel="keeps")).code is HoldCode.UNKNOWN_SKU
    assert (await hold(bench, ("tee", 2))).code is HoldCode.HELD
    assert len(await bench.ledger.levels(["tee"])) == 2


async def test_an_edit_keeps_units_where_they_are_and_picks_only_what_was_added(bench: Bench) -> None:
    await put(bench, "tee", main=3, shop=9)
    await accept(bench, make_incoming(tee=4, channel="web"))
    assert await taken(bench) == [("tee", "shop", 4, 4)]
    await accept(bench, make_incoming(version=2, tee=6, channel="web"))
    assert await taken(bench) == [("tee", "shop", 4, 4), ("tee", "main", 2, 2)]
    await accept(bench, make_incoming(version=3, tee=3, channel="web"))
    assert await taken(bench) == [("tee", "shop", 3, 3)]
    assert await free(bench) == {"main": 3, "shop": 6}


async def test_a_retry_of_a_shortfall_takes_what_is_missing_from_wherever_it_is(bench: Bench) -> None:
    await put(bench, "tee", main=1, shop=1)
    await accept(bench, make_incoming(tee=5, channel="web"))
    assert await taken(bench) == [("tee", "main", 4, 1), ("tee", "shop", 1, 1)]
    await put(bench, "tee", shop=9)
    assert await bench.ledger.requeue(OrderRef("web", "1001"), by="me") is State.QUEUED
    assert await taken(bench) == [("tee", "main", 1, 1), ("tee", "shop", 4, 4)]


async def test_what_a_delivered_order_took_at_two_locations_returns_to_both(bench: Bench) -> None:
    await put(bench, "tee", main=1, shop=1)
    await accept(bench, make_incoming(tee=2, channel="web"))
    await bench.send(OrderRef("web", "1001"), ResultKind.DELIVERED)
    await accept(bench, make_incoming(version=2, channel="web", effect=Effect.CANCEL))
    await bench.send(OrderRef("web", "1001", Kind.CANCEL), ResultKind.DELIVERED)
    assert await free(bench) == {"main": 1, "shop": 1}


# ---------------------------------------------------------------------------------------------------------------- kits


async def kits(bench: Bench, tees: int = 10, mugs: int = 10) -> None:
    await stock(bench, tees)
    await stock(bench, mugs, "mug")
    await bench.put_kit("set", tee=2, mug=1)


async def test_a_kit_takes_its_components(bench: Bench) -> None:
    await kits(bench)
    assert (await hold(bench, ("set", 2))).code is HoldCode.HELD
    assert ((await level(bench)).held, (await level(bench, "mug")).held) == (4, 2)
    await accept(bench, make_incoming(lines=(Line("set", 2),), hold_id="h1"))
    told = await record(bench)
    assert told.items == (Item("tee", "main", 4, 4), Item("mug", "main", 2, 2))
    assert told.bundles == (Bundle("set", 2, SET),)


async def test_components_and_kits_are_summed_before_the_check(bench: Bench) -> None:
    await kits(bench, tees=5)
    assert (await hold(bench, ("set", 3))).left == (("set", 2),)
    refused = await hold(bench, ("set", 2), ("tee", 2))
    assert (refused.code, refused.left) == (HoldCode.SHORT, (("tee", 5),))
    assert (await hold(bench, ("set", 2), ("tee", 1))).code is HoldCode.HELD


async def test_an_unknown_component_is_named(bench: Bench) -> None:
    await stock(bench)
    await bench.put_kit("set", tee=2, mug=1)
    assert (await hold(bench, ("set", 1))).left == (("mug", 0),)
    [told] = await accept(bench, make_incoming(lines=(Line("set", 3),), strict=True))
    assert (told.code, told.short) == (AcceptCode.UNKNOWN_SKU, (("mug", 3),))


async def test_a_kit_stays_with_its_hold_and_its_order_as_it_was_taken_apart(bench: Bench) -> None:
    await kits(bench)
    await hold(bench, ("set", 1))
    await bench.put_kit("set", tee=1, mug=5)
    await accept(bench, make_incoming(lines=(Line("set", 1),), hold_id="h1"))
    assert await taken(bench, "shop") == [("tee", "main", 2, 2), ("mug", "main", 1, 1)]
    await accept(bench, make_incoming(version=2, lines=(Line("set", 3), Line("mug", 1))))
    assert await taken(bench, "shop") == [("tee", "main", 6, 6), ("mug", "main", 4, 4)]
    await bench.send(REF, ResultKind.DELIVERED)
    await accept(bench, make_incoming(version=3, lines=(Line("set", 1), Line("mug", 1))))
    assert (await record(bench, AMEND)).items == (Item("tee", "main", 4, 4), Item("mug", "main", 2, 2))
    assert (await record(bench)).bundles == (Bundle("set", 1, SET),)


async def test_a_cancelled_order_of_kits_gives_all_components_back(bench: Bench) -> None:
    await kits(bench)
    await accept(bench, make_incoming(lines=(Line("set", 2), Line("tee", 1))))
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL, lines=(Line("set", 2), Line("tee", 1))))
    assert ((await level(bench)).sold, (await level(bench, "mug")).sold) == (0, 0)
    assert (await record(bench)).bundles == ()


async def test_a_kit_that_was_unknown_is_taken_apart_by_a_retry(bench: Bench) -> None:
    await stock(bench)
    await stock(bench, sku="mug")
    [told] = await accept(bench, make_incoming(lines=(Line("set", 2),)))
    assert told.state is State.PARKED
    await bench.put_kit("set", tee=2, mug=1)
    assert await bench.ledger.requeue(REF, by="me") is State.QUEUED
    assert await taken(bench, "shop") == [("tee", "main", 4, 4), ("mug", "main", 2, 2)]


# ------------------------------------------------------------------------------------------------------------ listings


async def expose(bench: Bench, units: int = 6, of: int = 10, sku: str = "tee", **more: Any) -> Listing:
    """A backed listing of *units*, taken out of *of* on hand by the listing's own protocol."""
    await stock(bench, of, sku)
    listing = Listing(sku=sku, backed=True, exposed=units, figure=units, **more)
    await bench.put_listing(listing)
    if bench.fake is not None:
        bench.fake.levels[sku, "main"] = replace(bench.fake.levels[sku, "main"], exposed=units)
    else:
        assert bench.client is not None
        await bench.client.hset("fd:{main}:stock", f"{sku}\x1fmain", f"{of} 0 0 {units} 0 0")
    return listing


async def counters(bench: Bench, sku: str = "tee") -> tuple[int, int, int, int]:
    """The listing's exposure, and exposed, sold, free."""
    now = await level(bench, sku)
    return (await bench.listing(sku)).exposed, now.exposed, now.sold, now.free


async def test_an_order_takes_what_its_channel_was_granted_and_the_rest_from_free_stock(bench: Bench) -> None:
    await expose(bench)
    await accept(bench, make_incoming(tee=8))
    assert await counters(bench) == (0, 0, 8, 2)
    assert (await bench.listing()).seen == 8


async def test_what_a_channel_was_granted_is_its_orders_even_where_nothing_is_free(bench: Bench) -> None:
    await expose(bench, units=6, of=6)
    [told] = await accept(bench, make_incoming(tee=6))
    assert told.state is State.QUEUED
    assert await counters(bench) == (0, 0, 6, 0)


async def test_what_its_platform_restocks_is_exposed_again_and_a_human_s_cancel_is_free_stock(bench: Bench) -> None:
    await expose(bench)
    await accept(bench, make_incoming(tee=8), make_incoming("1002", tee=2))
    await accept(bench, make_incoming(version=2, tee=5))
    assert await counters(bench) == (3, 3, 7, 0)
    await accept(bench, make_incoming(version=3, effect=Effect.CANCEL))
    assert await counters(bench) == (8, 8, 2, 0)
    await bench.ledger.cancel(OrderRef("shop", "1002"), by="me", reason="")
    assert await counters(bench) == (8, 8, 0, 2)


async def test_a_cancel_after_delivery_is_on_sale_again_at_once_where_the_platform_restocked(bench: Bench) -> None:
    await expose(bench)
    await accept(bench, make_incoming(tee=2))
    await bench.send(REF, ResultKind.DELIVERED)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    assert await counters(bench) == (6, 6, 0, 4)
    await accept(bench, make_incoming(version=3, effect=Effect.CANCEL))
    await bench.send(CANCEL, ResultKind.DELIVERED)
    assert await counters(bench) == (6, 6, 0, 4)


async def test_an_edit_after_delivery_moves_the_exposure_by_what_it_changed(bench: Bench) -> None:
    await expose(bench)
    await accept(bench, make_incoming(tee=2))
    await bench.send(REF, ResultKind.DELIVERED)
    await accept(bench, make_incoming(version=2, tee=5))
    assert await counters(bench) == (1, 1, 5, 4)
    await accept(bench, make_incoming(version=3, tee=1))
    assert await counters(bench) == (5, 5, 1, 4)


async def test_a_measured_exposure_moves_no_stock(bench: Bench) -> None:
    await stock(bench)
    await bench.put_listing(Listing(sku="tee", exposed=10, figure=10))
    await accept(bench, make_incoming(tee=4))
    assert await counters(bench) == (6, 0, 4, 6)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL))
    assert await counters(bench) == (10, 0, 0, 10)


async def test_what_a_channel_does_not_restock_is_free_and_not_exposed(bench: Bench) -> None:
    await stock(bench)
    await bench.put_listing(Listing(sku="tee", exposed=10), "keeps")
    await accept(bench, make_incoming(tee=4, channel="keeps"))
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL, channel="keeps"))
    assert ((await bench.listing(channel="keeps")).exposed, (await level(bench)).free) == (6, 10)


async def test_orders_seen_while_a_figure_settles_are_told_from_those_before_it(bench: Bench) -> None:
    at = 1_790_000_000_000
    await expose(bench, state=ListingState.SETTLING, written_ms=at, to=6)
    await accept(bench, make_incoming(placed_ms=at), make_incoming("1002", placed_ms=at + 1, tee=1))
    assert ((await bench.listing()).later, (await bench.listing()).seen) == (1, 3)
    await accept(bench, make_incoming("1003", effect=Effect.CANCEL, tee=4))
    assert ((await bench.listing()).later, (await bench.listing()).exposed) == (-3, 3)


async def test_a_listed_kit_is_backed_by_its_components(bench: Bench) -> None:
    await expose(bench, units=6)
    await expose(bench, units=3, sku="mug")
    await bench.put_kit("set", tee=2, mug=1)
    await bench.put_listing(Listing(sku="set", backed=True, exposed=3, figure=3))
    await bench.put_listing(Listing(sku="tee", backed=True))
    await bench.put_listing(Listing(sku="mug", backed=True))
    await accept(bench, make_incoming(lines=(Line("set", 2), Line("tee", 1))))
    now, mug = await level(bench), await level(bench, "mug")
    assert (now.exposed, now.sold, mug.exposed, mug.sold) == (2, 5, 1, 2)
    await accept(bench, make_incoming(version=2, effect=Effect.CANCEL, lines=(Line("set", 2),)))
    now, mug = await level(bench), await level(bench, "mug")
    assert (now.exposed, now.sold, mug.exposed, mug.sold) == (7, 0, 3, 0)
    assert ((await bench.listing("set")).exposed, (await bench.listing()).exposed) == (3, 1)


async def test_a_hold_of_such_a_channel_gives_way_to_what_it_was_granted(bench: Bench) -> None:
    await expose(bench)
    await hold(bench, ("tee", 2), channel="shop")
    await accept(bench, make_incoming(tee=2, hold_id="h1"))
    assert await counters(bench) == (4, 4, 2, 4)


# ----------------------------------------------------------------------------------------------------------- thresholds


async def test_a_new_hold_takes_no_more_than_the_channel_may_show(bench: Bench) -> None:
    await stock(bench, 10)
    await stock(bench, 10, "mug")
    assert (await hold(bench, ("tee", 5), channel="shy")).left == (("tee", 4),)
    assert (await hold(bench, ("mug", 6), channel="shy")).left == (("mug", 5),)
    assert (await hold(bench, ("tee", 4), ("mug", 5), channel="shy")).code is HoldCode.HELD
    assert (await hold(bench, ("tee", 5), channel="shy", name="h2")).left == (("tee", 4),)
    await hold(bench, ("tee", 3), channel="web", name="h3")
    assert (await hold(bench, ("tee", 2), channel="shy", name="h4")).left == (("tee", 1),)


async def test_what_is_kept_from_sight_never_stands_in_an_order_s_way(bench: Bench) -> None:
    await stock(bench, 3)
    [told] = await accept(bench, make_incoming(tee=3, channel="shy"))
    assert told.state is State.QUEUED


async def test_a_kit_is_shown_by_what_can_be_put_together(bench: Bench) -> None:
    await kits(bench, tees=9, mugs=99)
    assert (await hold(bench, ("set", 3), channel="shy")).left == (("set", 2),)
