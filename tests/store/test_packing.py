"""What an order is packed into: small, and read by whatever version comes later."""

from __future__ import annotations

import hashlib
import json
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from flashd.domain.delivery import ResultKind
from flashd.domain.order import Address, Customer, Line, Order, OrderRef
from flashd.errors import InvariantBroken
from flashd.store import compression
from flashd.store.keys import order_key
from flashd.store.packing import pack_order, pack_raw, repack_order, unpack_order, unpack_raw
from tests.conformance.ledgers import BACKEND, make_incoming, real_bench, stock

ORDER = Order(
    channel="till",
    id="1001",
    placed_ms=1_795_319_340_000,
    currency="EUR",
    lines=(Line("TEE-M", 1, unit_price=1990, title="Tee, medium"),),
    shipping=490,
    total=2480,
    customer=Customer(name="Ada Lovelace", email="ada@example.com"),
    ship_to=Address(name="Ada Lovelace", street="Lane 1", postcode="53111", city="Bonn", country="DE"),
)
RECORDED = sorted(Path("tests/recorded").glob("*/*order*.json"))


@given(st.binary(max_size=5000))
def test_whatever_is_packed_is_read_again(text: bytes) -> None:
    packed = compression.pack(text)
    assert compression.unpack(packed) == text
    assert len(packed) <= len(text) + 1
    assert unpack_raw(pack_raw(text)) == text


def test_a_body_that_was_not_sent_takes_nothing() -> None:
    assert pack_raw(b"") == b""


def test_a_small_order_takes_less_than_a_third_of_its_bytes() -> None:
    plain = msgspec.json.encode(ORDER)
    assert unpack_order(pack_order(ORDER)) == ORDER
    assert len(pack_order(ORDER)) < len(plain) / 3


@pytest.mark.parametrize("path", RECORDED, ids=str)
def test_a_platform_s_order_takes_less_than_it_did_with_zlib(path: Path) -> None:
    body = json.dumps(json.loads(path.read_text()), separators=(",", ":")).encode()
    packed = pack_raw(body)
    assert unpack_raw(packed) == body
    assert len(packed) < len(zlib.compress(body, 1))


def test_what_an_older_version_wrote_is_read() -> None:
    plain = msgspec.json.encode(ORDER)
    assert unpack_order(plain) == ORDER
    assert unpack_raw(b"z" + zlib.compress(plain, 1)) == plain
    assert unpack_raw(b"-" + plain) == plain


def test_the_dictionary_is_the_one_that_records_were_packed_with() -> None:
    kept = resources.files("flashd.store").joinpath("dictionaries/1.dict").read_bytes()
    assert hashlib.sha256(kept).hexdigest() == "22133dd088da7c1c071754b5ab10f4ac07a266f3431ea97cb25088b2734634fd", (
        "records that were packed with the old text cannot be read any more; write a second dictionary beside it"
    )
    # packed by the first version that used it
    assert unpack_raw(PACKED_ONCE) == b'{"id":"7","lines":[{"sku":"TEE-M","quantity":1}]}'


PACKED_ONCE = bytes.fromhex("312031bd00005022375445452d4d7d5d7d03fce31021961cdf2ee51048")


def test_what_this_version_cannot_read_is_said() -> None:
    with pytest.raises(InvariantBroken, match="does not know: b'9'"):
        unpack_raw(b"9later")
    with pytest.raises(InvariantBroken, match="damaged"):
        unpack_raw(pack_raw(msgspec.json.encode(ORDER))[:-3])
    with pytest.raises(InvariantBroken, match="damaged"):
        unpack_order(b"{}")


def test_an_order_that_says_the_same_keeps_its_bytes() -> None:
    plain = msgspec.json.encode(ORDER)
    assert repack_order(ORDER, plain) == plain
    mended = msgspec.structs.replace(ORDER, note="mended")
    assert unpack_order(repack_order(mended, plain)) == mended
    assert unpack_order(repack_order(ORDER, None)) == ORDER


async def test_sent_again_as_it_is_an_order_of_an_older_version_was_not_mended(client: Redis) -> None:
    bench, ref = real_bench(client), OrderRef("shop", "1001")
    await stock(bench)
    order = make_incoming().order
    await bench.ledger.accept([make_incoming(raw=b"raw")], [BACKEND], since_ms=0)
    await bench.send(ref, ResultKind.DECLINED)
    key: Any = order_key("main", ref)
    await client.hset(key, "o", msgspec.json.encode(order))
    await bench.ledger.requeue(ref, by="me", order=order)
    record = await bench.book.get(ref)
    assert record is not None
    assert record.revision == 0, "under another key the backend might take it twice"
    assert record.order == order
