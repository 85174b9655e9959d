"""Replies are told in the turn in which they came; what takes more than one call goes on in a task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from flashd.domain.order import AcceptCode, Accepted
from flashd.errors import StoreUnavailable
from flashd.ports import StockLedger
from flashd.store.client import wire_of
from flashd.store.refusals import Moved
from flashd.store.replies import AGAIN, Replies
from tests.conformance.ledgers import BACKEND, make_incoming, real_bench, stock

WHOLE = [1, [b"repeat", b"queued"]]


class Cover:
    """Goes on from what is known; answers when the door is open."""

    def __init__(self) -> None:
        self.known: list[Sequence[Any]] = []
        self.asked, self.open = asyncio.Event(), asyncio.Event()
        self.open.set()

    async def __call__(self, known: Sequence[Any]) -> Sequence[Any]:
        self.known.append(known)
        self.asked.set()
        await self.open.wait()
        return WHOLE


def written() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def test_replies_that_are_whole_are_told_in_their_turn_and_without_a_task() -> None:
    reply, cover, heard = written(), Cover(), list[Replies]()
    replies = Replies(reply, cover)
    replies.add_done_callback(heard.append)
    tasks = asyncio.all_tasks()
    reply.set_result(WHOLE)
    await asyncio.sleep(0)
    assert heard == [replies]
    assert replies.result() == WHOLE
    assert (asyncio.all_tasks(), cover.known) == (tasks, [])


async def test_whoever_comes_when_they_are_there_is_told_later_than_he_asked() -> None:
    reply, heard = written(), list[Replies]()
    replies = Replies(reply, Cover())
    reply.set_result(WHOLE)
    await asyncio.sleep(0)
    replies.add_done_callback(heard.append)
    assert heard == []
    await asyncio.sleep(0)
    assert heard == [replies]


@pytest.mark.parametrize("again", [AGAIN, [AGAIN, b""]])
async def test_items_that_are_to_be_asked_for_again_are_gone_on_with(again: object) -> None:
    reply, cover = written(), Cover()
    replies = Replies(reply, cover)
    reply.set_result([1, again])
    assert await replies == WHOLE
    assert cover.known == [[1, again]]


@pytest.mark.parametrize("error", [NoScriptError("NOSCRIPT"), Moved("1 127.0.0.1:7001")])
async def test_a_call_of_which_nothing_ran_is_made_from_the_beginning(error: RedisError) -> None:
    reply, cover = written(), Cover()
    replies = Replies(reply, cover)
    reply.set_exception(error)
    assert await replies == WHOLE
    assert cover.known == [()]


async def test_what_could_not_be_written_at_once_is_asked_for_in_a_task() -> None:
    cover = Cover()
    assert await Replies(None, cover) == WHOLE
    assert cover.known == [()]


async def test_a_lost_connection_is_told_and_nothing_is_asked_again() -> None:
    reply, cover = written(), Cover()
    replies = Replies(reply, cover)
    reply.set_exception(RedisConnectionError("lost"))
    with pytest.raises(RedisConnectionError, match="lost"):
        await replies
    assert cover.known == []


async def test_who_waits_and_is_cancelled_ends_what_is_gone_on_with() -> None:
    cover, heard = Cover(), list[object]()
    cover.open.clear()
    waiting = asyncio.create_task(_wait(Replies(None, cover), heard))
    await cover.asked.wait()
    before = asyncio.all_tasks() - {waiting}
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks() & before) == len(before) - 1
    assert heard == []


async def _wait(replies: Replies, heard: list[object]) -> None:
    heard.append(await replies)


# ------------------------------------------------------------------------------------------------ the ledger's own way


async def one_more(ledger: StockLedger, order_id: str) -> Accepted:
    [accepted] = await ledger.accept([make_incoming(order_id)], [BACKEND], since_ms=0)
    return accepted


async def test_an_order_is_on_its_way_to_the_store_before_accept_returns(client: Redis) -> None:
    bench, wire = real_bench(client), wire_of(client)
    assert wire is not None
    await stock(bench)
    await bench.ledger.hold([])
    await one_more(bench.ledger, "1")  # from here on its backend is known
    sent: list[object] = []
    begin, tasks = wire.begin, asyncio.all_tasks()

    def note(*command: Any) -> asyncio.Future[Any]:
        sent.append(command[0])
        return begin(*command)

    wire.begin = note  # type: ignore[method-assign]
    soon = bench.ledger.accept([make_incoming("2")], [BACKEND], since_ms=0)
    assert (sent, asyncio.all_tasks()) == (["EVALSHA"], tasks)
    assert [one.code for one in await soon] == [AcceptCode.ACCEPTED]


async def test_a_server_that_forgot_the_script_is_sent_its_text(client: Redis) -> None:
    bench = real_bench(client)
    await stock(bench)
    await one_more(bench.ledger, "1")
    await client.script_flush()
    assert (await one_more(bench.ledger, "2")).code is AcceptCode.ACCEPTED


async def test_a_connection_that_is_lost_under_a_call_tells_that_nothing_is_known(client: Redis) -> None:
    bench, wire = real_bench(client), wire_of(client)
    assert wire is not None
    await stock(bench)
    await one_more(bench.ledger, "1")
    soon = bench.ledger.accept([make_incoming("2")], [BACKEND], since_ms=0)
    wire.usable().lose("cut")
    with pytest.raises(StoreUnavailable, match="accept: ConnectionError: cut"):
        await soon
    assert (await one_more(bench.ledger, "2")).code in {AcceptCode.ACCEPTED, AcceptCode.REPEAT}
