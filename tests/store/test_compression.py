"""Texts are packed and read back by contexts that live as long as the process: none spoils the next."""

from __future__ import annotations

import concurrent.futures
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashd.store.compression import pack, unpack

# Packed by flashd before it used zstandard, through Python's own module.
OF_BEFORE = bytes.fromhex("31204ebd0000487b5445452d4d7d5d7d03fc0007c1bdfc19819c1f9f01")


@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_texts_are_read_one_after_the_other_as_they_were_packed(texts: list[bytes]) -> None:
    assert [unpack(pack(text)) for text in texts] == texts


@pytest.mark.parametrize("size", [0, 65_536, 1_000_001, 20_000_000])
def test_a_text_may_be_long(size: int) -> None:
    text = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert unpack(pack(text)) == text


def test_what_an_older_flashd_packed_is_read() -> None:
    assert unpack(OF_BEFORE) == b'{"id":"5000000000001","currency":"EUR","lines":[{"sku":"TEE-M","quantity":1}]}'


@given(st.binary(min_size=1, max_size=300), st.data())
def test_what_is_damaged_is_refused_or_another_text_but_never_an_error_of_the_library(
    text: bytes, data: st.DataObject
) -> None:
    packed = bytearray(pack(text))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        unpack(bytes(packed))
    assert unpack(pack(text)) == text  # and the context is as good as before


def test_the_end_of_a_text_that_was_cut_off_is_missed_and_so_is_more_than_its_end() -> None:
    packed = pack(b"an order" * 10)
    for damaged in (*(packed[:length] for length in range(2, len(packed))), packed + b"x", packed + packed[1:]):
        with pytest.raises(ValueError, match="damaged"):
            unpack(damaged)
    assert unpack(packed) == b"an order" * 10


@pytest.mark.parametrize("size", [2**40, 2**63 - 1, 2**64 - 2, 2**64 - 1])
def test_a_text_that_says_it_is_larger_than_any_machine_is_damaged(size: int) -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpack(b"1\xe0" + size.to_bytes(8, "little") + b"\x01\x00\x00")


def test_threads_pack_and_read_beside_each_other() -> None:
    texts = [f'{{"sku":"TEE-{number}","quantity":{number}}}'.encode() * (number % 50 + 1) for number in range(500)]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert list(threads.map(unpack, threads.map(pack, texts))) == texts
