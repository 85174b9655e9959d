from __future__ import annotations

import pytest

from flashd.domain.money import decimal_text, minor_units


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1999, "EUR", "19.99"), (1999, "JPY", "1999"), (1999, "KWD", "1.999"), (-5, "USD", "-0.05"), (0, "EUR", "0.00")],
)
def test_minor_units_and_decimals_are_the_same_money(minor: int, currency: str, amount: str) -> None:
    assert decimal_text(minor, currency) == amount
    assert minor_units(amount, currency) == minor


def test_trailing_zeros_do_not_matter() -> None:
    assert minor_units("10.5000", "EUR") == 1050


@pytest.mark.parametrize("text", ["", "ten", "1.999", "NaN", "Infinity", "1e99"])
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|minor unit"):
        minor_units(text, "EUR")
