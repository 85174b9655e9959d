"""
The connections to the server: redis-py's, through which no cancellation is lost, and that know the way.

redis-py bounds each write by ``asyncio.wait_for``, and before Python 3.12 that drops a cancellation which comes in the
same turn of the loop as the end of the write. Whoever was cancelled then goes on for ever, and a stop waits out its
bound.

A located connection asks where the primary is when it opens, and not again as long as it lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from redis.asyncio import Connection, SSLConnection
from redis.asyncio.connection import AbstractConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.store.address import Node
from flashd.store.refusals import AWAY
from flashd.store.way import Way


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


class LocatedLink(Heeding, Connection):
    """Over TCP, to where the primary is by *way*."""

    def __init__(self, *, way: Way, **options: Any) -> None:
        self._way = way
        self._node: Node | None = None
        self._is_left, self._turn = False, 0
        super().__init__(**options)

    async def connect(self) -> None:
        """Connect, unless it is connected to the primary of now: every command asks for this first."""
        if self.is_connected and (self._is_left or self._way.has_left(self._node, self._turn)):
            await self.disconnect(nowait=True)
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py left it untyped

    async def _connect(self) -> None:
        self._is_left, self._turn = False, self._way.turn
        self._node = node = await self._way.primary()
        self.host, self.port = node.host, node.port
        try:
            await super()._connect()  # type: ignore[no-untyped-call]  # as above
        except (OSError, TimeoutError):
            self._way.locator.doubt(self._way.slot, node)
            raise

    async def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  # redis-py's
        """Say who we are, and ask whether the server may be used."""
        await super().on_connect_check_health(check_health)
        if self._way.admission is None:
            return
        replies = []
        for question in self._way.admission.questions():
            await self.send_command(*question, check_health=False)
            replies.append(await self.read_response())
        if reason := self._way.admission.refuse(replies):
            refused = RedisConnectionError(f"{self._node} is refused: {reason}")
            self._way.tell(self._node, refused)
            raise refused

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """Read a reply; one that tells that the primary is elsewhere ends the connection when its command is done."""
        try:
            return await super().read_response(*args, **options)
        except (RedisConnectionError, RedisTimeoutError, *AWAY) as error:
            self._is_left = True
            self._way.tell(self._node, error)
            raise


class LocatedTlsLink(LocatedLink, SSLConnection):
    """As above, encrypted."""
