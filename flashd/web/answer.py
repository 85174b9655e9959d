"""
What answers a request of the hot path: a status and a body, written as they are.

Orders, holds and webhooks are answered with such, whether they came by aiohttp's ordinary way or by the express way
(see `flashd.web.express`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

MEDIA = "application/json"


class Answer(msgspec.Struct, frozen=True):
    """A status and a body; *closes* where the connection must not be used again."""

    status: int
    body: bytes
    media: str = MEDIA
    headers: Mapping[str, str] = {}
    closes: bool = False

    def response(self) -> web.Response:
        """Return it for aiohttp to write."""
        found = web.Response(status=self.status, body=self.body, headers=self.headers, content_type=self.media)
        if self.closes:
            found.force_close()
        return found

    def text(self) -> bytes:
        """Return it as HTTP/1.1."""
        if self.media is MEDIA and not self.headers and not self.closes:
            head = _HEADS[self.status]
        else:
            head = _head(self.status, self.media, self.headers, closes=self.closes)
        return b"%b%d%b%b" % (head, len(self.body), _dates.line(), self.body)


def encode(status: int, body: Any) -> Answer:
    """Answer JSON."""
    return Answer(status, msgspec.json.encode(body))


def _head(status: int, media: str, headers: Mapping[str, str], *, closes: bool = False) -> bytes:
    """Return what stands before the length."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {media}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, *(["Connection: close"] if closes else []), "Content-Length: "]).encode()


_HEADS = {status.value: _head(status.value, MEDIA, {}) for status in HTTPStatus if status.value >= 200}


class _Dates:
    """The Date header, made anew once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = b""

    def line(self) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._line = f"\r\nDate: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
        return self._line


_dates = _Dates()
