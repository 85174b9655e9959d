"""A pub/sub subscriber and a publisher on plain sockets: when what was said was heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

import hiredis


def packed(*words: str | int) -> bytes:
    """Return a command as it goes over the wire."""
    command: tuple[Any, ...] = words  # hiredis' types know of commands of one word only
    return bytes(hiredis.pack_command(command))


class Listener(asyncio.Protocol):
    """Hears channels; every message with the moment at which its bytes were read."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = channels
        self._reader = hiredis.Reader()
        self.heard: dict[bytes, list[tuple[int, bytes]]] = {}  # channel -> (ns, message)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(packed("SUBSCRIBE", *self._channels))

    def data_received(self, data: bytes) -> None:
        now_ns = time.time_ns()
        self._reader.feed(data)
        while (message := self._reader.gets()) is not False:
            if isinstance(message, list) and message[0] == b"message":
                self.heard.setdefault(message[1], []).append((now_ns, message[2]))


class Publisher(asyncio.Protocol):
    """Says when it spoke, at a steady pace; answers are not waited for."""

    def __init__(self, channel: str, *, writes: bool = False) -> None:
        self._channel, self._writes = channel, writes
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        pass

    async def speak(self, per_s: int, seconds: float) -> None:
        """Publish at a steady pace; with *writes* each time behind a write that is fsynced."""
        assert self._transport is not None
        began_s = time.monotonic()
        for turn in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, began_s + turn / per_s - time.monotonic()))
            stamp = str(time.time_ns())
            said = packed("PUBLISH", self._channel, stamp)
            if self._writes:
                said = packed("SET", "bench", stamp) + said
            self._transport.write(said)


def lags_ms(heard: Sequence[tuple[int, bytes]], *, since_ns: int) -> list[float]:
    """Return how long each stamp of a Publisher took, of those that were said from then on."""
    return [(at - int(stamp)) / 1e6 for at, stamp in heard if int(stamp) >= since_ns]
