from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashd.domain.money import absorb_rounding, check_currency, decimal_text, discrepancy, exponent, minor_units, share
from flashd.domain.order import Line, Order


@pytest.mark.parametrize(
    ("text", "currency", "units"),
    [
        ("199.00", "EUR", 19900),
        ("199", "EUR", 19900),
        ("199.5", "EUR", 19950),
        ("0.01", "EUR", 1),
        ("-5.00", "EUR", -500),
        ("199.0000", "EUR", 19900),
        ("1000", "JPY", 1000),
        ("1000.00", "JPY", 1000),
        ("1.255", "KWD", 1255),
        ("1.2", "KWD", 1200),
        ("1.2345", "CLF", 12345),
        ("999999999999.99", "EUR", 99999999999999),
        ("0.29", "USD", 29),  # 0.29 * 100 is 28.999999999999996 in floats
    ],
)
def test_decimal_text_becomes_minor_units_by_its_digits(text: str, currency: str, units: int) -> None:
    assert minor_units(text, currency) == units


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "1,50",
        "1.",
        ".5",
        "+1",
        "1e3",
        "0x10",
        " 1",
        "1 ",
        "1_0",
        "NaN",
        "Infinity",
        "--1",
        "\u0661",
        "1\n",
        "9" * 13,
    ],
)
def test_what_is_no_decimal_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        minor_units(text, "EUR")


@pytest.mark.parametrize(("text", "currency"), [("1.001", "EUR"), ("1.5", "JPY"), ("1.2345", "KWD")])
def test_digits_finer_than_the_currency_are_refused_and_not_rounded(text: str, currency: str) -> None:
    with pytest.raises(ValueError, match=f"is finer than the minor unit of {currency}"):
        minor_units(text, currency)


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.sampled_from(["EUR", "JPY", "KWD", "CLF"]))
def test_writing_and_reading_is_the_same_and_agrees_with_decimals(units: int, currency: str) -> None:
    text = decimal_text(units, currency)
    assert minor_units(text, currency) == units
    assert Decimal(text).scaleb(exponent(currency)) == units


def test_a_currency_has_three_capital_letters() -> None:
    assert check_currency("EUR") == "EUR"
    for wrong in ("", "eur", "EURO", "E R", "ÄÖÜ", "EUR\n"):
        with pytest.raises(ValueError, match="ISO 4217"):
            check_currency(wrong)


def order(total: int, *, discount: int = 0, tax: int = 0) -> Order:
    return Order(
        channel="c",
        id="1",
        placed_ms=0,
        currency="EUR",
        lines=(Line("A", 1, 1000),),
        discount=discount,
        tax=tax,
        total=total,
    )


def test_a_total_that_does_not_add_up_says_both_sums() -> None:
    assert discrepancy(order(1000)) == ""
    assert discrepancy(order(1001)) == "total 10.01 does not add up: parts make 10.00"


@given(st.integers(990, 1010), st.integers(0, 5), st.integers(0, 3), st.integers(0, 12))
def test_rounding_is_made_up_for_within_its_tolerance_only(total: int, discount: int, tax: int, tolerance: int) -> None:
    before = order(total, discount=discount, tax=tax)
    after = absorb_rounding(before, tolerance)
    assert after.total == before.total
    assert after.discount >= 0
    if abs(before.sum_of_parts - total) <= tolerance:
        assert after.sum_of_parts == total
    else:
        assert after == before


@pytest.mark.parametrize(
    ("amount", "part", "whole", "found"), [(100, 2, 3, 67), (100, 1, 3, 33), (5, 1, 2, 3), (0, 1, 2, 0), (7, 2, 2, 7)]
)
def test_a_share_is_rounded_half_up(amount: int, part: int, whole: int, found: int) -> None:
    assert share(amount, part, whole) == found
