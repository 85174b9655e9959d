"""Money in the two ways of writing it: whole minor units inside flashd, decimal numbers in most systems outside."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

# ISO 4217, list one: every currency whose minor unit is not a hundredth.
_PLACES = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND"), 0),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_LARGEST = 10**15  # beyond this a total no longer fits the doubles of other systems


def decimal_places(currency: str) -> int:
    """Return how many digits of that ISO 4217 currency stand behind the decimal point."""
    return _PLACES.get(currency.upper(), 2)


def to_decimal(minor: int, currency: str) -> Decimal:
    """Return minor units as the exact decimal number that people write: 1999 EUR is 19.99."""
    return Decimal(minor).scaleb(-decimal_places(currency))


def to_minor(amount: Decimal | int | str, currency: str) -> int:
    """
    Return a decimal amount in minor units.

    Raises:
        ValueError: It is no number, or has more digits than the currency.
    """
    try:
        given = Decimal(amount)
    except InvalidOperation:
        given = Decimal("NaN")
    if not given.is_finite() or abs(given) > _LARGEST:
        raise ValueError(f"{str(amount)[:40]!r} is not an amount of money")
    exact = given.scaleb(decimal_places(currency))
    if exact != int(exact):
        raise ValueError(f"{str(amount)[:40]!r} has more digits than {currency} has")
    return int(exact)
