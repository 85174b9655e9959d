from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flashd.errors import ConfigError, InvariantBroken
from flashd.runtime.actor import Actor
from flashd.runtime.supervisor import RestartPolicy, Supervisor, TooManyCrashesError
from tests.fakes.clock import FakeClock


class Diary(Actor[Any]):
    """Writes into a shared list when it starts and stops; raises what it is told."""

    def __init__(self, name: str, clock: FakeClock, pages: list[str], refuses: Exception | None = None) -> None:
        super().__init__(name, clock=clock)
        self.pages = pages
        self.refuses = refuses
        self.lives = 0

    async def on_start(self) -> None:
        self.lives += 1
        if self.refuses is not None:
            raise self.refuses
        self.pages.append(f"{self.name} started")

    async def receive(self, message: Any) -> Any:
        if isinstance(message, Exception):
            raise message
        if isinstance(message, asyncio.Event):
            await message.wait()
        return message

    async def on_stop(self) -> None:
        self.pages.append(f"{self.name} stopped")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_actors_start_in_order_and_stop_in_the_reverse_order(clock: FakeClock) -> None:
    pages: list[str] = []
    supervisor = Supervisor(clock=clock)
    await supervisor.start([Diary("a", clock, pages), Diary("b", clock, pages)])
    assert [actor.name for actor in supervisor.actors] == ["a", "b"]
    await supervisor.stop()
    assert pages == ["a started", "b started", "b stopped", "a stopped"]
    await supervisor.stop()


async def test_stopping_before_any_start_is_fine(clock: FakeClock) -> None:
    await Supervisor(clock=clock).stop()


async def test_a_crashed_actor_runs_again_after_a_growing_wait_and_its_mail_is_still_there(clock: FakeClock) -> None:
    actor = Diary("a", clock, [])
    supervisor = Supervisor(clock=clock, policy=RestartPolicy(first_delay_s=1.0, max_delay_s=4.0))
    await supervisor.start([actor])
    for delay_s in (1.0, 2.0, 4.0, 4.0):
        lives = actor.lives
        actor.offer(ValueError("bad"))
        await clock.advance(0)
        asked = asyncio.create_task(actor.ask("still there?", 5))
        await clock.advance(delay_s / 2 - 0.01)
        assert actor.lives == lives, "the jitter takes at most half of the wait away"
        await clock.advance(delay_s / 2 + 0.01)
        assert actor.lives == lives + 1
        assert await asked == "still there?"
    assert supervisor.restarts == 4
    await supervisor.stop()


async def test_waits_are_spread_so_that_crashed_actors_do_not_return_all_at_once() -> None:
    policy = RestartPolicy(first_delay_s=1.0, max_delay_s=8.0)
    assert [policy.delay_s(3, chance) for chance in (0.0, 0.5)] == [2.0, 3.0]
    assert policy.delay_s(1000, 0.0) == 4.0


async def test_a_long_life_makes_the_next_wait_short_again(clock: FakeClock) -> None:
    actor = Diary("a", clock, [])
    supervisor = Supervisor(clock=clock, policy=RestartPolicy(first_delay_s=1.0, max_delay_s=64.0, window_s=100))
    await supervisor.start([actor])
    for _ in range(5):
        actor.offer(ValueError("bad"))
        await clock.advance(64)
    await clock.advance(200)
    lives = actor.lives
    actor.offer(ValueError("bad"))
    await clock.advance(1.01)
    assert actor.lives == lives + 1
    await supervisor.stop()


async def test_more_crashes_than_the_policy_allows_end_the_whole(clock: FakeClock) -> None:
    actor, other = Diary("a", clock, []), Diary("b", clock, [])
    supervisor = Supervisor(clock=clock, policy=RestartPolicy(max_restarts=3, window_s=60, max_delay_s=1))
    await supervisor.start([actor, other])
    ended = asyncio.create_task(supervisor.wait())
    for _ in range(3):
        actor.offer(ValueError("bad"))
        await clock.advance(2)
    assert not ended.done()
    other.offer(ValueError("worse"))
    await clock.advance(0)
    with pytest.raises(TooManyCrashesError, match="4 crashes within 60 s, the last of b: worse") as caught:
        await asyncio.wait_for(ended, 30)
    assert isinstance(caught.value.__cause__, ValueError)
    await supervisor.stop()


async def test_crashes_that_are_long_past_do_not_count(clock: FakeClock) -> None:
    actor = Diary("a", clock, [])
    supervisor = Supervisor(clock=clock, policy=RestartPolicy(max_restarts=2, window_s=60))
    await supervisor.start([actor])
    for _ in range(8):
        actor.offer(ValueError("bad"))
        await clock.advance(31)
    assert supervisor.restarts == 8
    await supervisor.stop()


@pytest.mark.parametrize("error", [InvariantBroken("oversold"), ConfigError("wrong")])
async def test_an_error_that_no_restart_mends_ends_the_whole_at_once(clock: FakeClock, error: Exception) -> None:
    actor = Diary("a", clock, [])
    supervisor = Supervisor(clock=clock)
    await supervisor.start([actor])
    actor.offer(error)
    with pytest.raises(type(error)):
        await asyncio.wait_for(supervisor.wait(), 30)
    await supervisor.stop()
    assert actor.lives == 1


async def test_a_start_that_cannot_succeed_is_raised_and_later_actors_do_not_start(clock: FakeClock) -> None:
    pages: list[str] = []
    supervisor = Supervisor(clock=clock)
    with pytest.raises(ConfigError, match="no such file"):
        await supervisor.start(
            [
                Diary("a", clock, pages),
                Diary("b", clock, pages, refuses=ConfigError("no such file")),
                Diary("c", clock, pages),
            ]
        )
    await supervisor.stop()
    assert pages == ["a started", "b stopped", "a stopped"]


async def test_an_actor_that_waits_out_its_back_off_can_be_stopped(clock: FakeClock) -> None:
    actor = Diary("a", clock, [])
    supervisor = Supervisor(clock=clock, policy=RestartPolicy(first_delay_s=1000, max_delay_s=1000))
    await supervisor.start([actor])
    actor.offer(ValueError("bad"))
    await clock.advance(1)
    await asyncio.wait_for(supervisor.stop(60), 30)
    assert actor.lives == 1


async def test_stopping_is_bounded_for_each_actor(clock: FakeClock) -> None:
    actor = Diary("a", clock, [])
    supervisor = Supervisor(clock=clock)
    await supervisor.start([actor])
    actor.offer(asyncio.Event())
    await clock.advance(0)
    await asyncio.wait_for(supervisor.stop(timeout_s=0.01), 4)


async def test_an_actor_whose_turn_does_not_end_is_named_for_the_watchdog(clock: FakeClock) -> None:
    hung, idle = Diary("hung", clock, []), Diary("idle", clock, [])
    supervisor = Supervisor(clock=clock)
    await supervisor.start([hung, idle])
    hung.offer(asyncio.Event())
    await clock.advance(0)
    await clock.advance(30)
    assert supervisor.stalled(29) == ["hung"]
    assert supervisor.stalled(31) == []
    await supervisor.stop(timeout_s=0.01)
