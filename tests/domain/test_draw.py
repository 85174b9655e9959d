"""Drawing on stock keeps the law over any sequence: nothing is promised twice, and nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flashd.domain.catalogue import Bundle, Component, Kit, added, ordered_of, take_apart
from flashd.domain.draw import Demand, draw, is_supplied
from flashd.domain.listing import Listing
from flashd.domain.order import Item
from flashd.domain.picking import pick, short_of
from flashd.domain.stock import Move, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.domain.units import Levels, wants_of

PLACES = ("main", "annex")
KITS = {"set": Kit("set", (Component("tee", 2), Component("mug", 1)))}
ORDERED = st.dictionaries(st.sampled_from(["tee", "mug", "set"]), st.integers(1, 4), max_size=3)
TERMS = st.builds(
    SellingTerms,
    locations=st.sampled_from([PLACES, PLACES[::-1], ("main",)]),
    split=st.booleans(),
    mode=st.just("escrow"),
    restocks=st.booleans(),
)


@st.composite
def pools(draw_one: st.DrawFn) -> tuple[dict[tuple[str, str], StockLevel], dict[str, Listing]]:
    """Stock at two places, of which some units at the first back what the channel shows."""
    units = st.integers(0, 9)
    listings = {
        sku: Listing(sku=sku, backed=True, exposed=draw_one(st.integers(0, 3)), figure=3)
        for sku in ("tee", "mug", "set")
    }
    backing = backed(listings)
    levels = {
        (sku, at): StockLevel(sku=sku, location=at, on_hand=draw_one(units)) for sku in ("tee", "mug") for at in PLACES
    }
    for sku, exposed in backing.items():
        level = levels[sku, "main"]
        levels[sku, "main"] = replace(level, on_hand=level.on_hand + exposed, exposed=exposed)
    return levels, listings


def backed(listings: dict[str, Listing]) -> Counter[str]:
    """How many units of each SKU must be exposed."""
    units: Counter[str] = Counter()
    for sku, listing in listings.items():
        for part in KITS[sku].components if sku in KITS else (Component(sku, 1),):
            units[part.sku] += listing.exposed * part.quantity
    return units


def after(levels: Levels, moves: tuple[Move, ...]) -> dict[tuple[str, str], StockLevel]:
    there = dict(levels)
    for move in moves:
        there[move.sku, move.location] = there[move.sku, move.location].moved(move)
    return there


@given(pools(), TERMS, st.lists(ORDERED, min_size=1, max_size=5), st.booleans())
def test_versions_of_an_order_promise_nothing_twice_and_lose_nothing(
    pool: tuple[dict[tuple[str, str], StockLevel], dict[str, Listing]],
    terms: SellingTerms,
    versions: list[dict[str, int]],
    travels: bool,  # noqa: FBT001  # drawn by hypothesis
) -> None:
    levels, listings = pool
    items: tuple[Item, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    follow_up: Counter[tuple[str, str]] = Counter()
    for ordered in [*versions, {}]:
        before = ordered_of(wants_of(items), bundles)
        wants, bundles_now = take_apart(ordered, KITS, bundles)
        demand = Demand(
            wants=wants,
            terms=terms,
            old=items,
            sold=added(before, ordered, KITS),
            returned=added(ordered, before, KITS) if terms.restocks else (),
            travels=travels,
        )
        supplied = is_supplied(levels, listings, demand)
        drawn = draw(levels, listings, demand)
        if not terms.restocks:
            assert supplied == (not drawn.short)
        levels, listings = after(levels, drawn.moves), listings | drawn.listings
        items, bundles = drawn.items, bundles_now
        follow_up.update({(item.sku, item.location): item.taken for item in drawn.spare})
        assert wants_of(items) == wants
        assert sum(item.missing for item in items) == sum(units for _, units in drawn.short) + sum(
            item.missing for item in items if item.sku in drawn.unknown
        )
        taken: Counter[tuple[str, str]] = Counter(follow_up)
        taken.update({(item.sku, item.location): item.taken for item in items})
        exposed = backed(listings)
        for (sku, at), level in levels.items():
            assert level.sold == taken[sku, at]
            assert level.exposed == (exposed[sku] if at == "main" else 0)
            assert level.atp >= level.exposed
    assert sum(item.taken for item in items) == 0


@given(pools(), TERMS, ORDERED)
def test_a_hold_that_is_not_short_of_anything_can_be_picked_whole(
    pool: tuple[dict[tuple[str, str], StockLevel], dict[str, Listing]], terms: SellingTerms, ordered: dict[str, int]
) -> None:
    levels, _ = pool
    wants, bundles = take_apart(ordered, KITS)
    parcels = pick(levels, wants, terms)
    picked: Counter[str] = Counter()
    for sku, at, units in parcels:
        assert 0 < units <= levels[sku, at].free
        picked[sku] += units
    if short_of(levels, ordered, wants, bundles, terms):
        assert picked != wants
    else:
        assert picked == wants
    if not terms.split:
        assert len({at for _, at, _ in parcels}) <= 1


@pytest.mark.parametrize("at", PLACES)
def test_one_location_that_covers_all_is_taken_whichever_comes_first(at: str) -> None:
    levels = {(sku, place): StockLevel(sku=sku, location=place, on_hand=5) for sku in "ab" for place in PLACES}
    levels["a", PLACES[at == PLACES[0]]] = StockLevel(sku="a", on_hand=1)
    assert {place for _, place, _ in pick(levels, {"a": 2, "b": 2}, SellingTerms(locations=PLACES))} == {at}
