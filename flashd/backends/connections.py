"""
The connections to one backend, each for one request at a time; none idle is one opened.

Of aiohttp only the parser of answers is used: what its client does around it took two thirds of a short request's
time (docs/adr/0032). A request is written once or never, and how it ended says which.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import math
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import aiohappyeyeballs  # as aiohttp connects
from aiohttp.http import HttpResponseParser

from flashd.ports.departure import depart

LARGEST_ANSWER = 1_048_576
# Shorter than the two seconds after which gunicorn, and with it most Python backends, drops an idle connection: a POST
# into a connection that is being dropped would leave an order in doubt for nothing.
_KEEP_ALIVE_S = 1.5
_NEXT_ADDRESS_S = 0.25  # after which an address that does not answer is not waited for alone: RFC 8305
_GONE_S = 1.0


class UnreachedError(Exception):
    """No connection was to be had: nothing was written."""


class CutError(Exception):
    """The request was written, and no whole answer came."""


class Origin(NamedTuple):
    """Whom to connect to."""

    host: str
    port: int
    is_tls: bool


class Reply(NamedTuple):
    """A complete answer; the names of *headers* are looked up in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """
    At most so many requests at a time, over connections that are kept for a while behind an answer.

    Args:
        most: So many requests may be under way; who comes then waits for a place.
        timeout_s: Until the answer must be there; waiting for a place and connecting are part of it.
        connect_s: How long connecting may take.
    """

    def __init__(self, *, most: int, timeout_s: float, connect_s: float) -> None:
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._places = asyncio.Semaphore(most)
        self._idle: dict[Origin, list[_Connection]] = {}  # the one that was used last is used next
        self._open: set[_Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_s = math.inf  # when the timer goes off

    async def ask(self, origin: Origin, request: bytes) -> Reply:
        """
        Write *request* and return the answer to it.

        Raises:
            UnreachedError: Nothing was written.
            CutError: It was, and what became of it is not known.
        """
        until_s = asyncio.get_running_loop().time() + self._timeout_s
        if self._places.locked():
            await self._place(until_s)
        else:
            await self._places.acquire()
        try:
            connection = await self._ready(origin, until_s)
            try:
                answer = connection.ask(request, until_s)
                self._look_by(until_s)
                return await answer
            finally:
                self._put_back(connection)
        finally:
            self._places.release()

    async def close(self) -> None:
        """Close all connections; what is under way fails. Fine to call twice, and a later request opens them again."""
        gone = [connection.gone for connection in self._open]
        for connection in list(self._open):
            connection.lose("closed")
        self._idle.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._looks_s = None, math.inf
        if gone:
            await asyncio.wait(gone, timeout=_GONE_S)

    async def _place(self, until_s: float) -> None:
        try:
            async with asyncio.timeout_at(until_s):
                await self._places.acquire()
        except TimeoutError:
            raise UnreachedError("timed out waiting for a place") from None

    async def _ready(self, origin: Origin, until_s: float) -> _Connection:
        """Return a connection when the request may be written; one that ended during the wait is replaced."""
        while True:
            connection = self._take(origin) or await self._connect(origin, until_s)
            connection.until_s = until_s
            try:
                await depart(connection.is_usable)
            except BaseException:
                self._put_back(connection)
                raise
            if connection.is_usable():
                return connection

    def _take(self, origin: Origin) -> _Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
        return None

    def _put_back(self, connection: _Connection) -> None:
        """Keep it for the next request, unless the last one had no whole answer or it is to be closed."""
        if not connection.is_usable():
            connection.lose("left")
            return
        connection.until_s = asyncio.get_running_loop().time() + _KEEP_ALIVE_S
        self._idle.setdefault(connection.origin, []).append(connection)
        self._look_by(connection.until_s)

    async def _connect(self, origin: Origin, until_s: float) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(until_s, loop.time() + self._connect_s)):
                context = await asyncio.to_thread(_trust) if origin.is_tls else None
                found = _numbered(origin) or await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
                sock = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                try:
                    _, connection = await loop.create_connection(
                        functools.partial(_Connection, origin, ended=self._open.discard),
                        sock=sock,
                        ssl=context,
                        server_hostname=origin.host.rstrip(".") if context else None,
                    )
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            raise UnreachedError("timed out") from None
        except (OSError, ValueError, RuntimeError) as error:  # the last is uvloop's where asyncio says the first
            raise UnreachedError(f"{type(error).__name__}: {error}") from error
        self._open.add(connection)
        return connection

    # ------------------------------------------------------------------------------------------------------- time

    def _look_by(self, when_s: float) -> None:
        """Look at the time then: one timer for all requests and all that is idle."""
        if when_s < self._looks_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(when_s, self._look)
            self._looks_s = when_s

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer, self._looks_s = None, math.inf
        for connection in list(self._open):
            if connection.until_s <= now:
                connection.lose("timed out")
        for origin, idle in list(self._idle.items()):
            idle[:] = [connection for connection in idle if connection.is_usable()]
            if not idle:
                del self._idle[origin]
        ahead = [connection.until_s for connection in self._open if not connection.is_lost]
        if ahead:
            self._look_by(min(ahead))


class _Connection(asyncio.Protocol):
    """One connection; what comes without a request ends it, for it would pass for the answer to the next one."""

    def __init__(self, origin: Origin, *, ended: Callable[[_Connection], None]) -> None:
        loop = asyncio.get_running_loop()
        self.origin = origin
        self.until_s = math.inf  # when the answer must be there, or for how long it is kept
        self.is_lost = False
        self.gone: asyncio.Future[None] = loop.create_future()
        self._ended = ended
        self._loop = loop
        self._parser = self._new_parser()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._head: Any = None
        self._payload: Any = None
        self._is_flooded = self._is_used = False

    def is_usable(self) -> bool:
        """Say whether a request may be written."""
        transport = self._transport
        return not (self.is_lost or self._answer is not None or transport is None or transport.is_closing())

    def ask(self, request: bytes, until_s: float) -> asyncio.Future[Reply]:
        """Write a request; the future is that of its answer."""
        answer = self._answer = self._loop.create_future()
        self.until_s = until_s
        if self._is_used:  # what came behind the last answer, and was not whole, must not begin this one
            self._parser = self._new_parser()
        self._is_used = True
        try:
            cast("asyncio.Transport", self._transport).write(request)  # usable: there is one
        except RuntimeError as error:  # uvloop's word for a handle that is closed already
            self.lose(str(error))
        return answer

    def lose(self, reason: str) -> None:
        """Give it up: a request that waits fails, and nothing is known of it."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CutError(reason))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse; the answer is whole when its body is."""
        if self.is_lost:
            return
        if self._answer is None:
            self.lose("it sent what nobody asked for")
            return
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except Exception as error:  # noqa: BLE001  # whatever the parser makes of it, it is no answer
            self.lose(f"an answer that is no HTTP: {type(error).__name__}")
            return
        for head, payload in messages:
            if head.code < 200 and not is_upgraded:
                continue  # 100, 103: the answer is still to come
            if self._head is not None or is_upgraded:
                self.lose("two answers to one request, or another protocol")
                return
            self._head, self._payload = head, payload
        if self._head is not None:
            self._read()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; an answer that does not say how long it is ends with the connection."""
        if self._head is not None and exc is None and not self.is_lost:
            try:
                self._parser.feed_eof()
            except Exception:  # noqa: BLE001, S110  # it is not whole, and the line below says so
                pass
            else:
                self._read()
        self.lose(f"the connection was {'reset' if exc else 'closed'}")
        self._ended(self)
        if not self.gone.done():
            self.gone.set_result(None)

    def _new_parser(self) -> HttpResponseParser:
        return HttpResponseParser(cast("Any", self), self._loop, LARGEST_ANSWER, read_until_eof=True)

    def _read(self) -> None:
        """Look how far the body is."""
        payload = self._payload
        if self._is_flooded or payload.total_bytes > LARGEST_ANSWER:
            self.lose(f"HTTP {self._head.code} with more than {LARGEST_ANSWER} bytes")
        elif payload.exception() is not None:
            self.lose(f"HTTP {self._head.code} with a body that cannot be read")
        elif payload.is_eof():
            head, answer = self._head, cast("asyncio.Future[Reply]", self._answer)
            self._head = self._payload = self._answer = None
            if not answer.done():
                answer.set_result(Reply(head.code, head.headers, payload.read_nowait()))
            if head.should_close:
                self.lose("closed")

    # What the parser's body asks of its protocol; it is read as it comes, and too much of it ends the connection.

    def pause_reading(self) -> None:
        """Stop: there is more of it than is ever read."""
        self._is_flooded = True
        self._parser.pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002  # aiohttp's signature
        """Go on; it never stopped."""


def _numbered(origin: Origin) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    """Return an address that is a number as getaddrinfo would; nothing for a name, which takes a thread to resolve."""
    try:
        address = ipaddress.ip_address(origin.host)
    except ValueError:
        return []
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return [] if "%" in origin.host else [(family, socket.SOCK_STREAM, 0, "", (origin.host, origin.port))]


@functools.cache
def _trust() -> ssl.SSLContext:
    """Return whom this machine trusts; reading that takes 20 ms, so it is done once and beside the loop."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
