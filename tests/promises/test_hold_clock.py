"""A hold lives as long as it was promised by the clock of the store; that of the daemon's host may be an hour off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.order import Line
from flashd.domain.reservation import HoldCode, HoldRequest
from flashd.domain.stock import StockLevel
from flashd.store.ledger import RedisLedger
from tests.faketime import Turned, turn, turned


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Turned]:
    server = turned("valkey", tmp_path / "clock")
    yield server
    server.close()


@pytest.fixture
async def client(server: Turned) -> AsyncIterator[Redis]:
    client = Redis(unix_socket_path=server.socket_path, retry=Retry(NoBackoff(), 0))
    yield client
    await client.aclose()


async def hold(ledger: RedisLedger, name: str, ttl_ms: int) -> HoldCode:
    request = HoldRequest(id=name, lines=(Line("tee", 1),), ttl_ms=ttl_ms, digest=name)
    return (await ledger.hold([request]))[0].code


@pytest.mark.parametrize("off_s", [3600, -3600])
async def test_the_last_unit_is_one_buyer_s_for_as_long_as_he_was_promised_and_no_longer(
    server: Turned, client: Redis, off_s: int
) -> None:
    await turn(server, client, off_s)
    ledger = RedisLedger(client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=1))
    assert await hold(ledger, "ann", 120_000) is HoldCode.HELD
    assert await hold(ledger, "bob", 120_000) is HoldCode.SHORT, "the last unit is held twice"
    await turn(server, client, off_s + 121)
    assert await hold(ledger, "bob", 60_000) is HoldCode.HELD, "held beyond its time"
