"""
A backend that misbehaves on command: an HTTP/1.1 server that does to one kind of request what networks and ERPs do.

A stand-in answers; a fault replaces its answer to requests that write, before, during or after they take effect.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

HTML = b"<!doctype html><html><title>Log in</title><form action=/login><input name=password></form></html>"


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    announced: int | None = None  # Content-Length, where it shall lie

    @classmethod
    def of(cls, content: object, status: int = 200) -> Reply:
        return cls(status, msgspec.json.encode(content))

    def encode(self) -> bytes:
        length = len(self.body) if self.announced is None else self.announced
        headers = {"Content-Type": self.content_type, "Content-Length": str(length), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class StandIn(Protocol):
    """A backend in a few lines: it remembers what was written."""

    def handle(self, request: Request) -> Reply: ...

    def writes(self, request: Request) -> bool:
        """Say whether this is the request that creates an order."""

    def held(self, key: str) -> int:
        """Return how many orders it has under that key."""


@dataclass(frozen=True)
class Fault:
    """What happens to a request that writes."""

    name: str
    cut: str = ""  # "before", "during", "after", "hole", "hole_after", "tarpit"
    answer: Callable[[Reply], Reply] | None = None  # in place of the stand-in's reply
    records: bool = False  # whether the stand-in sees the request all the same

    def __str__(self) -> str:
        return self.name


@dataclass
class FaultServer:
    """Serves one stand-in on a free loopback port."""

    stand_in: StandIn
    fault: Fault | None = None
    on_every: bool = False  # the fault strikes reads too
    seen: list[Request] = field(default_factory=list)
    struck: int = 0
    connections: int = 0
    last: Reply = field(default_factory=Reply)  # the stand-in's last reply to a request that writes
    port: int = 0
    hangs: Callable[[], None] = lambda: None  # called where it says nothing from now on, or a byte at a time

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def written(self) -> int:
        """How many requests that write came in."""
        return sum(self.stand_in.writes(request) for request in self.seen)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FaultServer]:
        tasks: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            self.connections += 1
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    while await self._serve_one(reader, writer):
                        pass
            finally:
                tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await server.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
        length = int(headers.get("content-length", "0"))
        request = Request(method, target, headers, await reader.readexactly(length))
        self.seen.append(request)
        strikes = self.fault is not None and (self.on_every or self.stand_in.writes(request))
        if not strikes or self.fault is None:
            reply = self.stand_in.handle(request)
            if self.stand_in.writes(request):
                self.last = reply
            writer.write(reply.encode())
            await writer.drain()
            return True
        self.struck += 1
        return await self._strike(self.fault, request, writer)

    async def _strike(self, fault: Fault, request: Request, writer: asyncio.StreamWriter) -> bool:
        reply = self.stand_in.handle(request) if fault.records else Reply()
        if fault.answer is not None:
            answer = fault.answer(reply)
            writer.write(answer.encode())
            await writer.drain()
            return answer.announced is None  # a whole answer leaves the connection open, a broken one does not
        if fault.cut == "during":
            writer.write(reply.encode()[:25])  # the answer breaks off inside its headers
            await writer.drain()
        elif fault.cut == "hole":
            self.hangs()
            await asyncio.Event().wait()
        elif fault.cut == "tarpit":
            for byte in reply.encode():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.2)
                self.hangs()
        elif fault.cut == "reset":
            writer.transport.abort()
        return False


def status(
    number: int, *, body: bytes = HTML, content_type: str = "text/html", **headers: str
) -> Callable[[Reply], Reply]:
    """Answer so, whatever the stand-in says."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(number, body, named, content_type)


def said(
    body: bytes, *, content_type: str = "application/json", announced: int | None = None
) -> Callable[[Reply], Reply]:
    """Answer 200 with that body."""
    return lambda _: Reply(200, body, {}, content_type, announced)


def throttle(retry_after: str | None) -> Callable[[Reply], Reply]:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    headers["Date"] = "Sat, 21 Nov 2026 20:00:00 GMT"
    return lambda _: Reply(429, b"{}", headers)


def half(reply: Reply) -> Reply:
    """Break the body off: fewer bytes come than were announced."""
    return Reply(reply.status, reply.body[: len(reply.body) // 2], {}, reply.content_type, len(reply.body))


def half_json(reply: Reply) -> Reply:
    """Break the JSON off where the length says it is whole."""
    return Reply(reply.status, reply.body[: len(reply.body) // 2], {}, reply.content_type)


def as_html(reply: Reply) -> Reply:
    """Say the right thing under a content type that does not promise it."""
    return Reply(reply.status, reply.body, {}, "text/html")


def huge(reply: Reply) -> Reply:
    """Say the right thing, and then too much of nothing."""
    return Reply(reply.status, reply.body + b" " * 1_500_000, {}, reply.content_type)


DOUBTFUL = [
    Fault("the connection closes before the answer, nothing recorded"),
    Fault("the connection closes before the answer, order recorded", records=True),
    Fault("the connection is reset, nothing recorded", cut="reset"),
    Fault("the connection is reset, order recorded", cut="reset", records=True),
    Fault("the answer breaks off inside its headers", cut="during", records=True),
    Fault("black hole, nothing recorded", cut="hole"),
    Fault("black hole, order recorded", cut="hole", records=True),
    Fault("tarpit", cut="tarpit", records=True),
    Fault("500, nothing recorded", answer=status(500)),
    Fault("500, order recorded", answer=status(500), records=True),
    Fault("502", answer=status(502), records=True),
    Fault("504", answer=status(504), records=True),
    Fault("408", answer=status(408)),
    Fault("200 with garbage", answer=said(b"\x00\xff{{{")),
    Fault("200 with nothing", answer=said(b"")),
    Fault("200 with null", answer=said(b"null")),
    Fault("200 with a list", answer=said(b"[]")),
    Fault("200 with an empty object", answer=said(b"{}")),
    Fault("200 with an error", answer=said(b'{"error": ["UserError", ["no"]]}')),
    Fault("200 with deep nesting", answer=said(b"[" * 100_000)),
    Fault("200 cut in the middle", answer=half, records=True),
    Fault("200 with half a JSON", answer=half_json, records=True),
    Fault("200 of the wrong type", answer=as_html, records=True),
    Fault("200 too large", answer=huge, records=True),
    Fault("200 with a login page", answer=said(HTML, content_type="text/html")),
    Fault("302 to a login page", answer=status(302, Location="/login")),
    Fault("307 to elsewhere", answer=status(307, Location="http://127.0.0.1:1/")),
    Fault("400 with HTML", answer=status(400)),
    Fault("409 with HTML", answer=status(409)),
    Fault("413 with HTML", answer=status(413)),
]
AWAY = [Fault(f"{number}", answer=status(number)) for number in (401, 403, 404)]
THROTTLED: list[tuple[Fault, float | None]] = [
    (Fault("429 without Retry-After", answer=throttle(None)), None),
    (Fault("429 in 7 s", answer=throttle("7")), 7.0),
    (Fault("429 in 0 s", answer=throttle("0")), 0.0),
    (Fault("429 in 1.5 s", answer=throttle("1.5")), 1.5),
    (Fault("429 in a year", answer=throttle("31536000")), 31536000.0),
    (Fault("429 until a date", answer=throttle("Sat, 21 Nov 2026 20:01:30 GMT")), 90.0),
    (Fault("429 until a date that is past", answer=throttle("Sat, 21 Nov 2026 19:00:00 GMT")), 0.0),
    (Fault("429 in -5 s", answer=throttle("-5")), None),
    (Fault("429 in soon", answer=throttle("soon")), None),
    (Fault("429 in nan", answer=throttle("nan")), None),
    (Fault("503", answer=status(503)), None),
    (Fault("503 in 3 s", answer=status(503, Retry_After="3")), 3.0),
]
