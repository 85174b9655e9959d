"""A mailbox: bounded, in order, and nobody who waits for room is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from flashd.errors import Busy, MailboxFull
from flashd.runtime.mailbox import Letter, Mailbox


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def taken(mailbox: Mailbox[str], limit: int = 10) -> list[str]:
    return [letter.message for letter in await asyncio.wait_for(mailbox.take(limit), 30)]


async def test_letters_are_taken_in_order_and_no_more_than_asked_for() -> None:
    mailbox: Mailbox[str] = Mailbox("actor", 5)
    for text in "abcde":
        mailbox.post(Letter(text))
    with pytest.raises(MailboxFull):
        mailbox.post(Letter("f"))
    assert [await taken(mailbox, 2), await taken(mailbox)] == [["a", "b"], ["c", "d", "e"]]


async def test_whoever_waits_for_room_comes_in_turn_and_one_who_goes_away_leaves_his_place_to_the_next() -> None:
    mailbox: Mailbox[str] = Mailbox("actor", 1)
    mailbox.post(Letter("first"))
    waiting = [asyncio.create_task(mailbox.put(Letter(text))) for text in ("gone", "second", "third")]
    await settle()
    assert [letter.message for letter in await mailbox.take(1)] == ["first"]
    waiting[0].cancel()  # in the same turn of the loop in which his place came free
    await settle()
    assert await taken(mailbox) == ["second"]
    assert await taken(mailbox) == ["third"]
    await asyncio.gather(*waiting[1:])


async def test_a_wake_up_returns_nothing_and_lasts_until_it_is_heard() -> None:
    mailbox: Mailbox[str] = Mailbox("actor", 1)
    mailbox.wake()
    assert await taken(mailbox) == []
    listening = asyncio.create_task(taken(mailbox))
    await settle()
    assert not listening.done()
    mailbox.wake()
    assert await listening == []


async def test_a_closed_mailbox_refuses_and_answers_whoever_asked() -> None:
    mailbox: Mailbox[str] = Mailbox("actor", 1)
    reply: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    mailbox.post(Letter("question", reply))
    waiting = asyncio.create_task(mailbox.put(Letter("no room")))
    await settle()
    mailbox.close()
    mailbox.refuse_rest()
    await asyncio.wait_for(waiting, 30)
    with pytest.raises(Busy):
        await reply
    with pytest.raises(Busy):
        mailbox.post(Letter("late"))
    assert len(mailbox) == 0
