"""Reading many frames with one context: the same texts as Python's own reader gives, and the same refusals."""

from __future__ import annotations

import concurrent.futures
import ctypes
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashd.store import inflater

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DICTIONARY = zstd.ZstdDict(b'{"sku":"TEE-M","quantity":1,"title":"Tee, medium"}' * 4, is_raw=True)
read = inflater.reader(DICTIONARY)


def frame(text: bytes) -> bytes:
    return zstd.compress(text, zstd_dict=DICTIONARY)


def test_the_library_s_own_interface_is_used_here() -> None:
    assert read.__name__ == "read"


@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_frames_are_read_one_after_the_other_as_they_were_written(texts: list[bytes]) -> None:
    assert [read(frame(text)) for text in texts] == texts


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 1_000_000])
def test_a_text_that_does_not_fit_is_read_all_the_same(size: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert read(frame(text)) == text


@given(st.binary(min_size=1, max_size=300), st.data())
def test_what_is_damaged_is_refused_or_read_as_python_would(text: bytes, data: st.DataObject) -> None:
    whole = bytearray(frame(text))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        expected = zstd.decompress(bytes(whole), zstd_dict=DICTIONARY)
    except zstd.ZstdError:
        with pytest.raises(zstd.ZstdError):
            read(bytes(whole))
    else:
        assert read(bytes(whole)) == expected


def test_the_end_of_a_frame_that_was_cut_off_is_missed() -> None:
    whole = frame(b"an order" * 10)
    for length in range(1, len(whole)):
        with pytest.raises(zstd.ZstdError):
            read(whole[:length])
    assert read(whole) == b"an order" * 10  # and the context is as good as before


def test_threads_read_beside_each_other() -> None:
    texts = [f'{{"sku":"TEE-{number}","quantity":{number}}}'.encode() * (number % 50) for number in range(500)]
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert list(threads.map(read, map(frame, texts))) == texts


def test_where_the_library_hides_its_functions_python_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "PyDLL", lambda _: object())
    plainly = inflater.reader(DICTIONARY)
    assert plainly.__name__ == "plainly"
    assert plainly(frame(b"an order")) == b"an order"
