"""What every PriceBook keeps: a row gives way only to whoever knew it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.price import PriceRow, PriceState, Tag
from flashd.ports import PriceBook
from flashd.store.prices import RedisPriceBook
from tests.fakes.sales import FakePriceBook
from tests.servers import KINDS, Server, find_server, missing


@pytest.fixture(params=["fake", *KINDS])
async def book(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[PriceBook]:
    if request.param == "fake":
        yield FakePriceBook()
        return
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    if request.param not in servers:
        servers[request.param] = Server(request.param).start()
    client = Redis(unix_socket_path=servers[request.param].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield RedisPriceBook(client, "main")
    await client.aclose()


def row(sku: str = "TEE", sale: str = "friday") -> PriceRow:
    wish = Tag("9.90", "19.90")
    return PriceRow(
        sale=sale, sku=sku, state=PriceState.PUSHING, before=Tag("19.90"), wish=wish, ours=(wish,), reason="“so”"
    )


async def test_a_row_is_read_as_it_was_put(book: PriceBook) -> None:
    assert await book.change("shop", [(None, row()), (None, row("CAP"))]) == [True, True]
    assert await book.rows("shop") == [row("CAP"), row()]
    assert await book.rows("till") == []


async def test_a_pre_image_is_never_overwritten_by_whoever_does_not_know_it(book: PriceBook) -> None:
    await book.change("shop", [(None, row())])
    late = replace(row(), before=Tag("9.90"))
    assert await book.change("shop", [(None, late)]) == [False]
    assert await book.rows("shop") == [row()]


async def test_a_row_gives_way_to_whoever_knew_it(book: PriceBook) -> None:
    await book.change("shop", [(None, row())])
    pushed = replace(row(), state=PriceState.PUSHED)
    assert await book.change("shop", [(row(), pushed), (row("CAP"), row("CAP"))]) == [True, False]
    assert await book.change("shop", [(row(), replace(row(), state=PriceState.KEPT))]) == [False]
    assert await book.rows("shop") == [pushed]


async def test_a_change_whose_reply_was_lost_may_be_repeated(book: PriceBook) -> None:
    await book.change("shop", [(None, row())])
    assert await book.change("shop", [(None, row())]) == [True]


async def test_one_stale_row_stops_no_other(book: PriceBook) -> None:
    await book.change("shop", [(None, row())])
    assert await book.change("shop", [(None, replace(row(), reason="")), (None, row("CAP")), (None, row("HAT"))]) == [
        False,
        True,
        True,
    ]
    assert await book.change("shop", []) == []
