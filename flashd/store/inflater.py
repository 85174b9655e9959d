"""
Reading zstd frames with one context for all of them.

Python's own reader makes a context for each frame, and each time the library asks the processor what it can: a machine
in a cloud asks its host then. Of the 14 us that a short order took to read 12 were that. So the same library is asked
by its C interface, which is the same since version 1.4; where it shows none, Python's own way is taken.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib import import_module

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LIBRARY = "_zstd" if sys.version_info >= (3, 14) else "backports.zstd._zstd"
_ROOM = 65_536  # a longer text is worth a context of its own

Read = Callable[[bytes], bytes]


def reader(dictionary: zstd.ZstdDict) -> Read:
    """Return what reads one frame that *dictionary* helped to write; it raises ZstdError for what is none."""

    def plainly(frame: bytes) -> bytes:
        return zstd.decompress(frame, zstd_dict=dictionary)

    try:
        return _shared(dictionary.dict_content, plainly)
    except (ImportError, OSError, AttributeError):
        return plainly


def _shared(dictionary: bytes, otherwise: Read) -> Read:
    """
    Return a reader with a context that lives as long as the process; what it cannot read is read *otherwise*.

    Raises:
        ImportError, OSError, AttributeError: The library is not to be found, or hides its functions.
    """
    path = import_module(_LIBRARY).__file__
    if path is None:
        raise ImportError(f"{_LIBRARY} is no file")
    library = ctypes.PyDLL(path)  # it keeps the interpreter's lock, so no two threads meet in the context
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
    library.ZSTD_createDCtx.restype = library.ZSTD_createDDict.restype = pointer
    library.ZSTD_createDDict.argtypes = [text, size]
    decompress = library.ZSTD_decompress_usingDDict
    decompress.restype, decompress.argtypes = size, [pointer, pointer, size, text, size, pointer]
    context = pointer(library.ZSTD_createDCtx())
    digested = pointer(library.ZSTD_createDDict(dictionary, len(dictionary)))
    if not context.value or not digested.value:
        raise OSError("no memory for a context")
    room = ctypes.create_string_buffer(_ROOM)
    view = memoryview(room)

    def read(frame: bytes) -> bytes:
        length = decompress(context, room, _ROOM, frame, len(frame), digested)
        return view[:length].tobytes() if length <= _ROOM else otherwise(frame)  # an error is a number beyond any size

    return read
