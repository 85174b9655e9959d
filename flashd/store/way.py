"""The way to the primary of one slot: what a connection asks before it opens, and tells when it ends."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from redis.exceptions import MovedError, RedisError

from flashd.store.address import Node
from flashd.store.admission import Primacy
from flashd.store.locator import Locator
from flashd.store.refusals import AWAY


class Way:
    """
    One for each client.

    Args:
        locator: Who knows where the primary is.
        slot: Of the keys that go this way; None where any server serves, or one has all.
        encrypt: Makes what proves a server's certificate, where connections are encrypted.
        admission: What the server must answer first.
    """

    def __init__(
        self,
        locator: Locator,
        slot: int | None = None,
        *,
        encrypt: Callable[[], ssl.SSLContext] | None = None,
        admission: Primacy | None = None,
    ) -> None:
        self.locator = locator
        self.slot = slot
        self.admission = admission
        self.turn = 0  # how often a server said that it is not the primary: connections of an earlier turn are left
        self._encrypt = encrypt

    async def dial(self, protocol: Callable[[], asyncio.BaseProtocol]) -> Node:
        """Connect *protocol* to the primary; return which server that is. Raises Unlocated, or what asyncio does."""
        node = await self.primary()
        try:
            await dial(node, protocol, self._encrypt() if self._encrypt is not None else None)
        except (OSError, RuntimeError):
            self.locator.doubt(self.slot, node)
            raise
        return node

    async def primary(self) -> Node:
        """Return where the primary is. Raises Unlocated."""
        return await self.locator.primary(self.slot)

    def has_left(self, node: Node | None, turn: int) -> bool:
        """Say whether the primary is known to be elsewhere than *node*, which it was in that turn, or may be."""
        return turn != self.turn or self.locator.known(self.slot) not in (None, node)

    def tell(self, node: Node | None, error: RedisError) -> None:
        """Learn from what became of a connection to *node*."""
        self.turn += isinstance(error, AWAY)
        if isinstance(error, MovedError):
            host = str(error.host) or (node.host if node is not None else "")
            self.locator.note(error.slot_id, Node(host.strip("[]"), error.port))
        else:
            self.locator.doubt(self.slot, node)


async def dial(
    node: Node, protocol: Callable[[], asyncio.BaseProtocol], encrypted: ssl.SSLContext | None = None
) -> None:
    """Connect *protocol*, as redis-py connects its own."""
    loop = asyncio.get_running_loop()
    if node.path:
        await loop.create_unix_connection(protocol, node.path)
        return
    transport, _ = await loop.create_connection(protocol, node.host, node.port, ssl=encrypted)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
