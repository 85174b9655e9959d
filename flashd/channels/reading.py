"""
Reading JSON that others wrote, without surprises: whatever cannot be understood is one exception with one reason.

msgspec decodes into typed Structs in one pass and skips what is not wanted. What it leaves to its caller is done here:
the depth (it raises a plain RecursionError), bad UTF-8 (a plain UnicodeDecodeError, and none at all in what it skips),
and duplicate keys (the last one wins).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from flashd.domain import instant, money, text

T = TypeVar("T")

DEPTH = 32
MAX_LINES = 1000
MAX_UNITS = 1_000_000_000  # of one SKU in one line; sums stay far below the 15 digits that the store can count
Raw = msgspec.Raw
NOTHING = msgspec.Raw(b"")

_ROUND = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKET_NOR_QUOTE = bytes(code for code in range(256) if chr(code) not in '[]{}"')
_TEXT = re.compile(rb'"[^"]*"')
_TOO_MANY = b"[" * (DEPTH + 1)
_SHORT = 2048  # bytes: a longer body has enough brackets that counting them first is for nothing
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_AT = " - at `$"  # before the path, in msgspec's messages
_QUOTING = re.compile(r"(Invalid enum value|Object contains unknown field) ['`](.*)['`]", re.DOTALL)


class Misread(ValueError):  # noqa: N818  # a finding about the body, turned into an answer by each adapter
    """The body is not understood; the message names the path and what was wanted."""


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """
    Decode *body*.

    Raises:
        Misread: It is not UTF-8, not JSON, too deep, or not of the wanted shape.
    """
    try:
        body.decode()
        if too_deep(body):
            raise Misread(f"$: is nested deeper than {DEPTH}")
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise Misread(f"$: is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Misread(f"$: is nested deeper than {DEPTH}") from None
    except msgspec.MsgspecError as error:
        raise Misread(_without_values(str(error))) from None


def _without_values(message: str) -> str:
    """
    Take out of msgspec's words what it quotes of the body: they come into logs, events and lists.

    A plain word stays, such as the state that a newer version of the platform has, or a misspelt member.
    """
    cut = message.rfind(_AT)
    what, where = (message, "") if cut < 0 else (message[:cut], message[cut:])
    found = _QUOTING.match(what)
    if found is None or _WORD.fullmatch(found[2]):
        return message
    return f"{found[1]} of {len(found[2])} characters{where}"


def plain_word(told: str | None) -> str:
    """Return *told* in quotes if it is one short word of ASCII, as a program says it, and how long it is if not."""
    return repr(told or "") if not told or _WORD.fullmatch(told) else f"a text of {len(told)} characters"


def read_strictly(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """
    Decode a body of flashd's own schema, in which no key may stand twice.

    Args:
        body: JSON.
        decoder: Of Structs that know all keys and write none that was not there: `omit_defaults`, and UNSET where a
            default is no plain value.

    Raises:
        Misread: As above, or a key stands twice in one object.
    """
    document = read(body, decoder)
    if not _has_each_key_once(body, document):
        json.loads(body, object_pairs_hook=_without_duplicates)  # says which
    return document


def _has_each_key_once(body: bytes, document: object) -> bool:
    """
    Say for sure that no key of a JSON *body* stands twice; False where it is not sure.

    What was decoded and is written again has each key once, so equal counts say it, at a quarter of the cost of a
    parser's hook. Keys are counted by the colon behind them: so no string may hold one behind an escaped quote, and no
    blank may stand before one. A default that was spelt out is not written again: then all of it is decoded once more.
    """
    if b"\\" in body or b" :" in body or b"\t:" in body or b"\n:" in body or b"\r:" in body:
        return False
    keys = body.count(b'":')
    return keys == _keys_of(document) or keys == _keys_of(msgspec.json.decode(body))


def _keys_of(document: object) -> int:
    return msgspec.json.encode(document).count(b'":')


def _without_duplicates(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Misread(f"`{key}` stands twice in one object; write it once")
        seen.add(key)


def too_deep(body: bytes) -> bool:
    """
    Say whether brackets are nested deeper than DEPTH.

    Strings are blanked out and then the innermost pairs peeled off, round by round: a few passes in C instead of a
    loop over every byte. Escaped backslashes go first, so that an escaped quote is one.
    """
    if len(body) < _SHORT and body.count(b"[") + body.count(b"{") <= DEPTH:
        return False
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    bare = body.translate(_ROUND, _NEITHER_BRACKET_NOR_QUOTE)
    brackets = _TEXT.sub(b"", bare.replace(b'""', b""))  # most strings are empty by now, or join their neighbours
    for _ in range(DEPTH):
        if _TOO_MANY in brackets:
            return True
        left = brackets.replace(b"[]", b"")
        if len(left) in (0, len(brackets)):  # all gone, or no JSON: brackets that do not match
            return len(left) > DEPTH
        brackets = left
    return True


def keys_of(body: bytes) -> frozenset[str]:
    """Return the names at the top of a JSON object; none where the body is something else."""
    try:
        members = read(body, _OBJECT)
    except Misread:
        return frozenset()
    return frozenset(members)


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def at(path: str, parse: Callable[[str], T], value: str) -> T:
    """
    Parse one value of the body.

    Raises:
        Misread: *parse* did not take it; the message begins with the path.
    """
    try:
        return parse(value)
    except ValueError as error:
        raise Misread(f"{path} {error}") from None


def sku_at(path: str, value: str) -> str:
    """Return a SKU. Raises as above."""
    return at(path, text.check_sku, value)


def id_at(path: str, value: str) -> str:
    """Return an id. Raises as above."""
    return at(path, text.check_id, value)


def instant_at(path: str, value: str, *, utc: bool = False) -> int:
    """Return an instant in ms. Raises as above."""
    try:
        return instant.parse_ms(value, utc=utc)
    except ValueError as error:
        raise Misread(f"{path} {error}") from None


def amount_at(path: str, raw: msgspec.Raw, currency: str) -> int:
    """
    Return an amount in minor units, from decimal text or a number, by its digits; absent or null is zero.

    Raises:
        Misread: It is neither, or finer than the currency.
    """
    if raw is NOTHING:
        return 0
    try:
        return _amount(bytes(raw), currency)
    except ValueError as error:
        raise Misread(f"{path} {error}") from None


@functools.lru_cache(4096)  # a catalogue has few prices, and each order tells them again and again
def _amount(written: bytes, currency: str) -> int:
    if written in (b"", b"null"):
        return 0
    return money.minor_units(written.decode().removeprefix('"').removesuffix('"'), currency)


def present(raw: msgspec.Raw) -> bool:
    """Say whether a value was there and not null."""
    return raw is not NOTHING and bytes(raw) not in (b"", b"null")


def units_at(path: str, quantity: int) -> int:
    """
    Return a quantity of units, from zero up.

    Raises:
        Misread: It is negative or beyond all reason.
    """
    if not 0 <= quantity <= MAX_UNITS:
        raise Misread(f"{path} is out of range: want 0 to {MAX_UNITS}")
    return quantity


def few(path: str, lines: Sequence[T]) -> Sequence[T]:
    """
    Return *lines*, if they are not too many for one order.

    Raises:
        Misread: They are.
    """
    if len(lines) > MAX_LINES:
        raise Misread(f"{path} has {len(lines)} lines, want at most {MAX_LINES}")
    return lines
