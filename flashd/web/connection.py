"""
One client's connection: deadlines, sizes and counts that aiohttp does not have, and the express way.

What is overridden here are inner names of aiohttp's RequestHandler. `IS_KNOWN` says whether this aiohttp has them: one
that has not is served in its ordinary way, slower and to the same effect.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Sequence
from typing import Any, cast

from aiohttp import web

from flashd.errors import Busy, TooLarge
from flashd.web.answer import Answer
from flashd.web.crowd import Post
from flashd.web.express import Express, Lane, Whole
from flashd.web.limits import WRITE_S, ClientLimits
from flashd.web.problem import HeadTooLarge, problem

LOOK_AGAIN_S = 0.1
AT_ONCE = 32  # idle connections that are closed together where there is no room

_INNER = (
    "_buffer_paused",
    "_close",
    "_force_close",
    "_handler_waiter",
    "_keepalive_handle",
    "_keepalive_timeout",
    "_next_keepalive_close_time",
    "_process_keepalive",
    "_reading_paused",
    "_request_count",
    "_request_in_progress",
)
IS_KNOWN = all(hasattr(web.RequestHandler, name) for name in _INNER)


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
        self._latest_bytes = 0  # what came up to the end of the latest head, and with it
        self._begun = 0  # requests that reached the application
        self._active = False
        self._content: Any = None
        self._stalled: asyncio.TimerHandle | None = None
        self._express = cast("Express", guard.express)  # there is one where there is a lane
        self._lane = Lane(guard.express, guard.limits.head_bytes) if guard.express is not None and IS_KNOWN else None
        self._whole: Whole | None = None  # what is at work on the express way
        self._counted = 0  # bytes of its body
        self._closes = False
        self._early = b""  # what came behind it

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
        if self._active and self._lane is not None and self._whole is None:
            self._rest()  # nobody reads its answer any more: a stop need not wait for that

    def pause_writing(self) -> None:
        """Wait for a client that reads slowly, and not for one that does not read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._flow()
        if self._active and self._lane is not None and self._whole is None:
            self._rest()  # it has read its answer

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  # aiohttp's signature
        """Read on, if reading was paused at all: aiohttp asks for it after every body, and parses nothing anew."""
        if self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def data_received(self, data: bytes) -> None:
        """Take what came: the express way where it is one plain request, and from the first that is not, aiohttp's."""
        if self._lane is None:
            self._receive_ordinary(data)
        elif self._active:
            if self.transport is not None:  # TLS hands out what it still has when the connection was closed by us
                self._early += data
                self.transport.pause_reading()
        elif not (self._force_close or self._close):
            whole = self._lane.read(data)
            if whole is not None:
                self._begin_express(whole)
            else:
                self._lane = None
                self._receive_ordinary(data)

    def _receive_ordinary(self, data: bytes) -> None:
        """Take bytes of a head or of a body; only those of a head count here."""
        heads = self._request_count
        within = heads > self._begun or self._active or not (self._content is None or self._content.is_eof())
        super().data_received(data)
        if self._request_count != heads:
            self._latest_bytes = self._head_bytes + len(data)
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

    def begin(self, content: Any) -> None:
        """Note that a request has reached the application, and where its body comes from."""
        self._begun = self._request_count
        self._active = True
        self._content = content

    def finish(self) -> None:
        """Note that its handler is done."""
        self._active = False

    @property
    def resting_until_s(self) -> float | None:
        """When it would be closed for being idle between two requests; None while it is not idle."""
        if self._active or self._deadline is not None or not IS_KNOWN:
            return None
        idle = self._keepalive_handle is not None and not self._request_in_progress
        return self._next_keepalive_close_time if idle else None

    def check_head(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """
        Refuse a head that is too large as a whole.

        Raises:
            HeadTooLarge: Request line and headers together are over the limit.
        """
        limit = self._guard.limits.head_bytes
        if self._latest_bytes <= limit:
            return  # all that came with it is less than that
        head = len(path) + sum(len(name) + len(value) + 4 for name, value in headers)
        if head > limit:
            raise HeadTooLarge(f"request line and headers have {head} bytes; the limit is {limit}")

    # ------------------------------------------------------------------------------------------------ the express way

    def _begin_express(self, whole: Whole) -> None:
        """Let a request be taken; the next one waits until this one is answered."""
        self._disarm()
        self._whole = whole
        self._active = self._request_in_progress = True
        self._counted = 0
        hot, body = whole.hot, whole.body
        try:
            self._counted = self._express.budget.take_whole(body, hot.limit)
        except (Busy, TooLarge) as error:
            hot.refused(error)
            self.fail(error)
        else:
            hot.crowd.join(Post(hot.name, whole.headers, body, self))

    def fail(self, error: BaseException) -> None:
        """Write what stands for an answer; a bug is logged."""
        self.answer(self._express.problem(error, cast("Whole", self._whole).hot))

    def answer(self, answer: Answer) -> None:
        """Write the answer; a client that went away gets none, and one that does not read it waits."""
        self._express.budget.give(self._counted)
        self._whole = None
        self._closes = answer.closes
        if self.transport is not None:
            self.transport.write(answer.text())
        if self.transport is None or not self.writing_paused:
            self._rest()

    def _rest(self) -> None:
        """Be ready for the next request, which may be there already; and begin the time of being idle."""
        self._active = self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._closes or self._close or self._force_close:
            self.force_close()
            return
        close_time = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_time
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        if self._early:
            early, self._early = self._early, b""
            cast("asyncio.Transport", self.transport).resume_reading()
            self.data_received(early)

    def _process_keepalive(self) -> None:
        """End a connection that was idle for too long; one that goes express is not idle, whatever aiohttp thinks."""
        if self._lane is not None and self._request_in_progress:
            self._keepalive_handle = None  # the time begins anew when the request is answered
        else:
            super()._process_keepalive()

    # --------------------------------------------------------------------------------------------- what aiohttp cannot

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

    def __init__(self, server: web.Server, limits: ClientLimits, express: Express | None = None) -> None:
        self.server = server
        self.express = express
        self.limits = limits
        self.connections: set[Connection] = set()
        self.turned_away = 0
        self._full_until_s = 0.0

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
        """Let one in, if there is room, or if others only rest between two requests: those who rest longest go."""
        if len(self.connections) >= self.limits.connections and not self._make_room():
            self.turned_away += 1
            return False
        self.connections.add(connection)
        return True

    def _make_room(self) -> bool:
        """Close some that rest; where none did lately nobody is looked at again, for looking at all takes a while."""
        now = asyncio.get_running_loop().time()
        if now < self._full_until_s:
            return False
        resting = [(until_s, id(one), one) for one in self.connections if (until_s := one.resting_until_s) is not None]
        if not resting:
            self._full_until_s = now + LOOK_AGAIN_S
        for _, _, one in heapq.nsmallest(AT_ONCE, resting):
            self.leave(one)
            one.force_close()
        return bool(resting)

    def leave(self, connection: Connection) -> None:
        """Let one out; fine for one that never was in."""
        self.connections.discard(connection)
