"""The client that the store speaks through: redis-py's, and a connection of our own for the scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from flashd.store.wire import Command, Wire


class Client(Redis):
    """
    Scripts go over *wire*, where it is set: many at a time, and at a sixth of what redis-py's own path costs.

    *observe*, where it is set, is told the name of each script that ran and the seconds until its answer.
    """

    observe: Callable[[str, float], None] | None = None
    wire: Wire | None = None

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001  # redis-py's signature
        """Close every connection; what is in flight fails."""
        if self.wire is not None:
            await self.wire.close()
        await super().aclose(close_connection_pool)


def wire_of(client: Redis) -> Wire | None:
    """Return the connection that carries scripts, if *client* has one."""
    return client.wire if isinstance(client, Client) else None


async def ask(client: Redis, command: Command) -> Any:
    """Send a script's command by the best way that *client* has."""
    wire = wire_of(client)
    if wire is not None:
        return await wire.call(*command)
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py left it untyped
