from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashd.domain import units
from flashd.domain.order import Item
from flashd.domain.stock import Move, StockLevel

COUNTS = st.integers(0, 9)
PLACES = st.sampled_from(["main", "shop"])
WANTS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 9))


@st.composite
def had_items(draw: st.DrawFn) -> tuple[Item, ...]:
    """Items that took some units and had some counted, perhaps short of others."""
    items = []
    for sku, location in draw(st.lists(st.tuples(st.sampled_from("abc"), PLACES), unique=True)):
        taken, counted = draw(COUNTS), draw(st.integers(0, 2))
        items.append(Item(sku, location, taken + counted + draw(st.integers(0, 2)), taken, counted))
    return tuple(items)


def total(items: tuple[Item, ...], sku: str = "") -> int:
    return sum(item.taken + item.counted for item in items if not sku or item.sku == sku)


@given(WANTS, had_items())
def test_what_is_wanted_is_kept_where_it_is_and_nothing_is_lost(wants: dict[str, int], old: tuple[Item, ...]) -> None:
    kept, rest = units.keep(wants, old)
    assert total(kept) + total(rest) == total(old)
    for sku in "abc":
        assert total(kept, sku) == min(wants.get(sku, 0), total(old, sku))
    there = {(item.sku, item.location): item for item in old}
    for item in kept:
        assert item.taken <= there[item.sku, item.location].taken
        assert item.counted <= there[item.sku, item.location].counted
    assert not any(item.counted for item in rest) or all(
        item.taken == 0 for item in kept if item.sku in {one.sku for one in rest if one.counted}
    )


@given(WANTS, had_items())
def test_the_items_of_an_order_want_what_was_ordered(wants: dict[str, int], old: tuple[Item, ...]) -> None:
    kept, _ = units.keep(wants, old)
    items = units.spread(wants, kept, "main")
    assert units.wants_of(items) == wants
    assert total(items) == total(kept)
    assert all(item.missing == item.quantity - item.taken - item.counted >= 0 for item in items)
    assert [item.sku for item in items] == sorted((item.sku for item in items), key=list(wants).index)


@given(had_items(), had_items())
def test_gathering_and_handing_over_lose_no_unit(first: tuple[Item, ...], second: tuple[Item, ...]) -> None:
    spare = units.gather(first, second)
    assert total(spare) == total(first) + total(second)
    assert len({(item.sku, item.location) for item in spare}) == len(spare)
    assert total(units.hand_over(first, second)) == total(spare)
    assert total(units.emptied(first)) == 0


def test_what_a_recount_took_out_of_sold_is_not_given_back_twice() -> None:
    level = StockLevel(sku="a", on_hand=5, sold=1)
    items = (Item("a", "main", 2, 2), Item("a", "main", 2, 2))
    assert units.give_back({("a", "main"): level}, items) == (Move("a", "main", sold=-1),)
