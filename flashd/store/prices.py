"""What is kept of the prices that sales push to channels, in Redis, behind the port `PriceBook`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.price import PriceRow
from flashd.store.faults import store_faults
from flashd.store.keys import pool_key
from flashd.store.scripts import load

_ROW = msgspec.json.Decoder(PriceRow)
_PART = "\x1f"


class RedisPriceBook:
    """One HASH a channel; a row is written only over the one that its writer knew."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client: Any = client

    async def rows(self, channel: str) -> list[PriceRow]:
        """Return what is kept of a channel's prices, by sale and SKU."""
        with store_faults("prices"):
            found = await self._client.hvals(pool_key(self.pool, f"price:{channel}"))
        return sorted((_ROW.decode(packed) for packed in found), key=lambda row: (row.sale, row.sku))

    async def change(self, channel: str, changes: Sequence[tuple[PriceRow | None, PriceRow]]) -> list[bool]:
        """Put each new row in place of the one that must still be there; durable when this returns."""
        if not changes:
            return []
        args: list[str | bytes | int] = []
        for before, after in changes:
            args += [f"{after.sale}{_PART}{after.sku}", b"" if before is None else _packed(before), _packed(after)]
        with store_faults("put_prices"):
            codes = await load("put_prices").call(self._client, [pool_key(self.pool, f"price:{channel}")], args)
        return [code == b"put" for code in codes]


def _packed(row: PriceRow) -> bytes:
    return msgspec.json.encode(row, order="deterministic")
