"""The client that the store speaks through: redis-py's, and a connection of our own for the scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.store.line import Command
from flashd.store.proof import Proof
from flashd.store.way import Way
from flashd.store.wire import Wire


class Client(Redis):
    """
    Scripts go over *wire*, where it is set: many at a time, and at a sixth of what redis-py's own path costs.

    In a Cluster each pool and each gate has a client of its own, bound to its slot: `at` hands them out, and the first
    client stands for them all. Elsewhere one client serves every key.

    *observe*, where it is set, is told the name of each script that ran and the seconds until its answer.
    """

    observe: Callable[[str, float], None] | None = None
    wire: Wire | None = None
    way: Way | None = None
    split: Callable[[int], Client] | None = None  # makes the client of one slot, in a Cluster

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bound: dict[int, Client] = {}
        self._prove: Callable[[str], Proof | None] = lambda _: None
        self._witness = ""

    def at(self, key: str) -> Client:
        """Return the client that serves *key* and all keys of its hash tag."""
        if self.split is None:
            return self
        slot = key_slot(key.encode())
        client = self._bound.get(slot)
        if client is None:
            client = self._bound[slot] = self.split(slot)
            client.observe = self.observe
            client.prove(self._prove, f"{key[: key.index('}')]}}}:witness")
        return client

    def all(self) -> tuple[Client, ...]:
        """Return every client there is, the first one first."""
        return (self, *self._bound.values())

    def prove(self, make: Callable[[str], Proof | None], witness: str = "") -> None:
        """Have every call of every client proven as *make* says for the key that its mark goes to."""
        self._prove, self._witness = make, witness or self._witness
        if self.wire is not None:
            self.wire.prove(make(self._witness) if self._witness else None)
        for client in self._bound.values():
            client.prove(make)

    async def settle(self) -> None:
        """Ask anew where the primary is, and leave connections that lead elsewhere. Raises Unlocated."""
        if self.way is not None:
            self.way.locator.doubt(None, None)
        for client in self.all():
            if client.way is not None and client.wire is not None:
                client.wire.leave(await client.way.primary())

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001  # redis-py's signature
        """Close every connection; what is in flight fails, and what has not closed in time is not waited for."""
        for client in self._bound.values():
            await client.aclose(close_connection_pool)
        if self.wire is not None:
            await self.wire.close()
        if self.way is not None:
            await self.way.locator.close()
        with contextlib.suppress(RedisTimeoutError):  # each was told to close; the others are closed
            await super().aclose(close_connection_pool)


def free_wire(client: Redis) -> Wire | None:
    """Return the connection that carries scripts, if *client* has one and a call could be written to it at once."""
    wire = wire_of(client)
    return wire if wire is not None and wire.is_free else None


def wire_of(client: Redis) -> Wire | None:
    """Return the connection that carries scripts, if *client* has one."""
    return client.wire if isinstance(client, Client) else None


def client_at(client: Redis, key: str) -> Redis:
    """Return the client that serves *key*: itself, unless it stands for those of a Cluster."""
    return client.at(key) if isinstance(client, Client) else client


async def ask(client: Redis, command: Command) -> Any:
    """Send a script's command by the best way that *client* has."""
    wire = wire_of(client)
    if wire is not None:
        return await wire.call(*command)
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py left it untyped
