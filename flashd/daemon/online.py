"""Asking the other sides for real: `flashd check --online` and `flashd audit` without a daemon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from flashd.config import Loaded
from flashd.daemon.assembly import connect_backend, reveal_of
from flashd.errors import ConfigError, FlashdError
from flashd.runtime.clock import SystemClock
from flashd.store.audit import AuditReport, audit
from flashd.store.connection import connect
from flashd.store.contract import verify
from flashd.store.embedded import EmbeddedServer


@asynccontextmanager
async def opened(loaded: Loaded) -> AsyncIterator[Redis]:
    """
    Hand out a client of the store; an embedded one that no daemon runs is started for as long as this lasts.

    Raises:
        ConfigError: There is none.
    """
    config = loaded.config.store
    if config.url == "embedded":
        server = EmbeddedServer(config.state_dir, durability=config.durability)
        async with server.open_existing() as url:
            client = connect(config, reveal_of(loaded), url=url)
            try:
                yield client
            finally:
                await client.aclose()
        return
    client = connect(config, reveal_of(loaded))
    try:
        yield client
    finally:
        await client.aclose()


async def ask_store(loaded: Loaded) -> tuple[str, bool, str]:
    """Return (what, whether it is fine, what it said) of the store: its server, and whether the contract holds."""
    url = loaded.config.store.url
    try:
        async with opened(loaded) as client:
            contract = await verify(client, loaded.config.store, tuple(loaded.config.pools), SystemClock())
    except ConfigError as error:
        if url == "embedded" and "does not exist" in str(error):
            return "store embedded", True, "not started yet; `flashd run` starts it"
        return f"store {url}", False, str(error)
    except FlashdError as error:
        return f"store {url}", False, str(error)
    warnings = "".join(f"; warning: {text}" for text in contract.warnings)
    return f"store {url}", True, f"{contract.server}, durability {contract.durability}{warnings}"


async def ask_backends(loaded: Loaded) -> list[tuple[str, bool, str]]:
    """Return the same of every backend, after logging in."""
    found = []
    for name, section in loaded.config.backends.items():
        adapter = connect_backend(name, section, loaded)
        try:
            found.append((f"backend {name}", True, await adapter.check()))
        except FlashdError as error:
            found.append((f"backend {name}", False, str(error)))
        finally:
            await adapter.close()
    return found


async def audit_store(loaded: Loaded) -> dict[str, AuditReport]:
    """Return the audit of every pool."""
    async with opened(loaded) as client:
        return {pool: await audit(client, pool) for pool in loaded.config.pools}
