"""Sell rate, publishing lag and the buffer that follows from them."""

from __future__ import annotations

import pytest

from flashd.domain.pace import CAUTION_S, LagWindow, Quantum, SellRate, tuned_buffer


def selling(per_s: float, seconds: float) -> SellRate:
    rate, step = SellRate(), 1 / per_s
    for number in range(round(seconds * per_s)):
        rate.note(1, 100.0 + number * step)
    return rate


@pytest.mark.parametrize("per_s", [0.5, 4.0, 50.0])
@pytest.mark.parametrize("seconds", [10.0, 120.0])
def test_a_steady_rate_is_found_soon_and_kept(per_s: float, seconds: float) -> None:
    assert selling(per_s, seconds).per_s(100.0 + seconds) == pytest.approx(per_s, rel=0.35)


def test_one_sale_is_no_rate_yet() -> None:
    rate = SellRate()
    rate.note(1, 100.0)
    assert rate.per_s(100.0) <= 1.2 / CAUTION_S


def test_a_rate_fades_and_a_new_spell_is_not_held_down_by_the_pause() -> None:
    rate = selling(10.0, 60.0)
    assert rate.per_s(600.0) < 0.01
    assert rate.idle_s(600.0) > 400
    for number in range(100):
        rate.note(1, 600.0 + number / 10)
    assert rate.per_s(610.0) == pytest.approx(10.0, rel=0.35)


def test_what_never_sold_has_no_rate() -> None:
    rate = SellRate()
    rate.note(0, 5.0)
    rate.note(-3, 5.0)
    assert rate.per_s(10.0) == 0.0
    assert rate.idle_s(10.0) == float("inf")


def test_percentiles_are_of_what_happened_lately() -> None:
    window = LagWindow(window_s=60.0)
    for number in range(100):
        window.note(number / 100, 1000.0)
    assert window.percentile(0.5, 1000.0) == pytest.approx(0.49)
    assert window.percentile(0.99, 1000.0) == pytest.approx(0.98)
    window.note(7.0, 1061.0)
    assert window.percentile(0.5, 1061.0) == 7.0
    assert (window.count, sum(window.buckets)) == (101, 101)
    assert LagWindow().percentile(0.99, 0.0) == 0.0


def test_a_lag_on_a_bound_belongs_to_its_bucket_and_none_is_negative() -> None:
    window = LagWindow()
    window.note(-1.0, 0.0)
    window.note(0.05, 0.0)
    window.note(1e9, 0.0)
    assert window.buckets[0] == 2
    assert window.buckets[-1] == 1
    assert window.sum_s >= 0


@pytest.mark.parametrize(
    ("per_s", "lag_s", "factor", "units"),
    [(4.0, 2.0, 1.5, 12), (0.01, 0.5, 1.0, 1), (0.0, 2.0, 3.0, 0), (4.0, 2.0, 0.0, 0), (4.0, -1.0, 1.0, 0)],
)
def test_the_buffer_is_what_sells_while_a_figure_is_on_its_way(
    per_s: float, lag_s: float, factor: float, units: int
) -> None:
    assert tuned_buffer(per_s, lag_s, factor) == units


def test_a_credit_window_is_what_sells_until_the_next_grant_and_forgotten_sales_are_none() -> None:
    assert Quantum(refill_s=4.0).units(10.0) == 60
    assert Quantum(refill_s=4.0).units(0.05) == 1
    assert Quantum(refill_s=4.0).units(0.0001) == 0
