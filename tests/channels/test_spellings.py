"""What is quick for most bodies says the same as what looks at every byte, however the JSON is spelt."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.channels import reading, schema
from flashd.channels.reading import Misread
from flashd.domain.order import Incoming
from flashd.domain.text import readable_order
from tests.channels.bodies import RECORDED, own_order, recorded
from tests.channels.test_faults import DECODERS, ODDITIES, paths

_ORDERS: list[tuple[str, Any]] = [
    *((kind, order) for kind, (_, order) in DECODERS.items()),
    *(("shopify", recorded(str(path))) for path in sorted(RECORDED.glob("shopify-*/*orders_*.json"))),
    *(("woocommerce", recorded(str(path))) for path in sorted(RECORDED.glob("woocommerce/order_?.json"))),
]
_TEXTS = st.sampled_from(["", "a\x00b", "\x1f", "a\x7f", "M\u00fcller", "\u202eabc", "a\nb\t", "\x85", '"', "\\", "]}"])


@st.composite
def bent_bodies(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw an order with up to three fields of something else in them."""
    kind, order = draw(st.sampled_from(_ORDERS))
    body = json.loads(json.dumps(order))
    for path in draw(st.lists(st.sampled_from(paths(order)[1:]), max_size=3)):
        part = body
        try:
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = draw(_TEXTS | ODDITIES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took that part away
    return kind, body


def spellings(body: Any) -> list[bytes]:
    """Write the same in several ways; of the last, no text can be taken as it stands."""
    compact = json.dumps(body, separators=(",", ":"))
    return [
        compact.encode(),
        json.dumps(body).encode(),
        json.dumps(body, ensure_ascii=False, indent=1).encode("utf-8", "replace"),
        f'{{"\\u{ord(compact[2]):04x}{compact[3:]}'.encode(),
    ]


@settings(max_examples=200, deadline=None)
@given(bent_bodies())
def test_an_order_is_read_alike_however_its_json_is_spelt(bent: tuple[str, Any]) -> None:
    kind, body = bent
    found = []
    for spelling in spellings(body):
        result = DECODERS[kind][0](spelling)
        if isinstance(result, Incoming):
            assert readable_order(result.order) == result.order  # each text was looked at that had to be
            result = msgspec.structs.replace(result, raw=b"")
        found.append(re.sub(r"\(byte \d+\)", "", repr(result)))
    assert found == found[:1] * len(found)


@pytest.mark.parametrize("kind", DECODERS)
def test_every_text_of_an_order_is_made_readable(kind: str) -> None:
    decode, order = DECODERS[kind]
    taken = 0
    for path in paths(order)[1:]:
        body = json.loads(json.dumps(order))
        part = body
        for key in path[:-1]:
            part = part[key]
        if isinstance(part[path[-1]], str):
            part[path[-1]] += "\u202e"
            result = decode(json.dumps(body).encode())
            if isinstance(result, Incoming):
                assert (
                    "\u202e" not in msgspec.json.encode(msgspec.structs.replace(result.order, id="", lines=())).decode()
                )
                assert all("\u202e" not in line.title for line in result.order.lines)
                taken += 1
    assert taken > 4  # an id and a SKU may hold it; times and codes may not


@pytest.mark.parametrize(
    ("body", "plain"),
    [(b'{"a":"~ !"}', True), (b'{"a":"\\n"}', False), (b'{"a":"\x7f"}', False), ('{"a":"ä"}'.encode(), False)],
)
def test_a_body_is_plain_if_no_text_in_it_can_hold_anything_but_printable_ascii(body: bytes, *, plain: bool) -> None:
    assert reading.is_plain(body) is plain


@pytest.mark.parametrize("code", [*range(0x20), 0x7F])
def test_a_control_character_comes_into_a_text_of_a_plain_body_in_no_way(code: int) -> None:
    body = b'{"a":"' + bytes([code]) + b'"}'
    if reading.is_plain(body):
        with pytest.raises(Misread):
            reading.read(body, msgspec.json.Decoder(dict[str, str]))


_BYTES = st.binary(min_size=1, max_size=2) | st.sampled_from([b"[" * 40, b"]", b'"', b"\\", b"\xc3", b"\xed\xa0\x80"])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_read_strictly_is_sound_json_although_it_is_not_looked_through_first(data: st.DataObject) -> None:
    body = json.dumps(own_order(note="M\u00fcller"), ensure_ascii=False).encode()
    at = data.draw(st.integers(0, len(body)))
    body = body[:at] + data.draw(_BYTES) + body[at + data.draw(st.integers(0, 2)) :]
    assert _outcome(reading.read_strictly, body) == _outcome(_read_slowly, body)


def _outcome(read: Callable[[bytes, msgspec.json.Decoder[Any]], Any], body: bytes) -> object:
    try:
        return read(body, msgspec.json.Decoder(schema.NativeOrder))
    except Misread as error:
        return str(error)


def _read_slowly(body: bytes, decoder: msgspec.json.Decoder[Any]) -> object:
    """Read as `read_strictly` does, with every check on every body."""
    seen = reading.read(body, decoder)
    json.loads(body.decode(), object_pairs_hook=reading._without_duplicates)  # the slow way itself
    return seen
