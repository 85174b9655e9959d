"""Servers whose clock is another: Debian's libfaketime between them and the system."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

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
    return Server(kind, environ=_environ(kind) | {"FAKETIME": shift}).start()


class Turned(Server):
    """A server whose clock can be turned while it runs."""

    def turn(self, seconds: int) -> None:
        """Let its clock be so many seconds off ours."""
        Path(self.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(f"{seconds:+d}\n")


def turned(kind: str, file: Path) -> Turned:
    """Return a started server whose clock stands where *file* says, or skip where the machine lacks what it takes."""
    server = Turned(kind, environ=_environ(kind) | {"FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1"})
    server.turn(0)
    server.start()
    return server


async def turn(server: Turned, client: Redis, seconds: int) -> None:
    """Return when the server has seen its clock turned: it may answer once more by the time it looked at before."""
    server.turn(seconds)
    while True:
        now_s, _ = await client.time()
        if abs(int(now_s) - time.time() - seconds) < 30:
            return
        await asyncio.sleep(0.01)


def preload() -> dict[str, str]:
    """Return what must stand in a process' environment for its clock to be another, or skip."""
    libraries = [_found(name) for name in _LIBRARIES]
    if None in libraries:
        pytest.skip("libfaketime is missing: apt-get install faketime")
    return {"LD_PRELOAD": ":".join(map(str, libraries)), "DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}


def _environ(kind: str) -> dict[str, str]:
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    return preload()
