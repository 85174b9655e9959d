from __future__ import annotations

from decimal import Decimal

import pytest

from flashd.domain.money import to_decimal, to_minor


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1999, "EUR", "19.99"), (1999, "JPY", "1999"), (1999, "KWD", "1.999"), (-5, "USD", "-0.05"), (0, "EUR", "0.00")],
)
def test_minor_units_and_decimals_are_the_same_money(minor: int, currency: str, amount: str) -> None:
    assert str(to_decimal(minor, currency)) == amount
    assert to_minor(amount, currency) == minor


def test_trailing_zeros_do_not_matter() -> None:
    assert to_minor(Decimal("10.5000"), "EUR") == 1050


@pytest.mark.parametrize("text", ["", "ten", "1.999", "NaN", "Infinity", "1e999999"])
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount of money|more digits"):
        to_minor(text, "EUR")
