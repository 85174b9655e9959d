"""A page of orders, read while they move from index to index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

from flashd.domain.delivery import Result, ResultKind
from flashd.domain.order import Kind
from flashd.domain.stock import StockLevel
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from tests.conformance.ledgers import make_incoming

Step = Callable[[], Awaitable[object]]


def between_reads(client: Redis, step: Step, monkeypatch: Any) -> None:
    """Let *step* happen once, right after the queue was read, however it is asked for."""
    left = [step]

    async def moved(answer: Any) -> Any:
        if left:
            await left.pop()()
        return answer

    zrange, pipeline = client.zrange, client.pipeline

    async def one(key: str, *args: Any, **options: Any) -> Any:
        answer = await zrange(key, *args, **options)
        return await moved(answer) if key.endswith("q:erp") else answer

    def many(*, transaction: bool) -> Any:
        pipe = pipeline(transaction=transaction)
        if not transaction:
            return pipe
        execute = pipe.execute

        async def run() -> Any:
            return await moved(await execute())

        pipe.execute = run  # type: ignore[method-assign,assignment]  # this one alone
        return pipe

    monkeypatch.setattr(client, "zrange", one)
    monkeypatch.setattr(client, "pipeline", many)


async def test_an_order_that_moves_while_a_page_is_read_stands_in_it_once(client: Redis, monkeypatch: Any) -> None:
    ledger = RedisLedger(client, "main", kinds={"erp": [Kind.CREATE]})
    outbox, book = RedisOutbox(client, "main", "erp"), RedisOrderBook(client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=100))
    names = [str(number) for number in range(6)]
    await ledger.accept([make_incoming(order_id=name) for name in names], ["erp"] * 6, since_ms=0)
    claimed = await outbox.claim((await outbox.due(10))[:3], epoch=1, lease_ms=60_000)
    flying = [delivery for _, delivery in claimed if delivery is not None]

    async def move() -> None:
        """Those in flight come back to the queue, the others leave it."""
        others = (await outbox.due(10))[:3]
        back = [Result(ref=one.ref, kind=ResultKind.LATER, sends=one.sends, delay_ms=60_000) for one in flying]
        await outbox.finish(back, epoch=1)
        await outbox.claim(others, epoch=1, lease_ms=60_000)

    before = await book.page()
    between_reads(client, move, monkeypatch)
    during = await book.page()
    assert sorted(record.ref.id for record in before) == names
    assert sorted(record.ref.id for record in during) == names
