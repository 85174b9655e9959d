from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashd.domain.order import Address, Customer, Line, Order
from flashd.domain.text import LONGEST_REASON, check_id, check_sku, plain, readable, readable_order


@pytest.mark.parametrize(
    "text", ["A", " ", "a b", "{x}", "a:b", "Ka\u0308se", "K\u00e4se", "1.0", "\x7f", "\u202e", "x" * 255]
)
def test_an_id_may_hold_anything_from_0x20_up_and_stays_as_it_is(text: str) -> None:
    assert check_id(text) == check_sku(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "is empty"), ("x" * 256, "has 256 .*, want at most 255"), ("a\x1fb", "control"), ("\n", "control")],
)
def test_an_id_is_neither_empty_nor_too_long_nor_holds_a_separator(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_id(text)
    with pytest.raises(ValueError, match=reason):
        check_sku(text)


def test_text_for_people_has_no_control_and_no_direction_characters() -> None:
    assert readable("a\x00b\u202ec\u2066d\x85e\x1b[31m") == "abcde[31m"
    assert readable("line\n\tnext Ä 😀") == "line\n\tnext Ä 😀"
    assert readable(None) == readable("") == ""


_DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_TEXTS = st.text(st.characters() | st.sampled_from(_DIRECTIONS + "\x00\x1f\x7f\x85\n\t aA\xe4"), max_size=6)


def slowly(text: str) -> str:
    """Look at one character after the other."""
    return "".join(
        mark for mark in text if mark in "\n\t" or (mark not in _DIRECTIONS and unicodedata.category(mark) != "Cc")
    )


@given(_TEXTS)
def test_a_text_is_readable_as_a_look_at_each_character_says(text: str) -> None:
    assert readable(text) == slowly(text)


def order_with(text: str, place: str = "") -> Order:
    """An order with *text* at one place."""
    part, _, field = place.partition(".")
    return Order(
        channel="c",
        id="\u202e1",
        placed_ms=1,
        currency="EUR",
        lines=(Line("\x7fA", 2, 3, 4, "Lamp"), Line("B", 1, title=text if part == "lines" else "")),
        shipping=5,
        discount=6,
        tax=7,
        total=8,
        customer=Customer(**{field: text} if part == "customer" else {"name": "Ada"}),
        ship_to=Address(**{field: text} if part == "ship_to" else {"city": "Bonn"}),
        number=text if part == "number" else "1",
        tags=(text,) if part == "tags" else ("vip",),
        note=text if part == "note" else "",
    )


_PLACES = [
    *("number", "note", "tags", "lines"),
    *(f"customer.{field}" for field in Customer.__struct_fields__),
    *(f"ship_to.{field}" for field in Address.__struct_fields__),
]


@pytest.mark.parametrize("place", _PLACES)
def test_each_text_of_an_order_is_made_readable_wherever_it_stands_and_nothing_else_is_changed(place: str) -> None:
    assert readable_order(order_with("a\x85b\n", place)) == order_with("ab\n", place) != order_with("", place)


def test_an_order_that_is_readable_is_not_made_anew() -> None:
    order = order_with("M\u00fcller", "customer.name")
    assert readable_order(order) is order


def test_reasons_are_one_short_line_without_control_and_direction_marks() -> None:
    assert plain("a\r\n\x1b[31mred\u202e\u0000  b") == "a [31mred b"
    assert plain("order-1001") == "order-1001"
    assert len(plain("x" * 10_000)) == len(plain("x " * 10_000)) == LONGEST_REASON
