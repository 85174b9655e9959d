"""A hold lives as long as it was promised by the clock of the store; that of the daemon's host may be an hour off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.order import Line
from flashd.domain.reservation import HoldCode, HoldRequest
from flashd.domain.stock import StockLevel
from flashd.store.ledger import RedisLedger
from tests.faketime import shifted
from tests.servers import Server


@pytest.fixture(params=["+3600", "-3600"])
def off_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = shifted("valkey", request.param)
    yield server
    server.close()


@pytest.fixture
async def ledger(off_server: Server) -> AsyncIterator[RedisLedger]:
    client = Redis(unix_socket_path=off_server.socket_path, retry=Retry(NoBackoff(), 0))
    ledger = RedisLedger(client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=1))
    yield ledger
    await client.aclose()


async def hold(ledger: RedisLedger, name: str, ttl_ms: int) -> HoldCode:
    request = HoldRequest(id=name, lines=(Line("tee", 1),), ttl_ms=ttl_ms, digest=name)
    return (await ledger.hold([request]))[0].code


async def test_the_last_unit_is_one_buyer_s_for_as_long_as_he_was_promised_and_no_longer(ledger: RedisLedger) -> None:
    assert await hold(ledger, "ann", 400) is HoldCode.HELD
    assert await hold(ledger, "bob", 400) is HoldCode.SHORT, "the last unit is held twice"
    await asyncio.sleep(0.6)
    assert await hold(ledger, "bob", 60_000) is HoldCode.HELD, "held beyond its time"
