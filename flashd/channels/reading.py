"""
Reading JSON that others wrote, without surprises: whatever cannot be understood is one exception with one reason.

msgspec decodes into typed Structs in one pass and skips what is not wanted. What it leaves to its caller is done here:
what is nested too deeply (it raises a plain RecursionError, at some 900 levels), bad UTF-8 (a plain UnicodeDecodeError,
and none at all in what it skips), and duplicate keys (the last one wins).
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from flashd.domain import money

T = TypeVar("T")

MAX_LINES = 1000
MAX_UNITS = 1_000_000_000  # of one SKU in one line; sums stay far below the 15 digits that the store can count
Units = Annotated[int, msgspec.Meta(ge=0, le=MAX_UNITS)]
Few = msgspec.Meta(max_length=MAX_LINES)  # of the lines of one order
Raw = msgspec.Raw
NOTHING = msgspec.Raw(b"")
ABSENT = (b"", b"null")  # as raw text: the field was not there, or there was nothing in it

_BACKSLASH, _DELETE = 0x5C, 0x7F  # a number is found in bytes at a tenth of what bytes cost
_HIDING = re.compile(rb"\\u00(?:22|3[Aa])")  # a quote or a colon, from who counts keys
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_AT = " - at `$"  # before the path, in msgspec's messages
_QUOTING = re.compile(r"(Invalid enum value|Object contains unknown field) ['`](.*)['`]", re.DOTALL)


class Misread(ValueError):  # noqa: N818  # a finding about the body, turned into an answer by each adapter
    """The body is not understood; the message names the path and what was wanted."""


def read(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """
    Decode *body*.

    Raises:
        Misread: It is not UTF-8, not JSON, nested too deeply, or not of the wanted shape.
    """
    try:
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise Misread(f"$: is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise Misread("$: is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise Misread(_without_values(str(error)) if body else "$: there is nothing: the body is empty") from None


def is_plain(body: bytes) -> bool:
    """
    Say whether each text that was decoded from *body* is printable ASCII, so that nothing in it is to be tidied up.

    What is below 0x20 comes into a text by an escape only: msgspec refuses it as it is.
    """
    return body.isascii() and _BACKSLASH not in body and _DELETE not in body


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
        decoder: Of Structs that know all keys (`forbid_unknown_fields`) and write what was there and nothing else: all
            that need not be there is UNSET by default.

    Raises:
        Misread: As above, or a key stands twice in one object.
    """
    try:
        document = decoder.decode(body)  # skips nothing, so what it takes is UTF-8 and no deeper than the Structs
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        document = read(body, decoder)  # says why
    written = msgspec.json.encode(document)
    if len(written) != len(body) and not _has_each_key_once(body, written):
        json.loads(body, object_pairs_hook=_without_duplicates)  # says which
    return document


def _has_each_key_once(body: bytes, written: bytes) -> bool:
    """
    Say for sure that no key of a JSON *body* stands twice; False where it is not sure.

    What was decoded and is *written* again has each key once, and nothing in it is longer than it was: a body of the
    same length has no room for another, and needs no look. Of others, such as those with blanks, the keys are counted
    by the colon behind them: so no blank may stand before one, and no quote or colon be spelt in a way that is not
    written again.
    """
    if b" :" in body or b"\t:" in body or b"\n:" in body or b"\r:" in body:
        return False
    if _BACKSLASH in body and _HIDING.search(body):
        return False
    return body.count(b'":') == written.count(b'":')


def _without_duplicates(pairs: list[tuple[str, object]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise Misread(f"`{key}` stands twice in one object; write it once")
        seen.add(key)


def keys_of(body: bytes) -> frozenset[str]:
    """Return the names at the top of a JSON object; none where the body is something else."""
    try:
        members = read(body, _OBJECT)
    except Misread:
        return frozenset()
    return frozenset(members)


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def at(path: str, parse: Callable[..., T], *values: object) -> T:
    """
    Parse a value of the body.

    Raises:
        Misread: *parse* did not take it; the message begins with the path.
    """
    try:
        return parse(*values)
    except ValueError as error:
        raise Misread(f"{path} {error}") from None


def amount_at(path: str, raw: msgspec.Raw, currency: str) -> int:
    """Return an amount as `amount` does. Raises Misread."""
    return 0 if raw is NOTHING else at(path, amount, bytes(raw), currency)


@functools.lru_cache(4096)  # a catalogue has few prices, and each order tells them again and again
def amount(written: bytes, currency: str) -> int:
    """
    Return an amount in minor units, from the raw text of a decimal string or a number; absent or null is zero.

    Raises:
        ValueError: It is neither, or finer than the currency.
    """
    if written in ABSENT:
        return 0
    return money.minor_units(written.decode().removeprefix('"').removesuffix('"'), currency)
