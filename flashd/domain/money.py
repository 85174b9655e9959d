"""
Money as whole minor units of a currency: read from decimal text, never through a float.

A price of 199.00 EUR is 19900, one of 1000 JPY is 1000 and one of 1.250 KWD is 1250.
"""

from __future__ import annotations

import functools
import re

import msgspec

from flashd.domain.order import Order

# ISO 4217, all that do not have two decimals.
_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX"), 0),
    **dict.fromkeys(("UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
_DECIMAL = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,12}))?")
_CODE = re.compile(r"[A-Z]{3}")

NO_CURRENCY = "XXX"  # ISO 4217: "no currency is involved"


def exponent(currency: str) -> int:
    """Return how many decimals the currency has."""
    return _EXPONENTS.get(currency, 2)


@functools.lru_cache(256)
def check_currency(code: str) -> str:
    """
    Return *code* if it has the form of an ISO 4217 code.

    Raises:
        ValueError: It has another form.
    """
    if not _CODE.fullmatch(code):
        raise ValueError("is not a currency: want three capital letters (ISO 4217) such as EUR")
    return code


def minor_units(text: str, currency: str) -> int:
    """
    Read decimal text such as ``199.00`` or ``-5``; digits beyond the currency's decimals must be zeros.

    Raises:
        ValueError: It is no decimal number, or finer than the currency's minor unit.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError('is not an amount: want decimal text such as "199.00"')
    sign, whole, fraction = match[1], match[2], match[3] or ""
    places = exponent(currency)
    if fraction[places:].strip("0"):
        raise ValueError(f"is finer than the minor unit of {currency}, which has {places} decimals")
    units = int(whole + fraction[:places].ljust(places, "0"))
    return -units if sign else units


def decimal_text(units: int, currency: str) -> str:
    """Write minor units as people read them: 19900 EUR is ``199.00``."""
    places = exponent(currency)
    sign = "-" if units < 0 else ""
    digits = str(abs(units)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else f"{sign}{digits}"


def discrepancy(order: Order) -> str:
    """Return why the order's total is doubtful, or nothing where it adds up."""
    parts = order.sum_of_parts
    if parts == order.total:
        return ""
    told, made = (decimal_text(units, order.currency) for units in (order.total, parts))
    return f"total {told} does not add up: parts make {made}"


def absorb_rounding(order: Order, tolerance: int) -> Order:
    """
    Return the order with a difference of at most *tolerance* minor units made up for, so that its total adds up.

    The total is what was paid and stays. Platforms round each amount for itself, so many of them may miss their sum.
    """
    difference = order.sum_of_parts - order.total
    if not 0 < abs(difference) <= tolerance:
        return order
    if order.discount + difference >= 0:
        return msgspec.structs.replace(order, discount=order.discount + difference)
    return msgspec.structs.replace(order, tax=order.tax - difference)


def share(amount: int, part: int, whole: int) -> int:
    """Return ``amount * part / whole``, rounded half up; *whole* is positive."""
    return (2 * amount * part + whole) // (2 * whole)
