"""What nobody hears is published a few times a call and no more; whoever listens, wherever he does, hears all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from flashd.config import SecretText, StoreConfig
from flashd.domain.order import OrderState
from flashd.domain.reservation import HoldCode
from flashd.domain.stock import StockLevel
from flashd.store.connection import connect
from flashd.store.keys import pool_key
from flashd.store.ledger import RedisLedger
from tests.conformance.ledgers import BACKEND, make_hold, make_incoming
from tests.deployments.node import holds
from tests.e2e.process import free_port
from tests.servers import Server

ORDERS = 12
PATIENCE = 1  # of a call that has more to say than the four of includes/journal.lua
EVERYWHERE = "fd:events:*"


async def published(client: Redis) -> int:
    """How often anything was published so far."""
    counted: Any = await client.info("commandstats")
    return int(counted["cmdstat_publish"]["calls"])


async def sell(client: Redis, by: Redis | None = None) -> int:
    """Return how much was published for one call of several orders; its journal lacks nothing of it."""
    ledger = RedisLedger(by or client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=100))
    before, journal = await published(client), pool_key("main", "j")
    told = await client.xlen(journal)
    orders = [make_incoming(str(number)) for number in range(ORDERS)]
    answers = await ledger.accept(orders, [BACKEND] * ORDERS, since_ms=0)
    assert {answer.state for answer in answers} == {OrderState.QUEUED}
    entries: Any = await client.xrange(journal)
    kinds = [fields[b"k"].decode() for _, fields in entries[told:]]
    assert kinds == ["order.accepted"] * ORDERS + ["stock.changed"]
    return await published(client) - before


async def heard_by(subscriber: Any) -> None:
    """Return once every order was heard of."""
    heard: list[str] = []
    while heard.count("order.accepted") < ORDERS:
        message = await subscriber.get_message(timeout=5)
        assert message is not None, f"only {heard} came"
        if message["type"] in ("message", "pmessage"):
            heard.append(msgspec.json.decode(message["data"])["kind"])


@contextmanager
def running(kind: str, settings: dict[str, str]) -> Iterator[Server]:
    server = Server(kind, settings).start()
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[Any]:
    async with connect(StoreConfig(url=server.url, timeout_s=30), lambda _: SecretText("")) as client:
        yield client


async def test_what_nobody_hears_is_soon_left_unsaid(client: Redis) -> None:
    assert await sell(client) == PATIENCE + 1  # and the stock once


async def test_holds_that_nobody_hears_of_are_soon_left_unsaid(client: Redis) -> None:
    ledger = RedisLedger(client, "main")
    await ledger.recount(StockLevel(sku="tee", on_hand=100))
    before = await published(client)
    replies = await ledger.hold([make_hold(f"h{number}") for number in range(ORDERS)])
    assert {reply.code for reply in replies} == {HoldCode.HELD}
    assert await published(client) - before == PATIENCE + 1


@pytest.mark.parametrize("pattern", ["fd:events:main:order", EVERYWHERE])
async def test_whoever_listens_hears_every_event(client: Redis, pattern: str) -> None:
    async with client.pubsub() as subscriber:
        await subscriber.psubscribe(pattern)
        assert await sell(client) == ORDERS + 1
        await heard_by(subscriber)


async def test_a_login_that_may_not_ask_who_listens_publishes_all(client: Redis) -> None:
    await client.acl_setuser("curt", enabled=True, nopass=True, keys="*", channels="*", commands=["+@all", "-info"])
    try:
        async with Redis(unix_socket_path=client.connection_pool.connection_kwargs["path"], username="curt") as curt:
            assert await sell(client, by=curt) == ORDERS + 1
    finally:
        await client.acl_deluser("curt")


async def test_who_listens_at_a_replica_hears_every_event(server: Server) -> None:
    port = str(free_port())
    with (
        running(server.kind, {"port": port, "repl-diskless-sync-delay": "0"}) as primary,
        running(server.kind, {"replicaof": f"127.0.0.1 {port}"}) as copy,
    ):
        async with client_of(primary) as client, client_of(copy) as there, there.pubsub() as subscriber:

            async def follows() -> bool:
                return bool((await there.info("replication"))["master_link_status"] == "up")

            await holds(follows, "the replica is in step")
            await subscriber.psubscribe(EVERYWHERE)
            assert await sell(client) == ORDERS + 1
            await heard_by(subscriber)


async def test_a_node_of_a_cluster_publishes_all(server: Server) -> None:
    with running(
        server.kind, {"port": str(free_port()), "cluster-enabled": "yes", "cluster-port": str(free_port())}
    ) as node:
        async with client_of(node) as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

            async def is_whole() -> bool:
                return b"cluster_state:ok" in await client.execute_command("CLUSTER", "INFO")

            await holds(is_whole, "the node serves every slot")
            assert await sell(client) == ORDERS + 1
