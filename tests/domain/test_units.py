from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashd.domain import units
from flashd.domain.order import Item
from flashd.domain.stock import Move, StockLevel

SKUS = st.sampled_from("abc")
COUNTS = st.integers(0, 9)


@st.composite
def wanted_items(draw: st.DrawFn) -> tuple[Item, ...]:
    skus = draw(st.lists(st.sampled_from("abcd"), unique=True))  # d is unknown
    return tuple(Item(sku, "main", draw(COUNTS)) for sku in skus)


@st.composite
def levels(draw: st.DrawFn) -> dict[tuple[str, str], StockLevel]:
    return {
        (sku, "main"): StockLevel(sku=sku, on_hand=draw(COUNTS), held=draw(COUNTS), safety=draw(COUNTS))
        for sku in "abc"
    }


def after(start: units.Levels, moves: tuple[Move, ...]) -> dict[tuple[str, str], StockLevel]:
    there = dict(start)
    for move in moves:
        there[move.sku, move.location] = there[move.sku, move.location].moved(move)
    return there


@given(levels(), wanted_items())
def test_what_is_taken_was_free_and_what_is_missing_is_said(
    start: dict[tuple[str, str], StockLevel], items: tuple[Item, ...]
) -> None:
    taken = units.take(start, items)
    then = after(start, taken.moves)
    short = dict(taken.short)
    for item in taken.items:
        assert (
            item.taken + short.get(item.sku, 0) + (item.quantity if item.sku in taken.unknown else 0) == item.quantity
        )
    for place, level in then.items():
        assert level.free >= 0
        assert level.sold == sum(item.taken for item in taken.items if item.sku == place[0])
        assert level.atp >= min(0, start[place].atp)
    assert units.is_covered(start, items, {}) == (not taken.short)


@given(levels(), wanted_items(), wanted_items())
def test_an_edit_leaves_sold_what_the_order_holds(
    start: dict[tuple[str, str], StockLevel], first: tuple[Item, ...], second: tuple[Item, ...]
) -> None:
    old = units.take(start, first)
    there = after(start, old.moves)
    carried, moves = units.carry(there, old.items, second)
    there = after(there, moves)
    new = units.take(there, carried)
    there = after(there, new.moves)
    for (sku, _), level in there.items():
        assert level.sold == sum(item.taken for item in new.items if item.sku == sku)
    assert after(there, units.give_back(there, new.items)) == start


@given(wanted_items(), wanted_items())
def test_sharing_and_handing_over_lose_no_unit(first: tuple[Item, ...], second: tuple[Item, ...]) -> None:
    spare = units.gather([Item(item.sku, item.location, item.quantity, item.quantity) for item in first])
    items, rest = units.share(spare, second)
    assert sum(item.taken for item in items + rest) == sum(item.taken for item in spare)
    assert all(item.taken <= item.quantity for item in items)
    assert sum(item.taken for item in units.hand_over(rest, items)) == sum(item.taken for item in spare)
    assert sum(item.taken for item in units.emptied(items)) == 0


def test_what_a_recount_took_out_of_sold_is_not_given_back_twice() -> None:
    level = StockLevel(sku="a", on_hand=5, sold=1)
    items = (Item("a", "main", 2, 2), Item("a", "main", 2, 2))
    assert units.give_back({("a", "main"): level}, items) == (Move("a", "main", sold=-1),)
