"""Servers whose clock is another: Debian's libfaketime between them and the system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import Server, find_server, missing

# Redis' jemalloc asks for the time before libfaketime is ready: glibc's own allocator stands in for it.
_LIBRARIES = ("libc_malloc_debug.so.0", "faketime/libfaketime.so.1")


def _found(name: str) -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob(f"*-linux-gnu/{name}"))), None)


def shifted(kind: str, shift: str) -> Server:
    """
    Return a started server of that kind with its clock shifted, or skip where the machine lacks what it takes.

    Args:
        kind: As in `tests.servers`.
        shift: Seconds such as ``+3600.5``, or an instant such as ``2026-11-27 08:00:00`` (UTC) that it stands still at.
    """
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    libraries = [_found(name) for name in _LIBRARIES]
    if None in libraries:
        pytest.skip("libfaketime is missing: apt-get install faketime")
    environ = {
        "LD_PRELOAD": ":".join(map(str, libraries)),
        "FAKETIME": shift,
        "DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
    return Server(kind, environ=environ).start()
