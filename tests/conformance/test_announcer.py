"""What every Announcer does with a fact, and with what is none."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.ports import Announcer
from flashd.store.feed import RedisAnnouncer
from tests.fakes.announcer import FakeAnnouncer
from tests.servers import KINDS, Server, find_server, missing


@pytest.fixture(params=["fake", *KINDS])
async def announcer(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Announcer]:
    if request.param == "fake":
        yield FakeAnnouncer()
        return
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    if request.param not in servers:
        servers[request.param] = Server(request.param).start()
    client = Redis(unix_socket_path=servers[request.param].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield RedisAnnouncer(client)
    await client.aclose()


async def test_every_fact_gets_an_id_above_those_before(announcer: Announcer) -> None:
    ids = [await announcer.announce("main", "backend.went_away", {"backend": "erp"}) for _ in range(3)]
    numbers = [tuple(map(int, each.split("-"))) for each in ids]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("kind", ["backend", "backend.", "backend.wentAway", "weather.changed", ""])
async def test_what_is_no_kind_is_refused(announcer: Announcer, kind: str) -> None:
    with pytest.raises(ValueError, match="is not a kind"):
        await announcer.announce("main", kind, {})


@pytest.mark.parametrize("member", ["v", "id", "at", "kind", "pool"])
async def test_a_fact_cannot_speak_for_the_envelope(announcer: Announcer, member: str) -> None:
    with pytest.raises(ValueError, match="belongs to the envelope"):
        await announcer.announce("main", "alert.raised", {member: "mine"})
