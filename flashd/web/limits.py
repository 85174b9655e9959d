"""
Limits: deadlines, sizes and counts, so that no client can hold more of the process than its share.

aiohttp knows one idle time-out, which counts from the connection until a whole head is there. Everything else is ours:
the deadline of a head that trickles in, the total size of a head, the deadline of a body, all bodies together, all
connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import msgspec
from aiohttp import hdrs, web

from flashd.errors import Busy, TooLarge
from flashd.web.problem import Malformed, TooSlow, WrongMedia, problem

HEAD_BYTES = 8192
WRITE_S = 5.0
IDLE_S = 75.0  # longer than the idle time-out of the usual proxy (nginx: 60 s), so that it and not we closes first


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one listener grants its clients."""

    header_timeout_s: float = 5.0
    write_timeout_s: float = WRITE_S  # for a piece of a stream that the client does not read
    linger_s: float = 1.0  # what still comes after a refusal is read for so long, so that the answer is not lost
    idle_s: float = IDLE_S
    connections: int = 4096
    head_bytes: int = HEAD_BYTES
    stop_s: float = 10.0  # how long requests may take to finish at the end


class Budget:
    """Bytes of all bodies in flight together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> None:
        """
        Count *count* bytes in.

        Raises:
            Busy: There is no room; nothing was counted.
        """
        if self.used + count > self.limit:
            raise Busy("too many bytes in flight", retry_after_s=2)
        self.used += count

    def give(self, count: int) -> None:
        """Count them out again."""
        self.used -= count

    def share(self) -> Share:
        """Open one request's share: what it took goes back at the end of a `with`, however that ends."""
        return Share(self)


class Share:
    """What one request took of the budget."""

    __slots__ = ("_budget", "used")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.used = 0

    def take(self, count: int) -> None:
        """Count more bytes in, or raise Busy."""
        self._budget.take(count)
        self.used += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give(self.used)


async def read_body(request: web.Request, share: Share, *, limit: int, timeout_s: float) -> bytes:
    """
    Read the whole body as it came: nothing is inflated.

    Raises:
        TooLarge: It is longer than *limit*, as announced or as counted.
        TooSlow: It was not all there after *timeout_s*, however busily it trickled.
        Busy: All bodies in flight together are too many bytes.
    """
    if request.content_length is not None and request.content_length > limit:
        raise TooLarge(f"the body has {request.content_length} bytes; the limit is {limit}", limit=limit)
    if request.content.is_eof() and request.content.exception() is None:  # it is all here, as small ones mostly are
        whole = request.content.read_nowait()
        if len(whole) > limit:
            raise TooLarge(f"the body is longer than {limit} bytes", limit=limit)
        share.take(len(whole))
        return whole
    body = bytearray()
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            while chunk := await request.content.readany():
                if len(body) + len(chunk) > limit:
                    raise TooLarge(f"the body is longer than {limit} bytes", limit=limit)
                share.take(len(chunk))
                body += chunk
    except TimeoutError:
        if deadline.expired():
            raise TooSlow(f"the body was not complete after {timeout_s:g} s") from None
        raise
    except web.RequestPayloadError as error:
        raise Malformed("the body is broken: chunks or length do not fit") from error
    return bytes(body)


def refuse_encoded(request: web.Request) -> None:
    """
    Refuse a compressed body: nothing is inflated here.

    Raises:
        WrongMedia: There is a Content-Encoding.
    """
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise WrongMedia("send the body as it is, without Content-Encoding")


async def read_lines(request: web.Request, *, limit: int, timeout_s: float) -> AsyncIterator[list[bytes]]:
    """
    Hand out the lines of a body as they come, empty ones too: those that came together in one list.

    Memory holds one line and one chunk at a time.

    Raises:
        TooLarge: A line is longer than *limit*; the rest cannot be told apart any more.
        TooSlow: Within *timeout_s* no further line was complete.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + timeout_s
    pieces: list[bytes] = []  # of a line that is not complete
    length = 0
    while chunk := await _next_chunk(request, due, timeout_s):
        head, end, tail = chunk.rpartition(b"\n")
        if end:
            lines = b"".join((*pieces, head)).split(b"\n")
            pieces, length = [], 0
            too_long = next((index for index, line in enumerate(lines) if len(line) > limit), None)
            if too_long is not None:
                yield lines[:too_long]
                raise TooLarge(f"a line is longer than {limit} bytes", limit=limit)
            yield lines
            due = loop.time() + timeout_s
        pieces.append(tail)
        length += len(tail)
        if length > limit:
            raise TooLarge(f"a line is longer than {limit} bytes", limit=limit)
    yield [b"".join(pieces)]


async def _next_chunk(request: web.Request, due: float, timeout_s: float) -> bytes:
    deadline = asyncio.timeout_at(due)
    try:
        async with deadline:
            return await request.content.readany()
    except TimeoutError:
        if deadline.expired():
            raise TooSlow(f"no further line was complete after {timeout_s:g} s") from None
        raise
    except web.RequestPayloadError as error:
        raise Malformed("the body is broken: chunks or length do not fit") from error


async def write_or_cut(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """
    Write a piece of a stream, or cut off a client that does not read.

    Raises:
        ConnectionResetError: It is gone.
    """
    connection = request.protocol
    timeout_s = connection.limits.write_timeout_s if isinstance(connection, Connection) else WRITE_S
    try:
        async with asyncio.timeout(timeout_s):
            await response.write(data)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()  # a closing transport would wait for what the client does not read
        raise ConnectionResetError("the client does not read") from None


class Connection(web.RequestHandler):
    """
    One client's connection, with the three deadlines and the one size that aiohttp does not have.

    A head must be complete within *header_timeout_s* of the connection or of its first byte, and fit in *head_bytes* in
    all: aiohttp alone would take 128 header lines of 8 kB each, for as long as they trickle. And a client that takes
    nothing of its answers for *write_timeout_s* is cut off, or one that asks and asks would keep its place for ever.
    """

    def __init__(self, guard: Guard, **options: Any) -> None:
        super().__init__(guard.server, **options)
        self._guard = guard
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self.last_chunk_bytes = 0  # what came last; a request that is whole came in so many bytes, or in several pieces
        self._begun = 0  # requests that reached the application
        self._active = False
        self._content: Any = None
        self._stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the first head is due."""
        super().connection_made(transport)
        if not self._guard.enter(self):
            self.force_close()
            return
        self._arm()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._disarm()
        self._flow()
        self._guard.leave(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly, and not for one that does not read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._flow()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a head or of a body; only those of a head count here."""
        heads = self._request_count
        within = heads > self._begun or self._active or not (self._content is None or self._content.is_eof())
        super().data_received(data)
        if self._request_count != heads:
            self.last_chunk_bytes = self._head_bytes + len(data)
            self._disarm()
            self._head_bytes = 0
        elif not within:
            self._head_bytes += len(data)
            if self._head_bytes > self._guard.limits.head_bytes:
                self.force_close()
            elif self._deadline is None:
                self._arm()

    @property
    def limits(self) -> ClientLimits:
        """What this client is granted."""
        return self._guard.limits

    @property
    def has_begun(self) -> bool:
        """Whether a request is at work."""
        return self._active

    def begin(self, request: web.Request) -> None:
        """Note that a request has reached the application."""
        self._begun = self._request_count
        self._active = True
        self._content = request.content

    def finish(self) -> None:
        """Note that its handler is done."""
        self._active = False

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP at all: a problem like any other, and no line in a log that a stranger could fill."""
        del message, exc
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun; there is no other one to send")
        title = "malformed" if status == 400 else "internal_error"
        response = problem(status, title, "the request is not valid HTTP" if status == 400 else "")
        response.force_close()
        return response

    def _arm(self) -> None:
        self._deadline = self._loop.call_later(self._guard.limits.header_timeout_s, self._expire)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _flow(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _watch(self) -> None:
        left = self.transport.get_write_buffer_size() if self.transport is not None else 0
        self._stalled = self._loop.call_later(self._guard.limits.write_timeout_s, self._cut, left)

    def _cut(self, before: int) -> None:
        sending = self._content is not None and not self._content.is_eof()  # its own body, which has a deadline
        if self.transport is None:
            return
        if sending or self.transport.get_write_buffer_size() < before:
            self._watch()
        else:
            self.transport.abort()  # a closing transport would wait for what the client does not read

    def _expire(self) -> None:
        self._deadline = None
        self.force_close()


class Guard:
    """Makes the connections of one listener, and lets in no more than its limit."""

    def __init__(self, server: web.Server, limits: ClientLimits) -> None:
        self.server = server
        self.limits = limits
        self.connections: set[Connection] = set()
        self.turned_away = 0

    def __call__(self) -> Connection:
        """Make the protocol of one connection."""
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self.limits.idle_s,
            access_log=None,
            auto_decompress=False,  # the signed bytes are the bytes that came
            max_line_size=self.limits.head_bytes,
            max_field_size=self.limits.head_bytes,
            lingering_time=self.limits.linger_s,
            read_bufsize=2**16,
        )

    def enter(self, connection: Connection) -> bool:
        """Let one in, if there is room."""
        if len(self.connections) >= self.limits.connections:
            self.turned_away += 1
            return False
        self.connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Let one out; fine for one that never was in."""
        self.connections.discard(connection)
