from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from flashd.config import Secret, SecretText, StoreConfig
from flashd.domain.event import Event
from flashd.ports import AlertChange
from flashd.store.alerts import RedisAlertBook
from flashd.store.audit import audit
from flashd.store.connection import connect, listen
from flashd.store.contract import verify
from flashd.store.counts import RedisCounts
from flashd.store.feed import RedisAnnouncer, RedisFeed
from flashd.store.gate import RedisBackendGate
from flashd.store.journal import RedisJournal
from flashd.store.watch import RedisWatch
from tests.fakes.clock import FakeClock
from tests.servers import KINDS, Server, find_server, missing
from tests.store.traffic import Traffic

EXAMPLE = Path(__file__).parents[2] / "config" / "flashd.acl"


def reveal(secret: Secret) -> SecretText:
    return SecretText(secret.env or "")


@pytest.fixture(scope="module", params=KINDS)
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with the example's users; the default one stays on, since the tests' own probe has no name."""
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    server = Server(request.param)
    users = EXAMPLE.read_text().replace("user flashd-events off", "user flashd-events on")
    users = users.replace("user default off", "user default on nopass ~* &* +@all")
    (server.folder / "users.acl").write_text(users)
    server.settings = {"include": str(server.folder / "users.acl")}
    try:
        yield server.start()
    finally:
        server.close()
        shutil.rmtree(server.folder, ignore_errors=True)


def as_user(server: Server, name: str, tmp_path: Path) -> StoreConfig:
    return StoreConfig(url=server.url, username=name, password=Secret(env="change-me"), state_dir=str(tmp_path))


@pytest.fixture
async def client(guarded: Server, tmp_path: Path) -> AsyncIterator[Redis]:
    redis = connect(as_user(guarded, "flashd", tmp_path), reveal)
    yield redis
    await redis.aclose()


async def test_all_that_the_store_does_works_for_the_examples_user(
    guarded: Server, client: Redis, tmp_path: Path
) -> None:
    config = as_user(guarded, "flashd", tmp_path)
    clock = FakeClock()
    contract = await verify(client, config, ["main"], clock)
    assert (await RedisWatch(client, config, contract, clock).probe()).ok
    traffic = Traffic(client, seed=3)
    await traffic.stock(50)
    await traffic.run(120)
    gate = RedisBackendGate(client, "erp", clock)
    assert await gate.lead("us", 1000) is not None
    await gate.drop(1000)
    await gate.pause(reason="test", by="ann")
    await gate.resume(by="ann")
    await gate.set_rate("5/s", by="ann")
    await gate.status()
    await gate.resign("us")
    stream_id = await RedisAnnouncer(client).announce("main", "alert.raised", {"n": 1})
    alerts = RedisAlertBook(client, "main")
    assert await alerts.change(AlertChange(token="1-1", cursor=stream_id, drop=("a:b",)), epoch=1)
    assert (await alerts.load()).cursor == stream_id
    assert await RedisCounts(client, "main").counted(["tee"]) == {}
    listener = listen(config, reveal)
    feed = RedisFeed(client, listener, "main")
    async with aclosing(feed.follow("0-1")) as events:
        first = await anext(events)
        assert isinstance(first, Event)
    assert (await feed.last_id()) == stream_id
    assert (await audit(client, "main")).ok
    journal = RedisJournal(client, "main")
    assert await journal.trim(10) > 0
    await journal.purge(0)
    assert (await audit(client, "main")).ok
    await listener.aclose()


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "KEYS *", "CONFIG SET appendfsync no", "SHUTDOWN NOSAVE", "GET other",
        "SET other 1", "PUBLISH news hello", "REPLICAOF NO ONE", "ACL LIST", "EVAL return(redis.call('get','other')) 0",
    ],
)  # fmt: skip
async def test_what_is_none_of_its_business_is_forbidden(command: str, client: Any) -> None:
    with pytest.raises(Exception, match=r"permission|can't access") as caught:
        await client.execute_command(*command.split(" "))
    assert isinstance(caught.value, NoPermissionError) or "EVAL" in command


@pytest.mark.parametrize("command", ["WAIT 0 1", "WAITAOF 0 0 1", "CLUSTER SLOTS", "ROLE"])
async def test_it_may_ask_who_has_a_write_and_where_a_slot_is(command: str, client: Any) -> None:
    try:
        await client.execute_command(*command.split(" "))
    except NoPermissionError as error:
        pytest.fail(str(error))
    except ResponseError as error:  # whether the server knows it is another matter
        assert re.search("unknown command|cluster support disabled", str(error))  # noqa: PT017  # it may, or may not


async def test_a_listener_may_read_and_not_write(guarded: Server, client: Redis, tmp_path: Path) -> None:
    await RedisAnnouncer(client).announce("main", "alert.raised", {"n": 1})
    listener = connect(as_user(guarded, "flashd-events", tmp_path), reveal)
    try:
        assert await listener.xrange("fd:{main}:j", count=1)
        with pytest.raises(NoPermissionError):
            await listener.xadd("fd:{main}:j", {"k": "alert.raised", "d": ""})
        with pytest.raises(NoPermissionError):
            await listener.hgetall("fd:{main}:stock")
    finally:
        await listener.aclose()
