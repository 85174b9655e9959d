"""
When a request arrived, by the kernel's clock and not by the moment at which a busy process got round to it.

Forty requests evenly in a second leave 25 ms between two of them; on a loaded machine the simulated ERP may sleep
longer than that, and would then blame its caller for a crowd of its own making. Linux notes the arrival of the bytes
(socket(7), SO_TIMESTAMPNS; for TCP since 4.14); elsewhere the process' own clock has to do.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time

from flashd.demo.ledger import now_us

_STAMP = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS on Linux, x86 and arm; the socket module does not name it
_TIME = struct.Struct("@qq")
_SECOND_NS = 1_000_000_000
_LONGEST_US = 60_000_000  # further back than this is no delay but a clock that was set


class StampedSocket(socket.socket):
    """A TCP socket that remembers when the bytes it handed out last had arrived."""

    arrived_us = 0

    def accept(self) -> tuple[socket.socket, object]:
        """Accept a connection that remembers it too."""
        descriptor, address = self._accept()  # type: ignore[attr-defined]  # what socket.accept itself calls
        accepted = type(self)(self.family, self.type, self.proto, fileno=descriptor)
        if self.gettimeout() is not None:
            accepted.setblocking(True)
        return accepted, address

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Return what came, and remember when."""
        data, told, _, _ = self.recvmsg(size, socket.CMSG_SPACE(_TIME.size), flags)
        now = now_us()
        self.arrived_us = now
        for level, kind, stamp in told:
            if level == socket.SOL_SOCKET and kind == _STAMP and len(stamp) == _TIME.size:
                seconds, nanoseconds = _TIME.unpack(stamp)
                late_us = (time.time_ns() - seconds * _SECOND_NS - nanoseconds) // 1000
                self.arrived_us = now - late_us if 0 <= late_us < _LONGEST_US else now
        return data


def listen(port: int) -> socket.socket:
    """Listen on loopback; connections that are accepted there know when their bytes arrived."""
    listening = StampedSocket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":
            listening.setsockopt(socket.SOL_SOCKET, _STAMP, 1)  # accepted connections inherit it
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def arrived_us(transport: asyncio.BaseTransport | None) -> int:
    """Return when the last bytes on this connection arrived, in microseconds of the monotonic clock."""
    wrapped = None if transport is None else transport.get_extra_info("socket")
    return int(getattr(getattr(wrapped, "_sock", None), "arrived_us", 0)) or now_us()
