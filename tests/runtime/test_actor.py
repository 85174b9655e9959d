from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flashd.errors import Busy, InvariantBroken, MailboxFull, Transient
from flashd.runtime.actor import Actor
from tests.fakes.clock import FakeClock


class Recorder(Actor[Any]):
    """Keeps what it was told; an exception as a message is raised, an event as a message is waited for."""

    def __init__(self, mailbox_size: int = 3) -> None:
        super().__init__("recorder", clock=FakeClock(), mailbox_size=mailbox_size)
        self.seen: list[object] = []
        self.lives = 0
        self.ends = 0

    async def on_start(self) -> None:
        self.lives += 1

    async def receive(self, message: Any) -> str:
        if isinstance(message, asyncio.Event):
            await message.wait()
        if isinstance(message, Exception):
            raise message
        self.seen.append(message)
        return f"had {message}"

    async def on_stop(self) -> None:
        self.ends += 1


class Batcher(Actor[int]):
    batch_limit = 3

    def __init__(self) -> None:
        super().__init__("batcher", clock=FakeClock())
        self.batches: list[list[int]] = []

    async def receive_many(self, messages: Sequence[int]) -> Sequence[object]:
        self.batches.append(list(messages))
        return [ValueError("odd") if message % 2 else message * 10 for message in messages]


async def test_messages_are_taken_in_order_one_at_a_time() -> None:
    actor = Recorder()
    actor.start()
    for number in range(10):
        await actor.tell(number)
    assert await actor.ask("last", 30) == "had last"
    assert actor.seen == [*range(10), "last"]
    await actor.stop()


async def test_an_offer_to_a_full_mailbox_is_refused_at_once() -> None:
    actor = Recorder(mailbox_size=1)
    actor.offer("first")
    with pytest.raises(MailboxFull, match="recorder has 1 messages waiting"):
        actor.offer("second")
    with pytest.raises(MailboxFull):
        await actor.ask("third", 30)


async def test_a_tell_to_a_full_mailbox_waits_for_room() -> None:
    actor = Recorder(mailbox_size=1)
    actor.offer("first")
    told = asyncio.create_task(actor.tell("second"))
    await asyncio.sleep(0)
    assert not told.done()
    actor.start()
    await asyncio.wait_for(told, 30)
    await actor.ask("third", 30)
    assert actor.seen == ["first", "second", "third"]
    await actor.stop()


async def test_an_error_in_an_ask_goes_to_the_caller_and_the_actor_lives_on() -> None:
    actor = Recorder()
    life = actor.start()
    with pytest.raises(ValueError, match="mine"):
        await actor.ask(ValueError("mine"), 30)
    with pytest.raises(TimeoutError, match="its own"):
        await actor.ask(TimeoutError("its own"), 30)
    assert await actor.ask("next", 30) == "had next"
    assert not life.done()
    await actor.stop()


async def test_a_broken_invariant_in_an_ask_is_told_to_the_caller_and_crashes_too() -> None:
    actor = Recorder()
    life = actor.start()
    with pytest.raises(InvariantBroken):
        await actor.ask(InvariantBroken("oversold"), 30)
    with pytest.raises(InvariantBroken):
        await life


async def test_an_error_in_a_tell_crashes_and_only_its_message_is_lost() -> None:
    actor = Recorder()
    actor.offer(ValueError("bad"))
    actor.offer("good")
    with pytest.raises(ValueError, match="bad"):
        await actor.start()
    assert (actor.seen, actor.ends) == ([], 1)
    actor.start()
    await actor.ask("later", 30)
    assert actor.seen == ["good", "later"]
    assert actor.lives == 2
    await actor.stop()


async def test_an_ask_that_is_not_answered_in_time_says_that_nothing_is_known() -> None:
    actor, gate = Recorder(), asyncio.Event()
    actor.start()
    with pytest.raises(Transient, match=r"did not reply within 0\.01 s"):
        await actor.ask(gate, 0.01)
    gate.set()
    assert await actor.ask("next", 30) == "had next"
    await actor.stop()


async def test_work_whose_asker_went_away_is_skipped() -> None:
    actor, gate = Recorder(), asyncio.Event()
    actor.start()
    actor.offer(gate)
    with pytest.raises(Transient):
        await actor.ask("for nobody", 0.01)
    gate.set()
    await actor.ask("for me", 30)
    assert "for nobody" not in actor.seen
    await actor.stop()


async def test_up_to_the_limit_of_waiting_messages_are_taken_in_one_turn() -> None:
    actor = Batcher()
    asks = [asyncio.create_task(actor.ask(number, 30)) for number in range(5)]
    await asyncio.sleep(0)
    actor.start()
    replies = await asyncio.gather(*asks, return_exceptions=True)
    assert actor.batches == [[0, 1, 2], [3, 4]]
    assert [str(reply) for reply in replies] == ["0", "odd", "20", "odd", "40"]
    await actor.stop()


async def test_stopping_ends_after_the_turn_in_hand_and_refuses_what_waits() -> None:
    actor, gate = Recorder(mailbox_size=1), asyncio.Event()
    actor.start()
    first = asyncio.create_task(actor.ask(gate, 5))
    await asyncio.sleep(0.01)
    waiting = asyncio.create_task(actor.ask("waiting", 5))
    outside = [asyncio.create_task(actor.tell(f"no room {number}")) for number in range(3)]
    await asyncio.sleep(0.01)
    stopped = asyncio.create_task(actor.stop())
    await asyncio.sleep(0.01)
    with pytest.raises(Busy, match="recorder is stopping"):
        actor.offer("late")
    gate.set()
    await asyncio.wait_for(stopped, 30)
    assert await first == f"had {gate}"
    with pytest.raises(Busy, match="recorder is stopping"):
        await waiting
    await asyncio.wait_for(asyncio.gather(*outside), 30)
    assert actor.seen == [gate]
    assert actor.ends == 1


async def test_a_turn_that_outlasts_the_bound_is_cancelled_and_its_asker_told_that_nothing_is_known() -> None:
    actor = Recorder()
    life = actor.start()
    asked = asyncio.create_task(actor.ask(asyncio.Event(), 5))
    await asyncio.sleep(0.01)
    await actor.stop(timeout_s=0.01)
    with pytest.raises(Transient, match="in the middle"):
        await asked
    assert life.cancelled()
    assert actor.ends == 1


async def test_stopping_twice_or_what_never_started_is_fine() -> None:
    actor = Recorder()
    await actor.stop()
    await actor.stop()
    await actor.start()
    assert (actor.lives, actor.ends) == (0, 0)
    other = Recorder()
    other.start()
    await asyncio.gather(other.stop(), other.stop())
    await other.stop()
    assert other.ends <= 1


async def test_a_child_that_fails_crashes_the_actor_even_while_it_idles() -> None:
    async def fail() -> None:
        raise ValueError("child")

    actor = Recorder()
    life = actor.start()
    await actor.ready.wait()
    actor.spawn(fail())
    with pytest.raises(ValueError, match="child"):
        await asyncio.wait_for(life, 30)
    assert not actor.ready.is_set()
    actor.start()
    assert await actor.ask("again", 30) == "had again"
    await actor.stop()


async def test_children_that_outlive_on_stop_are_cancelled() -> None:
    actor = Recorder()
    actor.start()
    await actor.ready.wait()
    child = actor.spawn(asyncio.Event().wait())
    await asyncio.sleep(0)
    await asyncio.wait_for(actor.stop(60), 30)
    assert child.cancelled()
    assert actor.children == set()


async def test_on_stop_may_wait_for_children() -> None:
    finished: list[str] = []

    class Parent(Recorder):
        async def on_stop(self) -> None:
            await asyncio.wait(self.children)

    async def work() -> None:
        await asyncio.sleep(0.02)
        finished.append("work")

    actor = Parent()
    actor.start()
    await actor.ready.wait()
    actor.spawn(work())
    await actor.stop()
    assert finished == ["work"]


async def test_a_turn_that_does_not_end_shows_as_stalled_and_idling_does_not() -> None:
    actor, gate = Recorder(), asyncio.Event()
    clock = actor.clock
    assert isinstance(clock, FakeClock)
    actor.start()
    await clock.advance(60)
    assert actor.stalled_s() == 0
    actor.offer(gate)
    await clock.advance(0)
    await clock.advance(7)
    assert actor.stalled_s() == 7
    gate.set()
    await clock.advance(1)
    assert actor.stalled_s() == 0
    await actor.stop()
