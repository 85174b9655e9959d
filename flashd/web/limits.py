"""
Limits: deadlines, sizes and counts, so that no client can hold more of the process than its share.

aiohttp knows one idle time-out, which counts from the connection until a whole head is there. Everything else is ours:
the deadline of a head that trickles in, the total size of a head, the deadline of a body, all bodies together, all
connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Self

import msgspec
from aiohttp import hdrs, web

from flashd.errors import Busy, TooLarge
from flashd.web.problem import Malformed, TooSlow, WrongMedia

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

    def take_whole(self, body: bytes, limit: int) -> int:
        """
        Count in a body that is all there; return how many bytes are to be given back.

        Raises:
            TooLarge: It is longer than *limit*.
            Busy: As above.
        """
        length = len(body)
        if length > limit:
            raise TooLarge(f"the body has {length} bytes; the limit is {limit}", limit=limit)
        self.take(length)
        return length

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


def refuse_encoded(headers: Mapping[str, str]) -> None:
    """
    Refuse a compressed body: nothing is inflated here.

    Raises:
        WrongMedia: There is a Content-Encoding.
    """
    if headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
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
