"""
A trivial ERP: takes every order at once, and remembers under which key and when.

`--stamped`: by the clock of the kernel (flashd/demo/arrival.py), on asyncio's own loop; else by its own on uvloop,
which takes a fifth of the time. `GET /<name>?key=...` looks an order up; `GET /<name>/seen` tells all of that path.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qs, urlsplit

import msgspec
import uvloop

from flashd.demo.arrival import arrived_us, listen

_KEY, _LENGTH = b"idempotency-key:", b"content-length:"


class Seen(msgspec.Struct):
    """What came to one path."""

    arrivals_us: list[int] = []
    keys: dict[str, int] = {}  # how often each came
    lookups: int = 0
    body: str = ""  # the last one


class Receiver(asyncio.Protocol):
    """One connection: requests come one after the other."""

    def __init__(self, books: dict[str, Seen], clock: Callable[[asyncio.BaseTransport | None], int]) -> None:
        self._books, self._clock = books, clock
        self._rest = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end]
            length = int(_header(head, _LENGTH) or 0)
            if len(self._rest) < end + 4 + length:
                return
            body, self._rest = self._rest[end + 4 : end + 4 + length], self._rest[end + 4 + length :]
            self._transport.write(self._answer(head, body))

    def _answer(self, head: bytes, body: bytes) -> bytes:
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        name = urlsplit(target).path.strip("/")
        if method == "GET" and name.endswith("/seen"):
            return _ok(msgspec.json.encode(self._books.get(name.removesuffix("/seen"), Seen())))
        book = self._books.setdefault(name, Seen())
        if method == "GET":
            key = parse_qs(urlsplit(target).query).get("key", [""])[0]
            book.lookups += 1
            return _ok(msgspec.json.encode([{"id": key, "key": key}] if key in book.keys else []))
        book.arrivals_us.append(self._clock(self._transport))
        key = _header(head, _KEY)
        book.keys[key] = book.keys.get(key, 0) + 1
        book.body = body.decode()
        return _ok(b'{"id":"%s","key":"%s"}' % (key.encode(), key.encode()), b"201 Created")


def _header(head: bytes, name: bytes) -> str:
    at = head.lower().find(b"\r\n" + name)
    return "" if at < 0 else head[at + 2 + len(name) :].split(b"\r\n", 1)[0].strip().decode()


def _ok(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


async def _serve(*, stamped: bool) -> None:
    loop, books = asyncio.get_running_loop(), dict[str, Seen]()
    if stamped:
        listening = listen(0)
        server = await loop.create_server(lambda: Receiver(books, arrived_us), sock=listening, backlog=1024)
    else:
        server = await loop.create_server(
            lambda: Receiver(books, lambda _: time.monotonic_ns() // 1000), "127.0.0.1", 0, backlog=1024
        )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "--stamped" in sys.argv:
        asyncio.run(_serve(stamped=True))
    else:
        uvloop.run(_serve(stamped=False))
