"""Text from outside: what an id or a SKU may hold, and what is stripped from text that people read."""

from __future__ import annotations

import functools
import unicodedata

ID_LENGTH = 255  # of an id in bytes, of a SKU in characters, as Shopify allows
_FIRST_PRINTABLE = "\x20"  # packed values in the store are separated by what lies below
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_id(text: str) -> str:
    """
    Return *text* unchanged if it may be an id: anything from 0x20 up.

    Case, composition (NFC or NFD) and blanks are kept: to a platform ``A`` and ``a`` are two orders.

    Raises:
        ValueError: It is empty, too long, or holds a control character.
    """
    return _checked(text, len(text.encode()), "bytes")


@functools.lru_cache(4096)  # in a sale the same few sell
def check_sku(text: str) -> str:
    """Return *text* unchanged if it may be a SKU: the same, but platforms count its characters. Raises as above."""
    return _checked(text, len(text), "characters")


def _checked(text: str, length: int, unit: str) -> str:
    if not text:
        raise ValueError("is empty")
    if length > ID_LENGTH:
        raise ValueError(f"has {length} {unit}, want at most {ID_LENGTH}")
    if min(text) < _FIRST_PRINTABLE:
        raise ValueError("holds a control character")
    return text


def readable(text: str | None) -> str:
    """Return text for people without control and direction characters; line breaks and tabs stay."""
    if not text:
        return ""
    if text.isascii() and text.isprintable():
        return text
    return "".join(mark for mark in text if mark in "\n\t" or not _is_control(mark))


def _is_control(mark: str) -> bool:
    return mark in _BIDI or unicodedata.category(mark) == "Cc"
