"""Whatever the server says, the ledger says that nothing is known, and nothing was written."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.order import OrderRef
from flashd.errors import StoreUnavailable
from flashd.store.faults import store_faults
from tests.conformance.ledgers import BACKEND, level, make_hold, make_incoming, real_bench, stock
from tests.servers import KINDS, Server, find_server, missing


async def test_out_of_memory_refuses_what_grows_and_lets_release_through(client: Redis) -> None:
    bench = real_bench(client)
    await stock(bench)
    await bench.ledger.hold([make_hold()])
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable, match="OutOfMemory"):
            await bench.ledger.accept([make_incoming()], [BACKEND], since_ms=0)
        with pytest.raises(StoreUnavailable):
            await bench.ledger.hold([make_hold("h2")])
        await bench.ledger.release("h1", "")
    finally:
        await client.config_set("maxmemory", 0)
    assert await bench.book.get(OrderRef("shop", "1001")) is None
    assert (await level(bench)).free == 10


async def test_forgotten_scripts_are_loaded_again(client: Redis) -> None:
    bench = real_bench(client)
    await stock(bench)
    await client.script_flush()
    await bench.ledger.hold([make_hold()])
    assert (await level(bench)).held == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_dead_server_is_unavailable_and_a_restarted_one_goes_on(kind: str) -> None:
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    server = Server(kind).start()
    client = Redis(unix_socket_path=server.socket_path, retry=Retry(NoBackoff(), 0))
    try:
        bench = real_bench(client)
        await stock(bench)
        await bench.ledger.accept([make_incoming()], [BACKEND], since_ms=0)
        server.kill()
        for verb in (
            bench.ledger.sweep(),
            bench.ledger.levels(),
            bench.ledger.accept([make_incoming("1002")], [BACKEND], since_ms=0),
            bench.book.get(OrderRef("shop", "1001")),
            bench.book.page(),
            bench.book.counts(),
        ):
            with pytest.raises(StoreUnavailable):
                await verb
        server.start()
        assert await bench.book.counts() == {
            "waiting": 0,
            "queued": 1,
            "in_flight": 0,
            "dead": 0,
            "desk": 0,
            "backorder": 0,
            "done": 0,
        }
        await bench.ledger.accept([make_incoming("1002")], [BACKEND], since_ms=0)
        assert (await level(bench)).sold == 4
    finally:
        await client.aclose()
        server.close()


def test_a_connection_that_uvloop_found_closed_is_a_store_that_does_not_answer() -> None:
    said = "unable to perform operation on <UnixTransport closed=True reading=False 0x7f>; the handler is closed"
    with pytest.raises(StoreUnavailable, match="the handler is closed"), store_faults("accept"):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="a bug"), store_faults("accept"):
        raise RuntimeError("a bug")
