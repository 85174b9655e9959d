"""A primary with replicas, and three Sentinels that look after it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from redis.exceptions import RedisError

from tests.deployments.node import DURABLE, Node, holds

SERVICE = "flashd"
DOWN_AFTER_MS = 600
FAILOVER_MS = 1500  # a Sentinel tries again after twice that


class SentinelTrio:
    """
    A deployment, ready when every replica has synced and every Sentinel knows of all.

    A replica that never synced may be elected where the primary dies in the first seconds: hence the wait.

    Args:
        kind: Of the servers, as in `tests.servers`.
        replicas: So many beside the primary.
    """

    def __init__(self, kind: str, replicas: int = 1) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fd-sentinel-"))
        self.servers = [Node(kind, self.folder / f"server-{n}", dict(DURABLE)) for n in range(1 + replicas)]
        for replica in self.servers[1:]:
            replica.settings["replicaof"] = self.servers[0].address.replace(":", " ")
        self.sentinels = [self._sentinel(kind, n) for n in range(3)]

    def _sentinel(self, kind: str, number: int) -> Node:
        node = Node(kind, self.folder / f"sentinel-{number}", arguments=("--sentinel",))
        node.settings = {
            f"sentinel monitor {SERVICE}": f"127.0.0.1 {self.servers[0].port} 2",
            f"sentinel down-after-milliseconds {SERVICE}": str(DOWN_AFTER_MS),
            f"sentinel failover-timeout {SERVICE}": str(FAILOVER_MS),
            f"sentinel parallel-syncs {SERVICE}": "1",
        }
        return node

    @property
    def url(self) -> str:
        return f"sentinel://{','.join(node.address for node in self.sentinels)}/{SERVICE}"

    async def __aenter__(self) -> Self:
        try:
            for server in self.servers:
                await server.start()
            await self.synced()
            for sentinel in self.sentinels:
                await sentinel.start()
            await holds(self._all_known, "every Sentinel knows of all servers and of its fellows")
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for node in (*self.sentinels, *self.servers):
            await node.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def primary(self) -> Node:
        """Return the server that most Sentinels hold for the primary."""
        told: list[int] = []
        for sentinel in self.sentinels:
            with suppress(RedisError):
                told.append(int((await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE))[1]))
        port = max(set(told), key=told.count)
        return next(server for server in self.servers if server.port == port)

    async def replicas(self) -> list[Node]:
        primary = await self.primary()
        return [server for server in self.servers if server is not primary]

    async def failed_over(self, dead: Node, within_s: float = 30) -> Node:
        """Wait until another server than *dead* is the primary for all Sentinels and knows it; return it."""

        async def elected() -> bool:
            told = {
                int((await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE))[1])
                for sentinel in self.sentinels
            }
            return (
                len(told) == 1 and dead.port not in told and (await (await self.primary()).call("ROLE"))[0] == "master"
            )

        await holds(elected, f"another primary than {dead.address}", within_s)
        return await self.primary()

    async def rejoined(self, server: Node, *, told: bool = True, within_s: float = 40) -> None:
        """
        Start *server* again and wait until it is a replica in step with the primary, and the Sentinels are content.

        Args:
            told: Tell it at once whom to follow; otherwise it comes back as the primary it was, until Sentinel
                notices after some ten seconds.
        """
        await server.start()
        for other in self.servers:
            if other.is_running:
                await other.call("CONFIG", "SET", "masteruser", "", "masterauth", "")
        if told:
            primary = await self.primary()
            await server.call("REPLICAOF", "127.0.0.1", primary.port)
            await server.call("CONFIG", "REWRITE")
        await self.synced(within_s)
        await holds(self._all_known, "the Sentinels are content", within_s)

    async def cut(self, replica: Node) -> None:
        """Cut the link of *replica* to the primary, which goes on alone; to become a primary mends it."""
        await replica.call("CONFIG", "SET", "masteruser", "nobody", "masterauth", "cut")
        primary = await self.primary()
        await primary.call("CLIENT", "KILL", "TYPE", "replica")

        async def down() -> bool:
            return bool((await replica.info("replication"))["master_link_status"] == "down")

        await holds(down, f"{replica.address} has lost its primary")

    async def synced(self, within_s: float = 30) -> None:
        """Wait until every replica that runs is linked to the primary and has all that it wrote."""
        running = [server for server in self.servers if server.is_running]

        async def linked() -> bool:
            infos = await asyncio.gather(*(server.info("replication") for server in running))
            primaries = [info for info in infos if info["role"] == "master"]
            others = [info for info in infos if info["role"] != "master"]
            return (
                len(primaries) == 1
                and primaries[0]["connected_slaves"] == len(others)
                and all(info["master_link_status"] == "up" for info in others)
                and all(not info["master_sync_in_progress"] for info in others)
            )

        await holds(linked, "every replica is linked to the one primary", within_s)

    async def _all_known(self) -> bool:
        """Say whether each Sentinel sees its two fellows, a healthy primary, and every other server as its replica."""
        for sentinel in self.sentinels:
            primary = await sentinel.call("SENTINEL", "MASTER", SERVICE)
            replicas = await sentinel.call("SENTINEL", "REPLICAS", SERVICE)
            told = primary if isinstance(primary, dict) else dict(zip(primary[::2], primary[1::2], strict=True))
            flags = [one["flags"] if isinstance(one, dict) else one[one.index("flags") + 1] for one in replicas]
            if told["flags"] != "master" or int(told["num-other-sentinels"]) != len(self.sentinels) - 1:
                return False
            if flags.count("slave") != len(self.servers) - 1:
                return False
        return True
