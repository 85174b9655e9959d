from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from flashd.config import Secret, SecretText, StoreConfig
from flashd.domain.event import Event, Gap, Topic, members_of, message_of, rfc3339
from flashd.errors import InvariantBroken, StoreUnavailable
from flashd.store.connection import connect, listen
from flashd.store.feed import RedisAnnouncer, RedisFeed
from tests.servers import KINDS, Server, find_server, missing


def reveal(secret: Secret) -> SecretText:
    return SecretText(secret.env or "")


@pytest.fixture
async def listener(server: Server, client: Redis) -> AsyncIterator[Redis]:
    redis = listen(StoreConfig(url=server.url), reveal)
    yield redis
    await redis.aclose()


@pytest.fixture
def feed(client: Redis, listener: Redis) -> RedisFeed:
    return RedisFeed(client, listener, "main", poll_s=0.2)


@pytest.fixture
def announcer(client: Redis) -> RedisAnnouncer:
    return RedisAnnouncer(client)


def numbers(found: list[Event | Gap]) -> list[int]:
    return [event.data["n"] for event in found if isinstance(event, Event)]


async def take(events: AsyncIterator[Event | Gap], count: int) -> list[Event | Gap]:
    async with asyncio.timeout(10):
        return [await anext(events) for _ in range(count)]


async def test_what_is_announced_is_published_and_kept_with_the_same_meaning(
    client: Redis, listener: Redis, feed: RedisFeed, announcer: RedisAnnouncer
) -> None:
    pubsub = listener.pubsub(ignore_subscribe_messages=True)
    await pubsub.subscribe("fd:events:main:alert")
    data = {
        "text": 'a "quoted" / b\\c \u00e9\u4e2d \u2028',
        "n": 2**53 - 1,
        "moves": [["A", "main", 1, 0, 0, 0, -1]],
        "x": None,
    }
    stream_id = await announcer.announce("main", "alert.raised", data)
    async with asyncio.timeout(5):
        while (message := await pubsub.get_message(timeout=1)) is None:
            pass
    await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py left it untyped
    (event,) = await feed.read("0")
    assert isinstance(event, Event)
    assert (event.id, event.kind, event.pool, event.data) == (stream_id, "alert.raised", "main", data)
    assert event.topic is Topic.ALERT
    published, built = msgspec.json.decode(message["data"]), msgspec.json.decode(message_of(event))
    assert list(published.items()) == list(built.items())
    assert message["data"] == message_of(event)


async def test_skimming_decodes_what_is_wanted_alone_and_misses_none_of_it(
    client: Redis, feed: RedisFeed, announcer: RedisAnnouncer
) -> None:
    for number in range(7):
        await announcer.announce("main", "order.parked" if number % 3 == 1 else "order.accepted", {"n": number})
    last: Any = await client.xadd("fd:{main}:j", {"k": "order.accepted", "d": "no json"})  # never looked into
    found: list[int] = []
    upto, looked = "0", 0
    while True:
        page = await feed.skim(upto, {"order.parked", "order.buried"}, limit=3)
        found += numbers(list(page.events))
        upto, looked = page.upto, looked + page.looked
        if page.looked < 3:
            break
    assert found == [1, 4]
    assert (upto, looked) == (last.decode(), 8)
    page = await feed.skim(upto, {"order.parked"})
    assert (page.events, page.upto, page.looked) == ((), upto, 0)


async def test_skimming_tells_of_a_gap_whatever_is_wanted(
    client: Redis, feed: RedisFeed, announcer: RedisAnnouncer
) -> None:
    ids = [await announcer.announce("main", "order.accepted", {"n": number}) for number in range(5)]
    key: Any = "fd:{main}:checkpoint"
    await client.hset(key, "upto", ids[2])
    await client.xtrim("fd:{main}:j", minid=ids[3], approximate=False)
    page = await feed.skim(ids[0], {"order.parked"})
    assert page.events == (Gap(pool="main", after=ids[0], first=ids[3]),)
    assert page.upto == ids[4]
    await client.xtrim("fd:{main}:j", maxlen=0, approximate=False)
    await client.hset(key, "upto", ids[4])
    page = await feed.skim(ids[0], {"order.parked"})
    assert (page.events, page.upto) == ((Gap(pool="main", after=ids[0], first=ids[4]),), ids[4])


async def test_an_entry_without_a_kind_is_no_entry_of_ours(client: Redis, feed: RedisFeed) -> None:
    await client.xadd("fd:{main}:j", {"d": "x"})
    with pytest.raises(InvariantBroken, match="its kind first"):
        await feed.skim("0", {"order.parked"})


@pytest.mark.parametrize("ms", [0, 951_782_400_123, 1_709_164_800_000, 4_102_444_799_999])
async def test_lua_and_python_write_the_same_time(ms: int, client: Redis) -> None:
    from flashd.store.scripts import read_source  # noqa: PLC0415  # only here

    source = read_source("includes/clock") + "\nreturn rfc3339(tonumber(ARGV[1]))"
    assert (await client.eval(source, 0, str(ms))).decode() == rfc3339(ms)


@pytest.mark.parametrize(
    ("kind", "data"), [("order", {}), ("weather.changed", {}), ("order.Buried", {}), ("order.buried", {"id": 1})]
)
async def test_a_fact_that_no_subscriber_could_read_is_not_announced(
    kind: str, data: dict[str, object], feed: RedisFeed, announcer: RedisAnnouncer
) -> None:
    with pytest.raises(ValueError, match=r"kind|envelope"):
        await announcer.announce("main", kind, data)
    assert await feed.read("0") == []


def test_an_event_without_members_is_a_message_too() -> None:
    assert members_of("sale.opened", {}) == b""
    event = Event.from_entry("main", "1000-0", "sale.opened", b"")
    assert message_of(event) == (
        b'{"v":1,"id":"1000-0","at":"1970-01-01T00:00:01.000Z","kind":"sale.opened","pool":"main"}'
    )


async def test_reading_goes_on_behind_an_id_page_by_page(feed: RedisFeed, announcer: RedisAnnouncer) -> None:
    ids = [await announcer.announce("main", "alert.raised", {"n": n}) for n in range(5)]
    assert numbers(await feed.read("0", limit=2)) == [0, 1]
    assert numbers(await feed.read(ids[1], limit=2)) == [2, 3]
    assert numbers(await feed.read(ids[4])) == []
    assert await feed.last_id() == ids[4]


async def test_following_hands_out_what_was_kept_and_what_comes(feed: RedisFeed, announcer: RedisAnnouncer) -> None:
    await announcer.announce("main", "alert.raised", {"n": 0})
    async with aclosing(feed.follow("0")) as events:
        assert numbers(await take(events, 1)) == [0]
        waiting = asyncio.ensure_future(take(events, 2))
        await asyncio.sleep(0)
        for n in (1, 2):
            await announcer.announce("main", "alert.raised", {"n": n})
        assert numbers(await waiting) == [1, 2]


async def test_a_message_wakes_the_reader_long_before_it_would_poll(
    client: Redis, listener: Redis, announcer: RedisAnnouncer
) -> None:
    patient = RedisFeed(client, listener, "main", poll_s=60)
    async with aclosing(patient.follow("0")) as events:
        waiting = asyncio.ensure_future(take(events, 2))
        for n in (1, 2):
            await asyncio.sleep(0.2)  # the reader has found nothing and waits for a message
            await announcer.announce("main", "alert.raised", {"n": n})
        assert numbers(await waiting) == [1, 2]


async def test_following_from_now_leaves_the_past_alone(feed: RedisFeed, announcer: RedisAnnouncer) -> None:
    await announcer.announce("main", "alert.raised", {"n": 0})
    async with aclosing(feed.follow()) as events:
        waiting = asyncio.ensure_future(take(events, 1))
        while not waiting.done():
            await announcer.announce("main", "alert.raised", {"n": 1})
            await asyncio.sleep(0.02)
        assert numbers(await waiting) == [1]


async def test_only_the_topics_asked_for_are_handed_out(feed: RedisFeed, announcer: RedisAnnouncer) -> None:
    for n, kind in enumerate(("alert.raised", "sale.opened", "stock.changed", "sale.closed")):
        await announcer.announce("main", kind, {"n": n})
    async with aclosing(feed.follow("0", topics=[Topic.SALE])) as events:
        assert numbers(await take(events, 2)) == [1, 3]


async def test_a_wake_up_that_is_lost_delays_and_never_loses(
    client: Redis, feed: RedisFeed, announcer: RedisAnnouncer
) -> None:
    async with aclosing(feed.follow("0")) as events:
        waiting = asyncio.ensure_future(take(events, 1))
        await asyncio.sleep(0.05)
        await client.xadd("fd:{main}:j", {"k": "alert.raised", "d": '"n":7'})  # nothing is published
        assert numbers(await waiting) == [7]


async def test_what_was_trimmed_is_told_as_a_gap(client: Redis, feed: RedisFeed, announcer: RedisAnnouncer) -> None:
    ids = [await announcer.announce("main", "alert.raised", {"n": n}) for n in range(5)]
    await client.xtrim("fd:{main}:j", minid=ids[3], approximate=False)
    await client.hset("fd:{main}:checkpoint", "upto", ids[2])
    gap, *rest = await feed.read(ids[0])
    assert gap == Gap(pool="main", after=ids[0], first=ids[3])
    assert numbers(rest) == [3, 4]
    assert numbers(await feed.read(ids[2])) == [3, 4]
    assert not any(isinstance(event, Gap) for event in await feed.read(ids[2]))
    assert numbers(await feed.read("0")) == [3, 4]
    await client.xtrim("fd:{main}:j", maxlen=0, approximate=False)
    await client.hset("fd:{main}:checkpoint", "upto", ids[4])
    async with aclosing(feed.follow(ids[0])) as events:
        assert await take(events, 1) == [Gap(pool="main", after=ids[0], first=ids[4])]
        await announcer.announce("main", "alert.raised", {"n": 5})
        assert numbers(await take(events, 1)) == [5]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_follower_outlives_the_server_and_misses_nothing(kind: str, tmp_path: Path) -> None:
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    server = Server(kind).start()
    config = StoreConfig(url=server.url, timeout_s=1)
    client, listener = connect(config, reveal), listen(config, reveal)
    announcer = RedisAnnouncer(client)
    feed = RedisFeed(client, listener, "main", poll_s=0.05)
    try:
        async with aclosing(feed.follow("0")) as events:
            await announcer.announce("main", "alert.raised", {"n": 0})
            assert numbers(await take(events, 1)) == [0]
            waiting = asyncio.ensure_future(take(events, 3))
            await asyncio.sleep(0.1)
            server.kill()
            with pytest.raises(StoreUnavailable):
                await announcer.announce("main", "alert.raised", {"n": -1})
            await asyncio.sleep(0.2)
            assert not waiting.done()
            await asyncio.to_thread(server.start)
            for n in (1, 2, 3):
                await announcer.announce("main", "alert.raised", {"n": n})
            assert numbers(await waiting) == [1, 2, 3]
    finally:
        await client.aclose()
        await listener.aclose()
        server.close()
