"""A log that a power cut or a bad disk left behind: what can be mended is, and told; what cannot be is refused."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from structlog.testing import LogCapture

from flashd.config import StoreConfig
from flashd.domain.order import OrderRef
from flashd.errors import ConfigError
from flashd.runtime.clock import SystemClock
from flashd.store.audit import audit
from flashd.store.contract import verify
from flashd.store.embedded import EmbeddedServer
from flashd.store.generation import GenerationFile, Met
from flashd.store.keys import pool_key
from tests.conformance.ledgers import BACKEND, make_incoming, real_bench, stock
from tests.servers import KINDS, find_server, missing

ORDERS = 12


@pytest.fixture(params=KINDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    binary = find_server(request.param)
    if binary is None:
        pytest.skip(missing(request.param))
    server = EmbeddedServer(str(tmp_path), binary=binary)
    yield server
    await server.stop()


@pytest.fixture
def said() -> Iterator[LogCapture]:
    """What flashd logs; its loggers are made anew for each line."""
    capture, before = LogCapture(), structlog.get_config()["processors"]
    structlog.configure(processors=[capture])
    yield capture
    structlog.configure(processors=before)


def client_of(server: EmbeddedServer) -> Redis:
    return Redis(unix_socket_path=str(server.socket_path), retry=Retry(NoBackoff(), 0))


async def sell(server: EmbeddedServer) -> None:
    """Write orders, each by one script and so one piece of the log, and end."""
    await server.start()
    async with client_of(server) as client:
        bench = real_bench(client)
        await stock(bench)
        for number in range(ORDERS):
            await bench.ledger.accept([make_incoming(f"{number}")], [BACKEND], since_ms=0)
    await server.stop()


async def kept(server: EmbeddedServer) -> int:
    async with client_of(server) as client:
        bench = real_bench(client)
        return sum([await bench.book.get(OrderRef("shop", f"{number}")) is not None for number in range(ORDERS)])


def spoil(server: EmbeddedServer, how: Callable[[bytes], bytes]) -> None:
    [log] = server.data.glob("appendonlydir/*.incr.aof")
    log.write_bytes(how(log.read_bytes()))


async def test_a_whole_log_is_nothing_to_speak_of(store: EmbeddedServer, said: LogCapture) -> None:
    await sell(store)
    await store.start()
    assert await kept(store) == ORDERS
    assert [entry["event"] for entry in said.entries] == ["store.started", "store.started"]


@pytest.mark.parametrize("cut", [pytest.param(1, marks=pytest.mark.slow), 7, pytest.param(40, marks=pytest.mark.slow)])
async def test_a_torn_tail_is_dropped_with_its_script_and_told(
    store: EmbeddedServer, said: LogCapture, cut: int
) -> None:
    """Nothing of what was dropped comes back later, though Redis itself would leave the script's beginning."""
    await sell(store)
    spoil(store, lambda log: log[:-cut])
    await store.start()
    assert await kept(store) == ORDERS - 1
    [told] = [entry for entry in said.entries if entry["event"] == "store.torn"]
    assert told["log_level"] == "error"
    assert told["dropped_bytes"] > 500
    assert "flashd audit" in told["mend"]
    async with client_of(store) as client:
        await real_bench(client).ledger.accept([make_incoming("later")], [BACKEND], since_ms=0)
    await store.stop()
    await store.start()
    assert await kept(store) == ORDERS - 1
    async with client_of(store) as client:
        assert (await audit(client, "main")).differences == ()
        [level] = await real_bench(client).ledger.levels()
    assert (level.sold, level.owed) == (10, 2 * ORDERS - 10)
    assert sum(entry["event"] == "store.torn" for entry in said.entries) == 1


@pytest.mark.parametrize("place", ["middle", pytest.param("end", marks=pytest.mark.slow)])
async def test_garbage_in_the_log_is_refused_and_the_mend_works(store: EmbeddedServer, place: str) -> None:
    await sell(store)

    def smear(log: bytes) -> bytes:
        at = len(log) if place == "end" else log.index(b"\r\n*", len(log) // 2) + 2  # where a command begins
        return log[:at] + b"\xff" * 64 + log[at + 64 :]

    spoil(store, smear)
    with pytest.raises(ConfigError, match="Bad file format") as refused:
        await store.start()
    assert not store.running
    command = re.search(r"`(cd .*?)`", str(refused.value))
    assert command is not None
    subprocess.run(  # noqa: ASYNC221  # nothing else lives in this loop
        ["bash", "-c", command[1]], input=b"y\n", check=True, capture_output=True, timeout=30
    )
    await store.start()
    left = await kept(store)
    assert left == ORDERS if place == "end" else 0 < left < ORDERS


@pytest.mark.parametrize("part", ["*.manifest", "*.incr.aof", "*.base.rdb"])
async def test_a_missing_or_broken_part_is_refused_with_the_mend(store: EmbeddedServer, part: str) -> None:
    await sell(store)
    [path] = store.data.glob(f"appendonlydir/{part}")
    path.write_bytes(path.read_bytes()[:-10]) if part == "*.manifest" else path.unlink()
    with pytest.raises(ConfigError, match=r"restore \S+/appendonlydir from a backup"):
        await store.start()


async def test_a_log_that_lost_more_than_its_tail_is_known_to_be_older(store: EmbeddedServer, tmp_path: Path) -> None:
    """Cut between two commands the server sees nothing; the daemon's memory of the journal does."""
    config = StoreConfig(state_dir=str(tmp_path))
    await store.start()
    async with client_of(store) as client:
        contract = await verify(client, config, ["main"], SystemClock())
    await store.stop()
    [path] = store.data.glob("appendonlydir/*.incr.aof")
    early = path.stat().st_size
    await sell(store)
    await store.start()
    async with client_of(store) as client:
        last = (await client.xinfo_stream(pool_key("main", "j")))["last-generated-id"].decode()
    GenerationFile(tmp_path).note("embedded", "main", Met(contract.generations["main"], last))  # as the watch does
    await store.stop()
    spoil(store, lambda log: log[:early])
    await store.start()
    async with client_of(store) as client:
        with pytest.raises(ConfigError, match="older"):
            await verify(client, config, ["main"], SystemClock())
