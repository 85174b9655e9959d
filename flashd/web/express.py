"""
The express way: a POST that is whole when it arrives goes straight to its handler.

aiohttp's parser takes 11 us where httptools takes 3 (llhttp, both), and what aiohttp makes of a request around it takes
40 of a small one's 63 us (task, routes, response). Whatever is not as plain as this goes to aiohttp as it came: a body
that is on its way, another path, HTTP/1.0, two requests in one packet, a connection that is to close.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping

import httptools
import msgspec
from aiohttp import web

from flashd.web.answer import Answer
from flashd.web.crowd import Crowd
from flashd.web.limits import Budget
from flashd.web.problem import Broken, find

_PLAIN = re.compile(rb"[\w.~-]{1,64}", re.ASCII)  # a segment that no router would read in another way
_LINE = re.compile(rb"POST ([^ ]+) HTTP/1\.1")
_LONGEST = 256  # of request lines that are looked at
_STAYS = "keep-alive"
# With one of these there is more to a request than its body, or the body is not what it says.
_NOT_PLAIN = frozenset({"transfer-encoding", "content-encoding", "expect", "upgrade"})


def _unheard(_error: Exception) -> None:
    return None


class Hot(msgspec.Struct, frozen=True):
    """What takes the POSTs of one path."""

    path: str  # the route's, for the log
    crowd: Crowd  # which they join
    limit: int  # of a body, in bytes
    name: str = ""  # by which the crowd tells them from others'
    refused: Callable[[Exception], None] = _unheard  # told of a body that is over a limit, and so is never taken


class Whole(msgspec.Struct):
    """A request that is all there."""

    hot: Hot
    headers: Mapping[str, str]  # by lower-case names; of a name that stands twice, the first
    body: bytes


class Express:
    """
    Which paths go express, and what takes their requests.

    Args:
        hots: What takes a POST, each by its own path.
        below: A path's beginning, and what takes each name behind it, known or not: a stranger must not learn which are
            by the way their answers take.
        budget: Of all bodies in flight.
        broken: Told of an invariant that does not hold.
    """

    def __init__(
        self, hots: list[Hot], below: tuple[str, Callable[[str], Hot]], budget: Budget, broken: Broken | None
    ) -> None:
        self.budget = budget
        self._hots = {hot.path.encode(): hot for hot in hots}
        self._beginning, self._for_name = below[0].encode(), below[1]
        self._broken = broken
        self.find = functools.lru_cache(512)(self._find)  # strangers may ask for any name

    def _find(self, line: bytes) -> Hot | None:
        """Return what takes the POSTs of a request line, or None where they go the ordinary way."""
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        path = found[1]
        name = path.removeprefix(self._beginning)
        if path.startswith(self._beginning) and _PLAIN.fullmatch(name):
            return self._for_name(name.decode())
        return self._hots.get(path)

    def problem(self, error: BaseException, hot: Hot) -> Answer:
        """Return the answer that an error stands for; a bug is logged. Raises what stands for none."""
        return find(error, "POST", hot.path, self._broken).answer()


EXPRESS: web.AppKey[Express] = web.AppKey("express", Express)


@functools.lru_cache(256)  # strangers may send any
def _lower(name: bytes) -> str:
    return name.lower().decode("latin-1")


class Lane:
    """
    The express way of one connection, for as long as its requests are plain.

    Args:
        express: Where to.
        head_bytes: How long request line and headers may be together.
    """

    def __init__(self, express: Express, head_bytes: int) -> None:
        self.express = express
        self._head_bytes = head_bytes
        self._heads: dict[bytes, bytes] = {}
        self.on_header = self._heads.setdefault  # httptools calls it, and no frame of Python is made for a header
        self._parser = httptools.HttpRequestParser(self)

    def read(self, data: bytes) -> Whole | None:
        """Return the request that *data* is, or None where it is not one plain request; then the lane has ended."""
        end, line = data.find(b"\r\n\r\n", 0, self._head_bytes), data.find(b"\r\n")
        if end < 0 or line > _LONGEST:
            return None
        hot = self.express.find(data[:line])
        if hot is None:
            return None
        self._heads.clear()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        headers, body = _headers_of(self._heads), data[end + 4 :]
        if headers.get("content-length", "0") != str(len(body)) or not headers.keys().isdisjoint(_NOT_PLAIN):
            return None
        if headers.get("connection", _STAYS).lower() != _STAYS:
            return None
        return Whole(hot, headers, body)


def _headers_of(heads: dict[bytes, bytes]) -> dict[str, str]:
    """Return headers by lower-case names; of those that differ by their case only, the first."""
    pairs = reversed(heads.items())
    try:
        return {_lower(name): value.decode() for name, value in pairs}
    except UnicodeDecodeError:  # bytes that are not UTF-8 become surrogates, as aiohttp has it
        pairs = reversed(heads.items())
        return {_lower(name): value.decode("utf-8", "surrogateescape") for name, value in pairs}
