from __future__ import annotations

import pytest

from flashd.domain.text import check_id, check_sku, readable


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
