"""What every AlertBook keeps: a step is taken whole, once, and never by whoever does not lead any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.alert import Alert, AlertKind, Quota, Severity, Standing, event_of, raise_alert
from flashd.domain.event import Event
from flashd.ports import AlertBook, AlertChange, AlertPage
from flashd.store.alerts import RedisAlertBook
from flashd.store.feed import RedisFeed
from tests.fakes.alerts import FakeAlertBook
from tests.servers import KINDS, Server, find_server, missing


@pytest.fixture(params=["fake", *KINDS])
async def book(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[AlertBook]:
    if request.param == "fake":
        yield FakeAlertBook()
        return
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    if request.param not in servers:
        servers[request.param] = Server(request.param).start()
    client = Redis(unix_socket_path=servers[request.param].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield RedisAlertBook(client, "main")
    await client.aclose()


def standing(subject: str = "erp", now_ms: int = 1000) -> Standing:
    alert = Alert(
        kind=AlertKind.BACKEND_AWAY,
        subject=subject,
        severity=Severity.CRITICAL,
        text="“erp” is away",
        mend="look",
        facts={"n": [1]},
    )
    return raise_alert(None, alert, pool="main", now_ms=now_ms)


def step(number: int = 1, **more: object) -> AlertChange:
    return AlertChange(token=f"7-{number}", cursor=f"{number}-0", **more)  # type: ignore[arg-type]  # as the test says


async def said(book: AlertBook) -> list[tuple[str, dict[str, object]]]:
    if isinstance(book, FakeAlertBook):
        return list(book.said)
    assert isinstance(book, RedisAlertBook)
    events = await RedisFeed(book._client, book._client, "main").read("0")
    return [(event.kind, event.data) for event in events if isinstance(event, Event)]


async def test_before_the_first_step_nothing_stands(book: AlertBook) -> None:
    assert await book.load() == AlertPage()


async def test_a_step_is_read_as_it_was_taken(book: AlertBook) -> None:
    first, second = standing("erp", 2000), standing("wms", 1000)
    saying = ("alert.raised", event_of(first))
    assert await book.change(step(keep=(first, second), say=(saying,), quota=Quota((5, 6))), epoch=7)
    assert await book.load() == AlertPage(cursor="1-0", standing=(second, first), quota=Quota((5, 6)))
    assert await said(book) == [saying]


async def test_what_goes_is_gone_and_a_quota_that_is_left_out_stays(book: AlertBook) -> None:
    await book.change(step(keep=(standing("erp"), standing("wms")), quota=Quota((5,))), epoch=7)
    longer = replace(standing("wms"), count=2)
    assert await book.change(step(2, keep=(longer,), drop=(standing("erp").key, "never:there")), epoch=7)
    assert await book.load() == AlertPage(cursor="2-0", standing=(longer,), quota=Quota((5,)))


async def test_a_step_whose_reply_was_lost_is_said_once(book: AlertBook) -> None:
    one = step(keep=(standing(),), say=(("alert.raised", event_of(standing())),))
    assert await book.change(one, epoch=7)
    assert await book.change(one, epoch=7)
    assert len(await said(book)) == 1


async def test_a_former_leader_changes_and_says_nothing(book: AlertBook) -> None:
    await book.change(step(keep=(standing(),)), epoch=8)
    late = step(2, drop=(standing().key,), say=(("alert.cleared", event_of(standing())),))
    assert not await book.change(late, epoch=7)
    assert await book.load() == AlertPage(cursor="1-0", standing=(standing(),))
    assert await said(book) == []


async def test_an_alert_of_a_later_version_hides_no_other(book: AlertBook) -> None:
    strange = b'{"alert":{"kind":"unheard_of"}}'
    await book.change(step(keep=(standing(),)), epoch=7)
    if isinstance(book, RedisAlertBook):
        await book._client.hset("fd:{main}:alert", "unheard_of:x", strange)
    assert (await book.load()).standing == (standing(),)
