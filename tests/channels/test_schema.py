"""flashd's own schema is read strictly: a key stands once in an object, and whatever does not is named."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.channels import reading, schema

_TEXTS = st.sampled_from(["", "a", 'x"', "b:c", "é", "\\", '":', "\n"])
_PERSON = st.fixed_dictionaries({}, optional={"name": _TEXTS, "email": _TEXTS, "phone": _TEXTS})
_PLACE = st.fixed_dictionaries({}, optional={"name": _TEXTS, "street": _TEXTS, "country": st.sampled_from(["", "DE"])})
_LINE = st.fixed_dictionaries(
    {"sku": st.sampled_from(["A", "B:1"]), "quantity": st.integers(1, 3)},
    optional={"unit_price": st.integers(0, 2), "discount": st.just(0), "title": _TEXTS},
)
_ORDER = st.fixed_dictionaries(
    {"id": st.just("1"), "lines": st.lists(_LINE, min_size=1, max_size=3)},
    optional={
        "status": st.sampled_from(["paid", "test"]),
        "currency": st.sampled_from(["", "EUR"]),
        "shipping": st.integers(0, 1),
        "total": st.one_of(st.none(), st.integers(0, 3)),
        "customer": _PERSON,
        "ship_to": _PLACE,
        "tags": st.lists(_TEXTS, max_size=2),
        "hold_id": st.sampled_from(["", "h"]),
    },
)
_NATIVE = msgspec.json.Decoder(schema.NativeOrder)


def _objects(value: object) -> list[dict[str, object]]:
    own = [value] if isinstance(value, dict) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return own + [found for one in inner for found in _objects(one)]


def _written(value: object, twice: tuple[int, str] | None, *, blank: str, escaped: bool) -> str:
    """Write JSON by hand; in the object of that identity one key stands twice."""
    if isinstance(value, dict):
        pairs = list(value.items())
        if twice is not None and twice[0] == id(value):
            pairs.append((twice[1], value[twice[1]]))
        members = (
            f"{json.dumps(key)}{blank}:{_written(one, twice, blank=blank, escaped=escaped)}" for key, one in pairs
        )
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(one, twice, blank=blank, escaped=escaped) for one in value) + "]"
    if escaped and isinstance(value, str):
        return '"' + "".join(f"\\u{ord(mark):04x}" for mark in value) + '"'
    return json.dumps(value, ensure_ascii=False)


@settings(max_examples=300)
@given(order=_ORDER, data=st.data())
def test_a_key_that_stands_twice_is_found_wherever_it_stands_and_no_other_is(
    order: dict[str, object], data: st.DataObject
) -> None:
    blank = data.draw(st.sampled_from(["", " ", "\n"]))
    escaped = data.draw(st.booleans())
    reading.read_strictly(_written(order, None, blank=blank, escaped=escaped).encode(), _NATIVE)
    holder = data.draw(st.sampled_from([one for one in _objects(order) if one]))
    key = data.draw(st.sampled_from(sorted(holder)))
    with pytest.raises(reading.Misread, match="stands twice"):
        reading.read_strictly(_written(order, (id(holder), key), blank=blank, escaped=escaped).encode(), _NATIVE)


@pytest.mark.parametrize("hiding", ["\\u0022:", '\\"\\u003a', '\\"\\u003A', "\\u003a"])
def test_a_key_that_stands_twice_is_found_behind_a_text_that_looks_like_one_more_once_it_is_written_again(
    hiding: str,
) -> None:
    body = f'{{"id":"1","id":"1","lines":[{{"sku":"A","quantity":1}}], "note":"{hiding}"}}'
    with pytest.raises(reading.Misread, match="`id` stands twice"):
        reading.read_strictly(body.encode(), _NATIVE)


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r"])
def test_a_key_that_stands_twice_is_found_whatever_stands_before_its_colon(blank: str) -> None:
    body = f'{{"id":"1","id"{blank}:"1","lines":[{{"sku":"A","quantity":1}}]}}'
    with pytest.raises(reading.Misread, match="`id` stands twice"):
        reading.read_strictly(body.encode(), _NATIVE)


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        (schema.NativeOrder, b'{"id":"1","lines":[{"sku":"A","quantity":1}]}'),
        (schema.WebhookOrder, b'{"id":"1","lines":[{"sku":"A","quantity":1}],"status":"paid"}'),
        (schema.HoldBody, b'{"id":"1","lines":[{"sku":"A","quantity":1}]}'),
    ],
)
def test_what_was_not_there_is_not_written_again(shape: type, body: bytes) -> None:
    # Otherwise one key too many in the body would be taken for one that was left out.
    assert msgspec.json.encode(msgspec.json.decode(body, type=shape)) == body


@given(order=_ORDER)
def test_what_was_there_is_written_again_also_where_it_says_nothing(order: dict[str, object]) -> None:
    body = json.dumps(order).encode()
    assert json.loads(msgspec.json.encode(_NATIVE.decode(body))) == order
