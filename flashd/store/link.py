"""
The connections to the server: redis-py's, through which no cancellation is lost.

redis-py bounds each write by ``asyncio.wait_for``, and before Python 3.12 that drops a cancellation which comes in the
same turn of the loop as the end of the write. Whoever was cancelled then goes on for ever, and a stop waits out its
bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection


class Heeding(AbstractConnection):
    """Raises a cancellation that a write dropped; the reply is never read, so the connection goes with it."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's signature
        """Write *command*; a caller who was cancelled meanwhile hears of it."""
        task = asyncio.current_task()
        before = task.cancelling() if task is not None else 0
        await super().send_packed_command(command, check_health)
        if task is not None and task.cancelling() > before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class TcpLink(Heeding, Connection):
    """Over TCP."""


class TlsLink(Heeding, SSLConnection):
    """Over TCP, encrypted."""


class UnixLink(Heeding, UnixDomainSocketConnection):
    """Over a socket in the file system."""
