from __future__ import annotations

from typing import Any

import pytest

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import Begin, Ended, Outcome, WriteMode
from flashd.domain.stock import StockLevel
from flashd.store.audit import audit
from flashd.store.ledger import RedisLedger
from flashd.store.listings import RedisListings

T = 1_790_000_000_000
SHELF = "fd:{main}:exp:shop"


@pytest.fixture
async def listings(client: Any) -> RedisListings:
    """Ten tees and mugs each; a channel was granted three tees and two sets of one mug and two tees."""
    ledger, listings = RedisLedger(client, "main"), RedisListings(client, "main")
    for sku in ("tee", "mug"):
        await ledger.recount(StockLevel(sku=sku, on_hand=10))
    await listings.put_kits([Kit("set", (Component("tee", 2), Component("mug", 1)))], by="ann")
    for sku, units in (("tee", 3), ("set", 2)):
        [known] = await listings.get("shop", [sku])
        await listings.observe("shop", known, 0, at_ms=T)
        await listings.settle("shop", seen_ms=T + 1)
        wanted = Begin(sku=sku, units=units, mode=WriteMode.COMPARE, key="k", was=0, backed=True)
        await listings.begin("shop", [wanted])
        await listings.end("shop", [Ended(sku=sku, key="k", outcome=Outcome.APPLIED)])
    return listings


async def told(client: Any) -> list[str]:
    return [difference.what for difference in (await audit(client, "main")).differences]


async def test_backed_listings_and_the_counter_add_up(client: Any, listings: RedisListings) -> None:
    assert await told(client) == []
    assert [level.exposed for level in await RedisLedger(client, "main").levels(["tee", "mug"])] == [2, 7]


async def test_a_row_that_was_changed_by_hand_is_found(client: Any, listings: RedisListings) -> None:
    packed = (await client.hget(SHELF, "tee")).decode()
    await client.hset(SHELF, "tee", packed.replace("1 3 3 ", "1 4 3 "))
    assert await told(client) == ["exposed is not the sum of the backed listings"]


async def test_a_row_that_is_lost_is_found(client: Any, listings: RedisListings) -> None:
    await client.hdel(SHELF, "set")
    assert await told(client) == ["exposed is not the sum of the backed listings"] * 2


async def test_a_row_that_is_damaged_is_found(client: Any, listings: RedisListings) -> None:
    await client.hset(SHELF, "tee", "1 3")
    assert "listing damaged" in await told(client)


async def test_a_human_s_edit_beyond_what_is_free_is_a_deficit_and_no_difference(
    client: Any, listings: RedisListings
) -> None:
    [known] = await listings.get("shop", ["tee"])
    await listings.observe("shop", known, 9, at_ms=T + 5)
    await listings.settle("shop", seen_ms=T + 6)
    report = await audit(client, "main")
    assert (report.differences, report.oversold, report.deficits) == ((), 0, ("tee at main: 3",))


async def test_a_grant_of_what_is_not_free_is_found(client: Any, listings: RedisListings) -> None:
    await client.xadd("fd:{main}:j", {"k": "stock.granted", "d": '"moves":[["tee","main",0,0,0,9,0]]'})
    assert "more was promised than there was" in await told(client)
