"""What may become of an order that fell short: two orders of one, the ways ranked, and the rules that choose."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flashd.domain.acceptance import explain
from flashd.domain.catalogue import Bundle, Component
from flashd.domain.order import Item, Line, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.triage import (
    DAY_MS,
    Option,
    TriageRule,
    Way,
    choose,
    doubt_of,
    options,
    origin_of,
    rest_of,
    short_of,
    split,
    substituted,
)


def make(lines: tuple[Line, ...], items: tuple[Item, ...], **more: Any) -> OrderRecord:
    parts = {"shipping": 500, "discount": 30, "tax": 20} | more.pop("parts", {})
    total = sum(line.total for line in lines) + parts["shipping"] + parts["tax"] - parts["discount"]
    order = Order(channel="shop", id="7", number="#7", placed_ms=1, currency="EUR", lines=lines, total=total, **parts)
    return OrderRecord(
        ref=OrderRef("shop", "7"),
        state=more.pop("state", OrderState.SHORTFALL),
        version=1,
        digest=order.digest,
        items=items,
        order=order,
        **more,
    )


TEE = make((Line("tee", 5, 1000, 99),), (Item("tee", "main", 5, 3),))


def test_a_split_divides_units_and_money_and_loses_none() -> None:
    parts = split(TEE)
    assert parts is not None
    assert TEE.order is not None
    assert (parts.first.lines[0].quantity, parts.rest.lines[0].quantity) == (3, 2)
    assert parts.first.lines[0].discount + parts.rest.lines[0].discount == 99
    assert parts.first.total + parts.rest.total == TEE.order.total
    assert parts.first.sum_of_parts == parts.first.total
    assert parts.rest.sum_of_parts == parts.rest.total
    assert (parts.first.shipping, parts.rest.shipping) == (500, 0)
    assert (parts.rest.id, parts.rest.number) == ("7+rest", "#7+rest")
    assert (parts.first_items, parts.rest_items) == ((Item("tee", "main", 3),), (Item("tee", "main", 2),))


def test_a_kit_goes_only_as_a_whole_and_stays_as_it_was_taken_apart() -> None:
    box = Bundle("box", 2, (Component("tee", 1), Component("mug", 2)))
    record = make((Line("box", 2, 3000),), (Item("tee", "main", 2, 2), Item("mug", "main", 4, 3)), bundles=(box,))
    parts = split(record)
    assert parts is not None
    assert (parts.first.lines[0].quantity, parts.rest.lines[0].quantity) == (1, 1)
    assert parts.first_items == (Item("tee", "main", 1), Item("mug", "main", 2))
    assert parts.rest_items == (Item("tee", "main", 1), Item("mug", "main", 2))
    assert (parts.first_bundles[0].quantity, parts.rest_bundles[0].quantity) == (1, 1)


@pytest.mark.parametrize(
    "record",
    [
        make((Line("tee", 5, 1000),), (Item("tee", "main", 5, 0),)),  # nothing covered
        make((Line("tee", 5, 1000),), (Item("tee", "main", 5, 5),)),  # nothing short
        make((Line("tee", 5, 1000),), (Item("mug", "main", 5, 2),)),  # lines and items do not agree
    ],
)
def test_what_cannot_be_split_is_not(record: OrderRecord) -> None:
    assert split(record) is None


WANTS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.integers(0, 5000), st.integers(0, 400)),
    min_size=1,
    max_size=5,
)


@given(wants=WANTS, share=st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_both_halves_of_any_order_add_up_to_it(wants: list[tuple[str, int, int, int]], share: list[int]) -> None:
    lines = tuple(Line(sku, count, price, discount) for sku, count, price, discount in wants)
    units: dict[str, int] = {}
    for sku, count, *_ in wants:
        units[sku] = units.get(sku, 0) + count
    had = dict(zip("abc", share, strict=True))
    items = tuple(Item(sku, "main", count, min(count, had[sku])) for sku, count in units.items())
    record = make(lines, items)
    parts = split(record)
    if parts is None:
        assert not any(item.taken for item in items) or not short_of(record)
        return
    assert record.order is not None
    assert parts.first.total + parts.rest.total == record.order.total
    assert parts.first.sum_of_parts == parts.first.total
    assert parts.rest.sum_of_parts == parts.rest.total
    for item in items:
        first = sum(one.quantity for one in parts.first_items if one.sku == item.sku)
        rest = sum(one.quantity for one in parts.rest_items if one.sku == item.sku)
        assert (first, first + rest) == (item.taken, item.quantity)


def test_the_cheapest_way_comes_first_and_every_way_says_why() -> None:
    soon = options(TEE, now_ms=0, expected={"tee": 2})
    late = options(TEE, now_ms=30 * DAY_MS)
    assert [option.cost for option in soon] == sorted(option.cost for option in soon)
    assert soon[-1].way is Way.CANCEL
    assert all(option.why for option in soon)
    cost = {option.way: option.cost for option in soon}
    later = {option.way: option.cost for option in late}
    assert later[Way.BACKORDER] > cost[Way.BACKORDER]
    assert later[Way.REDUCE] == cost[Way.REDUCE]


def test_a_substitute_is_offered_only_where_all_of_it_is_free() -> None:
    def ways(free: int) -> list[Option]:
        found = options(TEE, now_ms=0, free={"mug": free}, substitutes={"tee": ("cup", "mug")})
        return [option for option in found if option.way is Way.SUBSTITUTE]

    assert ways(4) == []
    assert ways(5)[0].substitutes == {"tee": "mug"}
    assert TEE.order is not None
    swapped = substituted(TEE.order, {"tee": "mug"})
    assert (swapped.lines[0].sku, swapped.total) == ("mug", TEE.order.total)


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (TriageRule(do="backorder"), True),
        (TriageRule(do="backorder", channel="shop"), True),
        (TriageRule(do="backorder", channel="till"), False),
        (TriageRule(do="backorder", sku="t*"), True),
        (TriageRule(do="backorder", sku="m*"), False),
        (TriageRule(do="backorder", max_units=2), True),
        (TriageRule(do="backorder", max_units=1), False),
        (TriageRule(do="backorder", max_value=5400), True),
        (TriageRule(do="backorder", max_value=5390), False),
    ],
)
def test_a_rule_decides_where_all_its_conditions_hold(rule: TriageRule, *, holds: bool) -> None:
    assert TEE.order is not None
    assert TEE.order.total == 5391
    chosen = choose(TEE, options(TEE, now_ms=0), [rule])
    assert (chosen.way if chosen else None) == (Way.BACKORDER if holds else None)


def test_no_rule_decides_about_a_doubtful_order_or_names_a_way_that_is_not_open() -> None:
    rules = [TriageRule(do="substitute"), TriageRule(do="backorder")]
    assert choose(TEE, options(TEE, now_ms=0), rules) is None
    doubtful = replace(TEE, reason=explain("the total differs", [("tee", 2)]))
    assert choose(doubtful, options(doubtful, now_ms=0), rules[1:]) is None


@pytest.mark.parametrize(
    ("reason", "short", "unknown", "doubt"),
    [
        ("", [("tee", 2)], [], ""),
        ("the total differs", [("tee", 2)], [], "the total differs"),
        ("", [("tee", 2), ("mug", 1)], ["ghost"], "unknown SKU: ghost"),
        ("a; b", [("tee", 2)], ["ghost"], "a; b; unknown SKU: ghost"),
        ("the total differs", [], [], "the total differs"),
    ],
)
def test_the_doubt_within_a_reason(reason: str, short: list[tuple[str, int]], unknown: list[str], doubt: str) -> None:
    assert doubt_of(explain(reason, short, unknown)) == doubt


def test_a_rest_knows_its_order() -> None:
    assert origin_of(rest_of(OrderRef("shop", "7"))) == OrderRef("shop", "7")
    assert origin_of(OrderRef("shop", "7")) is None
