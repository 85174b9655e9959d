"""What nobody hears is not published by an own server alone; whoever listens hears all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from flashd.cli.session import load_config
from flashd.domain.order import OrderState
from flashd.domain.reservation import HoldCode
from flashd.domain.stock import StockLevel
from flashd.ports import StockLedger
from flashd.store.keys import pool_key
from flashd.store.ledger import RedisLedger
from flashd.store.opening import open_store
from tests.conformance.ledgers import BACKEND, make_hold, make_incoming
from tests.fakes.clock import FakeClock
from tests.servers import Server

ORDERS = 5
SAID = ["order.accepted"] * ORDERS + ["stock.changed"]


async def published(client: Redis) -> int:
    """How often anything was published so far."""
    counted: Any = await client.info("commandstats")
    return int(counted["cmdstat_publish"]["calls"])


async def sell(client: Redis, ledger: StockLedger) -> tuple[int, list[str]]:
    """Return how much was published for one call of several orders, and what stands in the journal of it."""
    await ledger.recount(StockLevel(sku="tee", on_hand=100))
    before, journal = await published(client), pool_key("main", "j")
    told = await client.xlen(journal)
    orders = [make_incoming(str(number)) for number in range(ORDERS)]
    answers = await ledger.accept(orders, [BACKEND] * ORDERS, since_ms=0)
    assert {answer.state for answer in answers} == {OrderState.QUEUED}
    entries: Any = await client.xrange(journal)
    return await published(client) - before, [fields[b"k"].decode() for _, fields in entries[told:]]


async def test_on_a_server_of_our_own_what_nobody_hears_is_published_once_a_call(client: Redis) -> None:
    count, written = await sell(client, RedisLedger(client, "main", alone=True))
    assert (count, written) == (2, SAID)  # the first order, and the stock


async def test_where_others_may_listen_elsewhere_all_is_published(client: Redis) -> None:
    count, written = await sell(client, RedisLedger(client, "main"))
    assert (count, written) == (ORDERS + 1, SAID)


@pytest.mark.parametrize("pattern", ["fd:events:main:order", "fd:events:*"])
async def test_whoever_listens_hears_every_event(client: Redis, pattern: str) -> None:
    async with client.pubsub() as subscriber:
        await subscriber.psubscribe(pattern)
        ledger = RedisLedger(client, "main", alone=True)
        count, written = await sell(client, ledger)
        await ledger.hold([make_hold(f"h{number}") for number in range(ORDERS)])
        heard: list[str] = []
        while heard.count("order.accepted") < ORDERS:
            message = await subscriber.get_message(timeout=5)
            assert message is not None, f"only {heard} came"
            if message["type"] == "pmessage":
                heard.append(msgspec.json.decode(message["data"])["kind"])
    assert (count, written) == (ORDERS + 1, SAID)


async def test_holds_that_nobody_hears_of_are_published_once_a_call(client: Redis) -> None:
    ledger = RedisLedger(client, "main", alone=True)
    await ledger.recount(StockLevel(sku="tee", on_hand=100))
    before = await published(client)
    replies = await ledger.hold([make_hold(f"h{number}") for number in range(ORDERS)])
    assert {reply.code for reply in replies} == {HoldCode.HELD}
    assert await published(client) - before == 2


@pytest.mark.usefixtures("client")  # empties the server
@pytest.mark.parametrize(("place", "count"), [("embedded", 2), ("", ORDERS + 1)])
async def test_only_the_embedded_server_is_known_to_be_alone(
    server: Server, tmp_path: Path, place: str, count: int
) -> None:
    url = place or server.url
    text = f'[store]\nurl = "{url}"\nstate_dir = "{tmp_path / "state"}"\n[pools.main]\n'
    (tmp_path / "flashd.toml").write_text(text)
    config = load_config(str(tmp_path / "flashd.toml")).config
    store = await open_store(config, {BACKEND: ()}, lambda _: pytest.fail("no secrets here"), FakeClock())
    try:
        assert (await sell(store.client, store.pools["main"].ledger))[0] == count
    finally:
        await store.close()
