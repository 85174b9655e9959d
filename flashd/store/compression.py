"""
Compressing what is written of an order, and reading all that any version of flashd ever wrote.

The first byte of a packed text says how it was packed. A way that was written once is read for ever: records outlive
upgrades. What the same text is packed into may differ from version to version, so packed texts are never compared.

An order is short and much alike every other, so zstd is given a dictionary: the keys and usual values of orders of
flashd's own schema, of Shopify and of WooCommerce, and how often which byte occurs in such orders (`finalize_dict`):
building that table anew took longer than all the rest. A canonical order of 358 bytes becomes 95 in 3 us (zlib: 247 in
16 us), a real Shopify order of 11.8 kB becomes 1.4 kB in 25 us (zlib: 2.0 kB in 45 us).
"""

from __future__ import annotations

import sys
import zlib
from importlib import resources
from typing import Final

from flashd.store.inflater import reader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PLAIN, _ZLIB, _FIRST = b"-", b"z", b"1"
_MAGIC = b"\x28\xb5\x2f\xfd"  # of every zstd frame, so it is not kept: our own first byte says as much
_LEVEL = 3  # with the dictionary as fast as level 1, and a tenth smaller


def _dictionary(number: int) -> zstd.ZstdDict:
    """Load a dictionary; it may never change, for what was packed with it is read with it."""
    return zstd.ZstdDict(resources.files("flashd.store").joinpath(f"dictionaries/{number}.dict").read_bytes())


_DICTIONARY = _dictionary(1)
_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: _LEVEL,
    zstd.CompressionParameter.dict_id_flag: 0,  # our own first byte says which, and takes three bytes less
}
_COMPRESSOR = zstd.ZstdCompressor(options=_OPTIONS, zstd_dict=_DICTIONARY.as_digested_dict)  # making one costs 10 us
_compress = _COMPRESSOR.compress  # looking it up, and the next, is a tenth of the time of a short text
_read = reader(_DICTIONARY)
_WHOLE: Final = zstd.ZstdCompressor.FLUSH_FRAME


def pack(text: bytes) -> bytes:
    """Compress *text*, where that helps."""
    small = _compress(text, _WHOLE)
    # Less the magic number and with the byte that says the way: three bytes fewer than the frame.
    return _FIRST + small[4:] if len(small) - 4 < len(text) else _PLAIN + text


def unpack(packed: bytes) -> bytes:
    """
    Return the text that some version packed.

    Raises:
        ValueError: No version of flashd packs like this, or it is damaged.
    """
    way, rest = packed[:1], packed[1:]
    try:
        if way == _FIRST:
            return _read(_MAGIC + rest)
        if way == _ZLIB:
            return zlib.decompress(rest)
    except (zstd.ZstdError, zlib.error) as error:
        raise ValueError(f"a packed text is damaged: {error}") from error
    if way == _PLAIN:
        return rest
    raise ValueError(f"a text is packed in a way that this version does not know: {way!r}")
