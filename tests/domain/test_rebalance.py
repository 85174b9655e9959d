"""Dealing units out to escrow channels: never more than there are, nothing without need, nothing stranded."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.domain.listing import WriteMode
from flashd.domain.pace import Quantum, SellRate
from flashd.domain.rebalance import NO_CAP, Patience, Seat, rebalance


def seat(channel: str, exposed: int = 0, **more: Any) -> Seat:
    return Seat(**{"channel": channel, "exposed": exposed, "figure": exposed, **more})


def sells(channel: str, exposed: int = 0, window: int = 1, **more: Any) -> Seat:
    return seat(channel, exposed, **{"window": window, "idle_s": 1.0, **more})


def test_at_first_each_channel_is_shown_its_part_of_a_quarter_and_the_rest_stays_free() -> None:
    deal = rebalance(120, [seat("a"), seat("b"), seat("c")])
    assert deal.figures == {"a": 10, "b": 10, "c": 10}
    assert deal.hungry == {}


def test_a_grant_is_what_sells_until_the_next_one() -> None:
    deal = rebalance(1000, [sells("a", window=150), seat("b", 125)])
    assert deal.figures == {"a": 150, "b": 125}


def test_nothing_is_given_before_half_of_it_is_gone() -> None:
    assert rebalance(1000, [sells("a", 151, window=300)]).figures == {"a": 151}
    assert rebalance(1000, [sells("a", 150, window=300)]).figures == {"a": 300}


def test_a_unit_that_is_sold_and_not_seen_is_not_given_again() -> None:
    deal = rebalance(100, [seat("a", exposed=40, figure=3, window=10, idle_s=0.0)])
    assert deal.figures == {"a": 3}


def test_where_there_is_not_enough_the_idle_give_to_those_who_sold_out() -> None:
    deal = rebalance(0, [sells("a", 0, window=8), seat("b", 4), seat("c", 3, idle_s=2.0)])
    assert deal.figures == {"a": 0, "b": 0, "c": 3}
    assert deal.hungry == {"a": 7}


def test_what_comes_back_is_dealt_out_when_it_is_free() -> None:
    seats = [sells("a", 0, window=8), seat("b", 0), seat("c", 3, idle_s=2.0)]
    assert rebalance(4, seats).figures == {"a": 4, "b": 0, "c": 3}


def test_who_sells_keeps_what_he_has_from_another_who_sells() -> None:
    deal = rebalance(0, [sells("a", 0, window=4), sells("b", 3, window=4)])
    assert deal.figures["b"] == 3


def test_a_buffer_is_subtracted_once_from_the_total() -> None:
    five = {"allowed": 20 - 5}
    deal = rebalance(20, [sells("a", 0, window=99, **five), sells("b", 0, window=99, **five)])
    assert sum(deal.figures.values()) == 15
    more = rebalance(5, [sells("a", 7, window=99, allowed=15), sells("b", 8, window=99, allowed=15)])
    assert more.figures == {"a": 7, "b": 8}


def test_a_buffer_strands_nothing_with_the_idle() -> None:
    deal = rebalance(5, [sells("a", 0, window=9, allowed=3), seat("b", 3, allowed=3)])
    assert deal.figures == {"a": 0, "b": 0}


def test_a_closed_channel_shows_none_and_a_cap_is_kept() -> None:
    deal = rebalance(50, [seat("a", 9, allowed=0), sells("b", 2, window=40, cap=6)])
    assert deal.figures == {"a": 0, "b": 6}


def test_a_count_that_found_too_few_takes_back_from_who_has_most_whoever_looks() -> None:
    for idle_s in (0.0, 99.0):
        deal = rebalance(-3, [seat("a", 5, idle_s=99.0 - idle_s), seat("b", 6, idle_s=idle_s)])
        assert deal.figures == {"a": 5, "b": 3}


def test_views_that_differ_in_who_waited_longer_agree_in_the_end() -> None:
    for more in (-3.0, 3.0):
        seats = [seat("a", 0, zero_s=130.0), seat("b", 0, zero_s=130.0 + more)]
        assert rebalance(1, seats).figures == {"a": 1, "b": 0}


def test_a_channel_that_is_not_settled_is_left_alone() -> None:
    deal = rebalance(-3, [seat("a", 5, settled=False), seat("b", 1)])
    assert deal.figures == {"a": 5, "b": 0}


@pytest.mark.parametrize(("free", "shows"), [(4, 8), (7, 2)])
def test_an_absolute_figure_is_raised_only_with_the_whole_of_it_in_hand(free: int, shows: int) -> None:
    deal = rebalance(free, [sells("a", shows, window=24, mode=WriteMode.ABSOLUTE)])
    assert deal.figures["a"] in (shows, shows + free)
    assert deal.figures["a"] == shows or free >= deal.figures["a"]


def test_the_way_down_of_an_absolute_channel_is_to_zero_where_nothing_is_free() -> None:
    idle = seat("b", 6, mode=WriteMode.ABSOLUTE)
    assert rebalance(0, [sells("a", 0, window=3), idle]).figures["b"] == 0


def test_the_last_unit_wanders_where_nobody_is_known_to_sell() -> None:
    deal = rebalance(0, [seat("a", 1), seat("b", 0, zero_s=100.0), seat("c", 0, zero_s=50.0)])
    assert deal.figures["a"] == 0
    assert deal.hungry == {"b": 1}


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, list[Seat]]:
    seats = []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        exposed = draw(st.integers(0, 40))
        figure = draw(st.integers(0, exposed))
        seats.append(
            Seat(
                channel=name,
                exposed=exposed,
                figure=figure,
                settled=draw(st.booleans()),
                mode=draw(st.sampled_from(WriteMode)),
                allowed=draw(st.sampled_from([0, 3, 17, NO_CAP])),
                cap=draw(st.sampled_from([0, 2, NO_CAP])),
                window=draw(st.integers(0, 30)),
                idle_s=draw(st.sampled_from([0.0, 5.0, 30.0, 1e9])),
                zero_s=draw(st.sampled_from([0.0, 90.0])) if not figure else 0.0,
            )
        )
    return draw(st.integers(-20, 60)), seats


@given(tables())
@settings(max_examples=400, deadline=None)
def test_a_deal_never_asks_for_more_than_there_is(table: tuple[int, list[Seat]]) -> None:
    free, seats = table
    deal = rebalance(free, seats)
    raised = 0
    for one in seats:
        figure = deal.figures[one.channel]
        assert figure >= 0
        if not one.settled:
            assert figure == one.figure
        if figure > one.figure:
            raised += figure - one.figure
            assert figure <= one.cap
            if one.mode is WriteMode.ABSOLUTE and one.figure:
                assert free >= figure
        if one.settled and not min(one.allowed, one.cap):
            assert figure == 0
    assert raised <= max(0, free)
    if raised:
        after = sum(one.exposed for one in seats) + raised
        given = [one for one in seats if deal.figures[one.channel] > one.figure]
        lowered = sum(max(0, one.figure - deal.figures[one.channel]) for one in seats)
        assert after - lowered <= max(one.allowed for one in given)


@dataclass
class Shop:
    """Channels that sell what they show, orders that are seen a step later, and the deal made again each second."""

    stock: int
    demand: dict[str, float]  # sales a second
    modes: dict[str, WriteMode]
    chance: random.Random
    free: int = 0
    shows: dict[str, int] = field(default_factory=dict)
    sold: int = 0
    writes: int = 0
    views: dict[tuple[str, str], float] = field(default_factory=dict)

    def run(self, seconds: int) -> None:
        self.free = self.stock
        self.shows = dict.fromkeys(self.demand, 0)
        exposed = dict.fromkeys(self.demand, 0)
        rates = {name: SellRate() for name in self.demand}
        given_s = dict.fromkeys(self.demand, 0.0)
        zero_s = dict.fromkeys(self.demand, 0.0)
        unseen = dict.fromkeys(self.demand, 0)
        self.views = {(one, other): self.chance.uniform(-9, 9) for one in self.demand for other in self.demand}
        for now in range(seconds):
            if self.sold == self.stock:
                break
            for name in self.demand:
                exposed[name] -= unseen[name]
                rates[name].note(unseen[name], now)
                unseen[name] = sum(self.chance.random() < self.demand[name] / 8 for _ in range(8))
                unseen[name] = min(unseen[name], self.shows[name])
                self.shows[name] -= unseen[name]
                self.sold += unseen[name]
                if self.shows[name] or self.sold >= self.stock:
                    zero_s[name] = now
            for viewer in self.demand:  # each channel's process decides for itself, by a view of its own
                seats = [
                    Seat(
                        channel=name,
                        exposed=exposed[name],
                        figure=self.shows[name],
                        mode=self.modes[name],
                        window=Quantum(refill_s=2.0).units(rates[name].per_s(now)),
                        idle_s=min(rates[name].idle_s(now), now - given_s[name]) + self.views[viewer, name],
                        zero_s=max(0.0, now - zero_s[name] + self.views[viewer, name]),
                    )
                    for name in self.demand
                ]
                deal = rebalance(self.free, seats, Patience(idle_s=10.0, probe_s=30.0))
                figure = deal.figures[viewer]
                if figure != self.shows[viewer]:
                    self.writes += 1
                    if figure > self.shows[viewer]:
                        given_s[viewer] = now
                    self.free -= figure - self.shows[viewer]
                    exposed[viewer] += figure - self.shows[viewer]
                    self.shows[viewer] = figure
            assert self.free >= 0
            assert self.free + sum(self.shows.values()) + self.sold == self.stock


@given(
    st.integers(1, 60),
    st.lists(st.sampled_from([0.0, 0.0, 0.05, 0.5, 4.0]), min_size=1, max_size=4),
    st.integers(0, 2**32),
)
@settings(max_examples=20, deadline=None)
def test_nothing_is_stranded_while_anybody_wants_to_buy(stock: int, demand: list[float], seed: int) -> None:
    chance = random.Random(seed)
    names = [f"c{number}" for number in range(len(demand))]
    modes = {name: chance.choice(list(WriteMode)) for name in names}
    shop = Shop(stock, dict(zip(names, demand, strict=True)), modes, chance)
    shop.run(4000)
    assert shop.sold == (stock if any(demand) else 0)


def test_a_busy_sale_needs_few_writes() -> None:
    shop = Shop(2000, {"a": 6.0, "b": 3.0, "c": 0.0}, dict.fromkeys("abc", WriteMode.COMPARE), random.Random(7))
    shop.run(400)
    assert shop.sold == 2000
    assert shop.writes < 200


def test_where_nobody_buys_next_to_nothing_is_written() -> None:
    shop = Shop(500, {"a": 0.0, "b": 0.0}, dict.fromkeys("ab", WriteMode.COMPARE), random.Random(7))
    shop.run(4000)
    assert shop.writes == 2
