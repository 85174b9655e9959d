"""
One HTTP request to a sales channel's own API, and what may be concluded from how it ended. Not an adapter itself.

Only where no connection was ready has nothing reached the wire; whatever goes wrong after that leaves the outcome open.
A request is sent once: whoever wants it repeated says so.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import aiohttp
import msgspec
from yarl import URL

from flashd import __version__
from flashd.domain.instant import parse_http_ms
from flashd.domain.rate import Rate
from flashd.domain.text import plain as plain  # noqa: PLC0414  # adapters find it here, beside the rest
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports import WriteCode

LARGEST_ANSWER = 32 * 1_048_576  # a page of a hundred orders with many lines
LONGEST_PAUSE_S = 900.0
_CONNECT_S = 10.0
_KEEP_ALIVE_S = 1.5  # shorter than servers keep an idle connection: a write into one that is being dropped is in doubt
_IN_FLIGHT = 4
FIGURE_PATIENCE_S = 5.0  # a figure that waits longer is an old one, and whoever sends it may lead no more
_CLOSED = frozenset({401, 403, 405, 407, 410})  # nobody may come in; 404 may speak of one product

Method = Literal["GET", "POST", "PUT"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer, whatever it says."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}  # lower-case names
    elapsed_ms: int = 0  # from before the request to the end of the answer, rounded up

    @property
    def json(self) -> Any:
        """The body as JSON, or None where it is broken or too deep."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None

    @property
    def date_ms(self) -> int | None:
        """The server's clock as it says itself, cut to whole seconds; None where it does not say."""
        return parse_http_ms(self.headers.get("date", ""))

    @property
    def earliest_ms(self) -> int | None:
        """The server's clock at the latest when it began with this request: what it read is not older."""
        date_ms = self.date_ms
        return None if date_ms is None else date_ms - self.elapsed_ms

    @property
    def latest_ms(self) -> int | None:
        """
        The server's clock at the earliest when it was done with this request: what it wrote is in force.

        The header is cut to seconds, and Apache writes into it when the request *came*: both are made up for.
        """
        date_ms = self.date_ms
        return None if date_ms is None else date_ms + 1000 + self.elapsed_ms

    @property
    def retry_after_s(self) -> float | None:
        """How long the server wants to be left alone, by its own clock; at most fifteen minutes."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return min(LONGEST_PAUSE_S, float(text[:6]))
        until, date_ms = parse_http_ms(text), self.date_ms
        if until is None or date_ms is None:
            return None
        return min(LONGEST_PAUSE_S, max(0.0, (until - date_ms) / 1000))


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """No answer."""

    reason: str
    sent: bool  # a byte may have gone out


class Pace:
    """The channel's own rate, kept in this process: one request after the other, never a burst."""

    def __init__(
        self, rate: Rate, *, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Any] = asyncio.sleep
    ) -> None:
        self._spacing_s = rate.spacing_us / 1e6
        self._next_s = -math.inf
        self._clock = clock
        self._sleep = sleep
        self._queue = asyncio.Lock()  # fair: first come, first served

    async def turn(self, patience_s: float | None = None) -> bool:
        """Wait until a request may go out; say whether it may, after *patience_s* (or a few spacings) at the latest."""
        if patience_s is not None:
            patience_s = max(patience_s, 4 * self._spacing_s)
        try:
            async with asyncio.timeout(patience_s), self._queue:
                while (wait_s := self._next_s - self._clock()) > 0:
                    if patience_s is not None and wait_s > patience_s:
                        return False
                    await self._sleep(wait_s)
                self._next_s = self._clock() + self._spacing_s
        except TimeoutError:
            return False
        return True

    def rest(self, seconds: float) -> None:
        """Let nothing go out for so long."""
        self._next_s = max(self._next_s, self._clock() + min(seconds, LONGEST_PAUSE_S))


class Link:
    """
    The connections to one channel's API, opened at the first request.

    It follows no redirect, keeps no cookie, reads no proxy from the environment, and never sends a request twice by
    itself: aiohttp would repeat GET and PUT on a dropped connection.
    """

    def __init__(
        self, *, headers: Mapping[str, str], timeout_s: float, pace: Pace, in_flight: int = _IN_FLIGHT
    ) -> None:
        self._headers = {"User-Agent": f"flashd/{__version__}", "Accept": "application/json", **headers}
        self._limit = in_flight
        self._timeout_s = timeout_s
        self._pace = pace
        self._session: aiohttp.ClientSession | None = None
        self.calls = 0

    async def ask(
        self,
        method: Method,
        url: URL,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        patience_s: float | None = None,
    ) -> Answer | Lost:
        """
        Wait for the channel's rate, send once, and return what came.

        429, and 503 with a Retry-After, let all that follows wait.
        What would wait longer than *patience_s* is not sent.
        """
        if not await self._pace.turn(patience_s):
            return Lost(reason="not sent: the channel asked for a pause, or its rate is used up", sent=False)
        self.calls += 1
        answer = await self._send(method, url, content, headers or {})
        if isinstance(answer, Answer) and (answer.status == 429 or (answer.status == 503 and answer.retry_after_s)):
            wait_s = answer.retry_after_s
            self._pace.rest(1.0 if wait_s is None else wait_s)
        return answer

    async def close(self) -> None:
        """Close the connections; fine to call twice. A later request opens them again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _send(self, method: Method, url: URL, content: bytes | None, headers: Mapping[str, str]) -> Answer | Lost:
        wire: dict[str, bool] = {}
        more = {"Content-Type": "application/json"} if content is not None else {}
        began = time.monotonic()
        try:
            async with self._open().request(
                method,
                url,
                data=content,
                headers={**more, **headers},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=self._timeout_s, connect=None, sock_connect=min(_CONNECT_S, self._timeout_s / 2)
                ),
                trace_request_ctx=wire,
            ) as response:
                body = await _read(response)
                if body is None:
                    return Lost(reason=f"HTTP {response.status} with more than {LARGEST_ANSWER} bytes", sent=True)
                return Answer(
                    status=response.status,
                    body=body,
                    headers={name.lower(): text for name, text in response.headers.items()},
                    elapsed_ms=math.ceil((time.monotonic() - began) * 1000),
                )
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RuntimeError) as error:
            return _lost(error, connected=bool(wire))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            trace.on_connection_reuseconn.append(_connected)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=_KEEP_ALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                trace_configs=[trace],
            )
            self._session._retry_connection = False  # noqa: SLF001  # no public switch; a test counts requests
        return self._session


async def _connected(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    context.trace_request_ctx["connected"] = True  # from here on a byte may have gone out


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    content = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        content += chunk
        if len(content) > LARGEST_ANSWER:
            response.close()
            return None
    return bytes(content)


def _lost(error: Exception, *, connected: bool) -> Lost:
    what = "timed out" if isinstance(error, asyncio.TimeoutError) else type(error).__name__
    if connected:
        return Lost(reason=f"{what} after the request may have gone out", sent=True)
    return Lost(reason=plain(f"no connection: {what}: {error}" if str(error) else f"no connection: {what}"), sent=False)


def heard(name: str, answer: Answer | Lost) -> Answer:
    """
    Return a complete answer, if the platform itself gave it.

    Raises:
        ChannelUnavailable: None came, or a cache answered in its place.
    """
    if isinstance(answer, Lost):
        raise ChannelUnavailable(f"channel {name}: {answer.reason}")
    if answer.headers.get("age", "0").strip() != "0":
        raise ChannelUnavailable(f"channel {name}: a cache answered in the platform's place; let its API pass it by")
    return answer


def told(name: str, at_ms: int | None) -> int:
    """
    Return an instant of the platform's clock, as one of an answer's properties has it.

    Raises:
        ChannelUnavailable: The answer does not tell the time.
    """
    if at_ms is None:
        raise ChannelUnavailable(f"channel {name}: the answer has no Date header, so its clock is not known")
    return at_ms


def write_code(answer: Answer | Lost) -> WriteCode:
    """
    Say what the way in which a write ended says by itself; APPLIED: it is for the body to prove it.

    Refused and throttled requests wrote nothing. A lost reply, and a server error, may have written. What speaks of the
    login or the address, and of no figure, is LATER: it holds for all figures alike, and ends for all at once.
    """
    if isinstance(answer, Lost):
        return WriteCode.UNKNOWN if answer.sent else WriteCode.LATER
    if 200 <= answer.status < 300:
        return WriteCode.APPLIED
    if answer.status == 429 or (answer.status == 503 and answer.retry_after_s is not None):
        return WriteCode.LATER
    if 300 <= answer.status < 400 or answer.status in _CLOSED:
        return WriteCode.LATER
    return WriteCode.REFUSED if 400 <= answer.status < 500 and answer.status != 408 else WriteCode.UNKNOWN


def checked_address(key: str, text: str, *, query: bool = False) -> URL:
    """
    Return an address to which a login may be sent.

    Args:
        key: Its full name in the configuration, for the message.
        text: What stands there.
        query: Whether it may have a query of its own.

    Raises:
        ConfigError: It is no address, has a login, query or fragment in it, or leads to another machine without TLS.
    """
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ConfigError(f"{key} = {text!r}: write an address with its scheme, such as https://shop.example.com")
    if url.user or url.password or url.fragment or (url.query_string and not query):
        what = "a login or a fragment" if query else "a login, a query or a fragment"
        raise ConfigError(f"{key}: {what} does not belong into it; write https://host/path")
    if url.scheme == "http" and not _is_here(url.host):
        raise ConfigError(f"{key} = {text!r}: the login would go over the wire as it is; write https://")
    return url


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
