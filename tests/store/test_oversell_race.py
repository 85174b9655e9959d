"""Two hundred buyers at once, a hundred units: exactly a hundred are sold."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.order import OrderState
from flashd.domain.reservation import HoldCode
from tests.conformance.ledgers import BACKEND, level, make_hold, make_incoming, real_bench, stock
from tests.servers import Server


@pytest.mark.parametrize("with_hold", [True, False], ids=["hold, then buy", "a platform's orders"])
async def test_two_hundred_buyers_get_a_hundred_units(server: Server, client: Redis, *, with_hold: bool) -> None:
    pool = BlockingConnectionPool.from_url(server.url, max_connections=32, retry=Retry(NoBackoff(), 0))
    crowd = Redis(connection_pool=pool)
    bench = real_bench(crowd)
    await stock(bench, 100)

    async def buy(number: int) -> HoldCode | OrderState:
        if with_hold:
            [held] = await bench.ledger.hold([make_hold(f"h{number}", tee=1)])
            if held.code is not HoldCode.HELD:
                return held.code
        incoming = make_incoming(str(number), tee=1, hold_id=f"h{number}")
        [accepted] = await bench.ledger.accept([incoming], [BACKEND], since_ms=0)
        return accepted.state

    outcome = Counter(await asyncio.gather(*(buy(number) for number in range(200))))
    refused = HoldCode.SHORT if with_hold else OrderState.SHORTFALL
    assert outcome == {OrderState.QUEUED: 100, refused: 100}
    after = await level(bench)
    assert (after.sold, after.held, after.atp) == (100, 0, 0)
    assert sum(move.sold for _, moves in await real_bench(client).journal() for move in moves) == 100
    await crowd.aclose()
    await pool.aclose()
