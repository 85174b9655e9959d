"""
Opening the store: the server, its contract, and the ports that stand behind it, pool by pool.

The one module of this room that knows all the others; whoever opens a store needs to know no Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from flashd.config import Config, PoolConfig, StoreConfig
from flashd.domain.order import Kind
from flashd.errors import StoreUnavailable
from flashd.ports import Clock, StoreWatch
from flashd.store.alerts import RedisAlertBook
from flashd.store.audit import AuditReport, audit
from flashd.store.channel_book import RedisChannelBook
from flashd.store.client import Client
from flashd.store.connection import Reveal, connect, listen
from flashd.store.contract import Contract, verify
from flashd.store.counts import RedisCounts
from flashd.store.embedded import EmbeddedServer
from flashd.store.faults import store_faults
from flashd.store.feed import RedisAnnouncer, RedisFeed
from flashd.store.gate import RedisBackendGate
from flashd.store.journal import RedisJournal
from flashd.store.keys import alert_key, backend_key, channel_key, generation_key, pool_key, sale_key
from flashd.store.ledger import RedisLedger
from flashd.store.listings import RedisListings
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from flashd.store.prices import RedisPriceBook
from flashd.store.privacy import RedisEraser
from flashd.store.sales import RedisSales
from flashd.store.stockroom import RedisStockroom
from flashd.store.watch import watch_over

log = structlog.get_logger()

Kinds = Mapping[str, Collection[Kind]]

ASK_AGAIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class PoolStore:
    """The ports of one pool."""

    config: PoolConfig
    ledger: RedisLedger
    book: RedisOrderBook
    feed: RedisFeed
    journal: RedisJournal
    stockroom: RedisStockroom
    sales: RedisSales
    prices: RedisPriceBook
    sale_gate: RedisBackendGate  # who looks after its sales
    listings: RedisListings
    channel_book: RedisChannelBook
    counts: RedisCounts
    alerts: RedisAlertBook
    alert_gate: RedisBackendGate  # of the first pool: who tells a person, for all
    outboxes: dict[str, RedisOutbox]  # by backend
    eraser: RedisEraser


@dataclass(frozen=True, kw_only=True)
class Store:
    """An open store whose contract holds."""

    client: Client
    listener: Redis
    server: EmbeddedServer | None
    contract: Contract
    watch: StoreWatch
    announcer: RedisAnnouncer
    pools: dict[str, PoolStore]
    gates: dict[str, RedisBackendGate]
    channel_gates: dict[str, RedisBackendGate]

    async def revive(self) -> bool:
        """Start an embedded server again that died; say whether it had to be."""
        return self.server is not None and await self.server.revive()

    async def stranded(self) -> dict[str, int]:
        """
        Return how many orders wait for, or are at, backends that the configuration no longer has.

        Raises:
            StoreUnavailable: Ask again.
        """
        found: dict[str, int] = {}
        with store_faults("stranded"):
            for pool in self.pools:
                client = self.client.at(generation_key(pool))
                known: Any = await client.hget(generation_key(pool), "backends")
                for name in (known or b"").decode().split():
                    if name not in self.gates:
                        waiting = await client.zcard(pool_key(pool, f"q:{name}"))
                        flying = await client.zcard(pool_key(pool, f"fl:{name}"))
                        found[name] = found.get(name, 0) + int(waiting) + int(flying)
        return {name: count for name, count in found.items() if count}

    async def audit(self) -> dict[str, AuditReport]:
        """Return the audit of every pool. Raises StoreUnavailable."""
        return {name: await audit(self.client.at(generation_key(name)), name) for name in self.pools}

    def observe(self, told: Callable[[str, float], None]) -> None:
        """Tell *told* of every script that runs: its name, and the seconds until its answer."""
        for client in self.client.all():
            client.observe = told

    async def close(self) -> None:
        """Close the connections, then end the embedded server: it has fsynced all that was acknowledged."""
        await self.client.aclose()
        await self.listener.aclose()
        if self.server is not None:
            await self.server.stop()


async def open_store(
    config: Config, kinds: Kinds, reveal: Reveal, clock: Clock, say: Callable[[str], None] = lambda _: None
) -> Store:
    """
    Start the embedded server, or connect; verify the contract; build every port.

    A server that does not answer yet is waited for, and *say* is told; one that must not be used is refused.

    Raises:
        ConfigError: The server is refused; the message holds the mend.
    """
    server: EmbeddedServer | None = None
    if config.store.url == "embedded":
        server = EmbeddedServer(config.store.state_dir, durability=config.store.durability)
        await server.start()
    url = server.url if server is not None else ""
    client, listener = connect(config.store, reveal, url=url), listen(config.store, reveal, url=url)
    try:
        contract = await _verify(client, config.store, config.pools, clock, say)
    except BaseException:
        await client.aclose()
        await listener.aclose()
        if server is not None:
            await server.stop()
        raise
    for warning in contract.warnings:
        log.warning("store.warned", reason=warning)
    return Store(
        client=client,
        listener=listener,
        server=server,
        contract=contract,
        watch=watch_over(client, config.store, contract, clock),
        announcer=RedisAnnouncer(client),
        pools={name: _open_pool(name, pool, client, listener, kinds, clock) for name, pool in config.pools.items()},
        gates={name: _open_gate(client, name, clock, backend_key) for name in kinds},
        channel_gates={name: _open_gate(client, name, clock, channel_key) for name in config.channels},
    )


def _open_gate(client: Client, name: str, clock: Clock, key: Callable[[str, str], str]) -> RedisBackendGate:
    return RedisBackendGate(client.at(key(name, "lease")), name, clock, key=key)


def _open_pool(name: str, pool: PoolConfig, first: Client, listener: Redis, kinds: Kinds, clock: Clock) -> PoolStore:
    client = first.at(generation_key(name))
    return PoolStore(
        config=pool,
        ledger=RedisLedger(client, name, location=pool.location, kinds=kinds),
        book=RedisOrderBook(client, name),
        feed=RedisFeed(client, listener, name),
        journal=RedisJournal(client, name),
        stockroom=RedisStockroom(client, name, margin_ms=round(pool.count_margin_s * 1000), safety=pool.safety_stock),
        sales=RedisSales(client, name),
        prices=RedisPriceBook(client, name),
        sale_gate=_open_gate(first, name, clock, sale_key),
        listings=RedisListings(client, name, location=pool.location),
        channel_book=RedisChannelBook(client, name),
        counts=RedisCounts(client, name),
        alerts=RedisAlertBook(client, name),
        alert_gate=_open_gate(first, name, clock, alert_key),
        outboxes={backend: RedisOutbox(client, name, backend) for backend in kinds},
        eraser=RedisEraser(client, name),
    )


async def _verify(
    client: Redis, config: StoreConfig, pools: Collection[str], clock: Clock, say: Callable[[str], None]
) -> Contract:
    while True:
        try:
            return await verify(client, config, tuple(pools), clock)
        except StoreUnavailable as error:
            say(f"waiting for the store: {error}")
            log.warning("store.awaited", reason=str(error))
            await asyncio.sleep(ASK_AGAIN_S)


@asynccontextmanager
async def beside(config: StoreConfig, reveal: Reveal) -> AsyncIterator[Client]:
    """Hand out a client beside a running daemon; an embedded server that none runs is started for as long."""
    if config.url == "embedded":
        server = EmbeddedServer(config.state_dir, durability=config.durability)
        async with server.open_existing() as url, connect(config, reveal, url=url) as client:
            yield client
        return
    async with connect(config, reveal) as client:
        yield client


async def ask_contract(config: Config, reveal: Reveal, clock: Clock) -> Contract:
    """
    Say whether the store would be accepted, beside a running daemon or without one.

    Raises:
        ConfigError: It is refused, or there is none yet.
        StoreUnavailable: It does not answer.
    """
    async with beside(config.store, reveal) as client:
        return await verify(client, config.store, tuple(config.pools), clock)


async def audit_store(config: Config, reveal: Reveal) -> dict[str, AuditReport]:
    """Return the audit of every pool, beside a running daemon or without one. Raises as above."""
    async with beside(config.store, reveal) as client:
        return {pool: await audit(client.at(generation_key(pool)), pool) for pool in config.pools}
