"""When SKUs were last counted, of one pool."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from redis.asyncio import Redis

from flashd.store.faults import store_faults
from flashd.store.keys import pool_key

_PART = "\x1f"


class RedisCounts:
    """Reads the HASH that counting writes."""

    def __init__(self, client: Redis, pool: str) -> None:
        self._client: Any = client
        self._counts = pool_key(pool, "counts")

    async def counted(self, skus: Collection[str]) -> dict[str, int]:
        """Return for each SKU when it was last counted, ms: at the location where that is longest ago."""
        with store_faults("counts"):
            kept = await self._client.hgetall(self._counts)
        found: dict[str, int] = {}
        for place, value in kept.items():
            sku = place.decode().partition(_PART)[0]
            at_ms = int(value.split(b" ")[1])
            if sku in skus:
                found[sku] = min(found.get(sku, at_ms), at_ms)
        return found
