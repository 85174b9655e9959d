"""What every Sales does with a document, its versions and a human's word."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.publication import Threshold
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.errors import Conflict, NotFound
from flashd.ports import Sales
from flashd.store.sales import RedisSales
from tests.fakes.sales import FakeSales
from tests.servers import KINDS, Server, find_server, missing

START = datetime(2026, 11, 27, 8, tzinfo=UTC)


def sale(name: str = "friday", *skus: str, hours: int = 0, limit: int = 0) -> Sale:
    start = START + timedelta(hours=hours)
    products = tuple(SaleProduct(sku=sku, quota=100, limit=limit) for sku in skus or ("TEE",))
    return Sale(name=name, start=start, end=start + timedelta(hours=1), products=products)


@pytest.fixture(params=["fake", *KINDS])
async def sales(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Sales]:
    if request.param == "fake":
        yield FakeSales(now_ms=lambda: 1_790_000_000_000)
        return
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    if request.param not in servers:
        servers[request.param] = Server(request.param).start()
    client = Redis(unix_socket_path=servers[request.param].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield RedisSales(client, "main")
    await client.aclose()


async def test_a_sale_is_read_as_it_was_written(sales: Sales) -> None:
    written = Sale(
        name="friday",
        title="Black “Friday”",
        start=START,
        end=START + timedelta(hours=1),
        products=(SaleProduct(sku="TEE", quota=5, limit=2, price="9.90", threshold=Threshold(buffer=1)),),
        channels=("shop", "till"),
        limit=3,
        outside="open",
    )
    record = await sales.put(written, by="ann")
    assert (record.sale, record.version, record.state, record.by) == (written, 1, SaleState.READY, "ann")
    assert await sales.get("friday") == record
    assert await sales.all() == [record]


async def test_the_same_document_again_changes_nothing(sales: Sales) -> None:
    first = await sales.put(sale(), by="ann")
    assert await sales.put(sale(), by="bob") == first


async def test_every_change_is_a_version_and_every_version_is_kept(sales: Sales) -> None:
    await sales.put(sale(), by="ann")
    second = await sales.put(sale(limit=2), by="bob", version=1)
    assert second.version == 2
    kept = await sales.get("friday", version=1)
    assert kept is not None
    assert kept.sale == sale()
    assert await sales.get("friday", version=3) is None


async def test_a_version_that_is_not_the_newest_replaces_nothing(sales: Sales) -> None:
    await sales.put(sale(), by="ann")
    await sales.put(sale(limit=2), by="bob")
    with pytest.raises(Conflict) as caught:
        await sales.put(sale(limit=3), by="ann", version=1)
    assert caught.value.extra["version"] == 2
    found = await sales.get("friday")
    assert found is not None
    assert found.sale == sale(limit=2)


async def test_two_sales_of_one_sku_never_overlap(sales: Sales) -> None:
    await sales.put(sale("friday", "TEE"), by="ann")
    with pytest.raises(Conflict) as caught:
        await sales.put(sale("monday", "CAP", "TEE"), by="ann")
    assert caught.value.extra["sale"] == "friday"
    assert await sales.get("monday") is None
    await sales.put(sale("monday", "CAP"), by="ann")
    await sales.put(sale("later", "TEE", hours=1), by="ann")  # half open: it begins as the other ends


async def test_a_sku_that_a_new_version_leaves_out_is_free_for_another_sale(sales: Sales) -> None:
    await sales.put(sale("friday", "TEE", "CAP"), by="ann")
    await sales.put(sale("friday", "CAP"), by="ann")
    await sales.put(sale("monday", "TEE"), by="ann")


async def test_a_sale_is_stopped_and_goes_on_and_a_new_version_leaves_it_stopped(sales: Sales) -> None:
    await sales.put(sale(), by="ann")
    assert (await sales.set_state("friday", SaleState.STOPPED, by="bob")).state is SaleState.STOPPED
    changed = await sales.put(sale(limit=2), by="ann")
    assert (changed.state, changed.version) == (SaleState.STOPPED, 2)
    assert (await sales.set_state("friday", SaleState.READY, by="bob")).state is SaleState.READY


async def test_an_ended_sale_stays_ended_and_its_skus_are_free(sales: Sales) -> None:
    await sales.put(sale(), by="ann")
    ended = await sales.set_state("friday", SaleState.ENDED, by="bob")
    assert await sales.set_state("friday", SaleState.ENDED, by="bob") == ended
    with pytest.raises(Conflict):
        await sales.set_state("friday", SaleState.READY, by="bob")
    with pytest.raises(Conflict):
        await sales.put(sale(limit=9), by="bob")
    await sales.put(sale("again", "TEE"), by="bob")


async def test_a_sale_that_is_not_there_cannot_be_stopped(sales: Sales) -> None:
    with pytest.raises(NotFound):
        await sales.set_state("nothing", SaleState.STOPPED, by="bob")


async def test_nothing_is_used_before_anything_is_held(sales: Sales) -> None:
    await sales.put(sale("friday", "TEE", "CAP"), by="ann")
    assert await sales.used("friday") == {"TEE": 0, "CAP": 0}
    assert await sales.used("nothing") == {}


def window(name: str, start_ms: int, end_ms: int) -> Sale:
    start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (start_ms, end_ms))
    return Sale(name=name, start=start, end=end, products=(SaleProduct(sku=f"TEE-{name}"),))


async def test_the_versions_of_a_sale_are_told_newest_first(sales: Sales) -> None:
    await sales.put(sale(), by="ann")
    await sales.put(sale(limit=2), by="bob")
    await sales.put(sale(limit=3), by="cyd")
    assert [one.version for one in await sales.history("friday")] == [3, 2, 1]
    assert [one.by for one in await sales.history("friday", limit=1)] == ["cyd"]
    assert await sales.history("monday") == []


async def test_a_boundary_is_said_once_and_not_before_its_time(sales: Sales) -> None:
    now_ms = await sales.clock_ms()
    running = await sales.put(window("running", now_ms - 1000, now_ms + 60_000), by="ann")
    assert [await sales.boundary(running, "opened") for _ in range(2)] == [True, False]
    assert not await sales.boundary(running, "over")
    past = await sales.put(window("past", now_ms - 2000, now_ms - 1000), by="ann")
    assert not await sales.boundary(past, "opened")
    assert [await sales.boundary(past, "over") for _ in range(2)] == [True, False]
    coming = await sales.put(window("coming", now_ms + 60_000, now_ms + 90_000), by="ann")
    assert not await sales.boundary(coming, "opened")


async def test_a_boundary_of_a_version_that_is_not_the_newest_or_of_an_ended_sale_is_not_said(sales: Sales) -> None:
    now_ms = await sales.clock_ms()
    first = await sales.put(window("friday", now_ms - 1000, now_ms + 60_000), by="ann")
    second = await sales.put(window("friday", now_ms - 2000, now_ms + 60_000), by="ann")
    assert not await sales.boundary(first, "opened")
    await sales.set_state("friday", SaleState.ENDED, by="ann")
    assert not await sales.boundary(second, "opened")


async def test_a_window_that_was_moved_opens_again(sales: Sales) -> None:
    now_ms = await sales.clock_ms()
    first = await sales.put(window("friday", now_ms - 1000, now_ms + 60_000), by="ann")
    assert await sales.boundary(first, "opened")
    longer = await sales.put(window("friday", now_ms - 1000, now_ms + 90_000), by="ann")
    assert not await sales.boundary(longer, "opened")
    moved = await sales.put(window("friday", now_ms - 500, now_ms + 90_000), by="ann")
    assert await sales.boundary(moved, "opened")
