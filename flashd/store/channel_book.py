"""How far one channel's orders were polled and how many revisions its listings used, behind the port `ChannelBook`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from flashd.domain.revision import Revisions
from flashd.ports import PollMark
from flashd.store.faults import store_faults
from flashd.store.keys import pool_key


class RedisChannelBook:
    """Two HASHes a channel. Only the channel's leader writes; a former one that is late can only count too much."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client = client

    async def mark(self, channel: str) -> PollMark:
        """Return how far the channel's orders were seen."""
        with store_faults("poll mark"):
            seen, polled = await self._client.hmget(self._poll(channel), ["seen_ms", "polled_ms"])
        return PollMark(seen_ms=int(seen or 0), polled_ms=int(polled or 0))

    async def advance(self, channel: str, mark: PollMark) -> None:
        """Note how far they were seen; a mark that is behind the known one changes nothing."""
        known = await self.mark(channel)
        if mark.seen_ms < known.seen_ms:
            return
        with store_faults("poll mark"):
            await self._client.hset(self._poll(channel), mapping={"seen_ms": mark.seen_ms, "polled_ms": mark.polled_ms})

    async def revisions(self, channel: str, skus: Sequence[str]) -> dict[str, Revisions]:
        """Return what each listing has used of its budget."""
        if not skus:
            return {}
        with store_faults("revisions"):
            found: Sequence[Any] = await self._client.hmget(self._revisions(channel), list(skus))
        return {sku: Revisions.unpacked(text.decode() if text else "") for sku, text in zip(skus, found, strict=True)}

    async def revise(self, channel: str, revisions: Mapping[str, Revisions]) -> None:
        """Note what each listing has used, before the write that uses it."""
        if not revisions:
            return
        packed: dict[Any, Any] = {sku: used.packed() for sku, used in revisions.items()}
        with store_faults("revisions"):
            await self._client.hset(self._revisions(channel), mapping=packed)

    def _poll(self, channel: str) -> str:
        return pool_key(self.pool, f"poll:{channel}")

    def _revisions(self, channel: str) -> str:
        return pool_key(self.pool, f"rev:{channel}")
