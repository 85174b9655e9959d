"""
Compressing what is written of an order, and reading all that any version of flashd ever wrote.

The first byte of a packed text says how it was packed. A way that was written once is read for ever: records outlive
upgrades. What the same text is packed into may differ from version to version, so packed texts are never compared.

An order is short and much alike every other, so zstd is given a dictionary: the keys and usual values of orders of
flashd's own schema, of Shopify and of WooCommerce, and how often which byte occurs in such orders (`finalize_dict`):
building that table anew took longer than all the rest. A canonical order of 358 bytes becomes 95 in 3 us (zlib: 247 in
16 us), a real Shopify order of 11.8 kB becomes 1.4 kB in 20 us (zlib: 2.0 kB in 45 us).

zstandard keeps its contexts; the module that came with Python 3.14 makes one for each text that is read, and the
library then asks the processor what it can, which a rented machine asks its host: 11 us an order, where 1.5 do.
"""

from __future__ import annotations

import threading
import zlib
from importlib import resources

import zstandard

_PLAIN, _ZLIB, _FIRST = b"-", b"z", b"1"
_MAGIC = b"\x28\xb5\x2f\xfd"  # of every zstd frame, so it is not written: our own first byte says as much
_LEVEL = 3  # with the dictionary as fast as level 1, and a tenth smaller


def _dictionary(number: int) -> zstandard.ZstdCompressionDict:
    """Load a dictionary; it may never change, for what was packed with it is read with it."""
    text = resources.files("flashd.store").joinpath(f"dictionaries/{number}.dict").read_bytes()
    found = zstandard.ZstdCompressionDict(text)
    found.precompute_compress(level=_LEVEL)
    return found


_DICTIONARY = _dictionary(1)


class _Zstd(threading.local):
    """The contexts of one thread: two must not meet in them."""

    def __init__(self) -> None:
        # Our own first byte says which dictionary, and takes three bytes less than a frame that does.
        how = zstandard.ZstdCompressionParameters(
            compression_level=_LEVEL, write_dict_id=False, format=zstandard.FORMAT_ZSTD1_MAGICLESS
        )
        self.compress = zstandard.ZstdCompressor(dict_data=_DICTIONARY, compression_params=how).compress
        self._reader = zstandard.ZstdDecompressor(dict_data=_DICTIONARY)

    def decompress(self, frame: bytes) -> bytes:
        """Return the text of just one frame. Raises ZstdError."""
        return self._reader.decompress(frame, allow_extra_data=False)


_zstd = _Zstd()


def pack(text: bytes) -> bytes:
    """Compress *text*, where that helps."""
    small = _zstd.compress(text)
    return _FIRST + small if len(small) < len(text) else _PLAIN + text


def unpack(packed: bytes) -> bytes:
    """
    Return the text that some version packed.

    Raises:
        ValueError: No version of flashd packs like this, or it is damaged.
    """
    way, rest = packed[:1], packed[1:]
    try:
        if way == _FIRST:
            return _zstd.decompress(_MAGIC + rest)
        if way == _ZLIB:
            return zlib.decompress(rest)
    except (zstandard.ZstdError, zlib.error, OverflowError, MemoryError) as error:  # a size that cannot be is damage
        raise ValueError(f"a packed text is damaged: {error}") from error
    if way == _PLAIN:
        return rest
    raise ValueError(f"a text is packed in a way that this version does not know: {way!r}")
