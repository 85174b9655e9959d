"""A Cluster of three primaries, with a replica each where asked for."""

from __future__ import annotations

import asyncio
import binascii
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.deployments.node import DURABLE, Node, holds
from tests.e2e.process import free_port

SLOTS = 16_384
NODE_TIMEOUT_MS = 1000


def slot_of(tag: str) -> int:
    """Return the slot of every key with the hash tag ``{tag}``."""
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


def _span(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


async def _info(node: Node) -> dict[str, str]:
    return dict(line.split(":", 1) for line in str(await node.call("CLUSTER", "INFO")).splitlines() if ":" in line)


class ClusterOfThree:
    """
    A deployment, ready when every node says that the Cluster is well.

    Args:
        kind: Of the servers, as in `tests.servers`.
        replicas: So many for each primary.
    """

    def __init__(self, kind: str, replicas: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fd-cluster-"))
        self._ids: dict[int, str] = {}  # by port
        self.nodes = [self._node(kind, n) for n in range(3 * (1 + replicas))]

    def _node(self, kind: str, number: int) -> Node:
        settings = DURABLE | {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-port": str(free_port()),  # the usual one, 10,000 above, may be somebody's
            "cluster-require-full-coverage": "no",  # a dead node takes its own slots away, not those of the others
            "cluster-replica-validity-factor": "0",
        }
        return Node(kind, self.folder / f"node-{number}", settings)

    @property
    def url(self) -> str:
        return f"cluster://{','.join(node.address for node in self.nodes[:3])}"

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(node.start() for node in self.nodes))
            await self._form()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for node in self.nodes:
            await node.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _form(self) -> None:
        first, *others = self.nodes
        edges = [SLOTS * n // 3 for n in range(4)]
        for number, node in enumerate(self.nodes):
            self._ids[node.port] = await node.call("CLUSTER", "MYID")
            await node.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                await node.call("CLUSTER", "ADDSLOTSRANGE", edges[number], edges[number + 1] - 1)
        for node in others:
            await first.call("CLUSTER", "MEET", "127.0.0.1", node.port, node.settings["cluster-port"])

        async def acquainted() -> bool:
            known = [(await _info(node))["cluster_known_nodes"] for node in self.nodes]
            return {int(count) for count in known} == {len(self.nodes)}

        await holds(acquainted, "every node knows of all")
        for number, node in enumerate(self.nodes[3:]):
            await node.call("CLUSTER", "REPLICATE", self._ids[self.nodes[number % 3].port])
        await self.well()

    async def well(self, within_s: float = 30) -> float:
        """Wait until every node that runs calls the Cluster well, and every replica is in step; return how long."""

        async def content() -> bool:
            for node in self.nodes:
                if not node.is_running:
                    continue
                told = await _info(node)
                link = (await node.info("replication")).get("master_link_status", "up")
                if (told["cluster_state"], link) != ("ok", "up") or int(told["cluster_slots_ok"]) != SLOTS:
                    return False
            return True

        return await holds(content, "the Cluster is well", within_s)

    async def node_of(self, tag: str) -> Node:
        """Return the primary that has the slot of the keys tagged *tag*."""
        return await self.owner(slot_of(tag))

    async def owner(self, slot: int) -> Node:
        """Return the primary that says it has *slot*; of several that say so, the one of the newest epoch."""
        found = {epoch: node for node in self.nodes if (epoch := await self._claims(node, slot)) is not None}
        return found[max(found)]

    async def _claims(self, node: Node, slot: int) -> int | None:
        """Return the epoch under which a node says that it has *slot*."""
        if not node.is_running:
            return None
        told = next(line for line in str(await node.call("CLUSTER", "NODES")).splitlines() if "myself" in line)
        _, _, flags, _, _, _, epoch, _, *spans = told.split()
        has = any(slot in _span(span) for span in spans if not span.startswith("["))
        return int(epoch) if has and "master" in flags else None

    async def elected(self, tag: str, dead: Node, within_s: float = 30) -> float:
        """Wait until another node than *dead* has the slot of *tag*; return how long."""

        async def taken() -> bool:
            owners = [await self._claims(node, slot_of(tag)) for node in self.nodes if node is not dead]
            return any(epoch is not None for epoch in owners)

        return await holds(taken, f"another node than {dead.address} has the keys of {tag}", within_s)

    async def move_slot(self, slot: int, to: Node, *, batch: int = 20, pause_s: float = 0.0) -> int:
        """
        Move *slot* and its keys by hand, as a resharding does; return how many went.

        Args:
            slot: Which.
            to: Its new primary.
            batch: So many keys at a time,
            pause_s: and so long a rest behind them, while half of the keys are here and half are there.
        """
        source = await self.owner(slot)
        if source is to:
            return 0
        await to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", self._ids[source.port])
        await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", self._ids[to.port])
        moved = 0
        while keys := await source.call("CLUSTER", "GETKEYSINSLOT", slot, batch):
            await source.call("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
            await asyncio.sleep(pause_s)
        for node in (to, source, *self.nodes):  # the new owner first: whoever asks is never sent in a circle
            if node.is_running and (await node.call("ROLE"))[0] == "master":
                await node.call("CLUSTER", "SETSLOT", slot, "NODE", self._ids[to.port])
        return moved
