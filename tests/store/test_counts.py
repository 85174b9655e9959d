"""When SKUs were last counted, as counting itself noted it."""

from __future__ import annotations

from redis.asyncio import Redis

from flashd.domain.count import Count, CountKind
from flashd.store.counts import RedisCounts
from flashd.store.stockroom import RedisStockroom


async def test_of_several_locations_the_oldest_count_speaks(client: Redis) -> None:
    seconds, _ = await client.time()
    now_ms = int(seconds) * 1000
    counts = [
        Count(sku="TEE", location="main", quantity=5, kind=CountKind.AVAILABLE, as_of_ms=now_ms - 60_000),
        Count(sku="TEE", location="attic", quantity=5, kind=CountKind.PHYSICAL, as_of_ms=now_ms - 90_000, source="wms"),
        Count(sku="CAP", quantity=5, kind=CountKind.AVAILABLE, as_of_ms=now_ms - 30_000),
    ]
    await RedisStockroom(client, "main").count(counts, by="ann")
    book = RedisCounts(client, "main")
    assert await book.counted(["TEE", "HAT"]) == {"TEE": now_ms - 90_000}
    assert await book.counted(["TEE", "CAP"]) == {"TEE": now_ms - 90_000, "CAP": now_ms - 30_000}
