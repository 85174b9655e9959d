"""
A small answer that is ready: head and body leave in one write, without aiohttp's header maps.

It costs a third of a `web.Response`; on the hot path an order's whole Python time is about what three of those cost.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

MEDIA = "application/json"


def _heads(connection: bytes) -> dict[int, bytes]:
    """Return what stands before the length, by status; each listed status has a body."""
    return {
        status.value: (
            f"{status.value} {status.phrase}\r\nContent-Type: {MEDIA}\r\n".encode() + connection + b"Content-Length: "
        )
        for status in HTTPStatus
        if status.value >= 200 and status not in {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, 304}
    }


_STAYS, _CLOSES, _STAYS_10 = _heads(b""), _heads(b"Connection: close\r\n"), _heads(b"Connection: keep-alive\r\n")


class _Clock:
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


_clock = _Clock()


class Answer(web.StreamResponse):
    """A JSON body under a status, in answer to a POST; everything else is a `web.Response`."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status=status)
        self.body = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Take note of whom it answers; nothing is written before the end."""
        self._req = request
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        return self._payload_writer

    async def write_eof(self, data: bytes = b"") -> None:  # noqa: ARG002  # aiohttp's signature
        """
        Write all of it.

        Raises:
            ConnectionResetError: The client went away.
        """
        request = self._req
        if request is None:  # it was written
            return
        self._req, self._eof_sent = None, True
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went away before its answer")
        version, body = request.version, self.body
        if version >= HttpVersion11:
            head = b"HTTP/1.1 " + (_STAYS if self._keep_alive else _CLOSES)[self._status]
        else:
            head = b"HTTP/1.0 " + (_STAYS_10 if self._keep_alive else _CLOSES)[self._status]
        transport.write(b"%b%d%b%b" % (head, len(body), _clock.line(), body))
        if request.protocol.writing_paused:  # a client that reads slowly: as aiohttp waits, so that a limit is one
            await request.writer.drain()


def encode(status: int, body: Any) -> Answer:
    """Answer JSON."""
    return Answer(status, msgspec.json.encode(body))
